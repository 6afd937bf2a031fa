//! Windows, joins, elements and keys of records that are no JSON.

use sandbox::topic::{self, Record};

use super::columns::{PROVENANCE, job};
use super::formats::reasons;
use crate::support::registry::{framed, registry};
use crate::support::{EVENT_TIME_MS, Job};

/// A number of Avro.
fn long(number: i64) -> Vec<u8> {
    varint(((number << 1) ^ (number >> 63)) as u64)
}

/// A number of Protobuf.
fn varint(mut rest: u64) -> Vec<u8> {
    let mut out = vec![];
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
    out
}

fn text(text: &str) -> Vec<u8> {
    [&long(text.len() as i64)[..], text.as_bytes()].concat()
}

fn at(record: Record, time_ms: i64) -> Record {
    record.partition(0).timestamp_ms(time_ms)
}

const SALE: &str = r#"{"type":"record","name":"Sale","fields":[
    {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"category","type":["null","string"],"default":null},
    {"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
    {"name":"customer_id","type":"int"}]}"#;

/// A sale of a customer; the amount in cents.
fn sale(second: i64, category: &str, cents: i16, customer: i64) -> Vec<u8> {
    let amount = cents.to_be_bytes();
    let body = [
        long(EVENT_TIME_MS + second * 1_000),
        long(1),
        text(category),
        long(2),
        amount.to_vec(),
        long(customer),
    ];
    framed(1, &body.concat())
}

#[test]
fn windows_of_avro_with_keys_of_avro_are_those_of_json() {
    let mut job = Job::aggregation("avro-windows", "sales");
    job.unset("pipeline.output");
    job.set("pipeline.idle_timeout", "300ms");
    job.set("pipeline.format", "avro");
    job.set("pipeline.compression", "auto");
    job.set("pipeline.key_format", "avro");
    job.set("pipeline.partitioned_by", "category");
    let key_schema =
        r#"{"type":"record","name":"K","fields":[{"name":"category","type":"string"}]}"#;
    let schemas = vec![(1, SALE.to_owned()), (2, key_schema.to_owned())];
    job.set("pipeline.schema_registry.url", registry(schemas));
    job.apply_schema();
    job.create_topic(1);
    let of = |second, category: &str, cents, customer| {
        let value = sale(second, category, cents, customer);
        let key = framed(2, &text(category));
        at(Record::new(value).key(key), EVENT_TIME_MS + second * 1_000)
    };
    let gzip = {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(&sale(4, "a", 125, 8)).expect("memory");
        encoder.finish().expect("memory")
    };
    let packed = Record::new(gzip).key(framed(2, &text("a")));
    let cut = Record::new(framed(1, b"\0")).key(framed(2, &text("a")));
    // Of schemas that the registry does not have.
    let unknown = Record::new(framed(9, b"\0")).key(framed(2, &text("a")));
    let unknown_key = Record::new(sale(4, "a", 125, 8)).key(framed(9, &text("a")));
    let records = [
        of(1, "a", 1050, 7),
        of(2, "a", -25, 7),
        of(3, "b \"x\"", 99, 7),
        at(packed, EVENT_TIME_MS + 4_000),
        at(cut, EVENT_TIME_MS + 5_000),
        at(unknown, EVENT_TIME_MS + 5_000),
        at(unknown_key, EVENT_TIME_MS + 5_000),
    ];
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    let (code, log) = job.run_to_code("close", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let rows = "SELECT category, total_sales, total_revenue, unique_customers \
                FROM {db}.sales_aggregates_1min FINAL ORDER BY category";
    let expected = ["a\t3\t11.5\t2", "b \"x\"\t1\t0.99\t1"];
    assert_eq!(job.query(rows).lines().collect::<Vec<_>>(), expected);
    let reasons = reasons(&job);
    let expected = ["4 invalid_avro ", "5 unknown_schema ", "6 unknown_schema "];
    assert_eq!(reasons.len(), expected.len(), "{reasons:?}");
    for (reason, expected) in reasons.iter().zip(expected) {
        assert!(reason.starts_with(expected), "{reasons:?}");
    }
    // A key that names another group halts.
    let other = Record::new(sale(6, "a", 1, 1)).key(framed(2, &text("b")));
    topic::produce(job.bootstrap(), &job.topic, [at(other, EVENT_TIME_MS)]).expect("a record");
    job.assert_halts(
        "other-key",
        "partitioned_by",
        &["the key \"b\"", "is \"a\""],
    );
}

#[test]
fn a_join_reads_each_side_by_its_own_format() {
    let mut job = Job::join("formats-join");
    job.set("pipeline.format", "protobuf");
    job.set("pipeline.left.format", "avro");
    job.set("pipeline.left.key_format", "avro");
    job.set("pipeline.right.key_format", "avro");
    job.set("pipeline.right.fields.user_email", "$.email");
    let event = r#"{"type":"record","name":"E","fields":[
        {"name":"event_id","type":"string"},{"name":"user_id","type":"long"},
        {"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}}]}"#;
    let profile = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
        message Profile { int64 user_id = 1; string email = 2; google.protobuf.Timestamp updated_at = 3; }"#;
    let key = r#""long""#.to_owned();
    let schemas = vec![(1, event.to_owned()), (2, profile.to_owned()), (3, key)];
    job.set("pipeline.schema_registry.url", registry(schemas));
    job.create_join_topics(2);
    let of_user = |value: Vec<u8>, user: i64| {
        let key = framed(3, &long(user));
        at(Record::new(value).key(key), EVENT_TIME_MS)
    };
    let event = |id: &str, user: i64| {
        let body = [text(id), long(user), long(EVENT_TIME_MS)].concat();
        of_user(framed(1, &body), user)
    };
    let time = varint((EVENT_TIME_MS / 1_000 - 5) as u64);
    let stamp = [&[0x1a, time.len() as u8 + 1, 0x08][..], &time].concat();
    let profile = [&b"\0\x08\x07\x12\x03a@b"[..], &stamp].concat();
    // Of schemas that the registry does not have.
    let unknown = |schema: u32| of_user(framed(schema, b"\0"), 7);
    let events = [event("e1", 7), unknown(9), event("e2", 8)];
    topic::produce(job.bootstrap(), &job.topic, events).expect("events");
    let profiles = [unknown(9), of_user(framed(2, &profile), 7)];
    topic::produce(job.bootstrap(), job.right_topic(), profiles).expect("profiles");
    job.close_join();
    let mut joined: Vec<String> = job
        .joined()
        .iter()
        .map(|record| {
            let value: serde_json::Value =
                serde_json::from_slice(record.value.as_deref().expect("a value")).expect("JSON");
            assert_eq!(
                record.key.as_deref().map(|key| key[..5].to_vec()),
                Some(framed(3, b""))
            );
            format!(
                "{} {} {}",
                value["event_id"], value["user_id"], value["user_email"]
            )
        })
        .collect();
    joined.sort();
    assert_eq!(joined, [r#""e1" 7 "a@b""#, r#""e2" 8 null"#]);
    let unknown = reasons(&job);
    assert!(
        unknown.len() == 2 && unknown.iter().all(|it| it.contains(" unknown_schema ")),
        "{unknown:?}"
    );
    // Equal values behind another schema's frame lie elsewhere.
    let other = Record::new(framed(
        1,
        &[text("e3"), long(7), long(EVENT_TIME_MS)].concat(),
    ));
    let other = at(other.key(framed(1, &long(7))), EVENT_TIME_MS);
    topic::produce(job.bootstrap(), &job.topic, [other]).expect("an event");
    let (_, log) = job.run_to_code("dead", &["--until", "latest", "--close"]);
    let reasons = reasons(&job);
    let is_cut = |reason: &&String| reason.contains("invalid_avro");
    assert!(
        reasons.len() == 3 && reasons.iter().filter(is_cut).count() == 1,
        "{reasons:?} {log}"
    );
}

#[test]
fn elements_of_avro_make_rows_and_keys_of_avro_fill_columns() {
    let columns = format!(
        "at DateTime64(3, 'UTC'), sku String, price Decimal(9, 2), customer UInt32, whole String, \
         raw_key String, _index UInt32, {PROVENANCE}"
    );
    let mut job = job("avro-elements", &columns);
    job.set("pipeline.format", "avro");
    job.set("pipeline.key_format", "avro");
    job.set("pipeline.explode", "$.items");
    job.set("pipeline.time_field", "at");
    job.set("pipeline.columns.sku", "$.items.sku");
    job.set("pipeline.columns.price", "$.items.price");
    job.set("pipeline.columns.whole.from", "value");
    job.set("pipeline.columns.raw_key.from", "key");
    job.set("pipeline.columns.customer.from", "key");
    job.set("pipeline.columns.customer.path", "$.customer.id");
    let order = r#"{"type":"record","name":"O","fields":[{"name":"id","type":"int"},
        {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"items","type":{"type":"array","items":{"type":"record","name":"I","fields":[
            {"name":"sku","type":"string"},
            {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}}]}}}]}"#;
    let key = r#"{"type":"record","name":"K","fields":[{"name":"customer","type":
        {"type":"record","name":"C","fields":[{"name":"id","type":"long"}]}}]}"#;
    let schemas = vec![(1, order.to_owned()), (2, key.to_owned())];
    job.set("pipeline.schema_registry.url", registry(schemas));
    let item = |sku: &str, cents: i16| [text(sku), long(2), cents.to_be_bytes().to_vec()].concat();
    let items = [long(2), item("a", 150), item("b", -1), long(0)].concat();
    let order =
        |id: i64, items: &[u8]| framed(1, &[&long(id)[..], &long(EVENT_TIME_MS), items].concat());
    let of = |value: Vec<u8>, key: Vec<u8>| at(Record::new(value).key(key), EVENT_TIME_MS);
    let records = [
        of(order(1, &items), framed(2, &long(70_000))),
        of(order(2, b"\0"), framed(2, &long(7))),
        of(order(3, &items), b"7".to_vec()),
    ];
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, at, sku, price, customer, length(whole), hex(raw_key), _index \
         FROM {db}.clickstream_events ORDER BY id, _index",
    );
    let (time, length) = ("2025-11-21 10:00:00.000", order(1, &items).len());
    let rest = format!("70000\t{length}\t0000000002E0C508");
    let expected = [
        format!("1\t{time}\ta\t1.5\t{rest}\t0"),
        format!("1\t{time}\tb\t-0.01\t{rest}\t1"),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let reasons = reasons(&job);
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].starts_with("2 invalid_avro "), "{reasons:?}");
}
