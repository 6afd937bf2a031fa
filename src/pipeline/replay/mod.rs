//! Single records through a pipeline's own operator and sink, outside its group: what
//! `streamweir dead-letters` replays, and what `streamweir audit` computes again.
//!
//! A row goes out under the record's own topic, partition and offset (or version) and a token that these
//! make, after a look: replaying twice, or twice at the same time, writes it once.

mod way;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::way::{Way, is_unread};
use super::enrichment::CurrentRows;
use super::input::Input;
use super::raw::CurrentRawRows;
use super::replication::{Replicas, ReplicasParts};
use super::{
    Began, EnrichmentOperator, Environment, RawOperator, ReplicationOperator, Settings,
    clickhouse_client, label, lookup_access,
};
use super::{schemas, schemas_of_command};
use crate::config::{Cdc, Enrichment, Kind, Pipeline, Raw, Service};
use crate::format::Purpose;
use crate::halt::Halt;
use crate::lane::{Appends, Operator as _, Stop};
use crate::limits::Limits;
use crate::memory::MemoryBudget;
use crate::observe::board::Board;
use crate::observe::metrics::PipelineMetrics;
use crate::sink::{ClickHouseClient, InsertError, Remedy, Sink, SinkParts};
use crate::source::{Record, TopicPartition};

/// Why nothing more can be replayed.
#[derive(Debug)]
pub(crate) enum ReplayError {
    /// A system does not answer.
    Unreachable(String),
    /// Something is wrong with the table or the configuration.
    Refused(String),
}

impl From<Halt> for ReplayError {
    fn from(halt: Halt) -> Self {
        ReplayError::Refused(halt.advice)
    }
}

impl From<InsertError> for ReplayError {
    fn from(error: InsertError) -> Self {
        match error.remedy {
            Remedy::Retry(_) => {
                ReplayError::Unreachable(format!("clickhouse: {error} (clickhouse.url)"))
            }
            _ => ReplayError::Refused(format!("clickhouse: {error}")),
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Replayed {
    /// Its row is acknowledged, or would be sent.
    Written,
    /// The table has it, or a newer one of its key.
    AlreadyWritten,
    /// It makes no row, by a rule.
    Dropped(&'static str),
    Refused {
        reason: String,
        detail: String,
    },
}

/// What a record is to its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Its row, written where it is missing.
    Row,
    /// What would become of it; nothing is written, made or altered.
    Judgement,
}

/// One pipeline's way for single records.
pub(crate) enum Replayer {
    Enrichment(Box<Way<EnrichmentOperator>>),
    Cdc(Box<Way<ReplicationOperator>>),
    /// Nothing of it is replayed; what its rows have is computed again.
    Raw(Box<RawOperator>),
}

impl std::fmt::Debug for Replayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replayer").finish_non_exhaustive()
    }
}

impl Replayer {
    /// Looks at the pipeline's tables.
    ///
    /// # Errors
    /// A kind whose records cannot be written one by one, or a table that cannot be written.
    pub(crate) async fn new(
        service: &Arc<Service>,
        pipeline: &Arc<Pipeline>,
    ) -> Result<Self, ReplayError> {
        if let Kind::Raw(config) = &pipeline.kind {
            let operator = raw(pipeline, config).await?;
            return Ok(Replayer::Raw(Box::new(operator)));
        }
        if let Some(why) = why_not(pipeline) {
            return Err(ReplayError::Refused(why));
        }
        let environment = environment(service, pipeline);
        match &pipeline.kind {
            Kind::Enrichment(config) => {
                let way = enrichment(&environment, config).await?;
                Ok(Replayer::Enrichment(Box::new(way)))
            }
            Kind::Cdc(config) => {
                let way = replication(&environment, config)?;
                Ok(Replayer::Cdc(Box::new(way)))
            }
            _ => Err(ReplayError::Refused(format!(
                "pipeline {}: records of kind {} cannot be replayed",
                pipeline.name,
                pipeline.kind.name()
            ))),
        }
    }

    /// # Errors
    /// Nothing more can be replayed.
    pub(crate) async fn replay(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
        wanted: Wanted,
    ) -> Result<Replayed, ReplayError> {
        match self {
            Replayer::Enrichment(way) => way.replay(partition, record, wanted).await,
            Replayer::Cdc(way) => way.replay(partition, record, wanted).await,
            Replayer::Raw(_) => Err(ReplayError::Refused(NOTHING_TO_REPLAY.to_owned())),
        }
    }
}

impl Replayer {
    /// Whether a record says that the source emptied its table; `None`: it cannot be told.
    pub(crate) fn truncates(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Option<bool> {
        match self {
            Replayer::Enrichment(_) | Replayer::Raw(_) => Some(false),
            Replayer::Cdc(way) => way.operator.truncates(partition, record),
        }
    }

    /// Whether a rule of the configuration drops a record.
    ///
    /// # Errors
    /// What it takes to read the record cannot be had.
    pub(crate) async fn drops(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Result<bool, ReplayError> {
        match self {
            Replayer::Enrichment(way) => way.drops(partition, record, Wanted::Row).await,
            // A row's table would be made.
            Replayer::Cdc(way) => way.drops(partition, record, Wanted::Judgement).await,
            Replayer::Raw(_) => Ok(false),
        }
    }

    /// The same by the records before it, which were asked for in their order: a duplicate is dropped for what
    /// stands before it.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn drops_in_order(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Result<bool, ReplayError> {
        match self {
            Replayer::Enrichment(way) => way.drops_in_order(partition, record).await,
            Replayer::Cdc(_) | Replayer::Raw(_) => self.drops(partition, record).await,
        }
    }
}

/// Why letters of the kind `raw` are not replayed.
const NOTHING_TO_REPLAY: &str = "every record makes its row, so there is nothing to replay; a row that the server refused \
     is written once the table takes it and the topic is read again (streamweir offsets reset)";

/// Why the records of a pipeline cannot be replayed one by one.
pub(crate) fn why_not(pipeline: &Pipeline) -> Option<String> {
    let name = &pipeline.name;
    match &pipeline.kind {
        Kind::Aggregation(_) => Some(format!(
            "pipeline {name} is an aggregation: a record counts in the windows of its time, which are \
             closed, so it cannot be replayed alone; correct the configuration and read the topic again \
             (streamweir offsets reset --pipeline {name} --to …)"
        )),
        Kind::StreamJoin(_) => Some(format!(
            "pipeline {name} is a stream_join: an event is decided in the order of event time and sent with \
             the offsets behind it, so a record cannot be replayed alone; correct the configuration and \
             read the topics again (streamweir offsets reset --pipeline {name} --to …)"
        )),
        Kind::Raw(_) => Some(format!("pipeline {name} is raw: {NOTHING_TO_REPLAY}")),
        _ => None,
    }
}

/// What a consumer of the one lane would prefetch.
const QUEUE_BYTES: u64 = 32 << 20;

fn environment(service: &Arc<Service>, pipeline: &Arc<Pipeline>) -> Environment {
    let board = Board::new().add_pipeline(&pipeline.name, pipeline.kind.name());
    let memory = Arc::new(MemoryBudget::new(service.memory_max_bytes));
    memory.share(1, QUEUE_BYTES);
    Environment {
        service: service.clone(),
        pipeline: pipeline.clone(),
        board,
        memory,
        queue_bytes: QUEUE_BYTES,
        runtime: tokio::runtime::Handle::current(),
        stop: Stop::default(),
        start_timeout: service.start_timeout,
        began: Began::new(|| {}),
        until: None,
        ends: None,
        records_max: None,
        limits: Arc::new(Limits::new(pipeline.limits)),
        closes_windows: false,
        leaves_out_cut_windows: false,
    }
}

async fn raw(pipeline: &Arc<Pipeline>, config: &Raw) -> Result<RawOperator, ReplayError> {
    let client = clickhouse_client(pipeline)?;
    let (database, table) = (&pipeline.clickhouse.database, &pipeline.table);
    let info = client.table_info(database, table).await?;
    let info = info.ok_or_else(|| missing_table(pipeline))?;
    let rows = Arc::new(CurrentRawRows::new(pipeline, config, info)?);
    Ok(rows.operator())
}

fn missing_table(pipeline: &Pipeline) -> ReplayError {
    ReplayError::Refused(format!(
        "table {} does not exist: create it with `streamweir schema apply`",
        label(pipeline)
    ))
}

async fn enrichment(
    environment: &Environment,
    config: &Enrichment,
) -> Result<Way<EnrichmentOperator>, ReplayError> {
    let pipeline = &environment.pipeline;
    let client = clickhouse_client(pipeline)?;
    let (database, table) = (&pipeline.clickhouse.database, &pipeline.table);
    let info = client.table_info(database, table).await?;
    let info = info.ok_or_else(|| missing_table(pipeline))?;
    let rows = Arc::new(CurrentRows::new(pipeline, config, info)?);
    let lookup = lookup_access(environment, config, &rows.now().plan)?;
    let metrics = PipelineMetrics::new(&pipeline.name);
    let sink = sink(
        environment,
        client.clone(),
        &metrics,
        label(pipeline),
        Some(rows.clone()),
    );
    let cache_share = environment.memory.cache_share();
    let settings = Settings::new(config, cache_share, rand::random());
    let settings = settings.with_schemas(schemas(environment, &metrics)?);
    let operator = rows.operator(settings, metrics);
    if !operator.appends().is_some_and(Appends::is_traceable) {
        return Err(ReplayError::Refused(format!(
            "table {} lacks the columns _topic, _partition and _offset, so nobody can tell which records it \
             has: add them, or read the topic again (streamweir offsets reset)",
            label(pipeline)
        )));
    }
    let has_index = operator.appends().is_some_and(|own| own.target().has_index);
    if config.explode.is_some() && !has_index {
        return Err(ReplayError::Refused(format!(
            "table {} lacks the column _index, which tells the rows of one record apart, so nobody can tell \
             which of them it has: add it (_index UInt32), or read the topic again (streamweir offsets reset)",
            label(pipeline)
        )));
    }
    Ok(Way::new(client, operator, sink, lookup))
}

fn replication(
    environment: &Environment,
    config: &Cdc,
) -> Result<Way<ReplicationOperator>, ReplayError> {
    let pipeline = &environment.pipeline;
    let client = clickhouse_client(pipeline)?;
    let metrics = PipelineMetrics::new(&pipeline.name);
    let config = Arc::new(config.clone());
    let replicas = Replicas::new(ReplicasParts {
        pipeline: pipeline.clone(),
        config: config.clone(),
        client: client.clone(),
        metrics: metrics.clone(),
        board: environment.board.clone(),
    });
    let label = pipeline.clickhouse.database.clone();
    let sink = sink(environment, client.clone(), &metrics, label, None);
    let schemas = schemas_of_command(pipeline)?;
    let input = Input::new(&config.formats, Purpose::Change, schemas)?;
    let operator = ReplicationOperator::new(config, replicas).with_input(input);
    Ok(Way::new(client, operator, sink, None))
}

fn sink(
    environment: &Environment,
    client: ClickHouseClient,
    metrics: &PipelineMetrics,
    label: String,
    rows: Option<Arc<CurrentRows>>,
) -> Arc<Sink> {
    let pipeline = &environment.pipeline;
    let makes_tables = matches!(&pipeline.kind, Kind::Cdc(config) if config.create_tables);
    Sink::new(SinkParts {
        client,
        // The record has its letter.
        dead_letters: None,
        rows: rows.map(|rows| rows as Arc<dyn crate::sink::RowMaker>),
        output: None,
        label,
        metrics: metrics.clone(),
        pipeline: environment.board.clone(),
        config: pipeline.clone(),
        // No other row is on its way here that this one could wait for.
        moved_wait: Duration::ZERO,
        makes_tables,
        insert_span: pipeline.clickhouse.insert_span(),
    })
}
