//! Keys of both sides are compared.

use std::path::Path;

use super::*;
use crate::config::{Config, Kind as PipelineKind};
use crate::source::MadeRecord;
use crate::source::placement::{consistent, murmur2};

fn check(partitions: usize, more: &str) -> KeyCheck {
    let text = format!(
        "[[pipeline]]\nname = \"j\"\nkind = \"stream_join\"\ngroup_id = \"g\"\n\
         left.topic = \"l\"\nright.topic = \"r\"\noutput.topic = \"o\"\n{more}"
    );
    let loaded = Config::parse(&text, "config.toml", Path::new("/"), []);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
    match &loaded.config.pipelines[0].kind {
        PipelineKind::StreamJoin(config) => KeyCheck::new(config, partitions),
        other => panic!("not a join: {other:?}"),
    }
}

/// What is said of records of these sides, keys and fields, each of partition 3.
fn said(check: &mut KeyCheck, records: &[(Side, Option<&str>, &str)]) -> Vec<Option<String>> {
    let one = |(side, key, field): &(Side, Option<&str>, &str)| {
        let made = MadeRecord::new(key.map(str::as_bytes), Some(b"{}"), 0, 7);
        let checked = check.check(*side, made.record(), Some(field.as_bytes()));
        let halt = checked.err()?;
        assert_eq!(halt.reason, "co_partitioning");
        Some(halt.advice)
    };
    records.iter().map(one).collect()
}

use Side::{Left, Right};

#[test]
fn a_key_is_its_field_in_any_of_the_forms() {
    let same = [
        ("7", "7"),
        ("", ""),
        ("\"7\"", "7"),
        ("\"\\u00e9\"", "é"),
        ("\"", "\""),
        ("{x", "{x"),
        ("{\"user_id\":7}", "7"),
        ("{\"user_id\": \"7\"}", "7"),
        ("{\"a\":1,\"user_id\":7.0}", "7.0"),
        ("{\"user_id\":6,\"user_id\":7}", "7"),
        ("{\"schema\":{},\"payload\":{\"user_id\":7}}", "7"),
        ("{\"schema\":{\"type\":\"int64\"},\"payload\":7}", "7"),
        ("{\"schema\":{\"type\":\"string\"},\"payload\":\"7\"}", "7"),
    ];
    for (key, field) in same {
        let seen = said(&mut check(4, ""), &[(Left, Some(key), field)]);
        assert_eq!(seen, [None], "{key} {field}");
    }
    let others = [
        (None, "7"),
        (Some("8"), "7"),
        (Some("07"), "7"),
        (Some("7.0"), "7"),
        (Some("\"8\""), "7"),
        (Some("{\"user_id\":8}"), "7"),
        (Some("{\"id\":7}"), "7"),
        (Some("{\"payload\":{\"user_id\":7}}"), "7"),
        (Some("{\"user_id\":{}}"), "7"),
        (Some("{\"payload\":7}"), "7"),
        (Some("{\"schema\":{},\"payload\":8}"), "7"),
        (Some("{\"schema\":{},\"payload\":null}"), "7"),
        (Some("event-1"), "7"),
    ];
    for (key, field) in others {
        for side in [Left, Right] {
            let seen = said(&mut check(4, ""), &[(side, key, field)]);
            let advice = seen[0]
                .as_deref()
                .unwrap_or_else(|| panic!("{key:?} passes"));
            for words in ["user_id is `7`", "keys_placed_by", ".key_field"] {
                assert!(advice.contains(words), "{words}: {advice}");
            }
        }
    }
    let strict = "key_format = \"string\"\n";
    let seen = said(&mut check(4, strict), &[(Left, Some("\"7\""), "7")]);
    assert!(seen[0].is_some());
}

#[test]
fn records_of_a_single_partition_meet_whatever_their_keys_are_but_tombstones_need_theirs() {
    let (none, other) = ((Left, None, "7"), (Right, Some("x"), "7"));
    assert_eq!(said(&mut check(1, ""), &[none, other]), [None, None]);
    let table = "join.before = \"unlimited\"\n";
    let seen = said(&mut check(1, table), &[none, other]);
    assert!(seen[0].is_none() && seen[1].is_some());
    let forms = [(Left, Some("7"), "7"), (Right, Some("\"7\""), "7")];
    assert_eq!(said(&mut check(1, table), &forms), [None, None]);
}

#[test]
fn both_sides_spell_their_keys_alike() {
    let keys = [
        "7",
        "\"7\"",
        "{\"user_id\":7}",
        "{\"user_id\":\"7\"}",
        "{\"user_id\": 7}",
    ];
    for left in keys {
        for right in keys {
            let records = [(Left, Some(left), "7"), (Right, Some(right), "7")];
            let seen = said(&mut check(4, ""), &records);
            assert_eq!(seen[0], None);
            assert_eq!(seen[1].is_some(), left != right, "{left} {right} {seen:?}");
        }
    }
    // Escapes that one of them writes and the other does not.
    let written = |left, right| {
        let records = [(Left, Some(left), "ab"), (Right, Some(right), "ab")];
        said(&mut check(4, ""), &records)[1].is_some()
    };
    assert!(written("\"ab\"", r#""a\u0062""#));
    assert!(written("{\"user_id\":\"ab\"}", r#"{"user_id":"a\u0062"}"#));
    assert!(!written(r#""a\u0062""#, r#""a\u0062""#));
    let records = [
        (Left, Some("\"ab\""), "ab"),
        (Right, Some(r#""\u00e9""#), "é"),
        (Left, Some("\"è\""), "è"),
    ];
    let seen = said(&mut check(4, ""), &records);
    assert!(seen[..2] == [None, None] && seen[2].is_some(), "{seen:?}");
    // Other values of the same members are the same form.
    let seen = said(
        &mut check(4, ""),
        &[
            (Left, Some("{\"a\":1,\"user_id\":7}"), "7"),
            (Left, Some("{\"a\":22,\"user_id\":8}"), "8"),
            (Right, Some("{\"a\":3,\"user_id\":7}"), "7"),
            (Right, Some("{\"user_id\":7}"), "7"),
        ],
    );
    assert_eq!(seen[..3], [None, None, None]);
    let advice = seen[3].as_deref().expect("another form");
    for words in ["{\"user_id\":7}", "{\"a\":1,\"user_id\":7}", ":0:7"] {
        assert!(advice.contains(words), "{words}: {advice}");
    }
}

#[test]
fn where_a_partitioner_is_declared_the_field_decides_and_not_the_key() {
    // Made records lie in partition 0.
    let by_text = |key: &str| murmur2(key.as_bytes(), 4);
    let here = (0..)
        .map(|n| n.to_string())
        .find(|key| by_text(key) == 0)
        .unwrap();
    let there = (0..)
        .map(|n| n.to_string())
        .find(|key| by_text(key) != 0)
        .unwrap();
    let placed = "join.keys_placed_by = \"murmur2\"\n";
    for key in [None, Some("event-1"), Some("x"), Some(&*here)] {
        let seen = said(
            &mut check(4, placed),
            &[(Left, key, &here), (Left, key, &there)],
        );
        assert_eq!(seen[0], None, "{key:?}");
        let advice = seen[1].as_deref().expect("it lies elsewhere");
        assert!(advice.contains(&format!("belongs into partition {}", by_text(&there))));
    }
    // Both sides placed by the same JSON object.
    let object = |n: &u32| format!("{{\"user_id\":{n}}}");
    let placed = "join.keys_placed_by = \"consistent\"\n";
    let by_key = (0u32..).find(|n| {
        consistent(object(n).as_bytes(), 4) == 0 && consistent(n.to_string().as_bytes(), 4) != 0
    });
    let (key, field) = (object(&by_key.unwrap()), by_key.unwrap().to_string());
    let records = [(Left, Some(&*key), &*field), (Right, Some(&*key), &*field)];
    assert_eq!(said(&mut check(4, placed), &records), [None, None]);
    let bare = (0u32..).find(|n| consistent(n.to_string().as_bytes(), 4) == 0);
    let bare = bare.unwrap().to_string();
    let records = [(Left, Some(&*key), &*field), (Right, Some(&*bare), &*bare)];
    assert!(said(&mut check(4, placed), &records)[1].is_some());
}
