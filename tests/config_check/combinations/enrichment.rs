//! Of the kind `enrichment` and of what all kinds share: one table, a few lines a case.

use super::*;

/// What each key allows by itself but not together: edits, key path, what the message says.
const COMBINATIONS: &[(&[Edit], &str, &str)] = &[
    (
        &[("pipeline.batch.bytes_max", "\"200MiB\"")],
        "pipeline.batch.bytes_max",
        "at most half of service.memory_max, 128MiB",
    ),
    (
        &[
            ("service.memory_max", "\"64MiB\""),
            ("pipeline.batch.bytes_max", "\"33MiB\""),
        ],
        "pipeline.batch.bytes_max",
        "32MiB",
    ),
    (
        &[("pipeline.session.duration_max", "\"29m\"")],
        "pipeline.session.duration_max",
        "at least pipeline.session.timeout (30m)",
    ),
    (
        &[("pipeline.columns.user_email", "\"$.mail\"")],
        "pipeline.lookup.columns.user_email",
        "not be in [pipeline.columns] too",
    ),
    (
        &[("pipeline.columns.user_email", "{ raw = \"any\" }")],
        "pipeline.lookup.columns.user_email",
        "the lookup fills user_email",
    ),
    (
        &[("pipeline.session.count_column", "\"properties\"")],
        "pipeline.session.count_column",
        "[pipeline.columns] maps it",
    ),
    (
        &[("pipeline.session.count_column", "\"user_email\"")],
        "pipeline.session.count_column",
        "the lookup fills it",
    ),
    (
        &[(
            "pipeline.session.duration_column",
            "\"session_event_count\"",
        )],
        "pipeline.session.duration_column",
        "must differ from count_column",
    ),
    (
        &[(
            "pipeline.session.distinct_column",
            "\"session_event_count\"",
        )],
        "pipeline.session.distinct_column",
        "must differ from count_column",
    ),
    (
        &[("pipeline.session.distinct_field", "-")],
        "pipeline.session.distinct_field",
        "is required with distinct_column",
    ),
    (
        &[("pipeline.session.distinct_column", "-")],
        "pipeline.session.distinct_where",
        "needs distinct_column",
    ),
    (
        &[("pipeline.session", "{}")],
        "pipeline.session",
        "must name at least one of",
    ),
    (
        &[("pipeline.lookup.columns", "{}")],
        "pipeline.lookup.columns",
        "at least one column",
    ),
    (
        &[("pipeline.columns.event_id.default", "\"x\"")],
        "pipeline.columns.event_id.default",
        "together with required = true",
    ),
    (
        &[("pipeline.columns.properties.default", "\"[]\"")],
        "pipeline.columns.properties.default",
        "a JSON object",
    ),
    (
        &[(
            "pipeline.columns.extra",
            "{ raw = \"any\", default = \"\" }",
        )],
        "pipeline.columns.extra.default",
        "a JSON text",
    ),
    (
        &[("pipeline.columns._offset", "\"$.o\"")],
        "pipeline.columns._offset",
        "the daemon fills it",
    ),
    (
        &[("pipeline.lookup.columns._topic", "{}")],
        "pipeline.lookup.columns._topic",
        "the daemon fills it",
    ),
    (
        &[("pipeline.session.count_column", "\"_partition\"")],
        "pipeline.session.count_column",
        "the daemon fills it",
    ),
    (
        &[("pipeline.columns.\"a`b\"", "\"$.o\"")],
        "pipeline.columns.a`b",
        "the name of a column",
    ),
    (
        &[("pipeline.lookup.columns.\"a`b\"", "{}")],
        "pipeline.lookup.columns.a`b",
        "the name of a column",
    ),
    (
        &[("pipeline.session.distinct_where.\"$.a\"", "\"x\"")],
        "pipeline.session.distinct_where.$.a",
        "the name of a field",
    ),
    (
        &[("pipeline.columns.city", "{ from = \"header:\" }")],
        "pipeline.columns.city.from",
        "\"header:NAME\"",
    ),
    (
        &[(
            "pipeline.columns.city",
            "{ from = \"offset\", path = \"$.a\" }",
        )],
        "pipeline.columns.city.path",
        "together with from",
    ),
    (
        &[("pipeline.columns.timestamp", "{ from = \"timestamp\" }")],
        "pipeline.time_field",
        "what Kafka says of the record",
    ),
    (
        &[("pipeline.explode", "\"$.items\"")],
        "pipeline.explode",
        "together with [pipeline.session]",
    ),
    (
        &[
            ("pipeline.explode", "\"$.items\""),
            ("pipeline.columns._index", "\"$.items.n\""),
        ],
        "pipeline.columns._index",
        "the element's number",
    ),
    (
        &[
            ("pipeline.explode", "\"$.items\""),
            ("pipeline.lookup.columns._index", "{}"),
        ],
        "pipeline.lookup.columns._index",
        "the element's number",
    ),
    (
        &[
            ("pipeline.explode", "\"$.items\""),
            ("pipeline.session.count_column", "\"_index\""),
        ],
        "pipeline.session.count_column",
        "the element's number",
    ),
    (
        &[("pipeline.time_field", "\"\"")],
        "pipeline.time_field",
        "[pipeline.session] needs an event time",
    ),
    (
        &[("pipeline.time_field", "{ from = \"offset\" }")],
        "pipeline.time_field.from",
        "one of \"timestamp\"",
    ),
    (
        &[("pipeline.time_field", "{}")],
        "pipeline.time_field.from",
        "is required",
    ),
    (
        &[("pipeline.format", "\"string\"")],
        "pipeline.format",
        "message = \"$\"",
    ),
    (
        &[("pipeline.avro.framed", "true")],
        "pipeline.avro",
        "without format = \"avro\"",
    ),
    (
        &[
            ("pipeline.format", "\"avro\""),
            ("pipeline.avro.framed", "true"),
        ],
        "pipeline.avro.framed",
        "without schema_file",
    ),
    (
        &[
            ("pipeline.format", "\"protobuf\""),
            ("pipeline.protobuf.descriptor_file", "\"config.toml\""),
            ("pipeline.protobuf.message", "\"shop.Order\""),
        ],
        "pipeline.protobuf.descriptor_file",
        "config.toml: no descriptor set of Protobuf",
    ),
    (
        &[
            ("pipeline.format", "\"protobuf\""),
            ("pipeline.protobuf.message", "\"shop.Order\""),
        ],
        "pipeline.protobuf.message",
        "without descriptor_file",
    ),
    (
        &[("pipeline.format", "\"protobuf\"")],
        "pipeline.format",
        "needs [schema_registry] with url, or protobuf.descriptor_file",
    ),
    (
        &[("pipeline.format", "\"avro\"")],
        "pipeline.format",
        "needs [schema_registry] with url, or avro.schema_file",
    ),
    (
        &[
            ("pipeline.format", "\"json_schema\""),
            ("pipeline.json_schema.validate", "true"),
        ],
        "pipeline.format",
        "json_schema.validate needs [schema_registry] with url",
    ),
    (
        &[("pipeline.json_schema.validate", "true")],
        "pipeline.json_schema",
        "without format = \"json_schema\"",
    ),
    (
        &[("schema_registry.user", "\"me\"")],
        "schema_registry.url",
        "is required",
    ),
    (
        &[
            ("schema_registry.url", "\"http://localhost:8081\""),
            ("schema_registry.user", "\"me\""),
            ("schema_registry.token", "\"t\""),
        ],
        "schema_registry.token",
        "cannot be set together with user",
    ),
    (
        &[
            ("schema_registry.url", "\"http://localhost:8081\""),
            ("schema_registry.cert_file", "\"config.toml\""),
        ],
        "schema_registry.key_file",
        "is required together with cert_file",
    ),
    (
        &[("pipeline.csv.header", "true")],
        "pipeline.csv",
        "without format = \"csv\"",
    ),
    (
        &[
            ("pipeline.format", "\"csv\""),
            ("pipeline.csv.columns", "[\"a\", \"b\", \"a\"]"),
        ],
        "pipeline.csv.columns",
        "has \"a\" twice",
    ),
    (
        &[
            ("pipeline.format", "\"csv\""),
            ("pipeline.csv.columns", "[\"a\", \"b\"]"),
            ("pipeline.columns.city", "\"$.c\""),
        ],
        "pipeline.columns.city.path",
        "with a name of csv.columns",
    ),
    (
        &[
            ("pipeline.format", "\"csv\""),
            ("pipeline.csv.columns", "[\"a\", \"b\"]"),
        ],
        "pipeline.session.key_field",
        "must be a field of csv.columns",
    ),
    (
        &[
            ("pipeline.format", "\"string\""),
            ("pipeline.columns.city", "\"$.city\""),
        ],
        "pipeline.columns.city.path",
        "the whole value",
    ),
    (
        &[
            ("pipeline.format", "\"string\""),
            ("pipeline.columns.city", "\"$\""),
        ],
        "pipeline.lookup.key_field",
        "knows no members",
    ),
    (
        &[("pipeline.time_field", "\"user_signup_date\"")],
        "pipeline.time_field",
        "the lookup fills it",
    ),
    (
        &[("pipeline.time_field", "\"properties\"")],
        "pipeline.time_field",
        "keeps it raw",
    ),
    (
        &[("pipeline.time_field", "\"session_event_count\"")],
        "pipeline.time_field",
        "the session fills it",
    ),
    (
        &[("pipeline.lookup.key_field", "\"user_email\"")],
        "pipeline.lookup.key_field",
        "the lookup fills it",
    ),
    (
        &[("pipeline.session.key_field", "\"user_segment\"")],
        "pipeline.session.key_field",
        "the lookup fills it",
    ),
    (
        &[("pipeline.session.distinct_field", "\"properties\"")],
        "pipeline.session.distinct_field",
        "keeps it raw",
    ),
    (
        &[("pipeline.session.distinct_where.user_email", "\"a\"")],
        "pipeline.session.distinct_where.user_email",
        "the lookup fills it",
    ),
    (
        &[
            ("pipeline.lookup.encoding", "\"hash\""),
            (
                "pipeline.lookup.columns.user_email.path",
                "\"$.contact.email\"",
            ),
        ],
        "pipeline.lookup.columns.user_email.path",
        "one step",
    ),
    (
        &[("pipeline.dead_letter.topic", "\"user-events\"")],
        "pipeline.dead_letter.topic",
        "the pipeline's own topics",
    ),
    (
        &[("pipeline.topics", "[\"^streamweir-.*\"]")],
        "pipeline.dead_letter.topic",
        "the pipeline's own topics",
    ),
    (
        &[("pipeline.dead_letter.skip", "[\"other:0:1\"]")],
        "pipeline.dead_letter.skip",
        "the pipeline's topics, found other:0:1",
    ),
    (
        &[("pipeline.dead_letter.skip", "[\"user-events:0:-1\"]")],
        "pipeline.dead_letter.skip",
        "topic:partition:offset",
    ),
    (
        &[(
            "pipeline.dead_letter.skip",
            "[\"user-events:2147483648:1\"]",
        )],
        "pipeline.dead_letter.skip",
        "topic:partition:offset",
    ),
    (
        &[("pipeline.topics", "[\"^(\"]")],
        "pipeline.topics",
        "a regular expression",
    ),
    (
        &[("pipeline.topics", r#"['^orders-\d+$']"#)],
        "pipeline.topics",
        "write `[0-9]`",
    ),
    (
        &[("pipeline.topics", "[\"^(?i)orders\"]")],
        "pipeline.topics",
        "POSIX",
    ),
    (
        &[("pipeline.topics", "[\"a\", \"a\"]")],
        "pipeline.topics",
        "each topic once",
    ),
    (
        &[("clickhouse.urls", "[\"http://a:8123\"]")],
        "clickhouse.urls",
        "cannot be set together with url",
    ),
    (
        &[
            ("pipeline.clickhouse.urls", "[\"http://a:8123\"]"),
            ("pipeline.clickhouse.url", "\"http://a:8123\""),
        ],
        "pipeline.clickhouse.urls",
        "cannot be set together with url",
    ),
    (
        &[
            ("pipeline.group_protocol", "\"consumer\""),
            ("kafka.properties.\"session.timeout.ms\"", "9000"),
        ],
        "pipeline.group_protocol",
        "librdkafka refuses the property",
    ),
    (
        &[("kafka.properties.\"session.timeout.ms\"", "300000")],
        "kafka.properties.session.timeout.ms",
        "must be less than max.poll.interval.ms (300000 ms)",
    ),
    (
        &[("kafka.properties.\"max.poll.interval.ms\"", "20000")],
        "kafka.properties.max.poll.interval.ms",
        "must be less than max.poll.interval.ms (20000 ms)",
    ),
    (
        &[("kafka.properties.\"heartbeat.interval.ms\"", "45000")],
        "kafka.properties.heartbeat.interval.ms",
        "must be less than session.timeout.ms (45000 ms)",
    ),
    (
        &[("kafka.properties.\"session.timeout.ms\"", "-5")],
        "kafka.properties.session.timeout.ms",
        "from 1 to 3,600,000 (milliseconds)",
    ),
    (
        &[("kafka.properties.\"fetch.wait.max.ms\"", "\"soon\"")],
        "kafka.properties.fetch.wait.max.ms",
        "an integer (milliseconds)",
    ),
    (
        &[("clickhouse.insert_timeout", "\"5m\"")],
        "pipeline.clickhouse.insert_timeout",
        "less than max.poll.interval.ms",
    ),
    (
        &[("pipeline.revoke_timeout", "\"5m\"")],
        "pipeline.revoke_timeout",
        "max.poll.interval.ms",
    ),
    (
        &[
            ("kafka.properties.\"session.timeout.ms\"", "10000"),
            ("kafka.properties.\"max.poll.interval.ms\"", "50000"),
            ("redis.timeout", "\"60s\""),
        ],
        "pipeline.redis.timeout",
        "max.poll.interval.ms",
    ),
    (
        &[
            ("redis.url", "\"redis://:x@localhost\""),
            ("redis.password", "\"y\""),
        ],
        "redis.url",
        "must not hold credentials when redis.password is set",
    ),
    (
        &[
            ("redis.url", "\"redis://me:x@localhost\""),
            ("redis.user", "\"me\""),
        ],
        "redis.url",
        "must not hold credentials when redis.user is set",
    ),
    (
        &[(
            "redis.urls",
            "[\"redis://localhost\", \"redis://localhost:6380\"]",
        )],
        "redis.urls",
        "set cluster = true",
    ),
    (
        &[
            ("redis.cluster", "true"),
            ("redis.sentinel", "\"mymaster\""),
        ],
        "redis.sentinel",
        "cannot be set together with cluster",
    ),
    (
        &[
            ("redis.cluster", "true"),
            ("redis.url", "\"unix:///r.sock\""),
        ],
        "redis.cluster",
        "needs addresses",
    ),
    (
        &[
            ("redis.url", "\"rediss://localhost\""),
            ("redis.cert_file", "\"config.toml\""),
        ],
        "redis.key_file",
        "is required together with cert_file",
    ),
    (
        &[
            ("clickhouse.url", "\"https://localhost:8443\""),
            ("clickhouse.key_file", "\"config.toml\""),
        ],
        "clickhouse.cert_file",
        "is required together with key_file",
    ),
    (
        &[("clickhouse.url", "\"http://me:x@localhost:8123\"")],
        "clickhouse.url",
        "set clickhouse.user and clickhouse.password",
    ),
    (
        &[("service.admin_token", "\"two words\"")],
        "service.admin_token",
        "visible ASCII",
    ),
];

#[test]
fn impossible_combinations_are_named() {
    for (edits, key, says) in COMBINATIONS {
        assert_problem(&shipped_with(edits), &problem_path(key), &[says]);
    }
}
