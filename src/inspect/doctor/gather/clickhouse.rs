//! One server of ClickHouse: version, clock, the user's settings and rights, and the pipeline's tables.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::super::facts::{ClickHouseFacts, MissingTable, Reached, Setting};
use super::tables::table;
use crate::config::{Cdc, Delivery, Evolution, Kind, Pipeline, TopicSelector};
use crate::sink::{ClickHouseClient, InsertError, PlainClient, TextRow, quote_name};

/// Of connecting, and of each question.
const TIMEOUT: Duration = Duration::from_secs(6);

/// Rights that are asked for, one question each.
const RIGHTS_MAX: usize = 200;

/// Answers by which a server does not take a user in: unknown user, wrong or missing password,
/// authentication failed.
const REFUSALS: [u32; 4] = [192, 193, 194, 516];

/// What is read of the server's settings of tables.
pub(super) const TABLE_SETTINGS: [&str; 8] = [
    "non_replicated_deduplication_window",
    "replicated_deduplication_window",
    "replicated_deduplication_window_seconds",
    "parts_to_throw_insert",
    "allow_experimental_replacing_merge_with_cleanup",
    "enable_replacing_merge_with_cleanup_for_min_age_to_force_merge",
    "min_age_to_force_merge_seconds",
    "clean_deleted_rows",
];

/// What is asked, and how.
pub(super) struct Asking<'a> {
    pub(super) pipeline: &'a Pipeline,
    pub(super) plain: &'a PlainClient,
    pub(super) client: &'a ClickHouseClient,
}

/// Asks one server for everything. `topics` are those that the pipeline reads.
pub(crate) async fn gather(
    pipeline: &Pipeline,
    url: &str,
    topics: &BTreeSet<String>,
) -> Reached<ClickHouseFacts> {
    let mut config = pipeline.clickhouse.clone();
    config.urls = vec![url.to_owned()];
    let clients = PlainClient::new(&config, url, TIMEOUT)
        .and_then(|plain| Ok((plain, ClickHouseClient::new(&config)?)));
    let (plain, client) = match clients {
        Ok(clients) => clients,
        Err(error) => return Reached::No(error.to_string()),
    };
    let asking = Asking {
        pipeline,
        plain: &plain,
        client: &client,
    };
    let mut facts = match server(&plain).await {
        Ok(facts) => facts,
        Err(error) if error.code.is_some_and(|code| REFUSALS.contains(&code)) => {
            return Reached::Refused(error.message);
        }
        Err(error) => return Reached::No(error.message),
    };
    facts.settings = settings(&plain).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the settings of the user's profile cannot be looked at");
        BTreeMap::new()
    });
    facts.merge_tree_settings = defaults(&plain, "merge_tree_settings").await;
    facts.replicated_settings = defaults(&plain, "replicated_merge_tree_settings").await;
    for (topic, name) in wanted_tables(pipeline, topics) {
        match table(&asking, topic.as_deref(), &name, &facts).await {
            Ok(Some(found)) => facts.tables.push(found),
            Ok(None) => facts.missing_tables.push(MissingTable {
                name: format!("{}.{name}", pipeline.clickhouse.database),
                is_made: is_made(pipeline),
            }),
            Err(error) => tracing::warn!(table = name, %error, "the table cannot be looked at"),
        }
    }
    facts.missing_rights = missing_rights(&asking, topics).await;
    Reached::Yes(facts)
}

async fn server(plain: &PlainClient) -> Result<ClickHouseFacts, InsertError> {
    let sent = Instant::now();
    let sql = "SELECT version() AS version, timezone() AS timezone, \
               toString(toUnixTimestamp64Milli(now64(3))) AS now_ms";
    let row = plain.rows(sql).await?.into_iter().next();
    let row = row.unwrap_or_default();
    let half = i64::try_from(sent.elapsed().as_millis() / 2).unwrap_or(0);
    let now_ms = number(&row, "now_ms");
    let ahead = |now_ms: u64| i64::try_from(now_ms).unwrap_or(0) - (super::now_ms() - half);
    Ok(ClickHouseFacts {
        version: text(&row, "version"),
        timezone: text(&row, "timezone"),
        clock_ahead_ms: now_ms.map_or(0, ahead),
        ..ClickHouseFacts::default()
    })
}

async fn settings(plain: &PlainClient) -> Result<BTreeMap<String, Setting>, InsertError> {
    // Unqualified, the names in WHERE would be those of the texts.
    let sql = "SELECT s.name AS name, s.value AS value, toString(s.changed) AS changed, \
               toString(s.readonly) AS readonly, ifNull(toString(s.min), '') AS min, \
               ifNull(toString(s.max), '') AS max FROM system.settings AS s \
               WHERE s.changed OR s.readonly OR s.min IS NOT NULL OR s.max IS NOT NULL";
    let rows = plain.rows(sql).await?;
    let bound = |row: &TextRow, key: &str| Some(text(row, key)).filter(|bound| !bound.is_empty());
    let setting = |row: TextRow| {
        let setting = Setting {
            value: text(&row, "value"),
            is_changed: text(&row, "changed") == "1",
            is_readonly: text(&row, "readonly") != "0",
            min: bound(&row, "min"),
            max: bound(&row, "max"),
        };
        (text(&row, "name"), setting)
    };
    Ok(rows.into_iter().map(setting).collect())
}

/// Nothing for a user who may not see them.
async fn defaults(plain: &PlainClient, table: &str) -> BTreeMap<String, String> {
    let names = TABLE_SETTINGS.map(|name| format!("'{name}'")).join(", ");
    let sql = format!("SELECT name, value FROM system.{table} WHERE name IN ({names})");
    let rows = plain.rows(&sql).await.unwrap_or_default();
    let pair = |row: TextRow| (text(&row, "name"), text(&row, "value"));
    rows.into_iter().map(pair).collect()
}

/// The tables of a pipeline, each with the topic whose replica it is.
fn wanted_tables(
    pipeline: &Pipeline,
    topics: &BTreeSet<String>,
) -> BTreeSet<(Option<String>, String)> {
    match &pipeline.kind {
        Kind::Cdc(cdc) => cdc_tables(pipeline, cdc, topics),
        Kind::StreamJoin(_) => BTreeSet::new(),
        _ if pipeline.table.is_empty() => BTreeSet::new(),
        Kind::Enrichment(_) | Kind::Aggregation(_) | Kind::Raw(_) => {
            [(None, pipeline.table.clone())].into()
        }
    }
}

/// Those that are declared, and those of topics that are there.
fn cdc_tables(
    pipeline: &Pipeline,
    cdc: &Cdc,
    topics: &BTreeSet<String>,
) -> BTreeSet<(Option<String>, String)> {
    let named = pipeline
        .topics
        .iter()
        .filter_map(|selector| match selector {
            TopicSelector::Name(name) => Some(name),
            TopicSelector::Pattern(_) => None,
        });
    let topics: BTreeSet<&String> = topics.iter().chain(named).collect();
    let table = |topic: &&String| (Some((*topic).clone()), cdc.table_for(topic).to_owned());
    topics.iter().map(table).collect()
}

fn is_made(pipeline: &Pipeline) -> bool {
    matches!(&pipeline.kind, Kind::Cdc(cdc) if cdc.create_tables)
}

/// What this user may not do and the pipeline needs. A server that knows no CHECK GRANT says nothing.
async fn missing_rights(asking: &Asking<'_>, topics: &BTreeSet<String>) -> Vec<String> {
    let pipeline = asking.pipeline;
    let database = quote_name(&pipeline.clickhouse.database);
    let mut needed = vec![];
    for (_, table) in wanted_tables(pipeline, topics) {
        let on = format!("{database}.{}", quote_name(&table));
        needed.push(format!("INSERT ON {on}"));
        if pipeline.delivery == Delivery::ExactlyOnce || matches!(&pipeline.kind, Kind::Cdc(_)) {
            needed.push(format!("SELECT ON {on}"));
        }
        if matches!(&pipeline.kind, Kind::Cdc(cdc) if cdc.evolution == Evolution::AddColumns) {
            needed.push(format!("ALTER ADD COLUMN ON {on}"));
            needed.push(format!("ALTER MODIFY COLUMN ON {on}"));
        }
    }
    if is_made(pipeline) {
        needed.push(format!("CREATE TABLE ON {database}.*"));
        needed.push(format!("CREATE VIEW ON {database}.*"));
    }
    needed.truncate(RIGHTS_MAX);
    let mut missing = vec![];
    for right in needed {
        let granted = asking.plain.text(&format!("CHECK GRANT {right}")).await;
        if granted.is_ok_and(|granted| granted.trim() == "0") {
            missing.push(right.replace('`', ""));
        }
    }
    missing
}

pub(super) fn text(row: &TextRow, key: &str) -> String {
    row.get(key).cloned().unwrap_or_default()
}

pub(super) fn number(row: &TextRow, key: &str) -> Option<u64> {
    row.get(key)?.parse().ok()
}
