//! Retail transactions, some of them spoilt, sent again or late.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{Places, TOPIC};
use crate::topic::{self, Record};

/// Event time begins so long ago, so that it may go by faster.
const BEGUN_BEFORE: Duration = Duration::from_secs(7 * 24 * 3_600);
/// Event time of one second of a paced run.
const FASTER: u64 = 120;
const CUSTOMERS: u64 = 300;
const PRODUCTS: u64 = 60;
const COUNTRIES: [&str; 5] = ["DE", "FR", "GB", "PL", "US"];
/// How far a late transaction lies behind the others.
const LATE_MS: i64 = 3 * 3_600_000;
/// Transactions that may be sent again.
const REMEMBERED: usize = 500;

/// How many transactions, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// None: as fast as they are taken.
    per_second: Option<u64>,
    /// None: until told to end.
    count: Option<u64>,
    /// Event time from one to the next.
    step_ms: i64,
}

impl Traffic {
    /// So many a second, for so long or until told to end.
    #[must_use]
    pub fn paced(per_second: u64, duration: Option<Duration>) -> Self {
        let per_second = per_second.max(1);
        Traffic {
            per_second: Some(per_second),
            count: duration.map(|duration| duration.as_secs() * per_second),
            step_ms: i64::try_from(1_000 * FASTER / per_second).unwrap_or(1),
        }
    }

    /// So many, as fast as they are taken, with so much event time from one to the next.
    #[must_use]
    pub fn counted(count: u64, step_ms: i64) -> Self {
        Traffic {
            per_second: None,
            count: Some(count),
            step_ms,
        }
    }

    pub(super) fn send(
        self,
        places: &Places,
        partitions: i32,
        is_over: &AtomicBool,
    ) -> Result<u64> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let begun = now.unwrap_or_default().saturating_sub(BEGUN_BEFORE);
        let mut transactions = Transactions {
            random: StdRng::seed_from_u64(42),
            time_ms: i64::try_from(begun.as_millis()).unwrap_or_default(),
            step_ms: self.step_ms,
            sent: VecDeque::new(),
            number: 0,
        };
        let started = Instant::now();
        let numbers = 0..self.count.unwrap_or(u64::MAX);
        let records = numbers.map_while(|number| {
            if let Some(per_second) = self.per_second {
                let due = Duration::from_micros(number * 1_000_000 / per_second);
                thread::sleep(due.saturating_sub(started.elapsed()));
            }
            let (customer, text) = transactions.next();
            let partition = i32::try_from(customer).unwrap_or_default() % partitions;
            let record = Record::new(text)
                .key(format!("c{customer}"))
                .partition(partition);
            (!is_over.load(Ordering::Relaxed)).then_some(record)
        });
        topic::produce(&places.bootstrap, &places.named(TOPIC), records)
    }
}

struct Transactions {
    random: StdRng,
    time_ms: i64,
    step_ms: i64,
    /// Each with its customer.
    sent: VecDeque<(u64, String)>,
    number: u64,
}

impl Transactions {
    /// The customer, and the record's value.
    fn next(&mut self) -> (u64, String) {
        self.time_ms += self.step_ms;
        let kind = self.random.random_range(0..1_000);
        if kind < 30 && !self.sent.is_empty() {
            let index = self.random.random_range(0..self.sent.len());
            return self.sent[index].clone();
        }
        self.number += 1;
        let customer = self.random.random_range(1..=CUSTOMERS);
        let text = self.transaction(kind, customer);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back((customer, text.clone()));
        (customer, text)
    }

    fn transaction(&mut self, kind: u32, customer: u64) -> String {
        let number = self.number;
        let product = self.random.random_range(1..=PRODUCTS);
        let quantity = match kind {
            30..40 => 0,
            _ => self.random.random_range(1..6u64),
        };
        let cents = self.random.random_range(50..20_000u64);
        let total = quantity * cents + if (50..60).contains(&kind) { 100 } else { 0 };
        let price = match kind {
            40..45 => "\"a lot\"".to_owned(),
            _ => amount(cents),
        };
        let country = match kind {
            60..65 => "Germany",
            _ => COUNTRIES[self.random.random_range(0..COUNTRIES.len())],
        };
        let time_ms = match kind {
            70..80 => self.time_ms - LATE_MS,
            _ => self.time_ms,
        };
        let total = amount(total);
        let text = format!(
            r#"{{"transaction_id":"t{number}","customer_id":"c{customer}","product_id":"p{product}","quantity":{quantity},"unit_price":{price},"total_amount":{total},"transaction_date":{time_ms},"country":"{country}"}}"#
        );
        match kind {
            // No JSON any more.
            45..50 => text[..text.len() / 2].to_owned(),
            _ => text,
        }
    }
}

fn amount(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
