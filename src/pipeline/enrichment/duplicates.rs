//! Records that come again.

use super::PartitionState;
use super::reading::{NotRead, Unjudged, at};
use crate::config::OnDuplicate;
use crate::decode::Reason;
use crate::format::Values;
use crate::pipeline::quality::{self, DedupPlan, Judged};
use crate::sink::Stage;

/// Whether an earlier record had the key.
pub(super) fn judge_duplicate<V: Values>(
    dedup: &DedupPlan,
    values: &V,
    time_ms: i64,
    state: &PartitionState,
    judged: &mut Judged,
) -> Result<(), NotRead> {
    let Some(key) = dedup.key(|slot| values.get(slot)) else {
        return Ok(());
    };
    judged.seen = Some((key, time_ms));
    let seen = state.seen.as_ref();
    judged.is_duplicate = seen.is_some_and(|seen| seen.is_duplicate(key, time_ms));
    if !judged.is_duplicate {
        return Ok(());
    }
    match dedup.on_duplicate {
        OnDuplicate::Flag => Ok(()),
        OnDuplicate::Drop => Err(NotRead::Dropped(quality::DUPLICATE)),
        OnDuplicate::DeadLetter => Err(at(Stage::Operate)(quality::duplicate()).into()),
    }
}

/// A record that was read is an earlier one to those that follow, a duplicate as well, whatever becomes of it. One
/// that could not be read, or that a rule refuses, is none.
pub(super) fn note_seen(
    state: &mut PartitionState,
    judged: &Judged,
    read: &Result<(Unjudged, bool), NotRead>,
) {
    let Some(seen) = &mut state.seen else {
        return;
    };
    match (read, judged.seen) {
        (Ok((event, _)), None) => event.time_ms.into_iter().for_each(|t| seen.note_time(t)),
        (Ok(_), Some((key, time_ms))) => {
            seen.note(key, time_ms);
            seen.note_time(time_ms);
        }
        (Err(not_read), Some((key, time_ms))) if is_duplicate(not_read) => {
            seen.note(key, time_ms);
            seen.note_time(time_ms);
        }
        (Err(_), _) => {}
    }
}

fn is_duplicate(not_read: &NotRead) -> bool {
    match not_read {
        NotRead::Dropped(rule) => *rule == quality::DUPLICATE,
        NotRead::Refused(refusal) => refusal.reject.reason == Reason::Duplicate,
        NotRead::NeedsSchema(_) | NotRead::Misfit(..) => false,
    }
}
