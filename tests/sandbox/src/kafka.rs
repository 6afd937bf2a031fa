//! A real Kafka broker: one KRaft process that is broker and controller at once.

mod doors;
mod grants;

pub use doors::{Door, Doors};
pub use grants::Right;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::process::Process;
use crate::workdir::{ScratchDir, free_port, installed, log_tail, sandbox_dir};

const START_TIMEOUT: Duration = Duration::from_secs(180);
/// How often a broker is started again, and for how long it must run to be there.
const RESTARTS_MAX: usize = 3;
const STEADY_AFTER: Duration = Duration::from_secs(2);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// What may differ from broker to broker.
#[derive(Debug, Clone)]
pub struct KafkaOptions {
    /// Size of the Java heap in MiB.
    pub heap_mib: u32,
    /// Broker properties; they win over the sandbox's own.
    pub properties: Vec<(String, String)>,
    /// Names and passwords of users who come by a listener of their own ([`Kafka::sasl_bootstrap`]) and may do
    /// what [`Kafka::allow`] says. Everybody else may do everything.
    pub users: Vec<(String, String)>,
    /// Listeners of every kind besides ([`Kafka::doors`]), for the same users.
    pub doors: bool,
    /// `3.9`; `None`: the one that tests run on.
    pub version: Option<&'static str>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            heap_mib: 512,
            properties: Vec::new(),
            users: Vec::new(),
            doors: false,
            version: None,
        }
    }
}

/// The directory of a version's jars.
fn jars_of(version: Option<&str>) -> String {
    version.map_or_else(|| "kafka".to_owned(), |version| format!("kafka-{version}"))
}

/// A running broker, killed and removed with its data when dropped.
#[derive(Debug)]
pub struct Kafka {
    bootstrap: String,
    sasl_bootstrap: Option<String>,
    doors: Option<Doors>,
    heap_mib: u32,
    jars: String,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl Kafka {
    /// Whether another version was fetched.
    pub fn has_version(version: &str) -> bool {
        installed(&jars_of(Some(version))).is_ok()
    }

    /// Starts a broker with empty storage and waits until it answers.
    ///
    /// # Errors
    /// When the jars are missing (`make deps`), Java is, or the broker gives up; the end of its
    /// log is part of the message.
    pub fn start(options: KafkaOptions) -> Result<Self> {
        let dir = ScratchDir::create("kafka")?;
        let (broker, controller) = (free_port()?, free_port()?);
        let mut properties = options.properties;
        let mut sasl_bootstrap = None;
        let doors = options.doors.then(Doors::new).transpose()?;
        if let Some(doors) = &doors {
            let users = &options.users;
            properties.extend(doors.broker_properties([broker, controller], users, dir.path())?);
            properties.extend(authorizer());
        } else if !options.users.is_empty() {
            let sasl = free_port()?;
            sasl_bootstrap = Some(format!("127.0.0.1:{sasl}"));
            properties.extend(access_control([broker, controller, sasl], &options.users));
        }
        let text = server_properties(broker, controller, dir.path(), &properties);
        fs::write(dir.path().join("server.properties"), text)?;
        let jars = jars_of(options.version);
        copy_dir(&formatted_storage(&jars)?, &dir.path().join("data"))?;
        let kafka = Self {
            bootstrap: format!("127.0.0.1:{broker}"),
            sasl_bootstrap,
            doors,
            heap_mib: options.heap_mib,
            jars,
            process: Mutex::new(None),
            dir,
        };
        kafka.start_process()?;
        Ok(kafka)
    }

    /// `host:port` of the broker; it stays the same over restarts.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The same for the users of [`KafkaOptions::users`], by SASL/PLAIN without TLS.
    ///
    /// # Panics
    /// There are none.
    pub fn sasl_bootstrap(&self) -> &str {
        let sasl = self.sasl_bootstrap.as_deref();
        sasl.expect("the broker has users")
    }

    /// Listeners of every kind.
    ///
    /// # Panics
    /// The broker was started without them.
    pub fn doors(&self) -> &Doors {
        self.doors.as_ref().expect("the broker has doors")
    }

    /// Grants rights to a user.
    ///
    /// # Errors
    /// What the broker says.
    pub fn grant(&self, user: &str, rights: &[Right]) -> Result<()> {
        grants::grant(&self.bootstrap, user, rights)
    }

    /// Sets the password of a user who comes in by SCRAM.
    ///
    /// # Errors
    /// What the broker says.
    pub fn set_password(&self, user: &str, password: &str) -> Result<()> {
        grants::set_password(&self.bootstrap, user, password)
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// SIGKILL.
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

    /// SIGCONT after [`Kafka::pause`].
    pub fn resume(&self) {
        self.process().iter().for_each(Process::resume);
    }

    /// Starts it again on the same ports and data, after a kill if it runs.
    ///
    /// A port of it may have been taken for a moment while it was away: then it answers and ends.
    pub fn restart(&self) -> Result<()> {
        for _ in 1..RESTARTS_MAX {
            self.kill();
            self.start_process()?;
            let begun = Instant::now();
            while self.is_running() && begun.elapsed() < STEADY_AFTER {
                std::thread::sleep(Duration::from_millis(50));
            }
            if self.is_running() {
                return Ok(());
            }
        }
        self.kill();
        self.start_process()
    }

    fn is_running(&self) -> bool {
        let process = self.process();
        process.as_ref().is_some_and(|p| p.try_wait().is_none())
    }

    fn start_process(&self) -> Result<()> {
        let log = self.dir.path().join("broker.log");
        let mut command = java(self.heap_mib, &[&self.jars])?;
        command
            .args(["kafka.Kafka", "server.properties"])
            .current_dir(self.dir.path());
        log_to(&mut command, &log)?;
        let process = Process::start("the broker", command, &log, START_TIMEOUT, || {
            answers(&self.bootstrap)
        })?;
        *self.process() = Some(process);
        Ok(())
    }

    fn process(&self) -> std::sync::MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}

/// Whether a broker answers there and knows a controller to create topics with.
pub(crate) fn answers(bootstrap: &str) -> bool {
    let consumer: Result<BaseConsumer, _> = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "200")
        .set("log_level", "0")
        .create();
    let Ok(consumer) = consumer else { return false };
    let metadata = consumer.fetch_metadata(None, Duration::from_millis(1_000));
    metadata.is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// A Java machine, small and quick to start, with the jars that `install.sh` puts there.
pub(crate) fn java(heap_mib: u32, jars: &[&str]) -> Result<Command> {
    let places = jars.iter().map(|name| Ok(installed(name)?.join("*")));
    let places: Vec<PathBuf> = places.collect::<Result<_>>()?;
    let mut command = Command::new("java");
    command
        .arg(format!("-Xmx{heap_mib}m"))
        .args([
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-XX:-UsePerfData",
        ])
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
        .arg("-Dorg.slf4j.simpleLogger.showDateTime=true")
        .arg("-cp")
        .arg(std::env::join_paths(places)?)
        .stdin(Stdio::null());
    Ok(command)
}

pub(crate) fn log_to(command: &mut Command, log: &Path) -> Result<()> {
    let file = OpenOptions::new().create(true).append(true).open(log)?;
    let twin: File = file.try_clone()?;
    command.stdout(file).stderr(twin);
    Ok(())
}

/// Storage formatted once and copied for every broker: formatting takes a Java start of its own.
fn formatted_storage(jars: &str) -> Result<PathBuf> {
    let place = sandbox_dir().join(jars.replacen("kafka", "kafka-formatted", 1));
    if place.exists() {
        return Ok(place);
    }
    let dir = ScratchDir::create("kafka-format")?;
    let text = server_properties(9092, 9093, dir.path(), &[]);
    fs::write(dir.path().join("server.properties"), text)?;
    let log = dir.path().join("format.log");
    let mut command = java(256, &[jars])?;
    command
        .args([
            "kafka.tools.StorageTool",
            "format",
            "-t",
            "c3RyZWFtd2Vpci1zYW5kYg",
        ])
        .args(["-c", "server.properties"])
        .current_dir(dir.path());
    log_to(&mut command, &log)?;
    let status = Process::spawn(command)?.wait(START_TIMEOUT)?;
    ensure!(status.success(), "formatting failed: {}", log_tail(&log));
    // Another process may have been faster; its storage is as good.
    if fs::rename(dir.path().join("data"), &place).is_err() {
        ensure!(place.exists(), "cannot create {}", place.display());
    }
    Ok(place)
}

fn server_properties(
    broker: u16,
    controller: u16,
    dir: &Path,
    overrides: &[(String, String)],
) -> String {
    let mut lines = vec![
        "process.roles=broker,controller".to_owned(),
        "node.id=1".to_owned(),
        format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
        format!("listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}"),
        format!("advertised.listeners=PLAINTEXT://127.0.0.1:{broker}"),
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
        "controller.listener.names=CONTROLLER".to_owned(),
        format!("log.dirs={}", dir.join("data").display()),
    ];
    lines.extend(SETTINGS.iter().map(|line| (*line).to_owned()));
    lines.extend(
        overrides
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    lines.join("\n") + "\n"
}

/// A listener for users with passwords, and rights that they need. The sandbox's own listener knows nobody by
/// name, and lets everybody do everything.
fn access_control(
    [broker, controller, sasl]: [u16; 3],
    users: &[(String, String)],
) -> Vec<(String, String)> {
    let listeners = format!(
        "PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller},USERS://127.0.0.1:{sasl}"
    );
    let advertised = format!("PLAINTEXT://127.0.0.1:{broker},USERS://127.0.0.1:{sasl}");
    let map = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,USERS:SASL_PLAINTEXT";
    let passwords = users
        .iter()
        .map(|(name, password)| format!("user_{name}=\"{password}\""));
    let jaas = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required {};",
        passwords.collect::<Vec<_>>().join(" ")
    );
    let pairs = [
        ("listeners", listeners.as_str()),
        ("advertised.listeners", &advertised),
        ("listener.security.protocol.map", map),
        ("sasl.enabled.mechanisms", "PLAIN"),
        ("listener.name.users.plain.sasl.jaas.config", &jaas),
    ];
    let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
    pairs.into_iter().chain(authorizer()).collect()
}

/// Users may do what they were granted, and whoever has no name everything.
fn authorizer() -> [(String, String); 2] {
    let class = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
    let pairs = [
        ("authorizer.class.name", class),
        ("super.users", "User:ANONYMOUS"),
    ];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned()))
}

const SETTINGS: &[&str] = &[
    "auto.create.topics.enable=false",
    "group.coordinator.rebalance.protocols=classic,consumer",
    // Groups form and lose members at once, so that kill loops are fast.
    "group.initial.rebalance.delay.ms=0",
    "group.min.session.timeout.ms=500",
    "group.consumer.min.session.timeout.ms=500",
    "group.consumer.min.heartbeat.interval.ms=100",
    // One broker holds the internal topics; few partitions are quicker to create.
    "offsets.topic.replication.factor=1",
    "offsets.topic.num.partitions=4",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "transaction.state.log.num.partitions=4",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    // A killed broker may register again at once.
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=500",
    // Expired transactions, deleted records and compaction show within a test's patience.
    "transaction.abort.timed.out.transaction.cleanup.interval.ms=500",
    "log.retention.check.interval.ms=1000",
    "log.initial.task.delay.ms=1000",
    "log.cleaner.backoff.ms=500",
    "log.cleaner.dedupe.buffer.size=8388608",
    "file.delete.delay.ms=1000",
    "message.max.bytes=10485760",
    "controlled.shutdown.enable=false",
];

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
