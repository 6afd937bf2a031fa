//! A server of ClickHouse does not answer.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in &own.clickhouse {
            if let Reached::No(why) = server {
                found.add(
                    Error,
                    own.name(),
                    url,
                    format!("{url} does not answer: {why}"),
                    "start ClickHouse, correct clickhouse.url (the HTTP port, 8123 by default), or open the way \
                     to it",
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn each_server_that_does_not_answer_is_an_error() {
        let mut facts = enrichment();
        assert_silent("clickhouse_unreachable", &facts);
        let away = (
            "http://other:8123".to_owned(),
            Reached::No("timed out".to_owned()),
        );
        facts.pipelines[0].clickhouse.push(away);
        let finding = one("clickhouse_unreachable", &facts);
        assert_eq!(
            (finding.level, &*finding.place),
            (Error, "http://other:8123")
        );
        assert!(finding.message.contains("timed out"));
    }
}
