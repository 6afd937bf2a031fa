//! Whether two topics can be joined by key, told from what real producers have written.

use std::path::Path;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sandbox::{shared, topic, unique};
use streamweir::config::{Config, Kafka};
use streamweir::joined_keys_advice;

const TIMEOUT: Duration = Duration::from_secs(30);

fn kafka(bootstrap: &str) -> Kafka {
    let text = format!("[kafka]\nbootstrap_servers = [\"{bootstrap}\"]");
    let loaded = Config::parse(&text, "test.toml", Path::new("/"), []);
    loaded.expect("valid").config.kafka
}

/// Two topics with so many partitions.
fn topics(partitions: (i32, i32)) -> (String, String) {
    let names = (unique("clicks"), unique("profiles"));
    let bootstrap = shared().kafka.bootstrap();
    topic::create(bootstrap, &names.0, partitions.0, &[]).expect("a topic");
    topic::create(bootstrap, &names.1, partitions.1, &[]).expect("a topic");
    names
}

/// Writes a record for each key, placed by librdkafka as this partitioner does.
fn produce(topic: &str, partitioner: &str, keys: impl IntoIterator<Item = String>) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", shared().kafka.bootstrap())
        .set("partitioner", partitioner);
    let producer: BaseProducer = config.create().expect("a producer");
    for key in keys {
        let record = BaseRecord::to(topic).key(&key).payload("{}");
        producer
            .send(record)
            .map_err(|(error, _)| error)
            .expect("queued");
        producer.poll(Duration::ZERO);
    }
    producer.flush(TIMEOUT).expect("acknowledged");
}

fn users(numbers: std::ops::Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!("user-{number}"))
}

/// What is said against the topics; `None`: nothing.
fn advice(left: &str, right: &str) -> Option<String> {
    let kafka = kafka(shared().kafka.bootstrap());
    joined_keys_advice(&kafka, left, right, TIMEOUT).expect("the broker answers")
}

#[test]
fn topics_of_one_partitioner_pass_and_so_do_empty_ones() {
    for partitioner in ["murmur2_random", "consistent_random"] {
        let (left, right) = topics((5, 5));
        assert_eq!(advice(&left, &right), None, "both are empty");
        produce(&left, partitioner, users(0..300));
        assert_eq!(advice(&left, &right), None, "one is empty");
        produce(&right, partitioner, users(100..400));
        assert_eq!(advice(&left, &right), None);
    }
}

#[test]
fn different_partitioners_are_told_with_a_key_its_places_and_the_way_out() {
    let (left, right) = topics((5, 5));
    produce(&left, "murmur2_random", users(0..60));
    produce(&right, "consistent_random", users(0..60));
    let said = advice(&left, &right).expect("keys lie on different partitions");
    for words in [
        format!("keys of {left} lie as murmur2 (Java's default) places them"),
        format!("those of {right} as CRC32 (consistent, librdkafka's default) places them"),
        format!("set partitioner=murmur2_random in the producer of {right} (librdkafka"),
        "of 60 keys found in both".to_owned(),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
    // The places that are named hold the key that is named.
    let (_, rest) = said.split_once("key \"").expect("a key");
    let (key, rest) = rest.split_once("\" lies at ").expect("its places");
    let (places, _) = rest.split_once(", and so do").expect("both places");
    for place in places.split(" and at ") {
        let parts: Vec<&str> = place.split(':').collect();
        let [topic, partition, offset] = parts[..] else {
            panic!("{place}");
        };
        let all = topic::read_all(shared().kafka.bootstrap(), topic).expect("records");
        let record = all.iter().find(|record| {
            record.partition.to_string() == partition && record.offset.to_string() == offset
        });
        let record = record.unwrap_or_else(|| panic!("{place} holds a record"));
        assert_eq!(record.key.as_deref(), Some(key.as_bytes()), "{place}");
    }
}

#[test]
fn keys_placed_by_their_number_are_recognised() {
    let (left, right) = topics((4, 4));
    let numbers = || (0..40u8).map(|n| n.to_string());
    let placed = numbers()
        .zip(0..)
        .map(|(key, n)| topic::Record::new("{}").key(key).partition(n % 4));
    topic::produce(shared().kafka.bootstrap(), &right, placed).expect("records");
    produce(&left, "murmur2", numbers());
    let said = advice(&left, &right).expect("keys lie on different partitions");
    let words = format!("those of {right} as the key's number modulo the partition count");
    assert!(said.contains(&words), "{said}");
}

#[test]
fn keys_that_only_one_topic_has_and_records_without_key_say_nothing() {
    let (left, right) = topics((3, 3));
    produce(&left, "murmur2_random", users(0..50));
    produce(&right, "consistent_random", users(50..100));
    let bootstrap = shared().kafka.bootstrap();
    for name in [&left, &right] {
        let records = (0..3).map(|partition| topic::Record::new("{}").partition(partition));
        topic::produce(bootstrap, name, records).expect("records");
    }
    assert_eq!(advice(&left, &right), None);
    produce(&right, "consistent_random", users(0..50));
    let said = advice(&left, &right).expect("keys lie on different partitions");
    let words = format!("3 of 103 records of {right} have no key");
    assert!(said.contains(&words), "{said}");
}

#[test]
fn only_the_newest_records_of_a_partition_are_read() {
    let (left, right) = topics((2, 2));
    let bootstrap = shared().kafka.bootstrap();
    let on = |partition| move |key: String| topic::Record::new("{}").key(key).partition(partition);
    topic::produce(bootstrap, &left, users(0..1).map(on(0))).expect("records");
    topic::produce(bootstrap, &right, users(0..1).map(on(1))).expect("records");
    assert!(advice(&left, &right).is_some());
    topic::produce(bootstrap, &left, users(1000..1200).map(on(0))).expect("records");
    assert_eq!(
        advice(&left, &right),
        None,
        "the key is the 201st from the end"
    );
}

#[test]
fn different_partition_counts_are_told_with_both() {
    let (left, right) = topics((3, 4));
    let said = advice(&left, &right).expect("counts differ");
    for words in [
        format!("{left} (3 partitions) and {right} (4 partitions)"),
        format!("declare partitions = 4 in [topics.\"{left}\"]"),
    ] {
        assert!(said.contains(&words), "{words}: {said}");
    }
}

#[test]
fn a_broker_that_is_away_and_a_topic_that_is_missing_are_asked_again() {
    let port = sandbox::workdir::free_port().expect("a free port");
    let nobody = kafka(&format!("127.0.0.1:{port}"));
    let short = Duration::from_secs(2);
    assert!(joined_keys_advice(&nobody, "a", "b", short).is_err());
    let (left, _) = topics((1, 1));
    let here = kafka(shared().kafka.bootstrap());
    let missing = unique("missing");
    let why = joined_keys_advice(&here, &left, &missing, TIMEOUT).expect_err("it waits");
    assert!(
        why.contains(&missing) && why.contains("does not exist"),
        "{why}"
    );
}
