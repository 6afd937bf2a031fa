//! Which change a record is, in every shape.

use super::*;

fn reader() -> RowReader {
    let columns = Columns::new()
        .with("id", ColumnType::Int32)
        .with("v", column_type("Nullable(String)"));
    RowReader::new(columns, Some(Modes::default()))
}

/// A line for what a record is, whatever was read before it.
fn read(reader: &mut RowReader, value: Option<&str>) -> String {
    read_of(reader, TOPIC, Some("{\"id\":1}"), value)
}

fn read_of(reader: &mut RowReader, topic: &str, key: Option<&str>, value: Option<&str>) -> String {
    let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
    match reader.read(topic, key, value) {
        Ok(Change::Row(row)) => {
            let mut out = Vec::new();
            let written = [row.encode(0, &mut out), row.encode(1, &mut out)];
            format!("{:?} {written:?} {out:?}", row.operation())
        }
        Ok(Change::Delete(delete)) => format!("delete {:?}", delete.deletion()),
        Ok(Change::Truncate(provenance)) => format!("truncate {:?}", provenance.lsn()),
        Ok(Change::None(why)) => why.as_str().to_owned(),
        Err(Failure::Rejected(reject)) => reject.reason.to_string(),
        Err(Failure::UndeclaredModes) => "undeclared".to_owned(),
        Err(Failure::OtherKey | Failure::NullInKey(_)) => unreachable!("of keys"),
        Err(Failure::Framed(what)) => format!("framed {what}"),
        Err(Failure::Document) => "document".to_owned(),
    }
}

const ROW: &str = "[Ok(Written), Ok(Written)] [1, 0, 0, 0, 0, 1, 97]";
const SCHEMA: &str = r#"{"type":"struct","fields":[{"type":"struct","fields":[{"type":"int32","field":"id"},{"type":"string","field":"v"}],"field":"after"},{"type":"string","field":"op"}]}"#;
const FLAT_SCHEMA: &str =
    r#"{"type":"struct","fields":[{"type":"int32","field":"id"},{"type":"string","field":"v"}]}"#;

/// The same change in every shape, and what it is.
fn cases() -> Vec<(String, String)> {
    let envelope = |op: &str, before: &str, after: &str| {
        format!(r#"{{"before":{before},"after":{after},"source":{{"lsn":7}},"op":"{op}"}}"#)
    };
    let in_block =
        |schema: &str, payload: &str| format!(r#"{{"schema":{schema},"payload":{payload}}}"#);
    let row = r#"{"id":1,"v":"a"}"#;
    let flat = |more: &str| format!(r#"{{"id":1,"v":"a"{more}}}"#);
    let mut cases = vec![];
    for (op, name) in [("c", "Create"), ("r", "Read"), ("u", "Update")] {
        let value = envelope(op, "null", row);
        cases.push((in_block(SCHEMA, &value), format!("{name} {ROW}")));
        cases.push((in_block("null", &value), format!("{name} {ROW}")));
        cases.push((value, format!("{name} {ROW}")));
        let value = flat(&format!(r#","__op":"{op}","__deleted":"false""#));
        cases.push((in_block(FLAT_SCHEMA, &value), format!("{name} {ROW}")));
        cases.push((value, format!("{name} {ROW}")));
    }
    cases.push((flat(""), format!("Flattened {ROW}")));
    let cases_of = |value: String, what: &str| {
        let block = in_block(SCHEMA, &value);
        [(value, what.to_owned()), (block, what.to_owned())]
    };
    cases.extend(cases_of(envelope("d", row, "null"), "delete Envelope"));
    cases.extend(cases_of(envelope("t", "null", "null"), "truncate Some(7)"));
    cases.extend(cases_of(envelope("m", "null", "null"), "message"));
    cases.extend(cases_of(envelope("x", "null", row), "unknown_operation"));
    cases.extend(cases_of(envelope("c", "null", "null"), "missing_field"));
    cases.extend(cases_of(envelope("c", "null", "1"), "invalid_value"));
    cases.push((
        flat(r#","__deleted":"true""#),
        "delete Flattened".to_owned(),
    ));
    cases.push((flat(r#","__op":"d""#), "delete Flattened".to_owned()));
    cases.push((flat(r#","__op":"x""#), "unknown_operation".to_owned()));
    cases.push((" null ".to_owned(), "delete JsonNull".to_owned()));
    cases.push((in_block("null", "null"), "delete JsonNull".to_owned()));
    cases.push((in_block(SCHEMA, "null"), "delete JsonNull".to_owned()));
    cases.push((
        in_block(r#"{"type":"struct"}"#, &envelope("c", "null", row)),
        "unknown_type".to_owned(),
    ));
    cases.push(("{".to_owned(), "invalid_json".to_owned()));
    cases.push((String::new(), "invalid_json".to_owned()));
    cases.push(("[1]".to_owned(), "not_an_object".to_owned()));
    cases
}

#[test]
fn every_shape_is_told_whatever_came_before() {
    let cases = cases();
    for (first, _) in &cases {
        let mut reader = reader();
        read(&mut reader, Some(first));
        for (value, expected) in &cases {
            assert_eq!(
                read(&mut reader, Some(value)),
                *expected,
                "{value} after {first}"
            );
        }
    }
    assert_eq!(read(&mut reader(), None), "delete Tombstone");
}

#[test]
fn columns_named_like_parts_of_shapes_are_columns() {
    let columns = Columns::new()
        .with("schema", ColumnType::String)
        .with("payload", ColumnType::String);
    let mut reader = RowReader::new(columns, Some(Modes::default()));
    let found = read(&mut reader, Some(r#"{"schema":"public","payload":"{}"}"#));
    assert_eq!(
        found,
        "Flattened [Ok(Written), Ok(Written)] [6, 112, 117, 98, 108, 105, 99, 2, 123, 125]"
    );
    let columns = Columns::new()
        .with("schema", column_type("Nullable(String)"))
        .with("payload", column_type("Nullable(String)"));
    let mut reader = RowReader::new(columns, Some(Modes::default()));
    for value in [
        r#"{"id":1,"schema":null,"payload":null,"__deleted":"false"}"#,
        r#"{"schema":null,"payload":null,"id":1}"#,
    ] {
        let found = read(&mut reader, Some(value));
        assert_eq!(found, "Flattened [Ok(Written), Ok(Written)] [1, 1]");
    }
    let columns = Columns::new()
        .with("op", ColumnType::String)
        .with("source", ColumnType::String);
    let mut reader = RowReader::new(columns, Some(Modes::default()));
    let found = read(&mut reader, Some(r#"{"op":"x","source":"y"}"#));
    assert_eq!(
        found,
        "Flattened [Ok(Written), Ok(Written)] [1, 120, 1, 121]"
    );
}

#[test]
fn records_beside_the_changes_of_tables_are_told_by_their_content() {
    let heartbeat = r#"{"ts_ms":1}"#;
    let server = r#"{"serverName":"x"}"#;
    let in_block = format!(r#"{{"schema":{{"type":"struct","fields":[]}},"payload":{heartbeat}}}"#);
    let block_key = format!(r#"{{"schema":null,"payload":{server}}}"#);
    let transaction =
        r#"{"status":"BEGIN","id":"1","event_count":null,"data_collections":null,"ts_ms":1}"#;
    let ddl =
        r#"{"source":{"server":"x"},"ts_ms":1,"databaseName":"","ddl":"CREATE","tableChanges":[]}"#;
    let signal =
        r#"{"before":null,"after":{"id":"1","type":"log","data":null},"source":{},"op":"c"}"#;
    // Releases before 2.0.
    let old_transaction = r#"{"status":"END","id":"1","event_count":2,"data_collections":[]}"#;
    let old_ddl = r#"{"source":{"server":"x"},"databaseName":"","schemaName":null,"ddl":"CREATE","tableChanges":[]}"#;
    let history =
        r#"{"source":{"server":"x"},"position":{"file":"b"},"databaseName":"","ddl":"CREATE"}"#;
    let named = |name: &str, payload: &str| {
        format!(
            r#"{{"schema":{{"type":"struct","fields":[],"name":"io.debezium.connector.{name}"}},"payload":{payload}}}"#
        )
    };
    let schema_change = named("mysql.SchemaChangeValue", r#"{"ddl":"x"}"#);
    let of_common = named(
        "common.TransactionMetadataValue",
        r#"{"status":"BEGIN","more":1}"#,
    );
    let window = r#"{"before":null,"after":{"id":"1","type":"snapshot-window-open","data":"{}"},"source":{},"op":"c"}"#;
    let rerouted = r#"{"before":null,"after":{"id":"1","type":"log","data":null},"source":{"table":"debezium_signal"},"op":"c"}"#;
    for (topic, key, value, expected) in [
        ("a.b", None, old_transaction, "transaction"),
        ("a.b", None, old_ddl, "schema_change"),
        ("a.b", None, history, "schema_change"),
        ("a.b", None, &*schema_change, "schema_change"),
        ("a.b", None, &*schema_change, "schema_change"),
        ("a.b", None, &*of_common, "transaction"),
        ("a.public.dbz_signal", None, window, "signal"),
        ("everything", None, rerouted, "signal"),
        ("debezium_signal", None, signal, "signal"),
        ("a.b", Some(server), heartbeat, "heartbeat"),
        ("a.b", Some(&*block_key), &*in_block, "heartbeat"),
        ("a.b", None, transaction, "transaction"),
        ("a.b", None, ddl, "schema_change"),
        ("a.public.debezium_signal", None, signal, "signal"),
    ] {
        assert_eq!(
            read_of(&mut reader(), topic, key, Some(value)),
            expected,
            "{value}"
        );
    }
    for (topic, key, value) in [
        ("a.b", Some("{\"id\":1}"), heartbeat),
        ("a.b", None, heartbeat),
        ("a.b", None, r#"{"status":"BEGIN","id":"1","ts_ms":1}"#),
        ("a.public.t", None, signal),
        // Names that only look like it.
        ("a.public.traffic_signal", None, signal),
        ("a.public.my_debezium_signal", None, signal),
        ("a.public.debezium_signal.t", None, signal),
        ("a.b", None, r#"{"status":"BEGIN","id":"1","v":"a"}"#),
        (
            "a.b",
            None,
            r#"{"source":{"server":"x"},"ddl":"CREATE","id":1}"#,
        ),
        (
            "a.public.signals",
            None,
            r#"{"id":"1","type":"log","ts_ms":1}"#,
        ),
    ] {
        let found = read_of(&mut reader(), topic, key, Some(value));
        assert!(
            found.contains("Ok(") || found.contains("Err("),
            "{value}: {found}"
        );
    }
}

#[test]
fn without_declared_modes_only_schema_blocks_are_read() {
    let columns = Columns::new()
        .with("id", ColumnType::Int32)
        .with("v", ColumnType::String);
    let mut reader = RowReader::new(columns, None);
    let flat = r#"{"id":1,"v":"a"}"#;
    assert_eq!(read(&mut reader, Some(flat)), "undeclared");
    let block = format!(r#"{{"schema":{FLAT_SCHEMA},"payload":{flat}}}"#);
    assert!(read(&mut reader, Some(&block)).starts_with("Flattened"));
    assert_eq!(read(&mut reader, None), "delete Tombstone");
}

#[test]
fn a_row_gives_its_images_origin_and_other_fields() {
    let mut reader = reader();
    let value = br#"{"before":{"id":0},"after":{"id":1,"v":"a","w":true,"__w":1},"source":{"lsn":7,"ts_ms":8,"snapshot":"first","connector":"postgresql"},"op":"u"}"#;
    let Ok(Change::Row(row)) = reader.read(TOPIC, None, Some(value)) else {
        panic!("not a row")
    };
    assert_eq!(row.before().as_received(), r#"{"id":0}"#);
    assert_eq!(row.field(1).as_received(), "a");
    let origin = row.provenance();
    assert_eq!((origin.lsn(), origin.source_ts_us()), (Some(7), Some(8000)));
    assert_eq!(
        (origin.connector(), origin.snapshot()),
        (Some("postgresql"), Some("first"))
    );
    assert!(row.has_others() && row.schema().is_none());
    let others: Vec<_> = row.others().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(others, ["w", "__w"]);

    let flat =
        br#"{"id":1,"v":"a","__lsn":null,"__source_lsn":7,"__table":"t","__source_ts_us":9}"#;
    let Ok(Change::Row(row)) = reader.read(TOPIC, None, Some(flat)) else {
        panic!("not a row")
    };
    let origin = row.provenance();
    assert_eq!((origin.lsn(), origin.source_ts_us()), (Some(7), Some(9)));
    assert!(!row.has_others());
    assert_eq!(row.before(), Raw::ABSENT);

    let delete =
        br#"{"before":{"id":3,"v":null},"after":null,"source":{"snapshot":"false"},"op":"d"}"#;
    let Ok(Change::Delete(delete)) = reader.read(TOPIC, None, Some(delete)) else {
        panic!("not a delete")
    };
    let mut out = Vec::new();
    assert_eq!(delete.encode_before(0, &mut out), Ok(Outcome::Written));
    assert_eq!(
        (out, delete.provenance().snapshot()),
        (vec![3, 0, 0, 0], None)
    );
}

#[test]
fn a_field_the_row_lacks_is_absent_and_of_doubles_the_last_counts() {
    let mut reader = reader();
    let value = r#"{"before":null,"after":{"id":2,"id":1},"source":{},"op":"c"}"#;
    assert_eq!(
        read(&mut reader, Some(value)),
        "Create [Ok(Written), Ok(Absent)] [1, 0, 0, 0]"
    );
    let value = r#"{"op":"c","after":{"v":"b"},"source":{},"after":{"id":1,"v":"a"}}"#;
    assert_eq!(read(&mut reader, Some(value)), format!("Create {ROW}"));
}

#[test]
fn a_block_that_repeats_hides_nothing_behind_it() {
    let envelope = r#"{"before":null,"after":{"id":1,"v":"a"},"source":{},"op":"c"}"#;
    let behind = |rest: &str| format!(r#"{{"schema":{SCHEMA},{rest}"#);
    let same = behind(&format!(r#""payload":{envelope}}}"#));
    let created = format!("Create {ROW}");
    for (rest, expected) in [
        (format!(r#""payload":{envelope}}}"#), &*created),
        (format!(r#" "more":1 , "payload":{envelope} }}"#), &*created),
        (format!(r#""payload":{envelope}"#), "invalid_json"),
        (format!(r#""payload":{envelope}}}}}"#), "invalid_json"),
        (r#""payload":null}"#.to_owned(), "delete JsonNull"),
        (
            format!(r#""payload":{envelope},"schema":{{"type":"struct"}}}}"#),
            "unknown_type",
        ),
        (
            format!(r#""payload":{envelope},"schema":null}}"#),
            &*created,
        ),
        (
            r#""payload":{"id":1}}"#.to_owned(),
            "Flattened [Ok(Written), Ok(Absent)] [1, 0, 0, 0]",
        ),
        (
            r#""id":1,"v":"a"}"#.to_owned(),
            &*format!("Flattened {ROW}"),
        ),
    ] {
        let mut reader = reader();
        let value = behind(&rest);
        assert_eq!(
            read(&mut reader, Some(&value)),
            expected,
            "{value} at first"
        );
        read(&mut reader, Some(&same));
        assert_eq!(
            read(&mut reader, Some(&value)),
            expected,
            "{value} behind a known block"
        );
    }
}

#[test]
fn a_signal_table_is_called_as_it_was_named() {
    let signal =
        r#"{"before":null,"after":{"id":"1","type":"log","data":null},"source":{},"op":"c"}"#;
    let names = ["ops.orders".to_owned(), "dbz".to_owned()];
    let mut reader = reader().with_signal_tables(&names);
    for (topic, is_it) in [
        ("shop.ops.orders", true),
        ("shop.public.dbz", true),
        ("shop.public.orders", false),
        ("shop.public.debezium_signal", false),
    ] {
        let found = read_of(&mut reader, topic, None, Some(signal));
        assert_eq!(found == "signal", is_it, "{topic}: {found}");
    }
}

#[test]
fn what_no_json_converter_wrote_is_told_by_its_first_bytes() {
    let mut reader = reader();
    let mut of = |value: &[u8]| match reader.read(TOPIC, None, Some(value)) {
        Err(Failure::Framed(what)) => what.to_owned(),
        Err(Failure::Rejected(reject)) => reject.reason.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(of(b"\0\0\0\0\x07{\"id\":1}"), "value");
    assert_eq!(of(b"\0\0\0\x01\0\x02\x80"), "value");
    assert_eq!(of(b"\x01aaaaaaaaaaaaaaaaH"), "value");
    for other in [&b"\0"[..], b"\0\"schema\":1}", b"\x01{}", b"\x1f\x8b\x08"] {
        assert_eq!(of(other), "invalid_json", "{other:?}");
    }
}

#[test]
fn a_document_is_no_row() {
    let envelope = |after: &str, connector: &str, op: &str| {
        format!(r#"{{"after":{after},"source":{{"connector":"{connector}"}},"op":"{op}"}}"#)
    };
    let mut reader = reader();
    for (value, is_document) in [
        (envelope(r#""{}""#, "mongodb", "c"), true),
        (envelope("null", "mongodb", "u"), true),
        (envelope("null", "mongodb", "d"), true),
        (envelope(r#"{"id":1,"v":"a"}"#, "mongodb", "c"), false),
        (envelope(r#""{}""#, "postgresql", "c"), false),
    ] {
        let found = read(&mut reader, Some(&value));
        assert_eq!(found == "document", is_document, "{value}: {found}");
    }
}

#[test]
fn a_new_field_of_a_flattened_row_is_seen_whatever_it_is_called() {
    let mut reader = reader();
    for name in [
        "schema", "payload", "op", "source", "before", "after", "ts_ms", "status",
    ] {
        let value = format!(r#"{{"id":1,"v":"a","{name}":"x"}}"#);
        let Ok(Change::Row(row)) = reader.read(TOPIC, None, Some(value.as_bytes())) else {
            panic!("{name}")
        };
        assert!(row.has_others(), "{name}");
        let others: Vec<_> = row.others().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(others, [name]);
    }
    let plain = br#"{"id":1,"v":"a","__source_table":"t"}"#;
    let Ok(Change::Row(row)) = reader.read(TOPIC, None, Some(plain)) else {
        panic!("a row")
    };
    assert!(!row.has_others());
}
