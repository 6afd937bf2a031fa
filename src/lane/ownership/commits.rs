//! What of a partition is committed.

use std::time::{Duration, Instant};

use super::ages::Ages;
use super::complete::Complete;
use crate::progress::{CommitPoint, Epoch, Layout};

/// Offsets of an idle group expire after a week by default.
const COMMIT_AGAIN_AFTER: Duration = Duration::from_secs(3600);

/// The last commit of a partition, and what the next one will say.
#[derive(Debug)]
pub(in super::super) struct Commits {
    /// The committed offset, if there is one that stands.
    pub(in super::super) position: Option<i64>,
    /// Where the partition began: what counts as committed until something is.
    pub(in super::super) began_at: i64,
    pub(in super::super) at: Instant,
    /// How old what was read and is not committed is.
    pub(in super::super) ages: Ages,
    /// Up to which event time what is committed is complete.
    pub(in super::super) complete: Complete,
    /// The broker has refused the last commit. The next one is not sent before this.
    pub(in super::super) not_before: Instant,
    /// Where rows are made of many records: up to where the partition may be committed.
    pub(in super::super) point: Option<CommitPoint>,
    /// The same as of the last commit.
    pub(in super::super) last_point: Option<CommitPoint>,
    /// In the metadata of each commit and in the tokens of inserts.
    pub(in super::super) epoch: Epoch,
    /// Counts the commits.
    pub(super) counter: u64,
    /// The topic's id when the partition began.
    pub(in super::super) topic_id: String,
    /// `database.table`.
    pub(in super::super) table: String,
    /// Where versions count: what they rest on.
    pub(in super::super) layout: Option<Layout>,
    /// Where versions count: the offset from which records have made rows, as far as is known.
    pub(super) rows_from: Option<i64>,
}

impl Commits {
    /// The first offset that a new owner would read.
    pub(in super::super) fn committed(&self) -> i64 {
        self.position.unwrap_or(self.began_at)
    }

    /// Whether the last commit is so old that the broker might forget it.
    pub(in super::super) fn is_long_ago(&self, now: Instant) -> bool {
        now.duration_since(self.at) > COMMIT_AGAIN_AFTER
    }
}
