//! Declared topics.

use super::*;

#[test]
fn what_cannot_be_declared_of_a_topic_is_named() {
    let cases = [
        (
            "[topics.\"a b\"]\npartitions = 1",
            "topics.a b",
            "the name of a topic",
        ),
        ("[topics.t]", "topics.t.partitions", "is required"),
        (
            "[topics.t]\npartitions = 1\nreplication = 2\nmin_insync_replicas = 3",
            "topics.t.min_insync_replicas",
            "at most replication (2), is 3",
        ),
        (
            "[topics.t]\npartitions = 1\nconfig = { \"retention.ms\" = 1 }",
            "topics.t.config.retention.ms",
            "retention sets it",
        ),
        (
            "[topics.t]\npartitions = 1\nconfig.cleanup.policy = \"delete\"",
            "topics.t.config.cleanup.policy",
            "cleanup sets it",
        ),
        (
            "[topics.t]\npartitions = 1\nconfig = { \"Segment ms\" = 1 }",
            "topics.t.config.Segment ms",
            "a property of a topic",
        ),
    ];
    for (text, key, says) in cases {
        assert_problem(text, key, &[says]);
    }
}

#[test]
fn declared_topics_become_the_properties_that_kafka_names() {
    let text = r#"
        [topics."b.c"]
        partitions = 10_000
        replication = 3
        retention = "1h 30m"
        retention_bytes = "1GiB"
        cleanup = "compact,delete"
        min_insync_replicas = 3
        config = { "segment.ms" = 5, preallocate = true, compression.type = "zstd" }
        [topics.a]
        partitions = 1
        retention = "forever"
    "#;
    let topics = parse(text).expect("valid").config.topics;
    let [a, b] = &topics[..] else {
        panic!("{topics:?}");
    };
    assert_eq!(
        (a.name.as_str(), a.partitions, a.replication),
        ("a", 1, None)
    );
    assert_eq!(
        (b.name.as_str(), b.partitions, b.replication),
        ("b.c", 10_000, Some(3))
    );
    let of = |topic: &DeclaredTopic| -> Vec<String> {
        let properties = topic.properties.iter();
        properties
            .map(|(key, value)| format!("{key}={value}"))
            .collect()
    };
    assert_eq!(of(a), ["retention.ms=-1"]);
    let expected = [
        "cleanup.policy=compact,delete",
        "compression.type=zstd",
        "min.insync.replicas=3",
        "preallocate=true",
        "retention.bytes=1073741824",
        "retention.ms=5400000",
        "segment.ms=5",
    ];
    assert_eq!(of(b), expected);
}
