//! Records that can never be written, kept with their reason.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::try_join_all;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use super::Backoff;
use crate::decode::Reason;
use crate::source::{Record, TopicPartition, producer_config};

/// Letters on their way at once, and the bytes of more than one.
const LETTERS_AT_ONCE_MAX: usize = 64;
const BYTES_AT_ONCE_MAX: usize = 4 << 20;
/// Of the topic when it is made here: a record that its own topic took comes with headers more.
const MESSAGE_BYTES_MAX: &str = "16777216";

/// Where a record failed, the header `streamweir-stage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Decode,
    Operate,
    Encode,
    Write,
}

impl Stage {
    fn as_str(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Operate => "operate",
            Stage::Encode => "encode",
            Stage::Write => "write",
        }
    }
}

/// The original record and why it is here.
#[derive(Debug)]
pub(crate) struct DeadLetter {
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    pub(crate) timestamp_ms: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
    pub(crate) stage: Stage,
    pub(crate) reason: Reason,
    pub(crate) detail: String,
}

impl DeadLetter {
    /// Copies what the record holds.
    pub(crate) fn new(
        partition: &TopicPartition,
        record: Record<'_>,
        stage: Stage,
        reason: Reason,
        detail: String,
    ) -> Self {
        DeadLetter {
            partition: partition.clone(),
            offset: record.offset(),
            timestamp_ms: record.timestamp_ms(),
            key: record.key().map(<[u8]>::to_vec),
            value: record.value().map(<[u8]>::to_vec),
            headers: record.headers(),
            stage,
            reason,
            detail,
        }
    }

    /// What it takes of the process's memory, roughly.
    pub(crate) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers: usize = self
            .headers
            .iter()
            .map(|(n, v)| n.len() + length(v) + 48)
            .sum();
        length(&self.key) + length(&self.value) + headers + self.detail.len() + size_of::<Self>()
    }
}

/// Why a dead letter could not be produced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProduceError {
    /// No retry makes it smaller.
    #[error(
        "{place}: its dead letter of {bytes} bytes is larger than topic {topic} takes: raise \
         max.message.bytes of that topic, or pass the record by with pipeline.dead_letter.skip"
    )]
    TooLarge {
        place: String,
        topic: String,
        bytes: usize,
    },
    /// The operator must grant what is missing.
    #[error("dead letters cannot be written to topic {topic}: {error}")]
    Refused {
        topic: String,
        error: RDKafkaErrorCode,
    },
    /// The configuration was understood, and still no client comes of it.
    #[error("dead letters cannot be written to topic {topic}: {error}: look at kafka.properties")]
    NoClient { topic: String, error: KafkaError },
}

/// Produces to one dead-letter topic; idempotent, acknowledged by every replica in sync.
pub(crate) struct DeadLetterProducer {
    config: ClientConfig,
    /// Made for the first dead letter: most pipelines never have one, and a client has threads and
    /// connections of its own, of which one uses a hundredth of a core to wait.
    producer: Mutex<Option<FutureProducer>>,
    topic: String,
    pipeline: String,
    config_id: String,
}

impl std::fmt::Debug for DeadLetterProducer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeadLetterProducer")
            .field("topic", &self.topic)
            .finish_non_exhaustive()
    }
}

impl DeadLetterProducer {
    /// Connects with the first dead letter.
    ///
    /// # Errors
    /// A client configuration that librdkafka refuses.
    pub(crate) fn new(pipeline: &crate::config::Pipeline) -> Result<Arc<Self>, KafkaError> {
        let config = producer_config(&pipeline.kafka, &pipeline.name);
        config.create_native_config()?;
        Ok(Arc::new(DeadLetterProducer {
            config,
            producer: Mutex::new(None),
            topic: pipeline.dead_letter.topic.clone(),
            pipeline: pipeline.name.clone(),
            config_id: pipeline.config_id.clone(),
        }))
    }

    /// Returns once every letter is acknowledged, however long the cluster is away.
    ///
    /// `retried` is told each time something had to be tried again.
    ///
    /// # Errors
    /// What no retry can mend.
    pub(crate) async fn send_all(
        &self,
        letters: &[DeadLetter],
        retried: impl Fn(&RDKafkaErrorCode),
    ) -> Result<(), ProduceError> {
        let mut rest = letters;
        while !rest.is_empty() {
            let producer = self.producer()?;
            let (group, later) = rest.split_at(at_once(rest));
            try_join_all(group.iter().map(|l| self.send(&producer, l, &retried))).await?;
            rest = later;
        }
        Ok(())
    }

    fn producer(&self) -> Result<FutureProducer, ProduceError> {
        let mut made = self.producer.lock().expect("no holder of this lock panics");
        if let Some(producer) = &*made {
            return Ok(producer.clone());
        }
        let no_client = |error| ProduceError::NoClient {
            topic: self.topic.clone(),
            error,
        };
        let producer: FutureProducer = self.config.create().map_err(no_client)?;
        Ok(made.insert(producer).clone())
    }

    async fn send(
        &self,
        producer: &FutureProducer,
        letter: &DeadLetter,
        retried: impl Fn(&RDKafkaErrorCode),
    ) -> Result<(), ProduceError> {
        let mut backoff = Backoff::new();
        // To the client 0 means now.
        let mut own_time = letter.timestamp_ms > 0;
        loop {
            let mut record: FutureRecord<'_, [u8], [u8]> =
                FutureRecord::to(&self.topic).headers(self.headers(letter, own_time));
            if own_time {
                record = record.timestamp(letter.timestamp_ms);
            }
            if let Some(key) = &letter.key {
                record = record.key(key);
            }
            if let Some(value) = &letter.value {
                record = record.payload(value);
            }
            let Err((error, _)) = producer.send(record, Duration::from_secs(30)).await else {
                return Ok(());
            };
            let code = error
                .rdkafka_error_code()
                .unwrap_or(RDKafkaErrorCode::Unknown);
            match code {
                RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize => {
                    return Err(ProduceError::TooLarge {
                        place: format!("{}:{}", letter.partition, letter.offset),
                        topic: self.topic.clone(),
                        bytes: letter.bytes(),
                    });
                }
                // A topic may refuse times far from its broker's: the letter matters more than its
                // place in time, which goes into a header.
                RDKafkaErrorCode::InvalidTimestamp | RDKafkaErrorCode::InvalidRecord
                    if own_time =>
                {
                    own_time = false;
                    retried(&code);
                    continue;
                }
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::InvalidTimestamp
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::Fatal => {
                    return Err(ProduceError::Refused {
                        topic: self.topic.clone(),
                        error: code,
                    });
                }
                _ => retried(&code),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    fn headers(&self, letter: &DeadLetter, own_time: bool) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new();
        for (name, value) in &letter.headers {
            headers = headers.insert(Header {
                key: name,
                value: value.as_deref(),
            });
        }
        let added = [
            ("topic", letter.partition.topic.to_string()),
            ("partition", letter.partition.partition.to_string()),
            ("offset", letter.offset.to_string()),
            ("pipeline", self.pipeline.clone()),
            ("stage", letter.stage.as_str().to_owned()),
            ("reason", letter.reason.as_str().to_owned()),
            ("detail", letter.detail.clone()),
            ("config", self.config_id.clone()),
        ];
        let timestamp = (!own_time && letter.timestamp_ms >= 0)
            .then(|| ("timestamp", letter.timestamp_ms.to_string()));
        for (name, value) in added.into_iter().chain(timestamp) {
            let name = format!("streamweir-{name}");
            headers = headers.insert(Header {
                key: &name,
                value: Some(&value),
            });
        }
        headers
    }
}

/// How many of the letters are sent together: the rest stays here instead of twice in memory.
fn at_once(letters: &[DeadLetter]) -> usize {
    let mut bytes = 0;
    let fits = |letter: &&DeadLetter| {
        bytes += letter.bytes();
        bytes <= BYTES_AT_ONCE_MAX
    };
    let count = letters
        .iter()
        .take(LETTERS_AT_ONCE_MAX)
        .take_while(fits)
        .count();
    // One that is larger than all that goes alone.
    count.max(1)
}

/// Makes the dead-letter topic where it is missing: one partition, the cluster's own replication.
///
/// # Errors
/// What the cluster answered.
pub(crate) async fn create_topic(config: &ClientConfig, topic: &str) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    // Old event times must not be deleted as soon as they are written.
    let plain = || NewTopic::new(topic, 1, TopicReplication::Fixed(-1)).set("retention.ms", "-1");
    let large = plain().set("max.message.bytes", MESSAGE_BYTES_MAX);
    match create(&admin, &large, &options).await {
        // Some clusters keep that setting to themselves.
        Err(KafkaError::AdminOp(
            RDKafkaErrorCode::PolicyViolation | RDKafkaErrorCode::InvalidConfig,
        )) => create(&admin, &plain(), &options).await,
        result => result,
    }
}

/// Makes a topic for rows with settings of its own; one that exists stays as it is.
///
/// # Errors
/// As [`create_topic`].
pub(crate) async fn create_output_topic(
    config: &ClientConfig,
    topic: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> = config.create()?;
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    for (key, value) in settings {
        new = new.set(key, value);
    }
    create(&admin, &new, &options).await
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    topic: &NewTopic<'_>,
    options: &AdminOptions,
) -> Result<(), KafkaError> {
    for result in admin.create_topics([topic], options).await? {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((_, code)) => return Err(KafkaError::AdminOp(code)),
        }
    }
    Ok(())
}
