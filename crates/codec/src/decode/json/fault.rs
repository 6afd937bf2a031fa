//! Where and how a record departs from the grammar: small enough to be returned in registers.

use crate::decode::{Reason, Reject};

/// What the grammar wanted and did not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    Value,
    Name,
    Colon,
    CommaOrEnd,
    EndOfRecord,
    EndOfString,
    NoControlCharacter,
    Escape,
    HexDigits,
    Digit,
    FewerLevels,
}

/// A departure from the grammar at one byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) expected: Expected,
    pub(super) at_byte: usize,
}

impl Fault {
    #[cold]
    pub(super) fn new(expected: Expected, at_byte: usize) -> Self {
        Fault { expected, at_byte }
    }

    /// The dead letter's reason and detail; positions count from `offset_bytes` further left.
    #[cold]
    pub(super) fn reject(self, offset_bytes: usize) -> Reject {
        let at = self.at_byte + offset_bytes;
        let wanted = match self.expected {
            Expected::FewerLevels => {
                let detail = format!("more than {} levels at byte {at}", super::DEPTH_MAX);
                return Reject::new(Reason::TooDeep, detail);
            }
            Expected::Value => "value expected",
            Expected::Name => "member name expected",
            Expected::Colon => "colon expected",
            Expected::CommaOrEnd => "comma or end expected",
            Expected::EndOfRecord => "end of the record expected",
            Expected::EndOfString => "string without end",
            Expected::NoControlCharacter => "unescaped control character",
            Expected::Escape => "no such escape",
            Expected::HexDigits => "four hex digits expected",
            Expected::Digit => "digit expected",
        };
        Reject::new(Reason::InvalidJson, format!("{wanted} at byte {at}"))
    }
}
