//! Rights that the user of ClickHouse lacks.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in with_facts(own) {
            let user = &own.pipeline.clickhouse.user;
            for right in &server.missing_rights {
                // Without them records with new fields halt the pipeline, and nothing else does.
                let level = match right.starts_with("ALTER") {
                    true => Warning,
                    false => Error,
                };
                found.add(
                    level,
                    own.name(),
                    url,
                    format!("user {user} lacks the right {right}"),
                    format!("GRANT {right} TO {user}"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn each_right_that_is_missing_is_an_error_and_can_be_granted() {
        let mut facts = enrichment();
        assert_silent("clickhouse_rights", &facts);
        let rights = ["INSERT ON analytics.t", "ALTER ADD COLUMN ON analytics.t"];
        server(&mut facts).missing_rights = rights.map(str::to_owned).to_vec();
        let found = found("clickhouse_rights", &facts);
        assert_eq!(found[0].level, Error);
        assert_eq!(found[0].advice, "GRANT INSERT ON analytics.t TO default");
        assert_eq!(found[1].level, Warning);
    }
}
