//! Where to begin reading a partition that was just given to us: a pure decision.

mod replica;

pub(super) use self::replica::ReplicaFacts;
use self::replica::{check_no_rows_before, check_not_behind};
use super::ownership::Ownership;
use crate::config::StartOffset;
use crate::crash::{Guarantee, is_broken};
use crate::halt::Halt;
use crate::progress::{Epoch, Frontier, Layout, Metadata};
use crate::source::TopicPartition;

/// What is known about a partition before its first record is read.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) partition: &'a TopicPartition,
    pub(super) group_id: &'a str,
    /// `database.table`.
    pub(super) table: &'a str,
    pub(super) start_offset: StartOffset,
    /// Where the very first start of the pipeline was to begin, if somebody has committed that and
    /// nobody has begun.
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

/// What the files of this instance tell of a partition.
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
    /// First offset to fetch; later than `position` only where the log was cut meanwhile.
    pub(super) read_from: i64,
    /// Carried on from the commit; `None`: draw a new one.
    pub(super) epoch: Option<Epoch>,
    pub(super) counter: u64,
    /// End offsets of the ranges the predecessor named, which are replayed as they are.
    pub(super) cuts: Vec<i64>,
    /// Rows of offsets below this may be in the table under tokens of other epochs.
    pub(super) look_below: i64,
    /// What the commit says of records that are needed together.
    pub(super) frontier: Option<Frontier>,
}

/// Decides, or says why nobody but an operator can.
pub(super) fn decide(facts: &Facts<'_>) -> Result<Start, Halt> {
    let Some(position) = facts.committed else {
        return first_start(facts);
    };
    let place = facts.partition;
    let metadata = Metadata::decode(facts.metadata, position).map_err(|error| {
        let advice = format!(
            "{place}: group {}: {error}: drain with the version that wrote it, or reset the \
             group's offset",
            facts.group_id
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
            cuts: vec![],
            look_below: facts.highest_written.map_or(0, |highest| highest + 1),
            frontier: None,
        },
    };
    within_log(facts, start)
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
    if !same_table && !metadata.cuts.is_empty() {
        let advice = format!(
            "{place}: ranges of table {} are unfinished and the configuration names {}: drain \
             with the old configuration first",
            metadata.table, facts.table
        );
        return Err(Halt::new("target_changed", advice));
    }
    // Rows behind the named ranges are there when the group was set back and this start is not the
    // first since.
    let named_end = metadata.cuts.last().copied().unwrap_or(0);
    let written_end = facts.highest_written.map_or(0, |highest| highest + 1);
    let cuts = if is_broken(Guarantee::Cut) {
        vec![]
    } else {
        metadata.cuts
    };
    Ok(Start {
        position,
        read_from: position,
        epoch: same_table.then_some(metadata.epoch),
        counter: metadata.counter,
        cuts,
        look_below: if metadata.is_set_back || is_broken(Guarantee::Cut) {
            named_end.max(written_end)
        } else {
            written_end
        },
        frontier: metadata.frontier,
    })
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

/// The topic of a partition that is being read has another id than when it began.
pub(super) fn changed_while_read<S>(own: &Ownership<S>, group_id: &str, id: &str) -> Halt {
    let how = format!("its id {} is now {id}", own.topic_id());
    let advice = changed_advice(&own.partition, group_id, own.table(), own.layout(), &how);
    Halt::new("topic_changed", advice)
}

fn topic_changed(facts: &Facts<'_>, how: &str) -> String {
    changed_advice(
        facts.partition,
        facts.group_id,
        facts.table,
        facts.layout,
        how,
    )
}

/// Offsets of the old topic and of the new one look alike, in the group and in the table.
fn changed_advice(
    partition: &TopicPartition,
    group_id: &str,
    table: &str,
    layout: Option<Layout>,
    how: &str,
) -> String {
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
         _topic = '{topic}'), then reset the offsets of group_id {group_id} for this topic"
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
    if start.position > high {
        let advice = format!(
            "{partition}: group {group_id} has committed offset {} and the log ends at {high}: \
             records were lost by the cluster or the topic is another; reset the group's offset \
             once you know which",
            start.position
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

fn first_start(facts: &Facts<'_>) -> Result<Start, Halt> {
    no_rows_of_another(facts)?;
    let is_unknown = facts.layout.is_none() && !facts.is_traceable;
    if is_unknown && matches!(facts.seen_before, SeenBefore::AnotherTopic { .. }) {
        let advice = topic_changed(facts, "its id is another");
        return Err(Halt::new("topic_changed", advice));
    }
    let newer_version = facts.replica.filter(|replica| !replica.is_shared);
    let newer_version = newer_version.and_then(|replica| replica.newer_version);
    if let (Some(version), Some(layout)) = (newer_version, facts.layout) {
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
        return Err(Halt::new("topic_changed", topic_changed(&facts, &how)));
    }
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
             were deleted; set them to the topic's beginning with kafka-consumer-groups --reset-offsets \
             --to-earliest (every record has the version that it had), and where the log no longer has \
             every row have the connector take a new snapshot"
        );
        return Err(Halt::new("offsets_vanished", advice));
    }
    if let Some(trace) = trace {
        let advice = format!(
            "{partition}: group {group_id} has no committed offset, but {trace}: its offsets \
             expired or were deleted; set them with kafka-consumer-groups --reset-offsets \
             --to-offset (records already in the table are recognised and not written again; if the topic was created \
             again meanwhile, set its old rows aside first)"
        );
        return Err(Halt::new("offsets_vanished", advice));
    }
    check_no_rows_before(facts)?;
    let (low, high) = facts.log;
    let position = match (facts.first_position, facts.start_offset) {
        (Some(position), _) => position,
        (None, StartOffset::Earliest) => low,
        (None, StartOffset::Latest) => high,
        (None, StartOffset::Fail) => {
            let advice = format!(
                "{partition}: group {group_id} has no committed offset and start_offset = \
                 \"fail\": commit one, or choose earliest or latest"
            );
            return Err(Halt::new("no_offset", advice));
        }
    };
    let start = Start {
        position,
        read_from: position,
        epoch: None,
        counter: 0,
        cuts: vec![],
        look_below: 0,
        frontier: None,
    };
    within_log(facts, start)
}

#[cfg(test)]
mod tests {
    use super::replica::tests::REPLICA;
    use super::*;

    pub(super) fn partition() -> TopicPartition {
        TopicPartition {
            topic: "clicks".into(),
            partition: 3,
        }
    }

    pub(super) fn facts(partition: &TopicPartition) -> Facts<'_> {
        Facts {
            partition,
            group_id: "g",
            table: "db.t",
            start_offset: StartOffset::Earliest,
            first_position: None,
            is_traceable: true,
            committed: None,
            metadata: "",
            topic_id: "idA",
            log: (10, 100),
            highest_written: None,
            seen_before: SeenBefore::Never,
            layout: None,
            replica: None,
            deleted_part_is_written: false,
        }
    }

    fn text(cuts: Vec<i64>) -> String {
        let metadata = Metadata {
            topic_id: "idA".into(),
            epoch: Epoch(5),
            is_set_back: false,
            counter: 9,
            table: "db.t".into(),
            cuts,
            layout: None,
            made_no_rows: false,
            frontier: None,
        };
        metadata.encode(50).unwrap()
    }

    fn reason(facts: &Facts<'_>) -> &'static str {
        decide(facts).expect_err("a halt").reason
    }

    #[test]
    fn the_very_first_start_is_where_the_configuration_says() {
        let p = partition();
        assert_eq!(decide(&facts(&p)).unwrap().position, 10);
        let latest = Facts {
            start_offset: StartOffset::Latest,
            ..facts(&p)
        };
        assert_eq!(decide(&latest).unwrap().position, 100);
        assert_eq!(
            reason(&Facts {
                start_offset: StartOffset::Fail,
                ..facts(&p)
            }),
            "no_offset"
        );
    }

    #[test]
    fn a_start_that_was_committed_is_kept_whatever_has_arrived_since() {
        let p = partition();
        let started = |position| Facts {
            first_position: Some(position),
            ..facts(&p)
        };
        assert_eq!(decide(&started(40)).unwrap().position, 40);
        assert_eq!(decide(&started(40)).unwrap().epoch, None);
        // Retention was faster.
        assert_eq!(reason(&started(4)), "out_of_range");
        let expired = Facts {
            highest_written: Some(30),
            ..started(40)
        };
        assert_eq!(reason(&expired), "offsets_vanished");
    }

    #[test]
    fn where_no_row_tells_of_its_record_another_topic_halts_until_offsets_are_set() {
        let p = partition();
        let another = Facts {
            is_traceable: false,
            seen_before: SeenBefore::AnotherTopic { epoch: 0 },
            ..facts(&p)
        };
        assert_eq!(reason(&another), "topic_changed");
        let set = Facts {
            committed: Some(20),
            ..another
        };
        assert_eq!(decide(&set).unwrap().position, 20);
    }

    #[test]
    fn a_vanished_offset_halts_where_rows_or_a_marker_tell_of_an_earlier_run() {
        let p = partition();
        assert_eq!(
            reason(&Facts {
                highest_written: Some(7),
                ..facts(&p)
            }),
            "offsets_vanished"
        );
        assert_eq!(
            reason(&Facts {
                seen_before: SeenBefore::ThisTopic,
                ..facts(&p)
            }),
            "offsets_vanished"
        );
    }

    #[test]
    fn named_ranges_are_replayed_with_the_epoch_they_were_named_under() {
        let p = partition();
        let metadata = text(vec![60, 80]);
        let facts = Facts {
            committed: Some(50),
            metadata: &metadata,
            ..facts(&p)
        };
        let expected = Start {
            position: 50,
            read_from: 50,
            epoch: Some(Epoch(5)),
            counter: 9,
            cuts: vec![60, 80],
            look_below: 0,
            frontier: None,
        };
        assert_eq!(decide(&facts).unwrap(), expected);
    }

    #[test]
    fn a_reset_group_looks_up_what_the_table_already_has() {
        let p = partition();
        let facts = Facts {
            committed: Some(10),
            metadata: "",
            highest_written: Some(70),
            ..facts(&p)
        };
        let start = decide(&facts).unwrap();
        assert_eq!((start.epoch, start.look_below), (None, 71));
    }

    #[test]
    fn a_reset_group_looks_up_all_of_it_although_it_was_started_once_more() {
        let partition = partition();
        let named = text(vec![60, 80]);
        let again = Facts {
            committed: Some(50),
            metadata: &named,
            highest_written: Some(95),
            ..facts(&partition)
        };
        let start = decide(&again).unwrap();
        assert_eq!((start.cuts, start.look_below), (vec![60, 80], 96));
        // The last rows of old are within the named ranges, and only the commit knows.
        let set_back = named.replacen(" 000", " +000", 1);
        let again = Facts {
            metadata: &set_back,
            highest_written: None,
            ..again
        };
        let start = decide(&again).unwrap();
        assert_eq!((start.cuts, start.look_below), (vec![60, 80], 80));
    }

    #[test]
    fn another_topic_of_the_same_name_halts() {
        let p = partition();
        let metadata = text(vec![]);
        let facts = Facts {
            committed: Some(50),
            metadata: &metadata,
            topic_id: "idB",
            ..facts(&p)
        };
        assert_eq!(reason(&facts), "topic_changed");
    }

    #[test]
    fn a_reset_does_not_take_the_rows_of_a_deleted_topic_for_those_of_its_successor() {
        let p = partition();
        let reset = Facts {
            committed: Some(10),
            seen_before: SeenBefore::AnotherTopic { epoch: 0 },
            highest_written: Some(70),
            ..facts(&p)
        };
        assert_eq!(reason(&reset), "topic_changed");
        let set_aside = Facts {
            highest_written: None,
            ..reset
        };
        assert_eq!(decide(&set_aside).unwrap().look_below, 0);
    }

    #[test]
    fn rows_of_a_deleted_topic_hide_those_of_its_successor_until_there_is_a_new_epoch() {
        let p = partition();
        let of_epoch = |epoch| Facts {
            seen_before: SeenBefore::AnotherTopic { epoch: 1 },
            layout: Some(Layout {
                partitions: 4,
                epoch,
            }),
            ..facts(&p)
        };
        let halt = decide(&of_epoch(1)).unwrap_err();
        assert_eq!(halt.reason, "topic_changed");
        assert!(halt.advice.contains("epoch = 2"), "{}", halt.advice);
        assert_eq!(decide(&of_epoch(2)).unwrap().position, 10);
    }

    #[test]
    fn rows_newer_than_the_log_hide_its_records_although_nobody_remembers_another_topic() {
        let p = partition();
        let layout = Layout {
            partitions: 4,
            epoch: 2,
        };
        let hidden = Facts {
            replica: Some(ReplicaFacts {
                newest_version: Some(layout.version(7_000)),
                newer_version: Some(layout.version(7_000)),
                ..REPLICA
            }),
            layout: Some(layout),
            ..facts(&p)
        };
        let halt = decide(&hidden).unwrap_err();
        assert_eq!(halt.reason, "topic_changed");
        for words in ["offset 7000 and epoch 2", "epoch = 3"] {
            assert!(halt.advice.contains(words), "{}", halt.advice);
        }
    }

    #[test]
    fn more_partitions_need_a_new_epoch() {
        let check = |partitions, epoch| {
            let layout = |partitions, epoch| Layout { partitions, epoch };
            check_layout(&partition(), "g", layout(4, 0), layout(partitions, epoch))
        };
        assert!(check(4, 0).is_ok() && check(4, 1).is_ok() && check(6, 1).is_ok());
        assert_eq!(check(6, 0).unwrap_err().reason, "partitions_changed");
    }

    #[test]
    fn another_table_halts_while_ranges_are_unfinished_and_starts_afresh_after() {
        let p = partition();
        let open = text(vec![60]);
        let drained = text(vec![]);
        let with = |metadata| Facts {
            committed: Some(50),
            metadata,
            table: "db.other",
            highest_written: Some(20),
            ..facts(&p)
        };
        assert_eq!(reason(&with(&open)), "target_changed");
        let start = decide(&with(&drained)).unwrap();
        assert_eq!((start.epoch, start.look_below), (None, 21));
    }

    #[test]
    fn offsets_outside_the_log_halt_unless_the_table_has_them() {
        let p = partition();
        let below = Facts {
            committed: Some(4),
            ..facts(&p)
        };
        assert_eq!(reason(&below), "out_of_range");
        let written = Facts {
            committed: Some(4),
            deleted_part_is_written: true,
            ..facts(&p)
        };
        let start = decide(&written).unwrap();
        assert_eq!((start.position, start.read_from), (4, 10));
        assert_eq!(
            reason(&Facts {
                committed: Some(101),
                ..facts(&p)
            }),
            "out_of_range"
        );
    }

    #[test]
    fn metadata_of_a_later_version_halts() {
        let p = partition();
        let facts = Facts {
            committed: Some(50),
            metadata: "sw9 x",
            ..facts(&p)
        };
        assert_eq!(reason(&facts), "metadata");
    }
}
