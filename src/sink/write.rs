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
use super::refusals::{Judgement, Lone, Refusals, Rows, Suspicion, Verdict};
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
use crate::progress::insert::{Attempts, History, Missing, Round, Step};
use crate::progress::{Claim, Receipt};
use crate::source::{RecordFetcher, TopicPartition};

/// How often a range that fails behind its table is sent under its token: the view may just be being
/// replaced.
const VIEW_ATTEMPTS_MAX: u32 = 4;
/// After this a replica has kept or dropped a part that it could not finish: it checks after 300 s.
const UNFINISHED_MAX: Duration = Duration::from_secs(330);

/// How often rows that a look misses in a replicated table are looked for, and the wait between two looks.
const LOOKS: u32 = 4;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

const LOOK_AT_EVIDENCE_EVERY: Duration = Duration::from_millis(100);

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

impl SinkParts {
    /// When an insert that may have been sent until now can no longer be running.
    fn running_until(&self) -> BootTime {
        BootTime::now().after(self.insert_lease + self.insert_timeout)
    }
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
    /// No insert of the range that was sent earlier is running after this.
    running_until: Option<BootTime>,
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
    if job.tokens().is_some_and(Attempts::may_run) && job.trouble.running_until.is_none() {
        // What a predecessor sent.
        job.trouble.running_until = Some(sink.parts.running_until());
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
        let writer = Writer {
            sink,
            target: target.clone(),
            server: 0,
            backoff: Backoff::new(),
            thinned: None,
            pieces: vec![],
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
                Err(error) => {
                    self.board.failed(&error.to_string());
                    tracing::debug!(%error, "kafka does not answer");
                }
            }
            return;
        }
        match self.parts.client.ping().await {
            Ok(()) => self.board.answered(),
            Err(error) => {
                self.board.failed(&error.to_string());
                tracing::debug!(%error, "clickhouse does not answer");
            }
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

    /// Notes a row that was refused alone. `since`: when rows beside it were first refused.
    pub(crate) fn refused_alone(&self, table: &str, error: &InsertError, since: Instant) -> Lone {
        self.refusals
            .refused_alone(table, error, since, Instant::now())
    }

    /// Whether it is at fault, as far as it shows by now.
    ///
    /// # Errors
    /// The table takes no rows at all.
    pub(super) fn judge_lone(
        &self,
        table: &str,
        error: &InsertError,
        lone: Lone,
    ) -> Result<Verdict, Halt> {
        self.refusals.judge(table, error, lone, Instant::now())
    }

    /// Waits until it shows that the row is at fault.
    ///
    /// # Errors
    /// The table takes no rows at all.
    pub(crate) async fn is_at_fault(
        &self,
        table: &str,
        error: &InsertError,
        lone: Lone,
    ) -> Result<(), Halt> {
        while self.judge_lone(table, error, lone)? == Verdict::Open {
            tokio::time::sleep(LOOK_AT_EVIDENCE_EVERY).await;
        }
        Ok(())
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
        let retried = |error: &streamweir_kafka::SendError| {
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
            let reason = letter.reason.as_str();
            metrics.dead_letter(reason);
            let address = format!("{}:{}", letter.partition, letter.offset);
            pipeline.dead_letter(address, reason, &letter.detail);
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
        let retried = |error: &streamweir_kafka::SendError| {
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
    /// What is left to send of a batch that was too large, the next one last.
    pieces: Vec<SealedBatch>,
}

impl Writer<'_> {
    /// The job when its rows are acknowledged; else how it ends.
    async fn run(mut self, mut job: WriteJob) -> Result<WriteJob, Outcome> {
        loop {
            match job.step() {
                Step::Settled => return Ok(job),
                Step::Wait => {
                    self.wait(&mut job, "acknowledged but not in the table")
                        .await
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
                    // Before the lease is looked at: the server may be slow to say what it knows, and the turn long in
                    // coming.
                    if let Err(error) = self.sink.parts.client.prepare(self.server).await {
                        self.after_failure(&mut job, error).await?;
                        continue;
                    }
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
                            job = match self.unless_drifted(&mut job, error).await? {
                                Ok(error) => self.refused(job, error).await?,
                                Err(error) => {
                                    job.unknown(&error, self.sink);
                                    self.after_failure(&mut job, error).await?;
                                    job
                                }
                            };
                        }
                        Err(error) => {
                            job.unknown(&error, self.sink);
                            self.after_failure(&mut job, error).await?;
                        }
                    }
                }
                Step::Count | Step::Split(_) => {
                    unreachable!("a refused range is given back at once")
                }
            }
        }
    }

    /// Until no insert of the range that was sent earlier can be running.
    async fn wait(&self, job: &mut WriteJob, why: &str) {
        let until = job.trouble.running_until;
        let until = until.unwrap_or_else(|| self.sink.parts.running_until());
        let range = job.claim.range().to_string();
        let place = not_written(&job.partition, Some(&range));
        let why = format!("{why}: waiting until no earlier insert can be running");
        self.sink.parts.pipeline.stuck(&place, &why);
        tokio::time::sleep(until.since(BootTime::now())).await;
        job.attempts().waited();
    }

    /// Gives a refused job back to be split, once nothing of it can still arrive under its token; goes on with
    /// one whose rows are all in the table: those are no fault of theirs, and must not be written under
    /// another token.
    async fn refused(
        &mut self,
        mut job: WriteJob,
        error: InsertError,
    ) -> Result<WriteJob, Outcome> {
        if job.tokens().is_none() {
            return Err(Outcome::Refused(Box::new(job), error));
        }
        job.may_run(&error, self.sink);
        job.attempts().refused(error.may_run_on());
        loop {
            match job.step() {
                Step::Wait => self.wait(&mut job, "refused after a lost answer").await,
                Step::Count => match self.look(&job).await {
                    Ok(missing) => {
                        let (there, sent) = job.count(&missing);
                        job.attempts().counted(there, sent);
                        if there == sent {
                            let error = error.although_written(there);
                            self.after_failure(&mut job, error).await?;
                            return Ok(job);
                        }
                    }
                    Err(failed) => self.after_failure(&mut job, failed).await?,
                },
                _ => return Err(Outcome::Refused(Box::new(job), error)),
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
        match self
            .sink
            .drift(&error, &self.target, self.server, doubts)
            .await
        {
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
            // A balancer that takes its servers in turn would else lead every look to the same one.
            let syncs = 2 - look % 2;
            found.extend(self.offsets_there(job, syncs).await?);
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

    async fn offsets_there(&mut self, job: &WriteJob, syncs: u32) -> Result<Vec<i64>, InsertError> {
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
        let found = client.offsets_in(self.server, &target.sql, &job.partition, range);
        let found = found.await?;
        self.sink.board.answered();
        Ok(found)
    }

    async fn send(&mut self, job: &WriteJob, round: Round) -> Result<(), InsertError> {
        if let (Some(attempts), None) = (job.tokens(), &self.thinned)
            && !job.batch.offsets().all(|offset| attempts.sends(offset))
        {
            let thinned = off_io(|| job.batch.filtered(|offset| attempts.sends(offset)));
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
        self.sink
            .insert(&self.target, batch, &settings, self.server)
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

    fn unknown(&mut self, error: &InsertError, sink: &Sink) {
        self.may_run(error, sink);
        if let Delivery::ExactlyOnce { attempts, .. } = &mut self.delivery {
            attempts.unknown(error.may_run_on());
        }
    }

    /// Notes how long an insert that ended so may be running on.
    fn may_run(&mut self, error: &InsertError, sink: &Sink) {
        if error.may_run_on() {
            let until = sink.parts.running_until();
            let until = if error.is_unfinished() {
                until.max(BootTime::now().after(UNFINISHED_MAX))
            } else {
                until
            };
            self.trouble.running_until = self.trouble.running_until.max(Some(until));
        }
    }

    /// Of the rows that were sent last, how many are in the table, and how many they are.
    fn count(&self, missing: &Missing) -> (usize, usize) {
        let sends = |offset: &i64| self.tokens().is_none_or(|t| t.sends(*offset));
        let sent = || self.batch.offsets().filter(sends);
        let there = sent().filter(|offset| !missing.contains(*offset));
        (there.count(), sent().count())
    }

    /// What parts of a refused range begin with.
    pub(crate) fn parts_history(&self) -> History {
        match self.step() {
            Step::Split(history) => history,
            _ => History::Unsent,
        }
    }

    fn lease_is_over(&self) -> bool {
        match &self.delivery {
            Delivery::ExactlyOnce { lease_until, .. } => BootTime::now() >= *lease_until,
            Delivery::AtLeastOnce | Delivery::AsMember(_) => false,
        }
    }
}
