//! Where joined records lie: where other producers would have put their keys.

use std::collections::BTreeMap;

use sandbox::topic::{self, Record};
use sandbox::{console, unique};

use crate::support::{EVENT_TIME_MS, Job};

const PARTITIONS: i32 = 6;

/// Numbers, words, and texts of several bytes a letter.
fn keys() -> Vec<String> {
    let numbers = (0u64..60).map(|n| (n * n * 7_919).to_string());
    let words = (0..60).map(|n| format!("user-{n}"));
    let others = [
        "42",
        "007",
        "-5",
        "1.5",
        "ü",
        "日本",
        "18446744073709551616",
    ];
    numbers
        .chain(words)
        .chain(others.map(str::to_owned))
        .collect()
}

/// The partition in which the output has each key.
fn placed(partitioner: &str) -> BTreeMap<String, i32> {
    let mut job = Job::join(partitioner);
    job.set("pipeline.output.partitioner", partitioner);
    job.create_topic(1);
    let settings = [("retention.ms", "-1")];
    topic::create(job.bootstrap(), job.right_topic(), 1, &settings).expect("a topic");
    job.create_output(PARTITIONS);
    let event = |key: String| {
        let text = format!(r#"{{"event_id":"e","user_id":"{key}","timestamp":{EVENT_TIME_MS}}}"#);
        Record::new(text)
            .key(key)
            .partition(0)
            .timestamp_ms(EVENT_TIME_MS)
    };
    let events = keys().into_iter().map(event);
    topic::produce(job.bootstrap(), &job.topic, events).expect("records");
    job.close_join();
    by_key(job.joined())
}

fn by_key(records: Vec<topic::Received>) -> BTreeMap<String, i32> {
    let place = |record: topic::Received| {
        let key = String::from_utf8(record.key.expect("a key")).expect("a text");
        (key, record.partition)
    };
    records.into_iter().map(place).collect()
}

/// Where Java's producer puts the keys.
fn placed_by_java() -> BTreeMap<String, i32> {
    let bootstrap = sandbox::shared().kafka.bootstrap();
    let name = unique("by-java");
    topic::create(bootstrap, &name, PARTITIONS, &[]).expect("a topic");
    let records = keys().into_iter().map(|key| (key, "{}".to_owned()));
    let records: Vec<_> = records.collect();
    console::produce(bootstrap, &name, &records).expect("records");
    by_key(topic::read_all(bootstrap, &name).expect("records"))
}

#[test]
fn murmur2_puts_a_key_where_javas_producer_does() {
    let expected = placed_by_java();
    assert_eq!(placed("murmur2"), expected);
    let used: std::collections::BTreeSet<_> = expected.values().collect();
    assert_eq!(used.len(), 6, "every partition has some");
}

#[test]
fn key_modulo_puts_a_number_by_what_remains_and_other_keys_as_java_does() {
    let (placed, by_java) = (placed("key_modulo"), placed_by_java());
    assert_eq!(placed["42"], 0);
    for key in keys() {
        let expected = match key.parse::<u64>() {
            Ok(number) if key == number.to_string() => {
                i32::try_from(number % 6).expect("below six")
            }
            // Whether these are decimal keys is not said.
            Ok(_) => continue,
            Err(_) if key.bytes().all(|b| b.is_ascii_digit() || b == b'-') => continue,
            Err(_) => by_java[&key],
        };
        assert_eq!(placed[&key], expected, "{key}");
    }
}

#[test]
fn consistent_puts_a_key_by_its_crc32() {
    let placed = placed("consistent");
    assert_eq!(placed.len(), keys().len());
    for (key, partition) in placed {
        let expected = i32::try_from(crc32(key.as_bytes()) % 6).expect("below six");
        assert_eq!(partition, expected, "{key}");
    }
}

/// CRC-32 of ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1));
    let add = |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !bytes.iter().fold(u32::MAX, add)
}
