//! Writing records and knowing that they arrived.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use rdkafka::ClientContext;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders, ToBytes};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use super::{REQUEST_TIMEOUT, Record, client};

/// Writes the records in order and waits until the broker has acknowledged every one.
/// Returns how many there were.
///
/// # Errors
/// When a single one was not acknowledged.
pub fn produce(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = Record>,
) -> Result<u64> {
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> =
        producer_config(bootstrap).create_with_context(deliveries.clone())?;
    let sent = send_all(&producer, topic, records)?;
    producer.flush(REQUEST_TIMEOUT)?;
    deliveries.check(sent)?;
    Ok(sent)
}

/// Writes records to several topics, in order; else as [`produce`].
pub fn produce_to_topics(
    bootstrap: &str,
    records: impl IntoIterator<Item = (String, Record)>,
) -> Result<u64> {
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> =
        producer_config(bootstrap).create_with_context(deliveries.clone())?;
    let mut sent = 0;
    for (topic, record) in records {
        send(&producer, &topic, &record)?;
        sent += 1;
        if sent % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(REQUEST_TIMEOUT)?;
    deliveries.check(sent)?;
    Ok(sent)
}

/// Writes the records in one transaction and commits it, or aborts it: then the records are in
/// the log, with offsets, and no `read_committed` reader sees them. Either way every partition
/// written gets one more offset for the marker.
pub fn produce_transaction(
    bootstrap: &str,
    topic: &str,
    records: impl IntoIterator<Item = Record>,
    commit: bool,
) -> Result<u64> {
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> = producer_config(bootstrap)
        .set("transactional.id", crate::unique("transaction"))
        .create_with_context(deliveries.clone())?;
    producer.init_transactions(REQUEST_TIMEOUT)?;
    producer.begin_transaction()?;
    let sent = send_all(&producer, topic, records)?;
    producer.flush(REQUEST_TIMEOUT)?;
    deliveries.check(sent)?;
    if commit {
        producer.commit_transaction(REQUEST_TIMEOUT)?;
    } else {
        producer.abort_transaction(REQUEST_TIMEOUT)?;
    }
    Ok(sent)
}

/// The settings of every producer here.
pub(crate) fn producer_config(bootstrap: &str) -> rdkafka::ClientConfig {
    let mut config = client(bootstrap);
    config
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "5")
        .set("batch.size", "262144")
        .set("batch.num.messages", "20000")
        .set("queue.buffering.max.messages", "200000")
        .set("message.max.bytes", "40000000")
        .set("partitioner", "murmur2_random");
    config
}

fn send_all(
    producer: &BaseProducer<Deliveries>,
    topic: &str,
    records: impl IntoIterator<Item = Record>,
) -> Result<u64> {
    let mut sent = 0;
    for record in records {
        send(producer, topic, &record)?;
        sent += 1;
        if sent % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    Ok(sent)
}

fn send(producer: &BaseProducer<Deliveries>, topic: &str, record: &Record) -> Result<()> {
    let mut message = BaseRecord::<[u8], [u8]>::to(topic);
    message.partition = record.partition;
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    message.timestamp = record.timestamp_ms;
    if !record.headers.is_empty() {
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header {
                    key,
                    value: value.as_deref(),
                })
            });
        message.headers = Some(headers);
    }
    send_patiently(producer, message)
}

/// Queues one record; waits while the queue is full.
pub(crate) fn send_patiently<K, V>(
    producer: &BaseProducer<Deliveries>,
    mut record: BaseRecord<'_, K, V>,
) -> Result<()>
where
    K: ToBytes + ?Sized,
    V: ToBytes + ?Sized,
{
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(5));
                record = back;
            }
            Err((error, _)) => return Err(error.into()),
        }
    }
}

/// Counts what became of the records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deliveries(Arc<Outcome>);

#[derive(Debug, Default)]
struct Outcome {
    acknowledged: AtomicU64,
    error: Mutex<Option<KafkaError>>,
}

impl Deliveries {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.0.acknowledged.load(Ordering::Relaxed)
    }

    /// Fails unless exactly `sent` records arrived.
    pub(crate) fn check(&self, sent: u64) -> Result<()> {
        if let Some(error) = self
            .0
            .error
            .lock()
            .expect("no holder of this lock panics")
            .take()
        {
            bail!("a record was not acknowledged: {error}");
        }
        let acknowledged = self.acknowledged();
        ensure!(
            acknowledged == sent,
            "{acknowledged} of {sent} records were acknowledged"
        );
        Ok(())
    }
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(_) => {
                self.0.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let mut first = self.0.error.lock().expect("no holder of this lock panics");
                first.get_or_insert_with(|| error.clone());
            }
        }
    }
}
