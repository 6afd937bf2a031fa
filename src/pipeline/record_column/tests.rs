//! Columns of hand-made records.

use super::*;
use crate::source::MadeRecord;
use crate::table::DefaultKind;

#[test]
fn a_value_that_cannot_be_looked_into_is_no_tombstone() {
    let private = PrivateFields::new(["$.email"]).unwrap();
    let text = ColumnType::parse("Nullable(String)").unwrap();
    let hidden = |value: &[u8]| shown(&private, &text, value);
    assert_eq!(hidden(b"a@b").as_deref(), Some(&b"***"[..]));
    let object = hidden(br#"{"email":"a@b"}"#);
    assert_eq!(object.as_deref(), Some(&br#"{"email":"***"}"#[..]));
    let number = ColumnType::parse("UInt8").unwrap();
    assert_eq!(shown(&private, &number, b"7"), None);
}

fn column(name: &str, type_name: &str) -> Result<RecordColumn, String> {
    let column = Column {
        name: name.to_owned(),
        column_type: ColumnType::parse(type_name).unwrap(),
        default_kind: DefaultKind::None,
    };
    RecordColumn::new(
        RecordField::of_column(name).expect("a field"),
        column,
        None,
        KeyFormat::Json,
        Times::default(),
    )
}

fn encode(name: &str, type_name: &str, timestamp_ms: i64, key: Option<&[u8]>) -> Vec<u8> {
    let column = column(name, type_name).unwrap();
    let made = MadeRecord::new(key, Some(b"{}"), timestamp_ms, 7);
    let mut out = vec![];
    let encoded = column.encode(origin(&place(), made.record()), &mut out, false);
    encoded.unwrap();
    out
}

#[test]
fn timestamps_keys_and_values_are_as_received() {
    let time = 1_763_719_200_123;
    let ticks = |ticks: i64| ticks.to_le_bytes().to_vec();
    assert_eq!(
        encode("_timestamp", "DateTime64(3, 'UTC')", time, None),
        ticks(time)
    );
    assert_eq!(
        encode("_timestamp", "DateTime64(6)", time, None),
        ticks(time * 1000)
    );
    assert_eq!(encode("_timestamp", "Int64", time, None), ticks(time));
    assert_eq!(
        encode("_timestamp", "DateTime", time, None),
        b"\x20\x38\x20\x69"
    );
    assert_eq!(
        encode("_timestamp", "Nullable(DateTime64(3))", -1, None),
        b"\x01"
    );
    assert_eq!(encode("_timestamp", "DateTime64(3)", -1, None), ticks(0));
    assert_eq!(
        encode("_key", "String", time, Some(b"\xff\0k")),
        b"\x03\xff\0k"
    );
    assert_eq!(encode("_key", "Nullable(String)", time, Some(b"")), b"\0\0");
    assert_eq!(encode("_key", "Nullable(String)", time, None), b"\x01");
    assert_eq!(encode("_key", "LowCardinality(String)", time, None), b"\0");
    assert_eq!(encode("_value", "String", time, None), b"\x02{}");
    assert_eq!(encode("_topic", "String", time, None), b"\x01t");
    assert_eq!(encode("_partition", "UInt32", time, None), b"\x03\0\0\0");
    assert_eq!(encode("_offset", "UInt64", time, None), ticks(7));
    for (name, type_name) in [
        ("_topic", "Nullable(String)"),
        ("_offset", "UInt32"),
        ("_timestamp", "String"),
        ("_timestamp", "Array(DateTime)"),
        ("_timestamp", "Tuple(DateTime)"),
        ("_timestamp", "Map(String, DateTime)"),
        ("_timestamp", "UInt32"),
        ("_key", "UInt64"),
        ("_value", "FixedString(2)"),
    ] {
        assert!(column(name, type_name).is_err(), "{name} {type_name}");
    }
}

fn mapped(from: &str, type_name: &str, kind: DefaultKind) -> (RecordField, Column, ColumnMapping) {
    let field = RecordField::parse(from).expect("a field");
    let column = Column {
        name: "c".to_owned(),
        column_type: ColumnType::parse(type_name).unwrap(),
        default_kind: kind,
    };
    let mapping = ColumnMapping {
        from: Some(field.clone()),
        ..ColumnMapping::default()
    };
    (field, column, mapping)
}

fn origin<'r>(place: &'r RecordPlace, record: Record<'r>) -> Origin<'r> {
    Origin {
        place,
        record,
        element: 0,
    }
}

fn place() -> RecordPlace {
    RecordPlace::new(&TopicPartition {
        topic: "t".into(),
        partition: 3,
    })
}

fn encode_mapped(
    from: &str,
    type_name: &str,
    made: &MadeRecord<'_>,
    change: impl FnOnce(&mut ColumnMapping),
) -> Result<Vec<u8>, String> {
    encode_with(Times::default(), from, type_name, made, change)
}

fn encode_with(
    times: Times,
    from: &str,
    type_name: &str,
    made: &MadeRecord<'_>,
    change: impl FnOnce(&mut ColumnMapping),
) -> Result<Vec<u8>, String> {
    let (field, column, mut mapping) = mapped(from, type_name, DefaultKind::None);
    change(&mut mapping);
    let column = RecordColumn::new(field, column, Some(&mapping), KeyFormat::Json, times)?;
    let mut out = vec![];
    let encoded = column.encode(origin(&place(), made.record()), &mut out, false);
    encoded.map(|()| out).map_err(|reject| reject.to_string())
}

#[test]
fn a_mapped_column_of_any_type_takes_a_part_of_the_record() {
    let made = MadeRecord::new(Some(b"42"), Some(b"\xff"), 1_000, 7);
    let encode = |from, type_name| encode_mapped(from, type_name, &made, |_| {});
    assert_eq!(encode("key", "UInt16"), Ok(vec![42, 0]));
    assert_eq!(encode("key", "Nullable(UInt8)"), Ok(vec![0, 42]));
    assert_eq!(encode("topic", "Nullable(String)"), Ok(b"\0\x01t".to_vec()));
    assert_eq!(encode("partition", "Nullable(UInt16)"), Ok(vec![0, 3, 0]));
    assert_eq!(encode("offset", "UInt64"), Ok(7u64.to_le_bytes().to_vec()));
    assert_eq!(encode("timestamp", "DateTime"), Ok(vec![1, 0, 0, 0]));
    assert_eq!(encode("timestamp_type", "String"), Ok(vec![0]));
    assert_eq!(encode("header:tenant", "String"), Ok(vec![0]));
    assert_eq!(encode("value", "String"), Ok(b"\x01\xff".to_vec()));
    assert_eq!(encode("schema_id", "Nullable(UInt32)"), Ok(vec![1]));
    let not_text = encode("value", "UInt8").unwrap_err();
    assert_eq!(not_text, "invalid_value: c: not UTF-8");
    for (from, type_name) in [
        ("partition", "String"),
        ("offset", "Float64"),
        ("schema_id", "UInt16"),
        ("topic", "UInt64"),
        ("timestamp_type", "Enum8('create_time' = 1)"),
    ] {
        let error = encode(from, type_name).unwrap_err();
        assert!(error.starts_with("column c must be"), "{error}");
    }
}

#[test]
fn the_schemas_number_stands_behind_a_zero_byte() {
    let id = |value: &'static [u8]| {
        let made = MadeRecord::new(None, Some(value), 1_000, 7);
        encode_mapped("schema_id", "UInt32", &made, |_| {}).unwrap()
    };
    assert_eq!(id(b"\0\0\0\x01\x02"), [2, 1, 0, 0]);
    assert_eq!(id(b"\0\xff\xff\xff\xffrest"), [255; 4]);
    for none in [
        &b""[..],
        b"\0",
        b"\0\0\0\x01",
        b"\x01\0\0\x01\x02",
        b"{\"a\":1}",
    ] {
        assert_eq!(id(none), [0; 4], "{none:?}");
    }
}

#[test]
fn a_clamped_timestamp_is_never_refused() {
    for type_name in [
        "DateTime",
        "DateTime64(3)",
        "DateTime64(9)",
        "Nullable(DateTime64(6))",
        "LowCardinality(DateTime)",
        "Int64",
    ] {
        let (field, column, _) = mapped("timestamp", type_name, DefaultKind::None);
        let column =
            RecordColumn::new(field, column, None, KeyFormat::Json, Times::default()).unwrap();
        let column = column.clamped();
        for ms in [i64::MAX, 1_763_719_200_000_000, 4_294_967_296_000, 0, -1] {
            let made = MadeRecord::new(None, None, ms, 7);
            let encoded = column.encode(origin(&place(), made.record()), &mut vec![], false);
            assert!(encoded.is_ok(), "{type_name} {ms}");
        }
    }
    assert_eq!(
        encode("_timestamp", "DateTime", 4_294_967_295_000, None),
        [255; 4]
    );
}

#[test]
fn what_a_record_lacks_is_the_default_the_servers_or_a_dead_letter() {
    let made = MadeRecord::new(None, None, -1, 7);
    let with = |text: &'static str| {
        move |mapping: &mut ColumnMapping| mapping.default = Some(text.to_owned())
    };
    assert_eq!(encode_mapped("key", "UInt8", &made, with("9")), Ok(vec![9]));
    let tenant = encode_mapped("header:t", "String", &made, with("none"));
    assert_eq!(tenant, Ok(b"\x04none".to_vec()));
    let required = encode_mapped("header:t", "String", &made, |m| m.required = true);
    assert_eq!(
        required.unwrap_err(),
        "missing_field: c: the record has no header:t"
    );
    let (field, column, mapping) = mapped("key", "String", DefaultKind::Default);
    let column = RecordColumn::new(
        field,
        column,
        Some(&mapping),
        KeyFormat::Json,
        Times::default(),
    )
    .unwrap();
    assert!(column.needs_server_default());
    let mut out = vec![];
    column
        .encode(origin(&place(), made.record()), &mut out, true)
        .unwrap();
    assert_eq!(out, [SERVER_DEFAULT]);
}

#[test]
fn headers_are_a_map_of_the_last_ones_or_an_array_of_all() {
    let headers = [
        ("a".to_owned(), Some(b"1".to_vec())),
        ("b".to_owned(), None),
        ("a".to_owned(), Some(b"\xff".to_vec())),
    ];
    let made = MadeRecord::new(None, None, -1, 7).of("t", 0, &headers);
    let encode = |type_name| encode_mapped("headers", type_name, &made, |_| {});
    let last = b"\x02\x01b\0\x01a\x01\xff".to_vec();
    assert_eq!(encode("Map(LowCardinality(String), String)"), Ok(last));
    let all = b"\x03\x01a\x011\x01b\0\x01a\x01\xff".to_vec();
    assert_eq!(encode("Array(Tuple(String, String))"), Ok(all));
    let nullable = b"\x02\x01b\0\0\x01a\0\x01\xff".to_vec();
    assert_eq!(encode("Map(String, Nullable(String))"), Ok(nullable));
    for type_name in ["String", "Map(String, UInt8)", "Array(Tuple(String))"] {
        let error = encode(type_name).unwrap_err();
        assert!(error.starts_with("column c must be Map(String"), "{error}");
    }
}

#[test]
fn a_path_leads_into_a_key_of_json() {
    let encode = |key: Option<&'static [u8]>, path: &'static str| {
        let made = MadeRecord::new(key, None, -1, 7);
        encode_mapped("key", "UInt16", &made, |mapping| {
            mapping.path = Some(path.to_owned());
        })
    };
    assert_eq!(
        encode(Some(br#"{"id":{"n":[1,258]}}"#), "$.id.n[1]"),
        Ok(vec![2, 1])
    );
    assert_eq!(encode(Some(b"258"), "$"), Ok(vec![2, 1]));
    assert_eq!(encode(Some(b"{}"), "$.id"), Ok(vec![0, 0]));
    assert_eq!(encode(None, "$.id"), Ok(vec![0, 0]));
    let no_json = encode(Some(b"{"), "$.id").unwrap_err();
    assert!(
        no_json.starts_with("invalid_json: c: the key is no JSON"),
        "{no_json}"
    );
    let no_number = encode(Some(br#"{"id":"x"}"#), "$.id").unwrap_err();
    assert_eq!(no_number, "invalid_value: c: not an integer");
}

#[test]
fn keys_and_headers_are_read_by_the_times_of_the_pipeline_and_the_unit_of_the_column() {
    let texts = TextRules::new(Some("%d.%m.%Y %H:%M"), Some("Europe/Berlin")).unwrap();
    let times = Times::of_pipeline(Some(TimeUnit::Seconds), texts.map(Arc::new));
    let local = "21.11.2025 11:00";
    let headers = [
        ("at".to_owned(), Some(local.as_bytes().to_vec())),
        ("number".to_owned(), Some(b"1763719200".to_vec())),
        ("ms".to_owned(), Some(b"1763719200000".to_vec())),
        ("of_day".to_owned(), Some(b"90".to_vec())),
    ];
    let key = format!(r#"{{"at":"{local}","number":1763719200}}"#);
    let made = MadeRecord::new(Some(key.as_bytes()), None, -1, 7).of("t", 0, &headers);
    let at = Ok(1_763_719_200_u32.to_le_bytes().to_vec());
    let of = |from: &str, type_name: &str, path: Option<&str>, unit: Option<TimeUnit>| {
        encode_with(times.clone(), from, type_name, &made, |mapping| {
            mapping.path = path.map(str::to_owned);
            mapping.unit = unit;
        })
    };
    for (from, path, unit) in [
        ("header:at", None, None),
        ("header:number", None, None),
        ("header:ms", None, Some(TimeUnit::Milliseconds)),
        ("key", Some("$.at"), None),
        ("key", Some("$.number"), None),
    ] {
        assert_eq!(of(from, "DateTime", path, unit), at, "{from} {path:?}");
    }
    // The unit of the pipeline says nothing of times of day.
    let ninety = Ok(90_000_i64.to_le_bytes().to_vec());
    let own = Some(TimeUnit::Seconds);
    assert_eq!(of("header:of_day", "Time64(3)", None, own), ninety);
    let ticks = Ok(90_i64.to_le_bytes().to_vec());
    assert_eq!(of("header:of_day", "Time64(3)", None, None), ticks);
}
