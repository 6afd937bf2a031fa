//! Limits of dead letters: their share, their size, and records an operator passes by.

use std::collections::BTreeSet;

use sandbox::topic;

use crate::support::{EVENT_TIME_MS, Job};

fn dead_offsets(job: &Job) -> BTreeSet<i64> {
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    let offset = |letter: &topic::Received| letter.header("streamweir-offset")?.parse().ok();
    letters.iter().filter_map(offset).collect()
}

fn bad(value: impl Into<Vec<u8>>) -> topic::Record {
    topic::Record::new(value)
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS)
}

#[test]
fn too_large_a_share_of_dead_letters_halts_with_nothing_committed_that_is_not_durable() {
    let mut job = Job::new("share");
    job.set("pipeline.dead_letter.ratio_max", 0.1);
    // Nothing is written before it halts.
    job.set("pipeline.batch.flush_interval", "10m");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..1500);
    let records = (0..8000).map(|n| bad(format!("not json {n}")));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    let advice = [
        "pipeline.dead_letter.ratio_max is 0.1",
        job.dead_letter_topic.as_str(),
        "the most frequent reason is invalid_json",
        &format!("such as {}:0:", job.topic),
    ];
    job.assert_halts("halts", "dead_letter_ratio", &advice);
    let committed = job.committed().get(&0).map_or(0, |c| c.offset);
    let rows = job.query(&format!(
        "SELECT uniqExact(_offset) FROM {{db}}.clickstream_events WHERE _offset < {committed}"
    ));
    let letters = dead_offsets(&job)
        .into_iter()
        .filter(|offset| *offset < committed)
        .count();
    assert_eq!(
        rows.parse::<usize>().expect("a number") + letters,
        committed as usize
    );
    assert!(committed < 9500, "the run halted before the end");
    assert!(letters > 0, "what it halted for can be looked at");
    job.set("pipeline.dead_letter.ratio_max", 1.0);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (1500, 1500));
    assert_eq!(dead_offsets(&job), (1500..9500).collect());
}

#[test]
fn records_an_operator_passes_by_are_neither_rows_nor_dead_letters() {
    let mut job = Job::new("skip");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..3);
    topic::produce(job.bootstrap(), &job.topic, [bad("x"), bad("y")]).expect("records");
    let places = [1, 3].map(|offset| format!("{}:0:{offset}", job.topic));
    job.set("pipeline.dead_letter.skip", places.to_vec());
    job.run_to_end();
    job.assert_committed_to_end();
    let offsets = job.query("SELECT _offset FROM {db}.clickstream_events ORDER BY 1");
    assert_eq!(offsets.lines().collect::<Vec<_>>(), ["0", "2"]);
    assert_eq!(dead_offsets(&job), BTreeSet::from([4]));
}

#[test]
fn a_dead_letter_larger_than_its_topic_takes_halts_and_skip_passes_it_by() {
    let mut job = Job::new("large");
    job.apply_schema();
    job.create_topic(1);
    let settings = [("max.message.bytes", "4000"), ("retention.ms", "-1")];
    topic::create(job.bootstrap(), &job.dead_letter_topic, 1, &settings).expect("a topic");
    job.produce_events(0, 0..3);
    // Bytes that no compression makes small.
    let mut state = 1u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(20_000)
    .collect();
    topic::produce(job.bootstrap(), &job.topic, [bad(noise)]).expect("a record");
    job.produce_events(0, 3..5);
    let place = format!("{}:0:3", job.topic);
    let advice = [
        place.as_str(),
        "max.message.bytes",
        "pipeline.dead_letter.skip",
        &job.dead_letter_topic,
    ];
    job.assert_halts("halts", "dead_letter", &advice);
    let committed = job.committed().get(&0).map_or(0, |c| c.offset);
    assert!(committed <= 3, "{committed}");
    job.set("pipeline.dead_letter.skip", vec![place]);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (5, 5));
}
