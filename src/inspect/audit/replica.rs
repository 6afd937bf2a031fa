//! Tables in which versions decide: the row of each key against the newest change in the log.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::changes::{Changes, Newest, Place, Verdict, short};
use super::letters::{LETTERS_CUT, LetterOffsets};
use super::report::{Counts, PartitionReport, Report, Wrong, address};
use super::scope::{BEGINS_ANYWHERE, Scope};
use crate::config::{Config, Kind, Pipeline};
use crate::inspect::log::{CUT_MEANWHILE, LogReader, Read};
use crate::inspect::progress::Progress;
use crate::inspect::{Failure, runtime};
use crate::pipeline::{Changed, Replayer};
use crate::progress::Range;
use crate::sink::{ClickHouseClient, InsertError, Target};
use crate::source::Record;

/// What is needed for every table.
struct Auditor<'a> {
    pipeline: &'a Arc<Pipeline>,
    runtime: tokio::runtime::Runtime,
    client: ClickHouseClient,
    replayer: Replayer,
    reader: LogReader,
    letters: &'a LetterOffsets,
    values: bool,
    bytes_max: usize,
    /// Nothing was left out of the log that was asked for.
    is_whole: bool,
}

pub(super) fn audit(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    scopes: &[Scope],
    letters: &LetterOffsets,
    (values, is_whole): (bool, bool),
    report: &mut Report,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let service = Arc::new(config.service.clone());
    let client =
        ClickHouseClient::new(&pipeline.clickhouse).map_err(|e| Failure::Refused(e.to_string()))?;
    let mut replayer = runtime.block_on(Replayer::new(&service, pipeline))?;
    let mut tables: BTreeMap<String, (Arc<Target>, Vec<&Scope>)> = BTreeMap::new();
    let mut without_table = vec![];
    for scope in scopes {
        let topic = &scope.partition.topic;
        match runtime.block_on(replayer.find_table(topic))? {
            Some(target) => {
                let table = tables.entry(target.label.clone());
                table.or_insert_with(|| (target, vec![])).1.push(scope);
            }
            None => without_table.push(scope),
        }
    }
    let mut auditor = Auditor {
        pipeline,
        runtime,
        client,
        replayer,
        reader: LogReader::new(&config.service, pipeline)?,
        letters,
        values,
        bytes_max: usize::try_from(config.service.memory_max_bytes / 3).unwrap_or(usize::MAX),
        is_whole,
    };
    for (target, scopes) in tables.into_values() {
        auditor.table(&target, &scopes, report)?;
    }
    let mut missing = BTreeSet::new();
    for scope in without_table {
        auditor.without_table(scope, &mut missing, report)?;
    }
    Ok(())
}

impl Auditor<'_> {
    /// Reads up to the first change that makes a row: its table is missing then. `missing`: the tables that are
    /// reported already.
    fn without_table(
        &mut self,
        scope: &Scope,
        missing: &mut BTreeSet<String>,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let partition = &scope.partition;
        let letters = self.letters.of(partition);
        let mut range = Range {
            from: scope.from,
            to: scope.to,
        };
        let (mut first, mut gone) = (None, 0);
        let replayer = &mut self.replayer;
        let mut each = |record: Record<'_>| {
            let offset = record.offset();
            let makes_none =
                scope.skipped.contains(&offset) || letters.binary_search(&offset).is_ok();
            if makes_none || !replayer.needs_table(partition, record) {
                return Ok(ControlFlow::Continue(()));
            }
            first = Some(offset);
            Ok(ControlFlow::Break(()))
        };
        while let cut @ Read::Cut(to) = self.reader.read_or_cut(partition, range, &mut each)? {
            gone += cut.gone_below(scope.to);
            range.from = to.to;
            report.note(CUT_MEANWHILE.to_owned());
        }
        let compared_to = first.unwrap_or(scope.to);
        report.partitions.push(PartitionReport {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            from: scope.from,
            to: scope.to,
            counts: Counts {
                uncommitted: scope.uncommitted,
                not_checkable: gone + (scope.to - compared_to).unsigned_abs(),
                ..Counts::default()
            },
        });
        let Some(offset) = first else {
            return Ok(());
        };
        let table = match &self.pipeline.kind {
            Kind::Cdc(cdc) => cdc.table_for(&partition.topic),
            _ => self.pipeline.table.as_str(),
        };
        let table = format!("{}.{table}", self.pipeline.clickhouse.database);
        report.note(format!(
            "topic {}: its table {table} is not there, and the log has rows for it: none is compared",
            partition.topic
        ));
        if scope.begins_anywhere {
            report.note(BEGINS_ANYWHERE.to_owned());
        } else if missing.insert(table.clone()) {
            report.counts.missing += 1;
            let mut entry = address(partition, offset);
            entry["table"] = Value::from(table);
            entry["key"] = Value::Null;
            report.list(Wrong::Missing, || entry);
        }
        Ok(())
    }

    /// Reads its part of the log once, and the table once, whatever fits into memory.
    fn table(
        &mut self,
        target: &Target,
        scopes: &[&Scope],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let rows = self.runtime.block_on(self.client.row_count(target));
        let rows = rows.map_err(|error| self.refused(target, &error))?;
        let records = scopes.iter().map(|s| (s.log.1 - s.from).unsigned_abs());
        // A record that changes its key is two changes.
        let keys_max = rows + records.sum::<u64>() * 2;
        let mut changes = Changes::new(self.bytes_max, keys_max);
        let partitions = self.read(scopes, &mut changes, report)?;
        report.partitions.extend(partitions);
        self.find_rows(target, rows, &mut changes)?;
        let begins_first = self.is_whole && scopes.iter().all(|scope| scope.log.0 == 0);
        let begins_anywhere = scopes.iter().any(|scope| scope.begins_anywhere);
        changes.judge(|key, verdict| {
            let (wrong, place) = match verdict {
                Verdict::Nothing => return Ok(()),
                Verdict::Equal | Verdict::Gone => {
                    report.counts.rows += 1;
                    return Ok(());
                }
                Verdict::Wrong(wrong, place) => (wrong, place),
            };
            let why_not = match wrong {
                Wrong::Extra if !begins_first => Some(None),
                Wrong::Missing if begins_anywhere => Some(Some(BEGINS_ANYWHERE)),
                Wrong::Missing | Wrong::Stale if self.letters.is_cut() => Some(Some(LETTERS_CUT)),
                _ => None,
            };
            if let Some(note) = why_not {
                report.counts.not_checkable += 1;
                note.into_iter()
                    .for_each(|note| report.note(note.to_owned()));
                return Ok(());
            }
            match wrong {
                Wrong::Stale => report.counts.stale += 1,
                Wrong::Altered => report.counts.altered += 1,
                Wrong::Missing => report.counts.missing += 1,
                _ => report.counts.extra += 1,
            }
            self.list(target, scopes, (wrong, key, place), report)
        })
    }

    /// Reads the changes of a table, those that are not committed yet among them.
    fn read(
        &mut self,
        scopes: &[&Scope],
        changes: &mut Changes,
        report: &mut Report,
    ) -> Result<Vec<PartitionReport>, Failure> {
        let total = scopes
            .iter()
            .map(|s| (s.log.1 - s.from).unsigned_abs())
            .sum();
        let mut progress = Progress::new("records", total);
        let mut partitions = vec![];
        for (number, scope) in (0u32..).zip(scopes) {
            let letters = self.letters.of(&scope.partition);
            let mut counts = Counts {
                uncommitted: scope.uncommitted,
                ..Counts::default()
            };
            let mut range = Range {
                from: scope.from,
                to: scope.log.1,
            };
            let (replayer, values) = (&mut self.replayer, self.values);
            let mut unknown = vec![];
            let mut each = |record: Record<'_>| {
                progress.add(1);
                let offset = record.offset();
                let is_committed = offset < scope.to;
                let is_letter = letters.binary_search(&offset).is_ok();
                counts.records += u64::from(is_committed);
                counts.dead_letters += u64::from(is_committed && is_letter);
                if scope.skipped.contains(&offset) {
                    counts.dropped += u64::from(is_committed);
                    return Ok(ControlFlow::Continue(()));
                }
                let rows = match replayer.read_change(&scope.partition, record) {
                    Changed::Rows(rows) => rows,
                    Changed::Nothing => {
                        counts.dropped += u64::from(is_committed && !is_letter);
                        return Ok(ControlFlow::Continue(()));
                    }
                    Changed::Unknown(why) => {
                        counts.not_checkable += 1;
                        changes.all_optional();
                        unknown.push(format!("{}:{offset}: {why}", scope.partition));
                        unknown.truncate(10);
                        return Ok(ControlFlow::Continue(()));
                    }
                };
                for change in (0..rows).filter_map(|row| replayer.change(row)) {
                    if !is_committed || is_letter {
                        changes.add_optional(change.key, change.version)?;
                        continue;
                    }
                    let digest = change.row.filter(|_| values);
                    let newest = Newest {
                        version: change.version,
                        is_deleted: change.is_deleted,
                        place: Place {
                            partition: number,
                            offset,
                        },
                        digest: digest.map(|row| short(Sha256::digest(row).into())),
                    };
                    changes.add(change.key, newest)?;
                }
                Ok(ControlFlow::Continue(()))
            };
            let mut gone = 0;
            while let cut @ Read::Cut(to) =
                self.reader
                    .read_or_cut(&scope.partition, range, &mut each)?
            {
                gone += cut.gone_below(scope.to);
                range.from = to.to;
                // Rows of keys that only those records have.
                self.is_whole = false;
                report.note(CUT_MEANWHILE.to_owned());
            }
            counts.not_checkable += gone;
            unknown.into_iter().for_each(|line| report.note(line));
            partitions.push(PartitionReport {
                topic: scope.partition.topic.to_string(),
                partition: scope.partition.partition,
                from: scope.from,
                to: scope.to,
                counts,
            });
        }
        Ok(partitions)
    }

    /// Reads every row of the table.
    fn find_rows(&self, target: &Target, rows: u64, changes: &mut Changes) -> Result<(), Failure> {
        let mut progress = Progress::new("rows", rows);
        let mut failed = None;
        let read = self.client.each_version(target, self.values, |key, row| {
            progress.add(1);
            match changes.find(key, row.into()) {
                Ok(()) => true,
                Err(failure) => {
                    failed = Some(failure);
                    false
                }
            }
        });
        let read = self.runtime.block_on(read);
        read.map_err(|error| self.refused(target, &error))?;
        failed.map_or(Ok(()), Err)
    }

    fn refused(&self, target: &Target, error: &InsertError) -> Failure {
        Failure::clickhouse(&self.pipeline.clickhouse.urls, &target.label, error)
    }

    fn list(
        &self,
        target: &Target,
        scopes: &[&Scope],
        (wrong, key, place): (Wrong, &[u8], Option<Place>),
        report: &mut Report,
    ) -> Result<(), Failure> {
        if report.list_of(wrong).len() >= super::report::LISTED_MAX {
            return Ok(());
        }
        let key = self.runtime.block_on(self.client.key_as_json(target, key));
        let key = key.map_err(|error| self.refused(target, &error))?;
        let number = |place: Place| usize::try_from(place.partition).unwrap_or(usize::MAX);
        let scope = place.and_then(|place| Some((scopes.get(number(place))?, place)));
        let mut entry = match scope {
            Some((scope, place)) => address(&scope.partition, place.offset),
            None => {
                json!({ "topic": &*scopes[0].partition.topic, "partition": null, "offset": null })
            }
        };
        entry["table"] = Value::from(target.label.clone());
        entry["key"] = key;
        report.list(wrong, || entry);
        Ok(())
    }
}
