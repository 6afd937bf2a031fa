//! A replica whose merges forget deleted rows: an older record that is read again brings them back.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, server, table) in with_tables(facts) {
        if !matches!(&own.pipeline.kind, Kind::Cdc(_)) {
            continue;
        }
        let setting = |name: &str| {
            let own = table.settings.get(name);
            let value = own.or_else(|| server.merge_tree_settings.get(name));
            value.map_or("", String::as_str)
        };
        let is_on = |name: &str| matches!(setting(name), "1" | "true");
        let why = if is_on("enable_replacing_merge_with_cleanup_for_min_age_to_force_merge") {
            "enable_replacing_merge_with_cleanup_for_min_age_to_force_merge = 1"
        } else if setting("clean_deleted_rows") == "Always" {
            "clean_deleted_rows = 'Always'"
        } else if has_ttl_of_rows(&table.info.engine_full) {
            "its TTL"
        } else {
            continue;
        };
        found.add(
            Warning,
            own.name(),
            &table.name,
            format!(
                "merges of table {} forget deleted rows ({why}): an older change of such a row that is read \
                 again, as after a reset of the group, brings it back",
                table.name
            ),
            "keep deleted rows as long as the topic keeps their records, and clean up by hand (OPTIMIZE … FINAL \
             CLEANUP) once nothing older can come",
        );
    }
}

/// `TTL …` that deletes rows stands before the settings.
fn has_ttl_of_rows(engine_full: &str) -> bool {
    let clause = engine_full.split(" SETTINGS ").next().unwrap_or_default();
    let ttl = clause.split_once(" TTL ").map(|(_, ttl)| ttl);
    ttl.is_some_and(|ttl| {
        !ttl.contains(" TO DISK ") && !ttl.contains(" TO VOLUME ") && !ttl.contains("RECOMPRESS")
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn merges_that_drop_deleted_rows_are_a_warning_for_replicas() {
        let name = "enable_replacing_merge_with_cleanup_for_min_age_to_force_merge";
        let mut facts = cdc();
        assert_silent("cleanup_forgets_deletes", &facts);
        table(&mut facts)
            .settings
            .insert(name.to_owned(), "1".to_owned());
        assert_eq!(one("cleanup_forgets_deletes", &facts).level, Warning);
        let mut facts = cdc();
        server(&mut facts)
            .merge_tree_settings
            .insert(name.to_owned(), "1".to_owned());
        assert!(
            one("cleanup_forgets_deletes", &facts)
                .message
                .contains(name)
        );
        table(&mut facts)
            .settings
            .insert(name.to_owned(), "0".to_owned());
        assert_silent("cleanup_forgets_deletes", &facts);
        let mut facts = windows();
        table(&mut facts)
            .settings
            .insert(name.to_owned(), "1".to_owned());
        assert_silent("cleanup_forgets_deletes", &facts);
    }

    #[test]
    fn a_ttl_that_deletes_rows_forgets_them_too() {
        let engine = "ReplacingMergeTree(_version, _deleted) ORDER BY id TTL t + toIntervalDay(7) WHERE \
                      _deleted = 1 SETTINGS index_granularity = 8192";
        let mut facts = cdc();
        table(&mut facts).info.engine_full = engine.to_owned();
        assert!(
            one("cleanup_forgets_deletes", &facts)
                .message
                .contains("TTL")
        );
        table(&mut facts).info.engine_full =
            engine.replace(" WHERE _deleted = 1", " TO DISK 'cold'");
        assert_silent("cleanup_forgets_deletes", &facts);
    }
}
