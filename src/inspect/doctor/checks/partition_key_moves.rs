//! A partition key that an update can move: the old row stays where nothing replaces it.

use super::order_by_not_key::{key_columns, window_key};
use super::prelude::*;
use super::replica::{Wrong, problems};
use crate::config::Aggregation;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        let why = match &own.pipeline.kind {
            Kind::Aggregation(config) => windows(config, table),
            Kind::Cdc(cdc) => problems(own, cdc, table).remove(&Wrong::Partition),
            Kind::Enrichment(_) | Kind::Raw(_) | Kind::StreamJoin(_) => None,
        };
        if let Some(why) = why {
            found.add(
                Error,
                own.name(),
                &table.name,
                format!("table {}: {why}", table.name),
                "create it anew with PARTITION BY an expression of the key alone, or without",
            );
        }
    }
}

fn windows(config: &Aggregation, table: &TableFacts) -> Option<String> {
    let key = window_key(config);
    let by = key_columns(&table.info.partition_key);
    let moves = |part: &String| !key.iter().any(|column| part.contains(column.as_str()));
    by.iter().any(moves).then(|| {
        format!(
            "it is partitioned by ({}), and a row that grows may move to another partition, where it replaces \
             nothing",
            table.info.partition_key
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_partition_of_a_value_that_changes_is_an_error() {
        for (mut facts, fine, moves) in [
            (windows(), "toYYYYMM(window_start)", "total_sales"),
            (cdc(), "id % 16", "note"),
        ] {
            table(&mut facts).info.partition_key = fine.to_owned();
            assert_silent("partition_key_moves", &facts);
            table(&mut facts).info.partition_key = moves.to_owned();
            let finding = one("partition_key_moves", &facts);
            assert_eq!(finding.level, Error);
            assert!(finding.message.contains(moves), "{finding:?}");
        }
        let mut facts = enrichment();
        table(&mut facts).info.partition_key = "city".to_owned();
        assert_silent("partition_key_moves", &facts);
    }
}
