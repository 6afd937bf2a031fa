//! The same of joins.

use super::*;

const JOIN_COMBINATIONS: &[(&[Edit], &str, &str)] = &[
    (
        &[("pipeline.topics", "[\"clickstream-events\"]")],
        "topics",
        "must not be set for kind stream_join: set pipeline.left.topic and pipeline.right.topic",
    ),
    (
        &[("pipeline.time_field", "\"at\"")],
        "time_field",
        "unknown key",
    ),
    (&[("pipeline.left.topic", "-")], "left.topic", "is required"),
    (&[("pipeline.right", "-")], "right.topic", "is required"),
    (&[("pipeline.output", "-")], "output.topic", "is required"),
    (
        &[("pipeline.right.topic", "\"clickstream-events\"")],
        "right.topic",
        "must differ from pipeline.left.topic",
    ),
    (
        &[("pipeline.output.topic", "\"clickstream-events\"")],
        "output.topic",
        "neither pipeline.left.topic nor pipeline.right.topic",
    ),
    (
        &[("pipeline.output.topic", "\"user-profile-updates\"")],
        "output.topic",
        "would feed itself",
    ),
    (
        &[("pipeline.output.topic", "\"streamweir-dead-letters\"")],
        "output.topic",
        "must differ from pipeline.dead_letter.topic",
    ),
    (
        &[("pipeline.dead_letter.topic", "\"user-profile-updates\"")],
        "dead_letter.topic",
        "must not be among the pipeline's own topics",
    ),
    (
        &[("pipeline.output.right_time_field", "\"user_email\"")],
        "output.right_time_field",
        "must differ from pipeline.right.fields.user_email",
    ),
    (
        &[("pipeline.right.fields.join_timestamp", "\"$.t\"")],
        "output.join_time_field",
        "must differ from pipeline.right.fields.join_timestamp",
    ),
    (
        &[("pipeline.output.join_time_field", "\"profile_updated_at\"")],
        "output.join_time_field",
        "must differ from pipeline.output.right_time_field",
    ),
    (
        &[("pipeline.delivery", "\"at_least_once\"")],
        "delivery",
        "must be \"exactly_once\" for kind stream_join",
    ),
    (
        &[("pipeline.group_protocol", "\"consumer\"")],
        "group_protocol",
        "must be \"classic\" for kind stream_join",
    ),
    (
        &[("pipeline.clickhouse.table", "\"joined\"")],
        "clickhouse.table",
        "must not be set for kind stream_join",
    ),
    (
        &[("pipeline.clickhouse.ddl", "\"sql/replica.sql\"")],
        "clickhouse.ddl",
        "must not be set for kind stream_join",
    ),
    (
        &[(
            "pipeline.kafka.properties",
            "{ \"partition.assignment.strategy\" = \"roundrobin\" }",
        )],
        "kafka.properties.partition.assignment.strategy",
        "decides how partitions are assigned",
    ),
    (
        &[(
            "pipeline.kafka.properties",
            "{ \"transactional.id\" = \"mine\" }",
        )],
        "kafka.properties.transactional.id",
        "transactions are the daemon's own",
    ),
    (
        &[(
            "pipeline.kafka.properties",
            "{ \"transaction.timeout.ms\" = 1000 }",
        )],
        "kafka.properties.transaction.timeout.ms",
        "transactions are the daemon's own",
    ),
    (
        &[("pipeline.right.fields.name", "\"$.names.*\"")],
        "right.fields.name",
        "a star",
    ),
    (
        &[("pipeline.left.topics", "1")],
        "left.topics",
        "unknown key",
    ),
    (
        &[("pipeline.right.field", "1")],
        "right.field",
        "unknown key",
    ),
    (
        &[("pipeline.join.before_", "1")],
        "join.before_",
        "unknown key",
    ),
    (&[("pipeline.output.key", "1")], "output.key", "unknown key"),
];

#[test]
fn impossible_combinations_of_a_join_are_named() {
    for (edits, key, says) in JOIN_COMBINATIONS {
        let key = format!("pipeline.enriched.{key}");
        assert_problem(&join_with(edits), &key, &[says]);
    }
    let possible = [
        ("pipeline.join.before", "\"unlimited\""),
        ("pipeline.join.after", "\"0s\""),
        ("pipeline.join.keys_placed_by", "\"key_modulo\""),
        ("pipeline.consumers", "4"),
        ("pipeline.right.fields", "{}"),
        ("pipeline.batch.flush_interval", "\"10ms\""),
    ];
    assert!(parse(&join_with(&possible)).is_ok());
}
