//! A partition with so many parts that the server soon refuses inserts.

use super::prelude::*;

/// Of the server, where it does not say.
const PARTS_TO_THROW: u64 = 3_000;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, server, table) in with_tables(facts) {
        let name = "parts_to_throw_insert";
        let limit = table
            .settings
            .get(name)
            .or_else(|| server.merge_tree_settings.get(name));
        let limit = limit
            .and_then(|limit| limit.parse().ok())
            .unwrap_or(PARTS_TO_THROW);
        if limit > 0 && table.parts_max > limit / 2 {
            found.add(
                Warning,
                own.name(),
                &table.name,
                format!(
                    "a partition of table {} has {} active parts, and inserts are refused above {limit} ({name})",
                    table.name, table.parts_max
                ),
                "make fewer inserts (pipeline.batch.flush_interval, inserts_per_second_max), partition by larger \
                 spans, and look whether merges keep up (system.merges)",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn above_half_of_the_limit_is_a_warning() {
        let mut facts = enrichment();
        table(&mut facts).parts_max = 1500;
        assert_silent("parts_pressure", &facts);
        table(&mut facts).parts_max = 1501;
        assert_eq!(one("parts_pressure", &facts).level, Warning);
        let own = ("parts_to_throw_insert".to_owned(), "10000".to_owned());
        table(&mut facts).settings.extend([own]);
        assert_silent("parts_pressure", &facts);
        table(&mut facts)
            .settings
            .insert("parts_to_throw_insert".to_owned(), "10".to_owned());
        assert!(
            one("parts_pressure", &facts)
                .message
                .contains("refused above 10")
        );
    }
}
