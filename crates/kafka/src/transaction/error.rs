//! How a transaction fails, and which message was not delivered.

use std::sync::Mutex;

use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;

/// Of the messages that were not delivered the largest one, by its number, and why the first was not: the
/// broker refuses the small ones beside a large one too.
#[derive(Debug, Default)]
pub(super) struct Deliveries(Mutex<Option<Undelivered>>);

#[derive(Debug, Clone, Copy)]
pub(super) struct Undelivered {
    number: usize,
    code: RDKafkaErrorCode,
    bytes: usize,
}

impl Deliveries {
    pub(super) fn take(&self) -> Option<Undelivered> {
        self.0.lock().expect("no holder of this lock panics").take()
    }

    pub(super) fn note(&self, number: usize, code: RDKafkaErrorCode, bytes: usize) {
        let mut noted = self.0.lock().expect("no holder of this lock panics");
        let is_it = noted.is_none_or(|other| other.code == code && other.bytes < bytes);
        if is_it {
            *noted = Some(Undelivered {
                number,
                code,
                bytes,
            });
        }
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let Err((error, message)) = result else {
            return;
        };
        let code = error.rdkafka_error_code();
        let code = code.unwrap_or(RDKafkaErrorCode::Unknown);
        self.note(number, code, message.payload_len());
    }
}

/// Why a transaction did not come about.
#[derive(Debug)]
pub struct TransactionError {
    what: &'static str,
    error: KafkaError,
    pub(super) undelivered: Option<Undelivered>,
}

/// What a user may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingRight {
    TransactionalId,
    Topic,
    Group,
    Cluster,
}

impl TransactionError {
    fn code(&self) -> RDKafkaErrorCode {
        let code = self.error.rdkafka_error_code();
        code.unwrap_or(RDKafkaErrorCode::Unknown)
    }

    /// Whether another client may do better: this one has waited in vain.
    pub(super) fn is_late(&self) -> bool {
        matches!(&self.error, KafkaError::Transaction(e) if e.is_retriable())
    }

    /// Whether the client can go on once the transaction is aborted.
    pub(super) fn wants_abort(&self) -> bool {
        matches!(&self.error, KafkaError::Transaction(e) if e.txn_requires_abort())
    }

    /// The number of the message that is too large for the topic, or the largest of a batch that is.
    pub fn too_large(&self) -> Option<usize> {
        let too_large = |undelivered: &&Undelivered| {
            matches!(
                undelivered.code,
                RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize
            )
        };
        let undelivered = self.undelivered.as_ref().filter(too_large)?;
        Some(undelivered.number)
    }

    /// The right that the user lacks, where that is the cause.
    pub fn missing_right(&self) -> Option<MissingRight> {
        let undelivered = self.undelivered.map(|undelivered| undelivered.code);
        match undelivered.unwrap_or_else(|| self.code()) {
            RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
                Some(MissingRight::TransactionalId)
            }
            RDKafkaErrorCode::TopicAuthorizationFailed => Some(MissingRight::Topic),
            RDKafkaErrorCode::GroupAuthorizationFailed => Some(MissingRight::Group),
            RDKafkaErrorCode::ClusterAuthorizationFailed => Some(MissingRight::Cluster),
            _ => None,
        }
    }

    /// Why a message was not delivered, if one was not.
    pub fn undelivered(&self) -> Option<RDKafkaErrorCode> {
        self.undelivered.map(|undelivered| undelivered.code)
    }
}

impl std::fmt::Display for TransactionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.error {
            KafkaError::Transaction(error) => write!(f, "{}: {}", self.what, error.string()),
            error => write!(f, "{}: {error}", self.what),
        }
    }
}

impl std::error::Error for TransactionError {}

pub(super) fn failed(what: &'static str) -> impl Fn(KafkaError) -> TransactionError {
    move |error| TransactionError {
        what,
        error,
        undelivered: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(undelivered: Option<RDKafkaErrorCode>) -> TransactionError {
        let deliveries = Deliveries::default();
        if let Some(code) = undelivered {
            deliveries.note(3, code, 10);
            deliveries.note(5, code, 20);
            deliveries.note(6, RDKafkaErrorCode::PurgeQueue, 99);
        }
        TransactionError {
            undelivered: deliveries.take(),
            ..failed("x")(KafkaError::MessageProduction(
                RDKafkaErrorCode::GroupAuthorizationFailed,
            ))
        }
    }

    #[test]
    fn the_largest_message_that_was_refused_first_explains_a_failure() {
        let too_large = error(Some(RDKafkaErrorCode::MessageSizeTooLarge));
        assert_eq!(too_large.too_large(), Some(5));
        assert_eq!(too_large.missing_right(), None);
        let denied = error(Some(RDKafkaErrorCode::TopicAuthorizationFailed));
        assert_eq!(denied.too_large(), None);
        assert_eq!(denied.missing_right(), Some(MissingRight::Topic));
        let of_the_call = error(None);
        assert_eq!(of_the_call.missing_right(), Some(MissingRight::Group));
        assert_eq!(of_the_call.undelivered(), None);
    }
}
