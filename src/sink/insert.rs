//! One insert: its settings, its token, its sending, and the wait after one that failed.

use std::time::Instant;

use bytes::Bytes;

use super::altered::Drift;
use super::doubts::Doubts;
use super::errors::{InsertError, Remedy, VIEW_FAILED};
use super::job::{Delivery, Outcome};
use super::off_io::off_io;
use super::shared::{Sink, SinkParts};
use super::{Backoff, Target};
use crate::batch::SealedBatch;
use crate::crash::{Guarantee, is_broken};
use crate::observe::board::{Place, Undone};
use crate::progress::Range;
use crate::progress::insert::Round;
use crate::source::TopicPartition;

/// A statement that did not succeed.
pub(super) struct Failure<'f> {
    pub(super) target: &'f Target,
    pub(super) partition: &'f TopicPartition,
    /// Which records it is about.
    pub(super) place: &'f str,
    pub(super) error: &'f InsertError,
    /// Which server failed.
    pub(super) server: u32,
    pub(super) doubts: &'f mut Doubts,
}

impl Sink {
    /// Sends the rows of a batch and waits for the acknowledgement.
    pub(super) async fn insert(
        &self,
        target: &Target,
        batch: &SealedBatch,
        settings: &[(&'static str, String)],
        server: u32,
        (sql, body): (&str, Vec<Bytes>),
    ) -> Result<(), InsertError> {
        let SinkParts {
            client,
            metrics,
            pipeline,
            ..
        } = &self.parts;
        let started = Instant::now();
        let of_json = JSON_SETTINGS.map(|(name, value)| (name, value.to_owned()));
        let of_json = of_json.into_iter().filter(|_| target.plan.has_json());
        let settings: Vec<_> = settings.iter().cloned().chain(of_json).collect();
        let result = client.insert(server, sql, &settings, body).await;
        let took = started.elapsed();
        match &result {
            Ok(()) => {
                let bytes = batch.raw_bytes() as u64;
                metrics.insert(&target.label, "ok", None);
                metrics.insert_seconds.record(took.as_secs_f64());
                metrics.batch_rows.record(batch.row_count() as f64);
                metrics.batch_bytes.record(bytes as f64);
                pipeline.batch_written(&target.label, batch.row_count() as u64, bytes, took);
                self.board.answered();
                // One that was on its way when rows were first refused says nothing of now.
                self.refusals.taken(&target.label, started);
            }
            Err(error) => {
                metrics.insert(&target.label, "error", error.code);
                // A server that refuses is a server that answers.
                if error.code.is_some() {
                    self.board.answered();
                } else {
                    self.board.failed(&error.to_string());
                }
            }
        }
        result
    }

    /// How this server takes the rows of a batch: the statement, and its body. One block, unless the server
    /// would cast it to other types unseen, or a column is absent from some of the rows alone.
    pub(super) async fn form<'t>(
        &self,
        target: &'t Target,
        batch: &SealedBatch,
        server: u32,
        are_enums_known: bool,
    ) -> Result<(&'t str, Vec<Bytes>), InsertError> {
        let client = &self.parts.client;
        // The server does not compare the names of an Enum with those of a block.
        if are_enums_known
            && client.refuses_other_types(server).await?
            && let Some(block) = batch.block()
        {
            return Ok((&target.insert_sql, block));
        }
        let rows = off_io(|| batch.row_frames());
        match &target.unstated_sql {
            Some(sql) if !client.has_stated_defaults(server).await? => Ok((sql, rows)),
            _ => {
                let body = [target.head.clone()].into_iter().chain(rows);
                Ok((&target.rows_sql, body.collect()))
            }
        }
    }

    /// Waits before the next attempt; `Err` is how the job ends where there is none.
    pub(super) async fn wait_after(
        &self,
        failure: Failure<'_>,
        backoff: &mut Backoff,
    ) -> Result<(), Outcome> {
        let SinkParts {
            metrics, pipeline, ..
        } = &self.parts;
        let Failure {
            target,
            partition,
            place,
            error,
            server,
            doubts,
        } = failure;
        pipeline.error(&format!("{}: {place}: {error}", target.label));
        // Whatever was asked before the insert: nobody has answered.
        if error.code.is_none() {
            self.board.failed(&error.to_string());
        }
        match error.remedy {
            Remedy::Halt(reason) => {
                if self.halts(target, error, server, doubts).await? {
                    let halt = crate::sink::refused(reason, &target.label, error);
                    return Err(Outcome::Halted(halt));
                }
                metrics.retry("clickhouse", "replication");
            }
            Remedy::Retry(reason) => metrics.retry("clickhouse", reason),
            // Only an insert can refuse a row; a query that says so is tried again.
            Remedy::Split | Remedy::TooLarge | Remedy::Unclassified => {
                metrics.retry("clickhouse", "server")
            }
        }
        let wait = backoff.next_wait();
        let why = format!(
            "clickhouse does not take it: table {}: {error}",
            target.label
        );
        let range = place.rsplit(' ').next();
        pipeline.stuck(&not_written(partition, range), &why);
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

impl Sink {
    /// Whether an answer that halts is believed. One server may lack what the others have, or be behind.
    ///
    /// # Errors
    /// How the job ends where its table was altered.
    async fn halts(
        &self,
        target: &Target,
        error: &InsertError,
        server: u32,
        doubts: &mut Doubts,
    ) -> Result<bool, Outcome> {
        if error.remedy == Remedy::Halt(VIEW_FAILED) {
            return Ok(true);
        }
        let is_unanimous = doubts.is_unanimous(server, self.parts.client.servers());
        if error.is_about_columns() {
            match self.drift(error, target, server, doubts).await {
                Drift::Altered(outcome) => return Err(outcome),
                Drift::Unknown => return Ok(false),
                Drift::Not => {}
            }
        }
        Ok(is_unanimous)
    }
}

pub(super) fn not_written<'p>(partition: &'p TopicPartition, range: Option<&'p str>) -> Place<'p> {
    Place {
        range,
        ..Place::of(&partition.topic, partition.partition, Undone::NotWritten)
    }
}

/// The deduplication token of one range.
pub(crate) fn token(
    epoch: crate::progress::Epoch,
    table: &str,
    partition: &TopicPartition,
    range: Range,
) -> String {
    format!("{epoch}:{table}:{partition}:{range}")
}

/// The server compares names and types with those of the table, and drops no row and no column.
const FORMAT_SETTINGS: [(&str, &str); 10] = [
    ("input_format_native_allow_types_conversion", "0"),
    ("input_format_native_decode_types_in_binary_format", "0"),
    // NULL for a column that has none any more is refused.
    ("input_format_null_as_default", "0"),
    ("input_format_with_names_use_header", "1"),
    ("input_format_with_types_use_header", "1"),
    ("input_format_binary_decode_types_in_binary_format", "0"),
    ("input_format_skip_unknown_fields", "0"),
    ("input_format_defaults_for_omitted_fields", "1"),
    ("input_format_allow_errors_num", "0"),
    ("input_format_allow_errors_ratio", "0"),
];

/// A JSON column keeps the object as received: texts that look like times stay texts.
const JSON_SETTINGS: [(&str, &str); 3] = [
    ("input_format_binary_read_json_as_string", "1"),
    ("input_format_try_infer_dates", "0"),
    ("input_format_try_infer_datetimes", "0"),
];

/// Pinned so that a batch is one block, written once: `docs/adr/0002`.
pub(super) fn insert_settings(
    delivery: &Delivery,
    round: Round,
    batch: &SealedBatch,
) -> Vec<(&'static str, String)> {
    let rows = batch.row_count().max(1_048_576).to_string();
    let bytes = (batch.raw_bytes() * 4).max(256 << 20).to_string();
    let mut settings = vec![
        ("async_insert", "0".to_owned()),
        ("max_insert_block_size", rows.clone()),
        ("max_insert_block_size_bytes", "0".to_owned()),
        ("min_insert_block_size_rows", rows),
        ("min_insert_block_size_bytes", bytes),
        ("max_insert_threads", "1".to_owned()),
        ("input_format_parallel_parsing", "0".to_owned()),
        ("max_partitions_per_insert_block", "0".to_owned()),
        // Of a Distributed table: acknowledged when the shards have the rows.
        ("insert_distributed_sync", "1".to_owned()),
        // An insert that takes too long fails as a whole.
        ("timeout_overflow_mode", "throw".to_owned()),
    ];
    settings.extend(FORMAT_SETTINGS.map(|(name, value)| (name, value.to_owned())));
    let (is_on, token) = match delivery {
        Delivery::ExactlyOnce { token, .. } if !is_broken(Guarantee::Token) => {
            (true, format!("{token}{}", round.suffix()))
        }
        // Two batches may well hold the same rows; the server must not take them for one.
        _ => (false, String::new()),
    };
    let flag = u8::from(is_on).to_string();
    let deduplication = if is_on { "enable" } else { "disable" };
    settings.extend([
        ("insert_deduplicate", flag.clone()),
        // Overrides the one above where the server knows it (26.2 and later).
        ("deduplicate_insert", deduplication.to_owned()),
        ("deduplicate_blocks_in_dependent_materialized_views", flag),
        ("insert_deduplication_token", token),
    ]);
    if !is_on {
        // A row that has left its key stays beside its key's next one for who asks for its values.
        settings.push(("optimize_on_insert", "0".to_owned()));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::OpenBatch;
    use crate::clock::BootTime;
    use crate::progress::insert::{Attempts, History};

    fn settings(delivery: &Delivery) -> Vec<(&'static str, String)> {
        insert_settings(delivery, Round::FIRST, &OpenBatch::new().seal())
    }

    fn value<'s>(settings: &'s [(&'static str, String)], name: &str) -> Option<&'s str> {
        let mut found = settings.iter().filter(|(known, _)| *known == name);
        let value = found.next().map(|(_, value)| &**value);
        assert!(found.next().is_none(), "{name} is sent twice");
        value
    }

    #[test]
    fn deduplication_is_pinned_both_ways_under_its_old_and_its_new_name() {
        let exact = Delivery::ExactlyOnce {
            token: "e:t:0:1-2".to_owned(),
            attempts: Attempts::new(History::Unsent),
            lease_until: BootTime::now(),
        };
        let names = [
            "insert_deduplicate",
            "deduplicate_insert",
            "deduplicate_blocks_in_dependent_materialized_views",
            "insert_deduplication_token",
        ];
        for (delivery, expected) in [
            (&exact, ["1", "enable", "1", "e:t:0:1-2"]),
            (&Delivery::AtLeastOnce, ["0", "disable", "0", ""]),
        ] {
            let sent = settings(delivery);
            assert_eq!(names.map(|name| value(&sent, name)), expected.map(Some));
            assert_eq!(value(&sent, "async_insert"), Some("0"));
        }
    }
}
