//! The way of one record: its operator, a look, and the sink.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::{ReplayError, Replayed, Wanted};
use crate::batch::OpenBatch;
use crate::clock::BootTime;
use crate::config::OnUnavailable;
use crate::lane::{Accepted, Appends, LookupAccess, NotAccepted, Operator, RecordRows};
use crate::pipeline::{EnrichmentOperator, ReplicationOperator};
use crate::progress::insert::{Attempts, History};
use crate::progress::{Ledger, OwnershipId};
use crate::sink::{
    ClickHouseClient, Delivery, InsertError, Outcome, Sink, Trouble, WriteJob, write,
};
use crate::source::{Record, TopicPartition};

/// How long one record may take.
const WRITE_TIMEOUT: Duration = Duration::from_secs(180);
/// Times that something must be done before one record can be judged.
const TASKS_MAX: usize = 4;
/// What a record is refused as that could not be judged.
const NOT_READY: &str = "not_ready";

/// How a table tells that a record is written.
pub(crate) trait Traced: Operator {
    /// Whether the table has what was just accepted of this record, or something newer.
    fn is_written(
        &self,
        client: &ClickHouseClient,
        partition: &TopicPartition,
        record: Record<'_>,
        rows: usize,
    ) -> impl Future<Output = Result<bool, InsertError>>;
}

impl Traced for EnrichmentOperator {
    async fn is_written(
        &self,
        client: &ClickHouseClient,
        partition: &TopicPartition,
        record: Record<'_>,
        rows: usize,
    ) -> Result<bool, InsertError> {
        let target = Appends::target(self);
        let offset = [record.offset()];
        if target.has_index {
            let found = client.counts_among(target, partition, &offset).await?;
            return Ok(found.iter().any(|found| found.different >= rows));
        }
        let found = client.offsets_among(target, partition, &offset).await?;
        Ok(!found.is_empty())
    }
}

impl Traced for ReplicationOperator {
    async fn is_written(
        &self,
        client: &ClickHouseClient,
        _partition: &TopicPartition,
        record: Record<'_>,
        rows: usize,
    ) -> Result<bool, InsertError> {
        let version = self.version_of(record);
        for row in 0..rows {
            let newest = client
                .newest_of_key(self.target(row), self.key_of(row))
                .await?;
            if newest.is_none_or(|newest| newest.version < version) {
                return Ok(false);
            }
        }
        Ok(rows > 0)
    }
}

/// The operator and the sink of one pipeline, and what stands between them.
pub(crate) struct Way<O: Operator> {
    client: ClickHouseClient,
    pub(in crate::pipeline) operator: O,
    sink: Arc<Sink>,
    lookup: Option<LookupAccess>,
    born: Instant,
    /// The partition whose records are judged in their order.
    followed: Option<(TopicPartition, O::Partition)>,
}

impl<O: Traced> Way<O> {
    pub(super) fn new(
        client: ClickHouseClient,
        operator: O,
        sink: Arc<Sink>,
        lookup: Option<LookupAccess>,
    ) -> Self {
        Way {
            client,
            operator,
            sink,
            lookup,
            born: Instant::now(),
            followed: None,
        }
    }

    pub(super) async fn replay(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
        wanted: Wanted,
    ) -> Result<Replayed, ReplayError> {
        let replayed = self.replay_once(partition, record, wanted).await;
        self.operator.clear(self.now_ms());
        replayed
    }

    async fn replay_once(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
        wanted: Wanted,
    ) -> Result<Replayed, ReplayError> {
        for _ in 0..TASKS_MAX {
            // What it would be in the middle of its session nobody can know any more: it is one alone.
            let mut state = self.operator.begin(partition);
            let rows = match self.accept(&mut state, partition, record, wanted).await? {
                Ok(rows) => rows,
                Err(replayed) => return Ok(replayed),
            };
            let refused = self.operator.judge(&mut state);
            if let Some((_, refusal)) = refused.into_iter().next() {
                return Ok(refused_as(
                    refusal.reject.reason.as_str(),
                    &refusal.reject.detail,
                ));
            }
            if self
                .operator
                .is_written(&self.client, partition, record, rows)
                .await?
            {
                return Ok(Replayed::AlreadyWritten);
            }
            if wanted == Wanted::Judgement {
                return Ok(Replayed::Written);
            }
            self.look_up().await?;
            match self.write(partition, record, rows).await? {
                Some(replayed) => return Ok(replayed),
                // The table was altered: the row is made for it as it is.
                None => self.operator.clear(self.now_ms()),
            }
        }
        Err(ReplayError::Refused(format!(
            "{partition}:{}: the table is altered again and again",
            record.offset()
        )))
    }

    /// The number of rows, or what the record comes to without any.
    pub(in crate::pipeline) async fn accept(
        &mut self,
        state: &mut O::Partition,
        partition: &TopicPartition,
        record: Record<'_>,
        wanted: Wanted,
    ) -> Result<Result<usize, Replayed>, ReplayError> {
        if wanted == Wanted::Judgement
            && let Some(versions) = self.operator.versions()
        {
            // So that nothing needs to be made.
            let _ = versions.find_table(&partition.topic).await;
        }
        for _ in 0..TASKS_MAX {
            match self.operator.accept(state, record) {
                Ok(Accepted::Rows(rows)) => return Ok(Ok(rows)),
                Ok(Accepted::Dropped(reason)) => return Ok(Err(Replayed::Dropped(reason))),
                Err(NotAccepted::Refused(refusal)) => {
                    let reject = refusal.reject;
                    return Ok(Err(refused_as(reject.reason.as_str(), &reject.detail)));
                }
                Err(NotAccepted::Halted(halt)) => {
                    return Ok(Err(refused_as(halt.reason, &halt.advice)));
                }
                Err(NotAccepted::Later(_)) if wanted == Wanted::Judgement => {
                    return Ok(Err(Replayed::Written));
                }
                Err(NotAccepted::Later(first)) => {
                    let done = tokio::time::timeout(WRITE_TIMEOUT, first.task).await;
                    let Ok(done) = done else {
                        return Err(ReplayError::Unreachable(format!(
                            "{} does not end",
                            first.what
                        )));
                    };
                    if let Err(halt) = done {
                        return Ok(Err(refused_as(halt.reason, &halt.advice)));
                    }
                }
            }
        }
        Ok(Err(refused_as(
            NOT_READY,
            "the table is not ready after several attempts",
        )))
    }

    /// Whether a rule drops a record; what it takes to read the record is had first.
    pub(super) async fn drops(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
        wanted: Wanted,
    ) -> Result<bool, ReplayError> {
        let mut state = self.operator.begin(partition);
        let accepted = self.accept(&mut state, partition, record, wanted).await;
        self.operator.judge(&mut state);
        self.operator.clear(self.now_ms());
        dropped(partition, record, accepted)
    }

    /// The same by what was read of the partition so far: the records come in their order.
    pub(super) async fn drops_in_order(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
    ) -> Result<bool, ReplayError> {
        let followed = self.followed.take().filter(|(of, _)| of == partition);
        let mut state = match followed {
            Some((_, state)) => state,
            None => self.operator.begin(partition),
        };
        let accepted = self
            .accept(&mut state, partition, record, Wanted::Row)
            .await;
        self.operator.judge(&mut state);
        self.operator.clear(self.now_ms());
        self.followed = Some((partition.clone(), state));
        dropped(partition, record, accepted)
    }

    async fn look_up(&mut self) -> Result<(), ReplayError> {
        let now_ms = self.now_ms();
        let (Some(access), Some(part)) = (&self.lookup, self.operator.lookups()) else {
            return Ok(());
        };
        let keys = part.lookup_keys(now_ms);
        if keys.is_empty() {
            return Ok(());
        }
        match access.reader.fetch(&keys).await {
            Ok(found) => part.apply_lookup(found, now_ms),
            Err(_) if access.on_unavailable == OnUnavailable::UseDefaults => part.apply_defaults(),
            Err(error) => {
                return Err(ReplayError::Unreachable(format!(
                    "redis: {error} (redis.url)"
                )));
            }
        }
        Ok(())
    }

    /// `None`: the table was altered.
    async fn write(
        &mut self,
        partition: &TopicPartition,
        record: Record<'_>,
        rows: usize,
    ) -> Result<Option<Replayed>, ReplayError> {
        let offset = record.offset();
        let mut batch = OpenBatch::new();
        let Some(made) = self.operator.rows().filter(|_| rows > 0) else {
            return Ok(Some(Replayed::Dropped("no_row")));
        };
        for row in 0..rows {
            made.push(row, offset, &mut batch);
        }
        let target = made.target(0).clone();
        batch.note_arrival(record.timestamp_ms(), rows);
        let batch = batch.seal();
        let (settlements, _settled) = channel();
        let mut ledger = Ledger::new(OwnershipId(0), offset, settlements);
        let job = WriteJob {
            claim: ledger.seal(offset + 1),
            partition: partition.clone(),
            batch,
            delivery: self.delivery(&target.label, target.has_tokens, partition, offset),
            is_half: false,
            trouble: Trouble::default(),
        };
        let written = tokio::time::timeout(WRITE_TIMEOUT, write(job, self.sink.clone())).await;
        let Ok(outcome) = written else {
            return Err(ReplayError::Unreachable(format!(
                "clickhouse does not take {partition}:{offset} within {} s (clickhouse.url)",
                WRITE_TIMEOUT.as_secs()
            )));
        };
        match outcome {
            Outcome::Written { dead_letters: 0 } => Ok(Some(Replayed::Written)),
            Outcome::Written { .. } => Ok(Some(refused_as(
                "unavailable_value",
                "a value that the record left out cannot be recovered",
            ))),
            Outcome::Refused(_, error) => Ok(Some(refused_as("rejected", &error.to_string()))),
            Outcome::Renew(_) => Err(ReplayError::Unreachable(format!(
                "clickhouse does not take {partition}:{offset} in time (clickhouse.url)"
            ))),
            Outcome::Halted(halt) => Err(halt.into()),
            Outcome::Altered(table) => {
                if let Some(rows) = self.operator.rows() {
                    rows.altered(&table);
                }
                Ok(None)
            }
        }
    }

    /// The token is the same whoever replays the record, so that the server stores it once.
    fn delivery(
        &self,
        table: &str,
        has_tokens: bool,
        partition: &TopicPartition,
        offset: i64,
    ) -> Delivery {
        if self.operator.appends().is_none() {
            return Delivery::AtLeastOnce;
        }
        let attempts = Attempts::new(History::MaybeWritten);
        Delivery::ExactlyOnce {
            token: format!("replay:{table}:{partition}:{offset}"),
            attempts: if has_tokens {
                attempts
            } else {
                attempts.without_tokens()
            },
            lease_until: BootTime::now().after(WRITE_TIMEOUT * 2),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Whether a rule has dropped the record.
fn dropped(
    partition: &TopicPartition,
    record: Record<'_>,
    accepted: Result<Result<usize, Replayed>, ReplayError>,
) -> Result<bool, ReplayError> {
    match accepted? {
        Err(Replayed::Refused { reason, detail }) if is_unread(&reason) => {
            let record = format!("{partition}:{}", record.offset());
            Err(ReplayError::Unreachable(format!("{record}: {detail}")))
        }
        accepted => Ok(matches!(accepted, Err(Replayed::Dropped(_)))),
    }
}

/// Whether nothing is known of a record that was refused so.
pub(in crate::pipeline) fn is_unread(reason: &str) -> bool {
    [NOT_READY, "schema_registry"].contains(&reason)
}

fn refused_as(reason: &str, detail: &str) -> Replayed {
    Replayed::Refused {
        reason: reason.to_owned(),
        detail: detail.to_owned(),
    }
}
