//! Waiting for what a pipeline needs, and refusing what it cannot work with.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use streamweir_kafka::{KafkaError, RDKafkaErrorCode};

use super::{Environment, KAFKA_TIMEOUT, label, table_sql};
use crate::config::{Aggregation, OnUnavailable, Pipeline, StreamJoin, TopicSelector, Window};
use crate::halt::Halt;
use crate::lane::{End, LookupAccess};
use crate::observe::board::PipelineState;
use crate::registry::{NoAnswer, SCHEMA_REGISTRY, Schemas, forbidden};
use crate::sink::{
    Backoff, ClickHouseClient, Remedy, TableInfo, create_output_topic, create_topic, several_tables,
};
use crate::source::{
    Consumer, Event, NotCoPartitioned, TopicPartition, admin_client, check_keys, cleanup_policy,
    lacks_right, newest_trouble, refused_user, table_refusal,
};

/// What is waited for is said in the log this often.
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How long the newest keys of joined topics are looked at.
const KEYS_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a pipeline does not run.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// A signal came first.
    Stopped,
    Halted(Halt),
    Unreachable(String),
}

impl From<Halt> for NotStarted {
    fn from(halt: Halt) -> Self {
        NotStarted::Halted(halt)
    }
}

/// What one attempt to reach something came to.
enum Attempt<T> {
    Done(T),
    /// The system does not answer yet, or cannot serve, and why.
    Later(String),
    /// It answers, and what is needed is not there yet.
    Absent(String),
    Never(Halt),
}

/// Reaches the dependencies one after the other, within one `service.start_timeout`.
pub(super) struct Starter<'e> {
    environment: &'e Environment,
    deadline: Option<Instant>,
}

impl<'e> Starter<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        let deadline = environment
            .start_timeout
            .map(|timeout| Instant::now() + timeout);
        Starter {
            environment,
            deadline,
        }
    }

    /// The server answers, and takes us in.
    pub(super) fn clickhouse(&self, client: &ClickHouseClient) -> Result<(), NotStarted> {
        self.wait_for("clickhouse", || {
            match self.environment.runtime.block_on(client.ping()) {
                Ok(()) => Attempt::Done(()),
                Err(error) => match error.remedy {
                    Remedy::Halt(reason) => {
                        let database = &self.environment.pipeline.clickhouse.database;
                        Attempt::Never(crate::sink::refused(reason, database, &error))
                    }
                    _ => Attempt::Later(format!("{error} (clickhouse.url)")),
                },
            }
        })
    }

    /// The target table, if it can be written as asked.
    pub(super) fn table(
        &self,
        client: &ClickHouseClient,
        exactly_once: bool,
    ) -> Result<TableInfo, NotStarted> {
        let pipeline = &self.environment.pipeline;
        let (database, table) = (&pipeline.clickhouse.database, &pipeline.table);
        let info = self.wait_for("clickhouse", || {
            match self
                .environment
                .runtime
                .block_on(client.table_info(database, table))
            {
                Ok(info) => Attempt::Done(info),
                Err(error) => match error.remedy {
                    Remedy::Halt(reason) => {
                        Attempt::Never(crate::sink::refused(reason, &label(pipeline), &error))
                    }
                    _ => Attempt::Later(format!("{error} (clickhouse.url)")),
                },
            }
        })?;
        let Some(info) = info else {
            let advice = format!(
                "table {} does not exist: create it with `streamweir schema apply --config …`, \
                 or correct clickhouse.database and pipeline.clickhouse.table",
                label(pipeline)
            );
            return Err(Halt::new("missing_table", advice).into());
        };
        let several = client.has_several(database, table);
        if self.environment.runtime.block_on(several) {
            return Err(several_tables(&label(pipeline), &info.engine).into());
        }
        if exactly_once {
            check_engine(pipeline, &info)?;
            if info.is_replicated() {
                self.token_window(client, &info)?;
            }
        }
        Ok(info)
    }

    /// Says how long the table remembers tokens, and whether that may be too short.
    fn token_window(&self, client: &ClickHouseClient, info: &TableInfo) -> Result<(), NotStarted> {
        let pipeline = &self.environment.pipeline;
        let (runtime, table) = (&self.environment.runtime, label(pipeline));
        let window = self.wait_for("clickhouse", || {
            match runtime.block_on(client.token_window(info)) {
                Ok(window) => Attempt::Done(window),
                Err(error) => Attempt::Later(format!("{error} (clickhouse.url)")),
            }
        })?;
        // Each partition of the topic makes its own inserts, and many of them as many as are allowed.
        let per_hour = pipeline.batch.inserts_per_second_max * 3_600.0;
        tracing::info!(
            table,
            blocks = window.blocks,
            seconds = window.seconds,
            "the table remembers tokens"
        );
        if let Some((too_little, setting)) = window.shortage(per_hour) {
            tracing::warn!(
                table,
                "the table remembers the tokens of {too_little}: after an outage an insert that is repeated \
                 may not be recognised; ALTER TABLE {table} MODIFY SETTING {setting}"
            );
        }
        Ok(())
    }

    /// Redis answers, unless rows may do without.
    pub(super) fn lookup(&self, lookup: &LookupAccess) -> Result<(), NotStarted> {
        self.wait_for("redis", || {
            match self.environment.runtime.block_on(lookup.reader.ping()) {
                Ok(()) => Attempt::Done(()),
                Err(error) if lookup.on_unavailable == OnUnavailable::UseDefaults => {
                    tracing::warn!(%error, "profiles are unavailable, rows take the defaults");
                    Attempt::Done(())
                }
                Err(error) if error.is_refusal => Attempt::Never(Halt::new(
                    "authentication",
                    format!(
                        "{error}: redis does not take this user in: correct redis.user and redis.password \
                         (or password_file), or the user in redis.url"
                    ),
                )),
                Err(error) => Attempt::Later(format!("{error} (redis.url)")),
            }
        })
    }

    /// The schema registry answers.
    pub(super) fn schema_registry(&self, schemas: &Schemas) -> Result<(), NotStarted> {
        self.wait_for(SCHEMA_REGISTRY, || {
            match self.environment.runtime.block_on(schemas.ping()) {
                Ok(()) => Attempt::Done(()),
                Err(NoAnswer::Forbidden(why)) => Attempt::Never(forbidden(&why)),
                Err(error) => Attempt::Later(format!("{error} (schema_registry.url)")),
            }
        })
    }

    /// The partitions of every topic; topics that do not exist yet are waited for.
    pub(super) fn topics(&self, consumer: &Consumer) -> Result<Vec<TopicPartition>, NotStarted> {
        let pipeline = &self.environment.pipeline;
        let partitions = self.wait_for("kafka", || match partitions(pipeline, consumer) {
            Ok(Ok(partitions)) => Attempt::Done(partitions),
            Ok(Err(missing)) => Attempt::Absent(format!(
                "topic {missing} does not exist: create it (waiting for it)"
            )),
            Err((Some(topic), error)) if is_missing_right(&error) => {
                Attempt::Never(lacks_right("READ", &format!("topic {topic}")))
            }
            Err((_, error)) => unanswered(pipeline, &error, &consumer.events()),
        })?;
        if partitions.is_empty() {
            let topics: Vec<&str> = pipeline.topics.iter().map(TopicSelector::text).collect();
            tracing::warn!(
                pipeline = pipeline.name,
                topics = topics.join(", "),
                "no topic matches: it is read as soon as one does, from its beginning; a dot in a name is [.] in a \
                 pattern"
            );
        }
        Ok(partitions)
    }

    /// Makes the dead-letter topic where it is missing.
    pub(super) fn dead_letter_topic(&self) -> Result<(), NotStarted> {
        let pipeline = &self.environment.pipeline;
        let config = admin_client(&pipeline.kafka, &pipeline.name);
        let topic = &pipeline.dead_letter.topic;
        self.wait_for("kafka", || {
            match self
                .environment
                .runtime
                .block_on(create_topic(&config, topic))
            {
                Ok(()) => Attempt::Done(()),
                // It may be there all the same; without the right to create nobody can tell.
                Err(error) if error.is_missing_right() => {
                    tracing::warn!(topic, %error, "the dead-letter topic must exist already");
                    Attempt::Done(())
                }
                Err(error) => Attempt::Later(format!(
                    "dead-letter topic {topic} cannot be made: {error}: create it yourself, or name another in \
                     pipeline.dead_letter.topic"
                )),
            }
        })
    }

    /// Whether a table keeps the fullest row of each window and group.
    pub(super) fn windows_table(
        &self,
        config: &Aggregation,
        info: &TableInfo,
    ) -> Result<(), NotStarted> {
        let table = label(&self.environment.pipeline);
        let is_session = matches!(config.window, Window::Session { .. });
        let wanted = if is_session {
            "ReplacingMergeTree(version, _deleted)"
        } else {
            "ReplacingMergeTree(version)"
        };
        let arguments: String = info.engine_full.split_whitespace().collect();
        let by_version = if is_session {
            arguments.contains("version,_deleted)")
        } else {
            arguments.contains("version)") || arguments.contains("version,")
        };
        if !info.engine.contains("ReplacingMergeTree") || !by_version {
            let advice = format!(
                "table {table} has engine {}, and a window's row is written again when it grows: it \
                 needs {wanted}",
                info.engine
            );
            return Err(Halt::new("engine", advice).into());
        }
        let sorted: BTreeSet<String> = key_columns(&info.sorting_key);
        let group = config.group.iter().map(|field| field.name.clone());
        let expected: BTreeSet<String> = group.chain(["window_start".to_owned()]).collect();
        if sorted != expected {
            let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            let advice = format!(
                "table {table} is ordered by ({}), so rows of different windows or groups would \
                 replace each other, or none would: it needs ORDER BY ({})",
                info.sorting_key,
                expected.join(", ")
            );
            return Err(Halt::new("sorting_key", advice).into());
        }
        let by_other = key_columns(&info.partition_key);
        if by_other
            .iter()
            .any(|column| !expected.iter().any(|name| column.contains(name.as_str())))
        {
            let advice = format!(
                "table {table} has PARTITION BY {}, and a row that grows may move to another \
                 partition, where it replaces nothing: partition by window_start, as in \
                 toYYYYMM(window_start), or not at all",
                info.partition_key
            );
            return Err(Halt::new("partition_key", advice).into());
        }
        Ok(())
    }

    /// Says so when a group begins to read a topic whose table has rows: they are somebody else's.
    pub(super) fn old_rows(
        &self,
        client: &ClickHouseClient,
        consumer: &Consumer,
        partitions: &[TopicPartition],
    ) -> Result<(), NotStarted> {
        let pipeline = &self.environment.pipeline;
        let is_first_start = self.wait_for("kafka", || {
            match consumer.questions().committed(partitions, KAFKA_TIMEOUT) {
                // Offsets that were set by hand come without a word of ours.
                Ok(committed) => {
                    Attempt::Done(committed.iter().all(|offsets| offsets.metadata.is_empty()))
                }
                Err(error) => kafka_attempt(pipeline, &error),
            }
        })?;
        if !is_first_start {
            return Ok(());
        }
        let (sql, table) = (table_sql(pipeline), label(pipeline));
        let has_rows = self.wait_for("clickhouse", || {
            match self.environment.runtime.block_on(client.has_rows(&sql)) {
                Ok(has_rows) => Attempt::Done(has_rows),
                Err(error) => match error.remedy {
                    Remedy::Halt(reason) => {
                        Attempt::Never(crate::sink::refused(reason, &table, &error))
                    }
                    _ => Attempt::Later(format!("{error} (clickhouse.url)")),
                },
            }
        })?;
        if has_rows {
            tracing::warn!(
                pipeline = pipeline.name,
                table,
                group_id = pipeline.group_id,
                "the group has written nothing yet and its table has rows: old rows of the table win over \
                 new ones that have fewer records, and stand beside those of other windows; empty the \
                 table unless it was filled from the same topic under the same rules"
            );
        }
        Ok(())
    }

    /// Makes the topic of rows where it is missing.
    pub(super) fn compacted_topic(&self, topic: &str, partitions: usize) -> Result<(), NotStarted> {
        self.make_topic(topic, partitions, &[("cleanup.policy", "compact")])
    }

    fn make_topic(
        &self,
        topic: &str,
        partitions: usize,
        settings: &[(&str, &str)],
    ) -> Result<(), NotStarted> {
        let pipeline = &self.environment.pipeline;
        let config = admin_client(&pipeline.kafka, &pipeline.name);
        let partitions = i32::try_from(partitions).unwrap_or(1).max(1);
        self.wait_for("kafka", || {
            let created = create_output_topic(&config, topic, partitions, settings);
            match self.environment.runtime.block_on(created) {
                Ok(()) => Attempt::Done(()),
                // It may be there all the same; without the right to create nobody can tell.
                Err(error) if error.is_missing_right() => {
                    tracing::warn!(topic, %error, "the topic of rows must exist already");
                    Attempt::Done(())
                }
                Err(error) => Attempt::Later(format!("topic {topic}: {error}")),
            }
        })
    }

    /// Refuses a table whose topic forgets keys that are still there: deletes without compacting.
    pub(super) fn kept_table(&self, config: &StreamJoin) -> Result<(), NotStarted> {
        if config.before.is_some() || config.retention_accepted {
            return Ok(());
        }
        let topic = &config.right.topic;
        let kafka = &self.environment.pipeline.kafka;
        let policy = self.wait_for("kafka", || {
            let asked = cleanup_policy(kafka, topic, KAFKA_TIMEOUT);
            match self.environment.runtime.block_on(asked) {
                Ok(policy) => Attempt::Done(policy),
                Err(error) => Attempt::Later(format!("topic {topic}: {error}")),
            }
        })?;
        let Some(policy) = policy else {
            tracing::warn!(
                topic,
                "cannot read the topic's cleanup.policy (grant this user DESCRIBE_CONFIGS on it): as a \
                 table it loses profiles unless it is compacted"
            );
            return Ok(());
        };
        table_refusal(topic, &policy).map_or(Ok(()), |halt| Err(halt.into()))
    }

    /// How many partitions both topics of a join have, whose keys lie alike.
    pub(super) fn co_partitioned(
        &self,
        config: &StreamJoin,
        partitions: &[TopicPartition],
    ) -> Result<usize, NotStarted> {
        let count = |topic: &str| partitions.iter().filter(|p| *p.topic == *topic).count();
        let (left, right) = (&config.left.topic, &config.right.topic);
        let counts = (count(left), count(right));
        if counts.0 != counts.1 {
            let advice = format!(
                "topic {left} has {} partitions and topic {right} has {}: equal keys must lie in equal \
                 partitions; create the one with fewer anew with as many, since added partitions do not \
                 move keys that are there",
                counts.0, counts.1
            );
            return Err(Halt::new("co_partitioning", advice).into());
        }
        // Then every record is held against its place, and keys may be spelt in two forms.
        if config.keys_placed_by.is_some() {
            return Ok(counts.0);
        }
        let kafka = &self.environment.pipeline.kafka;
        self.wait_for("kafka", || {
            match check_keys(kafka, left, right, KEYS_TIMEOUT) {
                Ok(()) => Attempt::Done(()),
                Err(NotCoPartitioned::Halted(halt)) => Attempt::Never(halt),
                Err(NotCoPartitioned::Later(why)) => Attempt::Later(why),
            }
        })?;
        Ok(counts.0)
    }

    /// Makes the topic of joined records where it is missing.
    pub(super) fn output_topic(&self, topic: &str, partitions: usize) -> Result<(), NotStarted> {
        self.make_topic(topic, partitions, &[])
    }

    /// What `--until` means for each partition.
    pub(super) fn targets(
        &self,
        consumer: &Consumer,
        partitions: &[TopicPartition],
    ) -> Result<Option<HashMap<TopicPartition, End>>, NotStarted> {
        if let Some(ends) = &self.environment.ends {
            return Ok(Some(HashMap::clone(ends)));
        }
        let Some(until) = self.environment.until else {
            return Ok(None);
        };
        self.wait_for("kafka", || {
            match until.targets(consumer, partitions, KAFKA_TIMEOUT) {
                Ok(targets) => Attempt::Done(Some(targets)),
                Err(error) => kafka_attempt(&self.environment.pipeline, &error),
            }
        })
    }

    fn wait_for<T>(
        &self,
        what: &str,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> Result<T, NotStarted> {
        let mut backoff = Backoff::new();
        let (since, mut said) = (Instant::now(), None::<Instant>);
        let target = self.environment.board.target(what);
        loop {
            if self.environment.stop.is_draining() {
                return Err(NotStarted::Stopped);
            }
            let why = match attempt() {
                Attempt::Done(value) => {
                    target.answered();
                    if said.is_some() {
                        let since_s = since.elapsed().as_secs();
                        tracing::info!("{what}: recovered after {since_s} s");
                        let board = &self.environment.board;
                        board.set_state(PipelineState::Starting, None);
                    }
                    return Ok(value);
                }
                Attempt::Never(halt) => return Err(halt.into()),
                Attempt::Later(why) => {
                    target.failed(&why);
                    why
                }
                Attempt::Absent(why) => {
                    target.answered();
                    why
                }
            };
            let wait = backoff.next_wait().max(Duration::from_millis(200));
            let name = &self.environment.pipeline.name;
            let board = &self.environment.board;
            board.error(&format!("{what}: {why}"));
            let waits = format!("waits for {what}: {why}");
            board.set_state(PipelineState::Starting, Some(&waits));
            if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN_AFTER) {
                said = Some(Instant::now());
                tracing::warn!(
                    pipeline = name,
                    error = why,
                    count = backoff.attempts(),
                    since_s = since.elapsed().as_secs(),
                    "{what} is not ready, waiting"
                );
            }
            if self
                .deadline
                .is_some_and(|deadline| Instant::now() + wait >= deadline)
            {
                return Err(NotStarted::Unreachable(format!(
                    "{what} was not ready in time: {why}"
                )));
            }
            self.sleep(wait);
        }
    }

    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while Instant::now() < until && !self.environment.stop.is_draining() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The columns, or expressions, of a key.
fn key_columns(key: &str) -> BTreeSet<String> {
    let parts = key.split(',').map(|part| part.trim().trim_matches('`'));
    parts
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn kafka_attempt<T>(pipeline: &Pipeline, error: &KafkaError) -> Attempt<T> {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::GroupAuthorizationFailed) => {
            Attempt::Never(lacks_right("READ", &format!("group {}", pipeline.group_id)))
        }
        Some(
            code @ (RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed),
        ) => Attempt::Never(Halt::new(
            "authentication",
            format!("kafka: {code}: grant this user READ on the topics and the group"),
        )),
        _ => Attempt::Later(format!("{error} (kafka.bootstrap_servers)")),
    }
}

/// The first question to a cluster has no answer: what the client says of its connections tells why.
fn unanswered<T>(pipeline: &Pipeline, error: &KafkaError, events: &[Event]) -> Attempt<T> {
    if let Some(halt) = refused_user(events) {
        return Attempt::Never(halt);
    }
    match (kafka_attempt(pipeline, error), newest_trouble(events)) {
        (Attempt::Later(why), Some(trouble)) => Attempt::Later(format!("{why}: {trouble}")),
        (attempt, _) => attempt,
    }
}

fn is_missing_right(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::TopicAuthorizationFailed)
}

/// `Ok(Err(name))`: a named topic does not exist. An error names the topic that it is about.
fn partitions(
    pipeline: &Pipeline,
    consumer: &Consumer,
) -> Result<Result<Vec<TopicPartition>, String>, (Option<String>, KafkaError)> {
    let mut all = vec![];
    let mut names = vec![];
    for selector in &pipeline.topics {
        match selector {
            TopicSelector::Name(name) => names.push((name.clone(), true)),
            TopicSelector::Pattern(_) => {
                let matching = consumer.questions().topic_names(KAFKA_TIMEOUT);
                let matching = matching.map_err(|error| (None, error))?;
                let matching = matching.into_iter().filter(|topic| selector.matches(topic));
                names.extend(matching.map(|topic| (topic, false)));
            }
        }
    }
    for (name, is_required) in names {
        let asked = consumer.questions().partitions_of(&name, KAFKA_TIMEOUT);
        match asked.map_err(|error| (Some(name.clone()), error))? {
            Some(partitions) => all.extend(partitions),
            None if is_required => return Ok(Err(name)),
            None => {}
        }
    }
    all.sort();
    all.dedup();
    Ok(Ok(all))
}

fn check_engine(pipeline: &Pipeline, info: &TableInfo) -> Result<(), Halt> {
    let table = label(pipeline);
    if !info.engine.ends_with("MergeTree") {
        let advice = format!(
            "table {table} has engine {}, which cannot be exact: exactly_once needs a table of the \
             MergeTree family; name that table, or choose delivery = \"at_least_once\"",
            info.engine
        );
        return Err(Halt::new("engine", advice));
    }
    if info.has_tokens {
        return Ok(());
    }
    if info.is_replicated() {
        let advice = format!(
            "table {table} is replicated and keeps no deduplication tokens: a replica that could not finish an \
             insert (code 319) shows rows that it may drop later, and only the repetition of a token tells; \
             ALTER TABLE {table} MODIFY SETTING replicated_deduplication_window = 10000, \
             replicated_deduplication_window_seconds = 604800, or choose delivery = \"at_least_once\""
        );
        return Err(Halt::new("engine", advice));
    }
    tracing::warn!(
        table,
        "the table keeps no deduplication tokens, so an insert that is still running cannot be told from one \
         that is lost: ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 10000"
    );
    Ok(())
}
