//! Windows that do not fit the memory go to disk, where that is asked for.

use sandbox::topic;

use crate::support::Job;

const CUSTOMERS: u32 = 100_000;
/// 2025-11-21T10:00:00Z.
const T: i64 = 1_763_719_200_000;

/// Each customer, a group of its own, buys twice in one minute: once all have, they come again.
fn job(name: &str) -> Job {
    let mut job = Job::aggregation(name, "sales");
    job.set("service.memory_max", "64MiB");
    job.set("pipeline.batch.bytes_max", "8MiB");
    job.set("pipeline.group.category", "$.customer_id");
    job.unset("pipeline.output");
    job.apply_schema();
    job.create_topic(2);
    let records = (0..2 * CUSTOMERS).map(|number| {
        let customer = number % CUSTOMERS;
        let value = format!(
            r#"{{"category":"c","customer_id":"customer-{customer:09}","product_id":{},"amount":0.5,"timestamp":{}}}"#,
            number / CUSTOMERS,
            T + i64::from(number % 60_000)
        );
        topic::Record::new(value)
            .partition((customer % 2).try_into().expect("small"))
            .timestamp_ms(T)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job
}

#[test]
fn groups_that_do_not_fit_the_memory_are_counted_on_disk() {
    let mut job = job("on-disk");
    job.assert_halts("in-memory", "state_too_large", &["service.memory_max"]);
    job.set("pipeline.state.backend", "disk");
    job.set("pipeline.state.disk_max", "1MiB");
    job.assert_halts(
        "little-disk",
        "state_too_large",
        &["pipeline.state.disk_max", "1048576 may be"],
    );
    job.set("pipeline.state.disk_max", "1GiB");
    let (code, log) = job.run_to_code("on-disk", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let rows = job.query(
        "SELECT count(), uniqExact(category), min(total_sales), max(total_sales), \
         min(unique_products), max(unique_customers), sum(total_revenue) \
         FROM {db}.sales_aggregates_1min FINAL",
    );
    let expected = format!("{CUSTOMERS}\t{CUSTOMERS}\t2\t2\t2\t1\t{CUSTOMERS}");
    assert_eq!(rows, expected);
}
