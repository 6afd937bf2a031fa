//! Rows whose source left out values that did not change: they are completed from the newest row that
//! the table has, or become dead letters.
//!
//! Everything that was read before them of their partition has been written by then, so the table knows
//! what they build upon. Only a row whose key was changed may have to wait: its old key may lie in
//! another partition.

mod judge;
mod known;
mod write;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::judge::{Doubtful, Judge, Verdict};
use self::known::{Known, changes, fitting, old_keys, sought, wanted};
use self::write::Ready;
use super::altered::Drift;
use super::doubts::Doubts;
use super::insert::Failure;
use super::job::{Outcome, WriteJob};
use super::moved::LookedUp;
use super::shared::Sink;
use super::{Backoff, InsertError, Remedy, Target};
use crate::batch::GappedRow;
use crate::decode::Reason;
use crate::source::TopicPartition;

/// Rows that are looked up with one query, and the bytes it may answer with.
const ROWS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 8 << 20;
/// TOO_MANY_ROWS_OR_BYTES: the answer is longer than allowed.
const TOO_MUCH: u32 = 396;
/// How often a row asks again for what it was under its old key.
const ASK_AGAIN: Duration = Duration::from_millis(300);

/// The gapped rows of one job.
pub(super) struct GappedRows<'s> {
    sink: &'s Arc<Sink>,
    target: Option<Arc<Target>>,
    partition: TopicPartition,
    place: String,
    rows: Vec<GappedRow>,
    since: Instant,
    rows_at_once: usize,
    dead_letters: u64,
    doubtful: Doubtful,
    /// Keys of rows that must wait: what comes after them must too.
    held: HashSet<Vec<u8>>,
    ready: Ready,
}

/// What the server said of a few rows.
#[derive(Debug, Default)]
struct Answers {
    keys: Bytes,
    moved: Bytes,
    versions: Bytes,
    has_moved_table: bool,
}

impl<'s> GappedRows<'s> {
    pub(super) fn take(sink: &'s Arc<Sink>, job: &mut WriteJob) -> Self {
        let mut rows = job.batch.take_gapped();
        rows.sort_by_key(|row| row.offset);
        GappedRows {
            sink,
            target: job.batch.target().cloned(),
            partition: job.partition.clone(),
            place: format!("{} {}", job.partition, job.claim.range()),
            rows,
            since: Instant::now(),
            rows_at_once: ROWS_AT_ONCE,
            dead_letters: 0,
            doubtful: Doubtful::new(),
            held: HashSet::new(),
            ready: Ready::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Rows that are still to be written.
    pub(super) fn left(self) -> Vec<GappedRow> {
        self.rows
    }

    /// Writes what can be completed now.
    pub(super) async fn write_known(&mut self) -> Result<(), Outcome> {
        self.pass(false).await
    }

    /// Writes the rest, as soon as the rows it builds upon are there, and sets aside what nobody knows
    /// the values of. Returns how many of the job's rows that was.
    pub(super) async fn write_rest(mut self) -> Result<u64, Outcome> {
        let deadline = self.since + self.sink.parts.moved_wait;
        while !self.rows.is_empty() {
            let is_over = Instant::now() >= deadline;
            self.pass(is_over).await?;
            if !self.rows.is_empty() {
                tokio::time::sleep(ASK_AGAIN).await;
            }
        }
        Ok(self.dead_letters)
    }

    /// Goes through all rows once. What must wait stays.
    async fn pass(&mut self, is_last: bool) -> Result<(), Outcome> {
        let Some(target) = self.target.clone() else {
            return Ok(());
        };
        let mut waiting = std::mem::take(&mut self.rows);
        self.held.clear();
        let (mut backoff, mut doubts) = (Backoff::new(), Doubts::default());
        while !waiting.is_empty() {
            let count = fitting(&waiting, self.rows_at_once);
            let slice = &waiting[..count];
            let columns = wanted(slice);
            let server = self.sink.parts.client.current();
            let asked = self.ask(server, &target, slice, &columns, is_last);
            let answers = match asked.await {
                Ok(answers) => answers,
                Err(error) if error.code == Some(TOO_MUCH) && count > 1 => {
                    self.rows_at_once = (count / 2).max(1);
                    continue;
                }
                Err(error) => {
                    let waits = (&mut backoff, &mut doubts);
                    self.query_failed(server, &target, &error, waits).await?;
                    continue;
                }
            };
            let known = answers.read(&target, &columns);
            let known = known.ok_or_else(|| Outcome::Altered(target.label.clone()))?;
            let rest = waiting.split_off(count);
            let slice = std::mem::replace(&mut waiting, rest);
            self.sort_out(&target, slice, &known, is_last).await?;
            if self.ready.bytes > BYTES_AT_ONCE {
                self.write_ready(&target).await?;
            }
            self.rows_at_once = (self.rows_at_once * 2).min(ROWS_AT_ONCE);
        }
        self.write_ready(&target).await
    }

    /// What the server knows of the keys that these rows build upon.
    async fn ask(
        &self,
        server: u32,
        target: &Target,
        rows: &[GappedRow],
        columns: &[u16],
        is_last: bool,
    ) -> Result<Answers, InsertError> {
        let (client, table) = (&self.sink.parts.client, &self.sink.moved_table);
        // A single row is wanted however large it is.
        let bytes_max = if rows.len() > 1 { BYTES_AT_ONCE } else { 0 };
        let keys = sought(rows);
        let mut answers = Answers::default();
        if !keys.is_empty() {
            if target.replicated {
                // A replica that lags answers with values of before, or with none.
                client.sync_replica(server, &target.sql).await?;
            }
            answers.keys = client
                .newest_rows(server, target, &keys, columns, bytes_max)
                .await?;
        }
        let changes = changes(rows);
        let has_left = rows.iter().any(|row| row.gaps.moved.is_some());
        if changes.is_empty() && !has_left || table.ready().await?.is_none() {
            return Ok(answers);
        }
        answers.has_moved_table = true;
        if changes.is_empty() {
            return Ok(answers);
        }
        let told = async {
            let rows_of = table.rows(server, target, &changes, bytes_max).await?;
            let olds = if is_last { old_keys(rows) } else { vec![] };
            let versions = table.versions(server, target, &olds).await?;
            Ok::<_, InsertError>((rows_of, versions))
        };
        match told.await {
            Ok((moved, versions)) => Ok(Answers {
                moved,
                versions,
                ..answers
            }),
            // Without the table, as at the next attempt, or with one that was made anew.
            Err(error) if table.is_given_up(&error) => Err(InsertError {
                remedy: Remedy::Retry("table"),
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    async fn query_failed(
        &self,
        server: u32,
        target: &Target,
        error: &InsertError,
        (backoff, doubts): (&mut Backoff, &mut Doubts),
    ) -> Result<(), Outcome> {
        if error.remedy == Remedy::Split
            && let Drift::Altered(outcome) = self.sink.drift(error, target, server, doubts).await
        {
            return Err(outcome);
        }
        self.wait_after(server, target, error, (backoff, doubts))
            .await
    }

    /// Waits before the same is asked or sent again; `Err` is how the job ends where it is not.
    async fn wait_after(
        &self,
        server: u32,
        target: &Target,
        error: &InsertError,
        (backoff, doubts): (&mut Backoff, &mut Doubts),
    ) -> Result<(), Outcome> {
        let failure = Failure {
            target,
            partition: &self.partition,
            place: &self.place,
            error,
            server,
            doubts,
        };
        self.sink.wait_after(failure, backoff).await
    }

    async fn sort_out(
        &mut self,
        target: &Arc<Target>,
        slice: Vec<GappedRow>,
        known: &Known<'_>,
        is_last: bool,
    ) -> Result<(), Outcome> {
        let mut unknown = vec![];
        for mut row in slice {
            let remembered = &self.sink.moved;
            let judge = Judge {
                target,
                known,
                remembered,
                is_last,
            };
            // It would hide that the row before it of its key is not written yet.
            let is_held = !self.held.is_empty() && self.held.contains(row.key());
            let verdict = if is_held {
                Verdict::Later
            } else {
                judge.verdict(&row, &mut self.doubtful)
            };
            match verdict {
                Verdict::Assumed(bytes) => {
                    self.say_assumed(target, row.offset);
                    row.bytes = bytes;
                    self.is_ready(target, row, known);
                }
                Verdict::Whole(bytes) => {
                    row.bytes = bytes;
                    self.is_ready(target, row, known);
                }
                Verdict::Superseded => self.sink.parts.metrics.dropped("superseded", 1),
                Verdict::Later => {
                    self.held.insert(row.key().to_vec());
                    self.rows.push(row);
                }
                Verdict::Unknown(detail) => unknown.push((row.offset, detail)),
            }
        }
        for (offset, detail) in unknown {
            self.set_aside(offset, Reason::UnavailableValue, detail)
                .await?;
        }
        Ok(())
    }

    fn say_assumed(&self, target: &Target, offset: i64) {
        self.sink.parts.metrics.values_assumed();
        tracing::warn!(
            table = target.label, partition = %self.partition, offset,
            "the row has had another key, and which of that key's rows it was is not known: its large \
             values are taken from the newest one"
        );
    }
}

impl Answers {
    fn read(&self, target: &Target, columns: &[u16]) -> Option<Known<'_>> {
        let told = LookedUp::read(&self.moved, &self.versions, self.has_moved_table)?;
        Known::read(&self.keys, told, target, columns)
    }
}
