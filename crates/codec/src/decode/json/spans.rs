//! Where in the record the wanted values lie.

use super::syntax::Value;
use super::{Kind, Raw};

/// One value as positions, so that a scanner outlives the records it reads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    from: u32,
    end: u32,
    kind: Kind,
    escaped: bool,
}

/// Longest record in bytes: positions are 32 bits wide.
pub(super) const RECORD_BYTES_MAX: usize = u32::MAX as usize;

impl Span {
    pub(super) const ABSENT: Span = Span {
        from: 0,
        end: 0,
        kind: Kind::Absent,
        escaped: false,
    };

    /// The value that starts at `from`, a string without its quotes.
    #[inline]
    pub(super) fn new(from: usize, value: Value) -> Self {
        let quotes = u32::from(value.kind == Kind::String);
        // No truncation: records are at most RECORD_BYTES_MAX long.
        let (from, end) = (from as u32 + quotes, value.end as u32 - quotes);
        Span {
            from,
            end,
            kind: value.kind,
            escaped: value.escaped,
        }
    }

    #[inline(always)]
    pub(super) fn raw(self, text: &str) -> Raw<'_> {
        let len = (self.end - self.from) as usize;
        Raw::new(self.kind, self.escaped, &text[self.from as usize..], len)
    }
}
