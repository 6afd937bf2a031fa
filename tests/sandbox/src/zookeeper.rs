//! A real Apache ZooKeeper, which keeps what replicas of ClickHouse agree on.

use std::fs;
use std::net::TcpStream;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::Result;

use crate::kafka::{java, log_to};
use crate::process::Process;
use crate::workdir::{ScratchDir, free_port};

const START_TIMEOUT: Duration = Duration::from_secs(180);
const HEAP_MIB: u32 = 256;

/// A running server, killed and removed with its data when dropped.
#[derive(Debug)]
pub struct ZooKeeper {
    port: u16,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl ZooKeeper {
    /// Starts it without data on a free port and waits until it takes connections.
    ///
    /// # Errors
    /// When its jars are missing (`make deps-test`), or Java is.
    pub fn start() -> Result<Self> {
        let (port, dir) = (free_port()?, ScratchDir::create("zookeeper")?);
        let data = dir.path().join("data");
        // A session may last from two ticks to twenty.
        let settings = format!(
            "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\npreAllocSize=1024\nmaxClientCnxns=0\n",
            data.display()
        );
        fs::write(dir.path().join("zoo.cfg"), settings)?;
        let zookeeper = Self {
            port,
            process: Mutex::new(None),
            dir,
        };
        zookeeper.restart()?;
        Ok(zookeeper)
    }

    /// Where it listens, at 127.0.0.1; the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// SIGKILL. What it acknowledged is there after [`ZooKeeper::restart`].
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process().iter().for_each(Process::pause);
    }

    /// SIGCONT after [`ZooKeeper::pause`].
    pub fn resume(&self) {
        self.process().iter().for_each(Process::resume);
    }

    /// Starts it again on the same port and data, after a kill if it runs.
    ///
    /// # Errors
    /// When it does not take connections.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let log = self.dir.path().join("zookeeper.log");
        let mut command = java(HEAP_MIB, &["zookeeper"])?;
        command
            .args([
                "org.apache.zookeeper.server.quorum.QuorumPeerMain",
                "zoo.cfg",
            ])
            .current_dir(self.dir.path());
        log_to(&mut command, &log)?;
        let process = Process::start("zookeeper", command, &log, START_TIMEOUT, || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok()
        })?;
        *self.process() = Some(process);
        Ok(())
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}
