use apache_avro::Schema as Parsed;
use apache_avro::types::Value;
use proptest::prelude::*;

use super::*;
use crate::decode::Path;
use crate::table::{Column, ColumnType, DefaultKind, RawMode};

mod columns;
mod connect;
mod second_reading;

fn source(slot: usize, name: &str, type_name: &str, required: bool) -> ColumnSource {
    let column = Column {
        name: name.to_owned(),
        column_type: ColumnType::parse(type_name).unwrap(),
        default_kind: DefaultKind::None,
    };
    ColumnSource::new(column, slot, required, None, RawMode::Off).unwrap()
}

/// A reader of one schema, for columns of these paths and types.
fn reader_of(
    schema: &str,
    columns: &[(&str, &str)],
) -> Result<(AvroReader, Vec<ColumnSource>), String> {
    let schema = Schema::parse(schema).map_err(|error| error.to_string())?;
    let avro = Avro {
        schema: Some(Arc::new(schema)),
        framed: false,
    };
    let sources: Vec<ColumnSource> = columns
        .iter()
        .enumerate()
        .map(|(slot, (path, type_name))| {
            let steps = Path::parse(path).unwrap().steps().to_vec();
            let source = source(slot, path, type_name, false);
            source.with_steps(&steps).unwrap()
        })
        .collect();
    let wish = |(slot, (path, _)): (usize, &(&str, &str))| Wish {
        path: Path::parse(path).unwrap(),
        column: Some(sources[slot].clone()),
        is_asked_for: false,
    };
    let wishes = columns.iter().enumerate().map(wish).collect();
    let plan = AvroPlan::new(&avro, wishes).map_err(|error| error.to_string())?;
    Ok((AvroReader::new(Arc::new(plan)), sources))
}

/// The row that a record makes, in RowBinary.
fn row_of(schema: &str, columns: &[(&str, &str)], record: &[u8]) -> Result<Vec<u8>, String> {
    let (mut reader, sources) = reader_of(schema, columns)?;
    let values = reader.read(Some(record)).map_err(|unread| match unread {
        Unread::Refused(reject) => reject.to_string(),
        other => format!("{other:?}"),
    })?;
    let mut row = vec![];
    for source in &sources {
        let appended = values.append(source, &mut row, false);
        appended.map_err(|reject| reject.to_string())?;
    }
    Ok(row)
}

/// A record of one field `f` of this type.
fn of_field(type_json: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{type_json}}}]}}"#)
}

#[test]
fn bytes_that_are_not_the_schemas_are_refused_with_the_field_and_the_byte() {
    let schema = r#"{"type":"record","name":"R","fields":[
        {"name":"a","type":["null","int"]},
        {"name":"b","type":{"type":"record","name":"B","fields":[
            {"name":"c","type":"string"},
            {"name":"d","type":{"type":"enum","name":"E","symbols":["x","y"]}}]}}]}"#;
    let read = |bytes: &[u8]| {
        row_of(schema, &[("$.a", "Int32")], bytes)
            .map(|_| ())
            .unwrap_err()
    };
    assert!(row_of(schema, &[("$.a", "Int32")], b"\0\x02z\0").is_ok());
    for (bytes, expected) in [
        (&b""[..], "field a, byte 0: the record ends in a number"),
        (b"\x04", "field a, byte 0: branch 2 of 2"),
        (b"\x01", "field a, byte 0: branch -1 of 2"),
        (b"\x02\xfe\xff\xff\xff\xff\x01", "field a, byte 1: "),
        (b"\0\x01", "field b.c, byte 1: -1 is no number of bytes"),
        (
            b"\0\x0aab",
            "field b.c, byte 2: 5 bytes are announced, and 2 are left",
        ),
        (
            b"\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            "field b.c, byte 11: ",
        ),
        (
            b"\0\x02\xff\0",
            "field b.c, byte 3: a string that is not UTF-8",
        ),
        (b"\0\0\x04", "field b.d, byte 2: symbol 2 of 2"),
        (b"\0\0\0x", "byte 3: 1 bytes are left behind the record"),
        (
            &[&b"\0"[..], &[0xff; 11]].concat(),
            "field b.c, byte 1: a number of more than",
        ),
    ] {
        let error = read(bytes);
        assert!(
            error.starts_with(&format!("invalid_avro: {expected}")),
            "{bytes:?}: {error}"
        );
    }
}

#[test]
fn counts_and_depths_that_no_bytes_stand_for_end_soon() {
    let nulls = of_field(r#"{"type":"array","items":"null"}"#);
    let error = row_of(
        &nulls,
        &[("$.f", "String")],
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0",
    );
    assert!(
        error
            .unwrap_err()
            .contains("more values than so many bytes can hold")
    );
    let error = row_of(&nulls, &[], b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0");
    assert!(
        error
            .unwrap_err()
            .contains("more values than so many bytes can hold")
    );
    let chain = r#"{"type":"record","name":"R","fields":[{"name":"f","type":["null","R"]}]}"#;
    for columns in [&[][..], &[("$.f", "String")]] {
        assert!(row_of(chain, columns, b"\x02\x02\x02\0").is_ok());
        let error = row_of(chain, columns, &[2; 100_000]).unwrap_err();
        assert!(error.starts_with("too_deep: "), "{error}");
    }
    // Each type has twice the one before: 2^30 nulls in no byte.
    let mut types =
        r#"{"type":"record","name":"T0","fields":[{"name":"n","type":"null"}]}"#.to_owned();
    for n in 1..30 {
        types = format!(
            r#"{{"type":"record","name":"T{n}","fields":[{{"name":"a","type":{types}}},{{"name":"b","type":"T{}"}}]}}"#,
            n - 1
        );
    }
    match row_of(&types, &[], b"") {
        Err(error) => assert!(error.contains("more values"), "{error}"),
        Ok(_) => panic!("2^30 values"),
    }
}

#[test]
fn schemas_that_are_none_or_no_records_are_refused() {
    for (schema, expected) in [
        ("", "no Avro schema: "),
        ("\"long\"", "an Avro schema whose top level is no record"),
        (
            r#"{"type":"record","name":"R","fields":[{"name":"f","type":"Other"}]}"#,
            "no Avro schema: ",
        ),
        (&"[".repeat(100_000), "no Avro schema: "),
        (
            &" ".repeat(2 << 20),
            "an Avro schema of more than 1048576 bytes",
        ),
    ] {
        let error = Schema::parse(schema).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn references_aliases_and_recursion_resolve_by_full_names() {
    let item = r#"{"type":"record","name":"Item","namespace":"shop","fields":[
        {"name":"sku","type":"string","aliases":["code"]},{"name":"next","type":["null","Item"]}]}"#;
    let order = r#"{"type":"record","name":"Order","namespace":"web","fields":[
        {"name":"first","type":"shop.Item"},{"name":"again","type":["null","shop.Item"]}]}"#;
    let schema = Schema::parse_with(order, &[item.to_owned()]).unwrap();
    assert_eq!(schema.name(), "web.Order");
    let avro = Avro {
        schema: Some(Arc::new(schema)),
        framed: false,
    };
    let paths = [
        "$.first.code",
        "$.first.next.sku",
        "$.again.sku",
        "$.again.next.next.code",
    ];
    let wishes = paths.map(|path| Wish {
        path: Path::parse(path).unwrap(),
        column: None,
        is_asked_for: true,
    });
    let plan = AvroPlan::new(&avro, wishes.to_vec()).unwrap();
    let mut reader = AvroReader::new(Arc::new(plan));
    let values = reader.read(Some(b"\x02a\x02\x02b\0\x02\x02c\0")).unwrap();
    let texts: Vec<_> = (0..4)
        .map(|slot| values.get(slot).as_received().to_owned())
        .collect();
    assert_eq!(texts, ["a", "b", "c", ""]);
}

#[test]
fn frames_name_the_schema_and_each_record_is_read_by_its_own() {
    let wishes = vec![Wish {
        path: Path::field("a"),
        column: Some(source(0, "a", "Int64", true)),
        is_asked_for: true,
    }];
    let plan = AvroPlan::new(&Avro::default(), wishes).unwrap();
    let mut reader = AvroReader::new(Arc::new(plan));
    let needs = |reader: &mut AvroReader, record: &[u8]| match reader.read(Some(record)) {
        Err(Unread::NeedsSchema(key)) => key.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(needs(&mut reader, b"\0\0\0\x01\x02\x0e"), "258");
    let guid = [&[1][..], &[0xab; 16]].concat();
    let by_guid = [&guid[..], b"\x0e"].concat();
    assert_eq!(
        needs(&mut reader, &by_guid),
        "abababab-abab-abab-abab-abababababab"
    );
    reader.set_header(Some(&guid)).unwrap();
    assert_eq!(
        needs(&mut reader, b"\x0e"),
        "abababab-abab-abab-abab-abababababab"
    );
    assert!(reader.set_header(Some(b"\x01\x02")).is_err());
    reader.set_header(None).unwrap();
    let schema = |fields: &str| {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{fields}]}}"#);
        Arc::new(Schema::parse(&text).unwrap())
    };
    let one = schema(r#"{"name":"a","type":"long"}"#);
    let two = schema(r#"{"name":"new","type":"string"},{"name":"a","type":"int"}"#);
    reader.add_schema(SchemaKey::Id(258), one.clone()).unwrap();
    reader.add_schema(SchemaKey::Id(2), two).unwrap();
    for (record, expected) in [
        (&b"\0\0\0\x01\x02\x0e"[..], 7),
        (b"\0\0\0\0\x02\x02x\x10", 8),
        (b"\0\0\0\x01\x02\x12", 9),
    ] {
        let values = reader.read(Some(record)).unwrap();
        let mut row = vec![];
        values
            .append(&source(0, "a", "Int64", true), &mut row, false)
            .unwrap();
        assert_eq!(row, i64::to_le_bytes(expected));
        assert_eq!(values.get(0).as_received(), expected.to_string());
    }
    assert_eq!(reader.unknown_names(0), ["new"]);
    for (fields, expected) in [
        (
            r#"{"name":"b","type":"long"}"#,
            "schema R has no field a for the column a, which is required",
        ),
        (
            r#"{"name":"a","type":{"type":"array","items":"long"}}"#,
            "column a Int64 cannot hold the field a of schema R, which is of Avro's type array",
        ),
    ] {
        let error = reader
            .add_schema(SchemaKey::Id(3), schema(fields))
            .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    for (record, expected) in [
        (&b"{\"a\":1}"[..], "set format = \"json\""),
        (b"\x1f\x8b\x08", "set compression = \"gzip\""),
        (b"", "the record is empty"),
        (b"\0\0", "2 bytes are no schema registry's frame"),
    ] {
        match reader.read(Some(record)) {
            Err(Unread::Refused(reject)) => {
                assert_eq!(reject.reason, Reason::InvalidAvro);
                assert!(reject.detail.contains(expected), "{reject}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(reader.read(None), Err(Unread::Refused(r)) if r.reason == Reason::NullValue));
}

#[test]
fn without_a_registry_a_frame_is_passed_over_only_where_it_is_declared() {
    let schema = of_field("\"long\"");
    let read = |framed: bool, record: &[u8]| {
        let avro = Avro {
            schema: Some(Arc::new(Schema::parse(&schema).unwrap())),
            framed,
        };
        let plan = AvroPlan::new(&avro, vec![]).unwrap();
        let mut reader = AvroReader::new(Arc::new(plan));
        match reader.read(Some(record)) {
            Ok(_) => Ok(()),
            Err(Unread::Refused(reject)) => Err(reject.to_string()),
            Err(other) => Err(format!("{other:?}")),
        }
    };
    assert_eq!(read(false, b"\x0e"), Ok(()));
    assert_eq!(read(true, b"\0\0\0\0\x01\x0e"), Ok(()));
    assert_eq!(read(true, &[&[1; 17][..], b"\x0e"].concat()), Ok(()));
    let error = read(false, b"\0\0\0\0\x01\x0e").unwrap_err();
    assert!(
        error.contains("schema 1: set avro.framed = true"),
        "{error}"
    );
    assert!(
        read(true, b"\x0e")
            .unwrap_err()
            .starts_with("invalid_avro: ")
    );
}

#[test]
fn types_inside_types_end_at_a_depth_whatever_way_they_refer_to_each_other() {
    let record = |name: &str, inner: &str| {
        format!(r#"{{"type":"record","name":"{name}","fields":[{{"name":"f","type":{inner}}}]}}"#)
    };
    let chain = |count: usize, arrays: usize| -> Vec<String> {
        let of = |number: usize| {
            let last = number + 1 == count;
            let mut inner = if last {
                r#""long""#.to_owned()
            } else {
                format!(r#""R{}""#, number + 1)
            };
            for _ in 0..arrays {
                inner = format!(r#"{{"type":"array","items":{inner}}}"#);
            }
            record(&format!("R{number}"), &inner)
        };
        (0..count).map(of).collect()
    };
    let root = record("Root", r#""R0""#);
    let read = |references: &[String]| Schema::parse_with(&root, references).map(|_| ());
    assert_eq!(read(&chain(100, 2)), Ok(()));
    let error = read(&chain(199, 3)).unwrap_err();
    assert_eq!(error.to_string(), "an Avro schema of more than 512 levels");
    // It is not one that refers to itself: that has no depth.
    assert_eq!(read(&[record("R0", r#"["null","R0"]"#)]), Ok(()));
}

#[test]
fn the_schemas_of_a_reader_are_bounded_by_their_bytes() {
    let plan = AvroPlan::new(&Avro::default(), vec![]).unwrap();
    let mut reader = AvroReader::new(Arc::new(plan));
    let doc = "x".repeat(900_000);
    let text = of_field(r#""long""#).replacen('{', &format!(r#"{{"doc":"{doc}","#), 1);
    let schema = Arc::new(Schema::parse(&text).unwrap());
    for id in 0..100 {
        reader
            .add_schema(SchemaKey::Id(id), schema.clone())
            .unwrap();
        assert!(reader.memory_bytes() <= SCHEMA_BYTES_MAX);
    }
    assert!(reader.schema_count() > 1);
}
