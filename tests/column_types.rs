//! What the encoder writes for the types of time and for wide decimals, and blocks of every type, read by
//! the real server.

use std::fmt::Write as _;

use sandbox::shared;
use streamweir::decode::json::Raw;
use streamweir::native::{BlockColumn, BlockPlan, Chunk};
use streamweir::table::ColumnType;

/// The server's text of a value encoded for this type.
fn read_back(type_name: &str, json: &str) -> String {
    let column_type = ColumnType::parse(type_name).expect("a type");
    let mut bytes = Vec::new();
    let raw = Raw::parse(json).expect("JSON");
    column_type.encode(raw, &mut bytes).expect("a value");
    let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("memory");
        hex
    });
    // As a literal: the type's quotes end none of it.
    let type_name = type_name.replace('\'', "\\'");
    let answer = shared().clickhouse.query(&format!(
        "SELECT toString(v) FROM format('RowBinary', 'v {type_name}', unhex('{hex}')) \
         SETTINGS enable_time_time64_type = 1"
    ));
    answer.trim_end().to_owned()
}

#[test]
fn times_of_day_are_the_servers_own() {
    for (type_name, json, text) in [
        ("Time", r#""00:00:01""#, "00:00:01"),
        ("Time", r#""-838:59:59""#, "-838:59:59"),
        ("Time64(3)", r#""12:34:56.789""#, "12:34:56.789"),
        ("Time64(6)", r#""24:00:00""#, "24:00:00.000000"),
        ("Time64(6)", r#""999:59:59.999999""#, "999:59:59.999999"),
        ("Time64(6)", r#""-00:00:00.000001""#, "-00:00:00.000001"),
        (
            "Nullable(Time64(9))",
            r#""23:59:59.123456789""#,
            "23:59:59.123456789",
        ),
    ] {
        assert_eq!(read_back(type_name, json), text, "{type_name}");
    }
}

#[test]
fn days_instants_and_wide_decimals_are_the_servers_own() {
    for (type_name, json, text) in [
        ("Date32", r#""1900-01-01""#, "1900-01-01"),
        ("Date32", r#""2299-12-31""#, "2299-12-31"),
        (
            "DateTime64(6, 'UTC')",
            r#""1900-01-01 00:00:00.000001""#,
            "1900-01-01 00:00:00.000001",
        ),
        (
            "Decimal(20, 4)",
            "-9999999999999999.9999",
            "-9999999999999999.9999",
        ),
        (
            "Decimal(76, 38)",
            "-12345678901234567890123456789012345678.5",
            "-12345678901234567890123456789012345678.5",
        ),
    ] {
        assert_eq!(read_back(type_name, json), text, "{type_name}");
    }
}

/// A type of each kind, and values of it.
const VALUES: [(&str, &[&str]); 41] = [
    ("String", &[r#""a""#, r#""""#, r#""é\u0000\n""#]),
    ("FixedString(3)", &[r#""ab""#, r#""abc""#, r#""""#]),
    ("UInt8", &["0", "255", "7"]),
    ("Int16", &["-32768", "32767", "0"]),
    ("UInt64", &["18446744073709551615", "0", "1"]),
    ("Float32", &["1.5", "-0.25", "0"]),
    ("Float64", &["1e300", "-2.5", "0"]),
    ("Bool", &["true", "false", "true"]),
    ("Decimal(9, 2)", &["1.25", "-9999999.99", "0"]),
    ("Decimal(18, 4)", &["12.34", "-1", "0"]),
    ("Decimal(38, 9)", &["12.34", "-1", "0"]),
    ("Decimal(76, 38)", &["0.5", "-1", "0"]),
    (
        "Date",
        &[r#""2025-11-21""#, r#""1970-01-01""#, r#""2149-06-06""#],
    ),
    (
        "Date32",
        &[r#""1900-01-01""#, r#""2299-12-31""#, r#""1970-01-01""#],
    ),
    ("DateTime('Europe/Berlin')", &["1763719200", "0", "1"]),
    ("DateTime64(6, 'UTC')", &["1763719200123", "0", "1"]),
    (
        "Time64(3)",
        &[r#""12:34:56.789""#, r#""-00:00:00.001""#, r#""00:00:00""#],
    ),
    (
        "UUID",
        &[
            r#""61f0c404-5cb3-11e7-907b-a6006ad3dba0""#,
            r#""00000000-0000-0000-0000-000000000001""#,
            r#""ffffffff-ffff-ffff-ffff-ffffffffffff""#,
        ],
    ),
    ("Enum8('a' = -1, 'it''s' = 2)", &[r#""a""#, "2", "-1"]),
    ("Enum16('x' = 300)", &["300", r#""x""#, "300"]),
    (
        "IPv4",
        &[r#""1.2.3.4""#, r#""0.0.0.0""#, r#""255.255.255.255""#],
    ),
    (
        "IPv6",
        &[r#""::1""#, r#""2001:db8::ff""#, r#""::ffff:1.2.3.4""#],
    ),
    ("LowCardinality(String)", &[r#""a""#, r#""b""#, r#""a""#]),
    (
        "LowCardinality(Nullable(String))",
        &[r#""""#, "null", r#""b""#],
    ),
    ("Nullable(Enum8('x' = 1))", &["null", "1", "null"]),
    (
        "Array(Array(Nullable(Int32)))",
        &["[[1,null],[]]", "[]", "[[-1]]"],
    ),
    (
        "Array(LowCardinality(Nullable(String)))",
        &[r#"["a",null,"a"]"#, "[]", r#"["b"]"#],
    ),
    (
        "Int128",
        &["-170141183460469231731687303715884105728", "0", "7"],
    ),
    (
        "UInt256",
        &[
            "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            "0",
            "7",
        ],
    ),
    (
        "Map(LowCardinality(String), Array(Nullable(UInt8)))",
        &[r#"{"a":[1,null],"b":[]}"#, "{}", r#"{"a":[2]}"#],
    ),
    (
        "Tuple(a LowCardinality(Nullable(String)), b Array(UInt8))",
        &[r#"{"a":"x","b":[1]}"#, "{}", r#"{"b":[2,3]}"#],
    ),
    (
        "Tuple(UInt8, String)",
        &[r#"[1,"a"]"#, r#"[0,""]"#, "[2,null]"],
    ),
    (
        "Array(Tuple(a UInt8, b String))",
        &[r#"[{"a":1},{"b":"y"}]"#, "[]", r#"[{"a":3,"b":"z"}]"#],
    ),
    ("Point", &["[1.5,-2]", "[0,0]", "[3,4]"]),
    ("MultiPolygon", &["[[[[0,0],[1,0],[1,1]]]]", "[]", "[[]]"]),
    (
        "JSON",
        &[
            r#"{"a":1,"b":{"c":["x",null]},"d":"2020-01-01"}"#,
            "{}",
            r#"{"a":"x"}"#,
        ],
    ),
    (
        "JSON(a UInt32, SKIP b)",
        &[r#"{"a":1}"#, "{}", r#"{"c":true}"#],
    ),
    ("Nullable(JSON)", &["null", r#"{"a":1.5}"#, "{}"]),
    (
        "Variant(Array(UInt8), Bool, LowCardinality(String), UInt64)",
        &[r#""a""#, "null", "true"],
    ),
    ("Dynamic", &["18446744073709551616", "null", r#""x""#]),
    (
        "Array(Tuple(v Variant(String, UInt8), j JSON, d Dynamic))",
        &[
            r#"[{"v":1,"j":{"q":[]},"d":1},{"v":"s"}]"#,
            "[]",
            r#"[{"d":"x"},{"d":0.5},{"d":true}]"#,
        ],
    ),
];

#[test]
fn a_block_of_every_type_is_read_like_the_rows_that_it_was_made_of() {
    let name = |number: usize| format!("c{number}");
    let column = |(number, (type_name, _)): (usize, &(&str, &[&str]))| BlockColumn {
        name: name(number),
        type_name: (*type_name).to_owned(),
        column_type: ColumnType::parse(type_name).expect("a type"),
        has_default: false,
    };
    let columns: Vec<BlockColumn> = VALUES.iter().enumerate().map(column).collect();
    let plan = BlockPlan::new(columns.clone(), false);
    let (mut state, mut chunk) = (plan.state(), Chunk::default());
    let mut streams = vec![vec![]; plan.streams()];
    let mut rows = vec![];
    // Each row is a chunk: dictionaries and offsets go on in the next.
    for row in (0..3).cycle().take(90) {
        let mut bytes = vec![];
        for ((type_name, values), column) in VALUES.iter().zip(&columns) {
            let raw = Raw::parse(values[row]).expect("JSON");
            if raw.is_missing() {
                column.column_type.encode_null_or_zero(&mut bytes);
            } else {
                let encoded = column.column_type.encode(raw, &mut bytes);
                encoded.unwrap_or_else(|reject| panic!("{type_name}: {reject}"));
            }
        }
        let end = u32::try_from(bytes.len()).expect("a short row");
        plan.fill(&bytes, &[end], &mut state, &mut chunk);
        for (all, stream) in streams.iter_mut().zip(chunk.streams()) {
            all.extend_from_slice(stream);
        }
        rows.extend_from_slice(&bytes);
    }
    let parts = plan
        .parts(90, state.absent())
        .expect("all columns are there");
    let block = parts.into_iter().flat_map(|part| {
        let values = streams[part.streams].iter().map(Vec::as_slice);
        [part.head, values.collect::<Vec<_>>().concat()].concat()
    });
    let block: Vec<u8> = block.collect();
    let structure: Vec<String> = columns
        .iter()
        .map(|column| format!("{} {}", column.name, column.type_name))
        .collect();
    let structure = structure.join(", ").replace('\'', "\\'");
    let read = |format: &str, bytes: &[u8]| {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("memory");
            hex
        });
        shared().clickhouse.query(&format!(
            "SELECT * FROM format('{format}', '{structure}', unhex('{hex}')) SETTINGS \
             enable_time_time64_type = 1, input_format_native_allow_types_conversion = 0, \
             input_format_binary_read_json_as_string = 1, input_format_try_infer_dates = 0, \
             max_query_size = 10000000"
        ))
    };
    let of_rows = read("RowBinary", &rows);
    assert_eq!(of_rows.lines().count(), 90, "{of_rows}");
    assert_eq!(read("Native", &block), of_rows);
}
