//! What a join of two topics comes to: a plain model of the rules, which shares nothing with the daemon.
//!
//! Everything is kept: nothing waits, is decided or is forgotten here. Each partition is read in the order
//! of its offsets, each record is held against its own partition's watermark, and each event against every
//! profile of its key.

use std::collections::BTreeMap;

/// The rules of a join.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// An event without match is sent too, with nulls.
    pub keeps_unmatched: bool,
    /// `None`: the newest profile holds until the next, or until a tombstone.
    pub before_ms: Option<i64>,
    pub after_ms: i64,
    pub delay_ms: i64,
}

/// A record of either side as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spoken {
    pub time_ms: i64,
    pub user: Option<u64>,
    /// From its time on the user has no profile.
    pub ends_profile: bool,
}

/// Partition and offset of a record.
pub type Place = (i32, i64);
/// The records of a topic, by partition, in the order of their offsets.
pub type Side = BTreeMap<i32, Vec<(i64, Spoken)>>;

/// Why an event has no profile, or that it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Matched,
    NoProfile,
    OutsideWindow,
    Late,
}

/// What becomes of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub time_ms: i64,
    pub outcome: Outcome,
    /// The right record that belongs to it.
    pub profile: Option<Place>,
    /// Every right record that could be met first.
    pub candidates: Vec<Place>,
}

impl Answer {
    pub fn is_sent(&self, rules: &Rules) -> bool {
        rules.keeps_unmatched || self.profile.is_some()
    }
}

impl Outcome {
    /// The metric's label.
    pub fn label(self) -> &'static str {
        match self {
            Outcome::Matched => "matched",
            Outcome::NoProfile => "no_profile",
            Outcome::OutsideWindow => "outside_window",
            Outcome::Late => "late",
        }
    }
}

/// A right record that takes part.
struct Profile {
    time_ms: i64,
    place: Place,
    is_end: bool,
}

/// Offset, record, and whether it is late.
type Judged<'s> = (i64, &'s Spoken, bool);

impl Rules {
    /// What becomes of each left record.
    pub fn answers(&self, left: &Side, right: &Side) -> BTreeMap<Place, Answer> {
        let mut answers = BTreeMap::new();
        for (partition, events) in left {
            let none = vec![];
            let profiles = self.profiles(*partition, right.get(partition).unwrap_or(&none));
            for (offset, event, is_late) in self.judged(events) {
                let known = event.user.and_then(|user| profiles.get(&user));
                let answer = self.answer(event.time_ms, is_late, known);
                answers.insert((*partition, offset), answer);
            }
        }
        answers
    }

    /// How many records of a side come late.
    pub fn late_count(&self, side: &Side) -> u64 {
        let late = |records: &Vec<(i64, Spoken)>| {
            let judged = self.judged(records);
            judged.into_iter().filter(|(.., is_late)| *is_late).count()
        };
        side.values().map(late).sum::<usize>() as u64
    }

    fn judged<'s>(&self, records: &'s [(i64, Spoken)]) -> Vec<Judged<'s>> {
        let mut watermark = i64::MIN;
        let judge = |(offset, spoken): &'s (i64, Spoken)| {
            let is_late = spoken.time_ms < watermark;
            watermark = watermark.max(spoken.time_ms - self.delay_ms);
            (*offset, spoken, is_late)
        };
        records.iter().map(judge).collect()
    }

    fn profiles(&self, partition: i32, records: &[(i64, Spoken)]) -> BTreeMap<u64, Vec<Profile>> {
        let mut profiles: BTreeMap<u64, Vec<Profile>> = BTreeMap::new();
        for (offset, said, is_late) in self.judged(records) {
            let Some(user) = said.user.filter(|_| !is_late) else {
                continue;
            };
            let profile = Profile {
                time_ms: said.time_ms,
                place: (partition, offset),
                is_end: said.ends_profile,
            };
            profiles.entry(user).or_default().push(profile);
        }
        profiles
    }

    fn answer(&self, time_ms: i64, is_late: bool, known: Option<&Vec<Profile>>) -> Answer {
        let known = known.map_or(&[][..], Vec::as_slice);
        let from = self.before_ms.map_or(i64::MIN, |before| time_ms - before);
        let near = |p: &&Profile| (from..=time_ms + self.after_ms).contains(&p.time_ms) && !is_late;
        let near: Vec<&Profile> = known.iter().filter(near).collect();
        let earlier = near.iter().filter(|p| p.time_ms <= time_ms);
        let newest = earlier.max_by_key(|p| (p.time_ms, p.place));
        let later = near
            .iter()
            .filter(|p| p.time_ms > time_ms && !p.is_end)
            .min_by_key(|p| (p.time_ms, std::cmp::Reverse(p.place)));
        let profile = newest.filter(|p| !p.is_end).or(later).map(|p| p.place);
        let outcome = match (is_late, profile, known.is_empty()) {
            (true, ..) => Outcome::Late,
            (_, Some(_), _) => Outcome::Matched,
            (_, None, true) => Outcome::NoProfile,
            (_, None, false) => Outcome::OutsideWindow,
        };
        Answer {
            time_ms,
            outcome,
            profile,
            candidates: near.iter().filter(|p| !p.is_end).map(|p| p.place).collect(),
        }
    }
}
