//! Columns that change while rows are written, that have defaults of their own, and settings of a profile that
//! would change what is sent and read.

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::{shared, topic, wait};

use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

pub(crate) const PROVENANCE: &str =
    "_topic LowCardinality(String), _partition UInt32, _offset UInt64";

/// A pipeline without lookup and sessions into a table of `id`, these columns and those of provenance.
pub(crate) fn job(name: &str, columns: &str) -> Job {
    let mut job = Job::new(name);
    for section in ["lookup", "session", "columns"] {
        job.unset(&format!("pipeline.{section}"));
    }
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    job.query("CREATE DATABASE {db}");
    job.query(&format!(
        "CREATE TABLE {{db}}.clickstream_events (id UInt32, {columns}) ENGINE = MergeTree \
         ORDER BY id SETTINGS non_replicated_deduplication_window = 1000"
    ));
    job.create_topic(2);
    job
}

pub(crate) fn produce(job: &Job, partition: i32, ids: std::ops::Range<u32>, fields: &str) {
    let record = |id| {
        let value = format!(r#"{{"id":{id},"ts":"2025-11-21T10:00:00Z",{fields}}}"#);
        topic::Record::new(value)
            .partition(partition)
            .timestamp_ms(EVENT_TIME_MS)
    };
    topic::produce(job.bootstrap(), &job.topic, ids.map(record)).expect("records");
}

#[test]
fn a_table_that_is_altered_takes_what_is_produced_after_the_alter() {
    let columns = format!(
        "v Decimal(18, 2), e Enum8('web' = 1, 'app' = 2), t DateTime64(3, 'UTC'), n UInt32, {PROVENANCE}"
    );
    let job = job("altered", &columns);
    let fields = r#""v":12.34,"e":"app","t":1763719200123,"n":7,"extra":"x","more":1"#;
    produce(&job, 0, 0..3, fields);
    produce(&job, 1, 3..6, fields);
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(6);
    job.query(
        "ALTER TABLE {db}.clickstream_events MODIFY COLUMN v Decimal(18, 4), \
         MODIFY COLUMN e Enum8('web' = 1, 'app' = 2, 'tv' = 3), MODIFY COLUMN n Int32, \
         MODIFY COLUMN t DateTime64(6, 'UTC'), ADD COLUMN extra String, \
         ADD COLUMN d UInt32 DEFAULT n * 2 SETTINGS mutations_sync = 2, alter_sync = 2",
    );
    let fields = r#""v":12.3456,"e":"tv","t":1763719200123,"n":-7,"extra":"x","more":2"#;
    produce(&job, 0, 6..9, fields);
    produce(&job, 1, 9..12, &fields.replace("-7", "8"));
    job.wait_for_rows(12);
    // A range of nothing but what would have been dead letters.
    job.query(
        "ALTER TABLE {db}.clickstream_events MODIFY COLUMN e \
         Enum8('web' = 1, 'app' = 2, 'tv' = 3, 'car' = 4), ADD COLUMN more UInt8 AFTER id \
         SETTINGS mutations_sync = 2, alter_sync = 2",
    );
    produce(&job, 1, 12..15, &fields.replace("tv", "car"));
    job.wait_for_rows(15);
    daemon.stop();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (15, 15), "{}", daemon.log());
    assert_eq!(job.dead_letters().expect("dead letters").len(), 0);
    let rows = job.query(
        "SELECT v, e, t, n, extra, more, if(id < 6, 0, d), count() FROM {db}.clickstream_events \
         GROUP BY ALL ORDER BY min(id)",
    );
    let time = "2025-11-21 10:00:00.123000";
    let expected = [
        format!("12.34\tapp\t{time}\t7\t\t0\t0\t6"),
        format!("12.3456\ttv\t{time}\t-7\tx\t0\t4294967282\t3"),
        format!("12.3456\ttv\t{time}\t8\tx\t0\t16\t3"),
        format!("12.3456\tcar\t{time}\t-7\tx\t2\t4294967282\t3"),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn each_absent_field_takes_its_columns_own_default() {
    let columns = format!(
        "raw_ip String EPHEMERAL '0.0.0.0', ip IPv4 DEFAULT toIPv4(raw_ip), n UInt32 EPHEMERAL 7, \
         m UInt32 DEFAULT n * 2, nn Nullable(UInt8) DEFAULT 3, word LowCardinality(String) DEFAULT \
         concat('w', toString(id)), at DateTime64(3) DEFAULT now64(3), set UInt8 DEFAULT 5, \
         point Point DEFAULT (1, 2), twice UInt32 MATERIALIZED m * 2, also UInt32 ALIAS m, \
         total SimpleAggregateFunction(sum, UInt64), _key String DEFAULT concat('k', toString(id)), {PROVENANCE}"
    );
    let mut job = job("defaults", &columns);
    // However long it takes to read them, the rows of a partition go in one insert, at the end of a run.
    job.set("pipeline.batch.flush_interval", "1m");
    job.set("pipeline.columns.set.default", "6");
    for (id, fields) in [
        (0, r#""raw_ip":"1.2.3.4","n":4,"total":5"#),
        (1, r#""ip":"9.9.9.9","nn":null,"m":1,"word":"x","set":1"#),
        (
            2,
            r#""raw_ip":null,"n":null,"m":null,"word":null,"set":null,"nn":8"#,
        ),
        (3, r#""twice":1,"also":1,"n":5,"m":null"#),
    ] {
        produce(&job, 0, id..id + 1, fields);
    }
    // A batch whose records have none of the fields, and later one whose records have all.
    produce(&job, 1, 4..6, r#""x":1"#);
    let all = r#""raw_ip":"1.2.3.4","ip":"8.8.8.8","n":1,"m":2,"nn":3,"word":"v","at":0"#;
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.run_to_end();
    produce(&job, 1, 6..8, all);
    job.run_to_end();
    job.assert_committed_to_end();
    let inserts = proxy.inserts();
    let formats = inserts
        .iter()
        .filter_map(|insert| insert.query.rsplit(' ').next());
    let mut formats: Vec<&str> = formats.collect();
    formats.sort_unstable();
    let rows = "RowBinaryWithNamesAndTypesAndDefaults";
    assert_eq!(
        formats,
        ["Native", "Native", rows],
        "a block cannot state what some rows lack"
    );
    let rows = job.query(
        "SELECT id, ip, m, nn, word, set, point, twice, total, at > '2025-01-01', _key \
         FROM {db}.clickstream_events ORDER BY id",
    );
    let expected = [
        "0\t1.2.3.4\t8\t3\tw0\t6\t(1,2)\t16\t5\t1\tk0",
        "1\t9.9.9.9\t1\t\\N\tx\t1\t(1,2)\t2\t0\t1\tk1",
        "2\t0.0.0.0\t14\t8\tw2\t6\t(1,2)\t28\t0\t1\tk2",
        "3\t0.0.0.0\t10\t3\tw3\t6\t(1,2)\t20\t0\t1\tk3",
        "4\t0.0.0.0\t14\t3\tw4\t6\t(1,2)\t28\t0\t1\tk4",
        "5\t0.0.0.0\t14\t3\tw5\t6\t(1,2)\t28\t0\t1\tk5",
        "6\t8.8.8.8\t2\t3\tv\t6\t(1,2)\t4\t0\t0\tk6",
        "7\t8.8.8.8\t2\t3\tv\t6\t(1,2)\t4\t0\t0\tk7",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn equal_batches_are_all_written_where_rows_may_come_twice() {
    let mut job = job("equal", "v UInt8");
    job.set("pipeline.delivery", "at_least_once");
    let daemon = job.start("a", &[], "");
    for count in 1..=3 {
        produce(&job, 0, 1..2, r#""v":1"#);
        let there = || {
            let rows = job.query("SELECT count() FROM {db}.clickstream_events");
            (rows == count.to_string()).then_some(())
        };
        wait::until(&format!("{count} rows"), PATIENCE, there)
            .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    }
    daemon.stop();
    job.assert_committed_to_end();
}

#[test]
fn limits_of_a_profile_neither_stop_nor_change_our_own_reads() {
    let mut job = job("limits", PROVENANCE);
    for (name, value) in [
        ("max_rows_to_read", "20"),
        ("read_overflow_mode", "break"),
        ("max_result_rows", "1"),
        ("result_overflow_mode", "break"),
        ("max_columns_to_read", "1"),
        ("force_primary_key", "1"),
        ("limit", "1"),
        ("offset", "1"),
        ("extremes", "1"),
        ("final", "1"),
        ("apply_deleted_mask", "0"),
        ("additional_result_filter", "0"),
    ] {
        job.set(&format!("clickhouse.settings.{name}"), value);
    }
    for (run, ids) in [(0..30), (30..60)].into_iter().enumerate() {
        produce(&job, 0, ids.clone(), r#""x":1"#);
        produce(&job, 1, ids, r#""x":1"#);
        if run == 1 {
            // Without its commits a pipeline looks up what the table has.
            job.query("ALTER TABLE {db}.clickstream_events ADD COLUMN x UInt8");
        }
        job.run_to_end();
        job.assert_committed_to_end();
    }
    assert_eq!(job.rows_and_offsets(), (120, 120));
}

#[test]
fn a_table_of_many_columns_is_written_through_a_proxy_that_refuses_long_addresses() {
    let name = |n: usize| format!("c{n:04}_{}", "x".repeat(194));
    let columns = (0..900).map(|n| format!("{} String DEFAULT 'none', ", name(n)));
    let mut job = job("wide", &(columns.collect::<String>() + PROVENANCE));
    // As a profile may have it.
    job.set("clickhouse.settings.max_query_size", "10000");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let refuse = |status, is_long| {
        let body = format!("<html><title>{status}</title></html>");
        let fault = Fault::Reject { status, body };
        proxy.inject(Matcher::inserts().only(is_long), fault, usize::MAX)
    };
    let fields = format!(r#""{}":"seven","{}":null"#, name(7), name(8));
    produce(&job, 0, 0..10, &fields);
    produce(&job, 1, 10..20, &fields);
    let settings_alone = refuse(431, |request| request.address_bytes > 200);
    let advice = ["431", "clickhouse.settings", "wide"];
    job.assert_halts("short", "address_too_long", &advice);
    settings_alone.stop();
    let long = refuse(414, |request| request.address_bytes > 2_048);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (20, 20));
    assert_eq!(long.hits(), 0);
    assert!(proxy.requests().iter().all(|r| r.address_bytes <= 2_048));
    let sql = format!(
        "SELECT DISTINCT {}, {}, {} FROM {{db}}.clickstream_events",
        name(7),
        name(8),
        name(899)
    );
    assert_eq!(job.query(&sql), "seven\tnone\tnone");
}
