//! Large values that an update leaves out, of rows whose key stays.

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::Record;

use crate::replication::shop::{Shop, UNCHANGED, change, delete, dropped};
use crate::support::PATIENCE;

const COLUMNS: [(&str, &str); 4] = [
    ("id", "Int64"),
    ("n", "Int64"),
    ("big", "Nullable(String)"),
    ("note", "Nullable(String)"),
];

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

/// `big` and `note` are JSON.
fn row(operation: &str, id: u32, n: u32, big: &str, note: &str) -> Record {
    let after = format!(r#"{{"id":{id},"n":{n},"big":{big},"note":{note}}}"#);
    change(operation, &key(id), &after)
}

#[test]
fn null_and_the_empty_text_are_values_and_the_placeholder_is_none() {
    let shop = Shop::new("told-apart", &COLUMNS, 1);
    shop.write([
        row("c", 1, 1, r#""large""#, r#""x""#),
        row("c", 2, 1, r#""large""#, r#""x""#),
        row("c", 3, 1, r#""large""#, r#""x""#),
        row("c", 4, 1, r#""""#, r#""x""#),
        row("c", 5, 1, r#""large""#, "null"),
    ]);
    // The first from the table, the second within a batch.
    for round in [2, 3] {
        if round == 2 {
            shop.run();
        }
        shop.write([
            row("u", 1, round, "null", r#""""#),
            row("u", 2, round, r#""""#, "null"),
            row("u", 3, round, UNCHANGED, r#""y""#),
            row("u", 4, round, r#""""#, UNCHANGED),
            row("u", 5, round, UNCHANGED, "null"),
        ]);
    }
    shop.run();
    let expected = "1\t3\t\\N\t\n2\t3\t\t\\N\n3\t3\tlarge\ty\n4\t3\t\tx\n5\t3\tlarge\t\\N";
    assert_eq!(shop.rows(), expected);
    shop.assert_no_dead_letters();
}

#[test]
fn an_object_of_a_json_column_is_kept_when_it_is_left_out_and_beside_what_is() {
    let columns = [
        ("id", "Int64"),
        ("n", "Int64"),
        ("big", "JSON"),
        ("note", "Nullable(String)"),
    ];
    let shop = Shop::new("objects", &columns, 1);
    let object = r#"{"a":{"b":[1,2]},"c":"x"}"#;
    shop.write([
        row("c", 1, 1, object, r#""x""#),
        row("c", 2, 1, object, r#""x""#),
    ]);
    // The first from the table, the second within a batch.
    for round in [2, 3] {
        if round == 2 {
            shop.run();
        }
        shop.write([
            row("u", 1, round, UNCHANGED, r#""y""#),
            row("u", 2, round, r#"{"c":2}"#, UNCHANGED),
        ]);
    }
    shop.run();
    assert_eq!(
        shop.rows(),
        "1\t3\t{\"a\":{\"b\":[1,2]},\"c\":\"x\"}\ty\n2\t3\t{\"c\":2}\tx"
    );
    shop.assert_no_dead_letters();
}

#[test]
fn a_value_that_nobody_knows_is_a_dead_letter_with_the_record_as_it_was() {
    let shop = Shop::new("unknown", &COLUMNS, 1);
    let unknown = row("u", 1, 1, UNCHANGED, r#""x""#).header("trace", "abc");
    // A deleted row has no value either, nor one that was NULL.
    let gone = [
        row("c", 2, 1, r#""large""#, "null"),
        delete(&key(2), &key(2)),
        row("u", 2, 2, UNCHANGED, "null"),
    ];
    let was_null = [
        row("c", 4, 1, "null", "null"),
        row("u", 4, 2, UNCHANGED, "null"),
    ];
    let good = row("c", 3, 1, r#""c""#, "null");
    shop.write(
        [
            vec![unknown.clone()],
            gone.into(),
            was_null.into(),
            vec![good],
        ]
        .concat(),
    );
    shop.run();
    shop.job.assert_committed_to_end();
    assert_eq!(shop.rows(), "3\t1\tc\t\\N\n4\t1\t\\N\t\\N");
    let letters = shop.dead_letters();
    assert_eq!(letters.len(), 3, "{:?}", shop.reasons());
    for (reason, detail) in shop.reasons() {
        assert_eq!(reason, "unavailable_value");
        assert!(
            detail.starts_with("big: the source left the unchanged value out"),
            "{detail}"
        );
    }
    assert_eq!(
        (
            &letters[0].key,
            &letters[0].value,
            letters[0].header("trace")
        ),
        (&unknown.key, &unknown.value, Some("abc".to_owned()))
    );
    assert_eq!(letters[0].header("streamweir-offset").as_deref(), Some("0"));
    assert_eq!(
        letters[0].header("streamweir-stage").as_deref(),
        Some("write")
    );
}

#[test]
fn the_value_is_still_on_its_way_to_the_server() {
    let mut shop = Shop::new("in-flight", &COLUMNS, 1);
    let proxy = Proxy::start(&shop.job.clickhouse_url).expect("a proxy");
    shop.job.set("clickhouse.url", proxy.url());
    for (fault, value, n) in [
        (Fault::HoldRequest, "first", 1),
        (Fault::HoldResponse, "second", 2),
    ] {
        let inserts = Matcher::inserts().query_contains("`t`");
        let held = proxy.inject(inserts, fault, 1);
        let daemon = shop.start("daemon");
        let end = i64::from(n) * 2 - 1;
        shop.write([row("u", 1, n, &format!("\"{value}\""), "null")]);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        shop.write([row("u", 1, n + 10, UNCHANGED, "null")]);
        shop.wait_for_position(&daemon, 0, end + 1);
        held.release();
        shop.wait_for_rows(&daemon, &format!("1\t{}\t{value}\t\\N", n + 10));
        shop.wait_for_commits(&daemon);
        daemon.stop();
    }
    shop.assert_no_dead_letters();
}

#[test]
fn a_tail_that_is_read_again_ends_as_it_was() {
    let mut shop = Shop::new("again", &COLUMNS, 1);
    let records = [
        row("c", 1, 1, r#""a""#, "null"),
        row("u", 1, 2, UNCHANGED, "null"),
        row("u", 1, 3, r#""b""#, "null"),
        row("u", 1, 4, UNCHANGED, r#""last""#),
        row("c", 2, 1, r#""c""#, "null"),
        row("u", 2, 2, UNCHANGED, "null"),
        delete(&key(2), &key(2)),
        Record::tombstone(key(2)),
        row("c", 3, 1, r#""d""#, "null"),
        delete(&key(3), &key(3)),
        row("c", 3, 2, r#""e""#, "null"),
        row("u", 3, 3, UNCHANGED, "null"),
    ];
    let end = i64::try_from(records.len()).expect("few");
    shop.write(records);
    shop.run();
    let expected = "1\t4\tb\tlast\n3\t3\te\t\\N";
    assert_eq!(shop.rows(), expected);
    // Also where every record is a batch of its own, and the server has merged.
    for rows_max in [100_000, 1] {
        shop.job.set("pipeline.batch.rows_max", rows_max);
        for offset in 0..end {
            if offset % 3 == 1 || rows_max > 1 {
                shop.set_back(0, offset);
                shop.run();
                assert_eq!(shop.rows(), expected, "from {offset}");
            }
        }
        shop.job.query("OPTIMIZE TABLE {db}.t FINAL");
    }
    shop.assert_no_dead_letters();
    shop.set_back(0, 1);
    let daemon = shop.start("counted");
    shop.wait_for_commits(&daemon);
    assert!(
        dropped(&daemon).contains_key("superseded"),
        "{:?}",
        dropped(&daemon)
    );
    daemon.stop();
}
