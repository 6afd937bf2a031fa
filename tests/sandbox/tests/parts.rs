//! The real parts start, die, come back, and carry records unchanged.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sandbox::kafka::{Kafka, KafkaOptions};
use sandbox::redis::Redis;
use sandbox::topic::{self, Committed, Record};
use sandbox::{console, shared, unique, wait};

const PATIENCE: Duration = Duration::from_secs(120);
/// How long a console consumer waits for one more record; it has to join its group first.
const SILENCE: Duration = Duration::from_secs(5);

fn bootstrap() -> &'static str {
    shared().kafka.bootstrap()
}

#[test]
fn a_record_comes_back_exactly_as_it_was_written() {
    let name = unique("exact");
    topic::create(bootstrap(), &name, 3, &[("retention.ms", "-1")]).unwrap();
    let records = [
        Record::new("v")
            .key("k")
            .partition(2)
            .timestamp_ms(1_000)
            .header("trace", "0"),
        Record::new("").key("").partition(2).timestamp_ms(999),
        Record::tombstone("k")
            .partition(2)
            .timestamp_ms(1_763_719_200_000),
        Record::new([0xff, 0x00]).partition(0).timestamp_ms(5),
    ];
    topic::produce(bootstrap(), &name, records.clone()).unwrap();

    let read = topic::read_all(bootstrap(), &name).unwrap();
    let back: Vec<(i64, Record)> = read
        .into_iter()
        .map(|r| {
            let record = Record {
                partition: Some(r.partition),
                key: r.key,
                value: r.value,
                headers: r.headers,
                timestamp_ms: Some(r.timestamp_ms),
            };
            (r.offset, record)
        })
        .collect();
    let [first, second, third, other] = records;
    assert_eq!(back, [(0, other), (0, first), (1, second), (2, third)]);
    let ends = topic::end_offsets(bootstrap(), &name).unwrap();
    assert_eq!(ends.into_values().collect::<Vec<_>>(), [1, 0, 3]);
}

#[test]
fn aborted_records_leave_a_gap_and_are_not_read() {
    let name = unique("aborted");
    topic::create(bootstrap(), &name, 1, &[]).unwrap();
    topic::produce_transaction(bootstrap(), &name, [Record::new("lost")], false).unwrap();
    topic::produce_transaction(bootstrap(), &name, [Record::new("kept")], true).unwrap();
    let read = topic::read_all(bootstrap(), &name).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(
        (read[0].offset, read[0].value.as_deref()),
        (2, Some(b"kept".as_slice()))
    );
    assert_eq!(topic::end_offsets(bootstrap(), &name).unwrap()[&0], 4);
}

#[test]
fn commits_keep_their_metadata_and_deleted_records_stay_deleted() {
    let (name, group) = (unique("commits"), unique("group"));
    topic::create(bootstrap(), &name, 2, &[]).unwrap();
    topic::produce(
        bootstrap(),
        &name,
        (0..9).map(|_| Record::new("v").partition(1)),
    )
    .unwrap();
    assert!(
        topic::committed(bootstrap(), &group, &name)
            .unwrap()
            .is_empty()
    );
    let wanted = Committed {
        offset: 7,
        metadata: "[7,9)".into(),
    };
    topic::commit(bootstrap(), &group, &name, 1, &wanted).unwrap();
    let found = topic::committed(bootstrap(), &group, &name).unwrap();
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [(1, wanted)]);

    topic::delete_records_before(bootstrap(), &name, 1, 6).unwrap();
    assert_eq!(topic::read_all(bootstrap(), &name).unwrap()[0].offset, 6);
}

#[test]
fn a_topic_can_be_deleted_and_created_again() {
    let name = unique("again");
    for _ in 0..2 {
        topic::create(bootstrap(), &name, 1, &[]).unwrap();
        topic::produce(bootstrap(), &name, [Record::new("v")]).unwrap();
        assert_eq!(topic::read_all(bootstrap(), &name).unwrap().len(), 1);
        topic::delete(bootstrap(), &name).unwrap();
    }
    assert_eq!(topic::partition_count(bootstrap(), &name).unwrap(), 0);
}

#[test]
fn a_killed_broker_comes_back_with_its_records() {
    let kafka = Kafka::start(KafkaOptions::default()).unwrap();
    topic::create(kafka.bootstrap(), "kept", 1, &[]).unwrap();
    topic::produce(kafka.bootstrap(), "kept", [Record::new("v")]).unwrap();
    let pid = kafka.pid();
    let asked = Instant::now();
    kafka.restart().unwrap();
    assert_ne!(kafka.pid(), pid);
    topic::produce(kafka.bootstrap(), "kept", [Record::new("w")]).unwrap();
    assert_eq!(topic::read_all(kafka.bootstrap(), "kept").unwrap().len(), 2);
    println!(
        "a killed broker took {:?} until it took records again",
        asked.elapsed()
    );

    let asked = Instant::now();
    kafka.stop();
    assert_eq!(kafka.pid(), 0);
    println!("a clean stop took {:?}", asked.elapsed());
    kafka.restart().unwrap();
    assert_eq!(topic::read_all(kafka.bootstrap(), "kept").unwrap().len(), 2);
}

#[test]
fn redis_comes_back_empty_on_the_same_port() {
    let redis = Redis::start().unwrap();
    let set = |redis: &Redis| {
        let mut connection = redis.connection().unwrap();
        redis::cmd("INCR")
            .arg("n")
            .query::<u64>(&mut connection)
            .unwrap()
    };
    assert_eq!(set(&redis), 1);
    redis.pause();
    redis.resume();
    assert_eq!(set(&redis), 2);
    redis.restart().unwrap();
    assert_eq!(set(&redis), 1);
    redis.stop();
    assert!(redis.connection().is_err());
}

/// Runs only as a child of the test below: it starts a part and is killed.
#[test]
fn child_that_is_killed() {
    let Some(report) = std::env::var_os("SANDBOX_TEST_REPORT") else {
        return;
    };
    let redis = Redis::start().unwrap();
    std::fs::write(report, redis.pid().to_string()).unwrap();
    std::process::abort();
}

#[test]
fn parts_end_with_the_process_that_started_them() {
    let report = tempfile::NamedTempFile::new().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["child_that_is_killed", "--exact", "--test-threads=1"])
        .env("SANDBOX_TEST_REPORT", report.path())
        .output()
        .unwrap()
        .status;
    assert!(!status.success());
    let pid = std::fs::read_to_string(report.path()).unwrap();
    assert!(!pid.is_empty());
    wait::until("the orphan is gone", PATIENCE, || {
        let stat = std::fs::read_to_string(Path::new("/proc").join(&pid).join("stat"));
        // A zombie that nobody has waited for yet is gone as well.
        stat.map_or(true, |stat| stat.contains(") Z "))
            .then_some(())
    })
    .unwrap();
}

#[test]
fn apache_kafkas_own_clients_write_by_key_and_read_what_is_committed() {
    let name = unique("console");
    topic::create(bootstrap(), &name, 3, &[]).unwrap();
    let pair = |n: u32| (format!("key-{n}"), format!("{{\"value\":\"{n}\u{fc}\"}}"));
    let pairs: Vec<(String, String)> = (0..20).map(pair).collect();
    console::produce(bootstrap(), &name, &pairs).unwrap();
    topic::produce_transaction(bootstrap(), &name, [Record::new("lost")], false).unwrap();
    let tombstone = Record::tombstone("gone").partition(1);
    topic::produce_transaction(bootstrap(), &name, [tombstone], true).unwrap();
    let read = |silence| console::read_committed(bootstrap(), &name, silence).unwrap();
    let mut found = read(SILENCE);
    if found.len() < 21 {
        found = read(6 * SILENCE);
    }
    let ours = topic::read_all(bootstrap(), &name).unwrap();
    let plain = |records: Vec<topic::Received>| {
        let fields = records
            .into_iter()
            .map(|r| (r.partition, r.offset, r.key, r.value));
        fields.collect::<Vec<_>>()
    };
    assert_eq!(found.len(), 21);
    assert_eq!(plain(found), plain(ours));
    let all = topic::read_uncommitted(bootstrap(), &name).unwrap();
    assert_eq!(all.len(), 22);
    assert!(topic::is_stable(bootstrap(), &name).unwrap());
}
