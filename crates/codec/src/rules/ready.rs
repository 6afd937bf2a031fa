//! Conditions made ready: paths are slots, operands are values, expressions are compiled.

use std::borrow::Cow;
use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::forms::{is_email, is_ip, is_url};
use super::number::Number;
use super::{Computed, Condition, JsonType, Lines, Operand, Test};
use crate::decode::json::{Kind, Raw};
use crate::decode::time::{Instant, NumberUnit, TextRules, TimeUnit, instant_by};
use crate::decode::{text, uuid};

/// Bytes that a compiled expression may take.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

/// The condition cannot be held against any record: why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidCondition(pub String);

/// How times are compared.
#[derive(Debug, Clone, Copy)]
pub struct Moments<'r> {
    /// What `now` is: the record's Kafka timestamp, in milliseconds since 1970; negative: none.
    pub now_ms: i64,
    /// What numbers are that stand for times.
    pub unit: Option<TimeUnit>,
    /// What texts are.
    pub texts: Option<&'r TextRules>,
}

/// A condition that is ready to be held against records.
#[derive(Debug)]
pub struct Check(Node);

#[derive(Debug)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Field { slot: usize, test: Ready },
}

#[derive(Debug)]
enum Ready {
    Present,
    Absent,
    Equal {
        bound: Bound,
        inverted: bool,
    },
    Ordered {
        bound: Bound,
        passes: fn(Ordering) -> bool,
    },
    Between(Bound, Bound),
    Among {
        bounds: Vec<Bound>,
        inverted: bool,
    },
    InFile(Lines),
    Matches(Regex),
    StartsWith(String),
    EndsWith(String),
    Length {
        min: u64,
        max: u64,
    },
    Type(JsonType),
    IsUuid,
    Form(fn(&str) -> bool),
    SameAs {
        slot: usize,
        tolerance: Number,
    },
    Computed {
        slots: Vec<usize>,
        how: fn(Number, Number) -> Option<Number>,
        tolerance: Number,
    },
}

/// What a field is compared with.
#[derive(Debug)]
enum Bound {
    Number(Number),
    /// With the number that it is the text of.
    Text(String, Option<Number>),
    /// With its text.
    Time(Instant, String),
    /// So many milliseconds after the record's own timestamp.
    FromNow(i64),
}

impl Check {
    /// `texts`: what times without zone are, among fields and operands; `slot_of`: where a reader leaves the
    /// value at a path.
    ///
    /// # Errors
    /// An operand or an expression that means nothing, or a path that `slot_of` refuses.
    pub fn new(
        condition: &Condition,
        texts: Option<&TextRules>,
        slot_of: &mut dyn FnMut(&str) -> Result<usize, String>,
    ) -> Result<Check, InvalidCondition> {
        let texts = texts.map(TextRules::without_format);
        Node::new(condition, texts.as_ref(), slot_of)
            .map(Check)
            .map_err(InvalidCondition)
    }

    /// Whether a record passes.
    pub fn passes<'v>(&self, get: &dyn Fn(usize) -> Raw<'v>, moments: Moments<'_>) -> bool {
        self.0.holds(get, moments) == Some(true)
    }
}

impl Node {
    fn new(
        condition: &Condition,
        texts: Option<&TextRules>,
        slot_of: &mut dyn FnMut(&str) -> Result<usize, String>,
    ) -> Result<Node, String> {
        let mut each = |all: &[Condition]| -> Result<Vec<Node>, String> {
            let each = all.iter().map(|one| Node::new(one, texts, slot_of));
            each.collect()
        };
        Ok(match condition {
            Condition::All(all) => Node::All(each(all)?),
            Condition::Any(all) => Node::Any(each(all)?),
            Condition::Not(one) => Node::Not(Box::new(Node::new(one, texts, slot_of)?)),
            Condition::Field { path, test } => Node::Field {
                slot: slot_of(path)?,
                test: Ready::new(test, texts, slot_of)?,
            },
        })
    }

    /// `None`: it cannot be told, and neither can its opposite.
    fn holds<'v>(&self, get: &dyn Fn(usize) -> Raw<'v>, moments: Moments<'_>) -> Option<bool> {
        match self {
            Node::All(all) => among(all, false, get, moments),
            Node::Any(all) => among(all, true, get, moments),
            Node::Not(one) => one.holds(get, moments).map(|holds| !holds),
            Node::Field { slot, test } => test.holds(get(*slot), get, moments),
        }
    }
}

/// One that is `decisive` decides; otherwise all must be told.
fn among<'v>(
    nodes: &[Node],
    decisive: bool,
    get: &dyn Fn(usize) -> Raw<'v>,
    moments: Moments<'_>,
) -> Option<bool> {
    let mut all_told = true;
    for node in nodes {
        match node.holds(get, moments) {
            Some(holds) if holds == decisive => return Some(decisive),
            Some(_) => {}
            None => all_told = false,
        }
    }
    all_told.then_some(!decisive)
}

impl Ready {
    fn new(
        test: &Test,
        texts: Option<&TextRules>,
        slot_of: &mut dyn FnMut(&str) -> Result<usize, String>,
    ) -> Result<Ready, String> {
        let ordered = |operand: &Operand, passes: fn(Ordering) -> bool| {
            Bound::ordered(operand, texts).map(|bound| Ready::Ordered { bound, passes })
        };
        let among = |operands: &[Operand], inverted| {
            let bounds = operands.iter().map(|operand| Bound::equal(operand, texts));
            let bounds = bounds.collect::<Result<Vec<_>, _>>();
            bounds.map(|bounds| Ready::Among { bounds, inverted })
        };
        let mut computed = |of: &Computed, how| {
            let slots = of.paths.iter().map(|path| slot_of(path));
            let slots = slots.collect::<Result<Vec<usize>, String>>()?;
            let tolerance = exact(&of.tolerance)?;
            Ok::<_, String>(Ready::Computed {
                slots,
                how,
                tolerance,
            })
        };
        Ok(match test {
            Test::Present => Ready::Present,
            Test::Absent => Ready::Absent,
            Test::Equal(operand) => Ready::Equal {
                bound: Bound::equal(operand, texts)?,
                inverted: false,
            },
            Test::NotEqual(operand) => Ready::Equal {
                bound: Bound::equal(operand, texts)?,
                inverted: true,
            },
            Test::Above(operand) => ordered(operand, Ordering::is_gt)?,
            Test::AtLeast(operand) => ordered(operand, Ordering::is_ge)?,
            Test::Below(operand) => ordered(operand, Ordering::is_lt)?,
            Test::AtMost(operand) => ordered(operand, Ordering::is_le)?,
            Test::Between(from, to) => {
                let (from, to) = (Bound::ordered(from, texts)?, Bound::ordered(to, texts)?);
                from.may_lie_before(&to)?;
                Ready::Between(from, to)
            }
            Test::In(operands) => among(operands, false)?,
            Test::NotIn(operands) => among(operands, true)?,
            Test::InFile(lines) => Ready::InFile(lines.clone()),
            Test::Matches(expression) => Ready::Matches(compiled(expression)?),
            Test::StartsWith(text) => Ready::StartsWith(text.clone()),
            Test::EndsWith(text) => Ready::EndsWith(text.clone()),
            Test::LengthMin(min) => Ready::Length {
                min: *min,
                max: u64::MAX,
            },
            Test::LengthMax(max) => Ready::Length { min: 0, max: *max },
            Test::Type(json_type) => Ready::Type(*json_type),
            Test::IsUuid => Ready::IsUuid,
            Test::IsEmail => Ready::Form(is_email),
            Test::IsIp => Ready::Form(is_ip),
            Test::IsUrl => Ready::Form(is_url),
            Test::EqualsProduct(of) => computed(of, Number::times)?,
            Test::EqualsSum(of) => computed(of, Number::plus)?,
            Test::EqualsField { path, tolerance } => Ready::SameAs {
                slot: slot_of(path)?,
                tolerance: exact(tolerance)?,
            },
        })
    }

    fn holds<'v>(
        &self,
        raw: Raw<'v>,
        get: &dyn Fn(usize) -> Raw<'v>,
        moments: Moments<'_>,
    ) -> Option<bool> {
        if raw.is_missing() {
            return matches!(self, Ready::Absent).then_some(true);
        }
        Some(match self {
            Ready::Present => true,
            Ready::Absent => false,
            Ready::Equal { bound, inverted } => bound.is(raw, moments)? != *inverted,
            Ready::Ordered { bound, passes } => passes(bound.order(raw, moments)?),
            Ready::Between(from, to) => {
                from.order(raw, moments)?.is_ge() && to.order(raw, moments)?.is_le()
            }
            Ready::Among { bounds, inverted } => {
                let mut is_told = false;
                let is_met = bounds.iter().any(|bound| {
                    let is = bound.is(raw, moments);
                    is_told |= is.is_some();
                    is == Some(true)
                });
                is_told.then_some(is_met != *inverted)?
            }
            Ready::InFile(lines) => lines.lines.contains(&*text_of(raw)?),
            Ready::Matches(expression) => expression.is_match(&text_of(raw)?),
            Ready::StartsWith(start) => text_of(raw)?.starts_with(start),
            Ready::EndsWith(end) => text_of(raw)?.ends_with(end),
            Ready::Length { min, max } => has_length(&text_of(raw)?, *min, *max),
            Ready::Type(json_type) => json_type.is(raw),
            Ready::IsUuid => {
                text_of(raw)?;
                uuid::uuid(raw).is_ok()
            }
            Ready::Form(is) => is(&text_of(raw)?),
            Ready::SameAs { slot, tolerance } => {
                let other = get(*slot);
                // Texts that look like numbers are texts: versions, numbers of articles.
                let by_number = [raw.kind(), other.kind()].contains(&Kind::Number)
                    || tolerance.compare(Number::ZERO).is_gt();
                match (Number::read(raw), Number::read(other)) {
                    (Some(own), Some(other)) if by_number => {
                        own.distance(other)?.compare(*tolerance).is_le()
                    }
                    _ => text_of(raw)? == text_of(other)?,
                }
            }
            Ready::Computed {
                slots,
                how,
                tolerance,
            } => {
                let mut result: Option<Number> = None;
                for slot in slots {
                    let next = Number::read(get(*slot))?;
                    result = Some(match result {
                        Some(before) => how(before, next)?,
                        None => next,
                    });
                }
                let distance = Number::read(raw)?.distance(result?)?;
                distance.compare(*tolerance).is_le()
            }
        })
    }
}

impl JsonType {
    fn is(self, raw: Raw<'_>) -> bool {
        match (self, raw.kind()) {
            (JsonType::String, Kind::String)
            | (JsonType::Number, Kind::Number)
            | (JsonType::Boolean, Kind::True | Kind::False)
            | (JsonType::Object, Kind::Object)
            | (JsonType::Array, Kind::Array) => true,
            (JsonType::Integer, Kind::Number) => match Number::read(raw) {
                Some(number) => number.is_whole(),
                // More digits than are counted: whole where none can be a fraction.
                None => !raw.as_received().contains(['.', 'e', 'E']),
            },
            _ => false,
        }
    }
}

impl Bound {
    fn equal(operand: &Operand, texts: Option<&TextRules>) -> Result<Bound, String> {
        match operand {
            Operand::Number(text) => exact(text).map(Bound::Number),
            Operand::Text(text) => {
                if text.strip_prefix("now").and_then(from_now).is_some() {
                    return Err(format!(
                        "{text:?} is a moment, which no field is equal to: compare with gt, gte, lt, lte or \
                         between"
                    ));
                }
                let unit = NumberUnit::of_event_time(None);
                Ok(match instant_by(Raw::string(text), unit, texts) {
                    Ok(time) => Bound::Time(time, text.clone()),
                    Err(_) => Bound::Text(text.clone(), Number::parse(text)),
                })
            }
        }
    }

    /// # Errors
    /// Nothing lies between the two.
    fn may_lie_before(&self, to: &Bound) -> Result<(), String> {
        let order = match (self, to) {
            (Bound::Number(from), Bound::Number(to)) => from.compare(*to),
            (Bound::Time(from, _), Bound::Time(to, _)) => from.cmp(to),
            (Bound::FromNow(from), Bound::FromNow(to)) => from.cmp(to),
            (Bound::Text(from, from_number), Bound::Text(to, to_number)) => {
                let by_number = from_number.zip(*to_number);
                let by_number = by_number.map(|(from, to)| from.compare(to));
                let by_bytes = from.as_bytes().cmp(to.as_bytes());
                // Fields that are numbers are compared with the numbers, texts with the texts.
                by_number.map_or(by_bytes, |by_number| by_number.min(by_bytes))
            }
            (Bound::Time(..), Bound::FromNow(_)) | (Bound::FromNow(_), Bound::Time(..)) => {
                return Ok(());
            }
            (Bound::Number(from), Bound::Text(_, Some(to)))
            | (Bound::Text(_, Some(from)), Bound::Number(to)) => from.compare(*to),
            _ => return Err("between compares with two numbers, two times or two texts".to_owned()),
        };
        match order.is_gt() {
            true => Err("nothing lies between the two: the smaller one goes first".to_owned()),
            false => Ok(()),
        }
    }

    fn ordered(operand: &Operand, texts: Option<&TextRules>) -> Result<Bound, String> {
        match operand {
            Operand::Text(text) => match text.strip_prefix("now") {
                Some(offset) => from_now(offset).map(Bound::FromNow).ok_or_else(|| {
                    format!("{text:?} must be now, or now with a duration: \"now-7d\", \"now+1h\"")
                }),
                None => Bound::equal(operand, texts),
            },
            Operand::Number(_) => Bound::equal(operand, texts),
        }
    }

    fn is(&self, raw: Raw<'_>, moments: Moments<'_>) -> Option<bool> {
        match self {
            Bound::Text(wanted, None) => Some(text_of(raw)? == *wanted),
            Bound::Time(_, wanted) => match self.order(raw, moments) {
                Some(order) => Some(order.is_eq()),
                None => Some(text_of(raw)? == *wanted),
            },
            _ => Some(self.order(raw, moments)?.is_eq()),
        }
    }

    /// How a field stands to this; `None` where it cannot be compared.
    fn order(&self, raw: Raw<'_>, moments: Moments<'_>) -> Option<Ordering> {
        let time = || {
            let unit = NumberUnit::of_event_time(moments.unit);
            instant_by(raw, unit, moments.texts).ok()
        };
        match self {
            Bound::Number(number) => Some(Number::read(raw)?.compare(*number)),
            Bound::Text(_, Some(number)) if raw.kind() == Kind::Number => {
                Some(Number::read(raw)?.compare(*number))
            }
            Bound::Text(text, _) => Some(text_of(raw)?.as_bytes().cmp(text.as_bytes())),
            Bound::Time(bound, _) => Some(time()?.cmp(bound)),
            Bound::FromNow(_) if moments.now_ms < 0 => None,
            Bound::FromNow(offset_ms) => {
                let bound = Instant::from_epoch_ms(moments.now_ms.saturating_add(*offset_ms));
                Some(time()?.cmp(&bound))
            }
        }
    }
}

fn exact(text: &str) -> Result<Number, String> {
    Number::parse(text).ok_or_else(|| format!("{text:?} is no number"))
}

/// Whether it has so many characters. Its bytes tell it of most texts.
fn has_length(text: &str, min: u64, max: u64) -> bool {
    let (fewest, most) = (text.len().div_ceil(4) as u64, text.len() as u64);
    if fewest >= min && most <= max {
        return true;
    }
    (min..=max).contains(&(text.chars().count() as u64))
}

/// The text of a scalar.
fn text_of(raw: Raw<'_>) -> Option<Cow<'_, str>> {
    text::to_text(raw).ok()
}

fn compiled(expression: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(expression)
        .size_limit(EXPRESSION_BYTES_MAX)
        .build();
    built.map_err(|error| {
        let why = error.to_string().replace('\n', " ");
        format!("{expression:?} is no regular expression: {why}")
    })
}

/// `-7d`, `+1h30m`, or nothing: milliseconds.
fn from_now(offset: &str) -> Option<i64> {
    let (sign, mut rest) = match offset.as_bytes() {
        [] => return Some(0),
        [b'-', ..] => (-1, &offset[1..]),
        [b'+', ..] => (1, &offset[1..]),
        _ => return None,
    };
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let count: i64 = rest[..digits].parse().ok()?;
        let unit_len = rest[digits..]
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len() - digits);
        let unit_ms = match &rest[digits..digits + unit_len] {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" | "day" | "days" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return None,
        };
        total = total.checked_add(count.checked_mul(unit_ms)?)?;
        rest = &rest[digits + unit_len..];
    }
    offset.len().gt(&1).then_some(sign * total)
}

#[cfg(test)]
mod tests;
