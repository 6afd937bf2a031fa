//! No secret is shown: whatever fails, neither logs nor pages, metrics, answers or arguments of processes hold one.

use std::fs;
use std::process::Output;

use sandbox::{topic, wait};
use toml::Value;

use crate::security::doors::{PASSWORD, behind_doors};
use crate::support::{Daemon, Job, PATIENCE, command};

/// In every secret; nothing else holds it.
const CANARY: &str = "canary";

/// Keys of secrets, each with a value of its own.
const SECRETS: [&str; 8] = [
    "service.admin_token",
    "kafka.properties.sasl.password",
    "kafka.properties.ssl.key.password",
    "clickhouse.password",
    "redis.password",
    "schema_registry.password",
    "schema_registry.token",
    "kafka.properties.ssl.keystore.password",
];

/// All that was shown, by where.
struct Shown(Vec<(String, String)>);

impl Shown {
    fn add(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    fn output(&mut self, place: &str, output: &Output) {
        for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
            let text = String::from_utf8_lossy(bytes);
            self.add(&format!("{place}, {stream}"), text);
        }
    }

    fn daemon(&mut self, place: &str, daemon: &Daemon) {
        for path in [
            "/",
            "/metrics",
            "/readyz",
            "/livez",
            "/api/v1/streaming",
            "/api/v1/openapi.json",
        ] {
            if let Some((_, body)) = daemon.get(path) {
                self.add(&format!("{place}, {path}"), body);
            }
        }
        let cmdline = fs::read(format!("/proc/{}/cmdline", daemon.process.pid()));
        let cmdline = cmdline.unwrap_or_default();
        self.add(
            &format!("{place}, cmdline"),
            String::from_utf8_lossy(&cmdline),
        );
        self.add(&format!("{place}, log"), daemon.log());
    }

    fn assert_holds_no_secret(&self) {
        let bytes: usize = self.0.iter().map(|(_, text)| text.len()).sum();
        println!("{} texts, {bytes} bytes", self.0.len());
        assert!(bytes > 10_000);
        for (place, text) in &self.0 {
            if let Some(at) = text.find(CANARY) {
                let around = text.get(at.saturating_sub(300)..(at + 60).min(text.len()));
                panic!("{place}: {}", around.unwrap_or(text));
            }
        }
    }
}

/// What each command says of this configuration.
fn ask_all(job: &Job, place: &str, shown: &mut Shown) {
    let (path, _) = job.write_config("asked");
    let commands: [&[&str]; 11] = [
        &["check"],
        &["check", "--json"],
        &["doctor", "--json"],
        &["doctor"],
        &["schema", "print"],
        &["topics", "plan"],
        &["offsets", "show", "--pipeline", "clickstream"],
        &["audit", "--pipeline", "clickstream", "--json"],
        &["dead-letters", "list", "--all"],
        &["explain", "t:0:0", "--json"],
        &["status"],
    ];
    // They wait for servers that do not answer: all at once.
    let children: Vec<_> = commands
        .iter()
        .map(|arguments| {
            let mut command = command(&path, arguments);
            command.env("STREAMWEIR_LOG", "debug");
            command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped());
            (arguments, command.spawn().expect("it starts"))
        })
        .collect();
    for (arguments, child) in children {
        let output = child.wait_with_output().expect("it ends");
        shown.output(&format!("{place}: {}", arguments.join(" ")), &output);
    }
}

fn set_at(job: &mut Job, path: &str, value: &str) {
    match path.strip_prefix("kafka.properties.") {
        // Properties have names with dots.
        Some(name) => {
            let kafka = job.config["kafka"].as_table_mut().expect("[kafka]");
            let properties = kafka
                .entry("properties")
                .or_insert_with(|| Value::Table(toml::Table::new()));
            let properties = properties.as_table_mut().expect("a table");
            properties.insert(name.to_owned(), value.into());
        }
        None => job.set(path, value),
    }
}

#[test]
fn no_secret_is_shown_whatever_fails() {
    let mut shown = Shown(vec![]);

    // Refused by `check`: misspelt, of a wrong type, in a wrong place.
    let mut keys: Vec<(String, String)> = vec![];
    for misspelt in [
        "kafka.properties.sasl.pasword",
        "kafka.properties.sasl.passwort",
        "kafka.properties.ssl.key.pasword",
        "kafka.properties.sasl.oauthbearer.client.secrt",
        "kafka.properties.sasl.jaas.config",
        "kafka.properties.Sasl.Password",
        "kafka.pasword",
        "clickhouse.pasword",
        "clickhouse.settings.password",
        "redis.pasword",
        "redis.passwd",
        "schema_registry.tokn",
        "service.admin_tokn",
        "pipeline.clickhouse.pasword",
        "pipeline.redis.auth",
        "password",
    ] {
        keys.push((misspelt.to_owned(), format!("{CANARY}-misspelt")));
    }
    for url in [
        "clickhouse.url",
        "redis.url",
        "schema_registry.url",
        "pipeline.state.url",
        "kafka.properties.https.ca.pem",
        "kafka.properties.client.id",
    ] {
        for scheme in ["http", "https", "redis", "clickhouse", "s3", "htp"] {
            keys.push((
                url.to_owned(),
                format!("{scheme}://user:{CANARY}@127.0.0.1:1/x y"),
            ));
        }
    }
    for key in SECRETS {
        keys.push((
            format!("{key}_file"),
            format!("/no/{CANARY}-is-a-name/../such"),
        ));
    }
    // Names of files are no secrets.
    keys.retain(|(key, _)| !key.ends_with("_file"));
    for (key, value) in &keys {
        let mut job = Job::new("refused");
        set_at(&mut job, key, value);
        let (path, _) = job.write_config("refused");
        for arguments in [
            &["check"][..],
            &["check", "--json"],
            &["run", "--until", "latest"],
        ] {
            let mut command = command(&path, arguments);
            if arguments[0] == "run" && command_passes(&path) {
                continue;
            }
            let output = command.output().expect("it starts");
            shown.output(
                &format!("{key} = {value:?}: {}", arguments.join(" ")),
                &output,
            );
        }
    }

    // No TOML at all: the line is named and not quoted.
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("broken.toml");
    for line in [
        "password = \"canary",
        "password = canary",
        "password = \"a\\canary\"",
        "password = \"canary\" x",
        "\"canary",
    ] {
        std::fs::write(&path, format!("[clickhouse]\n{line}\n")).expect("a file");
        let output = command(&path, &["check"]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(2), "{line}");
        shown.output(line, &output);
    }

    // Right, and wrong for the servers: nobody is taken in, or nobody is there.
    let (kafka, mut job) = behind_doors("secrets");
    job.apply_schema();
    topic::create(job.bootstrap(), &job.topic, 1, &[]).expect("a topic");
    for key in &SECRETS[..6] {
        set_at(&mut job, key, &format!("{CANARY}-{key}"));
    }
    job.set("service.start_timeout", "4s");
    job.set("schema_registry.url", "http://127.0.0.1:1");
    job.set("schema_registry.user", "reader");
    let door = sandbox::kafka::Door::Plain;
    job.set(
        "kafka.bootstrap_servers",
        vec![kafka.doors().bootstrap(door)],
    );
    for (name, value) in kafka.doors().properties(door, "reader") {
        set_at(&mut job, &format!("kafka.properties.{name}"), &value);
    }
    ask_all(&job, "refused by every server", &mut shown);
    let daemon = job.start_with("a", &[], &[("STREAMWEIR_LOG", "debug")]);
    let waits = || {
        shown.daemon("refused by every server", &daemon);
        daemon.process.try_wait()
    };
    wait::until("it ends", PATIENCE, waits).expect("it ends");
    shown.add("refused by every server, log", daemon.log());

    // Taken in by Kafka; Redis refuses, and its address holds the password.
    set_at(&mut job, "kafka.properties.sasl.password", PASSWORD);
    job.unset("redis.password");
    let redis = job
        .text("redis.url")
        .replace("redis://", &format!("redis://user:{CANARY}@"));
    job.set("redis.url", redis);
    ask_all(&job, "refused by redis", &mut shown);
    let daemon = job.start_with("b", &[], &[("STREAMWEIR_LOG", "debug")]);
    let waits = || {
        shown.daemon("refused by redis", &daemon);
        daemon.process.try_wait()
    };
    wait::until("it ends", PATIENCE, waits).expect("it ends");
    shown.add("refused by redis, log", daemon.log());
    shown.assert_holds_no_secret();
}

fn command_passes(path: &std::path::Path) -> bool {
    let checked = command(path, &["check"]).output().expect("it starts");
    checked.status.success()
}
