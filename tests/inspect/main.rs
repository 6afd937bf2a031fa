//! Commands that look at live systems, against real Kafka and ClickHouse.

#[path = "../support/mod.rs"]
mod support;

mod audit;
mod joins;
mod letters;
mod offsets;

use std::process::Stdio;

use serde_json::Value;
use support::{Job, command};

/// What a command came to: exit code, stdout, stderr.
fn run(job: &Job, arguments: &[&str]) -> (i32, String, String) {
    let (path, _) = job.write_config("inspect");
    let output = command(&path, arguments)
        .stdin(Stdio::null())
        .output()
        .expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let code = output.status.code().expect("it ends by itself");
    (code, text(output.stdout), text(output.stderr))
}

/// The document that a command prints with `--json`, and its exit code.
#[track_caller]
fn json(job: &Job, arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(job, &[arguments, &["--json"]].concat());
    let document = serde_json::from_str(&out);
    (
        code,
        document.unwrap_or_else(|e| panic!("{e}: {code}: {out}{err}")),
    )
}

/// The same of a command that prints one document a line.
#[track_caller]
fn json_lines(job: &Job, arguments: &[&str]) -> Vec<Value> {
    let (code, out, err) = run(job, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{out}{err}");
    let line = |line: &str| serde_json::from_str(line).expect("JSON");
    out.lines().map(line).collect()
}
