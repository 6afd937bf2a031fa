//! Refused records are read again, one after the other, by one client of the pipeline.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::{mpsc, oneshot};

use super::TopicPartition;
use super::fetch::{FetchError, OwnedRecord, assign, consumer, owned};
use crate::config::Pipeline;

/// Requests that wait in the queue; whoever has one more waits before it.
const QUEUE_MAX: usize = 64;
/// How long the client stays connected without a request.
const IDLE_MAX: Duration = Duration::from_secs(60);
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Records between two requests that are read over rather than jumped over.
const READ_OVER_MAX: i64 = 200;

struct Request {
    partition: TopicPartition,
    offset: i64,
    answer: oneshot::Sender<Result<OwnedRecord, FetchError>>,
}

/// Starts its thread with the first request.
#[derive(Debug)]
pub(crate) struct RecordFetcher {
    pipeline: Arc<Pipeline>,
    requests: OnceLock<mpsc::Sender<Request>>,
}

impl RecordFetcher {
    pub(crate) fn new(pipeline: Arc<Pipeline>) -> Self {
        RecordFetcher {
            pipeline,
            requests: OnceLock::new(),
        }
    }

    /// The record at `offset`, however long no broker answers.
    ///
    /// # Errors
    /// It is not in the log any more.
    pub(crate) async fn fetch(
        &self,
        partition: &TopicPartition,
        offset: i64,
    ) -> Result<OwnedRecord, FetchError> {
        let requests = self.requests.get_or_init(|| {
            let (sender, receiver) = mpsc::channel(QUEUE_MAX);
            let pipeline = self.pipeline.clone();
            let runtime = tokio::runtime::Handle::current();
            std::thread::spawn(move || serve(&pipeline, receiver, &runtime));
            sender
        });
        let (answer, answered) = oneshot::channel();
        let request = Request {
            partition: partition.clone(),
            offset,
            answer,
        };
        let gone = || FetchError {
            place: format!("{partition}:{offset}"),
            error: "the thread that reads records again has ended".to_owned(),
        };
        requests.send(request).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Ends with the sender.
fn serve(
    pipeline: &Pipeline,
    mut requests: mpsc::Receiver<Request>,
    runtime: &tokio::runtime::Handle,
) {
    let mut reader: Option<Reader> = None;
    loop {
        let next = runtime.block_on(async {
            match &reader {
                Some(_) => tokio::time::timeout(IDLE_MAX, requests.recv()).await,
                None => Ok(requests.recv().await),
            }
        });
        match next {
            Ok(Some(request)) => answer(pipeline, &mut reader, request),
            Ok(None) => return,
            Err(_idle) => reader = None,
        }
    }
}

/// Tries until there is an answer or nobody waits for it.
fn answer(pipeline: &Pipeline, reader: &mut Option<Reader>, request: Request) {
    let Request {
        partition,
        offset,
        answer,
    } = request;
    let since = Instant::now();
    let mut said = None;
    while !answer.is_closed() {
        let error = match read(pipeline, reader, &partition, offset) {
            Ok(Some(record)) => {
                let _ = answer.send(Ok(record));
                return;
            }
            Ok(None) => {
                let error = "it is not in the log any more".to_owned();
                let place = format!("{partition}:{offset}");
                let _ = answer.send(Err(FetchError { place, error }));
                return;
            }
            Err(error) => error,
        };
        // A client that failed is not asked again.
        *reader = None;
        if said.is_none_or(|at: Instant| at.elapsed() >= SAY_AGAIN_AFTER) {
            said = Some(Instant::now());
            tracing::warn!(
                pipeline = pipeline.name, %partition, offset, %error,
                since_s = since.elapsed().as_secs(),
                "a refused record cannot be read again yet, waiting for kafka"
            );
        }
        std::thread::sleep(Duration::from_millis(500));
    }
}

struct Reader {
    consumer: BaseConsumer,
    /// What comes next.
    partition: TopicPartition,
    next: i64,
}

impl Reader {
    fn begin_at(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        assign(&self.consumer, partition, offset)?;
        self.partition = partition.clone();
        self.next = offset;
        Ok(())
    }
}

/// `None`: the log does not have it.
fn read(
    pipeline: &Pipeline,
    reader: &mut Option<Reader>,
    partition: &TopicPartition,
    offset: i64,
) -> Result<Option<OwnedRecord>, KafkaError> {
    // What a client that reads on says of the log may have been queued before the record came.
    let mut is_assigned_now = true;
    let reader = match reader {
        Some(reader) => {
            is_assigned_now = !is_near(&reader.partition, reader.next, partition, offset);
            if is_assigned_now {
                reader.begin_at(partition, offset)?;
            }
            reader
        }
        None => {
            let consumer = consumer(pipeline)?;
            assign(&consumer, partition, offset)?;
            reader.insert(Reader {
                consumer,
                partition: partition.clone(),
                next: offset,
            })
        }
    };
    let until = Instant::now() + Duration::from_secs(10);
    let mut last = None;
    while Instant::now() < until {
        match reader.consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if message.partition() != partition.partition => {}
            Some(Ok(message)) if message.topic() != &*partition.topic => {}
            Some(Ok(message)) => {
                reader.next = message.offset() + 1;
                if message.offset() >= offset {
                    return Ok((message.offset() == offset).then(|| owned(&message)));
                }
            }
            Some(Err(error)) if is_end(&error, partition) || is_final(&error) => {
                if is_assigned_now {
                    return Ok(None);
                }
                reader.begin_at(partition, offset)?;
                is_assigned_now = true;
            }
            Some(Err(error)) => last = Some(error),
            None => {}
        }
    }
    Err(last.unwrap_or(KafkaError::MessageConsumption(
        RDKafkaErrorCode::OperationTimedOut,
    )))
}

/// Whether reading on gets there soon.
fn is_near(at: &TopicPartition, next: i64, partition: &TopicPartition, offset: i64) -> bool {
    at == partition && (next..=next + READ_OVER_MAX).contains(&offset)
}

fn is_end(error: &KafkaError, partition: &TopicPartition) -> bool {
    matches!(error, KafkaError::PartitionEOF(of) if *of == partition.partition)
}

/// The log has been cut, or the topic is gone.
fn is_final(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_record_shortly_ahead_is_read_on_to() {
        let place = |partition| TopicPartition {
            topic: "t".into(),
            partition,
        };
        let near = |partition, offset| is_near(&place(0), 100, &place(partition), offset);
        assert!(near(0, 100) && near(0, 101) && near(0, 100 + READ_OVER_MAX));
        assert!(!near(0, 99) && !near(0, 101 + READ_OVER_MAX) && !near(1, 100));
    }
}
