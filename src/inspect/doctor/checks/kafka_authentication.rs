//! A broker answers, and does not take this user in.

use super::prelude::*;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        if let Reached::Refused(why) = &own.kafka {
            let servers = own.pipeline.kafka.bootstrap_servers.join(", ");
            found.add(
                Error,
                own.name(),
                &servers,
                format!("kafka does not take this user in: {why}"),
                "correct security.protocol, sasl.mechanism, sasl.username, sasl.password and the certificates in \
                 [kafka.properties]",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_broker_that_refuses_the_user_is_reached() {
        let mut facts = enrichment();
        assert_silent("kafka_authentication", &facts);
        facts.pipelines[0].kafka = Reached::Refused("invalid credentials".to_owned());
        let finding = one("kafka_authentication", &facts);
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("invalid credentials"));
        assert_silent("kafka_unreachable", &facts);
    }
}
