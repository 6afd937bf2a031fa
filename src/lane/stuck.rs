//! What holds a partition is reported on the page, in the JSON, by a metric and in the log.
//!
//! Code that fails and tries again reports why. What only does not answer is noticed here, once a second.

use std::time::{Duration, Instant};

use super::emission::ROWS_OF_WINDOWS;
use super::lookups::LOOKUPS;
use super::operator::Operator;
use super::ownership::{Ownership, Parked, STILL_MAX};
use super::{Lane, PAUSED_BY_OPERATOR, PAUSED_BY_RATE};
use crate::observe::board::{Place, Undone};
use crate::source::TopicPartition;

/// What a record waits for is reported after this time, if no reason was reported yet.
const PARKED_MAX: Duration = Duration::from_secs(5);

impl<O: Operator> Lane<O> {
    /// Says what does not get on.
    pub(super) fn say_stuck(&mut self, now: Instant) {
        let board = self.context.shared.board.clone();
        let say = |partition: &TopicPartition, undone, why: Option<String>| {
            let place = Place::of(&partition.topic, partition.partition, undone);
            match why {
                Some(why) => board.stuck(&place, &why),
                None => board.got_on(&place),
            }
        };
        let paused = self.why_paused(now);
        // Rows of windows are of all partitions.
        let of_windows = match &self.emission {
            Some(_) => board.stuck_seconds(ROWS_OF_WINDOWS, i32::from(self.context.number)),
            None => 0,
        };
        for index in 0..self.owned.len() {
            let own = &mut self.owned[index];
            let (unwritten, uncommitted) = own.note_standing(now);
            let own = &self.owned[index];
            let partition = &own.partition;
            // The writer may have reported more.
            let is_said = board.is_not_written(&partition.topic, partition.partition);
            let unwritten = unwritten.filter(|_| !is_said).map(|_| {
                "no answer yet to what its first open range waits for: an insert, a dead letter, a record \
                 that is read again, or the commit that names it"
                    .to_owned()
            });
            // A transaction that is due says so itself.
            let uncommitted = uncommitted
                .filter(|_| self.transacting.is_none())
                .map(|_| "the group's coordinator has not confirmed its offset".to_owned());
            let unread = self.why_not_read(own, now).or_else(|| paused.clone());
            say(partition, Undone::NotWritten, unwritten);
            // A commit that is refused says why itself, and is repeated.
            let is_refused = now < own.commits.not_before + PARKED_MAX;
            if !is_refused && (uncommitted.is_some() || !own.has_news()) {
                say(partition, Undone::NotCommitted, uncommitted);
            }
            say(partition, Undone::NotRead, unread);
            let seconds = board.stuck_seconds(&partition.topic, partition.partition);
            let seconds = seconds.max(of_windows);
            own.metrics.stuck.set(seconds as f64);
        }
        for partition in self.group.assigning.unanswered(now, PARKED_MAX) {
            let why = "no answer yet of kafka, clickhouse or the store of snapshots";
            say(&partition, Undone::NotBegun, Some(why.to_owned()));
        }
        for partition in self.group.assigning.partitions() {
            let seconds = board.stuck_seconds(&partition.topic, partition.partition);
            if seconds > 0 {
                let TopicPartition { topic, partition } = partition;
                let metrics = self.context.metrics.partition(topic, *partition);
                metrics.stuck.set(seconds as f64);
            }
        }
        self.say_unknown_topics(now);
    }

    /// Why the lane takes nothing in, where that has lasted.
    fn why_paused(&self, now: Instant) -> Option<String> {
        let (since, reason) = self.reporting.pausing?;
        let (why, for_at_least) = match reason {
            PAUSED_BY_OPERATOR | PAUSED_BY_RATE => return None,
            "lookup" => ("profiles", PARKED_MAX),
            "sink" => ("ranges that are not written", STILL_MAX),
            _ => ("memory (service.memory_max)", STILL_MAX),
        };
        let trouble = self.context.shared.board.table_trouble(LOOKUPS);
        let trouble = trouble.filter(|_| reason == "lookup");
        let trouble = trouble.map_or(String::new(), |trouble| format!(": {trouble}"));
        (now >= since + for_at_least).then(|| format!("waits for {why}{trouble}"))
    }

    fn why_not_read(&self, own: &Ownership<O::Partition>, now: Instant) -> Option<String> {
        let Some(Parked::UnderWay { what, since, .. }) = &own.reading.parked else {
            return None;
        };
        if now < *since + PARKED_MAX {
            return None;
        }
        let trouble = self.context.shared.board.table_trouble(&own.commits.table);
        let trouble = trouble.unwrap_or_else(|| "no answer yet".to_owned());
        Some(format!("waits for {what}: {trouble}"))
    }

    /// Nothing of a topic is written before it is known to be the one that was read.
    fn say_unknown_topics(&mut self, now: Instant) {
        let is_long = |at: Instant| now >= at + PARKED_MAX;
        // Rows of many records wait for the topics of all partitions.
        let held = self.rows_held_since().or(self.transaction_held_since());
        let all_wait = held.is_some_and(is_long);
        let waits = |own: &&Ownership<O::Partition>| {
            all_wait || own.writing.unnamed_read_at().is_some_and(is_long)
        };
        let waiting = self.owned.iter().filter(waits);
        let mut topics = self.topic_watch.refused();
        topics.extend(waiting.map(|own| own.partition.topic.to_string()));
        topics.sort();
        topics.dedup();
        topics.retain(|topic| {
            let Some(why) = self.topic_watch.why_unknown(topic, now) else {
                return false;
            };
            self.context.shared.board.stuck(&unknown(topic), &why);
            true
        });
        for topic in &self.reporting.topics_said {
            if !topics.contains(topic) {
                self.context.shared.board.got_on(&unknown(topic));
            }
        }
        self.reporting.topics_said = topics;
    }

    /// A partition is not ours any more, or begins anew.
    pub(super) fn unsay(&self, partition: &TopicPartition) {
        let TopicPartition { topic, partition } = partition;
        self.context.shared.board.partition_gone(topic, *partition);
        // What a halted pipeline has not written stays visible.
        if !self.context.stop.has_halted() {
            self.context.metrics.partition(topic, *partition).forget();
        }
    }
}

pub(super) fn unknown(topic: &str) -> Place<'_> {
    Place {
        topic,
        partition: None,
        undone: Undone::TopicUnknown,
        range: None,
    }
}
