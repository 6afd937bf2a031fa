//! What the tables should have, by a plain second reading of the topic.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::Value;

use super::super::proofs::Verdict;
use super::super::watch::grouped;
use super::config::LETTERS;
use super::{Places, TOPIC};
use crate::clickhouse;
use crate::topic::{self, Received};

const MINUTE_MS: i64 = 60_000;
/// `watermark_delay` of the example.
const DELAY_MS: i64 = 10 * MINUTE_MS;

/// A transaction that no rule refuses.
struct Transaction {
    id: String,
    customer: String,
    product: String,
    quantity: u64,
    cents: u64,
    has_right_total: bool,
    time_ms: i64,
    country: String,
}

/// What a record is.
enum Read {
    NoJson,
    Refused,
    Valid(Transaction),
}

/// One of the gold tables.
struct Gold {
    pipeline: &'static str,
    size_ms: i64,
    group: fn(&Transaction) -> &str,
    /// What is counted without repetition.
    of: fn(&Transaction) -> &str,
    sql: &'static str,
    /// The largest event time of each partition so far.
    largest_ms: BTreeMap<i32, i64>,
    windows: BTreeMap<(i64, String), Window>,
    letters: u64,
}

#[derive(Default)]
struct Window {
    transactions: u64,
    units: u64,
    cents: u64,
    different: BTreeSet<String>,
}

/// What there should be.
pub(super) struct Expected {
    records: u64,
    /// Transactions, cents, those with another total, those of a strange country.
    silver: [u64; 4],
    silver_letters: u64,
    duplicates: u64,
    gold: [Gold; 3],
}

impl Expected {
    pub(super) fn count(places: &Places) -> Result<Self> {
        let mut records = topic::read_all(&places.bootstrap, &places.named(TOPIC))?;
        records.sort_by_key(|record| (record.partition, record.offset));
        let mut expected = Expected {
            records: records.len() as u64,
            silver: [0; 4],
            silver_letters: 0,
            duplicates: 0,
            gold: gold(),
        };
        let mut seen = BTreeSet::new();
        for record in &records {
            match read(record) {
                Read::NoJson => {
                    expected.silver_letters += 1;
                    expected.gold.iter_mut().for_each(|gold| gold.letters += 1);
                }
                Read::Refused => expected.silver_letters += 1,
                Read::Valid(transaction) => {
                    let is_new = seen.insert((record.partition, transaction.id.clone()));
                    expected.take(record.partition, &transaction, is_new);
                }
            }
        }
        Ok(expected)
    }

    fn take(&mut self, partition: i32, transaction: &Transaction, is_new: bool) {
        for gold in &mut self.gold {
            gold.take(partition, transaction, is_new);
        }
        if !is_new {
            self.duplicates += 1;
            return;
        }
        let is_strange = transaction.country.len() != 2;
        let adds = [
            1,
            transaction.quantity * transaction.cents,
            u64::from(!transaction.has_right_total),
            u64::from(is_strange),
        ];
        for (sum, add) in self.silver.iter_mut().zip(adds) {
            *sum += add;
        }
    }

    /// Holds the tables and the dead letters against it.
    pub(super) fn hold(self, places: &Places) -> Result<Vec<Verdict>> {
        let ask = |sql: &str| {
            let sql = sql.replace("{db}", &places.named("analytics"));
            clickhouse::query(&places.clickhouse_url, &sql)
        };
        let letters = letters(places)?;
        let of = |pipeline: &str| letters.get(pipeline).map_or(0, |l| l.len() as u64);
        let mut verdicts = vec![];
        let bronze = ask("SELECT count(), uniqExact(partition, offset) FROM {db}.bronze_events")?;
        verdicts.push(Verdict::of(
            format!("bronze: each of {} records once", grouped(self.records)),
            &format!("{0}\t{0}\t0", self.records),
            &format!("{bronze}\t{}", of("bronze")),
        ));
        let silver = ask(
            "SELECT count(), toInt64(sum(total_amount) * 100), countIf(quality_passed = 0), \
             countIf(has(quality_failed, 'country_known')), uniqExact(transaction_id) \
             FROM {db}.silver_transactions",
        )?;
        let [transactions, cents, wrong, strange] = self.silver;
        verdicts.push(Verdict::of(
            format!(
                "silver: {} transactions once each, {} duplicates dropped, {} dead letters, {} flagged",
                grouped(transactions),
                grouped(self.duplicates),
                grouped(self.silver_letters),
                grouped(wrong)
            ),
            &format!(
                "{transactions}\t{cents}\t{wrong}\t{strange}\t{transactions}\t{}",
                self.silver_letters
            ),
            &format!("{silver}\t{}", of("silver")),
        ));
        for gold in self.gold {
            let (found, expected) = (ask(gold.sql)?, gold.rows());
            let late_or_spoilt = gold.letters;
            verdicts.push(Verdict::of(
                format!(
                    "{}: {} rows, {} dead letters, as a second count has them",
                    gold.pipeline,
                    grouped(gold.windows.len() as u64),
                    grouped(late_or_spoilt)
                ),
                &format!("{expected}\n{late_or_spoilt}"),
                &format!("{found}\n{}", of(gold.pipeline)),
            ));
        }
        Ok(verdicts)
    }
}

impl Gold {
    /// A duplicate moves the watermark and counts nowhere; a late one does neither.
    fn take(&mut self, partition: i32, transaction: &Transaction, is_new: bool) {
        let time_ms = transaction.time_ms;
        let start_ms = time_ms - time_ms.rem_euclid(self.size_ms);
        let largest_ms = self.largest_ms.get(&partition).copied();
        let is_late = largest_ms.is_some_and(|ms| ms - DELAY_MS >= start_ms + self.size_ms);
        if is_new && is_late {
            self.letters += 1;
            return;
        }
        let largest_ms = largest_ms.map_or(time_ms, |ms| ms.max(time_ms));
        self.largest_ms.insert(partition, largest_ms);
        if !is_new {
            return;
        }
        let group = (self.group)(transaction).to_owned();
        let window = self.windows.entry((start_ms, group)).or_default();
        window.transactions += 1;
        window.units += transaction.quantity;
        window.cents += transaction.quantity * transaction.cents;
        window.different.insert((self.of)(transaction).to_owned());
    }

    /// As the table's rows are asked for.
    fn rows(&self) -> String {
        let rows = self.windows.iter().map(|((start_ms, group), window)| {
            let Window {
                transactions,
                units,
                cents,
                different,
            } = window;
            let counted = match self.pipeline {
                "product_performance" => units,
                _ => transactions,
            };
            format!(
                "{start_ms}\t{group}\t{counted}\t{cents}\t{}",
                different.len()
            )
        });
        rows.collect::<Vec<_>>().join("\n")
    }
}

fn gold() -> [Gold; 3] {
    let gold = |pipeline, minutes: i64, sql| Gold {
        pipeline,
        size_ms: minutes * MINUTE_MS,
        group: |t| &t.country,
        of: |t| &t.customer,
        sql,
        largest_ms: BTreeMap::new(),
        windows: BTreeMap::new(),
        letters: 0,
    };
    [
        gold(
            "sales_metrics",
            5,
            "SELECT toUnixTimestamp64Milli(window_start) AS s, country, transaction_count, \
             toInt64(total_revenue * 100), unique_customers FROM {db}.sales_metrics_current \
             ORDER BY s, toString(country)",
        ),
        Gold {
            group: |t| &t.customer,
            of: |t| &t.product,
            ..gold(
                "customer_analytics",
                24 * 60,
                "SELECT toUnixTimestamp64Milli(window_start) AS s, customer_id, daily_transaction_count, \
                 toInt64(daily_total_spent * 100), daily_unique_products FROM {db}.customer_analytics_current \
                 ORDER BY s, customer_id",
            )
        },
        Gold {
            group: |t| &t.product,
            ..gold(
                "product_performance",
                60,
                "SELECT toUnixTimestamp64Milli(window_start) AS s, product_id, toInt64(units_sold), \
                 toInt64(revenue * 100), unique_customers FROM {db}.product_performance_current \
                 ORDER BY s, product_id",
            )
        },
    ]
}

fn read(record: &Received) -> Read {
    let value = record.value.as_deref().unwrap_or_default();
    let Ok(value) = serde_json::from_slice::<Value>(value) else {
        return Read::NoJson;
    };
    let cents = |name: &str| {
        let number = value[name].as_f64()?;
        Some((number * 100.0).round() as u64)
    };
    let transaction = || {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let (quantity, price) = (value["quantity"].as_u64()?, cents("unit_price")?);
        Some(Transaction {
            id: text("transaction_id")?,
            customer: text("customer_id")?,
            product: text("product_id")?,
            quantity,
            cents: price,
            has_right_total: cents("total_amount") == Some(quantity * price),
            time_ms: value["transaction_date"].as_i64()?,
            country: text("country")?,
        })
    };
    match transaction() {
        Some(transaction) if transaction.quantity > 0 => Read::Valid(transaction),
        _ => Read::Refused,
    }
}

/// Of each pipeline the records that are dead letters.
fn letters(places: &Places) -> Result<BTreeMap<String, BTreeSet<(String, String)>>> {
    let mut letters: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
    for letter in topic::read_all(&places.bootstrap, &places.named(LETTERS))? {
        let header = |name: &str| {
            letter
                .header(&format!("streamweir-{name}"))
                .unwrap_or_default()
        };
        let place = (header("partition"), header("offset"));
        letters.entry(header("pipeline")).or_default().insert(place);
    }
    Ok(letters)
}
