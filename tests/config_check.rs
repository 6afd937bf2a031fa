//! What `check` finds: for every key a wrong value, for every impossible combination a message, and
//! never a secret. All of it through the public interface, starting from the shipped configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use streamweir::config::{Config, DeclaredTopic, Loaded, Problem, Problems, known_keys};
use streamweir::debezium::OutOfRange;

const SHIPPED: &str = include_str!("../config.toml");

/// The directory of the shipped configuration.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn parse(text: &str) -> Result<Loaded, Problems> {
    Config::parse(text, "config.toml", &root(), [])
}

fn parse_with(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, Problems> {
    let variables = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, "config.toml", &root(), variables)
}

/// The shipped configuration with some keys set to TOML values. The value `-` removes the key. Keys
/// under `pipeline.` are those of the clickstream pipeline; a part in quotes may hold dots.
fn shipped_with(edits: &[(&str, &str)]) -> String {
    edited(SHIPPED, edits)
}

/// A pipeline of kind cdc with all the tables that only this kind has.
const REPLICA: &str = r#"
    [[pipeline]]
    name = "shop"
    kind = "cdc"
    topics = ["shop.public.orders", "shop.public.order_items", "^crm\\..*"]
    group_id = "shop-replica"
    [pipeline.debezium]
    [pipeline.tables."shop.public.orders"]
    columns = { order_id = "Int64", total = "Nullable(Decimal(10, 2))" }
    source_types = { created = "io.debezium.time.MicroTimestamp" }
    [pipeline.columns]
    _lsn = "$.source.lsn"
"#;

fn replica_with(edits: &[(&str, &str)]) -> String {
    edited(REPLICA, edits)
}

/// A pipeline of kind aggregation.
const WINDOWS: &str = r#"
    [[pipeline]]
    name = "sales"
    kind = "aggregation"
    topics = ["sales-events"]
    group_id = "sales-aggregator"
    [pipeline.window]
    kind = "hopping"
    size = "60s"
    slide = "20s"
    [pipeline.group]
    category = { path = "$.category", default = "unknown" }
    [pipeline.where]
    kind = "sale"
    amount = { gt = 0 }
    [pipeline.metrics]
    sales = { function = "count" }
    revenue = { function = "sum", path = "$.amount" }
    mean = { function = "avg", product = ["$.quantity", "$.price"], places = 3 }
    [pipeline.clickhouse]
    table = "sales"
    [pipeline.output]
    topic = "sales-by-minute"
"#;

fn windows_with(edits: &[(&str, &str)]) -> String {
    edited(WINDOWS, edits)
}

/// A pipeline of kind stream_join.
const JOIN: &str = r#"
    [[pipeline]]
    name = "enriched"
    kind = "stream_join"
    group_id = "clickstream-enricher"
    [pipeline.left]
    topic = "clickstream-events"
    [pipeline.right]
    topic = "user-profile-updates"
    [pipeline.right.fields]
    user_email = "$.email"
    [pipeline.output]
    topic = "enriched-clickstream"
"#;

fn join_with(edits: &[(&str, &str)]) -> String {
    edited(JOIN, edits)
}

/// `text` with some keys set, as [`shipped_with`] has it.
fn edited(text: &str, edits: &[(&str, &str)]) -> String {
    let mut document: toml::Table = text.parse().expect("the file is TOML");
    for (key, value) in edits {
        let mut parts = parts_of(key);
        let last = parts.pop().expect("a key has a last part");
        let mut table = &mut document;
        for part in parts {
            let entry = table
                .entry(part)
                .or_insert_with(|| toml::Table::new().into());
            table = match entry {
                toml::Value::Array(pipelines) => pipelines[0].as_table_mut(),
                entry => entry.as_table_mut(),
            }
            .expect("only tables are walked through");
        }
        if *value == "-" {
            table.remove(&last).expect("only what is there is removed");
        } else {
            let value: toml::Table = format!("value = {value}")
                .parse()
                .expect("the edit is TOML");
            table.insert(last, value["value"].clone());
        }
    }
    toml::to_string(&document).expect("a table is TOML")
}

/// `a."b.c".d` is a, b.c, d.
fn parts_of(key: &str) -> Vec<String> {
    let quoted = |(index, text): (usize, &str)| -> Vec<String> {
        if index % 2 == 1 {
            return vec![text.to_owned()];
        }
        text.split('.')
            .filter(|part| !part.is_empty())
            .map(str::to_owned)
            .collect()
    };
    key.split('"').enumerate().flat_map(quoted).collect()
}

/// The path that problems use: pipelines by name, nothing quoted.
fn problem_path(key: &str) -> String {
    path_in("clickstream", key)
}

fn path_in(pipeline: &str, key: &str) -> String {
    let path = key.replace('"', "");
    match path.strip_prefix("pipeline.") {
        Some(rest) => format!("pipeline.{pipeline}.{rest}"),
        None => path,
    }
}

/// Asserts that the text is refused with a problem at `key_path` that says all of `fragments`.
#[track_caller]
fn assert_problem(text: &str, key_path: &str, fragments: &[&str]) {
    let problems = match parse(text) {
        Ok(_) => panic!("{key_path}: accepted, expected a problem with {fragments:?}"),
        Err(Problems(problems)) => problems,
    };
    let says = |problem: &Problem| fragments.iter().all(|part| problem.message.contains(part));
    assert!(
        problems
            .iter()
            .any(|problem| problem.key_path == key_path && says(problem)),
        "expected {key_path}: … {fragments:?}, found\n{}",
        Problems(problems)
    );
}

/// For every key a value of the wrong type or outside its range, and what the message must say.
const WRONG_VALUES: &[(&str, &str, &str)] = &[
    (
        "service.http_listen",
        "\"nowhere\"",
        "an IP address and a port",
    ),
    ("service.state_dir", "\"\"", "path of a directory"),
    ("pipeline.rule", "7", "must be a list of tables"),
    ("pipeline.dedup.key", "\"$.id\"", "a list of at least one"),
    ("pipeline.dedup.within", "\"1ms\"", "from 1s to 30days"),
    (
        "pipeline.dedup.on_duplicate",
        "\"keep\"",
        "\"drop\", \"dead_letter\", \"flag\"",
    ),
    ("pipeline.dedup.flag_column", "7", "the name of a column"),
    (
        "pipeline.quality.passed_column",
        "\"\"",
        "the name of a column",
    ),
    (
        "pipeline.quality.failed_column",
        "7",
        "the name of a column",
    ),
    (
        "pipeline.quality.threshold",
        "{}",
        "must be a list of tables",
    ),
    ("service.shutdown_timeout", "\"999ms\"", "from 1s to 1h"),
    ("service.memory_max", "\"63MiB\"", "from 64MiB to 1024GiB"),
    ("service.admin_token", "7", "a text, found an integer"),
    (
        "service.admin_token_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    ("service.http_tls", "true", "must be a table"),
    ("service.http_tls.cert_file", "7", "the path of a PEM file"),
    (
        "service.http_tls.key_file",
        "\"\"",
        "the path of a PEM file",
    ),
    ("service.start_timeout", "\"soon\"", "from 1s to 7days"),
    (
        "service.log_level",
        "\"loud\"",
        "one of \"error\", \"warn\"",
    ),
    ("service.log_format", "\"xml\"", "one of \"text\", \"json\""),
    ("service.instance_id", "\"a b\"", "1 to 128 characters"),
    ("kafka.bootstrap_servers", "[]", "list of at least one"),
    (
        "kafka.properties.\"Client.Id\"",
        "\"x\"",
        "the name of a librdkafka property",
    ),
    (
        "clickhouse.url",
        "\"tcp://localhost:9000\"",
        "http://localhost:8123",
    ),
    (
        "clickhouse.urls",
        "[\"localhost:8123\"]",
        "http://localhost:8123",
    ),
    ("clickhouse.database", "\"a`b\"", "without backticks"),
    ("clickhouse.user", "\"\"", "not empty"),
    ("clickhouse.password", "true", "a text, found a boolean"),
    (
        "clickhouse.password_file",
        "3",
        "path of a file or \"\" for none",
    ),
    (
        "clickhouse.settings.\"insert quorum\"",
        "2",
        "the name of a ClickHouse setting",
    ),
    ("clickhouse.insert_lease", "\"0s\"", "from 1s to 5m"),
    ("clickhouse.insert_timeout", "30", "from 1s to 10m"),
    ("clickhouse.replicated", "\"yes\"", "true or false"),
    ("redis.url", "\"http://localhost\"", "redis://host:port"),
    ("redis.password", "[]", "a text, found a list"),
    (
        "redis.password_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    ("redis.timeout", "\"1ms\"", "from 10ms to 1m"),
    ("redis.urls", "[]", "redis://host:port"),
    (
        "redis.urls",
        "[\"redis://:x@localhost\"]",
        "must not hold credentials: set redis.user",
    ),
    ("redis.cluster", "\"yes\"", "true or false"),
    ("redis.sentinel", "\"my master\"", "the name of a master"),
    ("redis.user", "7", "the name of a user"),
    (
        "redis.ca_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "redis.cert_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "redis.key_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "clickhouse.ca_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "clickhouse.cert_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "clickhouse.key_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "schema_registry.url",
        "\"http://u:p@localhost\"",
        "without user, password",
    ),
    ("schema_registry.user", "\"a:b\"", "without ':'"),
    ("schema_registry.password", "[]", "a text, found a list"),
    (
        "schema_registry.password_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    ("schema_registry.token", "[]", "a text, found a list"),
    (
        "schema_registry.token_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "schema_registry.ca_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "schema_registry.cert_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    (
        "schema_registry.key_file",
        "\"no/such/file\"",
        "a file that can be read",
    ),
    ("schema_registry.cache_ttl", "\"0s\"", "from 1s to"),
    ("schema_registry.timeout", "\"1ms\"", "from 10ms to 1m"),
    ("pipeline.kind", "\"filter\"", "allowed: enrichment"),
    ("pipeline.topics", "[\"user events\"]", "begins with '^'"),
    ("pipeline.group_id", "\"\"", "1 to 249 bytes"),
    (
        "pipeline.start_offset",
        "\"first\"",
        "\"earliest\", \"latest\", \"fail\"",
    ),
    (
        "pipeline.delivery",
        "\"at_most_once\"",
        "\"exactly_once\", \"at_least_once\"",
    ),
    ("pipeline.consumers", "0", "from 1 to 64 (consumers)"),
    (
        "pipeline.group_protocol",
        "\"next\"",
        "\"classic\", \"consumer\"",
    ),
    ("pipeline.revoke_timeout", "\"6m\"", "from 0s to 5m"),
    (
        "pipeline.records_per_second_max",
        "0",
        "an integer from 1 to 1,000,000,000 (records per second)",
    ),
    (
        "pipeline.bytes_per_second_max",
        "\"1B\"",
        "from 1KiB to 1024GiB",
    ),
    ("pipeline.time_field", "\"$\"", "the name of a field"),
    ("pipeline.format", "\"xml\"", "\"json\", \"string\""),
    (
        "pipeline.compression",
        "\"lz4\"",
        "one of \"none\", \"gzip\", \"zstd\", \"auto\"",
    ),
    (
        "pipeline.avro.schema_file",
        "\"no/such/file\"",
        "No such file",
    ),
    ("pipeline.avro.framed", "\"yes\"", "true or false"),
    (
        "pipeline.protobuf.descriptor_file",
        "\"\"",
        "a file with descriptors",
    ),
    (
        "pipeline.protobuf.message",
        "\"a b\"",
        "the full name of a message",
    ),
    ("pipeline.protobuf.framed", "\"yes\"", "true or false"),
    ("pipeline.csv.columns", "[]", "list of at least one"),
    ("pipeline.csv.delimiter", "\"ab\"", "one character of ASCII"),
    ("pipeline.csv.header", "\"yes\"", "true or false"),
    (
        "pipeline.tombstones",
        "\"keep\"",
        "\"dead_letter\", \"drop\"",
    ),
    (
        "pipeline.evolution",
        "\"add_columns\"",
        "\"ignore\", \"strict\"",
    ),
    (
        "pipeline.time_unit",
        "\"seconds\"",
        "one of \"s\", \"ms\", \"us\", \"ns\"",
    ),
    ("pipeline.explode", "\"$.items[0]\"", "the path of an array"),
    ("pipeline.time_format", "\"%H:%M\"", "a strptime format"),
    ("pipeline.time_zone", "\"Mars\"", "IANA database"),
    ("pipeline.key_format", "\"xml\"", "one of \"json\""),
    ("pipeline.watermark_delay", "\"25h\"", "from 0s to 24h"),
    (
        "pipeline.timestamp_ahead_max",
        "\"-1h\"",
        "from 0s to 365days",
    ),
    (
        "pipeline.batch.rows_max",
        "\"many\"",
        "an integer from 1 to 10,000,000 (rows), found \"many\"",
    ),
    ("pipeline.batch.bytes_max", "\"1KiB\"", "from 64KiB to 1GiB"),
    (
        "pipeline.batch.flush_interval",
        "\"1h\"",
        "from 10ms to 10m",
    ),
    (
        "pipeline.batch.inserts_per_second_max",
        "0",
        "from 0.01 to 1000 (inserts per second)",
    ),
    (
        "pipeline.columns.page_url",
        "5",
        "or a table { path, from, default, required, raw, unit, apply, … }, found 5",
    ),
    (
        "pipeline.columns.page_url.path",
        "\"$.pages[-1]\"",
        "'[0]' or '[*]'",
    ),
    (
        "pipeline.columns.page_url.from",
        "\"header\"",
        "\"header:NAME\"",
    ),
    (
        "pipeline.columns.page_url.default",
        "[1]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.columns.page_url.required",
        "\"yes\"",
        "true or false",
    ),
    (
        "pipeline.columns.page_url.on_out_of_range",
        "\"drop\"",
        "one of \"dead_letter\", \"null\", \"clamp\"",
    ),
    (
        "pipeline.columns.page_url.raw",
        "true",
        "one of \"object\", \"any\"",
    ),
    (
        "pipeline.columns.timestamp.unit",
        "\"m\"",
        "one of \"s\", \"ms\", \"us\", \"ns\"",
    ),
    (
        "pipeline.columns.page_url.apply",
        "\"trim\"",
        "must be a list of steps",
    ),
    (
        "pipeline.columns.page_url.product",
        "[]",
        "list of at least one",
    ),
    ("pipeline.columns.page_url.sum", "[\"a\"]", "a path such as"),
    (
        "pipeline.columns.page_url.concat",
        "\"$.a\"",
        "a list of at least one",
    ),
    (
        "pipeline.columns.page_url.coalesce",
        "[1]",
        "a path such as",
    ),
    (
        "pipeline.columns.page_url.hash",
        "[]",
        "list of at least one",
    ),
    (
        "pipeline.columns.page_url.separator",
        "1",
        "a text of at most",
    ),
    (
        "pipeline.columns.page_url.on_error",
        "\"null\"",
        "one of \"dead_letter\", \"default\"",
    ),
    (
        "pipeline.columns.page_url.mask",
        "\"sha\"",
        "one of \"hmac\", \"redact\", \"null\", \"keep_last\"",
    ),
    ("pipeline.columns.page_url.keep", "0", "from 1 to 1,000"),
    (
        "pipeline.columns.page_url.classification",
        "\"p i i\"",
        "a word such as",
    ),
    ("service.mask_key_file", "\"\"", "the path of a file"),
    ("pipeline.lookup.kind", "\"mysql\"", "one of \"redis\""),
    ("pipeline.lookup.key_prefix", "1", "at most 512 bytes"),
    ("pipeline.lookup.key_field", "\"\"", "the name of a field"),
    (
        "pipeline.lookup.encoding",
        "\"avro\"",
        "one of \"json\", \"hash\"",
    ),
    ("pipeline.lookup.cache_ttl", "\"2days\"", "from 0s to 24h"),
    (
        "pipeline.lookup.on_unavailable",
        "\"halt\"",
        "one of \"wait\", \"use_defaults\"",
    ),
    (
        "pipeline.lookup.columns.user_email.path",
        "\"email\"",
        "a path such as",
    ),
    (
        "pipeline.lookup.columns.user_email.default",
        "{}",
        "a text, a number or a boolean",
    ),
    ("pipeline.session.key_field", "4", "the name of a field"),
    ("pipeline.session.timeout", "\"0s\"", "from 1s to 7days"),
    (
        "pipeline.session.duration_max",
        "\"31days\"",
        "from 1s to 30days",
    ),
    (
        "pipeline.session.count_column",
        "\"\"",
        "the name of a column",
    ),
    (
        "pipeline.session.duration_column",
        "1",
        "the name of a column",
    ),
    (
        "pipeline.session.distinct_column",
        "\"a`b\"",
        "the name of a column",
    ),
    (
        "pipeline.session.distinct_field",
        "\"\"",
        "the name of a field",
    ),
    (
        "pipeline.session.distinct_where.event_type",
        "[\"a\"]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.state.url",
        "\"ftp://host/path\"",
        "the URL of an object store",
    ),
    ("pipeline.state.interval", "\"0s\"", "from 1s to 24h"),
    ("pipeline.state.keep", "0", "from 1 to 1,000 (snapshots)"),
    (
        "pipeline.state.on_missing_state",
        "\"ask\"",
        "one of \"halt\", \"start_empty\"",
    ),
    (
        "pipeline.clickhouse.table",
        "\"a.b\"",
        "the database is clickhouse.database",
    ),
    ("pipeline.clickhouse.ddl", "\"\"", "the path of a file"),
    (
        "pipeline.dead_letter.topic",
        "\"a/b\"",
        "the name of a topic",
    ),
    (
        "pipeline.dead_letter.ratio_max",
        "1.5",
        "from 0 to 1 (share of records)",
    ),
    (
        "pipeline.dead_letter.payload",
        "\"hash\"",
        "one of \"original\", \"masked\", \"omit\"",
    ),
    ("pipeline.privacy.fields", "[\"email\"]", "a path such as"),
    (
        "pipeline.privacy.fields",
        "[\"$\"]",
        "must be fields of the record",
    ),
    (
        "pipeline.dead_letter.skip",
        "[\"user-events:0\"]",
        "topic:partition:offset",
    ),
];

/// The same for the keys that only the kind cdc has.
const WRONG_REPLICA_VALUES: &[(&str, &str, &str)] = &[
    ("pipeline.create_tables", "\"yes\"", "true or false"),
    (
        "pipeline.evolution",
        "\"all\"",
        "one of \"strict\", \"add_columns\", \"ignore\"",
    ),
    (
        "pipeline.truncate",
        "\"drop\"",
        "one of \"halt\", \"apply\", \"ignore\"",
    ),
    ("pipeline.toast_wait", "\"11m\"", "from 0s to 10m"),
    ("pipeline.version_epochs", "1", "a list of { since"),
    (
        "pipeline.version_epochs",
        "[{ since = \"yesterday\", epoch = 1 }]",
        "found { epoch = 1, since = \"yesterday\" }",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00.0001Z\", epoch = 1 }]",
        "to the millisecond",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 65536 }]",
        "epochs from 1 to 65,535",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 0 }]",
        "found { epoch = 0, since",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 2 }, { since = \"2026-11-22T02:00:00Z\", epoch = 2 }]",
        "found times or epochs that do not rise",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 1 }, { since = \"2026-11-21T02:00:00Z\", epoch = 2 }]",
        "found times or epochs that do not rise",
    ),
    (
        "pipeline.version_epochs",
        "[{ since = \"2026-11-21T02:00:00Z\", epoch = 1, until = 2 }]",
        "until = 2",
    ),
    (
        "pipeline.key_format",
        "\"string\"",
        "one of \"json\", \"avro\"",
    ),
    (
        "pipeline.key_format",
        "\"avro\"",
        "needs [schema_registry] with url: it has the schemas of keys",
    ),
    (
        "pipeline.format",
        "\"protobuf\"",
        "needs [schema_registry] with url, or protobuf.descriptor_file",
    ),
    (
        "pipeline.compression",
        "\"lz4\"",
        "one of \"none\", \"gzip\"",
    ),
    (
        "pipeline.debezium.decimal_mode",
        "\"exact\"",
        "one of \"precise\", \"string\", \"double\"",
    ),
    (
        "pipeline.debezium.time_mode",
        "\"adaptive_time\"",
        "\"adaptive\", \"adaptive_time_microseconds\", \"microseconds\", \"nanoseconds\", \"connect\"",
    ),
    (
        "pipeline.debezium.binary_mode",
        "\"octal\"",
        "\"bytes\", \"base64\", \"base64-url-safe\", \"hex\"",
    ),
    (
        "pipeline.debezium.bigint_unsigned_mode",
        "\"string\"",
        "one of \"long\", \"precise\"",
    ),
    (
        "pipeline.debezium.unavailable_value_placeholder",
        "\"\"",
        "1 to 1,024 bytes",
    ),
    (
        "pipeline.tables.\"shop.public.orders\"",
        "\"orders\"",
        "must be a table",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".table",
        "\"a.b\"",
        "the database is clickhouse.database",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".key",
        "\"id\"",
        "the name of a column",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".absent",
        "\"zero\"",
        "one of \"null\", \"keep\", \"halt\"",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".columns.note.type",
        "\"AggregateFunction(sum, UInt64)\"",
        "a type that the daemon writes",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".columns.note.on_out_of_range",
        "\"drop\"",
        "one of \"dead_letter\", \"null\", \"clamp\"",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".columns.note",
        "\"IntervalDay\"",
        "a type that the daemon writes, such as \"Nullable(Decimal(10, 2))\"",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".source_types.note",
        "\"org.apache.kafka.connect.data.Decimal\"",
        "Decimal(2)\" with its scale",
    ),
    ("pipeline.debezium.signal_table", "[]", "or a list of such"),
    (
        "pipeline.tables.\"shop.public.orders\".version_column",
        "\"\"",
        "the name of a column",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".deleted_column",
        "\"a`b\"",
        "the name of a column",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".view",
        "\"a.b\"",
        "the database is clickhouse.database",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".accept_empty",
        "\"yes\"",
        "true or false",
    ),
    (
        "pipeline.tables.\"shop.public.orders\".shared",
        "1",
        "true or false",
    ),
];

/// The same for declared topics.
const WRONG_TOPIC_VALUES: &[(&str, &str, &str)] = &[
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

/// The cases above, those of the overridable sections once more in the pipeline, and every table as
/// something that is no table.
fn wrong_values() -> Vec<(String, String, String)> {
    let owned = |(key, value, says): &(&str, &str, &str)| {
        ((*key).to_owned(), (*value).to_owned(), (*says).to_owned())
    };
    let values = WRONG_VALUES.iter().chain(WRONG_TOPIC_VALUES);
    let mut cases: Vec<_> = values.map(owned).collect();
    for section in ["kafka.", "clickhouse.", "redis.", "schema_registry."] {
        for (key, value, says) in WRONG_VALUES
            .iter()
            .filter(|(key, ..)| key.starts_with(section))
        {
            cases.push((
                format!("pipeline.{key}"),
                (*value).to_owned(),
                (*says).to_owned(),
            ));
        }
    }
    let keys = known_keys();
    for key in &keys {
        let is_table = keys
            .iter()
            .any(|other| other.starts_with(&format!("{key}.")));
        if is_table && !key.ends_with('*') && key != "pipeline" && !is_of_another_kind(key) {
            cases.push((key.clone(), "7".to_owned(), "must be a table".to_owned()));
        }
    }
    let entry = "pipeline.lookup.columns.user_email".to_owned();
    cases.push((entry.clone(), "7".to_owned(), "must be a table".to_owned()));
    cases.push((entry, "\"email\"".to_owned(), "$.".to_owned()));
    cases
}

/// Tables of the kind cdc, as something that is no table, besides its wrong values.
fn wrong_replica_values() -> Vec<(String, String, String)> {
    let tables = ["debezium", "tables", "columns"].map(|table| format!("pipeline.{table}"));
    let inner = ["columns", "source_types"]
        .map(|table| format!("pipeline.tables.\"shop.public.orders\".{table}"));
    let no_table = tables.into_iter().chain(inner);
    let no_table = no_table.map(|key| (key, "7".to_owned(), "must be a table".to_owned()));
    let owned = |(key, value, says): &(&str, &str, &str)| {
        ((*key).to_owned(), (*value).to_owned(), (*says).to_owned())
    };
    WRONG_REPLICA_VALUES
        .iter()
        .map(owned)
        .chain(no_table)
        .collect()
}

/// Whether the clickstream pipeline cannot have the table.
fn is_of_another_kind(key: &str) -> bool {
    let tables = [
        "debezium", "tables", "window", "group", "metrics", "where", "output", "left", "right",
        "join",
    ];
    let is_in = |table: &&str| {
        let rest = key.strip_prefix("pipeline.");
        rest.is_some_and(|rest| rest == *table || rest.starts_with(&format!("{table}.")))
    };
    tables.iter().any(is_in)
}

/// Wrong values of keys that only the kind aggregation has, and its tables as something else.
const WRONG_WINDOWS_VALUES: &[(&str, &str, &str)] = &[
    ("pipeline.allowed_lateness", "\"31days\"", "30days"),
    ("pipeline.idle_timeout", "\"1ms\"", "100ms"),
    ("pipeline.idle_retention", "\"31days\"", "30days"),
    (
        "pipeline.late_records",
        "\"keep\"",
        "one of \"dead_letter\", \"drop\"",
    ),
    ("pipeline.partitioned_by", "\"\"", "the name of a column"),
    ("pipeline.window", "7", "must be a table"),
    (
        "pipeline.window.kind",
        "\"sliding\"",
        "\"tumbling\", \"hopping\", \"session\"",
    ),
    ("pipeline.window.size", "\"32days\"", "31days"),
    ("pipeline.window.slide", "\"0s\"", "1ms"),
    ("pipeline.group", "7", "must be a table"),
    ("pipeline.group.category", "7", "must be a table"),
    (
        "pipeline.group.category.from",
        "\"offset\"",
        "groups are told apart by a text",
    ),
    (
        "pipeline.group.category.path",
        "\"category\"",
        "a path such as",
    ),
    (
        "pipeline.group.category.default",
        "[]",
        "a text, a number or a boolean",
    ),
    ("pipeline.where", "7", "must be a table"),
    (
        "pipeline.where.kind",
        "[1]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.where.amount.eq",
        "[1]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.where.amount.ne",
        "[1]",
        "a text, a number or a boolean",
    ),
    ("pipeline.where.amount.in", "1", "a list of at least one"),
    ("pipeline.where.amount.gt", "\"1\"", "a number"),
    ("pipeline.where.amount.gte", "true", "a number"),
    ("pipeline.where.amount.lt", "\"1\"", "a number"),
    ("pipeline.where.amount.lte", "\"1\"", "a number"),
    ("pipeline.metrics", "7", "must be a table"),
    ("pipeline.metrics.sales", "7", "must be a table"),
    (
        "pipeline.metrics.sales.function",
        "\"median\"",
        "\"count\", \"sum\", \"min\", \"max\", \"avg\"",
    ),
    (
        "pipeline.metrics.revenue.path",
        "\"amount\"",
        "a path such as",
    ),
    (
        "pipeline.metrics.mean.product",
        "[]",
        "a list of at least one",
    ),
    (
        "pipeline.metrics.mean.places",
        "19",
        "an integer from 0 to 18",
    ),
    (
        "pipeline.format",
        "\"string\"",
        "must not be \"string\": only kind = \"enrichment\"",
    ),
    ("pipeline.key_format", "\"xml\"", "one of \"json\""),
    ("pipeline.metrics.sales.where", "7", "must be a table"),
    (
        "pipeline.metrics.sales.where.kind",
        "[1]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.metrics.sales.where.amount.eq",
        "[1]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.metrics.sales.where.amount.ne",
        "[1]",
        "a text, a number or a boolean",
    ),
    (
        "pipeline.metrics.sales.where.amount.in",
        "1",
        "a list of at least one",
    ),
    (
        "pipeline.metrics.sales.where.amount.gt",
        "\"1\"",
        "a number",
    ),
    (
        "pipeline.metrics.sales.where.amount.gte",
        "\"1\"",
        "a number",
    ),
    (
        "pipeline.metrics.sales.where.amount.lt",
        "\"1\"",
        "a number",
    ),
    (
        "pipeline.metrics.sales.where.amount.lte",
        "\"1\"",
        "a number",
    ),
    ("pipeline.output", "7", "must be a table"),
    ("pipeline.output.topic", "\"a b\"", "the name of a topic"),
    (
        "pipeline.keys_placed_by",
        "\"random\"",
        "one of \"consistent\", \"murmur2\", \"key_modulo\"",
    ),
    ("pipeline.group_bytes_max", "\"1MiB\"", "from 1B to 256KiB"),
    ("pipeline.window.size", "\"1month\"", "have no fixed length"),
    ("pipeline.window.size", "\"1M\"", "minutes are \"m\""),
    ("pipeline.window.slide", "\"1 y\"", "have no fixed length"),
    (
        "pipeline.allowed_lateness",
        "\"1d 1months\"",
        "have no fixed length",
    ),
];

fn wrong_windows_values() -> Vec<(String, String, String)> {
    let owned = |(key, value, says): &(&str, &str, &str)| {
        ((*key).to_owned(), (*value).to_owned(), (*says).to_owned())
    };
    WRONG_WINDOWS_VALUES.iter().map(owned).collect()
}

/// Wrong values of keys that only the kind stream_join has, or has too.
const WRONG_JOIN_VALUES: &[(&str, &str, &str)] = &[
    ("pipeline.watermark_delay", "\"25h\"", "24h"),
    ("pipeline.idle_timeout", "\"1ms\"", "100ms"),
    ("pipeline.timestamp_ahead_max", "\"366days\"", "365days"),
    ("pipeline.left", "7", "must be a table"),
    ("pipeline.left.topic", "\"^click\"", "the name of a topic"),
    ("pipeline.left.key_field", "\"$.id\"", "the name of a field"),
    ("pipeline.left.time_field", "\"\"", "need an event time"),
    (
        "pipeline.format",
        "\"string\"",
        "must not be \"string\": only kind = \"enrichment\"",
    ),
    (
        "pipeline.left.format",
        "\"avro\"",
        "needs [schema_registry] with url, or avro.schema_file",
    ),
    (
        "pipeline.left.key_format",
        "\"avro\"",
        "needs [schema_registry] with url: it has the schemas of keys",
    ),
    ("pipeline.right.format", "\"xml\"", "one of \"json\""),
    ("pipeline.left.compression", "true", "one of \"none\""),
    ("pipeline.right.compression", "\"lz4\"", "one of \"none\""),
    ("pipeline.left.key_format", "\"x\"", "one of \"json\""),
    ("pipeline.right.key_format", "7", "one of \"json\""),
    ("pipeline.join.retention_accepted", "1", "true or false"),
    ("pipeline.left.time_format", "\"%Q\"", "a strptime format"),
    ("pipeline.left.time_zone", "7", "IANA database"),
    ("pipeline.right.time_format", "\"\"", "a strptime format"),
    ("pipeline.right.time_zone", "\"\"", "IANA database"),
    ("pipeline.left.time_unit", "\"\"", "one of \"s\", \"ms\""),
    ("pipeline.right.time_unit", "1", "one of \"s\", \"ms\""),
    ("pipeline.right", "7", "must be a table"),
    ("pipeline.right.topic", "[\"a\"]", "the name of a topic"),
    ("pipeline.right.key_field", "1", "the name of a field"),
    ("pipeline.right.time_field", "\"$\"", "the name of a field"),
    ("pipeline.right.fields", "7", "must be a table"),
    (
        "pipeline.right.fields.user_email",
        "\"email\"",
        "a path such as",
    ),
    (
        "pipeline.right.fields.$mail",
        "\"$.m\"",
        "the name of a member",
    ),
    ("pipeline.join", "7", "must be a table"),
    (
        "pipeline.join.type",
        "\"outer\"",
        "one of \"left\", \"inner\"",
    ),
    (
        "pipeline.join.emit",
        "\"late\"",
        "one of \"on_watermark\", \"eager\"",
    ),
    (
        "pipeline.join.before",
        "\"8days\"",
        "from 0s to 7days, such as \"5s\", or \"unlimited\"",
    ),
    ("pipeline.join.before", "300", "or \"unlimited\""),
    ("pipeline.join.after", "\"unlimited\"", "to 7days"),
    (
        "pipeline.join.keys_placed_by",
        "\"random\"",
        "one of \"consistent\", \"murmur2\", \"key_modulo\"",
    ),
    ("pipeline.output", "7", "must be a table"),
    ("pipeline.output.topic", "\"a b\"", "the name of a topic"),
    (
        "pipeline.output.partitioner",
        "\"fnv1a\"",
        "one of \"consistent\", \"murmur2\", \"key_modulo\"",
    ),
    (
        "pipeline.output.right_time_field",
        "\"\"",
        "the name of a field",
    ),
    (
        "pipeline.output.join_time_field",
        "\"$.at\"",
        "the name of a field",
    ),
    ("pipeline.batch.flush_interval", "\"5ms\"", "10ms"),
];

/// The key as [`known_keys`] lists it: a name the user chose is `*`.
fn known_form(key: &str) -> String {
    const NAMED: [&str; 18] = [
        "topics",
        "topics.*.config",
        "kafka.properties",
        "clickhouse.settings",
        "pipeline.kafka.properties",
        "pipeline.clickhouse.settings",
        "watermark",
        "pipeline.columns",
        "pipeline.lookup.columns",
        "pipeline.session.distinct_where",
        "pipeline.tables",
        "pipeline.tables.*.columns",
        "pipeline.tables.*.source_types",
        "pipeline.group",
        "pipeline.metrics",
        "pipeline.metrics.*.where",
        "pipeline.where",
        "pipeline.right.fields",
    ];
    let mut known = String::new();
    for part in parts_of(key) {
        let is_chosen = NAMED.contains(&known.as_str());
        let part = if is_chosen { "*" } else { &part };
        let dot = if known.is_empty() { "" } else { "." };
        known = format!("{known}{dot}{part}");
    }
    known
}

#[test]
fn a_wrong_value_of_any_key_is_named_with_what_is_allowed() {
    for (key, value, says) in wrong_values() {
        assert_problem(
            &shipped_with(&[(&key, &value)]),
            &problem_path(&key),
            &[&says],
        );
    }
    assert!(parse(REPLICA).is_ok());
    for (key, value, says) in wrong_replica_values() {
        let text = replica_with(&[(&key, &value)]);
        assert_problem(&text, &path_in("shop", &key), &[&says]);
    }
    assert!(parse(WINDOWS).is_ok());
    for (key, value, says) in wrong_windows_values() {
        let text = windows_with(&[(&key, &value)]);
        assert_problem(&text, &path_in("sales", &key), &[&says]);
    }
    assert!(parse(JOIN).is_ok());
    for (key, value, says) in WRONG_JOIN_VALUES {
        let text = join_with(&[(key, value)]);
        assert_problem(&text, &path_in("enriched", key), &[says]);
    }
    let sessions = [
        ("pipeline.window", "{ kind = \"session\" }"),
        ("pipeline.partitioned_by", "\"category\""),
    ];
    assert!(parse(&windows_with(&sessions)).is_ok());
    let gap = [&sessions[..], &[("pipeline.window.gap", "\"8days\"")]].concat();
    assert_problem(&windows_with(&gap), "pipeline.sales.window.gap", &["7days"]);
    let text = shipped_with(&[("pipeline.name", "\"click stream\"")]);
    assert_problem(&text, "pipeline.click stream.name", &["1 to 64 characters"]);
    assert_problem("pipeline = 3", "pipeline", &["write [[pipeline]]"]);
    assert_problem(
        "[pipeline]\nname = \"x\"",
        "pipeline",
        &["write [[pipeline]]"],
    );
    assert_problem("pipeline = [3]", "pipeline[0]", &["write [[pipeline]]"]);
}

#[test]
fn every_key_the_reader_knows_has_a_wrong_value_here() {
    let mut tried: BTreeSet<String> = wrong_values()
        .iter()
        .chain(&wrong_replica_values())
        .chain(&wrong_windows_values())
        .map(|(key, ..)| known_form(key))
        .collect();
    tried.extend(WRONG_JOIN_VALUES.iter().map(|(key, ..)| known_form(key)));
    tried.insert("pipeline.window.gap".to_owned());
    tried.extend(["pipeline".to_owned(), "pipeline.name".to_owned()]);
    let known = known_keys();
    let untried: Vec<_> = known.difference(&tried).collect();
    assert!(
        untried.is_empty(),
        "keys without a wrong value: {untried:?}"
    );
    let unknown: Vec<_> = tried.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "cases for keys that do not exist: {unknown:?}"
    );
}

#[test]
fn every_key_of_the_shipped_file_is_known_and_every_table_refuses_others() {
    let tables = [
        "",
        "service.",
        "kafka.",
        "clickhouse.",
        "redis.",
        "topics.user-events.",
        "pipeline.",
        "pipeline.kafka.",
        "pipeline.clickhouse.",
        "pipeline.redis.",
        "pipeline.batch.",
        "pipeline.columns.event_id.",
        "pipeline.lookup.",
        "pipeline.lookup.columns.user_email.",
        "pipeline.session.",
        "pipeline.state.",
        "pipeline.dead_letter.",
    ];
    for table in tables {
        let key = format!("{table}nonsense");
        assert_problem(
            &shipped_with(&[(&key, "1")]),
            &problem_path(&key),
            &["unknown key", "allowed: "],
        );
    }
}

#[test]
fn a_misspelt_key_is_told_the_nearest_one() {
    let text = shipped_with(&[("pipeline.batch.row_max", "5")]);
    assert_problem(
        &text,
        "pipeline.clickstream.batch.row_max",
        &[
            "did you mean rows_max?",
            "allowed: bytes_max, flush_interval",
        ],
    );
    let text = shipped_with(&[("service.colour", "5")]);
    let Err(Problems(problems)) = parse(&text) else {
        panic!("accepted")
    };
    assert!(
        !problems[0].message.contains("did you mean"),
        "{}",
        problems[0]
    );
}

/// A key and the TOML value it is set to.
type Edit = (&'static str, &'static str);

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
fn a_named_watermark_is_of_pipelines_that_are_there_and_have_an_event_time() {
    let with = |pipelines: &str| shipped_with(&[("watermark.all.pipelines", pipelines)]);
    let config = parse(&with("[\"clickstream\", \"sales\"]"))
        .expect("valid")
        .config;
    let [watermark] = &config.watermarks[..] else {
        panic!("{:?}", config.watermarks);
    };
    assert_eq!((&*watermark.name, watermark.pipelines.len()), ("all", 2));
    assert_eq!(watermark.table, None);
    for (pipelines, words) in [
        ("[\"nobody\"]", "there is no such pipeline"),
        ("[\"clickstream\", \"shop\"]", "without event time"),
    ] {
        let problems = parse(&with(pipelines)).expect_err("refused");
        let Problem {
            key_path, message, ..
        } = &problems.0[0];
        assert_eq!(key_path, "watermark.all.pipelines");
        assert!(message.contains(words), "{message}");
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

#[test]
fn impossible_combinations_are_named() {
    for (edits, key, says) in COMBINATIONS {
        assert_problem(&shipped_with(edits), &problem_path(key), &[says]);
    }
}

/// What a made column cannot be, with the key and the message.
const MADE_COLUMNS: &[(&str, &str, &str)] = &[
    ("{ apply = [] }", ".apply", "must have 1 to 32 steps, has 0"),
    (
        "{ apply = [\"lowr\"] }",
        ".apply[0]",
        "unknown step \"lowr\", did you mean lower? (allowed: abs, lower,",
    ),
    (
        "{ apply = [\"trim\", { rond = 2 }] }",
        ".apply[1]",
        "unknown step \"rond\", did you mean round?",
    ),
    (
        "{ apply = [\"round\"] }",
        ".apply[0]",
        "needs a value: write { round = … }",
    ),
    (
        "{ apply = [{ trim = true }] }",
        ".apply[0]",
        "must be written as a name: \"trim\"",
    ),
    (
        "{ apply = [{ round = 2, scale = \"0.1\" }] }",
        ".apply[0]",
        "must have one step, found round and scale",
    ),
    (
        "{ apply = [7] }",
        ".apply[0]",
        "must be the name of a step or a table with one, found 7",
    ),
    (
        "{ apply = [{ round = 77 }] }",
        ".apply[0].round",
        "from 0 to 76",
    ),
    (
        "{ apply = [{ split = \",\", idx = 1 }] }",
        ".apply[0].idx",
        "unknown key, did you mean index?",
    ),
    (
        "{ apply = [{ split = \"\" }] }",
        ".apply[0].split",
        "must not be empty",
    ),
    (
        "{ apply = [{ replace = [\"a\"] }] }",
        ".apply[0].replace",
        "a list of two texts",
    ),
    (
        "{ apply = [{ extract = \"(\" }] }",
        ".apply[0].extract",
        "must be a regular expression",
    ),
    (
        "{ apply = [{ scale = \"1,5\" }] }",
        ".apply[0].scale",
        "a number, as a text where its digits matter",
    ),
    (
        "{ apply = [{ bucket = [2, 1] }] }",
        ".apply[0].bucket",
        "each larger than the one before",
    ),
    (
        "{ apply = [{ part = \"week\" }] }",
        ".apply[0].part",
        "one of \"hour\", \"day_of_week\"",
    ),
    (
        "{ apply = [{ part = \"hour\", zone = \"Berlin\" }] }",
        ".apply[0].zone",
        "a time zone of the IANA database",
    ),
    (
        "{ apply = [{ part = \"hour\", hours = [1, 2] }] }",
        ".apply[0].hours",
        "unknown key",
    ),
    (
        "{ apply = [{ part = \"is_business_hours\", hours = [17, 9] }] }",
        ".apply[0].hours",
        "the first before the second",
    ),
    (
        "{ apply = [{ truncate_time = \"7h\" }] }",
        ".apply[0].truncate_time",
        "must be a part of a day",
    ),
    (
        "{ apply = [{ map_file = \"nowhere.csv\" }] }",
        ".apply[0].map_file",
        "must name a file of CSV with the header from,to",
    ),
    (
        "{ path = \"$.a\", sum = [\"$.b\"] }",
        ".path",
        "cannot be set together with a value that is computed",
    ),
    (
        "{ product = [\"$.a\"], sum = [\"$.b\"] }",
        ".sum",
        "cannot be set together with product",
    ),
    (
        "{ sum = [\"$.a\"], separator = \"-\" }",
        ".separator",
        "needs concat",
    ),
    (
        "{ concat = [\"$.a[*].b\"] }",
        ".concat",
        "[*] leads to several",
    ),
    (
        "{ path = \"$.a[*]\", mask = \"redact\" }",
        ".path",
        "[*] leads to several",
    ),
    (
        "{ raw = \"any\", apply = [\"trim\"] }",
        ".raw",
        "cannot be set together with apply",
    ),
    (
        "{ from = \"key\", mask = \"redact\" }",
        ".from",
        "cannot be set together with apply",
    ),
    (
        "{ on_error = \"default\" }",
        ".on_error",
        "needs apply, mask",
    ),
    (
        "{ apply = [\"trim\"], on_error = \"default\", required = true }",
        ".on_error",
        "cannot be set together with required",
    ),
    (
        "{ mask = \"hmac\" }",
        ".mask",
        "needs service.mask_key_file",
    ),
    (
        "{ mask = \"redact\", keep = 2 }",
        ".keep",
        "needs mask = \"keep_last\"",
    ),
];

#[test]
fn what_no_value_can_be_made_of_is_named_with_its_step() {
    for (entry, key, says) in MADE_COLUMNS {
        let text = shipped_with(&[("pipeline.columns.made", entry)]);
        let key = problem_path(&format!("pipeline.columns.made{key}"));
        assert_problem(&text, &key, &[says]);
    }
    for (key, field) in [("time_field", "at"), ("session.key_field", "visitor")] {
        let column = format!("pipeline.columns.{field}");
        let key = format!("pipeline.{key}");
        let quoted = format!("\"{field}\"");
        let text = shipped_with(&[(&column, "{ apply = [\"trim\"] }"), (&key, &quoted)]);
        assert_problem(&text, &problem_path(&key), &["makes that column of fields"]);
    }
}

#[test]
fn private_fields_in_whole_dead_letters_draw_a_warning() {
    let fields = ("pipeline.privacy.fields", "[\"$.email\"]");
    let warned = |edits: &[Edit]| {
        let loaded = parse(&shipped_with(edits)).expect("nothing is wrong with it");
        let mut warnings = loaded.warnings.into_iter();
        warnings.any(|w| w.key_path == "pipeline.clickstream.dead_letter.payload")
    };
    assert!(!warned(&[]));
    assert!(warned(&[fields]));
    for payload in ["\"masked\"", "\"omit\""] {
        assert!(!warned(&[
            fields,
            ("pipeline.dead_letter.payload", payload)
        ]));
    }
}

/// The same for the kind cdc.
const REPLICA_COMBINATIONS: &[(&[Edit], &str, &str)] = &[
    (
        &[("pipeline.dead_letter.payload", "\"masked\"")],
        "pipeline.dead_letter.payload",
        "hides no fields",
    ),
    (
        &[("pipeline.clickhouse.table", "\"orders\"")],
        "pipeline.clickhouse.table",
        "[pipeline.tables.\"topic\"]",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.order_items\".table",
            "\"orders\"",
        )],
        "pipeline.topics",
        "shop.public.order_items and shop.public.orders would both be written to the table orders",
    ),
    (
        &[(
            "pipeline.topics",
            "[\"a.orders\", \"b.orders\", \"shop.public.orders\"]",
        )],
        "pipeline.topics",
        "a.orders and b.orders would both be written to the table orders",
    ),
    (
        &[("pipeline.tables.\"crm.orders\".key", "[]")],
        "pipeline.topics",
        "crm.orders",
    ),
    (
        &[("pipeline.tables.elsewhere.key", "[]")],
        "pipeline.tables.elsewhere",
        "one of the pipeline's topics; a topic's name goes in quotes",
    ),
    (
        &[("pipeline.tables.shop.public.orders.table", "\"x\"")],
        "pipeline.tables.shop",
        "goes in quotes",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".key",
            "[\"a\", \"b\", \"a\"]",
        )],
        "pipeline.tables.shop.public.orders.key",
        "each column once: a",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".key",
            "[\"_version\"]",
        )],
        "pipeline.tables.shop.public.orders.key",
        "the daemon fills it",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".deleted_column",
            "\"_version\"",
        )],
        "pipeline.tables.shop.public.orders.deleted_column",
        "must not be the version_column",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".version_column",
            "\"total\"",
        )],
        "pipeline.tables.shop.public.orders.columns.total",
        "the daemon makes and fills it",
    ),
    (
        &[
            ("pipeline.tables.\"shop.public.orders\".table", "\"o\""),
            ("pipeline.tables.\"shop.public.orders\".view", "\"o\""),
        ],
        "pipeline.tables.shop.public.orders.view",
        "must not be the table",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".accept_empty",
            "\"yes\"",
        )],
        "pipeline.tables.shop.public.orders.accept_empty",
        "true or false",
    ),
    (
        &[("pipeline.tables.\"shop.public.orders\".shared", "1")],
        "pipeline.tables.shop.public.orders.shared",
        "true or false",
    ),
    (
        &[("pipeline.debezium.signal_table", "[]")],
        "pipeline.debezium.signal_table",
        "or a list of such",
    ),
    (
        &[(
            "pipeline.tables.\"shop.public.orders\".columns._deleted",
            "\"UInt8\"",
        )],
        "pipeline.tables.shop.public.orders.columns._deleted",
        "the daemon makes and fills it",
    ),
    (
        &[("pipeline.columns._lsn", "{ from = \"offset\" }")],
        "pipeline.columns._lsn.from",
        "only kind = \"enrichment\"",
    ),
    (
        &[("pipeline.columns._lsn", "\"$.source.lsn[0]\"")],
        "pipeline.columns._lsn.path",
        "must be names of members alone",
    ),
    (
        &[("pipeline.columns._lsn", "\"$\"")],
        "pipeline.columns._lsn.path",
        "must be names of members alone",
    ),
    (
        &[("pipeline.columns._version", "\"$.source.lsn\"")],
        "pipeline.columns._version",
        "the daemon fills it",
    ),
    (
        &[("pipeline.columns._offset", "\"$.source.lsn\"")],
        "pipeline.columns._offset",
        "the daemon fills it",
    ),
    (
        &[("pipeline.time_field", "\"ts\"")],
        "pipeline.time_field",
        "unknown key",
    ),
    (
        &[("pipeline.lookup.kind", "\"redis\"")],
        "pipeline.lookup",
        "unknown key",
    ),
    (
        &[("pipeline.session.timeout", "\"1m\"")],
        "pipeline.session",
        "unknown key",
    ),
    (
        &[("pipeline.state.keep", "1")],
        "pipeline.state",
        "unknown key",
    ),
    (
        &[("pipeline.debezium.nonsense", "1")],
        "pipeline.debezium.nonsense",
        "unknown key",
    ),
    (
        &[("pipeline.tables.\"shop.public.orders\".colums", "{}")],
        "pipeline.tables.shop.public.orders.colums",
        "did you mean columns?",
    ),
];

#[test]
fn impossible_combinations_of_a_replica_are_named() {
    for (edits, key, says) in REPLICA_COMBINATIONS {
        assert_problem(&replica_with(edits), &path_in("shop", key), &[says]);
    }
}

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
fn a_table_or_topic_has_one_writer_and_nobody_feeds_itself() {
    let second = |edits: &[Edit]| {
        let apart = [
            ("pipeline.name", "\"second\""),
            ("pipeline.topics", "[\"other-events\"]"),
            ("pipeline.clickhouse.table", "\"others\""),
            ("pipeline.output.topic", "\"others-by-minute\""),
        ];
        let text = windows_with(&[&apart[..], edits].concat());
        format!("{WINDOWS}{}", text.replace("\n[service]", ""))
    };
    let both = second(&[]);
    assert!(parse(&both).is_ok_and(|loaded| loaded.warnings.is_empty()));
    let table = second(&[("pipeline.clickhouse.table", "\"sales\"")]);
    assert_problem(
        &table,
        "pipeline.second.clickhouse.table",
        &["the table analytics.sales", "pipeline.sales"],
    );
    let elsewhere = second(&[
        ("pipeline.clickhouse.table", "\"sales\""),
        ("pipeline.clickhouse.url", "\"http://other:8123\""),
    ]);
    assert!(parse(&elsewhere).is_ok(), "another server");
    let topic = second(&[("pipeline.output.topic", "\"sales-by-minute\"")]);
    let key = "pipeline.second.output.topic";
    assert_problem(&topic, key, &["the topic sales-by-minute"]);
    let dead_letters = second(&[("pipeline.output.topic", "\"streamweir-dead-letters\"")]);
    assert_problem(&dead_letters, key, &["dead letters"]);
    let own = windows_with(&[("pipeline.output.topic", "\"sales-events\"")]);
    assert_problem(
        &own,
        "pipeline.sales.output.topic",
        &["the topic sales-events", "would feed itself"],
    );
    let events = "\n[[pipeline]]\nname = \"raw\"\nkind = \"enrichment\"\ntopics = [\"raw\"]\n\
                  group_id = \"raw\"\nclickhouse.table = \"sales\"\n";
    assert_problem(
        &format!("{WINDOWS}{events}"),
        "pipeline.raw.clickhouse.table",
        &["the table analytics.sales"],
    );
    let replicas = REPLICA
        .replace("\"shop\"", "\"copy\"")
        .replace("shop-replica", "copy");
    let both_replicas = format!("{REPLICA}{replicas}");
    assert_problem(
        &both_replicas,
        "pipeline.copy.topics",
        &["the table analytics.order_items"],
    );
    let around = second(&[
        ("pipeline.topics", "[\"sales-by-minute\"]"),
        ("pipeline.output.topic", "\"sales-events\""),
    ]);
    let warnings = parse(&around).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("sales → second → sales"));
}

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

#[test]
fn what_a_replica_has_for_missing_and_unfit_values_is_the_tables_or_the_columns() {
    let table = "pipeline.tables.\"shop.public.orders\"";
    let loaded = parse(&replica_with(&[
        (&format!("{table}.absent"), "\"keep\""),
        (
            &format!("{table}.columns.valid_to"),
            "{ type = \"Date32\", on_out_of_range = \"clamp\" }",
        ),
        (
            "pipeline.columns.valid_to",
            "{ on_out_of_range = \"null\" }",
        ),
    ]));
    let config = loaded.expect("right").config;
    let streamweir::config::Kind::Cdc(cdc) = &config.pipelines[0].kind else {
        panic!("a replica")
    };
    let mapping = &cdc.tables["shop.public.orders"];
    assert_eq!(mapping.absent, Some(streamweir::config::Absent::Keep));
    assert!(mapping.columns.iter().any(|(name, _)| name == "valid_to"));
    let [own, other] = ["shop.public.orders", "shop.public.order_items"]
        .map(|topic| cdc.out_of_range(topic, "valid_to"));
    assert_eq!((own, other), (OutOfRange::Clamp, OutOfRange::Null));
    assert_eq!(cdc.out_of_range("crm.a", "x"), OutOfRange::DeadLetter);
    assert!(cdc.note("valid_to").is_none() && cdc.note("_lsn").is_some());
    let event = [(
        "pipeline.columns.page_url",
        "{ on_out_of_range = \"null\" }",
    )];
    assert_problem(
        &shipped_with(&event),
        "pipeline.clickstream.columns.page_url.on_out_of_range",
        &["only replicas"],
    );
}

#[test]
fn a_replica_without_declared_modes_draws_a_warning_that_names_them() {
    assert!(parse(REPLICA).expect("right").warnings.is_empty());
    let loaded = parse(&replica_with(&[("pipeline.debezium", "-")])).expect("right too");
    let [warning] = &loaded.warnings[..] else {
        panic!("one warning: {:?}", loaded.warnings)
    };
    assert_eq!(warning.key_path, "pipeline.shop.debezium");
    for part in [
        "halts",
        "decimal_mode",
        "time_mode",
        "binary_mode",
        "schema block",
    ] {
        assert!(warning.message.contains(part), "{warning}");
    }
}

#[test]
fn missing_keys_without_a_default_are_named() {
    for key in ["topics", "group_id", "kind", "clickhouse.table"] {
        let key = format!("pipeline.{key}");
        assert_problem(
            &shipped_with(&[(&key, "-")]),
            &problem_path(&key),
            &["is required"],
        );
    }
    let text = shipped_with(&[("pipeline.name", "-")]);
    assert_problem(
        &text,
        "pipeline[0].name",
        &["is required", "1 to 64 characters"],
    );
}

#[test]
fn a_kind_that_does_not_exist_is_told_all_that_do() {
    let text = shipped_with(&[("pipeline.kind", "\"join\"")]);
    let expected = "unknown kind \"join\"; allowed: enrichment, cdc, aggregation, stream_join, raw";
    assert_problem(&text, "pipeline.clickstream.kind", &[expected]);
}

#[test]
fn rules_are_read_and_what_cannot_be_checked_is_named() {
    let rule = |check: &str| format!("[{{ name = \"r\", check = {check} }}]");
    let files = r#"{ field = "$.a", in_file = "Cargo.toml" }"#;
    for check in [
        r#"{ field = "$.a", gt = 0, lte = 1.5 }"#,
        r#"{ field = "$.a", between = ["now-7d", "now"] }"#,
        r#"{ any = [{ field = "$.a", absent = true }, { not = { field = "$.b", is_email = true } }] }"#,
        r#"{ field = "$.a", equals_sum = ["$.b", "$.c"], tolerance = 0.01 }"#,
        r#"{ field = "$.a", matches = "^[a-z]+$", length_max = 9, type = "string" }"#,
        files,
    ] {
        let text = shipped_with(&[("pipeline.rule", &rule(check))]);
        parse(&text).unwrap_or_else(|problems| panic!("{check}: {problems}"));
        let text = windows_with(&[("pipeline.rule", &rule(check))]);
        parse(&text).unwrap_or_else(|problems| panic!("{check}: {problems}"));
    }
    for (rules, says) in [
        (rule("{ }"), "must have a field"),
        (
            rule(r#"{ field = "$.a" }"#),
            "must say what the field is to be",
        ),
        (rule(r#"{ field = "a[0]", gt = 0 }"#), "a path such as"),
        (
            rule(r#"{ field = "$.a", matches = "(" }"#),
            "no regular expression",
        ),
        (rule(r#"{ field = "$.a", gt = "nowadays" }"#), "now-7d"),
        (rule(r#"{ field = "$.a", between = [1] }"#), "a list of two"),
        (rule(r#"{ field = "$.a", is_ip = false }"#), "must be true"),
        (
            rule(r#"{ field = "$.a", gt = 0, tolerance = 1 }"#),
            "goes with equals_product",
        ),
        (
            rule(r#"{ field = "$.a", in_file = "nowhere.txt" }"#),
            "cannot be read",
        ),
        (rule(r#"{ field = "$.a", greater = 0 }"#), "unknown key"),
        (rule(r#"{ all = [] }"#), "at least one condition"),
        ("[{ name = \"r\" }]".to_owned(), "is required: a condition"),
        (
            "[{ check = { field = \"$.a\", gt = 0 } }]".to_owned(),
            "is required",
        ),
    ] {
        let problems = parse(&shipped_with(&[("pipeline.rule", &rules)])).expect_err(&rules);
        assert!(problems.to_string().contains(says), "{rules}: {problems}");
    }
    let twice = format!(
        "[{0}, {0}]",
        r#"{ name = "r", check = { field = "$.a", gt = 0 } }"#
    );
    assert_problem(
        &shipped_with(&[("pipeline.rule", &twice)]),
        "pipeline.clickstream.rule",
        &["\"r\" twice"],
    );
    let one = rule(r#"{ field = "$.a", gt = 0 }"#);
    for (key, value, says) in [
        (
            "pipeline.quality.passed_column",
            "\"user_email\"",
            "the lookup fills it",
        ),
        (
            "pipeline.quality.failed_column",
            "\"event_id\"",
            "[pipeline.columns] maps it",
        ),
        (
            "pipeline.quality.threshold",
            "[{ rule = \"x\", ratio_min = 0.5 }]",
            "names no rule",
        ),
        (
            "pipeline.quality.threshold",
            "[{ rule = \"r\", ratio_min = 2 }]",
            "from 0 to 1",
        ),
        (
            "pipeline.quality.threshold",
            "[{ rule = \"r\" }]",
            "is required",
        ),
    ] {
        let text = shipped_with(&[("pipeline.rule", &one), (key, value)]);
        let problems = parse(&text).expect_err(value);
        assert!(problems.to_string().contains(says), "{key}: {problems}");
    }
    let alone = shipped_with(&[("pipeline.quality.passed_column", "\"p\"")]);
    assert_problem(&alone, "pipeline.clickstream.quality", &["add a rule"]);
    let of_windows = [
        ("pipeline.rule", &*one),
        ("pipeline.quality.passed_column", "\"p\""),
    ];
    let says = "a row is made of many records";
    assert_problem(
        &windows_with(&of_windows),
        "pipeline.sales.quality.passed_column",
        &[says],
    );
}

#[test]
fn every_example_is_a_configuration_without_problems_whose_tables_have_their_ddl() {
    let directory = root().join("examples");
    let mut examples = vec![];
    for entry in std::fs::read_dir(&directory).expect("a directory") {
        let name = entry.expect("an entry").file_name();
        let name = name.to_str().expect("a name").to_owned();
        if !name.ends_with(".toml") {
            continue;
        }
        let text = std::fs::read_to_string(directory.join(&name)).expect("a text");
        let loaded = Config::parse(&text, &name, &directory, []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{name}: {problems}"));
        for pipeline in &loaded.config.pipelines {
            let ddl = pipeline.ddl.as_deref();
            let ddl = std::fs::read_to_string(ddl.expect("the DDL of its table"));
            let creates = format!("CREATE TABLE IF NOT EXISTS {}", pipeline.table);
            assert!(ddl.expect("a file").contains(&creates), "{name}: {creates}");
        }
        examples.push(name);
    }
    examples.sort_unstable();
    let all = ["enriched", "iot", "logs", "medallion", "retail"];
    assert_eq!(examples, all.map(|name| format!("{name}.toml")));
}

#[test]
fn duplicates_are_asked_for_where_there_is_an_event_time_and_one_row_a_record() {
    let dedup = |more: &str| format!("{{ key = [\"$.id\"], within = \"1h\"{more} }}");
    let flag = ", on_duplicate = \"flag\"";
    for more in [
        "",
        ", on_duplicate = \"dead_letter\"",
        ", on_duplicate = \"flag\", flag_column = \"again\"",
    ] {
        let text = shipped_with(&[("pipeline.dedup", &dedup(more))]);
        parse(&text).unwrap_or_else(|problems| panic!("{more}: {problems}"));
    }
    parse(&windows_with(&[("pipeline.dedup", &dedup(""))])).expect("windows too");
    for (more, others, says) in [
        (flag, vec![], "is required with on_duplicate"),
        (", flag_column = \"f\"", vec![], "goes with on_duplicate"),
        (
            ", on_duplicate = \"flag\", flag_column = \"event_id\"",
            vec![],
            "[pipeline.columns] maps it",
        ),
        (
            "",
            vec![("pipeline.explode", "\"$.items\"")],
            "counts records",
        ),
        (
            ", on_duplicate = \"flag\", flag_column = \"passed\"",
            vec![("pipeline.quality.passed_column", "\"passed\"")],
            "[pipeline.quality] fills it",
        ),
        (", every = 1", vec![], "unknown key"),
    ] {
        let dedup = dedup(more);
        let changes = [vec![("pipeline.dedup", &*dedup)], others].concat();
        let problems = parse(&shipped_with(&changes)).expect_err(more);
        assert!(problems.to_string().contains(says), "{more}: {problems}");
    }
    let flagged = dedup(", on_duplicate = \"flag\", flag_column = \"again\"");
    assert_problem(
        &windows_with(&[("pipeline.dedup", &flagged)]),
        "pipeline.sales.dedup.on_duplicate",
        &["a row is made of many records"],
    );
}

/// A pipeline of kind raw.
const RAW: &str = r#"
    [[pipeline]]
    name = "bronze"
    kind = "raw"
    topics = ["retail-transactions"]
    group_id = "bronze"
    [pipeline.columns]
    body = { from = "value" }
    tenant = { from = "header:tenant", default = "none" }
    [pipeline.clickhouse]
    table = "bronze_events"
"#;

#[test]
fn a_raw_pipeline_takes_parts_of_records_and_nothing_in_them() {
    let loaded = parse(RAW).unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(loaded.config.pipelines[0].kind.name(), "raw");
    let named = edited(RAW, &[("pipeline.format", "\"avro\"")]);
    assert!(parse(&named).is_ok(), "no registry is asked");
    for (key, value, says) in [
        ("pipeline.columns.body", "\"$\"", "kind = \"raw\""),
        ("pipeline.columns.body.path", "\"$.a\"", "must not be set"),
        (
            "pipeline.columns.body.required",
            "true",
            "must not be set with kind = \"raw\"",
        ),
        (
            "pipeline.columns.body.from",
            "\"body\"",
            "\"schema_id\" and \"header:NAME\"",
        ),
        ("pipeline.format", "\"xml\"", "json_schema"),
        ("pipeline.time_field", "\"at\"", "unknown key"),
        ("pipeline.clickhouse.table", "-", "is required"),
    ] {
        let problems = parse(&edited(RAW, &[(key, value)])).expect_err(key);
        assert!(problems.to_string().contains(says), "{key}: {problems}");
    }
}

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

/// The shipped file and a second pipeline.
fn with_second(name: &str, group: &str, topics: &str) -> String {
    format!(
        "{SHIPPED}\n[[pipeline]]\nname = \"{name}\"\nkind = \"enrichment\"\ntopics = [{topics}]\n\
         group_id = \"{group}\"\nclickhouse.table = \"t\"\n"
    )
}

#[test]
fn two_pipelines_do_not_share_a_name() {
    let text = with_second("clickstream", "other", "\"x\"");
    assert_problem(&text, "pipeline[4].name", &["must be unique"]);
}

#[test]
fn two_pipelines_of_one_group_do_not_share_a_topic() {
    for topics in ["\"user-events\"", "\"^user-.*\"", "\"x\", \"user-events\""] {
        let text = with_second("second", "clickstream-processor", topics);
        assert_problem(
            &text,
            "pipeline.second.group_id",
            &["must differ from that of pipeline.clickstream", "user-"],
        );
    }
    let apart = with_second("second", "clickstream-processor", "\"other\", \"^else-.*\"");
    assert!(parse(&apart).is_ok());
    assert!(parse(&with_second("second", "another", "\"user-events\"")).is_ok());
}

#[test]
fn every_problem_is_reported_with_its_line_in_the_order_of_the_file() {
    let text = "[service]\nmemory_max = 1\nlog_format = \"xml\"\n\n[[pipeline]]\nname = \"a\"\n\
                kind = \"enrichment\"\n[pipeline.batch]\nrows_max = 0\n[kafka]\nhost = \"x\"\n";
    let Err(problems) = parse(text) else {
        panic!("accepted")
    };
    let found: Vec<_> = problems
        .0
        .iter()
        .map(|problem| (problem.line, problem.key_path.as_str()))
        .collect();
    let expected = [
        (Some(2), "service.memory_max"),
        (Some(3), "service.log_format"),
        (Some(5), "pipeline.a.topics"),
        (Some(5), "pipeline.a.clickhouse.table"),
        (Some(5), "pipeline.a.group_id"),
        (Some(9), "pipeline.a.batch.rows_max"),
        (Some(11), "kafka.host"),
    ];
    assert_eq!(found, expected);
    assert_eq!(
        problems.0[5].to_string(),
        "config.toml:9: pipeline.a.batch.rows_max: must be an integer from 1 to 10,000,000 (rows), \
         found 0"
    );
    assert_eq!(problems.to_string().lines().count(), expected.len());
}

#[test]
fn a_text_that_is_no_toml_is_one_problem_that_does_not_quote_it() {
    let Err(Problems(problems)) = parse("[clickhouse]\npassword = \"hunter2\" oops\n") else {
        panic!("accepted")
    };
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].line, Some(2));
    assert!(problems[0].message.contains("not valid TOML"));
    assert!(
        !problems[0].to_string().contains("hunter2"),
        "{}",
        problems[0]
    );
}

#[test]
fn a_file_that_cannot_be_read_is_a_problem() {
    let Err(problems) = Config::load(Path::new("/no/such/config.toml"), []) else {
        panic!("accepted")
    };
    assert!(
        problems
            .to_string()
            .starts_with("/no/such/config.toml: cannot be read"),
        "{problems}"
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let loaded = parse_with(
        SHIPPED,
        &[
            ("STREAMWEIR__SERVICE__MEMORY_MAX", "1GiB"),
            ("STREAMWEIR__SERVICE__START_TIMEOUT", "0"),
            ("STREAMWEIR__SERVICE__INSTANCE_ID", "a"),
            ("STREAMWEIR__KAFKA__BOOTSTRAP_SERVERS", "a:9092, b:9093"),
            (
                "STREAMWEIR__CLICKHOUSE__URLS",
                "http://a:8123,http://b:8123",
            ),
            ("STREAMWEIR__CLICKHOUSE__PASSWORD", "hunter2"),
            ("STREAMWEIR__REDIS__TIMEOUT", "2s"),
            ("PATH", "/bin"),
            ("STREAMWEIR_LOG", "debug"),
        ],
    )
    .expect("the variables are right");
    let (service, pipeline) = (&loaded.config.service, &loaded.config.pipelines[0]);
    assert_eq!(service.memory_max_bytes, 1 << 30);
    assert_eq!(service.start_timeout, None);
    assert_eq!(service.instance_id.as_deref(), Some("a"));
    assert_eq!(pipeline.kafka.bootstrap_servers, ["a:9092", "b:9093"]);
    assert_eq!(pipeline.clickhouse.urls, ["http://a:8123", "http://b:8123"]);
    assert_eq!(pipeline.clickhouse.password.expose_secret(), "hunter2");
    assert_eq!(pipeline.redis.timeout.as_secs(), 2);
}

#[test]
fn variables_that_cannot_be_set_are_named() {
    for (name, value, key_path, says) in [
        (
            "STREAMWEIR__SERVICE__MEMORY_MAX",
            "lots",
            "service.memory_max",
            "found \"lots\"",
        ),
        (
            "STREAMWEIR__SERVICE__MEMROY_MAX",
            "1GiB",
            "service.memroy_max",
            "did you mean memory_max?",
        ),
        (
            "STREAMWEIR__KAFKA__BOOTSTRAP_SERVERS",
            "",
            "kafka.bootstrap_servers",
            "at least one",
        ),
        (
            "STREAMWEIR__KAFKA__PROPERTIES",
            "x",
            "kafka.properties",
            "must be a table",
        ),
        (
            "STREAMWEIR__KAFKA__PROPERTIES__CLIENT.ID",
            "x",
            "",
            "keys with dots",
        ),
        ("STREAMWEIR__KAFKA__CLIENT.ID", "x", "", "keys with dots"),
        (
            "STREAMWEIR__PIPELINE__CONSUMERS",
            "2",
            "",
            "a [[pipeline]] cannot be set",
        ),
        (
            "STREAMWEIR__SINK__URL",
            "x",
            "",
            "SERVICE, KAFKA, CLICKHOUSE, REDIS",
        ),
        ("STREAMWEIR__SERVICE", "x", "", "STREAMWEIR__SECTION__KEY"),
        ("STREAMWEIR__", "x", "", "unknown section"),
    ] {
        let Err(Problems(problems)) = parse_with(SHIPPED, &[(name, value)]) else {
            panic!("{name} is accepted")
        };
        let Problem {
            origin,
            line,
            key_path: found,
            message,
        } = &problems[0];
        assert_eq!(
            (origin.as_str(), *line, found.as_str()),
            (name, None, key_path)
        );
        assert!(message.contains(says), "{message}");
    }
    let twice = [
        ("STREAMWEIR__REDIS__TIMEOUT", "1s"),
        ("STREAMWEIR__redis__timeout", "2s"),
    ];
    let Err(problems) = parse_with(SHIPPED, &twice) else {
        panic!("accepted")
    };
    assert!(
        problems
            .to_string()
            .contains("sets the same key as STREAMWEIR__REDIS__TIMEOUT")
    );
}

#[test]
fn an_open_address_without_a_token_and_a_missing_ddl_are_warnings() {
    let warnings = |edits: &[(&str, &str)]| {
        parse(&shipped_with(edits))
            .expect("warnings are no problems")
            .warnings
    };
    let open = warnings(&[("service.http_listen", "\"0.0.0.0:9187\"")]);
    assert_eq!(open[0].key_path, "service.http_listen");
    let guarded = [
        ("service.http_listen", "\"0.0.0.0:9187\""),
        ("service.admin_token", "\"abc\""),
    ];
    assert!(warnings(&guarded).is_empty());
    let missing = warnings(&[("pipeline.clickhouse.ddl", "\"sql/none.sql\"")]);
    assert_eq!(missing[0].key_path, "pipeline.clickstream.clickhouse.ddl");
    assert!(
        parse("").expect("an empty file is right").warnings[0]
            .message
            .contains("no [[pipeline]]")
    );
}
