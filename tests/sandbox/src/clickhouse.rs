//! A real ClickHouse engine behind ClickHouse's HTTP interface, in a process of its own that can
//! be killed: `sandbox clickhouse` (see [`crate::clickhouse_front`]). Older engines have a front of their own
//! (`older-engine/front.py`), since their libraries have fewer functions.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::http;
use crate::kafka::log_to;
use crate::process::Process;
use crate::workdir::{ScratchDir, executable, free_port, installed};

const START_TIMEOUT: Duration = Duration::from_secs(180);

/// A running engine, killed and removed with its data when dropped. Tables survive a restart.
#[derive(Debug)]
pub struct ClickHouse {
    port: u16,
    /// Where other replicas fetch parts, if it has any.
    interserver_port: Option<u16>,
    /// `24.8`; `None`: the one that tests run on.
    older_version: Option<&'static str>,
    /// Whether it reads a configuration of its own.
    has_config: bool,
    /// UTC where none is set.
    time_zone: Option<&'static str>,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl ClickHouse {
    /// Starts the engine on a free port with no data and waits until it answers.
    ///
    /// # Errors
    /// When the engine's library is missing (`make deps`) or the `sandbox` executable is not
    /// built.
    pub fn start() -> Result<Self> {
        let clickhouse = Self::prepare("clickhouse")?;
        clickhouse.restart()?;
        Ok(clickhouse)
    }

    /// The same in this time zone.
    ///
    /// # Errors
    /// As above.
    pub fn start_in_zone(time_zone: &'static str) -> Result<Self> {
        let clickhouse = Self {
            time_zone: Some(time_zone),
            ..Self::prepare("clickhouse-zone")?
        };
        clickhouse.restart()?;
        Ok(clickhouse)
    }

    fn prepare(name: &str) -> Result<Self> {
        Ok(Self {
            port: free_port()?,
            interserver_port: None,
            older_version: None,
            has_config: false,
            time_zone: None,
            process: Mutex::new(None),
            dir: ScratchDir::create(name)?,
        })
    }

    /// The same of an older version, `24.8`.
    ///
    /// # Errors
    /// When it is missing (`install.sh tests` fetches 24.8, `install.sh versions` the others), or Python is.
    pub fn start_version(version: &'static str) -> Result<Self> {
        let clickhouse = Self {
            older_version: Some(version),
            ..Self::prepare(&format!("clickhouse-{version}"))?
        };
        clickhouse.restart()?;
        Ok(clickhouse)
    }

    /// Whether an older version was fetched.
    pub fn has_version(version: &str) -> bool {
        installed(&format!("clickhouse-{version}")).is_ok()
    }

    /// The same as the replica `name` of a cluster whose ZooKeeper listens at `zookeeper`.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn start_replica(name: &str, zookeeper: u16) -> Result<Self> {
        let clickhouse = Self {
            interserver_port: Some(free_port()?),
            has_config: true,
            ..Self::prepare(name)?
        };
        let settings = replica_settings(name, zookeeper, clickhouse.dir.path());
        fs::write(clickhouse.dir.path().join("config.xml"), settings)?;
        clickhouse.restart()?;
        Ok(clickhouse)
    }

    /// `http://127.0.0.1:port`; it stays the same over restarts.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// SIGKILL, in the middle of whatever it does.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process().iter().for_each(Process::pause);
    }

    /// SIGCONT after [`ClickHouse::pause`].
    pub fn resume(&self) {
        self.process().iter().for_each(Process::resume);
    }

    /// Starts it again with other rights and settings of everybody's: the profile's settings, as the server's own
    /// file of users has them, and statements of GRANT.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn restrict(&mut self, profile: &str, grants: &[&str]) -> Result<()> {
        let grants: String = grants
            .iter()
            .map(|grant| format!("<query>GRANT {grant}</query>"))
            .collect();
        let users = self.dir.path().join("users.xml");
        fs::write(
            &users,
            format!(
                "<clickhouse><profiles><default>{profile}</default></profiles><quotas><default/></quotas>\n\
                 <users><default><password></password><networks><ip>::/0</ip></networks>\
                 <profile>default</profile><quota>default</quota><grants>{grants}</grants></default></users>\n\
                 </clickhouse>\n"
            ),
        )?;
        let config = format!(
            "<clickhouse><users_config>{}</users_config></clickhouse>\n",
            users.display()
        );
        fs::write(self.dir.path().join("config.xml"), config)?;
        self.has_config = true;
        self.restart()
    }

    /// Starts it again on the same port and data, after a kill if it runs.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let log = self.dir.path().join("clickhouse.log");
        let mut command = match self.older_version {
            Some(version) => self.older_engine(version)?,
            None => self.engine()?,
        };
        command.stdin(Stdio::null());
        log_to(&mut command, &log)?;
        let process = Process::start("clickhouse", command, &log, START_TIMEOUT, || {
            answers(&self.url())
        })?;
        *self.process() = Some(process);
        Ok(())
    }

    fn engine(&self) -> Result<Command> {
        let mut command = Command::new(executable("sandbox", "SANDBOX_BIN")?);
        command
            .args(["clickhouse", "--port", &self.port.to_string(), "--path"])
            .arg(self.dir.path().join("data"))
            .arg("--library")
            .arg(installed("clickhouse/libchdb.so")?);
        if self.has_config {
            command
                .arg("--config")
                .arg(self.dir.path().join("config.xml"));
        }
        if let Some(port) = self.interserver_port {
            command.args(["--interserver-port", &port.to_string()]);
        }
        if let Some(zone) = self.time_zone {
            command.env("TZ", zone);
        }
        Ok(command)
    }

    fn older_engine(&self, version: &str) -> Result<Command> {
        let front = Path::new(env!("CARGO_MANIFEST_DIR")).join("older-engine/front.py");
        let data = self.dir.path().join("data");
        fs::create_dir_all(&data)?;
        let mut command = Command::new("python3");
        command
            .arg(front)
            .arg(installed(&format!("clickhouse-{version}"))?)
            .arg(self.port.to_string())
            .arg(data);
        Ok(command)
    }

    /// Runs a statement and returns its output without the last line end, or else the error's
    /// text.
    pub fn query(&self, sql: &str) -> String {
        self.try_query(sql)
            .unwrap_or_else(|error| error.to_string())
    }

    /// Runs a statement and returns its output without the last line end.
    ///
    /// # Errors
    /// The server's message, as it sent it.
    pub fn try_query(&self, sql: &str) -> Result<String> {
        query(&self.url(), sql)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}

/// The configuration of a replica. Sessions must be kept apart: embedded engines have all the same server
/// UUID, and end each other's sessions where they lie under one path.
fn replica_settings(name: &str, zookeeper: u16, dir: &Path) -> String {
    format!(
        "<clickhouse>\n\
         <logger><level>warning</level><log>{dir}/engine.log</log><errorlog>{dir}/engine.err.log</errorlog></logger>\n\
         <zookeeper><node><host>127.0.0.1</host><port>{zookeeper}</port></node>\
         <session_timeout_ms>5000</session_timeout_ms><operation_timeout_ms>3000</operation_timeout_ms>\
         <sessions_path>/clickhouse/sessions_{name}</sessions_path></zookeeper>\n\
         <macros><shard>01</shard><replica>{name}</replica></macros>\n\
         <keeper_map_path_prefix>/keeper_map_tables</keeper_map_path_prefix>\n\
         </clickhouse>\n",
        dir = dir.display()
    )
}

/// Whether a server answers at `url`.
pub(crate) fn answers(url: &str) -> bool {
    http::answers(&format!("{url}/ping"))
}

/// Runs a statement at any ClickHouse server and returns its output without the last line end.
///
/// # Errors
/// The server's message, as it sent it.
pub fn query(url: &str, sql: &str) -> Result<String> {
    let agent = ureq::Agent::new_with_config(
        ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(120)))
            .build(),
    );
    let mut response = agent.post(url).send(sql)?;
    let text = response
        .body_mut()
        .with_config()
        .limit(1 << 30)
        .read_to_string()?;
    if response.status() != 200
        || response
            .headers()
            .contains_key("x-clickhouse-exception-code")
    {
        bail!("{}", text.trim_end());
    }
    Ok(text.strip_suffix('\n').map_or(text.clone(), str::to_owned))
}
