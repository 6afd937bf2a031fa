//! One range from the lane's hands to the acknowledgement: dead letters, then rows, then messages.

use std::sync::Arc;

use super::destination::deliver;
use super::gaps::GappedRows;
use super::insert::not_written;
use super::job::{Outcome, WriteJob};
use super::shared::{Sink, SinkParts};
use super::table::Table;
use super::topic::Topic;
use crate::clock::{BootTime, wall_ms};
use crate::crash::crash_point;
use crate::halt::Halt;
use crate::progress::Receipt;
use crate::progress::insert::Attempts;

/// Writes one range; returns when it is durable or somebody else must decide.
pub(crate) async fn write(job: WriteJob, sink: Arc<Sink>) -> Outcome {
    let (partition, range) = (job.partition.clone(), job.claim.range().to_string());
    let outcome = write_range(job, &sink).await;
    // One that waits for a new lease goes on where it was.
    if !matches!(outcome, Outcome::Renew(_)) {
        let place = not_written(&partition, Some(&range));
        sink.parts.pipeline.got_on(&place);
    }
    outcome
}

async fn write_range(mut job: WriteJob, sink: &Arc<Sink>) -> Outcome {
    if job.tokens().is_some_and(Attempts::may_run) && job.trouble.running_until.is_none() {
        // What a predecessor sent.
        let theirs = BootTime::now().after(job.trouble.earlier_span);
        job.trouble.running_until = Some(sink.parts.running_until().max(theirs));
    }
    if let Some(outcome) = sink.check_columns(&job).await {
        return outcome;
    }
    if let Err(halt) = sink.write_dead_letters(&mut job).await {
        return Outcome::Halted(halt);
    }
    let mut gapped = GappedRows::take(sink, &mut job);
    let has_gapped = !gapped.is_empty();
    if has_gapped {
        crash_point!("before_gapped_rows");
    }
    if let Err(outcome) = gapped.write_known().await {
        return outcome;
    }
    if has_gapped {
        crash_point!("after_gapped_rows");
    }
    if let Some(target) = job.batch.target().filter(|_| job.batch.row_count() > 0) {
        let mut table = Table::new(sink, target.clone());
        job = match deliver(&mut table, sink, job).await {
            Ok(job) => job,
            Err(Outcome::Refused(mut job, error)) => {
                job.batch.put_gapped(gapped.left());
                return Outcome::Refused(job, error);
            }
            Err(outcome) => return outcome,
        };
    }
    let dead_letters = match gapped.write_rest().await {
        Ok(dead_letters) => dead_letters,
        Err(outcome) => return outcome,
    };
    // After the table: what a topic says can be looked up there.
    if let Some(mut topic) = Topic::of(sink, &job) {
        job = match deliver(&mut topic, sink, job).await {
            Ok(job) => job,
            Err(outcome) => return outcome,
        };
    }
    sink.settle(job, dead_letters)
}

impl Sink {
    fn settle(&self, job: WriteJob, dead_letters: u64) -> Outcome {
        let SinkParts { metrics, .. } = &self.parts;
        let now_ms = wall_ms();
        for arrival in job.batch.arrivals() {
            let age_ms = now_ms.saturating_sub(arrival.timestamp_ms).max(0);
            metrics.freshness.record(age_ms as f64 / 1000.0);
        }
        metrics.rows_written.increment(job.batch.row_count() as u64);
        job.claim.settle(&Receipt::acknowledged());
        Outcome::Written { dead_letters }
    }

    async fn write_dead_letters(&self, job: &mut WriteJob) -> Result<(), Halt> {
        let (partition, range) = (&job.partition, job.claim.range().to_string());
        let place = not_written(partition, Some(&range));
        self.send_letters(job.batch.dead_letters(), &place).await?;
        job.batch.dead_letters_written();
        Ok(())
    }
}
