//! A group whose offsets an operator moves, and a topic that is not what it was.

use std::time::Duration;

use rand::Rng as _;
use sandbox::topic::{self, Committed};
use sandbox::unique;

use super::{Run, Trial};
use crate::support::Job;
use crate::support::traffic::Traffic;

const PARTITIONS: i32 = 3;
const EVENTS_PER_SECOND: u64 = 1_000;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "group-reset",
            "the group set back to 0 while the daemon is down, which is killed as it reads again",
            10,
            1,
            group_reset,
        ),
        Trial::new(
            "topic-recreated",
            "the topic deleted and created again: halts, then goes on as advised",
            5,
            1,
            topic_recreated,
        ),
    ]
}

fn set_back(job: &Job) {
    let beginning = Committed {
        offset: 0,
        metadata: String::new(),
    };
    for partition in 0..PARTITIONS {
        topic::commit(
            job.bootstrap(),
            &job.group,
            &job.topic,
            partition,
            &beginning,
        )
        .expect("committed");
    }
}

fn group_reset(run: &mut Run) {
    let job = run.job(PARTITIONS);
    let mut produced = 0;
    for number in 0..run.times {
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        let daemon = job.start(&format!("daemon-{number}"), &[], "");
        job.wait_for_more_rows(1_000);
        daemon.stop();
        produced += traffic.finish();
        set_back(&job);
        let again = job.start(&format!("again-{number}"), &[], "");
        again.wait_for_log("partition begins");
        std::thread::sleep(Duration::from_millis(run.random.random_range(0..1_500)));
        again.process.kill();
    }
    job.run_to_end();
    run.prove(&job, produced);
}

fn topic_recreated(run: &mut Run) {
    for _ in 0..run.times {
        let mut job = run.job(PARTITIONS);
        let before = rows_of_one_topic(&job, "old");
        run.prove(&job, before);
        topic::delete(job.bootstrap(), &job.topic).expect("deleted");
        job.create_topic(PARTITIONS);
        let records = (0..100).map(|i| topic::Record::new(format!("not JSON {i}")).partition(0));
        let foreign = topic::produce(job.bootstrap(), &job.topic, records).expect("records");
        let rows = job.row_count();
        let (code, log) = job.run_to_code("refused", &["--until", "latest"]);
        assert_eq!(code, 4, "{log}");
        let advice = log.contains("topic_changed") || log.contains("offsets_vanished");
        assert!(advice && log.contains(&job.group), "{log}");
        assert_eq!(job.row_count(), rows, "nothing was written");
        follow_the_advice(&mut job);
        let after = rows_of_one_topic(&job, "new");
        assert_eq!(foreign, 100);
        run.prove(&job, after);
    }
}

/// Makes some traffic and runs until all of it is written; how many records there were.
fn rows_of_one_topic(job: &Job, instance: &str) -> u64 {
    let traffic = Traffic::start(job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start(instance, &[], "");
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    daemon.stop();
    job.run_to_end();
    produced
}

/// The topic of the same name gets a place of its own among the rows, and its dead letters too.
fn follow_the_advice(job: &mut Job) {
    topic::delete(job.bootstrap(), &job.topic).expect("deleted");
    job.create_topic(PARTITIONS);
    job.query(
        "ALTER TABLE {db}.clickstream_events UPDATE _topic = concat(_topic, ' (deleted)') \
         WHERE NOT endsWith(_topic, ' (deleted)') SETTINGS mutations_sync = 2",
    );
    set_back(job);
    job.dead_letter_topic = unique(&format!("{}dead-letters", job.prefix));
    job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
}
