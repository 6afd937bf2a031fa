//! What one run leaves to the next, and what it refuses to begin with.

use sandbox::topic::{self, Record};
use sandbox::wait;

use crate::support::windows::{Kind, Windows};
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE};

#[test]
fn open_windows_are_left_to_a_later_run_which_completes_them() {
    for kind in Kind::ALL {
        let windows = Windows::new("left-open", kind, 3, 11);
        let mut produced = windows.produce(700);
        for run in ["first", "second"] {
            let (code, log) = windows.job.run_to_code(run, &["--until", "latest"]);
            assert_eq!(code, 0, "{log}");
            let is_named = log.contains("left for a later run") && log.contains("are still open");
            assert!(is_named, "{log}");
            let committed = windows.progress();
            assert!(
                committed < produced,
                "{committed} of {produced}: none is kept"
            );
            produced += windows.produce(300);
        }
        windows.close();
        windows.assert_equal(produced);
    }
}

#[test]
fn closing_twice_and_going_on_is_as_an_undisturbed_run() {
    let windows = Windows::new("closed-twice", Kind::Hopping, 3, 12);
    let mut produced = 0;
    for _ in 0..3 {
        produced += windows.produce(400);
        windows.close();
        windows.assert_equal(produced);
    }
}

#[test]
fn windows_of_other_rules_than_the_last_commit_halt() {
    for (key, value) in [
        ("pipeline.window.size", "8s"),
        ("pipeline.watermark_delay", "2s"),
        ("pipeline.allowed_lateness", "0s"),
    ] {
        let mut windows = Windows::new("changed", Kind::Tumbling, 2, 13);
        let produced = windows.produce(500);
        windows.close();
        let before = windows.job.text(key).to_owned();
        windows.job.set(key, value);
        let group = windows.job.group.clone();
        let advice = ["group_id", "other rules"];
        windows
            .job
            .assert_halts("changed", "windows_changed", &advice);
        assert_eq!(windows.job.group, group);
        windows.job.set(key, before);
        windows.close();
        windows.assert_equal(produced);
    }
}

#[test]
fn a_record_whose_key_is_not_its_group_halts() {
    let windows = Windows::new("other-key", Kind::Partitioned, 2, 14);
    let text = r#"{"timestamp":1763719200000,"category":"a","amount":1}"#;
    for record in [Record::new(text).key("b"), Record::new(text)] {
        let job = &windows.job;
        topic::produce(job.bootstrap(), &job.topic, [record.partition(1)]).expect("a record");
        let place = format!("{}:1:0", job.topic);
        let advice = ["partitioned_by", "category", place.as_str()];
        job.assert_halts("halts", "partitioned_by", &advice);
    }
}

/// The windows of a partition that comes from another member are asked before anything is committed.
#[test]
fn a_partition_that_comes_from_another_member_keeps_its_open_windows_uncommitted() {
    let mut job = Job::aggregation("joined", "sales");
    job.set("pipeline.partitioned_by", "category");
    // Nothing is due for a long time.
    job.set("pipeline.batch.flush_interval", "60s");
    // Long enough to look at what the dead member left before the other one has it.
    job.set("kafka.properties.session.timeout.ms", 6_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
    job.unset("pipeline.output");
    job.apply_schema();
    job.create_topic(2);
    let time = 1_763_719_200_000;
    let record = |number: i64| {
        let partition = i32::from(number % 2 == 1);
        let category = ["a", "b"][usize::from(partition == 1)];
        let value = format!(
            r#"{{"category":"{category}","amount":1,"timestamp":{}}}"#,
            time + number * 100
        );
        Record::new(value)
            .key(category)
            .partition(partition)
            .timestamp_ms(time)
    };
    topic::produce(job.bootstrap(), &job.topic, (0..20).map(record)).expect("records");
    let members = ["stays", "goes"].map(|name| job.start(name, &[], ""));
    let [stays, goes] = &members;
    wait_for_positions(stays, &[10]);
    let moves = wait_for_positions(goes, &[10])[0];
    goes.process.kill();
    let left = Some(job.committed()[&moves].metadata.clone());
    wait_for_positions(stays, &[10, 10]);
    let metadata = || Some(job.committed().get(&moves)?.metadata.clone());
    let is_committed = || (metadata() != left).then_some(());
    sandbox::wait::until("its new owner has committed it", PATIENCE, is_committed)
        .unwrap_or_else(|e| panic!("{e}: {}", stays.log()));
    stays.process.kill();
    let (code, log) = job.run_to_code("last", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let rows = job.query(
        "SELECT category, total_sales FROM {db}.sales_aggregates_1min FINAL ORDER BY category",
    );
    assert_eq!(rows, "a\t10\nb\t10");
}

/// Waits until a member has partitions that it has read so far; which those are.
fn wait_for_positions(member: &Daemon, positions: &[i64]) -> Vec<i32> {
    let found = || {
        let (_, body) = member.get("/api/v1/streaming")?;
        let state: serde_json::Value = serde_json::from_str(&body).ok()?;
        let partitions = state["pipelines"][0]["partitions"].as_array()?;
        let read = partitions.iter().filter_map(|p| p["position"].as_i64());
        let ids = partitions.iter().filter_map(|p| p["partition"].as_i64());
        let ids = ids.filter_map(|id| i32::try_from(id).ok());
        (read.collect::<Vec<_>>() == positions).then(|| ids.collect())
    };
    sandbox::wait::until("partitions are read", PATIENCE, found)
        .unwrap_or_else(|e| panic!("{e}: {}", member.log()))
}

#[test]
fn a_topic_that_is_created_again_halts_before_rows_of_the_new_one_are_sent() {
    let mut job = Job::aggregation("again", "sales");
    job.set("pipeline.idle_timeout", "300ms");
    job.set("pipeline.batch.flush_interval", "100ms");
    job.apply_schema();
    let sell = |from: i64, count: i64| {
        let sale = |second: i64| {
            let time_ms = EVENT_TIME_MS + second * 1_000;
            let text = format!(r#"{{"timestamp":{time_ms},"category":"a","amount":1}}"#);
            Record::new(text).timestamp_ms(time_ms)
        };
        let sales = (from..from + count).map(sale);
        topic::produce(job.bootstrap(), &job.topic, sales).expect("records");
    };
    job.create_topic(1);
    sell(0, 10);
    // Nobody asks for the topic's id but who has rows to send.
    let daemon = job.start("a", &[], "topics_asked_on_demand=return");
    let rows = || job.query("SELECT total_sales FROM {db}.sales_aggregates_1min FINAL");
    let is_sent = || (rows() == "10").then_some(());
    wait::until("a row", PATIENCE, is_sent).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    // What it reads next is of the new topic, at an offset that this has too.
    daemon.process.pause();
    topic::delete(job.bootstrap(), &job.topic).expect("deleted");
    job.create_topic(1);
    sell(600, 15);
    daemon.process.resume();
    let status = daemon.process.wait(PATIENCE);
    let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
    for words in ["reason=\"topic_changed\"", &job.topic] {
        assert!(daemon.log().contains(words), "{words}: {}", daemon.log());
    }
    assert_eq!(rows(), "10");
}

/// The same word means the same for every kind.
#[test]
fn start_offset_fail_halts_the_very_first_start_alone_and_a_new_partition_is_read_from_its_beginning()
 {
    let mut job = Job::aggregation("fail", "sales");
    job.apply_schema();
    job.create_topic(2);
    let (bootstrap, topic_name) = (job.bootstrap().to_owned(), job.topic.clone());
    let sell = |partition: i32, count: i64| {
        let sale = |second: i64| {
            let time_ms = EVENT_TIME_MS + second * 1_000;
            let text = format!(r#"{{"timestamp":{time_ms},"category":"a","amount":1}}"#);
            Record::new(text).partition(partition).timestamp_ms(time_ms)
        };
        topic::produce(&bootstrap, &topic_name, (0..count).map(sale)).expect("records");
    };
    sell(0, 5);
    job.set("pipeline.start_offset", "fail");
    let advice = ["start_offset", "earliest", job.group.as_str()];
    job.assert_halts("fail", "no_offset", &advice);
    job.set("pipeline.start_offset", "earliest");
    let (code, log) = job.run_to_code("earliest", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    topic::add_partitions(job.bootstrap(), &job.topic, 3).expect("a partition");
    sell(2, 7);
    job.set("pipeline.start_offset", "fail");
    let (code, log) = job.run_to_code("later", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let rows = "SELECT sum(total_sales) FROM {db}.sales_aggregates_1min FINAL";
    assert_eq!(job.query(rows), "12");
}
