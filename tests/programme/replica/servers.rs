//! Servers that die or restart.

use std::time::Duration;

use rand::Rng as _;
use sandbox::clickhouse::ClickHouse;
use sandbox::kafka::{Kafka, KafkaOptions};

use super::{CHANGES_PER_SECOND, PARTITIONS, Run, Trial};
use crate::support::Job;
use crate::support::replica::Replica;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "cdc-clickhouse-killed",
            "change records; ClickHouse killed at any moment, and started again",
            20,
            2,
            clickhouse_killed,
        ),
        Trial::new(
            "cdc-broker-restarted",
            "change records; the Kafka broker killed or stopped in turn, and started again",
            10,
            2,
            broker_restarted,
        ),
    ]
}

fn clickhouse_killed(run: &mut Run) {
    let clickhouse = ClickHouse::start().expect("an engine");
    let mut job = Job::replication(&run.name);
    job.clickhouse_url = clickhouse.url();
    job.set("clickhouse.url", clickhouse.url());
    let replica = Replica::of(job, PARTITIONS, run.random.random());
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    let daemon = replica.start("daemon", "");
    for _ in 0..run.times {
        replica.wait_for_progress(500, Some(&daemon));
        replica.source().add_column("notes", false);
        std::thread::sleep(Duration::from_millis(run.random.random_range(0..500)));
        clickhouse.kill();
        // So long nobody listens.
        std::thread::sleep(Duration::from_millis(500));
        clickhouse.restart().expect("the engine comes back");
    }
    replica.wait_for_progress(500, Some(&daemon));
    let produced = traffic.finish();
    replica.wait_for_end(&daemon);
    daemon.stop();
    run.prove_equal(&replica, produced);
}

fn broker_restarted(run: &mut Run) {
    let kafka = Kafka::start(KafkaOptions::default()).expect("a broker");
    let mut job = Job::replication(&run.name);
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    // A client that does not join its group any more is replaced after this and the session's timeout.
    job.set("kafka.properties.max.poll.interval.ms", 40_000);
    let replica = Replica::of(job, PARTITIONS, run.random.random());
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    let daemon = replica.start("daemon", "");
    for number in 0..run.times {
        replica.wait_for_progress(500, Some(&daemon));
        if number % 2 == 0 {
            kafka.kill();
        } else {
            kafka.stop();
        }
        kafka.restart().expect("the broker comes back");
    }
    replica.wait_for_progress(500, Some(&daemon));
    let produced = traffic.finish();
    replica.wait_for_end(&daemon);
    daemon.stop();
    run.prove_equal(&replica, produced);
}
