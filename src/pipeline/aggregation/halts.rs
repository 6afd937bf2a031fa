//! Why an aggregation stops, and what to do.

use super::Settings;
use super::row::shortened;
use crate::halt::Halt;
use crate::operator::window::SpillError;
use crate::source::Record;
use crate::source::placement::partition_of;

/// A key that lies elsewhere than `pipeline.keys_placed_by` says splits its group.
///
/// # Errors
/// It does.
pub(super) fn misplaced(
    settings: &Settings,
    record: Record<'_>,
    partitions: usize,
) -> Result<(), Halt> {
    let Some(partitioner) = settings.keys_placed_by else {
        return Ok(());
    };
    let place = partition_of(partitioner, record.key_as_received(), partitions);
    let Some(place) = place.filter(|place| *place != record.partition()) else {
        return Ok(());
    };
    let advice = format!(
        "{}: the key {} belongs into partition {place} of {partitions} by pipeline.keys_placed_by, so \
         its group would be split: have the producers use that partitioner, correct the setting, or \
         remove pipeline.partitioned_by (one lane then reads the whole topic)",
        address(record),
        key_text(record)
    );
    Err(Halt::new("partitioned_by", advice))
}

/// The records of a group lie in two partitions, each with windows of its own.
pub(super) fn in_two_partitions(
    settings: &Settings,
    record: Record<'_>,
    (partition, offset): (i32, i64),
) -> Halt {
    let advice = format!(
        "the group {} is in two partitions: {}:{partition}:{offset} and {}: pipeline.partitioned_by \
         needs all records of a key in one partition, or each has a part of the sum and one row hides \
         the other: have all producers use one partitioner, or remove pipeline.partitioned_by (one lane \
         then reads the whole topic; take another group_id and empty {} before)",
        key_text(record),
        settings.topic,
        address(record),
        settings.table
    );
    Halt::new("partitioned_by", advice)
}

/// Records of one group may lie in another partition than those that its open windows have.
pub(super) fn partitions_changed(settings: &Settings, then: usize, now: usize) -> Halt {
    let advice = format!(
        "topic {topic}: it has {now} partitions and had {then} when windows were opened that are still \
         open, so a group may lie in two of them, each with a part of its sum: remove \
         pipeline.partitioned_by (one lane then reads the whole topic), take another group_id and empty \
         {table}; or, once all records from before are older than the windows you need, set the offsets \
         of group_id {group} to the first records of a window that begins after the change, whose older \
         windows stay as they are in {table}",
        topic = settings.topic,
        table = settings.table,
        group = settings.group_id,
    );
    Halt::new("partitions_changed", advice)
}

fn address(record: Record<'_>) -> String {
    let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
    format!("{topic}:{partition}:{offset}")
}

fn key_text(record: Record<'_>) -> String {
    shortened(&String::from_utf8_lossy(record.key().unwrap_or_default()))
}

/// Rows of other rules have versions of their own, which say nothing about these.
pub(super) fn windows_changed(settings: &Settings, partition: i32) -> Halt {
    let target = &settings.table;
    let (rows, elsewhere) = match (settings.has_table, settings.has_topic) {
        (true, true) => ("table and topic", "another table and another output topic"),
        (true, false) => ("table", "another table"),
        (false, _) => ("topic", "another output topic"),
    };
    let advice = format!(
        "partition {partition}: the group's last commit is of windows under other rules \
         (pipeline.window, group, group_bytes_max, metrics, where, watermark_delay or allowed_lateness \
         were changed), and what it kept of open windows is no use to these. Old rows in {target} win \
         over new ones that have fewer records (version is 2 x revision), and stand beside those of \
         other windows or groups: take another group_id, which reads the topic anew, and write to \
         {elsewhere}, or empty the {rows} ({target}) before the new group starts"
    );
    Halt::new("windows_changed", advice)
}

/// What did not fit into memory fits nowhere else, or is lost. What was committed does not depend on it.
pub(super) fn spilling(error: &SpillError) -> Halt {
    match error {
        SpillError::Full { .. } => Halt::new(
            "state_too_large",
            format!(
                "windows fill their disk: {error} (pipeline.state.disk_max): raise it, or shorten \
                 pipeline.window, allowed_lateness or watermark_delay, then start again; the records of open \
                 windows are read again"
            ),
        ),
        SpillError::Failed(_) => Halt::new(
            "state_store",
            format!(
                "windows cannot be written to disk or read from there: {error}: look at the disk of \
                 pipeline.state.directory (of service.state_dir without one), then start again; the records of \
                 open windows are read again"
            ),
        ),
    }
}

/// A row that its table cannot hold: none of its records is at fault.
pub(super) fn unwritable(table: &str, why: &str) -> Halt {
    let advice = format!(
        "table {table}: {why}: give the column a larger type (ALTER TABLE … MODIFY COLUMN), then start \
         again; nothing of it was written, and its records are read again"
    );
    Halt::new("rejected", advice)
}
