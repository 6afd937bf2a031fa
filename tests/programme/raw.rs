//! Records of any bytes into a raw table, and a daemon that dies at every named place.

use std::os::unix::process::ExitStatusExt as _;

use sandbox::topic::{self, Received, Record};
use sandbox::wait;

use super::{Run, Trial};
use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

const PARTITIONS: i32 = 2;
const RECORDS: u32 = 40;

/// Crash points that the kind comes by, and what brings it there besides records.
const POINTS: [&str; 10] = [
    "after_assign",
    "after_poll",
    "after_seal",
    "after_naming_commit",
    "before_insert",
    "during_insert",
    "after_insert_acknowledged",
    "before_commit",
    "after_commit",
    "before_leave",
];

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "raw",
        "records of any bytes, half of them in transactions, and SIGKILL at each crash point",
        5,
        1,
        raw,
    )]
}

fn raw(run: &mut Run) {
    let mut job = Job::raw(&run.name);
    // A killed member is gone soon.
    job.set("kafka.properties.session.timeout.ms", 2_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
    job.create_topic(PARTITIONS);
    let mut number = 0;
    for _ in 0..run.times {
        for point in POINTS {
            for part in 0..3 {
                produce(&job, number, part);
                number += RECORDS;
            }
            die_at(&job, point);
        }
    }
    job.run_to_end();
    let produced = topic::read_all(job.bootstrap(), &job.topic).expect("records");
    assert_eq!(produced.len(), number as usize * 2 / 3);
    assert_eq!(rows(&job), expected(&produced));
    assert!(job.dead_letters().expect("the topic answers").is_empty());
    job.assert_audit_finds_nothing();
    let values = ["audit", "--pipeline", "bronze", "--values", "--json"];
    let (code, out, err) = job.inspect(&values);
    assert_eq!(code, 0, "{out}{err}");
    run.add(crate::support::proof::Counts {
        records: produced.len() as u64,
        rows: produced.len() as u64,
        ..Default::default()
    });
}

/// Plain records, those of a transaction that is committed, and those of one that is aborted.
fn produce(job: &Job, from: u32, part: u32) {
    let records = (from..from + RECORDS).map(record);
    let (bootstrap, name) = (job.bootstrap(), &job.topic);
    let done = match part {
        0 => topic::produce(bootstrap, name, records),
        other => topic::produce_transaction(bootstrap, name, records, other == 1),
    };
    done.expect("records");
}

/// Text, no text, nothing at all, and frames.
fn record(number: u32) -> Record {
    let bytes = number.to_be_bytes();
    let plain = match number % 7 {
        0 => Record::new(format!(r#"{{"number":{number}}}"#)),
        1 => Record::new([&[0xff, 0xfe, 0, 0x80], &bytes[..]].concat()).key([0xc3, 0x28]),
        2 => Record::tombstone(format!("k{number}")),
        3 => Record::new("").key(""),
        4 => Record::new([&[0][..], &bytes[..], b"framed"].concat()),
        5 => Record::default(),
        _ => Record::new(vec![b'x'; 20_000]).key(number.to_string()),
    };
    let mut record = plain
        .partition((number % 2) as i32)
        .timestamp_ms(EVENT_TIME_MS + i64::from(number));
    if number.is_multiple_of(3) {
        record = record.header("a", [0xff, 0]).header("a", "2");
        record.headers.push(("none".to_owned(), None));
    }
    record
}

/// Each record as a line.
fn expected(records: &[Received]) -> Vec<String> {
    let hex = |bytes: &Option<Vec<u8>>| match bytes {
        Some(bytes) => bytes.iter().map(|byte| format!("{byte:02X}")).collect(),
        None => "none".to_owned(),
    };
    let mut records: Vec<&Received> = records.iter().collect();
    records.sort_by_key(|record| (record.partition, record.offset));
    let line = |record: &&Received| {
        let headers = record.headers.iter().map(|(name, value)| {
            let value = value.clone().unwrap_or_default();
            format!("{name}={}", hex(&Some(value)))
        });
        let headers: Vec<String> = headers.collect();
        let schema = match record.value.as_deref() {
            Some([0, a, b, c, d, ..]) => u32::from_be_bytes([*a, *b, *c, *d]).to_string(),
            _ => "none".to_owned(),
        };
        format!(
            "{}:{} {} {} [{}] {} create_time {schema}",
            record.partition,
            record.offset,
            hex(&record.key),
            hex(&record.value),
            headers.join(" "),
            record.timestamp_ms,
        )
    };
    records.iter().map(line).collect()
}

/// Each row as such a line, twice where it is there twice.
fn rows(job: &Job) -> Vec<String> {
    let sql = format!(
        "SELECT concat(toString(partition), ':', toString(offset), ' ', \
         if(isNull(message_key), 'none', hex(assumeNotNull(message_key))), ' ', \
         if(isNull(message_value), 'none', hex(assumeNotNull(message_value))), ' [', \
         arrayStringConcat(arrayMap(h -> concat(h.1, '=', hex(h.2)), headers), ' '), '] ', \
         toString(toUnixTimestamp64Milli(kafka_timestamp)), ' ', timestamp_type, ' ', \
         ifNull(toString(schema_id), 'none')) \
         FROM {{db}}.bronze_events WHERE topic = '{}' ORDER BY partition, offset",
        job.topic
    );
    job.query(&sql).lines().map(str::to_owned).collect()
}

fn die_at(job: &Job, point: &str) {
    let before = rows(job).len();
    let instance = format!("dies-{point}");
    let daemon = job.start(&instance, &[], &format!("{point}=return"));
    if point == "before_leave" {
        let read = || (rows(job).len() > before).then_some(());
        wait::until("rows", PATIENCE, read).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        daemon.process.terminate();
    }
    let status = daemon.process.wait(PATIENCE);
    let status =
        status.unwrap_or_else(|e| panic!("{point} is never reached: {e}\n{}", daemon.log()));
    assert_eq!(
        status.signal(),
        Some(libc::SIGKILL),
        "{status}: {}",
        daemon.log()
    );
}
