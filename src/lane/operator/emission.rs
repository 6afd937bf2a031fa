//! Rows that are made of many records: of windows, or of records that were joined.

use std::time::Duration;

use crate::batch::{Messages, OpenBatch};
use crate::halt::Halt;
use crate::progress::{CommitPoint, Frontier};
use crate::source::TopicPartition;

/// Where rows of many records go, and how many.
#[derive(Debug)]
pub(crate) struct Emit<'b> {
    pub(crate) batch: &'b mut OpenBatch,
    /// Where they go by transactions.
    pub(crate) messages: &'b mut Messages,
    /// Rows that are not due yet are wanted too, because no more records will come.
    pub(crate) all: bool,
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// Makes rows of many records. Records that open rows need are read again by the next owner, so a partition
/// is committed only up to the first of them.
pub(crate) trait Emission<P> {
    /// A partition begins to be read at `position`, where a commit said this; the log ends at `log_end`.
    ///
    /// # Errors
    /// Nobody can go on from there.
    fn resume(
        &mut self,
        state: &mut P,
        position: i64,
        frontier: Option<Frontier>,
        log_end: i64,
    ) -> Result<(), Halt>;

    /// A partition is not ours any more, or begins anew.
    fn ended(&mut self, state: &mut P);

    /// Offset behind the last record of a partition that had an event time. Other records do not end the
    /// partition's silence.
    fn spoken_to(&self, state: &P) -> i64;

    /// How long a partition has been read to its end without a record. `None`: there is something to read,
    /// or the partition is not read. `seen_to`: how far it was read, gaps of the log included.
    fn note_silence(&mut self, state: &P, quiet_for: Option<Duration>, seen_to: i64);

    /// Everything was read, and what another owner of the partition had closed by then is closed.
    fn close_through(&mut self, _state: &P, _through_ms: i64) {}

    /// Emits the rows that are due; false when there are more of them.
    ///
    /// # Errors
    /// Nothing more can be emitted.
    fn emit(&mut self, emit: Emit<'_>) -> Result<bool, Halt>;

    /// Where a partition may be committed whose records below `settled` are done with.
    fn commit_point(&mut self, state: &P, settled: i64) -> CommitPoint;

    /// Whether records of a topic that were read before may be gone from its log when they are read again:
    /// what the topic has forgotten is forgotten.
    fn may_forget(&self, topic: &str) -> bool;

    /// What is still open when everything was read, for people.
    fn unfinished(&self) -> Option<String>;
}

/// Rows go out in batches, and the operator keeps what they are made of until they are durable. Where rows
/// go by transactions, a transaction that fails begins everything anew instead.
pub(crate) trait Settling {
    /// Everything that was emitted is durable.
    fn emitted(&mut self);
}

/// Partitions make rows together, so they begin and end together.
pub(crate) enum Together<'a, P> {
    /// One member of the group reads all partitions, and the others none.
    OneReader,
    /// Partitions of equal number, one of each topic, are read by the same member.
    CoPartitioned(&'a dyn CoPartitioned<P>),
}

impl<P> Together<'_, P> {
    pub(crate) fn has_one_reader(&self) -> bool {
        matches!(self, Together::OneReader)
    }
}

/// See [`Together::CoPartitioned`].
pub(crate) trait CoPartitioned<P> {
    /// Looks at the partitions that were assigned, before they begin.
    ///
    /// # Errors
    /// A partition was assigned without its counterpart.
    fn check_assignment(&self, partitions: &[TopicPartition]) -> Result<(), Halt>;

    /// Whether a partition is to wait for its counterpart, which is behind. `is_held`: it waits already.
    fn waits(&self, state: &P, is_held: bool, is_tight: bool) -> bool;
}

/// Which key lies in which partition matters, and so how many partitions the topic has.
pub(crate) trait PartitionCount {
    /// The topic whose partitions are counted now and then.
    fn topic(&self) -> &str;

    /// The topic has this many partitions. Called before one of them begins, and after each count.
    fn note_partitions(&mut self, count: usize);

    /// Goes by the last count from now on. True if it was another before: what was judged since is to be
    /// judged again.
    ///
    /// # Errors
    /// What is in memory depends on the number that there was.
    fn adopt_partitions(&mut self) -> Result<bool, Halt>;
}
