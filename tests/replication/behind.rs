//! Tables that have fewer or other rows than the group's offsets say.

use sandbox::topic::{self, Record};
use toml::Value;

use crate::replication::shop::{Shop, change, set_mapping};

const COLUMNS: [(&str, &str); 2] = [("id", "Int64"), ("v", "Nullable(String)")];

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

fn row(id: u32, v: &str) -> Record {
    change("u", &key(id), &format!(r#"{{"id":{id},"v":"{v}"}}"#))
}

#[test]
fn a_new_or_emptied_table_under_committed_offsets_halts_until_told_otherwise() {
    let mut shop = Shop::new("behind", &COLUMNS, 2);
    // One of the two partitions stays empty, and is committed at its beginning.
    shop.write_to(0, [row(1, "a"), row(2, "b")]);
    shop.run();
    shop.run();
    let advice = [
        "accept_empty = true",
        "snapshot",
        "_.t is not there or has no row",
        "offset 2",
    ];
    shop.job.query("TRUNCATE TABLE {db}.t");
    shop.job.assert_halts("emptied", "table_behind", &advice);
    shop.job.query("DROP TABLE {db}.t");
    shop.job.assert_halts("dropped", "table_behind", &advice);
    shop.set_mapping("table", "another");
    let advice = ["_.another is not there or has no row"];
    shop.job.assert_halts("another", "table_behind", &advice);
    shop.set_mapping("table", "t");
    // As the advice says.
    shop.set_back(0, 0);
    shop.run();
    assert_eq!(shop.rows(), "1\ta\n2\tb");
    shop.job.query("TRUNCATE TABLE {db}.t");
    shop.set_mapping("accept_empty", true);
    shop.run();
    // What was accepted once is not asked again, before the first row and after it.
    shop.set_mapping("accept_empty", false);
    shop.run();
    shop.write_to(0, [row(3, "c")]);
    shop.run();
    shop.run();
    assert_eq!(shop.rows(), "3\tc");
    shop.job.query("TRUNCATE TABLE {db}.t");
    shop.job
        .assert_halts("again", "table_behind", &["offset 3"]);
}

#[test]
fn a_topic_that_has_made_no_row_yet_is_not_behind() {
    let shop = Shop::new("no-rows", &[], 1);
    shop.write((1..4).map(|id| Record::tombstone(key(id))));
    shop.write([Record::new("{").key(key(4))]);
    for _ in 0..2 {
        shop.run();
    }
    shop.job.assert_committed_to_end();
    assert_eq!(shop.job.query("EXISTS {db}.t"), "0");
}

#[test]
fn a_topic_nobody_has_read_halts_before_the_rows_of_another() {
    let mut shop = Shop::new("renamed", &COLUMNS, 1);
    shop.write([row(1, "a"), row(1, "b"), row(1, "newest")]);
    shop.run();
    // Its newest record has a lower offset than the old topic's, and its last one a higher.
    let other = shop.topic.replace("shop.", "renamed.");
    topic::create(shop.job.bootstrap(), &other, 1, &[("retention.ms", "-1")]).expect("a topic");
    let records = (1..6).map(|id| row(id, "new").timestamp_ms(1_767_312_000_001));
    topic::produce(shop.job.bootstrap(), &other, records).expect("records");
    let columns = shop.job.config["pipeline"][0]["tables"][&shop.topic]["columns"].clone();
    let pipeline = shop.job.config["pipeline"][0]
        .as_table_mut()
        .expect("a pipeline");
    pipeline.insert("tables".into(), Value::Table(toml::Table::new()));
    shop.job.set("pipeline.topics", vec![other.clone()]);
    set_mapping(&mut shop.job, &other, "columns", columns);
    let advice = [
        &*other,
        "_.t has rows",
        "pipeline.version_epochs",
        "shared = true",
        "epoch = 1",
    ];
    shop.job.assert_halts("renamed", "table_has_rows", &advice);
    assert_eq!(shop.rows(), "1\tnewest");
    let mut epoch = toml::Table::new();
    epoch.insert("since".into(), "2026-01-02T00:00:00Z".into());
    epoch.insert("epoch".into(), 1.into());
    shop.job
        .set("pipeline.version_epochs", vec![Value::Table(epoch)]);
    shop.run();
    assert_eq!(shop.rows(), "1\tnew\n2\tnew\n3\tnew\n4\tnew\n5\tnew");
}

#[test]
fn topics_of_several_shards_share_a_table() {
    let mut shop = Shop::new("shared", &COLUMNS, 1);
    let other = shop.topic.replace("shop.", "second.");
    topic::create(shop.job.bootstrap(), &other, 1, &[("retention.ms", "-1")]).expect("a topic");
    shop.write([row(1, "a"), row(2, "b")]);
    shop.set_mapping("shared", true);
    shop.run();
    // The second shard comes later.
    topic::produce(shop.job.bootstrap(), &other, [row(11, "c")]).expect("records");
    let topics = vec![shop.topic.clone(), other.clone()];
    shop.job.set("pipeline.topics", topics);
    set_mapping(&mut shop.job, &other, "shared", true);
    shop.run();
    topic::produce(
        shop.job.bootstrap(),
        &other,
        [Record::tombstone(key(11)), row(12, "d")],
    )
    .expect("records");
    shop.write([row(1, "e")]);
    shop.run();
    assert_eq!(shop.rows(), "1\te\n2\tb\n12\td");
}
