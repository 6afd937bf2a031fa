//! A row that the server refuses is cornered by splitting its range, and becomes a dead letter.

use std::time::Instant;

use super::operator::Operator;
use super::ownership::{Ownership, RANGES_MAX, SPLIT_RANGES_MAX};
use super::tasks::spawn;
use super::{Lane, Message};
use crate::decode::Reason;
use crate::halt::Halt;
use crate::progress::OwnershipId;
use crate::sink::{InsertError, Remedy, WriteJob};

/// A refused row's record, read again.
#[derive(Debug)]
pub(super) struct Original {
    ownership: OwnershipId,
    /// Whether it was counted as a dead letter only when it was shown to be at fault.
    is_judged_late: bool,
    /// With its dead letter in place of the row.
    read: Result<WriteJob, Halt>,
}

impl<O: Operator> Lane<O> {
    pub(super) fn refused(
        &mut self,
        ownership: OwnershipId,
        job: WriteJob,
        error: InsertError,
    ) -> Result<(), Halt> {
        let table = job.batch.table().to_owned();
        let place = format!("{} {}", job.partition, job.claim.range());
        self.context
            .shared
            .board
            .error(&format!("{table}: {place}: {error}"));
        tracing::warn!(
            table, range = place, rows = job.batch.row_count(), %error,
            "clickhouse refuses a row of the batch, looking for it"
        );
        let Some(own) = self.owned_by(ownership) else {
            return Ok(());
        };
        let since = if error.remedy == Remedy::Split {
            Instant::now()
        } else {
            own.suspect_since(&job)
        };
        if let Some(offset) = job.batch.single_offset() {
            let is_named = error.remedy == Remedy::Split;
            if is_named {
                // Before it is read again: thousands of them are the producer's fault, or the table's.
                self.context.shared.ratio.note_later(1);
                self.judge_ratio()?;
            }
            self.read_original(ownership, job, offset, error, since);
        } else {
            own.writing.to_split.push(job);
        }
        Ok(())
    }

    /// Splits refused ranges. The first range of a partition always may be: everything behind it
    /// waits for it, and it halves with each split. The others only while few are open, or they
    /// would use up what one commit can name and leave no room for the first.
    pub(super) fn split_waiting(&mut self) {
        for own in &mut self.owned {
            let position = own.ledger.position();
            while let Some(index) = lowest(&own.writing.to_split) {
                let is_first = own.writing.to_split[index].claim.range().from == position;
                let open_max = RANGES_MAX
                    + if is_first {
                        SPLIT_RANGES_MAX
                    } else {
                        RANGES_MAX
                    };
                if own.ranges_open() >= open_max {
                    break;
                }
                let job = own.writing.to_split.swap_remove(index);
                let at = job
                    .batch
                    .middle_offset()
                    .expect("single rows are not split");
                own.split(job, at);
            }
        }
    }

    /// The row is alone in its range; its record is needed as it was.
    fn read_original(
        &mut self,
        ownership: OwnershipId,
        job: WriteJob,
        offset: i64,
        error: InsertError,
        since: Instant,
    ) {
        let sink = self.context.sink.clone();
        let messages = self.inbox.messages.0.clone();
        let memory = self.context.shared.memory.clone();
        let (has_gaps, bytes) = (job.batch.has_gaps(), job.batch.memory_bytes());
        let lone = sink.refused_alone(job.batch.table(), &error, since);
        let task = spawn(&self.context.runtime, &self.inbox.messages.0, async move {
            let mut job = job;
            let is_judged_late = error.remedy != Remedy::Split;
            let judged = sink.is_at_fault(job.batch.table(), &error, lone).await;
            let letter = match judged {
                Ok(()) => {
                    let detail = error.message;
                    let letter = sink.letter(&job.partition, offset, Reason::Rejected, detail);
                    letter.await
                }
                Err(halt) => Err(halt),
            };
            let read = letter.map(|letter| {
                job.batch = job.batch.with_dead_letter(letter);
                job.batch.count(&memory);
                job
            });
            let _ = messages.send(Message::Original(Box::new(Original {
                ownership,
                is_judged_late,
                read,
            })));
        });
        if let Some(own) = self.owned_by(ownership) {
            own.writing.started(task, has_gaps, bytes);
        }
    }

    pub(super) fn refused_record_read(&mut self, original: Original) -> Result<(), Halt> {
        let Original {
            ownership,
            is_judged_late,
            read,
        } = original;
        let is_it = |o: &Ownership<O::Partition>| o.ledger.ownership() == ownership;
        let Some(index) = self.owned.iter().position(is_it) else {
            return Ok(());
        };
        let job = read?;
        if is_judged_late {
            self.context.shared.ratio.note_later(1);
            self.judge_ratio()?;
        }
        self.start_write(index, job);
        Ok(())
    }
}

/// Which of the jobs has the lowest range.
fn lowest(jobs: &[WriteJob]) -> Option<usize> {
    (0..jobs.len()).min_by_key(|&index| jobs[index].claim.range().from)
}
