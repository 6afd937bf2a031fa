//! One value made of several fields.

use std::fmt::Write as _;

use xxhash_rust::xxh3::xxh3_128;

use super::number::{product, sum, too_many_digits};
use super::text::TooLong;
use super::value::{Scratch, Text, Value};
use super::{Input, TEXT_BYTES_MAX};
use crate::decode::decimal::{Decimal, decimal};
use crate::decode::json::Raw;
use crate::decode::{Reject, text};

/// What stands between the texts that are hashed: U+001F.
pub const HASH_SEPARATOR: char = '\u{1f}';

/// How a value is made of the fields of a column.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compute {
    /// The one field as it is.
    #[default]
    Field,
    /// The exact product of numbers; missing where one of them is.
    Product,
    /// The exact sum of numbers; missing where one of them is.
    Sum,
    /// Their texts, one behind the other, an empty one for a missing field; missing where all are.
    Concat {
        /// What stands between them.
        separator: Box<str>,
    },
    /// The first that is not missing.
    Coalesce,
    /// XXH3 with 128 bits over their texts with [`HASH_SEPARATOR`] between them, as 32 hexadecimal digits;
    /// missing where all are.
    Hash,
}

impl Compute {
    /// The name that the configuration has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Compute::Field => "path",
            Compute::Product => "product",
            Compute::Sum => "sum",
            Compute::Concat { .. } => "concat",
            Compute::Coalesce => "coalesce",
            Compute::Hash => "hash",
        }
    }

    /// # Errors
    /// `invalid_value` led by the field's path, without the column's name.
    pub(super) fn value<'a>(
        &self,
        inputs: &'a [Input],
        find: impl Fn(&'a Input) -> Result<Raw<'a>, Reject>,
        scratch: &mut Scratch,
    ) -> Result<Value<'a>, Reject> {
        match self {
            Compute::Field => match inputs {
                [input] => Ok(Value::Field(find(input)?)),
                _ => Ok(Value::Missing),
            },
            Compute::Product => fold(inputs, find, product),
            Compute::Sum => fold(inputs, find, sum),
            Compute::Concat { separator } => {
                joined(inputs, find, separator, scratch).map(Value::from)
            }
            Compute::Coalesce => {
                for input in inputs {
                    let found = find(input)?;
                    if !found.is_missing() {
                        return Ok(Value::Field(found));
                    }
                }
                Ok(Value::Missing)
            }
            Compute::Hash => {
                let joined = joined(
                    inputs,
                    find,
                    HASH_SEPARATOR.encode_utf8(&mut [0; 4]),
                    scratch,
                )?;
                if joined.is_missing() {
                    return Ok(Value::Missing);
                }
                let hash = scratch.rewrite(joined, |text, out| {
                    let hash = xxh3_128(text.as_bytes());
                    let _ = write!(out, "{:016x}{:016x}", (hash >> 64) as u64, hash as u64);
                    Ok(())
                });
                Ok(hash?.into())
            }
        }
    }
}

fn fold<'a>(
    inputs: &'a [Input],
    find: impl Fn(&'a Input) -> Result<Raw<'a>, Reject>,
    operate: fn(Decimal, Decimal) -> Option<Decimal>,
) -> Result<Value<'a>, Reject> {
    let mut result: Option<Decimal> = None;
    let mut is_missing = false;
    for input in inputs {
        let raw = find(input)?;
        if raw.is_missing() {
            is_missing = true;
            continue;
        }
        let number = decimal(raw).map_err(|reject| reject.about(&input.path))?;
        result = Some(match result {
            None => number,
            Some(result) => operate(result, number).ok_or_else(too_many_digits)?,
        });
    }
    Ok(match result {
        Some(result) if !is_missing => Value::Number(result),
        _ => Value::Missing,
    })
}

fn joined<'a>(
    inputs: &'a [Input],
    find: impl Fn(&'a Input) -> Result<Raw<'a>, Reject>,
    separator: &str,
    scratch: &mut Scratch,
) -> Result<Text<'a>, Reject> {
    let mut failed = None;
    let mut is_missing = true;
    let joined = scratch.write(|out| {
        for (place, input) in inputs.iter().enumerate() {
            if place > 0 {
                out.push_str(separator);
            }
            let added = find(input).and_then(|raw| {
                if raw.is_missing() {
                    return Ok(());
                }
                is_missing = false;
                out.push_str(&text::to_text(raw)?);
                Ok(())
            });
            if let Err(reject) = added {
                failed = Some(reject.about(&input.path));
                return;
            }
            if out.len() > TEXT_BYTES_MAX {
                failed = Some(TooLong.into());
                return;
            }
        }
    });
    match failed {
        Some(reject) => Err(reject),
        None if is_missing => Ok(Text::Missing),
        None => Ok(joined),
    }
}
