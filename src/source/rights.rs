//! What a user may not do, or that Kafka does not take the user in at all: only an operator can help.

use streamweir_kafka::{Event, RDKafkaErrorCode};

use crate::halt::Halt;

/// The user of `kafka.properties` lacks a right.
pub(crate) fn lacks_right(operation: &str, resource: &str) -> Halt {
    let advice = format!("this user lacks the right {operation} on {resource}: grant it");
    Halt::new("authentication", advice)
}

/// A broker answered that it does not take this user in.
pub(crate) fn refused_user(events: &[Event]) -> Option<Halt> {
    let said = events.iter().find_map(|event| match event {
        Event::Error {
            code: Some(code),
            text,
            ..
        } if is_refusal_of_user(*code) => Some(text),
        _ => None,
    })?;
    let advice = format!(
        "kafka does not take this user in: {said}: correct security.protocol, sasl.mechanism, sasl.username and \
         sasl.password (or sasl.password_file) in [kafka.properties]"
    );
    Some(Halt::new("authentication", advice))
}

/// What else a client says of its connections, the newest: why nobody answers.
pub(crate) fn newest_trouble(events: &[Event]) -> Option<&str> {
    events.iter().rev().find_map(|event| match event {
        Event::Error { code, text, .. } if *code != Some(RDKafkaErrorCode::AllBrokersDown) => {
            Some(&**text)
        }
        _ => None,
    })
}

fn is_refusal_of_user(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::Authentication
            | RDKafkaErrorCode::SaslAuthenticationFailed
            | RDKafkaErrorCode::UnsupportedSASLMechanism
            | RDKafkaErrorCode::IllegalSASLState
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(code: RDKafkaErrorCode, text: &str) -> Event {
        Event::Error {
            code: Some(code),
            text: text.to_owned(),
            fatal: false,
        }
    }

    #[test]
    fn a_refused_user_halts_and_a_broker_that_is_away_is_waited_for() {
        let away = event(RDKafkaErrorCode::BrokerTransportFailure, "refused");
        let down = event(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let tls = event(RDKafkaErrorCode::SSL, "certificate verify failed");
        let events = [away, down, tls];
        assert!(refused_user(&events).is_none());
        assert_eq!(newest_trouble(&events), Some("certificate verify failed"));
        assert_eq!(newest_trouble(&events[1..2]), None);
        for code in [
            RDKafkaErrorCode::Authentication,
            RDKafkaErrorCode::SaslAuthenticationFailed,
            RDKafkaErrorCode::UnsupportedSASLMechanism,
        ] {
            let halt = refused_user(&[event(code, "invalid credentials")]).expect("a halt");
            assert_eq!(halt.reason, "authentication");
            assert!(
                halt.advice.contains("invalid credentials"),
                "{}",
                halt.advice
            );
        }
    }

    #[test]
    fn a_missing_right_is_named_as_doctor_names_it() {
        let halt = lacks_right("READ", "group readers");
        assert_eq!(halt.reason, "authentication");
        let expected = "this user lacks the right READ on group readers";
        assert!(halt.advice.starts_with(expected), "{}", halt.advice);
    }
}
