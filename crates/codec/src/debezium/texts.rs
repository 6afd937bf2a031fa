//! What the conversions share: text columns, digits that must not be lost, refusals.

use std::borrow::Cow;

use crate::decode::{Reason, Reject};
use crate::table::{ColumnType, insert_length};

pub(super) fn not_representable(what: &'static str) -> Reject {
    let detail: Cow<'static, str> = format!("{what}: the column has no such value").into();
    Reject::new(Reason::NotRepresentable, detail)
}

/// Whether a column takes any text.
pub(super) fn is_text(target: &ColumnType) -> bool {
    matches!(target, ColumnType::String | ColumnType::FixedString(_))
}

/// Puts what `append` appends into a text column.
pub(super) fn encode_text(
    target: &ColumnType,
    out: &mut Vec<u8>,
    append: impl FnOnce(&mut Vec<u8>) -> Result<(), Reject>,
) -> Result<(), Reject> {
    let start = out.len();
    append(out)?;
    let len = out.len() - start;
    match target {
        ColumnType::FixedString(fixed) if len <= *fixed as usize => {
            out.resize(start + *fixed as usize, 0);
        }
        ColumnType::FixedString(fixed) => {
            let detail = format!("longer than FixedString({fixed})");
            return Err(Reject::out_of_range(detail));
        }
        _ => insert_length(len, start, out),
    }
    Ok(())
}

/// Whether a column keeps every digit of these nanoseconds: a change of a row is no place to round.
pub(super) fn keeps_digits(nanos: i64, target: &ColumnType) -> Result<(), Reject> {
    let precision = match target {
        ColumnType::DateTime64 { precision, .. } | ColumnType::Time64 { precision } => *precision,
        _ => 0,
    };
    if nanos % 10i64.pow(9 - u32::from(precision.min(9))) == 0 {
        Ok(())
    } else {
        let detail = format!("a time with more digits of a second than {target}");
        Err(Reject::out_of_range(detail))
    }
}
