//! Records that make a row of each element of an array: each row once, whatever happens.

use sandbox::topic::{self, Committed};
use serde_json::Value;

use super::columns::{PROVENANCE, job};
use super::formats::{reasons, record};
use crate::support::{Job, PATIENCE, command};

/// Rows of one record lie in several parts of the table: a part may be there without the others.
fn exploding(name: &str) -> Job {
    let mut job = job(name, "x UInt8");
    job.query("DROP TABLE {db}.clickstream_events SYNC");
    job.query(&format!(
        "CREATE TABLE {{db}}.clickstream_events (id UInt32, sku String, n UInt8 DEFAULT 1, tag String, \
         whole JSON, _index UInt32, {PROVENANCE}) ENGINE = MergeTree PARTITION BY _index % 3 ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000"
    ));
    job.set("pipeline.time_field", "");
    job.set("pipeline.explode", "$.order.items");
    for (column, path) in [
        ("sku", "$.order.items.sku"),
        ("n", "$.order.items.n"),
        ("tag", "$.order.items.tags[0]"),
        ("whole", "$.order.items"),
    ] {
        job.set(&format!("pipeline.columns.{column}.path"), path);
    }
    job
}

#[test]
fn each_element_makes_a_row_and_a_record_without_elements_makes_none() {
    let mut job = exploding("explode");
    let items =
        |id: u8, items: &str| record(&format!(r#"{{"id":{id},"order":{{"items":{items}}}}}"#));
    let records = [
        items(
            0,
            r#"[{"sku":"a","n":2,"tags":["x","y"]},{"sku":"b"},null]"#,
        ),
        items(1, "[]"),
        items(2, "null"),
        record(r#"{"id":3}"#),
        items(4, r#"{"sku":"a"}"#),
        items(5, r#"[{"sku":"c"},{"n":256}]"#),
        items(6, r#"[{"sku":"d","sku":"e"}]"#),
    ];
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, _index, sku, n, tag, whole.sku, _offset FROM {db}.clickstream_events ORDER BY id, _index",
    );
    let expected = [
        "0\t0\ta\t2\tx\ta\t0",
        "0\t1\tb\t1\t\tb\t0",
        "0\t2\t\t1\t\t\\N\t0",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let expected = [
        "4 invalid_value explode: $.order.items is no array",
        "5 out_of_range n: UInt8 (element 1)",
        "6 rejected",
    ];
    let seen = reasons(&job);
    assert_eq!(seen.len(), 3, "{seen:?}");
    for (seen, expected) in seen.iter().zip(expected) {
        assert!(seen.starts_with(expected), "{seen}");
    }
    replays_what_is_missing_of_a_record(&job);
    refuses_tables_that_do_not_tell_rows_apart(&mut job);
}

/// Of the record at offset 5 the table has one of two rows.
fn replays_what_is_missing_of_a_record(job: &Job) {
    job.query(
        "ALTER TABLE {db}.clickstream_events MODIFY COLUMN n UInt16 SETTINGS mutations_sync = 2, alter_sync = 2",
    );
    job.query(&format!(
        "INSERT INTO {{db}}.clickstream_events (id, sku, _index, _topic, _partition, _offset) \
         VALUES (5, 'c', 0, '{}', 0, 5)",
        job.topic
    ));
    let place = format!("{}:0:5", job.topic);
    let pipeline = job.text("pipeline.name");
    let state = || {
        let (_, out, err) = job.inspect(&["dead-letters", "list", "--all", "--json"]);
        let mut listed = out
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let own = listed.rfind(|letter| letter["offset"] == 5);
        own.unwrap_or_else(|| panic!("{out}{err}"))["state"].clone()
    };
    let audit = || job.inspect(&["audit", "--pipeline", pipeline, "--json"]);
    assert_eq!(state(), "open");
    assert_eq!(audit().0, 1, "a row is missing");
    for (written, already) in [(1, 0), (0, 1)] {
        let replay = ["dead-letters", "replay", "--address", &place, "--json"];
        let (code, out, err) = job.inspect(&replay);
        let done: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
        let seen = (code, &done["written"], &done["already_written"]);
        assert_eq!(seen, (0, &written.into(), &already.into()), "{done}");
    }
    let rows = job.query(
        "SELECT _index, sku, n FROM {db}.clickstream_events WHERE _offset = 5 ORDER BY _index",
    );
    assert_eq!(rows, "0\tc\t1\n1\t\t256");
    assert_eq!(state(), "written");
    let (code, out, err) = audit();
    assert_eq!(code, 0, "{out}{err}");
}

fn refuses_tables_that_do_not_tell_rows_apart(job: &mut Job) {
    let computed = "_index UInt32 MATERIALIZED 0,";
    for (table, index, delivery, expected) in [
        (
            "computed",
            computed,
            "exactly_once",
            "_index is computed by the table",
        ),
        (
            "computed_too",
            computed,
            "at_least_once",
            "lacks the column _index",
        ),
        ("plain", "", "at_least_once", "lacks the column _index"),
    ] {
        job.query(&format!(
            "CREATE TABLE {{db}}.{table} (id UInt32, sku String, n UInt8, tag String, whole JSON, {index} \
             {PROVENANCE}) ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
        ));
        job.set("pipeline.clickhouse.table", table);
        job.set("pipeline.delivery", delivery);
        let (code, _, err) = job.inspect(&["audit", "--pipeline", job.text("pipeline.name")]);
        assert!(code == 1 && err.contains(expected), "{table}: {code} {err}");
    }
}

#[test]
fn rows_of_a_record_are_written_once_each_in_spite_of_kills_and_of_parts_that_are_missing() {
    let mut job = exploding("explode-once");
    job.set("pipeline.batch.rows_max", 50);
    job.set("kafka.properties.session.timeout.ms", 2_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
    let elements = |id: i64| usize::try_from(id % 7).expect("small");
    let records = (0..200).map(|id| {
        let item = |n: usize| format!(r#"{{"sku":"s{n}","n":{n}}}"#);
        let items: Vec<String> = (0..elements(id)).map(item).collect();
        record(&format!(
            r#"{{"id":{id},"order":{{"items":[{}]}}}}"#,
            items.join(",")
        ))
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    let total: usize = (0..200).map(elements).sum();
    // One poll may have all records: its point is passed once for certain.
    for (point, action) in [
        ("before_insert", "1*off->return"),
        ("after_insert_acknowledged", "1*off->return"),
        ("after_poll", "return"),
    ] {
        let daemon = job.start(point, &[], &format!("{point}={action}"));
        assert!(daemon.process.wait(PATIENCE).is_ok(), "{}", daemon.log());
    }
    job.run_to_end();
    let all = || {
        job.query("SELECT count(), uniqExact(_offset, _index), sum(n) FROM {db}.clickstream_events")
    };
    let sum: usize = (0..200).map(|id| (0..elements(id)).sum::<usize>()).sum();
    let expected = format!("{total}\t{total}\t{sum}");
    assert_eq!(all(), expected);
    // Of some records a part is missing, of one everything: a group that is set back writes just that.
    job.query(
        "ALTER TABLE {db}.clickstream_events DELETE WHERE _offset % 5 = 3 AND _index % 3 = 1 OR _offset = 6 \
         SETTINGS mutations_sync = 2",
    );
    assert_ne!(all(), expected);
    let pipeline = job.text("pipeline.name");
    let audit = || {
        let (path, _) = job.write_config("audit");
        let output = command(&path, &["audit", "--pipeline", pipeline]).output();
        output.expect("it starts").status.code()
    };
    assert_eq!(audit(), Some(1), "rows are missing");
    let beginning = Committed {
        offset: 0,
        metadata: String::new(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &beginning).expect("committed");
    job.run_to_end();
    assert_eq!(all(), expected);
    assert_eq!(audit(), Some(0));
}
