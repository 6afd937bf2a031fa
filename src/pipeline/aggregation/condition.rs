//! Whether a record takes part.

use crate::config::{Condition, Operand, Test};
use crate::decode::decimal::{Decimal, decimal};
use crate::decode::json::{Fields, Kind, Raw};
use crate::decode::text;

/// One condition, ready to be held against records.
#[derive(Debug)]
pub(super) struct Check {
    slot: usize,
    test: Ready,
}

#[derive(Debug)]
enum Ready {
    Among {
        values: Vec<Value>,
        /// Passes where none of the values is met.
        inverted: bool,
    },
    Compared {
        bound: Decimal,
        passes: fn(std::cmp::Ordering) -> bool,
    },
}

#[derive(Debug)]
enum Value {
    Number(Decimal),
    Text(String),
}

impl Check {
    pub(super) fn all<E: From<String>>(
        conditions: &[Condition],
        mut slot_of: impl FnMut(&str) -> Result<usize, E>,
    ) -> Result<Vec<Check>, E> {
        let mut checks = vec![];
        for condition in conditions {
            checks.push(Check {
                slot: slot_of(&condition.path)?,
                test: Ready::new(&condition.test).map_err(E::from)?,
            });
        }
        Ok(checks)
    }

    pub(super) fn passes(&self, fields: &Fields<'_, '_>) -> bool {
        let raw = fields.get(self.slot);
        match &self.test {
            Ready::Among { values, inverted } => {
                let is_met = !raw.is_missing() && values.iter().any(|value| value.is(raw));
                is_met != *inverted
            }
            Ready::Compared { bound, passes } => {
                number(raw).is_some_and(|number| passes(compare(&number, bound)))
            }
        }
    }
}

impl Ready {
    fn new(test: &Test) -> Result<Ready, String> {
        let among = |operands: &[Operand], inverted| -> Result<Ready, String> {
            let values = operands.iter().map(Value::new).collect::<Result<_, _>>()?;
            Ok(Ready::Among { values, inverted })
        };
        let compared = |operand: &Operand, passes| -> Result<Ready, String> {
            match Value::new(operand)? {
                Value::Number(bound) => Ok(Ready::Compared { bound, passes }),
                Value::Text(text) => Err(format!("{text:?} is no number to compare with")),
            }
        };
        match test {
            Test::Equal(operand) => among(std::slice::from_ref(operand), false),
            Test::NotEqual(operand) => among(std::slice::from_ref(operand), true),
            Test::In(operands) => among(operands, false),
            Test::Above(operand) => compared(operand, std::cmp::Ordering::is_gt),
            Test::AtLeast(operand) => compared(operand, std::cmp::Ordering::is_ge),
            Test::Below(operand) => compared(operand, std::cmp::Ordering::is_lt),
            Test::AtMost(operand) => compared(operand, std::cmp::Ordering::is_le),
        }
    }
}

impl Value {
    fn new(operand: &Operand) -> Result<Value, String> {
        match operand {
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Number(text) => {
                let read = Raw::parse(text).and_then(decimal);
                let why = |error| format!("{text}: {error}");
                read.map(Value::Number).map_err(why)
            }
        }
    }

    fn is(&self, raw: Raw<'_>) -> bool {
        match self {
            Value::Number(wanted) => {
                number(raw).is_some_and(|number| compare(&number, wanted).is_eq())
            }
            Value::Text(wanted) => {
                let is_scalar = !matches!(raw.kind(), Kind::Object | Kind::Array);
                is_scalar && text::to_text(raw).is_ok_and(|text| text == *wanted)
            }
        }
    }
}

fn number(raw: Raw<'_>) -> Option<Decimal> {
    if raw.is_missing() {
        return None;
    }
    decimal(raw).ok()
}

fn compare(one: &Decimal, other: &Decimal) -> std::cmp::Ordering {
    let sign = |decimal: &Decimal| decimal.mantissa().signum();
    let by_sign = sign(one).cmp(&sign(other));
    if by_sign.is_ne() {
        return by_sign;
    }
    // Each has at most 76 digits on either side of the point: compared part by part, none overflows.
    let parts = |decimal: &Decimal| {
        let unit = crate::decode::decimal::power_of_ten(decimal.scale()).expect("at most 76");
        let (whole, rest) = (decimal.mantissa() / unit, decimal.mantissa() % unit);
        let left = crate::decode::decimal::DIGITS_MAX - decimal.scale();
        let shift = crate::decode::decimal::power_of_ten(left).expect("at most 76");
        (whole, rest * shift)
    };
    parts(one).cmp(&parts(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Path;
    use crate::decode::json::{Plan, Scanner};

    fn passes(test: Test, json: &str) -> bool {
        let condition = Condition {
            path: "$.a".to_owned(),
            test,
        };
        let checks = Check::all(&[condition], |_| Ok::<_, String>(0)).unwrap();
        let mut scanner = Scanner::new(Plan::new(&[Path::field("a")]));
        let fields = scanner.scan(Some(json.as_bytes())).unwrap();
        checks[0].passes(&fields)
    }

    fn number(text: &str) -> Operand {
        Operand::Number(text.to_owned())
    }

    fn text(text: &str) -> Operand {
        Operand::Text(text.to_owned())
    }

    #[test]
    fn texts_are_compared_as_texts_and_numbers_by_their_value() {
        assert!(passes(Test::Equal(text("x")), r#"{"a":"x"}"#));
        assert!(!passes(Test::Equal(text("x")), r#"{"a":"X"}"#));
        assert!(passes(Test::Equal(text("true")), r#"{"a":true}"#));
        assert!(passes(Test::Equal(number("1")), r#"{"a":1.00}"#));
        assert!(passes(Test::Equal(number("1")), r#"{"a":"1"}"#));
        assert!(!passes(Test::Equal(text("1")), r#"{"a":1.0}"#));
        assert!(passes(
            Test::In(vec![text("x"), number("2")]),
            r#"{"a":2e0}"#
        ));
        assert!(!passes(
            Test::In(vec![text("x"), number("2")]),
            r#"{"a":3}"#
        ));
    }

    #[test]
    fn an_absent_field_passes_not_equal_alone() {
        for json in ["{}", r#"{"a":null}"#] {
            assert!(passes(Test::NotEqual(text("x")), json));
            assert!(!passes(Test::Equal(text("x")), json));
            assert!(!passes(Test::AtMost(number("0")), json));
        }
        assert!(!passes(Test::NotEqual(text("x")), r#"{"a":"x"}"#));
        assert!(!passes(Test::Above(number("0")), r#"{"a":"much"}"#));
        assert!(!passes(Test::Equal(text("[]")), r#"{"a":[]}"#));
    }

    #[test]
    fn bounds_are_exact() {
        let above = |json: &str| passes(Test::Above(number("0.1")), json);
        assert!(above(r#"{"a":0.10000000000000000000000000000001}"#));
        assert!(!above(r#"{"a":0.1}"#));
        assert!(!above(r#"{"a":-7e70}"#));
        assert!(above(r#"{"a":7e70}"#));
        assert!(passes(Test::AtLeast(number("-1.5")), r#"{"a":-1.5}"#));
        assert!(passes(Test::Below(number("-1.5")), r#"{"a":-1.51}"#));
        assert!(!passes(Test::AtMost(number("2")), r#"{"a":2.0001}"#));
    }
}
