//! Tables that change while rows are on their way: by several members at once, and by hand.

use std::time::Duration;

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::Record;
use sandbox::wait;

use crate::replication::shop::{Shop, change, field, in_block};
use crate::support::{Daemon, PATIENCE};

const COLUMNS: [(&str, &str); 3] = [
    ("id", "Int64"),
    ("v", "Nullable(String)"),
    ("n", "Nullable(Int32)"),
];

/// `rest` is more JSON members.
fn row(id: u32, rest: &str) -> Record {
    let after = format!(r#"{{"id":{id},"v":"a","n":{id}{rest}}}"#);
    change("c", &format!(r#"{{"id":{id}}}"#), &after)
}

/// Waits until each daemon has two of the four partitions.
fn wait_for_shares(daemons: &[Daemon; 2]) {
    let share = |daemon: &Daemon| {
        let (_, body) = daemon.get("/api/v1/streaming/replica")?;
        let state: serde_json::Value = serde_json::from_str(&body).ok()?;
        Some(state["partitions"].as_array()?.len())
    };
    let is_shared = || daemons.iter().all(|d| share(d) == Some(2)).then_some(());
    wait::until("the partitions are shared", PATIENCE, is_shared).expect("shared");
}

#[test]
fn two_members_of_two_lanes_meet_new_columns_at_once() {
    for with_block in [false, true] {
        let columns: &[(&str, &str)] = if with_block { &[] } else { &COLUMNS };
        let mut shop = Shop::new("at-once", columns, 4);
        shop.job.set("pipeline.consumers", 2);
        let daemons = [shop.start("a"), shop.start("b")];
        wait_for_shares(&daemons);
        let mut fields = vec![
            field("id", "int64", false),
            field("v", "string", true),
            field("n", "int32", true),
        ];
        // The table itself is made by whoever is first, too.
        for round in 0..4 {
            let name = format!("c{round}");
            fields.push(field(&name, "int64", true));
            let rows = (0..200).map(|n| {
                let id = round * 1_000 + n;
                let members: String = (0..=round).map(|c| format!(r#","c{c}":{n}"#)).collect();
                let record = row(id, &members);
                if with_block {
                    in_block(record, &fields, 1)
                } else {
                    record
                }
            });
            shop.write(rows);
        }
        shop.wait_for_commits(&daemons[0]);
        let sums = "SELECT count(), sum(c0), sum(c1), sum(c2), sum(c3), countIf(c3 IS NULL) \
                    FROM {db}.t_current";
        let expected = "800\t79600\t59700\t39800\t19900\t600";
        assert_eq!(shop.job.query(sums), expected);
        shop.assert_no_dead_letters();
        daemons.iter().for_each(Daemon::stop);
    }
}

/// The partition is lost between the change of the table and that of its view: whoever has it next, here the same
/// process, finds the table as it should be, and the view behind it.
#[test]
fn a_view_that_was_not_renewed_before_the_partition_was_lost_is_renewed_by_the_next() {
    let mut shop = Shop::new("lost-view", &COLUMNS, 1);
    let mut properties = toml::Table::new();
    properties.insert("session.timeout.ms".into(), 1_000.into());
    properties.insert("heartbeat.interval.ms".into(), 200.into());
    let properties = toml::Value::Table(properties);
    shop.job.set("kafka.properties", properties);
    let proxy = Proxy::start(&shop.job.clickhouse_url).expect("a proxy");
    shop.job.set("clickhouse.url", proxy.url());
    let daemon = shop.start("daemon");
    shop.write([row(1, "")]);
    shop.wait_for_rows(&daemon, "1\ta\t1");
    let renewals = Matcher::any().query_contains("REPLACE VIEW");
    let held = proxy.inject(renewals, Fault::HoldRequest, 1);
    shop.write([in_block_with_c(2)]);
    held.wait_for_hits(1, PATIENCE).expect("a renewal is held");
    daemon.process.pause();
    // Longer than its session.
    std::thread::sleep(Duration::from_secs(3));
    daemon.process.resume();
    let is_lost = || daemon.log().contains("lost=true").then_some(());
    wait::until("the partition is lost", PATIENCE, is_lost).expect("lost");
    shop.write([in_block_with_c(3)]);
    shop.wait_for_commits(&daemon);
    let rows = shop
        .job
        .query("SELECT id, c FROM {db}.t_current ORDER BY id");
    assert_eq!(rows, "1\t\\N\n2\tof 2\n3\tof 3");
    daemon.stop();
}

fn in_block_with_c(id: u32) -> Record {
    let fields = [
        field("id", "int64", false),
        field("v", "string", true),
        field("n", "int32", true),
        field("c", "string", true),
    ];
    in_block(row(id, &format!(r#","c":"of {id}""#)), &fields, 1)
}

#[test]
fn a_table_that_is_altered_by_hand_meanwhile_loses_nothing() {
    let mut shop = Shop::new("by-hand", &COLUMNS, 1);
    shop.job.set("pipeline.evolution", "ignore");
    let proxy = Proxy::start(&shop.job.clickhouse_url).expect("a proxy");
    shop.job.set("clickhouse.url", proxy.url());
    let daemon = shop.start("daemon");
    shop.write([row(1, "")]);
    shop.wait_for_rows(&daemon, "1\ta\t1");
    let steps = [
        ("MODIFY COLUMN n Nullable(Int64)", "id, v, n", "2\ta\t2"),
        (
            "ADD COLUMN m Int64 DEFAULT n * 2",
            "id, v, n, m",
            "3\ta\t3\t6",
        ),
        ("DROP COLUMN v", "id, n, m", "4\t4\t8"),
    ];
    for (id, (alter, columns, expected)) in (2..).zip(steps) {
        let inserts = Matcher::inserts().query_contains("`t`");
        let held = proxy.inject(inserts, Fault::HoldRequest, 1);
        shop.write([row(id, "")]);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        shop.job.query(&format!("ALTER TABLE {{db}}.t {alter}"));
        held.release();
        shop.wait_for_commits(&daemon);
        assert_eq!(
            shop.select(columns, &format!("id = {id}")),
            expected,
            "{alter}"
        );
    }
    assert_eq!(shop.select("id", "_deleted = 0"), "1\n2\n3\n4");
    shop.assert_no_dead_letters();
    daemon.stop();
}

#[test]
fn a_column_with_an_expression_is_left_to_it_until_a_record_fills_it() {
    let shop = Shop::new("expressions", &COLUMNS, 1);
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, v Nullable(String), n Nullable(Int32), \
         twice Int64 DEFAULT n * 2, shout String MATERIALIZED upper(v), half Float64 ALIAS n / 2, \
         _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
    );
    shop.write([row(1, ""), row(2, "")]);
    shop.run();
    let columns = "id, n, twice, shout, half";
    assert_eq!(
        shop.select(columns, "_deleted = 0"),
        "1\t1\t2\tA\t0.5\n2\t2\t4\tA\t1"
    );
    shop.write([row(3, ""), row(2, r#","twice":77"#), row(4, "")]);
    shop.run();
    let filled = shop.select("id, twice", "id IN (1, 2)");
    assert_eq!(filled, "1\t2\n2\t77");
    shop.assert_no_dead_letters();
}
