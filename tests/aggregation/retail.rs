//! The aggregations of examples/retail.toml, and the layers of examples/medallion.toml.

use std::sync::atomic::AtomicBool;

use sandbox::demo::medallion::{self, Places, Traffic};
use sandbox::{shared, topic, unique};

use crate::support::Job;

/// 2025-11-21T10:00:00Z.
const T: i64 = 1_763_719_200_000;
const MINUTE: i64 = 60_000;

/// Minute, customer, country, quantity, unit price.
type Sale = (i64, &'static str, Option<&'static str>, u32, &'static str);

/// Each customer's transactions lie in one partition.
fn run(pipeline: &str, sales: &[Sale]) -> Job {
    let job = Job::aggregation_of("examples/retail.toml", pipeline, pipeline);
    job.apply_schema();
    job.create_topic(2);
    let records = sales.iter().map(|(minute, customer, country, quantity, price)| {
        let country = country.map_or(String::new(), |c| format!(r#""country":"{c}","#));
        let value = format!(
            r#"{{"customer_id":"{customer}",{country}"quantity":{quantity},"unit_price":{price},"timestamp":{}}}"#,
            T + minute * MINUTE
        );
        topic::Record::new(value)
            .key(*customer)
            .partition(i32::from(*customer != "anna"))
            .timestamp_ms(T + minute * MINUTE)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    let (code, log) = job.run_to_code("run", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    job
}

#[test]
fn sales_by_country_are_those_of_five_minutes() {
    let job = run(
        "sales_by_country",
        &[
            (0, "anna", Some("DE"), 3, "19.99"),
            (4, "bert", Some("DE"), 1, "0.01"),
            (4, "bert", Some("DE"), 2, "\"10\""),
            (4, "carl", None, 1, "5"),
            (5, "anna", Some("DE"), 1, "1.005"),
            (3, "anna", Some("FR"), 10, "0.1"),
        ],
    );
    let rows = job.query(
        "SELECT toString(window_start), country, transaction_count, total_revenue, avg_order_value, \
         unique_customers FROM {db}.sales_by_country_5min_current ORDER BY window_start, country",
    );
    let expected = [
        "2025-11-21 10:00:00.000\tDE\t3\t79.98\t26.66\t2",
        "2025-11-21 10:00:00.000\tFR\t1\t1\t1\t1",
        "2025-11-21 10:00:00.000\tunknown\t1\t5\t5\t1",
        "2025-11-21 10:05:00.000\tDE\t1\t1.005\t1\t1",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn customer_sessions_end_after_half_an_hour_of_silence() {
    let job = run(
        "customer_sessions",
        &[
            (0, "anna", None, 1, "10"),
            (30, "anna", None, 2, "2.5"),
            (61, "anna", None, 1, "1"),
            (10, "bert", None, 1, "7"),
            (11, "carl", None, 4, "0.25"),
            (35, "bert", None, 1, "3"),
        ],
    );
    let rows = job.query(
        "SELECT customer_id, toString(session_start), toString(session_end), transactions, total \
         FROM {db}.customer_sessions_current ORDER BY customer_id, session_start",
    );
    let expected = [
        "anna\t2025-11-21 10:00:00.000\t2025-11-21 10:30:00.000\t2\t15",
        "anna\t2025-11-21 11:01:00.000\t2025-11-21 11:01:00.000\t1\t1",
        "bert\t2025-11-21 10:10:00.000\t2025-11-21 10:35:00.000\t2\t10",
        "carl\t2025-11-21 10:11:00.000\t2025-11-21 10:11:00.000\t1\t1",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

/// The demo's own verdicts: every table of five pipelines in one process against a second count of the topic.
#[test]
fn bronze_silver_and_gold_have_what_a_second_count_of_the_topic_has() {
    let sandbox = shared();
    let places = Places {
        bootstrap: sandbox.kafka.bootstrap().to_owned(),
        clickhouse_url: sandbox.clickhouse.url(),
        prefix: unique("medallion") + "_",
    };
    let directory = tempfile::tempdir().expect("a directory");
    // Ninety minutes of event time.
    let traffic = Traffic::counted(3_000, 1_800);
    let shown = medallion::show(&places, directory.path(), traffic, &AtomicBool::new(false));
    assert!(shown.expect("it runs"), "a verdict is bad: see above");
}
