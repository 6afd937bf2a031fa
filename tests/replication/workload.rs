//! Records of the recorded workload that need more than reading them: a snapshot that races with
//! changes, TRUNCATE, and topics that hold no table.

use std::collections::BTreeMap;

use sandbox::topic::{self, Record};

use crate::replication::corpus::{self, Recording, Source};
use crate::replication::recorded::to_kafka;
use crate::replication::shop::{Shop, change, dropped, envelope, set_mapping, wait_for_commits};
use crate::support::Job;

const COLUMNS: [(&str, &str); 2] = [("id", "Int64"), ("v", "Nullable(String)")];

fn recorded(records: &[corpus::Record]) -> Vec<Record> {
    records.iter().map(to_kafka).collect()
}

fn row(operation: &str, id: u32, v: &str) -> Record {
    let after = format!(r#"{{"id":{id},"v":"{v}"}}"#);
    change(operation, &format!(r#"{{"id":{id}}}"#), &after)
}

fn truncate() -> Record {
    Record::new(envelope("t", "null", "null"))
}

#[test]
fn a_change_that_overtook_the_snapshot_and_a_replay_after_a_crash_end_right() {
    let recording = Recording::load(Source::Ordering, "snapshot_race_and_replay");
    let shop = Shop::new("race", &COLUMNS, 4);
    shop.write(recorded(recording.all()));
    shop.run();
    let expected = [
        "1\tnewer, written before the consistent point",
        "2\tcommitted before consistent point",
        "3\twhile down",
        "4\tafter",
        "5\treborn",
    ];
    assert_eq!(shop.rows(), expected.join("\n"));
    shop.assert_no_dead_letters();
}

#[test]
fn deletes_of_the_old_options_of_unwrap_end_right() {
    let recording = Recording::load(Source::Ordering, "unwrap_default_tombstone");
    let shop = Shop::new("json-null", &COLUMNS, 4);
    let mut expected = BTreeMap::new();
    for record in recording.all() {
        let key: serde_json::Value =
            serde_json::from_str(record.key.as_deref().expect("a key")).expect("JSON");
        let id = key["id"].as_i64().expect("a number");
        let value = record.value.as_deref().expect("a value");
        match serde_json::from_str::<serde_json::Value>(value).expect("JSON") {
            serde_json::Value::Null => expected.remove(&id),
            row => expected.insert(id, row["v"].as_str().expect("a text").to_owned()),
        };
    }
    shop.write(recorded(recording.all()));
    shop.run();
    let expected: Vec<String> = expected
        .iter()
        .map(|(id, v)| format!("{id}\t{v}"))
        .collect();
    assert_eq!(shop.rows(), expected.join("\n"));
    shop.assert_no_dead_letters();
}

#[test]
fn a_recorded_truncation_empties_the_replica() {
    let mut shop = Shop::new("truncated", &COLUMNS, 1);
    shop.job.set("pipeline.truncate", "apply");
    let records = corpus::one_partition("trunc_me", "envelope");
    shop.write_to(0, recorded(&records));
    shop.run();
    let rows = shop.job.query(&format!(
        "{} FORMAT JSONEachRow",
        corpus::query(Source::Postgres, "envelope", "trunc_me", "{db}.t")
    ));
    let rows: Vec<String> = rows.lines().map(str::to_owned).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let differences = corpus::compare(Source::Postgres, "envelope", "trunc_me", &rows);
    assert_eq!(differences, "");
    shop.assert_no_dead_letters();
}

#[test]
fn a_truncation_that_is_read_again_hides_nothing_that_came_later() {
    let mut shop = Shop::new("truncated-again", &COLUMNS, 1);
    shop.job.set("pipeline.truncate", "apply");
    let mut records = vec![truncate(), row("c", 1, "a"), row("c", 2, "b"), truncate()];
    records.extend([
        row("c", 2, "c"),
        row("c", 3, "d"),
        truncate(),
        row("c", 4, "e"),
    ]);
    shop.write(records);
    shop.run();
    assert_eq!(shop.rows(), "4\te");
    shop.write([row("c", 5, "f"), row("u", 1, "g")]);
    shop.run();
    for offset in [0, 3, 6, 7] {
        shop.set_back(0, offset);
        shop.run();
        assert_eq!(shop.rows(), "1\tg\n4\te\n5\tf", "from {offset}");
    }
    shop.assert_no_dead_letters();
}

#[test]
fn a_truncation_halts_or_is_ignored_as_configured() {
    let mut shop = Shop::new("truncate-halts", &COLUMNS, 1);
    shop.write([row("c", 1, "a"), truncate(), row("c", 2, "b")]);
    let place = format!("{}:0:1", shop.topic);
    let advice = [
        &*place,
        "empty it too and pass this record by (pipeline.dead_letter.skip = [",
        "pipeline.truncate = \"apply\"",
        "\"ignore\"",
    ];
    shop.job.assert_halts("halts", "truncate", &advice);
    // What came before it is written, and stays.
    assert_eq!(shop.rows(), "1\ta");
    shop.job.set("pipeline.truncate", "ignore");
    let daemon = shop.start("ignores");
    shop.wait_for_commits(&daemon);
    assert_eq!(dropped(&daemon), [("truncate".to_owned(), 1)].into());
    assert_eq!(shop.rows(), "1\ta\n2\tb");
    daemon.stop();
    shop.job.set("pipeline.truncate", "halt");
    shop.write([row("c", 9, "gone"), truncate(), row("c", 3, "c")]);
    let place = format!("{}:0:4", shop.topic);
    shop.job.assert_halts("halts-again", "truncate", &[&place]);
    // As the advice says; nothing of before comes back.
    assert_eq!(shop.rows(), "1\ta\n2\tb\n9\tgone");
    shop.job.query("TRUNCATE TABLE {db}.t");
    shop.job.set("pipeline.dead_letter.skip", vec![place]);
    shop.run();
    assert_eq!(shop.rows(), "3\tc");
    shop.assert_no_dead_letters();
}

#[test]
fn a_truncation_cannot_be_applied_to_several_partitions() {
    let mut shop = Shop::new("truncate-many", &COLUMNS, 2);
    shop.job.set("pipeline.truncate", "apply");
    shop.write_to(1, [row("c", 1, "a"), truncate()]);
    let place = format!("{}:1:1", shop.topic);
    let advice = [&*place, "more than one partition", "by hand", "skip"];
    shop.job.assert_halts("many", "truncate", &advice);
    assert_eq!(shop.rows(), "1\ta");
}

/// Every topic of a recording that holds no table, and what its records count as.
fn beside_tables(source: Source, variant: &str, expected: &[(&str, u64)], made: &str) {
    let recording = Recording::load(source, variant);
    let mut job = Job::replication("beside");
    let prefix = job.prefix.clone();
    let is_beside = |topic: &str| {
        !topic.contains(".public.") && !topic.contains(".shop.") || topic.contains("signal")
    };
    let mut topics: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for record in recording.all() {
        let is_table = record.topic.ends_with(made);
        if is_beside(&record.topic) || is_table {
            let topic = format!("{prefix}{}", record.topic);
            topics.entry(topic).or_default().push(to_kafka(record));
        }
    }
    job.set("pipeline.topics", vec![format!("^{prefix}.*")]);
    job.dead_letter_topic = format!("dead-letters-of-{prefix}");
    job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
    job.set("pipeline.debezium.time_mode", "adaptive");
    let signals = topics.keys().filter_map(|topic| topic.rsplit('.').next());
    let signals: Vec<&str> = signals.filter(|name| name.contains("signal")).collect();
    job.set(
        "pipeline.debezium.signal_table",
        [&["dbz_signal"], &signals[..]].concat(),
    );
    for (topic, records) in &topics {
        topic::create(job.bootstrap(), topic, 4, &[("retention.ms", "-1")]).expect("a topic");
        topic::produce(job.bootstrap(), topic, records.clone()).expect("records");
        if topic.ends_with(made) {
            let columns = corpus::columns(source, variant, made);
            let columns = columns.into_iter().map(|(n, t)| (n, t.into()));
            set_mapping(&mut job, topic, "columns", columns.collect::<toml::Table>());
        }
    }
    let daemon = job.start("beside", &[], "");
    for topic in topics.keys() {
        wait_for_commits(&job, topic, &daemon);
    }
    let expected: BTreeMap<String, u64> = expected
        .iter()
        .map(|(reason, n)| ((*reason).to_owned(), *n))
        .collect();
    let counted: u64 = expected.values().sum();
    let beside = topics.iter().filter(|(topic, _)| !topic.ends_with(made));
    assert_eq!(
        counted,
        beside.map(|(_, records)| records.len() as u64).sum::<u64>()
    );
    assert_eq!(dropped(&daemon), expected);
    let tables = format!(
        "SELECT arraySort(groupArray(name)) FROM system.tables WHERE database = '{}' \
         AND name != 'streamweir_moved_rows'",
        job.database
    );
    assert_eq!(job.query(&tables), format!("['{made}','{made}_current']"));
    daemon.stop();
}

#[test]
fn topics_that_hold_no_table_are_passed_by_and_counted() {
    let of_postgres = [
        ("heartbeat", 18),
        ("message", 2),
        ("signal", 15),
        ("transaction", 428),
    ];
    beside_tables(Source::Postgres, "txmeta", &of_postgres, "toasty_full");
    beside_tables(
        Source::MariaDb,
        "envelope",
        &[("schema_change", 26)],
        "orders",
    );
}
