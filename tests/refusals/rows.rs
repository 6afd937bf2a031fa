//! Rows the server does not take.

use std::collections::BTreeSet;

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::{shared, topic};

use crate::support::{EVENT_TIME_MS, Job, event};

/// A table that takes no event of the city "nowhere".
fn constrained(name: &str, partitions: i32) -> Job {
    let job = Job::new(name);
    job.apply_schema();
    job.query("ALTER TABLE {db}.clickstream_events ADD CONSTRAINT c CHECK city != 'nowhere'");
    job.create_topic(partitions);
    job
}

fn offsets_of(letters: &[topic::Received]) -> BTreeSet<(i32, i64)> {
    let number = |letter: &topic::Received, name: &str| {
        letter
            .header(name)
            .and_then(|text| text.parse::<i64>().ok())
            .expect("a number")
    };
    let place = |letter: &topic::Received| {
        let partition = number(letter, "streamweir-partition");
        (
            i32::try_from(partition).expect("small"),
            number(letter, "streamweir-offset"),
        )
    };
    letters.iter().map(place).collect()
}

#[test]
fn only_rows_that_a_constraint_refuses_become_dead_letters_as_they_came() {
    let job = constrained("constraint", 2);
    let refused = BTreeSet::from([(0, 0), (0, 17), (0, 18), (1, 39)]);
    let record = |partition: i32, offset: u32| {
        let is_refused = refused.contains(&(partition, i64::from(offset)));
        let rest = if is_refused {
            r#","city":"nowhere""#
        } else {
            ""
        };
        topic::Record::new(event(offset, rest))
            .partition(partition)
            .timestamp_ms(EVENT_TIME_MS + i64::from(offset))
            .key(format!("key {offset}"))
            .header("h", "one")
            .header("h", format!("{offset}"))
    };
    let records = (0..40).flat_map(|offset| [record(0, offset), record(1, offset)]);
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (76, 76));
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    assert_eq!(offsets_of(&letters), refused);
    assert_eq!(letters.len(), refused.len());
    for letter in &letters {
        let offset = letter.header("streamweir-offset").expect("an offset");
        let number: u32 = offset.parse().expect("a number");
        let value = event(number, r#","city":"nowhere""#).into_bytes();
        assert_eq!(letter.value, Some(value));
        assert_eq!(letter.key, Some(format!("key {offset}").into_bytes()));
        assert_eq!(letter.timestamp_ms, EVENT_TIME_MS + i64::from(number));
        let own = [
            ("h".to_owned(), Some(b"one".to_vec())),
            ("h".to_owned(), Some(offset.into_bytes())),
        ];
        assert_eq!(letter.headers[..2], own);
        let header = |name: &str| letter.header(name).unwrap_or_default();
        assert_eq!(header("streamweir-topic"), job.topic);
        assert_eq!(header("streamweir-stage"), "write");
        assert_eq!(header("streamweir-reason"), "rejected");
        assert_eq!(header("streamweir-pipeline"), "clickstream");
        assert!(header("streamweir-detail").contains("469"), "{letter:?}");
        assert_eq!(header("streamweir-config").len(), 12);
    }
}

#[test]
fn many_refused_rows_in_one_batch_leave_all_others_written_once() {
    let job = constrained("many", 1);
    let refused: BTreeSet<(i32, i64)> = (0..300).filter(|n| n % 7 < 2).map(|n| (0, n)).collect();
    let records = (0..300).map(|n| {
        let is_refused = refused.contains(&(0, i64::from(n)));
        topic::Record::new(event(
            n,
            if is_refused {
                r#","city":"nowhere""#
            } else {
                ""
            },
        ))
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let written = 300 - refused.len();
    assert_eq!(job.rows_and_offsets(), (written, written));
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    assert_eq!(offsets_of(&letters), refused);
}

#[test]
fn a_view_that_fails_behind_the_table_halts_is_named_and_gets_its_rows_once_it_is_mended() {
    let job = Job::new("view");
    job.apply_schema();
    job.create_topic(1);
    job.query(
        "CREATE TABLE {db}.numbers (id String, n UInt32) ENGINE = MergeTree ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 100",
    );
    let reading = |expression: &str| {
        format!("SELECT event_id AS id, {expression} AS n FROM {{db}}.clickstream_events")
    };
    job.query(&format!(
        "CREATE MATERIALIZED VIEW {{db}}.cities TO {{db}}.numbers AS {}",
        reading("toUInt32(city)")
    ));
    let records = (0..41u32).map(|n| {
        let city = if n == 20 {
            "x".to_owned()
        } else {
            n.to_string()
        };
        topic::Record::new(event(n, &format!(r#","city":"{city}""#)))
            .partition(0)
            .timestamp_ms(EVENT_TIME_MS)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    let view = format!("view {}.cities", job.database);
    job.assert_halts("fails", "view_failed", &[&view, "lacks rows", "Code: 6"]);
    assert_eq!(job.rows_and_offsets(), (41, 41));
    assert_eq!(job.query("SELECT count() FROM {db}.numbers"), "0");
    job.query(&format!(
        "ALTER TABLE {{db}}.cities MODIFY QUERY {}",
        reading("toUInt32OrZero(city)")
    ));
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (41, 41));
    let counts = "SELECT count(), uniqExact(id) FROM {db}.numbers";
    assert_eq!(job.query(counts), "41\t41");
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).unwrap_or_default();
    assert_eq!(letters, [], "none of them is at fault");
}

#[test]
fn one_insert_may_touch_more_than_a_hundred_table_partitions() {
    let mut job = Job::new("partitions");
    // However long it takes to read them, all rows go at the end of the run.
    job.set("pipeline.batch.flush_interval", "1m");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let shipped = crate::support::project_root().join("sql/clickstream_events.sql");
    let text = std::fs::read_to_string(shipped).expect("the shipped table");
    assert!(text.contains("PARTITION BY toYYYYMM(timestamp)"), "{text}");
    let ddl = job.directory.path().join("by_user.sql");
    let by_user = text.replace("PARTITION BY toYYYYMM(timestamp)", "PARTITION BY user_id");
    std::fs::write(&ddl, by_user).expect("written");
    job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..150);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (150, 150));
    let parts = "SELECT uniqExact(_partition_id) FROM {db}.clickstream_events";
    assert_eq!(job.query(parts), "150");
    assert_eq!(proxy.inserts().len(), 1);
}

#[test]
fn a_user_who_may_not_log_in_halts_the_start_and_the_writing() {
    let mut job = Job::new("login");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let refusal = || {
        Fault::exception(
            403,
            516,
            "default: Authentication failed: password is incorrect",
        )
    };
    let always = proxy.inject(Matcher::any(), refusal(), usize::MAX);
    let advice = ["clickhouse.user", "clickhouse.password_file", "516"];
    job.assert_halts("at-start", "authentication", &advice);
    always.stop();
    let inserts = proxy.inject(Matcher::inserts(), refusal(), usize::MAX);
    job.assert_halts("at-insert", "authentication", &advice);
    inserts.stop();
    assert_eq!(job.rows_and_offsets(), (0, 0));
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
}

#[test]
fn a_column_dropped_while_rows_are_written_halts_and_loses_nothing() {
    let job = Job::new("drift");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..5);
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(5);
    job.query("ALTER TABLE {db}.clickstream_events DROP COLUMN referrer");
    job.produce_events(0, 5..10);
    let status = daemon
        .process
        .wait(crate::support::PATIENCE)
        .expect("it ends");
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
    assert!(
        daemon.log().contains("reason=\"schema\""),
        "{}",
        daemon.log()
    );
    // Started again it takes the table as it is.
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (10, 10));
}

#[test]
fn batches_of_one_row_keep_within_the_ranges_that_a_commit_can_name() {
    let mut job = Job::new("single");
    job.set("pipeline.batch.rows_max", 1);
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..1200);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (1200, 1200));
}
