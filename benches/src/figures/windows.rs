//! One window with more distinct customers than fit a small memory: right in a large one, a clear halt in
//! a small one.

use anyhow::{Result, ensure};
use sandbox::{Sandbox, topic};

use super::job::Job;
use super::{Bounds, memory};
use crate::topic::PARTITIONS;

/// Event time of every sale: within one minute of 2025-11-21T00:00Z.
const START_MS: i64 = 1_763_683_200_000;
const LARGE: (&str, u64) = ("2GiB", 2 << 30);
const SMALL: (&str, u64) = ("256MiB", 256 << 20);

/// Measures and prints.
///
/// # Errors
/// When the large memory does not give the right counts, or the small one anything but a halt.
pub(super) fn measure(parts: &Sandbox, customers: u32, bounds: &mut Bounds) -> Result<()> {
    let name = "figures.sales-events";
    let bootstrap = parts.kafka.bootstrap();
    topic::create(bootstrap, name, PARTITIONS, &[("retention.ms", "-1")])?;
    let sales = (0..customers).map(|customer| {
        let value = format!(
            r#"{{"category":"c","customer_id":"customer-{customer:09}","product_id":{},"amount":0.10,"timestamp":{}}}"#,
            customer % 1000,
            START_MS + i64::from(customer % 60_000),
        );
        topic::Record::new(value)
            .partition((customer % PARTITIONS.unsigned_abs()).cast_signed())
            .timestamp_ms(START_MS)
    });
    topic::produce(bootstrap, name, sales)?;
    println!("## {customers} distinct customers in one window\n");
    println!("| memory_max | outcome | seconds | peak RSS, MiB | |\n|---|---|---|---|---|");

    let job = Job::windows(parts, name, LARGE.0)?;
    let (run, status, log) = job.read_to_status("large")?;
    ensure!(status == Some(0), "exit status {status:?}: {log}");
    let found =
        job.query("SELECT total_sales, unique_customers, unique_products FROM {t} FINAL")?;
    ensure!(
        found == format!("{customers}\t{customers}\t1000"),
        "sales, customers and products in the table: {found}"
    );
    memory::line(LARGE, "every customer counted once", &run, bounds);
    job.drop_database()?;

    let job = Job::windows(parts, name, SMALL.0)?;
    let (run, status, log) = job.read_to_status("small")?;
    let is_clear = log.contains("state_too_large") && log.contains("service.memory_max");
    ensure!(
        status == Some(4) && is_clear,
        "exit status {status:?}: {log}"
    );
    memory::line(SMALL, "halts, exit 4: `state_too_large`", &run, bounds);
    job.drop_database()?;
    println!();
    topic::delete(bootstrap, name)
}
