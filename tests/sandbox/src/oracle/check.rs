//! Having a case's own checker compare what came out.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::topic::Received;
use crate::workdir::ScratchDir;

/// The query whose JSONEachRow output [`check_rows`] understands.
pub fn query(checker: &Path, case_dir: &Path, table: &str) -> Result<String> {
    run(checker, case_dir, &["--query".into(), table.into()])
}

/// Compares rows, one JSON object a line, with the case's expected ones. `prefix` is what was put
/// before the topic names.
///
/// # Errors
/// The differences, as `checker` (the path of `check.py`) prints them.
pub fn check_rows(checker: &Path, case_dir: &Path, rows: &str, prefix: &str) -> Result<()> {
    check(checker, case_dir, rows, &["--prefix", prefix])
}

/// Compares joined records with the case's expected ones.
///
/// # Errors
/// The differences, as `checker` prints them.
pub fn check_joined(checker: &Path, case_dir: &Path, joined: &[Received]) -> Result<()> {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes
            .as_deref()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    let lines = joined.iter().map(|record| {
        json!({
            "partition": record.partition,
            "key": text(&record.key),
            "value": text(&record.value),
        })
    });
    check(checker, case_dir, &to_lines(lines), &[])
}

/// Compares dead letters with the case's expected ones.
///
/// # Errors
/// The differences, as `checker` prints them.
pub fn check_dead_letters(
    checker: &Path,
    case_dir: &Path,
    dead_letters: &[Received],
    prefix: &str,
) -> Result<()> {
    let lines = dead_letters.iter().map(|record| {
        let headers = record.headers.iter().map(|(name, value)| {
            let value = value.as_deref().unwrap_or_default();
            (name.clone(), Value::from(String::from_utf8_lossy(value)))
        });
        json!({
            "key_hex": record.key.as_deref().map(hex),
            "value_hex": record.value.as_deref().map(hex),
            "timestamp_ms": record.timestamp_ms,
            "headers": headers.collect::<serde_json::Map<_, _>>(),
        })
    });
    check(
        checker,
        case_dir,
        &to_lines(lines),
        &["--prefix", prefix, "--dead-letters"],
    )
}

fn check(checker: &Path, case_dir: &Path, actual: &str, arguments: &[&str]) -> Result<()> {
    let scratch = ScratchDir::create("check")?;
    let file = scratch.path().join("actual.jsonl");
    fs::write(&file, actual)?;
    let mut all = vec![file.to_string_lossy().into_owned()];
    all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
    run(checker, case_dir, &all).map(|_| ())
}

fn run(checker: &Path, case_dir: &Path, arguments: &[String]) -> Result<String> {
    let output = Command::new("python3")
        .arg("-B")
        .arg(checker)
        .arg(case_dir)
        .args(arguments)
        .output()
        .context("cannot start python3")?;
    let text = String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{} differs:\n{text}\n{errors}", case_dir.display());
    }
    Ok(text)
}

fn to_lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{value}\n")).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
