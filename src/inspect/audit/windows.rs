//! Windows that are final, computed again from the log and held against their rows.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::report::{Counts, LISTED_MAX, LeftOut, PartitionReport, Report};
use super::scope::{BEGINS_ANYWHERE, Scope};
use crate::config::{Aggregation, Config, Pipeline, Window};
use crate::inspect::log::{CUT_MEANWHILE, LogReader, Read};
use crate::inspect::progress::Progress;
use crate::inspect::{Failure, runtime};
use crate::pipeline::WindowsAgain;
use crate::progress::{FirstRead, Frontier, Range};
use crate::sink::{ClickHouseClient, InsertError, TableInfo, Target, quote_name, quote_text};

/// Records of one partition that are read before those of the next.
const TURN: i64 = 20_000;
/// Columns that differ between two emissions of one window.
const NOT_COMPARED: [&str; 3] = ["processed_at", "version", "is_final"];

/// What is needed to compare one set of windows.
struct Auditor<'a> {
    pipeline: &'a Arc<Pipeline>,
    config: &'a Aggregation,
    runtime: tokio::runtime::Runtime,
    client: ClickHouseClient,
    target: Target,
    info: TableInfo,
    reader: LogReader,
    /// Where the pipeline began to read is not known.
    begins_anywhere: bool,
    /// Where windows begin, epoch milliseconds, of which the log has only a part; a session with its group.
    left_out: BTreeSet<(i64, String)>,
}

pub(super) fn audit(
    config: &Config,
    pipeline: &Arc<Pipeline>,
    aggregation: &Aggregation,
    scopes: &[Scope],
    report: &mut Report,
) -> Result<(), Failure> {
    let runtime = runtime()?;
    let (database, table) = (&pipeline.clickhouse.database, &pipeline.table);
    if table.is_empty() {
        return Err(Failure::Refused(format!(
            "pipeline {} writes to a topic alone: only windows of a table are audited",
            pipeline.name
        )));
    }
    let client =
        ClickHouseClient::new(&pipeline.clickhouse).map_err(|e| Failure::Refused(e.to_string()))?;
    let label = format!("{database}.{table}");
    let info = runtime.block_on(client.table_info(database, table));
    let info = info.map_err(|e| Failure::clickhouse(&pipeline.clickhouse.urls, &label, &e))?;
    let info = info.ok_or_else(|| Failure::Refused(format!("table {label} does not exist")))?;
    let target = Target {
        sql: format!("{}.{}", quote_name(database), quote_name(table)),
        label,
        replicated: info.is_replicated(),
        ..Target::nowhere()
    };
    let mut auditor = Auditor {
        pipeline,
        config: aggregation,
        runtime,
        client,
        target,
        info,
        reader: LogReader::new(&config.service, pipeline)?,
        begins_anywhere: scopes.iter().any(|scope| scope.begins_anywhere),
        left_out: BTreeSet::new(),
    };
    if aggregation.partitioned_by.is_some() {
        for scope in scopes {
            auditor.together(std::slice::from_ref(scope), scopes.len(), report)?;
        }
    } else {
        auditor.together(scopes, scopes.len(), report)?;
    }
    report.windows_left_out = auditor.left_out();
    Ok(())
}

/// Windows that begin no later lack records of before the first one that was read, as far as commits say; none of
/// that is in the table, or it is not final.
fn cut_to_ms(config: &Aggregation, scopes: &[Scope]) -> Option<i64> {
    let of_scope = |scope: &Scope| match scope.metadata.as_ref()?.frontier? {
        Frontier::Windows(windows) => windows.first_read,
        Frontier::Join(_) => None,
    };
    let first_ms = scopes.iter().filter_map(|scope| match of_scope(scope)? {
        FirstRead::At(time_ms) => Some(time_ms),
        FirstRead::Awaited => None,
    });
    let first_ms = first_ms.max()?;
    Some(match &config.window {
        Window::Session { gap } => first_ms.saturating_add(ms(*gap)),
        _ => first_ms.saturating_sub(1),
    })
}

impl Auditor<'_> {
    fn left_out(&self) -> Option<LeftOut> {
        let time = |ms: i64| {
            jiff::Timestamp::from_millisecond(ms).map_or_else(|_| ms.to_string(), |t| t.to_string())
        };
        let (first, last) = (self.left_out.first()?, self.left_out.last()?);
        Some(LeftOut {
            windows: self.left_out.len() as u64,
            first: time(first.0),
            last: time(last.0),
        })
    }

    fn note_left_out(&mut self, start_ms: i64, row: &Map<String, Value>) {
        let group = match self.config.window {
            Window::Session { .. } => {
                let group = self.config.group.iter();
                group.map(|field| row[&field.name].to_string()).collect()
            }
            _ => String::new(),
        };
        self.left_out.insert((start_ms, group));
    }

    /// Compares the windows of partitions that make rows together.
    fn together(
        &mut self,
        scopes: &[Scope],
        of: usize,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let mut closed_through = None::<i64>;
        let mut spans = vec![];
        for scope in scopes {
            let frontier = match scope.metadata.as_ref().and_then(|m| m.frontier) {
                Some(Frontier::Windows(frontier)) => Some(frontier),
                _ => None,
            };
            let through = frontier.and_then(|f| f.closed_through_ms);
            let read_to = frontier.map_or(scope.from, |f| f.read_to.clamp(scope.from, scope.log.1));
            closed_through = match (closed_through, through) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            spans.push((scope.partition.clone(), scope.from, read_to));
        }
        let mut counts = vec![0u64; scopes.len()];
        if let Some(closed_through) = closed_through {
            self.compare(scopes, &spans, of, closed_through, &mut counts, report)?;
        }
        for ((scope, span), records) in scopes.iter().zip(&spans).zip(counts) {
            report.partitions.push(PartitionReport {
                topic: scope.partition.topic.to_string(),
                partition: scope.partition.partition,
                from: span.1,
                to: span.2,
                counts: Counts {
                    records,
                    uncommitted: scope.uncommitted,
                    ..Counts::default()
                },
            });
        }
        Ok(())
    }

    fn compare(
        &mut self,
        scopes: &[Scope],
        spans: &[(crate::source::TopicPartition, i64, i64)],
        of: usize,
        closed_through: i64,
        counts: &mut [u64],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let refused = |halt: crate::halt::Halt| Failure::Refused(halt.advice);
        let again = WindowsAgain::new(self.pipeline, self.config, &self.info, spans, of);
        let mut again = again.map_err(refused)?;
        let total = spans
            .iter()
            .map(|span| (span.2 - span.1).unsigned_abs())
            .sum();
        let mut progress = Progress::new("records", total);
        let mut next: Vec<i64> = spans.iter().map(|span| span.1).collect();
        // Windows of before are of records that the log does not have any more.
        let cut_to_ms = cut_to_ms(self.config, scopes);
        let mut known_from = cut_to_ms.unwrap_or(i64::MIN);
        let reach_ms = reach_ms(self.config);
        let begins = scopes.iter().zip(spans);
        let mut is_cut: Vec<bool> = begins
            .map(|(scope, span)| scope.log.0 > 0 || span.1 > scope.log.0)
            .collect();
        while next.iter().zip(spans).any(|(next, span)| *next < span.2) {
            for (number, (partition, _, to)) in spans.iter().enumerate() {
                let range = Range {
                    from: next[number],
                    to: (next[number] + TURN).min(*to),
                };
                let mut halted = None;
                let read = self.reader.read_or_cut(partition, range, |record| {
                    progress.add(1);
                    counts[number] += 1;
                    if std::mem::take(&mut is_cut[number]) {
                        let from_ms = record.timestamp_ms().saturating_add(reach_ms);
                        known_from = known_from.max(from_ms);
                    }
                    if scopes[number].skipped.contains(&record.offset()) {
                        return Ok(ControlFlow::Continue(()));
                    }
                    match again.add(number, record) {
                        Ok(()) => Ok(ControlFlow::Continue(())),
                        Err(halt) => {
                            halted = Some(halt);
                            Ok(ControlFlow::Break(()))
                        }
                    }
                })?;
                if let Some(halt) = halted {
                    return Err(refused(halt));
                }
                next[number] = match read {
                    Read::Cut(gone) => {
                        is_cut[number] = true;
                        if gone.to >= *to {
                            // No record tells when they were written.
                            known_from = i64::MAX;
                        }
                        report.counts.not_checkable += read.gone_below(*to);
                        report.note(CUT_MEANWHILE.to_owned());
                        gone.to
                    }
                    _ => range.to.max(next[number]),
                };
            }
            self.hold(
                &mut again,
                false,
                (known_from, cut_to_ms, closed_through),
                report,
            )?;
        }
        self.hold(
            &mut again,
            true,
            (known_from, cut_to_ms, closed_through),
            report,
        )
    }

    /// Holds the rows that are due against the table's.
    fn hold(
        &mut self,
        again: &mut WindowsAgain,
        all: bool,
        (known_from, cut_to_ms, closed_through): (i64, Option<i64>, i64),
        report: &mut Report,
    ) -> Result<(), Failure> {
        loop {
            let rows = again
                .rows(all)
                .map_err(|halt| Failure::Refused(halt.advice))?;
            if rows.is_empty() {
                return Ok(());
            }
            let sql = self.question(again.names(), &rows, all, closed_through);
            let asked = self.client.read_in_sync(&self.target, &sql, "JSONEachRow");
            let refused = |e: InsertError| {
                Failure::clickhouse(&self.pipeline.clickhouse.urls, &self.target.label, &e)
            };
            let answer = self.runtime.block_on(asked).map_err(refused)?;
            for line in answer
                .split(|byte| *byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                let row: Map<String, Value> = serde_json::from_slice(line).map_err(|error| {
                    Failure::Refused(format!("clickhouse answers what cannot be read: {error}"))
                })?;
                let start_ms = number(&row, "__start_ms");
                if Some(start_ms) <= cut_to_ms {
                    self.note_left_out(start_ms, &row);
                }
                self.count(&row, known_from, report);
            }
        }
    }

    fn count(&self, row: &Map<String, Value>, known_from: i64, report: &mut Report) {
        if number(row, "__start_ms") <= known_from {
            report.counts.not_checkable += 1;
            report.note("the log does not reach back to the beginning of every window".to_owned());
            return;
        }
        if number(row, "__equal") == 1 {
            report.counts.rows += 1;
            return;
        }
        let is_missing = number(row, "__there") == 0;
        if is_missing && self.begins_anywhere {
            report.counts.not_checkable += 1;
            report.note(BEGINS_ANYWHERE.to_owned());
            return;
        }
        let (count, list) = match is_missing {
            true => (&mut report.counts.missing, &mut report.missing),
            false => (&mut report.counts.differs, &mut report.differs),
        };
        *count += 1;
        if list.len() < LISTED_MAX {
            let group = self.config.group.iter();
            let group: Map<String, Value> = group
                .map(|f| (f.name.clone(), row[&f.name].clone()))
                .collect();
            list.push(json!({ "window_start": row["window_start"], "group": group }));
        }
    }

    /// Of each window of these rows whether the table has the same.
    fn question(&self, names: &[String], rows: &[u8], all: bool, closed_through: i64) -> String {
        let group = self.config.group.iter().map(|field| field.name.as_str());
        let key: Vec<&str> = ["window_start"].into_iter().chain(group).collect();
        let keys = key
            .iter()
            .map(|name| quote_name(name))
            .collect::<Vec<_>>()
            .join(", ");
        let body = names
            .iter()
            .filter(|name| !key.contains(&&***name) && !NOT_COMPARED.contains(&&***name))
            .map(|name| quote_name(name));
        let body = format!(
            "formatRow('RowBinary', {})",
            body.collect::<Vec<_>>().join(", ")
        );
        let type_of = |name: &String| {
            let column = self.info.columns.iter().find(|column| column.name == *name);
            column.map_or("String", |column| &*column.type_name)
        };
        let form = names
            .iter()
            .map(|name| format!("{} {}", quote_name(name), type_of(name)));
        let form = quote_text(&form.collect::<Vec<_>>().join(", "));
        let hex: String = rows.iter().map(|byte| format!("{byte:02x}")).collect();
        let made = format!("(SELECT * FROM format(RowBinary, {form}, unhex('{hex}')))");
        let has = |name: &str| names.iter().any(|own| own == name);
        let lateness = i64::try_from(self.config.allowed_lateness.as_millis()).unwrap_or(i64::MAX);
        let mut due = vec![format!(
            "{} + {lateness} <= {closed_through}",
            self.window_end_ms(has("window_end"))
        )];
        if !all && has("is_final") {
            due.push("is_final = 1".to_owned());
        }
        if has("_deleted") {
            due.push("_deleted = 0".to_owned());
        }
        format!(
            "SELECT {keys}, {start} AS __start_ms, e.expected = t.found AND t.there = 1 AS __equal, t.there AS \
             __there FROM \
             (SELECT {keys}, {body} AS expected FROM {made} WHERE {due}) AS e LEFT JOIN \
             (SELECT {keys}, argMax({body}, version) AS found, 1 AS there FROM {table} WHERE ({keys}) IN \
             (SELECT {keys} FROM {made}) GROUP BY {keys}) AS t USING ({keys}) \
             SETTINGS join_use_nulls = 0, select_sequential_consistency = 1, output_format_json_quote_64bit_integers = 0",
            start = to_ms("window_start"),
            due = due.join(" AND "),
            table = self.target.sql,
        )
    }

    fn window_end_ms(&self, has_column: bool) -> String {
        let size = match &self.config.window {
            Window::Tumbling { size } | Window::Hopping { size, .. } => Some(size),
            Window::Session { .. } => None,
        };
        match size {
            Some(size) if !has_column => {
                format!("{} + {}", to_ms("window_start"), size.as_millis())
            }
            _ => to_ms("window_end"),
        }
    }
}

fn number(row: &Map<String, Value>, name: &str) -> i64 {
    let value = &row[name];
    let text = || value.as_str()?.parse().ok();
    value.as_i64().or_else(text).unwrap_or_default()
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// How far behind the Kafka timestamp of the first record that is left windows may have taken records that are
/// gone: event times lie ahead of theirs, and what came again within the span of duplicates was not counted.
fn reach_ms(config: &Aggregation) -> i64 {
    let ahead = config
        .time_field
        .field()
        .map(|_| config.timestamp_ahead_max);
    let within = config.dedup.as_ref().map(|dedup| dedup.within);
    let reach: Duration = ahead.into_iter().chain(within).sum();
    i64::try_from(reach.as_millis()).unwrap_or(i64::MAX)
}

fn to_ms(column: &str) -> String {
    format!("toUnixTimestamp64Milli(toDateTime64({column}, 3, 'UTC'))")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Kind;

    #[test]
    fn records_that_are_gone_reach_as_far_as_event_times_lie_ahead_and_duplicates_are_known() {
        let reach = |more: &str| {
            let text = format!(
                r#"
[[pipeline]]
name = "sales"
kind = "aggregation"
topics = ["sales-events"]
group_id = "sales-aggregator"
{more}
[pipeline.window]
kind = "tumbling"
size = "60s"
[pipeline.metrics]
sales = {{ function = "count" }}
[pipeline.clickhouse]
table = "sales"
"#
            );
            let loaded = Config::parse(&text, "config.toml", std::path::Path::new("/"), []);
            let config = loaded
                .unwrap_or_else(|problems| panic!("{problems}"))
                .config;
            match &config.pipelines[0].kind {
                Kind::Aggregation(aggregation) => reach_ms(aggregation),
                other => panic!("no aggregation: {other:?}"),
            }
        };
        let dedup = "dedup = { key = [\"$.id\"], within = \"2h\" }\n";
        let of_kafka = "time_field = { from = \"timestamp\" }\n";
        assert_eq!(reach(""), 3_600_000);
        assert_eq!(reach("timestamp_ahead_max = \"1m\""), 60_000);
        assert_eq!(reach(dedup), 3 * 3_600_000);
        assert_eq!(reach(of_kafka), 0);
        assert_eq!(reach(&format!("{of_kafka}{dedup}")), 2 * 3_600_000);
    }
}
