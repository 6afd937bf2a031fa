//! A server of ClickHouse does not answer: an outage where no other one does.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let answers = |(_, server): &(String, Reached<_>)| matches!(server, Reached::Yes(_));
        let level = match own.clickhouse.iter().any(answers) {
            true => Warning,
            false => Error,
        };
        for (url, server) in &own.clickhouse {
            if let Reached::No(why) = server {
                found.add(
                    level,
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
    fn a_server_that_does_not_answer_is_an_error_where_no_other_does() {
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
            (Warning, "http://other:8123")
        );
        assert!(finding.message.contains("timed out"));
        facts.pipelines[0].clickhouse.remove(0);
        assert_eq!(one("clickhouse_unreachable", &facts).level, Error);
    }
}
