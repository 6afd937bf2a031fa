//! The proof that each record arrived once and as it should: the table and the dead letters are
//! held against the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use sandbox::topic::{self, Received};
use serde_json::Value;

use super::Job;
use super::sessions::{SessionColumns, SessionRules, Sessions};
use super::traffic::POISON_HEADER;

/// How many places a violation names.
const SHOWN: usize = 10;
/// Profiles asked for in one request.
const PROFILES_AT_ONCE: usize = 1_000;

/// Partition and offset of a record.
type Place = (i32, i64);

/// Which profiles the rows may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profiles {
    AsInRedis,
    /// Those in Redis, or the defaults.
    OrDefaults,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    pub rows: u64,
    pub dead_letters: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Profile {
    email: String,
    segment: String,
}

#[derive(Debug)]
struct Row {
    event_id: String,
    profile: Profile,
    session: SessionColumns,
}

/// The original's value and why it was refused.
#[derive(Debug, PartialEq, Eq)]
struct Letter {
    value: Vec<u8>,
    reason: String,
}

#[derive(Debug, Default)]
struct Expected {
    rows: BTreeMap<Place, Row>,
    letters: BTreeMap<Place, Letter>,
}

/// Every one of the `produced` records is one row or a dead letter, nothing else is in the table,
/// and everything is committed.
pub fn assert_exactly_once(job: &Job, produced: u64, profiles: Profiles) -> Counts {
    let counts = exactly_once(job, produced, profiles)
        .unwrap_or_else(|violation| panic!("{}: {violation}", job.topic));
    job.assert_committed_to_end();
    counts
}

/// See [`assert_exactly_once`]; the error tells what is wrong with the rows and dead letters.
pub fn exactly_once(job: &Job, produced: u64, profiles: Profiles) -> Result<Counts, String> {
    let records = topic::read_all(job.bootstrap(), &job.topic).expect("the topic is readable");
    if records.len() as u64 != produced {
        return Err(format!(
            "{} of {produced} records are in the topic",
            records.len()
        ));
    }
    let expected = expected(job, records);
    let (rows, doubled) = rows(job);
    let letters = dead_letters(job);
    report("row doubled", doubled.iter())?;
    let wrongly = letters
        .iter()
        .filter(|(place, _)| expected.rows.contains_key(place));
    report(
        "dead-lettered without reason",
        wrongly.map(|(place, letter)| (place, &letter.reason)),
    )?;
    same_places("row", &expected.rows, &rows)?;
    same_places("dead letter", &expected.letters, &letters)?;
    let pairs = || {
        rows.iter()
            .map(|(place, row)| (place, &expected.rows[place], row))
    };
    differing("row of another record", pairs(), |e, f| {
        e.event_id == f.event_id
    })?;
    let defaults = Profile::defaults();
    differing("profile not that in redis", pairs(), |e, f| {
        e.profile == f.profile || profiles == Profiles::OrDefaults && f.profile == defaults
    })?;
    differing("session not that of an undisturbed run", pairs(), |e, f| {
        e.session == f.session
    })?;
    let letter_pairs = letters
        .iter()
        .map(|(place, letter)| (place, &expected.letters[place], letter));
    differing(
        "dead letter of another record or reason",
        letter_pairs,
        |e, f| e == f,
    )?;
    Ok(Counts {
        records: produced,
        rows: rows.len() as u64,
        dead_letters: letters.len() as u64,
    })
}

/// What the topic's records become, partition by partition in the order of their offsets.
fn expected(job: &Job, records: Vec<Received>) -> Expected {
    let rules = SessionRules::of(job);
    let mut partitions: BTreeMap<i32, Sessions> = BTreeMap::new();
    let mut expected = Expected::default();
    let mut users = BTreeMap::new();
    for record in records {
        let place = (record.partition, record.offset);
        let poison = record.header(POISON_HEADER);
        let value = record.value.expect("no tombstones here");
        if let Some(reason) = poison {
            expected.letters.insert(place, Letter { value, reason });
            continue;
        }
        let event: Value = serde_json::from_slice(&value).expect("an event");
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let is_view = event["event_type"] == "page_view";
        let page = is_view.then(|| text("page_url"));
        let sessions = partitions
            .entry(record.partition)
            .or_insert_with(|| Sessions::new(rules));
        let session = sessions.judge(&text("session_id"), time_ms(&event), page.as_deref());
        users.insert(place, event["user_id"].as_u64().expect("a user"));
        let row = Row {
            event_id: text("event_id"),
            profile: Profile::defaults(),
            session,
        };
        expected.rows.insert(place, row);
    }
    let profiles = profiles(job, users.values().copied().collect());
    for (place, row) in &mut expected.rows {
        if let Some(profile) = profiles.get(&users[place]) {
            row.profile = profile.clone();
        }
    }
    expected
}

/// The event time, which is a text or a number of milliseconds.
fn time_ms(event: &Value) -> i64 {
    let time = &event["timestamp"];
    let text = |text: &str| text.parse::<jiff::Timestamp>().expect("a time");
    time.as_i64()
        .unwrap_or_else(|| text(time.as_str().expect("a text")).as_millisecond())
}

impl Profile {
    fn defaults() -> Profile {
        Profile {
            email: String::new(),
            segment: "unknown".to_owned(),
        }
    }
}

/// The profiles of those users who have one.
fn profiles(job: &Job, users: BTreeSet<u64>) -> BTreeMap<u64, Profile> {
    let users: Vec<u64> = users.into_iter().collect();
    let client = redis::Client::open(job.text("redis.url")).expect("the address of redis");
    let mut connection = client.get_connection().expect("redis answers");
    let prefix = job.text("pipeline.lookup.key_prefix");
    let mut found = BTreeMap::new();
    for asked in users.chunks(PROFILES_AT_ONCE) {
        let keys: Vec<String> = asked.iter().map(|user| format!("{prefix}{user}")).collect();
        let values: Vec<Option<String>> = redis::cmd("MGET")
            .arg(keys)
            .query(&mut connection)
            .expect("profiles");
        for (user, value) in asked.iter().zip(values) {
            let Some(value) = value else { continue };
            let value: Value = serde_json::from_str(&value).expect("a profile");
            let text = |name: &str| value[name].as_str().expect("a text").to_owned();
            let profile = Profile {
                email: text("email"),
                segment: text("segment"),
            };
            found.insert(*user, profile);
        }
    }
    found
}

/// Every row, and the places that have more than one.
fn rows(job: &Job) -> (BTreeMap<Place, Row>, BTreeSet<Place>) {
    // What belonged to a topic of the same name that was deleted is set aside so.
    let text = job.query(
        "SELECT _topic, _partition, _offset, event_id, user_email, user_segment, \
         session_event_count, session_pages_viewed, session_duration_seconds \
         FROM {db}.clickstream_events WHERE _topic NOT LIKE '% (deleted)'",
    );
    let (mut rows, mut doubled) = (BTreeMap::new(), BTreeSet::new());
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let [
            topic,
            partition,
            offset,
            id,
            email,
            segment,
            events,
            pages,
            seconds,
        ] = fields[..]
        else {
            panic!("not a row: {line}")
        };
        assert_eq!(topic, job.topic, "a row of another topic is in the table");
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let place = (
            partition.parse().expect("a partition"),
            offset.parse().expect("an offset"),
        );
        let row = Row {
            event_id: id.to_owned(),
            profile: Profile {
                email: email.to_owned(),
                segment: segment.to_owned(),
            },
            session: SessionColumns {
                event_count: number(events),
                pages_viewed: number(pages),
                duration_seconds: number(seconds),
            },
        };
        if rows.insert(place, row).is_some() {
            doubled.insert(place);
        }
    }
    (rows, doubled)
}

/// By the place of the original: a dead letter may come twice.
fn dead_letters(job: &Job) -> BTreeMap<Place, Letter> {
    let letters = job.dead_letters().expect("dead letters");
    letters
        .into_iter()
        .map(|letter| {
            let header = |name: &str| letter.header(&format!("streamweir-{name}")).expect("named");
            assert_eq!(header("topic"), job.topic);
            let place = (
                header("partition").parse().expect("a partition"),
                header("offset").parse().expect("an offset"),
            );
            let reason = header("reason");
            let value = letter.value.clone().expect("the original value");
            (place, Letter { value, reason })
        })
        .collect()
}

fn same_places<V>(
    what: &str,
    expected: &BTreeMap<Place, V>,
    found: &BTreeMap<Place, V>,
) -> Result<(), String> {
    let missing = expected.keys().filter(|place| !found.contains_key(place));
    report(&format!("{what} missing"), missing)?;
    let strange = found.keys().filter(|place| !expected.contains_key(place));
    report(&format!("{what} nobody produced"), strange)
}

fn differing<'a, V: Debug + 'a>(
    what: &str,
    pairs: impl Iterator<Item = (&'a Place, &'a V, &'a V)>,
    is_same: impl Fn(&V, &V) -> bool,
) -> Result<(), String> {
    let differing: Vec<_> = pairs.filter(|(_, e, f)| !is_same(e, f)).collect();
    let example = differing
        .first()
        .map(|(_, e, f)| format!("; the first is {f:?} instead of {e:?}"));
    report(what, differing.iter().map(|(place, ..)| place))
        .map_err(|violation| violation + &example.unwrap_or_default())
}

fn report<T: Debug>(what: &str, places: impl Iterator<Item = T>) -> Result<(), String> {
    let places: Vec<T> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let first = &places[..places.len().min(SHOWN)];
    Err(format!(
        "{} times {what}, first (partition, offset): {first:?}",
        places.len()
    ))
}
