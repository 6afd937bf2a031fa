//! Values that a column does not hold, such as the day 9999-12-31 that stands for "no end".

use super::field::Unit;
use super::moment::{self, Moment};
use super::reading::{Reading, Way};
use crate::decode::json::{Kind, Raw};
use crate::decode::time::Instant;
use crate::decode::time_of_day::TimeOfDay;
use crate::decode::{Reason, Reject};
use crate::table::ColumnType;

/// What becomes of a value that its column does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OutOfRange {
    /// The record is a dead letter.
    #[default]
    DeadLetter,
    /// NULL.
    Null,
    /// The last day or time that the column holds, or the first. Other values are dead letters.
    Clamp,
}

/// Ends of the types of days and times, the farthest first: the first that a column takes is its own.
const FIRST_DAYS: [i64; 2] = [-25_567, 0];
const LAST_DAYS: [i64; 2] = [120_529, 65_535];
const FIRST_SECONDS: [i64; 2] = [-25_567 * 86_400, 0];
const LAST_INSTANTS: [(i64, u32); 4] = [
    (120_530 * 86_400 - 1, 999_999_999),
    (i64::MAX / 1_000_000_000, 854_775_807),
    (4_294_967_295, 999_999_999),
    (2_147_483_647, 999_999_999),
];
/// 999:59:59.999999999.
const LAST_CLOCK_NANOS: i64 = 3_600_000_000_000_000 - 1;

impl Reading {
    /// Appends what stands in the column for a value that it does not hold.
    pub(super) fn replace(
        &self,
        raw: Raw<'_>,
        reject: Reject,
        out: &mut Vec<u8>,
    ) -> Result<(), Reject> {
        let is_about_range = matches!(reject.reason, Reason::OutOfRange | Reason::NotRepresentable);
        // A time with more digits than the column has lies within its range: the column can be widened.
        let is_within = || match &self.way {
            Way::Instant(unit) | Way::TimeOfDay(unit) => is_within(raw, *unit, &self.target),
            _ => false,
        };
        match self.out_of_range {
            OutOfRange::Null if is_about_range && is_within() => Err(reject),
            OutOfRange::Null if is_about_range && self.is_nullable => {
                out.push(1);
                Ok(())
            }
            OutOfRange::Null if is_about_range => Err(Reject::new(
                Reason::MissingField,
                format!("{}, and the column is not Nullable", reject.detail),
            )),
            OutOfRange::Clamp if is_about_range && raw.kind() != Kind::Null => {
                if self.is_nullable {
                    out.push(0);
                }
                if self.clamp(raw, out) {
                    Ok(())
                } else {
                    Err(reject)
                }
            }
            _ => Err(reject),
        }
    }

    /// Appends the end of the column's type that lies next to the value; false where the value lies
    /// between them or is none of these.
    fn clamp(&self, raw: Raw<'_>, out: &mut Vec<u8>) -> bool {
        let target = &self.target;
        match &self.way {
            Way::Day => {
                let Ok(day) = moment::day(raw) else {
                    return false;
                };
                let ends = |is_late: bool| if is_late { LAST_DAYS } else { FIRST_DAYS };
                let fits = |days: i64| target.encode_epoch_days(days, &mut vec![]).is_ok();
                let Some(is_late) = is_late(day, raw, |days| (!fits(days)).then_some(days > 0))
                else {
                    return false;
                };
                let end = ends(is_late).into_iter().find(|end| fits(*end));
                end.is_some_and(|end| target.encode_epoch_days(end, out).is_ok())
            }
            Way::Instant(unit) => {
                let Ok(instant) = moment::instant(raw, *unit) else {
                    return false;
                };
                let fits = |at: Instant| target.encode_instant(at, &mut vec![]).is_ok();
                let beyond = |at: Instant| (!fits(at)).then_some(at.epoch_seconds > 0);
                let Some(is_late) = is_late(instant, raw, beyond) else {
                    return false;
                };
                let at = |(epoch_seconds, nanos)| Instant {
                    epoch_seconds,
                    nanos,
                };
                let first = FIRST_SECONDS.map(|seconds| at((seconds, 0)));
                let last = LAST_INSTANTS.map(at);
                let mut ends = if is_late { last.iter() } else { first.iter() };
                let end = ends.find(|end| fits(**end));
                end.is_some_and(|end| target.encode_instant(*end, out).is_ok())
            }
            Way::TimeOfDay(unit) => {
                let Ok(time) = moment::time_of_day(raw, *unit) else {
                    return false;
                };
                let nanos = match time.nanos {
                    nanos if nanos > LAST_CLOCK_NANOS => LAST_CLOCK_NANOS,
                    nanos if nanos < -LAST_CLOCK_NANOS => -LAST_CLOCK_NANOS,
                    _ => return false,
                };
                target.encode_time_of_day(TimeOfDay { nanos }, out).is_ok()
            }
            _ => false,
        }
    }
}

/// Whether a column of times holds the text of one, but for digits of a second.
pub fn holds_time(column: &ColumnType, value: Raw<'_>) -> bool {
    is_within(value, None, column)
}

fn is_within(raw: Raw<'_>, unit: Option<Unit>, column: &ColumnType) -> bool {
    match column {
        ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => {
            is_within(raw, unit, inner)
        }
        ColumnType::DateTime { .. } | ColumnType::DateTime64 { .. } => {
            match moment::instant(raw, unit) {
                Ok(Moment::At(instant)) => column.encode_instant(instant, &mut vec![]).is_ok(),
                _ => false,
            }
        }
        ColumnType::Time | ColumnType::Time64 { .. } => moment::time_of_day(raw, unit)
            .is_ok_and(|time| column.encode_time_of_day(time, &mut vec![]).is_ok()),
        _ => false,
    }
}

/// Whether a moment lies behind the last of a type, or before the first; none where it lies between.
fn is_late<T>(
    moment: Moment<T>,
    raw: Raw<'_>,
    beyond: impl FnOnce(T) -> Option<bool>,
) -> Option<bool> {
    match moment {
        Moment::At(point) => beyond(point),
        Moment::Infinity => Some(true),
        Moment::MinusInfinity => Some(false),
        Moment::Nowhere => Some(!raw.as_received().contains('-')),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_digits_leave_room_for_fewer_years() {
        for (column, json, is_held) in [
            ("DateTime64(9)", r#""2026-01-02T03:04:05.123456789Z""#, true),
            (
                "Nullable(DateTime64(9))",
                r#""2026-01-02T03:04:05.1Z""#,
                true,
            ),
            (
                "DateTime64(9)",
                r#""2299-01-02T03:04:05.123456789Z""#,
                false,
            ),
            ("DateTime64(6)", r#""2299-01-02T03:04:05.123456Z""#, true),
            ("DateTime64(6)", r#""9999-12-31T23:59:59.123456Z""#, false),
            ("DateTime64(6)", r#""infinity""#, false),
            ("Time64(6)", r#""838:59:59.000001""#, true),
            ("String", r#""838:59:59.000001""#, false),
        ] {
            let column_type = ColumnType::parse(column).expect("a type");
            let value = Raw::parse(json).expect("JSON");
            assert_eq!(holds_time(&column_type, value), is_held, "{column} {json}");
        }
    }
}
