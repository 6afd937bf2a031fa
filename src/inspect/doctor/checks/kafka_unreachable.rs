//! No broker answers.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        if let Reached::No(why) = &own.kafka {
            let servers = own.pipeline.kafka.bootstrap_servers.join(", ");
            found.add(
                Error,
                own.name(),
                &servers,
                format!("no broker of {servers} answers: {why}"),
                "start Kafka, correct kafka.bootstrap_servers, or open the way to it; what advertised.listeners \
                 names must be reachable from here too",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_broker_that_does_not_answer_is_an_error_and_one_that_does_is_none() {
        let mut facts = enrichment();
        assert_silent("kafka_unreachable", &facts);
        facts.pipelines[0].kafka = Reached::No("connection refused".to_owned());
        let finding = one("kafka_unreachable", &facts);
        assert_eq!(finding.level, Error);
        assert_eq!(finding.pipeline.as_deref(), Some("clickstream"));
        assert!(finding.message.contains("connection refused"));
        assert!(finding.advice.contains("kafka.bootstrap_servers"));
    }
}
