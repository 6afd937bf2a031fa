//! One topic's records → the rows of its table.

mod absent;
mod evolving;
mod making;
mod notes;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use self::evolving::Evolving;
use self::making::Making;
use self::notes::Notes;
use super::halted_behind;
use super::replica::Replica;
use super::replicas::{FirstRecord, Replicas, key_names, key_schema};
use crate::batch::Gaps;
use crate::config::Cdc;
use crate::crash::{Guarantee, is_broken};
use crate::debezium::{
    Change, Columns, Delete, Failure, KeyReader, Members, Row, RowReader, Schema,
};
use crate::decode::Reject;
use crate::decode::json::Raw;
use crate::halt::Halt;
use crate::lane::{NotAccepted, Refusal};
use crate::progress;
use crate::replica::Since;
use crate::sink::Stage;
use crate::source::Record;

/// What one lane keeps for a topic.
#[derive(Debug)]
pub(super) struct Topic {
    name: Arc<str>,
    replica: Option<Arc<Replica>>,
    /// Of [`Replicas`] when the replica was taken from it.
    generation: u64,
    rows: RowReader,
    keys: Option<KeyReader>,
    notes: Option<Notes>,
    /// Schema blocks that fit the table.
    fitting: Vec<u64>,
    /// By partition the key of the last row that was deleted, where keys do not name it themselves.
    deleted: HashMap<i32, Vec<u8>>,
    ignored: HashSet<String>,
    /// Columns of which was said that their fields are not there.
    missed: HashSet<String>,
    /// Columns of which was said that their fields come again, and that rows keep what they have.
    returned: HashSet<String>,
    /// Then versions order all records of the topic.
    has_one_partition: bool,
    key: Vec<u8>,
    other_key: Vec<u8>,
}

/// Rows of a chunk.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: Vec<MadeRow>,
}

/// Where a row of the chunk lies.
#[derive(Debug)]
pub(super) struct MadeRow {
    pub(super) key_len: usize,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) replica: Arc<Replica>,
    /// Few rows have any, and they would make up most of what is kept here of a row.
    pub(super) gaps: Option<Box<Gaps>>,
}

/// What a record becomes.
#[derive(Debug)]
pub(super) enum Made {
    Rows(usize),
    Dropped(&'static str),
    /// All rows are gone.
    Truncated,
}

impl Topic {
    pub(super) fn new(name: &Arc<str>, config: &Cdc) -> Topic {
        Topic {
            name: name.clone(),
            replica: None,
            generation: 0,
            rows: row_reader(Columns::new(), config),
            keys: None,
            notes: None,
            fitting: vec![],
            deleted: HashMap::new(),
            ignored: HashSet::new(),
            missed: HashSet::new(),
            returned: HashSet::new(),
            has_one_partition: false,
            key: vec![],
            other_key: vec![],
        }
    }

    /// Takes over what others have found out about the table.
    fn refresh(&mut self, replicas: &Replicas, config: &Cdc) {
        let generation = replicas.generation();
        if self.generation == generation {
            return;
        }
        self.generation = generation;
        // Versions of another topic's rows in the same table say nothing about this one's.
        self.has_one_partition =
            replicas.partitions(&self.name) == Some(1) && !config.shares_table(&self.name);
        let newest = replicas.of(&self.name);
        let is_same = match (&self.replica, &newest) {
            (Some(own), Some(newest)) => Arc::ptr_eq(own, newest),
            (None, None) => true,
            _ => false,
        };
        if is_same {
            return;
        }
        self.fitting.clear();
        let fields = newest.as_ref().map_or(Columns::new(), |r| r.fields.clone());
        self.rows = row_reader(fields, config);
        let members = if replicas.key_of(&self.name).is_empty() {
            Members::Exactly
        } else {
            Members::AtLeast
        };
        self.keys = newest
            .as_ref()
            .map(|r| KeyReader::new(r.key.clone(), config.modes).with_members(members));
        self.notes = newest.as_ref().and_then(|r| Notes::new(r));
        self.replica = newest;
    }

    /// Appends the rows of one record to `out`.
    // Longer than a screen: it takes the topic apart, because each step borrows other parts of it.
    pub(super) fn read(
        &mut self,
        record: Record<'_>,
        replicas: &Arc<Replicas>,
        config: &Cdc,
        out: &mut Rows,
    ) -> Result<Made, NotAccepted> {
        self.refresh(replicas, config);
        let version = version(config, record);
        let Topic {
            name,
            replica,
            rows,
            keys,
            notes,
            fitting,
            deleted,
            ignored,
            missed,
            returned,
            has_one_partition,
            key,
            other_key,
            ..
        } = self;
        let change = rows
            .read(name, record.key(), record.value())
            .map_err(|failure| failed(failure, Stage::Decode))?;
        let change = match change {
            Change::None(why) => return Ok(Made::Dropped(why.as_str())),
            Change::Truncate(_) => return Ok(Made::Truncated),
            Change::Row(row) => RowChange::Row(row),
            Change::Delete(delete) => RowChange::Delete(delete),
        };
        let (Some(replica), Some(keys)) = (&*replica, keys) else {
            return first_record(name, &change, record, replicas);
        };
        let mut making = Making {
            record,
            replicas,
            topic: name,
            deleted,
            version,
            replica,
            keys,
            notes: notes.as_mut(),
            key,
            other_key,
            missed,
            out,
            key_is_of_row: false,
        };
        match change {
            RowChange::Row(row) => {
                let evolution = Evolving {
                    replicas,
                    topic: name,
                    policy: config.evolution,
                    absence: absent::policy(config, name),
                    replica,
                    now: Since {
                        version,
                        at_us: moment_us(&row, record),
                    },
                    has_one_partition: *has_one_partition,
                };
                making.key_of_row(&row)?;
                evolution.check(&row, fitting, ignored)?;
                evolution.check_returned(&row, record.key(), making.missed, returned)?;
                making.row(&row, &evolution).map(Made::Rows)
            }
            RowChange::Delete(delete) => making.delete(&delete),
        }
    }

    /// Whether a record says that the source emptied its table.
    pub(super) fn truncates(
        &mut self,
        record: Record<'_>,
        replicas: &Replicas,
        config: &Cdc,
    ) -> bool {
        self.refresh(replicas, config);
        let read = self.rows.read(&self.name, record.key(), record.value());
        matches!(read, Ok(Change::Truncate(_)))
    }

    /// The version of a record.
    pub(super) fn version_of(config: &Cdc, record: Record<'_>) -> u64 {
        version(config, record)
    }
}

/// A change of one row.
enum RowChange<'s, 'a> {
    Row(Row<'s, 'a>),
    Delete(Delete<'s, 'a>),
}

/// The table of the topic is not known yet: the record waits until it was found, or made.
fn first_record(
    name: &Arc<str>,
    change: &RowChange<'_, '_>,
    record: Record<'_>,
    replicas: &Arc<Replicas>,
) -> Result<Made, NotAccepted> {
    let first = match change {
        RowChange::Row(row) => {
            let is_in_row = |field: &str| has_field(row.schema(), row.after(), field);
            replicas
                .check_first_key(name, record.key())
                .and_then(|()| replicas.check_whole_key(name, record.key(), is_in_row))
                .map_err(halted_behind)?;
            let fields = row.after().members();
            FirstRecord {
                schema: row.schema().cloned(),
                key_names: key_names(record.key()),
                key_schema: key_schema(record.key()),
                fields: fields.map(|(name, _)| name.into_owned()).collect(),
                is_delete: false,
            }
        }
        RowChange::Delete(_) if replicas.is_missing(name) => return Ok(Made::Dropped("no_table")),
        RowChange::Delete(_) => FirstRecord {
            key_names: key_names(record.key()),
            is_delete: true,
            ..FirstRecord::default()
        },
    };
    Err(NotAccepted::Later(replicas.clone().open(name, first)))
}

/// When the source had a row, epoch microseconds; where the record does not say, when it was written.
fn moment_us(row: &Row<'_, '_>, record: Record<'_>) -> i64 {
    let of_source = row.provenance().source_ts_us();
    of_source.unwrap_or_else(|| record.timestamp_ms().saturating_mul(1000))
}

fn version(config: &Cdc, record: Record<'_>) -> u64 {
    if is_broken(Guarantee::Version) {
        return 0;
    }
    progress::version(config.epoch_at(record.timestamp_ms()), record.offset())
}

fn row_reader(fields: Columns, config: &Cdc) -> RowReader {
    RowReader::new(fields, config.modes)
        .with_placeholder(&config.placeholder)
        .with_signal_tables(&config.signal_tables)
}

/// Whether an image of a row has a field.
fn has_field(schema: Option<&Schema>, image: Raw<'_>, name: &str) -> bool {
    let is_declared = || schema.is_some_and(|schema| schema.field_type(name).is_some());
    is_declared() || image.members().any(|(member, _)| member == name)
}

fn failed(failure: Failure, stage: Stage) -> NotAccepted {
    match failure {
        Failure::Rejected(reject) => refused(stage, reject),
        Failure::UndeclaredModes => {
            NotAccepted::Halted(Halt::new("undeclared_modes", failure.to_string()))
        }
        // Every record of the connector is like this one.
        Failure::OtherKey | Failure::NullInKey(_) | Failure::Framed(_) | Failure::Document => {
            halted_behind(Halt::new("schema", failure.to_string()))
        }
    }
}

fn refused(stage: Stage, reject: Reject) -> NotAccepted {
    NotAccepted::Refused(Refusal { stage, reject })
}
