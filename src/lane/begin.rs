//! An assigned partition begins: what is known about it is gathered, and where to read decided.
//!
//! What has to be asked is asked by tasks, a few at once, while the lane reads the partitions that have
//! begun. Each partition begins as soon as everything about it is known; one of which something is not
//! known, or whose topic or table does not answer, is asked about again and keeps no other one. Only
//! partitions that make rows together begin together.

mod partition;
mod topic;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::partition::Found;
pub(super) use self::partition::PartitionInquiry;
use self::topic::{TopicFacts, TopicInquiry};
use super::chunk::cut_replayed;
use super::first_start::Opener;
use super::operator::{NotFound, Operator};
use super::ownership::{Beginning, Ownership};
use super::parking::Task;
use super::restore::{Restored, Saved};
use super::{Lane, Message};
use crate::batch::PartitionPace;
use crate::config::StartOffset;
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::progress::OwnershipId;
use crate::sink::{Backoff, InsertError, Remedy, Target};
use crate::source::TopicPartition;
use crate::state;

/// Questions of a lane that are under way at once, about topics and about partitions each.
const AT_ONCE: usize = 8;
/// Of these so many may be asked again after a failure: what was just assigned does not wait for it.
const AT_ONCE_AGAIN: usize = 4;
/// Partitions of which everything is known wait so long for others, to begin in one call.
const TOGETHER_WITHIN: Duration = Duration::from_millis(250);
/// What was found out about a topic holds so long.
const FACTS_FRESH: Duration = Duration::from_secs(5);
/// A partition that the client refused to begin is tried again after this.
const REFUSED_WAIT: Duration = Duration::from_millis(500);

/// Why a partition cannot begin yet.
#[derive(Debug)]
pub(super) enum NotYet {
    /// Something does not answer.
    Later(String),
    Never(Halt),
}

impl NotYet {
    /// The broker that was asked knows no partitions of a topic now, which does not say that it has none.
    pub(super) fn no_partitions(topic: &str) -> Self {
        NotYet::Later(format!("topic {topic}: its partitions are not known"))
    }

    pub(super) fn leaderless(partition: &TopicPartition) -> Self {
        NotYet::Later(format!(
            "kafka: {partition} has no leader: the brokers that have its replicas are away"
        ))
    }
}

impl From<Halt> for NotYet {
    fn from(halt: Halt) -> Self {
        NotYet::Never(halt)
    }
}

impl From<NotFound> for NotYet {
    fn from(reason: NotFound) -> Self {
        match reason {
            NotFound::Later(why) => NotYet::Later(why),
            NotFound::Never(halt) => NotYet::Never(halt),
        }
    }
}

impl From<rdkafka::error::KafkaError> for NotYet {
    fn from(error: rdkafka::error::KafkaError) -> Self {
        NotYet::Later(format!("kafka: {error}"))
    }
}

/// Partitions that were given to us and have not begun.
#[derive(Debug)]
pub(super) struct Assigning<S> {
    unbegun: Vec<Unbegun<S>>,
    /// What is known of their topics.
    topics: HashMap<Arc<str>, TopicStep>,
    opening: Opening,
    /// The client waits for the answer to the group's assignment.
    pub(super) is_unanswered: bool,
    /// The topic's partitions are all there, whatever the group gave us.
    is_whole: bool,
    /// Nothing is asked before this, by the same backoff.
    not_before: Option<Instant>,
    backoff: Backoff,
    /// Since when everything is known of one that has not begun.
    known_since: Option<Instant>,
    last_question: u64,
}

/// One of them.
#[derive(Debug)]
struct Unbegun<S> {
    partition: TopicPartition,
    /// The client has it: it is read again from its committed offset.
    is_again: bool,
    step: Step<S>,
    backoff: Backoff,
    not_before: Instant,
    /// Snapshots from here on are not readable.
    snapshots_below: i64,
}

#[derive(Debug)]
enum Step<S> {
    Waiting,
    Asking(Question),
    Known(Box<(Found, Restored<S>)>),
}

#[derive(Debug)]
struct TopicStep {
    facts: Option<(Arc<TopicFacts>, Instant)>,
    asking: Option<Question>,
    backoff: Backoff,
    not_before: Instant,
}

impl TopicStep {
    fn fresh(&self, now: Instant) -> Option<&Arc<TopicFacts>> {
        let facts = self.facts.as_ref();
        let fresh = facts.filter(|(_, at)| now < *at + FACTS_FRESH);
        fresh.map(|(facts, _)| facts)
    }
}

/// Whether somebody of the group has begun to read.
#[derive(Debug)]
enum Opening {
    NotAsked,
    Asking(Question),
    /// Nobody had, then.
    NotBegun(Instant),
}

/// A question that is under way. Nobody waits for the answer of one that is dropped.
#[derive(Debug)]
struct Question {
    number: u64,
    _task: Task,
}

/// The answer to one.
#[derive(Debug)]
pub(super) struct News {
    number: u64,
    told: Told,
}

#[derive(Debug)]
enum Told {
    Opened(Result<bool, NotYet>),
    Topic(Arc<str>, Result<TopicFacts, NotYet>),
    Partition(Result<Found, NotYet>),
}

impl<S> Default for Assigning<S> {
    fn default() -> Self {
        Assigning {
            unbegun: vec![],
            topics: HashMap::new(),
            opening: Opening::NotAsked,
            is_unanswered: false,
            is_whole: false,
            not_before: None,
            backoff: Backoff::new(),
            known_since: None,
            last_question: 0,
        }
    }
}

impl<S> Assigning<S> {
    /// Forgets everything; answers that are still to come are nobody's.
    pub(super) fn take(&mut self) -> Self {
        let last_question = self.last_question;
        let emptied = Assigning {
            last_question,
            ..Assigning::default()
        };
        std::mem::replace(self, emptied)
    }

    /// Whether everything that is ours has begun.
    pub(super) fn is_over(&self) -> bool {
        self.unbegun.is_empty() && !self.is_unanswered
    }

    /// Whether an answer is awaited, and not only the time to ask again.
    pub(super) fn is_under_way(&self) -> bool {
        let is_waiting = |unbegun: &Unbegun<S>| matches!(unbegun.step, Step::Waiting);
        self.is_unanswered
            || matches!(self.opening, Opening::Asking(_))
            || self.topics.values().any(|topic| topic.asking.is_some())
            || !self.unbegun.iter().all(is_waiting)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.unbegun.iter().map(|unbegun| &unbegun.partition)
    }

    fn push(&mut self, partition: TopicPartition, is_again: bool, not_before: Instant) {
        if self.partitions().any(|known| *known == partition) {
            return;
        }
        self.unbegun.push(Unbegun {
            partition,
            is_again,
            step: Step::Waiting,
            backoff: Backoff::new(),
            not_before,
            snapshots_below: i64::MAX,
        });
    }

    /// Whether one more partition may be asked about.
    fn has_room(&self, is_again: bool) -> bool {
        let asking = |unbegun: &&Unbegun<S>| matches!(unbegun.step, Step::Asking(_));
        let again = |unbegun: &&Unbegun<S>| unbegun.backoff.attempts() > 0;
        let all = self.unbegun.iter().filter(asking);
        has_room(all.clone().count(), all.filter(again).count(), is_again)
    }

    fn has_room_for_topic(&self, is_again: bool) -> bool {
        let all = self.topics.values().filter(|topic| topic.asking.is_some());
        let again = |topic: &&TopicStep| topic.backoff.attempts() > 0;
        has_room(all.clone().count(), all.filter(again).count(), is_again)
    }

    /// Whether those of which everything is known may begin.
    fn is_ready(&self, together: bool, now: Instant) -> bool {
        let is_known = |unbegun: &Unbegun<S>| matches!(unbegun.step, Step::Known(_));
        if together {
            return self.unbegun.iter().all(is_known);
        }
        let Some(since) = self.known_since else {
            return false;
        };
        let is_new = |unbegun: &Unbegun<S>| !is_known(unbegun) && unbegun.backoff.attempts() == 0;
        now >= since + TOGETHER_WITHIN || !self.unbegun.iter().any(is_new)
    }

    /// All are asked about again, after a while.
    fn wait_together(&mut self, now: Instant) {
        for unbegun in &mut self.unbegun {
            unbegun.step = Step::Waiting;
        }
        self.topics.clear();
        self.known_since = None;
        self.not_before = Some(now + self.backoff.next_wait());
    }
}

fn has_room(asking: usize, again: usize, is_again: bool) -> bool {
    asking < AT_ONCE && (!is_again || again < AT_ONCE_AGAIN)
}

impl<O: Operator> Lane<O> {
    /// The group has given us partitions.
    pub(super) fn begin_given(&mut self, partitions: Vec<TopicPartition>) {
        let now = Instant::now();
        self.assigning.is_unanswered = true;
        self.assigning.is_whole = false;
        self.assigning.not_before = None;
        for partition in partitions {
            self.assigning.push(partition, false, now);
        }
        if !self.begins_together() {
            // Those that stay are read on while those that came are asked about.
            self.assign(&[]);
        }
    }

    /// These are ours already, and read again from their committed offsets.
    pub(super) fn begin_again(
        &mut self,
        partitions: impl IntoIterator<Item = TopicPartition>,
        not_before: Instant,
    ) {
        for partition in partitions {
            self.assigning.push(partition, true, not_before);
        }
    }

    /// Partitions that go before they began.
    pub(super) fn forget_unbegun(&mut self, goes: impl Fn(&TopicPartition) -> bool) {
        let assigning = &mut self.assigning;
        let goes = |unbegun: &mut Unbegun<O::Partition>| goes(&unbegun.partition);
        let gone: Vec<_> = assigning.unbegun.extract_if(.., goes).collect();
        if assigning.unbegun.is_empty() {
            assigning.topics.clear();
            assigning.opening = Opening::NotAsked;
            assigning.known_since = None;
        }
        if gone.is_empty() || !assigning.is_unanswered {
            return;
        }
        // The client answers a revocation only of what it was told to read. Nobody will look at
        // what arrives until then.
        let nowhere: Vec<_> = gone.into_iter().map(|u| (u.partition, i64::MAX)).collect();
        self.assign(&nowhere);
    }

    /// Whether partitions begin all at once, because they make rows together.
    fn begins_together(&self) -> bool {
        self.operator.is_whole() || self.consumer().is_eager()
    }

    /// Answers the group's assignment, or adds to what the client reads. False when it refuses.
    fn assign(&mut self, positions: &[(TopicPartition, i64)]) -> bool {
        self.keep_positions();
        let assigned = self.consumer().assign(positions);
        if let Err(error) = &assigned {
            // The group has moved on: the revocation is on its way, and nothing was read.
            tracing::warn!(pipeline = self.pipeline.name, %error, "assignment refused");
        }
        self.assigning.is_unanswered = false;
        assigned.is_ok()
    }

    /// Asks about partitions that have not begun, and begins those of which everything is known.
    pub(super) fn begin_assigned(&mut self, now: Instant) -> Result<(), Halt> {
        if self.assigning.is_over()
            || self.stop.is_draining()
            || self.assigning.not_before.is_some_and(|at| now < at)
        {
            return Ok(());
        }
        // What it commits is where they begin.
        if self.is_transacting() || !self.reads_whole(now)? {
            return Ok(());
        }
        if self.begins_together() {
            let all: Vec<_> = self.assigning.partitions().cloned().collect();
            self.operator.check_assignment(&all)?;
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
        let assigning = &self.assigning;
        let mut partitions = assigning.partitions();
        if !self.operator.has_one_reader()
            || assigning.is_whole
            || !assigning.is_unanswered
            || assigning.unbegun.is_empty()
        {
            return Ok(true);
        }
        let Some(first) = partitions.find(|p| p.partition == 0).cloned() else {
            tracing::info!(
                pipeline = self.pipeline.name,
                "another member of the group reads the whole topic; standing by"
            );
            drop(partitions);
            self.assigning.unbegun.clear();
            self.assign(&[]);
            return Ok(false);
        };
        drop(partitions);
        let timeout = self.shared.kafka_timeout;
        let asked = self
            .consumer()
            .questions()
            .partitions_of(&first.topic, timeout);
        let why = match asked {
            Ok(Some(partitions)) => {
                self.assigning.unbegun.clear();
                for partition in partitions {
                    self.assigning.push(partition, false, now);
                }
                self.assigning.is_whole = true;
                return Ok(true);
            }
            Ok(None) => NotYet::no_partitions(&first.topic),
            Err(error) => error.into(),
        };
        self.not_begun(&first, why)?;
        self.assigning.wait_together(now);
        Ok(false)
    }

    /// Whether it is known if this is the very first start, and what has to be done then is done.
    fn is_open(&mut self, now: Instant) -> bool {
        let is_open = match &self.assigning.opening {
            _ if self.group_has_begun => true,
            _ if self.pipeline.start_offset == StartOffset::Earliest => true,
            Opening::NotBegun(at) => now < *at + FACTS_FRESH,
            Opening::Asking(_) => return false,
            Opening::NotAsked => self.assigning.unbegun.is_empty(),
        };
        if is_open {
            return true;
        }
        let unbegun = self.assigning.partitions();
        let owned = self.owned.iter().map(|own| &own.partition);
        let opener = Opener {
            pipeline: self.pipeline.clone(),
            state_dir: self.shared.state_dir.clone(),
            questions: self.consumer().questions(),
            timeout: self.shared.kafka_timeout,
            version_epoch: self.operator.version_epoch(),
            table_names: self.operator.table_names(),
            ours: unbegun.chain(owned).cloned().collect(),
        };
        let question = self.ask(async move {
            let opened = off_thread(move || opener.open()).await;
            Told::Opened(opened.and_then(|opened| opened))
        });
        self.assigning.opening = Opening::Asking(question);
        false
    }

    /// Asks about the topics of partitions that wait, where what is known of them is not fresh.
    fn ask_about_topics(&mut self, now: Instant) {
        for index in 0..self.assigning.unbegun.len() {
            let unbegun = &self.assigning.unbegun[index];
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
            let step = self.assigning.topics.entry(topic.clone());
            let step = step.or_insert_with(new);
            let is_again = step.backoff.attempts() > 0;
            let is_asked = step.asking.is_some() || step.fresh(now).is_some();
            if is_asked || now < step.not_before || !self.assigning.has_room_for_topic(is_again) {
                continue;
            }
            let inquiry = TopicInquiry {
                topic: topic.clone(),
                pipeline: self.pipeline.clone(),
                client: self.shared.client.clone(),
                questions: self.consumer().questions(),
                timeout: self.shared.kafka_timeout,
                version_epoch: self.operator.version_epoch(),
            };
            let (asked, finding) = (topic.clone(), self.operator.find_table(&topic));
            let question =
                self.ask(async move { Told::Topic(asked, inquiry.facts(finding).await) });
            if let Some(step) = self.assigning.topics.get_mut(&topic) {
                step.asking = Some(question);
            }
        }
    }

    /// Asks about partitions whose topics are known.
    fn ask_about_partitions(&mut self, now: Instant) {
        for index in 0..self.assigning.unbegun.len() {
            let unbegun = &self.assigning.unbegun[index];
            let topic = self.assigning.topics.get(&unbegun.partition.topic);
            let Some(facts) = topic.and_then(|topic| topic.fresh(now)) else {
                continue;
            };
            let is_again = unbegun.backoff.attempts() > 0;
            if !self.is_due(unbegun, now) || !self.assigning.has_room(is_again) {
                continue;
            }
            let inquiry = self.partition_inquiry(index, facts.clone());
            let question = self.ask(async move { Told::Partition(inquiry.found().await) });
            self.assigning.unbegun[index].step = Step::Asking(question);
        }
    }

    fn is_due(&self, unbegun: &Unbegun<O::Partition>, now: Instant) -> bool {
        // A commit in doubt may still change what the broker would tell.
        let is_in_doubt = unbegun.is_again && self.committer.concerns(&unbegun.partition);
        matches!(unbegun.step, Step::Waiting) && now >= unbegun.not_before && !is_in_doubt
    }

    fn partition_inquiry(&mut self, index: usize, topic: Arc<TopicFacts>) -> PartitionInquiry {
        let unbegun = &self.assigning.unbegun[index];
        let partition = unbegun.partition.clone();
        let memory = self.operator.memory();
        let empty_state = match &memory {
            Some(_) => {
                let state = self.operator.begin(&partition);
                self.operator.save(&state, vec![])
            }
            None => vec![],
        };
        PartitionInquiry {
            topic,
            pipeline: self.pipeline.clone(),
            shared: self.shared.clone(),
            questions: self.consumer().questions(),
            start_offset: self.start_offset(),
            names_ranges: self.names_ranges(),
            table: self.operator.table_of(&partition.topic),
            traceable: self.operator.traceable(),
            may_forget: self.operator.may_forget(&partition.topic),
            memory,
            empty_state,
            snapshots_below: unbegun.snapshots_below,
            marker: self.marker(&partition),
            partition,
        }
    }

    /// Where a partition begins that nobody has committed.
    fn start_offset(&self) -> StartOffset {
        if self.group_has_begun {
            StartOffset::Earliest
        } else {
            self.pipeline.start_offset
        }
    }

    fn ask(&mut self, question: impl Future<Output = Told> + Send + 'static) -> Question {
        self.assigning.last_question += 1;
        let number = self.assigning.last_question;
        let messages = self.messages.0.clone();
        let task = self.runtime.spawn(async move {
            let told = question.await;
            let _ = messages.send(Message::Begin(Box::new(News { number, told })));
        });
        let _task = Task::new(task.abort_handle());
        Question { number, _task }
    }

    /// Takes an answer, unless nobody waits for it any more.
    pub(super) fn begin_news(&mut self, news: News) -> Result<(), Halt> {
        let now = Instant::now();
        let News { number, told } = news;
        match told {
            Told::Opened(opened) => {
                let is_it = |q: &Question| q.number == number;
                if !matches!(&self.assigning.opening, Opening::Asking(q) if is_it(q)) {
                    return Ok(());
                }
                self.opened(opened, now)
            }
            Told::Topic(topic, facts) => {
                let step = self.assigning.topics.get_mut(&topic);
                let is_it = |q: &mut Question| q.number == number;
                if step.is_none_or(|step| step.asking.take_if(is_it).is_none()) {
                    return Ok(());
                }
                self.topic_known(&topic, facts, now)
            }
            Told::Partition(found) => {
                let is_it = |unbegun: &Unbegun<O::Partition>| matches!(&unbegun.step, Step::Asking(question) if question.number == number);
                match self.assigning.unbegun.iter().position(is_it) {
                    Some(index) => self.partition_known(index, found, now),
                    None => Ok(()),
                }
            }
        }
    }

    fn opened(&mut self, opened: Result<bool, NotYet>, now: Instant) -> Result<(), Halt> {
        self.assigning.opening = Opening::NotAsked;
        match opened {
            Ok(true) => self.group_has_begun = true,
            Ok(false) => self.assigning.opening = Opening::NotBegun(now),
            Err(NotYet::Never(halt)) => return Err(halt),
            Err(NotYet::Later(why)) => {
                let all: Vec<_> = self.assigning.partitions().cloned().collect();
                for partition in all {
                    self.not_begun(&partition, NotYet::Later(why.clone()))?;
                }
                self.assigning.wait_together(now);
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
                self.operator.note_partitions(topic, facts.partitions);
                if let Some(step) = self.assigning.topics.get_mut(topic) {
                    step.facts = Some((Arc::new(facts), now));
                    step.backoff = Backoff::new();
                }
                return Ok(());
            }
            Err(NotYet::Never(halt)) => return Err(halt),
            Err(NotYet::Later(why)) => why,
        };
        if let Some(step) = self.assigning.topics.get_mut(topic) {
            step.not_before = now + step.backoff.next_wait();
        }
        let mut of_it = vec![];
        for unbegun in &mut self.assigning.unbegun {
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
            self.assigning.wait_together(now);
        }
        Ok(())
    }

    fn partition_known(
        &mut self,
        index: usize,
        found: Result<Found, NotYet>,
        now: Instant,
    ) -> Result<(), Halt> {
        let unbegun = &mut self.assigning.unbegun[index];
        unbegun.step = Step::Waiting;
        match found {
            Ok(found) => {
                self.restore(index, found);
                self.assigning.known_since.get_or_insert(now);
            }
            Err(why) => {
                unbegun.not_before = now + unbegun.backoff.next_wait();
                let partition = unbegun.partition.clone();
                self.not_begun(&partition, why)?;
                if self.begins_together() {
                    self.assigning.wait_together(now);
                }
            }
        }
        Ok(())
    }

    /// Everything is known of a partition, unless its snapshot is not readable: then it is looked for an
    /// older one.
    fn restore(&mut self, index: usize, found: Found) {
        let unbegun = &mut self.assigning.unbegun[index];
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
                let Ok(state) = self.operator.restore(partition, saved) else {
                    tracing::warn!(
                        %partition, snapshot = offset, store = self.shared.snapshots.label(),
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

    /// A partition waits, and that is said.
    fn not_begun(&mut self, partition: &TopicPartition, why: NotYet) -> Result<(), Halt> {
        let why = match why {
            NotYet::Later(why) => why,
            NotYet::Never(halt) => return Err(halt),
        };
        self.shared.board.error(&format!("{partition}: {why}"));
        tracing::warn!(
            pipeline = self.pipeline.name, %partition, error = why,
            "cannot begin an assigned partition yet"
        );
        Ok(())
    }

    /// Begins the partitions of which everything is known.
    fn begin_known(&mut self, now: Instant) -> Result<(), Halt> {
        let together = self.begins_together();
        // The revocation is on its way, and would be taken for a regular one.
        if !self.assigning.is_ready(together, now) || self.consumer().has_lost_assignment() {
            return Ok(());
        }
        self.assigning.known_since = None;
        let is_known = |u: &mut Unbegun<O::Partition>| matches!(u.step, Step::Known(_));
        let known: Vec<_> = self.assigning.unbegun.extract_if(.., is_known).collect();
        let mut owned = vec![];
        for unbegun in known {
            let Step::Known(known) = unbegun.step else {
                unreachable!("only these were taken");
            };
            let (found, restored) = *known;
            let own = self.ownership(unbegun.partition, found, restored)?;
            owned.push((own, unbegun.is_again));
        }
        self.begin(owned);
        if self.assigning.unbegun.is_empty() {
            self.forget_unbegun(|_| true);
            self.assigning.not_before = None;
            self.assigning.backoff = Backoff::new();
        }
        Ok(())
    }

    fn begin(&mut self, owned: Vec<(Ownership<O::Partition>, bool)>) {
        let is_eager = self.consumer().is_eager();
        let is_sought = |own: &(_, bool)| own.1 && !is_eager;
        let (sought, fresh): (Vec<_>, Vec<_>) = owned.into_iter().partition(is_sought);
        let mut failed = vec![];
        if !fresh.is_empty() || self.assigning.is_unanswered {
            let position = |(own, _): &(Ownership<_>, _)| (own.partition.clone(), own.seen_to);
            let positions: Vec<_> = fresh.iter().map(position).collect();
            let is_assigned = self.assign(&positions);
            for own in fresh {
                if is_assigned {
                    self.owned.push(own.0);
                } else {
                    failed.push(own);
                }
            }
        }
        for (own, is_again) in sought {
            match self.read_again(&own) {
                true => self.owned.push(own),
                false => failed.push((own, is_again)),
            }
        }
        self.begin_failed(failed);
        for own in &mut self.owned {
            // Ranges whose records the log has dropped are complete without reading.
            let next = own.next;
            cut_replayed(own, next);
        }
        crash_point!("after_assign");
    }

    /// Sets the client back to where a partition begins.
    fn read_again(&self, own: &Ownership<O::Partition>) -> bool {
        // It may have been parked, or have reached its target, before it was to be read again.
        let resumed = self.consumer().fetch_again(&own.partition, own.seen_to);
        let sought = resumed.and_then(|()| self.consumer().seek(&own.partition, own.seen_to));
        let begun = sought.or_else(|error| {
            tracing::warn!(partition = %own.partition, %error, "cannot seek, taking it anew");
            self.keep_positions();
            self.consumer().assign_anew(&own.partition, own.seen_to)
        });
        if let Err(error) = &begun {
            tracing::warn!(partition = %own.partition, %error, "cannot seek yet");
        }
        begun.is_ok()
    }

    /// Partitions that the client refuses to read are tried again, and where partitions are needed
    /// together, all of them.
    fn begin_failed(&mut self, failed: Vec<(Ownership<O::Partition>, bool)>) {
        if failed.is_empty() {
            return;
        }
        let not_before = Instant::now() + REFUSED_WAIT;
        for (mut own, is_again) in failed {
            self.operator.ended(&mut own.state);
            let partition = own.partition.clone();
            self.assigning.push(partition, is_again, not_before);
        }
        if self.operator.is_whole() {
            let others = self.owned.iter().filter(|own| !own.revoking);
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
            %partition, position = start.position, ranges = start.cuts.len(), "partition begins"
        );
        let targets = self.shared.targets.as_ref();
        // A partition made after `--until` was resolved is wholly left to a later run.
        let stop_at = targets.map(|t| t.get(&partition).map_or(0, |target| target.offset));
        let log_end = match stop_at {
            // Nothing behind the target is read, nor waited for.
            Some(stop_at) if self.pipeline.is_transactional() => found.log_end.min(stop_at),
            _ => found.log_end,
        };
        let (position, frontier) = (start.position, start.frontier);
        self.operator
            .resume(&mut restored.state, position, frontier, log_end)?;
        self.next_ownership += 1;
        let is_here = |place: &&(String, i32, i64)| {
            place.0 == *partition.topic && place.1 == partition.partition
        };
        let skip = self.pipeline.dead_letter.skip.iter().filter(is_here);
        let table = self.operator.table_of(&partition.topic);
        Ok(Ownership::new(Beginning {
            id: OwnershipId(self.next_ownership),
            restored,
            snapshot_interval: self.shared.state.interval,
            start,
            topic_id: topic.id.clone(),
            layout: topic.layout,
            has_rows: topic.replica.is_none_or(|replica| !replica.is_empty),
            was_committed: found.was_committed,
            names_ranges: self.names_ranges(),
            stop_at,
            skip: skip.map(|p| p.2).collect(),
            metrics: self
                .metrics
                .partition(&partition.topic, partition.partition),
            pace: PartitionPace::new(self.shared.paces.of(&table)),
            table,
            settlements: self.settlements.0.clone(),
            partition,
        }))
    }

    /// The file that tells a later start what was committed of a partition.
    pub(super) fn marker(&self, partition: &TopicPartition) -> std::path::PathBuf {
        let name = format!("{}-{}.started", partition.topic, partition.partition);
        self.shared.state_dir.join(name)
    }
}

/// Asks something whose answer has to be waited for, on a thread that may wait.
///
/// # Errors
/// The process ends.
pub(super) async fn off_thread<T: Send + 'static>(
    question: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotYet> {
    let answer = tokio::task::spawn_blocking(question).await;
    answer.map_err(|error| NotYet::Later(format!("not asked: {error}")))
}

fn not_looked_up(target: &Target, error: &InsertError) -> NotYet {
    match error.remedy {
        Remedy::Halt(reason) => NotYet::Never(Halt::refused(reason, &target.label, error)),
        _ => NotYet::Later(format!("clickhouse: table {}: {error}", target.label)),
    }
}
