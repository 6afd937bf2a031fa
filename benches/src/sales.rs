//! What a sale costs on its way into windows: the shipped pipeline `sales` over 2 million of them.

use anyhow::{Context as _, Result, ensure};
use sandbox::clickhouse::ClickHouse;
use sandbox::workdir::{executable, project_root};
use sandbox::{Sandbox, topic};
use toml::Table;

use crate::daemon::{DaemonRuns, Work, section, shipped};
use crate::readers::{self, ReaderKind};
use crate::report::{Kind, Report};
use crate::topic::PARTITIONS;

const CATEGORIES: u64 = 50;
const CUSTOMERS: u64 = 100_000;
const PRODUCTS: u64 = 2_000;
/// Event time of the first sale: 2025-11-21T00:00:00Z, one sale a millisecond.
const START_MS: u64 = 1_763_683_200_000;
/// One sale in so many comes up to this late.
const LATE_ONE_IN: u64 = 8;
const LATE_MAX_MS: u64 = 5_000;
/// A sale may take so many times what the drain poll by poll takes.
const TIMES_MAX: f64 = 2.0;

/// Measures and prints.
///
/// # Errors
/// When a run fails, or leaves other sums than the sales'.
pub(crate) fn measure(parts: &Sandbox, sales: u64, rounds: usize, kinds: &str) -> Result<()> {
    ensure!(sales > 0, "nothing to do");
    let topic = SalesTopic::fill(parts, sales)?;
    println!(
        "\nwindows: {sales} sales of {} bytes on average, {CATEGORIES} categories, one in {LATE_ONE_IN} up \
         to {} s late, in {PARTITIONS} partitions\n",
        topic.value_bytes / sales,
        LATE_MAX_MS / 1000,
    );
    let daemon = DaemonRuns::new(parts, &topic, executable("streamweir", "STREAMWEIR_BIN")?)?;
    let drain = |kind| readers::run(kind, parts, Work::topic(&topic), sales);
    drain(ReaderKind::Batch)?;
    let mut report = Report::new("sale", sales);
    for round in 1..=rounds {
        for (letter, kind) in [('a', ReaderKind::Batch), ('b', ReaderKind::Poll)] {
            if kinds.contains(letter) {
                report.add(round, Kind::Reader(kind), drain(kind)?);
            }
        }
        if kinds.contains('d') {
            report.add_daemons(round, &daemon, None)?;
        }
        if kinds.contains('e') {
            report.add(round, Kind::DaemonToEngine, daemon.read_into_the_engine()?);
        }
    }
    println!("\n{report}");
    if let Some(ratio) = report.daemon_by_poll() {
        let judged = if ratio <= TIMES_MAX { "held" } else { "MISSED" };
        println!("(d) without (0): {ratio:.2} x (b); at most {TIMES_MAX}: {judged}");
    }
    Ok(())
}

struct SalesTopic {
    name: String,
    sales: u64,
    value_bytes: u64,
    cents: u64,
}

impl SalesTopic {
    fn fill(parts: &Sandbox, sales: u64) -> Result<Self> {
        let (name, bootstrap) = ("bench.sales-events".to_owned(), parts.kafka.bootstrap());
        topic::create(bootstrap, &name, PARTITIONS, &[("retention.ms", "-1")])?;
        let (mut value_bytes, mut total) = (0, 0);
        let records = (0..sales).map(|number| {
            let (value, time_ms, cents) = sale(number);
            value_bytes += value.len() as u64;
            total += cents;
            let partition = i32::try_from(number % PARTITIONS.unsigned_abs() as u64);
            topic::Record::new(value)
                .partition(partition.expect("partitions are few"))
                .timestamp_ms(i64::try_from(time_ms).expect("a time of this century"))
        });
        topic::produce(bootstrap, &name, records)?;
        Ok(SalesTopic {
            name,
            sales,
            value_bytes,
            cents: total,
        })
    }
}

/// Its JSON, the time at which it arrives, and what it comes to.
fn sale(number: u64) -> (String, u64, u64) {
    let mixed = mix(number);
    let arrives_ms = START_MS + number;
    let is_late = mixed.is_multiple_of(LATE_ONE_IN);
    let late_ms = if is_late {
        (mixed >> 8) % LATE_MAX_MS
    } else {
        0
    };
    let cents = (mixed >> 16) % 50_000;
    let value = format!(
        r#"{{"sale_id":"{mixed:016x}","category":"category-{:02}","customer_id":{},"product_id":{},"amount":{}.{:02},"quantity":{},"timestamp":{}}}"#,
        (mixed >> 24) % CATEGORIES,
        (mixed >> 32) % CUSTOMERS,
        (mixed >> 40) % PRODUCTS,
        cents / 100,
        cents % 100,
        1 + mixed % 5,
        arrives_ms - late_ms,
    );
    (value, arrives_ms, cents)
}

/// SplitMix64 of Steele, Lea and Flood, 2014.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Work for SalesTopic {
    fn topic(&self) -> &str {
        &self.name
    }

    fn records(&self) -> u64 {
        self.sales
    }

    fn config(&self) -> Result<Table> {
        let mut config = shipped(&project_root(), "sales")?;
        let pipeline = config["pipeline"][0].as_table_mut().context("a pipeline")?;
        let ddl = project_root().join("sql/sales_aggregates_1min.sql");
        section(pipeline, "clickhouse")?.insert("ddl".into(), ddl.display().to_string().into());
        pipeline.remove("output");
        Ok(config)
    }

    fn arguments(&self) -> &'static [&'static str] {
        &["run", "--until", "latest", "--close"]
    }

    /// The last windows stay open.
    fn commits_everything(&self) -> bool {
        false
    }

    /// Every sale is in one row, and every cent.
    fn check(&self, clickhouse: &ClickHouse, database: &str) -> Result<()> {
        let found = clickhouse.try_query(&format!(
            "SELECT sum(total_sales), toUInt64(sum(total_revenue) * 100) \
             FROM {database}.sales_aggregates_1min FINAL"
        ))?;
        let expected = format!("{}\t{}", self.sales, self.cents);
        ensure!(
            found == expected,
            "sales and cents in the table: {found}, in the topic: {expected}"
        );
        Ok(())
    }
}
