//! Rules about records: which ones a record fails, what becomes of it, and what share of records passes.

mod columns;
mod dedup;
mod judged;
mod tally;
mod window;

use crate::decode::{Reason, Reject};

pub(crate) use self::columns::{QualityColumn, QualityColumns};
pub(crate) use self::dedup::{DedupPlan, dedup_key};
pub(crate) use self::judged::{Fate, Judged, ReadyRules};
pub(crate) use self::tally::Tally;

/// The metric label of duplicates that are dropped.
pub(crate) const DUPLICATE: &str = "duplicate";
/// The metric label of records that a rule drops.
pub(crate) const DROPPED: &str = "rule_failed";

/// What more is known of a duplicate.
pub(crate) const WHY_DUPLICATE: &str =
    "an earlier record of its partition has the key of pipeline.dedup";

/// Why a duplicate is a dead letter.
pub(crate) fn duplicate() -> Reject {
    Reject::new(Reason::Duplicate, WHY_DUPLICATE)
}
