//! Schemas of records, as a schema registry has them: asked for once, beside the lanes, and kept.

mod client;
mod connect;
mod questions;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub(crate) use self::client::NoAnswer;
use self::client::{Answer, Client};
pub(crate) use self::questions::{Questions, WrittenBy};
use crate::config::SchemaRegistry;
use crate::format::{AvroSchema, JsonSchema, ProtobufSchema, SchemaKey};
use crate::halt::Halt;
use crate::lane::{After, BlockingTask};
use crate::observe::board::{Board, PipelineBoard};
use crate::observe::metrics::PipelineMetrics;
use crate::sink::Backoff;

/// Under what name it is known what the registry said last.
pub(crate) const SCHEMA_REGISTRY: &str = "schema_registry";
/// How long a schema that the registry does not have is asked for again, and then not.
const MISSING: Duration = Duration::from_secs(30);
/// Questions within that time.
const MISSING_QUESTIONS: u32 = 15;
/// Waits for schemas that the registry does not have last so many times that at most, one after the other.
const MISSING_WAITS_MAX: u32 = 2;
/// How long a command waits for the registry.
const PATIENCE: Duration = Duration::from_secs(10);
/// Schemas that are kept.
const SCHEMAS_MAX: usize = 10_000;
/// Bytes of their texts: what is made of them takes several times as much.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// The schemas of one pipeline, shared by its lanes.
#[derive(Debug)]
pub(crate) struct Schemas {
    client: Client,
    cache_ttl: Duration,
    missing: Duration,
    /// Since when one schema or another is missing, and when one was last.
    missing_since: Mutex<Option<(Instant, Instant)>>,
    known: Mutex<HashMap<SchemaKey, Kept>>,
    /// One for each schema that is asked for, so that the registry is asked once for what several partitions
    /// wait for. A schema that is missing holds up nobody who needs another.
    asking: Mutex<HashMap<SchemaKey, Arc<tokio::sync::Mutex<()>>>>,
    metrics: PipelineMetrics,
    board: Arc<PipelineBoard>,
    /// Whoever looks for a schema waits until it was asked for: there is no lane that could.
    waits: bool,
    /// Schemas that the registry did not tell a command, which does not wait for them again.
    unanswered: Mutex<HashSet<SchemaKey>>,
}

#[derive(Debug, Clone)]
struct Kept {
    found: Found,
    until: Instant,
    text_bytes: usize,
    /// The registry lacks it, or what it refers to, and it was waited for.
    is_missing: bool,
}

/// What is known of a schema.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Avro(Arc<AvroSchema>),
    Protobuf(Arc<ProtobufSchema>),
    Json(Arc<JsonSchema>),
    /// It cannot be read: why.
    Unusable(String),
    /// The registry has had none for a while.
    Missing,
    /// The registry does not let a command in: what to do.
    Forbidden(String),
}

impl Schemas {
    /// # Errors
    /// Certificates cannot be used.
    pub(crate) fn new(
        config: &SchemaRegistry,
        metrics: PipelineMetrics,
        board: Arc<PipelineBoard>,
    ) -> Result<Arc<Schemas>, Halt> {
        let client = Client::new(config)
            .map_err(|why| Halt::new("tls", format!("schema_registry: {why}")))?;
        Ok(Arc::new(Schemas {
            client,
            cache_ttl: config.cache_ttl,
            missing: MISSING,
            missing_since: Mutex::default(),
            known: Mutex::default(),
            asking: Mutex::default(),
            metrics,
            board,
            waits: false,
            unanswered: Mutex::default(),
        }))
    }

    /// Those of a command, which waits for them where it looks for them, and asks once.
    ///
    /// # Errors
    /// Certificates cannot be used.
    pub(crate) fn of_command(config: &SchemaRegistry) -> Result<Arc<Schemas>, Halt> {
        let board = Board::new().add_pipeline("", "");
        let mut schemas = Schemas::new(config, PipelineMetrics::new(""), board)?;
        if let Some(own) = Arc::get_mut(&mut schemas) {
            own.waits = true;
            own.missing = Duration::ZERO;
        }
        Ok(schemas)
    }

    /// The addresses, for people.
    pub(crate) fn label(&self) -> String {
        self.client.label()
    }

    /// Whether the registry answers.
    ///
    /// # Errors
    /// What it says, or that it says nothing.
    pub(crate) async fn ping(&self) -> Result<(), NoAnswer> {
        let target = self.board.target(SCHEMA_REGISTRY);
        let answer = self.client.ping().await;
        match &answer {
            Ok(()) => target.answered(),
            Err(error) => target.failed(&error.to_string()),
        }
        answer
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SchemaKey, Kept>> {
        self.known.lock().expect("no holder of this lock panics")
    }

    fn unanswered(&self) -> MutexGuard<'_, HashSet<SchemaKey>> {
        self.unanswered
            .lock()
            .expect("no holder of this lock panics")
    }

    /// What is known of a schema now; `None`: it has to be asked for.
    pub(crate) fn find(&self, key: SchemaKey, now: Instant) -> Option<Found> {
        let found = self.kept(key, now);
        if found.is_none() && self.waits && !self.unanswered().contains(&key) {
            self.wait_for(key);
            return self.kept(key, now);
        }
        found
    }

    fn kept(&self, key: SchemaKey, now: Instant) -> Option<Found> {
        let known = self.lock();
        let kept = known.get(&key).filter(|kept| now < kept.until)?;
        Some(kept.found.clone())
    }

    /// Whoever calls may be in a runtime whose threads must not wait, so the question has one of its own, and
    /// a client that ends with it.
    fn wait_for(&self, key: SchemaKey) {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("schema".to_owned());
            let asking = thread.spawn_scoped(scope, || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build();
                let (Ok(runtime), Ok(client)) = (runtime, Client::new(self.client.config())) else {
                    return;
                };
                let learning = self.learn_by(&client, key);
                let learned =
                    runtime.block_on(async { tokio::time::timeout(PATIENCE, learning).await });
                match learned {
                    Ok(Ok(())) => {}
                    Ok(Err(halt)) => {
                        self.keep(key, Found::Forbidden(halt.advice), self.cache_ttl, 0);
                    }
                    Err(_too_long) => drop(self.unanswered().insert(key)),
                }
            });
            // Without an answer the schema is not known, which the caller says.
            if let Ok(asking) = asking {
                _ = asking.join();
            }
        });
    }

    /// Asks for a schema, as long as it takes: afterwards it is known, or known to be missing.
    pub(crate) fn ask(self: &Arc<Self>, key: SchemaKey) -> BlockingTask {
        let schemas = self.clone();
        BlockingTask {
            what: format!("schema {key} of the registry at {}", self.label()),
            after: After::Nothing,
            task: Box::pin(async move { schemas.learn(key).await }),
        }
    }

    async fn learn(&self, key: SchemaKey) -> Result<(), Halt> {
        let asking = self.asking_for(key);
        let _asking = asking.lock().await;
        self.learn_by(&self.client, key).await
    }

    fn asking_for(&self, key: SchemaKey) -> Arc<tokio::sync::Mutex<()>> {
        let mut asking = self.asking.lock().expect("no holder of this lock panics");
        asking.retain(|_, lock| Arc::strong_count(lock) > 1);
        asking.entry(key).or_default().clone()
    }

    async fn learn_by(&self, client: &Client, key: SchemaKey) -> Result<(), Halt> {
        if self.kept(key, Instant::now()).is_some() {
            return Ok(());
        }
        let mut backoff = Backoff::new();
        let mut missing_since = None;
        let was_missing = self.was_missing(key);
        loop {
            let answer = client.schema(key).await;
            self.note(key, &answer);
            if !matches!(answer, Ok(Some(_)) | Err(NoAnswer::Forbidden(_)))
                && self.goes_on_with_old(key)
            {
                return Ok(());
            }
            let absent = match answer {
                Ok(Some(answer)) => {
                    self.keep(key, read(&answer, key), self.cache_ttl, answer.bytes());
                    return Ok(());
                }
                Err(NoAnswer::Unusable(why)) => {
                    self.keep(key, Found::Unusable(why), self.cache_ttl, 0);
                    return Ok(());
                }
                Err(NoAnswer::Forbidden(why)) => return Err(forbidden(&why)),
                Ok(None) => Found::Missing,
                Err(NoAnswer::MissingReference(why)) => Found::Unusable(why),
                Err(NoAnswer::Unavailable(why)) => {
                    let pause = backoff.next_wait();
                    // The lane says for how long its partitions wait.
                    if backoff.attempts() == 1 {
                        tracing::warn!(
                            pipeline = self.board.name(), schema = %key, error = why,
                            "the schema registry does not answer, waiting (schema_registry.url)"
                        );
                    }
                    tokio::time::sleep(pause).await;
                    continue;
                }
            };
            let since = *missing_since.get_or_insert_with(Instant::now);
            // What was missing before is not waited for, so it is no wait that counts.
            if was_missing || self.is_wait_over(Instant::now()) || since.elapsed() >= self.missing {
                self.keep_missing(key, absent, self.missing);
                return Ok(());
            }
            tokio::time::sleep(self.missing / MISSING_QUESTIONS).await;
        }
    }

    /// Whether the schema was waited for before, and was missing then too.
    fn was_missing(&self, key: SchemaKey) -> bool {
        let known = self.lock();
        known.get(&key).is_some_and(|kept| kept.is_missing)
    }

    /// Whether enough was waited for missing schemas, of whatever keys: a producer may name any number of
    /// them, and a new schema is not that late. Asked where one is missing that is waited for.
    fn is_wait_over(&self, now: Instant) -> bool {
        let mut since = self
            .missing_since
            .lock()
            .expect("no holder of this lock panics");
        let begun = match *since {
            Some((begun, last)) if now.duration_since(last) < self.missing => begun,
            _ => now,
        };
        *since = Some((begun, now));
        now.duration_since(begun) >= self.missing * MISSING_WAITS_MAX
    }

    /// Tells what the registry said.
    fn note(&self, key: SchemaKey, answer: &Result<Option<Answer>, NoAnswer>) {
        let target = self.board.target(SCHEMA_REGISTRY);
        let result = match answer {
            Ok(Some(_)) => "found",
            Ok(None) | Err(NoAnswer::MissingReference(_)) => "missing",
            Err(NoAnswer::Unusable(why)) => {
                tracing::warn!(
                    pipeline = self.board.name(), schema = %key, error = why,
                    "the schema registry has a schema that cannot be used"
                );
                "found"
            }
            Err(NoAnswer::Unavailable(why)) => {
                self.metrics.retry(SCHEMA_REGISTRY, "unavailable");
                self.board.table_failed(SCHEMA_REGISTRY, why);
                target.failed(why);
                self.metrics.schema_request("unavailable");
                return;
            }
            Err(NoAnswer::Forbidden(_)) => return,
        };
        target.answered();
        self.metrics.schema_request(result);
    }

    /// A schema of an id never changes: one that was due to be asked for again serves while nobody has it.
    fn goes_on_with_old(&self, key: SchemaKey) -> bool {
        let mut known = self.lock();
        match known.get_mut(&key) {
            Some(kept)
                if matches!(
                    kept.found,
                    Found::Avro(_) | Found::Protobuf(_) | Found::Json(_)
                ) =>
            {
                kept.until = Instant::now() + MISSING;
                true
            }
            _ => false,
        }
    }

    fn keep(&self, key: SchemaKey, found: Found, ttl: Duration, text_bytes: usize) {
        let mut known = self.lock();
        known.remove(&key);
        let kept_bytes: usize = known.values().map(|kept| kept.text_bytes).sum();
        if known.len() >= SCHEMAS_MAX || kept_bytes + text_bytes > TEXT_BYTES_MAX {
            known.clear();
        }
        let until = Instant::now() + ttl;
        known.insert(
            key,
            Kept {
                found,
                until,
                text_bytes,
                is_missing: false,
            },
        );
    }

    /// Keeps what is said of a schema that was waited for.
    fn keep_missing(&self, key: SchemaKey, found: Found, ttl: Duration) {
        self.keep(key, found, ttl, 0);
        if let Some(kept) = self.lock().get_mut(&key) {
            kept.is_missing = true;
        }
    }
}

fn read(answer: &Answer, key: SchemaKey) -> Found {
    let read = match answer.kind.as_str() {
        "AVRO" => {
            let texts = answer.references.iter().map(|(_, text)| text.clone());
            let texts: Vec<String> = texts.collect();
            AvroSchema::parse_with(&answer.text, &texts).map(|schema| Found::Avro(Arc::new(schema)))
        }
        "PROTOBUF" => ProtobufSchema::from_source(&answer.text, &answer.references)
            .map(|schema| Found::Protobuf(Arc::new(schema))),
        "JSON" => JsonSchema::parse_with(&answer.text, &answer.references)
            .map(|schema| Found::Json(Arc::new(schema))),
        other => {
            return Found::Unusable(format!("schema {key} of the registry is of type {other}"));
        }
    };
    read.unwrap_or_else(|error| Found::Unusable(format!("schema {key} of the registry: {error}")))
}

pub(crate) fn forbidden(why: &str) -> Halt {
    let advice = format!(
        "{why}: set schema_registry.user and password_file, token_file, or cert_file and key_file to \
         those who may read schemas"
    );
    Halt::new("authentication", advice)
}
