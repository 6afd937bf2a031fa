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
