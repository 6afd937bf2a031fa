//! Questions about partitions that have not begun, and their answers.

use std::sync::Arc;
use std::time::Instant;

use super::super::first_start::Opener;
use super::super::operator::{Operator, TableRules};
use super::super::ownership::{Restored, Task};
use super::super::restore::Saved;
use super::super::tasks::spawn;
use super::super::{Lane, Message};
use super::assigning::{FACTS_FRESH, Opening, Question, Step, TopicStep, Unbegun};
use super::partition::{Found, PartitionInquiry};
use super::topic::{TopicFacts, TopicInquiry};
use super::{NotYet, off_thread};
use crate::config::StartOffset;
use crate::halt::Halt;
use crate::sink::Backoff;
use crate::source::TopicPartition;
use crate::state;

/// The answer to one.
#[derive(Debug)]
pub(in super::super) struct News {
    number: u64,
    told: Told,
}

#[derive(Debug)]
enum Told {
    Opened(Result<bool, NotYet>),
    Topic(Arc<str>, Result<TopicFacts, NotYet>),
    Partition(Result<Found, NotYet>),
}

impl<O: Operator> Lane<O> {
    /// Whether it is known if this is the very first start, and what has to be done then is done.
    pub(super) fn is_open(&mut self, now: Instant) -> bool {
        let is_open = match &self.group.assigning.opening {
            _ if self.group.has_begun => true,
            _ if self.context.pipeline.start_offset == StartOffset::Earliest => true,
            Opening::NotBegun(at) => now < *at + FACTS_FRESH,
            Opening::Asking(_) => return false,
            Opening::NotAsked => self.group.assigning.unbegun.is_empty(),
        };
        if is_open {
            return true;
        }
        let unbegun = self.group.assigning.partitions();
        let owned = self.owned.iter().map(|own| &own.partition);
        let opener = Opener {
            pipeline: self.context.pipeline.clone(),
            state_dir: self.context.shared.state_dir.clone(),
            questions: self.consumer().questions(),
            timeout: self.context.shared.kafka_timeout,
            version_epoch: self.version_epoch(),
            table_names: self.operator.table_names(),
            ours: unbegun.chain(owned).cloned().collect(),
        };
        let question = self.ask(async move {
            let opened = off_thread(move || opener.open()).await;
            Told::Opened(opened.and_then(|opened| opened))
        });
        self.group.assigning.opening = Opening::Asking(question);
        false
    }

    /// Asks about the topics of partitions that wait, where what is known of them is not fresh.
    pub(super) fn ask_about_topics(&mut self, now: Instant) {
        let mut asking = self.group.assigning.asking_about_topics();
        for index in 0..self.group.assigning.unbegun.len() {
            if asking.is_full() {
                return;
            }
            let unbegun = &self.group.assigning.unbegun[index];
            if !self.is_due(unbegun, now) {
                continue;
            }
            let topic = unbegun.partition.topic.clone();
            let new = || TopicStep {
                facts: None,
                asking: None,
                backoff: Backoff::new(),
                not_before: now,
            };
            let step = self.group.assigning.topics.entry(topic.clone());
            let step = step.or_insert_with(new);
            let is_again = step.backoff.attempts() > 0;
            let is_asked = step.asking.is_some() || step.fresh(now).is_some();
            if is_asked || now < step.not_before || !asking.has_room(is_again) {
                continue;
            }
            asking.add(is_again);
            let versions = self.operator.versions();
            let inquiry = TopicInquiry {
                rules: versions.map_or(TableRules::default(), |v| v.table_rules(&topic)),
                topic: topic.clone(),
                pipeline: self.context.pipeline.clone(),
                client: self.context.shared.client.clone(),
                questions: self.consumer().questions(),
                timeout: self.context.shared.kafka_timeout,
                version_epoch: self.version_epoch(),
            };
            let finding = versions.map(|versions| versions.find_table(&topic));
            let asked = topic.clone();
            let question =
                self.ask(async move { Told::Topic(asked, inquiry.facts(finding).await) });
            if let Some(step) = self.group.assigning.topics.get_mut(&topic) {
                step.asking = Some(question);
            }
        }
    }

    /// Asks about partitions whose topics are known.
    pub(super) fn ask_about_partitions(&mut self, now: Instant) {
        let mut asking = self.group.assigning.asking();
        for index in 0..self.group.assigning.unbegun.len() {
            if asking.is_full() {
                return;
            }
            let unbegun = &self.group.assigning.unbegun[index];
            let topic = self.group.assigning.topics.get(&unbegun.partition.topic);
            let Some(facts) = topic.and_then(|topic| topic.fresh(now)) else {
                continue;
            };
            let is_again = unbegun.backoff.attempts() > 0;
            if !self.is_due(unbegun, now) || !asking.has_room(is_again) {
                continue;
            }
            asking.add(is_again);
            let inquiry = self.partition_inquiry(index, facts.clone());
            let question = self.ask(async move { Told::Partition(inquiry.found().await) });
            self.group.assigning.unbegun[index].step = Step::Asking(question);
        }
    }

    fn is_due(&self, unbegun: &Unbegun<O::Partition>, now: Instant) -> bool {
        // A commit in doubt may still change what the broker would tell.
        let is_in_doubt = unbegun.is_again && self.committer.concerns(&unbegun.partition);
        matches!(unbegun.step, Step::Waiting) && now >= unbegun.not_before && !is_in_doubt
    }

    fn partition_inquiry(&mut self, index: usize, topic: Arc<TopicFacts>) -> PartitionInquiry {
        let unbegun = &self.group.assigning.unbegun[index];
        let snapshots_below = unbegun.snapshots_below;
        let partition = unbegun.partition.clone();
        let empty_state = self.empty_state(&partition);
        let emission = self.operator.emission();
        let may_forget = emission.is_some_and(|emission| emission.may_forget(&partition.topic));
        let traceable = self
            .operator
            .appends()
            .filter(|appends| appends.is_traceable());
        PartitionInquiry {
            topic,
            pipeline: self.context.pipeline.clone(),
            shared: self.context.shared.clone(),
            questions: self.consumer().questions(),
            start_offset: self.start_offset(),
            names_ranges: self.names_ranges(),
            table: self.operator.table_of(&partition.topic),
            traceable: traceable.map(|appends| appends.target().clone()),
            may_forget,
            snapshot_spec: self.operator.snapshot_spec().cloned(),
            empty_state,
            snapshots_below,
            marker: self.marker(&partition),
            partition,
        }
    }

    /// A state that has seen nothing, as bytes, where snapshots are kept.
    fn empty_state(&mut self, partition: &TopicPartition) -> Vec<u8> {
        if self.operator.snapshot_spec().is_none() {
            return vec![];
        }
        let state = self.operator.begin(partition);
        let snapshots = self.operator.snapshots();
        snapshots.map_or(vec![], |snapshots| snapshots.save(&state, vec![]))
    }

    /// Where a partition begins that has no committed offset.
    fn start_offset(&self) -> StartOffset {
        if self.group.has_begun {
            StartOffset::Earliest
        } else {
            self.context.pipeline.start_offset
        }
    }

    fn ask(&mut self, question: impl Future<Output = Told> + Send + 'static) -> Question {
        self.group.assigning.last_question += 1;
        let number = self.group.assigning.last_question;
        let messages = self.inbox.messages.0.clone();
        let task = spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            let told = question.await;
            let _ = messages.send(Message::Begin(Box::new(News { number, told })));
        });
        Question {
            number,
            since: Instant::now(),
            _task: Task::new(task),
        }
    }

    /// Takes an answer. One that is not awaited any more is dropped.
    pub(in super::super) fn begin_news(&mut self, news: News) -> Result<(), Halt> {
        let now = Instant::now();
        let News { number, told } = news;
        match told {
            Told::Opened(opened) => {
                let is_it = |q: &Question| q.number == number;
                if !matches!(&self.group.assigning.opening, Opening::Asking(q) if is_it(q)) {
                    return Ok(());
                }
                self.opened(opened, now)
            }
            Told::Topic(topic, facts) => {
                let step = self.group.assigning.topics.get_mut(&topic);
                let is_it = |q: &mut Question| q.number == number;
                if step.is_none_or(|step| step.asking.take_if(is_it).is_none()) {
                    return Ok(());
                }
                self.topic_known(&topic, facts, now)
            }
            Told::Partition(found) => {
                let is_it = |unbegun: &Unbegun<O::Partition>| matches!(&unbegun.step, Step::Asking(question) if question.number == number);
                match self.group.assigning.unbegun.iter().position(is_it) {
                    Some(index) => self.partition_known(index, found, now),
                    None => Ok(()),
                }
            }
        }
    }

    fn opened(&mut self, opened: Result<bool, NotYet>, now: Instant) -> Result<(), Halt> {
        self.group.assigning.opening = Opening::NotAsked;
        match opened {
            Ok(true) => self.group.has_begun = true,
            Ok(false) => self.group.assigning.opening = Opening::NotBegun(now),
            Err(NotYet::Never(halt)) => return Err(halt),
            Err(NotYet::Later(why)) => {
                let all: Vec<_> = self.group.assigning.partitions().cloned().collect();
                for partition in all {
                    self.not_begun(&partition, NotYet::Later(why.clone()))?;
                }
                self.group.assigning.wait_together(now);
            }
        }
        Ok(())
    }

    fn topic_known(
        &mut self,
        topic: &Arc<str>,
        facts: Result<TopicFacts, NotYet>,
        now: Instant,
    ) -> Result<(), Halt> {
        let why = match facts {
            Ok(facts) => {
                if let Some(versions) = self.operator.versions() {
                    versions.note_partitions(topic, facts.partitions);
                }
                if let Some(count) = self.operator.partition_count() {
                    count.note_partitions(facts.partitions);
                }
                if let Some(step) = self.group.assigning.topics.get_mut(topic) {
                    step.facts = Some((Arc::new(facts), now));
                    step.backoff = Backoff::new();
                }
                return Ok(());
            }
            Err(NotYet::Never(halt)) => return Err(halt),
            Err(NotYet::Later(why)) => why,
        };
        if let Some(step) = self.group.assigning.topics.get_mut(topic) {
            step.not_before = now + step.backoff.next_wait();
        }
        self.group.assigning.ask_last(|of| of.topic == *topic);
        let mut of_it = vec![];
        for unbegun in &mut self.group.assigning.unbegun {
            let is_waiting = matches!(unbegun.step, Step::Waiting);
            if is_waiting && unbegun.partition.topic == *topic {
                // Those of other topics do not wait for it.
                unbegun.not_before = now + unbegun.backoff.next_wait();
                of_it.push(unbegun.partition.clone());
            }
        }
        for partition in of_it {
            self.not_begun(&partition, NotYet::Later(why.clone()))?;
        }
        if self.begins_together() {
            self.group.assigning.wait_together(now);
        }
        Ok(())
    }

    fn partition_known(
        &mut self,
        index: usize,
        found: Result<Found, NotYet>,
        now: Instant,
    ) -> Result<(), Halt> {
        let unbegun = &mut self.group.assigning.unbegun[index];
        unbegun.step = Step::Waiting;
        match found {
            Ok(found) => {
                self.restore(index, found);
                self.group.assigning.known_since.get_or_insert(now);
            }
            Err(why) => {
                unbegun.not_before = now + unbegun.backoff.next_wait();
                let partition = unbegun.partition.clone();
                self.group.assigning.ask_last(|of| *of == partition);
                self.not_begun(&partition, why)?;
                if self.begins_together() {
                    self.group.assigning.wait_together(now);
                }
            }
        }
        Ok(())
    }

    /// Restores a partition's state: then everything is known of it. If its snapshot is not readable, an
    /// older one is looked for.
    fn restore(&mut self, index: usize, found: Found) {
        let unbegun = &mut self.group.assigning.unbegun[index];
        let partition = &unbegun.partition;
        let restored = match &found.saved {
            Saved::Empty { from, is_kept } => Restored {
                state: self.operator.begin(partition),
                seen_to: *from,
                is_from_snapshot: *is_kept,
            },
            Saved::Snapshot { offset, bytes } => {
                let saved = state::open(bytes)
                    .map(|(_, saved)| saved)
                    .unwrap_or_default();
                let snapshots = self.operator.snapshots();
                let restored = snapshots.map(|snapshots| snapshots.restore(partition, saved));
                let Some(Ok(state)) = restored else {
                    tracing::warn!(
                        %partition, snapshot = offset, store = self.context.shared.snapshots.label(),
                        why = "its state is not readable", "snapshot not used"
                    );
                    unbegun.snapshots_below = *offset;
                    return;
                };
                tracing::info!(
                    %partition, snapshot = offset, bytes = bytes.len(),
                    records_to_replay = found.start.read_from - offset, "state restored"
                );
                Restored {
                    state,
                    seen_to: *offset,
                    is_from_snapshot: true,
                }
            }
        };
        let found = Found {
            saved: Saved::Empty {
                from: restored.seen_to,
                is_kept: true,
            },
            ..found
        };
        unbegun.step = Step::Known(Box::new((found, restored)));
    }
}
