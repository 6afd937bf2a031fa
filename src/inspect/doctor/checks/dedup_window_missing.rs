//! A table that remembers no tokens of inserts.

use super::prelude::*;
use crate::config::Delivery;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        let needs_tokens = own.pipeline.appends()
            && own.pipeline.delivery == Delivery::ExactlyOnce
            && table.info.engine.ends_with("MergeTree");
        if !needs_tokens || table.info.has_tokens {
            continue;
        }
        let setting = match table.info.is_replicated() {
            true => {
                "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
            }
            false => "non_replicated_deduplication_window = 10000",
        };
        found.add(
            Warning,
            own.name(),
            &table.name,
            format!(
                "table {} keeps no deduplication tokens: an insert that is still running cannot be told from one \
                 that is lost, and may be written twice",
                table.name
            ),
            format!("ALTER TABLE {} MODIFY SETTING {setting}", table.name),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn events_need_a_window_where_each_is_to_come_once() {
        let mut facts = enrichment();
        assert_silent("dedup_window_missing", &facts);
        table(&mut facts).info.has_tokens = false;
        let finding = one("dedup_window_missing", &facts);
        assert_eq!(finding.level, Warning);
        assert!(
            finding
                .advice
                .contains("non_replicated_deduplication_window = 10000")
        );
        table(&mut facts).info.engine = "ReplicatedMergeTree".to_owned();
        let advice = one("dedup_window_missing", &facts).advice;
        assert!(advice.contains("replicated_deduplication_window_seconds"));
        for mut facts in [windows(), cdc()] {
            table(&mut facts).info.has_tokens = false;
            assert_silent("dedup_window_missing", &facts);
        }
    }
}
