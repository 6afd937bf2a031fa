use std::sync::Arc;

use super::*;
use crate::decode::Path;
use crate::decode::json::{Plan, Scanner};
use crate::rules::Lines;

/// 2025-11-21T10:00:00Z, when the records were put into Kafka.
const NOW_MS: i64 = 1_763_719_200_000;

fn field(test: Test) -> Condition {
    Condition::Field {
        path: "$.a".to_owned(),
        test,
    }
}

fn not(condition: Condition) -> Condition {
    Condition::Not(Box::new(condition))
}

fn holds_at(condition: &Condition, json: &str, now_ms: i64) -> bool {
    holds_by(condition, json, now_ms, None)
}

fn holds_by(condition: &Condition, json: &str, now_ms: i64, texts: Option<&TextRules>) -> bool {
    let mut paths = vec![];
    let check = Check::new(condition, texts, &mut |path| {
        paths.push(Path::parse(path).map_err(|error| error.to_string())?);
        Ok(paths.len() - 1)
    });
    let check = check.unwrap_or_else(|error| panic!("{error}"));
    let mut scanner = Scanner::new(Plan::new(&paths));
    let fields = scanner.scan(Some(json.as_bytes())).unwrap();
    let moments = Moments {
        now_ms,
        unit: None,
        texts,
    };
    check.passes(&|slot| fields.get(slot), moments)
}

fn holds(condition: &Condition, json: &str) -> bool {
    holds_at(condition, json, NOW_MS)
}

fn number(text: &str) -> Operand {
    Operand::Number(text.to_owned())
}

fn text(text: &str) -> Operand {
    Operand::Text(text.to_owned())
}

fn computed(paths: &[&str], tolerance: &str) -> Computed {
    Computed {
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        tolerance: tolerance.to_owned(),
    }
}

fn same_as(path: &str) -> Test {
    Test::EqualsField {
        path: path.to_owned(),
        tolerance: "0".to_owned(),
    }
}

/// Records that pass and records that do not.
fn assert_holds(test: Test, passing: &[&str], failing: &[&str]) {
    let condition = field(test);
    for value in passing {
        assert!(
            holds(&condition, &format!("{{\"a\":{value}}}")),
            "{condition:?} {value}"
        );
    }
    for value in failing {
        assert!(
            !holds(&condition, &format!("{{\"a\":{value}}}")),
            "{condition:?} {value}"
        );
    }
}

#[test]
fn of_an_absent_field_only_its_absence_holds_and_no_opposite() {
    let words = |words: &[&str]| words.iter().map(|word| text(word)).collect::<Vec<_>>();
    let tests = [
        Test::Present,
        Test::Equal(text("x")),
        Test::NotEqual(text("x")),
        Test::Above(number("0")),
        Test::AtMost(text("now")),
        Test::Between(number("0"), number("1")),
        Test::In(words(&["x"])),
        Test::NotIn(words(&["x"])),
        Test::Matches(".*".to_owned()),
        Test::LengthMax(9),
        Test::Type(JsonType::String),
        Test::IsEmail,
        same_as("$.b"),
    ];
    for test in tests {
        for json in ["{}", r#"{"a":null}"#, r#"{"b":null}"#] {
            assert!(!holds(&field(test.clone()), json), "{test:?} {json}");
            assert!(
                !holds(&not(field(test.clone())), json),
                "not {test:?} {json}"
            );
        }
    }
    assert_holds(Test::Absent, &["null"], &["0", "\"\"", "[]"]);
    assert!(holds(&field(Test::Absent), "{}"));
    assert!(!holds(&not(field(Test::Absent)), "{}"));
    assert_holds(Test::Present, &["0", "\"\"", "{}", "false"], &["null"]);
}

#[test]
fn an_unreadable_field_fails_a_check_and_its_opposite() {
    let above = field(Test::Above(number("0")));
    for json in [r#"{"a":"much"}"#, r#"{"a":[1]}"#, r#"{"a":true}"#] {
        assert!(
            !holds(&above, json) && !holds(&not(above.clone()), json),
            "{json}"
        );
    }
    let other = field(Test::NotEqual(number("5")));
    assert!(!holds(&other, r#"{"a":"abc"}"#));
    assert!(holds(&other, r#"{"a":"6"}"#));
}

#[test]
fn numbers_compare_as_decimals_and_texts_by_bytes() {
    assert_holds(
        Test::Equal(number("1")),
        &["1", "1.0", "\"1\"", "10e-1"],
        &["2", "\"x\"", "true"],
    );
    assert_holds(
        Test::Above(number("0.1")),
        &["0.10000000000000000000000000000001", "\"7\"", "7e70"],
        &["0.1", "-7e70", "\"\""],
    );
    assert_holds(
        Test::Between(number("0"), number("2.50")),
        &["0", "2.5", "\"1e0\""],
        &["-0.001", "2.501"],
    );
    assert_holds(
        Test::Equal(text("x")),
        &["\"x\"", "\"\\u0078\""],
        &["\"X\"", "[]", "1"],
    );
    assert_holds(Test::Equal(text("1")), &["\"1\"", "1.0"], &["\"1.0\"", "2"]);
    assert_holds(Test::Equal(text("true")), &["true", "\"true\""], &["false"]);
    assert_holds(
        Test::Above(text("b")),
        &["\"c\"", "\"ba\""],
        &["\"b\"", "\"a\"", "\"B\""],
    );
    let some = vec![text("a"), number("2")];
    assert_holds(
        Test::In(some.clone()),
        &["\"a\"", "2.0", "\"2\""],
        &["\"b\"", "3", "{}"],
    );
    assert_holds(Test::NotIn(some), &["\"b\"", "3"], &["\"a\"", "2", "{}"]);
}

#[test]
fn times_compare_as_instants_and_now_is_the_records_own_time() {
    assert_holds(
        Test::Equal(text("2025-11-21T10:00:00Z")),
        &[
            "\"2025-11-21T10:00:00Z\"",
            "\"2025-11-21T11:00:00+01:00\"",
            "1763719200000",
        ],
        &["\"2025-11-21T10:00:01Z\"", "\"soon\""],
    );
    let recent = Test::Above(text("now-7d"));
    assert_holds(
        recent.clone(),
        &["\"2025-11-20T00:00:00Z\"", "1763719200000"],
        &["\"2025-11-14T10:00:00Z\"", "\"x\""],
    );
    // Whatever the time is when a record is judged again, the answer is the same.
    let json = r#"{"a":"2025-11-20T00:00:00Z"}"#;
    assert!(!holds_at(
        &field(recent.clone()),
        json,
        NOW_MS + 30 * 86_400_000
    ));
    assert!(!holds_at(&field(recent), json, -1));
    assert_holds(
        Test::AtMost(text("now")),
        &["1763719200000"],
        &["1763719200001"],
    );
    for wrong in ["now-", "now7d", "nowadays", "now-7x", "now-d"] {
        let condition = field(Test::Below(text(wrong)));
        assert!(
            Check::new(&condition, None, &mut |_| Ok(0)).is_err(),
            "{wrong}"
        );
    }
    assert_eq!(from_now("-1h30m"), Some(-5_400_000));
    assert_eq!(from_now("+2w"), Some(14 * 86_400_000));
}

#[test]
fn operands_without_zone_are_read_in_the_zone_of_the_fields() {
    let berlin = TextRules::new(Some("%d.%m.%Y %H:%M"), Some("Europe/Berlin")).unwrap();
    let at = |test| field(test);
    let noon = || text("2025-11-21T12:00:00");
    for (test, json, expected) in [
        (Test::Equal(noon()), r#"{"a":"2025-11-21T12:00:00"}"#, true),
        (Test::Equal(noon()), r#"{"a":"2025-11-21T11:00:00Z"}"#, true),
        (Test::Equal(noon()), r#"{"a":"21.11.2025 12:00"}"#, true),
        (
            Test::NotEqual(noon()),
            r#"{"a":"2025-11-21T12:00:00"}"#,
            false,
        ),
        (
            Test::AtLeast(noon()),
            r#"{"a":"2025-11-21T12:00:00"}"#,
            true,
        ),
        (
            Test::Above(noon()),
            r#"{"a":"2025-11-21T11:00:00Z"}"#,
            false,
        ),
        (
            Test::In(vec![noon()]),
            r#"{"a":"2025-11-21T12:00:00"}"#,
            true,
        ),
        (
            Test::Between(noon(), text("2025-11-21T12:00:01")),
            r#"{"a":"2025-11-21T12:00:00"}"#,
            true,
        ),
    ] {
        let condition = at(test);
        let found = holds_by(&condition, json, NOW_MS, berlin.as_ref());
        assert_eq!(found, expected, "{condition:?} {json}");
    }
}

#[test]
fn conditions_that_nothing_meets_are_refused() {
    let between = |from, to| Test::Between(from, to);
    for test in [
        between(number("10"), number("1")),
        between(text("2025-11-22T00:00:00Z"), text("2025-11-21T00:00:00Z")),
        between(text("now"), text("now-1d")),
        between(text("b"), text("a")),
        between(text("a"), number("5")),
        Test::Equal(text("now")),
        Test::NotEqual(text("now-7d")),
        Test::In(vec![text("a"), text("now+1h")]),
    ] {
        let condition = field(test);
        assert!(
            Check::new(&condition, None, &mut |_| Ok(0)).is_err(),
            "{condition:?}"
        );
    }
    for test in [
        between(number("1"), number("1")),
        between(number("1"), text("2")),
        between(text("2"), text("10")),
        between(text("2025-11-21T00:00:00Z"), text("now")),
        Test::Equal(text("nowhere")),
    ] {
        let condition = field(test);
        assert!(
            Check::new(&condition, None, &mut |_| Ok(0)).is_ok(),
            "{condition:?}"
        );
    }
}

#[test]
fn two_texts_are_equal_by_their_bytes_unless_there_is_a_tolerance() {
    let same = field(same_as("$.b"));
    for (json, expected) in [
        (r#"{"a":"1.10","b":"1.1"}"#, false),
        (r#"{"a":"1e2","b":"100"}"#, false),
        (r#"{"a":"100","b":"100"}"#, true),
        (r#"{"a":"1.10","b":1.1}"#, true),
        (r#"{"a":1.10,"b":1.1}"#, true),
    ] {
        assert_eq!(holds(&same, json), expected, "{json}");
    }
    let near = field(Test::EqualsField {
        path: "$.b".to_owned(),
        tolerance: "0.01".to_owned(),
    });
    assert!(holds(&near, r#"{"a":"1.10","b":"1.1"}"#));
}

#[test]
fn a_condition_names_the_paths_of_all_its_fields() {
    let sum = field(Test::EqualsSum(computed(&["$.q", "$.p"], "0")));
    let all = Condition::All(vec![not(sum), field(same_as("$.b"))]);
    assert_eq!(all.paths(), ["$.a", "$.q", "$.p", "$.a", "$.b"]);
}

#[test]
fn texts_have_length_form_and_type() {
    assert_holds(Test::LengthMin(2), &["\"üü\"", "10"], &["\"ü\"", "[]"]);
    assert_holds(Test::LengthMax(2), &["\"üü\"", "\"\""], &["\"abc\""]);
    assert_holds(
        Test::Matches("^a.c".into()),
        &["\"abcd\""],
        &["\"xabc\"", "7"],
    );
    assert_holds(Test::Matches("b+".into()), &["\"abbc\""], &["\"ac\""]);
    assert_holds(
        Test::StartsWith("ab".into()),
        &["\"abc\""],
        &["\"a\"", "\"Ab\""],
    );
    assert_holds(Test::EndsWith("bc".into()), &["\"abc\""], &["\"bcd\""]);
    assert_holds(Test::IsEmail, &["\"a@b.co\""], &["\"a@b\"", "1"]);
    assert_holds(Test::IsIp, &["\"::1\""], &["\"1.2.3\""]);
    assert_holds(Test::IsUrl, &["\"https://a.b/c\""], &["\"a.b\""]);
    let uuid = "\"01234567-89ab-cdef-0011-223344556677\"";
    assert_holds(Test::IsUuid, &[uuid], &["\"01234567\"", "5"]);
    // Of what is no text neither can be told.
    let no_uuid = not(field(Test::IsUuid));
    assert!(holds(&no_uuid, "{\"a\":\"x\"}"));
    for value in ["[]", "[1]", "{}"] {
        assert!(!holds(&no_uuid, &format!("{{\"a\":{value}}}")), "{value}");
    }
    for (json_type, value) in [
        (JsonType::String, "\"1\""),
        (JsonType::Number, "1.5"),
        (JsonType::Boolean, "false"),
        (JsonType::Object, "{}"),
        (JsonType::Array, "[]"),
    ] {
        let others = ["\"1\"", "1.5", "false", "{}", "[]"];
        let others: Vec<&str> = others.into_iter().filter(|other| *other != value).collect();
        assert_holds(Test::Type(json_type), &[value], &others);
    }
    let long = "9".repeat(200);
    assert_holds(
        Test::Type(JsonType::Integer),
        &["1", "1.0", "1e2", &long],
        &["1.5", "\"1\""],
    );
    let lines = ["DE", "FR"].map(Box::<str>::from).into_iter().collect();
    let file = Lines {
        digest: "of two".to_owned(),
        lines: Arc::new(lines),
    };
    assert_holds(Test::InFile(file), &["\"DE\""], &["\"de\"", "\"\"", "[]"]);
    let condition = field(Test::Matches("(".into()));
    assert!(Check::new(&condition, None, &mut |_| Ok(0)).is_err());
}

#[test]
fn computed_fields_are_exact_up_to_the_tolerance() {
    let json = |total: &str| format!(r#"{{"a":{total},"q":3,"p":"0.1"}}"#);
    let product = |tolerance| field(Test::EqualsProduct(computed(&["$.q", "$.p"], tolerance)));
    assert!(holds(&product("0"), &json("0.3")));
    assert!(!holds(&product("0"), &json("0.30000000000000004")));
    assert!(holds(&product("0.005"), &json("0.305")));
    assert!(holds(&product("0.005"), &json("0.295")));
    assert!(!holds(&product("0.005"), &json("0.3050001")));
    assert!(!holds(&product("1"), r#"{"a":0.3,"q":3}"#));
    assert!(!holds(&not(product("1")), r#"{"a":0.3,"q":3}"#));
    let sum = field(Test::EqualsSum(computed(&["$.q", "$.p"], "0")));
    assert!(holds(&sum, &json("3.10")) && !holds(&sum, &json("3.11")));
    let same = field(same_as("$.q"));
    assert!(holds(&same, &json("3.0")) && !holds(&same, &json("3.01")));
    assert!(holds(&not(same), &json("3.01")));
    let same = field(same_as("$.b"));
    assert!(holds(&same, r#"{"a":"EUR","b":"EUR"}"#));
    assert!(!holds(&same, r#"{"a":"EUR","b":"USD"}"#));
    assert!(!holds(&same, r#"{"a":"EUR"}"#));
}

#[test]
fn conditions_are_put_together_and_what_cannot_be_told_stays_so() {
    let low = || field(Test::Below(number("0")));
    let high = || field(Test::Above(number("10")));
    let b = || Condition::Field {
        path: "$.b".to_owned(),
        test: Test::Present,
    };
    let any = Condition::Any(vec![low(), high()]);
    assert!(holds(&any, r#"{"a":11}"#) && !holds(&any, r#"{"a":5}"#));
    assert!(holds(&not(any.clone()), r#"{"a":5}"#));
    assert!(!holds(&not(any), "{}"));
    let all = Condition::All(vec![high(), b()]);
    assert!(holds(&all, r#"{"a":11,"b":1}"#) && !holds(&all, r#"{"a":11}"#));
    assert!(
        !holds(&not(all.clone()), r#"{"a":11}"#),
        "the absence of b tells nothing"
    );
    assert!(holds(&not(all), r#"{"a":5}"#), "whatever b is");
    assert!(holds(&Condition::Any(vec![b(), high()]), r#"{"a":11}"#));
    assert!(holds(&Condition::All(vec![]), "{}"));
}
