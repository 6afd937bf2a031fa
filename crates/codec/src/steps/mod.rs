//! What is done to fields before they are a column: steps on texts, numbers and times, values made of
//! several fields, masks.
//!
//! Everything is compiled once, at start: a [`MadeColumn`] has the places of its fields, a [`Compute`] that
//! makes one value of them, and [`Step`]s that follow. Values come in as [`Raw`], which is what every format
//! has of a field, and go out by the encoders of plain columns.
//!
//! Nothing here says in an error what a value was: it may be a private one.

mod compute;
mod made;
mod mask;
mod moment;
mod number;
mod private;
mod text;
mod value;
mod zone;

#[cfg(test)]
mod tests;

pub use self::compute::{Compute, HASH_SEPARATOR};
pub use self::made::{Input, MadeColumn, Making, OnError};
pub use self::mask::{Mask, MaskKey, REDACTED};
pub use self::moment::{BusinessHours, Part, TimeStep};
pub use self::number::{Buckets, NumberStep};
pub use self::private::PrivateFields;
pub use self::text::{Mapped, Pattern, Sought, TextStep};
pub use self::value::Scratch;
pub use self::zone::Zone;

use self::value::Value;
use crate::decode::Reject;
use crate::decode::time::TimeRules;

/// Longest text that a step makes: a replacement repeats itself.
const TEXT_BYTES_MAX: usize = 16 << 20;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// On the text of a value.
    Text(TextStep),
    /// On a number, or a text that is one.
    Number(NumberStep),
    /// On a time, as the columns of times read them.
    Time(TimeStep),
}

impl Step {
    /// The name that the configuration has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Step::Text(step) => step.name(),
            Step::Number(step) => step.name(),
            Step::Time(step) => step.name(),
        }
    }

    /// A missing value stays one.
    fn apply<'a>(
        &'a self,
        value: Value<'a>,
        times: TimeRules<'_>,
        scratch: &mut Scratch,
    ) -> Result<Value<'a>, Reject> {
        if value.is_missing() {
            return Ok(value);
        }
        let applied = match self {
            Step::Text(step) => value
                .to_text(scratch)
                .and_then(|text| Ok(step.apply(text, scratch)?.into())),
            Step::Number(step) => step.apply(value, scratch),
            Step::Time(step) => step.apply(value, times, scratch),
        };
        applied.map_err(|reject| failed(self.name(), &reject))
    }
}

/// A step that cannot be applied, whatever the reason of the conversion in it is.
#[cold]
fn failed(step: &str, reject: &Reject) -> Reject {
    Reject::invalid_value(format!("{step}: {}", reject.detail))
}
