//! Reading a replica, with FINAL.

use anyhow::{Context, Result, ensure};

use super::{Kind, Replica, ReplicaOptions, Source};
use crate::clickhouse;

/// Numbers that a JSON number may not hold are written as text; times as ClickHouse shows them.
const SETTINGS: &str = "output_format_json_quote_64bit_integers = 1, \
    output_format_json_quote_decimals = 1, output_format_json_quote_denormals = 1, \
    date_time_output_format = 'simple', session_timezone = 'UTC'";

/// Reads those columns of `table` (`database.table`) that the source has.
pub(super) fn read(
    url: &str,
    table: &str,
    source: &Source,
    options: &ReplicaOptions,
) -> Result<Replica> {
    let described = clickhouse::query(url, &format!("DESCRIBE TABLE {table} FORMAT TSV"))?;
    let there: Vec<&str> = described
        .lines()
        .filter_map(|line| line.split('\t').next())
        .collect();
    let columns = source.columns.iter();
    let columns: Vec<_> = columns
        .filter(|column| there.contains(&column.name.as_str()))
        .collect();
    ensure!(!columns.is_empty(), "{table} has no column of the source");
    let selected: Vec<_> = columns
        .iter()
        .map(|column| match column.kind {
            Kind::Bytes => format!("hex(`{}`)", column.name),
            _ => format!("`{}`", column.name),
        })
        .collect();
    let alive = options.alive.iter().map(|alive| format!(" WHERE {alive}"));
    let query = format!(
        "SELECT {} FROM {table} FINAL{} SETTINGS {SETTINGS} FORMAT JSONCompactEachRow",
        selected.join(", "),
        alive.collect::<String>(),
    );
    let text = clickhouse::query(url, &query)?;
    let rows = text.lines().map(|line| {
        serde_json::from_str(line).with_context(|| format!("{table} answered {line:?}"))
    });
    Ok(Replica {
        columns: columns.iter().map(|column| column.name.clone()).collect(),
        rows: rows.collect::<Result<_>>()?,
    })
}
