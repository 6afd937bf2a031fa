//! The event time of a record, judged by the record's Kafka timestamp.

use crate::decode::json::Raw;
use crate::decode::time::TimeRules;
use crate::decode::{Reason, Reject, time};
use crate::source::Record;

/// The event time in epoch milliseconds, which is that of the field `name` and must be there.
///
/// # Errors
/// `missing_field`, `invalid_value`, `implausible_time`, `out_of_range` outside DateTime64(3),
/// `too_far_ahead`.
#[inline]
pub(super) fn event_time_ms(
    raw: Raw<'_>,
    name: &str,
    rules: TimeRules<'_>,
    record: Record<'_>,
    ahead_max_ms: i64,
) -> Result<i64, Reject> {
    if raw.is_missing() {
        return Err(Reject::new(Reason::MissingField, name.to_owned()));
    }
    let time_ms = time::event_time_ms(raw, rules).map_err(|reject| reject.about(name))?;
    let written_ms = record.timestamp_ms();
    if written_ms >= 0 && time_ms > written_ms.saturating_add(ahead_max_ms) {
        let ahead_ms = time_ms.saturating_sub(written_ms);
        let detail = format!("event time is {ahead_ms} ms after the Kafka timestamp");
        return Err(Reject::new(Reason::TooFarAhead, detail));
    }
    Ok(time_ms)
}

/// The record's Kafka timestamp as event time.
///
/// # Errors
/// `missing_field` where the record has none.
pub(super) fn kafka_time_ms(record: Record<'_>) -> Result<i64, Reject> {
    let time_ms = record.timestamp_ms();
    if time_ms < 0 {
        let detail = "time_field: the record has no Kafka timestamp";
        return Err(Reject::new(Reason::MissingField, detail));
    }
    Ok(time_ms)
}
