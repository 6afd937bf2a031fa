//! What all writes of one pipeline share: clients, limits, and what is known of tables and rows.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::clickhouse::ClickHouseClient;
use super::errors::InsertError;
use super::moved::{MovedRows, MovedTable};
use super::permits::Permits;
use super::refusals::{Judgement, Lone, Refusals, Rows, Suspicion, Verdict};
use super::{DeadLetter, DeadLetterProducer, OutputProducer, Stage, Target};
use crate::clock::BootTime;
use crate::config::Pipeline;
use crate::decode::Reason;
use crate::halt::Halt;
use crate::observe::board::{PipelineBoard, Place, SinkBoard};
use crate::observe::metrics::PipelineMetrics;
use crate::source::{RecordFetcher, TopicPartition};
use crate::target::TableColumns;

/// How often it is looked whether rows beside a refused one were accepted.
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
    /// `None`: whoever writes tells of what nobody takes, and nothing is sent to Kafka.
    pub(crate) dead_letters: Option<Arc<DeadLetterProducer>>,
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
    /// So long after its naming commit an insert may be running.
    pub(crate) insert_span: Duration,
}

impl SinkParts {
    /// When an insert that may have been sent until now can no longer be running.
    pub(super) fn running_until(&self) -> BootTime {
        BootTime::now().after(self.insert_span)
    }
}

/// Whoever makes the rows of a table, and can make them for other columns.
pub(crate) trait RowMaker: std::fmt::Debug + Send + Sync {
    /// From now on rows are made for these columns.
    ///
    /// # Errors
    /// That cannot be.
    fn take(&self, columns: TableColumns) -> Result<(), Halt>;
}

/// The table that was last found to have the columns that rows are made for, and when that look began. One
/// look serves every job that waits for it.
pub(super) type ColumnsSeen = tokio::sync::Mutex<Option<(Instant, Arc<Target>)>>;

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
    pub(super) fn only_output(&self) -> Option<&OutputProducer> {
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

    /// A partition of this topic is read from now on.
    pub(crate) fn note_topic(&self, topic: &Arc<str>, id: &str) {
        if let Some(dead_letters) = &self.parts.dead_letters {
            dead_letters.note_topic(topic, id);
        }
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
        let Some(dead_letters) = dead_letters else {
            return Ok(());
        };
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
