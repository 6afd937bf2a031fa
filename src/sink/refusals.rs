//! When an answer that keeps coming is a fault of the rows, and when it is not.
//!
//! [`Suspicion`] decides about one insert: an answer that nobody classified is tried again a few times
//! before the rows are split. [`Refusals`] decides about a row that is refused alone: once the table
//! has taken other rows it becomes a dead letter; where the table takes nothing, the pipeline halts
//! and no row becomes one.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::errors::{InsertError, Remedy};
use crate::halt::Halt;

/// Attempts with an answer that nobody classified, and the time that they take at least.
const ATTEMPTS_MIN: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(2);
/// The same for rows that cannot be split, where the pipeline would halt.
const PATIENCE_UNSPLIT: Duration = Duration::from_secs(60);
/// Rows refused alone, one after the other, while the table acknowledges nothing.
const LONE_MAX: u32 = 10;
/// How long a row that is refused alone waits for the table to take others.
const EVIDENCE_WAIT: Duration = Duration::from_secs(10);
/// How long ago the table may have taken rows where a single one is refused and no other comes.
const TAKEN_LATELY: Duration = Duration::from_secs(600);
/// The same where it took other rows since the first of them was refused.
const LONE_MAX_BESIDE: u32 = 100;

/// What is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    One,
    Many,
    /// Part of a range that was refused in the same way before.
    Half,
    /// Rows of many records each.
    Unsplit,
}

impl Rows {
    fn patience(self) -> Duration {
        match self {
            Rows::One | Rows::Many => PATIENCE,
            Rows::Half => Duration::ZERO,
            Rows::Unsplit => PATIENCE_UNSPLIT,
        }
    }
}

/// What to do about one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Wait, and send the same again.
    Again,
    /// Refused, if the server answers something else now.
    RefusedIfThere,
    Refused,
}

/// How often one insert met an answer that may be a fault of its rows.
#[derive(Debug, Default)]
pub(super) struct Suspicion {
    first: Option<Instant>,
    attempts: u32,
}

impl Suspicion {
    pub(super) fn judge(&mut self, error: &InsertError, rows: Rows, now: Instant) -> Judgement {
        let is_suspect = match error.remedy {
            Remedy::Split | Remedy::TooLarge => return Judgement::Refused,
            Remedy::Unclassified => true,
            // Half of the rows take half of the memory, or of the time; one row is waited for.
            Remedy::Retry(_) => {
                error.is_of_one_statement() && matches!(rows, Rows::Many | Rows::Half)
            }
            Remedy::Halt(_) => false,
        };
        if !is_suspect {
            // Of several servers one may be away: that says nothing of what the others answer.
            if error.code.is_some() {
                *self = Suspicion::default();
            }
            return Judgement::Again;
        }
        let first = *self.first.get_or_insert(now);
        self.attempts += 1;
        // A server that is slow for a while must not break a range into single rows.
        let is_known = rows == Rows::Half && !error.is_over_time();
        let is_due = is_known
            || self.attempts >= ATTEMPTS_MIN && now.duration_since(first) >= rows.patience();
        if is_due {
            Judgement::RefusedIfThere
        } else {
            Judgement::Again
        }
    }
}

/// A row that was refused alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lone {
    /// When rows beside it were first refused.
    pub(crate) since: Instant,
    alone_at: Instant,
}

/// Whether such a row is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    AtFault,
    /// Nothing shows yet that the table takes other rows.
    Open,
}

/// What the tables of one pipeline took last.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<String, Taken>>);

#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    /// Last acknowledged insert.
    last: Option<Instant>,
    /// Rows refused alone since then.
    lone: u32,
}

impl Refusals {
    /// The table took rows.
    pub(super) fn taken(&self, table: &str, now: Instant) {
        let mut tables = self.tables();
        let taken = Taken {
            last: Some(now),
            lone: 0,
        };
        match tables.get_mut(table) {
            // An insert that took long may end after one that began later.
            Some(known) => {
                *known = Taken {
                    last: known.last.max(taken.last),
                    ..taken
                }
            }
            None => drop(tables.insert(table.to_owned(), taken)),
        }
    }

    /// Counts a row that was refused alone, unless the server has named a value of it. `since`: when rows
    /// beside it were first refused.
    pub(super) fn refused_alone(
        &self,
        table: &str,
        error: &InsertError,
        since: Instant,
        now: Instant,
    ) -> Lone {
        if error.remedy != Remedy::Split {
            self.tables().entry(table.to_owned()).or_default().lone += 1;
        }
        Lone {
            since,
            alone_at: now,
        }
    }

    /// Whether the row is at fault.
    ///
    /// # Errors
    /// The table takes no rows at all.
    pub(super) fn judge(
        &self,
        table: &str,
        error: &InsertError,
        lone: Lone,
        now: Instant,
    ) -> Result<Verdict, Halt> {
        // The server has named a value of the row.
        if error.remedy == Remedy::Split {
            return Ok(Verdict::AtFault);
        }
        let taken = self.tables().get(table).copied().unwrap_or_default();
        if taken.last.is_some_and(|last| last >= lone.since) {
            return if taken.lone <= LONE_MAX_BESIDE {
                Ok(Verdict::AtFault)
            } else {
                Err(halt(table, error))
            };
        }
        let is_over = now.duration_since(lone.alone_at) >= EVIDENCE_WAIT;
        let is_lately = |last: Instant| lone.since.duration_since(last) <= TAKEN_LATELY;
        match taken.lone {
            0..=LONE_MAX if !is_over => Ok(Verdict::Open),
            0..=1 if taken.last.is_some_and(is_lately) => Ok(Verdict::AtFault),
            _ => Err(halt(table, error)),
        }
    }

    fn tables(&self) -> MutexGuard<'_, HashMap<String, Taken>> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

fn halt(table: &str, error: &InsertError) -> Halt {
    let advice = if error.remedy == Remedy::TooLarge {
        format!(
            "table {table}: every single row is refused as too large: {error}: raise the limit of the \
             proxy before clickhouse (client_max_body_size of nginx), or of the user's profile, then \
             start again"
        )
    } else {
        format!(
            "table {table}: every row is refused and none was taken meanwhile: {error}: this is no fault of \
             single rows: look at the table, its views and \
             what stands before clickhouse, then start again (pipeline.dead_letter.skip passes a \
             single record by)"
        )
    };
    Halt::new("rejected", advice)
}

#[cfg(test)]
mod tests;
