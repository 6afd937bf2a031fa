//! Columns whose values are made, from the configuration to the bytes of a row.

use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};

use super::plan::RowPlan;
use super::{EnrichmentOperator, Settings, Table};
use crate::config::{Config, Kind};
use crate::lane::{NotAccepted, Operator as _};
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{ColumnInfo, TableInfo, Target};
use crate::source::{MadeRecord, TopicPartition};
use crate::table::read_length;

/// The key of masks in the second implementation.
const KEY: &str = "0123456789abcdef0123456789abcdef";

/// The files that configurations here name.
static FILES: OnceLock<tempfile::TempDir> = OnceLock::new();

/// A pipeline and its table's columns.
struct Made {
    operator: EnrichmentOperator,
    columns: usize,
}

impl Made {
    /// `columns`: of each its type and its entry in the configuration. They are called c0, c1 and so on.
    fn new(columns: &[(&str, Value)], more: Value) -> Result<Self, String> {
        let directory = FILES.get_or_init(|| {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("key"), format!("{KEY}\n")).unwrap();
            std::fs::write(directory.path().join("codes.csv"), "from,to\nUK,GB\n").unwrap();
            directory
        });
        let text = "[service]\nmask_key_file = \"key\"\n";
        let loaded = Config::parse(text, "config.toml", directory.path(), []);
        let config = loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config;
        let entries = columns.iter().enumerate();
        let entries = entries.map(|(place, (_, entry))| (format!("c{place}"), entry.clone()));
        let mut pipeline = json!({
            "name": "made", "kind": "enrichment", "topics": ["t"], "group_id": "g", "time_field": "",
            "clickhouse": { "table": "t" }, "columns": Value::Object(entries.collect()),
        });
        for (key, value) in more.as_object().unwrap() {
            pipeline[key] = value.clone();
        }
        let read = config.base.read_pipeline(&pipeline, &[]);
        let pipeline = read.map_err(|problems| {
            let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
        let Kind::Enrichment(enrichment) = &pipeline.kind else {
            panic!("an enrichment");
        };
        let infos = columns
            .iter()
            .enumerate()
            .map(|(place, (type_name, _))| ColumnInfo {
                name: format!("c{place}"),
                type_name: (*type_name).to_owned(),
                default_kind: String::new(),
            });
        let info = TableInfo {
            engine: "MergeTree".to_owned(),
            engine_full: String::new(),
            sorting_key: String::new(),
            partition_key: String::new(),
            columns: infos.collect(),
            metadata_version: 0,
            has_tokens: true,
        };
        let plan = RowPlan::new(enrichment, &info.columns, false).map_err(|e| e.to_string())?;
        let (label, names) = (String::new(), plan.names());
        let target = Target::of_columns(label.clone(), label, &info, names, plan.format());
        let table = Table {
            target: Arc::new(target),
            has_provenance: false,
        };
        let settings = Settings::new(enrichment, Arc::new((1 << 20).into()), 1);
        let metrics = PipelineMetrics::new("made");
        let plan = Arc::new(plan);
        Ok(Made {
            operator: EnrichmentOperator::new(plan, table, settings, None, metrics),
            columns: columns.len(),
        })
    }

    /// The bytes of each column, by the columns' numbers.
    fn row(&mut self, record: &str) -> Result<Vec<Vec<u8>>, String> {
        let topic = "t".into();
        let partition = TopicPartition {
            topic,
            partition: 0,
        };
        let mut state = self.operator.begin(&partition);
        self.operator.clear(0);
        let made = MadeRecord::new(None, Some(record.as_bytes()), -1, 0);
        match self.operator.accept(&mut state, made.record()) {
            Ok(_) => {}
            Err(NotAccepted::Refused(refusal)) => return Err(refusal.reject.to_string()),
            Err(_) => panic!("nothing has to be waited for"),
        }
        let names = self.operator.event_column_names();
        let values = self.operator.event_values();
        let mut row = vec![vec![]; self.columns];
        for (name, value) in names.iter().zip(values) {
            let place: usize = name[1..].parse().unwrap();
            row[place] = value.expect("no column has a DEFAULT").to_vec();
        }
        Ok(row)
    }

    /// The text of the first column, which is a Nullable(String).
    fn text(&mut self, record: &str) -> Result<Option<String>, String> {
        self.row(record).map(|row| text(&row[0]))
    }
}

/// A Nullable(String).
fn text(value: &[u8]) -> Option<String> {
    let value = value.strip_prefix(&[0])?;
    let len = read_length(value);
    Some(String::from_utf8(value[value.len() - len..].to_vec()).unwrap())
}

fn of(entry: Value, record: &str) -> Result<Option<String>, String> {
    Made::new(&[("Nullable(String)", entry)], json!({}))?.text(record)
}

#[test]
fn every_step_does_what_the_contract_says() {
    let cases = include_str!("../../../tests/material/oracle/cases/transforms.jsonl");
    let mut differences = vec![];
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let found = of(case["column"].clone(), case["record"].as_str().unwrap());
        differences.extend(difference(&found, &case, &case["column"], &case["record"]));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// `expected`: a value, or the step that refuses the record.
fn difference(
    found: &Result<Option<String>, String>,
    expected: &Value,
    column: &Value,
    record: &Value,
) -> Option<String> {
    let agrees = match (found, expected["refused"].as_str()) {
        (Err(error), Some(step)) => error.starts_with(&format!("invalid_value: c0: {step}: ")),
        (Ok(value), None) => value.as_deref() == expected["value"].as_str(),
        _ => false,
    };
    let expected = (&expected["value"], &expected["refused"]);
    (!agrees).then(|| format!("{found:?}, not {expected:?}: {column} {record}"))
}

#[test]
fn random_columns_of_random_records_agree_with_the_second_implementation() {
    let mut differences = vec![];
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material/oracle/transforms.py");
    for seed in ["1", "2"] {
        let mut command = Command::new("python3");
        let run = command
            .arg(&script)
            .args(["random", seed, "60", "60"])
            .output();
        let run = run.expect("python3 runs");
        assert!(
            run.status.success(),
            "{}",
            String::from_utf8_lossy(&run.stderr)
        );
        let output = String::from_utf8(run.stdout).unwrap();
        let mut made = vec![];
        for line in output.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            let columns = record["columns"].as_array().unwrap();
            if made.is_empty() {
                let one = |column: &Value| {
                    Made::new(&[("Nullable(String)", column.clone())], json!({})).unwrap()
                };
                made = columns.iter().map(one).collect();
            }
            let outcomes = record["outcomes"].as_array().unwrap();
            for ((column, outcome), made) in columns.iter().zip(outcomes).zip(&mut made) {
                let found = made.text(record["record"].as_str().unwrap());
                differences.extend(difference(&found, outcome, column, &record["record"]));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn columns_of_every_type_take_what_steps_make() {
    let entry = |steps: Value| json!({ "path": "$.v", "apply": steps });
    for (type_name, steps, json, expected) in [
        (
            "Decimal(9, 2)",
            json!([{ "round": 2 }]),
            "1.005",
            Ok(100i32.to_le_bytes().to_vec()),
        ),
        (
            "Nullable(Decimal(9, 2))",
            json!([{ "round": 1 }]),
            "1.05",
            Ok(vec![0, 100, 0, 0, 0]),
        ),
        (
            "Decimal(3, 1)",
            json!(["abs"]),
            "-0.55",
            Err("out_of_range: c0: too many digits for Decimal(3, 1)"),
        ),
        (
            "Float64",
            json!([{ "scale": "0.01" }]),
            "250",
            Ok(2.5f64.to_le_bytes().to_vec()),
        ),
        (
            "Int32",
            json!([{ "round": 0 }]),
            "-2.5",
            Ok((-2i32).to_le_bytes().to_vec()),
        ),
        ("UInt8", json!(["abs"]), "-7", Ok(vec![7])),
        (
            "UInt8",
            json!(["abs"]),
            "-7.5",
            Err("invalid_value: c0: not an integer"),
        ),
        (
            "UInt8",
            json!([{ "unit": "s" }, { "part": "is_weekend" }]),
            "1763719200",
            Ok(vec![0]),
        ),
        (
            "Bool",
            json!([{ "unit": "s" }, { "part": "is_weekend" }]),
            "1763805600",
            Ok(vec![1]),
        ),
        (
            "LowCardinality(String)",
            json!(["upper"]),
            "\"de\"",
            Ok(b"\x02DE".to_vec()),
        ),
        (
            "FixedString(2)",
            json!(["upper"]),
            "\"de\"",
            Ok(b"DE".to_vec()),
        ),
        (
            "Enum8('a' = 1, 'b' = 2)",
            json!(["lower"]),
            "\"B\"",
            Ok(vec![2]),
        ),
        (
            "UInt16",
            json!([{ "extract": "([0-9]+)" }]),
            "\"n258\"",
            Ok(vec![2, 1]),
        ),
        (
            "UInt16",
            json!([{ "extract": "([0-9]+)" }]),
            "\"n\"",
            Ok(vec![0, 0]),
        ),
        (
            "DateTime",
            json!([{ "unit": "s" }]),
            "1763719200.9",
            Ok(1_763_719_200u32.to_le_bytes().to_vec()),
        ),
        (
            "DateTime64(3)",
            json!([{ "truncate_time": "1h" }]),
            "\"2025-11-21T10:59:59.999Z\"",
            Ok(1_763_719_200_000i64.to_le_bytes().to_vec()),
        ),
        // Midnight in Berlin is another day in UTC, and the day is that of Berlin.
        (
            "Date",
            json!([{ "truncate_time": "1d", "zone": "Europe/Berlin" }]),
            "\"2025-11-20T23:30:00Z\"",
            Ok(vec![0xbd, 0x4f]),
        ),
        (
            "Nullable(Date32)",
            json!([{ "truncate_time": "7d" }]),
            "\"2025-11-21T00:00:00Z\"",
            Ok(vec![0, 0xb9, 0x4f, 0, 0]),
        ),
        (
            "Nullable(DateTime)",
            json!([{ "split": ",", "index": 1 }]),
            "\"a,2025-11-21T10:00:00Z\"",
            Ok(vec![0, 0x20, 0x38, 0x20, 0x69]),
        ),
    ] {
        let made = Made::new(&[(type_name, entry(steps.clone()))], json!({}));
        let row = made.and_then(|mut made| made.row(&format!("{{\"v\":{json}}}")));
        let value = row.map(|mut row| row.remove(0));
        assert_eq!(
            value,
            expected.map_err(str::to_owned),
            "{type_name} {steps} {json}"
        );
    }
}

#[test]
fn made_columns_stand_beside_plain_ones_in_every_format() {
    let columns = [
        (
            "Nullable(String)",
            json!({ "path": "$.a", "apply": ["upper"] }),
        ),
        ("UInt8", json!({ "path": "$.b" })),
        (
            "Nullable(String)",
            json!({ "sum": ["$.b", "$.c"], "on_error": "default", "default": "none" }),
        ),
    ];
    let expected = |row: Vec<Vec<u8>>| (text(&row[0]), row[1].clone(), text(&row[2]));
    let csv = json!({ "format": "csv", "csv": { "columns": ["a", "b", "c"] } });
    for (more, record) in [
        (json!({}), r#"{"a":"x","b":2,"c":"1.5"}"#),
        (csv, "x,2,1.5"),
    ] {
        let mut made = Made::new(&columns, more).unwrap();
        let row = expected(made.row(record).unwrap());
        assert_eq!(row, (Some("X".to_owned()), vec![2], Some("3.5".to_owned())));
    }
    let mut made = Made::new(&columns, json!({})).unwrap();
    let row = expected(made.row(r#"{"b":2,"c":"x"}"#).unwrap());
    assert_eq!(row, (None, vec![2], Some("none".to_owned())));
    let whole = json!({ "path": "$", "apply": ["trim"] });
    let mut made = Made::new(
        &[("Nullable(String)", whole)],
        json!({ "format": "string" }),
    )
    .unwrap();
    assert_eq!(made.text(" x ").unwrap().as_deref(), Some("x"));
}

#[test]
fn an_element_and_its_record_make_a_value_together() {
    let columns = [
        (
            "Nullable(String)",
            json!({ "product": ["$.items.n", "$.rate"] }),
        ),
        (
            "Nullable(String)",
            json!({ "path": "$.items.sku", "apply": ["lower"], "mask": "keep_last", "keep": 1 }),
        ),
    ];
    let mut made = Made::new(&columns, json!({ "explode": "$.items" })).unwrap();
    let row = made
        .row(r#"{"rate":1.5,"items":[{"n":1},{"n":3,"sku":"AB"}]}"#)
        .unwrap();
    assert_eq!(
        (text(&row[0]).as_deref(), text(&row[1]).as_deref()),
        (Some("4.5"), Some("*b"))
    );
}

#[test]
fn files_and_words_that_differ_map_texts() {
    let entry = json!({ "path": "$.a", "apply": [{ "map_file": "codes.csv", "default": "?" }] });
    let mut made = Made::new(&[("Nullable(String)", entry)], json!({})).unwrap();
    for (json, expected) in [
        (r#"{"a":"UK"}"#, Some("GB")),
        (r#"{"a":"x"}"#, Some("?")),
        ("{}", None),
    ] {
        assert_eq!(made.text(json).unwrap().as_deref(), expected);
    }
}

#[test]
fn private_fields_of_texts_and_elements_are_hidden() {
    let columns = [("String", json!({ "path": "$" }))];
    let more = json!({ "format": "string", "privacy": { "fields": ["$.email"] } });
    let mut made = Made::new(&columns, more).unwrap();
    let row = made.row(r#"{"email":"a@b"}"#).unwrap();
    assert_eq!(row[0], b"\x0f{\"email\":\"***\"}");
    assert_eq!(made.row("a@b").unwrap()[0], b"\x03***");

    let columns = [
        ("Nullable(String)", json!({ "path": "$.cards[0].number" })),
        (
            "String",
            json!({ "path": "$.cards", "mask": "keep_last", "keep": 12 }),
        ),
    ];
    let more = json!({ "privacy": { "fields": ["$.cards.number"] } });
    let mut made = Made::new(&columns, more).unwrap();
    let row = made.row(r#"{"cards":[{"number":"4111"}]}"#).unwrap();
    assert_eq!(text(&row[0]).as_deref(), Some("***"));
    assert_eq!(row[1], b"\x03***");
    let row = made.row(r#"{"cards":[{"n":1}]}"#).unwrap();
    assert_eq!(row[0], [1]);
}

#[test]
fn private_fields_reach_no_column() {
    let columns = [
        ("Nullable(String)", json!({ "path": "$.email" })),
        ("Nullable(String)", json!({ "path": "$", "raw": "any" })),
        ("String", json!({ "from": "value" })),
        ("UInt64", json!({ "path": "$.user.ssn" })),
        (
            "Nullable(String)",
            json!({ "path": "$.user", "raw": "object" }),
        ),
        ("Map(String, String)", json!({ "path": "$.user" })),
        ("Array(String)", json!({ "path": "$.cards[*].number" })),
        ("Nullable(String)", json!({ "concat": ["$.id", "$.email"] })),
        ("Nullable(String)", json!({ "coalesce": ["$.user"] })),
        (
            "Nullable(String)",
            json!({ "path": "$.email", "mask": "keep_last", "keep": 2 }),
        ),
        ("FixedString(2)", json!({ "path": "$.email" })),
        ("String", json!({ "hash": ["$.email"] })),
        ("String", json!({ "path": "$.cards", "raw": "any" })),
    ];
    let privacy =
        json!({ "privacy": { "fields": ["$.email", "$.user.ssn", "$.cards[*].number"] } });
    let mut made = Made::new(&columns, privacy.clone()).unwrap();
    let record = r#"{"id":1,"email":"canary@x.com","user":{"ssn":777123,"n":"ok"},"cards":[{"number":"canary4","n":"y"}]}"#;
    let row = made.row(record).unwrap();
    for (place, value) in row.iter().enumerate() {
        let shown = String::from_utf8_lossy(value);
        assert!(
            !shown.contains("canary") && !shown.contains("777123"),
            "{place}: {shown}"
        );
    }
    assert_eq!(text(&row[0]).as_deref(), Some("***"));
    let hidden = r#"{"id":1,"email":"***","user":{"ssn":"***","n":"ok"},"cards":[{"number":"***","n":"y"}]}"#;
    assert_eq!(text(&row[1]).as_deref(), Some(hidden));
    assert_eq!(row[3], [0; 8]);
    assert_eq!(text(&row[4]).as_deref(), Some(r#"{"ssn":"***","n":"ok"}"#));
    assert_eq!(row[5], b"\x02\x03ssn\x03***\x01n\x02ok");
    assert_eq!(row[6], [0]);
    assert_eq!(text(&row[9]).as_deref(), Some("**********om"));
    assert_eq!(row[10], [0, 0]);
    assert_eq!(row[11].len(), 33);
    assert_eq!(row[12], b"\x1a[{\"number\":\"***\",\"n\":\"y\"}]");
    let elements = [("Array(String)", json!({ "path": "$.cards[*]" }))];
    let error = Made::new(&elements, privacy).err().unwrap();
    assert!(error.contains("take the array itself"), "{error}");
}

#[test]
fn what_is_hidden_altogether_is_not_missing() {
    let columns = [
        ("UInt64", json!({ "path": "$.ssn", "required": true })),
        (
            "Nullable(String)",
            json!({ "path": "$.a", "mask": "null", "required": true }),
        ),
    ];
    let privacy = json!({ "privacy": { "fields": ["$.ssn"] } });
    let mut made = Made::new(&columns, privacy).unwrap();
    let row = made.row(r#"{"ssn":7,"a":"x"}"#).unwrap();
    assert_eq!(row, [vec![0; 8], vec![1]]);
    for (record, column) in [(r#"{"a":"x"}"#, "c0"), (r#"{"ssn":7,"a":null}"#, "c1")] {
        let error = made.row(record).unwrap_err();
        assert_eq!(error, format!("missing_field: {column}"));
    }
}

#[test]
fn a_column_that_takes_no_hidden_value_is_refused_at_the_start() {
    let refused = |type_name: &str, entry: Value| {
        let more = json!({ "privacy": { "fields": ["$.user.ssn"] } });
        let made = Made::new(&[(type_name, entry)], more);
        made.err()
    };
    let mask = |mask: &str| json!({ "path": "$.a", "mask": mask });
    for (type_name, name) in [
        ("UInt64", "redact"),
        ("UInt64", "hmac"),
        ("Nullable(Date)", "keep_last"),
        ("FixedString(16)", "hmac"),
        ("Array(String)", "redact"),
    ] {
        let error = refused(type_name, mask(name)).unwrap();
        assert!(
            error.contains("pipeline.columns.c0.mask") && error.contains("mask = \"null\""),
            "{type_name} {name}: {error}"
        );
    }
    for (type_name, name) in [
        ("UInt64", "null"),
        ("LowCardinality(Nullable(String))", "hmac"),
        ("FixedString(32)", "hmac"),
        ("FixedString(2)", "keep_last"),
        ("Enum8('**1' = 1)", "keep_last"),
        ("Enum8('***' = 1)", "redact"),
    ] {
        assert_eq!(refused(type_name, mask(name)), None, "{type_name} {name}");
    }
    let or_default = json!({ "path": "$.a", "mask": "redact", "on_error": "default" });
    assert_eq!(refused("UInt64", or_default), None);
    let user = || json!({ "path": "$.user" });
    let error = refused("Tuple(ssn UInt64, n String)", user()).unwrap();
    assert!(
        error.contains("column c0") && error.contains("ssn in it") && error.contains("UInt64"),
        "{error}"
    );
    assert_eq!(refused("Tuple(ssn String, n UInt8)", user()), None);
    assert_eq!(refused("Tuple(n UInt8)", user()), None);
}
