//! Commands that look at live systems, against real Kafka and ClickHouse.

mod audit;
mod checkpoints;
mod compare;
mod created;
mod hundred;
mod joins;
mod letters;
mod offsets;
mod rebuild;
mod rebuild_windows;
mod retention;
mod waiting;

use crate::support::Job;
use serde_json::Value;

/// What a command came to: exit code, stdout, stderr.
fn run(job: &Job, arguments: &[&str]) -> (i32, String, String) {
    job.inspect(arguments)
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
