//! What an audit says once parts of the logs are gone, and what it finds in an output of Kafka.

use std::collections::BTreeSet;

use sandbox::topic::{self, Received, Record};
use serde_json::{Value, json};

use super::json;
use super::letters::with_letters;
use crate::support::Job;
use crate::support::joins::{Joins, Kind};

#[test]
fn a_dead_letter_that_retention_deleted_is_not_called_lost() {
    let job = with_letters("letters-gone");
    let audit = ["audit", "--pipeline", "clickstream"];
    let (code, whole) = json(&job, &audit);
    assert_eq!(
        (code, &whole["counts"]["dead_letters"]),
        (0, &json!(6)),
        "{whole}"
    );
    topic::delete_records_before(job.bootstrap(), &job.dead_letter_topic, 0, 2).expect("deleted");
    let (code, cut) = json(&job, &audit);
    let counts = ["rows", "dead_letters", "lost", "not_checkable"].map(|name| &cut["counts"][name]);
    assert_eq!((code, json!(counts)), (0, json!([5, 4, 0, 2])), "{cut}");
    assert_eq!(cut["lost"], json!([]));
    let note = cut["notes"][0].as_str().expect("a note");
    assert!(note.contains("dead-letter topic"), "{note}");
}

/// Every so many records of the output, by partition and offset.
const REMOVED: usize = 13;
const DOUBLED: usize = 17;
const ALTERED: usize = 19;

/// The output again in another topic, some of it removed, doubled or altered: so many of each. The last ones are
/// left as they are: their events may not be committed yet.
fn copy_spoilt(job: &Job, name: &str) -> [u64; 3] {
    let ends = topic::end_offsets(job.bootstrap(), job.output_topic()).expect("ends");
    let settings = [("retention.ms", "-1")];
    let partitions = i32::try_from(ends.len()).expect("few");
    topic::create(job.bootstrap(), name, partitions, &settings).expect("a topic");
    let mut done = [0; 3];
    let mut copies = vec![];
    for (number, record) in job.joined().into_iter().enumerate() {
        let value = record.value.clone().expect("a value");
        let is_last = record.offset * 10 > ends[&record.partition] * 8;
        if !is_last && number % REMOVED == 1 {
            done[0] += 1;
        } else if !is_last && number % DOUBLED == 1 {
            done[1] += 1;
            copies.extend([copy(&record, value.clone()), copy(&record, value)]);
        } else if !is_last && number % ALTERED == 1 {
            done[2] += 1;
            let text = String::from_utf8(value).expect("text");
            let altered = text.replacen('{', r#"{"by_hand":1,"#, 1);
            copies.push(copy(&record, altered.into()));
        } else {
            copies.push(copy(&record, value));
        }
    }
    topic::produce(job.bootstrap(), name, copies).expect("copies");
    done
}

fn copy(received: &Received, value: Vec<u8>) -> Record {
    let mut copy = Record::new(value).partition(received.partition);
    copy.key.clone_from(&received.key);
    copy.timestamp_ms(received.timestamp_ms)
}

fn places(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().expect("a list");
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn joined_records_removed_doubled_and_altered_by_hand_are_found_as_far_as_the_logs_reach() {
    let mut joins = Joins::new("audit-spoilt", Kind::Left, 2, 33);
    joins.produce(3_000);
    // Beside a daemon that goes on joining nothing is found that is not wrong.
    let daemon = joins.start("live", "");
    let traffic = joins.traffic(400);
    let audit = ["audit", "--pipeline", "enriched"];
    joins.wait_for_progress(1_000, &daemon);
    for _ in 0..3 {
        let (code, beside) = json(&joins.job, &audit);
        assert_eq!(code, 0, "{beside}");
    }
    traffic.finish();
    daemon.stop();
    joins.close();
    let (code, clean) = json(&joins.job, &audit);
    assert_eq!(code, 0, "{clean}");
    assert_eq!(clean["counts"]["not_checkable"], json!(0), "{clean}");

    let output = joins.job.output_topic().to_owned();
    let spoilt = format!("{output}-spoilt");
    let [removed, doubled, altered] = copy_spoilt(&joins.job, &spoilt);
    assert!(
        removed.min(doubled).min(altered) >= 50,
        "{removed} {doubled} {altered}"
    );
    joins.job.set("pipeline.output.topic", spoilt.clone());
    let (code, found) = json(&joins.job, &audit);
    let counts = ["lost", "doubled", "differs"].map(|name| &found["counts"][name]);
    let expected = json!([removed + altered, doubled, altered]);
    assert_eq!((code, json!(counts)), (1, expected), "{found}");
    let lost = places(&found["lost"]);
    assert_eq!(lost.len() as u64, removed + altered);

    // Each side loses its beginning in one partition: what that leaves in the dark is not called lost, and
    // what is lost for certain is found all the same.
    topic::delete_records_before(joins.job.bootstrap(), &joins.job.topic, 0, 150).expect("deleted");
    let right = joins.job.right_topic().to_owned();
    topic::delete_records_before(joins.job.bootstrap(), &right, 1, 50).expect("deleted");
    let (code, cut) = json(&joins.job, &audit);
    assert_eq!(code, 1, "{cut}");
    let still = places(&cut["lost"]);
    assert!(still.is_subset(&lost) && still.len() < lost.len(), "{cut}");
    assert!(
        still.len() * 3 > lost.len(),
        "{} of {}",
        still.len(),
        lost.len()
    );
    assert!(cut["counts"]["not_checkable"].as_u64() > Some(0), "{cut}");
    joins.job.set("pipeline.output.topic", output);
    let (code, cut) = json(&joins.job, &audit);
    assert_eq!((code, &cut["counts"]["lost"]), (0, &json!(0)), "{cut}");
}
