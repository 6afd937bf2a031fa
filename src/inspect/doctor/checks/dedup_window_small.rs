//! A table that forgets tokens within the hour.

use super::prelude::*;
use crate::config::Delivery;

const WINDOW: &str = "non_replicated_deduplication_window";
const REPLICATED: &str = "replicated_deduplication_window";
const SECONDS: &str = "replicated_deduplication_window_seconds";
/// An insert may have to be repeated after an outage of this length.
const HOUR_SECONDS: f64 = 3_600.0;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, server, table) in with_tables(facts) {
        let needs_tokens = own.pipeline.appends() && own.pipeline.delivery == Delivery::ExactlyOnce;
        if !needs_tokens || !table.info.has_tokens {
            continue;
        }
        let is_replicated = table.info.is_replicated();
        let defaults = match is_replicated {
            true => &server.replicated_settings,
            false => &server.merge_tree_settings,
        };
        let setting = |name: &str| {
            let value = table.settings.get(name).or_else(|| defaults.get(name));
            value.and_then(|value| value.parse::<f64>().ok())
        };
        let name = if is_replicated { REPLICATED } else { WINDOW };
        let parts = parts_per_hour(own, table);
        if let Some(window) = setting(name).filter(|window| *window < parts) {
            found.add(
                Warning,
                own.name(),
                &table.name,
                format!(
                    "table {} remembers the last {window:.0} parts ({name}), and this pipeline makes up to \
                     {parts:.0} an hour: after an outage an insert that is repeated may not be recognised",
                    table.name
                ),
                format!(
                    "ALTER TABLE {} MODIFY SETTING {name} = {:.0}, or make fewer inserts \
                     (pipeline.batch.flush_interval, inserts_per_second_max)",
                    table.name,
                    (parts * 2.0).max(10_000.0)
                ),
            );
        }
        let seconds = setting(SECONDS).filter(|seconds| is_replicated && *seconds < HOUR_SECONDS);
        if let Some(seconds) = seconds {
            found.add(
                Warning,
                own.name(),
                &table.name,
                format!(
                    "table {} forgets tokens {seconds:.0} s after they came ({SECONDS}): after a longer outage an \
                     insert that is repeated may not be recognised",
                    table.name
                ),
                format!("ALTER TABLE {} MODIFY SETTING {SECONDS} = 604800", table.name),
            );
        }
    }
}

/// Batches sealed by time times the partitions that each touches.
fn parts_per_hour(own: &PipelineFacts, table: &TableFacts) -> f64 {
    let batch = &own.pipeline.batch;
    let partitions = own
        .kafka
        .facts()
        .map_or(1, |kafka| kafka.partitions.len().max(1));
    let by_time = partitions as f64 / batch.flush_interval.as_secs_f64().max(0.001);
    let inserts = by_time.min(batch.inserts_per_second_max) * HOUR_SECONDS;
    inserts * touched(table) as f64
}

/// Records come in the order of time, so that a batch lies in one partition of time; any other expression
/// may touch all that there are.
fn touched(table: &TableFacts) -> u64 {
    let key = &table.info.partition_key;
    let is_of_time = [
        "toYYYYMM",
        "toStartOf",
        "toDate",
        "toMonday",
        "toYear",
        "toYYYYMMDD",
    ]
    .iter()
    .any(|function| key.contains(function));
    match key.is_empty() || (is_of_time && !key.contains(',')) {
        true => 1,
        false => table.partitions.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    fn set_window(facts: &mut Facts, name: &str, value: &str) {
        table(facts)
            .settings
            .insert(name.to_owned(), value.to_owned());
    }

    #[test]
    fn a_window_must_hold_the_parts_of_an_hour() {
        // 6 partitions every 5 s are 4,320 inserts an hour.
        for (window, is_found) in [
            ("10000", false),
            ("4320", false),
            ("4319", true),
            ("100", true),
        ] {
            let mut facts = enrichment();
            set_window(&mut facts, "non_replicated_deduplication_window", window);
            let found = found("dedup_window_small", &facts);
            assert_eq!(!found.is_empty(), is_found, "{window}");
        }
    }

    #[test]
    fn a_partition_key_that_each_batch_touches_many_of_counts() {
        let mut facts = enrichment();
        table(&mut facts).info.partition_key = "country".to_owned();
        assert_silent("dedup_window_small", &facts);
        table(&mut facts).partitions = 40;
        let finding = one("dedup_window_small", &facts);
        assert!(finding.message.contains("172800 an hour"), "{finding:?}");
    }

    #[test]
    fn of_a_replicated_table_blocks_and_seconds_count() {
        let mut facts = enrichment();
        table(&mut facts).info.engine = "ReplicatedMergeTree".to_owned();
        assert_silent("dedup_window_small", &facts);
        let defaults = &mut server(&mut facts).replicated_settings;
        defaults.insert(
            "replicated_deduplication_window".to_owned(),
            "1000".to_owned(),
        );
        defaults.insert(
            "replicated_deduplication_window_seconds".to_owned(),
            "604800".to_owned(),
        );
        assert!(
            one("dedup_window_small", &facts)
                .message
                .contains("last 1000 parts")
        );
        set_window(&mut facts, "replicated_deduplication_window", "10000");
        set_window(&mut facts, "replicated_deduplication_window_seconds", "60");
        assert!(one("dedup_window_small", &facts).message.contains("60 s"));
    }
}
