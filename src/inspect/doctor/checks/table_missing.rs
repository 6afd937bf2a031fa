//! A table is not there, and the daemon does not make it.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in with_facts(own) {
            for table in server.missing_tables.iter().filter(|t| !t.is_made) {
                let name = &table.name;
                let of = match own.clickhouse.len() {
                    1 => String::new(),
                    _ => format!(" at {url}"),
                };
                found.add(
                    Error,
                    own.name(),
                    name,
                    format!("table {name} does not exist{of}"),
                    "create it with `streamweir schema apply`, or correct clickhouse.database and \
                     pipeline.clickhouse.table",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_table_that_is_not_there_is_an_error_unless_the_daemon_makes_it() {
        let mut facts = enrichment();
        assert_silent("table_missing", &facts);
        let missing = |is_made| MissingTable {
            name: "analytics.t".to_owned(),
            is_made,
        };
        server(&mut facts).missing_tables = vec![missing(true)];
        assert_silent("table_missing", &facts);
        server(&mut facts).missing_tables = vec![missing(false)];
        let finding = one("table_missing", &facts);
        assert_eq!((finding.level, &*finding.place), (Error, "analytics.t"));
        assert!(finding.advice.contains("schema apply"));
    }
}
