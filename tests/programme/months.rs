//! One insert that makes a part in each of 101 table partitions.

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic;

use super::{Run, Trial};
use crate::programme::crash_points::die_at;
use crate::support::traffic::Source;

const MONTHS: u64 = 101;
const RECORDS: u64 = 5 * MONTHS;
/// 15 July 2017, in milliseconds since 1970; a mean month later it is the middle of the next.
const FIRST_MS: i64 = 1_500_076_800_000;
const MONTH_MS: i64 = 146_097 * 86_400_000 / 4_800;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "101-months",
        "one insert into 101 table partitions: its answer lost, killed during it and after it",
        10,
        1,
        months,
    )]
}

fn months(run: &mut Run) {
    let mut job = run.job(1);
    job.set("pipeline.batch.rows_max", 100_000);
    job.set("pipeline.batch.flush_interval", "1s");
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let mut produced = 0;
    for number in 0..run.times {
        for point in ["during_insert", "after_insert_acknowledged"] {
            produced += produce(&job.topic, job.bootstrap(), u64::from(number));
            die_at(&job, point, 0);
        }
        produced += produce(&job.topic, job.bootstrap(), u64::from(number));
        let lost = proxy.inject(Matcher::inserts(), Fault::FailAfterWrite, 1);
        job.run_to_end();
        assert_eq!(lost.hits(), 1);
    }
    assert!(
        proxy.inserts().iter().any(|insert| insert.faulted),
        "an insert's answer was lost"
    );
    let widest = job.query(
        "SELECT max(months) FROM (SELECT uniqExact(toYYYYMM(timestamp)) AS months \
         FROM {db}.clickstream_events GROUP BY processed_at)",
    );
    assert_eq!(widest, MONTHS.to_string(), "months of one insert");
    run.prove(&job, produced);
}

/// Records that go from month to month, and back to the first after the last.
fn produce(topic: &str, bootstrap: &str, seed: u64) -> u64 {
    let mut source = Source::new(seed, 1);
    let records = (0..RECORDS).map(|number| {
        let month = i64::try_from(number % MONTHS).expect("small");
        let second = i64::try_from(number / MONTHS).expect("small");
        source.record_at(number, FIRST_MS + month * MONTH_MS + second * 1_000)
    });
    topic::produce(bootstrap, topic, records).expect("records")
}
