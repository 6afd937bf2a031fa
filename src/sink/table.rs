//! The ClickHouse table as a destination.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::altered::{Checked, Drift};
use super::destination::{Answer, Destination};
use super::errors::{InsertError, Remedy, VIEW_FAILED};
use super::insert::{Failure, insert_settings};
use super::job::{Delivery, Outcome, WriteJob};
use super::off_io::off_io;
use super::shared::Sink;
use super::{Backoff, Target};
use crate::batch::SealedBatch;
use crate::clock::BootTime;
use crate::crash::crash_point;
use crate::progress::insert::{Attempts, Missing, Round};

/// How often a range that fails behind its table is sent under its token: the view may just be being
/// replaced.
const VIEW_ATTEMPTS_MAX: u32 = 4;
/// After this a replica has kept or dropped a part that it could not finish: it checks after 300 s.
const UNFINISHED_MAX: Duration = Duration::from_secs(330);

/// How often rows that a look misses in a replicated table are looked for, and the wait between two looks.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// One range on its way to a table. Its name is the token of the insert, which the server remembers for each
/// part that it has stored; a look counts the offsets of the range that the table has.
pub(super) struct Table<'s> {
    sink: &'s Sink,
    target: Arc<Target>,
    /// The server that was asked last.
    server: u32,
    /// Whether that server has the Enums that the rows were made for: a block does not state their names.
    are_enums_known: bool,
    backoff: Backoff,
    /// The rows that [`Attempts::sends`], where these are not all.
    thinned: Option<SealedBatch>,
    /// What is left to send of a batch that was too large, the next one last.
    pieces: Vec<SealedBatch>,
}

impl<'s> Table<'s> {
    pub(super) fn new(sink: &'s Sink, target: Arc<Target>) -> Self {
        Table {
            sink,
            target,
            server: 0,
            are_enums_known: false,
            backoff: Backoff::new(),
            thinned: None,
            pieces: vec![],
        }
    }
}

impl Destination for Table<'_> {
    async fn send(&mut self, job: &mut WriteJob, round: Round) -> Answer {
        let client = &self.sink.parts.client;
        self.server = client.turn();
        match self.sink.check_unstated(&self.target, self.server).await {
            Ok(Checked::Goes { are_enums_known }) => self.are_enums_known = are_enums_known,
            Ok(Checked::Ended(outcome)) => return Answer::Ended(outcome),
            Err(error) => return Answer::NotSent(error),
        }
        // Before the lease is looked at: the server may be slow to say what it knows, and the turn long in
        // coming.
        if let Err(error) = client.prepare(self.server).await {
            return Answer::NotSent(error);
        }
        let permit = self.sink.permits.take(&self.target.label).await;
        if job.lease_is_over() {
            return Answer::LeaseOver;
        }
        crash_point!("before_insert");
        let sent = self.send_rows(job, round).await;
        drop(permit);
        let Err(error) = sent else {
            crash_point!("after_insert_acknowledged");
            return Answer::Durable;
        };
        if self.is_refused(job, &error).await {
            self.unless_drifted(job, error).await
        } else {
            Answer::LookNeeded(error)
        }
    }

    async fn look(&mut self, job: &WriteJob) -> Result<Missing, InsertError> {
        let missing = self.look_for(job).await?;
        self.unless_unconfirmed(job, &missing).await?;
        self.thinned = None;
        Ok(missing)
    }

    fn running_until(&self, error: &InsertError) -> Option<BootTime> {
        let until = self.sink.parts.running_until();
        match error.may_run_on() {
            false => None,
            true if error.is_unfinished() => Some(until.max(BootTime::now().after(UNFINISHED_MAX))),
            true => Some(until),
        }
    }

    async fn wait_after(&mut self, job: &mut WriteJob, error: InsertError) -> Result<(), Outcome> {
        let mut error = error;
        if error.remedy == Remedy::Halt(VIEW_FAILED) && job.tokens().is_some() {
            job.trouble.view_failures += 1;
            if job.trouble.view_failures < VIEW_ATTEMPTS_MAX {
                error.remedy = Remedy::Retry("view");
            }
        }
        let place = format!("{} {}", job.partition, job.claim.range());
        let failure = Failure {
            target: &self.target,
            partition: &job.partition,
            place: &place,
            error: &error,
            server: self.server,
            doubts: &mut job.trouble.doubts,
        };
        self.sink.wait_after(failure, &mut self.backoff).await
    }
}

impl Table<'_> {
    /// Whether a refusal stands: one for the table's columns is none of the rows.
    async fn unless_drifted(&self, job: &mut WriteJob, error: InsertError) -> Answer {
        let doubts = &mut job.trouble.doubts;
        match self
            .sink
            .drift(&error, &self.target, self.server, doubts)
            .await
        {
            Drift::Not => Answer::Refused(error),
            Drift::Unknown => Answer::LookNeeded(InsertError {
                remedy: Remedy::Retry("replication"),
                ..error
            }),
            Drift::Altered(outcome) => Answer::Ended(outcome),
        }
    }

    /// Which rows of the job are not in the table. Behind one name another replica may answer than the one
    /// that was made to wait for the others: what is missing in a replicated table is looked for again.
    async fn look_for(&mut self, job: &WriteJob) -> Result<Missing, InsertError> {
        let from = job.claim.range().from;
        let looks = if self.target.replicated { LOOKS } else { 1 };
        let mut found = HashSet::new();
        for look in 1..=looks {
            // A balancer that takes its servers in turn would else lead every look to the same one.
            let syncs = 2 - look % 2;
            found.extend(self.rows_there(job, syncs).await?);
            let is_there = job.batch.row_ids(from).all(|id| found.contains(&id));
            if is_there || look == looks {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let is_missing = |id: &i64| !found.contains(id);
        tracing::info!(
            partition = %job.partition, range = %job.claim.range(), rows = job.batch.row_count(),
            missing = job.batch.row_ids(from).filter(is_missing).count(),
            "looked for the rows in the table"
        );
        Ok(Missing::of(job.batch.row_ids(from).filter(is_missing)))
    }

    /// Rows that settle a range although nobody acknowledges them must be there for good.
    ///
    /// # Errors
    /// The server may still drop some of those that were found; or it cannot be asked.
    async fn unless_unconfirmed(
        &self,
        job: &WriteJob,
        missing: &Missing,
    ) -> Result<(), InsertError> {
        let range = job.claim.range();
        let is_found = |id: &i64| !missing.contains(*id);
        let is_decisive = job.tokens().is_some_and(Attempts::trusts_look) && self.target.replicated;
        if !is_decisive || !job.batch.row_ids(range.from).any(|id| is_found(&id)) {
            return Ok(());
        }
        let client = &self.sink.parts.client;
        let age = UNFINISHED_MAX;
        // What is there for good is asked for, not what is not: another replica may answer behind the same
        // name, or the part be gone by now.
        let confirmed =
            client.confirmed_rows_in(self.server, &self.target, &job.partition, range, age);
        let confirmed: HashSet<i64> = confirmed.await?.into_iter().collect();
        let found = job.batch.row_ids(range.from).filter(is_found);
        match found.filter(|id| !confirmed.contains(id)).count() {
            0 => Ok(()),
            rows => Err(InsertError::behind(format!(
                "{rows} rows of the range are in parts that this replica may still drop (it does so for five \
                 minutes after code 319), or that it does not have: waiting until they have been there for {} s, \
                 or are merged",
                age.as_secs()
            ))),
        }
    }

    /// Their numbers: see [`SealedBatch::row_ids`].
    async fn rows_there(&mut self, job: &WriteJob, syncs: u32) -> Result<Vec<i64>, InsertError> {
        let (client, target) = (&self.sink.parts.client, &self.target);
        self.server = client.current();
        if target.replicated {
            for _ in 0..syncs {
                client.sync_replica(self.server, &target.sql).await?;
            }
        }
        // Not while a replica is waited for: ranges that can be written need the permits.
        let _permit = self.sink.permits.take(&target.label).await;
        let range = job.claim.range();
        let found = client.rows_in(self.server, target, &job.partition, range);
        let found = found.await?;
        self.sink.board.answered();
        Ok(found)
    }

    async fn send_rows(&mut self, job: &WriteJob, round: Round) -> Result<(), InsertError> {
        let from = job.claim.range().from;
        if let (Some(attempts), None) = (job.tokens(), &self.thinned)
            && !job.batch.row_ids(from).all(|id| attempts.sends(id))
        {
            let thinned = off_io(|| job.batch.filtered_rows(from, |id| attempts.sends(id)));
            self.thinned = Some(thinned);
        }
        if matches!(job.delivery, Delivery::AsMember(_)) {
            return self.send_in_pieces(job).await;
        }
        let batch = self.thinned.as_ref().unwrap_or(&job.batch);
        self.insert(job, round, batch).await
    }

    async fn insert(
        &self,
        job: &WriteJob,
        round: Round,
        batch: &SealedBatch,
    ) -> Result<(), InsertError> {
        let settings = insert_settings(&job.delivery, round, batch);
        let (target, server) = (&*self.target, self.server);
        let form = self.sink.form(target, batch, server, self.are_enums_known);
        let form = form.await?;
        // Rows may have had to be made out of columns, which takes a while for many.
        if job.lease_is_over() {
            let message = "the rows were not sent: the lease ended while they were made ready";
            return Err(InsertError::not_sent(message.to_owned()));
        }
        self.sink
            .insert(target, batch, &settings, server, form)
            .await
    }

    /// Rows of many records each, for which no range stands: what is too large goes out in halves.
    async fn send_in_pieces(&mut self, job: &WriteJob) -> Result<(), InsertError> {
        loop {
            let batch = self.pieces.last().unwrap_or(&job.batch);
            match self.insert(job, Round::FIRST, batch).await {
                Ok(()) => {
                    self.pieces.pop();
                    if self.pieces.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) if error.remedy == Remedy::TooLarge || error.is_of_one_statement() => {
                    let Some(halves) = off_io(|| batch.halves()) else {
                        return Err(error);
                    };
                    self.pieces.pop();
                    self.pieces.extend(halves.into_iter().rev());
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn is_refused(&self, job: &mut WriteJob, error: &InsertError) -> bool {
        let rows = job.rows();
        self.sink
            .is_refused(self.server, &mut job.trouble.suspicion, error, rows)
            .await
    }
}
