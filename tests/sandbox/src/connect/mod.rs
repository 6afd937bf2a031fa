//! Kafka Connect with Debezium: a worker that reads databases' logs into topics.

mod connector;

pub use connector::Connector;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::kafka::{java, log_to};
use crate::process::Process;
use crate::wait;
use crate::workdir::{ScratchDir, free_port, installed, log_tail};

const START_TIMEOUT: Duration = Duration::from_secs(180);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// A worker answers the order to restart its tasks once it has ended them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Which connector a worker can run. The two are of different releases, so no worker has both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plugin {
    /// Debezium for PostgreSQL.
    Postgres,
    /// Debezium for MariaDB.
    MariaDb,
}

/// What may differ from worker to worker.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Size of the Java heap in MiB.
    pub heap_mib: u32,
    /// The connectors it can run.
    pub plugin: Plugin,
    /// Whether keys and values carry their schema (`schemas.enable`).
    pub schemas: bool,
    /// The registry that keys and values go through, in Avro; none: they are JSON.
    pub registry: Option<String>,
    /// Worker properties; they win over the sandbox's own.
    pub properties: Vec<(String, String)>,
}

impl ConnectOptions {
    /// A small worker whose records carry no schema.
    pub fn new(plugin: Plugin) -> Self {
        Self {
            heap_mib: 256,
            plugin,
            schemas: false,
            registry: None,
            properties: Vec::new(),
        }
    }
}

/// What a connector or one of its tasks is at.
#[derive(Debug, Clone, Deserialize)]
struct State {
    state: String,
    /// Why it failed: a Java stack trace.
    trace: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Status {
    connector: State,
    tasks: Vec<State>,
}

impl Status {
    fn states(&self) -> impl Iterator<Item = &State> {
        [&self.connector].into_iter().chain(&self.tasks)
    }

    fn is_running(&self) -> bool {
        !self.tasks.is_empty() && self.states().all(|state| state.state == "RUNNING")
    }
}

/// A running worker (standalone: its offsets are in a file), killed and removed when dropped.
#[derive(Debug)]
pub struct Connect {
    port: u16,
    heap_mib: u32,
    jars: &'static [&'static str],
    connectors: Vec<Connector>,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl Connect {
    /// Starts a worker and waits until all tasks of the connectors run. The first snapshot may
    /// still be going on.
    ///
    /// # Errors
    /// When jars are missing (`make deps`), Java is, the worker gives up, or a task fails.
    pub fn start(
        bootstrap: &str,
        options: &ConnectOptions,
        connectors: Vec<Connector>,
    ) -> Result<Self> {
        let connect = Self {
            port: free_port()?,
            heap_mib: options.heap_mib,
            jars: match options.registry {
                None => &["connect"],
                Some(_) => &["connect", "avro-converter"],
            },
            connectors,
            process: Mutex::new(None),
            dir: ScratchDir::create("connect")?,
        };
        let path = connect.dir.path();
        fs::write(
            path.join("worker.properties"),
            connect.worker_properties(bootstrap, options)?,
        )?;
        for connector in &connect.connectors {
            let file = path.join(format!("{}.properties", connector.name));
            fs::write(file, connector.file())?;
        }
        connect.restart()?;
        Ok(connect)
    }

    /// `http://127.0.0.1:port` of its REST interface; it stays the same over restarts.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// SIGKILL. Offsets that were not yet written to the file are lost: what follows them is read
    /// and produced once more after a restart.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// A clean shutdown; killed when that takes more than 30 s.
    pub fn stop(&self) {
        if let Some(process) = self.process().take() {
            process.terminate();
            let _ = process.wait(STOP_TIMEOUT);
        }
    }

    /// SIGSTOP: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.process().iter().for_each(Process::pause);
    }

    /// SIGCONT after [`Connect::pause`].
    pub fn resume(&self) {
        self.process().iter().for_each(Process::resume);
    }

    /// Starts it again with its connectors and offsets, after a kill if it runs, and waits until
    /// all tasks run.
    ///
    /// # Errors
    /// When the worker gives up or a task fails.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let mut command = java(self.heap_mib, self.jars)?;
        command
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .arg("worker.properties")
            .args(
                self.connectors
                    .iter()
                    .map(|c| c.name.clone() + ".properties"),
            )
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        log_to(&mut command, &self.log())?;
        *self.process() = Some(Process::spawn(command)?);
        self.wait_until_running()
    }

    /// Has every connector and its tasks end and begin anew within the process, and waits until all
    /// run.
    ///
    /// # Errors
    /// When the worker does not answer or a task fails.
    pub fn restart_tasks(&self) -> Result<()> {
        for connector in &self.connectors {
            let path = format!("/connectors/{}/restart?includeTasks=true", connector.name);
            agent().post(self.url() + &path).send_empty()?;
        }
        self.wait_until_running()
    }

    fn wait_until_running(&self) -> Result<()> {
        wait::until("all tasks run", START_TIMEOUT, || {
            match self.check().and_then(|()| self.are_running()) {
                Ok(true) => Some(Ok(())),
                Ok(false) => None,
                Err(error) => Some(Err(error)),
            }
        })
        .with_context(|| log_tail(&self.log()))?
    }

    /// Forgets how far the connectors had read, while it is stopped: they begin with a snapshot.
    pub fn forget_offsets(&self) -> Result<()> {
        ensure!(self.pid() == 0, "stop the worker first");
        match fs::remove_file(self.dir.path().join("offsets")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether the file has an offset of this connector, and no connector's is of its snapshot: after a
    /// kill none of them takes another one.
    pub fn has_streamed(&self, connector: &str) -> bool {
        let file = fs::read(self.dir.path().join("offsets")).unwrap_or_default();
        let of_snapshot = b"\"snapshot\"";
        let is_of_snapshot = |bytes: &[u8]| bytes == of_snapshot;
        self.has_offsets(connector) && !file.windows(of_snapshot.len()).any(is_of_snapshot)
    }

    /// Whether an offset of this connector has been written to the file yet. At PostgreSQL,
    /// [`Postgres::wait_until_confirmed`](crate::postgres::Postgres::wait_until_confirmed) says
    /// how far they are.
    pub fn has_offsets(&self, connector: &str) -> bool {
        let file = fs::read(self.dir.path().join("offsets")).unwrap_or_default();
        // Java's serialisation of a map, whose keys are JSON.
        let key = format!("[\"{connector}\",");
        file.windows(key.len()).any(|bytes| bytes == key.as_bytes())
    }

    /// Fails when the worker has ended or a connector or task has failed. The process lives on
    /// when a task fails, and nothing but its status shows it.
    ///
    /// # Errors
    /// Names the connector and the beginning of its stack trace, or the end of the worker's log.
    pub fn check(&self) -> Result<()> {
        let ended = match self.process().as_ref() {
            None => bail!("the worker is stopped"),
            Some(process) => process.try_wait(),
        };
        if let Some(status) = ended {
            bail!("the worker ended, {status}: {}", log_tail(&self.log()));
        }
        for connector in &self.connectors {
            let status = self.status(&connector.name);
            let states = status.iter().flat_map(Status::states);
            if let Some(failed) = states.into_iter().find(|state| state.state == "FAILED") {
                let trace = failed.trace.as_deref().unwrap_or("no stack trace");
                bail!(
                    "connector {} has failed: {}",
                    connector.name,
                    causes(trace).join(": ")
                );
            }
        }
        Ok(())
    }

    /// Waits until [`Connect::check`] fails, and returns the error.
    ///
    /// # Errors
    /// When nothing has failed within `timeout`.
    pub fn wait_for_failure(&self, timeout: Duration) -> Result<anyhow::Error> {
        wait::until("a connector fails", timeout, || self.check().err())
    }

    fn are_running(&self) -> Result<bool> {
        let mut statuses = self.connectors.iter().map(|c| self.status(&c.name));
        Ok(if self.connectors.is_empty() {
            self.get("/").is_some()
        } else {
            statuses.all(|status| status.is_some_and(|status| status.is_running()))
        })
    }

    /// `None` while the worker does not answer, or does not know the connector yet.
    fn status(&self, connector: &str) -> Option<Status> {
        let answer = self.get(&format!("/connectors/{connector}/status"))?;
        serde_json::from_str(&answer).ok()
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut answer = agent().get(self.url() + path).call().ok()?;
        answer.body_mut().read_to_string().ok()
    }

    fn worker_properties(&self, bootstrap: &str, options: &ConnectOptions) -> Result<String> {
        let plugins = installed(match options.plugin {
            Plugin::Postgres => "debezium-postgres",
            Plugin::MariaDb => "debezium-mariadb",
        })?;
        let mut lines = vec![
            format!("bootstrap.servers={bootstrap}"),
            format!("listeners={}", self.url()),
            format!("plugin.path={}", plugins.display()),
            // A scan of all classes would take most of the start.
            "plugin.discovery=service_load".to_owned(),
            "offset.storage.file.filename=offsets".to_owned(),
            "offset.flush.interval.ms=500".to_owned(),
            "topic.creation.enable=true".to_owned(),
            // What is in flight is sent at once, and not kept for minutes when the broker is away.
            "producer.linger.ms=5".to_owned(),
        ];
        for part in ["key", "value"] {
            if let Some(registry) = &options.registry {
                lines.push(format!(
                    "{part}.converter=io.apicurio.registry.utils.converter.AvroConverter"
                ));
                let own = [
                    ("url", &**registry),
                    ("as-confluent", "true"),
                    ("use-id", "contentId"),
                    ("headers.enabled", "false"),
                    ("auto-register", "true"),
                ];
                let own = own.map(|(name, value)| {
                    format!("{part}.converter.apicurio.registry.{name}={value}")
                });
                lines.extend(own);
                continue;
            }
            lines.push(format!(
                "{part}.converter=org.apache.kafka.connect.json.JsonConverter"
            ));
            lines.push(format!(
                "{part}.converter.schemas.enable={}",
                options.schemas
            ));
            // By default a NULL becomes the column's default, and is lost.
            lines.push(format!("{part}.converter.replace.null.with.default=false"));
        }
        let own = options.properties.iter();
        lines.extend(own.map(|(name, value)| format!("{name}={value}")));
        Ok(lines.join("\n") + "\n")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("connect.log")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT));
    ureq::Agent::new_with_config(config.build())
}

/// The messages of a stack trace, from the outermost to the cause.
fn causes(trace: &str) -> Vec<&str> {
    let lines = trace.lines().filter(|line| !line.starts_with(['\t', ' ']));
    let messages = lines.map(|line| line.trim_start_matches("Caused by: ").trim());
    messages.filter(|message| !message.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::causes;

    #[test]
    fn a_stack_trace_is_told_by_its_messages() {
        let trace = "a.B: outer\n\tat a.B.c(B.java:1)\nCaused by: d.E: inner\n\t... 9 more\n";
        assert_eq!(causes(trace), ["a.B: outer", "d.E: inner"]);
    }
}
