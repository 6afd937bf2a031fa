//! What the demo sends beside events: changes of a table, sales, and two topics to be joined.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Result, anyhow};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::parts::{CHANGES, LEFT, RIGHT, SALES};
use super::{PARTITIONS, Parts};
use crate::generate::{ChangeForm, Changes, Events, Progress};
use crate::topic::{self, Record};

pub(super) const CHANGES_PER_SECOND: u64 = 200;
pub(super) const SALES_PER_SECOND: u64 = 300;
/// Records of both sides; one in [`PROFILE_EVERY`] is a profile.
pub(super) const JOINED_PER_SECOND: u64 = 300;
const PROFILE_EVERY: u64 = 6;
/// Event time of sales and of what is joined begins so long ago and goes by so much faster, until it has
/// caught up: a minute of sales is over every second.
const BEGUN_BEFORE: Duration = Duration::from_secs(7 * 24 * 3_600);
const FASTER: u32 = 60;
const ORDERS: u64 = 2_000;
const JOINED_USERS: u64 = 1_000;
const CATEGORIES: [&str; 5] = ["shoes", "books", "garden", "toys", "audio"];

/// The producers; they end when they are told to by what they share with that of the events.
pub(super) struct Others {
    /// Returns what the table has in the end.
    shop: JoinHandle<Result<String>>,
    sales: JoinHandle<Result<()>>,
    joined: JoinHandle<Result<()>>,
}

impl Others {
    pub(super) fn start(parts: &Parts, progress: &Arc<Progress>) -> Self {
        let pace = |per_second| Pace::begin(per_second, Arc::clone(progress));
        let broker = || parts.bootstrap().to_owned();
        let shop = {
            let (broker, name, pace) = (broker(), parts.named(CHANGES), pace(CHANGES_PER_SECOND));
            thread::spawn(move || send_changes(&broker, &name, pace))
        };
        let sales = {
            let (broker, name, pace) = (broker(), parts.named(SALES), pace(SALES_PER_SECOND));
            thread::spawn(move || send_sales(&broker, &name, pace))
        };
        let joined = {
            let (broker, pace) = (broker(), pace(JOINED_PER_SECOND));
            let sides = [parts.named(LEFT), parts.named(RIGHT)];
            thread::spawn(move || send_sides(&broker, &sides, pace))
        };
        Self {
            shop,
            sales,
            joined,
        }
    }

    /// Waits for them; what the shop's table has, as [`Changes::TOTALS`] asks.
    pub(super) fn join(self) -> Result<String> {
        let panicked = |_| anyhow!("a producer panicked");
        let totals = self.shop.join().map_err(panicked)?;
        self.sales.join().map_err(panicked)??;
        self.joined.join().map_err(panicked)??;
        totals
    }
}

/// So many a second, each with its number and its event time in milliseconds, until told to end.
struct Pace {
    per_second: u64,
    begun: Instant,
    begun_ms: i64,
    next: u64,
    progress: Arc<Progress>,
}

impl Pace {
    fn begin(per_second: u64, progress: Arc<Progress>) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let begun = now.unwrap_or_default().saturating_sub(BEGUN_BEFORE);
        Self {
            per_second,
            begun: Instant::now(),
            begun_ms: i64::try_from(begun.as_millis()).unwrap_or_default(),
            next: 0,
            progress,
        }
    }
}

impl Iterator for Pace {
    type Item = (u64, i64);

    fn next(&mut self) -> Option<Self::Item> {
        let due = Duration::from_micros(self.next * 1_000_000 / self.per_second);
        thread::sleep(due.saturating_sub(self.begun.elapsed()));
        if self.progress.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.next += 1;
        let since = (due * FASTER).min(BEGUN_BEFORE + due);
        Some((
            self.next,
            self.begun_ms + i64::try_from(since.as_millis()).ok()?,
        ))
    }
}

fn send_changes(bootstrap: &str, name: &str, pace: Pace) -> Result<String> {
    let mut changes = Changes::new(42, ORDERS, name, ChangeForm::EnvelopeInBlock);
    let records = pace.map(|_| {
        let (key, value) = changes.next_record();
        let record = match value {
            Some(value) => Record::new(value),
            None => Record::tombstone(key),
        };
        record.key(key)
    });
    topic::produce(bootstrap, name, records)?;
    Ok(changes.totals())
}

fn send_sales(bootstrap: &str, name: &str, pace: Pace) -> Result<()> {
    let mut random = StdRng::seed_from_u64(42);
    let records = pace.map(|(number, time_ms)| {
        let category = CATEGORIES[random.random_range(0..CATEGORIES.len())];
        let (customer, product) = (random.random_range(1..500), random.random_range(1..90));
        let (whole, cents) = (random.random_range(1..200), random.random_range(0..100));
        let sale = format!(
            r#"{{"timestamp":{time_ms},"category":"{category}","customer_id":{customer},"product_id":"p{product}","amount":{whole}.{cents:02}}}"#
        );
        // A partition that stays empty would keep windows open.
        let partition = number % u64::from(PARTITIONS.unsigned_abs());
        Record::new(sale)
            .key(category)
            .partition(i32::try_from(partition).unwrap_or_default())
    });
    topic::produce(bootstrap, name, records).map(|_| ())
}

/// Events and profiles of users, each in the partition of the user.
fn send_sides(bootstrap: &str, [left, right]: &[String; 2], pace: Pace) -> Result<()> {
    let mut random = StdRng::seed_from_u64(42);
    let mut events = Events::new(43, JOINED_USERS);
    let records = pace.map(|(number, time_ms)| {
        if !number.is_multiple_of(PROFILE_EVERY) {
            let (user, text) = events.next(time_ms);
            let record = Record::new(text).key(user.to_string());
            return (left, record);
        }
        let user = random.random_range(1..=JOINED_USERS);
        let profile = format!(
            r#"{{"user_id":{user},"email":"user{user}.{number}@example.com","name":"User {user}","segment":"s{}","country":"DE","updated_at":{time_ms}}}"#,
            number % 5
        );
        (right, Record::new(profile).key(user.to_string()))
    });
    topic::produce_to_many(bootstrap, records).map(|_| ())
}
