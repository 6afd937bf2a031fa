//! What a pipeline kind does with records. The lane does everything else.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use crate::batch::{Messages, OpenBatch};
use crate::decode::Reject;
use crate::halt::Halt;
use crate::lookup::Found;
use crate::operator::Unreadable;
use crate::progress::{CommitPoint, Frontier};
use crate::sink::{Stage, Target};
use crate::source::{Record, TopicPartition};

/// Why a record becomes a dead letter, and where that was found out.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) stage: Stage,
    pub(crate) reject: Reject,
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// So many rows of the chunk are its.
    Rows(usize),
    /// It makes no row, by a rule: the reason is a metric label.
    Dropped(&'static str),
}

/// Why a record makes no row yet, or never.
#[derive(Debug)]
pub(crate) enum NotAccepted {
    /// It can never be written.
    Refused(Refusal),
    /// Something must be done first; then it is judged again.
    Later(Errand),
    /// Only an operator can go on.
    Halted(Halt),
}

impl From<Halt> for NotAccepted {
    fn from(halt: Halt) -> Self {
        NotAccepted::Halted(halt)
    }
}

impl From<Refusal> for NotAccepted {
    fn from(refusal: Refusal) -> Self {
        NotAccepted::Refused(refusal)
    }
}

/// What is to be done before the next record of a partition can be judged, by a task of its own. It
/// waits as long as it must; the partition is not read meanwhile, the others are.
pub(crate) struct Errand {
    /// For people.
    pub(crate) what: String,
    /// What has to happen first.
    pub(crate) after: After,
    /// What it finds out is kept where the operator looks for it.
    pub(crate) task: BoxFuture<'static, Result<(), Halt>>,
}

/// What has to have become of everything before the record that an errand is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    Writes,
    /// Written and committed: nobody will read it again.
    Commit,
}

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Errand").field("what", &self.what).finish()
    }
}

/// A look at a table: the one in which versions decide, if it is there, or what is wrong with it.
pub(crate) type Finding =
    Pin<Box<dyn Future<Output = Result<Option<Arc<Target>>, NotFound>> + Send>>;

/// Why a table was not found.
#[derive(Debug)]
pub(crate) enum NotFound {
    /// The server does not tell of it now.
    Later(String),
    Never(Halt),
}

impl From<Halt> for NotFound {
    fn from(halt: Halt) -> Self {
        NotFound::Never(halt)
    }
}

/// `database.table` of topics.
pub(crate) type TableNames = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// What an operator remembers, and how far back it reaches.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    /// The rules by which state comes about: under others a snapshot means nothing.
    pub(crate) fingerprint: String,
    /// Records older than this leave no trace in the state.
    pub(crate) horizon: Duration,
}

/// Where rows of many records go, and how many.
#[derive(Debug)]
pub(crate) struct Emit<'b> {
    pub(crate) batch: &'b mut OpenBatch,
    /// Where they go by transactions.
    pub(crate) messages: &'b mut Messages,
    /// Those that are not due yet too: nothing more will come.
    pub(crate) all: bool,
    pub(crate) rows_max: usize,
    pub(crate) bytes_max: usize,
}

/// Decides about records one chunk at a time: every record is accepted into the chunk or refused,
/// then what the chunk still needs is looked up, then its rows are taken out in order.
pub(crate) trait Operator: Send + 'static {
    /// What is kept for each partition as long as it is held.
    type Partition: Send;

    /// Whether rows are appended, so that a range must be named before it is written to arrive once.
    /// Where versions decide, a range may be written again.
    fn appends(&self) -> bool;

    /// `database.table` that the rows of each topic go to.
    fn table_names(&self) -> TableNames;

    /// The same of one topic.
    fn table_of(&self, topic: &str) -> String {
        (self.table_names())(topic)
    }

    /// The table whose rows tell which record each came from; `None` where they do not.
    fn traceable(&self) -> Option<Arc<Target>>;

    /// The highest of the epochs that versions are of; `None` where rows have none.
    fn version_epoch(&self) -> Option<u16>;

    /// Looks for the table in which versions decide about the rows of a topic, where there is one.
    fn find_table(&self, _topic: &str) -> Option<Finding> {
        None
    }

    /// How many partitions a topic has, told before one of them begins.
    fn note_partitions(&mut self, topic: &str, count: usize);

    /// The topic whose number of partitions is asked for now and then, and told by
    /// [`Operator::note_partitions`].
    fn counts_partitions_of(&self) -> Option<&str> {
        None
    }

    /// Goes by the number of partitions told last. True where it went by another: what was judged since is
    /// to be judged again.
    ///
    /// # Errors
    /// What is in memory is of so many partitions as there were.
    fn adopt_partitions(&mut self) -> Result<bool, Halt> {
        Ok(false)
    }

    /// The state of a partition that was just given to us.
    fn begin(&mut self, partition: &TopicPartition) -> Self::Partition;

    /// What of a partition's state outlives its owner; `None`: there is nothing worth keeping.
    fn memory(&self) -> Option<Memory>;

    /// Appends the state as bytes.
    fn save(&self, state: &Self::Partition, out: Vec<u8>) -> Vec<u8>;

    /// The state that [`Operator::save`] wrote under the same rules.
    ///
    /// # Errors
    /// The bytes are not such a state.
    fn restore(
        &mut self,
        partition: &TopicPartition,
        saved: &[u8],
    ) -> Result<Self::Partition, Unreadable>;

    /// As [`Operator::accept`] for a record whose row was made before: it is judged for what it does
    /// to the state alone.
    fn replay(&mut self, state: &mut Self::Partition, record: Record<'_>);

    /// Decodes one record and adds its rows to the chunk.
    ///
    /// # Errors
    /// The record makes no row, or not yet; it has left no trace in the chunk or the state.
    fn accept(
        &mut self,
        state: &mut Self::Partition,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted>;

    /// Holds what was accepted and replayed since the last call, all of one partition, against its
    /// state, in the order of the calls. Done for many at once, because each look into the state
    /// waits for memory. Returns the few that cannot be written after all, whose rows are gone from
    /// the chunk, by their number among those accepted.
    fn judge(&mut self, state: &mut Self::Partition) -> Vec<(usize, Refusal)>;

    /// Keys that the chunk's rows need and nobody has asked for yet; empty when it is complete.
    /// What is asked for here must be answered by [`Operator::found`] or [`Operator::unavailable`]
    /// before rows are taken. Asked of every chunk before its first row is taken.
    fn wanted(&mut self, now_ms: u64) -> Vec<Vec<u8>>;

    /// The answers to [`Operator::wanted`], in its order.
    fn found(&mut self, found: Vec<Found>, now_ms: u64);

    /// There will be no answer: the rows take their defaults.
    fn unavailable(&mut self);

    /// The table that a row of the chunk goes to.
    fn target(&self, row: usize) -> &Arc<Target>;

    /// The table that records are judged for: also those that make no row, because a value does not fit, may
    /// make one when the table is altered. `None`: their judgement is final.
    fn judges_for(&self) -> Option<&Arc<Target>> {
        None
    }

    /// Puts a row of the chunk into its partition's batch.
    fn push(&self, row: usize, offset: i64, batch: &mut OpenBatch);

    /// A table has other columns than it had: what is known of it is out of date.
    fn altered(&mut self, table: &str);

    /// Forgets the chunk.
    fn clear(&mut self, now_ms: u64);

    /// Lets go of state that no record can reach any more; called about once a second.
    fn tidy(&self, state: &mut Self::Partition);

    /// Whether it makes rows of many records, which are asked for by [`Operator::emit`].
    fn emits(&self) -> bool {
        false
    }

    /// Behind the last record of a partition that said what time it is, where the silence of partitions
    /// matters; others do not end it. `seen_to`: how far it was read.
    fn spoken_to(&self, _state: &Self::Partition, seen_to: i64) -> i64 {
        seen_to
    }

    /// Whether its partitions begin and end together, because they make rows together.
    fn is_whole(&self) -> bool {
        false
    }

    /// Whether one member reads all partitions, and the others none.
    fn has_one_reader(&self) -> bool {
        false
    }

    /// Whether records of a topic that were read before may be gone from its log when they are read again:
    /// what the topic has forgotten is forgotten.
    fn may_forget(&self, _topic: &str) -> bool {
        false
    }

    /// Looks at the partitions that were assigned, before they begin.
    ///
    /// # Errors
    /// They make no rows together.
    fn check_assignment(&self, _partitions: &[TopicPartition]) -> Result<(), Halt> {
        Ok(())
    }

    /// Whether a partition is to wait for another one, which is behind. `None`: when memory is tight, those
    /// wait that are ahead of the slowest that has something to read. `is_held`: it waits already.
    fn waits(&self, _state: &Self::Partition, _is_held: bool, _is_tight: bool) -> Option<bool> {
        None
    }

    /// A partition begins to be read at `position`, where a commit said this; the log ends at `log_end`.
    ///
    /// # Errors
    /// Nobody can go on from there.
    fn resume(
        &mut self,
        _state: &mut Self::Partition,
        _position: i64,
        _frontier: Option<Frontier>,
        _log_end: i64,
    ) -> Result<(), Halt> {
        Ok(())
    }

    /// A partition is not ours any more, or will begin anew.
    fn ended(&mut self, _state: &mut Self::Partition) {}

    /// How long a partition has been read to its end without a record; `None`: there is something to
    /// read, or it is not read. `seen_to`: how far it has been read, gaps of the log included.
    fn note_silence(
        &mut self,
        _state: &Self::Partition,
        _quiet_for: Option<Duration>,
        _seen_to: i64,
    ) {
    }

    /// Puts rows that are due into a batch; false when there are more of them.
    fn emit(&mut self, _emit: Emit<'_>) -> bool {
        true
    }

    /// Everything that was emitted is durable.
    fn emitted(&mut self) {}

    /// Why nothing more can be emitted, if that is so.
    fn failed(&mut self) -> Option<Halt> {
        None
    }

    /// What is left open when everything was read, for people.
    fn unfinished(&self) -> Option<String> {
        None
    }

    /// Where a partition may be committed whose records below `settled` are done with; `None`: there.
    fn commit_point(&mut self, _state: &Self::Partition, _settled: i64) -> Option<CommitPoint> {
        None
    }

    /// Event time up to which the partition is believed complete.
    fn watermark_ms(&self, state: &Self::Partition) -> Option<i64>;

    /// What the partition's state takes of the process's memory.
    fn state_bytes(&self, state: &Self::Partition) -> usize;

    /// What the operator itself takes: caches, the chunk.
    fn memory_bytes(&self) -> usize;
}
