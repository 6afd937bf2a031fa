//! Records of other formats, and columns that take what Kafka says of a record.

use sandbox::topic;

use super::columns::{PROVENANCE, job};
use crate::support::{EVENT_TIME_MS, Job};

fn record(value: &str) -> topic::Record {
    topic::Record::new(value)
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS)
}

fn reasons(job: &Job) -> Vec<String> {
    let letters = job.dead_letters().expect("dead letters");
    let header = |letter: &topic::Received, name| letter.header(name).unwrap_or_default();
    let mut reasons: Vec<String> = letters
        .iter()
        .map(|letter| {
            let (offset, reason) = (
                header(letter, "streamweir-offset"),
                header(letter, "streamweir-reason"),
            );
            format!("{offset} {reason} {}", header(letter, "streamweir-detail"))
        })
        .collect();
    reasons.sort();
    reasons
}

#[test]
fn a_text_and_what_kafka_says_of_it_fill_the_columns_that_are_mapped_to_them() {
    let columns = format!(
        "message String, length UInt32 DEFAULT length(message), tenant UInt32, trace Nullable(String), \
         at DateTime64(3, 'UTC'), of Enum8('create_time' = 1, 'log_append_time' = 2), place String, \
         key LowCardinality(String), _timestamp_type String, {PROVENANCE}"
    );
    let mut job = job("texts", &columns);
    job.set("pipeline.format", "string");
    job.unset("pipeline.time_field");
    job.set("pipeline.tombstones", "drop");
    job.set("pipeline.columns.message", "$");
    for (column, from) in [
        ("id", "offset"),
        ("tenant", "header:tenant"),
        ("trace", "header:trace"),
        ("at", "timestamp"),
        ("of", "timestamp_type"),
        ("place", "topic"),
        ("key", "key"),
    ] {
        job.set(&format!("pipeline.columns.{column}.from"), from);
    }
    job.set("pipeline.columns.tenant.required", true);
    let bytes = |value: &str| record(value).key("k").header("tenant", "7");
    let records = [
        bytes("{\"id\": 1}\n").header("trace", "t"),
        bytes(""),
        record("no tenant"),
        record("another tenant").header("tenant", "x"),
        topic::Record::tombstone("k").partition(0),
        bytes("ü").header("tenant", "8"),
    ];
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, message, length, tenant, trace, at, of, place, key, _timestamp_type \
         FROM {db}.clickstream_events ORDER BY id",
    );
    let rest = format!(
        "2025-11-21 10:00:00.000\tcreate_time\t{}\tk\tcreate_time",
        job.topic
    );
    let expected = [
        format!("0\t{{\"id\": 1}}\\n\t10\t7\tt\t{rest}"),
        format!("1\t\t0\t7\t\\N\t{rest}"),
        format!("5\tü\t2\t8\t\\N\t{rest}"),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let expected = [
        "2 missing_field tenant: the record has no header:tenant",
        "3 invalid_value tenant: not an integer",
    ];
    assert_eq!(reasons(&job), expected);
}
