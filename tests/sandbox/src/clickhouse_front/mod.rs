//! ClickHouse's HTTP interface over the engine's library: what a server listens to, without a
//! server. One thread a client, one engine connection a request.
//!
//! In scope is what a client of today sends: statements in the URL or the body, streamed inserts
//! (a body that ends early aborts the insert), settings and `param_…` in the URL, compressed
//! bodies both ways. Users, sessions and roles are accepted and ignored: the engine has none.
//!
//! A replica ([`Replica`]) has its own configuration, and sends parts to the other one (`parts`).

mod address;
mod engine;
mod exchange;
mod frames;
mod parts;
mod statement;

use std::io::{self, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::http::{Request, Response};
use engine::Engine;
use exchange::Exchange;
pub(crate) use frames::FrameReader;

const READ_BUFFER_BYTES: usize = 256 << 10;

/// What makes an engine a replica.
#[derive(Debug)]
pub struct Replica {
    /// Its configuration as XML: ZooKeeper, macros.
    pub config: PathBuf,
    /// Where other replicas fetch parts, at 127.0.0.1.
    pub interserver_port: Option<u16>,
}

/// Serves the data directory `data` at `127.0.0.1:port` until the process is killed.
///
/// # Errors
/// When the library cannot be loaded, the directory cannot be opened or the port is taken.
pub fn serve(port: u16, data: &Path, library: &Path, replica: Option<&Replica>) -> Result<()> {
    let config = replica.map(|replica| replica.config.as_path());
    let engine = Arc::new(Engine::load(library, data, config)?);
    let interserver_port = replica.and_then(|replica| replica.interserver_port);
    if let Some(port) = interserver_port {
        address::announce(library, port)?;
    }
    // Held for ever: the engine shuts down when its last connection closes.
    let _open = engine.connect().map_err(|error| anyhow!(error))?;
    if let Some(port) = interserver_port {
        let (engine, listener) = (Arc::clone(&engine), listen(port)?);
        thread::spawn(move || parts::serve(&engine, &listener));
    }
    let listener = listen(port)?;
    loop {
        let (client, _) = listener.accept()?;
        let engine = Arc::clone(&engine);
        thread::spawn(move || {
            if let Err(error) = serve_client(&engine, &client) {
                eprintln!("a client was cut off: {error}");
            }
        });
    }
}

fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port))
        .with_context(|| format!("cannot listen at 127.0.0.1:{port}"))
}

fn serve_client(engine: &Engine, client: &TcpStream) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut writer = client;
    let mut reader = BufReader::with_capacity(READ_BUFFER_BYTES, client);
    while let Some(request) = Request::read(&mut reader)? {
        if request
            .header("expect")
            .is_some_and(|v| v.eq_ignore_ascii_case("100-continue"))
        {
            io::Write::write_all(&mut writer, b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let mut body = request.body(&mut reader)?;
        let response = match request.path.as_str() {
            "/ping" => Response::new(200, "Ok.\n"),
            "/" => Exchange::new(engine, &request).answer(&mut body)?,
            path => Response::new(404, format!("There is no handle {path}\n")),
        };
        // What a failed statement left unread; a cut body ends the connection here.
        io::copy(&mut body, &mut io::sink())?;
        response.write(&mut writer)?;
        if request
            .header("connection")
            .is_some_and(|v| v.eq_ignore_ascii_case("close"))
        {
            break;
        }
    }
    Ok(())
}
