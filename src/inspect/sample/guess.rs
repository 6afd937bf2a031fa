//! What type a field has, by the values that were seen of it: pure.

use std::collections::BTreeSet;

use crate::decode::json::{Kind, Raw};
use crate::decode::time::{NumberUnit, instant};
use crate::table::ColumnType;

/// Different texts that are remembered of a field.
const TEXTS_MAX: usize = 200;
/// From so many values on, few different texts are a dictionary.
const DICTIONARY_FROM: usize = 100;
/// Digits before the point that later values may have more.
const ROOM_DIGITS: usize = 3;
/// Of decimal numbers.
const PRECISIONS: [usize; 3] = [18, 38, 76];
/// Integers of these sizes are seconds or milliseconds of our time, where the name says that it is one.
const SECONDS: std::ops::RangeInclusive<i128> = 1_000_000_000..=9_999_999_999;
/// Seconds that DateTime holds; DateTime64 holds all of [`SECONDS`].
const DATE_TIME_MAX: i128 = u32::MAX as i128;
const MILLISECONDS: std::ops::RangeInclusive<i128> = 100_000_000_000..=9_999_999_999_999;

/// What was seen of one member.
#[derive(Debug, Default)]
pub(super) struct Field {
    pub(super) name: String,
    /// Records in which it has a value.
    pub(super) values: usize,
    kinds: BTreeSet<&'static str>,
    smallest: Option<i128>,
    largest: Option<i128>,
    /// Digits behind the point, at most.
    digits: usize,
    /// Digits before the point, at most.
    whole_digits: usize,
    has_exponent: bool,
    texts: BTreeSet<String>,
    has_more_texts: bool,
    /// Which of [`FORMS`] every text has had.
    forms: Option<u8>,
    /// A time is beyond those that DateTime64(9) holds.
    is_beyond_nanos: bool,
    /// Of elements.
    elements: Option<Box<Field>>,
}

/// A type, and why it was chosen where the values leave a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) type_name: String,
    pub(super) why: Option<String>,
    /// The column can be an event time.
    pub(super) is_time: bool,
    /// `unit` of the column.
    pub(super) unit: Option<&'static str>,
    /// The column takes the JSON text.
    pub(super) is_raw: bool,
}

/// Types that have texts of a form of their own.
const FORMS: [(&str, ColumnType); 5] = [
    ("UUID", ColumnType::Uuid),
    ("IPv4", ColumnType::Ipv4),
    ("IPv6", ColumnType::Ipv6),
    ("Date32", ColumnType::Date32),
    ("DateTime64", ColumnType::String),
];
const TIME_FORM: usize = 4;

impl Field {
    pub(super) fn new(name: &str) -> Field {
        Field {
            name: name.to_owned(),
            ..Field::default()
        }
    }

    pub(super) fn see(&mut self, value: Raw<'_>) {
        if value.is_missing() {
            return;
        }
        self.values += 1;
        match value.kind() {
            Kind::True | Kind::False => drop(self.kinds.insert("true or false")),
            Kind::Number => self.see_number(value.as_received()),
            Kind::String => self.see_text(value),
            Kind::Object => drop(self.kinds.insert("object")),
            Kind::Array => {
                self.kinds.insert("array");
                let elements = self.elements.get_or_insert_default();
                value.elements().for_each(|element| {
                    let before = elements.values;
                    elements.see(element);
                    if elements.values == before {
                        elements.kinds.insert("null");
                    }
                });
            }
            Kind::Null | Kind::Absent => {}
        }
    }

    fn see_number(&mut self, token: &str) {
        let (whole, behind) = token.split_once('.').unwrap_or((token, ""));
        let whole = whole.trim_start_matches('-').len();
        self.whole_digits = self.whole_digits.max(whole);
        if let Ok(integer) = token.parse::<i128>() {
            self.kinds.insert("integer");
            self.smallest = Some(self.smallest.map_or(integer, |least| least.min(integer)));
            self.largest = Some(self.largest.map_or(integer, |most| most.max(integer)));
            return;
        }
        self.kinds.insert("number");
        self.has_exponent |= token.contains(['e', 'E']);
        self.digits = self.digits.max(behind.len());
    }

    fn see_text(&mut self, value: Raw<'_>) {
        self.kinds.insert("text");
        let mut forms = 0;
        let time = instant(value, NumberUnit::Milliseconds).ok();
        // A time that no DateTime64 holds, such as the zero of some languages, would be a dead letter.
        let time = time.filter(|time| time.ticks(3).is_ok());
        for (bit, (_, column)) in FORMS.iter().enumerate() {
            let has_form = match bit {
                TIME_FORM => time.is_some(),
                _ => column.encode(value, &mut vec![]).is_ok(),
            };
            forms |= u8::from(has_form) << bit;
        }
        self.forms = Some(self.forms.map_or(forms, |known| known & forms));
        if let Some(time) = time {
            self.is_beyond_nanos |= time.ticks(9).is_err();
            let fraction = value.as_received().split_once('.');
            let digits = fraction.map_or(0, |(_, rest)| {
                rest.bytes().take_while(u8::is_ascii_digit).count()
            });
            self.digits = self.digits.max(digits);
        }
        if self.texts.len() < TEXTS_MAX {
            self.texts.insert(value.as_received().to_owned());
        } else {
            self.has_more_texts = true;
        }
    }

    /// The type of the column, of which `records` were seen.
    pub(super) fn guess(&self, records: usize) -> Guess {
        let guess = self.bare();
        let missing = records.saturating_sub(self.values);
        let holds_null = !["Array(", "JSON", "Variant("]
            .iter()
            .any(|start| guess.type_name.starts_with(start));
        if missing == 0 || !holds_null {
            return guess;
        }
        let missing = format!("absent or null in {missing} of {records} records");
        let why = match guess.why {
            Some(why) => format!("{why}; {missing}"),
            None => missing,
        };
        let type_name = match guess.type_name.strip_prefix("LowCardinality(") {
            Some(rest) => format!("LowCardinality(Nullable({rest})"),
            None => format!("Nullable({})", guess.type_name),
        };
        Guess {
            type_name,
            why: Some(why),
            is_time: false,
            ..guess
        }
    }

    fn bare(&self) -> Guess {
        let kinds: Vec<&str> = self.kinds.iter().copied().collect();
        match kinds[..] {
            [] => Guess::of("String", "no record has a value"),
            ["true or false"] => Guess::sure("Bool"),
            ["integer"] => self.integer(),
            ["integer", "number"] | ["number"] => self.number(),
            ["text"] => self.text(),
            ["object"] => Guess::sure("JSON"),
            ["array"] => self.array(),
            _ => Guess {
                is_raw: true,
                ..Guess::of(
                    "String",
                    &format!("seen as {}: kept as JSON text", kinds.join(" and ")),
                )
            },
        }
    }

    fn integer(&self) -> Guess {
        let (least, most) = (self.smallest.unwrap_or(0), self.largest.unwrap_or(0));
        let seen = format!("seen {least} to {most}");
        if is_name_of_time(&self.name) && SECONDS.contains(&least) && SECONDS.contains(&most) {
            return Guess {
                is_time: true,
                unit: Some("s"),
                ..Guess::of(
                    match most > DATE_TIME_MAX {
                        true => "DateTime64(0, 'UTC')",
                        false => "DateTime('UTC')",
                    },
                    &format!("{seen}: seconds, by their size"),
                )
            };
        }
        let is_ms = MILLISECONDS.contains(&least) && MILLISECONDS.contains(&most);
        if is_name_of_time(&self.name) && is_ms {
            return Guess {
                is_time: true,
                unit: Some("ms"),
                ..Guess::of(
                    "DateTime64(3, 'UTC')",
                    &format!("{seen}: milliseconds, by their size"),
                )
            };
        }
        let type_name = match () {
            () if least < i128::from(i64::MIN) || most > i128::from(u64::MAX) => "Int256",
            () if least < 0 && most > i128::from(i64::MAX) => "Int128",
            () if most > i128::from(i64::MAX) => "UInt64",
            () => "Int64",
        };
        Guess::of(type_name, &seen)
    }

    fn number(&self) -> Guess {
        if self.has_exponent || self.digits > 9 {
            return Guess::sure("Float64");
        }
        let scale = self.digits.max(1);
        let needed = self.whole_digits + ROOM_DIGITS + scale;
        let precision = PRECISIONS.into_iter().find(|most| needed <= *most);
        let Some(precision) = precision else {
            let why = format!("{} digits before the point", self.whole_digits);
            return Guess::of("Float64", &why);
        };
        let why = format!(
            "at most {} digits before and {} behind the point; Float64 rounds",
            self.whole_digits, self.digits
        );
        Guess::of(&format!("Decimal({precision}, {scale})"), &why)
    }

    fn text(&self) -> Guess {
        let forms = self.forms.unwrap_or(0);
        let form = (0..FORMS.len()).find(|bit| forms >> bit & 1 == 1);
        if let Some(bit) = form {
            return match bit {
                TIME_FORM => self.time_of_texts(),
                bit => Guess::sure(FORMS[bit].0),
            };
        }
        let different = self.texts.len();
        if self.values >= DICTIONARY_FROM && !self.has_more_texts && different * 10 <= self.values {
            let why = format!("{different} different texts in {} records", self.values);
            return Guess::of("LowCardinality(String)", &why);
        }
        Guess::sure("String")
    }

    fn time_of_texts(&self) -> Guess {
        let (precision, why) = match self.digits {
            0..=3 => (3, None),
            4..=6 => (6, None),
            _ if self.is_beyond_nanos => {
                let why =
                    "some times are beyond those of nanoseconds: more digits than six are dropped";
                (6, Some(why.to_owned()))
            }
            _ => (9, None),
        };
        Guess {
            is_time: true,
            why,
            ..Guess::sure(&format!("DateTime64({precision}, 'UTC')"))
        }
    }

    fn array(&self) -> Guess {
        let Some(elements) = &self.elements else {
            return Guess::of("Array(String)", "no array has elements");
        };
        let has_null = elements.kinds.contains("null");
        let mut of_values = Field::new("");
        of_values.clone_values(elements);
        let inner = of_values.bare();
        if inner.is_raw {
            return Guess {
                is_raw: true,
                ..Guess::of("String", "elements of several kinds: kept as JSON text")
            };
        }
        let inner_name = inner.type_name;
        let is_plain = !inner_name.starts_with("Array(") && inner_name != "JSON";
        let type_name = match has_null && is_plain {
            true if inner_name.starts_with("LowCardinality(") => {
                "Array(Nullable(String))".to_owned()
            }
            true => format!("Array(Nullable({inner_name}))"),
            false => format!("Array({inner_name})"),
        };
        Guess {
            type_name,
            why: inner.why,
            is_time: false,
            unit: None,
            is_raw: false,
        }
    }

    /// The same without what stands for null.
    fn clone_values(&mut self, other: &Field) {
        self.values = other.values;
        self.kinds = other
            .kinds
            .iter()
            .copied()
            .filter(|k| *k != "null")
            .collect();
        (self.smallest, self.largest) = (other.smallest, other.largest);
        (self.digits, self.has_exponent) = (other.digits, other.has_exponent);
        self.whole_digits = other.whole_digits;
        self.texts.clone_from(&other.texts);
        self.has_more_texts = other.has_more_texts;
        self.forms = other.forms;
        self.is_beyond_nanos = other.is_beyond_nanos;
        self.elements = other.elements.as_ref().map(|elements| {
            let mut inner = Field::new("");
            inner.clone_values(elements);
            if elements.kinds.contains("null") {
                inner.kinds.insert("null");
            }
            Box::new(inner)
        });
    }
}

impl Guess {
    fn sure(type_name: &str) -> Guess {
        Guess {
            type_name: type_name.to_owned(),
            why: None,
            is_time: false,
            unit: None,
            is_raw: false,
        }
    }

    fn of(type_name: &str, why: &str) -> Guess {
        Guess {
            why: Some(why.to_owned()),
            ..Guess::sure(type_name)
        }
    }
}

fn is_name_of_time(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["time", "timestamp", "date", "ts", "at"]
        .iter()
        .any(|end| name == *end || name.ends_with(&format!("_{end}")))
        || ["Time", "Timestamp", "Date", "At"]
            .iter()
            .any(|end| name.ends_with(end))
        || name.ends_with("timestamp")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(name: &str, values: &[&str]) -> (String, String) {
        let mut field = Field::new(name);
        for value in values {
            field.see(Raw::parse(value).expect("JSON"));
        }
        let guess = field.guess(values.len());
        ColumnType::parse(&guess.type_name).expect("a type that is written");
        (guess.type_name, guess.why.unwrap_or_default())
    }

    #[test]
    fn a_type_is_the_narrowest_that_all_values_have() {
        for (name, values, expected) in [
            ("b", &["true", "false"][..], "Bool"),
            ("n", &["1", "-7"], "Int64"),
            ("n", &["18446744073709551615"], "UInt64"),
            ("n", &["18446744073709551616"], "Int256"),
            ("n", &["-1", "9223372036854775808"], "Int128"),
            ("n", &["1", "null"], "Nullable(Int64)"),
            ("p", &["1", "2.50"], "Decimal(18, 2)"),
            ("p", &["1e3", "2.5"], "Float64"),
            ("p", &["-1234567890123.25"], "Decimal(18, 2)"),
            ("p", &["12345678901234.25"], "Decimal(38, 2)"),
            ("p", &["12345678901234567890", "0.5"], "Decimal(38, 1)"),
            (
                "p",
                &["1234567890123456789012345678901234567890.5"],
                "Decimal(76, 1)",
            ),
            (
                "p",
                &[
                    "12345678901234567890123456789012345678901234567890123456789012345678901234567890.5",
                ],
                "Float64",
            ),
            ("l", &["[12345678901234567890.5]"], "Array(Decimal(38, 1))"),
            ("at", &["1763719200"], "DateTime('UTC')"),
            ("n", &["1763719200"], "Int64"),
            ("at", &["4294967295"], "DateTime('UTC')"),
            (
                "expires_at",
                &["1763719200", "9999999999"],
                "DateTime64(0, 'UTC')",
            ),
            ("t", &[r#""0001-01-01T00:00:00Z""#], "String"),
            (
                "t",
                &[r#""2025-11-21T10:00:00Z""#, r#""9999-12-31T23:59:59Z""#],
                "String",
            ),
            (
                "t",
                &[r#""2025-11-21T10:00:00.123456789Z""#],
                "DateTime64(9, 'UTC')",
            ),
            (
                "t",
                &[
                    r#""2025-11-21T10:00:00.1234567Z""#,
                    r#""2290-01-01T00:00:00Z""#,
                ],
                "DateTime64(6, 'UTC')",
            ),
            (
                "l",
                &[r#"["2290-01-01T00:00:00.1234567Z"]"#],
                "Array(DateTime64(6, 'UTC'))",
            ),
            ("created_at", &["1763719200000"], "DateTime64(3, 'UTC')"),
            ("t", &[r#""2025-11-21T10:00:00Z""#], "DateTime64(3, 'UTC')"),
            (
                "t",
                &[r#""2025-11-21T10:00:00.123456Z""#],
                "DateTime64(6, 'UTC')",
            ),
            ("d", &[r#""2025-11-21""#], "Date32"),
            ("u", &[r#""61f0c404-5cb3-11e7-907b-a6006ad3dba0""#], "UUID"),
            ("i", &[r#""1.2.3.4""#], "IPv4"),
            ("i", &[r#""1.2.3.4""#, r#""::1""#], "IPv6"),
            ("s", &[r#""a""#, r#""2025-11-21""#], "String"),
            ("o", &["{}", "null"], "JSON"),
            ("l", &["[1]", "[]"], "Array(Int64)"),
            ("l", &["[1,null]"], "Array(Nullable(Int64))"),
            ("l", &["[{}]"], "Array(JSON)"),
            ("l", &["[[1.5]]"], "Array(Array(Decimal(18, 1)))"),
            ("l", &["[1,\"a\"]"], "String"),
            ("x", &["1", "\"a\""], "String"),
            ("x", &["null"], "Nullable(String)"),
        ] {
            assert_eq!(guess(name, values).0, expected, "{values:?}");
        }
        let few = vec![r#""a""#; 100];
        assert_eq!(guess("s", &few).0, "LowCardinality(String)");
    }

    #[test]
    fn a_guess_says_what_it_was_made_of() {
        assert_eq!(
            guess("n", &["1", "9", "null"]).1,
            "seen 1 to 9; absent or null in 1 of 3 records"
        );
        assert_eq!(guess("b", &["true"]).1, "");
        assert_eq!(
            guess("x", &["1", "\"a\""]).1,
            "seen as integer and text: kept as JSON text"
        );
    }
}
