//! What an audit found.

use serde::Serialize;
use serde_json::Value;

use crate::source::TopicPartition;

/// Differences of one kind that are listed; all are counted.
pub(super) const LISTED_MAX: usize = 1_000;

/// What became of the records, or of the rows that they should have become.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records of the log.
    pub records: u64,
    /// Those that are a row, or rows that are as they should be.
    pub rows: u64,
    /// Those that are a dead letter and no row.
    pub dead_letters: u64,
    /// Those that are a dead letter, and a row by now.
    pub dead_letters_replayed: u64,
    /// Those that make no row by a rule.
    pub dropped: u64,
    /// Offsets that hold no record: control records, and what was compacted or aborted.
    pub control: u64,
    /// Offsets that are not committed yet.
    pub uncommitted: u64,
    /// Neither row nor dead letter.
    pub lost: u64,
    /// More than one row of one record.
    pub doubled: u64,
    /// A row whose values are not those of its record.
    pub altered: u64,
    /// A row that an older change made than the newest.
    pub stale: u64,
    /// No row where the newest change made one, or of a window.
    pub missing: u64,
    /// A row of a key that no change made.
    pub extra: u64,
    /// A window that is another one when it is computed again.
    pub differs: u64,
    /// What cannot be told.
    pub not_checkable: u64,
}

impl Counts {
    /// Whether something is wrong.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        let found = [
            self.lost,
            self.doubled,
            self.altered,
            self.stale,
            self.missing,
            self.extra,
            self.differs,
        ];
        found.iter().any(|count| *count > 0)
    }

    pub(super) fn add(&mut self, other: &Counts) {
        self.records += other.records;
        self.rows += other.rows;
        self.dead_letters += other.dead_letters;
        self.dead_letters_replayed += other.dead_letters_replayed;
        self.dropped += other.dropped;
        self.control += other.control;
        self.uncommitted += other.uncommitted;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.altered += other.altered;
        self.stale += other.stale;
        self.missing += other.missing;
        self.extra += other.extra;
        self.differs += other.differs;
        self.not_checkable += other.not_checkable;
    }
}

/// What was looked at of one partition.
#[derive(Debug, Serialize)]
pub struct PartitionReport {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that was looked at.
    pub from: i64,
    /// One past the last one: the committed offset, or what was asked for.
    pub to: i64,
    /// Its share of the counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    Lost,
    Doubled,
    Altered,
    Stale,
    Missing,
    Extra,
}

/// Windows that are not in a table because the log has only a part of their records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeftOut {
    /// How many there are.
    pub windows: u64,
    /// Where the first of them begins, RFC 3339.
    pub first: String,
    /// The same of the last.
    pub last: String,
}

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The pipeline.
    pub pipeline: String,
    /// Its kind.
    pub kind: &'static str,
    /// Of all partitions.
    pub counts: Counts,
    /// Each partition.
    pub partitions: Vec<PartitionReport>,
    /// The first thousand.
    pub lost: Vec<Value>,
    /// The first thousand.
    pub doubled: Vec<Value>,
    /// The first thousand.
    pub altered: Vec<Value>,
    /// The first thousand.
    pub stale: Vec<Value>,
    /// The first thousand.
    pub missing: Vec<Value>,
    /// The first thousand.
    pub extra: Vec<Value>,
    /// The first thousand.
    pub differs: Vec<Value>,
    /// Windows of which the log has only a part, where such windows are not written.
    #[serde(skip)]
    pub windows_left_out: Option<LeftOut>,
    /// Why something could not be checked.
    pub notes: Vec<String>,
}

impl Report {
    pub(super) fn new(pipeline: &str, kind: &'static str) -> Self {
        Report {
            pipeline: pipeline.to_owned(),
            kind,
            counts: Counts::default(),
            partitions: vec![],
            lost: vec![],
            doubled: vec![],
            altered: vec![],
            stale: vec![],
            missing: vec![],
            extra: vec![],
            differs: vec![],
            windows_left_out: None,
            notes: vec![],
        }
    }

    pub(super) fn list_of(&mut self, wrong: Wrong) -> &mut Vec<Value> {
        match wrong {
            Wrong::Lost => &mut self.lost,
            Wrong::Doubled => &mut self.doubled,
            Wrong::Altered => &mut self.altered,
            Wrong::Stale => &mut self.stale,
            Wrong::Missing => &mut self.missing,
            Wrong::Extra => &mut self.extra,
        }
    }

    /// Lists one, if there is room.
    pub(super) fn list(&mut self, wrong: Wrong, entry: impl FnOnce() -> Value) {
        let list = self.list_of(wrong);
        if list.len() < LISTED_MAX {
            list.push(entry());
        }
    }

    pub(super) fn note(&mut self, note: String) {
        if !self.notes.contains(&note) && self.notes.len() < LISTED_MAX {
            self.notes.push(note);
        }
    }
}

/// The address of a record, as it is listed.
pub(super) fn address(partition: &TopicPartition, offset: i64) -> Value {
    serde_json::json!({
        "topic": &*partition.topic, "partition": partition.partition, "offset": offset,
    })
}
