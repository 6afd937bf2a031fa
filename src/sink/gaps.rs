//! Rows whose source left out values that did not change: they are completed from the newest row that
//! the table has, or become dead letters.
//!
//! Everything that was read before them of their partition has been written by then, so the table knows
//! what they build upon. Only a row whose key was changed may have to wait: its old key may lie in
//! another partition.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::write::{Delivery, Failure, Outcome, Sink, Target, WriteJob, insert_settings};
use super::{Backoff, DeadLetter, InsertError, Remedy, Stage};
use crate::batch::{
    GapSource, GappedRow, Moved, OpenBatch, SealedBatch, VERSION_LEN, Walker, is_default, splice,
};
use crate::crash::crash_point;
use crate::decode::Reason;
use crate::halt::Halt;
use crate::progress::insert::Round;
use crate::source::{TopicPartition, fetch_record};

/// Rows that are looked up with one query, and the bytes it may answer with.
const ROWS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 8 << 20;
/// Keys of one query, before they are spelled out: the server takes statements of 256 KiB.
const KEY_BYTES_AT_ONCE: usize = 64 << 10;
/// TOO_MANY_ROWS_OR_BYTES: the answer is longer than allowed.
const TOO_MUCH: u32 = 396;
/// How often a row asks again for what it was under its old key.
const ASK_AGAIN: Duration = Duration::from_millis(300);
/// What is remembered of rows that have left their keys.
const MOVED_BYTES_MAX: usize = 8 << 20;

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
    /// By offset: what a row comes to unless its old key is left once more within the time it waits.
    doubtful: HashMap<i64, Verdict>,
}

/// What a row's values come to.
enum Verdict {
    /// Complete, or as complete as it must be.
    Whole(Vec<u8>),
    /// A later change of the row is in the table already.
    Superseded,
    /// The row it was before is not there yet.
    Later,
    /// Nobody knows them.
    Unknown(String),
}

/// What the table has of one key.
#[derive(Debug, Default)]
struct Known<'a> {
    living: Option<Found<'a>>,
    deleted: Option<Found<'a>>,
}

/// A row of the table.
#[derive(Debug, Clone)]
struct Found<'a> {
    version: u64,
    /// The columns that were asked for, by their number.
    values: Vec<(u16, &'a [u8])>,
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
            doubtful: HashMap::new(),
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
        let mut backoff = Backoff::new();
        while !waiting.is_empty() {
            let count = fitting(&waiting, self.rows_at_once);
            let slice = &waiting[..count];
            let keys = sought(slice);
            let columns = wanted(slice);
            let answer = if keys.is_empty() {
                Ok(bytes::Bytes::new())
            } else {
                let client = &self.sink.parts.client;
                let attempt = backoff.attempts();
                if target.replicated {
                    // An error here shows again in the query.
                    let _ = client.sync_replica(attempt, &target.sql).await;
                }
                // A single row is wanted however large it is.
                let bytes_max = if count > 1 { BYTES_AT_ONCE } else { 0 };
                client
                    .newest_rows(attempt, &target, &keys, &columns, bytes_max)
                    .await
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) if error.code == Some(TOO_MUCH) && count > 1 => {
                    self.rows_at_once = (count / 2).max(1);
                    continue;
                }
                Err(error) => {
                    self.query_failed(&target, &error, &mut backoff).await?;
                    continue;
                }
            };
            let known = read(&answer, &target, &columns).ok_or_else(|| unreadable(&target))?;
            let rest = waiting.split_off(count);
            let slice = std::mem::replace(&mut waiting, rest);
            self.write_slice(&target, slice, &known, is_last).await?;
            self.rows_at_once = (self.rows_at_once * 2).min(ROWS_AT_ONCE);
        }
        Ok(())
    }

    async fn query_failed(
        &self,
        target: &Target,
        error: &InsertError,
        backoff: &mut Backoff,
    ) -> Result<(), Outcome> {
        if error.remedy == Remedy::Split
            && let Some(outcome) = self.sink.schema_drift(target).await
        {
            return Err(outcome);
        }
        let failure = Failure {
            target,
            place: &self.place,
            error,
        };
        self.sink.wait_after(failure, backoff).await
    }

    async fn write_slice(
        &mut self,
        target: &Arc<Target>,
        slice: Vec<GappedRow>,
        known: &HashMap<&[u8], Known<'_>>,
        is_last: bool,
    ) -> Result<(), Outcome> {
        let (mut whole, mut unknown) = (vec![], vec![]);
        for mut row in slice {
            match self.judge(target, &row, known, is_last) {
                Verdict::Whole(bytes) => {
                    row.bytes = bytes;
                    whole.push(row);
                }
                Verdict::Superseded => self.sink.parts.metrics.dropped("superseded", 1),
                Verdict::Later => self.rows.push(row),
                Verdict::Unknown(detail) => unknown.push((row.offset, detail)),
            }
        }
        self.insert(target, whole).await?;
        for (offset, detail) in unknown {
            self.set_aside(offset, Reason::UnavailableValue, detail)
                .await?;
        }
        Ok(())
    }

    fn judge(
        &mut self,
        target: &Target,
        row: &GappedRow,
        known: &HashMap<&[u8], Known<'_>>,
        is_last: bool,
    ) -> Verdict {
        let gaps = &row.gaps;
        if gaps.columns.is_empty() {
            return Verdict::Whole(row.bytes.clone());
        }
        let nothing = Known::default();
        let of = |key: &[u8]| known.get(key).unwrap_or(&nothing);
        let own = of(row.key());
        match own.newest() {
            Some(newest) if newest.version > row.version() => {
                // What an earlier life of the process has written of it may still be asked for.
                let written = own.deleted.as_ref();
                let written = written.filter(|written| written.version == row.version());
                match (written, &gaps.moved, &gaps.source) {
                    (Some(written), Some(_), _) => return fill(target, row, Some(written)),
                    // A later life of the key may be in the same batch, and be written already: a row that
                    // has left its key is waited for under the new one all the same.
                    (None, Some(_), GapSource::Moved(_)) => {}
                    _ => return Verdict::Superseded,
                }
            }
            // Written before, from what the old key had then: it may have another row by now.
            Some(own) if own.version == row.version() && own.has_all(target, gaps) => {
                return fill(target, row, Some(own));
            }
            _ => {}
        }
        match &gaps.source {
            GapSource::None => fill(target, row, None),
            GapSource::Key(key) => fill(target, row, of(key).newest()),
            GapSource::Moved(moved) => {
                if let Some(values) = self.sink.moved.of(target, moved) {
                    return fill_from_row(target, row, &values);
                }
                let Known { living, deleted } = of(&moved.old);
                let is_of_another = |found: &Found<'_>| {
                    let remembered = &self.sink.moved;
                    remembered.is_of_another(target, moved, found.version)
                };
                let left = deleted.as_ref();
                let left = left.filter(|left| left.has_all(target, gaps) && !is_of_another(left));
                // While the old key lives, it may have been left earlier and be about to be left again.
                let is_older = |left: &Found<'_>| {
                    let mut living = living.iter();
                    living.any(|living| living.version > left.version)
                };
                match left {
                    Some(left) if !is_older(left) => fill(target, row, Some(left)),
                    Some(left) if !is_last => {
                        // Merges may take it away meanwhile.
                        let filled = || fill(target, row, Some(left));
                        self.doubtful.entry(row.offset).or_insert_with(filled);
                        Verdict::Later
                    }
                    _ if !is_last => Verdict::Later,
                    _ if self.doubtful.contains_key(&row.offset) => {
                        let filled = self.doubtful.remove(&row.offset);
                        filled.unwrap_or(Verdict::Later)
                    }
                    Some(left) => fill(target, row, Some(left)),
                    None => {
                        if living.is_some() {
                            tracing::warn!(
                                table = target.label, partition = %self.partition, offset = row.offset,
                                "the row has had another key, whose delete has not come within \
                                 pipeline.toast_wait: its large values are taken from that key's row as it is"
                            );
                        }
                        fill(target, row, living.as_ref())
                    }
                }
            }
        }
    }

    /// Inserts complete rows, a refused one apart from the others.
    async fn insert(&mut self, target: &Arc<Target>, rows: Vec<GappedRow>) -> Result<(), Outcome> {
        let mut parts = vec![rows];
        let mut backoff = Backoff::new();
        while let Some(mut rows) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            let batch = batch_of(target, &rows);
            let settings = insert_settings(&Delivery::AtLeastOnce, Round::First, &batch);
            crash_point!("before_insert");
            let sent = {
                let Ok(_permit) = self.sink.inserts.acquire().await else {
                    unreachable!("the semaphore is never closed")
                };
                let attempt = backoff.attempts();
                self.sink.insert(target, &batch, &settings, attempt).await
            };
            match sent {
                Ok(()) => {
                    crash_point!("after_insert_acknowledged");
                    let written = rows.len() as u64;
                    self.sink.parts.metrics.rows_written.increment(written);
                    self.remember(target, rows);
                }
                Err(error) if error.remedy == Remedy::Split => {
                    if let Some(outcome) = self.sink.schema_drift(target).await {
                        return Err(outcome);
                    }
                    if let [row] = &rows[..] {
                        let offset = row.offset;
                        self.set_aside(offset, Reason::Rejected, error.message)
                            .await?;
                    } else {
                        let half = rows.split_off(rows.len() / 2);
                        parts.extend([half, rows]);
                    }
                }
                Err(error) => {
                    let failure = Failure {
                        target,
                        place: &self.place,
                        error: &error,
                    };
                    self.sink.wait_after(failure, &mut backoff).await?;
                    parts.push(rows);
                }
            }
        }
        Ok(())
    }

    /// Rows that have left their keys are wanted under their new ones.
    fn remember(&self, target: &Arc<Target>, rows: Vec<GappedRow>) {
        for row in rows {
            let version = row.version();
            if let Some(moved) = row.gaps.moved {
                let values = row.bytes[row.key_len + VERSION_LEN..].into();
                self.sink.moved.put(MovedRow {
                    target: target.clone(),
                    moved,
                    version,
                    values,
                });
            }
        }
    }

    /// The record becomes a dead letter.
    async fn set_aside(
        &mut self,
        offset: i64,
        reason: Reason,
        detail: String,
    ) -> Result<(), Outcome> {
        let config = self.sink.parts.config.clone();
        let partition = self.partition.clone();
        let fetched =
            tokio::task::spawn_blocking(move || fetch_record(&config, &partition, offset)).await;
        let record = match fetched {
            Ok(Ok(record)) => record,
            Ok(Err(error)) => return Err(Outcome::Halted(Halt::dead_letter(error.to_string()))),
            Err(error) => return Err(Outcome::Halted(Halt::dead_letter(error.to_string()))),
        };
        let letter = DeadLetter {
            partition: self.partition.clone(),
            offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: record.headers,
            stage: Stage::Write,
            reason,
            detail,
        };
        let sent = self.sink.send_letters(&[letter]).await;
        sent.map_err(Outcome::Halted)?;
        self.dead_letters += 1;
        Ok(())
    }
}

impl GappedRow {
    fn key(&self) -> &[u8] {
        &self.bytes[..self.key_len]
    }

    fn version(&self) -> u64 {
        let bytes = self.bytes.get(self.key_len..self.key_len + 8);
        bytes
            .and_then(|b| b.try_into().ok())
            .map_or(0, u64::from_le_bytes)
    }
}

impl<'a> Known<'a> {
    fn newest(&self) -> Option<&Found<'a>> {
        let rows = [&self.living, &self.deleted];
        rows.into_iter().flatten().max_by_key(|found| found.version)
    }
}

impl Found<'_> {
    fn value(&self, column: u16) -> Option<&[u8]> {
        let found = self.values.iter().find(|(index, _)| *index == column);
        found.map(|(_, value)| *value)
    }

    /// Whether it has a value in each of the columns; a deleted row that was never anything but deleted
    /// has none.
    fn has_all(&self, target: &Target, gaps: &crate::batch::Gaps) -> bool {
        gaps.columns.iter().all(|&column| {
            let column_type = &target.others[usize::from(column)];
            self.value(column)
                .is_some_and(|value| !is_default(value, column_type))
        })
    }
}

/// How many rows from the front on go into one query.
fn fitting(rows: &[GappedRow], rows_max: usize) -> usize {
    let mut key_bytes = 0;
    let fits = |row: &&GappedRow| {
        key_bytes += keys_of(row).map(<[u8]>::len).sum::<usize>();
        key_bytes <= KEY_BYTES_AT_ONCE
    };
    let count = rows.iter().take(rows_max).take_while(fits).count();
    count.max(1)
}

/// Whose rows tell of the missing values and, where that is another key, its own.
fn keys_of(row: &GappedRow) -> impl Iterator<Item = &[u8]> {
    let source: Option<&[u8]> = match &row.gaps.source {
        _ if row.gaps.columns.is_empty() => None,
        GapSource::None => None,
        GapSource::Key(key) => Some(key),
        GapSource::Moved(moved) => Some(&moved.old),
    };
    let own = source.map(|_| row.key());
    source.into_iter().chain(own)
}

/// The keys whose rows are wanted, each once.
fn sought(rows: &[GappedRow]) -> Vec<&[u8]> {
    let mut keys: Vec<&[u8]> = rows.iter().flat_map(keys_of).collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The columns that are wanted of them, each once.
fn wanted(rows: &[GappedRow]) -> Vec<u16> {
    let looked_up = rows.iter().filter(|row| keys_of(row).next().is_some());
    let mut columns: Vec<u16> = looked_up
        .flat_map(|row| row.gaps.columns.iter().copied())
        .collect();
    columns.sort_unstable();
    columns.dedup();
    columns
}

/// The answer of [`ClickHouseClient::newest_rows`](super::ClickHouseClient::newest_rows) by key.
fn read<'a>(
    answer: &'a [u8],
    target: &Target,
    columns: &[u16],
) -> Option<HashMap<&'a [u8], Known<'a>>> {
    let mut known: HashMap<&[u8], Known<'_>> = HashMap::new();
    let mut rest = Walker(answer);
    while !rest.0.is_empty() {
        let row = rest.0;
        for (_, column_type) in &target.key {
            rest.value(column_type)?;
        }
        let key = &row[..row.len() - rest.0.len()];
        let version = u64::from_le_bytes(rest.0.get(..8)?.try_into().ok()?);
        let is_deleted = *rest.0.get(8)? != 0;
        rest.0 = &rest.0[VERSION_LEN..];
        let mut values = Vec::with_capacity(columns.len());
        for &column in columns {
            values.push((column, rest.value(&target.others[usize::from(column)])?));
        }
        let of_key = known.entry(key).or_default();
        let place = if is_deleted {
            &mut of_key.deleted
        } else {
            &mut of_key.living
        };
        *place = Some(Found { version, values });
    }
    Some(known)
}

/// The row with the missing values of another.
fn fill(target: &Target, row: &GappedRow, from: Option<&Found<'_>>) -> Verdict {
    let head = row.key_len + VERSION_LEN;
    let mut bytes = row.bytes[..head].to_vec();
    let mut own = Walker(&row.bytes[head..]);
    for (index, column_type) in (0..).zip(&target.others) {
        let Some(value) = own.value(column_type) else {
            return Verdict::Unknown("the row is not readable".to_owned());
        };
        let is_gap = row.gaps.columns.contains(&index);
        let found = from.and_then(|from| from.value(index)).filter(|_| is_gap);
        match found.filter(|found| !is_default(found, column_type)) {
            Some(found) => bytes.extend_from_slice(found),
            None if is_gap && row.gaps.needed => return unknown(target, index),
            None => bytes.extend_from_slice(value),
        }
    }
    Verdict::Whole(bytes)
}

fn fill_from_row(target: &Target, row: &GappedRow, values: &[u8]) -> Verdict {
    let head = row.key_len + VERSION_LEN;
    let mut bytes = row.bytes[..head].to_vec();
    let mut nothing = None;
    let others = &target.others;
    let is_row = splice(
        &row.bytes[head..],
        values,
        others,
        &mut bytes,
        |index, value| {
            let is_gap = row.gaps.columns.contains(&index);
            let is_nothing = is_gap && is_default(value, &others[usize::from(index)]);
            // A deleted row does without: a delete must not be lost for want of values.
            if is_nothing && row.gaps.needed {
                nothing = Some(index);
            }
            is_gap
        },
    );
    match nothing {
        Some(index) => unknown(target, index),
        None if is_row => Verdict::Whole(bytes),
        None => Verdict::Unknown("the row has had other columns".to_owned()),
    }
}

fn unknown(target: &Target, column: u16) -> Verdict {
    let name = &target.other_names[usize::from(column)];
    Verdict::Unknown(format!(
        "{name}: the source left the unchanged value out, and table {} has no row with it: let the \
         connector take a snapshot of the row (incremental snapshot, or an update of the column)",
        target.label
    ))
}

fn batch_of(target: &Arc<Target>, rows: &[GappedRow]) -> SealedBatch {
    let mut batch = OpenBatch::new();
    for row in rows {
        batch.push(target, row.offset, [&row.bytes]);
    }
    batch.seal()
}

fn unreadable(target: &Target) -> Outcome {
    Outcome::Altered(target.label.clone())
}

/// Rows that have left their keys not long ago, for those who wait for them under the new keys. The table
/// has them too, but not for ever: their old keys may live again.
#[derive(Debug, Default)]
pub(super) struct MovedRows(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    rows: std::collections::VecDeque<MovedRow>,
    bytes: usize,
}

#[derive(Debug)]
struct MovedRow {
    target: Arc<Target>,
    moved: Moved,
    /// Of the deleted row.
    version: u64,
    values: Arc<[u8]>,
}

impl MovedRows {
    fn put(&self, row: MovedRow) {
        let mut all = self.0.lock().expect("no holder of this lock panics");
        all.bytes += row.values.len();
        all.rows.push_back(row);
        while all.bytes > MOVED_BYTES_MAX || all.rows.len() > MOVED_BYTES_MAX / 256 {
            let Some(row) = all.rows.pop_front() else {
                break;
            };
            all.bytes -= row.values.len();
        }
    }

    /// The newest of them that has changed from this key to that one, in this very change where both
    /// records tell which it was. Values of before the table was altered are not to be read any more.
    fn of(&self, target: &Target, moved: &Moved) -> Option<Arc<[u8]>> {
        let all = self.0.lock().expect("no holder of this lock panics");
        let is_same = |row: &&MovedRow| row.is_of(target, moved) && row.has_form_of(target);
        let found = all.rows.iter().rev().find(is_same);
        found.map(|row| row.values.clone())
    }

    /// Whether the deleted row of this version is known to have left its key in another change.
    fn is_of_another(&self, target: &Target, moved: &Moved, version: u64) -> bool {
        let all = self.0.lock().expect("no holder of this lock panics");
        let is_it = |row: &&MovedRow| {
            row.version == version && row.target.label == target.label && row.moved.old == moved.old
        };
        let row = all.rows.iter().rev().find(is_it);
        row.is_some_and(|row| !row.is_of(target, moved))
    }
}

impl MovedRow {
    fn is_of(&self, target: &Target, moved: &Moved) -> bool {
        let own = &self.moved;
        let is_this_change = own.lsn == moved.lsn || own.lsn.is_none() || moved.lsn.is_none();
        let is_table = self.target.label == target.label;
        is_table && own.old == moved.old && own.new == moved.new && is_this_change
    }

    fn has_form_of(&self, target: &Target) -> bool {
        self.target.other_names == target.other_names && self.target.others == target.others
    }
}
