//! An assigned partition begins: what is known about it is gathered, and where to read decided.

mod replica;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Lane;
use super::chunk::cut_replayed;
use super::first_start::{read_marker, without_starts};
use super::operator::Operator;
use super::ownership::{Beginning, Ownership};
use super::rebalance::Assigning;
use super::restore::{NotRestored, Past};
use super::start::{self, Facts, ReplicaFacts, SeenBefore};
use crate::batch::PartitionPace;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::progress::{Layout, Metadata, OwnershipId, Range};
use crate::sink::{InsertError, Remedy, Target};
use crate::source::{Offsets, TopicPartition, topic_id};

/// Why a partition cannot begin yet.
pub(super) enum NotYet {
    /// Something does not answer.
    Later(String),
    Never(Halt),
}

/// What is known about a topic before its partitions begin.
struct TopicFacts {
    id: String,
    layout: Option<Layout>,
    replica: Option<ReplicaFacts>,
}

impl NotYet {
    /// The broker that was asked knows no partitions of a topic now, which does not say that it has none.
    pub(super) fn no_partitions(topic: &str) -> Self {
        NotYet::Later(format!("topic {topic}: its partitions are not known"))
    }
}

impl From<Halt> for NotYet {
    fn from(halt: Halt) -> Self {
        NotYet::Never(halt)
    }
}

impl From<NotRestored> for NotYet {
    fn from(reason: NotRestored) -> Self {
        match reason {
            NotRestored::Later(why) => NotYet::Later(why),
            NotRestored::Never(halt) => NotYet::Never(halt),
        }
    }
}

impl From<rdkafka::error::KafkaError> for NotYet {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        NotYet::Later(format!("kafka: {error}"))
    }
}

impl<O: Operator> Lane<O> {
    /// Begins the partitions that were assigned, once everything about them is known.
    pub(super) fn try_begin_assigned(&mut self, now: Instant) -> Result<(), Halt> {
        let Some(mut assigning) = self.assigning.take_if(|a| now >= a.not_before) else {
            return Ok(());
        };
        // What it commits is where they begin.
        if self.is_transacting() {
            self.assigning = Some(assigning);
            return Ok(());
        }
        if !self.reads_whole(&mut assigning)? {
            return Ok(());
        }
        // A commit in doubt may still change what the broker would tell.
        if !self.committer.is_idle() && !assigning.again.is_empty() {
            self.assigning = Some(assigning);
            return Ok(());
        }
        let all: Vec<_> = assigning
            .partitions
            .iter()
            .chain(&assigning.again)
            .cloned()
            .collect();
        self.operator.check_assignment(&all)?;
        match self.ownerships(&all) {
            Ok(owned) => {
                self.begin(owned, &assigning);
                Ok(())
            }
            Err(NotYet::Never(halt)) => Err(halt),
            Err(NotYet::Later(why)) => {
                let wait = assigning.backoff.next_wait();
                self.shared.board.error(&why);
                tracing::warn!(
                    pipeline = self.pipeline.name,
                    error = why,
                    wait_ms = wait.as_millis() as u64,
                    "cannot begin the assigned partitions yet"
                );
                assigning.not_before = Instant::now() + wait;
                self.assigning = Some(assigning);
                Ok(())
            }
        }
    }

    /// Where one member reads a whole topic, it is the one that was given the first partition: it takes
    /// them all, and the others none. False when there is nothing to begin, or not yet.
    fn reads_whole(&mut self, assigning: &mut Assigning) -> Result<bool, Halt> {
        if !self.operator.has_one_reader() || assigning.partitions.is_empty() || assigning.is_whole
        {
            return Ok(true);
        }
        let Some(first) = assigning.partitions.iter().find(|p| p.partition == 0) else {
            tracing::info!(
                pipeline = self.pipeline.name,
                "another member of the group reads the whole topic; standing by"
            );
            if let Err(error) = self.consumer().assign(&[]) {
                tracing::warn!(pipeline = self.pipeline.name, %error, "assignment refused");
            }
            return Ok(false);
        };
        let topic = first.topic.clone();
        let timeout = self.shared.kafka_timeout;
        let why = match self.consumer().partitions_of(&topic, timeout) {
            Ok(Some(partitions)) => {
                assigning.partitions = partitions;
                assigning.is_whole = true;
                return Ok(true);
            }
            Ok(None) => NotYet::no_partitions(&topic),
            Err(error) => error.into(),
        };
        match why {
            NotYet::Never(halt) => Err(halt),
            NotYet::Later(error) => {
                self.shared.board.error(&error);
                tracing::warn!(
                    pipeline = self.pipeline.name,
                    error,
                    "partitions not known yet"
                );
                let again = self.assigning(Instant::now() + assigning.backoff.next_wait());
                again.partitions = std::mem::take(&mut assigning.partitions);
                Ok(false)
            }
        }
    }

    fn begin(&mut self, owned: Vec<Ownership<O::Partition>>, assigning: &Assigning) {
        let is_again = |o: &Ownership<O::Partition>| assigning.again.contains(&o.partition);
        let (again, fresh): (Vec<_>, Vec<_>) = owned.into_iter().partition(is_again);
        let positions: Vec<_> = fresh
            .iter()
            .map(|o| (o.partition.clone(), o.seen_to))
            .collect();
        self.keep_positions();
        if let Err(error) = self.consumer().assign(&positions) {
            // The group has moved on: the revocation is on its way, and nothing was read.
            tracing::warn!(pipeline = self.pipeline.name, %error, "assignment refused");
        }
        let mut failed = vec![];
        for mut own in again {
            // It may have been parked, or have reached its target, before it was to be read again.
            let resumed = self.consumer().fetch_again(&own.partition, own.seen_to);
            let sought = resumed.and_then(|()| self.consumer().seek(&own.partition, own.seen_to));
            let begun = sought.or_else(|error| {
                tracing::warn!(partition = %own.partition, %error, "cannot seek, taking it anew");
                self.keep_positions();
                self.consumer().assign_anew(&own.partition, own.seen_to)
            });
            match begun {
                Ok(()) => self.owned.push(own),
                Err(error) => {
                    tracing::warn!(partition = %own.partition, %error, "cannot seek yet");
                    self.operator.ended(&mut own.state);
                    failed.push(own.partition.clone());
                }
            }
        }
        self.owned.extend(fresh);
        self.begin_again(failed);
        for own in &mut self.owned {
            // Ranges whose records the log has dropped are complete without reading.
            let next = own.next;
            cut_replayed(own, next);
        }
        crash_point!("after_assign");
    }

    /// Partitions that could not be set back are tried again, and where partitions are needed together,
    /// all of them.
    fn begin_again(&mut self, mut failed: Vec<TopicPartition>) {
        if failed.is_empty() {
            return;
        }
        if self.operator.is_whole() {
            let others = self.owned.iter().filter(|own| !own.revoking);
            failed.extend(others.map(|own| own.partition.clone()));
            self.disown(|_| true);
            self.restart_emission();
        }
        let not_before = Instant::now() + Duration::from_millis(500);
        self.assigning(not_before).again.extend(failed);
    }

    fn ownerships(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<Ownership<O::Partition>>, NotYet> {
        if partitions.is_empty() {
            return Ok(vec![]);
        }
        let timeout = self.shared.kafka_timeout;
        self.open_group(partitions)?;
        let committed = without_starts(self.consumer().committed(partitions, timeout)?);
        let mut topics = std::collections::HashMap::new();
        let is_first_start = |topic: &str| {
            let mut offsets = partitions.iter().zip(&committed);
            offsets.any(|(p, c)| *p.topic == *topic && c.position.is_none())
        };
        let mut owned = vec![];
        for (partition, offsets) in partitions.iter().zip(&committed) {
            if !topics.contains_key(&partition.topic) {
                let id = topic_id(self.consumer().client(), &partition.topic, timeout)
                    .map_err(NotYet::Later)?;
                let is_first = is_first_start(&partition.topic);
                let (layout, replica) = self.layout_and_replica(&partition.topic, is_first)?;
                let facts = TopicFacts {
                    id,
                    layout,
                    replica,
                };
                topics.insert(partition.topic.clone(), facts);
            }
            owned.push(self.ownership(partition, offsets, &topics[&partition.topic])?);
        }
        Ok(owned)
    }

    fn ownership(
        &mut self,
        partition: &TopicPartition,
        offsets: &Offsets,
        topic: &TopicFacts,
    ) -> Result<Ownership<O::Partition>, NotYet> {
        let TopicFacts {
            id: topic_id,
            layout,
            replica,
        } = topic;
        let (layout, topic_id) = (*layout, topic_id.clone());
        let log = self
            .consumer()
            .watermarks(partition, self.shared.kafka_timeout)?;
        let table = self.operator.table_of(&partition.topic);
        let facts = Facts {
            partition,
            group_id: &self.pipeline.group_id,
            table: &table,
            start_offset: self.start_offset(),
            first_position: offsets
                .start
                .clone()
                .filter(|(_, id)| *id == topic_id)
                .map(|s| s.0),
            is_traceable: self.operator.traceable().is_some(),
            committed: offsets.position,
            metadata: &offsets.metadata,
            topic_id: &topic_id,
            log,
            highest_written: self.highest_written(partition, offsets, &table)?,
            seen_before: self.seen_before(partition, &topic_id),
            layout,
            replica: *replica,
            deleted_part_is_written: self.deleted_part_is_written(partition, offsets, log.0)?,
        };
        let start = start::decide(&facts)?;
        tracing::info!(
            %partition, position = start.position, ranges = start.cuts.len(), "partition begins"
        );
        // What a commit says of the table is committed anew where it is not so any more.
        let metadata = offsets
            .position
            .and_then(|p| Metadata::decode(&offsets.metadata, p).ok()?);
        let is_told_otherwise = replica.is_some_and(|replica| {
            metadata.is_some_and(|metadata| metadata.made_no_rows != replica.is_empty)
        });
        let frontier = start.frontier;
        let position = start.position;
        let mut restored = self.restore(Past {
            partition,
            topic_id: &topic_id,
            start: &start,
            log_start: log.0,
            is_first_start: offsets.position.is_none(),
            is_our_commit: !offsets.metadata.is_empty(),
        })?;
        let targets = self.shared.targets.as_ref();
        // A partition made after `--until` was resolved is wholly left to a later run.
        let stop_at = targets.map(|t| t.get(partition).map_or(0, |target| target.offset));
        let log_end = match stop_at {
            // Nothing behind the target is read, nor waited for.
            Some(stop_at) if self.pipeline.is_transactional() => log.1.min(stop_at),
            _ => log.1,
        };
        self.operator
            .resume(&mut restored.state, position, frontier, log_end)?;
        self.next_ownership += 1;
        let is_here = |place: &&(String, i32, i64)| {
            place.0 == *partition.topic && place.1 == partition.partition
        };
        Ok(Ownership::new(Beginning {
            id: OwnershipId(self.next_ownership),
            restored,
            snapshot_interval: self.shared.state.interval,
            start,
            topic_id,
            layout,
            has_rows: replica.is_none_or(|replica| !replica.is_empty),
            table: table.clone(),
            was_committed: offsets.position.is_some() && !is_told_otherwise,
            names_ranges: self.names_ranges(),
            stop_at,
            skip: self
                .pipeline
                .dead_letter
                .skip
                .iter()
                .filter(is_here)
                .map(|p| p.2)
                .collect(),
            metrics: self
                .metrics
                .partition(&partition.topic, partition.partition),
            pace: PartitionPace::new(self.shared.paces.of(&table)),
            settlements: self.settlements.0.clone(),
            partition: partition.clone(),
        }))
    }

    /// Asked from the end of the named ranges on: there nobody has written yet, unless the group was
    /// set back. Where the commit does not carry metadata of ours for this very table, any row counts.
    fn highest_written(
        &self,
        partition: &TopicPartition,
        offsets: &Offsets,
        table: &str,
    ) -> Result<Option<i64>, NotYet> {
        let ours = offsets.position.and_then(|p| {
            let metadata = Metadata::decode(&offsets.metadata, p).ok()??;
            let end = metadata.cuts.last().copied().unwrap_or(p);
            metadata.is_for_table(table).then_some(end)
        });
        let is_blind = !self.names_ranges() && ours.is_some();
        let Some(target) = self.operator.traceable().filter(|_| !is_blind) else {
            return Ok(None);
        };
        let query = self
            .shared
            .client
            .highest_offset(&target, partition, ours.unwrap_or(0));
        self.runtime
            .block_on(query)
            .map_err(|e| not_looked_up(&target, &e))
    }

    fn deleted_part_is_written(
        &self,
        partition: &TopicPartition,
        offsets: &Offsets,
        low: i64,
    ) -> Result<bool, NotYet> {
        let Some(position) = offsets.position.filter(|p| *p < low) else {
            return Ok(false);
        };
        if self.operator.may_forget(&partition.topic) {
            let metadata = Metadata::decode(&offsets.metadata, position).ok().flatten();
            let frontier = metadata.and_then(|metadata| metadata.frontier);
            return Ok(frontier.is_some_and(|frontier| frontier.read_to() >= low));
        }
        let Some(target) = self.operator.traceable() else {
            return Ok(false);
        };
        let range = Range {
            from: position,
            to: low,
        };
        let query = self.shared.client.offsets_of(&target, partition, range);
        let mut found = self
            .runtime
            .block_on(query)
            .map_err(|e| not_looked_up(&target, &e))?;
        found.sort_unstable();
        found.dedup();
        Ok(i64::try_from(found.len()).is_ok_and(|count| count == low - position))
    }

    /// What the marker of an earlier run says: the topic's id and the group that committed.
    fn seen_before(&self, partition: &TopicPartition, topic_id: &str) -> SeenBefore {
        let marker = std::fs::read_to_string(self.marker(partition)).unwrap_or_default();
        let Some((id, group, epoch)) = read_marker(&marker) else {
            return SeenBefore::Never;
        };
        if id == topic_id && group == self.pipeline.group_id {
            SeenBefore::ThisTopic
        } else if id != topic_id && id != "-" && topic_id != "-" {
            SeenBefore::AnotherTopic { epoch }
        } else {
            SeenBefore::Never
        }
    }

    /// The file that says so.
    pub(super) fn marker(&self, partition: &TopicPartition) -> PathBuf {
        let name = format!("{}-{}.started", partition.topic, partition.partition);
        self.shared.state_dir.join(name)
    }
}

fn not_looked_up(target: &Target, error: &InsertError) -> NotYet {
    match error.remedy {
        Remedy::Halt(reason) => NotYet::Never(crate::sink::refused(reason, &target.label, error)),
        _ => NotYet::Later(format!("clickhouse: {error}")),
    }
}
