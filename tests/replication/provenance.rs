//! Columns that tell of the record: the source's log position and time, whatever shape the record has.

use sandbox::topic::Record;
use toml::Value;

use crate::replication::shop::{Shop, change, delete, field, in_block};

const COLUMNS: [(&str, &str); 4] = [
    ("id", "Int64"),
    ("v", "Nullable(String)"),
    ("_lsn", "Nullable(UInt64)"),
    ("_source_ts", "Nullable(DateTime64(3, 'UTC'))"),
];
const TIME: &str = "2025-11-21 10:00:00.123";

/// Runs with these paths; every key's newest row, deleted or not.
fn rows(name: &str, paths: [&str; 2], records: Vec<Record>) -> String {
    let mut shop = Shop::new(name, &COLUMNS, 1);
    let mut columns = toml::Table::new();
    columns.insert("_lsn".into(), paths[0].into());
    columns.insert("_source_ts".into(), paths[1].into());
    shop.job.set("pipeline.columns", Value::Table(columns));
    shop.write(records);
    shop.run();
    shop.assert_no_dead_letters();
    let newest = "SELECT * FROM {db}.t ORDER BY _version DESC LIMIT 1 BY id";
    shop.job.query(&format!(
        "SELECT id, _deleted, v, _lsn, _source_ts FROM ({newest}) ORDER BY id"
    ))
}

fn records() -> Vec<Record> {
    let key = |id: u32| format!(r#"{{"id":{id}}}"#);
    let row = |id: u32| change("c", &key(id), &format!(r#"{{"id":{id},"v":"a"}}"#));
    vec![
        row(1),
        row(2),
        delete(&key(2), &key(2)),
        row(3),
        delete(&key(3), &key(3)),
        Record::tombstone(key(3)),
        row(4),
        Record::new("null").key(key(4)),
    ]
}

fn expected() -> String {
    let nothing = "\\N\t\\N";
    format!(
        "1\t0\ta\t42\t{TIME}\n2\t1\t\\N\t42\t{TIME}\n3\t1\t\\N\t{nothing}\n4\t1\t\\N\t{nothing}"
    )
}

#[test]
fn of_envelopes() {
    let paths = ["$.source.lsn", "$.source.ts_ms"];
    assert_eq!(rows("told", paths, records()), expected());
    let fields = [field("id", "int64", false), field("v", "string", true)];
    let blocks = records().into_iter().map(|record| match record.value {
        Some(ref value) if value != b"null" => in_block(record, &fields, 1),
        _ => record,
    });
    assert_eq!(rows("told-block", paths, blocks.collect()), expected());
}

#[test]
fn of_flattened_records() {
    let flat = |id: u32, deleted: bool| {
        let note = r#""__lsn":42,"__source_ts_ms":1763719200123"#;
        let row = format!(r#"{{"id":{id},"v":"a","__deleted":"{deleted}","__op":"c",{note}}}"#);
        Record::new(row).key(format!(r#"{{"id":{id}}}"#))
    };
    let paths = ["$.__lsn", "$.__source_ts_ms"];
    let key = |id: u32| format!(r#"{{"id":{id}}}"#);
    let records = vec![
        flat(1, false),
        flat(2, false),
        flat(2, true),
        flat(3, false),
        flat(3, true),
        Record::tombstone(key(3)),
        flat(4, false),
        Record::new("null").key(key(4)),
    ];
    assert_eq!(rows("told-flat", paths, records), expected());
}
