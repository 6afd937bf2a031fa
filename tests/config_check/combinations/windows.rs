//! The same of windows.

use super::*;

/// Keys of an aggregation that do not go together: edits, the key that is named, what it says.
const WINDOWS_COMBINATIONS: &[(&[Edit], &str, &str)] = &[
    (
        &[("pipeline.window.slide", "\"2m\"")],
        "window.slide",
        "at most pipeline.window.size (1m)",
    ),
    (
        &[("pipeline.window.slide", "\"25s\"")],
        "window.slide",
        "must divide",
    ),
    (
        &[("pipeline.window.slide", "\"100ms\"")],
        "window.slide",
        "a hundredth",
    ),
    (
        &[("pipeline.idle_retention", "\"1s\"")],
        "idle_retention",
        "at least pipeline.idle_timeout (10s)",
    ),
    (
        &[("pipeline.group.window_start", "\"$.a\"")],
        "group.window_start",
        "the daemon fills",
    ),
    (
        &[("pipeline.metrics.version", "{ function = \"count\" }")],
        "metrics.version",
        "the daemon fills",
    ),
    (
        &[("pipeline.metrics.category", "{ function = \"count\" }")],
        "metrics.category",
        "must differ",
    ),
    (
        &[("pipeline.partitioned_by", "\"amount\"")],
        "partitioned_by",
        "a field of [pipeline.group]",
    ),
    (
        &[("pipeline.window", "{ kind = \"session\" }")],
        "partitioned_by",
        "is required with session windows",
    ),
    (
        &[("pipeline.consumers", "2")],
        "consumers",
        "one lane reads the whole topic",
    ),
    (
        &[("pipeline.group_protocol", "\"consumer\"")],
        "group_protocol",
        "must be \"classic\"",
    ),
    (
        &[("pipeline.topics", "[\"a\", \"b\"]")],
        "topics",
        "one topic",
    ),
    (&[("pipeline.topics", "[\"^a\"]")], "topics", "one topic"),
    (
        &[("pipeline.metrics", "{}")],
        "metrics",
        "at least one entry",
    ),
    (
        &[("pipeline.metrics.x", "{ function = \"sum\" }")],
        "metrics.x.path",
        "is required",
    ),
    (
        &[("pipeline.metrics.x", "{ path = \"$.a\" }")],
        "metrics.x.function",
        "is required",
    ),
    (
        &[("pipeline.metrics.mean.path", "\"$.a\"")],
        "metrics.mean.product",
        "in place of path",
    ),
    (
        &[("pipeline.output", "-"), ("pipeline.clickhouse.table", "-")],
        "clickhouse.table",
        "is required",
    ),
    (
        &[("pipeline.keys_placed_by", "\"murmur2\"")],
        "keys_placed_by",
        "needs pipeline.partitioned_by",
    ),
    (
        &[("pipeline.group_bytes_max", "3")],
        "group.category.default",
        "at most pipeline.group_bytes_max (3B)",
    ),
];

#[test]
fn impossible_combinations_of_windows_are_named() {
    for (edits, key, says) in WINDOWS_COMBINATIONS {
        let key = format!("pipeline.sales.{key}");
        assert_problem(&windows_with(edits), &key, &[says]);
    }
    let partitioned = [
        ("pipeline.partitioned_by", "\"category\""),
        ("pipeline.consumers", "4"),
        ("pipeline.clickhouse.table", "-"),
    ];
    assert!(
        parse(&windows_with(&partitioned)).is_ok(),
        "a topic is enough"
    );
}
