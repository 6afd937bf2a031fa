//! What a retry does to each materialized view below a table, and whether its SELECT fails.

use super::prelude::*;
use crate::config::Delivery;
use crate::inspect::doctor::facts::ViewFacts;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        for view in &table.views {
            if let Some(why) = &view.dry_run {
                found.add(
                    Error,
                    own.name(),
                    &view.name,
                    format!(
                        "the SELECT of view {} fails for records of the sample, and halts the pipeline with \
                         reason view_failed: {why}",
                        view.name
                    ),
                    format!("correct the view, or drop it: it would lack rows that {} has", table.name),
                );
            }
            let has_tokens = own.pipeline.appends()
                && own.pipeline.delivery == Delivery::ExactlyOnce
                && table.info.has_tokens;
            let (level, what, advice) = on_retry(has_tokens, view);
            found.add(
                level,
                own.name(),
                &view.name,
                format!(
                    "materialized view {} writes to {} at each insert: {what}",
                    view.name, view.target
                ),
                advice,
            );
        }
    }
}

/// What happens to its rows when an insert is repeated.
fn on_retry(has_tokens: bool, view: &ViewFacts) -> (super::super::finding::Level, String, String) {
    let target = &view.target;
    if has_tokens && view.target_has_tokens {
        let what = "a repeated insert is recognised by its token there too";
        let advice = "a view sees one insert at a time, and misses rows when the server dies between the part and \
                      the view: a plain view over the table is exact";
        return (Info, what.to_owned(), advice.to_owned());
    }
    if view.target_engine.contains("ReplacingMergeTree") {
        let what = "a repeated insert writes its rows again, and they replace each other";
        let advice = format!("read {target} with FINAL");
        return (Info, what.to_owned(), advice);
    }
    if has_tokens {
        let what = format!(
            "{target} keeps no deduplication tokens, so a repeated insert doubles its rows there"
        );
        let setting = match view.target_engine.starts_with("Replicated") {
            true => "replicated_deduplication_window = 10000",
            false => "non_replicated_deduplication_window = 10000",
        };
        let advice = format!("ALTER TABLE {target} MODIFY SETTING {setting}, or use a plain view");
        return (Warning, what, advice);
    }
    let what = "inserts of this pipeline carry no token, so a repeated insert, or a row that is written again, \
                comes twice there";
    let advice =
        format!("have {target} replace rows by version, or use a plain view over the table");
    (Warning, what.to_owned(), advice)
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    fn view(target_engine: &str, target_has_tokens: bool) -> ViewFacts {
        ViewFacts {
            name: "analytics.mv".to_owned(),
            target: "analytics.per_minute".to_owned(),
            target_engine: target_engine.to_owned(),
            target_has_tokens,
            select: String::new(),
            dry_run: None,
        }
    }

    #[test]
    fn what_a_retry_does_depends_on_the_table_behind_the_view() {
        let mut facts = enrichment();
        assert_silent("view_on_insert", &facts);
        for (engine, has_tokens, level) in [
            ("SummingMergeTree", true, Info),
            ("SummingMergeTree", false, Warning),
            ("ReplacingMergeTree", false, Info),
        ] {
            table(&mut facts).views = vec![view(engine, has_tokens)];
            let finding = one("view_on_insert", &facts);
            assert_eq!((finding.level, &*finding.place), (level, "analytics.mv"));
        }
        let mut facts = windows();
        table(&mut facts).views = vec![view("SummingMergeTree", true)];
        assert_eq!(one("view_on_insert", &facts).level, Warning);
    }

    #[test]
    fn a_view_that_fails_for_the_sample_halts_the_pipeline() {
        let mut facts = enrichment();
        let mut failing = view("SummingMergeTree", true);
        failing.dry_run = Some("Code: 6. Cannot parse string".to_owned());
        table(&mut facts).views = vec![failing];
        let found = found("view_on_insert", &facts);
        assert_eq!(found[0].level, Error);
        assert!(found[0].message.contains("Code: 6"));
    }
}
