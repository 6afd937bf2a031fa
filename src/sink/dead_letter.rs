//! Records that can never be written, kept with their reason.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::try_join_all;
use streamweir_kafka::{
    Admin, ClientConfig, KafkaError, Outgoing, Producer, RequestError, SendError, SendFault,
    TopicSpec, check_config,
};

use super::Backoff;
use crate::config::Payload;
use crate::message::DeadLetter;
use crate::source::producer_config;
use crate::steps::PrivateFields;

/// Says that a letter has its record's value not as it was: `masked` or `omitted`.
const PAYLOAD_HEADER: &str = "streamweir-payload";
/// Letters on their way at once, and the bytes of more than one.
const LETTERS_AT_ONCE_MAX: usize = 64;
const BYTES_AT_ONCE_MAX: usize = 4 << 20;
/// Of the topic when it is made here: a record that its own topic took comes with headers more.
const MESSAGE_BYTES_MAX: &str = "16777216";
/// How long the cluster may take to make a topic.
const CREATE_TIMEOUT: Duration = Duration::from_secs(10);

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
    #[error("dead letters cannot be written to topic {topic}: {}", error.at_topic(topic))]
    Refused { topic: String, error: SendError },
    /// The configuration was understood, and still no client comes of it.
    #[error("dead letters cannot be written to topic {topic}: {error}: look at kafka.properties")]
    NoClient { topic: String, error: KafkaError },
}

/// Produces to one dead-letter topic; idempotent, acknowledged by every replica in sync.
pub(crate) struct DeadLetterProducer {
    config: ClientConfig,
    /// Made for the first dead letter: most pipelines never have one, and a client has threads and
    /// connections of its own, of which one uses a hundredth of a core to wait.
    producer: Mutex<Option<Producer>>,
    topic: String,
    pipeline: String,
    config_id: String,
    payload: Payload,
    privacy: PrivateFields,
    /// Kafka's ids of the topics that are read, where it tells them.
    topic_ids: Mutex<BTreeMap<Arc<str>, String>>,
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
        check_config(&config)?;
        Ok(Arc::new(DeadLetterProducer {
            config,
            producer: Mutex::new(None),
            topic: pipeline.dead_letter.topic.clone(),
            pipeline: pipeline.name.clone(),
            config_id: pipeline.config_id.clone(),
            payload: pipeline.dead_letter.payload,
            privacy: pipeline.privacy.clone(),
            topic_ids: Mutex::default(),
        }))
    }

    /// A partition of this topic is read from now on: its letters name the id, so that they are told from
    /// those of another topic of the same name. `-`: the broker tells none.
    pub(super) fn note_topic(&self, topic: &Arc<str>, id: &str) {
        if id != "-" {
            let mut ids = self
                .topic_ids
                .lock()
                .expect("no holder of this lock panics");
            ids.insert(topic.clone(), id.to_owned());
        }
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
        retried: impl Fn(&SendError),
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

    fn producer(&self) -> Result<Producer, ProduceError> {
        let mut made = self.producer.lock().expect("no holder of this lock panics");
        if let Some(producer) = &*made {
            return Ok(producer.clone());
        }
        let no_client = |error| ProduceError::NoClient {
            topic: self.topic.clone(),
            error,
        };
        let producer = Producer::new(&self.config, &self.topic).map_err(no_client)?;
        Ok(made.insert(producer).clone())
    }

    async fn send(
        &self,
        producer: &Producer,
        letter: &DeadLetter,
        retried: impl Fn(&SendError),
    ) -> Result<(), ProduceError> {
        let mut backoff = Backoff::new();
        // To the client 0 means now.
        let mut own_time = letter.timestamp_ms > 0;
        let (value, payload) = self.value(letter);
        loop {
            let mut added = self.headers(letter, own_time);
            added.extend(payload.map(|word| (PAYLOAD_HEADER.to_owned(), word.to_owned())));
            let own = letter.headers.iter();
            let own = own.map(|(name, value)| (&**name, value.as_deref()));
            let added = added
                .iter()
                .map(|(name, value)| (&**name, Some(value.as_bytes())));
            let message = Outgoing {
                key: letter.key.as_deref(),
                value: value.as_deref(),
                timestamp_ms: own_time.then_some(letter.timestamp_ms),
                headers: own.chain(added).collect(),
            };
            let Err(error) = producer.send(&message).await else {
                return Ok(());
            };
            match error.fault {
                SendFault::TooLarge => {
                    return Err(ProduceError::TooLarge {
                        place: format!("{}:{}", letter.partition, letter.offset),
                        topic: self.topic.clone(),
                        bytes: letter.bytes(),
                    });
                }
                // A topic may refuse times far from its broker's: the letter matters more than its
                // place in time, which goes into a header.
                SendFault::InvalidTimestamp | SendFault::InvalidRecord if own_time => {
                    own_time = false;
                    retried(&error);
                    continue;
                }
                SendFault::Refused | SendFault::InvalidTimestamp | SendFault::InvalidRecord => {
                    return Err(ProduceError::Refused {
                        topic: self.topic.clone(),
                        error,
                    });
                }
                SendFault::Retriable => retried(&error),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    /// What the letter has of the record's value, and the word for it where that is not all.
    fn value<'l>(&self, letter: &'l DeadLetter) -> (Option<Cow<'l, [u8]>>, Option<&'static str>) {
        let Some(value) = &letter.value else {
            return (None, None);
        };
        match self.payload {
            Payload::Masked => masked(&self.privacy, value),
            Payload::Original => (Some(value.into()), None),
            Payload::Omit => (None, Some("omitted")),
        }
    }

    /// The headers that say where the record comes from and why it is here.
    fn headers(&self, letter: &DeadLetter, own_time: bool) -> Vec<(String, String)> {
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
        let ids = self
            .topic_ids
            .lock()
            .expect("no holder of this lock panics");
        let id = ids.get(&letter.partition.topic).cloned();
        let id = id.map(|id| ("topic-id", id));
        let timestamp = (!own_time && letter.timestamp_ms >= 0)
            .then(|| ("timestamp", letter.timestamp_ms.to_string()));
        let named = added.into_iter().chain(id).chain(timestamp);
        named
            .map(|(name, value)| (format!("streamweir-{name}"), value))
            .collect()
    }
}

/// A record's value with its private fields hidden, and the word for that; nothing of what is no JSON object,
/// whatever is private.
fn masked<'l>(
    privacy: &PrivateFields,
    value: &'l [u8],
) -> (Option<Cow<'l, [u8]>>, Option<&'static str>) {
    match privacy.hidden_record(value) {
        None => (None, Some("omitted")),
        Some(_) if privacy.is_empty() => (Some(value.into()), None),
        Some(masked) => (Some(masked.into_bytes().into()), Some("masked")),
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
pub(crate) async fn create_topic(config: &ClientConfig, topic: &str) -> Result<(), RequestError> {
    let spec = TopicSpec {
        name: topic,
        partitions: 1,
        replication: None,
        // Old event times must not be deleted as soon as they are written.
        properties: vec![("retention.ms", "-1")],
    };
    // Some clusters keep that property to themselves.
    let wishes = [("max.message.bytes", MESSAGE_BYTES_MAX)];
    let admin = Admin::new(config)?;
    admin
        .create_topic_wishing(&spec, &wishes, CREATE_TIMEOUT)
        .await
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
) -> Result<(), RequestError> {
    let spec = TopicSpec {
        name: topic,
        partitions,
        replication: None,
        properties: settings.to_vec(),
    };
    Admin::new(config)?
        .create_topic(&spec, CREATE_TIMEOUT)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_letter_has_nothing_of_what_is_no_object() {
        let fields = PrivateFields::new(["$.email"]).unwrap();
        let none = PrivateFields::default();
        for private in [&fields, &none] {
            assert_eq!(masked(private, b"a@b"), (None, Some("omitted")));
        }
        let object = br#"{"email":"a@b"}"#;
        let hidden = br#"{"email":"***"}"#;
        let (value, word) = masked(&fields, object);
        assert_eq!(
            (value.as_deref(), word),
            (Some(&hidden[..]), Some("masked"))
        );
        let (value, word) = masked(&none, object);
        assert_eq!((value.as_deref(), word), (Some(&object[..]), None));
    }
}
