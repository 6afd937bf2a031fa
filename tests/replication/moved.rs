//! Rows whose key changes and whose large values are left out: the values come from the row's old key,
//! whichever partition is read first.

use sandbox::topic::Record;

use crate::replication::shop::{Shop, UNCHANGED, change, delete, key_change};
use crate::support::Daemon;

const COLUMNS: [(&str, &str); 6] = [
    ("id", "Int64"),
    ("n", "Nullable(Int64)"),
    ("big", "Nullable(String)"),
    ("raw", "Nullable(String)"),
    ("list", "Nullable(String)"),
    ("numbers", "Nullable(String)"),
];
/// Partitions of the old key and of the new one.
const OLD: i32 = 0;
const NEW: i32 = 1;

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

/// A row with values that a large `id` stands for; `n` says which change it is.
fn whole(id: u32, n: u32, value: &str) -> String {
    format!(
        r#"{{"id":{id},"n":{n},"big":"{value}","raw":"{value}==","list":["{value}",null],"numbers":[1,2]}}"#
    )
}

/// The same row with all large values left out, each in the form of its type.
fn left_out(id: u32, n: u32) -> String {
    let bytes: Vec<String> = b"__debezium_unavailable_value"
        .iter()
        .map(u8::to_string)
        .collect();
    let numbers = bytes.join(",");
    let raw = r#""X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==""#;
    format!(
        r#"{{"id":{id},"n":{n},"big":{UNCHANGED},"raw":{raw},"list":[{UNCHANGED}],"numbers":[{numbers}]}}"#
    )
}

fn line(id: u32, n: u32, value: &str) -> String {
    format!("{id}\t{n}\t{value}\t{value}==\t[\"{value}\",null]\t[1,2]")
}

/// Row 1 with its values, which then becomes row 2.
fn one_becomes_two() -> (Vec<Record>, Record) {
    let (leaves, comes) = key_change(&key(1), &key(2), &left_out(2, 2));
    let created = change("c", &key(1), &whole(1, 1, "a"));
    ([vec![created], leaves].concat(), comes)
}

fn shop(name: &str, partitions: i32) -> Shop {
    let mut shop = Shop::new(name, &COLUMNS, partitions);
    // Long enough that nothing in these tests comes too late.
    shop.job.set("pipeline.toast_wait", "600s");
    shop
}

/// Runs a daemon, writes one partition's records and then the other's, each once those of before are read.
fn in_turns(shop: &Shop, steps: &[(i32, Vec<Record>)], expected: &str) {
    let daemon = shop.start("daemon");
    let mut ends = [0, 0];
    for (partition, records) in steps {
        shop.write_to(*partition, records.iter().cloned());
        let end = &mut ends[usize::try_from(*partition).expect("a partition")];
        *end += i64::try_from(records.len()).expect("few");
        shop.wait_for_position(&daemon, i64::from(*partition), *end);
    }
    finish(shop, &daemon, expected);
}

fn finish(shop: &Shop, daemon: &Daemon, expected: &str) {
    shop.wait_for_rows(daemon, expected);
    shop.wait_for_commits(daemon);
    assert_eq!(shop.rows(), expected);
    shop.assert_no_dead_letters();
    daemon.stop();
}

#[test]
fn the_new_key_waits_for_the_old_one() {
    let shop = shop("new-first", 2);
    let (old, new) = one_becomes_two();
    in_turns(&shop, &[(NEW, vec![new]), (OLD, old)], &line(2, 2, "a"));
}

#[test]
fn the_old_key_was_read_long_before() {
    let shop = shop("old-first", 2);
    let (old, new) = one_becomes_two();
    in_turns(&shop, &[(OLD, old), (NEW, vec![new])], &line(2, 2, "a"));
}

#[test]
fn both_keys_in_one_batch() {
    let shop = shop("one-batch", 1);
    let (old, new) = one_becomes_two();
    shop.write([old, vec![new]].concat());
    shop.run();
    assert_eq!(shop.rows(), line(2, 2, "a"));
    shop.assert_no_dead_letters();
}

#[test]
fn the_old_key_lives_again_before_the_new_one_is_read() {
    let reborn = [
        change("c", &key(1), &whole(1, 3, "other")),
        change("u", &key(1), &left_out(1, 4)),
    ];
    let again_gone = [delete(&key(1), &key(1)), Record::tombstone(key(1))];
    let cases = [
        ("reborn", vec![], line(1, 4, "other") + "\n"),
        ("reborn-and-gone", again_gone.to_vec(), String::new()),
    ];
    for (name, end, rest) in cases {
        let shop = shop(name, 2);
        let (old, new) = one_becomes_two();
        let lives_again = [reborn.to_vec(), end].concat();
        let steps = [(OLD, old), (OLD, lives_again), (NEW, vec![new])];
        in_turns(&shop, &steps, &format!("{rest}{}", line(2, 2, "a")));
    }
}

#[test]
fn the_old_key_lives_again_in_the_same_batch_and_nobody_remembers() {
    let mut shop = shop("reborn-restart", 2);
    // While its old key lives, the row waits for it to be left once more.
    shop.job.set("pipeline.toast_wait", "1s");
    let (old, new) = one_becomes_two();
    let reborn = change("c", &key(1), &whole(1, 3, "other"));
    shop.write_to(OLD, [old, vec![reborn]].concat());
    shop.run();
    shop.write_to(NEW, [new]);
    shop.run();
    assert_eq!(
        shop.rows(),
        [line(1, 3, "other"), line(2, 2, "a")].join("\n")
    );
    shop.assert_no_dead_letters();
}

#[test]
fn there_and_back() {
    let (old, there) = one_becomes_two();
    let (left, back) = key_change(&key(2), &key(1), &left_out(1, 3));
    let on_old = [old, vec![back]].concat();
    let on_new = [vec![there], left].concat();
    let orders = [
        ("back-1", vec![(OLD, on_old.clone()), (NEW, on_new.clone())]),
        ("back-2", vec![(NEW, on_new.clone()), (OLD, on_old.clone())]),
    ];
    for (name, steps) in orders {
        in_turns(&shop(name, 2), &steps, &line(1, 3, "a"));
    }
    let shop = shop("back-one", 1);
    let mut all = on_old;
    let back = all.pop().expect("the way back");
    shop.write([all, on_new, vec![back]].concat());
    shop.run();
    assert_eq!(shop.rows(), line(1, 3, "a"));
    shop.assert_no_dead_letters();
}

#[test]
fn an_old_row_that_never_comes_holds_up_its_own_partition_alone_and_becomes_a_dead_letter() {
    let mut shop = shop("never", 2);
    let mut properties = toml::Table::new();
    // The group is to notice soon that its member was killed.
    properties.insert("session.timeout.ms".into(), 6_000.into());
    shop.job
        .set("kafka.properties", toml::Value::Table(properties));
    let (_, new) = key_change(&key(99), &key(2), &left_out(2, 2));
    let after = change("c", &key(3), &whole(3, 3, "c"));
    let daemon = shop.start("waiting");
    shop.write_to(NEW, [new.clone(), after]);
    shop.wait_for_position(&daemon, i64::from(NEW), 2);
    for (n, value) in [(1, "a"), (2, "b"), (3, "c")] {
        shop.write_to(OLD, [change("u", &key(1), &whole(1, n, value))]);
        let others = [line(1, n, value), line(3, 3, "c")];
        shop.wait_for_rows(&daemon, &others.join("\n"));
    }
    let committed = shop.job.committed();
    assert!(
        committed.get(&NEW).is_none_or(|c| c.offset == 0),
        "{committed:?}"
    );
    shop.assert_no_dead_letters();
    daemon.process.kill();
    shop.job.set("pipeline.toast_wait", "1s");
    shop.run();
    shop.job.assert_committed_to_end();
    let expected = [line(1, 3, "c"), line(3, 3, "c")];
    assert_eq!(shop.rows(), expected.join("\n"));
    let letters = shop.dead_letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!((&letter.key, &letter.value), (&new.key, &new.value));
    assert_eq!(letter.header("__debezium.oldkey"), Some(key(99)));
    let reason = letter.header("streamweir-reason");
    assert_eq!(reason.as_deref(), Some("unavailable_value"));
    let detail = letter.header("streamweir-detail").expect("a detail");
    assert!(
        detail.contains("big: ") && detail.contains("incremental snapshot"),
        "{detail}"
    );
}

#[test]
fn the_old_key_is_read_by_another_member() {
    let shop = shop("members", 2);
    let daemons = [shop.start("a"), shop.start("b")];
    let share = |daemon: &Daemon| {
        let (_, body) = daemon.get("/api/v1/streaming/replica")?;
        let state: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some(state["partitions"].as_array()?.len())
    };
    let is_shared = || daemons.iter().all(|d| share(d) == Some(1)).then_some(());
    sandbox::wait::until("each has one", crate::support::PATIENCE, is_shared).expect("shared");
    let (old, new) = one_becomes_two();
    let newest = change("c", &key(4), &whole(4, 4, "d"));
    shop.write_to(NEW, [new, newest]);
    shop.wait_for_rows(&daemons[0], &line(4, 4, "d"));
    shop.write_to(OLD, old);
    let expected = [line(2, 2, "a"), line(4, 4, "d")].join("\n");
    shop.wait_for_rows(&daemons[0], &expected);
    shop.wait_for_commits(&daemons[0]);
    shop.assert_no_dead_letters();
    daemons.iter().for_each(Daemon::stop);
}

#[test]
fn a_change_of_the_key_that_is_read_again_changes_nothing() {
    let mut shop = shop("moved-again", 2);
    shop.job.set("pipeline.toast_wait", "1s");
    let (old, new) = one_becomes_two();
    let reborn = change("c", &key(1), &whole(1, 3, "other"));
    shop.write_to(OLD, [old, vec![reborn]].concat());
    shop.write_to(NEW, [new]);
    shop.run();
    let expected = [line(1, 3, "other"), line(2, 2, "a")].join("\n");
    assert_eq!(shop.rows(), expected);
    // The server forgets what was replaced.
    shop.job.query("OPTIMIZE TABLE {db}.t FINAL");
    shop.set_back(NEW, 0);
    shop.run();
    assert_eq!(shop.rows(), expected);
    for partition in [OLD, NEW] {
        shop.set_back(partition, 0);
    }
    shop.run();
    assert_eq!(shop.rows(), expected);
    shop.assert_no_dead_letters();
}
