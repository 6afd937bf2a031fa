//! How a connector writes values: what nothing in a record without a schema block says.

/// `decimal.handling.mode` of the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DecimalMode {
    /// The unscaled number's bytes in base64, or an object of scale and bytes.
    #[default]
    Precise,
    /// Plain digits in a string.
    String,
    /// A JSON number, digits lost.
    Double,
}

/// `time.precision.mode` of the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeMode {
    /// Milliseconds up to three digits of a second, microseconds above.
    #[default]
    Adaptive,
    /// The same, but times of day always in microseconds: the default of MySQL and MariaDB.
    AdaptiveTimeMicroseconds,
    /// Microseconds.
    Microseconds,
    /// Nanoseconds.
    Nanoseconds,
    /// Milliseconds.
    Connect,
    /// Strings in the form of ISO 8601.
    IsoString,
    /// Objects of year, month, day and so on, for columns of text.
    Structured,
}

/// `binary.handling.mode` of the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BinaryMode {
    /// Bytes, which JSON carries in base64.
    #[default]
    Bytes,
    /// Base64.
    Base64,
    /// Base64 with the letters `-` and `_`.
    Base64UrlSafe,
    /// Hex digits.
    Hex,
}

/// `bigint.unsigned.handling.mode` of the connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnsignedMode {
    /// As if they had a sign: from 2^63 on they are negative.
    Long,
    /// The number's bytes in base64.
    Precise,
}

impl DecimalMode {
    /// Reads Debezium's own name for the mode.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "precise" => DecimalMode::Precise,
            "string" => DecimalMode::String,
            "double" => DecimalMode::Double,
            _ => return None,
        })
    }
}

impl TimeMode {
    /// Reads Debezium's own name for the mode.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "adaptive" => TimeMode::Adaptive,
            "adaptive_time_microseconds" => TimeMode::AdaptiveTimeMicroseconds,
            "microseconds" => TimeMode::Microseconds,
            "nanoseconds" => TimeMode::Nanoseconds,
            "connect" => TimeMode::Connect,
            "isostring" => TimeMode::IsoString,
            "structured" => TimeMode::Structured,
            _ => return None,
        })
    }
}

impl BinaryMode {
    /// Reads Debezium's own name for the mode.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "bytes" => BinaryMode::Bytes,
            "base64" => BinaryMode::Base64,
            "base64-url-safe" => BinaryMode::Base64UrlSafe,
            "hex" => BinaryMode::Hex,
            _ => return None,
        })
    }
}

/// Stands in an update for a large value that did not change, unless the connector is told otherwise.
pub const UNAVAILABLE_VALUE: &str = "__debezium_unavailable_value";

/// What is declared about a connector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Modes {
    /// How decimals are written.
    pub decimal: DecimalMode,
    /// How dates and times are written.
    pub time: TimeMode,
    /// How bytes are written.
    pub binary: BinaryMode,
    /// How integers of 64 bits without a sign are written; none: with one by the connectors of MySQL and
    /// MariaDB.
    pub unsigned: Option<UnsignedMode>,
}
