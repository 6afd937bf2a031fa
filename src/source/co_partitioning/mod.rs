//! Whether the keys of two topics that are joined lie on the same partitions.
//!
//! A join reads partition n of both topics in one lane. A key that two producers place on different
//! partitions finds no match, and nothing would tell. Counts are compared, and a sample of keys.

mod explanation;
mod sample;

use std::fmt;
use std::time::{Duration, Instant};

use self::explanation::{Explanation, MURMUR2, PARTITIONERS};
use self::sample::{Place, Sample, reader, sample};
use crate::config::Kafka;
use crate::halt::Halt;

/// The last question is asked for so long when the time is over.
const REQUEST_TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// How much of a key a message shows.
const KEY_BYTES_SHOWN_MAX: usize = 40;

/// Two topics cannot be joined, or not yet.
#[derive(Debug)]
pub(crate) enum NotCoPartitioned {
    /// Only an operator can mend it.
    Halted(Halt),
    /// No broker answers, or a topic does not exist yet: ask again.
    Later(String),
}

/// Compares partition counts, and where the newest keys of both topics lie: the newest 200 records of each
/// of up to 64 partitions. Empty topics pass. Blocks for `timeout`, a little longer at the most.
///
/// # Errors
/// Counts or places differ; or nobody could be asked.
pub(crate) fn check_keys(
    kafka: &Kafka,
    left: &str,
    right: &str,
    timeout: Duration,
) -> Result<(), NotCoPartitioned> {
    let deadline = Instant::now() + timeout;
    let later = |topic: &str, error: &dyn fmt::Display| {
        NotCoPartitioned::Later(format!("keys of topic {topic}: {error}"))
    };
    let consumer = reader(kafka).map_err(|error| later(left, &error))?;
    let count = |topic: &str| {
        let left = deadline.saturating_duration_since(Instant::now());
        let count = consumer.partition_count(topic, left.max(REQUEST_TIMEOUT_MIN));
        let count = count.map_err(|error| later(topic, &error))?;
        count.ok_or_else(|| later(topic, &"it does not exist: create it (waiting for it)"))
    };
    let counts = (count(left)?, count(right)?);
    if counts.0 != counts.1 {
        let advice = counts_differ((left, counts.0), (right, counts.1));
        return Err(halted(advice));
    }
    // A client each: what it says of a partition's end does not name the topic.
    let read = |topic: &str, deadline: Instant| {
        let sampled = reader(kafka).and_then(|it| sample(&it, topic, counts.0, deadline));
        sampled.map_err(|error| later(topic, &error))
    };
    // Half of the time for the first.
    let half = Instant::now() + timeout / 2;
    let left = read(left, half.min(deadline))?;
    let right = read(right, deadline)?;
    if right.without_key > 0 {
        let (topic, records) = (&right.topic, right.records);
        let without_key = right.without_key;
        tracing::warn!(
            topic,
            records,
            without_key,
            "records without key take part in no join"
        );
    }
    match keys_differ(&left, &right) {
        Some(advice) => Err(halted(advice)),
        None => Ok(()),
    }
}

/// What [`check_keys`] says against the topics, for tests.
///
/// # Errors
/// Nobody could be asked.
#[doc(hidden)]
pub fn joined_keys_advice(
    kafka: &Kafka,
    left: &str,
    right: &str,
    timeout: Duration,
) -> Result<Option<String>, String> {
    match check_keys(kafka, left, right, timeout) {
        Ok(()) => Ok(None),
        Err(NotCoPartitioned::Halted(halt)) => Ok(Some(halt.advice)),
        Err(NotCoPartitioned::Later(why)) => Err(why),
    }
}

fn halted(advice: String) -> NotCoPartitioned {
    NotCoPartitioned::Halted(Halt::new("co_partitioning", advice))
}

fn counts_differ(left: (&str, i32), right: (&str, i32)) -> String {
    let (fewer, more) = if left.1 < right.1 {
        (left, right)
    } else {
        (right, left)
    };
    format!(
        "topics {} ({} partitions) and {} ({} partitions) are joined and need the same number of \
         partitions: declare partitions = {} in [topics.\"{}\"] and run `streamweir topics apply \
         --allow-more-partitions` (its keys move, so records that are there already are not found by \
         later ones), or write one of them to a new topic",
        left.0, left.1, right.0, right.1, more.1, fewer.0
    )
}

/// What to do when a key of both samples lies on two partitions. Keys of one topic alone say nothing.
fn keys_differ(left: &Sample, right: &Sample) -> Option<String> {
    let both = left.keys.iter().filter_map(|(key, place)| {
        let other = right.keys.get(key)?;
        Some((key, place, other))
    });
    let differing: Vec<_> = both
        .clone()
        .filter(|(_, place, other)| place.partition != other.partition)
        .collect();
    let explained = (Explanation::of(left), Explanation::of(right));
    // The smallest key, so that the message does not change from start to start.
    let (key, place, other) = differing.iter().min_by_key(|(key, ..)| *key)?;
    Some(format!(
        "keys of joined topics must lie on the same partition in both, else they do not meet: key {} \
         lies at {} and at {}, and so do {} of {} keys found in both; keys of {} lie as {}, those of {} \
         as {}{}: {}; records that are there already keep their place: write them to a new topic, delete \
         them (kafka-delete-records), or wait until retention has",
        shown(key),
        at(left, place),
        at(right, other),
        differing.len(),
        both.count(),
        left.topic,
        explained.0,
        right.topic,
        explained.1,
        without_key(right),
        way_out((left, &explained.0), (right, &explained.1)),
    ))
}

fn at(sample: &Sample, place: &Place) -> String {
    format!("{}:{}:{}", sample.topic, place.partition, place.offset)
}

fn without_key(right: &Sample) -> String {
    match right.without_key {
        0 => String::new(),
        count => format!(
            " ({count} of {} records of {} have no key)",
            right.records, right.topic
        ),
    }
}

fn way_out(left: (&Sample, &Explanation), right: (&Sample, &Explanation)) -> String {
    let mut names = PARTITIONERS.iter().map(|partitioner| partitioner.name);
    if names.any(|name| left.1.includes(name) && right.1.includes(name)) {
        return "partitions were added after the older of these records had been written"
            .to_owned();
    }
    let producers = match (
        left.1.includes(MURMUR2.name),
        right.1.includes(MURMUR2.name),
    ) {
        (true, false) => format!("the producer of {}", right.0.topic),
        (false, true) => format!("the producer of {}", left.0.topic),
        _ => "the producers of both".to_owned(),
    };
    format!(
        "set partitioner=murmur2_random in {producers} (librdkafka; the default of Java producers is the \
         same)"
    )
}

/// A key as text where it is text, else as hex digits; its beginning if it is long.
fn shown(key: &[u8]) -> String {
    let start = &key[..key.len().min(KEY_BYTES_SHOWN_MAX)];
    let more = if start.len() < key.len() { "…" } else { "" };
    match std::str::from_utf8(start) {
        Ok(text) if !text.chars().any(char::is_control) => format!("{text:?}{more}"),
        _ => {
            // Half as many, since each takes two digits.
            let start = &key[..key.len().min(KEY_BYTES_SHOWN_MAX / 2)];
            let more = if start.len() < key.len() { "…" } else { "" };
            let digits: String = start.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{digits}{more}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::placement;

    fn sampled(topic: &str, partition_of: impl Fn(&[u8]) -> i32) -> Sample {
        let mut sample = Sample::new(topic, 4);
        for number in 0..50 {
            let key = number.to_string().into_bytes();
            let place = Place {
                partition: partition_of(&key),
                offset: number,
                timestamp_ms: number,
            };
            sample.add(Some(&key), place);
        }
        sample
    }

    #[test]
    fn the_same_partitioner_on_both_sides_passes_whichever_it_is() {
        let ways: [fn(&[u8]) -> i32; 3] = [
            |key| placement::murmur2(key, 4),
            |key| placement::consistent(key, 4),
            |key| placement::key_modulo(key, 4).unwrap(),
        ];
        for way in ways {
            assert_eq!(keys_differ(&sampled("l", way), &sampled("r", way)), None);
        }
    }

    #[test]
    fn the_message_names_a_key_its_places_and_both_partitioners() {
        let left = sampled("l", |key| placement::key_modulo(key, 4).unwrap());
        let right = sampled("r", |key| placement::murmur2(key, 4));
        let advice = keys_differ(&left, &right).unwrap();
        let key = (0..50)
            .map(|n: i64| n.to_string())
            .filter(|key| {
                placement::murmur2(key.as_bytes(), 4) != left.keys[key.as_bytes()].partition
            })
            .min()
            .unwrap();
        let place = left.keys[key.as_bytes()];
        let expected = format!("key {key:?} lies at l:{}:{}", place.partition, place.offset);
        assert!(advice.contains(&expected), "{advice}");
        for words in [
            "keys of l lie as the key's number modulo",
            "those of r as murmur2",
            "partitioner=murmur2_random in the producer of l",
        ] {
            assert!(advice.contains(words), "{words}: {advice}");
        }
    }

    #[test]
    fn keys_of_before_partitions_were_added_are_told_as_that() {
        // The left side has been written since, the right side's last third before.
        let left = sampled("l", |key| placement::murmur2(key, 4));
        let is_old = |key: &[u8]| key.len() == 2 && key[0] > b'3';
        let right = sampled("r", |key| {
            placement::murmur2(key, if is_old(key) { 3 } else { 4 })
        });
        assert_eq!(
            Explanation::of(&right),
            Explanation::EarlierCount(MURMUR2.name, 3)
        );
        let advice = keys_differ(&left, &right).unwrap();
        for words in [
            "as it did among 3 partitions",
            "partitions were added after",
        ] {
            assert!(advice.contains(words), "{words}: {advice}");
        }
    }

    #[test]
    fn the_newest_record_of_a_key_tells_where_it_lies() {
        let mut sample = Sample::new("t", 4);
        for (partition, offset, timestamp_ms) in [(1, 7, 10), (2, 5, 20), (3, 9, 15)] {
            let place = Place {
                partition,
                offset,
                timestamp_ms,
            };
            sample.add(Some(b"k"), place);
        }
        assert_eq!(sample.keys[&b"k"[..]].partition, 2);
    }

    #[test]
    fn keys_are_shown_as_text_or_hex_and_not_in_full_when_long() {
        assert_eq!(shown(b"user-1"), "\"user-1\"");
        assert_eq!(shown(&[0, 255]), "0x00ff");
        assert_eq!(shown(&[b'a'; 41]), format!("\"{}\"…", "a".repeat(40)));
        assert_eq!(shown(&[0; 21]), format!("0x{}…", "00".repeat(20)));
    }
}
