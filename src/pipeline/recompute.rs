//! What records become, computed again without writing anything.

use std::sync::Arc;

use super::replay::{ReplayError, Replayed, Replayer, Wanted, Way, is_unread};
use super::replication::ReplicationOperator;
use crate::lane::{Accepted, NotAccepted, NotFound, Operator as _, Versions};
use crate::sink::Target;
use crate::source::{Record, TopicPartition};

/// A row that a change makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change<'r> {
    /// In RowBinary.
    pub(crate) key: &'r [u8],
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
    /// Key, version, mark and the other columns; `None`: values are filled from an older row.
    pub(crate) row: Option<&'r [u8]>,
}

/// What a change record is to its table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// So many rows: see [`Replayer::change`].
    Rows(usize),
    /// It makes no row: a rule drops it, or it would be a dead letter.
    Nothing,
    /// What it does depends on more than itself.
    Unknown(String),
}

impl Replayer {
    /// Looks at the table of a topic; `None`: there is none yet.
    ///
    /// # Errors
    /// It cannot be read or written.
    pub(crate) async fn find_table(
        &mut self,
        topic: &str,
    ) -> Result<Option<Arc<Target>>, ReplayError> {
        let Replayer::Cdc(way) = self else {
            return Ok(None);
        };
        match Versions::find_table(&way.operator, topic).await {
            Ok(None) => {
                way.operator.note_missing_table(topic);
                Ok(None)
            }
            Ok(target) => Ok(target),
            Err(NotFound::Later(why)) => Err(ReplayError::Unreachable(why)),
            Err(NotFound::Never(halt)) => Err(halt.into()),
        }
    }

    /// Reads one change record; its rows are those of [`Replayer::change`] until the next call.
    pub(crate) fn read_change(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Changed {
        match self {
            Replayer::Cdc(way) => way.read_change(partition, record),
            Replayer::Enrichment(_) | Replayer::Raw(_) => Changed::Nothing,
        }
    }

    /// Whether a change record makes a row of a table that [`Replayer::find_table`] has not found.
    pub(crate) fn needs_table(&mut self, partition: &TopicPartition, record: Record<'_>) -> bool {
        match self {
            Replayer::Cdc(way) => way.needs_table(partition, record),
            Replayer::Enrichment(_) | Replayer::Raw(_) => false,
        }
    }

    /// One of the rows of the record that was read last.
    pub(crate) fn change(&self, row: usize) -> Option<Change<'_>> {
        match self {
            Replayer::Cdc(way) => way.operator.change(row),
            Replayer::Enrichment(_) | Replayer::Raw(_) => None,
        }
    }
}

impl Way<ReplicationOperator> {
    fn read_change(&mut self, partition: &TopicPartition, record: Record<'_>) -> Changed {
        self.operator.clear(0);
        let mut state = self.operator.begin(partition);
        match self.operator.accept(&mut state, record) {
            Ok(Accepted::Rows(rows)) => Changed::Rows(rows),
            Ok(Accepted::Dropped(_)) | Err(NotAccepted::Refused(_)) => Changed::Nothing,
            Err(NotAccepted::Halted(halt)) => Changed::Unknown(halt.advice),
            Err(NotAccepted::Later(first)) => Changed::Unknown(first.what),
        }
    }

    fn needs_table(&mut self, partition: &TopicPartition, record: Record<'_>) -> bool {
        self.operator.clear(0);
        let mut state = self.operator.begin(partition);
        match self.operator.accept(&mut state, record) {
            Err(NotAccepted::Later(first)) => self.operator.opens_table(&first, &partition.topic),
            _ => false,
        }
    }
}

impl Replayer {
    /// How many rows a record makes; none where it makes no row.
    ///
    /// # Errors
    /// What it takes to read the record cannot be had.
    pub(crate) async fn row_count(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Result<usize, ReplayError> {
        let Replayer::Enrichment(way) = self else {
            return Ok(0);
        };
        let mut state = way.operator.begin(partition);
        let made = way.accept(&mut state, partition, record, Wanted::Row).await;
        way.operator.judge(&mut state);
        way.operator.clear(0);
        Ok(made?.unwrap_or(0))
    }

    /// The names of the columns that a record alone fills, in the order of [`Replayer::values`].
    pub(crate) fn value_names(&self) -> Vec<String> {
        match self {
            Replayer::Enrichment(way) => way.operator.event_column_names(),
            Replayer::Cdc(_) => vec![],
            Replayer::Raw(operator) => operator.names().to_vec(),
        }
    }

    /// Hands the values of these columns to `each`: in RowBinary, `None` where the table's own default takes
    /// the place. A record that makes no row has none.
    ///
    /// # Errors
    /// What it takes to read the record cannot be had.
    pub(crate) async fn values(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
        each: impl FnOnce(&[Option<&[u8]>]),
    ) -> Result<(), ReplayError> {
        let way = match self {
            Replayer::Enrichment(way) => way,
            Replayer::Raw(operator) => {
                let values = operator.values(partition, record);
                let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
                each(&values);
                return Ok(());
            }
            Replayer::Cdc(_) => return Ok(()),
        };
        let mut state = way.operator.begin(partition);
        let accepted = way.accept(&mut state, partition, record, Wanted::Row).await;
        if matches!(accepted, Ok(Ok(_))) {
            each(&way.operator.event_values());
        }
        way.operator.judge(&mut state);
        way.operator.clear(0);
        match accepted? {
            Err(Replayed::Refused { reason, detail }) if is_unread(&reason) => {
                Err(ReplayError::Unreachable(detail))
            }
            _ => Ok(()),
        }
    }
}
