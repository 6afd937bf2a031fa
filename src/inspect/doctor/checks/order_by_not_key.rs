//! A table in which rows replace each other, sorted by something else than what tells them apart.

use std::collections::BTreeSet;

use super::prelude::*;
use super::replica::{Wrong, problems};
use crate::config::Aggregation;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        let why = match &own.pipeline.kind {
            Kind::Aggregation(config) => windows(config, table),
            Kind::Cdc(cdc) => problems(own, cdc, table).remove(&Wrong::Order),
            Kind::Enrichment(_) | Kind::Raw(_) | Kind::StreamJoin(_) => None,
        };
        if let Some(why) = why {
            found.add(
                Error,
                own.name(),
                &table.name,
                format!("table {}: {why}", table.name),
                "create it anew with ORDER BY the key (`streamweir schema print` shows it): rows of different \
                 keys replace each other, or none does",
            );
        }
    }
}

/// The columns, or expressions, of a key.
pub(super) fn key_columns(key: &str) -> BTreeSet<String> {
    // One column may stand in parentheses.
    let whole = key.strip_prefix('(').and_then(|key| key.strip_suffix(')'));
    let parts = whole.unwrap_or(key).split(',');
    let parts = parts.map(|part| part.trim().trim_matches('`'));
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// What tells rows of windows apart.
pub(super) fn window_key(config: &Aggregation) -> BTreeSet<String> {
    let group = config.group.iter().map(|field| field.name.clone());
    group.chain(["window_start".to_owned()]).collect()
}

fn windows(config: &Aggregation, table: &TableFacts) -> Option<String> {
    let key = window_key(config);
    (key_columns(&table.info.sorting_key) != key).then(|| {
        let key: Vec<String> = key.into_iter().collect();
        format!(
            "it is sorted by ({}), and rows of windows are told apart by ({})",
            table.info.sorting_key,
            key.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn rows_of_windows_are_told_apart_by_start_and_group() {
        let mut facts = windows();
        assert_silent("order_by_not_key", &facts);
        table(&mut facts).info.sorting_key = "window_start".to_owned();
        let finding = one("order_by_not_key", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("category, window_start"));
    }

    #[test]
    fn a_replica_is_sorted_by_the_key_of_its_records() {
        let mut facts = cdc();
        assert_silent("order_by_not_key", &facts);
        table(&mut facts).info.sorting_key = "(id)".to_owned();
        assert_silent("order_by_not_key", &facts);
        let keys = &mut sample(&mut facts).key_fields;
        keys.insert(
            "shop.public.orders".to_owned(),
            vec!["id".to_owned(), "region".to_owned()],
        );
        let finding = one("order_by_not_key", &facts);
        assert_eq!((finding.level, &*finding.place), (Error, "replica.orders"));
        assert!(finding.message.contains("sorted by (id)"), "{finding:?}");
    }
}
