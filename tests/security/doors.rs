//! Every way into a broker: TLS, certificates of clients, and the mechanisms of SASL.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use sandbox::certificates::Issued;
use sandbox::kafka::{Door, Kafka, KafkaOptions, Right};
use sandbox::{topic, wait};
use toml::{Table, Value};

use crate::support::{Daemon, Job, PATIENCE, command, event};

pub(crate) const USER: &str = "reader";
/// Whose password changes.
const ROTATED: &str = "rotated";
pub(crate) const PASSWORD: &str = "right-password";

/// A broker with a listener of each kind.
fn broker() -> &'static Kafka {
    static BROKER: OnceLock<Kafka> = OnceLock::new();
    BROKER.get_or_init(|| {
        let kafka = Kafka::start(KafkaOptions {
            heap_mib: 384,
            users: vec![(USER.to_owned(), PASSWORD.to_owned())],
            doors: true,
            ..KafkaOptions::default()
        });
        let kafka = kafka.expect("a broker");
        kafka.set_password(USER, PASSWORD).expect("a password");
        kafka
    })
}

/// The broker, and a job that comes in by none of its doors yet.
pub(crate) fn behind_doors(name: &str) -> (&'static Kafka, Job) {
    let kafka = broker();
    let mut job = Job::new(name);
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("service.memory_max", "1GiB");
    let settings = [("retention.ms", "-1")];
    topic::create(job.bootstrap(), &job.dead_letter_topic, 1, &settings).expect("a topic");
    (kafka, job)
}

/// The smallest set of rights of a pipeline that reads these topics and writes these.
pub(crate) fn rights(group: &str, read: &[&str], written: &[&str]) -> Vec<Right> {
    let read = read.iter().map(|topic| Right::new("READ", "topic", topic));
    let written = written
        .iter()
        .map(|topic| Right::new("WRITE", "topic", topic));
    let group = std::iter::once(Right::new("READ", "group", group));
    read.chain(written).chain(group).collect()
}

/// A table of its own for the pipeline of this name: two pipelines never write one.
pub(crate) fn own_table(job: &Job, pipeline: &mut Table, name: &str) {
    let table = format!("t_{}", name.replace('-', "_"));
    job.query(&format!(
        "CREATE TABLE {{db}}.{table} AS {{db}}.clickstream_events"
    ));
    let clickhouse = pipeline["clickhouse"].as_table_mut().expect("a table");
    clickhouse.insert("table".to_owned(), table.into());
    clickhouse.remove("ddl");
}

/// What is written to all tables of [`own_table`].
pub(crate) fn all_tables(job: &Job) -> String {
    format!("merge('{}', '^t_')", job.database)
}

/// `[pipeline.kafka]` for coming in by this door.
pub(crate) fn kafka_table(kafka: &Kafka, door: Door, user: &str, certificate: &Issued) -> Table {
    let mut properties = Table::new();
    for (name, value) in kafka.doors().properties(door, user) {
        properties.insert(name.to_owned(), value.into());
    }
    if door == Door::MutualTls {
        for (name, file) in [
            ("ssl.certificate.location", &certificate.cert_file),
            ("ssl.key.location", &certificate.key_file),
        ] {
            properties.insert(name.to_owned(), file.display().to_string().into());
        }
    } else if properties.contains_key("sasl.username") {
        properties.insert("sasl.password".to_owned(), PASSWORD.into());
    }
    let mut table = Table::new();
    let servers = vec![kafka.doors().bootstrap(door)];
    table.insert("bootstrap_servers".to_owned(), servers.into());
    table.insert("properties".to_owned(), properties.into());
    table
}

#[test]
fn a_pipeline_comes_in_by_every_door_with_the_rights_that_are_documented() {
    let (kafka, mut job) = behind_doors("doors");
    job.apply_schema();
    let certificate = kafka
        .doors()
        .authority()
        .issue(USER)
        .expect("a certificate");
    let shipped = job.config["pipeline"][0].clone();
    let mut pipelines = vec![];
    for door in Door::ALL {
        let (name, topic, group) = (
            door.name(),
            format!("{}{}", job.prefix, door.name()),
            format!("{}-{}", job.group, door.name()),
        );
        topic::create(job.bootstrap(), &topic, 1, &[("retention.ms", "-1")]).expect("a topic");
        let values = (0..20)
            .map(|number| event(number, ""))
            .chain(["no JSON".to_owned()]);
        topic::produce(job.bootstrap(), &topic, values.map(topic::Record::new)).expect("records");
        let rights = rights(&group, &[&topic], &[&job.dead_letter_topic]);
        kafka.grant(USER, &rights).expect("rights");
        let mut pipeline = shipped.clone();
        let keys = pipeline.as_table_mut().expect("a pipeline");
        keys.insert("name".to_owned(), name.into());
        keys.insert("topics".to_owned(), vec![topic].into());
        keys.insert("group_id".to_owned(), group.into());
        let table = kafka_table(kafka, door, USER, &certificate);
        keys.insert("kafka".to_owned(), table.into());
        own_table(&job, keys, name);
        pipelines.push(pipeline);
    }
    job.config["pipeline"] = Value::Array(pipelines);
    // Rights take a moment until the broker knows them.
    wait::until("doctor finds no right missing", PATIENCE, || {
        kafka_findings(&job).is_empty().then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", kafka_findings(&job)));
    job.run_to_end();
    let sql = format!(
        "SELECT _topic, uniqExact(_offset), count() FROM {} GROUP BY _topic",
        all_tables(&job)
    );
    let rows: BTreeMap<String, String> = job
        .query(&sql)
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(topic, counts)| (topic.to_owned(), counts.to_owned()))
        .collect();
    let expected = Door::ALL.map(|door| {
        let topic = format!("{}{}", job.prefix, door.name());
        (topic, "20\t20".to_owned())
    });
    assert_eq!(rows, expected.into());
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("letters");
    assert_eq!(letters.len(), Door::ALL.len());
}

/// What doctor says of Kafka, but for what may be missing.
fn kafka_findings(job: &Job) -> Vec<String> {
    let (path, _) = job.write_config("doctor");
    let output = command(&path, &["doctor", "--json", "--sample", "0"]).output();
    let output = output.expect("it starts");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = answer["findings"].as_array().expect("a list").iter();
    let of_kafka = findings.filter(|finding| {
        let check = finding["check"].as_str().unwrap_or_default();
        check.starts_with("kafka_") && finding["level"] != "info"
    });
    of_kafka.map(ToString::to_string).collect()
}

fn count(job: &Job) -> usize {
    let sql = format!("SELECT count() FROM {}", all_tables(job));
    job.query(&sql).parse().expect("a number")
}

fn wait_for_rows(job: &Job, expected: usize) {
    let there = || (count(job) >= expected).then_some(());
    wait::until(&format!("{expected} rows are written"), PATIENCE, there)
        .unwrap_or_else(|e| panic!("{e}: {}", count(job)));
}

fn post(daemon: &Daemon, path: &str) {
    let (status, body) = daemon
        .request("POST", path, Some("letmein"), "")
        .expect("an answer");
    assert!((200..300).contains(&status), "{path}: {status}: {body}");
}

fn hang_up(daemon: &Daemon) {
    let lines = || daemon.log().matches("SIGHUP: secrets").count();
    let before = lines();
    let pid = daemon.process.pid().to_string();
    let sent = Command::new("kill").args(["-HUP", &pid]).status();
    assert!(sent.expect("kill starts").success());
    let read = || (lines() > before).then_some(());
    wait::until("secrets were read again", PATIENCE, read).expect("it says so");
}

fn wait_for_state(daemon: &Daemon, name: &str, state: &str) {
    let is_it = || {
        let (_, body) = daemon.get(&format!("/api/v1/streaming/{name}"))?;
        let body: serde_json::Value = serde_json::from_str(&body).ok()?;
        (body["state"] == state).then_some(())
    };
    wait::until(&format!("{name} is {state}"), PATIENCE, is_it)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
}

#[test]
fn certificates_and_passwords_are_exchanged_while_the_daemon_runs() {
    let (kafka, mut job) = behind_doors("exchange");
    job.apply_schema();
    job.create_topic(1);
    let directory = job.directory.path().to_owned();
    let file = |name: &str| directory.join(name);
    let authority = kafka.doors().authority();
    let install = |issued: &Issued| {
        fs::copy(&issued.cert_file, file("cert.pem")).expect("a file");
        fs::copy(&issued.key_file, file("key.pem")).expect("a file");
    };
    kafka.set_password(ROTATED, PASSWORD).expect("a password");
    fs::write(file("password"), "not-yet").expect("a file");
    fs::write(file("token"), "letmein").expect("a file");
    install(&authority.issue("nobody").expect("a certificate"));
    let text = |path: &Path| Value::from(path.display().to_string());
    job.config["service"]
        .as_table_mut()
        .expect("[service]")
        .insert("admin_token_file".to_owned(), text(&file("token")));
    let issued = Issued {
        cert_file: file("cert.pem"),
        key_file: file("key.pem"),
    };
    let mut pipelines = vec![];
    for door in [Door::TlsScram512, Door::MutualTls] {
        let group = format!("{}-{}", job.group, door.name());
        let rights = rights(&group, &[&job.topic], &[&job.dead_letter_topic]);
        kafka.grant(ROTATED, &rights).expect("rights");
        let mut table = kafka_table(kafka, door, ROTATED, &issued);
        let properties = table["properties"].as_table_mut().expect("a table");
        if properties.remove("sasl.password").is_some() {
            properties.insert("sasl.password_file".to_owned(), text(&file("password")));
        }
        let mut pipeline = job.config["pipeline"][0].clone();
        let keys = pipeline.as_table_mut().expect("a pipeline");
        keys.insert("name".to_owned(), door.name().into());
        keys.insert("group_id".to_owned(), group.into());
        keys.insert("kafka".to_owned(), table.into());
        own_table(&job, keys, door.name());
        pipelines.push(pipeline);
    }
    // A third keeps the process alive while both are halted.
    let mut steady = job.config["pipeline"][0].clone();
    let keys = steady.as_table_mut().expect("a pipeline");
    let quiet = format!("{}quiet", job.prefix);
    topic::create(job.bootstrap(), &quiet, 1, &[]).expect("a topic");
    keys.insert("topics".to_owned(), vec![quiet].into());
    pipelines.push(steady);
    job.config["pipeline"] = Value::Array(pipelines);
    let servers = vec![kafka.bootstrap().to_owned()];
    let whole = job.config["kafka"].as_table_mut().expect("[kafka]");
    whole.insert("bootstrap_servers".to_owned(), servers.into());
    let daemon = job.start("a", &[], "");
    let names = [Door::TlsScram512.name(), Door::MutualTls.name()];
    for name in names {
        wait_for_state(&daemon, name, "halted");
    }
    let log = daemon.log();
    for words in [
        "reason=\"authentication\"",
        "kafka does not take this user in",
        "this user lacks the right READ on topic",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    assert!(!log.contains("not-yet"), "{log}");

    fs::write(file("password"), PASSWORD).expect("a file");
    install(&authority.issue_as(ROTATED, "first").expect("a certificate"));
    hang_up(&daemon);
    for name in names {
        post(&daemon, &format!("/api/v1/streaming/{name}/start"));
    }
    job.produce_events(0, 0..10);
    wait_for_rows(&job, 20);

    // Both change again, under pipelines that run; the broker knows the new password alone.
    kafka
        .set_password(ROTATED, "a-new-password")
        .expect("a password");
    fs::write(file("password"), "a-new-password").expect("a file");
    install(
        &authority
            .issue_as(ROTATED, "second")
            .expect("a certificate"),
    );
    hang_up(&daemon);
    for name in names {
        post(&daemon, &format!("/api/v1/streaming/{name}/restart"));
    }
    job.produce_events(0, 10..20);
    wait_for_rows(&job, 40);
    daemon.process.terminate();
    daemon.process.wait(PATIENCE).expect("it ends");
    assert_eq!(count(&job), 40, "{}", daemon.log());
}
