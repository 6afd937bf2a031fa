//! Every type that an engine knows, written by the daemon there and to the engine of all tests: both show the
//! same.

use sandbox::clickhouse::ClickHouse;
use sandbox::topic;

use super::{named, on};
use crate::programme::Run;
use crate::support::{EVENT_TIME_MS, Job};

/// A type, and three values of it.
const TYPES: [(&str, [&str; 3]); 33] = [
    ("String", [r#""a""#, r#""""#, r#""é\n""#]),
    ("FixedString(3)", [r#""ab""#, r#""abc""#, r#""""#]),
    ("UInt8", ["0", "255", "7"]),
    ("Int16", ["-32768", "32767", "0"]),
    ("UInt64", ["18446744073709551615", "0", "1"]),
    (
        "Int128",
        ["-170141183460469231731687303715884105728", "0", "7"],
    ),
    (
        "UInt256",
        [
            "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            "0",
            "7",
        ],
    ),
    ("Float32", ["1.5", "-0.25", "0"]),
    ("Float64", ["1e300", "-2.5", "0"]),
    ("Bool", ["true", "false", "true"]),
    ("Decimal(9, 2)", ["1.25", "-9999999.99", "0"]),
    ("Decimal(38, 9)", ["12.34", "-1", "0"]),
    ("Decimal(76, 38)", ["0.5", "-1", "0"]),
    (
        "Date",
        [r#""2025-11-21""#, r#""1970-01-01""#, r#""2149-06-06""#],
    ),
    (
        "Date32",
        [r#""1900-01-01""#, r#""2299-12-31""#, r#""1970-01-01""#],
    ),
    ("DateTime('Europe/Berlin')", ["1763719200", "0", "1"]),
    ("DateTime64(6, 'UTC')", ["1763719200123", "0", "1"]),
    (
        "Time64(3)",
        [r#""12:34:56.789""#, r#""-00:00:00.001""#, r#""00:00:00""#],
    ),
    (
        "UUID",
        [
            r#""61f0c404-5cb3-11e7-907b-a6006ad3dba0""#,
            r#""00000000-0000-0000-0000-000000000001""#,
            r#""ffffffff-ffff-ffff-ffff-ffffffffffff""#,
        ],
    ),
    (
        "Enum8('a' = -1, 'it''s' = 2)",
        [r#""a""#, r#""it's""#, r#""a""#],
    ),
    (
        "IPv4",
        [r#""1.2.3.4""#, r#""0.0.0.0""#, r#""255.255.255.255""#],
    ),
    (
        "IPv6",
        [r#""::1""#, r#""2001:db8::ff""#, r#""::ffff:1.2.3.4""#],
    ),
    (
        "LowCardinality(Nullable(String))",
        [r#""""#, "null", r#""b""#],
    ),
    (
        "Array(Array(Nullable(Int32)))",
        ["[[1,null],[]]", "[]", "[[-1]]"],
    ),
    (
        "Array(LowCardinality(Nullable(String)))",
        [r#"["a",null,"a"]"#, "[]", r#"["b"]"#],
    ),
    (
        "Map(LowCardinality(String), Array(Nullable(UInt8)))",
        [r#"{"a":[1,null],"b":[]}"#, "{}", r#"{"a":[2]}"#],
    ),
    (
        "Tuple(a LowCardinality(Nullable(String)), b Array(UInt8))",
        [r#"{"a":"x","b":[1]}"#, "{}", r#"{"b":[2,3]}"#],
    ),
    ("Point", ["[1.5,-2]", "[0,0]", "[3,4]"]),
    ("MultiPolygon", ["[[[[0,0],[1,0],[1,1]]]]", "[]", "[[]]"]),
    ("JSON", [r#"{"a":1,"b":{"c":["x"]}}"#, "{}", r#"{"a":"x"}"#]),
    ("Nullable(JSON)", ["null", r#"{"a":1.5}"#, "{}"]),
    ("Variant(Bool, String, UInt64)", [r#""a""#, "null", "true"]),
    ("Dynamic", ["18446744073709551615", "null", r#""x""#]),
];

/// Returns how many types it knows, and which it does not.
pub(super) fn read_alike(run: &mut Run, engine: &ClickHouse) -> String {
    let mut job = job(on(Job::new(&format!("{}-types", named(run))), engine));
    job.query("CREATE DATABASE {db}");
    let mut number = 0;
    let mut is_known = |type_name: &str| {
        number += 1;
        let sql = format!(
            "CREATE TABLE `{}`.tried_{number} (c {type_name}) ENGINE = MergeTree ORDER BY tuple()",
            job.database
        );
        engine.try_query(&sql).is_ok()
    };
    let (known, unknown): (Vec<_>, Vec<_>) =
        TYPES.iter().partition(|(type_name, _)| is_known(type_name));
    let mut newest = self::job(Job::new(&format!("{}-newest", named(run))));
    newest.set("pipeline.topics", vec![job.topic.clone()]);
    newest.set("pipeline.clickhouse.url", newest.clickhouse_url.clone());
    newest.query("CREATE DATABASE {db}");
    for job in [&job, &newest] {
        create(job, &known);
    }
    job.create_topic(1);
    produce(&job, &known);
    job.run_beside(&mut newest);
    job.run_to_end();
    let shown = |job: &Job| {
        job.query("SELECT * EXCEPT (_topic, _partition, _offset) FROM {db}.clickstream_events ORDER BY id")
    };
    let (there, here) = (shown(&job), shown(&newest));
    assert_eq!(here.lines().count(), 3, "{here}");
    assert_eq!(there, here);
    assert!(job.dead_letters().expect("the topic answers").is_empty());
    let names: Vec<String> = unknown
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    match names.is_empty() {
        true => format!("{} types", known.len()),
        false => format!("{} types; it has no {}", known.len(), names.join(", ")),
    }
}

fn job(mut job: Job) -> Job {
    for section in ["lookup", "session", "columns"] {
        job.unset(&format!("pipeline.{section}"));
    }
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    job
}

fn create(job: &Job, types: &[&(&str, [&str; 3])]) {
    let columns: String = types
        .iter()
        .enumerate()
        .map(|(number, (type_name, _))| format!("c{number} {type_name}, "))
        .collect();
    job.query(&format!(
        "CREATE TABLE {{db}}.clickstream_events (id UInt32, {columns} \
         _topic LowCardinality(String), _partition UInt32, _offset UInt64) \
         ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
    ));
}

fn produce(job: &Job, types: &[&(&str, [&str; 3])]) {
    let record = |id: usize| {
        let fields: String = types
            .iter()
            .enumerate()
            .map(|(number, (_, values))| format!(r#","c{number}":{}"#, values[id]))
            .collect();
        let value = format!(r#"{{"id":{id},"ts":"2025-11-21T10:00:00Z"{fields}}}"#);
        topic::Record::new(value)
            .partition(0)
            .timestamp_ms(EVENT_TIME_MS)
    };
    topic::produce(job.bootstrap(), &job.topic, (0..3).map(record)).expect("records");
}
