//! The same of declared topics.

/// The same for declared topics.
pub(super) const WRONG_TOPIC_VALUES: &[(&str, &str, &str)] = &[
    ("topics.\"a.b\"", "7", "must be a table"),
    ("topics.\"a.b\".partitions", "0", "from 1 to 10,000"),
    ("topics.\"a.b\".partitions", "10_001", "from 1 to 10,000"),
    ("topics.\"a.b\".replication", "16", "from 1 to 15"),
    (
        "topics.\"a.b\".retention",
        "\"never\"",
        "a duration from 1s to 36500days, such as \"5s\", or \"forever\"",
    ),
    ("topics.\"a.b\".retention", "86_400_000", "a duration"),
    ("topics.\"a.b\".retention_bytes", "0", "a size"),
    (
        "topics.\"a.b\".cleanup",
        "\"delete,compact\"",
        "one of \"delete\", \"compact\", \"compact,delete\"",
    ),
    ("topics.\"a.b\".min_insync_replicas", "0", "from 1 to 15"),
    ("topics.\"a.b\".config", "7", "must be a table"),
    ("watermark.all", "7", "must be a table"),
    ("watermark.all.pipelines", "[]", "a list of at least one"),
    ("watermark.all.table", "\"a.b\"", "the name of a table"),
    (
        "topics.\"a.b\".config.\"segment.ms\"",
        "[]",
        "a text, a number or a boolean",
    ),
];
