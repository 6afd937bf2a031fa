//! One pipeline's cluster: topics, rights, offsets and the newest records.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use streamweir_kafka::{TopicRights, group_rights, topic_rights};

use super::super::facts::{KafkaFacts, Reached, TopicFacts};
use super::{partitions, records};
use streamweir_kafka::refused_property;

use crate::config::{Kind, Pipeline, TopicSelector};
use crate::source::{NotCoPartitioned, admin_client, check_keys};

/// How long the first answer of a broker is waited for.
const FIRST_TIMEOUT: Duration = Duration::from_secs(8);
/// How long one later answer is waited for.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How many reports of the client are heard, and how long each is waited for.
const HEARD_MAX: usize = 20;
const HEAR_TIMEOUT: Duration = Duration::from_millis(10);

/// Keeps what the client says of its connections.
#[derive(Debug, Default)]
pub(crate) struct Said(Mutex<Vec<(Option<RDKafkaErrorCode>, String)>>);

impl ClientContext for Said {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut said = self.0.lock().expect("no holder of this lock panics");
        if said.len() < 100 {
            said.push((error.rdkafka_error_code(), reason.to_owned()));
        }
    }
}

impl ConsumerContext for Said {}

impl Said {
    /// Why nobody answered; `Err`: the broker does not take us in.
    fn why(&self, error: &KafkaError) -> Result<String, String> {
        let said = self.0.lock().expect("no holder of this lock panics");
        let refusal = |(code, _): &&(Option<RDKafkaErrorCode>, String)| {
            let codes = [
                RDKafkaErrorCode::Authentication,
                RDKafkaErrorCode::SaslAuthenticationFailed,
                RDKafkaErrorCode::SSL,
                RDKafkaErrorCode::IllegalSASLState,
                RDKafkaErrorCode::UnsupportedSASLMechanism,
            ];
            code.is_some_and(|code| codes.contains(&code))
        };
        if let Some((_, reason)) = said.iter().find(refusal) {
            return Err(reason.clone());
        }
        let down = |(code, _): &&(Option<RDKafkaErrorCode>, String)| {
            *code != Some(RDKafkaErrorCode::AllBrokersDown)
        };
        let reason = said.iter().find(down).map(|(_, reason)| reason.clone());
        Ok(reason.unwrap_or_else(|| error.to_string()))
    }
}

/// A client that asks and reads, and joins no group.
pub(crate) type Client = BaseConsumer<Said>;

/// Asks for everything. `sample`: records of each topic; `names_of` is told the topics that are read.
pub(super) fn gather(
    pipeline: &Pipeline,
    sample: usize,
    deadline: Instant,
    names_of: &SyncSender<BTreeSet<String>>,
) -> Reached<KafkaFacts> {
    let client = match client(pipeline) {
        Ok(client) => client,
        Err(error) => {
            return Reached::No(format!("kafka.properties: {}", refused_property(&error)));
        }
    };
    let names = match client.fetch_metadata(None, FIRST_TIMEOUT) {
        Ok(metadata) => {
            let names = metadata.topics().iter().map(|t| t.name().to_owned());
            names.collect::<BTreeSet<String>>()
        }
        Err(error) => {
            hear(&client);
            return match client.context().why(&error) {
                Err(refused) => Reached::Refused(refused),
                Ok(why) => Reached::No(why),
            };
        }
    };
    let mut facts = KafkaFacts::default();
    select(pipeline, &names, &mut facts);
    let _ = names_of.try_send(facts.sources.clone());
    describe(&client, pipeline, &mut facts);
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() {
        runtime.block_on(properties(&client, pipeline, &mut facts));
    }
    partitions::gather(&client, pipeline, &mut facts, deadline);
    facts.records = records::newest(&client, &facts.partitions, sample, deadline);
    facts.co_partitioning = co_partitioning(pipeline, deadline);
    Reached::Yes(facts)
}

/// What the client has to say of its connections it says when it is polled.
fn hear(client: &Client) {
    for _ in 0..HEARD_MAX {
        let _ = client.poll(HEAR_TIMEOUT);
    }
}

pub(crate) fn client(pipeline: &Pipeline) -> Result<Client, KafkaError> {
    let mut config: ClientConfig = admin_client(&pipeline.kafka, &pipeline.name);
    // Its offsets are asked for; nothing is ever joined or committed.
    config
        .set("group.id", &pipeline.group_id)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("auto.offset.reset", "error")
        .set("queued.max.messages.kbytes", "8192")
        .set("fetch.max.bytes", "4194304")
        .set("message.max.bytes", "4194304")
        .set("max.partition.fetch.bytes", "524288");
    Client::from_config_and_context(&config, Said::default())
}

/// The topics to look at.
fn select(pipeline: &Pipeline, names: &BTreeSet<String>, facts: &mut KafkaFacts) {
    for selector in &pipeline.topics {
        match selector {
            TopicSelector::Name(name) => drop(facts.sources.insert(name.clone())),
            TopicSelector::Pattern(pattern) => {
                let matching: Vec<_> = names.iter().filter(|t| selector.matches(t)).collect();
                if matching.is_empty() {
                    facts.empty_patterns.push(pattern.clone());
                }
                facts.sources.extend(matching.into_iter().cloned());
            }
        }
    }
}

/// The topic that rows go to.
pub(crate) fn output_topic(pipeline: &Pipeline) -> Option<&str> {
    match &pipeline.kind {
        Kind::Aggregation(aggregation) => aggregation.output_topic.as_deref(),
        Kind::StreamJoin(join) => Some(&join.output.topic),
        Kind::Enrichment(_) | Kind::Cdc(_) | Kind::Raw(_) => None,
    }
}

/// Rights on topics and group.
fn describe(client: &Client, pipeline: &Pipeline, facts: &mut KafkaFacts) {
    let mut topics = facts.sources.clone();
    topics.insert(pipeline.dead_letter.topic.clone());
    topics.extend(output_topic(pipeline).map(str::to_owned));
    let topics: Vec<String> = topics.into_iter().collect();
    let described = match topic_rights(client.client(), &topics, TIMEOUT) {
        Ok(described) => described,
        // Brokers older than the request: what the metadata says.
        Err(_) => topics.iter().filter_map(|t| described(client, t)).collect(),
    };
    facts.topics = described
        .into_iter()
        .map(|rights| {
            let properties = BTreeMap::new();
            (rights.topic.clone(), TopicFacts { rights, properties })
        })
        .collect();
    facts.group = group_rights(client.client(), &pipeline.group_id, TIMEOUT).ok();
}

fn described(client: &Client, topic: &str) -> Option<TopicRights> {
    // All of them: to ask for one by name may create it.
    let metadata = client.fetch_metadata(None, TIMEOUT).ok()?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    Some(TopicRights {
        topic: topic.to_owned(),
        error: match found {
            Some(found) => found.error().map(RDKafkaErrorCode::from),
            None => Some(RDKafkaErrorCode::UnknownTopicOrPartition),
        },
        partitions: found.map_or(0, |found| found.partitions().len()),
        operations: None,
    })
}

/// Properties of topics and of one broker, and whether the dead-letter topic can be made.
async fn properties(client: &Client, pipeline: &Pipeline, facts: &mut KafkaFacts) {
    let config = admin_client(&pipeline.kafka, &pipeline.name);
    let Ok(admin) = AdminClient::from_config_and_context(&config, Said::default()) else {
        return;
    };
    let options = AdminOptions::new().request_timeout(Some(TIMEOUT));
    let names: Vec<String> = facts
        .topics
        .iter()
        .filter(|(_, topic)| topic.exists())
        .map(|(name, _)| name.clone())
        .collect();
    let resources: Vec<_> = names.iter().map(|t| ResourceSpecifier::Topic(t)).collect();
    if !resources.is_empty()
        && let Ok(answers) = admin.describe_configs(&resources, &options).await
    {
        for (name, answer) in names.iter().zip(answers) {
            if let (Ok(config), Some(topic)) = (answer, facts.topics.get_mut(name)) {
                let entries = config.entries.into_iter();
                topic.properties = entries.filter_map(|e| Some((e.name, e.value?))).collect();
            }
        }
    }
    let broker = client.fetch_metadata(None, TIMEOUT).ok();
    let broker = broker.and_then(|m| m.brokers().first().map(|broker| broker.id()));
    if let Some(broker) = broker
        && let Ok(answers) = admin
            .describe_configs(&[ResourceSpecifier::Broker(broker)], &options)
            .await
    {
        for config in answers.into_iter().flatten() {
            let entries = config.entries.into_iter();
            let entries = entries.filter_map(|e| Some((e.name, e.value?)));
            facts.broker.extend(entries);
        }
    }
    let dead_letters = &pipeline.dead_letter.topic;
    let is_missing = facts.topics.get(dead_letters).is_some_and(|t| !t.exists());
    if is_missing {
        facts.dead_letter_refusal = creation_refusal(&admin, dead_letters).await;
    }
}

/// Why a topic could not be made; nothing is made.
async fn creation_refusal(admin: &AdminClient<Said>, topic: &str) -> Option<String> {
    let options = AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .validate_only(true);
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("retention.ms", "-1");
    let answers = admin.create_topics([&new], &options).await.ok()?;
    answers.into_iter().find_map(|answer| match answer {
        Err((_, RDKafkaErrorCode::TopicAlreadyExists)) | Ok(_) => None,
        Err((_, code)) => Some(code.to_string()),
    })
}

/// Why the keys of joined topics do not meet.
fn co_partitioning(pipeline: &Pipeline, deadline: Instant) -> Option<String> {
    let Kind::StreamJoin(join) = &pipeline.kind else {
        return None;
    };
    if join.keys_placed_by.is_some() {
        return None;
    }
    let timeout = deadline.saturating_duration_since(Instant::now());
    let timeout = timeout.min(TIMEOUT);
    match check_keys(
        &pipeline.kafka,
        &join.left.topic,
        &join.right.topic,
        timeout,
    ) {
        Err(NotCoPartitioned::Halted(halt)) => Some(halt.advice),
        // Topics that are missing are said by another check.
        Ok(()) | Err(NotCoPartitioned::Later(_)) => None,
    }
}
