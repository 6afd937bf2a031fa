use super::*;

fn column(type_name: &str, default_kind: DefaultKind) -> Column {
    let column_type = ColumnType::parse(type_name).unwrap();
    Column {
        name: "c".to_owned(),
        column_type,
        default_kind,
    }
}

fn source(type_name: &str, required: bool, default: Option<&str>, raw: RawMode) -> ColumnSource {
    ColumnSource::new(
        column(type_name, DefaultKind::None),
        0,
        required,
        default,
        raw,
    )
    .unwrap()
}

fn encode(source: &ColumnSource, json: &str, with_default_flag: bool) -> Result<Vec<u8>, String> {
    let raw = if json.is_empty() {
        Raw::ABSENT
    } else {
        Raw::parse(json).unwrap()
    };
    let mut out = Vec::new();
    let encoded = source.encode_value(raw, &mut out, with_default_flag);
    encoded.map(|()| out).map_err(|reject| reject.to_string())
}

#[test]
fn absent_and_null_take_the_default_or_are_missed() {
    let optional = source("UInt8", false, None, RawMode::Off);
    let with_default = source("UInt8", false, Some("7"), RawMode::Off);
    let required = source("UInt8", true, None, RawMode::Off);
    for json in ["", "null"] {
        assert_eq!(encode(&optional, json, false), Ok(vec![0]));
        assert_eq!(encode(&with_default, json, false), Ok(vec![7]));
        assert_eq!(
            encode(&required, json, false),
            Err("missing_field: c".to_owned())
        );
    }
    for source in [optional, with_default, required] {
        assert_eq!(encode(&source, "5", false), Ok(vec![5]));
        assert_eq!(
            encode(&source, "256", false),
            Err("out_of_range: c: UInt8".to_owned())
        );
    }
}

#[test]
fn raw_columns_take_the_json_text_as_received() {
    let object = source("String", false, Some("{}"), RawMode::Object);
    assert_eq!(
        encode(&object, r#"{ "a":1.0}"#, false).unwrap(),
        b"\x0a{ \"a\":1.0}"
    );
    assert_eq!(encode(&object, "null", false).unwrap(), b"\x02{}");
    for json in ["[1]", "\"{}\"", "12.0", "false"] {
        assert_eq!(
            encode(&object, json, false),
            Err("invalid_value: c: not an object".to_owned())
        );
    }
    let any = source("Nullable(String)", false, None, RawMode::Any);
    assert_eq!(encode(&any, "[1, 2]", false).unwrap(), b"\0\x06[1, 2]");
    assert_eq!(
        encode(&any, r#""\ud800""#, false).unwrap(),
        b"\0\x08\"\\ud800\""
    );
    assert_eq!(encode(&any, "null", false).unwrap(), b"\x01");
}

#[test]
fn the_server_fills_in_its_own_default_where_nothing_else_does() {
    let of_server = column("UInt8", DefaultKind::Default);
    let new = |required, default| {
        ColumnSource::new(of_server.clone(), 0, required, default, RawMode::Off).unwrap()
    };
    let plain = new(false, None);
    assert!(plain.needs_server_default());
    assert_eq!(encode(&plain, "null", true), Ok(vec![1]));
    assert_eq!(encode(&plain, "5", true), Ok(vec![0, 5]));
    assert!(!new(false, Some("7")).needs_server_default());
    assert_eq!(encode(&new(false, Some("7")), "", true), Ok(vec![0, 7]));
    assert!(encode(&new(true, None), "", true).is_err());
    assert_eq!(
        encode(&source("UInt8", false, None, RawMode::Off), "", true),
        Ok(vec![0, 0])
    );
}

#[test]
fn numbers_are_times_in_the_unit_of_the_column_or_else_of_the_pipeline() {
    let source = |type_name, own, of_pipeline| {
        source(type_name, false, None, RawMode::Off)
            .with_unit(own, of_pipeline)
            .unwrap()
    };
    let (s, ms) = (Some(TimeUnit::Seconds), Some(TimeUnit::Milliseconds));
    let datetime = |time: u32| Ok(time.to_le_bytes().to_vec());
    let datetime64 = |time: i64| Ok(time.to_le_bytes().to_vec());
    let (seconds, fraction, millis) = ("1763719200", "1763719200.25", "1763719200250");
    for (own, of_pipeline) in [(s, None), (None, s), (s, ms)] {
        let of_ms = source("DateTime64(3)", own, of_pipeline);
        assert_eq!(
            encode(&of_ms, seconds, false),
            datetime64(1_763_719_200_000)
        );
        assert_eq!(
            encode(&of_ms, fraction, false),
            datetime64(1_763_719_200_250)
        );
        let of_seconds = source("DateTime", own, of_pipeline);
        assert_eq!(
            encode(&of_seconds, fraction, false),
            datetime(1_763_719_200)
        );
        assert_eq!(encode(&of_seconds, "60", false), datetime(60));
    }
    let declared = source("DateTime", ms, s);
    assert_eq!(encode(&declared, seconds, false), datetime(1_763_719));
    let undeclared = source("DateTime64(3)", None, None);
    assert_eq!(
        encode(&undeclared, millis, false),
        datetime64(1_763_719_200_250)
    );
    for json in [seconds, fraction] {
        assert_eq!(
            encode(&undeclared, json, false),
            Err("implausible_time: c: looks like seconds: set time_unit".to_owned())
        );
        assert_eq!(
            encode(&source("DateTime", None, None), json, false),
            datetime(1_763_719_200)
        );
    }
    let list = source("Array(Nullable(DateTime))", s, None);
    assert_eq!(
        encode(&list, "[60,null]", false).unwrap(),
        b"\x02\0\x3c\0\0\0\x01"
    );
    // Integers of a time of day are seconds, or what the column counts, whatever the pipeline says.
    for (type_name, own, json, ticks) in [
        ("Time64(3)", None, "1500", 1_500),
        ("Time64(3)", s, "-2", -2_000),
        ("Array(Time64(6))", ms, "[3]", 3_000),
        ("Nullable(Time64(9))", None, "7", 7),
    ] {
        let encoded = encode(&source(type_name, own, s), json, false).expect(type_name);
        assert!(encoded.ends_with(&i64::to_le_bytes(ticks)), "{type_name}");
    }
    let time = |json| encode(&source("Time", None, ms), json, false);
    assert_eq!(time("61"), datetime(61));
    for json in ["1.5", "true", "3600000", "9223372036854775807"] {
        assert!(time(json).is_err(), "{json}");
    }
    let text = source("DateTime64(3)", s, None);
    assert_eq!(
        encode(&text, "\"1970-01-01T00:00:01Z\"", false),
        datetime64(1000)
    );
    // Other columns are what they were.
    assert_eq!(encode(&source("UInt32", None, s), "7", false), datetime(7));
}

#[test]
fn a_default_that_is_a_number_is_a_time_in_the_declared_unit() {
    let encoded = |type_name, unit, text| {
        let source = source(type_name, false, None, RawMode::Off);
        let source = source.with_unit(unit, None).unwrap();
        let source = source.with_default(Some(text));
        source.map(|source| encode(&source, "", false).unwrap())
    };
    let (s, ms) = (Some(TimeUnit::Seconds), Some(TimeUnit::Milliseconds));
    let datetime = |time: u32| time.to_le_bytes().to_vec();
    let datetime64 = |time: i64| time.to_le_bytes().to_vec();
    for (unit, expected) in [(s, 86_400), (ms, 86)] {
        assert_eq!(encoded("DateTime", unit, "86400"), Ok(datetime(expected)));
    }
    let day = "1970-01-02 00:00:00";
    assert_eq!(encoded("DateTime", ms, day), Ok(datetime(86_400)));
    let seconds = encoded("DateTime64(3)", s, "1763719200");
    assert_eq!(seconds, Ok(datetime64(1_763_719_200_000)));
    assert!(encoded("DateTime64(3)", None, "1763719200").is_err());
}

#[test]
fn null_is_a_value_where_the_column_holds_it_and_absent_is_the_default() {
    let new = |type_name, kind| {
        ColumnSource::new(column(type_name, kind), 0, false, None, RawMode::Off).unwrap()
    };
    let nullable = new("Nullable(UInt8)", DefaultKind::Default);
    assert_eq!(encode(&nullable, "null", true), Ok(vec![0, 1]));
    assert_eq!(encode(&nullable, "", true), Ok(vec![1]));
    assert_eq!(encode(&nullable, "5", true), Ok(vec![0, 0, 5]));
    let dictionary = new("LowCardinality(Nullable(String))", DefaultKind::Default);
    assert_eq!(encode(&dictionary, "null", true), Ok(vec![0, 1]));
    let ephemeral = new("UInt8", DefaultKind::Ephemeral);
    assert!(ephemeral.needs_server_default());
    assert_eq!(encode(&ephemeral, "", true), Ok(vec![1]));
    assert_eq!(encode(&ephemeral, "null", true), Ok(vec![1]));
    assert_eq!(encode(&ephemeral, "5", true), Ok(vec![0, 5]));
}

#[test]
fn impossible_mappings_are_refused_with_the_columns_name() {
    let new = |column, default, raw| {
        ColumnSource::new(column, 0, false, default, raw)
            .unwrap_err()
            .to_string()
    };
    let plain = |type_name| column(type_name, DefaultKind::None);
    let raw = new(plain("UInt8"), None, RawMode::Any);
    assert_eq!(raw, "column c: raw needs a String column, not UInt8");
    let default = new(plain("Date"), Some("soon"), RawMode::Off);
    assert_eq!(
        default,
        "column c: default \"soon\" does not fit Date: not a day: YYYY-MM-DD"
    );
    let computed = new(
        column("UInt8", DefaultKind::Materialized),
        None,
        RawMode::Off,
    );
    assert!(computed.starts_with("column c is computed"), "{computed}");
    let no_time = source("Date", false, None, RawMode::Off);
    let unit = no_time.with_unit(Some(TimeUnit::Seconds), None);
    assert_eq!(
        unit.unwrap_err().to_string(),
        "column c: unit needs a DateTime, DateTime64, Time or Time64 column, not Date"
    );
}

#[test]
fn the_unit_of_the_pipeline_says_nothing_of_times_of_day_beside_times() {
    let of = |own, of_pipeline| {
        let source = source("Tuple(at DateTime, of_day Time)", false, None, RawMode::Off);
        let source = source.with_unit(own, of_pipeline).unwrap();
        encode(&source, r#"{"at":86400000,"of_day":3600}"#, false)
    };
    let row = |at: u32, of_day: i32| [at.to_le_bytes(), of_day.to_le_bytes()].concat();
    let ms = Some(TimeUnit::Milliseconds);
    assert_eq!(of(None, ms), Ok(row(86_400, 3600)));
    assert_eq!(of(ms, None), Ok(row(86_400, 3)));
}

#[test]
fn a_column_of_a_nested_that_is_missing_has_as_many_elements_as_the_others() {
    let of_server = Column {
        name: "n.a".to_owned(),
        ..column("Array(UInt8)", DefaultKind::Default)
    };
    let source = ColumnSource::new(of_server, 0, false, None, RawMode::Off).unwrap();
    let (_, nested) = Nested::new("n.a", ["n.b"].into_iter(), 1).unwrap();
    let source = source.with_nested(nested);
    for (json, expected) in [
        (r#"{"b":["x","y"]}"#, vec![0, 2, 0, 0]),
        (r#"{"b":[]}"#, vec![0, 0]),
        (r#"{"a":[7],"b":["x"]}"#, vec![0, 1, 7]),
        // Nothing says how many.
        ("{}", vec![1]),
    ] {
        assert_eq!(encode(&source, json, true), Ok(expected), "{json}");
    }
}
