//! `[pipeline.dedup]`: records that come again.

use std::time::Duration;

use super::columns::{COLUMN, PATH};
use super::quantity::Span;
use super::section::Section;
use super::value::{Choice, List};
use super::{Kind, Pipeline};

/// Which records are duplicates, and what becomes of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dedup {
    /// Paths; at least one. A record without one of them is never a duplicate.
    pub key: Vec<String>,
    /// How near their event times are, 1 s to 30 days.
    pub within: Duration,
    /// What becomes of a duplicate.
    pub on_duplicate: OnDuplicate,
    /// The column that has 1 in duplicates.
    pub flag_column: Option<String>,
}

/// What becomes of a duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDuplicate {
    /// It is dropped and counted.
    Drop,
    /// It is a dead letter, `duplicate`.
    DeadLetter,
    /// It is written, and `flag_column` says so.
    Flag,
}

impl Dedup {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Dedup> {
        let mut dedup = section.section_if_present("dedup")?;
        let paths = List {
            of: PATH,
            may_be_empty: false,
        };
        let choices = Choice(&[
            ("drop", OnDuplicate::Drop),
            ("dead_letter", OnDuplicate::DeadLetter),
            ("flag", OnDuplicate::Flag),
        ]);
        let read = Dedup {
            key: dedup.take_required("key", paths),
            within: dedup.take_required("within", Span::secs(1, 30 * 86_400)),
            on_duplicate: dedup.take_or("on_duplicate", choices, OnDuplicate::Drop),
            flag_column: dedup.take("flag_column", COLUMN),
        };
        let is_flagged = read.on_duplicate == OnDuplicate::Flag;
        if is_flagged && read.flag_column.is_none() && !dedup.was_written("flag_column") {
            dedup.problem("flag_column", "is required with on_duplicate = \"flag\"");
        }
        if !is_flagged && read.flag_column.is_some() {
            let message = "goes with on_duplicate = \"flag\" alone: other duplicates make no row";
            dedup.problem("flag_column", message);
        }
        dedup.finish();
        Some(read)
    }
}

impl Pipeline {
    /// Which of its records are duplicates; none: nobody asks.
    #[must_use]
    pub fn dedup(&self) -> Option<&Dedup> {
        match &self.kind {
            Kind::Enrichment(config) => config.dedup.as_ref(),
            Kind::Aggregation(config) => config.dedup.as_ref(),
            Kind::Cdc(_) | Kind::StreamJoin(_) | Kind::Raw(_) => None,
        }
    }
    /// How far before a record, by Kafka's time, those lie that it may be a duplicate of.
    #[must_use]
    pub fn duplicates_span(&self) -> Option<Duration> {
        let delay = match &self.kind {
            Kind::Enrichment(config) => config.watermark_delay + config.timestamp_ahead_max,
            Kind::Aggregation(config) => config.watermark_delay + config.timestamp_ahead_max,
            Kind::Cdc(_) | Kind::StreamJoin(_) | Kind::Raw(_) => return None,
        };
        Some(self.dedup()?.within + delay)
    }
}
