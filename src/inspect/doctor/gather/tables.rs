//! One table: what it is, how many parts it has, and the views below it.

use std::collections::BTreeSet;

use super::super::facts::{ClickHouseFacts, ReplicaFacts, TableFacts, ViewFacts};
use super::clickhouse::{Asking, number, text};
use crate::pipeline::ColumnFacts;
use crate::sink::{
    InsertError, PlainClient, TextRow, identity, query_of_identity, quote_text, remembers_tokens,
    table_settings,
};

/// Views that are looked at below one table.
const VIEWS_MAX: usize = 32;

/// Everything about a table; `None` where there is none.
pub(super) async fn table(
    asking: &Asking<'_>,
    topic: Option<&str>,
    name: &str,
    server: &ClickHouseFacts,
) -> Result<Option<TableFacts>, InsertError> {
    let database = &asking.pipeline.clickhouse.database;
    let Some(info) = asking.client.table_info(database, name).await? else {
        return Ok(None);
    };
    let plain = asking.plain;
    let at = format!(
        "database = {} AND table = {}",
        quote_text(database),
        quote_text(name)
    );
    let (parts_max, partitions) = parts(plain, &at).await;
    Ok(Some(TableFacts {
        name: format!("{database}.{name}"),
        table: name.to_owned(),
        topic: topic.map(str::to_owned),
        columns: match topic {
            Some(_) => columns(asking, database, name).await,
            None => ColumnFacts::default(),
        },
        settings: table_settings(&info.engine_full).into_iter().collect(),
        identity: identity_of(plain, database, name).await,
        minmax: minmax(plain, &at).await,
        parts_max,
        partitions,
        views: views(plain, database, name, server).await,
        replica: replica(plain, &at).await,
        info,
    }))
}

/// Of a replica's columns; nothing where a user may not see it.
async fn columns(asking: &Asking<'_>, database: &str, name: &str) -> ColumnFacts {
    let client = asking.client;
    ColumnFacts {
        defaults: client
            .default_values(database, name)
            .await
            .unwrap_or_default(),
        comments: client
            .column_comments(database, name)
            .await
            .unwrap_or_default(),
    }
}

/// Active parts of the fullest partition, and how many partitions there are.
async fn parts(plain: &PlainClient, at: &str) -> (u64, u64) {
    let sql = format!(
        "SELECT toString(max(parts)) AS parts, toString(count()) AS partitions FROM (SELECT \
         partition_id, count() AS parts FROM system.parts WHERE active AND {at} GROUP BY partition_id)"
    );
    let rows = plain.rows(&sql).await.unwrap_or_default();
    let count = |key| rows.first().and_then(|row| number(row, key)).unwrap_or(0);
    (count("parts"), count("partitions"))
}

/// Two addresses of one server give the same, and so do two replicas.
async fn identity_of(plain: &PlainClient, database: &str, name: &str) -> String {
    let rows = plain.rows(&query_of_identity(database, name)).await;
    let rows = rows.unwrap_or_default();
    let of_row = |row| identity(&text(row, "engine"), &text(row, "path"), &text(row, "own"));
    rows.first().map_or(String::new(), of_row)
}

async fn minmax(plain: &PlainClient, at: &str) -> Vec<String> {
    let sql =
        format!("SELECT expr FROM system.data_skipping_indices WHERE type = 'minmax' AND {at}");
    let rows = plain.rows(&sql).await.unwrap_or_default();
    rows.iter().map(|row| text(row, "expr")).collect()
}

async fn replica(plain: &PlainClient, at: &str) -> Option<ReplicaFacts> {
    let sql = format!(
        "SELECT toString(is_readonly) AS is_readonly, toString(absolute_delay) AS delay, \
         toString(queue_size) AS queue FROM system.replicas WHERE {at}"
    );
    let row = plain.rows(&sql).await.ok()?.into_iter().next()?;
    Some(ReplicaFacts {
        is_readonly: text(&row, "is_readonly") == "1",
        delay_seconds: number(&row, "delay").unwrap_or(0),
        queue: number(&row, "queue").unwrap_or(0),
    })
}

/// The materialized views below a table, and those below their tables.
async fn views(
    plain: &PlainClient,
    database: &str,
    table: &str,
    server: &ClickHouseFacts,
) -> Vec<ViewFacts> {
    let mut seen = BTreeSet::new();
    let mut below = vec![(database.to_owned(), table.to_owned())];
    let mut views = vec![];
    while let Some((database, table)) = below.pop() {
        for row in view_rows(plain, &database, &table).await {
            let name = format!("{}.{}", text(&row, "database"), text(&row, "name"));
            if views.len() >= VIEWS_MAX || !seen.insert(name.clone()) {
                continue;
            }
            let target = target_of(&row);
            let engine = engine(plain, &target).await.unwrap_or_default();
            let is_replicated =
                engine.0.starts_with("Replicated") || engine.0.starts_with("Shared");
            let defaults = server.merge_tree_settings.iter();
            let defaults = defaults.chain(&server.replicated_settings);
            let defaults = defaults.map(|(k, v)| (k.clone(), v.clone())).collect();
            views.push(ViewFacts {
                name,
                target: format!("{}.{}", target.0, target.1),
                target_has_tokens: remembers_tokens(is_replicated, &engine.1, &defaults),
                target_engine: engine.0,
                select: text(&row, "as_select"),
                dry_run: None,
            });
            below.push(target);
        }
    }
    views
}

async fn view_rows(plain: &PlainClient, database: &str, table: &str) -> Vec<TextRow> {
    let below = format!(
        "SELECT arrayJoin(arrayZip(dependencies_database, dependencies_table)) FROM system.tables WHERE \
         database = {} AND name = {}",
        quote_text(database),
        quote_text(table)
    );
    let sql = format!(
        "SELECT database, name, as_select, create_table_query, toString(uuid) AS uuid FROM \
         system.tables WHERE engine = 'MaterializedView' AND (database, name) IN ({below}) ORDER BY name"
    );
    plain.rows(&sql).await.unwrap_or_default()
}

/// Where a view's rows go: what stands behind TO, or a table of its own.
fn target_of(row: &TextRow) -> (String, String) {
    let query = text(row, "create_table_query");
    let head = query.split(" AS SELECT").next().unwrap_or_default();
    if let Some((_, rest)) = head.split_once(" TO ") {
        let name: String = rest.chars().take_while(|c| !" (".contains(*c)).collect();
        let name = name.replace('`', "");
        let own = || (text(row, "database"), name.clone());
        return match name.split_once('.') {
            Some((database, table)) => (database.to_owned(), table.to_owned()),
            None => own(),
        };
    }
    let inner = format!(".inner_id.{}", text(row, "uuid"));
    (text(row, "database"), inner)
}

async fn engine(
    plain: &PlainClient,
    (database, table): &(String, String),
) -> Option<(String, String)> {
    let sql = format!(
        "SELECT engine, engine_full FROM system.tables WHERE database = {} AND name = {}",
        quote_text(database),
        quote_text(table)
    );
    let row = plain.rows(&sql).await.ok()?.into_iter().next()?;
    Some((text(&row, "engine"), text(&row, "engine_full")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_behind_a_view_is_named_or_its_own() {
        let row = |query: &str| {
            let pairs = [
                ("create_table_query", query),
                ("database", "d"),
                ("uuid", "u-1"),
            ];
            TextRow::from(pairs.map(|(k, v)| (k.to_owned(), v.to_owned())))
        };
        let named =
            row("CREATE MATERIALIZED VIEW d.mv TO e.`dst` (`a` UInt32) AS SELECT a FROM d.s");
        assert_eq!(target_of(&named), ("e".into(), "dst".into()));
        let near = row("CREATE MATERIALIZED VIEW d.mv TO dst AS SELECT a FROM d.s");
        assert_eq!(target_of(&near), ("d".into(), "dst".into()));
        let own = row(
            "CREATE MATERIALIZED VIEW d.mv (`a` UInt32) ENGINE = MergeTree ORDER BY a AS SELECT a FROM d.s",
        );
        assert_eq!(target_of(&own), ("d".into(), ".inner_id.u-1".into()));
    }
}
