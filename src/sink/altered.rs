//! A table that is altered while rows are written to it.
//!
//! A record may have been produced right after the table got a column or an Enum value for it. So the table
//! is looked at before a range is written: what its rows and its dead letters were made for is compared with
//! what is there now, which is later than every record of the range.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::doubts::{Doubts, PATIENCE_BEHIND, Standing};
use super::errors::InsertError;
use super::insert::Failure;
use super::job::{Outcome, WriteJob};
use super::shared::Sink;
use super::{Backoff, Target};
use crate::halt::Halt;
use crate::target::{ColumnInfo, TableColumns};

/// How often a look that finds other columns is repeated where servers may know of an ALTER at different
/// times, and the wait between two.
const LOOKS: u32 = 3;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// What a refusal has to do with the table's columns.
#[derive(Debug)]
pub(super) enum Drift {
    /// Nothing: they are those that the rows were made for.
    Not,
    /// They could not be asked for, or this server may know of an ALTER later than others: the same rows are
    /// sent again.
    Unknown,
    /// The rows cannot be written as they are.
    Altered(Outcome),
}

/// What is known of a server's columns before rows are sent to it.
#[derive(Debug)]
pub(super) enum Checked {
    /// `are_enums_known`: the names of Enums are those that the rows were made for, or there are none.
    Goes { are_enums_known: bool },
    /// The rows cannot be written as they are.
    Ended(Outcome),
}

impl Checked {
    fn enums(are_enums_known: bool) -> Self {
        Checked::Goes { are_enums_known }
    }
}

impl Sink {
    /// How the job ends when its table is another than it was made for.
    pub(super) async fn check_columns(&self, job: &WriteJob) -> Option<Outcome> {
        let rows = self.parts.rows.as_ref()?;
        let target = job.batch.target()?;
        let (database, table) = target.label.split_once('.')?;
        let place = format!("{} {}", job.partition, job.claim.range());
        let waits_since = Instant::now();
        let mut seen = self.columns_seen.lock().await;
        let (mut backoff, mut doubts) = (Backoff::new(), Doubts::default());
        // Every question goes to the next server, those that are not answered too.
        let (mut asked, mut looks) = (0, 0);
        loop {
            let is_seen =
                |(at, of): &(Instant, Arc<Target>)| *at >= waits_since && Arc::ptr_eq(of, target);
            if seen.as_ref().is_some_and(is_seen) {
                return None;
            }
            let client = &self.parts.client;
            let server = (client.current() + asked) % client.servers();
            let asked_at = Instant::now();
            asked += 1;
            let error = match client.columns(server, database, table).await {
                Ok(now) => {
                    self.answered();
                    looks += 1;
                    match Standing::of(target, &now, client.servers() > 1) {
                        Standing::Behind | Standing::Doubtful if looks < LOOKS => {
                            tokio::time::sleep(BETWEEN_LOOKS).await;
                            continue;
                        }
                        // A dead letter may be one only for the columns of before.
                        Standing::Behind
                            if !job.batch.dead_letters().is_empty()
                                && waits_since.elapsed() < PATIENCE_BEHIND =>
                        {
                            looks = 0;
                            older_columns(target)
                        }
                        // Only servers that are behind answer: they say nothing of what is there now.
                        Standing::Same | Standing::Behind => {
                            *seen = Some((asked_at, target.clone()));
                            return None;
                        }
                        Standing::Doubtful | Standing::Altered => {
                            return Some(renewed(rows.take(now), target));
                        }
                    }
                }
                Err(error) => error,
            };
            let failure = Failure {
                target,
                partition: &job.partition,
                place: &place,
                error: &error,
                server,
                doubts: &mut doubts,
            };
            if let Err(outcome) = self.wait_after(failure, &mut backoff).await {
                return Some(outcome);
            }
        }
    }

    /// The same before rows go to a server on which they cannot state their types, or not the names of their
    /// Enums: it would misread those for other columns.
    ///
    /// # Errors
    /// This server is not to get them now.
    pub(super) async fn check_unstated(
        &self,
        target: &Target,
        server: u32,
    ) -> Result<Checked, InsertError> {
        let client = &self.parts.client;
        let has_enums = target.plan.has_enums();
        let is_unstated =
            target.unstated_sql.is_some() && !client.has_stated_defaults(server).await?;
        let (Some((database, table)), Some(rows)) =
            (target.label.split_once('.'), &self.parts.rows)
        else {
            return Ok(Checked::enums(!has_enums));
        };
        if !has_enums && !is_unstated {
            return Ok(Checked::enums(true));
        }
        let now = client.columns(server, database, table).await?;
        match Standing::of(target, &now, client.servers() > 1) {
            Standing::Same => Ok(Checked::enums(true)),
            Standing::Altered => Ok(Checked::Ended(renewed(rows.take(now), target))),
            // Rows state the names of their Enums, and the server judges them.
            Standing::Behind | Standing::Doubtful if !is_unstated => Ok(Checked::enums(false)),
            Standing::Behind | Standing::Doubtful => Err(InsertError::behind(format!(
                "table {} has other columns on this server than on another ({})",
                target.label,
                differences(&target.columns, &now.columns).join(", ")
            ))),
        }
    }

    /// What the table's columns have to do with a refusal: an altered table refuses every row, and so does a
    /// server that does not know yet of an ALTER, which is no fault of the rows.
    pub(super) async fn drift(
        &self,
        error: &InsertError,
        target: &Target,
        server: u32,
        doubts: &mut Doubts,
    ) -> Drift {
        let Some((database, table)) = target.label.split_once('.') else {
            return Drift::Not;
        };
        let client = &self.parts.client;
        // A look that fails says nothing.
        let Ok(now) = client.columns(server, database, table).await else {
            return Drift::Unknown;
        };
        let has_several = client.servers() > 1;
        let standing = Standing::of_refused(error, target, &now, has_several);
        let may_be_behind = target.replicated || has_several;
        if may_be_behind && doubts.asks_again(error, standing, Instant::now()) {
            return Drift::Unknown;
        }
        match standing {
            Standing::Same => Drift::Not,
            _ => Drift::Altered(self.altered(target, now, standing)),
        }
    }

    fn altered(&self, target: &Target, now: TableColumns, standing: Standing) -> Outcome {
        let changes = differences(&target.columns, &now.columns).join(", ");
        if standing == Standing::Behind {
            let advice = format!(
                "table {} has had older columns for minutes than those that rows were made for \
                 ({changes}): if it was made anew under its name, start again; else look why its replica \
                 does not take an ALTER over (system.replication_queue)",
                target.label
            );
            return Outcome::Halted(Halt::new("schema", advice));
        }
        if target.is_replica() {
            return Outcome::Altered(target.label.clone());
        }
        if let Some(rows) = &self.parts.rows {
            return renewed(rows.take(now), target);
        }
        let advice = format!(
            "table {} was altered while rows were written ({changes}): start again to take the table as it \
             is now",
            target.label
        );
        Outcome::Halted(Halt::new("schema", advice))
    }
}

/// Why dead letters wait.
fn older_columns(target: &Target) -> InsertError {
    InsertError::behind(format!(
        "table {} has older columns on this server than rows are made for, and dead letters wait for it",
        target.label
    ))
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
