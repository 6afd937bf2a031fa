//! Asking all servers at the same time, each within the one deadline.

mod any_certificate;
pub(crate) mod clickhouse;
pub(crate) mod kafka;
mod machine;
mod partitions;
pub(crate) mod records;
mod redis;
mod tables;
mod views;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::facts::{ClickHouseFacts, Facts, KafkaFacts, PipelineFacts, Reached, RedisFacts};
use super::sample;
use crate::config::{Config, Kind, Pipeline};
use crate::supervisor::created_names;
use crate::topics;

/// Everything is asked within this time.
const GATHER: Duration = Duration::from_secs(22);
/// The sample is judged, and looked up, within this time after it.
const JUDGE: Duration = Duration::from_secs(26);
/// How long tables wait for the names of the topics.
const NAMES: Duration = Duration::from_secs(9);

/// Milliseconds since the epoch.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0))
}

/// Asks every server of these pipelines. `sample`: records of each topic, 0 for none.
pub(super) fn gather(config: &Config, pipelines: &[Arc<Pipeline>], sample: usize) -> Facts {
    let start = Instant::now();
    let (machine, differences) = (config.service.clone(), config.clone());
    let machine = Question::ask(move || machine::gather(&machine));
    let differences = Question::ask(move || differences_of(differences));
    let service = Arc::new(config.service.clone());
    let asked: Vec<_> = pipelines
        .iter()
        .map(|pipeline| {
            let (pipeline, service) = (pipeline.clone(), service.clone());
            Question::ask(move || of_pipeline(&pipeline, &service, sample, start))
        })
        .collect();
    let mut facts = Facts {
        now_ms: now_ms(),
        service: config.service.clone(),
        machine: Default::default(),
        differences: None,
        names: names_of(config),
        pipelines: vec![],
    };
    let until = start + JUDGE + Duration::from_secs(1);
    for (pipeline, asked) in pipelines.iter().zip(asked) {
        let own = asked.answer(until);
        facts
            .pipelines
            .push(own.unwrap_or_else(|| unanswered(pipeline)));
    }
    facts.machine = machine.answer(until).unwrap_or_default();
    facts.differences = differences.answer(until).flatten();
    facts
}

fn names_of(config: &Config) -> BTreeSet<String> {
    let of_file = config.pipelines.iter().map(|p| p.name.clone());
    of_file.chain(created_names(&config.service)).collect()
}

/// What a thread of its own finds out.
struct Question<T>(mpsc::Receiver<T>);

impl<T: Send + 'static> Question<T> {
    fn ask(find_out: impl FnOnce() -> T + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(1);
        std::thread::spawn(move || drop(sender.send(find_out())));
        Question(receiver)
    }

    /// `None`: it took too long.
    fn answer(&self, until: Instant) -> Option<T> {
        let left = until.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left).ok()
    }
}

fn too_long() -> String {
    format!("no answer within {} s", GATHER.as_secs())
}

/// A pipeline none of whose servers answered in time.
fn unanswered(pipeline: &Arc<Pipeline>) -> PipelineFacts {
    let urls = pipeline.clickhouse.urls.iter();
    let urls = urls.filter(|_| has_table(pipeline));
    PipelineFacts {
        pipeline: pipeline.clone(),
        kafka: Reached::No(too_long()),
        clickhouse: urls
            .map(|url| (url.clone(), Reached::No(too_long())))
            .collect(),
        redis: looks_up(pipeline).then(|| Reached::No(too_long())),
        sample: None,
        snapshots: BTreeMap::new(),
    }
}

fn of_pipeline(
    pipeline: &Arc<Pipeline>,
    service: &crate::config::Service,
    sample: usize,
    start: Instant,
) -> PipelineFacts {
    let until = start + GATHER;
    let (names, told) = mpsc::sync_channel(1);
    let own = pipeline.clone();
    let kafka =
        Question::ask(move || kafka::gather(&own, sample, until - Duration::from_secs(4), &names));
    let own = pipeline.clone();
    let servers = Question::ask(move || in_runtime(servers(&own, told, until)));
    let mut facts = unanswered(pipeline);
    if let Some(reached) = kafka.answer(until) {
        facts.kafka = reached;
    }
    if let Some(Some((clickhouse, redis))) = servers.answer(until) {
        facts.clickhouse = clickhouse;
        facts.redis = redis;
    }
    facts.snapshots = in_runtime(sample::snapshots(&facts, service)).unwrap_or_default();
    let judged = facts
        .kafka
        .facts()
        .map(|kafka: &KafkaFacts| sample::judge(pipeline, kafka, facts.tables()));
    if let Some(mut judged) = judged.flatten() {
        in_runtime(async {
            let left = (start + JUDGE).saturating_duration_since(Instant::now());
            let rest = async {
                sample::look_up(pipeline, &mut judged).await;
                views::dry_run(pipeline, &mut facts, &judged).await;
            };
            let _ = tokio::time::timeout(left, rest).await;
        });
        facts.sample = Some(judged);
    }
    facts
}

type Servers = (
    Vec<(String, Reached<ClickHouseFacts>)>,
    Option<Reached<RedisFacts>>,
);

/// ClickHouse and Redis. The tables of replicas are known by the topics.
async fn servers(
    pipeline: &Pipeline,
    told: mpsc::Receiver<BTreeSet<String>>,
    until: Instant,
) -> Servers {
    let redis = async {
        match looks_up(pipeline) {
            true => Some(redis::gather(&pipeline.redis).await),
            false => None,
        }
    };
    let topics = match &pipeline.kind {
        Kind::Cdc(_) => told.recv_timeout(NAMES).unwrap_or_default(),
        _ => BTreeSet::new(),
    };
    let asked = pipeline.clickhouse.urls.iter();
    let asked = asked.filter(|_| has_table(pipeline)).map(|url| {
        let topics = &topics;
        async move {
            let left = until.saturating_duration_since(Instant::now());
            let left = left.saturating_sub(Duration::from_secs(1));
            let gathered = clickhouse::gather(pipeline, url, topics);
            let reached = tokio::time::timeout(left, gathered).await;
            (
                url.clone(),
                reached.unwrap_or_else(|_| Reached::No(too_long())),
            )
        }
    });
    tokio::join!(futures_util::future::join_all(asked), redis)
}

fn looks_up(pipeline: &Pipeline) -> bool {
    matches!(&pipeline.kind, Kind::Enrichment(config) if config.lookup.is_some())
}

/// Whether the pipeline writes to ClickHouse.
fn has_table(pipeline: &Pipeline) -> bool {
    match &pipeline.kind {
        Kind::Cdc(_) => true,
        Kind::StreamJoin(_) => false,
        Kind::Enrichment(_) | Kind::Aggregation(_) | Kind::Raw(_) => !pipeline.table.is_empty(),
    }
}

/// What differs between the declared topics and the cluster's; nothing when it does not answer.
fn differences_of(mut config: Config) -> Option<Vec<topics::Difference>> {
    config.service.start_timeout = Some(Duration::from_secs(10));
    topics::plan(&config).ok()
}

/// `None`: this machine has no more threads or files.
pub(crate) fn in_runtime<F: Future>(future: F) -> Option<F::Output> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    Some(runtime.ok()?.block_on(future))
}
