//! The share of records that cannot be written, over the last 10,000.

use std::collections::VecDeque;
use std::sync::Mutex;

/// Why a pipeline halts that judges so.
pub(super) const HALT_REASON: &str = "dead_letter_ratio";

const RECORDS: u64 = 10_000;
const JUDGED_FROM: u64 = 1_000;

/// Shared by the lanes of one pipeline; touched once a chunk.
#[derive(Debug, Default)]
pub(crate) struct DeadLetterRatio(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    chunks: VecDeque<Seen>,
    total: Seen,
}

/// Records and the dead letters among them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) records: u64,
    pub(crate) dead_letters: u64,
}

impl DeadLetterRatio {
    /// Counts one chunk, and forgets chunks that lie before the last 10,000 records.
    pub(crate) fn note(&self, records: u64, dead_letters: u64) {
        if records == 0 {
            return;
        }
        let mut window = self.0.lock().expect("no holder of this lock panics");
        window.chunks.push_back(Seen {
            records,
            dead_letters,
        });
        window.total.records += records;
        window.total.dead_letters += dead_letters;
        while let Some(oldest) = window.chunks.front().copied() {
            if window.total.records - oldest.records < RECORDS {
                break;
            }
            window.total.records -= oldest.records;
            window.total.dead_letters -= oldest.dead_letters;
            window.chunks.pop_front();
        }
    }

    /// Counts dead letters among records that were counted before as rows.
    pub(crate) fn note_later(&self, dead_letters: u64) {
        let mut window = self.0.lock().expect("no holder of this lock panics");
        let Some(newest) = window.chunks.back_mut() else {
            drop(window);
            return self.note(dead_letters, dead_letters);
        };
        newest.dead_letters += dead_letters;
        window.total.dead_letters += dead_letters;
    }

    /// `Err` when more than `ratio_max` of the window could not be written.
    pub(crate) fn judge(&self, ratio_max: f64) -> Result<(), Seen> {
        let total = self.0.lock().expect("no holder of this lock panics").total;
        let is_judged = total.records >= JUDGED_FROM;
        let too_many = total.dead_letters as f64 > ratio_max * total.records as f64;
        if is_judged && too_many {
            Err(total)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_judged_from_a_thousand_records_on() {
        let ratio = DeadLetterRatio::default();
        ratio.note(999, 999);
        assert!(ratio.judge(0.1).is_ok());
        ratio.note(1, 1);
        assert_eq!(
            ratio.judge(0.1),
            Err(Seen {
                records: 1000,
                dead_letters: 1000
            })
        );
        assert!(ratio.judge(1.0).is_ok());
    }

    #[test]
    fn rows_that_are_refused_later_are_not_counted_as_records_again() {
        let ratio = DeadLetterRatio::default();
        ratio.note_later(5);
        ratio.note(995, 0);
        assert!(ratio.judge(0.1).is_ok());
        for _ in 0..95 {
            ratio.note_later(1);
        }
        assert!(ratio.judge(0.1).is_ok());
        ratio.note_later(1);
        assert_eq!(
            ratio.judge(0.1),
            Err(Seen {
                records: 1000,
                dead_letters: 101
            })
        );
        // They are forgotten with the chunk they were counted in.
        for _ in 0..10 {
            ratio.note(1000, 0);
        }
        assert!(ratio.judge(0.0).is_ok());
    }

    #[test]
    fn chunks_before_the_last_ten_thousand_records_are_forgotten() {
        let ratio = DeadLetterRatio::default();
        ratio.note(1000, 500);
        assert!(ratio.judge(0.1).is_err());
        for _ in 0..9 {
            ratio.note(1000, 0);
        }
        assert!(ratio.judge(0.1).is_ok());
        ratio.note(1000, 0);
        assert!(ratio.judge(0.0).is_ok());
    }
}
