//! Which partitioner put a topic's keys where they lie: the likely cause when two topics differ.

use std::fmt;

use super::sample::{Place, Sample};
use crate::source::placement;

/// A partitioner that producers use, as a message calls it, and where it puts a key.
pub(super) struct Partitioner {
    pub(super) name: &'static str,
    place: fn(&[u8], i32) -> Option<i32>,
}

pub(super) const MURMUR2: Partitioner = Partitioner {
    name: "murmur2 (Java's default)",
    place: |key, count| Some(placement::murmur2(key, count)),
};
const CONSISTENT: Partitioner = Partitioner {
    name: "CRC32 (consistent, librdkafka's default)",
    place: |key, count| Some(placement::consistent(key, count)),
};
const KEY_MODULO: Partitioner = Partitioner {
    name: "the key's number modulo the partition count",
    place: placement::key_modulo,
};

pub(super) const PARTITIONERS: [Partitioner; 3] = [MURMUR2, CONSISTENT, KEY_MODULO];

/// So many keys lie by an earlier partition count by chance only when there are fewer.
const KEYS_OF_AN_EARLIER_COUNT_MIN: usize = 20;

/// What explains where all sampled keys of a topic lie.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Explanation {
    /// These partitioners, each by itself.
    Partitioners(Vec<&'static str>),
    /// This one, for some keys with the smaller count that the topic once had.
    EarlierCount(&'static str, i32),
    Nothing,
}

impl Explanation {
    pub(super) fn of(sample: &Sample) -> Explanation {
        let count = sample.partitions;
        let explains = |partitioner: &Partitioner, earlier: i32| {
            let is_there = |key: &[u8], place: &Place, count| {
                (partitioner.place)(key, count) == Some(place.partition)
            };
            let mut keys = sample.keys.iter();
            keys.all(|(key, place)| is_there(key, place, count) || is_there(key, place, earlier))
        };
        let names = PARTITIONERS
            .iter()
            .filter(|p| explains(p, count))
            .map(|p| p.name);
        let names: Vec<&str> = names.collect();
        if !names.is_empty() {
            return Explanation::Partitioners(names);
        }
        if sample.keys.len() < KEYS_OF_AN_EARLIER_COUNT_MIN {
            return Explanation::Nothing;
        }
        let earlier = PARTITIONERS.iter().find_map(|partitioner| {
            let earlier = (1..count).rev().find(|m| explains(partitioner, *m))?;
            Some(Explanation::EarlierCount(partitioner.name, earlier))
        });
        earlier.unwrap_or(Explanation::Nothing)
    }

    pub(super) fn includes(&self, name: &str) -> bool {
        match self {
            Explanation::Partitioners(names) => names.contains(&name),
            Explanation::EarlierCount(other, _) => *other == name,
            Explanation::Nothing => false,
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Explanation::Partitioners(names) => write!(f, "{} places them", names.join(" or ")),
            Explanation::EarlierCount(name, count) => {
                write!(
                    f,
                    "{name} places them, some of them as it did among {count} partitions"
                )
            }
            Explanation::Nothing => {
                f.write_str("none of murmur2, CRC32 and key modulo places them")
            }
        }
    }
}
