//! Refused records are read again, one after the other, by one client of the pipeline. Those of a
//! partition that cannot be read wait aside and hold no other up.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use streamweir_kafka::{Found, KafkaError, OwnedRecord, RDKafkaErrorCode, Reader};
use tokio::sync::{mpsc, oneshot};

use super::TopicPartition;
use super::fetch::{FetchError, reader};
use crate::config::Pipeline;

/// Requests that wait in the queue; whoever has one more waits before it.
const QUEUE_MAX: usize = 64;
/// How long the client stays connected without a request.
const IDLE_MAX: Duration = Duration::from_secs(60);
const SAY_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How long one record is waited for, and how long one of a partition that could not be read.
const PATIENCE: Duration = Duration::from_secs(10);
const PATIENCE_AGAIN: Duration = Duration::from_secs(3);
/// How long such a partition is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Requests that wait aside.
const ASIDE_MAX: usize = 1_024;
/// Records between two requests that are read over rather than jumped over.
const READ_OVER_MAX: i64 = 200;

#[derive(Debug)]
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

/// Partitions that cannot be read, and the requests that wait for them.
#[derive(Debug, Default)]
struct Aside {
    partitions: HashMap<TopicPartition, Failing>,
    waiting: VecDeque<Request>,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    again_at: Instant,
    said_at: Option<Instant>,
}

impl Aside {
    /// Whether the request was put aside, because its partition cannot be read.
    fn takes(&mut self, request: Request) -> Option<Request> {
        if !self.partitions.contains_key(&request.partition) {
            return Some(request);
        }
        self.waiting.push_back(request);
        None
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= ASIDE_MAX
    }

    /// Its partition could not be read: it is tried again later.
    fn put(&mut self, request: Request, now: Instant) -> &mut Failing {
        let partition = request.partition.clone();
        self.waiting.push_back(request);
        let failing = self.partitions.entry(partition).or_insert(Failing {
            since: now,
            again_at: now,
            said_at: None,
        });
        failing.again_at = now + AGAIN_AFTER;
        failing
    }

    /// What may be tried again now; a partition that nobody asks for any more is forgotten.
    fn take_due(&mut self, now: Instant) -> Option<Request> {
        self.waiting.retain(|request| !request.answer.is_closed());
        let is_asked_for = |of: &TopicPartition| self.waiting.iter().any(|r| r.partition == *of);
        self.partitions.retain(|of, _| is_asked_for(of));
        let is_due = |request: &Request| {
            let failing = self.partitions.get(&request.partition);
            failing.is_none_or(|failing| failing.again_at <= now)
        };
        let index = self.waiting.iter().position(is_due)?;
        self.waiting.remove(index)
    }

    /// When the next one is due.
    fn due_at(&self) -> Option<Instant> {
        self.partitions
            .values()
            .map(|failing| failing.again_at)
            .min()
    }
}

/// Ends with the sender.
fn serve(
    pipeline: &Pipeline,
    mut requests: mpsc::Receiver<Request>,
    runtime: &tokio::runtime::Handle,
) {
    let mut place: Option<Place> = None;
    let mut aside = Aside::default();
    loop {
        // One at a time: each may take seconds, and partitions that can be read must not wait for all.
        let was_due = aside.take_due(Instant::now());
        let was_busy = was_due.is_some();
        if let Some(request) = was_due {
            answer(pipeline, &mut place, &mut aside, request);
        }
        let wait = match (aside.due_at(), &place) {
            _ if was_busy => Some(Duration::ZERO),
            (Some(at), _) => Some(at.saturating_duration_since(Instant::now())),
            (None, Some(_)) => Some(IDLE_MAX),
            (None, None) => None,
        };
        if aside.is_full() {
            std::thread::sleep(wait.unwrap_or_default());
            continue;
        }
        let next = runtime.block_on(async {
            match wait {
                Some(wait) => tokio::time::timeout(wait, requests.recv()).await,
                None => Ok(requests.recv().await),
            }
        });
        match next {
            Ok(Some(request)) => {
                if let Some(request) = aside.takes(request) {
                    answer(pipeline, &mut place, &mut aside, request);
                }
            }
            Ok(None) => return,
            Err(_) if !was_busy && aside.partitions.is_empty() => place = None,
            Err(_) => {}
        }
    }
}

/// Answers a request, or puts it aside.
fn answer(pipeline: &Pipeline, place: &mut Option<Place>, aside: &mut Aside, request: Request) {
    if request.answer.is_closed() {
        return;
    }
    let (partition, offset) = (request.partition.clone(), request.offset);
    let patience = if aside.partitions.contains_key(&partition) {
        PATIENCE_AGAIN
    } else {
        PATIENCE
    };
    let error = match read(pipeline, place, &partition, offset, patience) {
        Ok(record) => {
            aside.partitions.remove(&partition);
            let gone = || FetchError {
                place: format!("{partition}:{offset}"),
                error: "it is not in the log any more".to_owned(),
            };
            let _ = request.answer.send(record.ok_or_else(gone));
            return;
        }
        Err(error) => error,
    };
    // A client that failed is not asked again.
    *place = None;
    let now = Instant::now();
    let failing = aside.put(request, now);
    let is_said = |at: Instant| now.duration_since(at) < SAY_AGAIN_AFTER;
    if !failing.said_at.is_some_and(is_said) {
        failing.said_at = Some(now);
        tracing::warn!(
            pipeline = pipeline.name, %partition, offset, %error,
            since_s = failing.since.elapsed().as_secs(),
            "a refused record cannot be read again yet, waiting for kafka"
        );
    }
}

/// Where the client reads.
struct Place {
    reader: Reader,
    /// What comes next.
    partition: TopicPartition,
    next: i64,
}

impl Place {
    fn begin_at(&mut self, partition: &TopicPartition, offset: i64) -> Result<(), KafkaError> {
        let assigned = [(partition.partition, offset)];
        self.reader.assign(&partition.topic, &assigned)?;
        self.partition = partition.clone();
        self.next = offset;
        Ok(())
    }
}

/// `None`: the log does not have it.
fn read(
    pipeline: &Pipeline,
    place: &mut Option<Place>,
    partition: &TopicPartition,
    offset: i64,
    patience: Duration,
) -> Result<Option<OwnedRecord>, KafkaError> {
    // What a client that reads on says of the log may have been queued before the record came.
    let is_there = |at: &Place| is_near(&at.partition, at.next, partition, offset);
    let mut is_assigned_now = !place.as_ref().is_some_and(is_there);
    let at = match place {
        Some(at) => at,
        None => place.insert(Place {
            reader: reader(pipeline)?,
            partition: partition.clone(),
            next: offset,
        }),
    };
    if is_assigned_now {
        at.begin_at(partition, offset)?;
    }
    let until = Instant::now() + patience;
    let mut last = None;
    while Instant::now() < until {
        let is_over = match at.reader.poll(Duration::from_millis(100)) {
            Some(Found::Record(record)) => {
                let is_ours = record.partition() == partition.partition
                    && record.topic() == &*partition.topic;
                if !is_ours {
                    continue;
                }
                at.next = record.offset() + 1;
                if record.offset() >= offset {
                    return Ok((record.offset() == offset).then(|| record.to_owned()));
                }
                false
            }
            Some(Found::End(number)) => number == partition.partition,
            Some(Found::Gone(_)) => true,
            Some(Found::Trouble(error)) => {
                last = Some(error);
                false
            }
            None => false,
        };
        if is_over && is_assigned_now {
            return Ok(None);
        }
        if is_over {
            at.begin_at(partition, offset)?;
            is_assigned_now = true;
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

    #[test]
    fn a_partition_that_cannot_be_read_holds_no_other_up() {
        let now = Instant::now();
        let mut answers = vec![];
        let mut request = |partition, offset| {
            let (answer, answered) = oneshot::channel();
            answers.push(answered);
            let topic = "t".into();
            Request {
                partition: TopicPartition { topic, partition },
                offset,
                answer,
            }
        };
        let mut aside = Aside::default();
        aside.put(request(0, 5), now);
        assert!(aside.takes(request(0, 6)).is_none());
        assert!(aside.takes(request(1, 7)).is_some());
        assert!(aside.take_due(now).is_none());
        assert_eq!(aside.due_at(), Some(now + AGAIN_AFTER));
        let due = aside.take_due(now + AGAIN_AFTER).expect("the first is due");
        assert_eq!(due.offset, 5);
        // Once one is read, the others of its partition are due.
        aside.partitions.clear();
        assert_eq!(aside.take_due(now).map(|r| r.offset), Some(6));
        // Nobody waits for it any more.
        aside.put(due, now);
        drop(answers);
        assert!(aside.take_due(now + AGAIN_AFTER).is_none());
        assert_eq!(aside.due_at(), None);
    }
}
