//! Records → rows that have every byte of them.
//!
//! Nothing in a record is read, so every record makes a row: its columns take what Kafka says of it. What
//! tells a row's record is in the columns of topic, partition and offset, whatever they are called.

mod current;
mod plan;

use std::sync::Arc;

pub(crate) use self::current::CurrentRawRows;
pub(crate) use self::plan::RawPlan;
use super::record_column::{Origin, RecordPlace};
use super::start::{NotStarted, Starter};
use super::{Common, CommonParts, Environment, clickhouse_client, consumers, label, run_lanes};
use crate::batch::OpenBatch;
use crate::config::{Delivery, Raw, State};
use crate::lane::{
    Accepted, After, Appends, BlockingTask, NotAccepted, Operator, RecordRows, Refusal, TableNames,
};
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{RowFormat, Stage, Target};
use crate::source::{Record, TopicPartition};

/// Rows that are held at once; records that wait for them are read again.
const CHUNK_BYTES_MAX: usize = 32 << 20;
/// Room that stays when the rows are gone.
const CHUNK_BYTES_KEPT: usize = 8 << 20;

/// Records as they are into one table.
pub(super) fn run(environment: &Environment, config: &Raw) -> Result<(), NotStarted> {
    let pipeline = &environment.pipeline;
    let starter = Starter::new(environment);
    let client = clickhouse_client(pipeline)?;
    let table = starter.table(&client, pipeline.delivery == Delivery::ExactlyOnce)?;
    let rows = Arc::new(CurrentRawRows::new(pipeline, config, table)?);
    let consumers = consumers(environment)?;
    let partitions = starter.topics(&consumers[0])?;
    starter.dead_letter_topic()?;
    let targets = starter.targets(&consumers[0], &partitions)?;
    let parts = CommonParts {
        client,
        targets,
        metrics: PipelineMetrics::new(&pipeline.name),
        output: None,
        transactions: None,
        rows: Some(rows.clone()),
        label: label(pipeline),
        moved_wait: std::time::Duration::ZERO,
        makes_tables: false,
        state: State::none(),
    };
    let common = Common::new(environment, parts)?;
    let lanes = common.lanes(environment, consumers, || rows.operator(), None)?;
    run_lanes(environment, lanes).map_err(NotStarted::Halted)
}

/// How rows are made for a table as it is.
#[derive(Debug, Clone)]
pub(crate) struct RawTable {
    pub(crate) plan: Arc<RawPlan>,
    pub(crate) target: Arc<Target>,
    /// Whether its rows say which record each came from.
    pub(crate) is_traceable: bool,
}

/// What one lane keeps for its rows.
pub(crate) struct RawOperator {
    table: RawTable,
    /// The chunk's rows, one behind the other.
    rows: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    /// Where to find how rows are made after the table was altered.
    current: Option<Arc<CurrentRawRows>>,
    /// The table was altered: the next chunk is made for it as it is now.
    is_outdated: bool,
}

impl RawOperator {
    pub(crate) fn new(table: RawTable, current: Option<Arc<CurrentRawRows>>) -> Self {
        RawOperator {
            table,
            rows: vec![],
            ends: vec![],
            current,
            is_outdated: false,
        }
    }

    /// One row of the chunk, encoded.
    pub(crate) fn row(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.rows[start..self.ends[index]]
    }

    /// The names of the columns that rows have, in order.
    pub(crate) fn names(&self) -> &[String] {
        self.table.plan.names()
    }

    /// Whether a byte before each value says whether the column's default takes its place.
    pub(crate) fn has_default_flags(&self) -> bool {
        self.table.plan.format() == RowFormat::ValuesOrDefaults
    }

    /// The row of a record, column by column, in RowBinary; `None`: the table's own default takes the place
    /// of the value.
    pub(crate) fn values(
        &self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Vec<Option<Vec<u8>>> {
        let place = RecordPlace::new(partition);
        self.table.plan.values(origin(&place, record))
    }

    /// From now on makes rows for the table as it is. The chunk must be empty: it was made for another.
    fn renew(&mut self) {
        if let Some(current) = self.current.take() {
            *self = current.operator();
        }
    }
}

fn origin<'r>(place: &'r RecordPlace, record: Record<'r>) -> Origin<'r> {
    Origin {
        place,
        record,
        element: 0,
    }
}

impl Operator for RawOperator {
    type Partition = RecordPlace;
    type Rows = Self;

    fn table_names(&self) -> TableNames {
        let target = self.table.target.clone();
        Arc::new(move |_| target.label.clone())
    }

    fn begin(&mut self, partition: &TopicPartition) -> RecordPlace {
        RecordPlace::new(partition)
    }

    fn accept(
        &mut self,
        place: &mut RecordPlace,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        if self.rows.len() >= CHUNK_BYTES_MAX {
            return Err(NotAccepted::Later(rows_first()));
        }
        let start = self.rows.len();
        let made = self
            .table
            .plan
            .encode(origin(place, record), &mut self.rows);
        if let Err(reject) = made {
            self.rows.truncate(start);
            let stage = Stage::Encode;
            return Err(Refusal { stage, reject }.into());
        }
        self.ends.push(self.rows.len());
        Ok(Accepted::Rows(1))
    }

    fn judge(&mut self, _place: &mut RecordPlace) -> Vec<(usize, Refusal)> {
        vec![]
    }

    fn clear(&mut self, _now_ms: u64) {
        self.rows.clear();
        self.ends.clear();
        // One huge record must not keep its room for ever.
        self.rows.shrink_to(CHUNK_BYTES_KEPT);
        if self.is_outdated {
            self.renew();
        }
    }

    fn memory_bytes(&self) -> usize {
        self.rows.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    fn rows(&mut self) -> Option<&mut Self> {
        Some(self)
    }

    fn appends(&self) -> Option<&dyn Appends> {
        Some(self)
    }
}

/// What is there goes into batches first.
#[cold]
fn rows_first() -> BlockingTask {
    BlockingTask {
        what: "rows of the records before".to_owned(),
        after: After::Nothing,
        task: Box::pin(std::future::ready(Ok(()))),
    }
}

impl RecordRows for RawOperator {
    fn target(&self, _row: usize) -> &Arc<Target> {
        &self.table.target
    }

    fn push(&self, row: usize, offset: i64, batch: &mut OpenBatch) {
        batch.push(&self.table.target, offset, [self.row(row)]);
    }

    fn altered(&mut self, _table: &str) {
        if self.ends.is_empty() {
            self.renew();
        } else {
            self.is_outdated = true;
        }
    }
}

impl Appends for RawOperator {
    fn target(&self) -> &Arc<Target> {
        &self.table.target
    }

    fn is_traceable(&self) -> bool {
        self.table.is_traceable
    }
}
