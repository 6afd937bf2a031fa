//! Apache Kafka's own console tools: a reader and a writer of topics that share no code with librdkafka.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::kafka::java;
use crate::topic::Received;
use crate::workdir::ScratchDir;

/// Characters that stand in no JSON text and in no key of a test.
const BETWEEN_FIELDS: &str = "\u{1f}";
const AFTER_RECORD: &str = "\u{1e}";
const NULL: &str = "\u{1d}";

/// Every record that a `read_committed` consumer sees from the first on, in order of partition and offset;
/// it ends when none has come for `silence`. Headers and timestamps are left out.
///
/// # Errors
/// When the tool cannot be started, or prints something else.
pub fn read_committed(bootstrap: &str, topic: &str, silence: Duration) -> Result<Vec<Received>> {
    let mut command = tool("org.apache.kafka.tools.consumer.ConsoleConsumer")?;
    command
        .args(["--bootstrap-server", bootstrap, "--topic", topic])
        .args(["--from-beginning", "--isolation-level", "read_committed"])
        .args(["--timeout-ms", &silence.as_millis().to_string()]);
    for (name, value) in [
        ("print.partition", "true"),
        ("print.offset", "true"),
        ("print.key", "true"),
        ("key.separator", BETWEEN_FIELDS),
        ("line.separator", AFTER_RECORD),
        ("null.literal", NULL),
    ] {
        command.arg("--property").arg(format!("{name}={value}"));
    }
    let output = command.output().context("cannot start java")?;
    let text = String::from_utf8(output.stdout).context("a record is no UTF-8")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines = text.split_terminator(AFTER_RECORD);
    let mut records: Vec<Received> = lines
        .map(|line| record(line).with_context(|| format!("no record: {line:?}\n{errors}")))
        .collect::<Result<_>>()?;
    records.sort_by_key(|record| (record.partition, record.offset));
    Ok(records)
}

/// Writes records of these keys and values, each to the partition that Java's producer chooses.
///
/// # Errors
/// When the tool cannot be started, or fails.
pub fn produce(bootstrap: &str, topic: &str, records: &[(String, String)]) -> Result<()> {
    let scratch = ScratchDir::create("console")?;
    let file = scratch.path().join("records");
    let line = |(key, value): &(String, String)| format!("{key}{BETWEEN_FIELDS}{value}\n");
    fs::write(&file, records.iter().map(line).collect::<String>())?;
    let mut command = tool("org.apache.kafka.tools.ConsoleProducer")?;
    command
        .args(["--bootstrap-server", bootstrap, "--topic", topic])
        .args(["--property", "parse.key=true", "--property"])
        .arg(format!("key.separator={BETWEEN_FIELDS}"))
        .stdin(Stdio::from(File::open(&file)?));
    let output = command.output().context("cannot start java")?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && !errors.contains("ERROR"),
        "{errors}"
    );
    Ok(())
}

fn tool(class: &str) -> Result<Command> {
    let mut command = java(256, &["kafka"])?;
    command.arg(class);
    Ok(command)
}

/// `Partition:0␟Offset:7␟key␟value`
fn record(line: &str) -> Result<Received> {
    let mut fields = line.splitn(4, BETWEEN_FIELDS);
    let mut field = |name: &str| {
        let field = fields.next().and_then(|field| field.strip_prefix(name));
        field.with_context(|| format!("{name:?} is expected"))
    };
    let bytes = |text: &str| (text != NULL).then(|| text.as_bytes().to_vec());
    Ok(Received {
        partition: field("Partition:")?.parse()?,
        offset: field("Offset:")?.parse()?,
        key: bytes(field("")?),
        value: bytes(field("")?),
        headers: vec![],
        timestamp_ms: -1,
    })
}
