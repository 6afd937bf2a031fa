//! The lines that the demo prints every other second, one for each pipeline.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Parts;
use super::parts::{CHANGES, EVENTS, GROUPS, JOINED, LEFT, RIGHT, SALES};
use super::verdict::{count, uncommitted};
use crate::topic;
use crate::wait;

#[derive(Debug)]
pub(super) struct Watch<'p> {
    parts: &'p Parts,
    table: &'p str,
    begun: Instant,
    /// Joined records that were seen, and where the next ones are.
    joined: u64,
    joined_to: BTreeMap<i32, i64>,
}

impl<'p> Watch<'p> {
    pub(super) fn begin(parts: &'p Parts, table: &'p str) -> Self {
        Self {
            parts,
            table,
            begun: Instant::now(),
            joined: 0,
            joined_to: BTreeMap::new(),
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits for a time, less when `early` says so.
    pub(super) fn pause(&self, time: Duration, early: impl Fn() -> bool) {
        // Running out of time is the usual way here.
        let _ = wait::until("the next lines are due", time, || early().then_some(()));
    }

    /// What went in, what came out and what is not committed, of each pipeline.
    pub(super) fn lines(&mut self) -> Result<String> {
        let parts = self.parts;
        let rows_of = |from: &str| {
            count(
                parts.clickhouse_url(),
                &format!("SELECT count() FROM {from}"),
            )
        };
        let orders = format!("{}.orders_current", parts.named("replica"));
        let minutes = format!("{}.sales_aggregates_1min FINAL", parts.database());
        self.see_joined()?;
        let pipelines: [(&str, &[&str], &str, u64); 4] = [
            ("clickstream", &[EVENTS], "rows", rows_of(self.table)?),
            ("shop", &[CHANGES], "rows", rows_of(&orders)?),
            ("sales", &[SALES], "rows", rows_of(&minutes)?),
            ("enriched", &[LEFT, RIGHT], "joined", self.joined),
        ];
        let all = pipelines.map(|(_, topics, ..)| topics);
        let figures = thread::scope(|scope| {
            // Every question opens a connection: all at once, for the lines to come in time.
            let asked =
                [0, 1, 2, 3].map(|n| scope.spawn(move || figures(parts, all[n], GROUPS[n])));
            asked.map(|asked| {
                asked
                    .join()
                    .unwrap_or_else(|_| bail!("a question panicked"))
            })
        });
        let mut lines = format!("{:>4} s", self.elapsed().as_secs());
        for (number, ((name, _, what, rows), figures)) in
            pipelines.into_iter().zip(figures).enumerate()
        {
            let (records, lag) = figures?;
            let indent = if number == 0 { "" } else { "      " };
            lines += &format!(
                "{indent}   {name:12} records {:>9}   {what:>6} {:>9}   not committed {:>7}\n",
                grouped(records),
                grouped(rows),
                grouped(lag),
            );
        }
        Ok(lines.trim_end().to_owned())
    }

    /// Counts what a reader of committed records finds since the last time.
    fn see_joined(&mut self) -> Result<()> {
        let Self {
            joined, joined_to, ..
        } = self;
        let from = joined_to.clone();
        let name = self.parts.named(JOINED);
        topic::read_each(self.parts.bootstrap(), &name, &from, |record| {
            *joined += 1;
            joined_to.insert(record.partition, record.offset + 1);
        })
    }
}

/// How many records the topics have, and how many of them the group has not committed.
fn figures(parts: &Parts, topics: &[&str], group: &str) -> Result<(u64, u64)> {
    let (mut records, mut lag) = (0, 0);
    for topic in topics {
        let (topic, group) = (parts.named(topic), parts.named(group));
        let ends = topic::end_offsets(parts.bootstrap(), &topic)?;
        records += ends.values().sum::<i64>().unsigned_abs();
        lag += uncommitted(parts.bootstrap(), &group, &topic, &ends)?;
    }
    Ok((records, lag))
}

/// `1234567` as `1,234,567`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_stand_in_groups_of_three() {
        let shown = [0, 999, 1_000, 1_234_567].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "1,234,567"]);
    }
}
