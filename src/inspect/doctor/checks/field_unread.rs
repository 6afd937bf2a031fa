//! Fields of the sample that no column takes.

use std::collections::BTreeSet;

use super::fields::{event_columns, other_roots, replica_columns};
use super::prelude::*;
use crate::config::Evolution;

/// Names in one message.
const NAMES_MAX: usize = 20;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, sample) in with_sample(facts) {
        for (topic, fields) in &sample.fields {
            let names: BTreeSet<&String> = fields.keys().collect();
            let unread = unread(own, topic, &names);
            if unread.is_empty() {
                continue;
            }
            let shown: Vec<&str> = unread.iter().take(NAMES_MAX).map(|n| n.as_str()).collect();
            let more = match unread.len().saturating_sub(NAMES_MAX) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            found.add(
                Info,
                own.name(),
                topic,
                format!(
                    "fields of topic {topic} that no column takes: {}{more}",
                    shown.join(", ")
                ),
                "add a column of that name, or map one in [pipeline.columns], if they are wanted",
            );
        }
    }
}

fn unread<'n>(own: &PipelineFacts, topic: &str, names: &BTreeSet<&'n String>) -> Vec<&'n String> {
    let known: BTreeSet<String> = match &own.pipeline.kind {
        Kind::Enrichment(config) => {
            let Some(table) = own.tables().first() else {
                return vec![];
            };
            let columns = event_columns(config, table)
                .into_iter()
                .map(|(_, root)| root);
            columns.chain(other_roots(config)).collect()
        }
        // Otherwise columns are added, or the pipeline halts.
        Kind::Cdc(cdc) if cdc.evolution == Evolution::Ignore => {
            let table = own
                .tables()
                .iter()
                .find(|t| t.topic.as_deref() == Some(topic));
            let Some(table) = table else {
                return vec![];
            };
            replica_columns(cdc, table).into_iter().collect()
        }
        _ => return vec![],
    };
    let unread = names.iter().filter(|name| !known.contains(**name));
    unread.copied().collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn fields_that_no_column_takes_are_named() {
        let mut facts = enrichment();
        let topic = || "user-events".to_owned();
        // user_id and session_id are read although this table has no column for them.
        let known = [
            "event_id",
            "timestamp",
            "user_id",
            "session_id",
            "page_url",
            "event_type",
        ];
        let fields = |names: &[&str]| names.iter().map(|n| ((*n).to_owned(), 1)).collect();
        sample(&mut facts).fields.insert(topic(), fields(&known));
        assert_silent("field_unread", &facts);
        sample(&mut facts)
            .fields
            .insert(topic(), fields(&["event_id", "campaign", "ab_test"]));
        let finding = one("field_unread", &facts);
        assert_eq!(finding.level, Info);
        assert!(
            finding.message.ends_with("ab_test, campaign"),
            "{finding:?}"
        );
    }

    #[test]
    fn columns_that_are_added_to_a_replica_take_them() {
        let mut facts = cdc();
        let fields = [("id".to_owned(), 1), ("new".to_owned(), 1)].into();
        sample(&mut facts)
            .fields
            .insert("shop.public.orders".to_owned(), fields);
        assert_silent("field_unread", &facts);
    }
}
