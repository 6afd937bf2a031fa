//! Properties that are passed on to librdkafka.

use super::*;

#[test]
fn a_property_that_librdkafka_does_not_know_is_named_and_its_value_never_shown() {
    for (property, value, says) in [
        ("sasl.pasword", "\"hunter2\"", "did you mean sasl.password?"),
        (
            "sasl.pasword",
            "[\"hunter2\"]",
            "did you mean sasl.password?",
        ),
        (
            "sasl.oauthbearer.client.secrett",
            "\"hunter2\"",
            "sasl.oauthbearer.client.secret?",
        ),
        ("ssl.key.pass", "\"hunter2\"", "no property of librdkafka"),
        ("a.password", "\"hunter2\"", "no property of librdkafka"),
        ("sasl.password", "[\"hunter2\"]", "not shown"),
        (
            "sasl.pasword_file",
            "\"hunter2\"",
            "no property of librdkafka",
        ),
    ] {
        for section in ["kafka", "pipeline.kafka"] {
            let key = format!("{section}.properties.\"{property}\"");
            let text = shipped_with(&[(&key, value)]);
            let problems = parse(&text).expect_err("refused").to_string();
            assert!(problems.contains(property), "{problems}");
            assert!(problems.contains(says), "{says}: {problems}");
            assert!(!problems.contains("hunter2"), "{problems}");
        }
    }
    // Of a known one that is no secret the value helps.
    let text = shipped_with(&[("kafka.properties.\"security.protocol\"", "\"sll\"")]);
    let problems = parse(&text).expect_err("refused").to_string();
    assert!(problems.contains("sll"), "{problems}");
}

#[test]
fn properties_the_daemon_owns_are_refused_with_a_reason() {
    for (property, reason) in [
        ("group.id", "pipeline.group_id"),
        ("group.instance.id", "service.instance_id"),
        ("enable.auto.commit", "acknowledged"),
        ("enable.auto.offset.store", "acknowledged"),
        ("auto.commit.interval.ms", "acknowledged"),
        ("auto.offset.reset", "pipeline.start_offset"),
        ("isolation.level", "read_committed"),
        ("enable.partition.eof", "ends of partitions"),
        ("partition.assignment.strategy", "kind of pipeline"),
        ("group.protocol", "pipeline.group_protocol"),
        ("bootstrap.servers", "kafka.bootstrap_servers"),
        ("metadata.broker.list", "kafka.bootstrap_servers"),
        ("queued.max.messages.kbytes", "service.memory_max"),
        ("queued.min.messages", "service.memory_max"),
        ("enable.idempotence", "idempotently"),
        ("transactional.id", "transactions"),
        ("acks", "acks=all"),
        ("plugin.library.paths", "foreign code"),
        ("rebalance_cb", "callbacks"),
    ] {
        for section in ["kafka", "pipeline.kafka"] {
            let key = format!("{section}.properties.\"{property}\"");
            let text = shipped_with(&[(&key, "\"x\"")]);
            assert_problem(
                &text,
                &problem_path(&key),
                &["cannot be set here: ", reason],
            );
        }
    }
}

#[test]
fn settings_that_exactly_once_pins_are_refused_with_a_reason() {
    for setting in [
        "async_insert",
        "async_insert_deduplicate",
        "wait_for_async_insert",
        "insert_deduplicate",
        "deduplicate_insert",
        "insert_deduplication_token",
        "deduplicate_blocks_in_dependent_materialized_views",
        "max_insert_block_size",
        "min_insert_block_size_rows",
        "min_insert_block_size_bytes",
        "input_format_parallel_parsing",
        "max_partitions_per_insert_block",
        "max_execution_time",
        "query",
        "database",
        "decompress",
        "default_format",
        "user",
        "password",
        "session_id",
    ] {
        for section in ["clickhouse", "pipeline.clickhouse"] {
            let key = format!("{section}.settings.{setting}");
            assert_problem(
                &shipped_with(&[(&key, "1")]),
                &problem_path(&key),
                &["cannot be set here: "],
            );
        }
    }
}
