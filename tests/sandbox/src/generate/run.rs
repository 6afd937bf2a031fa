//! Producing events, as fast as possible or at a rate.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::event::{Events, Poison};
use crate::topic::{Deliveries, producer_config, send_patiently};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a paced run sends what is due.
const TICK: Duration = Duration::from_millis(10);

/// How much is produced.
#[derive(Debug, Clone, Copy)]
pub enum Volume {
    /// So many events, as fast as possible.
    Events(u64),
    /// So many events a second, for a time or until stopped.
    Rate {
        /// Events a second.
        per_second: u64,
        /// How long; `None`: until stopped.
        duration: Option<Duration>,
    },
}

/// The event times.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// The moment of producing.
    Now,
    /// From here on, in milliseconds since 1970, one millisecond an event.
    At(i64),
}

/// What to produce.
#[derive(Debug, Clone)]
pub struct Traffic {
    /// `host:port` of a broker.
    pub bootstrap: String,
    /// The topic; it exists.
    pub topic: String,
    /// How much.
    pub volume: Volume,
    /// Number of different users.
    pub users: u64,
    /// Same seed, same events.
    pub seed: u64,
    /// The event times.
    pub start: Start,
    /// Every so-many-th event is spoiled; 0: none.
    pub poison_every: u64,
}

/// Counted while a run goes on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events handed to the producer.
    pub produced: AtomicU64,
    /// Of these, spoiled ones.
    pub poisoned: AtomicU64,
    /// Set to end the run early.
    pub stop: AtomicBool,
}

/// Produces the events, keyed by user, and returns their number once all are acknowledged.
///
/// # Errors
/// When a single one was not acknowledged.
pub fn run(traffic: &Traffic, progress: &Progress) -> Result<u64> {
    let deliveries = Deliveries::default();
    let producer: BaseProducer<Deliveries> = producer_config(&traffic.bootstrap)
        .set("linger.ms", "50")
        .set("queue.buffering.max.messages", "500000")
        .set("queue.buffering.max.kbytes", "262144")
        .create_with_context(deliveries.clone())?;
    let mut sender = Sender {
        producer: &producer,
        topic: &traffic.topic,
        events: Events::new(traffic.seed, traffic.users),
        start: traffic.start,
        poison_every: traffic.poison_every,
        progress,
        sent: 0,
    };
    match traffic.volume {
        Volume::Events(events) => sender.send_until(events)?,
        Volume::Rate {
            per_second,
            duration,
        } => sender.send_paced(per_second, duration)?,
    }
    let sent = sender.sent;
    producer.flush(FLUSH_TIMEOUT)?;
    deliveries.check(sent)?;
    Ok(sent)
}

struct Sender<'a> {
    producer: &'a BaseProducer<Deliveries>,
    topic: &'a str,
    events: Events,
    start: Start,
    poison_every: u64,
    progress: &'a Progress,
    sent: u64,
}

impl Sender<'_> {
    fn send_paced(&mut self, per_second: u64, duration: Option<Duration>) -> Result<()> {
        let begun = Instant::now();
        loop {
            let elapsed = begun.elapsed();
            let over = duration.is_some_and(|duration| elapsed >= duration);
            let elapsed = duration.map_or(elapsed, |duration| elapsed.min(duration));
            let due = u128::from(per_second) * elapsed.as_micros() / 1_000_000;
            self.send_until(u64::try_from(due)?)?;
            if over || self.stopped() {
                return Ok(());
            }
            self.producer.poll(Duration::ZERO);
            thread::sleep(TICK);
        }
    }

    fn send_until(&mut self, total: u64) -> Result<()> {
        const PIECE: u64 = 1_000;
        while self.sent < total && !self.stopped() {
            let now_ms = now_ms();
            for _ in 0..PIECE.min(total - self.sent) {
                self.send_next(now_ms)?;
            }
            self.producer.poll(Duration::ZERO);
            self.progress.produced.store(self.sent, Ordering::Relaxed);
        }
        Ok(())
    }

    fn send_next(&mut self, now_ms: i64) -> Result<()> {
        let time_ms = match self.start {
            Start::Now => now_ms,
            Start::At(start_ms) => start_ms + self.sent as i64,
        };
        let spoiled = self.poison_every > 0 && (self.sent + 1).is_multiple_of(self.poison_every);
        let (user, event) = if spoiled {
            let kind = Poison::nth(self.progress.poisoned.fetch_add(1, Ordering::Relaxed));
            self.events.next_poisoned(time_ms, kind)
        } else {
            self.events.next(time_ms)
        };
        self.sent += 1;
        let key = user.to_string();
        send_patiently(
            self.producer,
            BaseRecord::to(self.topic).key(&key).payload(event),
        )
    }

    fn stopped(&self) -> bool {
        self.progress.stop.load(Ordering::Relaxed)
    }
}

fn now_ms() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX)
}
