//! A bare copy: what it takes the client library to produce as many messages in transactions.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbox::unique;

/// As the daemon's `flush_interval` for joins.
const TRANSACTION: Duration = Duration::from_millis(100);
/// The broker is on this machine.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// What the daemon adds to an event, about.
const ADDED: &[u8] = br#","user_email":"u12345.123456@example.com","user_name":"User 12345","user_segment":"free","user_country":"DE","profile_updated_at":"2025-11-21T10:00:00.000Z","join_timestamp":"2026-11-21T10:00:00.000Z"}"#;

/// Produces a message with some bytes more for each it is given.
pub(crate) struct Copier<'t> {
    producer: BaseProducer,
    topic: &'t str,
    value: Vec<u8>,
    started: Instant,
    began: Instant,
}

impl<'t> Copier<'t> {
    /// Connects, with the settings of the daemon's producer.
    pub(crate) fn start(bootstrap: &str, topic: &'t str) -> Result<Self> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("transactional.id", unique("copy"))
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("delivery.report.only.error", "true")
            .set("partitioner", "consistent_random")
            .set("queue.buffering.max.messages", "50000")
            .create()?;
        producer.init_transactions(CALL_TIMEOUT)?;
        producer.begin_transaction()?;
        let now = Instant::now();
        Ok(Copier {
            producer,
            topic,
            value: vec![],
            started: now,
            began: now,
        })
    }

    pub(crate) fn take(&mut self, message: &BorrowedMessage<'_>) -> Result<()> {
        self.value.clear();
        self.value
            .extend_from_slice(message.payload().unwrap_or_default());
        self.value.pop();
        self.value.extend_from_slice(ADDED);
        let key = message.key().unwrap_or_default();
        let mut record = BaseRecord::to(self.topic).key(key).payload(&self.value);
        while let Err((error, back)) = self.producer.send(record) {
            let is_full = error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
            ensure!(is_full, "a message is not taken: {error}");
            self.producer.poll(Duration::from_millis(2));
            record = back;
        }
        if self.began.elapsed() >= TRANSACTION {
            self.producer.commit_transaction(CALL_TIMEOUT)?;
            self.producer.begin_transaction()?;
            self.began = Instant::now();
        }
        Ok(())
    }

    /// How long it took, with the last commit.
    pub(crate) fn finish(self) -> Result<Duration> {
        self.producer.commit_transaction(CALL_TIMEOUT)?;
        Ok(self.started.elapsed())
    }
}
