//! Why a record can never be written: the closed list of dead-letter reasons.

use std::borrow::Cow;

/// The reasons of dead letters, as they stand in the header `streamweir-reason` and in metric labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The record has no value.
    NullValue,
    /// Not UTF-8 or not RFC 8259, anywhere in the record.
    InvalidJson,
    /// More than 256 levels of objects and arrays.
    TooDeep,
    /// Larger than a configured limit.
    TooLarge,
    /// Valid JSON whose top level is no object.
    NotAnObject,
    /// A required field is absent or null.
    MissingField,
    /// A value of the wrong type or form.
    InvalidValue,
    /// The right form, but the column cannot hold it.
    OutOfRange,
    /// A time without declared unit that would lie in 1970 and looks like seconds.
    ImplausibleTime,
    /// Event time further ahead of the Kafka timestamp than allowed.
    TooFarAhead,
    /// Aggregation: every window of the record had closed.
    Late,
    /// The server refused this one record.
    Rejected,
    /// cdc: an unchanged TOAST value nobody knows.
    UnavailableValue,
    /// cdc: NaN, infinity, BC and the like where the column has no such value.
    NotRepresentable,
    /// cdc: an `op` we do not know.
    UnknownOperation,
    /// cdc: a type we do not know.
    UnknownType,
    /// Not the bytes of its Avro schema.
    InvalidAvro,
    /// Not the bytes of its Protobuf message.
    InvalidProtobuf,
    /// Not compressed as configured.
    InvalidCompression,
    /// A schema that the registry does not have.
    UnknownSchema,
    /// Not valid by its JSON Schema.
    SchemaViolation,
    /// A rule of the configuration refuses it.
    RuleFailed,
    /// An earlier record of its partition had its key.
    Duplicate,
}

impl Reason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Reason; 23] = [
        Reason::NullValue,
        Reason::InvalidJson,
        Reason::TooDeep,
        Reason::TooLarge,
        Reason::NotAnObject,
        Reason::MissingField,
        Reason::InvalidValue,
        Reason::OutOfRange,
        Reason::ImplausibleTime,
        Reason::TooFarAhead,
        Reason::Late,
        Reason::Rejected,
        Reason::UnavailableValue,
        Reason::NotRepresentable,
        Reason::UnknownOperation,
        Reason::UnknownType,
        Reason::InvalidAvro,
        Reason::InvalidProtobuf,
        Reason::InvalidCompression,
        Reason::UnknownSchema,
        Reason::SchemaViolation,
        Reason::RuleFailed,
        Reason::Duplicate,
    ];

    /// The name users meet: snake case, stable.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NullValue => "null_value",
            Reason::InvalidJson => "invalid_json",
            Reason::TooDeep => "too_deep",
            Reason::TooLarge => "too_large",
            Reason::NotAnObject => "not_an_object",
            Reason::MissingField => "missing_field",
            Reason::InvalidValue => "invalid_value",
            Reason::OutOfRange => "out_of_range",
            Reason::ImplausibleTime => "implausible_time",
            Reason::TooFarAhead => "too_far_ahead",
            Reason::Late => "late",
            Reason::Rejected => "rejected",
            Reason::UnavailableValue => "unavailable_value",
            Reason::NotRepresentable => "not_representable",
            Reason::UnknownOperation => "unknown_operation",
            Reason::UnknownType => "unknown_type",
            Reason::InvalidAvro => "invalid_avro",
            Reason::InvalidProtobuf => "invalid_protobuf",
            Reason::InvalidCompression => "invalid_compression",
            Reason::UnknownSchema => "unknown_schema",
            Reason::SchemaViolation => "schema_violation",
            Reason::RuleFailed => "rule_failed",
            Reason::Duplicate => "duplicate",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// This record can never be written: why, in one word and in one phrase.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Reject {
    /// One of the closed list.
    pub reason: Reason,
    /// Free text for people: what was expected, which column, which byte.
    pub detail: Cow<'static, str>,
}

// Travels in the Err of every conversion on the hot path.
const _: () = assert!(size_of::<Reject>() <= 40);

impl Reject {
    /// A reject with a fixed or a formatted detail.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<Cow<'static, str>>) -> Self {
        Reject {
            reason,
            detail: detail.into(),
        }
    }

    /// A value of the wrong type or form.
    pub fn invalid_value(detail: impl Into<Cow<'static, str>>) -> Self {
        Reject::new(Reason::InvalidValue, detail)
    }

    /// A value of the right form that the column cannot hold.
    pub fn out_of_range(detail: impl Into<Cow<'static, str>>) -> Self {
        Reject::new(Reason::OutOfRange, detail)
    }

    /// The same reject, its detail led by the field or column it is about.
    #[must_use]
    pub fn about(self, field: &str) -> Self {
        Reject {
            detail: format!("{field}: {}", self.detail).into(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_under_its_own_name() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
        assert_eq!(Reason::ALL[Reason::Duplicate as usize], Reason::Duplicate);
    }

    #[test]
    fn a_reject_reads_as_reason_field_and_detail() {
        let reject = Reject::invalid_value("not an integer").about("user_id");
        assert_eq!(reject.to_string(), "invalid_value: user_id: not an integer");
    }
}
