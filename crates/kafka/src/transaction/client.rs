//! A client with transactions, and messages handed to it. Every call blocks.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, Producer as _};
use rdkafka_sys as sys;
use streamweir_core::backoff::Backoff;

use super::error::{Deliveries, TransactionError, failed};
use super::{CALL_TIMEOUT, OPEN_PATIENCE, PATIENCE, TransactionSettings};
use crate::messages::{Message, Messages};
use crate::placement::{Partitioner, partition_of};

/// Messages that are handed to the client in one call.
const AT_ONCE: usize = 1_000;
/// Messages that the client holds and the broker has not acknowledged, about.
const BYTES_ON_THEIR_WAY_MAX: usize = 8 << 20;

/// A client whose transactions are initialised.
pub(super) struct Client {
    topic: Topic,
    partitions: Option<usize>,
    partitioner: Partitioner,
    pub(super) producer: Arc<BaseProducer<Deliveries>>,
}

/// A handle of librdkafka's, so that a message does not name its topic.
struct Topic {
    handle: NonNull<sys::rd_kafka_topic_t>,
    _client: Arc<BaseProducer<Deliveries>>,
}

impl Drop for Topic {
    fn drop(&mut self) {
        // SAFETY: made by rd_kafka_topic_new, destroyed once, before the client it holds.
        unsafe { sys::rd_kafka_topic_destroy(self.handle.as_ptr()) }
    }
}

// SAFETY: librdkafka's handles may be used from any thread.
unsafe impl Send for Topic {}

fn partitions(producer: &BaseProducer<Deliveries>, topic: &str) -> Result<usize, TransactionError> {
    let metadata = producer.client().fetch_metadata(Some(topic), CALL_TIMEOUT);
    let metadata = metadata.map_err(failed("the topic's partitions"))?;
    let found = metadata.topics().iter().find(|t| t.name() == topic);
    Ok(found.map_or(0, |topic| topic.partitions().len()).max(1))
}

fn open_topic(producer: &Arc<BaseProducer<Deliveries>>, topic: &str) -> Topic {
    let name = CString::new(topic).expect("Kafka's topic names hold no NUL");
    // SAFETY: the client is alive and the name a C string; without a configuration of its own the
    // topic takes the client's.
    let handle = unsafe {
        sys::rd_kafka_topic_new(
            producer.client().native_ptr(),
            name.as_ptr(),
            std::ptr::null_mut(),
        )
    };
    Topic {
        handle: NonNull::new(handle).expect("a topic of a live client is not null"),
        _client: producer.clone(),
    }
}

impl Client {
    /// Makes the client and initialises its transactions. This also ends what a predecessor of its name has
    /// left open.
    pub(super) fn open(
        settings: &TransactionSettings,
        is_given_up: &AtomicBool,
    ) -> Result<Client, TransactionError> {
        let TransactionSettings {
            config,
            topic,
            partitioner,
        } = settings;
        let producer = plain_client(config)?;
        until_done(
            is_given_up,
            OPEN_PATIENCE,
            "transactions cannot begin",
            || producer.init_transactions(CALL_TIMEOUT),
        )?;
        let partitions = match partitioner {
            Partitioner::KeyModulo => Some(partitions(&producer, topic)?),
            Partitioner::Consistent | Partitioner::Murmur2 => None,
        };
        Ok(Client {
            topic: open_topic(&producer, topic),
            partitions,
            partitioner: *partitioner,
            producer,
        })
    }

    /// Hands all messages to the client, so many at once that they stay in order: its own queue, once
    /// full, refuses single ones.
    ///
    /// # Safety
    /// The client refers to the messages after the call: they may be changed or dropped only after a flush
    /// that has seen all delivered, after an abort that has succeeded, or after the client was dropped.
    pub(super) unsafe fn produce(
        &self,
        messages: &Messages,
        is_given_up: &AtomicBool,
    ) -> Result<(), TransactionError> {
        let what = "a message is not taken";
        let mean_bytes = messages.bytes() / messages.len().max(1);
        let on_their_way_max = (BYTES_ON_THEIR_WAY_MAX / mean_bytes.max(1)).clamp(1, 20_000);
        let mut sent = 0;
        while sent < messages.len() {
            let to = (sent + on_their_way_max.min(AT_ONCE)).min(messages.len());
            // SAFETY: as this function's own.
            if let Err((number, code)) = unsafe { self.produce_some(messages, sent..to) } {
                self.producer.context().note(number, code, usize::MAX);
                let error = KafkaError::MessageProduction(code);
                return Err(failed(what)(error));
            }
            sent = to;
            while usize::try_from(self.producer.in_flight_count()).unwrap_or(0) > on_their_way_max {
                if is_given_up.load(Ordering::Acquire) {
                    return Err(failed(what)(KafkaError::Canceled));
                }
                self.producer.poll(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    /// Returns once every message is delivered or has failed, which a commit waits for too, but by looking
    /// again every 100 ms: delivered messages are not reported.
    pub(super) fn flush(&self, is_given_up: &AtomicBool) -> Result<(), TransactionError> {
        const WAIT_MS: i32 = 100;
        let begun = Instant::now();
        loop {
            // SAFETY: the client is alive.
            let code = unsafe { sys::rd_kafka_flush(self.producer.client().native_ptr(), WAIT_MS) };
            if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                return Ok(());
            }
            // Those that failed are reported, and are there until the report is served.
            self.producer.poll(Duration::ZERO);
            if is_given_up.load(Ordering::Acquire) || begun.elapsed() >= PATIENCE {
                let error = KafkaError::Flush(code.into());
                return Err(failed("messages are on their way")(error));
            }
        }
    }

    /// The number of the first message that the client did not take, and why.
    ///
    /// # Safety
    /// As [`Client::produce`].
    unsafe fn produce_some(
        &self,
        messages: &Messages,
        numbers: std::ops::Range<usize>,
    ) -> Result<(), (usize, RDKafkaErrorCode)> {
        let first = numbers.start;
        let raw = |(number, message): (usize, Message<'_>)| {
            let placed = |count| partition_of(self.partitioner, message.key, count);
            let partition = self.partitions.and_then(placed);
            // SAFETY: all zeros is a message of librdkafka's without anything.
            let mut raw: sys::rd_kafka_message_t = unsafe { std::mem::zeroed() };
            raw.partition = partition.unwrap_or(-1);
            raw.payload = message.value.as_ptr().cast_mut().cast();
            raw.len = message.value.len();
            if let Some(key) = message.key {
                raw.key = key.as_ptr().cast_mut().cast();
                raw.key_len = key.len();
            }
            raw._private = (first + number) as *mut std::ffi::c_void;
            raw
        };
        let mut raw: Vec<_> = messages.range(numbers).enumerate().map(raw).collect();
        let flags = sys::RD_KAFKA_MSG_F_PARTITION;
        // SAFETY: topic and client are alive. The call copies keys, and refers to values until it has
        // reported them, per the contract of this function. `raw` holds as many messages as it is told.
        unsafe {
            sys::rd_kafka_produce_batch(
                self.topic.handle.as_ptr(),
                -1,
                flags,
                raw.as_mut_ptr(),
                i32::try_from(raw.len()).expect("a thousand at most"),
            );
        }
        let refused = raw.iter().position(|message| {
            message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        });
        match refused {
            None => Ok(()),
            Some(at) => Err((first + at, raw[at].err.into())),
        }
    }
}

fn plain_client(config: &ClientConfig) -> Result<Arc<BaseProducer<Deliveries>>, TransactionError> {
    let client = BaseProducer::from_config_and_context(config, Deliveries::default());
    client.map(Arc::new).map_err(failed("kafka.properties"))
}

/// What would be without transactions: `make soak` shows that it is noticed.
pub(super) fn produce_without(
    settings: &TransactionSettings,
    messages: &Messages,
) -> Result<(), TransactionError> {
    let mut config = settings.config.clone();
    config.remove("transactional.id");
    config.remove("transaction.timeout.ms");
    let producer = plain_client(&config)?;
    let client = Client {
        topic: open_topic(&producer, &settings.topic),
        partitions: None,
        partitioner: Partitioner::Consistent,
        producer: producer.clone(),
    };
    // SAFETY: the client is dropped before this function returns.
    unsafe { client.produce(messages, &AtomicBool::new(false))? };
    producer
        .flush(CALL_TIMEOUT)
        .map_err(failed("messages are on their way"))
}

/// Repeats a call that may be repeated until it has an answer, but not for longer than this.
pub(super) fn until_done(
    is_given_up: &AtomicBool,
    patience: Duration,
    what: &'static str,
    call: impl Fn() -> Result<(), KafkaError>,
) -> Result<(), TransactionError> {
    let begun = Instant::now();
    let mut backoff = Backoff::new();
    loop {
        let Err(error) = call() else { return Ok(()) };
        let is_retriable = match &error {
            KafkaError::Transaction(error) => error.is_retriable(),
            // Messages that are still on their way.
            KafkaError::Flush(_) => true,
            _ => false,
        };
        let is_over = is_given_up.load(Ordering::Acquire) || begun.elapsed() >= patience;
        if !is_retriable || is_over {
            return Err(failed(what)(error));
        }
        tracing::debug!(%error, what, "trying again");
        std::thread::sleep(backoff.next_wait());
    }
}
