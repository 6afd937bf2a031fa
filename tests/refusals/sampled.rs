//! `streamweir sample`: what it proposes takes the records that it was guessed of.

use std::process::Stdio;

use sandbox::topic;
use serde_json::Value;

use super::columns::{PROVENANCE, job};
use super::formats::record;
use crate::support::{Job, command};

fn sample(job: &Job, arguments: &[&str]) -> (i32, String, String) {
    let (path, _) = job.write_config("sample");
    let arguments = [&["sample"], arguments].concat();
    let output = command(&path, &arguments).stdin(Stdio::null()).output();
    let output = output.expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

#[test]
fn a_table_and_a_pipeline_that_are_proposed_take_the_records() {
    let mut job = job("sampled", PROVENANCE);
    let event = |id: u32| {
        record(&format!(
            r#"{{"id":{id},"at":17637192{id:02},"price":{id}.50,"tags":["a"],"meta":{{"x":{id}}},"note":{}}}"#,
            if id.is_multiple_of(2) {
                "null"
            } else {
                "\"n\""
            },
        ))
    };
    topic::produce(job.bootstrap(), &job.topic, (10..30).map(event)).expect("records");
    let (code, out, err) = sample(&job, &[&job.topic, "--count", "15", "--json"]);
    assert_eq!(code, 0, "{err}");
    let proposed: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(proposed["records"], 15);
    let types: Vec<&str> = proposed["columns"]
        .as_array()
        .expect("columns")
        .iter()
        .filter_map(|column| column["type"].as_str())
        .collect();
    let expected = [
        "Int64",
        "DateTime('UTC')",
        "Decimal(18, 2)",
        "Array(String)",
        "JSON",
        "Nullable(String)",
    ];
    assert_eq!(types, expected);
    let ddl = proposed["ddl"].as_str().expect("a statement");
    job.query(&ddl.replacen("CREATE TABLE ", "CREATE TABLE {db}.", 1));
    let config: toml::Table = proposed["config"]
        .as_str()
        .expect("a configuration")
        .parse()
        .expect("TOML");
    let pipeline = config["pipeline"][0].as_table().expect("a pipeline");
    for key in ["time_field", "time_unit", "columns"] {
        if let Some(value) = pipeline.get(key) {
            job.set(&format!("pipeline.{key}"), value.clone());
        }
    }
    let table = pipeline["clickhouse"]["table"].as_str().expect("a table");
    job.set("pipeline.clickhouse.table", table);
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(&format!(
        "SELECT count(), min(at), sum(price), any(tags), sum(meta.x::Int64), count(note) FROM {{db}}.`{table}`"
    ));
    assert_eq!(rows, "20\t2025-11-21 10:00:10\t400\t['a']\t390\t10");
    let (code, out, _) = sample(&job, &[&job.topic]);
    assert_eq!(code, 0);
    assert!(
        out.contains("-- seen ") && out.contains("[[pipeline]]"),
        "{out}"
    );
    let (code, _, err) = sample(&job, &["no-such-topic"]);
    assert_eq!((code, err.trim()), (1, "there is no topic no-such-topic"));
}
