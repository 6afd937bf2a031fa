//! The daemon as a child of the demo.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::http;
use crate::kafka::log_to;
use crate::process::Process;
use crate::wait;
use crate::workdir::{executable, log_tail};

const READY_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Daemon {
    process: Process,
    log: PathBuf,
}

impl Daemon {
    /// Creates the tables, starts the daemon with this configuration file, in which it listens at
    /// `http_listen`, and waits until it is ready. Its log goes to `dir`.
    pub(super) fn start(config: &Path, http_listen: &str, dir: &Path) -> Result<Self> {
        let log = dir.join("streamweir.log");
        let applied = spawn(&["schema", "apply"], config, &log)?.wait(READY_TIMEOUT)?;
        ensure!(
            applied.success(),
            "`streamweir schema apply` failed: {}",
            log_tail(&log)
        );
        let daemon = Self {
            process: spawn(&["run"], config, &log)?,
            log,
        };
        let ready = format!("http://{http_listen}/readyz");
        wait::until("the daemon is ready", READY_TIMEOUT, || {
            if let Err(error) = daemon.check_alive() {
                return Some(Err(error));
            }
            http::answers(&ready).then_some(Ok(()))
        })
        .map_err(|error| error.context(log_tail(&daemon.log)))??;
        Ok(daemon)
    }

    /// Runs one to the end of every topic, which writes what is open too.
    pub(super) fn close(config: &Path, dir: &Path) -> Result<ExitStatus> {
        let arguments = ["run", "--until", "latest", "--close"];
        spawn(&arguments, config, &dir.join("streamweir.log"))?.wait(DRAIN_TIMEOUT)
    }

    /// Fails with the end of the log if it has ended.
    pub(super) fn check_alive(&self) -> Result<()> {
        match self.process.try_wait() {
            Some(status) => bail!("the daemon ended, {status}: {}", log_tail(&self.log)),
            None => Ok(()),
        }
    }

    /// SIGTERM, then waits for the end.
    pub(super) fn drain(self) -> Result<ExitStatus> {
        self.process.terminate();
        self.process.wait(DRAIN_TIMEOUT)
    }
}

fn spawn(arguments: &[&str], config: &Path, log: &Path) -> Result<Process> {
    let mut command = Command::new(executable("streamweir", "STREAMWEIR_BIN")?);
    command
        .args(arguments)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null());
    log_to(&mut command, log)?;
    Process::spawn(command)
}
