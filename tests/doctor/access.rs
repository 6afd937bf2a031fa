//! A broker with users, rights and limits of its own, and a Redis that wants a password.

use sandbox::kafka::{Kafka, KafkaOptions, Right};
use sandbox::redis::Redis;
use sandbox::{topic, wait};

use super::{FULL, assert_found, checks, doctor, produce, well};
use crate::support::{Job, PATIENCE, event};
use serde_json::Value;

const USER: &str = "reader";
const PASSWORD: &str = "right-password";

/// Rights of which `kafka_rights` says that they are missing.
fn missing_rights(answer: &Value) -> Vec<String> {
    let findings = answer["findings"].as_array().expect("a list").iter();
    let rights = findings.filter(|finding| finding["check"] == "kafka_rights");
    let message = |finding: &Value| finding["message"].as_str().expect("a text").to_owned();
    let messages = rights.map(message);
    messages
        .map(|text| {
            text.trim_start_matches("this user lacks the right ")
                .to_owned()
        })
        .collect()
}

fn assert_missing(job: &Job, expected: &[String]) {
    // What was granted takes a moment until every broker knows it.
    let mut last = Value::Null;
    let answer = wait::until("these rights are missing", PATIENCE, || {
        let (code, answer) = doctor(job, &[]);
        let missing = missing_rights(&answer);
        let is_so = code == 1 && expected.iter().all(|right| missing.contains(right));
        last = answer.clone();
        is_so.then_some(answer)
    });
    let answer = answer.unwrap_or_else(|e| panic!("{e}: {expected:?}: {last:#}"));
    assert_found(&answer, &[("kafka_rights", "error")]);
    let other = checks(&answer);
    for check in ["kafka_unreachable", "kafka_authentication", "topic_missing"] {
        assert!(!other.contains(check), "{check}: {answer:#}");
    }
}

#[test]
fn a_brokers_users_rights_and_limits_are_judged_and_so_is_the_password_of_redis() {
    let properties = [
        ("offset.metadata.max.bytes", "100"),
        ("offsets.retention.minutes", "60"),
        ("group.max.session.timeout.ms", "10000"),
    ];
    let kafka = Kafka::start(KafkaOptions {
        heap_mib: 256,
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        users: vec![(USER.to_owned(), PASSWORD.to_owned())],
        doors: false,
        ..KafkaOptions::default()
    });
    let kafka = kafka.expect("a broker");
    let redis = Redis::start().expect("redis");
    let mut job = well("access");
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    job.set("redis.url", redis.url());
    job.apply_schema();
    let settings = [
        ("retention.ms", "-1"),
        ("message.timestamp.type", "LogAppendTime"),
    ];
    for name in [&job.topic, &job.dead_letter_topic] {
        topic::create(job.bootstrap(), name, 1, &settings).expect("a topic");
    }
    produce(&job, (0..5).map(|number| event(number, FULL)));

    // The limits, as one sees them who may see everything.
    job.set("pipeline.columns.user_agent.from", "timestamp");
    let mut connection = redis.connection().expect("redis");
    let mut tell = |name: &str, value: &str| {
        let mut config = redis::cmd("CONFIG");
        let config = config.arg("SET").arg(name).arg(value);
        config.exec(&mut connection).expect("redis takes it");
    };
    tell("maxmemory", "100mb");
    tell("maxmemory-policy", "allkeys-lru");
    let (_, answer) = doctor(&job, &[]);
    let expected = [
        ("commit_metadata_limit", "error"),
        ("offsets_expire", "warning"),
        ("session_timeout", "error"),
        ("log_append_time", "warning"),
        ("redis_eviction", "warning"),
    ];
    assert_found(&answer, &expected);

    // By the other door, with a password that is wrong, then with no right at all.
    tell("requirepass", "sesame");
    job.unset("pipeline.columns.user_agent");
    job.set(
        "kafka.bootstrap_servers",
        vec![kafka.sasl_bootstrap().to_owned()],
    );
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", "PLAIN"),
        ("sasl.username", USER),
        ("sasl.password", "wrong-password"),
    ] {
        job.set(&format!("kafka.properties.{name}"), value);
    }
    let (code, answer) = doctor(&job, &[]);
    assert_eq!(code, 1, "{answer:#}");
    let expected = [
        ("kafka_authentication", "error"),
        ("redis_authentication", "error"),
    ];
    assert_found(&answer, &expected);
    assert!(!checks(&answer).contains("kafka_unreachable"), "{answer:#}");
    for secret in ["wrong-password", "sesame"] {
        assert!(!answer.to_string().contains(secret), "{answer:#}");
    }
    job.set("redis.password", "sesame");
    job.set("kafka.properties.sasl.password", PASSWORD);
    let (source, letters) = (job.topic.clone(), job.dead_letter_topic.clone());
    let of = |operation: &str, topic: &str| format!("{operation} on topic {topic}");
    let group = format!("READ on group {}", job.group);
    let expected = [
        of("DESCRIBE", &source),
        of("DESCRIBE", &letters),
        group.clone(),
    ];
    assert_missing(&job, &expected);
    let grant = |rights: &[(&'static str, &str, &str)]| {
        let right = |(operation, kind, name): &(&'static str, &str, &str)| {
            Right::new(operation, kind, name)
        };
        let rights: Vec<Right> = rights.iter().map(right).collect();
        kafka.grant(USER, &rights).expect("the rights are granted");
    };
    grant(&[
        ("DESCRIBE", "topic", &source),
        ("DESCRIBE_CONFIGS", "topic", &source),
        ("READ", "topic", &letters),
    ]);
    let expected = [of("READ", &source), of("WRITE", &letters), group];
    assert_missing(&job, &expected);
    grant(&[
        ("READ", "topic", &source),
        ("WRITE", "topic", &letters),
        ("READ", "group", &job.group),
    ]);
    wait::until("no right is missing", PATIENCE, || {
        let (_, answer) = doctor(&job, &[]);
        missing_rights(&answer).is_empty().then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {:?}", missing_rights(&doctor(&job, &[]).1)));
    // A wrong password is no outage that is waited out.
    job.set("redis.password", "wrong-sesame");
    job.set("kafka.properties.session.timeout.ms", 10_000);
    job.assert_halts("refused", "authentication", &["redis.password"]);
    job.set("redis.password", "sesame");
    // It is allowed what the daemon does, and so the daemon runs.
    job.set("pipeline.delivery", "at_least_once");
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
}
