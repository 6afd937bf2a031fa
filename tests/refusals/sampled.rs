//! `streamweir sample`: what it proposes takes the records that it was guessed of.

use std::process::Stdio;

use sandbox::topic;
use serde_json::Value;

use super::columns::{PROVENANCE, job};
use super::formats::record;
use crate::support::registry::{framed, registry};
use crate::support::{Job, PATIENCE, command};

fn sample(job: &Job, arguments: &[&str]) -> (i32, String, String) {
    run(job, &[&["sample"], arguments].concat())
}

fn run(job: &Job, arguments: &[&str]) -> (i32, String, String) {
    let (path, _) = job.write_config("sample");
    let output = command(&path, arguments).stdin(Stdio::null()).output();
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
    job.query(ddl);
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

const AVRO: &str = r#"{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-millis"}},
    {"name":"place","type":["null",{"type":"record","name":"Place","fields":[
        {"name":"city","type":"string"}]}]},
    {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
    {"name":"either","type":["int","string"]},{"name":"seen_at","type":"long"}]}"#;
const PROTOBUF: &str = r#"syntax = "proto3"; import "google/protobuf/timestamp.proto";
    message Order { int64 id = 1; google.protobuf.Timestamp at = 2; optional string name = 3;
        repeated string tags = 4; Place place = 5; }
    message Place { string city = 1; }"#;
const JSON: &str = r#"{"type":"object","properties":{"id":{"type":"integer"}}}"#;

/// What is printed, in its parts: statements of SQL, and the configuration.
fn parts(printed: &str) -> (Vec<String>, String) {
    let (sql, config) = printed.split_once("\n# pipeline\n").expect("two parts");
    let statements = sql.split(";\n").map(str::to_owned);
    let statements = statements.filter(|statement| statement.contains("CREATE "));
    (statements.collect(), config.to_owned())
}

/// Records of every format, with the query that finds what they say.
fn topics() -> Vec<(&'static str, Vec<Vec<u8>>, &'static str, &'static str)> {
    let gzip = |text: &str| {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).expect("memory");
        encoder.finish().expect("memory")
    };
    let text = |text: &str| text.as_bytes().to_vec();
    // 7, 2025-11-21 10:00:00, Rom, 12.34, the second branch, in seconds.
    let avro = b"\x0e\x80\xf4\xd9\xdd\xd4\x66\x02\x06Rom\x04\x04\xd2\x02\x02x\xc0\xe0\x81\x92\x0d";
    let protobuf = b"\0\x08\x07\x12\x06\x08\xa0\xf0\x80\xc9\x06\x22\x01t\x2a\x05\x0a\x03Rom";
    vec![
        (
            "avro",
            vec![framed(1, avro)],
            "SELECT id, at, place_city, price, either, seen_at",
            "7\t2025-11-21 10:00:00.000\tRom\t12.34\t\"x\"\t2025-11-21 10:00:00",
        ),
        (
            "protobuf",
            vec![framed(2, protobuf)],
            "SELECT id, at, name, tags, place_city",
            "7\t2025-11-21 10:00:00.000000000\t\\N\t['t']\tRom",
        ),
        (
            "json-schema",
            vec![framed(3, br#"{"id":7,"at":"2025-11-21T10:00:00Z"}"#)],
            "SELECT id, at",
            "7\t2025-11-21 10:00:00.000",
        ),
        (
            "csv",
            vec![
                text("id;when at;name"),
                text("7;2025-11-21T10:00:00Z;\"a;b\""),
            ],
            "SELECT id, `when at`, name",
            "7\t2025-11-21 10:00:00.000\ta;b",
        ),
        (
            "text",
            vec![text("a line"), text("another")],
            "SELECT max(message)",
            "another",
        ),
        (
            "gzip",
            vec![gzip(r#"{"user.id":7,"_offset":8,"o":{"a":1},"m":[1,"x"]}"#)],
            "SELECT user_id, _offset_2, _offset, o.a::Int64, m",
            "7\t8\t0\t1\t[1,\"x\"]",
        ),
    ]
}

#[test]
fn what_is_printed_for_every_format_passes_the_check_and_runs_as_it_is() {
    let mut job = job("proposed", PROVENANCE);
    let schemas = [(1, AVRO), (2, PROTOBUF), (3, JSON)];
    let url = registry(schemas.map(|(id, text)| (id, text.to_owned())).to_vec());
    job.set("schema_registry.url", url.as_str());
    let topics = topics();
    let named = |name: &str| format!("{}{name}", job.prefix);
    for (name, values, ..) in &topics {
        topic::create(job.bootstrap(), &named(name), 1, &[]).expect("a topic");
        let records = values
            .iter()
            .map(|value| topic::Record::new(value.clone()).partition(0));
        topic::produce(job.bootstrap(), &named(name), records).expect("records");
    }
    let (code, _, err) = sample(&job, &[&named("avro")]);
    assert_eq!(
        code, 3,
        "the registry does not answer the first time: {err}"
    );
    let (written, _) = job.write_config("service");
    let written = std::fs::read_to_string(written).expect("a file");
    let mut written: toml::Table = written.parse().expect("TOML");
    written.retain(|section, _| section == "service");
    let mut config = written.to_string();
    for (name, ..) in &topics {
        let (code, out, err) = sample(&job, &[&named(name)]);
        assert_eq!(code, 0, "{name}: {err}");
        let (statements, pipeline) = parts(&out);
        for statement in statements {
            job.query(&statement);
        }
        config.push_str(&format!("{pipeline}\n"));
    }
    let path = job.directory.path().join("proposed.toml");
    std::fs::write(&path, &config).expect("a file");
    let output = command(&path, &["check"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{config}");
    let mut daemon = command(&path, &["run", "--until", "latest"]);
    let log = job.directory.path().join("proposed.log");
    daemon.stderr(std::fs::File::create(&log).expect("a log"));
    let daemon = sandbox::process::Process::spawn(daemon).expect("it starts");
    let status = daemon.wait(PATIENCE).expect("it ends");
    let log = std::fs::read_to_string(&log).expect("a log");
    assert!(status.success(), "{config}\n{log}");
    for (name, _, select, expected) in &topics {
        let table = named(name).replace('-', "_");
        let rows = job.query(&format!("{select} FROM {{db}}.`{table}`"));
        assert_eq!(rows, *expected, "{name}\n{config}\n{log}");
    }
}

#[test]
fn what_a_subject_describes_is_printed_as_a_table_and_a_pipeline() {
    let mut job = job("subjects", PROVENANCE);
    let (code, _, err) = run(&job, &["schema", "print", "--from-registry", "of-1-value"]);
    assert_eq!(code, 2, "{err}");
    let change = r#"{"type":"record","name":"Envelope","fields":[{"name":"op","type":"string"},
        {"name":"source","type":{"type":"record","name":"S","fields":[{"name":"lsn","type":"long"}]}},
        {"name":"before","type":["null",{"type":"record","name":"V","fields":[
            {"name":"id","type":"int"}]}]},{"name":"after","type":["null","V"]}]}"#;
    let schemas = [(1, AVRO), (2, PROTOBUF), (3, JSON), (4, change)];
    let url = registry(schemas.map(|(id, text)| (id, text.to_owned())).to_vec());
    job.set("schema_registry.url", url.as_str());
    let print = |subject: &str, rest: &[&str]| {
        run(
            &job,
            &[&["schema", "print", "--from-registry", subject], rest].concat(),
        )
    };
    let (code, _, err) = print("of-1-value", &[]);
    assert_eq!(code, 3, "{err}");
    for (subject, expected) in [
        (
            "of-1-value",
            &[
                "`place_city` Nullable(String)",
                "format = \"avro\"",
                "topics = [\"of-1\"]",
            ][..],
        ),
        (
            "of-2-value",
            &[
                "`at` Nullable(DateTime64(9, 'UTC'))",
                "format = \"protobuf\"",
            ],
        ),
        (
            "of-3-value",
            &["`id` Nullable(Int64)", "format = \"json_schema\""],
        ),
        (
            "of-4-value",
            &[
                "kind = \"cdc\"",
                "key_format = \"avro\"",
                "create_tables = true",
            ],
        ),
    ] {
        let (code, out, err) = print(subject, &[]);
        assert_eq!(code, 0, "{err}");
        for part in expected {
            assert!(out.contains(part), "{part} in {out}");
        }
        let (statements, config) = parts(&out);
        for statement in statements {
            job.query(&statement);
        }
        let path = job.directory.path().join("subject.toml");
        std::fs::write(&path, &config).expect("a file");
        let output = command(&path, &["check"]).output().expect("it starts");
        assert!(output.status.success(), "{config}");
    }
    let (code, _, err) = print("missing", &["--topic", "t"]);
    assert_eq!(
        (code, err.contains("has no subject missing")),
        (1, true),
        "{err}"
    );
}
