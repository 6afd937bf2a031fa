//! What a join is given, and what it hands out.

/// One of the two streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Side {
    pub fn other(self) -> Side {
        match self {
            Side::Left => Side::Right,
            Side::Right => Side::Left,
        }
    }
}

/// What matches, and when it is decided. All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// At the first match, instead of when the watermarks say that there is no better one.
    pub is_eager: bool,
    /// How much older than the event a right record may be; `None`: any.
    pub before_ms: Option<i64>,
    /// How much younger.
    pub after_ms: i64,
    pub watermark_delay_ms: i64,
}

impl Rules {
    /// The right side is a table, whose profiles hold until newer ones come.
    pub(super) fn is_table(&self) -> bool {
        self.before_ms.is_none()
    }

    pub(super) fn watermark(&self, largest_ms: Option<i64>) -> Option<i64> {
        Some(largest_ms?.saturating_sub(self.watermark_delay_ms))
    }

    /// The oldest time that matches an event of this one.
    pub(super) fn oldest_ms(&self, event_ms: i64) -> i64 {
        let from = |before_ms| event_ms.saturating_sub(before_ms);
        self.before_ms.map_or(i64::MIN, from)
    }

    /// The youngest.
    pub(super) fn youngest_ms(&self, event_ms: i64) -> i64 {
        event_ms.saturating_add(self.after_ms)
    }
}

/// A record of the left.
#[derive(Debug, Clone, Copy)]
pub struct LeftEvent<'r> {
    pub offset: i64,
    pub time_ms: i64,
    pub key: Option<&'r [u8]>,
    pub payload: &'r [u8],
}

/// A record of the right.
#[derive(Debug, Clone, Copy)]
pub struct RightRecord<'r> {
    pub offset: i64,
    pub time_ms: i64,
    pub key: Option<&'r [u8]>,
    /// None: the profile of the key ends at this time.
    pub payload: Option<&'r [u8]>,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// It is behind its own side's watermark: of the left it is handed out without match, of the right
    /// it takes no part, unless that is a table, which knows no late records.
    Late,
    /// A previous owner of the partition has handed it out.
    Decided,
}

/// What was found for an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Matched,
    /// Its key has had no right record, as far as is remembered.
    NoProfile,
    /// Its key has, but at other times.
    OutsideWindow,
    /// It was behind its own side's watermark.
    Late,
}

/// A decided event.
#[derive(Debug, Clone, Copy)]
pub struct Joined<'j> {
    pub offset: i64,
    pub left: &'j [u8],
    pub right: Option<&'j [u8]>,
    pub outcome: Outcome,
}
