//! What the server says of a table that is compared.

use std::time::Duration;

use crate::config::ClickHouse;
use crate::inspect::Failure;
use crate::sink::{PlainClient, quote_name, quote_text};

/// How long a question about the server, or about a table's columns, may take.
const QUESTION_MAX: Duration = Duration::from_secs(10);

/// A table, its columns and how it is read.
#[derive(Debug, Clone)]
pub(super) struct Table {
    /// `database.table`, as it is shown.
    pub(super) name: String,
    /// The same, quoted.
    pub(super) sql_name: String,
    /// Whether rows of one key replace each other: it is read with FINAL.
    pub(super) is_replacing: bool,
    /// As far as the server knows without looking.
    pub(super) rows_about: u64,
    /// Names and types, in order. None that is only an alias or never stored.
    pub(super) columns: Vec<(String, String)>,
}

/// A client of the first server that answers, whose questions may take this long.
pub(in super::super) async fn connect(
    clickhouse: &ClickHouse,
    pass_max: Duration,
) -> Result<PlainClient, Failure> {
    let mut last = None;
    let usage = |error: std::io::Error| Failure::Usage(format!("clickhouse: {error}"));
    for url in &clickhouse.urls {
        let asked = PlainClient::new(clickhouse, url, QUESTION_MAX).map_err(usage)?;
        match asked.text("SELECT 1").await {
            Ok(_) => return PlainClient::new(clickhouse, url, pass_max).map_err(usage),
            Err(error) => last = Some(error),
        }
    }
    Err(match last {
        Some(error) => Failure::clickhouse(&clickhouse.urls, "a first question", &error),
        None => Failure::Usage("clickhouse.url: names no server".to_owned()),
    })
}

/// Whether rows of one key replace each other in tables of this engine.
fn is_replacing(engine: &str) -> bool {
    engine.ends_with("ReplacingMergeTree")
}

/// The table of this name.
///
/// # Errors
/// There is none, or the server does not answer.
pub(super) async fn table(
    clickhouse: &ClickHouse,
    client: &PlainClient,
    name: &str,
) -> Result<Table, Failure> {
    let (database, table) = name.split_once('.').unwrap_or((&clickhouse.database, name));
    let name = format!("{database}.{table}");
    let failed = |error| Failure::clickhouse(&clickhouse.urls, &format!("table {name}"), &error);
    let (in_database, of_table) = (quote_text(database), quote_text(table));
    let sql = format!(
        "SELECT engine, ifNull(toString(total_rows), '') AS rows FROM system.tables \
         WHERE database = {in_database} AND name = {of_table}"
    );
    let found = client.rows(&sql).await.map_err(failed)?;
    let Some(found) = found.first() else {
        return Err(Failure::Usage(format!("there is no table {name}")));
    };
    let text = |key: &str| found.get(key).map_or("", String::as_str);
    let sql_name = format!("{}.{}", quote_name(database), quote_name(table));
    // Of a view or a distributed table the server knows it by counting alone.
    let rows_about = match text("rows").parse() {
        Ok(rows) => rows,
        Err(_) => {
            let counted = client
                .text(&format!("SELECT count() FROM {sql_name}"))
                .await;
            counted.map_err(failed)?.trim().parse().unwrap_or(0)
        }
    };
    let sql = format!(
        "SELECT name, type FROM system.columns WHERE database = {in_database} AND table = {of_table} \
         AND default_kind NOT IN ('ALIAS', 'EPHEMERAL') ORDER BY position"
    );
    let columns = client.rows(&sql).await.map_err(failed)?;
    let columns = columns.into_iter().filter_map(|mut row| {
        let type_name = row.remove("type")?;
        Some((row.remove("name")?, type_name))
    });
    Ok(Table {
        sql_name,
        is_replacing: is_replacing(text("engine")),
        rows_about,
        columns: columns.collect(),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_whose_rows_replace_each_other_are_read_with_final() {
        for engine in [
            "ReplacingMergeTree",
            "ReplicatedReplacingMergeTree",
            "SharedReplacingMergeTree",
        ] {
            assert!(is_replacing(engine), "{engine}");
        }
        for engine in ["MergeTree", "ReplicatedMergeTree", "View", "Log", ""] {
            assert!(!is_replacing(engine), "{engine}");
        }
    }
}
