//! Rules and duplicates, from the configuration to what becomes of records, against the second implementation.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use super::plan::RowPlan;
use super::{EnrichmentOperator, Settings, Table};
use crate::config::{Config, Kind};
use crate::lane::{Accepted, NotAccepted, Operator as _, Snapshots as _};
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{ColumnInfo, TableInfo, Target};
use crate::source::{MadeRecord, TopicPartition};

const TABLE: [(&str, &str); 2] = [("failed", "Array(String)"), ("again", "UInt8")];

/// The operator of a pipeline as the second implementation describes it, and whether its rows say which are
/// duplicates.
fn operator(described: &Value) -> (EnrichmentOperator, bool) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let loaded = Config::parse("", "config.toml", directory, []);
    let config = loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .config;
    let is_flagged = described["dedup"]["on_duplicate"] == "flag";
    let mut pipeline = json!({
        "name": "ruled", "kind": "enrichment", "topics": ["t"], "group_id": "g", "time_field": "ts",
        "clickhouse": { "table": "t" }, "quality": { "failed_column": "failed" },
        "rule": described["rule"], "dedup": described["dedup"],
        "watermark_delay": described["watermark_delay"],
    });
    if is_flagged {
        pipeline["dedup"]["flag_column"] = "again".into();
    }
    if let Some(evolution) = described.get("evolution") {
        pipeline["evolution"] = evolution.clone();
    }
    let read = config.base.read_pipeline(&pipeline, &[]);
    let pipeline = read.unwrap_or_else(|problems| panic!("{:?}: {described}", problems));
    let Kind::Enrichment(enrichment) = &pipeline.kind else {
        panic!("an enrichment");
    };
    let columns = TABLE.iter().take(1 + usize::from(is_flagged));
    let columns = columns.map(|(name, type_name)| ColumnInfo {
        name: (*name).to_owned(),
        type_name: (*type_name).to_owned(),
        default_kind: String::new(),
    });
    let info = TableInfo {
        engine: "MergeTree".to_owned(),
        engine_full: String::new(),
        sorting_key: String::new(),
        partition_key: String::new(),
        columns: columns.collect(),
        metadata_version: 0,
        has_tokens: true,
    };
    let plan = RowPlan::new(enrichment, &info.columns, false).unwrap_or_else(|e| panic!("{e}"));
    let (label, names) = (String::new(), plan.names());
    let target = Target::of_columns(label.clone(), label, &info, names, plan.format());
    let table = Table {
        target: Arc::new(target),
        has_provenance: false,
    };
    let settings = Settings::new(enrichment, Arc::new((1 << 20).into()), 1);
    let metrics = PipelineMetrics::new("ruled");
    let operator = EnrichmentOperator::new(Arc::new(plan), table, settings, None, metrics);
    (operator, is_flagged)
}

/// What became of records of one partition, as the second implementation writes it.
fn outcomes(described: &Value, records: &[Value]) -> Vec<Value> {
    let (mut operator, is_flagged) = operator(described);
    let mut state = operator.begin(&TopicPartition {
        topic: "t".into(),
        partition: 0,
    });
    let mut found = vec![];
    for (given, offset) in records.iter().zip(0..) {
        let text = given["record"].as_str().unwrap();
        let timestamp_ms = given["timestamp"].as_i64().unwrap();
        let made = MadeRecord::new(None, Some(text.as_bytes()), timestamp_ms, offset);
        found.push(match operator.accept(&mut state, made.record()) {
            Ok(Accepted::Dropped(reason)) => format!("dropped: {reason}").into(),
            Ok(Accepted::Rows(_)) => {
                operator.judge(&mut state);
                row(&operator.row(0).concat(), is_flagged)
            }
            Err(NotAccepted::Refused(refusal)) => {
                format!("refused: {}", refusal.reject.reason).into()
            }
            Err(_) => panic!("nothing has to be waited for"),
        });
        operator.clear(0);
    }
    found
}

/// Names are short, and there are few of them.
fn row(bytes: &[u8], is_flagged: bool) -> Value {
    let (count, mut rest) = bytes.split_first().unwrap();
    let mut failed = vec![];
    for _ in 0..*count {
        let (len, text) = rest.split_first().unwrap();
        let (name, behind) = text.split_at(usize::from(*len));
        failed.push(String::from_utf8(name.to_vec()).unwrap());
        rest = behind;
    }
    json!({ "failed": failed, "again": is_flagged && rest == [1] })
}

fn run(arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/material/oracle/rules.py");
    let run = Command::new("python3")
        .arg("-B")
        .arg(&script)
        .args(arguments)
        .output();
    let run = run.expect("python3 runs");
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    String::from_utf8(run.stdout).unwrap()
}

#[test]
fn random_rules_and_duplicates_agree_with_the_second_implementation() {
    let mut differences = vec![];
    for line in run(&["random", "1", "150", "40"]).lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let records = case["records"].as_array().unwrap();
        let found = outcomes(&case["pipeline"], records);
        let expected = case["outcomes"].as_array().unwrap();
        let pairs = found.iter().zip(expected).zip(records);
        let other = pairs
            .clone()
            .find(|((found, expected), _)| found != expected);
        differences.extend(other.map(|((found, expected), record)| {
            format!(
                "{found}, not {expected}: {record}\n    {}",
                case["pipeline"]
            )
        }));
    }
    let count = differences.len();
    assert!(
        differences.is_empty(),
        "{count}: {}",
        differences.join("\n")
    );
}

#[test]
fn conditions_do_what_the_contract_says_in_each_of_the_fixed_cases() {
    let cases = include_str!("../../../tests/material/oracle/cases/rules.jsonl");
    let mut differences = vec![];
    for line in cases.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let rule = json!([{ "name": "r", "check": case["check"] }]);
        let dedup = json!({ "key": ["$.no_key"], "within": "1s" });
        let described = json!({ "rule": rule, "dedup": dedup, "watermark_delay": "1s" });
        let text = case["record"].as_str().unwrap().trim_start_matches('{');
        let record = format!(r#"{{"ts":1763719200000,{text}"#).replace(",}", "}");
        let given = json!({ "record": record, "timestamp": 1_763_719_200_000i64 });
        let found = &outcomes(&described, &[given])[0];
        if (found["failed"] == json!([])) != case["passes"].as_bool().unwrap() {
            differences.push(format!("{found}: {line}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn a_strict_pipeline_halts_at_the_record_with_the_field_also_where_it_is_replayed() {
    let cases = include_str!("../../../tests/material/oracle/cases/rules.jsonl");
    let case: Value = serde_json::from_str(cases.lines().next().unwrap()).unwrap();
    let described = json!({
        "rule": [{ "name": "r", "check": case["check"] }],
        "dedup": { "key": ["$.no_key"], "within": "1s" },
        "watermark_delay": "1s",
        "evolution": "strict",
    });
    let (mut operator, _) = operator(&described);
    let mut state = operator.begin(&TopicPartition {
        topic: "t".into(),
        partition: 0,
    });
    let mut replay = |text: &str, offset| {
        let made = MadeRecord::new(None, Some(text.as_bytes()), 0, offset).of("t", 0, &[]);
        operator.replay(&mut state, made.record())
    };
    assert!(replay(r#"{"ts":1763719200000}"#, 6).is_ok());
    let Err(NotAccepted::Halted(halt)) = replay(r#"{"ts":1763719200000,"new":1}"#, 7) else {
        panic!("no column takes it");
    };
    assert!(
        halt.advice.starts_with("t:0:7: ") && halt.advice.contains(" takes new,"),
        "{halt}"
    );
}
