//! Complete rows on their way: what rows were that have left their keys goes first.

use std::sync::Arc;
use std::time::Instant;

use super::GappedRows;
use super::known::Known;
use crate::batch::{GappedRow, OpenBatch, SealedBatch};
use crate::crash::crash_point;
use crate::decode::Reason;
use crate::progress::insert::Round;
use crate::sink::altered::Drift;
use crate::sink::doubts::Doubts;
use crate::sink::insert::{insert_settings, not_written};
use crate::sink::job::{Delivery, Outcome};
use crate::sink::moved::MovedRow;
use crate::sink::off_io::off_io;
use crate::sink::refusals::{Rows, Suspicion, Verdict};
use crate::sink::{Backoff, InsertError, Target};

/// Rows that are complete and not written yet.
#[derive(Debug)]
pub(super) struct Ready {
    rows: Vec<GappedRow>,
    /// What those of them were that have left their keys, for the table of moved rows.
    moved: OpenBatch,
    pub(super) bytes: usize,
}

impl Ready {
    pub(super) fn new() -> Self {
        Ready {
            rows: vec![],
            moved: OpenBatch::new(),
            bytes: 0,
        }
    }
}

impl GappedRows<'_> {
    /// A complete row. One that has left its key is wanted under its new one.
    pub(super) fn is_ready(&mut self, target: &Arc<Target>, row: GappedRow, known: &Known<'_>) {
        if let Some(moved) = &row.gaps.moved
            && !known.has_told(&row, moved)
        {
            if let Some(table) = self.sink.moved_table.there() {
                let bytes = self.sink.moved_table.row(target, &row, moved);
                self.ready.bytes += bytes.len();
                self.ready.moved.push(&table, row.offset, [&bytes]);
            }
            self.sink.moved.put(MovedRow {
                target: target.clone(),
                moved: moved.clone(),
                version: row.version(),
                values: row.others().into(),
            });
        }
        self.ready.bytes += row.bytes.len();
        self.ready.rows.push(row);
    }

    /// Writes what is complete; first what rows were that have left their keys, so that it is known
    /// whenever their keys have rows that came later.
    pub(super) async fn write_ready(&mut self, target: &Arc<Target>) -> Result<(), Outcome> {
        let mut ready = std::mem::replace(&mut self.ready, Ready::new());
        if ready.moved.row_count() > 0 {
            self.insert_moved(target, &ready.moved.seal()).await?;
            crash_point!("after_moved_rows");
        }
        self.insert(target, ready.rows).await
    }

    async fn insert_moved(&self, target: &Target, batch: &SealedBatch) -> Result<(), Outcome> {
        let table = &self.sink.moved_table;
        let settings = insert_settings(&Delivery::AtLeastOnce, Round::FIRST, batch);
        let (mut backoff, mut doubts) = (Backoff::new(), Doubts::default());
        loop {
            let server = self.sink.parts.client.turn();
            let sent = match table.ready().await {
                Ok(None) => return Ok(()),
                Ok(Some(place)) => self.send(&place, batch, &settings, server).await,
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => return Ok(()),
                Err(error) if table.is_given_up(&error) => {}
                Err(error) => {
                    self.wait_after(server, target, &error, (&mut backoff, &mut doubts))
                        .await?;
                }
            }
        }
    }

    /// Inserts complete rows, a refused one apart from the others.
    async fn insert(&mut self, target: &Arc<Target>, rows: Vec<GappedRow>) -> Result<(), Outcome> {
        let mut parts = vec![rows];
        let (mut backoff, mut suspicion) = (Backoff::new(), Suspicion::default());
        let mut doubts = Doubts::default();
        let mut refused_since = None;
        // What the table does with the other rows decides about these.
        let mut undecided = vec![];
        while let Some(mut rows) = parts.pop() {
            if rows.is_empty() {
                continue;
            }
            let batch = off_io(|| batch_of(target, &rows));
            let settings = insert_settings(&Delivery::AtLeastOnce, Round::FIRST, &batch);
            crash_point!("before_insert");
            let server = self.sink.parts.client.turn();
            match self.send(target, &batch, &settings, server).await {
                Ok(()) => {
                    (suspicion, doubts) = (Suspicion::default(), Doubts::default());
                    crash_point!("after_insert_acknowledged");
                    let written = rows.len() as u64;
                    self.sink.parts.metrics.rows_written.increment(written);
                }
                Err(error)
                    if {
                        let kind = kind_of(&rows, refused_since.is_some());
                        let sink = self.sink;
                        sink.is_refused(server, &mut suspicion, &error, kind).await
                    } =>
                {
                    suspicion = Suspicion::default();
                    let since = *refused_since.get_or_insert_with(Instant::now);
                    let waits = (&mut backoff, &mut doubts);
                    if !self.stands(server, target, &error, waits).await? {
                        parts.push(rows);
                        continue;
                    }
                    if let [row] = &rows[..] {
                        let offset = row.offset;
                        let lone = self.sink.refused_alone(&target.label, &error, since);
                        let judged = self.sink.judge_lone(&target.label, &error, lone);
                        if judged.map_err(Outcome::Halted)? == Verdict::Open {
                            undecided.push((offset, error, lone));
                            continue;
                        }
                        self.set_aside(offset, Reason::Rejected, error.message)
                            .await?;
                    } else {
                        let half = rows.split_off(rows.len() / 2);
                        parts.extend([half, rows]);
                    }
                }
                Err(error) => {
                    self.wait_after(server, target, &error, (&mut backoff, &mut doubts))
                        .await?;
                    parts.push(rows);
                }
            }
        }
        for (offset, error, lone) in undecided {
            let judged = self.sink.is_at_fault(&target.label, &error, lone).await;
            judged.map_err(Outcome::Halted)?;
            self.set_aside(offset, Reason::Rejected, error.message)
                .await?;
        }
        Ok(())
    }

    /// Whether a refusal has nothing to do with the table's columns. Where that is not known it waits: the
    /// same rows are sent again.
    async fn stands(
        &self,
        server: u32,
        target: &Target,
        error: &InsertError,
        (backoff, doubts): (&mut Backoff, &mut Doubts),
    ) -> Result<bool, Outcome> {
        match self.sink.drift(error, target, server, doubts).await {
            Drift::Not => Ok(true),
            Drift::Altered(outcome) => Err(outcome),
            Drift::Unknown => {
                self.wait_after(server, target, error, (backoff, doubts))
                    .await?;
                Ok(false)
            }
        }
    }

    /// Sends rows in the pipeline's turn.
    async fn send(
        &self,
        target: &Target,
        batch: &SealedBatch,
        settings: &[(&'static str, String)],
        server: u32,
    ) -> Result<(), InsertError> {
        let _permit = self.sink.permits.take(&target.label).await;
        let are_enums_known = !target.plan.has_enums();
        let form = self.sink.form(target, batch, server, are_enums_known);
        let form = form.await?;
        self.sink
            .insert(target, batch, settings, server, form)
            .await
    }

    /// The record becomes a dead letter, or is only counted where none are sent.
    pub(super) async fn set_aside(
        &mut self,
        offset: i64,
        reason: Reason,
        detail: String,
    ) -> Result<(), Outcome> {
        self.dead_letters += 1;
        if self.sink.parts.dead_letters.is_none() {
            return Ok(());
        }
        let letter = self.sink.letter(&self.partition, offset, reason, detail);
        let letter = letter.await.map_err(Outcome::Halted)?;
        let place = not_written(&self.partition, self.place.rsplit(' ').next());
        let sent = self.sink.send_letters(&[letter], &place).await;
        sent.map_err(Outcome::Halted)
    }
}

fn kind_of(rows: &[GappedRow], was_refused: bool) -> Rows {
    match rows.len() {
        1 => Rows::One,
        _ if was_refused => Rows::Half,
        _ => Rows::Many,
    }
}

fn batch_of(target: &Arc<Target>, rows: &[GappedRow]) -> SealedBatch {
    let mut batch = OpenBatch::new();
    for row in rows {
        batch.push(target, row.offset, [&row.bytes]);
    }
    batch.seal()
}
