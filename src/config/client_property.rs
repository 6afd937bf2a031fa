//! What librdkafka says of a property, asked before anything starts. No message holds a value that may
//! be a secret: a misspelt `sasl.pasword` is a key like any other.

use streamweir_kafka::{PropertyFault, property_fault};

use super::secret::has_credentials;
use super::section::did_you_mean;

/// Properties that a message may suggest: those of security, and those that operators set.
const FAMILIAR: [&str; 57] = [
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "sasl.kerberos.service.name",
    "sasl.kerberos.principal",
    "sasl.kerberos.keytab",
    "sasl.kerberos.kinit.cmd",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.extensions",
    "sasl.oauthbearer.token.endpoint.url",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.key.location",
    "ssl.key.pem",
    "ssl.key.password",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.crl.location",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "ssl.endpoint.identification.algorithm",
    "enable.ssl.certificate.verification",
    "client.id",
    "client.rack",
    "client.dns.lookup",
    "debug",
    "broker.address.family",
    "broker.address.ttl",
    "connections.max.idle.ms",
    "message.max.bytes",
    "receive.message.max.bytes",
    "metadata.max.age.ms",
    "topic.metadata.refresh.interval.ms",
    "reconnect.backoff.ms",
    "reconnect.backoff.max.ms",
    "retry.backoff.ms",
    "socket.timeout.ms",
    "socket.keepalive.enable",
    "socket.connection.setup.timeout.ms",
    "session.timeout.ms",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "fetch.wait.max.ms",
    "fetch.min.bytes",
    "fetch.max.bytes",
    "max.partition.fetch.bytes",
    "check.crcs",
    "compression.type",
];

/// What is wrong with a property, if anything. `may_be_shown`: the value is no secret of its own.
pub(super) fn refusal(key: &str, value: &str, may_be_shown: bool) -> Option<String> {
    match property_fault(key, value)? {
        PropertyFault::Unknown => {
            let hint = did_you_mean(key, FAMILIAR.iter().copied());
            Some(format!("is no property of librdkafka{hint}"))
        }
        // Another build of the daemon may have it; starting this one says so.
        PropertyFault::NotBuiltIn => None,
        PropertyFault::Refused(why) if may_be_shown && !has_credentials(value) => {
            Some(format!("librdkafka refuses it: {why}"))
        }
        PropertyFault::Refused(_) => Some("librdkafka refuses its value (not shown)".to_owned()),
    }
}

/// Whether librdkafka has a property of that name.
pub(super) fn exists(key: &str) -> bool {
    property_fault(key, "") != Some(PropertyFault::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_property_is_named_with_the_one_that_was_meant_and_without_its_value() {
        for (key, meant) in [
            ("sasl.pasword", "sasl.password"),
            ("sasl.passwort", "sasl.password"),
            ("ssl.key.pasword", "ssl.key.password"),
            (
                "sasl.oauthbearer.client.secrt",
                "sasl.oauthbearer.client.secret",
            ),
            ("sasl.usrname", "sasl.username"),
        ] {
            let refusal = refusal(key, "hunter2", true).expect("refused");
            assert!(refusal.contains("no property of librdkafka"), "{refusal}");
            assert!(
                refusal.contains(&format!("did you mean {meant}?")),
                "{refusal}"
            );
            assert!(!refusal.contains("hunter2"), "{refusal}");
            assert!(!exists(key));
        }
        let far = refusal("whatever", "hunter2", true).expect("refused");
        assert_eq!(far, "is no property of librdkafka");
        for known in FAMILIAR {
            assert!(exists(known), "{known}");
        }
    }

    #[test]
    fn a_value_is_shown_only_where_it_is_no_secret() {
        let plain = refusal("security.protocol", "sll", true).expect("refused");
        assert!(plain.contains("sll"), "{plain}");
        let url = refusal("security.protocol", "https://u:hunter2@host", true);
        assert!(!url.expect("refused").contains("hunter2"));
        let secret = refusal("security.protocol", "hunter2", false).expect("refused");
        assert!(!secret.contains("hunter2"), "{secret}");
        assert_eq!(refusal("security.protocol", "ssl", true), None);
    }
}
