//! The very first start of a pipeline: `start_offset` is for it alone.
//!
//! Whatever appears once the group has begun, a partition or a topic, is read from its beginning. So with
//! `latest` the ends of all partitions are committed in one request before anybody reads: by the member
//! that has the first partition of all, and the others wait for that. A commit of that kind is known by
//! its counter, 0, which no commit of an owner has. Where some partitions were refused, the others are no
//! beginning: those that lack an end get one before anybody reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use streamweir_kafka::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::begin::NotYet;
use super::operator::TableNames;
use crate::config::{Pipeline, StartOffset, TopicSelector};
use crate::progress::{Epoch, Layout, Metadata};
use crate::source::{
    MISSING_RIGHT, Offsets, PartitionCommit, Questions, TopicDescription, TopicPartition,
    lacks_right,
};

/// What has to be done before partitions begin that have no committed offset.
#[derive(Debug, PartialEq, Eq)]
enum Opening {
    /// The group has begun before: what is new is read from its beginning.
    HasBegun,
    /// Nothing: each partition is decided about by itself.
    Nothing,
    /// The ends of the partitions that lack one are to be committed, by us.
    CommitEnds,
    /// The same, by the member that has this partition.
    WaitFor(TopicPartition),
}

/// `all`: the partitions of every topic of the pipeline. `lacking`: those of which neither an owner nor the
/// very first start has committed anything. `ours`: those that this member was given.
fn opening(
    start_offset: StartOffset,
    has_begun: bool,
    all: &[TopicPartition],
    lacking: &[TopicPartition],
    ours: &[TopicPartition],
) -> Opening {
    match (start_offset, all.iter().min()) {
        _ if has_begun => Opening::HasBegun,
        (_, Some(_)) if lacking.is_empty() => Opening::HasBegun,
        (StartOffset::Latest, Some(first)) if ours.contains(first) => Opening::CommitEnds,
        (StartOffset::Latest, Some(first)) => Opening::WaitFor(first.clone()),
        _ => Opening::Nothing,
    }
}

/// What the file of a partition says that was committed once: topic id, group, version epoch.
pub(super) fn read_marker(text: &str) -> Option<(&str, &str, u16)> {
    let (id, rest) = text.split_once(' ')?;
    Some(match rest.rsplit_once(" @") {
        Some((group, epoch)) => (id, group, epoch.parse().unwrap_or(0)),
        None => (id, rest, 0),
    })
}

/// Whether a file of this directory says that the group has committed a partition.
fn has_marker(directory: &Path, group_id: &str) -> bool {
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let is_marker = |path: &Path| path.extension().is_some_and(|end| end == "started");
    files.map(|file| file.path()).any(|path| {
        let text = is_marker(&path).then(|| std::fs::read_to_string(&path).ok());
        let text = text.flatten().unwrap_or_default();
        read_marker(&text).is_some_and(|(_, group, _)| group == group_id)
    })
}

/// The offset where the very first start begins, if that is all that was ever committed of a partition,
/// and the id of the topic then.
fn start_of(offsets: &Offsets) -> Option<(i64, String)> {
    let position = offsets.position?;
    let metadata = Metadata::decode(&offsets.metadata, position).ok()??;
    (metadata.counter == 0).then_some((position, metadata.topic_id))
}

/// Commits that no owner has made are none, and say where the partition is to begin.
pub(super) fn without_starts(committed: Vec<Offsets>) -> Vec<Offsets> {
    let none = |start| Offsets {
        position: None,
        metadata: String::new(),
        start: Some(start),
    };
    let of = |offsets: Offsets| start_of(&offsets).map_or(offsets, none);
    committed.into_iter().map(of).collect()
}

/// Partitions without a committed offset, and without a commit that says where they are to begin.
fn lacking(all: &[TopicPartition], committed: &[Offsets]) -> Vec<TopicPartition> {
    let lacks = |offsets: &Offsets| offsets.position.is_none() && offsets.start.is_none();
    let each = all.iter().zip(committed);
    each.filter(|(_, offsets)| lacks(offsets))
        .map(|(partition, _)| partition.clone())
        .collect()
}

/// A partition that an owner has committed, or an operator: the group has begun.
fn begun_meanwhile<'a>(
    all: &'a [TopicPartition],
    committed: &[Offsets],
) -> Option<&'a TopicPartition> {
    let mut each = all.iter().zip(committed);
    each.find(|(_, offsets)| offsets.position.is_some())
        .map(|(partition, _)| partition)
}

/// Why ends are not committed. librdkafka says the error of one partition of the others as well, so the
/// topic is one of which nothing is `kept`.
fn not_started(
    error: &KafkaError,
    commits: &[PartitionCommit],
    kept: &[KafkaResult<Offsets>],
) -> NotYet {
    let is_kept = |commit: &PartitionCommit, kept: &KafkaResult<Offsets>| {
        kept.as_ref().is_ok_and(|k| k.metadata == commit.metadata)
    };
    let refused = commits.iter().zip(kept).find(|(c, k)| !is_kept(c, k));
    let Some((commit, _)) = refused else {
        return NotYet::Later(format!("kafka: {error}"));
    };
    let topic = &commit.partition.topic;
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => {
            NotYet::Never(lacks_right("READ", &format!("topic {topic}")))
        }
        _ => NotYet::Later(format!(
            "start_offset = \"latest\": where topic {topic} begins is not committed: {error}"
        )),
    }
}

/// Opens the group, beside the lane.
pub(super) struct Opener {
    pub(super) pipeline: Arc<Pipeline>,
    /// Where this pipeline's files lie.
    pub(super) state_dir: PathBuf,
    pub(super) questions: Questions,
    pub(super) timeout: Duration,
    /// The highest of the epochs that versions are of.
    pub(super) version_epoch: Option<u16>,
    pub(super) table_names: TableNames,
    /// Partitions that this member was given.
    pub(super) ours: Vec<TopicPartition>,
}

impl Opener {
    /// Finds out whether this is the very first start, and with `latest` has its ends committed. Returns
    /// whether the group has begun. Blocks.
    pub(super) fn open(&self) -> Result<bool, NotYet> {
        let start_offset = self.pipeline.start_offset;
        let (all, unknown) = self.all_partitions()?;
        // Of a partition that is refused nothing is known; the others may tell that the group has begun.
        let (mut known, mut committed, mut refused) = (vec![], vec![], None);
        let answers = self.questions.committed_each(&all, self.timeout)?;
        for (partition, answer) in all.iter().zip(answers) {
            match answer {
                Ok(offsets) => {
                    known.push(partition.clone());
                    committed.push(offsets);
                }
                Err(error) => refused = Some(NotYet::Later(format!("{partition}: kafka: {error}"))),
            }
        }
        let committed = without_starts(committed);
        let has_begun = committed.iter().any(|offsets| offsets.position.is_some())
            || has_marker(&self.state_dir, &self.pipeline.group_id);
        if let Some(why) = refused.or(unknown).filter(|_| !has_begun) {
            return Err(why);
        }
        let lacking = lacking(&known, &committed);
        match opening(start_offset, has_begun, &all, &lacking, &self.ours) {
            Opening::Nothing => return Ok(false),
            Opening::HasBegun => {}
            Opening::CommitEnds => self.commit_ends(&all, &lacking)?,
            Opening::WaitFor(first) => {
                return Err(NotYet::Later(format!(
                    "start_offset = \"latest\": the member that has {first} has not committed yet \
                     where the pipeline begins"
                )));
            }
        }
        Ok(true)
    }

    /// The partitions of every topic of the pipeline, of whichever member, and why some are not known now.
    fn all_partitions(&self) -> Result<(Vec<TopicPartition>, Option<NotYet>), NotYet> {
        let mut names = vec![];
        for selector in &self.pipeline.topics {
            match selector {
                TopicSelector::Name(name) => names.push(name.clone()),
                TopicSelector::Pattern(_) => {
                    let topics = self.questions.topic_names(self.timeout)?;
                    names.extend(topics.into_iter().filter(|name| selector.matches(name)));
                }
            }
        }
        names.sort();
        names.dedup();
        let (mut all, mut unknown) = (vec![], None);
        for name in names {
            match self.questions.partitions_of(&name, self.timeout) {
                Ok(Some(partitions)) => all.extend(partitions),
                Ok(None) => unknown = Some(NotYet::no_partitions(&name)),
                Err(error) => {
                    let code = error.rdkafka_error_code();
                    let is_right = code == Some(RDKafkaErrorCode::TopicAuthorizationFailed);
                    let why = if is_right {
                        MISSING_RIGHT.to_owned()
                    } else {
                        error.to_string()
                    };
                    unknown = Some(NotYet::Later(format!("topic {name}: {why}")));
                }
            }
        }
        Ok((all, unknown))
    }

    fn commit_ends(
        &self,
        all: &[TopicPartition],
        lacking: &[TopicPartition],
    ) -> Result<(), NotYet> {
        let (questions, timeout) = (&self.questions, self.timeout);
        let mut commits: Vec<PartitionCommit> = vec![];
        let mut topic: Option<(Arc<str>, TopicDescription)> = None;
        for partition in lacking {
            let topic = match topic.take_if(|(name, _)| *name == partition.topic) {
                Some(known) => topic.insert(known),
                None => {
                    let told = questions.topic(&partition.topic, timeout);
                    topic.insert((partition.topic.clone(), told.map_err(NotYet::Later)?))
                }
            };
            if topic.1.leaderless.contains(&partition.partition) {
                return Err(NotYet::leaderless(partition));
            }
            commits.push(self.end_of(partition, &topic.1)?);
        }
        // The ends of many partitions take a while to ask for.
        let committed = questions.committed(all, timeout)?;
        if let Some(partition) = begun_meanwhile(all, &without_starts(committed)) {
            return Err(NotYet::Later(format!(
                "start_offset = \"latest\": {partition} was committed meanwhile"
            )));
        }
        if let Err(error) = questions.commit_and_wait(&commits, timeout) {
            let kept = questions.committed_each(lacking, timeout)?;
            return Err(not_started(&error, &commits, &kept));
        }
        tracing::info!(
            pipeline = self.pipeline.name,
            partitions = commits.len(),
            "the very first start: the ends of all partitions are committed (start_offset = \"latest\")"
        );
        Ok(())
    }

    /// The commit that says that a partition begins at its end.
    fn end_of(
        &self,
        partition: &TopicPartition,
        topic: &TopicDescription,
    ) -> Result<PartitionCommit, NotYet> {
        let (_, end) = self.questions.watermarks(partition, self.timeout)?;
        let layout = self.version_epoch.map(|epoch| Layout {
            partitions: topic.partitions,
            epoch,
        });
        let metadata = Metadata {
            topic_id: topic.id.clone(),
            epoch: Epoch(rand::random()),
            counter: 0,
            table: (self.table_names)(&partition.topic),
            range_ends: vec![],
            layout,
            made_no_rows: false,
            frontier: None,
            watermark_ms: None,
            insert_span_ms: None,
            is_set_back: false,
        };
        let metadata = metadata.encode(end).expect("without ranges it is short");
        Ok(PartitionCommit {
            partition: partition.clone(),
            position: end,
            leader_epoch: -1,
            metadata,
        })
    }
}

#[cfg(test)]
mod tests;
