//! When an answer that keeps coming is a fault of the rows, and when it is not.
//!
//! [`Suspicion`] decides about one insert: an answer that nobody classified is tried again a few times
//! before the rows are split. [`Refusals`] decides about a row that is refused alone: while the table
//! takes other rows it becomes a dead letter; where the table takes nothing, the pipeline halts.

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
            // Half of the rows take half of the memory; one row is waited for.
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
        let is_due = rows == Rows::Half
            || self.attempts >= ATTEMPTS_MIN && now.duration_since(first) >= rows.patience();
        if is_due {
            Judgement::RefusedIfThere
        } else {
            Judgement::Again
        }
    }
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
            Some(known) => *known = taken,
            None => drop(tables.insert(table.to_owned(), taken)),
        }
    }

    /// Whether a row that was refused alone is at fault. `since`: when rows beside it were first refused.
    ///
    /// # Errors
    /// The table takes no rows at all.
    pub(super) fn judge(
        &self,
        table: &str,
        error: &InsertError,
        since: Instant,
    ) -> Result<(), Halt> {
        if error.remedy == Remedy::Split {
            return Ok(());
        }
        let mut tables = self.tables();
        let taken = tables.entry(table.to_owned()).or_default();
        taken.lone += 1;
        let lone_max = if taken.last.is_some_and(|last| last >= since) {
            LONE_MAX_BESIDE
        } else {
            LONE_MAX
        };
        if taken.lone <= lone_max {
            return Ok(());
        }
        Err(halt(table, error))
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
            "table {table}: one row after another was refused alone and none was taken in between: {error}: this \
             is no fault of single rows: look at the table, its views and what stands before clickhouse, \
             then start again"
        )
    };
    Halt::new("rejected", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(remedy: Remedy) -> InsertError {
        InsertError {
            code: Some(4711),
            message: "Code: 4711. DB::Exception: of tomorrow".to_owned(),
            remedy,
        }
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_value_that_is_refused_is_not_tried_again() {
        for remedy in [Remedy::Split, Remedy::TooLarge] {
            for rows in [Rows::One, Rows::Many, Rows::Half] {
                let judged = Suspicion::default().judge(&error(remedy), rows, Instant::now());
                assert_eq!(judged, Judgement::Refused);
            }
        }
    }

    #[test]
    fn an_unknown_answer_is_tried_a_few_times_and_for_a_while() {
        let start = Instant::now();
        let unknown = error(Remedy::Unclassified);
        for rows in [Rows::One, Rows::Many] {
            let mut suspicion = Suspicion::default();
            for ms in [0, 100, 300, 700, 1999] {
                assert_eq!(
                    suspicion.judge(&unknown, rows, at(start, ms)),
                    Judgement::Again
                );
            }
            let judged = suspicion.judge(&unknown, rows, at(start, 2000));
            assert_eq!(judged, Judgement::RefusedIfThere);
            let mut suspicion = Suspicion::default();
            assert_eq!(suspicion.judge(&unknown, rows, start), Judgement::Again);
            // Two slow answers are not three.
            assert_eq!(
                suspicion.judge(&unknown, rows, at(start, 9000)),
                Judgement::Again
            );
        }
        let mut suspicion = Suspicion::default();
        assert_eq!(
            suspicion.judge(&unknown, Rows::Half, start),
            Judgement::RefusedIfThere
        );
        let mut suspicion = Suspicion::default();
        for ms in [0, 1000, 2000, 59_000] {
            let judged = suspicion.judge(&unknown, Rows::Unsplit, at(start, ms));
            assert_eq!(judged, Judgement::Again);
        }
    }

    #[test]
    fn what_passes_by_itself_is_waited_for() {
        let start = Instant::now();
        let mut suspicion = Suspicion::default();
        for s in 0..100 {
            let judged = suspicion.judge(
                &error(Remedy::Retry("network")),
                Rows::Many,
                at(start, s * 1000),
            );
            assert_eq!(judged, Judgement::Again);
        }
        // It also shows that the rows were not the reason until then.
        assert_eq!(
            suspicion.judge(&error(Remedy::Unclassified), Rows::Many, at(start, 100_000)),
            Judgement::Again
        );
    }

    #[test]
    fn a_memory_limit_of_one_statement_splits_many_rows_and_waits_with_one() {
        let start = Instant::now();
        let of_query = InsertError {
            code: Some(241),
            message: "Code: 241. DB::Exception: Memory limit (for query) exceeded".to_owned(),
            remedy: Remedy::Retry("memory"),
        };
        let judged = |rows| {
            let mut suspicion = Suspicion::default();
            let all = [0, 1000, 3000].map(|ms| suspicion.judge(&of_query, rows, at(start, ms)));
            all[2]
        };
        assert_eq!(judged(Rows::Many), Judgement::RefusedIfThere);
        assert_eq!(judged(Rows::One), Judgement::Again);
        assert_eq!(judged(Rows::Unsplit), Judgement::Again);
    }

    #[test]
    fn single_rows_are_at_fault_while_the_table_takes_others() {
        let refusals = Refusals::default();
        let since = Instant::now();
        let unknown = error(Remedy::Unclassified);
        refusals.taken("a", since);
        for _ in 0..1000 {
            assert!(refusals.judge("a", &unknown, since).is_ok());
            refusals.taken("a", since);
        }
        for _ in 0..LONE_MAX_BESIDE {
            assert!(refusals.judge("a", &unknown, since).is_ok());
        }
        assert!(refusals.judge("a", &unknown, since).is_err());
        refusals.taken("a", since);
        // Another table says nothing about this one, and neither does what came before.
        let later = since + Duration::from_secs(1);
        for n in 1..=LONE_MAX {
            assert!(refusals.judge("a", &unknown, later).is_ok(), "{n}");
            assert!(refusals.judge("b", &unknown, since).is_ok(), "{n}");
        }
        for table in ["a", "b"] {
            let halt = refusals.judge(table, &unknown, later).unwrap_err();
            assert_eq!(halt.reason, "rejected");
            assert!(halt.advice.contains("4711"), "{halt}");
        }
        refusals.taken("b", later);
        assert!(refusals.judge("b", &unknown, later).is_ok());
        let too_large = refusals.judge("a", &error(Remedy::TooLarge), later);
        assert!(
            too_large
                .unwrap_err()
                .advice
                .contains("client_max_body_size")
        );
    }

    #[test]
    fn a_value_that_its_column_refuses_is_always_at_fault() {
        let refusals = Refusals::default();
        for _ in 0..1000 {
            let judged = refusals.judge("a", &error(Remedy::Split), Instant::now());
            assert!(judged.is_ok());
        }
    }
}
