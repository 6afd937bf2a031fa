//! Rows that no column holds, groups that lie in two partitions, and what a window lacks.

use sandbox::topic::{self, Record};
use sandbox::wait;

use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

/// The shipped sales with a window that stays open as long as nothing follows.
fn job(name: &str, partitions: i32) -> Job {
    let mut job = Job::aggregation(name, "sales");
    job.set("pipeline.idle_timeout", "300ms");
    job.set("pipeline.batch.flush_interval", "100ms");
    job.apply_schema();
    job.create_topic(partitions);
    job
}

fn sale(second: i64, rest: &str) -> Record {
    let time_ms = EVENT_TIME_MS + second * 1_000;
    Record::new(format!(r#"{{"timestamp":{time_ms},{rest}}}"#)).timestamp_ms(time_ms)
}

fn sell(job: &Job, records: impl IntoIterator<Item = Record>) {
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

#[test]
fn a_sum_counts_whatever_the_order_and_one_that_no_column_holds_halts_until_it_does() {
    let mut job = job("wide", 2);
    job.unset("pipeline.output");
    let column = "ALTER TABLE {db}.sales_aggregates_1min MODIFY COLUMN total_revenue";
    job.query(&format!("{column} Decimal(9, 2)"));
    let of = |partition: i32, category: &str, amount: &str| {
        sale(1, &format!(r#""category":"{category}","amount":{amount}"#)).partition(partition)
    };
    // Each fits, and the sum of `b` does in the end.
    let amounts = ["6000000", "7000000", "-8000000"];
    sell(&job, amounts.map(|amount| of(0, "b", amount)));
    sell(&job, [of(0, "a", "6000000"), of(1, "a", "7000000")]);
    let arguments = ["--until", "latest", "--close"];
    for run in ["first", "second"] {
        let (code, log) = job.run_to_code(run, &arguments);
        assert_eq!(code, 4, "{log}");
        for words in [
            "reason=\"rejected\"",
            "2025-11-21 10:00:00.000",
            "group category",
            "total_revenue Decimal(9, 2)",
        ] {
            assert!(log.contains(words), "{words}: {log}");
        }
    }
    let rows = "SELECT category, total_sales, total_revenue FROM {db}.sales_aggregates_1min FINAL \
                WHERE category = 'a'";
    assert_eq!(job.query(rows), "");
    assert_eq!(job.dead_letters().expect("dead letters").len(), 0);
    job.query(&format!("{column} Decimal(18, 2)"));
    let (code, log) = job.run_to_code("wider", &arguments);
    assert_eq!(code, 0, "{log}");
    let all = rows.replace("WHERE category = 'a'", "ORDER BY category");
    assert_eq!(job.query(&all), "a\t2\t13000000\nb\t3\t5000000");
}

#[test]
fn a_group_in_two_partitions_halts_and_so_do_partitions_that_are_added() {
    let mut job = job("two-places", 2);
    job.unset("pipeline.output");
    job.set("pipeline.partitioned_by", "category");
    job.set("pipeline.consumers", 2);
    let of = |partition: i32, category: &str| {
        let rest = format!(r#""category":"{category}","amount":1"#);
        sale(1, &rest).key(category).partition(partition)
    };
    sell(&job, [of(0, "a"), of(1, "b")]);
    let daemon = job.start("running", &[], "");
    let is_written = || {
        let rows = job.query("SELECT count() FROM {db}.sales_aggregates_1min FINAL");
        (rows == "2").then_some(())
    };
    wait::until("two rows", PATIENCE, is_written)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    let is_committed = || (job.committed().len() == 2).then_some(());
    wait::until("commits", PATIENCE, is_committed)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    topic::add_partitions(job.bootstrap(), &job.topic, 3).expect("a partition");
    let status = daemon.process.wait(PATIENCE).expect("it halts");
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
    assert!(daemon.log().contains("reason=\"partitions_changed\""));
    let advice = ["has 3 partitions and had 2", job.topic.as_str()];
    job.assert_halts("again", "partitions_changed", &advice);

    // Another group begins with all three.
    job.set("pipeline.group_id", format!("{}other", job.prefix));
    sell(&job, [of(2, "b")]);
    let place = format!("{}:1:0", job.topic);
    let other = format!("{}:2:0", job.topic);
    let advice = ["the group", place.as_str(), other.as_str()];
    job.assert_halts("halts", "partitioned_by", &advice);
    // CRC32 puts neither where it lies, or not both.
    job.set("pipeline.keys_placed_by", "key_modulo");
    job.assert_halts("placed", "partitioned_by", &["pipeline.keys_placed_by"]);
}

/// Whether it is the key alone that says so, or a partitioner that is named.
#[test]
fn keys_move_when_partitions_are_added_and_never_otherwise_however_long_their_windows_are_over() {
    for placed_by in [None, Some("key_modulo")] {
        let mut job = job("moves", 2);
        job.unset("pipeline.output");
        job.set("pipeline.partitioned_by", "category");
        job.set("pipeline.idle_retention", "600ms");
        let properties = toml::toml! { "topic.metadata.refresh.interval.ms" = 300 };
        job.set("kafka.properties", properties);
        if let Some(partitioner) = placed_by {
            job.set("pipeline.keys_placed_by", partitioner);
        }
        let of = |second: i64, category: &str, partition: i32| {
            let rest = format!(r#""category":"{category}","amount":1"#);
            sale(second, &rest).key(category).partition(partition)
        };
        sell(&job, [of(1, "3", 1), of(1, "2", 0)]);
        let daemon = job.start("daemon", &[], "");
        let wait_for_final = |count: &str| {
            let rows = "SELECT count() FROM {db}.sales_aggregates_1min FINAL WHERE is_final = 1";
            let is_closed = || (job.query(rows) == count).then_some(());
            wait::until("final rows", PATIENCE, is_closed)
                .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        };
        wait_for_final("2");
        topic::add_partitions(job.bootstrap(), &job.topic, 3).expect("a partition");
        sell(&job, [of(1_200, "3", 0), of(1_200, "2", 2)]);
        wait_for_final("4");
        // The producer of before, which does not know of the third.
        sell(&job, [of(1_200, "3", 1)]);
        let status = daemon.process.wait(PATIENCE).expect("it halts");
        let log = daemon.log();
        assert_eq!(status.code(), Some(4), "{log}");
        let there = format!("{}:0:1", job.topic);
        let place = format!("{}:1:1", job.topic);
        let advice = placed_by.map_or(there.as_str(), |_| "belongs into partition 0 of 3");
        for words in ["reason=\"partitioned_by\"", place.as_str(), advice] {
            assert!(log.contains(words), "{words}: {log}");
        }
    }
}

#[test]
fn a_long_group_is_a_dead_letter_nothing_is_null_and_a_cut_window_is_never_final() {
    let mut job = job("nothing", 1);
    sell(&job, [sale(0, r#""category":"a","amount":5"#)]);
    job.set("pipeline.start_offset", "latest");
    job.set("pipeline.metrics.largest.function", "max");
    job.set("pipeline.metrics.largest.path", "$.amount");
    job.set("pipeline.metrics.largest.where.kind", "buy");
    let column = "{db}.sales_aggregates_1min ADD COLUMN largest";
    job.query(&format!("ALTER TABLE {column} Decimal(18, 2)"));
    job.assert_halts("refused", "schema", &["largest", "Nullable"]);
    job.query(&format!(
        "ALTER TABLE {} Nullable(Decimal(18, 2))",
        column.replace("ADD COLUMN", "MODIFY COLUMN")
    ));
    let daemon = job.start("daemon", &[], "");
    daemon.wait_for_log("partition begins");
    let long = "x".repeat(20_000);
    sell(
        &job,
        [
            sale(10, r#""category":"a","amount":1"#),
            sale(11, &format!(r#""category":"{long}","amount":1"#)),
            sale(70, r#""category":"a","amount":2,"kind":"buy""#),
            // Everything before is over.
            sale(600, r#""category":"a","amount":3"#),
        ],
    );
    let expected = "0\t1\t\\N\t0\n1\t1\t2\t1\n10\t1\t\\N\t0";
    let minutes = || {
        job.query(&format!(
            "SELECT intDiv(toUnixTimestamp64Milli(window_start) - {EVENT_TIME_MS}, 60000), total_sales, \
             largest, is_final FROM {{db}}.sales_aggregates_1min FINAL ORDER BY window_start"
        ))
    };
    let is_there = || (minutes() == expected).then_some(());
    wait::until(expected, PATIENCE, is_there)
        .unwrap_or_else(|e| panic!("{e}: {}\n{}", minutes(), daemon.log()));
    daemon.stop();
    let letters = job.dead_letters().expect("dead letters");
    let reasons: Vec<_> = letters
        .iter()
        .map(|letter| letter.header("streamweir-reason"))
        .collect();
    assert_eq!(reasons, [Some("too_large".to_owned())]);
    let output = job.text("pipeline.output.topic");
    let rows = topic::read_all(job.bootstrap(), output).expect("rows");
    let of_nothing = rows.iter().filter_map(|row| row.value.as_deref());
    let of_nothing =
        of_nothing.filter(|value| String::from_utf8_lossy(value).contains("\"largest\":null"));
    assert!(of_nothing.count() >= 2, "{rows:?}");
}
