//! What decides which change of a row counts, and topics whose offsets begin anew.

use sandbox::topic::{self, Record};
use toml::Value;

use crate::replication::shop::{Shop, change, delete};

const COLUMNS: [(&str, &str); 2] = [("id", "Int64"), ("v", "String")];
/// 2026-01-01 and 02, midnight UTC.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
const SECOND_DAY_MS: i64 = 1_767_312_000_000;

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

/// A change of the first day.
fn row(id: u32, v: &str) -> Record {
    let after = format!(r#"{{"id":{id},"v":"{v}"}}"#);
    change("u", &key(id), &after).timestamp_ms(FIRST_DAY_MS + 1)
}

fn later(record: Record) -> Record {
    record.timestamp_ms(SECOND_DAY_MS + 1)
}

fn set_epochs(shop: &mut Shop, epochs: &[(&str, i64)]) {
    let epochs = epochs.iter().map(|(since, epoch)| {
        let mut table = toml::Table::new();
        table.insert("since".into(), (*since).into());
        table.insert("epoch".into(), (*epoch).into());
        Value::Table(table)
    });
    let epochs: Vec<Value> = epochs.collect();
    shop.job.set("pipeline.version_epochs", epochs);
}

fn begin_anew(shop: &Shop, partitions: i32) {
    topic::delete(shop.job.bootstrap(), &shop.topic).expect("deleted");
    shop.job.create_topic(partitions);
}

const SECOND_DAY: &str = "2026-01-02T00:00:00Z";

#[test]
fn a_version_is_the_epoch_of_the_record_s_time_above_its_offset() {
    let mut shop = Shop::new("version", &COLUMNS, 1);
    let epochs = [("2026-01-01T00:00:00Z", 3), (SECOND_DAY, 7)];
    set_epochs(&mut shop, &epochs);
    shop.write([
        row(1, "a").timestamp_ms(FIRST_DAY_MS - 1),
        row(2, "b").timestamp_ms(FIRST_DAY_MS),
        row(3, "c").timestamp_ms(SECOND_DAY_MS - 1),
        row(4, "d").timestamp_ms(SECOND_DAY_MS),
        delete(&key(1), &key(1)).timestamp_ms(SECOND_DAY_MS),
    ]);
    let versions = || {
        shop.job.query(
            "SELECT id, bitShiftRight(_version, 48), bitAnd(_version, 281474976710655) \
             FROM (SELECT * FROM {db}.t ORDER BY _version DESC LIMIT 1 BY id) ORDER BY id",
        )
    };
    shop.run();
    let expected = "1\t7\t4\n2\t3\t1\n3\t3\t2\n4\t7\t3";
    assert_eq!(versions(), expected);
    shop.set_back(0, 0);
    shop.run();
    assert_eq!(versions(), expected);
}

#[test]
fn a_topic_with_more_partitions_needs_an_epoch() {
    let mut shop = Shop::new("more", &COLUMNS, 1);
    shop.write((0..10).flat_map(|n| [row(1, &format!("a{n}")), row(2, "b"), row(3, "c")]));
    shop.run();
    topic::add_partitions(shop.job.bootstrap(), &shop.topic, 2).expect("a partition more");
    // Offsets of the second partition are below those of the rows that are there.
    shop.write_to(1, [later(row(1, "new")), later(delete(&key(3), &key(3)))]);
    let advice = [
        "had 1 partitions when group",
        "and has 2 now",
        "epoch = 1",
        "pipeline.version_epochs",
    ];
    shop.job.assert_halts("more", "partitions_changed", &advice);
    assert_eq!(shop.rows(), "1\ta9\n2\tb\n3\tc");
    set_epochs(&mut shop, &[(SECOND_DAY, 1)]);
    shop.run();
    assert_eq!(shop.rows(), "1\tnew\n2\tb");
    shop.write_to(0, [later(row(2, "newer"))]);
    shop.run();
    assert_eq!(shop.rows(), "1\tnew\n2\tnewer");
    shop.assert_no_dead_letters();
}

#[test]
fn a_topic_that_was_made_again_needs_an_epoch() {
    let mut shop = Shop::new("anew", &COLUMNS, 1);
    let old = || [row(1, "a"), row(1, "b"), row(2, "c"), row(2, "d")];
    shop.write(old());
    shop.run();
    // The group still has its offsets; then they are gone too, as the docs advise; then the state.
    for round in 1..=3 {
        begin_anew(&shop, 1);
        let new = |id: u32| row(id, &format!("new{round}"));
        let at = SECOND_DAY_MS + round * 86_400_000;
        shop.write([new(1), new(2)].map(|record| record.timestamp_ms(at + 1)));
        let before = shop.rows();
        if round > 1 {
            topic::delete_group(shop.job.bootstrap(), &shop.job.group).expect("no group");
        }
        if round > 2 {
            let state = shop.job.directory.path().join("state");
            std::fs::remove_dir_all(state).expect("no state");
            // Nothing but the table can tell, as long as it has more than the new topic.
            let epoch = (round - 1) << 48;
            let newer = format!(
                "INSERT INTO {{db}}.t (id, v, _version, _deleted) VALUES (3, 'x', {}, 1)",
                epoch + 9
            );
            shop.job.query(&newer);
        }
        let next = format!("epoch = {round} }} to pipeline.version_epochs");
        let advice = [
            "the topic was deleted and created again",
            "would hide the new ones",
            &next,
        ];
        shop.job
            .assert_halts(&format!("anew-{round}"), "topic_changed", &advice);
        assert_eq!(shop.rows(), before);
        let epochs: Vec<(String, i64)> = (1..=round)
            .map(|n| (format!("2026-01-{:02}T00:00:00Z", 2 + n), n))
            .collect();
        let epochs: Vec<(&str, i64)> = epochs.iter().map(|(since, n)| (&**since, *n)).collect();
        set_epochs(&mut shop, &epochs);
        if round == 1 {
            topic::delete_group(shop.job.bootstrap(), &shop.job.group).expect("no group");
        }
        shop.run();
        assert_eq!(shop.rows(), format!("1\tnew{round}\n2\tnew{round}"));
    }
    shop.assert_no_dead_letters();
}
