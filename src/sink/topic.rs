//! The Kafka topic as a destination, of rows that a lane emits: one message a row, the last of a key wins.

use std::sync::Arc;

use super::destination::{Answer, Destination};
use super::errors::InsertError;
use super::insert::not_written;
use super::job::{Outcome, WriteJob};
use super::shared::{Sink, SinkParts};
use super::{Backoff, Membership, OutputProducer};
use crate::clock::BootTime;
use crate::halt::Halt;
use crate::progress::insert::{Missing, Round};

/// Messages of one batch on their way to a topic. They have no name: the lane sends one batch at a time, and
/// only while it is known to be in its group, so that the newest message of a key is the last.
pub(super) struct Topic<'s> {
    sink: &'s Sink,
    output: &'s OutputProducer,
    membership: Arc<Membership>,
    backoff: Backoff,
}

impl<'s> Topic<'s> {
    /// `None` where the batch has no messages.
    pub(super) fn of(sink: &'s Sink, job: &WriteJob) -> Option<Self> {
        let output = sink.parts.output.as_ref()?;
        if job.batch.messages().is_empty() {
            return None;
        }
        let membership = job.membership();
        Some(Topic {
            sink,
            output,
            membership: membership
                .expect("only rows that a lane emits go to a topic")
                .clone(),
            backoff: Backoff::new(),
        })
    }
}

impl Destination for Topic<'_> {
    async fn send(&mut self, job: &mut WriteJob, _round: Round) -> Answer {
        let batch = &job.batch;
        let SinkParts {
            metrics, pipeline, ..
        } = &self.sink.parts;
        let range = job.claim.range().to_string();
        let place = not_written(&job.partition, Some(&range));
        let retried = |error: &streamweir_kafka::SendError| {
            metrics.retry("output", "kafka");
            pipeline.stuck(&place, &format!("kafka does not take its rows: {error}"));
        };
        let sent = self
            .output
            .send_all(batch.messages(), &self.membership, retried)
            .await;
        if let Err(error) = sent {
            let halt = Halt::new("output", error.to_string());
            return Answer::Ended(Outcome::Halted(halt));
        }
        if batch.row_count() == 0 {
            let messages = batch.messages().len() as u64;
            metrics.rows_written.increment(messages);
        }
        Answer::Durable
    }

    /// A topic cannot be asked for the rows of a range: all of them are taken to be missing.
    async fn look(&mut self, job: &WriteJob) -> Result<Missing, InsertError> {
        Ok(Missing::of(job.batch.offsets()))
    }

    fn running_until(&self, _error: &InsertError) -> Option<BootTime> {
        None
    }

    async fn wait_after(
        &mut self,
        _job: &mut WriteJob,
        _error: InsertError,
    ) -> Result<(), Outcome> {
        tokio::time::sleep(self.backoff.next_wait()).await;
        Ok(())
    }
}
