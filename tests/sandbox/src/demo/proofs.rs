//! Did the other three pipelines do what they should? Each result is held against a plain second reading.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Parts;
use super::parts::{JOINED, LEFT, RIGHT, SALES};
use super::watch::grouped;
use crate::clickhouse;
use crate::generate::Changes;
use crate::topic::{self, Received};

const MINUTE_MS: i64 = 60_000;
/// How far from an event the shipped join looks for a profile.
const NEAR_MS: i64 = 300_000;

/// Whether it holds, and what was looked at.
pub(super) struct Verdict {
    pub(super) is_good: bool,
    said: String,
}

impl Verdict {
    /// That what was found is what was expected.
    pub(super) fn of(said: String, expected: &str, found: &str) -> Self {
        if expected == found {
            return Self::new(true, said);
        }
        let mut lines = expected.lines().zip(found.lines());
        let (expected, found) = lines
            .find(|(expected, found)| expected != found)
            .unwrap_or(("more or fewer rows", "these"));
        Self::new(false, format!("{said}: {found:?} instead of {expected:?}"))
    }

    fn new(is_good: bool, said: String) -> Self {
        let verdict = if is_good { "OK" } else { "BAD" };
        let said = format!("{verdict}: {said}");
        Self { is_good, said }
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.said)
    }
}

/// The replica's rows come to what the source's come to: their number, and sums over their columns.
pub(super) fn shop(parts: &Parts, totals: &str) -> Result<Verdict> {
    let view = format!("{}.orders_current", parts.named("replica"));
    let query = format!("SELECT {} FROM {view}", Changes::TOTALS);
    let found = clickhouse::query(parts.clickhouse_url(), &query)?;
    let rows = totals.split('\t').next().unwrap_or_default();
    let said = format!("shop: the replica has the source's {rows} rows and their sums");
    Ok(match found == totals {
        true => Verdict::new(true, said),
        false => Verdict::new(false, format!("{said}: {found} instead of {totals}")),
    })
}

/// Every minute and category has one row, that of its sales.
pub(super) fn sales(parts: &Parts) -> Result<Verdict> {
    #[derive(Default)]
    struct Minute {
        sales: u64,
        cents: u64,
        customers: BTreeSet<u64>,
    }
    let mut minutes: BTreeMap<(i64, String), Minute> = BTreeMap::new();
    let read = topic::read_all(parts.bootstrap(), &parts.named(SALES))?;
    let records = read.len() as u64;
    for record in read {
        let sale = json(&record)?;
        let time_ms = sale["timestamp"].as_i64().context("a time")?;
        let category = sale["category"].as_str().context("a category")?.to_owned();
        let start_ms = time_ms - time_ms.rem_euclid(MINUTE_MS);
        let minute = minutes.entry((start_ms, category)).or_default();
        minute.sales += 1;
        minute.cents += (sale["amount"].as_f64().context("an amount")? * 100.0).round() as u64;
        minute
            .customers
            .insert(sale["customer_id"].as_u64().context("a customer")?);
    }
    let expected: Vec<String> = minutes
        .iter()
        .map(|((start_ms, category), minute)| {
            let Minute {
                sales,
                cents,
                customers,
            } = minute;
            format!(
                "{start_ms}\t{category}\t{sales}\t{cents}\t{}",
                customers.len()
            )
        })
        .collect();
    let found = clickhouse::query(
        parts.clickhouse_url(),
        &format!(
            "SELECT toUnixTimestamp64Milli(window_start) AS start_ms, category, total_sales, \
             toInt64(total_revenue * 100), unique_customers FROM {}.sales_aggregates_1min FINAL \
             ORDER BY start_ms, toString(category)",
            parts.database()
        ),
    )?;
    let found: Vec<&str> = found.lines().collect();
    let said = format!(
        "sales: {} sales in {} rows, as a second count has them",
        grouped(records),
        grouped(expected.len() as u64)
    );
    let wrong = expected.iter().zip(&found).find(|(e, f)| e != *f);
    Ok(match wrong {
        None if expected.len() == found.len() => Verdict::new(true, said),
        None => Verdict::new(false, format!("{said}: the table has {} rows", found.len())),
        Some((e, f)) => Verdict::new(false, format!("{said}: {f:?} instead of {e:?}")),
    })
}

/// A profile of a user.
struct Profile {
    time_ms: i64,
    email: String,
}

/// A reader of committed records sees each event once, with the profile that belongs to it.
pub(super) fn enriched(parts: &Parts) -> Result<Verdict> {
    let read = |name: &str| topic::read_all(parts.bootstrap(), &parts.named(name));
    let mut profiles: BTreeMap<u64, Vec<Profile>> = BTreeMap::new();
    for record in read(RIGHT)? {
        let profile = json(&record)?;
        let user = profile["user_id"].as_u64().context("a user")?;
        profiles.entry(user).or_default().push(Profile {
            time_ms: profile["updated_at"].as_i64().context("a time")?,
            email: profile["email"].as_str().context("an address")?.to_owned(),
        });
    }
    let (mut expected, mut matched) = (BTreeMap::new(), 0);
    for record in read(LEFT)? {
        let event = json(&record)?;
        let profile = event["user_id"]
            .as_u64()
            .and_then(|user| profiles.get(&user));
        let email = belongs(profile.map_or(&[], Vec::as_slice), time_ms(&event)?);
        matched += u64::from(email.is_some());
        expected.insert(event["event_id"].to_string(), email.map(str::to_owned));
    }
    let (mut doubled, mut different) = (0, 0);
    let events = expected.len() as u64;
    let mut seen = BTreeSet::new();
    for record in read(JOINED)? {
        let joined = json(&record)?;
        let id = joined["event_id"].to_string();
        let email = joined["user_email"].as_str();
        match expected.get(&id) {
            Some(right) if right.as_deref() == email => {}
            _ => different += 1,
        }
        doubled += u64::from(!seen.insert(id));
    }
    let missing = expected.keys().filter(|id| !seen.contains(*id)).count();
    let said = format!(
        "enriched: {} events once each, {} of them with a profile, as a second join has them",
        grouped(events),
        grouped(matched)
    );
    let is_good = doubled == 0 && different == 0 && missing == 0;
    Ok(match is_good {
        true => Verdict::new(true, said),
        false => Verdict::new(
            false,
            format!(
                "{said}: {missing} missing, {doubled} doubled, {different} with another profile"
            ),
        ),
    })
}

/// The newest that is not newer than the event, else the oldest; none that is too far away.
fn belongs(profiles: &[Profile], time_ms: i64) -> Option<&str> {
    let near = profiles
        .iter()
        .filter(|p| (p.time_ms - time_ms).abs() <= NEAR_MS);
    let (before, after): (Vec<_>, Vec<_>) = near.partition(|p| p.time_ms <= time_ms);
    // Of equal times the one that came last.
    let newest = before.into_iter().max_by_key(|p| p.time_ms);
    let oldest = || after.into_iter().rev().min_by_key(|p| p.time_ms);
    newest.or_else(oldest).map(|p| &*p.email)
}

fn json(record: &Received) -> Result<Value> {
    let value = record.value.as_deref().context("a record without value")?;
    serde_json::from_slice(value).context("a record that is no JSON")
}

fn time_ms(event: &Value) -> Result<i64> {
    let text = event["timestamp"].as_str().context("a time")?;
    let time: jiff::Timestamp = text.parse()?;
    Ok(time.as_millisecond())
}
