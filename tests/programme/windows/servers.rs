//! Servers that die or restart.

use std::time::Duration;

use rand::Rng as _;
use sandbox::clickhouse::ClickHouse;
use sandbox::kafka::{Kafka, KafkaOptions};

use super::{PARTITIONS, Run, SALES_PER_SECOND, Trial};
use crate::support::Job;
use crate::support::windows::{Kind, Windows};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "win-clickhouse-killed",
            "windows; ClickHouse killed at any moment, and started again",
            20,
            2,
            clickhouse_killed,
        ),
        Trial::new(
            "win-broker-restarted",
            "windows; the Kafka broker killed or stopped in turn, and started again",
            10,
            2,
            broker_restarted,
        ),
    ]
}

fn any_kind(run: &mut Run) -> Kind {
    Kind::ALL[run.random.random_range(0..Kind::ALL.len())]
}

fn clickhouse_killed(run: &mut Run) {
    let clickhouse = ClickHouse::start().expect("an engine");
    let mut job = Job::aggregation(&run.name, "sales");
    job.clickhouse_url = clickhouse.url();
    job.set("clickhouse.url", clickhouse.url());
    let windows = Windows::of(job, any_kind(run), PARTITIONS, run.random.random());
    let traffic = windows.traffic(SALES_PER_SECOND);
    let daemon = windows.start("daemon", "");
    for _ in 0..run.times {
        windows.wait_for_progress(300, &daemon);
        std::thread::sleep(Duration::from_millis(run.random.random_range(0..500)));
        clickhouse.kill();
        // So long nobody listens.
        std::thread::sleep(Duration::from_millis(500));
        clickhouse.restart().expect("the engine comes back");
    }
    windows.wait_for_progress(300, &daemon);
    let produced = traffic.finish();
    daemon.stop();
    windows.close();
    run.prove_windows(&windows, produced);
}

fn broker_restarted(run: &mut Run) {
    let kafka = Kafka::start(KafkaOptions::default()).expect("a broker");
    let mut job = Job::aggregation(&run.name, "sales");
    job.bootstrap = kafka.bootstrap().to_owned();
    job.set("kafka.bootstrap_servers", vec![job.bootstrap.clone()]);
    // A client that does not join its group any more is replaced after this and the session's timeout.
    job.set("kafka.properties.max.poll.interval.ms", 40_000);
    let windows = Windows::of(job, any_kind(run), PARTITIONS, run.random.random());
    let traffic = windows.traffic(SALES_PER_SECOND);
    let daemon = windows.start("daemon", "");
    for number in 0..run.times {
        windows.wait_for_progress(300, &daemon);
        if number % 2 == 0 {
            kafka.kill();
        } else {
            kafka.stop();
        }
        kafka.restart().expect("the broker comes back");
    }
    windows.wait_for_progress(300, &daemon);
    let produced = traffic.finish();
    daemon.stop();
    windows.close();
    run.prove_windows(&windows, produced);
}
