//! A column that nothing fills.

use std::collections::BTreeSet;

use super::fields::{event_columns, replica_columns};
use super::prelude::*;
use super::replica::problems;
use super::type_unsupported;
use crate::target::Provenance;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, sample) in with_sample(facts) {
        for table in own.tables() {
            let columns = unfilled(own, sample, table).join(", ");
            if !columns.is_empty() {
                found.add(
                    Warning,
                    own.name(),
                    &table.name,
                    format!(
                        "columns of table {} that no field of the sample fills: {columns}: their rows have the \
                         type's zero or NULL",
                        table.name
                    ),
                    "map them in [pipeline.columns] (path, or default), give them a DEFAULT, or drop them",
                );
            }
        }
        if let Some(why) = &sample.plan_error
            && !is_explained(own)
        {
            found.add(
                Error,
                own.name(),
                "pipeline.columns",
                format!("the table cannot be filled as configured: {why}"),
                "correct the configuration or the table: the pipeline does not start",
            );
        }
    }
}

/// Whether another check says what is wrong with the table.
fn is_explained(own: &PipelineFacts) -> bool {
    let of = |table: &TableFacts| match &own.pipeline.kind {
        Kind::Cdc(cdc) => !problems(own, cdc, table).is_empty(),
        _ => {
            !type_unsupported::columns(own, table).is_empty()
                || Provenance::of(&own.pipeline, &table.info.columns).is_err()
        }
    };
    own.tables().iter().any(of)
}

fn unfilled(own: &PipelineFacts, sample: &SampleFacts, table: &TableFacts) -> Vec<String> {
    let has_default = |name: &String| {
        let column = table.info.columns.iter().find(|c| c.name == *name);
        column.is_some_and(|column| !column.default_kind.is_empty())
    };
    match &own.pipeline.kind {
        Kind::Enrichment(config) if sample.fields.values().any(|f| !f.is_empty()) => {
            let is_seen = |root: &String| sample.fields.values().any(|f| f.contains_key(root));
            let is_configured = |name: &String| {
                let mapping = config.columns.get(name);
                mapping.is_some_and(|m| m.required || m.default.is_some())
            };
            let columns = event_columns(config, table);
            let seen = columns.iter().filter(|(_, root)| is_seen(root));
            let seen: BTreeSet<String> = seen.map(|(name, _)| name.clone()).collect();
            let columns = columns.into_iter().map(|(name, _)| name);
            let mut unfilled: Vec<String> = columns
                .filter(|name| !seen.contains(name) && !has_default(name) && !is_configured(name))
                .collect();
            unfilled.dedup();
            unfilled
        }
        Kind::Cdc(cdc) => {
            let fields = table
                .topic
                .as_ref()
                .and_then(|topic| sample.fields.get(topic));
            let Some(fields) = fields.filter(|fields| !fields.is_empty()) else {
                return vec![];
            };
            let columns = replica_columns(cdc, table).into_iter();
            columns
                .filter(|name| !fields.contains_key(name) && !has_default(name))
                .collect()
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    fn fields(names: &[&str]) -> std::collections::BTreeMap<String, usize> {
        names.iter().map(|name| ((*name).to_owned(), 3)).collect()
    }

    #[test]
    fn a_column_that_no_field_of_the_sample_fills_is_named() {
        let mut facts = enrichment();
        assert_silent("column_unfilled", &facts);
        let seen = fields(&["event_id", "timestamp", "city"]);
        sample(&mut facts)
            .fields
            .insert("user-events".to_owned(), seen);
        assert_silent("column_unfilled", &facts);
        let seen = fields(&["event_id", "timestamp"]);
        sample(&mut facts)
            .fields
            .insert("user-events".to_owned(), seen);
        let finding = one("column_unfilled", &facts);
        assert_eq!(finding.level, Warning);
        assert!(finding.message.contains("fills: city:"), "{finding:?}");
    }

    #[test]
    fn of_a_replica_the_fields_of_the_row_count() {
        let mut facts = cdc();
        let topic = || "shop.public.orders".to_owned();
        sample(&mut facts)
            .fields
            .insert(topic(), fields(&["id", "note"]));
        assert_silent("column_unfilled", &facts);
        sample(&mut facts).fields.insert(topic(), fields(&["id"]));
        let finding = one("column_unfilled", &facts);
        assert!(finding.message.contains("fills: note:"), "{finding:?}");
    }

    #[test]
    fn a_table_that_does_not_fit_the_configuration_is_an_error() {
        let mut facts = enrichment();
        sample(&mut facts).plan_error = Some("pipeline.columns names column x".to_owned());
        let finding = one("column_unfilled", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("names column x"));
    }
}
