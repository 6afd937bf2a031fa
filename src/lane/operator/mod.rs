//! A kind of pipeline, as the lane sees it: what it does with records, and the parts it has.
//!
//! Every kind takes records in ([`Operator`]). What else it is made of are parts, and the lane asks for a
//! part, never for a kind:
//!
//! | part | what it does | enrichment | cdc | aggregation | stream_join | raw |
//! |---|---|---|---|---|---|---|
//! | [`RecordRows`] | puts the rows of single records into batches | yes | yes | | | yes |
//! | [`Appends`] | its rows are appended, so a range needs a name to arrive once | yes | | | | yes |
//! | [`Lookups`] | asks for values by key before rows are complete | yes | | | | |
//! | [`Snapshots`] | its state outlives the owner of a partition | yes | | | | |
//! | [`TimedState`] | keeps state that follows event time | yes | | yes | yes | |
//! | [`Emission`] | makes rows of many records | | | yes | yes | |
//! | [`Settling`] | keeps what rows are made of until they are durable | | | yes | | |
//! | [`Together`] | its partitions begin and end together | | | yes | yes | |
//! | [`PartitionCount`] | its result depends on how many partitions a topic has | | | yes | | |
//! | [`Versions`] | the newest version of a row counts | | yes | | | |
//!
//! A kind implements the traits of its parts and overrides the methods that hand them out. Records are
//! decoded and put into batches by static calls; parts that are asked once a turn are trait objects.

mod blocking;
mod emission;
mod records;
mod state;
mod versions;

use std::sync::Arc;

pub(crate) use self::blocking::{After, BlockingTask};
pub(crate) use self::emission::{
    CoPartitioned, Emission, Emit, PartitionCount, Settling, Together,
};
pub(crate) use self::records::{
    Accepted, Appends, Lookups, NoRows, NotAccepted, RecordRows, Refusal,
};
pub(crate) use self::state::{SnapshotSpec, Snapshots, TimedState};
pub(crate) use self::versions::{Finding, NotFound, TableRules, Versions};
use crate::halt::Halt;
use crate::source::{Record, TopicPartition};

/// `database.table` of topics.
pub(crate) type TableNames = Arc<dyn Fn(&str) -> String + Send + Sync>;

/// Decides about records one chunk at a time. Each record is accepted into the chunk or refused, then what
/// the chunk still needs is looked up, then its rows are taken out in order.
pub(crate) trait Operator: Send + 'static {
    /// What is kept for each partition as long as it is held.
    type Partition: Send;
    /// The operator itself where it has the part, else [`NoRows`].
    type Rows: RecordRows;

    /// `database.table` that the rows of each topic go to.
    fn table_names(&self) -> TableNames;

    /// The same for one topic.
    fn table_of(&self, topic: &str) -> String {
        (self.table_names())(topic)
    }

    /// The empty state of a partition that was just assigned.
    fn begin(&mut self, partition: &TopicPartition) -> Self::Partition;

    /// Decodes one record and adds its rows to the chunk.
    ///
    /// # Errors
    /// The record makes no row, or not yet. It has left no trace in the chunk or the state.
    fn accept(
        &mut self,
        state: &mut Self::Partition,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted>;

    /// Compares what was accepted and replayed since the last call, all of one partition, with its state,
    /// in the order of the calls. Done for many records at once, because each look into the state waits for
    /// memory. Returns the few that cannot be written after all, by their number among those accepted; their
    /// rows are gone from the chunk.
    fn judge(&mut self, state: &mut Self::Partition) -> Vec<(usize, Refusal)>;

    /// Forgets the chunk.
    fn clear(&mut self, now_ms: u64);

    /// Why the pipeline cannot go on, by all that was judged so far. Asked once a chunk.
    fn halt(&self) -> Option<Halt> {
        None
    }

    /// Whether the records from here on were accepted before by a reader that counted them.
    fn note_counted(&mut self, _are_counted: bool) {}

    /// Time goes on, whether records come or not.
    fn note_time(&mut self, _now_ms: u64) {}

    /// What more is known of the record that was dropped last.
    fn why_dropped(&self) -> Option<String> {
        None
    }

    /// What the operator itself takes of the memory: caches and the chunk.
    fn memory_bytes(&self) -> usize;

    fn rows(&mut self) -> Option<&mut Self::Rows> {
        None
    }

    fn appends(&self) -> Option<&dyn Appends> {
        None
    }

    fn lookups(&mut self) -> Option<&mut dyn Lookups> {
        None
    }

    /// What snapshots of the state depend on. `Some` exactly where there is [`Operator::snapshots`].
    fn snapshot_spec(&self) -> Option<&SnapshotSpec> {
        None
    }

    fn snapshots(&mut self) -> Option<&mut dyn Snapshots<Self::Partition>> {
        None
    }

    fn timed_state(&self) -> Option<&dyn TimedState<Self::Partition>> {
        None
    }

    fn emission(&mut self) -> Option<&mut dyn Emission<Self::Partition>> {
        None
    }

    fn settling(&mut self) -> Option<&mut dyn Settling> {
        None
    }

    fn together(&self) -> Option<Together<'_, Self::Partition>> {
        None
    }

    fn partition_count(&mut self) -> Option<&mut dyn PartitionCount> {
        None
    }

    fn versions(&self) -> Option<&dyn Versions> {
        None
    }
}
