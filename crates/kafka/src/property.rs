//! What librdkafka says of a property, asked before anything connects.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;

/// What librdkafka says of properties whose libraries it was built without.
const NOT_BUILT_IN: &str = "not supported in this build";

/// What is wrong with a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyFault {
    /// There is none of this name.
    Unknown,
    /// This build lacks what it needs; another may have it.
    NotBuiltIn,
    /// Its value is refused. The text may hold the value.
    Refused(String),
}

/// What is wrong with a property, if anything.
pub fn property_fault(key: &str, value: &str) -> Option<PropertyFault> {
    let mut config = ClientConfig::new();
    config.set(key, value);
    Some(match config.create_native_config().err()? {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            PropertyFault::Unknown
        }
        KafkaError::ClientConfig(_, why, ..) if why.contains(NOT_BUILT_IN) => {
            PropertyFault::NotBuiltIn
        }
        KafkaError::ClientConfig(_, why, ..) => PropertyFault::Refused(why),
        other => PropertyFault::Refused(other.to_string()),
    })
}

/// Whether librdkafka takes these properties together.
///
/// # Errors
/// The first that it refuses.
pub fn check_config(config: &ClientConfig) -> Result<(), KafkaError> {
    config.create_native_config().map(drop)
}

/// What a client has against its configuration, without any value of it: that may be a secret.
pub fn refused_property(error: &KafkaError) -> String {
    match error {
        KafkaError::ClientConfig(_, why, key, _) if why.contains(NOT_BUILT_IN) => {
            format!("{key}: {NOT_BUILT_IN} of librdkafka")
        }
        KafkaError::ClientConfig(_, _, key, _) => {
            format!("{key}: librdkafka refuses this property or its value (not shown)")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode;

    use super::*;

    #[test]
    fn a_refused_configuration_is_told_without_its_values() {
        let error = KafkaError::ClientConfig(
            RDKafkaConfRes::RD_KAFKA_CONF_INVALID,
            "Invalid value hunter2".into(),
            "sasl.password".into(),
            "hunter2".into(),
        );
        let text = refused_property(&error);
        assert!(
            text.contains("sasl.password") && !text.contains("hunter2"),
            "{text}"
        );
        let other = KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut);
        assert_eq!(refused_property(&other), other.to_string());
    }

    #[test]
    fn a_property_is_unknown_or_its_value_refused() {
        assert_eq!(
            property_fault("sasl.pasword", "x"),
            Some(PropertyFault::Unknown)
        );
        assert_eq!(property_fault("security.protocol", "ssl"), None);
        let refused = property_fault("security.protocol", "sll");
        assert!(matches!(refused, Some(PropertyFault::Refused(why)) if why.contains("sll")));
    }
}
