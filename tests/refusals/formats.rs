//! Records of other formats, and columns that take what Kafka says of a record.

use sandbox::topic;

use super::columns::{PROVENANCE, job};
use crate::support::registry::{framed, registry};
use crate::support::{EVENT_TIME_MS, Job};

pub(crate) fn record(value: &str) -> topic::Record {
    topic::Record::new(value)
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS)
}

pub(crate) fn reasons(job: &Job) -> Vec<String> {
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

#[test]
fn lines_of_fields_fill_the_columns_of_their_names_or_of_the_tables_order() {
    let columns = format!(
        "name Nullable(String), price Decimal(10, 2), at DateTime64(3, 'UTC'), ok Bool, \
         tags Array(String), {PROVENANCE}"
    );
    let mut job = job("lines", &columns);
    job.set("pipeline.format", "csv");
    job.set("pipeline.csv.delimiter", ";");
    job.set("pipeline.csv.header", true);
    let names = ["ts", "id", "user name", "price", "ok", "tags"];
    job.set("pipeline.csv.columns", names.map(str::to_owned).to_vec());
    job.set("pipeline.columns.name", "$.\"user name\"");
    job.set("pipeline.columns.at", "$.ts");
    job.set("pipeline.columns.price.required", true);
    let time = "2025-11-21T10:00:00Z";
    let lines = [
        "ts;id;user name;price;ok;tags\n".to_owned(),
        format!("{time};1;\"a;\"\"b\"\"\";12.50;true;\"[\"\"x\"\",\"\"y\"\"]\"\r\n"),
        format!("{time};2;;0;0;"),
        format!("{time};3;\"\";1e1;false;[]\n"),
        format!("{time};4;x;;true;"),
        format!("{time};5;x;1"),
        format!("{time};-6;x;1;true;"),
        "soon;7;x;1;true;".to_owned(),
    ];
    let records = lines.iter().map(|line| record(line));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows =
        job.query("SELECT id, name, price, at, ok, tags FROM {db}.clickstream_events ORDER BY id");
    let time = "2025-11-21 10:00:00.000";
    let expected = [
        format!("1\ta;\"b\"\t12.5\t{time}\ttrue\t['x','y']"),
        format!("2\t\\N\t0\t{time}\tfalse\t[]"),
        format!("3\t\t10\t{time}\tfalse\t[]"),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let reasons = reasons(&job);
    let expected = [
        "4 missing_field price",
        "5 invalid_value only 4 fields, expected 6",
        "6 out_of_range id",
        "7 invalid_value at",
    ];
    for (seen, expected) in reasons.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{reasons:?}");
    }
    assert_eq!(reasons.len(), expected.len());
    // Without names the fields are the table's own, and a new column at its end is missing in old lines.
    job.unset("pipeline.csv.columns");
    job.unset("pipeline.columns");
    job.set("pipeline.time_field", "");
    topic::produce(
        job.bootstrap(),
        &job.topic,
        [record("8;y;2;2025-11-21 11:00:00")],
    )
    .expect("a line");
    job.run_to_end();
    let row = job.query("SELECT name, at, ok FROM {db}.clickstream_events WHERE id = 8");
    assert_eq!(row, "y\t2025-11-21 11:00:00.000\tfalse");
}

#[test]
fn paths_lead_into_arrays_and_to_names_with_dots() {
    let columns = format!(
        "first String, skus Array(String), counts Array(Nullable(UInt8)), whole String, user UInt8, \
         at DateTime64(3, 'UTC'), {PROVENANCE}"
    );
    let mut job = job("paths", &columns);
    job.set("pipeline.time_field", "$.meta.at");
    for (column, path) in [
        ("first", "$.items[0].sku"),
        ("skus", "$.items[*].sku"),
        ("counts", "$.items[*].n"),
        ("user", "$.\"user.id\""),
        ("at", "$.meta.at"),
    ] {
        job.set(&format!("pipeline.columns.{column}.path"), path);
    }
    job.set("pipeline.columns.first.default", "none");
    job.set("pipeline.columns.whole.path", "$");
    job.set("pipeline.columns.whole.raw", "object");
    let rest = r#""meta":{"at":"2025-11-21T10:00:00Z"}"#;
    let records = [
        format!(r#"{{"id":1,"user.id":7,"items":[{{"sku":"a","n":1}},{{"sku":"b"}}],{rest}}}"#),
        format!(r#" {{"id":2,"items":[],{rest}}}"#),
        format!(r#"{{"id":3,"items":[{{"n":1}}],{rest}}}"#),
        format!(r#"{{"id":4,"items":{{"sku":"a"}},{rest}}}"#),
        r#"{"id":5}"#.to_owned(),
    ];
    let produced = records.iter().map(|value| record(value));
    topic::produce(job.bootstrap(), &job.topic, produced).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT first, skus, counts, whole, user, at FROM {db}.clickstream_events ORDER BY id",
    );
    let time = "2025-11-21 10:00:00.000";
    let expected = [
        format!("a\t['a','b']\t[1,NULL]\t{}\t7\t{time}", records[0]),
        format!("none\t[]\t[]\t{}\t0\t{time}", records[1].trim()),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let expected = [
        "2 invalid_value skus: null in an Array(String)",
        "3 invalid_value skus: [*] on something that is no array",
        "4 missing_field time_field",
    ];
    assert_eq!(reasons(&job), expected);
}

#[test]
fn times_keys_and_headers_are_read_as_they_are_declared() {
    let columns = format!(
        "at DateTime64(3, 'UTC'), other Nullable(DateTime('UTC')), customer UInt32, place String DEFAULT \
         'nowhere', _headers Map(String, String), all Array(Tuple(name String, value String)), {PROVENANCE}"
    );
    let mut job = job("declared", &columns);
    job.set("pipeline.time_field", "at");
    job.set("pipeline.time_format", "%d.%m.%Y %H:%M:%S%.f");
    job.set("pipeline.time_zone", "Europe/Berlin");
    for (column, from, path) in [
        ("customer", "key", Some("$.customer.id")),
        ("place", "key", Some("$.places[0]")),
        ("all", "headers", None),
    ] {
        job.set(&format!("pipeline.columns.{column}.from"), from);
        if let Some(path) = path {
            job.set(&format!("pipeline.columns.{column}.path"), path);
        }
    }
    let key = r#"{"customer":{"id":7},"places":["Rom"]}"#;
    let event = |id: u8, at: &str| record(&format!(r#"{{"id":{id},"at":{at}}}"#));
    let records = [
        event(0, r#""21.11.2025 11:00:00.5""#).key(key),
        record(r#"{"id":1,"at":"2025-11-21T10:00:00Z","other":"21.11.2025 11:00:00"}"#).key("{}"),
        event(2, r#""2025-10-26 02:30:00""#).key(key),
        event(3, r#""2025-03-30 02:30:00""#).key(key),
        event(4, r#""21/11/2025""#).key(key),
        event(5, "1763719200000").key("{"),
        event(6, "1763719200").key("{}"),
        event(7, "1763719200000")
            .header("a", "1")
            .header("b", "")
            .header("a", "2"),
    ];
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, at, other, customer, place, _headers, all FROM {db}.clickstream_events ORDER BY id",
    );
    let expected = [
        "0\t2025-11-21 10:00:00.500\t\\N\t7\tRom\t{}\t[]",
        "1\t2025-11-21 10:00:00.000\t2025-11-21 10:00:00\t0\tnowhere\t{}\t[]",
        "2\t2025-10-26 00:30:00.000\t\\N\t7\tRom\t{}\t[]",
        "7\t2025-11-21 10:00:00.000\t\\N\t0\tnowhere\t{'b':'','a':'2'}\t[('a','1'),('b',''),('a','2')]",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let expected = [
        "3 invalid_value at: no such local time in Europe/Berlin: clocks were set forward over it",
        "4 invalid_value at: not a time by time_format \"%d.%m.%Y %H:%M:%S%.f\" or RFC 3339",
        "6 implausible_time at: looks like seconds: set time_unit",
    ];
    let mut seen = reasons(&job);
    let key = seen.remove(2);
    assert!(
        key.starts_with("5 invalid_json customer: the key is no JSON"),
        "{key}"
    );
    assert_eq!(seen, expected);
}

#[test]
fn records_of_avro_are_read_by_the_schemas_that_their_frames_name() {
    let columns = format!(
        "n Nullable(Int64), at DateTime64(6, 'UTC'), price Decimal(18, 4), tags Array(String), \
         meta String, k LowCardinality(String), extra String DEFAULT 'none', {PROVENANCE}"
    );
    let mut job = job("avro", &columns);
    let fields = r#"{"name":"id","type":"int"},{"name":"n","type":["null","long"]},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
        {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"tags","type":{"type":"array","items":"string"}},
        {"name":"meta","type":{"type":"record","name":"M","fields":[{"name":"k","type":"string"}]}}"#;
    let record_of = |fields: &str| format!(r#"{{"type":"record","name":"E","fields":[{fields}]}}"#);
    let first = record_of(fields);
    let second = record_of(&format!(r#"{{"name":"extra","type":"string"}},{fields}"#));
    let url = registry(vec![(1, first), (70_000, second)]);
    job.set("pipeline.format", "avro");
    job.set("pipeline.compression", "auto");
    job.set("pipeline.time_field", "at");
    job.set("pipeline.columns.k", "$.meta.k");
    job.set("pipeline.schema_registry.url", url.as_str());
    // 2025-11-21 10:00:00.123456, 12.34, ["a", "b\""], {"k": "x"}
    let rest = b"\x80\xa9\xc1\x86\xfc\x85\xa2\x06\x04\x04\xd2\x04\x02a\x04b\"\0\x02x";
    let body = |id: u8, n: &[u8]| [&[2 * id][..], n, rest].concat();
    let longer = [&b"\x02y"[..], &body(3, b"\x02\x01")].concat();
    let gzip = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder
            .write_all(&framed(1, &body(4, b"\0")))
            .expect("memory");
        encoder.finish().expect("memory")
    };
    let records = [
        framed(1, &body(1, b"\0")),
        framed(1, &body(2, b"\x02\x0d")),
        framed(70_000, &longer),
        gzip,
        framed(1, &[&body(5, b"\0")[..], b"z"].concat()),
        framed(1, &body(6, b"\x04")),
        b"{\"id\":7}".to_vec(),
        b"\x1f\x8b\x08".to_vec(),
        // Of a schema that the registry does not have.
        framed(77, &body(8, b"\0")),
        framed(1, &body(9, b"\0")),
    ];
    let records = records.iter().map(|value| {
        topic::Record::new(value.clone())
            .partition(0)
            .timestamp_ms(EVENT_TIME_MS)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, n, at, price, tags, meta, k, extra FROM {db}.clickstream_events ORDER BY id",
    );
    let time = job.query("SELECT DISTINCT at FROM {db}.clickstream_events");
    let rest = format!("{time}\t12.34\t['a','b\"']\t{{\"k\":\"x\"}}\tx");
    let expected = [
        format!("1\t\\N\t{rest}\tnone"),
        format!("2\t-7\t{rest}\tnone"),
        format!("3\t-1\t{rest}\ty"),
        format!("4\t\\N\t{rest}\tnone"),
        format!("9\t\\N\t{rest}\tnone"),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let reasons = reasons(&job);
    let expected = [
        "4 invalid_avro byte ",
        "5 invalid_avro field n, byte 1: branch 2 of 2",
        "6 invalid_avro the record begins with {",
        "7 invalid_compression no gzip: ",
        "8 unknown_schema ",
    ];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.starts_with(expected), "{reasons:?}");
    }
    // Read as JSON, they say what they look like; behind a frame JSON is read as such.
    for format in ["json", "json_schema"] {
        job.set("pipeline.format", format);
        job.unset("pipeline.schema_registry");
        job.set("pipeline.time_field", "");
        job.set("pipeline.compression", "none");
        let value = framed(1, br#"{"id":20,"n":5,"price":1}"#);
        let record = topic::Record::new(value).partition(0);
        topic::produce(job.bootstrap(), &job.topic, [record]).expect("a record");
        job.run_to_end();
    }
    let row = job.query("SELECT id, n, price FROM {db}.clickstream_events WHERE id = 20");
    assert_eq!(row, "20\t5\t1");
    let last = reasons_of(&job, 10);
    assert!(
        last.contains("schema id 1): set format = \"avro\""),
        "{last}"
    );
}

fn reasons_of(job: &Job, offset: i64) -> String {
    let prefix = format!("{offset} ");
    let reason = reasons(job).into_iter().find(|r| r.starts_with(&prefix));
    reason.unwrap_or_default()
}

#[test]
fn messages_of_protobuf_are_read_by_the_schemas_that_their_frames_name() {
    let columns = format!(
        "at DateTime64(6, 'UTC'), name Nullable(String), state LowCardinality(String), counts Array(Int8), \
         prices Map(String, Float64), item String, sku String, raw String, {PROVENANCE}"
    );
    let mut job = job("protobuf", &columns);
    let source = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
        message Other { int32 x = 1; }
        message Event {
          uint32 id = 1; google.protobuf.Timestamp at = 2; optional string name = 3;
          enum State { NEW = 0; PAID = 1; } State state = 4; repeated sint32 counts = 5;
          map<string, double> prices = 6; Item item = 7; bytes raw = 8;
        }
        message Item { string sku = 1; }"#;
    let url = registry(vec![(3, source.to_owned())]);
    job.set("pipeline.format", "protobuf");
    job.set("pipeline.time_field", "at");
    job.set("pipeline.columns.sku", "$.item.sku");
    job.set("pipeline.schema_registry.url", url.as_str());
    // 2025-11-21 10:00:00.1
    let time = b"\x12\x0b\x08\xa0\xf0\x80\xc9\x06\x10\x80\xc2\xd7\x2f";
    let full = b"\x1a\x01n\x20\x01\x2a\x02\x01\x02\x32\x0c\x0a\x01k\x11\0\0\0\0\0\0\xf8\x3f\
        \x3a\x03\x0a\x01s\x42\x01\xff";
    let of = |index: &[u8], body: &[&[u8]]| framed(3, &[index, &body.concat()].concat());
    let records = [
        of(b"\x02\x02", &[b"\x08\x01", time, full]),
        of(b"\x02\x02", &[b"\x08\x02", time]),
        of(b"\x02\x02", &[b"\x08\x03", b"\x12\x05"]),
        of(b"\x02\x0e", &[b"\x08\x04"]),
    ];
    let records = records.map(|value| {
        topic::Record::new(value)
            .partition(0)
            .timestamp_ms(EVENT_TIME_MS)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, at, name, state, counts, prices, item, sku, hex(raw) FROM {db}.clickstream_events \
         ORDER BY id",
    );
    let time = "2025-11-21 10:00:00.100000";
    let expected = [
        format!("1\t{time}\tn\tPAID\t[-1,1]\t{{'k':1.5}}\t{{\"sku\":\"s\"}}\ts\tFF"),
        // What is empty at the end of the answer is cut.
        format!("2\t{time}\t\\N\tNEW\t[]\t{{}}"),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    assert_eq!(
        reasons(&job),
        [
            "2 invalid_protobuf byte 4: 5 bytes are announced, and 0 are left",
            "3 invalid_protobuf schema 3 has no message at [7]",
        ]
    );
}

#[test]
fn a_strict_pipeline_halts_at_the_first_record_with_a_field_that_no_column_takes() {
    let mut job = job("strict", PROVENANCE);
    job.set("pipeline.evolution", "strict");
    job.set("pipeline.time_field", "");
    // The first with the field would be a dead letter.
    let records = [
        r#"{"id":1}"#,
        r#"{"id":"none","new":1}"#,
        r#"{"id":2,"new":1}"#,
        r#"{"id":3}"#,
    ];
    topic::produce(job.bootstrap(), &job.topic, records.map(record)).expect("records");
    let place = format!("{}:0:1: no column of ", job.topic);
    job.assert_halts("strict", "schema", &[&place, " takes new,"]);
    job.query("ALTER TABLE {db}.clickstream_events ADD COLUMN new UInt8");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT groupArray((id, new)) FROM (SELECT * FROM {db}.clickstream_events ORDER BY id)",
    );
    assert_eq!(rows, "[(1,0),(2,1),(3,0)]");
    let [reason] = &reasons(&job)[..] else {
        panic!("one dead letter");
    };
    assert!(reason.starts_with("1 invalid_"), "{reason}");
}

#[test]
fn records_of_json_schema_are_validated_where_that_is_asked_for_each_by_its_own_schema() {
    let mut job = job("validated", &format!("n Nullable(Int64), {PROVENANCE}"));
    let schema = |rest: &str| {
        format!(r#"{{"properties":{{"id":{{"type":"integer"}},"n":{{"minimum":1}}}}{rest}}}"#)
    };
    let broken = r#"{"type":7,"properties":{}}"#.to_owned();
    let url = registry(vec![
        (1, schema("")),
        (2, schema(r#","required":["n"]"#)),
        (3, broken),
        (4, r#"{"type":"record","name":"E","fields":[]}"#.to_owned()),
    ]);
    job.set("pipeline.format", "json_schema");
    job.set("pipeline.time_field", "");
    let bodies = [
        framed(1, br#"{"id":0}"#),
        framed(1, br#"{"id":1,"n":0}"#),
        framed(2, br#"{"id":2}"#),
        framed(2, br#"{"id":3,"n":7}"#),
        framed(3, br#"{"id":4}"#),
        framed(4, br#"{"id":5}"#),
        br#"{"id":6}"#.to_vec(),
        framed(2, br#"{"id":7"#),
    ];
    let record = |value: &Vec<u8>| topic::Record::new(value.clone()).partition(0);
    let header = topic::Record::new(r#"{"id":8}"#).partition(0);
    let header = header.header("__value_schema_id", "\0\0\0\0\u{2}");
    let records: Vec<_> = bodies.iter().map(record).chain([header]).collect();
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.set("pipeline.json_schema.validate", true);
    job.set("pipeline.schema_registry.url", url.as_str());
    job.run_to_end();
    job.assert_committed_to_end();
    let ids = "SELECT groupArray(id) FROM (SELECT id FROM {db}.clickstream_events ORDER BY id)";
    assert_eq!(job.query(ids), "[0,3]");
    let seen = reasons(&job);
    let expected = [
        "1 schema_violation $.n is not valid by schema 1, /properties/n/minimum",
        "2 schema_violation $ is not valid by schema 2, /required: \"n\" is absent",
        "4 schema_violation schema 3 of the registry: no JSON Schema: ",
        "5 schema_violation schema 4 of the registry at ",
        "6 schema_violation names no schema to validate it by",
        "7 invalid_json ",
        "8 schema_violation $ is not valid by schema 2, /required",
    ];
    assert_eq!(seen.len(), expected.len(), "{seen:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{seen}: {expected}");
    }
    // Without it the frame is passed over, and nobody is asked.
    job.set("pipeline.json_schema.validate", false);
    job.set("pipeline.schema_registry.url", "http://127.0.0.1:1");
    let again = bodies[..3].iter().map(record);
    topic::produce(job.bootstrap(), &job.topic, again).expect("records");
    job.unset("pipeline.schema_registry");
    job.run_to_end();
    assert_eq!(job.query(ids), "[0,0,1,2,3]");
}
