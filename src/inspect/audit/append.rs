//! Tables that rows are appended to: every offset is exactly one thing.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::letters::{LETTERS_CUT, LetterOffsets};
use super::report::{Counts, PartitionReport, Report, Wrong, address};
use super::rows::{Block, OtherRows, SeveralRows, Unknown};
use super::scope::Scope;
use super::values::Values;
use crate::config::{Config, Kind, OnDuplicate, Pipeline};
use crate::inspect::dead_letters::traced_table;
use crate::inspect::log::{CUT_MEANWHILE, LogReader, Read};
use crate::inspect::progress::Progress;
use crate::inspect::{Failure, runtime};
use crate::pipeline::Replayer;
use crate::progress::Range;
use crate::sink::{ClickHouseClient, Target};

/// Offsets that are compared at a time: some megabytes of them.
const BLOCK: i64 = 500_000;

/// The note where a record has rows, and nobody knows whether all.
const NO_ROWS_TODAY: &str = "records have rows, and make none by the configuration of today: whether all of their rows \
     are there cannot be told";

/// The note where a duplicate may have been dropped for a record that retention has deleted.
const EARLIER_ONES_CUT: &str = "the log does not begin at its first record any more: what has no row within [pipeline.dedup] \
     within of its beginning, by Kafka's time, may be a duplicate of a record that retention deleted";

/// The note where values were to be compared: they are by record, and these make several rows.
const VALUES_NOT_COMPARED: &str =
    "values are not compared: with explode a record makes several rows";

pub(super) fn audit(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    scopes: &[Scope],
    letters: &LetterOffsets,
    compares_values: bool,
    report: &mut Report,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let found = runtime.block_on(traced_table(pipeline))?;
    let (client, target) = found.ok_or_else(|| {
        Failure::Refused(format!(
            "table {}.{} is not there, or lacks the columns with topic, partition and offset of each row's record: nobody can \
             tell which records it has",
            pipeline.clickhouse.database, pipeline.table
        ))
    })?;
    if compares_values && target.has_index {
        report.note(VALUES_NOT_COMPARED.to_owned());
    }
    let compares_values = compares_values && !target.has_index;
    let service = Arc::new(config.service.clone());
    let mut rules = runtime.block_on(Replayer::new(&service, pipeline))?;
    let mut reader = LogReader::new(&config.service, pipeline)?;
    let mut values = Values::new(pipeline, &client, &target, &rules);
    let total = scopes.iter().map(|s| (s.to - s.from).unsigned_abs()).sum();
    let mut progress = Progress::new("records", total);
    let drops_duplicates = drops_duplicates(pipeline);
    for scope in scopes {
        let offsets = letters.of(&scope.partition);
        let ask = |range| runtime.block_on(rows(&client, &target, pipeline, scope, range));
        let from = match scope.begins_anywhere {
            true => first_trace(&runtime, &client, &target, pipeline, scope, offsets)?,
            false => scope.from,
        };
        let reach_ms = drops_duplicates.unwrap_or_default();
        let mut unknown = Unknown::new(reach_ms, scope.log.0 > 0);
        let mut counts = Counts {
            uncommitted: scope.uncommitted,
            ..Counts::default()
        };
        values.begin();
        if drops_duplicates.is_some() {
            // What was seen before decides about what is compared.
            let before = Range {
                from: scope.log.0,
                to: from.max(scope.log.0),
            };
            let read = reader.read_or_cut(&scope.partition, before, |record| {
                unknown.has(record.timestamp_ms());
                if !scope.skipped.contains(&record.offset()) {
                    runtime.block_on(rules.drops_in_order(&scope.partition, record))?;
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if matches!(read, Read::Cut(_)) {
                unknown.cut();
            }
        }
        let mut start = from;
        while start < scope.to {
            let range = Range {
                from: start,
                to: (start + BLOCK).min(scope.to),
            };
            let several = match target.has_index {
                true => {
                    Some(runtime.block_on(several_rows(&client, &target, pipeline, scope, range))?)
                }
                false => None,
            };
            let rows = match &several {
                Some(several) => several.offsets.clone(),
                None => ask(range)?,
            };
            let mut block = Block::new(range.from, range.to, rows, offsets);
            block.excuses(letters.is_cut());
            let mut is_unknown = false;
            let read = reader.read_or_cut(&scope.partition, range, |record| {
                progress.add(1);
                let offset = record.offset();
                if let Some(found) = several.as_ref().and_then(|several| several.of(offset)) {
                    let made = runtime.block_on(rules.row_count(&scope.partition, record))?;
                    if let Some(other) = OtherRows::of(found, made) {
                        is_unknown |= other == OtherRows::Unknown;
                        block.other_rows(offset, other);
                        return Ok(ControlFlow::Continue(()));
                    }
                }
                let is_skipped = scope.skipped.contains(&offset);
                let mut is_duplicate = false;
                if drops_duplicates.is_some() && !is_skipped {
                    block.may_repeat(unknown.has(record.timestamp_ms()));
                    let drops = rules.drops_in_order(&scope.partition, record);
                    is_duplicate = runtime.block_on(drops)?;
                }
                let mut unread = None;
                block.record(offset, || {
                    let is_dropped = match is_skipped || is_duplicate {
                        true => Ok(true),
                        false => runtime.block_on(rules.drops(&scope.partition, record)),
                    };
                    is_dropped.unwrap_or_else(|error| {
                        unread = Some(error);
                        false
                    })
                });
                if let Some(error) = unread {
                    return Err(error.into());
                }
                if compares_values {
                    let to = scope.to;
                    let other =
                        values.difference(&runtime, &mut rules, &scope.partition, record, to)?;
                    if let Some(entry) = other {
                        counts.altered += 1;
                        report.list(Wrong::Altered, || entry);
                    }
                }
                Ok(ControlFlow::Continue(()))
            })?;
            if let Read::Cut(gone) = read {
                // The rest of the block is compared alone.
                counts.not_checkable += (gone.to - start).unsigned_abs();
                report.note(CUT_MEANWHILE.to_owned());
                unknown.cut();
                start = gone.to;
                continue;
            }
            if block.excused() > 0 {
                report.note(LETTERS_CUT.to_owned());
            }
            if block.repeats() > 0 {
                report.note(EARLIER_ONES_CUT.to_owned());
            }
            if is_unknown {
                report.note(NO_ROWS_TODAY.to_owned());
            }
            let (found, wrong) = block.done();
            counts.add(&found);
            for (wrong, offset) in wrong {
                report.list(wrong, || address(&scope.partition, offset));
            }
            start = range.to;
        }
        report.partitions.push(PartitionReport {
            topic: scope.partition.topic.to_string(),
            partition: scope.partition.partition,
            from,
            to: scope.to,
            counts,
        });
    }
    Ok(())
}

/// How far before a record those lie, in milliseconds, for which it may make no row; none: it makes one by itself.
fn drops_duplicates(pipeline: &Pipeline) -> Option<i64> {
    let Kind::Enrichment(config) = &pipeline.kind else {
        return None;
    };
    let dedup = config.dedup.as_ref()?;
    let reach_ms = i64::try_from(pipeline.duplicates_span()?.as_millis()).unwrap_or(i64::MAX);
    (dedup.on_duplicate == OnDuplicate::Drop).then_some(reach_ms)
}

async fn rows(
    client: &ClickHouseClient,
    target: &Target,
    pipeline: &Pipeline,
    scope: &Scope,
    range: Range,
) -> Result<Vec<i64>, Failure> {
    let found = client.all_rows(target, &scope.partition, range).await;
    found.map_err(|e| Failure::clickhouse(&pipeline.clickhouse.urls, &target.label, &e))
}

async fn several_rows(
    client: &ClickHouseClient,
    target: &Target,
    pipeline: &Pipeline,
    scope: &Scope,
    range: Range,
) -> Result<SeveralRows, Failure> {
    let found = client.counts_in(target, &scope.partition, range).await;
    let found =
        found.map_err(|e| Failure::clickhouse(&pipeline.clickhouse.urls, &target.label, &e))?;
    Ok(SeveralRows::new(&found))
}

/// Where a pipeline that began behind the log's beginning has left its first trace.
fn first_trace(
    runtime: &tokio::runtime::Runtime,
    client: &ClickHouseClient,
    target: &Target,
    pipeline: &Pipeline,
    scope: &Scope,
    letters: &[i64],
) -> Result<i64, Failure> {
    let asked = client.lowest_offset(target, &scope.partition, scope.from);
    let row = runtime.block_on(asked);
    let row = row.map_err(|e| Failure::clickhouse(&pipeline.clickhouse.urls, &target.label, &e))?;
    let letter = letters.first().copied();
    let first = row.into_iter().chain(letter).min();
    Ok(first.unwrap_or(scope.to).clamp(scope.from, scope.to))
}
