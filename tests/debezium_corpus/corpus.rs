//! The recorded files and the script that compares.
#![allow(dead_code, reason = "each test executable uses its own part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// Which database was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Postgres,
    MariaDb,
    Ordering,
}

/// One Kafka record.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Record {
    pub(crate) topic: String,
    pub(crate) partition: usize,
    pub(crate) offset: u64,
    pub(crate) key: Option<String>,
    pub(crate) value: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
}

impl Record {
    pub(crate) fn header(&self, name: &str) -> Option<&[u8]> {
        let header = self.headers.iter().find(|(header, _)| header == name);
        header.map(|(_, value)| value.as_bytes())
    }
}

pub(crate) struct Recording {
    records: Vec<Record>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/material/debezium")
}

impl Recording {
    pub(crate) fn load(source: Source, variant: &str) -> Recording {
        let folder = match source {
            Source::Postgres => "postgres/records",
            Source::MariaDb => "mariadb/records",
            Source::Ordering => "ordering",
        };
        let path = directory().join(folder).join(format!("{variant}.jsonl.gz"));
        Recording {
            records: lines(&unpacked(&path)),
        }
    }

    pub(crate) fn all(&self) -> &[Record] {
        &self.records
    }

    /// The records of a table's topic.
    pub(crate) fn of(&self, table: &str) -> Vec<Record> {
        let is_of = |record: &&Record| record.topic.rsplit('.').next() == Some(table);
        let records: Vec<Record> = self.records.iter().filter(is_of).cloned().collect();
        assert!(!records.is_empty(), "no record of {table}");
        records
    }
}

/// Records in Avro, and the schemas that their frames name.
#[derive(Debug)]
pub(crate) struct AvroRecording {
    pub(crate) schemas: BTreeMap<u32, String>,
    records: Vec<AvroRecord>,
}

/// One Kafka record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AvroRecord {
    pub(crate) topic: String,
    pub(crate) partition: usize,
    pub(crate) offset: u64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, String)>,
}

impl AvroRecording {
    pub(crate) fn load() -> AvroRecording {
        #[derive(Deserialize)]
        struct Schemas {
            schemas: BTreeMap<u32, String>,
        }
        let text = unpacked(&directory().join("postgres/records/avro.jsonl.gz"));
        let end = text.iter().position(|byte| *byte == b'\n');
        let (first, rest) = text.split_at(end.expect("a line of schemas"));
        let schemas: Schemas = serde_json::from_slice(first).expect("schemas");
        let records = lines(rest).into_iter().map(|record| AvroRecord {
            topic: record.topic,
            partition: record.partition,
            offset: record.offset,
            key: record.key.as_deref().map(of_hex),
            value: record.value.as_deref().map(of_hex),
            headers: record.headers,
        });
        AvroRecording {
            schemas: schemas.schemas,
            records: records.collect(),
        }
    }

    /// The records of a table's topic.
    pub(crate) fn of(&self, table: &str) -> impl Iterator<Item = &AvroRecord> {
        let is_of = move |record: &&AvroRecord| record.topic.rsplit('.').next() == Some(table);
        self.records.iter().filter(is_of)
    }

    /// The variant in whose columns, and by whose losses, a table ends equal.
    pub(crate) fn variant_of(table: &str) -> &'static str {
        match table {
            // Where a column has a default, the converter writes it in place of NULL.
            "orders" | "order_items" => "null_default",
            _ => "envelope_schema",
        }
    }
}

fn of_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let pair = std::str::from_utf8(pair).expect("digits");
        u8::from_str_radix(pair, 16).expect("hex")
    };
    digits.map(byte).collect()
}

fn unpacked(path: &Path) -> Vec<u8> {
    let output = Command::new("gzip").arg("-dc").arg(path).output();
    let output = output.expect("gzip");
    assert!(output.status.success(), "{}", path.display());
    output.stdout
}

fn lines(json_lines: &[u8]) -> Vec<Record> {
    let lines = json_lines.split(|&byte| byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    lines
        .map(|line| serde_json::from_slice(line).expect("a record"))
        .collect()
}

/// A topic's records in one partition, in the order of the source's log.
pub(crate) fn one_partition(table: &str, variant: &str) -> Vec<Record> {
    lines(checker(&["--table", table, "--variant", variant, "--one-partition"]).as_bytes())
}

/// Names and types of the columns that fit a table's records.
pub(crate) fn columns(source: Source, variant: &str, table: &str) -> Vec<(String, String)> {
    let mut arguments = vec!["--ddl", table];
    if variant == "envelope_schema" {
        arguments.push("--schema");
    }
    if source == Source::MariaDb {
        arguments.push("--mariadb");
    }
    let ddl = checker(&arguments);
    let columns = ddl.trim().split(", ").map(|column| {
        let (name, column_type) = column.split_once(' ').expect("a name and a type");
        (name.to_owned(), column_type.to_owned())
    });
    columns.collect()
}

/// Where rows of texts differ from the source's final state, a line each.
pub(crate) fn compare(source: Source, variant: &str, table: &str, rows: &[String]) -> String {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), rows.join("\n")).expect("rows");
    let mut command = Command::new("python3");
    command.arg(directory().join("check.py"));
    command.args(["--table", table, "--variant", variant]);
    if source == Source::MariaDb {
        command.arg("--mariadb");
    }
    let output = command.arg(file.path()).output().expect("python3");
    if output.status.success() {
        return String::new();
    }
    let text = [output.stdout, output.stderr].concat();
    assert!(
        !text.is_empty(),
        "the comparison failed and does not say why"
    );
    String::from_utf8_lossy(&text).into_owned()
}

/// The SELECT whose rows [`compare`] takes, of a table of this name.
pub(crate) fn query(source: Source, variant: &str, table: &str, name: &str) -> String {
    let mut arguments = vec!["--query", table, "--variant", variant, "--name", name];
    if source == Source::MariaDb {
        arguments.push("--mariadb");
    }
    checker(&arguments).trim().to_owned()
}

/// A String column cannot say that the base64 it gets is a decimal, and a double is rounded beyond the
/// digits its column has.
pub(crate) fn exact(variant: &str, table: &str, column: &str) -> Option<&'static str> {
    let is_told = matches!(
        variant,
        "envelope_schema" | "decimal_string" | "decimal_double"
    );
    match (table, column) {
        ("edge_num", "n20") if !is_told => Some("Nullable(Decimal(20, 4))"),
        ("edge_num", "n38") if !is_told => Some("Nullable(Decimal(38, 10))"),
        ("kitchen_sink", "c_numeric_20_4") if variant == "decimal_double" => {
            Some("Nullable(Decimal(38, 4))")
        }
        _ => None,
    }
}

/// A String column cannot say that the numbers it gets are times: their types are declared.
pub(crate) fn declared(variant: &str, table: &str, column: &str) -> Option<&'static str> {
    if table != "edge_time" || matches!(variant, "envelope_schema" | "time_isostring") {
        return None;
    }
    match (column, variant) {
        ("d", _) => Some("io.debezium.time.Date"),
        ("ts" | "ts3", "time_connect") => Some("org.apache.kafka.connect.data.Timestamp"),
        ("t", "time_connect") => Some("org.apache.kafka.connect.data.Time"),
        ("ts", _) | ("ts3", "time_microseconds") => Some("io.debezium.time.MicroTimestamp"),
        ("ts3", _) => Some("io.debezium.time.Timestamp"),
        ("t", _) => Some("io.debezium.time.MicroTime"),
        ("tstz", _) => Some("io.debezium.time.ZonedTimestamp"),
        _ => None,
    }
}

fn checker(arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.arg(directory().join("check.py")).args(arguments);
    let output = command.output().expect("python3");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}
