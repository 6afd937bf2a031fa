//! Steps on numbers: exact decimals of up to 76 digits.

use std::cmp::Ordering;
use std::fmt::Write as _;

use ethnum::I256;

use super::value::{Scratch, Value};
use crate::decode::Reject;
use crate::decode::decimal::{Decimal, power_of_ten};

/// A step on a number, or a text that is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NumberStep {
    /// To so many digits behind the point, half to even.
    Round(u8),
    /// Times this.
    Scale(Decimal),
    /// Without its sign.
    Abs,
    /// The name of the range that it lies in.
    Bucket(Buckets),
}

/// Ranges of numbers and their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buckets {
    bounds: Box<[Decimal]>,
    /// One more than there are bounds.
    names: Box<[Box<str>]>,
}

impl Buckets {
    /// `bounds`: each with the text that names it. None unless each is above the one before, and there is
    /// one.
    #[must_use]
    pub fn new(bounds: &[(Decimal, &str)]) -> Option<Buckets> {
        let (first, last) = (bounds.first()?.1, bounds.last()?.1);
        let ascend = |pair: &[(Decimal, &str)]| compare(pair[0].0, pair[1].0) == Ordering::Less;
        if !bounds.windows(2).all(ascend) {
            return None;
        }
        let between = bounds.windows(2);
        let between = between.map(|pair| format!("{}-{}", pair[0].1, pair[1].1));
        let names = std::iter::once(format!("<{first}")).chain(between);
        let names = names.chain(std::iter::once(format!(">={last}")));
        Some(Buckets {
            names: names.map(String::into_boxed_str).collect(),
            bounds: bounds.iter().map(|(bound, _)| *bound).collect(),
        })
    }

    /// A lower bound belongs to the range above it.
    fn name(&self, number: Decimal) -> &str {
        let below = self
            .bounds
            .partition_point(|bound| compare(*bound, number) != Ordering::Greater);
        &self.names[below]
    }
}

impl NumberStep {
    /// The name that the configuration has for it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            NumberStep::Round(_) => "round",
            NumberStep::Scale(_) => "scale",
            NumberStep::Abs => "abs",
            NumberStep::Bucket(_) => "bucket",
        }
    }

    pub(super) fn apply<'a>(
        &'a self,
        value: Value<'a>,
        scratch: &Scratch,
    ) -> Result<Value<'a>, Reject> {
        let number = value.to_number(scratch)?;
        Ok(match self {
            NumberStep::Round(places) => Value::Number(rounded(number, *places)),
            NumberStep::Scale(factor) => {
                Value::Number(product(number, *factor).ok_or_else(too_many_digits)?)
            }
            NumberStep::Abs if number.mantissa() >= I256::ZERO => Value::Number(number),
            NumberStep::Abs => {
                let opposite = Decimal::new(-number.mantissa(), number.scale().into());
                Value::Number(opposite.ok_or_else(too_many_digits)?)
            }
            NumberStep::Bucket(buckets) => Value::Text(buckets.name(number)),
        })
    }
}

#[cold]
pub(super) fn too_many_digits() -> Reject {
    Reject::invalid_value("a result of more than 76 digits")
}

pub(super) fn product(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = u16::from(a.scale()) + u16::from(b.scale());
    let mantissa = match (i64::try_from(a.mantissa()), i64::try_from(b.mantissa())) {
        (Ok(a), Ok(b)) => I256::new(i128::from(a) * i128::from(b)),
        _ => a.mantissa().checked_mul(b.mantissa())?,
    };
    Decimal::new(mantissa, scale)
}

pub(super) fn sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale().max(b.scale());
    let aligned = |number: Decimal| {
        let factor = power_of_ten(scale - number.scale())?;
        number.mantissa().checked_mul(factor)
    };
    Decimal::new(aligned(a)?.checked_add(aligned(b)?)?, scale.into())
}

/// To this many digits behind the point, half to even.
fn rounded(number: Decimal, places: u8) -> Decimal {
    let Some(dropped) = number.scale().checked_sub(places).filter(|d| *d > 0) else {
        return number;
    };
    let divisor = power_of_ten(dropped).expect("a scale is at most 76");
    let (mantissa, half) = (number.mantissa(), divisor / 2);
    let (quotient, remainder) = (mantissa / divisor, (mantissa % divisor).abs());
    let is_up = match remainder.cmp(&half) {
        Ordering::Less => false,
        Ordering::Equal => quotient % 2 != I256::ZERO,
        Ordering::Greater => true,
    };
    let away = if mantissa < I256::ZERO { -1 } else { 1 };
    let rounded = if is_up { quotient + away } else { quotient };
    Decimal::new(rounded, places.into()).expect("a rounded number has no more digits than before")
}

/// By value.
pub(super) fn compare(a: Decimal, b: Decimal) -> Ordering {
    let scale = a.scale().max(b.scale());
    let aligned = |number: Decimal| {
        let factor = power_of_ten(scale - number.scale())?;
        number.mantissa().checked_mul(factor)
    };
    match (aligned(a), aligned(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        // What does not fit is larger than anything that does, on its side of zero.
        (None, _) => a.mantissa().cmp(&I256::ZERO),
        (_, None) => I256::ZERO.cmp(&b.mantissa()),
    }
}

/// The number as JSON has it, without exponent.
pub(super) fn write_decimal(number: Decimal, out: &mut String) {
    let (mantissa, scale) = (number.mantissa(), usize::from(number.scale()));
    if scale == 0 {
        let _ = write!(out, "{mantissa}");
        return;
    }
    if mantissa < I256::ZERO {
        out.push('-');
    }
    let start = out.len();
    let _ = match i128::try_from(mantissa.abs()) {
        Ok(narrow) => write!(out, "{narrow}"),
        Err(_) => write!(out, "{}", mantissa.abs()),
    };
    let digits = out.len() - start;
    if digits <= scale {
        let zeros = "0".repeat(scale + 1 - digits);
        out.insert_str(start, &zeros);
    }
    out.insert(out.len() - scale, '.');
}
