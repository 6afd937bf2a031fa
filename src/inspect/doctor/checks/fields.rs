//! Which fields of records fill which columns, as the configuration and the table say.

use std::collections::BTreeSet;

use super::prelude::*;
use crate::config::{Cdc, Enrichment, RecordField};
use crate::rules::Condition;

/// `$.a.b` → `a`; a plain name is itself.
pub(super) fn root(path: &str) -> String {
    let path = path.strip_prefix("$.").unwrap_or(path);
    let end = path.find(['.', '[']).unwrap_or(path.len());
    path[..end].trim_matches('"').to_owned()
}

/// Columns of events that a field fills, with the root of that field. Columns that have a value without one
/// are left out; one that is made of several fields is there with each.
pub(super) fn event_columns(config: &Enrichment, table: &TableFacts) -> Vec<(String, String)> {
    let session: BTreeSet<&str> = config
        .session
        .iter()
        .flat_map(|s| [&s.count_column, &s.duration_column, &s.distinct_column])
        .flatten()
        .map(String::as_str)
        .collect();
    let looked_up = |name: &str| {
        config
            .lookup
            .as_ref()
            .is_some_and(|l| l.columns.contains_key(name))
    };
    let rules = &config.rules;
    let flag = config
        .dedup
        .as_ref()
        .map_or(&None, |dedup| &dedup.flag_column);
    let by_rules = [&rules.passed_column, &rules.failed_column, flag];
    let by_rules = by_rules.map(|column| column.as_deref().unwrap_or_default());
    let columns = table.info.columns.iter().filter(|column| {
        let name = &*column.name;
        let mapping = config.columns.get(name);
        let is_of_kafka = match mapping {
            Some(mapping) => mapping.from.is_some(),
            None => RecordField::of_column(name).is_some(),
        };
        !matches!(&*column.default_kind, "MATERIALIZED" | "ALIAS")
            && !session.contains(name)
            && !looked_up(name)
            && !is_of_kafka
            && !by_rules.contains(&name)
    });
    let columns = columns.flat_map(|column| {
        let mapping = config.columns.get(&column.name);
        let paths = match mapping.and_then(|m| m.transform.as_ref()) {
            Some(transform) => transform.fields.iter().map(String::as_str).collect(),
            None => vec![
                mapping
                    .and_then(|m| m.path.as_deref())
                    .unwrap_or(&column.name),
            ],
        };
        let with_name = |path: &str| (column.name.clone(), root(path));
        paths.into_iter().map(with_name).collect::<Vec<_>>()
    });
    columns.collect()
}

/// Roots of fields that something other than a column reads.
pub(super) fn other_roots(config: &Enrichment) -> BTreeSet<String> {
    let mut roots = BTreeSet::new();
    roots.extend(config.time_field.field().map(root));
    roots.extend(config.lookup.iter().map(|lookup| root(&lookup.key_field)));
    if let Some(session) = &config.session {
        roots.insert(root(&session.key_field));
        roots.extend(session.distinct_field.iter().map(|field| root(field)));
        roots.extend(session.distinct_where.keys().map(|field| root(field)));
    }
    let dedup_key = config.dedup.iter().flat_map(|dedup| &dedup.key);
    roots.extend(dedup_key.map(|path| root(path)));
    for rule in &config.rules.rules {
        let conditions = rule.when.iter().chain([&rule.check]);
        roots.extend(conditions.flat_map(Condition::paths).map(root));
    }
    roots
}

/// Columns of a replica that a field of the row fills.
pub(super) fn replica_columns(cdc: &Cdc, table: &TableFacts) -> Vec<String> {
    let mapping = table.topic.as_ref().and_then(|topic| cdc.tables.get(topic));
    let names = mapping
        .map(|mapping| mapping.own.clone())
        .unwrap_or_default();
    let columns = table.info.columns.iter().filter(|column| {
        !matches!(&*column.default_kind, "MATERIALIZED" | "ALIAS")
            && !names.has(&column.name)
            && !cdc.columns.contains_key(&column.name)
            && RecordField::of_column(&column.name).is_none()
    });
    columns.map(|column| column.name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::testing;
    use super::*;
    use crate::config::{Dedup, Kind, OnDuplicate};
    use crate::sink::ColumnInfo;

    #[test]
    fn what_duplicates_are_told_by_is_read_and_their_column_is_filled() {
        let mut facts = testing::enrichment();
        let table = testing::table(&mut facts);
        table.info.columns.push(ColumnInfo {
            name: "again".to_owned(),
            type_name: "UInt8".to_owned(),
            default_kind: String::new(),
        });
        let table = table.clone();
        let pipeline = Arc::make_mut(&mut facts.pipelines[0].pipeline);
        let Kind::Enrichment(config) = &mut pipeline.kind else {
            panic!("an enrichment");
        };
        let is_of_a_field = |config: &Enrichment| {
            let columns = event_columns(config, &table);
            columns.iter().any(|(name, _)| name == "again")
        };
        assert!(is_of_a_field(config));
        config.dedup = Some(Dedup {
            key: vec!["$.order.id".to_owned()],
            within: Duration::from_secs(60),
            on_duplicate: OnDuplicate::Flag,
            flag_column: Some("again".to_owned()),
        });
        assert!(!is_of_a_field(config));
        assert!(other_roots(config).contains("order"));
    }

    #[test]
    fn a_path_begins_with_its_field() {
        for (path, expected) in [("$.a.b", "a"), ("$.a", "a"), ("a", "a"), ("$.a[0]", "a")] {
            assert_eq!(root(path), expected);
        }
    }
}
