//! A table in which looking for offsets reads everything.

use super::prelude::*;
use crate::config::Delivery;
use crate::target::Provenance;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        let looks = own.pipeline.appends()
            && own.pipeline.delivery == Delivery::ExactlyOnce
            && table.info.engine.ends_with("MergeTree");
        let Ok(provenance) = Provenance::of(&own.pipeline, &table.info.columns) else {
            continue;
        };
        let offset = &provenance.offset;
        let is_indexed = table
            .minmax
            .iter()
            .any(|expression| expression.contains(offset))
            || table.info.sorting_key.contains(offset);
        if looks && !is_indexed {
            found.add(
                Warning,
                own.name(),
                &table.name,
                format!(
                    "table {} has no minmax index on {offset}: after a failure exactly_once looks for a range of \
                     offsets, and reads the whole table for it",
                    table.name
                ),
                format!(
                    "ALTER TABLE {0} ADD INDEX _offset_minmax {1} TYPE minmax GRANULARITY 1; ALTER TABLE {0} \
                     MATERIALIZE INDEX _offset_minmax",
                    table.name,
                    provenance.offset_sql()
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
