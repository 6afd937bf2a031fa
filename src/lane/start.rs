//! Where to begin reading a partition that was just given to us: a pure decision.

mod replica;

use std::time::Duration;

pub(super) use self::replica::ReplicaFacts;
use self::replica::{check_no_rows_before, check_not_behind};
use crate::config::StartOffset;
use crate::crash::{Guarantee, is_broken};
use crate::halt::Halt;
use crate::progress::{Epoch, Frontier, Layout, Metadata, SwapFence};
use crate::source::TopicPartition;

/// `insert_lease` and `insert_timeout` at their largest.
const INSERT_SPAN_MAX: Duration = Duration::from_secs(5 * 60 + 10 * 60);

/// What is known about a partition before its first record is read.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) group_id: &'a str,
    /// `database.table`.
    pub(super) table: &'a str,
    pub(super) start_offset: StartOffset,
    /// Where the very first start of the pipeline is to begin, if that was committed and no member has begun
    /// to read.
    pub(super) first_position: Option<i64>,
    /// Whether rows of the table tell which record each came from.
    pub(super) is_traceable: bool,
    /// The group's committed offset, if any, and the text beside it.
    pub(super) committed: Option<i64>,
    pub(super) metadata: &'a str,
    pub(super) topic_id: &'a str,
    /// First offset in the log, and the last stable offset.
    pub(super) log: (i64, i64),
    /// Highest offset of this partition among the table's rows, after the named ranges where the
    /// metadata is ours; `None` without rows, or where the table does not say.
    pub(super) highest_written: Option<i64>,
    /// What this instance remembers of the partition.
    pub(super) seen_before: SeenBefore,
    /// Where versions decide: what they rest on.
    pub(super) layout: Option<Layout>,
    /// Where versions decide: what is known of the table.
    pub(super) replica: Option<ReplicaFacts>,
    /// Whether every offset from the committed one to the start of the log is in the table.
    pub(super) deleted_part_is_written: bool,
}

/// What the files of this instance say about a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SeenBefore {
    Never,
    /// Committed by this group, and the topic is the same.
    ThisTopic,
    /// A topic of that name was committed before, and it was another; versions were of this epoch then.
    AnotherTopic {
        epoch: u16,
    },
}

/// How an ownership begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The settled prefix ends here.
    pub(super) position: i64,
    /// First offset to fetch; later than `position` only where the log was truncated meanwhile.
    pub(super) read_from: i64,
    /// Carried on from the commit; `None`: draw a new one.
    pub(super) epoch: Option<Epoch>,
    pub(super) counter: u64,
    /// End offsets of the ranges the predecessor named, which are replayed as they are.
    pub(super) range_ends: Vec<i64>,
    /// Rows of offsets below this may be in the table under tokens of other epochs.
    pub(super) look_below: i64,
    /// What the commit says of records that are needed together.
    pub(super) frontier: Option<Frontier>,
    /// The event time before which the commit says that everything is durable.
    pub(super) watermark_ms: Option<i64>,
    /// So long after its name was committed an insert of a named range may be running, as whoever sent it said.
    pub(super) insert_span: Duration,
}

impl Start {
    /// Where a run stops that is to stop at `target`: a range that a predecessor named is made again whole, so
    /// not inside of one.
    pub(super) fn stop_at(&self, target: i64) -> i64 {
        let mut ends = self.range_ends.iter().copied();
        match ends.find(|end| *end >= target) {
            Some(end) if target > self.position => end,
            _ => target,
        }
    }
}

/// Decides where to begin.
///
/// # Errors
/// Only an operator can decide. The advice says what to do.
pub(super) fn decide(facts: &Facts<'_>) -> Result<Start, Halt> {
    let Some(position) = facts.committed else {
        return first_start(facts);
    };
    let place = facts.partition;
    if SwapFence::decode(facts.metadata).is_some() {
        return Err(exchanging(facts));
    }
    let metadata = Metadata::decode(facts.metadata, position).map_err(|error| {
        let notes = match facts.layout {
            None if !facts.is_traceable => {
                " (what windows or a join have noted there goes with it: rows that were closed and events that \
                 were decided may be made again)"
            }
            _ => "",
        };
        let advice = format!(
            "{place}: group {}: {error}: drain with the version that wrote it, or drop it with `streamweir \
             offsets reset --pipeline NAME --topic {} --partition {} --to {position}`{notes}",
            facts.group_id, place.topic, place.partition
        );
        Halt::new("metadata", advice)
    })?;
    if metadata.is_none() {
        no_rows_of_another(facts)?;
    }
    check_not_behind(facts, position, metadata.as_ref())?;
    let start = match metadata {
        Some(metadata) => resume(facts, position, metadata)?,
        // Another program's commit, or a reset: what the table already has is looked up first.
        None => Start {
            position,
            read_from: position,
            epoch: None,
            counter: 0,
            range_ends: vec![],
            look_below: facts.highest_written.map_or(0, |highest| highest + 1),
            frontier: None,
            watermark_ms: None,
            insert_span: Duration::ZERO,
        },
    };
    within_log(facts, start)
}

/// A rebuild was about to exchange the table, and perhaps died.
fn exchanging(facts: &Facts<'_>) -> Halt {
    let advice = format!(
        "{}: group {}: `streamweir rebuild` is exchanging table {}, and nothing may be written meanwhile: wait \
         until it has ended, or, if it has died, repeat it (with the same --swap or --undo), then start the \
         pipeline again",
        facts.partition, facts.group_id, facts.table
    );
    Halt::new("metadata", advice)
}

fn resume(facts: &Facts<'_>, position: i64, metadata: Metadata) -> Result<Start, Halt> {
    let place = facts.partition;
    let known = |id: &str| id != "-";
    if known(&metadata.topic_id) && known(facts.topic_id) && metadata.topic_id != facts.topic_id {
        let how = format!("its id {} is now {}", metadata.topic_id, facts.topic_id);
        let advice = topic_changed(facts, &how);
        return Err(Halt::new("topic_changed", advice));
    }
    let same_table = metadata.is_for_table(facts.table);
    if !same_table && !metadata.range_ends.is_empty() {
        let advice = format!(
            "{place}: ranges of table {} are unfinished and the configuration names {}: drain \
             with the old configuration first",
            metadata.table, facts.table
        );
        return Err(Halt::new("target_changed", advice));
    }
    // Rows behind the named ranges are there when the group was set back and this start is not the
    // first since.
    let named_end = metadata.range_ends.last().copied().unwrap_or(0);
    let written_end = facts.highest_written.map_or(0, |highest| highest + 1);
    let range_ends = if is_broken(Guarantee::Cut) {
        vec![]
    } else {
        metadata.range_ends
    };
    Ok(Start {
        position,
        read_from: position,
        epoch: same_table.then_some(metadata.epoch),
        counter: metadata.counter,
        range_ends,
        look_below: if metadata.is_set_back || is_broken(Guarantee::Cut) {
            named_end.max(written_end)
        } else {
            written_end
        },
        frontier: metadata.frontier,
        watermark_ms: metadata.watermark_ms,
        insert_span: metadata.insert_span_ms.map_or(Duration::ZERO, insert_span),
    })
}

/// As the configuration bounds it, whatever a commit says.
fn insert_span(ms: u64) -> Duration {
    Duration::from_millis(ms).min(INSERT_SPAN_MAX)
}

/// A reset does not make the rows of a deleted topic those of its successor.
fn no_rows_of_another(facts: &Facts<'_>) -> Result<(), Halt> {
    let SeenBefore::AnotherTopic { epoch } = facts.seen_before else {
        return Ok(());
    };
    let is_hidden = facts.layout.is_some_and(|layout| layout.epoch <= epoch);
    if is_hidden || facts.highest_written.is_some() {
        return Err(Halt::new(
            "topic_changed",
            topic_changed(facts, "its id is another"),
        ));
    }
    Ok(())
}

/// A topic that is read, or was.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadTopic<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) group_id: &'a str,
    pub(super) table: &'a str,
    pub(super) layout: Option<Layout>,
}

/// The topic of a partition that is being read had the id `then` when it began, and has another one now.
pub(super) fn changed_while_read(topic: ReadTopic<'_>, then: &str, now: &str) -> Halt {
    let how = format!("its id {then} is now {now}");
    Halt::new("topic_changed", changed_advice(topic, &how))
}

fn topic_changed(facts: &Facts<'_>, how: &str) -> String {
    let topic = ReadTopic {
        partition: facts.partition,
        group_id: facts.group_id,
        table: facts.table,
        layout: facts.layout,
    };
    changed_advice(topic, how)
}

/// Offsets of the old topic and of the new one look alike, in the group and in the table.
fn changed_advice(topic: ReadTopic<'_>, how: &str) -> String {
    let ReadTopic {
        partition,
        group_id,
        table,
        layout,
    } = topic;
    let topic = &partition.topic;
    if let Some(layout) = layout {
        return format!(
            "{partition}: the topic was deleted and created again ({how}), so its offsets begin anew, \
             and the rows of the old one in table {table} would hide the new ones: add \
             {{ since = \"<when it was created>\", epoch = {} }} to pipeline.version_epochs, reset the \
             offsets of group_id {group_id} for this topic if there are any, then start again",
            u32::from(layout.epoch) + 1
        );
    }
    if table.starts_with("topic:") {
        return format!(
            "{partition}: the topic was deleted and created again ({how}), so the offsets of group \
             {group_id} are not its own: look at what was written of the old one, then reset the offsets \
             of group_id {group_id} for this topic"
        );
    }
    format!(
        "{partition}: the topic was deleted and created again ({how}), so the offsets of group \
         {group_id} and those in table {table} are not its own: write to another table, or set the \
         old rows aside (ALTER TABLE {table} UPDATE _topic = concat(_topic, ' (deleted)') WHERE \
         _topic = '{topic}'; or move them to another table, as where the topic is part of the key), then reset \
         the offsets of group_id {group_id} for this topic"
    )
}

/// Keys may lie in other partitions than they did once a topic has more of them, at offsets that say
/// nothing of the order.
pub(super) fn check_layout(
    place: &TopicPartition,
    group_id: &str,
    then: Layout,
    now: Layout,
) -> Result<(), Halt> {
    if then.partitions == now.partitions || then.epoch < now.epoch {
        return Ok(());
    }
    let advice = format!(
        "topic {}: it had {} partitions when group {group_id} last committed and has {} now, so the \
         newest change of a key is not the one with the highest offset any more: add {{ since = \
         \"<when it got them>\", epoch = {} }} to pipeline.version_epochs, once everything from before \
         then has been read, or have the connector take a new snapshot; then start again",
        place.topic,
        then.partitions,
        now.partitions,
        u32::from(now.epoch) + 1
    );
    Err(Halt::new("partitions_changed", advice))
}

fn within_log(facts: &Facts<'_>, start: Start) -> Result<Start, Halt> {
    let (low, high) = facts.log;
    let Facts {
        partition,
        group_id,
        ..
    } = facts;
    // What comes at the offsets of a named range would be taken for what was written under its token.
    let known_to = start.range_ends.last().copied().unwrap_or(start.position);
    if known_to > high {
        let what = match start.position > high {
            true => format!("committed offset {}", start.position),
            false => format!("begun to write offsets up to {known_to}"),
        };
        let advice = format!(
            "{partition}: group {group_id} has {what} and the log ends at {high}: \
             records were lost by the cluster or the topic is another (which is read from its beginning then); \
             once you know which, {}set the offset with `streamweir offsets reset --pipeline NAME --topic {} \
             --partition {} --to {}`",
            rows_first(facts, high),
            partition.topic,
            partition.partition,
            start.position.min(high)
        );
        return Err(Halt::new("out_of_range", advice));
    }
    if start.position >= low {
        return Ok(start);
    }
    if facts.deleted_part_is_written {
        return Ok(Start {
            read_from: low,
            ..start
        });
    }
    let snapshot = if facts.layout.is_some() {
        ", and have the connector take a new snapshot: changes of rows are missing"
    } else {
        ""
    };
    let advice = format!(
        "{partition}: offsets {} to {} were deleted before group {group_id} read them: raise the \
         topic's retention; to go on without them reset the group's offset to {low}{snapshot}",
        start.position,
        low - 1
    );
    Err(Halt::new("out_of_range", advice))
}

/// Rows of records that are lost hide those that come at their offsets.
fn rows_first(facts: &Facts<'_>, high: i64) -> String {
    let Facts {
        partition, table, ..
    } = facts;
    match facts.layout {
        Some(layout) => format!(
            "add {{ since = \"<when that was>\", epoch = {} }} to pipeline.version_epochs, since rows of those \
             records in table {table} would hide newer ones, and ",
            u32::from(layout.epoch) + 1
        ),
        None if facts.is_traceable => format!(
            "move the rows of topic {}, partition {} and offsets from {high} on out of table {table}, since \
             new records at those offsets would be taken for them, and ",
            partition.topic, partition.partition
        ),
        None => String::new(),
    }
}

fn first_start(facts: &Facts<'_>) -> Result<Start, Halt> {
    no_rows_of_another(facts)?;
    let is_unknown = facts.layout.is_none() && !facts.is_traceable;
    if is_unknown && matches!(facts.seen_before, SeenBefore::AnotherTopic { .. }) {
        let advice = topic_changed(facts, "its id is another");
        return Err(Halt::new("topic_changed", advice));
    }
    no_newer_rows(facts)?;
    not_vanished(facts)?;
    check_no_rows_before(facts)?;
    let (low, high) = facts.log;
    let position = match (facts.first_position, facts.start_offset) {
        (Some(position), _) => position,
        (None, StartOffset::Earliest) => low,
        (None, StartOffset::Latest) => high,
        (None, StartOffset::Fail) => {
            let advice = format!(
                "{}: group {} has no committed offset and start_offset = \
                 \"fail\": commit one, or choose earliest or latest",
                facts.partition, facts.group_id
            );
            return Err(Halt::new("no_offset", advice));
        }
    };
    let start = Start {
        position,
        read_from: position,
        epoch: None,
        counter: 0,
        range_ends: vec![],
        look_below: 0,
        frontier: None,
        watermark_ms: None,
        insert_span: Duration::ZERO,
    };
    within_log(facts, start)
}

/// Versions of a topic that begins are the highest. Rows that are newer are of another topic, and would hide
/// its rows.
fn no_newer_rows(facts: &Facts<'_>) -> Result<(), Halt> {
    let newer_version = facts.replica.filter(|replica| !replica.is_shared);
    let newer_version = newer_version.and_then(|replica| replica.newer_version);
    let (Some(version), Some(layout)) = (newer_version, facts.layout) else {
        return Ok(());
    };
    let (epoch, offset) = Layout::epoch_and_offset(version);
    let how = format!(
        "the table has a row of offset {offset} and epoch {epoch}, which no record of the topic is"
    );
    let layout = Layout {
        epoch: epoch.max(layout.epoch),
        ..layout
    };
    let facts = Facts {
        layout: Some(layout),
        ..*facts
    };
    Err(Halt::new("topic_changed", topic_changed(&facts, &how)))
}

/// Without a committed offset nothing may say that there was one.
fn not_vanished(facts: &Facts<'_>) -> Result<(), Halt> {
    let Facts {
        partition,
        group_id,
        table,
        ..
    } = facts;
    let has_committed = facts.seen_before == SeenBefore::ThisTopic;
    let trace = match (facts.highest_written, has_committed) {
        (Some(highest), _) => Some(format!("table {table} has its rows up to offset {highest}")),
        (None, true) => Some("this instance has committed it before".to_owned()),
        (None, false) => None,
    };
    if let Some(trace) = trace.as_ref().filter(|_| facts.layout.is_some()) {
        let advice = format!(
            "{partition}: group {group_id} has no committed offset, but {trace}: its offsets expired or \
             were deleted, or the group_id is new and the rows are another group's; set them to the topic's beginning with `streamweir offsets reset \
             --pipeline NAME --topic {} --to earliest` (every record has the version that it had), and where the log no longer has \
             every row have the connector take a new snapshot",
            partition.topic
        );
        return Err(Halt::new("offsets_vanished", advice));
    }
    if let Some(trace) = trace {
        let advice = format!(
            "{partition}: group {group_id} has no committed offset, but {trace}: its offsets \
             expired or were deleted, or the group_id is new and the rows are another group's; set them with `streamweir offsets reset --pipeline NAME --topic {} --partition {} --to \
             OFFSET` (records already in the table are recognised and not written again; if the topic was created \
             again meanwhile, set its old rows aside first)",
            partition.topic, partition.partition
        );
        return Err(Halt::new("offsets_vanished", advice));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
