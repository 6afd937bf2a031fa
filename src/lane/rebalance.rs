//! Partitions come and go. How one that came begins is `begin`'s.

use std::sync::Arc;
use std::time::Instant;

use streamweir_kafka::RDKafkaErrorCode;

use super::Lane;
use super::begin::Assigning;
use super::operator::Operator;
use super::ownership::Ownership;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::observe::board::Trouble;
use crate::progress::OwnershipId;
use crate::source::{Event, GroupMember, TopicPartition, lacks_right};

/// Partitions that are to be given back.
#[derive(Debug)]
pub(super) struct Revoking {
    partitions: Vec<TopicPartition>,
    lost: bool,
    deadline: Instant,
}

/// Where the lane stands with its consumer group.
#[derive(Debug)]
pub(super) struct Group<S> {
    /// Partitions that were given to us and have not begun.
    pub(super) assigning: Assigning<S>,
    /// Partitions that are to be given back.
    pub(super) revoking: Option<Revoking>,
    /// As what the group knows us since the last assignment.
    pub(super) member: Option<Arc<GroupMember>>,
    /// Since when the group owes us an assignment.
    pub(super) joining_since: Option<Instant>,
    /// Whether a member has begun to read, so that `start_offset` does not matter any more.
    pub(super) has_begun: bool,
}

impl<S> Default for Group<S> {
    fn default() -> Self {
        Group {
            assigning: Assigning::default(),
            revoking: None,
            member: None,
            joining_since: None,
            has_begun: false,
        }
    }
}

impl<O: Operator> Lane<O> {
    /// Takes what librdkafka has to say.
    pub(super) fn handle_events(&mut self, now: Instant) -> Result<(), Halt> {
        for event in self.consumer().events() {
            match event {
                Event::Assigned(_) if is_unheard() => {}
                Event::Assigned(partitions) => self.assigned(partitions),
                Event::Revoked { partitions, lost } => self.revoked(partitions, lost, now),
                Event::Committed(result) => self.commit_answered(&result, now)?,
                Event::Error {
                    code,
                    text,
                    fatal: true,
                } => {
                    let code = code.map(|c| c.to_string()).unwrap_or_default();
                    return Err(Halt::new("kafka_fatal", format!("kafka: {code}: {text}")));
                }
                Event::Error {
                    code: Some(RDKafkaErrorCode::GroupAuthorizationFailed),
                    ..
                } => {
                    let group = format!("group {}", self.context.pipeline.group_id);
                    return Err(lacks_right("READ", &group));
                }
                Event::Error {
                    code: _,
                    text,
                    fatal: false,
                } => {
                    self.context.shared.board.error(&format!("kafka: {text}"));
                    let board = &self.context.shared.board;
                    board.trouble(Trouble::KafkaReports, &text);
                }
            }
        }
        Ok(())
    }

    fn assigned(&mut self, partitions: Vec<TopicPartition>) {
        self.context.metrics.rebalances.increment(1);
        self.group.joining_since = None;
        self.context.board.set_joined(true);
        tracing::info!(
            pipeline = self.context.pipeline.name,
            lane = self.context.number,
            partitions = list(&partitions),
            "partitions assigned"
        );
        self.group.member = self.consumer().member().map(Arc::new);
        self.begin_given(partitions);
    }

    /// Ends an ownership and reads its partition again from the committed offset.
    pub(super) fn rewind(&mut self, id: OwnershipId, why: &str, now: Instant) {
        let Some(index) = self.owned.iter().position(|o| o.ledger.ownership() == id) else {
            return;
        };
        if self.operator.together().is_some() {
            return self.rewind_all(id, why, now);
        }
        let mut own = self.owned.swap_remove(index);
        self.unsay(&own.partition);
        self.end(&mut own);
        tracing::warn!(partition = %own.partition, why, "reading the partition again from its committed offset");
        self.committer.retain(|ownership| ownership != id);
        if !own.reading.revoking {
            let partition = own.partition.clone();
            self.begin_again([partition], now);
        }
    }

    /// The same where partitions make rows together.
    fn rewind_all(&mut self, id: OwnershipId, why: &str, now: Instant) {
        let partition = self.owned_by(id).map(|own| own.partition.to_string());
        tracing::warn!(
            partition,
            why,
            "reading all partitions again from their committed offsets, because they are needed together"
        );
        let mut again = vec![];
        for own in &self.owned {
            let id = own.ledger.ownership();
            self.committer.retain(|ownership| ownership != id);
            if !own.reading.revoking {
                again.push(own.partition.clone());
            }
        }
        self.disown(|_| true);
        self.restart_emission();
        self.begin_again(again, now);
    }

    fn revoked(&mut self, mut partitions: Vec<TopicPartition>, lost: bool, now: Instant) {
        if self.operator.together().is_some() {
            // What we took beyond what the group gave us goes with it.
            let unbegun = self.group.assigning.partitions();
            let held = self.owned.iter().map(|o| &o.partition).chain(unbegun);
            partitions.extend(held.cloned());
            partitions.sort();
            partitions.dedup();
        }
        self.context.metrics.rebalances.increment(1);
        tracing::info!(
            pipeline = self.context.pipeline.name,
            lane = self.context.number,
            lost,
            partitions = list(&partitions),
            "partitions revoked"
        );
        self.group.member = None;
        crash_point!("before_revoke");
        self.forget_unbegun(|partition| partitions.contains(partition));
        for own in self
            .owned
            .iter_mut()
            .filter(|o| partitions.contains(&o.partition))
        {
            own.reading.revoking = true;
        }
        if lost {
            self.unpark_all(&partitions);
            self.disown(|partition| partitions.contains(partition));
            self.restart_emission();
        }
        let deadline = now + self.context.pipeline.revoke_timeout;
        self.group.revoking = Some(Revoking {
            partitions,
            lost,
            deadline,
        });
    }

    /// Partitions that stay are read on where the lane stands, whatever the client believes.
    pub(super) fn keep_positions(&self) {
        let kept: Vec<_> = self
            .owned
            .iter()
            .map(|o| (o.partition.clone(), o.reading.seen_to))
            .collect();
        if let Err(error) = self.consumer().keep_positions(&kept) {
            tracing::warn!(pipeline = self.context.pipeline.name, %error, "positions not kept");
        }
    }

    /// Gives revoked partitions back once their open ranges have settled, or when the time is up.
    pub(super) fn try_let_go(&mut self, now: Instant) -> Result<(), Halt> {
        let Some(revoking) = &self.group.revoking else {
            return Ok(());
        };
        let is_settled = |o: &Ownership<O::Partition>| {
            // What no transaction has committed yet is its next owner's.
            let is_committed = self.transacting.is_some() || !o.has_news();
            o.ranges_open() == 0 && is_committed && !self.leaves_state(o)
        };
        let waits = !revoking.lost
            && now < revoking.deadline
            && (self.is_emitting()
                || self.is_transacting()
                || self
                    .owned
                    .iter()
                    .any(|o| o.reading.revoking && !is_settled(o)));
        // An answer that is still to come must not meet the next generation.
        if waits || self.committer.is_in_flight() {
            return Ok(());
        }
        let revoking = self.group.revoking.take().expect("just seen");
        self.unpark_all(&revoking.partitions);
        self.disown(|partition| revoking.partitions.contains(partition));
        self.give_up_rows(now);
        self.restart_emission();
        let owned: Vec<_> = self.owned.iter().map(|o| o.ledger.ownership()).collect();
        self.committer.retain(|id| owned.contains(&id));
        self.keep_positions();
        if let Err(error) = self.consumer().unassign(&revoking.partitions) {
            tracing::warn!(pipeline = self.context.pipeline.name, %error, "unassignment refused");
        }
        self.await_assignment(now);
        crash_point!("after_revoke");
        Ok(())
    }

    /// Rows of partitions that are gone must not arrive once another member has them: nothing stays in
    /// flight, and the partitions that stay make their rows again.
    fn give_up_rows(&mut self, now: Instant) {
        if !self.is_emitting() {
            return;
        }
        let staying: Vec<_> = self.owned.iter().map(|o| o.ledger.ownership()).collect();
        for id in staying {
            let why = "rows were still in flight when other partitions were given back";
            self.rewind(id, why, now);
        }
    }
}

/// For tests: an assignment that never arrives.
fn is_unheard() -> bool {
    fail::fail_point!("unheard_assignment", |_| true);
    false
}

fn list(partitions: &[TopicPartition]) -> String {
    let names: Vec<_> = partitions.iter().map(ToString::to_string).collect();
    names.join(" ")
}
