//! One range from the lane's hands to the server's acknowledgement.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::altered::{ColumnsSeen, Drift};
use super::clickhouse::ClickHouseClient;
use super::doubts::Doubts;
use super::errors::{InsertError, Remedy, VIEW_FAILED};
use super::gaps::GappedRows;
use super::insert::{Failure, insert_settings, not_written};
use super::moved::{MovedRows, MovedTable};
use super::off_io::off_io;
use super::permits::Permits;
use super::refusals::{Judgement, Refusals, Rows, Suspicion};
use super::{
    Backoff, DeadLetter, DeadLetterProducer, Membership, OutputProducer, RowMaker, Stage, Target,
};
use crate::batch::SealedBatch;
use crate::clock::{BootTime, wall_ms};
use crate::config::Pipeline;
use crate::crash::crash_point;
use crate::decode::Reason;
use crate::halt::Halt;
use crate::observe::board::{PipelineBoard, Place, SinkBoard};
use crate::observe::metrics::PipelineMetrics;
use crate::progress::insert::{Attempts, Missing, Round, Step};
use crate::progress::{Claim, Receipt};
use crate::source::{RecordFetcher, TopicPartition};

/// How often a range that fails behind its table is sent under its token: the view may just be being
/// replaced.
const VIEW_ATTEMPTS_MAX: u32 = 4;

/// How often rows that a look misses in a replicated table are looked for, and the wait between two looks.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// Everything the writes of one pipeline share.
#[derive(Debug)]
pub(crate) struct Sink {
    pub(super) parts: SinkParts,
    pub(super) permits: Permits,
    pub(super) fetcher: RecordFetcher,
    pub(super) board: Arc<SinkBoard>,
    pub(super) refusals: Refusals,
    pub(super) moved: MovedRows,
    pub(super) moved_table: MovedTable,
    pub(super) columns_seen: ColumnsSeen,
}

/// What a [`Sink`] is made of.
#[derive(Debug)]
pub(crate) struct SinkParts {
    pub(crate) client: ClickHouseClient,
    pub(crate) dead_letters: Arc<DeadLetterProducer>,
    /// Where rows can be made anew for a table that was altered.
    pub(crate) rows: Option<Arc<dyn RowMaker>>,
    /// Where rows go to a topic too, or to one alone.
    pub(crate) output: Option<OutputProducer>,
    /// What answers, for people: a table, or a database.
    pub(crate) label: String,
    pub(crate) metrics: PipelineMetrics,
    pub(crate) pipeline: Arc<PipelineBoard>,
    /// The configuration, to read single records again.
    pub(crate) config: Arc<Pipeline>,
    /// How long a row waits for the row that it was before its key changed.
    pub(crate) moved_wait: Duration,
    /// Whether the table of moved rows is made where it is missing.
    pub(crate) makes_tables: bool,
    /// How long after its naming commit an insert may still be sent.
    pub(crate) insert_lease: Duration,
    /// How long the server may work on one insert.
    pub(crate) insert_timeout: Duration,
}

/// The duty to write one range.
#[derive(Debug)]
pub(crate) struct WriteJob {
    pub(crate) claim: Claim,
    pub(crate) partition: TopicPartition,
    pub(crate) batch: SealedBatch,
    pub(crate) delivery: Delivery,
    /// Part of a range that was refused with an answer that nobody classified.
    pub(crate) is_half: bool,
    /// Goes with the job for a new lease and back.
    pub(crate) trouble: Trouble,
}

/// What has kept a range from being written so far.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// How often the rows were refused behind the table.
    view_failures: u32,
    suspicion: Suspicion,
    doubts: Doubts,
}

/// How often rows may arrive.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The range was named in a commit; the insert carries its token.
    ExactlyOnce {
        /// `epoch:table:topic:partition:from-to`.
        token: String,
        attempts: Attempts,
        /// After this nothing may be sent before the naming commit has been repeated.
        lease_until: BootTime,
    },
    /// Sent until acknowledged.
    AtLeastOnce,
    /// The same; and what goes to a topic, only while the lane is known to be in its group.
    AsMember(Arc<Membership>),
}

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Acknowledged; the claim has settled. So many of its records have become dead letters on the way.
    Written { dead_letters: u64 },
    /// The lease is over: repeat the naming commit, then hand the job in again.
    Renew(Box<WriteJob>),
    /// The server refuses a row of it.
    Refused(Box<WriteJob>, InsertError),
    /// Only an operator can go on; the claim is given up.
    Halted(Halt),
    /// The table has other columns than these rows: they must be made again. The claim is given up.
    Altered(String),
}

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
        let writer = Writer {
            sink,
            target: target.clone(),
            server: 0,
            backoff: Backoff::new(),
            thinned: None,
        };
        job = match writer.run(job).await {
            Ok(job) => job,
            Err(Outcome::Refused(mut job, error)) => {
                job.batch.put_gapped(gapped.left());
                return Outcome::Refused(job, error);
            }
            Err(outcome) => return outcome,
        };
    }
    match gapped.write_rest().await {
        Ok(dead_letters) => match sink.send_messages(&job).await {
            Ok(()) => sink.settle(job, dead_letters),
            Err(halt) => Outcome::Halted(halt),
        },
        Err(outcome) => outcome,
    }
}

impl Sink {
    pub(crate) fn new(parts: SinkParts) -> Arc<Self> {
        let board = parts.pipeline.sink(&parts.label);
        let database = &parts.config.clickhouse.database;
        let moved_table = MovedTable::new(parts.client.clone(), database, parts.makes_tables);
        let fetcher = RecordFetcher::new(parts.config.clone());
        Arc::new(Sink {
            parts,
            moved_table,
            permits: Permits::new(),
            columns_seen: ColumnsSeen::default(),
            fetcher,
            moved: MovedRows::default(),
            refusals: Refusals::default(),
            board,
        })
    }

    /// What takes the rows has answered.
    pub(crate) fn answered(&self) {
        self.board.answered();
    }

    /// Asks the server whether it is there, so that an idle pipeline knows too.
    pub(crate) async fn check(&self) {
        if let Some(output) = self.only_output() {
            match output.is_there().await {
                Ok(()) => self.board.answered(),
                Err(error) => tracing::debug!(%error, "kafka does not answer"),
            }
            return;
        }
        match self.parts.client.ping().await {
            Ok(()) => self.board.answered(),
            Err(error) => tracing::debug!(%error, "clickhouse does not answer"),
        }
    }

    /// Where rows go, if to no table.
    fn only_output(&self) -> Option<&OutputProducer> {
        let output = self.parts.output.as_ref()?;
        self.parts.config.table.is_empty().then_some(output)
    }

    /// Whether this server refuses these rows and nothing else.
    pub(super) async fn is_refused(
        &self,
        server: u32,
        suspicion: &mut Suspicion,
        error: &InsertError,
        rows: Rows,
    ) -> bool {
        match suspicion.judge(error, rows, Instant::now()) {
            Judgement::Again => false,
            Judgement::Refused => true,
            Judgement::RefusedIfThere => self.parts.client.ping_on(server).await.is_ok(),
        }
    }

    /// The record of a row that nobody takes, as a dead letter.
    ///
    /// # Errors
    /// It is not in the log any more.
    pub(crate) async fn letter(
        &self,
        partition: &TopicPartition,
        offset: i64,
        reason: Reason,
        detail: String,
    ) -> Result<DeadLetter, Halt> {
        let record = self.fetcher.fetch(partition, offset).await;
        let record = record.map_err(|error| Halt::dead_letter(error.to_string()))?;
        Ok(DeadLetter {
            partition: partition.clone(),
            offset,
            timestamp_ms: record.timestamp_ms,
            key: record.key,
            value: record.value,
            headers: record.headers,
            stage: Stage::Write,
            reason,
            detail,
        })
    }

    /// Whether a row that was refused alone is at fault. `since`: when rows beside it were first refused.
    ///
    /// # Errors
    /// The table takes no rows at all.
    pub(crate) fn judge_refused(
        &self,
        table: &str,
        error: &InsertError,
        since: Instant,
    ) -> Result<(), Halt> {
        self.refusals.judge(table, error, since)
    }

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

    pub(super) async fn send_letters(
        &self,
        letters: &[DeadLetter],
        place: &Place<'_>,
    ) -> Result<(), Halt> {
        if letters.is_empty() {
            return Ok(());
        }
        let SinkParts {
            metrics,
            pipeline,
            dead_letters,
            ..
        } = &self.parts;
        let retried = |error: &rdkafka::error::RDKafkaErrorCode| {
            metrics.retry("dead_letters", "kafka");
            pipeline.stuck(
                place,
                &format!("kafka does not take its dead letters: {error}"),
            );
        };
        dead_letters
            .send_all(letters, retried)
            .await
            .map_err(|e| Halt::dead_letter(e.to_string()))?;
        for letter in letters {
            metrics.dead_letter(letter.reason.as_str());
        }
        pipeline.dead_letters_written(letters.len() as u64);
        Ok(())
    }
}

impl Sink {
    /// After the table: what a topic says can be looked up there.
    async fn send_messages(&self, job: &WriteJob) -> Result<(), Halt> {
        let batch = &job.batch;
        let (Some(output), false) = (&self.parts.output, batch.messages().is_empty()) else {
            return Ok(());
        };
        let SinkParts {
            metrics, pipeline, ..
        } = &self.parts;
        let range = job.claim.range().to_string();
        let place = not_written(&job.partition, Some(&range));
        let retried = |error: &rdkafka::error::RDKafkaErrorCode| {
            metrics.retry("output", "kafka");
            pipeline.stuck(&place, &format!("kafka does not take its rows: {error}"));
        };
        let Delivery::AsMember(membership) = &job.delivery else {
            unreachable!("only rows that a lane emits go to a topic")
        };
        let sent = output.send_all(batch.messages(), membership, retried).await;
        sent.map_err(|error| Halt::new("output", error.to_string()))?;
        if batch.row_count() == 0 {
            metrics
                .rows_written
                .increment(batch.messages().len() as u64);
        }
        Ok(())
    }
}

struct Writer<'s> {
    sink: &'s Sink,
    target: Arc<Target>,
    /// The server that was asked last.
    server: u32,
    backoff: Backoff,
    /// The rows that [`Attempts::sends`], where these are not all.
    thinned: Option<SealedBatch>,
}

impl Writer<'_> {
    /// The job when its rows are acknowledged; else how it ends.
    async fn run(mut self, mut job: WriteJob) -> Result<WriteJob, Outcome> {
        loop {
            match job.step() {
                Step::Settled => return Ok(job),
                Step::Wait => {
                    let SinkParts {
                        insert_lease,
                        insert_timeout,
                        ..
                    } = self.sink.parts;
                    let range = job.claim.range().to_string();
                    let place = not_written(&job.partition, Some(&range));
                    let why = "acknowledged but not in the table: waiting until no earlier insert can be running";
                    self.sink.parts.pipeline.stuck(&place, why);
                    tokio::time::sleep(insert_lease + insert_timeout).await;
                    job.attempts().waited();
                }
                Step::Look => match self.look(&job).await {
                    Ok(missing) => {
                        self.thinned = None;
                        job.attempts().looked(missing);
                    }
                    Err(error) => self.after_failure(&mut job, error).await?,
                },
                Step::Send(round) => {
                    self.server = self.sink.parts.client.current();
                    match self.sink.check_unstated(&self.target, self.server).await {
                        Ok(None) => {}
                        Ok(Some(outcome)) => return Err(outcome),
                        Err(error) => {
                            self.after_failure(&mut job, error).await?;
                            continue;
                        }
                    }
                    // Before the lease is looked at: the turn may be long in coming.
                    let permit = self.sink.permits.take(&self.target.label).await;
                    if job.lease_is_over() {
                        return Err(Outcome::Renew(Box::new(job)));
                    }
                    crash_point!("before_insert");
                    let sent = self.send(&job, round).await;
                    drop(permit);
                    match sent {
                        Ok(()) => {
                            crash_point!("after_insert_acknowledged");
                            let Delivery::ExactlyOnce { attempts, .. } = &mut job.delivery else {
                                return Ok(job);
                            };
                            attempts.acknowledged();
                        }
                        Err(error) if self.is_refused(&mut job, &error).await => {
                            let error = match self.unless_drifted(&mut job, error).await? {
                                Ok(error) => match self.behind_the_table(&job, error).await {
                                    Ok(error) => {
                                        return Err(Outcome::Refused(Box::new(job), error));
                                    }
                                    Err(error) => error,
                                },
                                Err(error) => error,
                            };
                            job.unknown();
                            self.after_failure(&mut job, error).await?;
                        }
                        Err(error) => {
                            job.unknown();
                            self.after_failure(&mut job, error).await?;
                        }
                    }
                }
            }
        }
    }

    /// A refusal, where the table's columns have nothing to do with it; `Ok(Err(…))`: send the same again.
    async fn unless_drifted(
        &self,
        job: &mut WriteJob,
        error: InsertError,
    ) -> Result<Result<InsertError, InsertError>, Outcome> {
        let doubts = &mut job.trouble.doubts;
        match self.sink.drift(&self.target, self.server, doubts).await {
            Drift::Not => Ok(Ok(error)),
            Drift::Unknown => Ok(Err(InsertError {
                remedy: Remedy::Retry("replication"),
                ..error
            })),
            Drift::Altered(outcome) => Err(outcome),
        }
    }

    /// Which rows of the job are not in the table. Behind one name another replica may answer than the one
    /// that was made to wait for the others: what is missing in a replicated table is looked for again.
    async fn look(&mut self, job: &WriteJob) -> Result<Missing, InsertError> {
        let looks = if self.target.replicated { LOOKS } else { 1 };
        let mut found = HashSet::new();
        for look in 1..=looks {
            found.extend(self.offsets_there(job).await?);
            let is_there = job.batch.offsets().all(|offset| found.contains(&offset));
            if is_there || look == looks {
                break;
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
        let is_missing = |offset: &i64| !found.contains(offset);
        tracing::info!(
            partition = %job.partition, range = %job.claim.range(), rows = job.batch.row_count(),
            missing = job.batch.offsets().filter(is_missing).count(),
            "looked for the rows in the table"
        );
        Ok(Missing::of(job.batch.offsets().filter(is_missing)))
    }

    async fn offsets_there(&mut self, job: &WriteJob) -> Result<Vec<i64>, InsertError> {
        let (client, target) = (&self.sink.parts.client, &self.target);
        let _permit = self.sink.permits.take(&target.label).await;
        self.server = client.current();
        if target.replicated {
            client.sync_replica(self.server, &target.sql).await?;
        }
        let range = job.claim.range();
        let found = client.offsets_in(self.server, &target.sql, &job.partition, range);
        let found = found.await?;
        self.sink.board.answered();
        Ok(found)
    }

    /// A refusal, if the table has none of the rows: those it has are no fault of theirs, and must not be
    /// written under another token.
    ///
    /// # Errors
    /// What it is otherwise.
    async fn behind_the_table(
        &mut self,
        job: &WriteJob,
        error: InsertError,
    ) -> Result<InsertError, InsertError> {
        let Some(attempts) = job.tokens() else {
            return Ok(error);
        };
        let missing = self.look(job).await?;
        let is_there = |offset: &i64| attempts.sends(*offset) && !missing.contains(*offset);
        match job.batch.offsets().filter(is_there).count() {
            0 => Ok(error),
            there => Err(error.although_written(there)),
        }
    }

    async fn send(&mut self, job: &WriteJob, round: Round) -> Result<(), InsertError> {
        if let (Some(attempts), None) = (job.tokens(), &self.thinned)
            && !job.batch.offsets().all(|offset| attempts.sends(offset))
        {
            let thinned = off_io(|| job.batch.filtered(|offset| attempts.sends(offset)));
            self.thinned = Some(thinned);
        }
        let batch = self.thinned.as_ref().unwrap_or(&job.batch);
        let settings = insert_settings(&job.delivery, round, batch);
        self.sink
            .insert(&self.target, batch, &settings, self.server)
            .await
    }

    async fn is_refused(&self, job: &mut WriteJob, error: &InsertError) -> bool {
        let rows = job.rows();
        self.sink
            .is_refused(self.server, &mut job.trouble.suspicion, error, rows)
            .await
    }

    /// Waits before the next attempt; `Err` is how the job ends where there is none.
    async fn after_failure(
        &mut self,
        job: &mut WriteJob,
        error: InsertError,
    ) -> Result<(), Outcome> {
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

impl WriteJob {
    fn rows(&self) -> Rows {
        match self.delivery {
            Delivery::AsMember(_) => Rows::Unsplit,
            _ if self.batch.single_offset().is_some() => Rows::One,
            _ if self.is_half => Rows::Half,
            _ => Rows::Many,
        }
    }

    fn step(&self) -> Step {
        match &self.delivery {
            Delivery::ExactlyOnce { attempts, .. } => attempts.next(),
            Delivery::AtLeastOnce | Delivery::AsMember(_) => Step::Send(Round::FIRST),
        }
    }

    fn attempts(&mut self) -> &mut Attempts {
        match &mut self.delivery {
            Delivery::ExactlyOnce { attempts, .. } => attempts,
            Delivery::AtLeastOnce | Delivery::AsMember(_) => {
                unreachable!("only exactly-once looks and waits")
            }
        }
    }

    /// Which rows go out under which token, if there is one.
    fn tokens(&self) -> Option<&Attempts> {
        match &self.delivery {
            Delivery::ExactlyOnce { attempts, .. } => Some(attempts),
            Delivery::AtLeastOnce | Delivery::AsMember(_) => None,
        }
    }

    fn unknown(&mut self) {
        if let Delivery::ExactlyOnce { attempts, .. } = &mut self.delivery {
            attempts.unknown();
        }
    }

    fn lease_is_over(&self) -> bool {
        match &self.delivery {
            Delivery::ExactlyOnce { lease_until, .. } => BootTime::now() >= *lease_until,
            Delivery::AtLeastOnce | Delivery::AsMember(_) => false,
        }
    }
}
