//! Did every event arrive exactly once?

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

use super::Parts;
use super::watch::grouped;
use crate::clickhouse;
use crate::topic::{self, Received};
use crate::wait;

/// What became of the records below some offsets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tally {
    pub(super) produced: u64,
    pub(super) rows: u64,
    /// Different offsets among the rows.
    pub(super) distinct: u64,
    /// Different records among the dead letters.
    pub(super) dead_letters: u64,
}

impl Tally {
    /// Counts rows and dead letters of the records below `ends`.
    pub(super) fn take(parts: &Parts, table: &str, ends: &BTreeMap<i32, i64>) -> Result<Self> {
        let below = ends
            .iter()
            .map(|(partition, end)| format!("(_partition = {partition} AND _offset < {end})"));
        let below = below.collect::<Vec<_>>().join(" OR ");
        let from = format!(
            "FROM {table} WHERE _topic = '{}' AND ({below})",
            parts.topic()
        );
        let url = parts.clickhouse_url();
        let letters = topic::read_all(parts.bootstrap(), &parts.dead_letter_topic())?;
        let letters: BTreeSet<_> = letters
            .iter()
            .filter_map(|letter| origin(letter, ends))
            .collect();
        Ok(Self {
            produced: ends.values().sum::<i64>().unsigned_abs(),
            rows: count(url, &format!("SELECT count() {from}"))?,
            distinct: count(
                url,
                &format!("SELECT uniqExact(_partition, _offset) {from}"),
            )?,
            dead_letters: letters.len() as u64,
        })
    }

    pub(super) fn is_exact(&self) -> bool {
        self.rows == self.distinct && self.rows + self.dead_letters == self.produced
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_exact() {
            "OK: clickstream: every event exactly once"
        } else {
            "BAD: clickstream"
        };
        write!(
            f,
            "{verdict}: {} produced, {} rows of {} different offsets, {} dead letters",
            grouped(self.produced),
            grouped(self.rows),
            grouped(self.distinct),
            grouped(self.dead_letters),
        )
    }
}

/// Partition and offset of the record behind a dead letter, if it lies below `ends`.
fn origin(letter: &Received, ends: &BTreeMap<i32, i64>) -> Option<(i32, i64)> {
    let partition: i32 = letter.header("streamweir-partition")?.parse().ok()?;
    let offset: i64 = letter.header("streamweir-offset")?.parse().ok()?;
    (offset < *ends.get(&partition)?).then_some((partition, offset))
}

/// Waits until the group has committed everything below `ends`.
///
/// # Errors
/// When `still_possible` says it never will, or it takes longer than `timeout`.
pub(super) fn wait_until_done(
    parts: &Parts,
    ends: &BTreeMap<i32, i64>,
    timeout: Duration,
    still_possible: impl Fn() -> Result<()>,
) -> Result<()> {
    wait::until("every record is committed", timeout, || {
        let left = still_possible().and_then(|()| lag(parts, ends));
        match left {
            Ok(0) => Some(Ok(())),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        }
    })?
}

/// Records below `ends` that the group has not committed.
pub(super) fn lag(parts: &Parts, ends: &BTreeMap<i32, i64>) -> Result<u64> {
    uncommitted(parts.bootstrap(), &parts.group(), &parts.topic(), ends)
}

/// Records of a topic below `ends` that a group has not committed.
pub(super) fn uncommitted(
    bootstrap: &str,
    group: &str,
    topic: &str,
    ends: &BTreeMap<i32, i64>,
) -> Result<u64> {
    let committed = topic::committed(bootstrap, group, topic)?;
    let left = ends.iter().map(|(partition, end)| {
        let position = committed
            .get(partition)
            .map_or(0, |committed| committed.offset);
        (end - position).max(0).unsigned_abs()
    });
    Ok(left.sum())
}

/// Runs a query whose answer is one number.
pub(super) fn count(url: &str, sql: &str) -> Result<u64> {
    let answer = clickhouse::query(url, sql)?;
    answer
        .parse()
        .with_context(|| format!("not a number: {answer:?}"))
}
