//! A table in which looking for offsets reads everything.

use super::prelude::*;
use crate::config::Delivery;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        let looks = matches!(&own.pipeline.kind, Kind::Enrichment(_))
            && own.pipeline.delivery == Delivery::ExactlyOnce
            && table.info.engine.ends_with("MergeTree")
            && table
                .info
                .columns
                .iter()
                .any(|column| column.name == "_offset");
        let is_indexed = table
            .minmax
            .iter()
            .any(|expression| expression.contains("_offset"))
            || table.info.sorting_key.contains("_offset");
        if looks && !is_indexed {
            found.add(
                Warning,
                own.name(),
                &table.name,
                format!(
                    "table {} has no minmax index on _offset: after a failure exactly_once looks for a range of \
                     offsets, and reads the whole table for it",
                    table.name
                ),
                format!(
                    "ALTER TABLE {0} ADD INDEX _offset_minmax _offset TYPE minmax GRANULARITY 1; ALTER TABLE {0} \
                     MATERIALIZE INDEX _offset_minmax",
                    table.name
                ),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn the_look_for_offsets_needs_an_index_or_the_order() {
        let mut facts = enrichment();
        assert_silent("offset_index_missing", &facts);
        table(&mut facts).minmax.clear();
        let finding = one("offset_index_missing", &facts);
        assert_eq!(finding.level, Warning);
        assert!(finding.advice.contains("ADD INDEX"));
        table(&mut facts).info.sorting_key = "_topic, _partition, _offset".to_owned();
        assert_silent("offset_index_missing", &facts);
    }
}
