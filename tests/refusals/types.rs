//! Every type of the server: what is read back equals what the record had, and what a column cannot hold
//! is a dead letter.

use sandbox::topic;

use super::columns::{PROVENANCE, job};
use super::formats::{reasons, record};

/// A type, values with what the server shows of them, and a value that the column does not hold.
type Checked = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
);

const TYPES: [Checked; 26] = [
    (
        "Int128",
        &[
            (
                "-170141183460469231731687303715884105728",
                "-170141183460469231731687303715884105728",
            ),
            ("0", "0"),
        ],
        "170141183460469231731687303715884105728",
    ),
    (
        "UInt128",
        &[
            (
                "340282366920938463463374607431768211455",
                "340282366920938463463374607431768211455",
            ),
            ("\"7\"", "7"),
        ],
        "-1",
    ),
    (
        "Int256",
        &[(
            "-57896044618658097711785492504343953926634992332820282019728792003956564819968",
            "-57896044618658097711785492504343953926634992332820282019728792003956564819968",
        )],
        "57896044618658097711785492504343953926634992332820282019728792003956564819968",
    ),
    (
        "Nullable(UInt256)",
        &[
            (
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
                "115792089237316195423570985008687907853269984665640564039457584007913129639935",
            ),
            ("null", "\\N"),
        ],
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    ),
    (
        "Map(String, UInt8)",
        &[
            (r#"{"a":1,"b":255}"#, "{'a':1,'b':255}"),
            ("{}", "{}"),
            ("null", "{}"),
        ],
        r#"{"a":256}"#,
    ),
    (
        "Map(LowCardinality(String), Nullable(DateTime64(3, 'UTC')))",
        &[(
            r#"{"a":null,"b":"2020-01-01T00:00:00Z"}"#,
            "{'a':NULL,'b':'2020-01-01 00:00:00.000'}",
        )],
        r#"{"a":"1800-01-01T00:00:00Z"}"#,
    ),
    (
        "Tuple(name String, n Nullable(UInt8))",
        &[
            (r#"{"name":"x","n":255}"#, "('x',255)"),
            ("{}", "('',NULL)"),
            ("null", "('',NULL)"),
        ],
        r#"{"n":256}"#,
    ),
    (
        "Tuple(UInt8, String)",
        &[(r#"[1,"a"]"#, "(1,'a')"), (r#"[0,""]"#, "(0,'')")],
        "[256,\"\"]",
    ),
    (
        "Array(Tuple(sku String, n UInt16))",
        &[(r#"[{"sku":"a","n":1},{"sku":"b"}]"#, "[('a',1),('b',0)]")],
        r#"[{"n":65536}]"#,
    ),
    (
        "Nested(a UInt8, b String)",
        &[(r#"[{"a":255},{"b":"x"}]"#, "[(255,''),(0,'x')]")],
        r#"[{"a":256}]"#,
    ),
    (
        "JSON",
        &[
            (
                r#"{"a":1,"b":{"c":["x"]},"d":"2020-01-01T00:00:00Z"}"#,
                r#"{"a":1,"b":{"c":["x"]},"d":"2020-01-01T00:00:00Z"}"#,
            ),
            ("{}", "{}"),
            ("null", "{}"),
        ],
        "[1]",
    ),
    (
        "Nullable(JSON)",
        &[("null", "\\N"), (r#"{"a":true}"#, r#"{"a":true}"#)],
        "7",
    ),
    (
        "Time",
        &[(r#""-999:59:59""#, "-999:59:59"), ("1", "00:00:01")],
        "3600000",
    ),
    (
        "Time64(3)",
        &[
            (r#""999:59:59.999""#, "999:59:59.999"),
            ("1500", "00:00:01.500"),
        ],
        "3600000000",
    ),
    (
        "SimpleAggregateFunction(max, UInt8)",
        &[("255", "255"), ("null", "0")],
        "256",
    ),
    ("Point", &[("[1.5,-2]", "(1.5,-2)")], "[1,1e400]"),
    (
        "Polygon",
        &[("[[[0,0],[1,0],[1,1]]]", "[[(0,0),(1,0),(1,1)]]")],
        "[[[0,0,0]]]",
    ),
    (
        "Variant(String, UInt64, Bool)",
        &[
            ("true", "true"),
            ("18446744073709551615", "18446744073709551615"),
            (r#""x""#, "x"),
            ("null", "\\N"),
        ],
        "[]",
    ),
    (
        "Variant(UInt8, Date)",
        &[("255", "255"), (r#""2020-02-29""#, "2020-02-29")],
        "256",
    ),
    (
        "Dynamic",
        &[
            ("true", "true"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("18446744073709551615", "18446744073709551615"),
            ("1.5", "1.5"),
            (r#""x""#, "x"),
            ("null", "\\N"),
        ],
        "{}",
    ),
    (
        "LowCardinality(Nullable(String))",
        &[("null", "\\N"), (r#""""#, "")],
        "{}",
    ),
    (
        "LowCardinality(UInt64)",
        &[("18446744073709551615", "18446744073709551615")],
        "-1",
    ),
    (
        "Nullable(Decimal(76, 0))",
        &[
            ("null", "\\N"),
            (
                "9999999999999999999999999999999999999999999999999999999999999999999999999999",
                "9999999999999999999999999999999999999999999999999999999999999999999999999999",
            ),
        ],
        "1e76",
    ),
    (
        "UInt64",
        &[("true", "1"), ("false", "0")],
        "18446744073709551616",
    ),
    (
        "Nullable(Tuple(a UInt8))",
        &[("null", "\\N"), ("{}", "(0)")],
        r#"{"a":-1}"#,
    ),
    ("Nullable(Int8)", &[("true", "1"), ("-128", "-128")], "128"),
];

#[test]
fn every_type_is_read_back_as_it_came_or_its_record_is_a_dead_letter() {
    let list = |form: &dyn Fn(usize, &str) -> String| {
        let columns = TYPES.iter().enumerate();
        columns
            .map(|(n, (type_name, ..))| form(n, type_name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let columns = list(&|n, type_name| format!("c{n} {type_name}"));
    let others = "`n.a` Array(UInt8), `n.b` Array(Nullable(String)), state AggregateFunction(sum, UInt64) \
                  DEFAULT initializeAggregation('sumState', toUInt64(7))";
    let mut job = job("every-type", PROVENANCE);
    job.query("DROP TABLE {db}.clickstream_events SYNC");
    job.query(&format!(
        "CREATE TABLE {{db}}.clickstream_events (id UInt32, {columns}, {others}, {PROVENANCE}) \
         ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000, \
         enable_time_time64_type = 1, allow_suspicious_low_cardinality_types = 1, \
         enable_nullable_tuple_type = 1, flatten_nested = 0"
    ));
    job.set("pipeline.time_field", "");
    job.set("pipeline.dead_letter.ratio_max", 1.0);
    let (mut records, mut expected, mut refused) = (vec![], vec![], vec![]);
    let mut add = |fields: String| {
        let id = records.len();
        records.push(record(&format!(r#"{{"id":{id},{fields}}}"#)));
        id
    };
    for (n, (_, values, wrong)) in TYPES.iter().enumerate() {
        for (json, shown) in *values {
            let id = add(format!(r#""c{n}":{json}"#));
            expected.push((id, n, (*shown).to_owned()));
        }
        let id = add(format!(r#""c{n}":{wrong}"#));
        refused.push(format!("c{n} of {id}"));
    }
    let nested = [
        r#""n.a":[1,2],"n.b":["x",null]"#,
        r#""n":{"a":[1,2],"b":["x",null]}"#,
        r#""n":[{"a":1,"b":"x"},{"a":2}]"#,
        r#""n":{"a":[1,2]}"#,
    ]
    .map(|fields| add(fields.to_owned()));
    let unequal = add(r#""n":{"a":[1,2],"b":["x"]}"#.to_owned());
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let shown = list(&|n, _| format!("if(c{n} IS NULL, NULL, toString(c{n}))"));
    let rows = job.query(&format!(
        "SELECT id, {shown}, n.a, n.b, finalizeAggregation(state) FROM {{db}}.clickstream_events ORDER BY id"
    ));
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split('\t').collect()).collect();
    let row = |id: usize| rows.iter().find(|row| row[0] == id.to_string());
    for (id, n, shown) in &expected {
        let seen = row(*id).map(|row| row[n + 1].replace("\\'", "'"));
        assert_eq!(seen.as_ref(), Some(shown), "{} of {id}", TYPES[*n].0);
    }
    for (id, b) in nested
        .iter()
        .zip(["['x',NULL]", "['x',NULL]", "['x',NULL]", "[NULL,NULL]"])
    {
        let row = row(*id).expect("a row");
        assert_eq!(row[TYPES.len() + 1..], ["[1,2]", b, "7"]);
    }
    assert_eq!(rows.len(), expected.len() + nested.len());
    let letters = reasons(&job);
    assert_eq!(letters.len(), refused.len() + 1, "{letters:?}");
    for letter in &letters {
        let mut words = letter.split(' ');
        let (offset, _, column) = (words.next(), words.next(), words.next());
        let name = column.unwrap_or_default().trim_end_matches(':');
        let place = format!("{name} of {}", offset.unwrap_or_default());
        let is_nested = place == format!("n.b of {unequal}");
        assert!(refused.contains(&place) || is_nested, "{letter}");
    }
}
