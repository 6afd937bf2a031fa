//! `streamweir dead-letters`: what could not be written, and writing it after all.

mod letter;
mod replay;
mod scan;
mod shown;
mod sources;
mod states;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use self::letter::Letter;
pub use self::letter::{Address, AddressError, Selection};
pub use self::replay::{Replay, ReplayOptions, replay};
pub(crate) use self::scan::letters as scan_letters;
pub(crate) use self::scan::ranges as letter_ranges;
pub use self::shown::{ShownLetter, show};
use self::states::States;
pub(crate) use self::states::traced_table;
use super::{Failure, runtime};
use crate::config::{Config, Pipeline};
use crate::observe::board::status::Moment;

/// Letters whose tables are looked at together.
const LETTERS_AT_ONCE: usize = 500;
/// No further letter joins them beyond so many bytes.
const BYTES_AT_ONCE: usize = 8 << 20;

/// Whether the table has the record by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    /// It has not.
    Open,
    /// It has.
    Written,
}

/// One line of `list`.
#[derive(Debug, Serialize)]
pub struct ListedLetter {
    /// The record's topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// The pipeline that could not write it.
    pub pipeline: String,
    /// Where that was found out.
    pub stage: String,
    /// A word of the closed list.
    pub reason: String,
    /// What exactly was wrong.
    pub detail: String,
    /// The record's own time.
    pub timestamp: Moment,
    /// By a look at the table.
    pub state: LetterState,
}

/// Hands each letter of the selection to `each`, in the order of the dead-letter topic.
///
/// # Errors
/// A system does not answer.
pub fn list(
    config: &Config,
    selection: &Selection,
    mut each: impl FnMut(ListedLetter),
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let service = Arc::new(config.service.clone());
    let mut states = States::default();
    let mut batch: Vec<(Letter, Arc<Pipeline>)> = vec![];
    let mut bytes = 0;
    let mut flush = |batch: &mut Vec<(Letter, Arc<Pipeline>)>| -> Result<(), Failure> {
        let written = runtime.block_on(states.of(&service, batch))?;
        for ((letter, _), is_written) in batch.drain(..).zip(written) {
            each(listed(letter, is_written));
        }
        Ok(())
    };
    scan::letters(config, selection, |letter, pipeline| {
        bytes += letter.bytes();
        batch.push((letter, pipeline.clone()));
        if batch.len() >= LETTERS_AT_ONCE || bytes >= BYTES_AT_ONCE {
            flush(&mut batch)?;
            bytes = 0;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    flush(&mut batch)
}

fn listed(letter: Letter, is_written: bool) -> ListedLetter {
    ListedLetter {
        topic: letter.partition.topic.to_string(),
        partition: letter.partition.partition,
        offset: letter.offset,
        timestamp: Moment(letter.timestamp_ms),
        state: if is_written {
            LetterState::Written
        } else {
            LetterState::Open
        },
        pipeline: letter.pipeline,
        stage: letter.stage,
        reason: letter.reason,
        detail: letter.detail,
    }
}

/// How many letters of one pipeline have one reason.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SummaryLine {
    /// The pipeline.
    pub pipeline: String,
    /// A word of the closed list.
    pub reason: String,
    /// Those that the table lacks.
    pub open: u64,
    /// Those that it has.
    pub written: u64,
}

/// Counts by pipeline and reason.
#[derive(Debug, Default)]
pub struct Summary(BTreeMap<(String, String), (u64, u64)>);

impl Summary {
    /// Counts one.
    pub fn add(&mut self, letter: ListedLetter) {
        let counts = self.0.entry((letter.pipeline, letter.reason)).or_default();
        match letter.state {
            LetterState::Open => counts.0 += 1,
            LetterState::Written => counts.1 += 1,
        }
    }

    /// By pipeline and reason.
    #[must_use]
    pub fn lines(self) -> Vec<SummaryLine> {
        let line = |((pipeline, reason), (open, written))| SummaryLine {
            pipeline,
            reason,
            open,
            written,
        };
        self.0.into_iter().map(line).collect()
    }
}
