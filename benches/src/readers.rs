//! The bare drains: what the client library costs by itself, and with decoding on top.

use std::ffi::CString;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::BorrowedMessage;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use rdkafka_sys as sys;
use sandbox::Sandbox;
use streamweir::decode::Path;
use streamweir::decode::json::{Plan, Scanner};
use streamweir::table::{Column, ColumnSource, ColumnType, DefaultKind, RawMode};

use crate::child::{self, Run};
use crate::copier::Copier;
use crate::topic::PARTITIONS;

/// Messages of one call, as the daemon takes them.
const BATCH: usize = 1_000;
/// Nothing came for so long: the topic ends here, whatever was expected.
const SILENCE_MAX: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReaderKind {
    /// `rd_kafka_consume_batch_queue` over a queue that all partitions are forwarded to
    Batch,
    /// `BaseConsumer::poll`, message by message
    Poll,
    /// As `batch`, then the daemon's scanner and encoder
    Decode,
    /// As `poll`, and a message for each of the first topic's in transactions
    Copy,
}

#[derive(Debug, Args)]
pub(crate) struct ReadArguments {
    kind: ReaderKind,
    bootstrap: String,
    /// Topics of equally many partitions
    #[arg(value_delimiter = ',')]
    topics: Vec<String>,
    #[arg(long)]
    partitions: i32,
    /// In all of them
    #[arg(long)]
    events: u64,
    /// Where a copy goes
    #[arg(long)]
    output: Option<String>,
}

/// What is drained.
pub(crate) struct Source<'t> {
    pub(crate) topics: &'t [&'t str],
    /// Of each topic.
    pub(crate) partitions: i32,
    /// In all of them.
    pub(crate) records: u64,
}

/// Starts this executable again as a reader of one topic.
pub(crate) fn run(kind: ReaderKind, parts: &Sandbox, topic: &str, records: u64) -> Result<Run> {
    let source = Source {
        topics: &[topic],
        partitions: PARTITIONS,
        records,
    };
    run_over(kind, parts, &source, None)
}

/// Starts this executable again as a reader.
pub(crate) fn run_over(
    kind: ReaderKind,
    parts: &Sandbox,
    source: &Source<'_>,
    copy_to: Option<&str>,
) -> Result<Run> {
    let output = tempfile::NamedTempFile::new()?;
    let mut command = Command::new(std::env::current_exe()?);
    let kind = kind.to_possible_value().context("every kind has a name")?;
    command.args(["read", kind.get_name(), parts.kafka.bootstrap()]);
    command.arg(source.topics.join(","));
    command.args(["--partitions", &source.partitions.to_string()]);
    command.args(["--events", &source.records.to_string()]);
    if let Some(topic) = copy_to {
        command.args(["--output", topic]);
    }
    let run = child::run(command, output.path())?;
    let micros: u64 = std::fs::read_to_string(output.path())?.trim().parse()?;
    Ok(Run {
        wall: Duration::from_micros(micros),
        ..run
    })
}

/// The child: drains the topic and prints how many microseconds passed from the assignment to
/// the last event.
///
/// # Errors
/// When it saw another number of events, or one that does not convert.
pub(crate) fn read(arguments: &ReadArguments) -> Result<()> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.bootstrap)
        .set("group.id", "bench-reader")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // What the daemon sets by itself: with the default backoff of one second a full queue
        // leaves a fast reader waiting.
        .set("fetch.queue.backoff.ms", "2")
        .set("fetch.wait.max.ms", "100")
        .set("queued.min.messages", "1000")
        .set("queued.max.messages.kbytes", "8192")
        .create()?;
    let mut list = TopicPartitionList::new();
    for topic in &arguments.topics {
        for partition in 0..arguments.partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning)?;
        }
    }
    let (seen, wall) = match arguments.kind {
        ReaderKind::Poll => {
            let mut bytes = 0;
            let all = poll(&consumer, &list, arguments.events, |message| {
                bytes += message.payload().map_or(0, <[u8]>::len);
                Ok(())
            })?;
            std::hint::black_box(bytes);
            all
        }
        ReaderKind::Copy => {
            let output = arguments.output.as_deref().context("--output")?;
            let left = arguments.topics.first().context("a topic")?;
            let mut copy = Copier::start(&arguments.bootstrap, output)?;
            let (seen, _) = poll(&consumer, &list, arguments.events, |message| {
                if message.topic() == left {
                    copy.take(message)?;
                }
                Ok(())
            })?;
            (seen, copy.finish()?)
        }
        ReaderKind::Batch => {
            let mut bytes = 0;
            batches(&consumer, &list, arguments, |value| {
                bytes += value.len();
                Ok(())
            })?
        }
        ReaderKind::Decode => {
            let mut decoder = Decoder::new()?;
            batches(&consumer, &list, arguments, |value| decoder.row(value))?
        }
    };
    let expected = arguments.events;
    ensure!(seen == expected, "saw {seen} events of {expected}");
    println!("{}", wall.as_micros());
    // Leaving in good order is not part of a drain.
    std::process::exit(0);
}

fn poll(
    consumer: &BaseConsumer,
    list: &TopicPartitionList,
    events: u64,
    mut each: impl FnMut(&BorrowedMessage<'_>) -> Result<()>,
) -> Result<(u64, Duration)> {
    let started = Instant::now();
    consumer.assign(list)?;
    let (mut seen, mut silent_since) = (0, Instant::now());
    while seen < events && silent_since.elapsed() < SILENCE_MAX {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        each(&message?)?;
        seen += 1;
        if seen % 1_000 == 0 {
            silent_since = Instant::now();
        }
    }
    Ok((seen, started.elapsed()))
}

fn batches(
    consumer: &BaseConsumer,
    list: &TopicPartitionList,
    arguments: &ReadArguments,
    mut each: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(u64, Duration)> {
    let client = consumer.client().native_ptr();
    let topics = arguments.topics.iter().map(|t| CString::new(t.as_str()));
    let topics = topics.collect::<Result<Vec<_>, _>>()?;
    // SAFETY: the client is alive; the reference to each partition's queue is given back. Our own
    // queue lives until the process ends.
    let queue = unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        for topic in &topics {
            for partition in 0..arguments.partitions {
                let of_partition =
                    sys::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition);
                sys::rd_kafka_queue_forward(of_partition, queue);
                sys::rd_kafka_queue_destroy(of_partition);
            }
        }
        queue
    };
    let started = Instant::now();
    consumer.assign(list)?;
    let mut messages: Vec<*mut sys::rd_kafka_message_t> = vec![std::ptr::null_mut(); BATCH];
    let (mut seen, mut silent_since) = (0, Instant::now());
    while seen < arguments.events && silent_since.elapsed() < SILENCE_MAX {
        // The first with patience, then what is there: a call that waits for a full batch would
        // only add to the wall time.
        let mut taken = 0;
        for (wait_ms, max) in [(100, 1), (0, BATCH - 1)] {
            // SAFETY: `messages` has room for BATCH pointers; at most that many are written.
            let got = unsafe {
                let free = messages.as_mut_ptr().add(taken);
                sys::rd_kafka_consume_batch_queue(queue, wait_ms, free, max)
            };
            taken += usize::try_from(got).context("the client reports an error")?;
            if taken == 0 {
                break;
            }
        }
        for &message in &messages[..taken] {
            // SAFETY: the first `taken` pointers were just written and are destroyed once, below.
            let message = unsafe { &*message };
            let is_record = message.err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            ensure!(is_record, "a message that is no record");
            // A tombstone has no value.
            if !message.payload.is_null() {
                // SAFETY: payload and length are those of a buffer that the message owns.
                each(unsafe { std::slice::from_raw_parts(message.payload.cast(), message.len) })?;
            }
        }
        for &message in &messages[..taken] {
            // SAFETY: as above; no borrow is left.
            unsafe { sys::rd_kafka_message_destroy(message) };
        }
        seen += taken as u64;
        if taken > 0 {
            silent_since = Instant::now();
        }
    }
    Ok((seen, started.elapsed()))
}

/// The columns that `sql/clickstream_events.sql` fills from the event: name, type, what
/// `config.toml` says about them.
const COLUMNS: [(&str, &str, bool, RawMode); 12] = [
    ("event_id", "String", true, RawMode::Off),
    ("event_type", "LowCardinality(String)", true, RawMode::Off),
    ("user_id", "UInt64", false, RawMode::Off),
    ("session_id", "String", true, RawMode::Off),
    ("timestamp", "DateTime64(3, 'UTC')", true, RawMode::Off),
    ("page_url", "String", false, RawMode::Off),
    ("referrer", "String", false, RawMode::Off),
    ("user_agent", "String", false, RawMode::Off),
    ("ip_address", "String", false, RawMode::Off),
    ("country", "LowCardinality(String)", false, RawMode::Off),
    ("city", "String", false, RawMode::Off),
    ("properties", "String", false, RawMode::Object),
];

struct Decoder {
    scanner: Scanner,
    sources: Vec<ColumnSource>,
    rows: Vec<u8>,
}

impl Decoder {
    fn new() -> Result<Self> {
        let paths: Vec<Path> = COLUMNS.iter().map(|column| Path::field(column.0)).collect();
        let source =
            |(slot, (name, type_name, required, raw)): (usize, &(&str, &str, bool, RawMode))| {
                let column = Column {
                    name: (*name).to_owned(),
                    column_type: ColumnType::parse(type_name)?,
                    default_kind: DefaultKind::None,
                };
                anyhow::Ok(ColumnSource::new(column, slot, *required, None, *raw)?)
            };
        Ok(Self {
            scanner: Scanner::new(Plan::new(&paths)),
            sources: COLUMNS
                .iter()
                .enumerate()
                .map(source)
                .collect::<Result<_>>()?,
            rows: vec![],
        })
    }

    fn row(&mut self, value: &[u8]) -> Result<()> {
        if self.rows.len() > 256 << 10 {
            std::hint::black_box(&self.rows);
            self.rows.clear();
        }
        let fields = self.scanner.scan(Some(value))?;
        for source in &self.sources {
            source.encode(&fields, &mut self.rows, false)?;
        }
        Ok(())
    }
}
