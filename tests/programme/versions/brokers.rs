//! Brokers of other versions.

use rand::Rng as _;
use sandbox::kafka::{Kafka, KafkaOptions};

use super::{PARTITIONS, RECORDS_PER_SECOND, assert_doctor_finds_no_error, named};
use crate::programme::{Run, Trial, prepared};
use crate::support::Job;
use crate::support::joins::{Joins, Kind};
use crate::support::traffic::Traffic;

const WHAT: &str = "events and a join, whose transactions the broker keeps; a SIGKILL each time";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new("version-kafka-3.9", WHAT, 10, 2, |run| other(run, "3.9")),
        Trial::new("version-kafka-4.4", WHAT, 10, 2, |run| other(run, "4.4")),
    ]
}

fn other(run: &mut Run, version: &'static str) {
    if !Kafka::has_version(version) {
        return run.skip("`make test-versions` fetches this broker");
    }
    let kafka = Kafka::start(KafkaOptions {
        version: Some(version),
        ..KafkaOptions::default()
    });
    let kafka = kafka.expect("the broker starts");
    events(run, &kafka);
    join(run, &kafka);
    run.result = "exactly once".to_owned();
}

/// Points a job at a broker.
fn on(mut job: Job, kafka: &Kafka) -> Job {
    kafka.bootstrap().clone_into(&mut job.bootstrap);
    let servers = vec![kafka.bootstrap().to_owned()];
    job.set("kafka.bootstrap_servers", servers);
    job
}

fn events(run: &mut Run, kafka: &Kafka) {
    let job = prepared(on(Job::new(&named(run)), kafka), PARTITIONS);
    assert_doctor_finds_no_error(&job);
    let traffic = Traffic::start(&job, PARTITIONS, RECORDS_PER_SECOND);
    for life in 0..run.times {
        let daemon = job.start(&format!("life-{life}"), &[], "");
        job.wait_for_more_rows(300);
        daemon.process.kill();
    }
    let produced = traffic.finish();
    job.run_to_end();
    run.prove(&job, produced);
}

fn join(run: &mut Run, kafka: &Kafka) {
    let job = on(Job::join(&format!("{}-join", named(run))), kafka);
    let joins = Joins::of(job, Kind::Left, PARTITIONS, run.random.random());
    let traffic = joins.traffic(RECORDS_PER_SECOND);
    for life in 0..run.times {
        let daemon = joins.start_named(&format!("life-{life}"), "a", "");
        joins.wait_for_progress(200, &daemon);
        daemon.process.kill();
    }
    let produced = traffic.finish();
    joins.close();
    run.prove_joins(&joins, produced);
}
