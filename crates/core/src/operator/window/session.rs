//! One session of a group, open or closed.

use std::ops::ControlFlow;

use super::pane::{First, Group, Row};

/// Records of one group, none further from the next than the gap.
#[derive(Debug)]
pub(super) struct Session {
    /// Event times of the first and the last record.
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) group: Group,
    /// The first record in the log.
    pub(super) first: First,
    /// Offset of the last one, and of the one by which it begins where it does.
    pub(super) last_offset: i64,
    pub(super) start_offset: i64,
    /// Where it began before that moved, or what was merged into it: rows that may have been sent.
    pub(super) retracted: Vec<i64>,
    pub(super) is_closed: bool,
}

/// A closed session whose last row is sent. A record that comes near it is late, so that no two final rows
/// are nearer than the gap. The next owner must know of it as long as one can come.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) closes_ms: i64,
    /// The first record in the log.
    pub(super) first: First,
}

/// An event time, and how near others must be to belong to the same session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    pub(super) time_ms: i64,
    pub(super) gap_ms: i64,
    pub(super) lateness_ms: i64,
    pub(super) watermark_ms: Option<i64>,
}

impl Reach {
    /// Whether a session that ends with a record of this time is over.
    pub(super) fn is_over(self, last_ms: i64) -> bool {
        let ends_ms = last_ms.saturating_add(self.gap_ms);
        self.watermark_ms >= Some(ends_ms.saturating_add(self.lateness_ms))
    }

    /// Whether its rows are sent although it is not over.
    pub(super) fn is_behind(self, last_ms: i64) -> bool {
        self.watermark_ms >= Some(last_ms.saturating_add(self.gap_ms))
    }

    /// Whether the event belongs to an open session.
    pub(super) fn is_near(self, session: &Session) -> bool {
        !session.is_closed
            && !self.is_over(session.last_ms)
            && self.time_ms >= session.first_ms.saturating_sub(self.gap_ms)
            && self.touches(session.last_ms)
    }

    /// Whether the event is within the gap of a session that ends then.
    pub(super) fn touches(self, last_ms: i64) -> bool {
        self.time_ms <= last_ms.saturating_add(self.gap_ms)
    }
}

/// A session with the event that is added to it.
#[derive(Debug)]
pub(super) struct Grown {
    pub(super) closes_ms: i64,
    /// It ends later than before.
    pub(super) is_longer: bool,
    /// The watermark has passed its end.
    pub(super) is_behind: bool,
}

/// Moves the near sessions of a group into `session`. Returns where the first of them was, and how many
/// bytes they took.
pub(super) fn gather(
    sessions: &mut Vec<Session>,
    session: &mut Session,
    reach: Reach,
    perhaps_read_to: i64,
    merge: impl Fn(&mut Session, Group),
) -> (Option<usize>, usize) {
    // Nearly always there is one, and it stays where it is.
    let (mut index, mut place, mut freed) = (0, None, 0);
    while index < sessions.len() {
        if !reach.is_near(&sessions[index]) {
            index += 1;
            continue;
        }
        let mut other = sessions.remove(index);
        freed += other.bytes();
        place.get_or_insert(index);
        if session.group.revision == 0 {
            let alone = std::mem::replace(session, other);
            session.extend(&alone, perhaps_read_to);
        } else {
            session.take_in(&mut other, perhaps_read_to);
            merge(session, other.group);
        }
    }
    (place, freed)
}

/// What a closed session takes of the memory.
pub(super) fn gone_bytes(key: &[u8]) -> usize {
    size_of::<Gone>() * 2 + key.len() + 64
}

impl Session {
    /// What it takes of the memory.
    pub(super) fn bytes(&self) -> usize {
        self.group.held_bytes()
            + size_of::<Session>()
            + self.group.key.len()
            + self.retracted.capacity() * 8
    }

    /// What is kept of it once it is closed.
    pub(super) fn gone(&self, closes_ms: i64) -> Gone {
        Gone {
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            closes_ms,
            first: self.first,
        }
    }

    /// A row with this beginning may exist: this owner has sent one, or a previous one, which has read this
    /// record too.
    fn is_perhaps_sent(&self, perhaps_read_to: i64) -> bool {
        self.group.sent_version > 0 || self.start_offset < perhaps_read_to
    }

    /// Reaches as far as a single record too, which is added later.
    pub(super) fn extend(&mut self, alone: &Session, perhaps_read_to: i64) {
        self.last_ms = self.last_ms.max(alone.last_ms);
        if alone.first_ms < self.first_ms {
            if self.is_perhaps_sent(perhaps_read_to) {
                self.retracted.push(self.first_ms);
            }
            self.begins_as(alone);
        }
    }

    fn begins_as(&mut self, other: &Session) {
        self.first_ms = other.first_ms;
        self.start_offset = other.start_offset;
        self.group.sent_version = other.group.sent_version;
    }

    /// Takes in another session, which ends here, but for its group.
    pub(super) fn take_in(&mut self, other: &mut Session, perhaps_read_to: i64) {
        if other.first_ms < self.first_ms {
            if self.is_perhaps_sent(perhaps_read_to) {
                self.retracted.push(self.first_ms);
            }
            self.begins_as(other);
        } else if other.first_ms > self.first_ms && other.is_perhaps_sent(perhaps_read_to) {
            self.retracted.push(other.first_ms);
        }
        self.last_ms = self.last_ms.max(other.last_ms);
        self.retracted.append(&mut other.retracted);
        if other.first.offset < self.first.offset {
            self.first = other.first;
        }
    }

    /// Hands out its row if it is due, and deletes rows of where it no longer begins.
    pub(super) fn send(
        &mut self,
        end_ms: i64,
        is_due: bool,
        is_final: bool,
        take: &mut impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let revision = self.group.revision;
        while let Some(start_ms) = self.retracted.pop() {
            if start_ms == self.first_ms {
                continue;
            }
            take(Row {
                start_ms,
                end_ms,
                group: &self.group,
                is_final,
                is_deleted: true,
                version: revision * 2,
            })?;
        }
        let version = self.group.version(is_final);
        if !is_due || self.group.sent_version == version {
            return ControlFlow::Continue(());
        }
        self.group.sent_version = version;
        take(Row {
            start_ms: self.first_ms,
            end_ms,
            group: &self.group,
            is_final,
            is_deleted: false,
            version,
        })
    }
}
