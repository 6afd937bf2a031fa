//! One record read: its columns in the row, and what the operator has to know of it.

use super::duplicates::judge_duplicate;
use super::plan::RowPlan;
use super::row::{Row, SessionEvent};
use super::{PartitionState, Settings};
use crate::decode::{Reason, Reject};
use crate::format::{Reader, SchemaError, SchemaKey, Unread, Values};
use crate::lane::Refusal;
use crate::pipeline::quality::{self, Fate, Judged};
use crate::rules::Moments;
use crate::sink::Stage;
use crate::source::Record;
use crate::steps::Scratch;

/// An event on its way to its session.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unjudged {
    /// `None` in a pipeline without event time.
    pub(super) time_ms: Option<i64>,
    pub(super) session: SessionEvent,
    /// False for a record whose row was made before.
    pub(super) makes_row: bool,
}

/// Why a record makes no row.
pub(super) enum NotRead {
    Refused(Refusal),
    /// By a rule: the word is a metric label.
    Dropped(&'static str),
    /// It can be read once the reader has this schema.
    NeedsSchema(SchemaKey),
    /// Its schema cannot fill the table's columns.
    Misfit(SchemaKey, SchemaError),
}

impl From<Refusal> for NotRead {
    fn from(refusal: Refusal) -> Self {
        NotRead::Refused(refusal)
    }
}

/// Where a row is made.
pub(super) struct RowSpace<'r> {
    pub(super) plan: &'r RowPlan,
    pub(super) settings: &'r Settings,
    pub(super) out: &'r mut Vec<u8>,
    pub(super) starts: &'r mut Vec<usize>,
    pub(super) scratch: &'r mut Vec<u8>,
    pub(super) judged: &'r mut Judged,
    pub(super) made: &'r mut Scratch,
}

impl RowSpace<'_> {
    /// Appends the event and record columns of a record, and leaves its key for the lookup in
    /// `scratch` if it has one. After an error part of the columns may be left. `value`: that of the record,
    /// unpacked.
    #[inline(always)]
    pub(super) fn read<R: Reader>(
        self,
        reader: &mut R,
        state: &PartitionState,
        record: Record<'_>,
        value: Option<&[u8]>,
    ) -> Result<(Unjudged, bool), NotRead> {
        (self.judged.seen, self.judged.is_duplicate) = (None, false);
        if self.plan.drops_tombstones && value.is_none() {
            return Err(NotRead::Dropped("tombstone"));
        }
        let values = match reader.read(value) {
            Ok(values) => values,
            Err(Unread::Refused(reject)) => return Err(at(Stage::Decode)(reject).into()),
            Err(Unread::Dropped(rule)) => return Err(NotRead::Dropped(rule)),
            Err(Unread::NeedsSchema(key)) => return Err(NotRead::NeedsSchema(key)),
            Err(Unread::Misfit(key, error)) => return Err(NotRead::Misfit(key, error)),
        };
        judge(self.plan, &values, record, self.judged)?;
        let mut row = Row {
            plan: self.plan,
            values: &values,
            out: self.out,
            starts: self.starts,
            scratch: self.scratch,
            made: self.made,
        };
        row.event_columns().map_err(at(Stage::Encode))?;
        let time_ms = row
            .event_time(record, self.settings)
            .map_err(at(Stage::Operate))?;
        let session = match &state.sessions {
            Some(sessions) => row.session_event(sessions).map_err(at(Stage::Operate))?,
            None => SessionEvent::default(),
        };
        row.record_columns(state, record, 0)
            .map_err(at(Stage::Encode))?;
        let has_key = row.lookup_key().map_err(at(Stage::Encode))?;
        // The last: a record that is refused for anything else is no earlier one to any other.
        if let (Some(dedup), Some(time_ms)) = (&self.plan.dedup, time_ms) {
            judge_duplicate(dedup, &values, time_ms, state, self.judged)?;
        }
        row.quality_columns(self.judged);
        let event = Unjudged {
            time_ms,
            session,
            makes_row: true,
        };
        Ok((event, has_key))
    }
}

/// Holds a record against the rules.
pub(super) fn judge<V: Values>(
    plan: &RowPlan,
    values: &V,
    record: Record<'_>,
    judged: &mut Judged,
) -> Result<(), NotRead> {
    let Some(rules) = &plan.rules else {
        return Ok(());
    };
    let moments = Moments {
        now_ms: record.timestamp_ms(),
        unit: plan.time_unit,
        texts: plan.text_times.as_deref(),
    };
    match rules.judge(&|slot| values.get(slot), moments, judged) {
        Fate::Kept => Ok(()),
        Fate::Dropped => Err(NotRead::Dropped(quality::DROPPED)),
        Fate::Refused => {
            let reject = Reject::new(Reason::RuleFailed, rules.deciding(judged));
            Err(at(Stage::Operate)(reject).into())
        }
    }
}

/// A refusal at this stage.
pub(super) fn at(stage: Stage) -> impl Fn(Reject) -> Refusal {
    move |reject| Refusal { stage, reject }
}
