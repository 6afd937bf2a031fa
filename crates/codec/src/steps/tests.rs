//! Properties of steps on numbers and times; what every step does is tested through whole columns.

use std::cmp::Ordering;

use ethnum::I256;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use proptest::prelude::*;

use super::number::{compare, product, sum, write_decimal};
use super::*;
use crate::decode::decimal::{Decimal, decimal};
use crate::decode::json::Raw;

fn number(text: &str) -> Decimal {
    decimal(Raw::bare(text)).unwrap()
}

fn shown(number: Decimal) -> String {
    let mut text = String::new();
    write_decimal(number, &mut text);
    text
}

fn apply(step: &Step, text: &str) -> Result<String, Reject> {
    let mut scratch = Scratch::default();
    let value = step.apply(
        Value::Field(Raw::bare(text)),
        TimeRules::default(),
        &mut scratch,
    )?;
    let value = value.to_text(&mut scratch)?;
    Ok(value.as_str(&scratch).to_owned())
}

#[test]
fn numbers_are_written_without_exponent() {
    for (text, expected) in [
        ("0", "0"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("0.05", "0.05"),
        ("-0.05", "-0.05"),
        ("-12.340", "-12.34"),
        ("1e-20", "0.00000000000000000001"),
        (
            "123456789012345678901234567890123456789012345.6",
            "123456789012345678901234567890123456789012345.6",
        ),
    ] {
        assert_eq!(shown(number(text)), expected);
    }
}

#[test]
fn what_has_more_than_76_digits_is_no_result() {
    let large = number(&"9".repeat(76));
    assert_eq!(sum(large, number("1")), None);
    assert_eq!(product(large, number("2")), None);
    assert_eq!(product(number("1e-40"), number("1e-37")), None);
    assert_eq!(compare(large, number("0.1")), Ordering::Greater);
    assert_eq!(compare(number("-1e75"), number("1e-75")), Ordering::Less);
    assert_eq!(compare(number("1e-75"), number("-1e75")), Ordering::Greater);
    let repeated = Step::Text(TextStep::Replace {
        from: Sought::new("a").expect("not empty"),
        to: "b".repeat(1000).into(),
    });
    let error = apply(&repeated, &"a".repeat(20_000)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid_value: replace: a text of more than 16777216 bytes"
    );
}

#[test]
fn buckets_ascend() {
    let buckets = |bounds: &[&str]| {
        let bounds: Vec<(Decimal, &str)> =
            bounds.iter().map(|text| (number(text), *text)).collect();
        Buckets::new(&bounds)
    };
    assert!(buckets(&["0"]).is_some());
    for bounds in [&[][..], &["1", "1.0"], &["2", "1"]] {
        assert_eq!(buckets(bounds), None);
    }
}

#[test]
fn hashes_are_those_of_xxh3() {
    // As ClickHouse has it: lower(hex(xxh3_128(concat('a', char(31), 'b')))).
    let mut scratch = Scratch::default();
    let inputs = [0, 1].map(|slot| Input {
        path: "$".into(),
        slot,
        steps: Box::default(),
        of_element: false,
    });
    let mut hash = |texts: [Raw<'static>; 2]| {
        let find = |input: &Input| Ok(texts[input.slot]);
        let hash = Compute::Hash.value(&inputs, find, &mut scratch).unwrap();
        hash.to_text(&mut Scratch::default())
            .unwrap()
            .as_str(&scratch)
            .to_owned()
    };
    let joined = hash([Raw::string("a"), Raw::string("b")]);
    assert_eq!(joined, "d565f29ad8964a7cd671f8867f47bbb9");
    assert_ne!(joined, hash([Raw::string("ab"), Raw::string("")]));
    assert_eq!(hash([Raw::ABSENT, Raw::NULL]), "");
}

#[test]
fn a_day_with_two_midnights_begins_at_the_first() {
    let zone = Zone::named("America/Havana").unwrap();
    let step = Step::Time(TimeStep::Truncate {
        span_seconds: 86_400,
        zone,
    });
    let begin = |at: &str| apply(&step, at).unwrap();
    assert_eq!(begin("2025-11-02T17:00:00Z"), begin("2025-11-02T04:30:00Z"));
    assert_ne!(begin("2025-11-02T17:00:00Z"), begin("2025-11-02T03:30:00Z"));
}

#[test]
fn private_fields_are_hidden_wherever_they_lie() {
    let private = PrivateFields::new(["$.email", "$.user.\"e.mail\"", "$.items[*].card"]).unwrap();
    for (json, expected) in [
        (r#"{"a":1}"#, r#"{"a":1}"#),
        (
            r#"{ "email" : "x" , "b":[ 1 ] }"#,
            r#"{"email":"***","b":[ 1 ]}"#,
        ),
        (r#"{"email":null}"#, r#"{"email":null}"#),
        (
            r#"{"email":{"x":[1]},"email":2}"#,
            r#"{"email":"***","email":"***"}"#,
        ),
        (r#"{"em\u0061il":"x"}"#, r#"{"email":"***"}"#),
        (
            r#"{"user":{"e.mail":1,"email":2}}"#,
            r#"{"user":{"e.mail":"***","email":2}}"#,
        ),
        (
            r#"{"user":[{"e.mail":1},7]}"#,
            r#"{"user":[{"e.mail":"***"},7]}"#,
        ),
        (
            r#"{"items":[{"card":1},{"card":[2]},{}]}"#,
            r#"{"items":[{"card":"***"},{"card":"***"},{}]}"#,
        ),
        (
            r#"{"items":{"card":"\"x\\"}}"#,
            r#"{"items":{"card":"***"}}"#,
        ),
        (
            r#"{"q\"\\\n":"\u0001\"","email":1}"#,
            r#"{"q\"\\\u000a":"\u0001\"","email":"***"}"#,
        ),
    ] {
        assert_eq!(private.hidden_record(json.as_bytes()).unwrap(), expected);
    }
    for record in [&b"[1]"[..], b"{", b"\xff", b""] {
        assert_eq!(private.hidden_record(record), None);
    }
    for (path, is_covered) in [
        ("$.email", true),
        ("$.email.x[0]", true),
        ("$.emails", false),
        ("$.items[3].card", true),
        ("$.items.card", true),
        ("$.items", false),
        ("$", false),
    ] {
        assert_eq!(private.cover(path), Ok(is_covered), "{path}");
    }
    let within = private.within("$.items").unwrap();
    assert_eq!(
        within
            .hidden(Raw::parse(r#"[{"card":1}]"#).unwrap())
            .unwrap(),
        r#"[{"card":"***"}]"#
    );
    assert!(private.within("$.a").unwrap().is_empty());
    assert!(private.within("$.email").unwrap().is_empty());
}

#[test]
fn a_key_of_masks_shows_nothing_of_itself() {
    let key = MaskKey::new(b"0123456789abcdef");
    assert_eq!(format!("{key:?}"), format!("MaskKey({})", key.id()));
    assert_eq!(key.id().len(), 8);
    let (second, third) = (
        MaskKey::new(b"another key of 16"),
        MaskKey::new(b"the third of them"),
    );
    assert_ne!(key, second);
    let shared = key.clone();
    assert!(key.renew(&second));
    assert!(!key.renew(&second));
    assert_eq!(shared, second);
    // A key that came later is renewed too: pipelines that were started since have it.
    assert!(key.renew(&third));
    assert_eq!((&shared, &second), (&third, &third));
    assert!(!key.renew(&key.clone()));
}

proptest! {
    #[test]
    fn arithmetic_is_that_of_integers(a in any::<i64>(), b in any::<i64>(), x in 0u16..20, y in 0u16..20) {
        let decimal = |mantissa: i64, scale| Decimal::new(I256::from(mantissa), scale).unwrap();
        let (left, right) = (decimal(a, x), decimal(b, y));
        let multiplied = I256::new(i128::from(a) * i128::from(b));
        prop_assert_eq!(product(left, right), Decimal::new(multiplied, x + y));
        let wide = |mantissa: i64, scale: u16| I256::from(mantissa) * I256::new(10).pow(u32::from(20 - scale));
        prop_assert_eq!(sum(left, right), Decimal::new(wide(a, x) + wide(b, y), 20));
        prop_assert_eq!(compare(left, right), wide(a, x).cmp(&wide(b, y)));
        prop_assert_eq!(number(&shown(left)), left);
    }

    #[test]
    fn rounding_is_half_even(mantissa in any::<i32>(), places in 0u8..6) {
        let step = Step::Number(NumberStep::Round(places));
        let text = format!("{mantissa}e-4");
        let rounded = apply(&step, &text).unwrap();
        // Twice the distance to the rounded value is at most one unit of its last digit.
        let distance = sum(number(&text), number(&format!("-{rounded}").replace("--", ""))).unwrap();
        let twice = product(distance, number("2")).unwrap();
        let magnitude = number(shown(twice).trim_start_matches('-'));
        let unit = number(&format!("1e-{places}"));
        prop_assert!(compare(magnitude, unit) != Ordering::Greater);
        if compare(magnitude, unit) == Ordering::Equal {
            let last = product(number(&rounded), number(&format!("1e{places}"))).unwrap();
            prop_assert_eq!(last.mantissa() % 2, I256::ZERO);
        }
    }

    #[test]
    fn clocks_are_those_of_the_database(seconds in -2_208_988_800i64..10_413_791_999, zone in 0usize..5) {
        let name = ["Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe", "Africa/Monrovia"][zone];
        let (zone, database) = (Zone::named(name).unwrap(), TimeZone::get(name).unwrap());
        let at = Timestamp::from_second(seconds).unwrap();
        prop_assert_eq!(zone.offset(seconds), i64::from(database.to_offset(at).seconds()));
        let local = at.to_zoned(database);
        let step = Step::Time(TimeStep::Truncate { span_seconds: 86_400, zone: zone.clone() });
        let midnight = local.round(jiff::ZonedRound::new().smallest(Unit::Day).mode(jiff::RoundMode::Floor)).unwrap();
        let truncated = apply(&step, &at.to_string()).unwrap();
        let truncated: Timestamp = truncated.parse().unwrap();
        prop_assert_eq!(truncated, midnight.timestamp());
        for (part, expected) in [
            (Part::Hour, i64::from(local.hour())),
            (Part::DayOfMonth, i64::from(local.day())),
            (Part::Month, i64::from(local.month())),
            (Part::DayOfWeek, i64::from(local.weekday().to_monday_one_offset())),
        ] {
            let step = Step::Time(TimeStep::Part { part, zone: zone.clone() });
            prop_assert_eq!(apply(&step, &at.to_string()).unwrap(), expected.to_string());
        }
    }

    #[test]
    fn short_cuts_change_no_text(text in "[ \\t\u{a0}aAbé]{0,9}", from in "[ab]{1,2}", to in "[ab]{0,2}") {
        let step = |step| apply(&Step::Text(step), &text).unwrap();
        let words: Vec<&str> = text.split_whitespace().collect();
        prop_assert_eq!(step(TextStep::NormalizeSpace), words.join(" "));
        prop_assert_eq!(step(TextStep::Trim), text.trim());
        prop_assert_eq!(step(TextStep::Lower), text.to_lowercase());
        prop_assert_eq!(step(TextStep::Upper), text.to_uppercase());
        let replaced = text.replace(&from, &to);
        let from = Sought::new(&from).expect("not empty");
        prop_assert_eq!(step(TextStep::Replace { from, to: to.into() }), replaced);
    }

    #[test]
    fn no_step_panics_and_texts_stay_texts(text in ".{0,20}", separator in ".{1,3}", index in -3i64..4) {
        for step in [
            TextStep::Trim,
            TextStep::Title,
            TextStep::NormalizeSpace,
            TextStep::UnicodeNfc,
            TextStep::Split { separator: separator.clone().into(), index },
            TextStep::Replace { from: Sought::new(&separator).expect("not empty"), to: text.clone().into() },
        ] {
            prop_assert!(apply(&Step::Text(step), &text).is_ok());
        }
        let _ = apply(&Step::Time(TimeStep::Part { part: Part::Hour, zone: Zone::utc() }), &text);
        let _ = apply(&Step::Number(NumberStep::Round(1)), &text);
    }
}
