//! Windows that fill the memory: right as long as there is room, a clear halt when there is none.

use sandbox::topic;

use crate::support::Job;

const CUSTOMERS: u32 = 400_000;
/// 2025-11-21T10:00:00Z.
const T: i64 = 1_763_719_200_000;

/// Every customer buys once, within one minute.
fn job(name: &str, memory_max: &str) -> Job {
    let mut job = Job::aggregation(name, "sales");
    job.set("service.memory_max", memory_max);
    job.set("pipeline.batch.bytes_max", "8MiB");
    job.unset("pipeline.output");
    job.apply_schema();
    job.create_topic(2);
    let records = (0..CUSTOMERS).map(|number| {
        let value = format!(
            r#"{{"category":"c","customer_id":"customer-{number:09}","product_id":{},"amount":0.1,"timestamp":{}}}"#,
            number % 1000,
            T + i64::from(number % 60_000)
        );
        topic::Record::new(value)
            .partition((number % 2).try_into().expect("small"))
            .timestamp_ms(T)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job
}

#[test]
fn many_distinct_customers_of_one_window_are_counted_exactly() {
    let job = job("distinct", "256MiB");
    let (code, log) = job.run_to_code("run", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let row = job.query(
        "SELECT total_sales, unique_customers, unique_products, total_revenue \
         FROM {db}.sales_aggregates_1min FINAL",
    );
    assert_eq!(row, format!("{CUSTOMERS}\t{CUSTOMERS}\t1000\t40000"));
}

#[test]
fn windows_that_do_not_fit_the_memory_halt_with_advice() {
    let job = job("crowded", "64MiB");
    job.assert_halts(
        "run",
        "state_too_large",
        &["windows", "service.memory_max", "pipeline.window"],
    );
}

/// One partition has twice as many records in its first minute as the other in all its thousand, so that the
/// second runs ahead, and all that it has read waits in windows.
#[test]
fn a_partition_that_is_far_ahead_waits_where_memory_is_tight() {
    let mut job = Job::aggregation("ahead", "sales");
    job.set("service.memory_max", "64MiB");
    job.set("pipeline.batch.bytes_max", "8MiB");
    job.unset("pipeline.output");
    job.apply_schema();
    job.create_topic(2);
    let minutes = 1000;
    let record = |partition: i32, customer: u32, time: i64| {
        let value = format!(
            r#"{{"category":"c","customer_id":"customer-{customer:09}","product_id":{partition},"amount":0.1,"timestamp":{time}}}"#
        );
        topic::Record::new(value)
            .partition(partition)
            .timestamp_ms(time)
    };
    let slow = (0..CUSTOMERS * 2).map(|number| record(0, number % 7, T));
    let last = record(0, 7, T + 2 * minutes * 60_000);
    let slow = slow.chain([last]);
    topic::produce(job.bootstrap(), &job.topic, slow).expect("records");
    let time = |number: u32| T + i64::from(number) * minutes * 60_000 / i64::from(CUSTOMERS);
    let fast = (0..CUSTOMERS).map(|number| record(1, number, time(number)));
    topic::produce(job.bootstrap(), &job.topic, fast).expect("records");
    let (code, log) = job.run_to_code("run", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    let row = job.query(
        "SELECT count(), sum(total_sales), sum(unique_customers) FROM {db}.sales_aggregates_1min FINAL",
    );
    // The slow one's seven customers of the first minute are among the fast one's of that minute.
    let expected = format!("{}\t{}\t{}", minutes + 1, CUSTOMERS * 3 + 1, CUSTOMERS + 1);
    assert_eq!(row, expected);
}
