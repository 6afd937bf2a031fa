//! Rules about records: which ones a record fails, what becomes of it, and what share of records passes.

mod columns;
mod judged;
mod tally;
mod window;

pub(crate) use self::columns::{QualityColumn, QualityColumns};
pub(crate) use self::judged::{Fate, Judged, ReadyRules};
pub(crate) use self::tally::Tally;

/// The metric label of records that a rule drops.
pub(crate) const DROPPED: &str = "rule_failed";
