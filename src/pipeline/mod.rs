//! One pipeline from its dependencies to its lanes; one file a kind, readable as the data flows.

mod aggregation;
mod enrichment;
mod event_time;
mod input;
pub(crate) mod judging;
mod payload;
mod quality;
mod raw;
mod recompute;
mod record_column;
mod replay;
mod replication;
mod start;
mod stream_join;
mod until;

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use streamweir_kafka::{KafkaError, refused_property};

use self::aggregation::{AggregationOperator, AggregationPlan};
pub(crate) use self::aggregation::{Spilling, WindowsAgain};
use self::enrichment::CurrentRows;
pub(crate) use self::enrichment::{EnrichmentOperator, RowPlan, Settings, Table, is_index};
use self::input::Input;
pub(crate) use self::payload::Payload;
use self::quality::Tally;
pub(crate) use self::quality::dedup_key;
pub(crate) use self::raw::RawOperator;
pub(crate) use self::recompute::Changed;
pub(crate) use self::replay::{ReplayError, Replayed, Replayer, Wanted, why_not};
pub(crate) use self::replication::{ColumnFacts, Replicas, ReplicasParts, ReplicationOperator};
use self::start::{NotStarted, Starter};
pub(crate) use self::stream_join::{JoinAgain, StreamJoinOperator, join_operator};
pub use self::until::Until;
use crate::batch::Paces;
use crate::config::{
    Aggregation, Cdc, Delivery, Encoding, Enrichment, Kind, Pipeline, Service, State,
};
use crate::format::Purpose;
use crate::halt::Halt;
use crate::lane::{
    DeadLetterRatio, End, Lane, LaneParts, LookupAccess, Operator, PipelineShared, RecordsMax,
    Stop, panicked,
};
use crate::limits::Limits;
use crate::lookup::{ProfileReader, Source};
use crate::memory::{MemoryBudget, share_of};
use crate::observe::board::PipelineBoard;
use crate::observe::metrics::PipelineMetrics;
use crate::registry::Schemas;
use crate::sink::{
    ClickHouseClient, DeadLetterProducer, OutputProducer, RowFormat, RowMaker, Sink, SinkParts,
    Target, TransactionSettings, quote_name,
};
use crate::source::{ClientSettings, Consumer, TopicPartition, consumer_config};
use crate::state::{Scratch, SnapshotStore};

/// Longest that a lane waits for one answer of Kafka's before it does something else.
const KAFKA_TIMEOUT: Duration = Duration::from_secs(5);

/// What the supervisor gives a pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Environment {
    pub(crate) service: Arc<Service>,
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) board: Arc<PipelineBoard>,
    pub(crate) memory: Arc<MemoryBudget>,
    /// For the prefetch queue of one lane.
    pub(crate) queue_bytes: u64,
    pub(crate) runtime: tokio::runtime::Handle,
    pub(crate) stop: Stop,
    /// How long a dependency may be away at the start; none: for ever.
    pub(crate) start_timeout: Option<Duration>,
    /// Told once the lanes are about to turn.
    pub(crate) began: Began,
    pub(crate) until: Option<Until>,
    /// Where each partition ends, where that was decided before; another partition is not read.
    pub(crate) ends: Option<Arc<HashMap<TopicPartition, End>>>,
    /// How many records are read at all.
    pub(crate) records_max: Option<u64>,
    /// How fast they are read.
    pub(crate) limits: Arc<Limits>,
    /// Windows that are still open at the end are emitted too.
    pub(crate) closes_windows: bool,
    /// Windows of which the log has only a part are not emitted.
    pub(crate) leaves_out_cut_windows: bool,
}

/// Called by a pipeline whose lanes are about to turn.
#[derive(Clone)]
pub(crate) struct Began(Arc<dyn Fn() + Send + Sync>);

impl Began {
    pub(crate) fn new(began: impl Fn() + Send + Sync + 'static) -> Self {
        Began(Arc::new(began))
    }
}

impl std::fmt::Debug for Began {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Began")
    }
}

/// How a pipeline ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Told to stop, or at its `--until` targets.
    Done,
    /// Only an operator can go on.
    Halted(Halt),
    /// A dependency was not there within `service.start_timeout`.
    Unreachable(String),
}

/// Runs one pipeline to its end.
pub(crate) fn run(environment: Environment) -> Ended {
    let result = match &environment.pipeline.kind {
        Kind::Enrichment(config) => enrichment(&environment, config),
        Kind::Cdc(config) => replication(&environment, config),
        Kind::Aggregation(config) => aggregation(&environment, config),
        Kind::StreamJoin(config) => stream_join::run(&environment, config),
        Kind::Raw(config) => raw::run(&environment, config),
    };
    match result {
        Ok(()) | Err(NotStarted::Stopped) => Ended::Done,
        Err(NotStarted::Halted(halt)) => Ended::Halted(halt),
        Err(NotStarted::Unreachable(why)) => Ended::Unreachable(why),
    }
}

/// Events, profiles and sessions into one table.
fn enrichment(environment: &Environment, config: &Enrichment) -> Result<(), NotStarted> {
    let pipeline = &environment.pipeline;
    let starter = Starter::new(environment);
    let client = clickhouse_client(pipeline)?;
    let exactly_once = pipeline.delivery == Delivery::ExactlyOnce;
    let table = starter.table(&client, exactly_once)?;
    let rows = CurrentRows::new(pipeline, config, table)?;
    let rows = Arc::new(rows);
    let lookup = lookup_access(environment, config, &rows.now().plan)?;
    if let Some(lookup) = &lookup {
        starter.lookup(lookup)?;
    }
    let consumers = consumers(environment)?;
    let partitions = starter.topics(&consumers[0])?;
    starter.dead_letter_topic()?;
    let targets = starter.targets(&consumers[0], &partitions)?;

    let metrics = PipelineMetrics::new(&pipeline.name);
    let schemas = schemas_at_start(environment, &starter, &metrics)?;
    let parts = CommonParts {
        client,
        targets,
        metrics: metrics.clone(),
        output: None,
        transactions: None,
        rows: Some(rows.clone()),
        label: label(pipeline),
        moved_wait: Duration::ZERO,
        makes_tables: false,
        state: config.state.clone(),
    };
    let common = Common::new(environment, parts)?;
    let tally =
        Tally::new(&pipeline.name, &config.rules, &metrics, &environment.board).map(Arc::new);
    let operator = || {
        let cache_share = environment.memory.cache_share();
        let settings = Settings::new(config, cache_share, rand::random());
        let settings = settings.with_schemas(schemas.clone());
        let settings = settings.with_tally(tally.clone());
        rows.operator(settings, metrics.clone())
    };
    let lanes = common.lanes(environment, consumers, operator, lookup.as_ref())?;
    run_lanes(environment, lanes).map_err(NotStarted::Halted)
}

/// Change records of many topics into a table each.
fn replication(environment: &Environment, config: &Cdc) -> Result<(), NotStarted> {
    let Environment {
        pipeline, board, ..
    } = environment;
    let starter = Starter::new(environment);
    let client = clickhouse_client(pipeline)?;
    starter.clickhouse(&client)?;
    let consumers = consumers(environment)?;
    let partitions = starter.topics(&consumers[0])?;
    starter.dead_letter_topic()?;
    let targets = starter.targets(&consumers[0], &partitions)?;

    let metrics = PipelineMetrics::new(&pipeline.name);
    let schemas = schemas_at_start(environment, &starter, &metrics)?;
    // What cannot be used of the configuration shows before anything is begun.
    Input::new(&config.formats, Purpose::Change, schemas.clone())?;
    let config = Arc::new(config.clone());
    let replicas = Replicas::new(ReplicasParts {
        pipeline: pipeline.clone(),
        config: config.clone(),
        client: client.clone(),
        metrics: metrics.clone(),
        board: board.clone(),
    });
    environment
        .runtime
        .block_on(replicas.look_at_all(&partitions))?;
    let parts = CommonParts {
        client,
        targets,
        metrics,
        output: None,
        transactions: None,
        rows: None,
        label: pipeline.clickhouse.database.clone(),
        moved_wait: config.toast_wait,
        makes_tables: config.create_tables,
        state: State::none(),
    };
    let common = Common::new(environment, parts)?;
    let operator = || {
        let input = Input::new(&config.formats, Purpose::Change, schemas.clone());
        let input = input.unwrap_or_default();
        ReplicationOperator::new(config.clone(), replicas.clone()).with_input(input)
    };
    let lanes = common.lanes(environment, consumers, operator, None)?;
    run_lanes(environment, lanes).map_err(NotStarted::Halted)
}

/// Events, summed up by windows of event time, into a table, a compacted topic, or both.
fn aggregation(environment: &Environment, config: &Aggregation) -> Result<(), NotStarted> {
    let pipeline = &environment.pipeline;
    let starter = Starter::new(environment);
    let client = clickhouse_client(pipeline)?;
    let has_table = !pipeline.table.is_empty();
    let table = if has_table {
        let table = starter.table(&client, false)?;
        starter.windows_table(config, &table)?;
        Some(table)
    } else {
        None
    };
    let columns = table.as_ref().map(|table| &table.columns[..]);
    let plan = AggregationPlan::new(config, columns)
        .map_err(|error| Halt::new("schema", format!("table {}: {error}", label(pipeline))))?;
    let plan = Arc::new(plan);
    let consumers = consumers(environment)?;
    let partitions = starter.topics(&consumers[0])?;
    starter.dead_letter_topic()?;
    let output = match &config.output_topic {
        Some(topic) => {
            starter.compacted_topic(topic, partitions.len())?;
            let producer = OutputProducer::new(pipeline, topic);
            Some(producer.map_err(|e| refused_properties(&e))?)
        }
        None => None,
    };
    let targets = starter.targets(&consumers[0], &partitions)?;
    if has_table {
        starter.old_rows(&client, &consumers[0], &partitions)?;
    }

    let metrics = PipelineMetrics::new(&pipeline.name);
    let schemas = schemas_at_start(environment, &starter, &metrics)?;
    Input::new(&config.formats_read(), Purpose::Fields, schemas.clone())?;
    let label = match (&config.output_topic, has_table) {
        (Some(topic), false) => format!("topic:{topic}"),
        _ => label(pipeline),
    };
    let parts = CommonParts {
        client,
        targets,
        metrics: metrics.clone(),
        output,
        transactions: None,
        rows: None,
        label: label.clone(),
        moved_wait: Duration::ZERO,
        makes_tables: false,
        state: State::none(),
    };
    let common = Common::new(environment, parts)?;
    let target = match &table {
        Some(table) => {
            let (sql, names) = (table_sql(pipeline), plan.names());
            Target::of_columns(label.clone(), sql, table, names, RowFormat::Values)
                .compressed_by(pipeline.clickhouse.compression)
        }
        None => Target::nowhere(),
    };
    let target = Arc::new(target);
    let places = Arc::new(aggregation::Places::new(partitions.len()));
    let settings = aggregation::Settings::new(config, pipeline, label, has_table, places);
    let tally =
        Tally::new(&pipeline.name, &config.rules, &metrics, &environment.board).map(Arc::new);
    let settings = settings
        .with_tally(tally)
        .leaving_out_cut(environment.leaves_out_cut_windows);
    let scratch = scratch(environment, config, &metrics)?;
    let operator = || {
        let input = Input::new(&config.formats_read(), Purpose::Fields, schemas.clone());
        let spilling = scratch.clone().map(|scratch| {
            let own = config.on_disk.as_ref().and_then(|d| d.memory_bytes_max);
            let share = own.map_or_else(|| environment.memory.state_share(), share_of);
            Spilling::new(scratch, share)
        });
        AggregationOperator::new(
            plan.clone(),
            settings.clone(),
            target.clone(),
            metrics.clone(),
        )
        .with_input(input.unwrap_or_default())
        .spilling(spilling)
    };
    let lanes = common.lanes(environment, consumers, operator, None)?;
    run_lanes(environment, lanes).map_err(NotStarted::Halted)
}

/// What the lanes of any kind share.
struct Common {
    shared: Arc<PipelineShared>,
    sink: Arc<Sink>,
    transactions: Option<TransactionSettings>,
}

/// What a [`Common`] is made of besides the environment.
struct CommonParts {
    client: ClickHouseClient,
    targets: Option<HashMap<TopicPartition, End>>,
    metrics: PipelineMetrics,
    /// Where rows go to a topic.
    output: Option<OutputProducer>,
    /// Where rows go to a topic together with the offsets behind them.
    transactions: Option<TransactionSettings>,
    /// Where rows can be made anew for a table that was altered.
    rows: Option<Arc<dyn RowMaker>>,
    /// What answers, for people: a table, a database, or a topic.
    label: String,
    /// How long a row waits for the row that it was before its key changed.
    moved_wait: Duration,
    /// Whether the table of moved rows is made where it is missing.
    makes_tables: bool,
    state: State,
}

impl Common {
    fn new(environment: &Environment, parts: CommonParts) -> Result<Common, Halt> {
        let Environment {
            pipeline, board, ..
        } = environment;
        let sink = Sink::new(SinkParts {
            client: parts.client.clone(),
            output: parts.output,
            dead_letters: Some(
                DeadLetterProducer::new(pipeline).map_err(|e| refused_properties(&e))?,
            ),
            rows: parts.rows,
            label: parts.label,
            metrics: parts.metrics.clone(),
            pipeline: board.clone(),
            config: pipeline.clone(),
            moved_wait: parts.moved_wait,
            makes_tables: parts.makes_tables,
            insert_span: pipeline.clickhouse.insert_span(),
        });
        let shared = Arc::new(PipelineShared {
            metrics: parts.metrics,
            board: board.clone(),
            ratio: DeadLetterRatio::default(),
            paces: Paces::new(
                pipeline.batch.flush_interval,
                pipeline.batch.inserts_per_second_max,
            ),
            memory: environment.memory.clone(),
            client: parts.client,
            state_dir: environment.service.state_dir.join(&pipeline.name),
            targets: parts.targets,
            records_max: environment.records_max.map(RecordsMax::new),
            limits: environment.limits.clone(),
            closes_windows: environment.closes_windows,
            kafka_timeout: KAFKA_TIMEOUT,
            stretch: Mutex::default(),
            snapshots: snapshots(environment, &parts.state)?,
            state: parts.state,
        });
        Ok(Common {
            shared,
            sink,
            transactions: parts.transactions,
        })
    }

    /// A lane for each consumer. From here on the pipeline runs.
    fn lanes<O: Operator>(
        &self,
        environment: &Environment,
        consumers: Vec<Consumer>,
        operator: impl Fn() -> O,
        lookup: Option<&LookupAccess>,
    ) -> Result<Vec<Lane<O>>, Halt> {
        let Environment {
            pipeline, board, ..
        } = environment;
        (environment.began.0)();
        let max_poll_interval = pipeline.kafka.max_poll_interval();
        let lane = |(consumer, number): (Consumer, u16)| {
            Lane::new(LaneParts {
                pipeline: pipeline.clone(),
                shared: self.shared.clone(),
                sink: self.sink.clone(),
                runtime: environment.runtime.clone(),
                board: board.add_lane(usize::from(number), max_poll_interval),
                stop: environment.stop.clone(),
                number,
                consumer,
                operator: operator(),
                lookup: lookup.cloned(),
                transactions: self.transactions.as_ref().map(|t| t.of_lane(number)),
            })
        };
        consumers.into_iter().zip(0..).map(lane).collect()
    }
}

/// Runs lanes on threads of their own; the first that halts stops the others.
fn run_lanes<O: Operator>(environment: &Environment, lanes: Vec<Lane<O>>) -> Result<(), Halt> {
    let Environment {
        pipeline,
        board,
        stop,
        service,
        ..
    } = environment;
    let mut threads = vec![];
    for (number, lane) in lanes.into_iter().enumerate() {
        let stop = stop.clone();
        let shutdown_timeout = service.shutdown_timeout;
        let name: String = format!("{number}-{}", pipeline.name)
            .chars()
            .take(15)
            .collect();
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            // What a lane that panicked leaves behind is dropped with it: its claims are abandoned.
            let ended =
                catch_unwind(AssertUnwindSafe(|| lane.run())).unwrap_or_else(|_| Err(panicked()));
            if ended.is_err() {
                stop.drain(Instant::now() + shutdown_timeout);
            }
            ended
        });
        threads
            .push(thread.map_err(|e| Halt::new("threads", format!("no thread for a lane: {e}")))?);
    }
    let mut result = Ok(());
    for (number, thread) in threads.into_iter().enumerate() {
        let ended = thread.join().unwrap_or_else(|_| Err(panicked()));
        board.remove_lane(number);
        result = result.and(ended);
    }
    result
}

fn consumers(environment: &Environment) -> Result<Vec<Consumer>, Halt> {
    let Environment {
        service,
        pipeline,
        queue_bytes,
        ..
    } = environment;
    let consumer = |lane| {
        let settings = ClientSettings {
            service,
            pipeline,
            lane,
            queue_bytes: *queue_bytes,
        };
        Consumer::new(&consumer_config(settings)).map_err(|error| refused_properties(&error))
    };
    (0..pipeline.consumers).map(consumer).collect()
}

/// No value of a property is part of it: it may be a secret.
fn refused_properties(error: &KafkaError) -> Halt {
    let why = refused_property(error);
    Halt::new(
        "kafka",
        format!("kafka.properties: the client refuses them: {why}"),
    )
}

fn clickhouse_client(pipeline: &Pipeline) -> Result<ClickHouseClient, Halt> {
    ClickHouseClient::new(&pipeline.clickhouse).map_err(|error| Halt::new("tls", error.to_string()))
}

fn lookup_access(
    environment: &Environment,
    config: &Enrichment,
    plan: &RowPlan,
) -> Result<Option<LookupAccess>, Halt> {
    let Some(lookup) = &config.lookup else {
        return Ok(None);
    };
    let source = match lookup.encoding {
        Encoding::Json => Source::Json,
        Encoding::Hash => Source::Hash(plan.hash_fields()),
    };
    let _entered = environment.runtime.enter();
    let redis = &environment.pipeline.redis;
    let reader = ProfileReader::new(redis, source, lookup.key_prefix.clone())
        .map_err(|error| Halt::new("lookup", error.to_string()))?;
    Ok(Some(LookupAccess {
        reader,
        on_unavailable: lookup.on_unavailable,
    }))
}

/// The schemas of the registry, where the pipeline's records need it.
fn schemas(
    environment: &Environment,
    metrics: &PipelineMetrics,
) -> Result<Option<Arc<Schemas>>, Halt> {
    let Some(config) = &environment.pipeline.schema_registry else {
        return Ok(None);
    };
    let _entered = environment.runtime.enter();
    Schemas::new(config, metrics.clone(), environment.board.clone()).map(Some)
}

/// The same, once the registry answers.
fn schemas_at_start(
    environment: &Environment,
    starter: &Starter<'_>,
    metrics: &PipelineMetrics,
) -> Result<Option<Arc<Schemas>>, NotStarted> {
    let schemas = schemas(environment, metrics)?;
    if let Some(schemas) = &schemas {
        starter.schema_registry(schemas)?;
    }
    Ok(schemas)
}

/// Those of a command that looks at records beside a running pipeline.
fn schemas_of_command(pipeline: &Pipeline) -> Result<Option<Arc<Schemas>>, Halt> {
    let config = pipeline.schema_registry.as_ref();
    config.map(Schemas::of_command).transpose()
}

/// Quoted, for statements.
fn table_sql(pipeline: &Pipeline) -> String {
    let (database, table) = (&pipeline.clickhouse.database, &pipeline.table);
    format!("{}.{}", quote_name(database), quote_name(table))
}

/// Where windows go that do not fit into memory; none: nowhere.
fn scratch(
    environment: &Environment,
    config: &Aggregation,
    metrics: &PipelineMetrics,
) -> Result<Option<Arc<Scratch>>, Halt> {
    let Some(on_disk) = &config.on_disk else {
        return Ok(None);
    };
    let own = on_disk.directory.as_ref();
    let directory = own.unwrap_or(&environment.service.state_dir);
    let directory = directory.join(&environment.pipeline.name).join("windows");
    let gauge = metrics.state_disk_bytes.clone();
    let scratch = Scratch::open(&directory, on_disk.bytes_max, gauge);
    scratch.map(Some).map_err(|error| {
        let advice = format!(
            "pipeline.state.directory: {error}: name a directory that this user may write, or free room there"
        );
        Halt::new("state_store", advice)
    })
}

fn snapshots(environment: &Environment, config: &State) -> Result<SnapshotStore, Halt> {
    let pipeline = &environment.pipeline.name;
    let directory = environment
        .service
        .state_dir
        .join(pipeline)
        .join("snapshots");
    // Clients of object stores begin tasks of their own.
    let _entered = environment.runtime.enter();
    SnapshotStore::open(&config.url, &directory, pipeline, std::env::vars())
        .map_err(|error| Halt::new("state_store", error.to_string()))
}

fn label(pipeline: &Pipeline) -> String {
    format!("{}.{}", pipeline.clickhouse.database, pipeline.table)
}
