//! One sick table beside sound ones.

use sandbox::topic;
use sandbox::wait;

use crate::replication::shop::{Shop, change, field, in_block, wait_for_commits};
use crate::support::PATIENCE;

const SICK_PARTITIONS: u32 = 6;
const ROUNDS: u32 = 5;
/// Records of 256 KiB.
const LARGE: u32 = 120;

#[test]
fn a_table_whose_server_refuses_all_its_inserts_stops_only_its_own_topic() {
    let mut shop = Shop::new("isolated", &[], SICK_PARTITIONS as i32);
    let well = shop.topic.replace(".t", ".well");
    let late = shop.topic.replace(".t", ".late");
    let bootstrap = shop.job.bootstrap().to_owned();
    for name in [&well, &late] {
        topic::create(&bootstrap, name, 1, &[("retention.ms", "-1")]).expect("a topic");
    }
    let topics = vec![shop.topic.clone(), well.clone(), late.clone()];
    shop.job.set("pipeline.topics", topics);
    shop.job.set("service.memory_max", "64MiB");
    shop.job.set("pipeline.batch.flush_interval", "200ms");
    shop.job.set("pipeline.batch.bytes_max", "1MiB");
    shop.job
        .set("pipeline.batch.inserts_per_second_max", 1000.0);
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, v Nullable(String), _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id \
         SETTINGS parts_to_throw_insert = 1",
    );
    shop.job.query("SYSTEM STOP MERGES {db}.t");
    let fields = [field("id", "int64", false), field("v", "string", true)];
    let row_with = |id: u32, v: &str| {
        let row = format!(r#"{{"id":{id},"v":"{v}"}}"#);
        in_block(change("c", &format!(r#"{{"id":{id}}}"#), &row), &fields, 1)
    };
    let row = |id: u32| row_with(id, "");
    let count = |table: &str| {
        let is_there = shop.job.query(&format!("EXISTS {{db}}.{table}")) == "1";
        let count = || {
            shop.job
                .query(&format!("SELECT count() FROM {{db}}.{table}"))
        };
        if is_there { count() } else { String::new() }
    };
    // More than memory holds, for the sick table alone.
    let text = "0123456789abcdef".repeat(16 << 10);
    shop.write((0..LARGE).map(|number| {
        let partition = (number % SICK_PARTITIONS) as i32;
        row_with(number, &text).partition(partition)
    }));
    let daemon = shop.start("isolated");
    let wait_for = |table: &str, rows: u32| {
        let is_there = || (count(table) == rows.to_string()).then_some(());
        let waited = wait::until("the rows are written", PATIENCE, is_there);
        waited.unwrap_or_else(|e| panic!("{table}: {e}\n{}", daemon.log()));
    };
    let is_refused = || daemon.log().contains("TOO_MANY_PARTS").then_some(());
    wait::until("inserts are refused", PATIENCE, is_refused).expect("the table is sick");
    for round in 0..ROUNDS {
        topic::produce(&bootstrap, &well, [row(round)]).expect("a record");
        wait_for("well", round + 1);
    }
    // A table that is made while the other waits.
    topic::produce(&bootstrap, &late, [row(0)]).expect("a record");
    wait_for("late", 1);
    wait_for_commits(&shop.job, &well, &daemon);
    wait_for_commits(&shop.job, &late, &daemon);
    assert_ne!(count("t"), LARGE.to_string());
    shop.job
        .query("ALTER TABLE {db}.t MODIFY SETTING parts_to_throw_insert = 3000");
    wait_for("t", LARGE);
    shop.wait_for_commits(&daemon);
    shop.assert_no_dead_letters();
}

#[test]
fn a_column_of_an_unknown_type_halts_at_the_first_record_with_its_field_behind_the_neighbours() {
    let mut shop = Shop::new("unknown-type", &[], 1);
    let well = shop.topic.replace(".t", ".well");
    let bootstrap = shop.job.bootstrap().to_owned();
    topic::create(&bootstrap, &well, 1, &[("retention.ms", "-1")]).expect("a topic");
    shop.job
        .set("pipeline.topics", vec![shop.topic.clone(), well.clone()]);
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, m AggregateFunction(count), _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
    );
    let fields = [field("id", "int64", false), field("m", "string", true)];
    let row = |id: u32, m: &str, count: usize| {
        let row = format!(r#"{{"id":{id}{m}}}"#);
        let key = format!(r#"{{"id":{id}}}"#);
        in_block(change("c", &key, &row), &fields[..count], 1)
    };
    shop.write([row(1, "", 1), row(2, r#","m":"x""#, 2)]);
    for round in 1..3 {
        topic::produce(&bootstrap, &well, [row(round, "", 1)]).expect("a record");
        let advice = ["column m", "AggregateFunction(count)", ":0:1"];
        shop.job.assert_halts("unknown", "schema", &advice);
        let rows = "SELECT count() FROM {db}.well";
        assert_eq!(shop.job.query(rows), round.to_string());
    }
}
