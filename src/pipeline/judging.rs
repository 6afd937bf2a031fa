//! Single records through a pipeline's own operator, outside of a running pipeline: what each would
//! become. Nothing is written, and nothing that an operator asks to be done first is done.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::aggregation::{self, AggregationOperator, AggregationPlan};
use super::enrichment::{EnrichmentOperator, RowPlan, Settings, Table};
use super::input::Input;
use super::quality;
use super::raw::{CurrentRawRows, RawOperator};
use super::replication::{ColumnFacts, Replicas, ReplicasParts, ReplicationOperator};
use super::stream_join::join_operator;
use crate::config::{Aggregation, Cdc, Delivery, Enrichment, Kind, Pipeline, Raw, StreamJoin};
use crate::format::Purpose;
use crate::halt::Halt;
use crate::lane::{Accepted, LookupPart as _, NotAccepted, Operator, Refusal};
use crate::observe::board::Board;
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{RowFormat, TableInfo, Target};
use crate::source::{MadeRecord, TopicPartition};

/// For profiles, of which none is looked up here.
const CACHE_BYTES_MAX: usize = 1 << 20;

/// A record to be judged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given<'r> {
    pub(crate) topic: &'r str,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<&'r [u8]>,
    pub(crate) value: Option<&'r [u8]>,
    pub(crate) headers: &'r [(String, Option<Vec<u8>>)],
}

/// What a record would become.
#[derive(Debug)]
pub(crate) enum Judged {
    /// So many rows; of windows and joins it is counted in.
    Rows(usize),
    /// No row, by a rule, and what more is known of it.
    Dropped(&'static str, Option<String>),
    /// A dead letter.
    Refused(Refusal),
    /// Something is done first, as making a table.
    Waits(String),
    /// The pipeline halts at it.
    Halted(Halt),
}

/// A table that the pipeline writes to, and the topic whose replica it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KnownTable<'t> {
    pub(crate) topic: Option<&'t str>,
    pub(crate) info: &'t TableInfo,
    /// Of a replica: by them a field that stopped coming, or came later, is known.
    pub(crate) columns: Option<&'t ColumnFacts>,
}

/// What became of records, in their order, and what else is known of them.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    pub(crate) records: Vec<Judged>,
    /// Keys of profiles, each once.
    pub(crate) profile_keys: Vec<Vec<u8>>,
    /// Of an enrichment the rows, with the defaults of profiles; of changes those of one table.
    pub(crate) rows: Option<Rows>,
}

/// Rows in RowBinary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rows {
    /// Names and types of the columns, in the order in which they stand in a row.
    pub(crate) columns: Vec<(String, String)>,
    /// How many of them, from the first on, are the key by which rows replace each other.
    pub(crate) key_len: usize,
    /// Whether a byte before each value says whether the column's default takes its place.
    pub(crate) has_default_flags: bool,
    /// One for each record that made one.
    pub(crate) rows: Vec<Vec<u8>>,
}

impl Judgement {
    /// What became of the last record alone.
    fn of_last(mut self) -> Judgement {
        let records: Vec<Judged> = self.records.pop().into_iter().collect();
        let has_rows = matches!(records[..], [Judged::Rows(_)]);
        let made: usize = row_count(&records);
        self.rows = self.rows.filter(|_| has_rows).map(|mut rows| {
            rows.rows.drain(..rows.rows.len().saturating_sub(made));
            rows
        });
        Judgement { records, ..self }
    }
}

/// Judges records, which are sorted by topic, partition and offset. `partitions` are those of each topic.
///
/// # Errors
/// The table cannot be filled as configured: then the pipeline would not start.
pub(crate) fn judge_records(
    pipeline: &Arc<Pipeline>,
    tables: &[KnownTable<'_>],
    partitions: &HashMap<String, usize>,
    records: &[Given<'_>],
) -> Result<Judgement, Halt> {
    // What an operator would log of a running pipeline is none of whoever asks here.
    let nowhere = tracing::subscriber::NoSubscriber::default();
    let keeps = Keeps::All;
    tracing::subscriber::with_default(nowhere, || {
        judge(pipeline, tables, partitions, records, keeps)
    })
}

/// The same of the last record alone, by those before it, however many they are.
///
/// # Errors
/// As above.
pub(crate) fn judge_last(
    pipeline: &Arc<Pipeline>,
    tables: &[KnownTable<'_>],
    partitions: &HashMap<String, usize>,
    records: &[Given<'_>],
) -> Result<Judgement, Halt> {
    let nowhere = tracing::subscriber::NoSubscriber::default();
    let keeps = Keeps::Last;
    let judged = tracing::subscriber::with_default(nowhere, || {
        judge(pipeline, tables, partitions, records, keeps)
    });
    judged.map(Judgement::of_last)
}

/// Whose rows an operator has in the end: those of many records are more than it takes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    Last,
}

fn judge(
    pipeline: &Arc<Pipeline>,
    tables: &[KnownTable<'_>],
    partitions: &HashMap<String, usize>,
    records: &[Given<'_>],
    keeps: Keeps,
) -> Result<Judgement, Halt> {
    let table = tables.first().map(|table| table.info);
    match &pipeline.kind {
        Kind::Enrichment(config) => match table {
            Some(table) => enrichment(pipeline, config, table, records, keeps),
            None => Ok(Judgement::default()),
        },
        Kind::Cdc(config) => replication(pipeline, config, tables, partitions, records),
        Kind::Aggregation(config) => aggregation(pipeline, config, table, partitions, records),
        Kind::StreamJoin(config) => join(pipeline, config, partitions, records),
        Kind::Raw(config) => match table {
            Some(table) => raw(pipeline, config, table, records),
            None => Ok(Judgement::default()),
        },
    }
}

fn enrichment(
    pipeline: &Pipeline,
    config: &Enrichment,
    table: &TableInfo,
    records: &[Given<'_>],
    keeps: Keeps,
) -> Result<Judgement, Halt> {
    let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
    let plan = RowPlan::new(config, &table.columns, exactly_once)
        .map_err(|error| Halt::new("schema", error.to_string()))?;
    let columns = typed(plan.names(), table);
    let format = plan.format();
    let settings = Settings::new(config, Arc::new(CACHE_BYTES_MAX.into()), 0);
    let settings = settings.with_schemas(super::schemas_of_command(pipeline)?);
    let metrics = PipelineMetrics::new(&pipeline.name);
    let own = Table {
        target: Arc::new(Target::nowhere()),
        has_provenance: exactly_once,
    };
    let mut operator = EnrichmentOperator::new(Arc::new(plan), own, settings, None, metrics);
    let judged = judge_keeping(&mut operator, records, keeps)?;
    let profile_keys = operator.lookup_keys(0);
    operator.apply_defaults();
    let kept = match keeps {
        Keeps::All => &judged[..],
        Keeps::Last => &judged[judged.len().saturating_sub(1)..],
    };
    let rows = (0..row_count(kept)).map(|index| operator.row(index).concat());
    Ok(Judgement {
        rows: Some(Rows {
            columns,
            key_len: 0,
            has_default_flags: format == RowFormat::ValuesOrDefaults,
            rows: rows.collect(),
        }),
        profile_keys,
        records: judged,
    })
}

fn raw(
    pipeline: &Arc<Pipeline>,
    config: &Raw,
    table: &TableInfo,
    records: &[Given<'_>],
) -> Result<Judgement, Halt> {
    let current = Arc::new(CurrentRawRows::new(pipeline, config, table.clone())?);
    let mut operator: RawOperator = current.operator();
    let judged = judge_each(&mut operator, records)?;
    let rows = (0..row_count(&judged)).map(|index| operator.row(index).to_vec());
    Ok(Judgement {
        rows: Some(Rows {
            columns: typed(operator.names(), table),
            key_len: 0,
            has_default_flags: operator.has_default_flags(),
            rows: rows.collect(),
        }),
        records: judged,
        ..Judgement::default()
    })
}

/// Columns of a table with their types.
fn typed(names: &[String], table: &TableInfo) -> Vec<(String, String)> {
    let type_of = |name: &String| {
        let column = table.columns.iter().find(|column| column.name == *name);
        column.map_or_else(String::new, |column| column.type_name.clone())
    };
    let typed = names.iter().map(|name| (name.clone(), type_of(name)));
    typed.collect()
}

fn replication(
    pipeline: &Arc<Pipeline>,
    config: &Cdc,
    tables: &[KnownTable<'_>],
    partitions: &HashMap<String, usize>,
    records: &[Given<'_>],
) -> Result<Judgement, Halt> {
    let config = Arc::new(config.clone());
    let client = super::clickhouse_client(pipeline)?;
    let replicas = Replicas::new(ReplicasParts {
        pipeline: pipeline.clone(),
        config: config.clone(),
        client,
        metrics: PipelineMetrics::new(&pipeline.name),
        board: Board::new().add_pipeline(&pipeline.name, "cdc"),
    });
    let nothing = ColumnFacts::default();
    for table in tables {
        if let Some(topic) = table.topic {
            replicas.take_known(topic, table.info, table.columns.unwrap_or(&nothing))?;
        }
    }
    let schemas = super::schemas_of_command(pipeline)?;
    let input = Input::new(&config.formats, Purpose::Change, schemas)?;
    let mut operator = ReplicationOperator::new(config, replicas).with_input(input);
    for (topic, count) in partitions {
        if let Some(versions) = operator.versions() {
            versions.note_partitions(topic, *count);
        }
    }
    let judged = judge_each(&mut operator, records)?;
    let rows = (0..row_count(&judged)).map(|index| operator.row(index));
    let rows: Vec<(&Arc<Target>, &[u8])> = rows.collect();
    let rows = rows.first().map(|(target, _)| Rows {
        columns: columns_of(target),
        key_len: target.key.len(),
        has_default_flags: false,
        rows: rows
            .iter()
            .filter(|(of, _)| Arc::ptr_eq(of, target))
            .map(|(_, row)| row.to_vec())
            .collect(),
    });
    Ok(Judgement {
        rows,
        records: judged,
        ..Judgement::default()
    })
}

/// The columns of a replica's row, in their order.
fn columns_of(target: &Target) -> Vec<(String, String)> {
    let key = target.key.iter().map(|(n, t)| (n.clone(), t.to_string()));
    let own = [
        (&target.own.version, "UInt64"),
        (&target.own.deleted, "UInt8"),
    ];
    let own = own.map(|(name, type_name)| (name.clone(), type_name.to_owned()));
    let others = target.other_names.iter().zip(&target.others);
    let others = others.map(|(n, t)| (n.clone(), t.to_string()));
    key.chain(own).chain(others).collect()
}

fn row_count(judged: &[Judged]) -> usize {
    let rows = judged.iter().map(|judged| match judged {
        Judged::Rows(rows) => *rows,
        _ => 0,
    });
    rows.sum()
}

fn aggregation(
    pipeline: &Pipeline,
    config: &Aggregation,
    table: Option<&TableInfo>,
    partitions: &HashMap<String, usize>,
    records: &[Given<'_>],
) -> Result<Judgement, Halt> {
    let columns = table.map(|table| &table.columns[..]);
    let plan = AggregationPlan::new(config, columns)
        .map_err(|error| Halt::new("schema", error.to_string()))?;
    let label = super::label(pipeline);
    let count = partitions.values().copied().max().unwrap_or(1);
    let places = Arc::new(aggregation::Places::new(count));
    let settings = aggregation::Settings::new(config, pipeline, label, table.is_some(), places);
    let target = Arc::new(Target::nowhere());
    let metrics = PipelineMetrics::new(&pipeline.name);
    let schemas = super::schemas_of_command(pipeline)?;
    let input = Input::new(&config.formats_read(), Purpose::Fields, schemas)?;
    let operator = AggregationOperator::new(Arc::new(plan), settings, target, metrics);
    let mut operator = operator.with_input(input);
    let judged = judge_each(&mut operator, records)?;
    Ok(Judgement {
        records: judged,
        ..Judgement::default()
    })
}

fn join(
    pipeline: &Pipeline,
    config: &StreamJoin,
    partitions: &HashMap<String, usize>,
    records: &[Given<'_>],
) -> Result<Judgement, Halt> {
    let count = partitions.values().copied().max().unwrap_or(1);
    let metrics = PipelineMetrics::new("");
    let mut operator = join_operator(pipeline, config, count, metrics)?;
    let judged = judge_each(&mut operator, records)?;
    Ok(Judgement {
        records: judged,
        ..Judgement::default()
    })
}

/// One record after the other, each judged before the next one is read.
fn judge_each<O: Operator>(operator: &mut O, records: &[Given<'_>]) -> Result<Vec<Judged>, Halt> {
    judge_keeping(operator, records, Keeps::All)
}

fn judge_keeping<O: Operator>(
    operator: &mut O,
    records: &[Given<'_>],
    keeps: Keeps,
) -> Result<Vec<Judged>, Halt> {
    let mut states: HashMap<(&str, i32), O::Partition> = HashMap::new();
    // All of them first: the watermark of a window is that of the slowest.
    for given in records {
        let place = (given.topic, given.partition);
        let Entry::Vacant(vacant) = states.entry(place) else {
            continue;
        };
        let mut state = operator.begin(&TopicPartition {
            topic: given.topic.into(),
            partition: given.partition,
        });
        if let Some(emission) = operator.emission() {
            emission.resume(&mut state, given.offset, None, given.offset)?;
        }
        vacant.insert(state);
    }
    let mut judged = vec![];
    for given in records {
        let state = states.get_mut(&(given.topic, given.partition));
        let state = state.expect("every partition has begun above");
        if keeps == Keeps::Last {
            operator.clear(0);
        }
        judged.push(judge_one(operator, state, given));
    }
    Ok(judged)
}

fn judge_one<O: Operator>(operator: &mut O, state: &mut O::Partition, given: &Given<'_>) -> Judged {
    let made = MadeRecord::new(given.key, given.value, given.timestamp_ms, given.offset).of(
        given.topic,
        given.partition,
        given.headers,
    );
    match operator.accept(state, made.record()) {
        Ok(Accepted::Rows(rows)) => match operator.judge(state).pop() {
            Some((_, refusal)) => Judged::Refused(refusal),
            None => Judged::Rows(rows),
        },
        Ok(Accepted::Dropped(quality::DUPLICATE)) => {
            Judged::Dropped(quality::DUPLICATE, Some(quality::WHY_DUPLICATE.to_owned()))
        }
        Ok(Accepted::Dropped(reason)) => Judged::Dropped(reason, operator.why_dropped()),
        Err(NotAccepted::Refused(refusal)) => Judged::Refused(refusal),
        Err(NotAccepted::Later(task)) => Judged::Waits(task.what),
        Err(NotAccepted::Halted(halt)) => Judged::Halted(halt),
    }
}

#[cfg(test)]
mod tests;
