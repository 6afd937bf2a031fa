//! What is wrong with the table of a replica, all of it: the pipeline's own rules, asked again with what
//! was found put right.

use std::collections::BTreeMap;

use super::order_by_not_key::key_columns;
use super::prelude::*;
use crate::config::Cdc;
use crate::replica::check_table;

/// What of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// Or the columns that it goes by.
    Engine,
    Order,
    Partition,
}

pub(super) fn problems(
    own: &PipelineFacts,
    cdc: &Cdc,
    table: &TableFacts,
) -> BTreeMap<Wrong, String> {
    let mut problems = BTreeMap::new();
    let Some(topic) = &table.topic else {
        return problems;
    };
    let mapping = cdc.tables.get(topic);
    let names = mapping
        .map(|mapping| mapping.own.clone())
        .unwrap_or_default();
    let declared = mapping.map(|m| m.key.clone()).filter(|key| !key.is_empty());
    let seen = || own.sample.as_ref()?.key_fields.get(topic).cloned();
    // Where nobody says what the key is, the table's own is believed.
    let sorted_by = || key_columns(&table.info.sorting_key).into_iter().collect();
    let said = declared.or_else(seen);
    let is_said = said.is_some();
    let key: Vec<String> = said.unwrap_or_else(sorted_by);
    let (sorting, engine) = (
        key.join(", "),
        format!("ReplacingMergeTree({}, {})", names.version, names.deleted),
    );
    let mut existing = table.info.existing(&table.name);
    for _ in 0..3 {
        let Err(refused) = check_table(&existing, &key, &names) else {
            break;
        };
        let why = refused.why;
        if why.contains("it is sorted by") || why.contains("have no key") {
            if is_said {
                problems.insert(Wrong::Order, why);
            }
            existing.sorting_key = &sorting;
        } else if why.contains("it is partitioned by") {
            problems.insert(Wrong::Partition, why);
            existing.partition_key = "";
        } else if why.starts_with("its engine") {
            problems.insert(Wrong::Engine, why);
            existing.engine = "ReplacingMergeTree";
            existing.engine_full = &engine;
        } else if why.contains(&format!("column {}", names.version))
            || why.contains(&format!("column {}", names.deleted))
        {
            problems.entry(Wrong::Engine).or_insert(why);
            break;
        } else {
            break;
        }
    }
    problems
}
