//! A row that the server refuses is cornered by splitting its range, and becomes a dead letter.

use super::operator::Operator;
use super::ownership::{Ownership, RANGES_MAX, SPLIT_RANGES_MAX};
use super::{Lane, Message};
use crate::decode::Reason;
use crate::halt::Halt;
use crate::progress::OwnershipId;
use crate::sink::{DeadLetter, InsertError, Stage, WriteJob};
use crate::source::fetch_record;

/// A refused row's record, read again.
#[derive(Debug)]
pub(super) struct Original {
    ownership: OwnershipId,
    job: WriteJob,
    letter: Result<DeadLetter, Halt>,
}

impl<O: Operator> Lane<O> {
    pub(super) fn refused(&mut self, ownership: OwnershipId, job: WriteJob, error: &InsertError) {
        let table = job.batch.table().to_owned();
        let place = format!("{} {}", job.partition, job.claim.range());
        self.shared
            .board
            .error(&format!("{table}: {place}: {error}"));
        tracing::warn!(
            table, range = place, rows = job.batch.row_count(), %error,
            "clickhouse refuses a row of the batch, looking for it"
        );
        if let Some(offset) = job.batch.single_offset() {
            self.read_original(ownership, job, offset, error.message.clone());
        } else if let Some(own) = self.owned_by(ownership) {
            own.to_split.push(job);
        }
    }

    /// Splits refused ranges. The first range of a partition always may be: everything behind it
    /// waits for it, and it halves with each split. The others only while few are open, or they
    /// would use up what one commit can name and leave no room for the first.
    pub(super) fn split_waiting(&mut self) {
        for own in &mut self.owned {
            let position = own.ledger.position();
            while let Some(index) = lowest(&own.to_split) {
                let is_first = own.to_split[index].claim.range().from == position;
                let open_max = RANGES_MAX
                    + if is_first {
                        SPLIT_RANGES_MAX
                    } else {
                        RANGES_MAX
                    };
                if own.ranges_open() >= open_max {
                    break;
                }
                let job = own.to_split.swap_remove(index);
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
        detail: String,
    ) {
        let pipeline = self.pipeline.clone();
        let messages = self.messages.0.clone();
        self.runtime.spawn_blocking(move || {
            let letter = fetch_record(&pipeline, &job.partition, offset)
                .map_err(|error| Halt::new("dead_letter", error.to_string()))
                .map(|record| DeadLetter {
                    partition: job.partition.clone(),
                    offset,
                    timestamp_ms: record.timestamp_ms,
                    key: record.key,
                    value: record.value,
                    headers: record.headers,
                    stage: Stage::Write,
                    reason: Reason::Rejected,
                    detail,
                });
            let _ = messages.send(Message::Original(Box::new(Original {
                ownership,
                job,
                letter,
            })));
        });
    }

    pub(super) fn refused_record_read(&mut self, original: Original) -> Result<(), Halt> {
        let Original {
            ownership,
            mut job,
            letter,
        } = original;
        let letter = letter?;
        self.shared.ratio.note(1, 1);
        job.batch = job.batch.with_dead_letter(letter);
        let is_it = |o: &Ownership<O::Partition>| o.ledger.ownership() == ownership;
        if let Some(index) = self.owned.iter().position(is_it) {
            self.start_write(index, job);
        }
        Ok(())
    }
}

/// Which of the jobs has the lowest range.
fn lowest(jobs: &[WriteJob]) -> Option<usize> {
    (0..jobs.len()).min_by_key(|&index| jobs[index].claim.range().from)
}
