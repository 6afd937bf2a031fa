//! A column of a type that the daemon does not write.

use super::prelude::*;
use crate::table::ColumnType;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, _, table) in with_tables(facts) {
        for (column, type_name, why) in columns(own, table) {
            found.add(
                Error,
                own.name(),
                format!("{}.{column}", table.name),
                format!("column {column} of table {} is {type_name}: {why}", table.name),
                "use a type that is written (docs/enrichment.md lists them), or give the column a DEFAULT that \
                 the server fills",
            );
        }
    }
}

/// Name, type, and what is wrong with it.
pub(super) fn columns(own: &PipelineFacts, table: &TableFacts) -> Vec<(String, String, String)> {
    let Kind::Enrichment(config) = &own.pipeline.kind else {
        return vec![];
    };
    let is_named = |name: &String| {
        let lookup = config.lookup.as_ref();
        config.columns.contains_key(name) || lookup.is_some_and(|l| l.columns.contains_key(name))
    };
    let columns = table
        .info
        .columns
        .iter()
        .filter(|column| match &*column.default_kind {
            "MATERIALIZED" | "ALIAS" => false,
            "" => true,
            // The server has a value for it, whatever its type.
            _ => is_named(&column.name),
        });
    let wrong = columns.filter_map(|column| {
        let error = ColumnType::parse(&column.type_name).err()?;
        Some((
            column.name.clone(),
            column.type_name.clone(),
            error.to_string(),
        ))
    });
    wrong.collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::sink::ColumnInfo;

    #[test]
    fn only_a_type_that_the_server_does_not_fill_is_an_error() {
        let mut facts = enrichment();
        assert_silent("type_unsupported", &facts);
        let column = |default_kind: &str| ColumnInfo {
            name: "state".to_owned(),
            type_name: "AggregateFunction(sum, UInt64)".to_owned(),
            default_kind: default_kind.to_owned(),
        };
        for kind in ["MATERIALIZED", "DEFAULT"] {
            table(&mut facts).info.columns.push(column(kind));
            assert_silent("type_unsupported", &facts);
        }
        table(&mut facts).info.columns.push(column(""));
        let finding = one("type_unsupported", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("AggregateFunction"));
    }
}
