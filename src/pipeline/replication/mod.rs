//! Change records → the rows of replicas.
//!
//! Each topic goes to a table of its own. A record is read by the columns of its table (`topic`); the
//! tables are found, made and altered beside the lanes (`replicas`), and a record that needs it waits.
//! Which change of a row counts is decided by `_version`, the record's place in its partition, so a record
//! that is read again does no harm. The rules are contract §6.2.

mod replica;
mod replicas;
mod topic;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use self::replicas::{ColumnFacts, Replicas, ReplicasParts};
use self::topic::{Made, Rows, Topic};
use super::input::Input;
use super::recompute::Change;
use crate::batch::{KeyedRow, OpenBatch};
use crate::config::{Cdc, Truncate};
use crate::decode::Reason;
use crate::halt::Halt;
use crate::lane::{
    Accepted, After, BlockingTask, Finding, NotAccepted, Operator, RecordRows, Refusal, TableNames,
    TableRules, Versions,
};
use crate::sink::Target;
use crate::source::{Record, TopicPartition};

/// What one lane keeps for its rows.
pub(crate) struct ReplicationOperator {
    config: Arc<Cdc>,
    replicas: Arc<Replicas>,
    /// None: records are read as they arrive.
    input: Option<Box<Input>>,
    topics: Vec<Topic>,
    numbers: HashMap<Arc<str>, usize>,
    rows: Rows,
}

/// What is kept for one partition.
#[derive(Debug)]
pub(crate) struct PartitionState {
    topic: usize,
    /// The offset of the truncation that was started last.
    truncated: Option<i64>,
}

impl ReplicationOperator {
    pub(crate) fn new(config: Arc<Cdc>, replicas: Arc<Replicas>) -> Self {
        ReplicationOperator {
            config,
            replicas,
            input: None,
            topics: vec![],
            numbers: HashMap::new(),
            rows: Rows::default(),
        }
    }

    /// The same for records that are not read as they arrive.
    pub(crate) fn with_input(self, input: Option<Box<Input>>) -> Self {
        ReplicationOperator { input, ..self }
    }

    /// The version of a record's rows.
    pub(crate) fn version_of(&self, record: Record<'_>) -> u64 {
        Topic::version_of(&self.config, record)
    }

    /// The key of a row of the chunk, in RowBinary.
    pub(crate) fn key_of(&self, row: usize) -> &[u8] {
        let made = &self.rows.rows[row];
        &self.rows.bytes[made.start..made.start + made.key_len]
    }

    /// Whether a record says that the source emptied its table; `None`: it cannot be told as long as its schema
    /// is not known. One that is damaged says nothing, to the daemon neither.
    pub(crate) fn truncates(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Option<bool> {
        let state = self.begin(partition);
        let topic = &mut self.topics[state.topic];
        let (replicas, config) = (&self.replicas, &self.config);
        match &mut self.input {
            None => Some(topic.truncates(record, replicas, config)),
            Some(input) => match input.open(record) {
                Ok(opening) => {
                    let record = opening.record().ok();
                    Some(record.is_some_and(|record| topic.truncates(record, replicas, config)))
                }
                Err(NotAccepted::Refused(refusal))
                    if refusal.reject.reason != Reason::UnknownSchema =>
                {
                    Some(false)
                }
                Err(_) => None,
            },
        }
    }

    /// The topic's table was looked for in vain: what only deletes rows of it makes no row.
    pub(crate) fn note_missing_table(&self, topic: &str) {
        self.replicas.note_missing(topic);
    }

    /// Whether a record waits for its table to be made, and for nothing else.
    pub(crate) fn opens_table(&self, task: &BlockingTask, topic: &str) -> bool {
        task.what == self.replicas.task_of_table(topic)
    }

    /// A row of the chunk as it would be written.
    pub(crate) fn change(&self, row: usize) -> Option<Change<'_>> {
        let made = self.rows.rows.get(row)?;
        let bytes = &self.rows.bytes[made.start..made.end];
        let (key, rest) = bytes.split_at_checked(made.key_len)?;
        Some(Change {
            key,
            version: u64::from_le_bytes(rest.get(..8)?.try_into().ok()?),
            is_deleted: *rest.get(8)? != 0,
            row: made.gaps.is_none().then_some(bytes),
        })
    }

    fn truncate(
        &self,
        state: &mut PartitionState,
        name: &str,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let table = self.replicas.label(name);
        let pass_by = format!(
            "pass this record by (pipeline.dead_letter.skip = [\"{name}:{}:{}\"])",
            record.partition(),
            record.offset()
        );
        let has_one_partition = self.replicas.partitions(name) == Some(1);
        match self.config.truncate {
            Truncate::Ignore => Ok(Accepted::Dropped("truncate")),
            Truncate::Halt => Err(halted_by_truncation(truncation_to_repeat(
                &table,
                &pass_by,
                has_one_partition,
            ))),
            Truncate::Apply if self.config.shares_table(name) => {
                Err(halted_by_truncation(format!(
                    "the source emptied the table behind {table}, which other topics share, so nobody can \
                     tell which rows are meant: delete them by hand, {pass_by} and start again"
                )))
            }
            Truncate::Apply if !has_one_partition => Err(halted_by_truncation(format!(
                "the source emptied the table behind {table}, and the topic has more than one \
                 partition, so nobody can tell which rows came before: empty {table} by hand, \
                 {pass_by}, start again {SNAPSHOT} (a connector can write the topic with one partition)"
            ))),
            Truncate::Apply if state.truncated == Some(record.offset()) => {
                Ok(Accepted::Dropped("truncate"))
            }
            Truncate::Apply => {
                state.truncated = Some(record.offset());
                let version = Topic::version_of(&self.config, record);
                let replicas = self.replicas.clone();
                Err(NotAccepted::Later(replicas.truncate(name, version)))
            }
        }
    }
}

/// What a table that was emptied by hand may lack where records of several partitions have no order.
const SNAPSHOT: &str = "and have the connector take a new snapshot of the table: rows of the other partitions \
                        that came after may be written already, and would be gone";

/// What to do about a truncation that is not applied.
fn truncation_to_repeat(table: &str, pass_by: &str, has_one_partition: bool) -> String {
    let begin = format!("the source emptied the table behind {table}");
    if has_one_partition {
        return format!(
            "{begin}: empty it too and {pass_by}, or set pipeline.truncate = \"apply\" or \"ignore\", then \
             start again"
        );
    }
    format!(
        "{begin}, and the topic has more than one partition: empty it too and {pass_by}, start again \
         {SNAPSHOT}; or set pipeline.truncate = \"ignore\" and start again"
    )
}

/// Rows of before would come back after the table was emptied by hand if they were read again, so
/// everything is committed first.
fn halted_by_truncation(advice: String) -> NotAccepted {
    halted_behind(Halt::new("truncate", advice))
}

/// The pipeline halts at this record, once everything before it is written and committed.
fn halted_behind(halt: Halt) -> NotAccepted {
    NotAccepted::Later(BlockingTask {
        what: "record that an operator has to deal with".to_owned(),
        after: After::Commit,
        task: Box::pin(async { Err(halt) }),
    })
}

impl ReplicationOperator {
    /// One row of the chunk in RowBinary, without what a table may have for values that were left out.
    pub(crate) fn row(&self, index: usize) -> (&Arc<Target>, &[u8]) {
        let made = &self.rows.rows[index];
        let bytes = &self.rows.bytes[made.start..made.end];
        (&made.replica.target, bytes)
    }
}

impl Operator for ReplicationOperator {
    type Partition = PartitionState;
    type Rows = Self;

    fn table_names(&self) -> TableNames {
        let replicas = self.replicas.clone();
        Arc::new(move |topic| replicas.label(topic))
    }

    fn begin(&mut self, partition: &TopicPartition) -> PartitionState {
        let name = &partition.topic;
        let topic = match self.numbers.get(name) {
            Some(&number) => number,
            None => {
                self.topics.push(Topic::new(name, &self.config));
                self.numbers.insert(name.clone(), self.topics.len() - 1);
                self.topics.len() - 1
            }
        };
        PartitionState {
            topic,
            truncated: None,
        }
    }

    fn accept(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let topic = &mut self.topics[state.topic];
        let (replicas, config) = (&self.replicas, &self.config);
        let made = match &mut self.input {
            None => topic.read(record, replicas, config, &mut self.rows)?,
            Some(input) => match input.open(record)?.record() {
                Ok(record) => topic.read(record, replicas, config, &mut self.rows)?,
                Err(rule) => Made::Dropped(rule),
            },
        };
        match made {
            Made::Rows(rows) => Ok(Accepted::Rows(rows)),
            Made::Dropped(reason) => Ok(Accepted::Dropped(reason)),
            Made::Truncated => self.truncate(state, record.topic(), record),
        }
    }

    /// Records are decided one by one when they are accepted.
    fn judge(&mut self, _state: &mut PartitionState) -> Vec<(usize, Refusal)> {
        vec![]
    }

    fn clear(&mut self, now_ms: u64) {
        if let Some(input) = &mut self.input {
            input.clear(now_ms);
        }
        self.rows.rows.clear();
        self.rows.bytes.clear();
        // One huge record must not keep its room for ever.
        if self.rows.bytes.capacity() > 8 << 20 {
            self.rows.bytes.shrink_to(1 << 20);
        }
    }

    fn memory_bytes(&self) -> usize {
        let input = self.input.as_ref().map_or(0, |input| input.memory_bytes());
        self.rows.bytes.capacity() + input
    }

    fn rows(&mut self) -> Option<&mut Self> {
        Some(self)
    }

    fn versions(&self) -> Option<&dyn Versions> {
        Some(self)
    }
}

impl RecordRows for ReplicationOperator {
    fn target(&self, row: usize) -> &Arc<Target> {
        &self.rows.rows[row].replica.target
    }

    fn push(&self, row: usize, offset: i64, batch: &mut OpenBatch) {
        let made = &self.rows.rows[row];
        let bytes = &self.rows.bytes[made.start..made.end];
        let key_len = made.key_len;
        let gaps = made.gaps.as_deref();
        let keyed = KeyedRow {
            bytes,
            key_len,
            gaps,
        };
        batch.push_keyed(&made.replica.target, offset, keyed);
    }

    fn altered(&mut self, table: &str) {
        self.replicas.forget(table);
    }
}

impl Versions for ReplicationOperator {
    fn highest_epoch(&self) -> u16 {
        let epochs = self.config.version_epochs.iter().map(|epoch| epoch.epoch);
        epochs.max().unwrap_or(0)
    }

    fn find_table(&self, topic: &str) -> Finding {
        let (replicas, topic) = (self.replicas.clone(), topic.to_owned());
        Box::pin(async move {
            if replicas.of(&topic).is_none() {
                replicas.look(&topic).await?;
            }
            Ok(replicas.of(&topic).map(|replica| replica.target.clone()))
        })
    }

    fn table_rules(&self, topic: &str) -> TableRules {
        let mapping = self.config.tables.get(topic);
        TableRules {
            accepts_empty: mapping.is_some_and(|mapping| mapping.accept_empty),
            is_shared: mapping.is_some_and(|mapping| mapping.shared),
        }
    }

    fn note_partitions(&self, topic: &str, count: usize) {
        self.replicas.set_partitions(topic, count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_behind_several_partitions_needs_a_snapshot_once_it_was_emptied() {
        for has_one_partition in [true, false] {
            let advice = truncation_to_repeat("db.t", "pass it by", has_one_partition);
            let wants = |text| advice.contains(text);
            assert!(wants("db.t") && wants("pass it by"), "{advice}");
            assert_eq!(wants("\"apply\""), has_one_partition, "{advice}");
            assert_eq!(wants("new snapshot"), !has_one_partition, "{advice}");
        }
    }
}
