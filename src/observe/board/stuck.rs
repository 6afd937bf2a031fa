//! What does not get on: since when and why. Said in the log once, then once a minute, and when it is over.
//!
//! One cause may hold hundreds of partitions: of each kind the log speaks of a few, and counts the others.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use utoipa::ToSchema;

use super::status::Moment;

/// A log line about one of them comes at most this often.
pub(super) const SAY_AGAIN_AFTER_MS: u64 = 60_000;
/// Of so many places of a kind the log speaks at a time, and of so many new ones within a minute.
const SPOKEN_OF_MAX: usize = 5;

/// What is not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undone {
    /// The partition has not begun.
    NotBegun,
    /// Nothing more is read of the partition.
    NotRead,
    /// A range of the partition, or all of them, is not written.
    NotWritten,
    /// The offset of the partition is not committed.
    NotCommitted,
    /// Nobody tells whether the topic is there, or it is not.
    TopicUnknown,
}

impl Undone {
    /// For people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotBegun => "has not begun",
            Self::NotRead => "is not read",
            Self::NotWritten => "is not written",
            Self::NotCommitted => "is not committed",
            Self::TopicUnknown => "is not confirmed by kafka",
        }
    }
}

/// What it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// `None`: all partitions of the topic.
    pub partition: Option<i32>,
    /// What of it is not done.
    pub undone: Undone,
    /// `from-to` of the range that is not written.
    pub range: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// What is not done of a partition as a whole.
    #[must_use]
    pub fn of(topic: &'a str, partition: i32, undone: Undone) -> Self {
        Place {
            topic,
            partition: Some(partition),
            undone,
            range: None,
        }
    }
}

/// One thing that does not get on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StuckStatus {
    /// The topic's name.
    pub topic: String,
    /// The partition's number; `null`: all partitions of the topic.
    pub partition: Option<i32>,
    /// `not_begun`, `not_read`, `not_written`, `not_committed` or `topic_unknown`.
    #[schema(value_type = String)]
    pub what: Undone,
    /// `from-to` of the range that is not written; `null` for everything else.
    pub range: Option<String>,
    /// When it first failed.
    #[schema(value_type = String)]
    pub since: Moment,
    /// Whole seconds since then.
    pub seconds: u64,
    /// What failed last.
    pub why: String,
}

type Key = (String, Option<i32>, Undone, Option<String>);

fn key(place: &Place<'_>) -> Key {
    let range = place.range.map(str::to_owned);
    (place.topic.to_owned(), place.partition, place.undone, range)
}

#[derive(Debug)]
struct Stuck {
    since: Moment,
    since_ms: u64,
    /// When the log last spoke of it; `None`: it has not.
    said_ms: Option<u64>,
    count: u64,
    why: String,
}

/// When the log is to speak of something: seconds since it first failed, how often it has, and how many other
/// places there are of which the log says nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) seconds: u64,
    pub(super) count: u64,
    pub(super) others: usize,
}

/// How much the log speaks of one kind.
#[derive(Debug, Default)]
struct Spoken {
    /// Places of the kind, and those among them that the log has.
    places: usize,
    said: usize,
    /// When it last began to speak of one.
    begun_ms: VecDeque<u64>,
}

impl Spoken {
    /// Whether the log may speak of one place more; it does, then.
    fn begins(&mut self, now_ms: u64) -> bool {
        let is_old = |at_ms: &u64| now_ms.saturating_sub(*at_ms) >= SAY_AGAIN_AFTER_MS;
        while self.begun_ms.front().is_some_and(is_old) {
            self.begun_ms.pop_front();
        }
        let may = self.said < SPOKEN_OF_MAX && self.begun_ms.len() < SPOKEN_OF_MAX;
        if may {
            self.said += 1;
            self.begun_ms.push_back(now_ms);
        }
        may
    }

    fn others(&self) -> usize {
        self.places - self.said
    }
}

/// All of a pipeline.
#[derive(Debug, Default)]
pub(super) struct AllStuck {
    all: BTreeMap<Key, Stuck>,
    spoken: BTreeMap<Undone, Spoken>,
}

impl AllStuck {
    /// It failed once more. What is to be said of it, when it is time.
    pub(super) fn failed(
        &mut self,
        place: &Place<'_>,
        why: String,
        (now, now_ms): (Moment, u64),
    ) -> Option<Said> {
        let key = key(place);
        let spoken = self.spoken.entry(place.undone).or_default();
        let known = self.all.entry(key).or_insert_with(|| {
            spoken.places += 1;
            Stuck {
                since: now,
                since_ms: now_ms,
                said_ms: None,
                count: 0,
                why: String::new(),
            }
        });
        known.why = why;
        known.count += 1;
        let is_due = match known.said_ms {
            Some(said_ms) => now_ms.saturating_sub(said_ms) >= SAY_AGAIN_AFTER_MS,
            None => spoken.begins(now_ms),
        };
        is_due.then(|| {
            known.said_ms = Some(now_ms);
            Said {
                seconds: now_ms.saturating_sub(known.since_ms) / 1_000,
                count: known.count,
                others: spoken.others(),
            }
        })
    }

    /// It got on: what there is to say, if the log has that it was stuck.
    pub(super) fn got_on(&mut self, place: &Place<'_>, now_ms: u64) -> Option<Said> {
        if self.all.is_empty() {
            return None;
        }
        let key = key(place);
        let stuck = self.all.remove(&key)?;
        let spoken = self.spoken.entry(key.2).or_default();
        spoken.places -= 1;
        stuck.said_ms?;
        spoken.said -= 1;
        Some(Said {
            seconds: now_ms.saturating_sub(stuck.since_ms) / 1_000,
            count: stuck.count,
            others: spoken.others(),
        })
    }

    /// The partition is read anew, or by another member.
    pub(super) fn gone(&mut self, topic: &str, partition: i32) {
        self.retain(|key| key.0 != topic || key.1 != Some(partition));
    }

    /// Nobody here reads the topic.
    pub(super) fn topic_gone(&mut self, topic: &str) {
        self.retain(|key| key.0 != topic || key.1.is_some());
    }

    fn retain(&mut self, stays: impl Fn(&Key) -> bool) {
        let spoken = &mut self.spoken;
        self.all.retain(|key, stuck| {
            if stays(key) {
                return true;
            }
            let spoken = spoken.entry(key.2).or_default();
            spoken.places -= 1;
            spoken.said -= usize::from(stuck.said_ms.is_some());
            false
        });
    }

    /// Since how many seconds something of this partition does not get on, its topic included.
    pub(super) fn seconds(&self, topic: &str, partition: i32, now_ms: u64) -> u64 {
        let of_topic = self.of(topic, None);
        let of_it = of_topic.chain(self.of(topic, Some(partition)));
        let since_ms = of_it.map(|(_, stuck)| stuck.since_ms).min();
        since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms) / 1_000)
    }

    /// Whether a range of the partition is not written, by what is said of it.
    pub(super) fn has_range(&self, topic: &str, partition: i32) -> bool {
        self.of(topic, Some(partition))
            .any(|(key, _)| key.3.is_some())
    }

    /// What does not get on of one partition, or of a topic as a whole. Each partition is asked about every
    /// second, so others are not looked at.
    fn of<'s>(
        &'s self,
        topic: &'s str,
        partition: Option<i32>,
    ) -> impl Iterator<Item = (&'s Key, &'s Stuck)> {
        let first =
            (!self.all.is_empty()).then(|| (topic.to_owned(), partition, Undone::NotBegun, None));
        let of_it = first.map(|first| self.all.range(first..));
        let is_it = move |(key, _): &(&Key, &Stuck)| key.0 == topic && key.1 == partition;
        of_it.into_iter().flatten().take_while(is_it)
    }

    /// The longest first.
    pub(super) fn status(&self, now_ms: u64) -> Vec<StuckStatus> {
        let mut all: Vec<_> = self.all.iter().collect();
        all.sort_by_key(|(_, stuck)| stuck.since_ms);
        let status = |(key, stuck): (&Key, &Stuck)| StuckStatus {
            topic: key.0.clone(),
            partition: key.1,
            what: key.2,
            range: key.3.clone(),
            since: stuck.since,
            seconds: now_ms.saturating_sub(stuck.since_ms) / 1_000,
            why: stuck.why.clone(),
        };
        all.into_iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(partition: i32, range: &'static str) -> Place<'static> {
        Place {
            topic: "t",
            partition: Some(partition),
            undone: Undone::NotWritten,
            range: Some(range),
        }
    }

    fn unbegun(partition: i32) -> Place<'static> {
        Place {
            undone: Undone::NotBegun,
            range: None,
            ..range(partition, "")
        }
    }

    #[test]
    fn what_fails_again_keeps_its_beginning_and_is_said_once_a_minute_and_when_it_is_over() {
        let mut stuck = AllStuck::default();
        let at = |s: u64| (Moment(i64::try_from(s * 1000).expect("small")), s * 1000);
        let said = |seconds, count| {
            Some(Said {
                seconds,
                count,
                others: 0,
            })
        };
        let place = range(3, "0-10");
        assert_eq!(stuck.failed(&place, "a".into(), at(5)), said(0, 1));
        assert_eq!(stuck.failed(&place, "b".into(), at(64)), None);
        assert_eq!(stuck.failed(&place, "c".into(), at(65)), said(60, 3));
        assert_eq!(stuck.failed(&place, "d".into(), at(66)), None);
        assert_eq!(stuck.failed(&unbegun(4), "e".into(), at(66)), said(0, 1));
        let shown = stuck.status(70_000);
        assert_eq!(shown.len(), 2);
        assert_eq!((shown[0].seconds, &*shown[0].why), (65, "d"));
        assert_eq!(shown[0].since, Moment(5000));
        assert_eq!((shown[1].partition, &shown[1].range), (Some(4), &None));
        assert_eq!(stuck.seconds("t", 3, 70_000), 65);
        assert_eq!(stuck.seconds("t", 5, 70_000), 0);
        assert_eq!(stuck.got_on(&place, 71_000), said(66, 4));
        assert_eq!(stuck.got_on(&place, 71_000), None);
    }

    #[test]
    fn of_many_places_that_one_cause_holds_the_log_has_a_few_and_counts_the_others() {
        let mut stuck = AllStuck::default();
        let mut lines = vec![];
        for second in 0..180 {
            let now = (Moment(0), second * 1_000);
            for partition in 0..300 {
                lines.extend(stuck.failed(&unbegun(partition), String::new(), now));
            }
        }
        assert_eq!(lines.len(), 3 * SPOKEN_OF_MAX);
        assert_eq!(lines.last().map(|said| said.others), Some(295));
        assert_eq!(stuck.status(0).len(), 300, "the page has all of them");
        // Another kind speaks for itself.
        assert!(
            stuck
                .failed(&range(3, "0-9"), String::new(), (Moment(0), 0))
                .is_some()
        );
        let over = (0..300).filter_map(|partition| stuck.got_on(&unbegun(partition), 180_000));
        assert_eq!(over.count(), SPOKEN_OF_MAX);
        assert!(
            stuck
                .failed(&unbegun(7), String::new(), (Moment(0), 300_000))
                .is_some()
        );
    }

    #[test]
    fn one_that_gets_on_is_forgotten_and_so_are_all_of_a_partition_that_goes() {
        let mut stuck = AllStuck::default();
        let now = (Moment(0), 0);
        for place in [range(0, "0-5"), range(0, "5-9"), unbegun(1)] {
            stuck.failed(&place, String::new(), now);
        }
        assert!(stuck.has_range("t", 0) && !stuck.has_range("t", 1));
        stuck.got_on(&range(0, "0-5"), 0);
        stuck.got_on(&unbegun(7), 0);
        assert_eq!(stuck.status(0).len(), 2);
        stuck.gone("t", 0);
        assert_eq!(stuck.status(0)[0].partition, Some(1));
        stuck.got_on(&unbegun(1), 0);
        assert!(stuck.status(0).is_empty());
    }

    #[test]
    fn what_is_wrong_with_a_topic_holds_each_of_its_partitions() {
        let mut stuck = AllStuck::default();
        let topic = Place {
            topic: "t",
            partition: None,
            undone: Undone::TopicUnknown,
            range: None,
        };
        stuck.failed(&topic, String::new(), (Moment(0), 2_000));
        assert_eq!(stuck.seconds("t", 9, 5_000), 3);
        assert!(!stuck.has_range("t", 9));
        stuck.gone("t", 9);
        assert_eq!(stuck.status(0)[0].partition, None);
        stuck.topic_gone("t");
        assert_eq!(stuck.seconds("t", 9, 5_000), 0);
    }

    #[test]
    fn a_partition_is_not_mixed_up_with_its_neighbours() {
        let all = [
            Undone::NotBegun,
            Undone::NotRead,
            Undone::NotWritten,
            Undone::NotCommitted,
            Undone::TopicUnknown,
        ];
        for undone in all {
            let mut stuck = AllStuck::default();
            for (topic, partition) in [("s", 1), ("t", 0), ("t", 1), ("t", 2), ("u", 1)] {
                let place = Place::of(topic, partition, undone);
                let since = 10_000 * u64::try_from(partition + 1).expect("small");
                stuck.failed(&place, String::new(), (Moment(0), since));
            }
            let seconds = |partition| stuck.seconds("t", partition, 40_000);
            assert_eq!([0, 1, 2, 3].map(seconds), [30, 20, 10, 0], "{undone:?}");
            assert!(!stuck.has_range("t", 1));
        }
    }
}
