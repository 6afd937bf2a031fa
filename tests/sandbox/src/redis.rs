//! A real Redis server that keeps nothing, but for what it is told to.

mod forms;
mod refusing;

pub use forms::{Cluster, Tls, Watched};
pub use refusing::Refusing;

use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::kafka::log_to;
use crate::process::Process;
use crate::workdir::{ScratchDir, free_port};

const START_TIMEOUT: Duration = Duration::from_secs(180);

/// A running server, killed when dropped. A restart begins empty, or with what was saved.
#[derive(Debug)]
pub struct Redis {
    port: u16,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl Redis {
    /// Starts `redis-server` on a free port and waits until it answers.
    pub fn start() -> Result<Self> {
        Self::start_with(&[])
    }

    /// The same with more arguments.
    pub fn start_with(arguments: &[&str]) -> Result<Self> {
        let redis = Self {
            port: free_port()?,
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
            process: Mutex::new(None),
            dir: ScratchDir::create("redis")?,
        };
        redis.restart()?;
        Ok(redis)
    }

    /// `redis://127.0.0.1:port`; it stays the same over restarts.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// A new connection.
    pub fn connection(&self) -> Result<redis::Connection> {
        connect(&self.url())
    }

    /// SIGKILL: connections break.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// From now on a restart begins with what is there now.
    pub fn save(&self) -> Result<()> {
        Ok(redis::cmd("SAVE").query(&mut self.connection()?)?)
    }

    /// The same as [`Redis::kill`]: there is nothing to save.
    pub fn stop(&self) {
        self.kill();
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process().iter().for_each(Process::pause);
    }

    /// SIGCONT after [`Redis::pause`].
    pub fn resume(&self) {
        self.process().iter().for_each(Process::resume);
    }

    /// Starts it again on the same port, after a kill if it runs.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let log = self.dir.path().join("redis.log");
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--dir"])
            .arg(self.dir.path())
            .args(&self.arguments)
            .stdin(Stdio::null());
        log_to(&mut command, &log)?;
        let process = Process::start("redis", command, &log, START_TIMEOUT, || {
            self.connection().is_ok()
        })?;
        *self.process() = Some(process);
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}

/// A new connection to the server at `url`, tried out with a PING.
pub(crate) fn connect(url: &str) -> Result<redis::Connection> {
    let client = redis::Client::open(url).with_context(|| format!("not a Redis URL: {url}"))?;
    let mut connection = client
        .get_connection_with_timeout(Duration::from_secs(5))
        .with_context(|| format!("cannot connect to {url}"))?;
    redis::cmd("PING").query::<()>(&mut connection)?;
    Ok(connection)
}

/// Deletes every key that begins with `prefix`.
pub(crate) fn delete_keys(url: &str, prefix: &str) -> Result<()> {
    let (mut reading, mut deleting) = (connect(url)?, connect(url)?);
    let mut scan = redis::cmd("SCAN");
    scan.cursor_arg(0)
        .arg("MATCH")
        .arg(format!("{prefix}*"))
        .arg("COUNT")
        .arg(1_000);
    for key in scan.iter::<String>(&mut reading)? {
        redis::cmd("UNLINK").arg(key?).query::<()>(&mut deleting)?;
    }
    Ok(())
}
