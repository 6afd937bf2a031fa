//! Events and profiles of users, in random order, some of them late and some that can never be joined.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sandbox::topic::Record;

use super::join_model::Spoken;
use super::traffic::POISON_HEADER;

/// What a record says, for the model.
pub const SPOKEN_HEADER: &str = "spoken";
/// Event time between two records of either topic.
const STEP_MS: i64 = 20;
const USERS: u64 = 60;
/// The same where the join looks five minutes back and forth, as the shipped one does.
const SHIPPED_STEP_MS: i64 = 200;
const SHIPPED_USERS: u64 = 1_500;
/// Every so many records one is not like the others.
const ODD_EVERY: u64 = 97;

/// The records of one producer, of both sides.
pub struct Records {
    random: StdRng,
    /// Left and right.
    topics: [String; 2],
    partitions: u64,
    begun_ms: i64,
    step_ms: i64,
    users: u64,
    /// Whether a tombstone on the right ends a profile, or nothing.
    is_table: bool,
}

impl Records {
    pub fn new(
        seed: u64,
        topics: [String; 2],
        partitions: i32,
        begun_ms: i64,
        is_table: bool,
    ) -> Records {
        Records {
            random: StdRng::seed_from_u64(seed),
            topics,
            partitions: u64::try_from(partitions).expect("at least one"),
            begun_ms,
            step_ms: STEP_MS,
            users: USERS,
            is_table,
        }
    }

    /// More users and more time, for the shipped join.
    pub fn slower(self) -> Records {
        Records {
            step_ms: SHIPPED_STEP_MS,
            users: SHIPPED_USERS,
            ..self
        }
    }

    /// Record `number` and the topic it belongs to.
    pub fn record(&mut self, number: u64) -> (String, Record) {
        let is_left = self.random.random_ratio(3, 5);
        let user = self.random.random_range(0..self.users);
        let time_ms = self.time_ms(number, is_left);
        let is_end = self.is_table && !is_left && number.is_multiple_of(5);
        let record = if is_end {
            let said = format!("{},end", said(time_ms, Some(user)));
            Record::tombstone("k").header(SPOKEN_HEADER, said)
        } else if number % ODD_EVERY == ODD_EVERY - 1 {
            odd(is_left, self.is_table, number, user, time_ms)
        } else if is_left {
            event(number, Some(user), time_ms)
        } else {
            profile(number, user, time_ms)
        };
        let key = user.to_string();
        let record = match record.key {
            // It was made without on purpose.
            Some(key) if key.is_empty() => Record {
                key: None,
                ..record
            },
            _ => record.key(key),
        };
        let partition = i32::try_from(user % self.partitions).expect("few");
        let record = record.partition(partition).timestamp_ms(time_ms);
        (self.topics[usize::from(!is_left)].clone(), record)
    }

    /// Mostly in order, often a little behind, now and then so far that it is late; always even. A table
    /// knows no late records, and what came so late would count or not by the moment.
    fn time_ms(&mut self, number: u64, is_left: bool) -> i64 {
        let behind_steps_max = match self.random.random_range(0..100) {
            _ if self.is_table && !is_left => 20,
            0..=3 => 400,
            4..=23 => 60,
            _ => 20,
        };
        let step_ms = self.step_ms;
        let behind_ms = self.random.random_range(0..behind_steps_max * step_ms / 2) * 2;
        self.begun_ms + i64::try_from(number).expect("fits") * step_ms - behind_ms
    }
}

/// An event whose id is its number.
pub fn event(number: u64, user: Option<u64>, time_ms: i64) -> Record {
    let who = match user {
        None => String::new(),
        // As a number and as a text: the key is the same.
        Some(user) if number.is_multiple_of(2) => format!(r#""user_id":{user},"#),
        Some(user) => format!(r#""user_id":"{user}","#),
    };
    let text = format!(
        r#"{{"event_id":"e{number}",{who}"timestamp":{time_ms},"page_url":"/{}"}}"#,
        number % 7
    );
    Record::new(text).header(SPOKEN_HEADER, said(time_ms, user))
}

/// A profile that no other is like.
pub fn profile(number: u64, user: u64, time_ms: i64) -> Record {
    let name = match number % 3 {
        0 => format!(r#""name":"N{number}","#),
        1 => r#""name":null,"#.to_owned(),
        _ => String::new(),
    };
    let text = format!(
        r#"{{"user_id":{user},"email":"u{user}.{number}@example.com",{name}"segment":"s{}","country":"DE","updated_at":{time_ms}}}"#,
        number % 5
    );
    Record::new(text).header(SPOKEN_HEADER, said(time_ms, Some(user)))
}

fn said(time_ms: i64, user: Option<u64>) -> String {
    let user = user.map_or("-".to_owned(), |user| user.to_string());
    format!("{time_ms},{user}")
}

pub fn parse(said: &str) -> Spoken {
    let fields: Vec<&str> = said.split(',').collect();
    Spoken {
        time_ms: fields[0].parse().expect("a time"),
        user: fields[1].parse().ok(),
        ends_profile: fields.len() == 3,
    }
}

/// What can never be joined, and events of nobody.
fn odd(is_left: bool, is_table: bool, number: u64, user: u64, time_ms: i64) -> Record {
    let text = |rest: &str| format!(r#"{{"event_id":"odd{number}","user_id":{user}{rest}}}"#);
    let poisoned = |text: String, reason: &str| Record::new(text).header(POISON_HEADER, reason);
    match number / ODD_EVERY % 5 {
        0 => poisoned("not JSON".to_owned(), "invalid_json"),
        1 => poisoned(text(""), "missing_field"),
        2 => {
            let times = r#","timestamp":"soon","updated_at":"soon""#;
            poisoned(text(times), "invalid_value")
        }
        3 if is_left => event(number, None, time_ms).key(""),
        3 => {
            let year_2099 = r#","timestamp":4070908800000,"updated_at":4070908800000"#;
            poisoned(text(year_2099), "too_far_ahead")
        }
        // A tombstone: nothing to join on the left, nothing at all on the right where profiles end anyway.
        _ if is_left => Record::tombstone("k").header(POISON_HEADER, "null_value"),
        _ if is_table => profile(number, user, time_ms),
        _ => Record::tombstone("k"),
    }
}
