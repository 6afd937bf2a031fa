//! When a lane is done, and how it leaves its group.

use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::Lane;
use super::operator::Operator;
use super::ownership::Ownership;
use super::ratio::HALT_REASON;
use super::records_max::RecordsMax;
use super::stuck::unknown;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::progress::Metadata;
use crate::source::{Event, Offsets, TopicPartition};

/// How often the group is asked whether the partitions of others have reached their targets.
const GROUP_CHECK_INTERVAL: Duration = Duration::from_millis(300);
/// How long leaving may take when the broker does not answer.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long what was read may take to be written before a lane halts for its dead letters.
const LETTERS_TIMEOUT: Duration = Duration::from_secs(10);
/// The same where a drain has used up its time.
const LEAVE_TIMEOUT_MIN: Duration = COORDINATOR_TIMEOUT;
/// How long one question to the coordinator may take.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(1);

impl<O: Operator> Lane<O> {
    /// False once the lane has nothing left to do.
    pub(super) fn is_still_wanted(&mut self, now: Instant) -> Result<bool, crate::halt::Halt> {
        if self.context.stop.is_draining() {
            if !self.held.is_empty() {
                self.drop_held();
            }
            return Ok(!self.is_drained() && !self.context.stop.is_overdue(now));
        }
        let is_spent = self.has_read_records_max();
        if is_spent {
            self.stop_at_records_max();
        } else if self.context.shared.targets.is_none() {
            return Ok(true);
        }
        self.stop_fetching_reached();
        let is_done = |o: &Ownership<O::Partition>| {
            o.reading.has_reached_target() && o.is_clean() && !self.leaves_state(o)
        };
        // Offsets that are past every target may be past the log too: each partition is begun by
        // somebody, who looks, before the group's commits are believed.
        let is_idle = self.context.board.has_joined()
            && self.held.is_empty()
            && self.group.assigning.is_over()
            && self.group.revoking.is_none()
            && !self.awaits_assignment();
        let mine = is_idle
            && self.committer.is_idle()
            && self.has_emitted_all()
            && self.has_transacted_all()
            && self.owned.iter().all(is_done);
        // What other members read is not ours to wait for, once this process has read its share.
        Ok(!(mine && (is_spent || self.group_is_done(now))))
    }

    /// Whether `run --records-max` ends the run.
    fn has_read_records_max(&self) -> bool {
        let records_max = self.context.shared.records_max.as_ref();
        records_max.is_some_and(RecordsMax::is_spent)
    }

    /// Whether the run ends at offsets that are known by now.
    pub(super) fn knows_its_end(&self) -> bool {
        self.context.shared.targets.is_some() || self.has_read_records_max()
    }

    /// Every partition ends behind the last record that counts, and behind what a predecessor named.
    fn stop_at_records_max(&mut self) {
        let Some(most) = &self.context.shared.records_max else {
            return;
        };
        for own in &mut self.owned {
            let named_to = own.writing.replay_to().unwrap_or(0);
            let seen_to = own.reading.next.max(own.reading.seen_to).max(named_to);
            let stop_at = seen_to.max(most.read_to(&own.partition).unwrap_or(0));
            let sooner = own
                .reading
                .stop_at
                .map_or(stop_at, |target| target.min(stop_at));
            own.reading.stop_at = Some(sooner);
        }
    }

    /// Partitions that are needed together were given back, and the group will give us others, or the same:
    /// what was not yet emitted of them is then somebody's again. Commits tell how far everything was read,
    /// not whether it was emitted.
    fn awaits_assignment(&self) -> bool {
        self.operator.together().is_some() && self.group.member.is_none()
    }

    /// The records after the target are left to a later run.
    fn stop_fetching_reached(&mut self) {
        let consumer = self.consumer.as_ref().expect("no chunk is judged here");
        for own in &mut self.owned {
            if own.reading.has_reached_target() && !own.reading.fetch_stopped {
                own.reading.fetch_stopped = consumer.stop_fetching(&own.partition).is_ok();
            }
        }
    }

    fn is_drained(&self) -> bool {
        // A predecessor's range that was not read to its end stays named for the next start.
        let is_done = |o: &Ownership<O::Partition>| {
            o.ranges_open() == 0
                && !o.has_news()
                && (o.writing.batch.is_empty() || o.writing.is_replaying())
                && !self.leaves_state(o)
        };
        self.owned.iter().all(is_done)
            && self.has_emitted_all()
            && self.has_transacted_all()
            && !self.committer.is_in_flight()
    }

    /// Whether every partition of the pipeline is committed up to its target, by whichever member.
    fn group_is_done(&mut self, now: Instant) -> bool {
        let is_due = self
            .reporting
            .last_group_check
            .is_none_or(|at| now >= at + GROUP_CHECK_INTERVAL);
        let Some(targets) = self.context.shared.targets.as_ref().filter(|_| is_due) else {
            return false;
        };
        let unread: Vec<TopicPartition> = targets
            .iter()
            .filter(|(_, t)| t.offset > t.log_start)
            .map(|(p, _)| p.clone())
            .collect();
        let committed = self
            .consumer()
            .questions()
            .committed(&unread, self.context.shared.kafka_timeout);
        let done = committed.is_ok_and(|committed| {
            let reached = |(p, c): (&TopicPartition, &Offsets)| {
                read_to(c).is_some_and(|read_to| read_to >= targets[p].offset)
            };
            unread.iter().zip(&committed).all(reached)
        });
        self.reporting.last_group_check = Some(now);
        done
    }

    /// What halts for too many dead letters is explained by them: what was read is written first, and the
    /// halt says which reason is the most frequent, with an example.
    pub(super) fn write_letters_first(&mut self, mut halt: Halt) -> Halt {
        if halt.reason != HALT_REASON {
            return halt;
        }
        self.context.stop.drain(Instant::now() + LETTERS_TIMEOUT);
        while let Ok(true) = self.turn() {}
        let board = &self.context.shared.board;
        if let Some((count, example)) = board.most_frequent_dead_letter() {
            halt.advice += &format!(
                "; the most frequent reason is {} ({count} since the start), such as {}: {} (`streamweir \
                 dead-letters show {}` prints the record)",
                example.reason, example.address, example.detail, example.address
            );
        }
        halt
    }

    /// Leaves the group. What is not durable stays for the next owner.
    pub(super) fn leave(&mut self, is_clean: bool) {
        crash_point!("before_leave");
        self.context.board.turned();
        if !is_clean {
            self.context.stop.note_halt();
        }
        self.drop_held();
        let open = self
            .operator
            .emission()
            .and_then(|operator| operator.unfinished());
        if let Some(open) = open.filter(|_| is_clean) {
            tracing::info!(
                pipeline = self.context.pipeline.name,
                open,
                "left for a later run"
            );
        }
        self.disown(|_| true);
        self.drop_emission();
        for topic in std::mem::take(&mut self.reporting.topics_said) {
            self.context.shared.board.got_on(&unknown(&topic));
        }
        // Questions that are not answered yet hold the client.
        let assigning = self.group.assigning.take();
        for partition in assigning.partitions() {
            self.unsay(partition);
        }
        let is_unanswered = assigning.is_unanswered;
        drop(assigning);
        let deadline = leave_by(Instant::now(), self.context.stop.deadline());
        if !self.await_coordinator(deadline) {
            return self.abandon();
        }
        self.await_commit(deadline);
        self.end_transaction(deadline);
        // An assignment without an answer would block the client.
        if is_unanswered {
            let _ = self.consumer().assign(&[]);
        }
        self.consumer().unsubscribe();
        self.await_revocation(deadline);
        // Closing may wait for a coordinator that has gone away just now, without end.
        let remaining = deadline.saturating_duration_since(Instant::now());
        if self.close(false).recv_timeout(remaining).is_err() {
            return self.say_abandoned();
        }
        tracing::info!(
            pipeline = self.context.pipeline.name,
            lane = self.context.number,
            is_clean,
            "left the group"
        );
    }

    /// An answer that is still to come must not meet the next generation.
    fn await_commit(&mut self, deadline: Instant) {
        while self.committer.is_in_flight() && Instant::now() < deadline {
            for event in self.consumer().events() {
                if let Event::Committed(result) = event {
                    let _ = self.committer.answered(&result, Instant::now());
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the client still has is given back.
    fn await_revocation(&mut self, deadline: Instant) {
        let mut left = false;
        while !left && Instant::now() < deadline {
            for event in self.consumer().events() {
                match event {
                    Event::Assigned(_) => {
                        let _ = self.consumer().assign(&[]);
                    }
                    Event::Revoked { partitions, .. } => {
                        let _ = self.consumer().unassign(&partitions);
                        left = true;
                    }
                    Event::Committed(_) | Event::Error { .. } => {}
                }
            }
            // Without an assignment there is no revocation to wait for.
            left |= self.consumer().assigned_count() == 0;
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the group's coordinator answers, which may be away for a moment, or moving. Meanwhile a
    /// rebalance goes on: nothing is taken any more, and what is ours is given back.
    fn await_coordinator(&mut self, deadline: Instant) -> bool {
        let mut is_said = false;
        loop {
            if self.consumer().coordinator_answers(COORDINATOR_TIMEOUT) {
                return true;
            }
            if !std::mem::replace(&mut is_said, true) {
                tracing::info!(
                    pipeline = self.context.pipeline.name,
                    lane = self.context.number,
                    "the group's coordinator does not answer: waiting for it before the group is left"
                );
            }
            for event in self.consumer().events() {
                match event {
                    Event::Assigned(_) => {
                        let _ = self.consumer().assign(&[]);
                    }
                    Event::Revoked { partitions, .. } => {
                        let _ = self.consumer().unassign(&partitions);
                    }
                    Event::Committed(result) => {
                        let _ = self.committer.answered(&result, Instant::now());
                    }
                    Event::Error { .. } => {}
                }
            }
            if Instant::now() >= deadline {
                return false;
            }
        }
    }

    /// Ends without leaving the group, because no coordinator takes the request. librdkafka 2.12 then waits in its close
    /// for ever, and may crash if it learns at that moment that the coordinator is gone
    /// (librdkafka issues 3740 and 5347). The group takes the member for dead after its session timeout,
    /// unless this process lives until the coordinator is back.
    fn abandon(&mut self) {
        self.end_transaction(Instant::now() + COORDINATOR_TIMEOUT);
        drop(self.close(true));
        self.say_abandoned();
    }

    fn say_abandoned(&self) {
        tracing::warn!(
            pipeline = self.context.pipeline.name,
            lane = self.context.number,
            "the group's coordinator does not answer: ended without leaving the group, which gives \
             the partitions to others after session.timeout.ms"
        );
    }

    /// Closes the client on a thread of its own; what is returned says when it is closed.
    fn close(&mut self, waits_for_coordinator: bool) -> Receiver<()> {
        let (closed, is_closed) = channel();
        let consumer = self.consumer.take();
        let closing = move || {
            while waits_for_coordinator
                && consumer
                    .as_ref()
                    .is_some_and(|consumer| !consumer.coordinator_answers(COORDINATOR_TIMEOUT))
            {
                std::thread::sleep(COORDINATOR_TIMEOUT);
            }
            drop(consumer);
            let _ = closed.send(());
        };
        let thread = std::thread::Builder::new().name("leaving".to_owned());
        if let Err(error) = thread.spawn(closing) {
            tracing::warn!(%error, "no thread for the client that leaves");
        }
        is_closed
    }
}

/// Until when leaving is tried: within what is left of the time for a shutdown.
fn leave_by(now: Instant, stop_by: Option<Instant>) -> Instant {
    let latest = now + LEAVE_TIMEOUT;
    stop_by.map_or(latest, |at| at.clamp(now + LEAVE_TIMEOUT_MIN, latest))
}

/// How far a partition has been read and everything written that can be: the committed offset, unless
/// records before that are kept for open windows.
fn read_to(committed: &Offsets) -> Option<i64> {
    let position = committed.position?;
    let metadata = Metadata::decode(&committed.metadata, position);
    let frontier = metadata.ok().flatten().and_then(|m| m.frontier);
    Some(frontier.map_or(position, |frontier| {
        frontier.read_to().min(frontier.settled_to())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leave_takes_no_longer_than_what_is_left_of_the_shutdown() {
        let now = Instant::now();
        let seconds = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(leave_by(now, None), seconds(10));
        assert_eq!(leave_by(now, Some(seconds(30))), seconds(10));
        assert_eq!(leave_by(now, Some(seconds(7))), seconds(7));
        assert_eq!(leave_by(seconds(30), Some(seconds(30))), seconds(31));
    }
}
