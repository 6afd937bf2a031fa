//! Keys that are left and taken again: each row under a new key has the values of its own life under the
//! old one, whoever reads which partition when, and whatever died in between.

use sandbox::topic::{self, Record};
use sandbox::wait;

use crate::replication::shop::{Shop, UNCHANGED, at, change, delete, key_change};
use crate::support::{Daemon, PATIENCE};

const COLUMNS: [(&str, &str); 3] = [
    ("id", "Int64"),
    ("n", "Nullable(Int64)"),
    ("big", "Nullable(String)"),
];
/// Partitions of the keys 27 and 130, and of all others.
const OLD: i32 = 0;
const NEW: i32 = 1;

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

fn created(id: u32, n: u32, value: &str) -> Record {
    let row = format!(r#"{{"id":{id},"n":{n},"big":"{value}"}}"#);
    change("c", &key(id), &row)
}

/// What both partitions tell of a change of the key; the large value is left out.
fn moved(lsn: u32, old: u32, new: u32, n: u32) -> (Vec<Record>, Record) {
    let row = format!(r#"{{"id":{new},"n":{n},"big":{UNCHANGED}}}"#);
    let (leaves, comes) = key_change(&key(old), &key(new), &row);
    (at(lsn, leaves), at(lsn, [comes]).remove(0))
}

fn gone(id: u32) -> [Record; 2] {
    [delete(&key(id), &key(id)), Record::tombstone(key(id))]
}

fn shop(name: &str, partitions: i32) -> Shop {
    let mut shop = Shop::new(name, &COLUMNS, partitions);
    // Long enough that nothing in these tests comes too late.
    shop.job.set("pipeline.toast_wait", "600s");
    shop.job.set("pipeline.batch.flush_interval", "500ms");
    let mut properties = toml::Table::new();
    // The group is to notice soon that its member was killed.
    properties.insert("session.timeout.ms".into(), 2_000.into());
    properties.insert("heartbeat.interval.ms".into(), 300.into());
    let properties = toml::Value::Table(properties);
    shop.job.set("kafka.properties", properties);
    shop
}

/// A life of a daemon that reads these records of one partition, and dies when the rows are those and the
/// partition is committed: it is not read again.
fn life(shop: &Shop, partition: i32, records: &[Record], rows: &[&str]) {
    let daemon = waiting_life(shop, partition, records, rows);
    let is_committed = || {
        let end = topic::end_offsets(shop.job.bootstrap(), &shop.topic).ok()?[&partition];
        let committed = shop.job.committed();
        let at = committed.get(&partition)?.offset;
        (at == end).then_some(())
    };
    let waited = wait::until("the partition is committed", PATIENCE, is_committed);
    waited.unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    daemon.process.kill();
}

/// The same, as long as rows of it wait for others.
fn waiting_life(shop: &Shop, partition: i32, records: &[Record], rows: &[&str]) -> Daemon {
    shop.write_to(partition, records.iter().cloned());
    let daemon = shop.start("daemon");
    shop.wait_for_rows(&daemon, &rows.join("\n"));
    daemon
}

/// The last life, which ends when everything is committed.
fn last_life(shop: &Shop, partition: i32, records: &[Record], rows: &[&str]) {
    shop.write_to(partition, records.iter().cloned());
    let daemon = shop.start("daemon");
    finish(shop, &daemon, rows);
}

fn finish(shop: &Shop, daemon: &Daemon, rows: &[&str]) {
    let expected = rows.join("\n");
    shop.wait_for_rows(daemon, &expected);
    shop.wait_for_commits(daemon);
    assert_eq!(shop.rows(), expected);
    shop.assert_no_dead_letters();
    daemon.stop();
}

#[test]
fn a_key_that_is_left_twice_gives_each_change_its_own_values() {
    let shop = shop("left-twice", 2);
    let (leaves, comes) = moved(100, 27, 130, 2);
    let (leaves_again, comes_again) = moved(300, 27, 130, 4);
    let before = [vec![created(27, 1, "a")], leaves].concat();
    life(
        &shop,
        OLD,
        &[&before[..], &[created(5, 5, "e")]].concat(),
        &["5\t5\te"],
    );
    // The first change is known, and the second is not yet: nothing of the first is taken for it. The row
    // 6 is written behind those that could be completed.
    let first = [vec![comes], gone(130).to_vec()].concat();
    let second = [vec![comes_again], vec![created(6, 6, "f")]].concat();
    let waiting = waiting_life(
        &shop,
        NEW,
        &[first, second].concat(),
        &["5\t5\te", "6\t6\tf"],
    );
    waiting.process.kill();
    let again = [vec![created(27, 3, "b")], leaves_again].concat();
    last_life(&shop, OLD, &again, &["5\t5\te", "6\t6\tf", "130\t4\tb"]);
}

#[test]
fn the_old_key_has_had_another_life_and_another_leave_before_the_new_one_is_read() {
    let shop = shop("left-before", 2);
    let (leaves, comes) = moved(100, 27, 130, 2);
    let (leaves_again, _) = moved(300, 27, 130, 4);
    let old = [
        vec![created(27, 1, "a")],
        leaves,
        vec![created(27, 3, "b")],
        leaves_again,
        vec![created(5, 5, "e")],
    ];
    life(&shop, OLD, &old.concat(), &["5\t5\te"]);
    last_life(&shop, NEW, &[comes], &["5\t5\te", "130\t2\ta"]);
}

/// 27 → 130 → 27 → 130, and what each partition tells of it.
fn there_and_back_and_there() -> (Vec<Vec<Record>>, Vec<Vec<Record>>) {
    let (leaves, comes) = moved(100, 27, 130, 2);
    let (left, back) = moved(200, 130, 27, 3);
    let (leaves_again, comes_again) = moved(300, 27, 130, 4);
    let old = vec![
        [vec![created(27, 1, "a")], leaves].concat(),
        vec![back],
        leaves_again,
    ];
    (old, vec![vec![comes], left, vec![comes_again]])
}

#[test]
fn there_and_back_and_there_with_a_death_between_any_two_records_that_can_be_written() {
    let (old, new) = there_and_back_and_there();
    let marks = ["5\t1\tx", "5\t2\tx", "5\t3\tx", "5\t4\tx", "5\t5\tx"];
    // Behind each part a row that shows how far it was written.
    let marked = |part: &[Record], n: u32| [part, &[created(5, n, "x")]].concat();
    let shop = shop("back-and-forth", 2);
    life(&shop, OLD, &marked(&old[0], 1), &[marks[0]]);
    shop.write_to(NEW, new[0].iter().cloned().chain(new[1].iter().cloned()));
    shop.write_to(NEW, new[2].iter().cloned());
    let waiting = [marks[0], "6\t1\ty"];
    waiting_life(&shop, NEW, &[created(6, 1, "y")], &waiting)
        .process
        .kill();
    life(
        &shop,
        OLD,
        &marked(&old[1], 2),
        &[marks[1], "6\t1\ty", "27\t3\ta"],
    );
    last_life(
        &shop,
        OLD,
        &marked(&old[2], 3),
        &[marks[2], "6\t1\ty", "130\t4\ta"],
    );
}

#[test]
fn there_and_back_and_there_in_either_order_of_the_partitions() {
    let (old, new) = there_and_back_and_there();
    let turns = [
        ("forth-new", [(NEW, new.concat()), (OLD, old.concat())]),
        ("forth-old", [(OLD, old.concat()), (NEW, new.concat())]),
    ];
    for (name, [first, second]) in turns {
        let shop = shop(name, 2);
        let mark = [first.1, vec![created(5, 1, "x")]].concat();
        waiting_life(&shop, first.0, &mark, &["5\t1\tx"])
            .process
            .kill();
        last_life(&shop, second.0, &second.1, &["5\t1\tx", "130\t4\ta"]);
    }
}

#[test]
fn a_later_life_is_not_written_before_what_the_key_was_when_it_was_left() {
    let mut shop = shop("held", 2);
    let (leaves, comes) = moved(100, 27, 130, 2);
    let (left, back) = moved(200, 130, 27, 3);
    // 130 has another row at once, which is complete; its own values wait for those of 27.
    let new = [
        vec![comes],
        left,
        vec![created(130, 9, "z"), created(6, 6, "f")],
    ];
    waiting_life(&shop, NEW, &new.concat(), &["6\t6\tf"])
        .process
        .kill();
    // Read again in batches of one row each.
    shop.job.set("pipeline.batch.rows_max", 1);
    let old = [vec![created(27, 1, "a")], leaves, vec![back]];
    let rows = ["6\t6\tf", "27\t3\ta", "130\t9\tz"];
    last_life(&shop, OLD, &old.concat(), &rows);
}

#[test]
fn changes_that_a_connector_tells_once_more_do_not_take_the_values_of_a_later_life() {
    for (name, has_died) in [("told-again", false), ("told-again-later", true)] {
        let shop = shop(name, 1);
        let (leaves, comes) = moved(100, 27, 130, 2);
        let tail = [leaves, vec![comes, created(27, 3, "b")]].concat();
        shop.write([vec![created(27, 1, "a")], tail.clone()].concat());
        let rows = ["27\t3\tb", "130\t2\ta"];
        if has_died {
            life(&shop, OLD, &[], &rows);
        }
        // Behind the tail it goes on with an update that leaves the value out.
        let row = format!(r#"{{"id":130,"n":7,"big":{UNCHANGED}}}"#);
        let update = at(400, [change("u", &key(130), &row)]);
        last_life(
            &shop,
            OLD,
            &[tail, update].concat(),
            &["27\t3\tb", "130\t7\ta"],
        );
    }
}

#[test]
fn the_member_that_wrote_the_old_rows_is_dead() {
    let shop = shop("two-members", 2);
    let (leaves, comes) = moved(100, 27, 130, 2);
    let (leaves_again, _) = moved(300, 27, 130, 4);
    let daemons = [shop.start("a"), shop.start("b")];
    let partition_of = |daemon: &Daemon| {
        let (_, body) = daemon.get("/api/v1/streaming/replica")?;
        let state: serde_json::Value = serde_json::from_str(&body).ok()?;
        let [partition] = &state["partitions"].as_array()?[..] else {
            return None;
        };
        partition["partition"].as_i64()
    };
    let shared = || {
        let shares = [partition_of(&daemons[0])?, partition_of(&daemons[1])?];
        (shares[0] != shares[1]).then_some(shares)
    };
    let shares = wait::until("each has one", PATIENCE, shared);
    let is_first = shares.expect("shared")[0] == i64::from(OLD);
    let (reader, other) = if is_first { (0, 1) } else { (1, 0) };
    let again = [vec![created(27, 3, "b")], leaves_again].concat();
    shop.write_to(OLD, [vec![created(27, 1, "a")], leaves, again].concat());
    shop.write_to(OLD, [created(5, 5, "e")]);
    shop.wait_for_rows(&daemons[reader], "5\t5\te");
    shop.wait_for_commits(&daemons[reader]);
    daemons[reader].process.kill();
    shop.write_to(NEW, [comes]);
    finish(&shop, &daemons[other], &["5\t5\te", "130\t2\ta"]);
}

#[test]
fn a_column_that_became_nullable_in_between_has_its_value() {
    let mut shop = shop("altered", 2);
    shop.set_columns(&[("id", "Int64"), ("n", "Int64"), ("big", "String")]);
    let (leaves, comes) = moved(100, 27, 130, 2);
    let old = [vec![created(27, 1, "a")], leaves, vec![created(27, 3, "b")]];
    life(&shop, OLD, &old.concat(), &["27\t3\tb"]);
    for column in ["n Nullable(Int64)", "big Nullable(String)"] {
        shop.job
            .query(&format!("ALTER TABLE {{db}}.t MODIFY COLUMN {column}"));
    }
    last_life(&shop, NEW, &[comes], &["27\t3\tb", "130\t2\ta"]);
}

#[test]
fn what_is_kept_of_moved_rows_costs_nothing_without_them_and_one_row_a_change_with_them() {
    let shop = shop("kept", 2);
    let kept = || {
        shop.job
            .query("SELECT count() FROM {db}.streamweir_moved_rows")
    };
    let (leaves, comes) = moved(100, 27, 130, 2);
    shop.write_to(OLD, [vec![created(27, 1, "a")], gone(5).to_vec()].concat());
    shop.run();
    assert_eq!(kept(), "0");
    shop.write_to(OLD, leaves);
    shop.write_to(NEW, [comes]);
    for _ in 0..2 {
        shop.run();
        let columns = "table_name, change, column_names, column_types, version";
        let query = format!("SELECT {columns} FROM {{db}}.streamweir_moved_rows");
        let rows = "t\t100\t['big','n']\t['Nullable(String)','Nullable(Int64)']\t4";
        assert_eq!(shop.job.query(&query), rows);
        shop.set_back(OLD, 0);
        shop.set_back(NEW, 0);
    }
}

#[test]
fn without_the_table_the_newest_row_of_the_old_key_is_taken_and_said_so() {
    let mut shop = shop("no-table", 2);
    shop.job.set("pipeline.create_tables", false);
    shop.job.set("pipeline.toast_wait", "1s");
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, n Nullable(Int64), big Nullable(String), _version UInt64, \
         _deleted UInt8) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
    );
    let (leaves, comes) = moved(100, 27, 130, 2);
    let old = [vec![created(27, 1, "a")], leaves, vec![created(27, 3, "b")]];
    life(&shop, OLD, &old.concat(), &["27\t3\tb"]);
    shop.write_to(NEW, [comes]);
    let daemon = shop.start("another");
    daemon.wait_for_log("which of that key's rows it was is not known");
    shop.wait_for_commits(&daemon);
    let (_, page) = daemon.get("/metrics").expect("metrics");
    let counted = "streamweir_values_assumed_total{pipeline=\"replica\"} 1";
    assert!(page.contains(counted), "{page}");
    let log = daemon.log();
    let said = log.matches("streamweir_moved_rows").count();
    assert_eq!(said, 1, "{log}");
    finish(&shop, &daemon, &["27\t3\tb", "130\t2\ta"]);
}

#[test]
fn a_row_that_waits_outlives_the_refusal_of_the_only_other_row_of_its_batch() {
    let shop = shop("refused", 2);
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, n Nullable(Int64), big Nullable(String), _version UInt64, \
         _deleted UInt8, CONSTRAINT c CHECK n != 13) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
    );
    let (leaves, comes) = moved(100, 27, 130, 2);
    shop.write_to(NEW, [comes, created(6, 13, "f")]);
    let daemon = shop.start("daemon");
    daemon.wait_for_log("partition begins");
    let is_refused = || (shop.dead_letters().len() == 1).then_some(());
    let refused = wait::until("a dead letter", PATIENCE, is_refused);
    refused.unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    shop.write_to(OLD, [vec![created(27, 1, "a")], leaves].concat());
    shop.wait_for_rows(&daemon, "130\t2\ta");
    shop.wait_for_commits(&daemon);
    daemon.stop();
    let reasons: Vec<String> = shop
        .reasons()
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    assert_eq!(reasons, ["rejected"]);
}
