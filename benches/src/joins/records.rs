//! Clickstream events and updates of profiles, the same for every run, and which update each event goes with.

use anyhow::{Context as _, Result, bail, ensure};

use super::Form;

/// Different users.
pub(crate) const USERS: u64 = 50_000;
/// An event arrives every millisecond of event time, an update every so many.
pub(super) const UPDATE_EVERY_MS: u64 = 10;
/// One event in so many comes up to this late: less than `watermark_delay`.
pub(super) const LATE_ONE_IN: u64 = 8;
pub(super) const LATE_MAX_MS: u64 = 5_000;
/// How far a match may lie from its event, where there is a bound.
pub(super) const REACH_MS: i64 = 300_000;
/// 2025-11-21T10:00:00Z.
const START_MS: u64 = 1_763_719_200_000;
const START_OF_DAY_MS: u64 = 1_763_683_200_000;
/// Those that fit into the same day.
pub(super) const EVENTS_MAX: u64 = 50_000_000;

const TYPES: [&str; 4] = ["page_view", "click", "scroll", "add_to_cart"];
const COUNTRIES: [&str; 5] = ["DE", "US", "FR", "BR", "JP"];
const SEGMENTS: [&str; 3] = ["free", "pro", "vip"];

/// One event or update.
pub(super) struct Made {
    pub(super) user: u64,
    /// When Kafka gets it.
    pub(super) arrives_ms: i64,
    /// Its event time.
    pub(super) time_ms: i64,
    pub(super) value: String,
}

/// The event of this number.
pub(super) fn event(number: u64) -> Made {
    let mixed = mix(number);
    let arrives_ms = START_MS + number;
    let is_late = mixed.is_multiple_of(LATE_ONE_IN);
    let late_ms = if is_late {
        (mixed >> 8) % LATE_MAX_MS
    } else {
        0
    };
    let (user, time_ms) = (1 + (mixed >> 16) % USERS, arrives_ms - late_ms);
    Made {
        user,
        arrives_ms: arrives_ms.cast_signed(),
        time_ms: time_ms.cast_signed(),
        value: event_json(number, user, &iso(time_ms)),
    }
}

/// The update of this number.
pub(super) fn update(number: u64) -> Made {
    let arrives_ms = START_MS + number * UPDATE_EVERY_MS;
    let user = 1 + (mix(!number) >> 16) % USERS;
    Made {
        user,
        arrives_ms: arrives_ms.cast_signed(),
        time_ms: arrives_ms.cast_signed(),
        value: update_json(number, user, &iso(arrives_ms)),
    }
}

/// An event's JSON; `time` is that of its timestamp.
pub(crate) fn event_json(number: u64, user: u64, time: &str) -> String {
    let mixed = mix(number ^ 0x5bd1_e995);
    format!(
        r#"{{"event_id":"{number:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}","event_type":"{}","user_id":{user},"session_id":"s-{user:07}-{}","timestamp":{time},"page_url":"https://shop.example.com/products/{:05}","country":"{}"}}"#,
        mixed & 0xffff,
        (mixed >> 16) & 0xfff,
        (mixed >> 28) & 0xfff,
        mixed >> 16,
        pick(&TYPES, mixed >> 3),
        mixed % 10,
        (mixed >> 20) % 100_000,
        pick(&COUNTRIES, user),
    )
}

/// An update's JSON: its number is in the e-mail address.
pub(crate) fn update_json(number: u64, user: u64, time: &str) -> String {
    format!(
        r#"{{"user_id":{user},"email":"u{user}.{number}@example.com","name":"User {user}","segment":"{}","country":"{}","updated_at":{time}}}"#,
        pick(&SEGMENTS, mix(number)),
        pick(&COUNTRIES, user),
    )
}

/// The number of the event that a joined record was made of, and of the update, if there is one.
///
/// # Errors
/// It is not one of these events with members of these updates.
pub(crate) fn numbers(joined: &[u8]) -> Result<(usize, Option<u32>)> {
    let text = std::str::from_utf8(joined)?;
    let read = || {
        let id = text.strip_prefix(r#"{"event_id":""#)?.get(..8)?;
        let number = usize::from_str_radix(id, 16).ok()?;
        let (_, email) = text.rsplit_once(r#","user_email":"#)?;
        if email.starts_with("null,") {
            return Some((number, None));
        }
        let (email, _) = email.split_once('@')?;
        let (_, update) = email.split_once('.')?;
        Some((number, Some(update.parse().ok()?)))
    };
    read().with_context(|| format!("not a joined record of the benchmark: {text}"))
}

/// Which update each event must be joined with, by their numbers, worked out without the daemon.
#[derive(Debug)]
pub(super) struct Expected {
    of_event: Vec<Option<u32>>,
}

impl Expected {
    pub(super) fn new(form: Form, events: u64, updates: u64) -> Result<Self> {
        let mut of_user: Vec<Vec<(i64, u32)>> = vec![vec![]; usize::try_from(USERS)? + 1];
        for number in 0..updates {
            let made = update(number);
            let user = usize::try_from(made.user)?;
            of_user[user].push((made.time_ms, u32::try_from(number)?));
        }
        let best = |number| {
            let Made { user, time_ms, .. } = event(number);
            let updates = &of_user[usize::try_from(user)?];
            let younger = updates.partition_point(|(at, _)| *at <= time_ms);
            let before = younger.checked_sub(1).map(|index| updates[index]);
            let before = before.filter(|(at, _)| form.is_table() || *at >= time_ms - REACH_MS);
            let after = updates.get(younger).copied();
            let after = after.filter(|(at, _)| *at <= time_ms + REACH_MS);
            Ok(before.or(after).map(|(_, number)| number))
        };
        let of_event: Result<_> = (0..events).map(best).collect();
        Ok(Expected {
            of_event: of_event?,
        })
    }

    pub(super) fn matched(&self) -> usize {
        self.of_event.iter().flatten().count()
    }

    /// Holds joined records against it.
    pub(super) fn checker(&self) -> Checker<'_> {
        Checker {
            expected: self,
            seen: vec![false; self.of_event.len()],
            count: 0,
        }
    }
}

/// What was seen of the joined records.
pub(super) struct Checker<'e> {
    expected: &'e Expected,
    seen: Vec<bool>,
    count: usize,
}

impl Checker<'_> {
    /// # Errors
    /// An event that is there twice, or with another update than it must.
    pub(super) fn take(&mut self, joined: &[u8]) -> Result<()> {
        let (event, update) = numbers(joined)?;
        let Some(expected) = self.expected.of_event.get(event) else {
            bail!("there is no event {event}");
        };
        ensure!(
            update == *expected,
            "event {event} was joined with update {update:?}, not {expected:?}"
        );
        let was_seen = std::mem::replace(&mut self.seen[event], true);
        ensure!(!was_seen, "event {event} is there twice");
        self.count += 1;
        Ok(())
    }

    /// # Errors
    /// Events are missing.
    pub(super) fn finish(&self) -> Result<()> {
        let (found, events) = (self.count, self.seen.len());
        ensure!(found == events, "{found} joined records of {events} events");
        Ok(())
    }
}

/// `"2025-11-21T10:00:00.000Z"`, with its quotes.
fn iso(time_ms: u64) -> String {
    let of_day = time_ms - START_OF_DAY_MS;
    let (seconds, milli) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!(r#""2025-11-21T{hour:02}:{minute:02}:{second:02}.{milli:03}Z""#)
}

fn pick<'t>(choices: &[&'t str], number: u64) -> &'t str {
    choices[usize::try_from(number % choices.len() as u64).expect("few choices")]
}

/// SplitMix64 of Steele, Lea and Flood, 2014.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
