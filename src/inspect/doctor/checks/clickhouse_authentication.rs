//! ClickHouse answers, and does not take this user in.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in &own.clickhouse {
            if let Reached::Refused(why) = server {
                let user = &own.pipeline.clickhouse.user;
                found.add(
                    Error,
                    own.name(),
                    url,
                    format!("{url} does not take user {user} in: {why}"),
                    "correct clickhouse.user and clickhouse.password (or password_file)",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_server_that_refuses_the_user_is_reached() {
        let mut facts = enrichment();
        assert_silent("clickhouse_authentication", &facts);
        facts.pipelines[0].clickhouse[0].1 = Reached::Refused("Code: 516".to_owned());
        let finding = one("clickhouse_authentication", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("user default") && finding.message.contains("516"));
        assert_silent("clickhouse_unreachable", &facts);
    }
}
