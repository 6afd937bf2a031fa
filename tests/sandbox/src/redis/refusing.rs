//! A front of a server that answers every command with one error while it is told to: states of a server that
//! cannot be brought about at will, as `LOADING`.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Result;

use super::Redis;

/// A front, for as long as the process lives.
#[derive(Debug)]
pub struct Refusing {
    port: u16,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// The text of the error.
    error: Option<String>,
    open: Vec<TcpStream>,
}

impl Refusing {
    /// Stands before this server, and lets everything through.
    ///
    /// # Errors
    /// There is no port.
    pub fn before(server: &Redis) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let front = Refusing {
            port: listener.local_addr()?.port(),
            shared: Arc::default(),
        };
        let (shared, server) = (Arc::clone(&front.shared), server.port);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                // A connection that breaks is made again.
                thread::spawn(move || serve(&client, server, &shared).ok());
            }
        });
        Ok(front)
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on every command is answered with this error, `CODE and what it means`; with none they go
    /// through. Connections break.
    pub fn answer_with(&self, error: Option<&str>) {
        let mut shared = lock(&self.shared);
        shared.error = error.map(str::to_owned);
        for connection in shared.open.drain(..) {
            // It may have ended.
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(client: &TcpStream, server: u16, shared: &Mutex<Shared>) -> io::Result<()> {
    let error = {
        let mut shared = lock(shared);
        shared.open.push(client.try_clone()?);
        shared.error.clone()
    };
    match error {
        Some(error) => refuse(client, &error),
        None => relay(client, &TcpStream::connect(("127.0.0.1", server))?),
    }
}

/// Answers each command, an array of texts.
fn refuse(mut client: &TcpStream, error: &str) -> io::Result<()> {
    let mut parser = redis::Parser::new();
    let mut reader = BufReader::new(client);
    while parser.parse_value(&mut reader).is_ok() {
        client.write_all(format!("-{error}\r\n").as_bytes())?;
    }
    Ok(())
}

fn relay(client: &TcpStream, server: &TcpStream) -> io::Result<()> {
    thread::scope(|scope| {
        scope.spawn(|| pass_on(client, server));
        pass_on(server, client)
    })
}

/// What one says to the other, until it ends.
fn pass_on(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut piece = vec![0; 64 << 10];
    let ended = loop {
        match from.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(count) => to.write_all(&piece[..count])?,
            Err(error) => break Err(error),
        }
    };
    // It may be gone too.
    let _ = to.shutdown(Shutdown::Both);
    ended
}
