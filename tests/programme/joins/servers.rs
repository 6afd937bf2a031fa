//! A broker that dies or restarts.

use std::time::Duration;

use sandbox::kafka::{Kafka, KafkaOptions};

use super::{PARTITIONS, RECORDS_PER_SECOND, Run, Trial, any_kind, wait_until_it_stands_still};
use crate::support::Job;
use crate::support::joins::Joins;
use rand::Rng as _;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "join-broker-restarted",
            "join; the Kafka broker killed or stopped in turn in the middle of a transaction, and started \
             again",
            10,
            2,
            broker_restarted,
        ),
        Trial::new(
            "join-broker-restarted-twice",
            "join; the Kafka broker killed, and once more while the first transaction is to begin",
            10,
            2,
            broker_restarted_twice,
        ),
    ]
}

fn joins_of_broker(run: &mut Run) -> (Kafka, Joins) {
    let kafka = Kafka::start(KafkaOptions::default()).expect("a broker");
    let mut job = Job::join(&run.name);
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    // A client that does not join its group any more is replaced after this and the session's timeout.
    job.set("kafka.properties.max.poll.interval.ms", 40_000);
    let joins = Joins::of(job, any_kind(run), PARTITIONS, run.random.random());
    (kafka, joins)
}

fn broker_restarted_twice(run: &mut Run) {
    let (kafka, joins) = joins_of_broker(run);
    let traffic = joins.traffic(RECORDS_PER_SECOND);
    for number in 0..run.times {
        let daemon = joins.start(&format!("life-{number}"), "");
        joins.wait_for_progress(300, &daemon);
        daemon.stop();
        kafka.kill();
        kafka.restart().expect("the broker comes back");
        let daemon = joins.start(&format!("life-{number}-again"), "");
        std::thread::sleep(Duration::from_millis(run.random.random_range(200..2_000)));
        kafka.kill();
        kafka.restart().expect("the broker comes back");
        joins.wait_for_progress(300, &daemon);
        daemon.stop();
    }
    let produced = traffic.finish();
    joins.close();
    run.prove_joins(&joins, produced);
}

fn broker_restarted(run: &mut Run) {
    let (kafka, joins) = joins_of_broker(run);
    let traffic = joins.traffic(RECORDS_PER_SECOND);
    for number in 0..run.times {
        let point = if run.random.random_ratio(1, 2) {
            "in_transaction"
        } else {
            "before_transaction_commit"
        };
        let failpoint = format!("{point}=20*off->1*sleep(6000)->off");
        let daemon = joins.start(&format!("life-{number}"), &failpoint);
        wait_until_it_stands_still(&joins, &daemon);
        if number % 2 == 0 {
            kafka.kill();
        } else {
            kafka.stop();
        }
        kafka.restart().expect("the broker comes back");
        joins.wait_for_progress(300, &daemon);
        daemon.stop();
    }
    let produced = traffic.finish();
    joins.close();
    run.prove_joins(&joins, produced);
}
