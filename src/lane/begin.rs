//! An assigned partition begins: what is known about it is gathered, and where to read decided.
//!
//! What has to be asked is asked by tasks, a few at once, while the lane reads the partitions that have
//! begun. Each partition begins as soon as everything about it is known; one of which something is not
//! known, or whose topic or table does not answer, is asked about again and keeps no other one. Only
//! partitions that make rows together begin together.

mod asking;
mod assigning;
mod not_yet;
mod partition;
mod topic;

use std::time::{Duration, Instant};

use streamweir_kafka::{KafkaError, KafkaResult};

pub(super) use self::asking::News;
pub(super) use self::assigning::Assigning;
use self::assigning::Unbegun;
use self::not_yet::not_looked_up;
pub(super) use self::not_yet::{NotYet, off_thread};
use self::partition::Found;
pub(super) use self::partition::PartitionInquiry;
use super::Lane;
use super::operator::{Operator, Together};
use super::ownership::{Beginning, Ownership, Restored};
use crate::batch::PartitionPace;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::observe::board::{Place, Undone};
use crate::sink::Backoff;
use crate::source::TopicPartition;

/// A partition that the client refused to begin is tried again after this.
const REFUSED_WAIT: Duration = Duration::from_millis(500);

impl<O: Operator> Lane<O> {
    /// The group has given us partitions.
    pub(super) fn begin_given(&mut self, partitions: Vec<TopicPartition>) {
        let now = Instant::now();
        self.group.assigning.is_unanswered = true;
        self.group.assigning.is_whole = false;
        self.group.assigning.not_before = None;
        for partition in partitions {
            self.group.assigning.push(partition, false, now);
        }
        if !self.begins_together() {
            // Those that stay are read on while those that came are asked about.
            let _ = self.assign(&[]);
        }
        // One that halts the pipeline at once has a lag too.
        self.show_partitions();
    }

    /// These are ours already, and read again from their committed offsets.
    pub(super) fn begin_again(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        not_before: Instant,
    ) {
        for partition in partitions {
            self.group.assigning.push(partition, true, not_before);
        }
    }

    /// Partitions that go before they began.
    pub(super) fn forget_unbegun(&mut self, goes: impl Fn(&TopicPartition) -> bool) {
        let assigning = &mut self.group.assigning;
        let goes = |unbegun: &mut Unbegun<O::Partition>| goes(&unbegun.partition);
        let gone: Vec<_> = assigning.unbegun.extract_if(.., goes).collect();
        if assigning.unbegun.is_empty() {
            assigning.topics.clear();
            assigning.opening = assigning::Opening::NotAsked;
            assigning.known_since = None;
        }
        for unbegun in &gone {
            self.unsay(&unbegun.partition);
        }
        if gone.is_empty() || !self.group.assigning.is_unanswered {
            return;
        }
        // The client answers a revocation only for partitions that it was told to read. What arrives until
        // then is dropped.
        let nowhere: Vec<_> = gone.into_iter().map(|u| (u.partition, i64::MAX)).collect();
        let _ = self.assign(&nowhere);
    }

    /// Whether partitions begin all at once, because they make rows together.
    fn begins_together(&self) -> bool {
        self.operator.together().is_some() || self.consumer().is_eager()
    }

    /// Answers the group's assignment, or adds to what the client reads.
    ///
    /// # Errors
    /// The client refuses.
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> KafkaResult<()> {
        self.keep_positions();
        let assigned = self.consumer().assign(positions);
        if let Err(error) = &assigned {
            // The group has moved on: the revocation will come, and nothing was read.
            tracing::warn!(pipeline = self.context.pipeline.name, %error, "assignment refused");
        }
        self.group.assigning.is_unanswered = false;
        assigned
    }

    /// Asks about partitions that have not begun, and begins those of which everything is known.
    pub(super) fn begin_assigned(&mut self, now: Instant) -> Result<(), Halt> {
        if self.group.assigning.is_over()
            || self.context.stop.is_draining()
            || self.group.assigning.not_before.is_some_and(|at| now < at)
        {
            return Ok(());
        }
        // What it commits is where they begin.
        if self.is_transacting() || !self.reads_whole(now)? {
            return Ok(());
        }
        if self.begins_together() {
            let all: Vec<_> = self.group.assigning.partitions().cloned().collect();
            if let Some(Together::CoPartitioned(operator)) = self.operator.together() {
                operator.check_assignment(&all)?;
            }
        }
        if self.is_open(now) {
            self.ask_about_topics(now);
            self.ask_about_partitions(now);
        }
        self.begin_known(now)
    }

    /// Where one member reads a whole topic, it is the one that was given the first partition: it takes
    /// them all, and the others none. False when there is nothing to begin, or not yet.
    fn reads_whole(&mut self, now: Instant) -> Result<bool, Halt> {
        let assigning = &self.group.assigning;
        let mut partitions = assigning.partitions();
        let together = self.operator.together();
        if !together.is_some_and(|together| together.has_one_reader())
            || assigning.is_whole
            || !assigning.is_unanswered
            || assigning.unbegun.is_empty()
        {
            return Ok(true);
        }
        let Some(first) = partitions.find(|p| p.partition == 0).cloned() else {
            tracing::info!(
                pipeline = self.context.pipeline.name,
                "another member of the group reads the whole topic; standing by"
            );
            drop(partitions);
            self.group.assigning.unbegun.clear();
            let _ = self.assign(&[]);
            return Ok(false);
        };
        drop(partitions);
        let timeout = self.context.shared.kafka_timeout;
        let asked = self
            .consumer()
            .questions()
            .partitions_of(&first.topic, timeout);
        let why = match asked {
            Ok(Some(partitions)) => {
                self.group.assigning.unbegun.clear();
                for partition in partitions {
                    self.group.assigning.push(partition, false, now);
                }
                self.group.assigning.is_whole = true;
                return Ok(true);
            }
            Ok(None) => NotYet::no_partitions(&first.topic),
            Err(error) => error.into(),
        };
        self.not_begun(&first, why)?;
        self.group.assigning.wait_together(now);
        Ok(false)
    }

    /// Reports that a partition cannot begin yet.
    fn not_begun(&mut self, partition: &TopicPartition, why: NotYet) -> Result<(), Halt> {
        let why = match why {
            NotYet::Later(why) => why,
            NotYet::Never(halt) => return Err(halt.at(partition)),
        };
        let board = &self.context.shared.board;
        board.error(&format!("{partition}: {why}"));
        board.stuck(
            &Place::of(&partition.topic, partition.partition, Undone::NotBegun),
            &why,
        );
        Ok(())
    }

    /// Begins the partitions of which everything is known.
    fn begin_known(&mut self, now: Instant) -> Result<(), Halt> {
        let together = self.begins_together();
        // The revocation will come, and would be taken for a regular one.
        if !self.group.assigning.is_ready(together, now) || self.consumer().has_lost_assignment() {
            return Ok(());
        }
        let known = self.group.assigning.take_known();
        let mut owned = vec![];
        for known in known {
            let (found, restored) = *known.facts;
            let own = self.ownership(known.partition, found, restored)?;
            owned.push((own, known.is_again));
        }
        self.begin(owned);
        if self.group.assigning.unbegun.is_empty() {
            self.forget_unbegun(|_| true);
            self.group.assigning.not_before = None;
            self.group.assigning.backoff = Backoff::new();
        }
        Ok(())
    }

    fn begin(&mut self, owned: Vec<(Ownership<O::Partition>, bool)>) {
        let is_eager = self.consumer().is_eager();
        let is_sought = |own: &(_, bool)| own.1 && !is_eager;
        let (sought, fresh): (Vec<_>, Vec<_>) = owned.into_iter().partition(is_sought);
        let mut failed = vec![];
        if !fresh.is_empty() || self.group.assigning.is_unanswered {
            let position =
                |(own, _): &(Ownership<_>, _)| (own.partition.clone(), own.reading.seen_to);
            let positions: Vec<_> = fresh.iter().map(position).collect();
            let assigned = self.assign(&positions);
            for (own, is_again) in fresh {
                match &assigned {
                    Ok(()) => self.begun(own),
                    Err(error) => failed.push((own, is_again, error.clone())),
                }
            }
        }
        for (own, is_again) in sought {
            match self.read_again(&own) {
                Ok(()) => self.begun(own),
                Err(error) => failed.push((own, is_again, error)),
            }
        }
        self.begin_failed(failed);
        for own in &mut self.owned {
            // Ranges whose records the log has dropped are complete without reading.
            let next = own.reading.next;
            own.seal_replayed(next);
        }
        crash_point!("after_assign");
    }

    fn begun(&mut self, own: Ownership<O::Partition>) {
        let board = &self.context.shared.board;
        board.got_on(&Place::of(
            &own.partition.topic,
            own.partition.partition,
            Undone::NotBegun,
        ));
        self.owned.push(own);
    }

    /// Sets the client back to where a partition begins.
    fn read_again(&self, own: &Ownership<O::Partition>) -> KafkaResult<()> {
        // It may have been parked, or have reached its target, before it was to be read again.
        let resumed = self
            .consumer()
            .fetch_again(&own.partition, own.reading.seen_to);
        let sought =
            resumed.and_then(|()| self.consumer().seek(&own.partition, own.reading.seen_to));
        sought.or_else(|error| {
            tracing::warn!(partition = %own.partition, %error, "cannot seek, taking it anew");
            self.keep_positions();
            self.consumer()
                .assign_anew(&own.partition, own.reading.seen_to)
        })
    }

    /// Partitions that the client refuses to read are tried again, and where partitions are needed
    /// together, all of them.
    fn begin_failed(&mut self, failed: Vec<(Ownership<O::Partition>, bool, KafkaError)>) {
        if failed.is_empty() {
            return;
        }
        let not_before = Instant::now() + REFUSED_WAIT;
        for (mut own, is_again, error) in failed {
            self.end(&mut own);
            let partition = own.partition.clone();
            let why = format!("the client refuses to read it: {error}");
            let place = Place::of(&partition.topic, partition.partition, Undone::NotBegun);
            self.context.shared.board.stuck(&place, &why);
            self.group.assigning.push(partition, is_again, not_before);
        }
        if self.operator.together().is_some() {
            let others = self.owned.iter().filter(|own| !own.reading.revoking);
            let others: Vec<_> = others.map(|own| own.partition.clone()).collect();
            self.disown(|_| true);
            self.restart_emission();
            self.begin_again(others, not_before);
        }
    }

    fn ownership(
        &mut self,
        partition: TopicPartition,
        found: Found,
        mut restored: Restored<O::Partition>,
    ) -> Result<Ownership<O::Partition>, Halt> {
        let Found { topic, start, .. } = found;
        tracing::info!(
            %partition, position = start.position, ranges = start.range_ends.len(), "partition begins"
        );
        let targets = self.context.shared.targets.as_ref();
        // A partition made after `--until` was resolved is wholly left to a later run.
        let stop_at = targets.map(|t| t.get(&partition).map_or(0, |target| target.offset));
        let stop_at = match self.names_ranges() {
            true => stop_at.map(|target| start.stop_at(target)),
            false => stop_at,
        };
        let log_end = match stop_at {
            // Nothing behind the target is read, nor waited for.
            Some(stop_at) if self.transacting.is_some() => found.log_end.min(stop_at),
            _ => found.log_end,
        };
        let (position, frontier) = (start.position, start.frontier);
        if let Some(operator) = self.operator.emission() {
            operator.resume(&mut restored.state, position, frontier, log_end)?;
        }
        let id = self.inbox.next_ownership();
        let is_here = |place: &&(String, i32, i64)| {
            place.0 == *partition.topic && place.1 == partition.partition
        };
        let skip = self
            .context
            .pipeline
            .dead_letter
            .skip
            .iter()
            .filter(is_here);
        let table = self.operator.table_of(&partition.topic);
        self.context.sink.note_topic(&partition.topic, &topic.id);
        Ok(Ownership::new(Beginning {
            id,
            restored,
            snapshot_interval: self.context.shared.state.interval,
            start,
            topic_id: topic.id.clone(),
            layout: topic.layout,
            has_rows: topic.replica.is_none_or(|replica| !replica.is_empty),
            was_committed: found.was_committed,
            names_ranges: self.names_ranges(),
            insert_span: self.context.pipeline.clickhouse.insert_span(),
            stop_at,
            skip: skip.map(|p| p.2).collect(),
            metrics: self
                .context
                .metrics
                .partition(&partition.topic, partition.partition),
            pace: PartitionPace::new(self.context.shared.paces.of(&table)),
            table,
            settlements: self.inbox.settlements.0.clone(),
            partition,
        }))
    }

    /// The file that tells a later start what was committed of a partition.
    pub(super) fn marker(&self, partition: &TopicPartition) -> std::path::PathBuf {
        let name = format!("{}-{}.started", partition.topic, partition.partition);
        self.context.shared.state_dir.join(name)
    }
}
