//! A table whose engine cannot hold each row once.

use std::collections::{BTreeMap, BTreeSet};

use super::prelude::*;
use super::replica::{Wrong, problems};
use crate::config::{Delivery, Pipeline, Window};
use crate::target::Provenance;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        let why = match &own.pipeline.kind {
            Kind::Enrichment(_) | Kind::Raw(_)
                if own.pipeline.delivery == Delivery::ExactlyOnce =>
            {
                append(&own.pipeline, table)
            }
            Kind::Aggregation(config) => windows(&config.window, table),
            Kind::Cdc(cdc) => problems(own, cdc, table).remove(&Wrong::Engine),
            Kind::Enrichment(_) | Kind::Raw(_) | Kind::StreamJoin(_) => None,
        };
        if let Some(why) = why {
            found.add(
                Error,
                own.name(),
                &table.name,
                format!("table {}: {why}", table.name),
                "see docs/halts.md, engine: use the engine that the kind needs (`streamweir schema print` shows \
                 it), or delivery = \"at_least_once\" for events",
            );
        }
    }
    several_tables(facts, found);
}

/// Servers of `clickhouse.urls` that have each a table of their own under one name.
fn several_tables(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let servers = own
            .clickhouse
            .iter()
            .filter_map(|(_, server)| server.facts());
        let mut seen: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for table in servers.flat_map(|server| &server.tables) {
            if !table.identity.is_empty() {
                seen.entry(&table.name).or_default().insert(&table.identity);
            }
        }
        for (table, _) in seen.iter().filter(|(_, identities)| identities.len() > 1) {
            found.add(
                Error,
                own.name(),
                *table,
                format!(
                    "each server of clickhouse.urls has its own table {table} (not replicated, or with another path in \
                     Keeper): rows written to one are not on the others"
                ),
                "use a Replicated table, or name one server in clickhouse.url (docs/replicated.md)",
            );
        }
    }
}

/// Rows are appended, and looked for by where they came from.
fn append(pipeline: &Pipeline, table: &TableFacts) -> Option<String> {
    let engine = &table.info.engine;
    if !engine.ends_with("MergeTree") {
        return Some(format!(
            "engine {engine} cannot be exact: exactly_once needs a table of the MergeTree family"
        ));
    }
    let missing = Provenance::of(pipeline, &table.info.columns).err()?;
    let mark = if missing.starts_with('_') { "_" } else { "" };
    Some(format!(
        "it has no column {missing}: exactly_once needs {mark}topic LowCardinality(String), {mark}partition UInt32 \
         and {mark}offset UInt64"
    ))
}

/// A window's row is written again when it grows.
fn windows(window: &Window, table: &TableFacts) -> Option<String> {
    let wanted = match window {
        Window::Session { .. } => "ReplacingMergeTree(version, _deleted)",
        _ => "ReplacingMergeTree(version)",
    };
    let arguments: String = table.info.engine_full.split_whitespace().collect();
    let by_version = match window {
        Window::Session { .. } => arguments.contains("version,_deleted)"),
        _ => arguments.contains("version)") || arguments.contains("version,"),
    };
    let engine = &table.info.engine;
    (!engine.contains("ReplacingMergeTree") || !by_version).then(|| {
        format!("a window's row is written again when it grows, which needs {wanted}, and the engine is {engine}")
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn servers_with_a_table_each_are_found_unless_they_are_replicas() {
        let mut facts = enrichment();
        let servers = &mut facts.pipelines[0].clickhouse;
        servers.push(servers[0].clone());
        assert_silent("engine_not_exact", &facts);
        let second = |facts: &mut Facts| match &mut facts.pipelines[0].clickhouse[1].1 {
            Reached::Yes(server) => server.tables[0].identity = "other table".to_owned(),
            _ => unreachable!("it answered"),
        };
        second(&mut facts);
        let finding = one("engine_not_exact", &facts);
        assert!(finding.message.contains("clickhouse.urls"), "{finding:?}");
        for (_, server) in &mut facts.pipelines[0].clickhouse {
            if let Reached::Yes(server) = server {
                server.tables[0].identity = "ReplicatedMergeTree /path".to_owned();
            }
        }
        assert_silent("engine_not_exact", &facts);
    }

    #[test]
    fn events_need_a_merge_tree_with_the_columns_of_where_they_came_from() {
        let mut facts = enrichment();
        assert_silent("engine_not_exact", &facts);
        table(&mut facts)
            .info
            .columns
            .retain(|c| c.name != "_offset");
        assert!(
            one("engine_not_exact", &facts)
                .message
                .contains("no column _offset")
        );
        table(&mut facts).info.engine = "Memory".to_owned();
        let finding = one("engine_not_exact", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("engine Memory"));
        let change = (
            "delivery = \"exactly_once\"",
            "delivery = \"at_least_once\"",
        );
        let mut facts = shipped("clickstream", &[change]);
        table(&mut facts).info.engine = "Memory".to_owned();
        assert_silent("engine_not_exact", &facts);
    }

    #[test]
    fn windows_and_replicas_need_rows_that_replace_each_other() {
        for mut facts in [windows(), cdc()] {
            assert_silent("engine_not_exact", &facts);
            let info = &mut table(&mut facts).info;
            info.engine = "MergeTree".to_owned();
            info.engine_full = "MergeTree ORDER BY id".to_owned();
            assert!(
                one("engine_not_exact", &facts)
                    .message
                    .contains("MergeTree")
            );
        }
        let mut facts = cdc();
        table(&mut facts).info.engine_full = "ReplacingMergeTree(_version) ORDER BY id".to_owned();
        assert!(one("engine_not_exact", &facts).message.contains("_deleted"));
    }
}
