//! Clickstream events and updates of the profiles of their users, as joins have them: a record of a number
//! is the same whenever it is made.

use super::Random;
use super::event::pick;

/// Different users.
pub const JOIN_USERS: u64 = 50_000;
/// An event arrives every millisecond, an update at every so-many-th event.
pub const JOIN_UPDATE_EVERY: u64 = 10;
/// One event in so many comes up to [`JOIN_LATE_MAX_MS`] late.
pub const JOIN_LATE_ONE_IN: u64 = 8;
/// See [`JOIN_LATE_ONE_IN`].
pub const JOIN_LATE_MAX_MS: u64 = 5_000;
/// Those that fit into the same day.
pub const JOIN_EVENTS_MAX: u64 = 50_000_000;

/// 2025-11-21T10:00:00Z.
const START_MS: u64 = 1_763_719_200_000;
const START_OF_DAY_MS: u64 = 1_763_683_200_000;

const TYPES: [&str; 4] = ["page_view", "click", "scroll", "add_to_cart"];
const COUNTRIES: [&str; 5] = ["DE", "US", "FR", "BR", "JP"];
const SEGMENTS: [&str; 3] = ["free", "pro", "vip"];

/// One event or update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joinable {
    /// The key.
    pub user: u64,
    /// When Kafka gets it, in milliseconds since 1970.
    pub arrives_ms: i64,
    /// Its event time.
    pub time_ms: i64,
    /// Its JSON text.
    pub value: String,
}

/// The event of this number.
pub fn join_event(number: u64) -> Joinable {
    let mixed = mix(number);
    let arrives_ms = START_MS + number;
    let is_late = mixed.is_multiple_of(JOIN_LATE_ONE_IN);
    let late_ms = if is_late {
        (mixed >> 8) % JOIN_LATE_MAX_MS
    } else {
        0
    };
    let (user, time_ms) = (1 + (mixed >> 16) % JOIN_USERS, arrives_ms - late_ms);
    Joinable {
        user,
        arrives_ms: arrives_ms.cast_signed(),
        time_ms: time_ms.cast_signed(),
        value: join_event_json(number, user, &iso(time_ms)),
    }
}

/// The update of this number.
pub fn join_update(number: u64) -> Joinable {
    let arrives_ms = START_MS + number * JOIN_UPDATE_EVERY;
    let user = 1 + (mix(!number) >> 16) % JOIN_USERS;
    Joinable {
        user,
        arrives_ms: arrives_ms.cast_signed(),
        time_ms: arrives_ms.cast_signed(),
        value: join_update_json(number, user, &iso(arrives_ms)),
    }
}

/// An event's JSON, about 230 bytes, its number at the beginning of `event_id`; `time` is the JSON of its
/// timestamp.
pub fn join_event_json(number: u64, user: u64, time: &str) -> String {
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

/// An update's JSON; its number is in the e-mail address.
pub fn join_update_json(number: u64, user: u64, time: &str) -> String {
    format!(
        r#"{{"user_id":{user},"email":"u{user}.{number}@example.com","name":"User {user}","segment":"{}","country":"{}","updated_at":{time}}}"#,
        pick(&SEGMENTS, mix(number)),
        pick(&COUNTRIES, user),
    )
}

/// The number of the event that a joined record was made of, and of the update, if there is one; `None` if
/// it is not one of these events with members of these updates.
pub fn joined_numbers(joined: &[u8]) -> Option<(usize, Option<u32>)> {
    let text = std::str::from_utf8(joined).ok()?;
    let id = text.strip_prefix(r#"{"event_id":""#)?.get(..8)?;
    let number = usize::from_str_radix(id, 16).ok()?;
    let (_, email) = text.rsplit_once(r#","user_email":"#)?;
    if email.starts_with("null,") {
        return Some((number, None));
    }
    let (email, _) = email.split_once('@')?;
    let (_, update) = email.split_once('.')?;
    Some((number, Some(update.parse().ok()?)))
}

fn mix(number: u64) -> u64 {
    Random(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).next()
}

/// `"2025-11-21T10:00:00.000Z"`, with its quotes.
fn iso(time_ms: u64) -> String {
    let of_day = time_ms - START_OF_DAY_MS;
    let (seconds, milli) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!(r#""2025-11-21T{hour:02}:{minute:02}:{second:02}.{milli:03}Z""#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_json_of_their_size_and_joined_ones_tell_their_numbers() {
        let event = join_event(3_600_042);
        let parsed: serde_json::Value = serde_json::from_str(&event.value).unwrap();
        assert_eq!(parsed["user_id"], event.user);
        assert!((200..260).contains(&event.value.len()), "{}", event.value);
        let update = join_update(7);
        let profile: serde_json::Value = serde_json::from_str(&update.value).unwrap();
        assert_eq!(profile["updated_at"], "2025-11-21T10:00:00.070Z");

        let own = event.value.trim_end_matches('}');
        let email = &profile["email"];
        let joined = format!(r#"{own},"user_email":{email},"user_name":"x"}}"#);
        assert_eq!(
            joined_numbers(joined.as_bytes()),
            Some((3_600_042, Some(7)))
        );
        let joined = format!(r#"{own},"user_email":null,"user_name":null}}"#);
        assert_eq!(joined_numbers(joined.as_bytes()), Some((3_600_042, None)));
        assert_eq!(joined_numbers(b"{}"), None);
    }
}
