//! `streamweir topics`: declared topics against a real cluster.

use std::process::Stdio;

use crate::support::{Job, command};
use sandbox::topic;
use serde_json::{Value, json};

/// A configuration that declares these topics, and nothing else of the shipped ones: name without the
/// prefix, and the table.
fn declaring(name: &str, topics: &[(&str, &str)]) -> Job {
    let mut job = Job::new(name);
    declare(&mut job, topics);
    job
}

fn declare(job: &mut Job, topics: &[(&str, &str)]) {
    let mut tables = toml::Table::new();
    for (name, text) in topics {
        let table: toml::Table = text.parse().expect("TOML");
        tables.insert(format!("{}{name}", job.prefix), table.into());
    }
    job.config.insert("topics".into(), tables.into());
}

/// What `streamweir topics` came to: exit code, stdout, stderr.
fn topics(job: &Job, arguments: &[&str]) -> (i32, String, String) {
    let (path, _) = job.write_config("topics");
    let arguments = [&["topics"], arguments].concat();
    let output = command(&path, &arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

/// The same where it succeeds: stdout without the prefix of names.
#[track_caller]
fn done(job: &Job, arguments: &[&str]) -> String {
    let (code, out, err) = topics(job, arguments);
    assert_eq!(code, 0, "{out}{err}");
    out.replace(&job.prefix, "")
}

fn done_json(job: &Job, arguments: &[&str]) -> Value {
    serde_json::from_str(&done(job, arguments)).expect("JSON")
}

fn count(job: &Job, name: &str) -> i32 {
    let name = format!("{}{name}", job.prefix);
    topic::partition_count(job.bootstrap(), &name).expect("an answer")
}

/// `key=value` of each setting that is the topic's own.
fn settings(job: &Job, name: &str) -> Vec<String> {
    let name = format!("{}{name}", job.prefix);
    let own = topic::own_settings(job.bootstrap(), &name).expect("an answer");
    own.iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect()
}

fn create(job: &Job, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let name = format!("{}{name}", job.prefix);
    topic::create(job.bootstrap(), &name, partitions, settings).expect("a topic");
}

#[test]
fn missing_topics_are_made_as_declared_and_then_nothing_differs() {
    let job = declaring(
        "made",
        &[
            (
                "events",
                "partitions = 3\nretention = \"7days\"\nreplication = 1",
            ),
            (
                "states",
                "partitions = 2\ncleanup = \"compact,delete\"\nconfig = { \"segment.ms\" = 3600000, \"min.cleanable.dirty.ratio\" = \"0.250\" }",
            ),
        ],
    );
    let planned = done(&job, &["plan"]);
    let expected = "events: create with 3 partitions, 1 replicas, retention.ms = 604800000\n\
                    states: create with 2 partitions, the broker's replication, \
                    cleanup.policy = compact,delete, min.cleanable.dirty.ratio = 0.250, \
                    segment.ms = 3600000\n\
                    2 topics declared, 2 differ\n";
    assert_eq!(planned, expected);
    let events = json!({
        "topic": "events",
        "changes": [{
            "change": "create", "partitions": 3, "replication": 1,
            "properties": { "retention.ms": "604800000" },
        }],
    });
    assert_eq!(done_json(&job, &["plan", "--json"])["topics"][0], events);
    assert_eq!(count(&job, "events"), 0, "a plan makes nothing");
    let applied = done(&job, &["apply"]);
    assert_eq!(applied, expected.replace("differ", "changed"));
    assert_eq!((count(&job, "events"), count(&job, "states")), (3, 2));
    assert_eq!(settings(&job, "events"), ["retention.ms=604800000"]);
    let states = [
        "cleanup.policy=compact,delete",
        "min.cleanable.dirty.ratio=0.25",
        "segment.ms=3600000",
    ];
    assert_eq!(settings(&job, "states"), states);
    assert_eq!(done(&job, &["plan"]), "2 topics declared, 0 differ\n");
    let nothing = json!({ "declared": 2, "topics": [] });
    assert_eq!(done_json(&job, &["plan", "--json"]), nothing);
    assert_eq!(done_json(&job, &["apply", "--json"]), nothing);
}

#[test]
fn declared_properties_change_and_the_others_stay() {
    let job = declaring(
        "altered",
        &[(
            "t",
            "partitions = 1\nretention = \"forever\"\ncleanup = \"compact\"\nconfig = { \"flush.messages\" = 7 }",
        )],
    );
    let by_hand = [
        ("retention.ms", "1000000"),
        ("segment.ms", "123456"),
        ("flush.messages", "7"),
        ("max.message.bytes", "2000000"),
    ];
    create(&job, "t", 1, &by_hand);
    let applied = done(&job, &["apply"]);
    let expected = "t: cleanup.policy delete -> compact\nt: retention.ms 1000000 -> -1\n\
                    1 topics declared, 1 changed\n";
    assert_eq!(applied, expected);
    let now = [
        "cleanup.policy=compact",
        "flush.messages=7",
        "max.message.bytes=2000000",
        "retention.ms=-1",
        "segment.ms=123456",
    ];
    assert_eq!(settings(&job, "t"), now);
    assert_eq!(done(&job, &["plan"]), "1 topics declared, 0 differ\n");
}

#[test]
fn partitions_are_added_and_it_says_that_keys_move() {
    let job = declaring("more", &[("t", "partitions = 4")]);
    create(&job, "t", 2, &[]);
    let (code, out, err) = topics(&job, &["apply"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(
        out.contains("partitions 2 -> 4, keys move to others"),
        "{out}"
    );
    assert!(err.contains("keys move to other partitions"), "{err}");
    assert_eq!(count(&job, "t"), 4);
}

#[test]
fn partitions_of_a_replicated_topic_are_added_only_when_that_is_said_twice() {
    let mut job = Job::replication("twice");
    let orders = format!("{}shop.public.orders", job.prefix);
    job.set("pipeline.topics", vec![orders]);
    let rest = ("other", "partitions = 1\nretention = \"1h\"");
    declare(&mut job, &[("shop.public.orders", "partitions = 3"), rest]);
    create(&job, "shop.public.orders", 1, &[]);
    create(&job, "other", 1, &[]);
    let planned = done(&job, &["plan"]);
    let says = "only with --allow-more-partitions: pipeline replica makes a replica of this topic";
    assert!(planned.contains(says), "{planned}");
    let (code, out, err) = topics(&job, &["apply"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for words in [
        "shop.public.orders.partitions: 1 -> 3",
        "version_epochs",
        "nothing was changed",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert_eq!(count(&job, "shop.public.orders"), 1);
    assert!(settings(&job, "other").is_empty());
    let applied = done_json(&job, &["apply", "--json", "--allow-more-partitions"]);
    let breaks = &applied["topics"][1]["changes"][0]["breaks"];
    assert!(
        breaks[0]
            .as_str()
            .is_some_and(|text| text.contains("replica")),
        "{applied}"
    );
    assert_eq!(count(&job, "shop.public.orders"), 3);
    assert_eq!(settings(&job, "other"), ["retention.ms=3600000"]);
}

#[test]
fn what_cannot_be_had_is_refused_before_anything_is_changed() {
    let job = declaring(
        "refused",
        &[
            ("fewer", "partitions = 2\nretention = \"1h\""),
            ("copies", "partitions = 1\nreplication = 3"),
            (
                "unknown",
                "partitions = 1\nconfig = { \"segment.mss\" = 1 }",
            ),
            ("missing", "partitions = 1"),
        ],
    );
    create(&job, "fewer", 3, &[]);
    create(&job, "copies", 1, &[]);
    create(&job, "unknown", 1, &[]);
    let planned = done(&job, &["plan"]);
    assert_eq!(planned.matches(": refused: ").count(), 3, "{planned}");
    let (code, out, err) = topics(&job, &["apply"]);
    assert_eq!((code, out.as_str()), (2, ""), "{err}");
    for words in [
        "fewer.partitions: the topic has 3 partitions and 2 are declared",
        "copies.replication: the topic has 1 replicas and 3 are declared",
        "kafka-reassign-partitions",
        "unknown.config.segment.mss: the cluster knows no such property",
    ] {
        assert!(err.contains(words), "{words}: {err}");
    }
    assert_eq!((count(&job, "fewer"), count(&job, "missing")), (3, 0));
    assert!(settings(&job, "fewer").is_empty());
}

#[test]
fn a_value_that_the_broker_refuses_is_told_with_its_reason() {
    let job = declaring(
        "value",
        &[(
            "t",
            "partitions = 1\nconfig = { \"segment.ms\" = \"soon\" }",
        )],
    );
    create(&job, "t", 1, &[("segment.ms", "99999")]);
    let (code, out, err) = topics(&job, &["apply"]);
    assert_eq!(code, 1, "{out}{err}");
    assert!(
        err.contains("segment.ms 99999 -> soon") && err.contains("soon for configuration"),
        "{err}"
    );
    assert_eq!(settings(&job, "t"), ["segment.ms=99999"]);
}

#[test]
fn a_cluster_that_is_not_there_ends_both_with_exit_code_3() {
    let mut job = declaring("away", &[("t", "partitions = 1")]);
    let port = sandbox::workdir::free_port().expect("a free port");
    job.set("kafka.bootstrap_servers", vec![format!("127.0.0.1:{port}")]);
    job.set("service.start_timeout", "2s");
    for action in ["plan", "apply"] {
        let (code, out, err) = topics(&job, &[action]);
        assert_eq!(code, 3, "{out}{err}");
        assert!(err.contains("kafka could not be reached"), "{err}");
    }
}

#[test]
fn the_shipped_topics_are_made_in_one_go() {
    let mut job = Job::new("shipped");
    let shipped = job.config["topics"].as_table().expect("[topics]").clone();
    let names: Vec<String> = shipped.keys().cloned().collect();
    let prefixed = shipped
        .into_iter()
        .map(|(name, table)| (format!("{}{name}", job.prefix), table));
    let prefixed: toml::Table = prefixed.collect();
    job.config.insert("topics".into(), prefixed.into());
    done(&job, &["apply"]);
    for name in names {
        assert!(count(&job, &name) > 0, "{name}");
    }
    assert!(done(&job, &["plan"]).ends_with("declared, 0 differ\n"));
}
