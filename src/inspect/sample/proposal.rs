//! The statement that creates a table, and the configuration of a pipeline that fills it: pure.

use super::guess::{Field, Guess};
use super::lines::Lines;
use super::names::{Names, is_found_by_name, path_of};
use crate::format::SchemaColumn;
use crate::target::quote_name;

/// A column that a field fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) path: Vec<String>,
    pub(super) type_name: String,
    /// Why the type was chosen, where there was a choice.
    pub(super) why: Option<String>,
    /// `unit` of the column.
    pub(super) unit: Option<&'static str>,
    /// It can be an event time.
    pub(super) is_time: bool,
    /// It takes the JSON text.
    pub(super) is_raw: bool,
}

impl Column {
    pub(super) fn guessed(field: &Field, records: usize) -> Column {
        let guess: Guess = field.guess(records);
        Column {
            path: vec![field.name.clone()],
            type_name: guess.type_name,
            why: guess.why,
            unit: guess.unit,
            is_time: guess.is_time,
            is_raw: guess.is_raw,
        }
    }

    pub(super) fn of_schema(column: SchemaColumn) -> Column {
        Column {
            path: column.path,
            type_name: column.type_name,
            why: column.why,
            unit: None,
            is_time: column.is_time,
            is_raw: column.is_raw,
        }
    }
}

/// How records are read: the keys of a pipeline.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Without it: JSON.
    pub(super) format: Option<&'static str>,
    pub(super) key_format: Option<&'static str>,
    pub(super) compression: Option<&'static str>,
    pub(super) lines: Option<Lines>,
}

/// Where a pipeline reads and writes.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) topic: String,
    /// Of the pipeline and its group.
    pub(super) name: String,
    pub(super) database: String,
    pub(super) table: String,
    /// Several servers have the table.
    pub(super) is_replicated: bool,
    /// `[pipeline.kafka]` and `[pipeline.schema_registry]`, where they are not the defaults.
    pub(super) sources: String,
    /// Lines of `[pipeline.clickhouse]`, where they are not the defaults.
    pub(super) target: String,
}

/// A table and a pipeline.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    /// `None`: the pipeline creates it.
    pub(super) ddl: Option<String>,
    pub(super) config: String,
    /// Name, type and why it was guessed, of each column that a field fills.
    pub(super) columns: Vec<(String, String, Option<String>)>,
}

/// A column with the name that it gets.
type Named<'c> = (String, &'c Column);

/// For records with fields.
pub(super) fn of_columns(columns: &[Column], reading: &Reading, around: &Surroundings) -> Proposal {
    let mut names = Names::new();
    let named = columns.iter();
    let named = named.filter_map(|column| Some((names.of(&column.path)?, column)));
    let named: Vec<Named<'_>> = named.collect();
    let time = named.iter().find(|(_, column)| column.is_time);
    let time_line = match time {
        Some(time) => time_line(time),
        None => {
            "time_field = \"\"               # no field has a time in every record\n".to_owned()
        }
    };
    let time_unit = time.and_then(|(_, column)| told_unit(column, None));
    let mapped = named.iter().filter_map(|named| mapping(named, time_unit));
    let mapped: String = mapped.collect();
    Proposal {
        ddl: Some(ddl(around, &told(&named), time.map(|(name, _)| &**name))),
        config: config(
            "enrichment",
            &(keys(reading) + &time_line),
            &mapped,
            reading,
            around,
        ),
        columns: told(&named),
    }
}

/// For texts: one column takes all of it.
pub(super) fn of_texts(reading: &Reading, around: &Surroundings) -> Proposal {
    let why = "records are no JSON objects".to_owned();
    let columns = vec![("message".to_owned(), "String".to_owned(), Some(why))];
    Proposal {
        ddl: Some(ddl(around, &columns, None)),
        config: config(
            "enrichment",
            &keys(reading),
            "message = \"$\"\n",
            reading,
            around,
        ),
        columns,
    }
}

/// For changes of a database's rows: the daemon derives the table itself.
pub(super) fn of_changes(reading: &Reading, around: &Surroundings) -> Proposal {
    let keys = format!("{}create_tables = true\n", keys(reading));
    Proposal {
        ddl: None,
        config: config("cdc", &keys, "", reading, around),
        columns: vec![],
    }
}

/// What to know of the statements before they are run.
pub(super) fn note_of_servers(proposal: &Proposal, around: &Surroundings) -> Option<String> {
    let is_for_all = around.is_replicated && proposal.ddl.is_some();
    is_for_all.then(|| {
        "run these statements on every server of clickhouse.urls: the table is replicated, with the macros \
         shard and replica"
            .to_owned()
    })
}

fn told(named: &[Named<'_>]) -> Vec<(String, String, Option<String>)> {
    let line =
        |(name, column): &Named<'_>| (name.clone(), column.type_name.clone(), column.why.clone());
    named.iter().map(line).collect()
}

fn time_line((_, column): &Named<'_>) -> String {
    let of_names = |path: &[String]| match path {
        // A field by its name, dots and all.
        [name] if is_plain_name(name) => name.clone(),
        path => path_of(path),
    };
    let unit = told_unit(column, None).map(|unit| format!("time_unit = \"{unit}\"\n"));
    format!(
        "time_field = {}                # guessed: the first field that every record has a time in\n{}",
        quoted(&of_names(&column.path)),
        unit.unwrap_or_default()
    )
}

fn is_plain_name(name: &str) -> bool {
    let is_odd = |c: char| c.is_control() || "`\\$".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.contains(is_odd)
}

/// The unit of a column where it has to be written: milliseconds are meant where no `time_unit` is.
fn told_unit(column: &Column, time_unit: Option<&str>) -> Option<&'static str> {
    column
        .unit
        .filter(|unit| *unit != "ms" || time_unit.is_some())
}

/// The line of `[pipeline.columns]`, where the column needs one.
fn mapping((name, column): &Named<'_>, time_unit: Option<&str>) -> Option<String> {
    let mut keys = vec![];
    if !is_found_by_name(name, &column.path) {
        keys.push(format!("path = {}", quoted(&path_of(&column.path))));
    }
    if column.is_raw {
        keys.push("raw = \"any\"".to_owned());
    }
    if let Some(unit) = told_unit(column, time_unit) {
        keys.push(format!("unit = \"{unit}\""));
    }
    let only_path = keys.len() == 1 && keys[0].starts_with("path = ");
    let value = match (keys.is_empty(), only_path) {
        (true, _) => return None,
        (_, true) => quoted(&path_of(&column.path)),
        _ => format!("{{ {} }}", keys.join(", ")),
    };
    Some(format!("{} = {value}\n", key(name)))
}

fn keys(reading: &Reading) -> String {
    let mut out = String::new();
    if let Some(format) = reading.format {
        let comment = match format {
            "csv" => "                 # guessed: as many fields in every record",
            "string" => "              # or another format, see docs/formats.md",
            _ => "",
        };
        out.push_str(&format!("format = \"{format}\"{comment}\n"));
    }
    for (key, value) in [
        ("key_format", reading.key_format),
        ("compression", reading.compression),
    ] {
        if let Some(value) = value {
            out.push_str(&format!("{key} = \"{value}\"\n"));
        }
    }
    out
}

fn ddl(
    around: &Surroundings,
    columns: &[(String, String, Option<String>)],
    time: Option<&str>,
) -> String {
    let own = [
        ("_topic", "LowCardinality(String)"),
        ("_partition", "UInt32"),
        ("_offset", "UInt64"),
    ];
    let named = columns.iter().map(|(name, type_name, why)| {
        let why = why
            .as_ref()
            .map(|why| format!("    -- {}", why.replace(['\n', '\r'], " ")));
        (name.as_str(), type_name.as_str(), why.unwrap_or_default())
    });
    let own = own.map(|(name, type_name)| (name, type_name, String::new()));
    let all: Vec<_> = named.chain(own).collect();
    let last = all.len() - 1;
    let lines: String = all
        .iter()
        .enumerate()
        .map(|(at, (name, type_name, why))| {
            let comma = if at == last { "" } else { "," };
            format!("    {} {type_name}{comma}{why}\n", quote_name(name))
        })
        .collect();
    let order = match time {
        Some(time) => format!("PARTITION BY toYYYYMM({0})\nORDER BY {0}", quote_name(time)),
        None => "ORDER BY (_topic, _partition, _offset)".to_owned(),
    };
    let (engine, window) = match around.is_replicated {
        true => (
            "ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')",
            "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800",
        ),
        false => ("MergeTree", "non_replicated_deduplication_window = 10000"),
    };
    format!(
        "CREATE TABLE {}.{}\n(\n{lines})\nENGINE = {engine}\n{order}\nSETTINGS {window}",
        quote_name(&around.database),
        quote_name(&around.table)
    )
}

fn config(
    kind: &str,
    keys: &str,
    columns: &str,
    reading: &Reading,
    around: &Surroundings,
) -> String {
    let Surroundings {
        topic,
        name,
        table,
        sources,
        target,
        ..
    } = around;
    let topic = quoted(topic);
    let why = match kind {
        "cdc" => "                      # the records look like changes of Debezium",
        _ => "",
    };
    let lines = reading.lines.as_ref().map(csv).unwrap_or_default();
    let columns = match columns {
        "" => String::new(),
        columns => format!("[pipeline.columns]\n{columns}"),
    };
    let table = match kind {
        "cdc" => String::new(),
        _ => format!("table = {}\n", quoted(table)),
    };
    let clickhouse = match (&*table, &**target) {
        ("", "") => String::new(),
        _ => format!("[pipeline.clickhouse]\n{table}{target}"),
    };
    format!(
        "[[pipeline]]\nname = \"{name}\"\nkind = \"{kind}\"{why}\ntopics = [{topic}]\ngroup_id = \"{name}\"\n\
         {keys}{lines}{columns}{sources}{clickhouse}"
    )
}

fn csv(lines: &Lines) -> String {
    let names: Vec<String> = lines.names.iter().map(|name| quoted(name)).collect();
    let mut out = format!("[pipeline.csv]\ncolumns = [{}]", names.join(", "));
    if !lines.has_header {
        out.push_str("    # name them as you like: no record has their names");
    }
    let delimiter = quoted(&char::from(lines.delimiter).to_string());
    out.push_str(&format!("\ndelimiter = {delimiter}\n"));
    if lines.has_header {
        out.push_str("header = true\n");
    }
    out
}

/// A text as TOML has it.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key as TOML has it: what is written of values may be a text of several lines, which is no key.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => {
            let escaped = name.chars().map(|c| match c {
                '"' | '\\' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
                c => c.to_string(),
            });
            format!("\"{}\"", escaped.collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests;
