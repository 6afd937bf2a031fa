//! A table that is altered while rows are written to it.
//!
//! A record may have been produced right after the table got a column or an Enum value for it. So the table
//! is looked at before a range is written: what its rows and its dead letters were made for is compared with
//! what is there now, which is later than every record of the range.

use std::sync::Arc;
use std::time::Instant;

use super::clickhouse::ColumnInfo;
use super::insert::Failure;
use super::write::{Outcome, Sink, WriteJob};
use super::{Backoff, Target};
use crate::halt::Halt;

/// Whoever makes the rows of a table, and can make them for other columns.
pub(crate) trait RowMaker: std::fmt::Debug + Send + Sync {
    /// From now on rows are made for these columns.
    ///
    /// # Errors
    /// That cannot be.
    fn take(&self, columns: Vec<ColumnInfo>) -> Result<(), Halt>;
}

/// The table that was last found to have the columns that rows are made for, and when that look began. One
/// look serves every job that waits for it.
pub(super) type ColumnsSeen = tokio::sync::Mutex<Option<(Instant, Arc<Target>)>>;

impl Sink {
    /// How the job ends when its table is another than it was made for.
    pub(super) async fn check_columns(&self, job: &WriteJob) -> Option<Outcome> {
        let rows = self.parts.rows.as_ref()?;
        let target = job.batch.target()?;
        let (database, table) = target.label.split_once('.')?;
        let place = format!("{} {}", job.partition, job.claim.range());
        let waits_since = Instant::now();
        let mut seen = self.columns_seen.lock().await;
        let mut backoff = Backoff::new();
        loop {
            let is_seen =
                |(at, of): &(Instant, Arc<Target>)| *at >= waits_since && Arc::ptr_eq(of, target);
            if seen.as_ref().is_some_and(is_seen) {
                return None;
            }
            let attempt = backoff.attempts();
            let asked_at = Instant::now();
            let error = match self.parts.client.columns(attempt, database, table).await {
                // That there is no table is said by the insert.
                Ok(now) if now.is_empty() || now == target.columns => {
                    self.answered();
                    *seen = Some((asked_at, target.clone()));
                    return None;
                }
                Ok(now) => return Some(renewed(rows.take(now), target)),
                Err(error) => error,
            };
            let failure = Failure {
                target,
                place: &place,
                error: &error,
            };
            if let Err(outcome) = self.wait_after(failure, &mut backoff).await {
                return Some(outcome);
            }
        }
    }

    /// A table that was altered refuses every row: that is no fault of the rows.
    pub(super) async fn schema_drift(&self, target: &Target) -> Option<Outcome> {
        let (database, table) = target.label.split_once('.')?;
        let now = self.parts.client.columns(0, database, table).await.ok()?;
        let mut columns = target.columns.iter();
        columns.find(|column| !now.contains(column))?;
        if target.is_replica() {
            return Some(Outcome::Altered(target.label.clone()));
        }
        if let Some(rows) = &self.parts.rows {
            return Some(renewed(rows.take(now), target));
        }
        let advice = format!(
            "table {} was altered while rows were written ({}): start again to take the table as it \
             is now",
            target.label,
            differences(&target.columns, &now).join(", ")
        );
        Some(Outcome::Halted(Halt::new("schema", advice)))
    }

    /// Whether rows for a table that was altered can be made anew.
    pub(super) fn makes_rows_anew(&self, target: &Target) -> bool {
        target.is_replica() || self.parts.rows.is_some()
    }
}

fn renewed(taken: Result<(), Halt>, target: &Target) -> Outcome {
    match taken {
        Ok(()) => Outcome::Altered(target.label.clone()),
        Err(halt) => Outcome::Halted(halt),
    }
}

/// What has become of a table's columns, for people.
pub(crate) fn differences(before: &[ColumnInfo], now: &[ColumnInfo]) -> Vec<String> {
    let full = |column: &ColumnInfo| {
        let text = format!("{} {}", column.type_name, column.default_kind);
        text.trim_end().to_owned()
    };
    let of_name = |columns: &[ColumnInfo], name: &str| {
        let mut columns = columns.iter();
        columns.find(|column| column.name == name).cloned()
    };
    let mut differences = vec![];
    for old in before {
        let name = &old.name;
        match of_name(now, name) {
            None => differences.push(format!("column {name} {} is gone", full(old))),
            Some(new) if new != *old => {
                differences.push(format!("column {name} {} is now {}", full(old), full(&new)));
            }
            Some(_) => {}
        }
    }
    let is_new = |column: &&ColumnInfo| of_name(before, &column.name).is_none();
    for new in now.iter().filter(is_new) {
        differences.push(format!("column {} {} is new", new.name, full(new)));
    }
    if differences.is_empty() && before != now {
        differences.push("its columns stand in another order".to_owned());
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(columns: &[(&str, &str, &str)]) -> Vec<ColumnInfo> {
        let column = |&(name, type_name, default_kind): &(&str, &str, &str)| ColumnInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            default_kind: default_kind.to_owned(),
        };
        columns.iter().map(column).collect()
    }

    #[test]
    fn differences_name_the_column_and_both_types() {
        let before = columns(&[
            ("v", "Decimal(18, 2)", ""),
            ("w", "String", ""),
            ("x", "UInt8", ""),
        ]);
        let now = columns(&[
            ("v", "Decimal(18, 4)", ""),
            ("x", "UInt8", "DEFAULT"),
            ("y", "Date", "EPHEMERAL"),
        ]);
        assert_eq!(
            differences(&before, &now),
            [
                "column v Decimal(18, 2) is now Decimal(18, 4)",
                "column w String is gone",
                "column x UInt8 is now UInt8 DEFAULT",
                "column y Date EPHEMERAL is new",
            ]
        );
        assert!(differences(&before, &before).is_empty());
        let turned: Vec<_> = before.iter().rev().cloned().collect();
        assert_eq!(differences(&before, &turned).len(), 1);
    }
}
