//! `streamweir rebuild`: fills a shadow table from the log, beside the live one, by the pipeline's own code in a
//! consumer group of its own.
//!
//! Where a rebuild begins and ends is decided once and kept in the comment of the shadow table, which the
//! statement that creates the table sets; how far it is, the group's commits say. So it goes on after any kill,
//! and several processes share it.
//!
//! | module | what it does |
//! |---|---|
//! | `fresh` | decides the plan, and makes the shadow with it |
//! | `letters` | dead letters that were replayed and are open again |
//! | `losses` | rows of the live table that the rebuilt one cannot have: pure |
//! | `plan` | what is kept in the comment: where each partition begins and ends |
//! | `shadow` | the pipeline that fills the shadow: pure |
//! | `tables` | statements about both tables |
//! | `filling` | runs the pipeline up to the ends, and says how far it is |
//! | `signals` | what a signal does |
//! | `steps` | in which order the shadow takes the place of the live table: pure |
//! | `positions` | where both groups are, and whether they can meet: pure |
//! | `switching` | carries these steps out |
//! | `windows` | windows of the live table that the rebuilt one lacks |

mod filling;
mod fresh;
mod letters;
mod losses;
mod plan;
mod positions;
mod shadow;
mod signals;
mod steps;
mod switching;
mod tables;
mod windows;

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use self::filling::{Ends, Filler};
use self::fresh::{begin_at, planned};
use self::plan::Plan;
use self::shadow::{Part, parts, shadow_config};
use self::signals::Signals;
use self::switching::Switch;
use self::tables::Tables;
use super::audit::{self, AuditOptions, Bound, LeftOut, Report};
use super::cluster::Cluster;
use super::offsets::ResetTarget;
use super::{Failure, pipeline_named, runtime, status};
use crate::config::{Config, Kind, Pipeline};
use crate::source::TopicPartition;

/// What is rebuilt.
#[derive(Debug)]
pub struct RebuildOptions {
    /// The pipeline.
    pub pipeline: String,
    /// Where it begins.
    pub from: Bounds,
    /// Where it ends.
    pub to: Bounds,
    /// The shadow table; none: the live table's name and `_rebuild`.
    pub into: Option<String>,
    /// Whether the shadow takes the place of the live table, or the old table its own again.
    pub exchange: Option<Exchange>,
    /// Whether the old table stays.
    pub keep_old: bool,
    /// Whether a swap may leave out rows of the live table that the log does not cover.
    pub accepts_missing_rows: bool,
    /// How many records a second are read for it, at most.
    pub records_per_second_max: Option<u64>,
    /// The daemons that run the pipeline.
    pub urls: Vec<String>,
}

/// What becomes of the names of both tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exchange {
    /// The rebuilt table becomes the live one.
    Swap,
    /// The old table becomes the live one again.
    Undo,
}

/// An end of the log, or a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bounds {
    /// The first record of the log.
    Earliest,
    /// Behind its last record.
    Latest,
    /// The first record of this time or later, epoch milliseconds.
    TimeMs(i64),
}

impl std::str::FromStr for Bounds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<ResetTarget>() {
            Ok(ResetTarget::Earliest) => Ok(Bounds::Earliest),
            Ok(ResetTarget::Latest) => Ok(Bounds::Latest),
            Ok(ResetTarget::TimeMs(time_ms)) => Ok(Bounds::TimeMs(time_ms)),
            Ok(ResetTarget::Offset(_)) | Err(_) => Err(format!(
                "{text:?} is neither earliest nor latest, nor an RFC 3339 time such as 2026-11-21T10:00:00Z"
            )),
        }
    }
}

/// Why a rebuild ended early.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// It did not begin, or a system refuses.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The pipeline halted to protect data: exit 4.
    #[error("halted to protect data: {reason}: {advice}")]
    Halted {
        /// As in the table of halts.
        reason: String,
        /// What to do.
        advice: String,
    },
    /// A signal ended it: it goes on when it is repeated.
    #[error("stopped by a signal: repeat the command, and it goes on where it is")]
    Stopped,
}

/// A table, and the one that is filled beside it.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct TablePair {
    /// `database.table`
    pub table: String,
    /// The same of the shadow.
    pub shadow: String,
}

/// Offsets that were rebuilt.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionRange {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset.
    pub from: i64,
    /// The first one that was left out.
    pub to: i64,
}

/// What was done.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// The pipeline.
    pub pipeline: String,
    /// Its kind.
    pub kind: &'static str,
    /// The consumer group that filled the shadow.
    pub group: String,
    /// What was filled beside what.
    pub tables: Vec<TablePair>,
    /// From where to where.
    pub partitions: Vec<PartitionRange>,
    /// Offsets that all processes have read for it.
    pub records: u64,
    /// Offsets that this process saw being read.
    pub records_now: u64,
    /// How long this process has taken for them.
    pub seconds: f64,
    /// What the audit of the shadow found; none where it was exchanged before.
    pub audit: Option<Report>,
    /// Windows of which the log has only a part, which are not in the rebuilt table; none: all are whole, or the table
    /// was exchanged before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows_left_out: Option<LeftOut>,
    /// Records that were replayed into the live table and that the rebuilt one lacks, as `topic:partition:offset`: their
    /// dead letters are open again.
    pub letters_to_replay: Vec<String>,
    /// Whether the rebuilt table is the live one now.
    pub swapped: bool,
    /// Whether the old table is there still, under the name of the shadow.
    pub old_kept: bool,
}

impl Rebuilt {
    fn note_audit(&mut self, report: Report) {
        self.windows_left_out.clone_from(&report.windows_left_out);
        self.audit = Some(report);
    }

    /// Whether the audit found something wrong.
    #[must_use]
    pub fn has_findings(&self) -> bool {
        self.audit
            .as_ref()
            .is_some_and(|audit| audit.counts.has_findings())
    }
}

/// Fills the shadow and audits it, and exchanges both tables where that is asked for.
///
/// # Errors
/// A kind that cannot be rebuilt, a table that is something else, a system that does not answer, or a halt.
pub fn rebuild(config: &Config, options: &RebuildOptions) -> Result<Rebuilt, RebuildError> {
    let live = Arc::new(pipeline_named(config, &options.pipeline)?.clone());
    if let Some(why) = why_not(&live) {
        return Err(Failure::Usage(why).into());
    }
    let runtime = runtime()?;
    let signals = Signals::watch(&runtime);
    let tables = runtime.block_on(Tables::connect(&live))?;
    let cluster = Cluster::connect(&config.service, &live)?;
    let all = cluster.partitions(None)?;
    let parts = parts(config, &live, &all, options.into.as_deref())?;
    runtime.block_on(tables.check_engines(&parts, options.exchange.is_some()))?;
    let (plan, parts) = runtime.block_on(planned(&tables, &cluster, &live, parts, options))?;
    let mut shadow_of = shadow_config(config, &live, &parts, &plan);
    shadow::limit(&mut shadow_of, options.records_per_second_max);
    let shadow = Arc::new(pipeline_named(&shadow_of, &live.name)?.clone());
    let own = Cluster::connect(&shadow_of.service, &shadow)?;
    let is_exchanged = runtime.block_on(tables.are_exchanged(&parts))?;
    if is_exchanged.is_some() && options.exchange.is_none() {
        return Err(already_exchanged(&live, &parts).into());
    }
    let mut keeps_old = keeps_old(&runtime, &tables, &cluster, (&live, &parts, &plan), options)?;
    let begun = Instant::now();
    let mut rebuilt = Rebuilt::new(&live, &parts, &plan);
    if is_exchanged.is_none() && options.exchange != Some(Exchange::Undo) {
        begin_at(&own, &plan, &parts)?;
        let filler = Filler::of_shadow(&shadow_of, &shadow);
        rebuilt.records_now = filler.fill(&runtime, &signals, &own, &ends(&plan, &own)?)?;
        rebuilt.seconds = begun.elapsed().as_secs_f64();
        rebuilt.note_audit(audit::audit(&shadow_of, &audited(&live, &plan))?);
    }
    if !rebuilt.has_findings() {
        let pair = (&*live, &parts[0], is_exchanged.is_some());
        keeps_old |= runtime.block_on(windows::lacks(&tables, &own, pair, options))?;
    }
    if let Some(exchange) = options.exchange.filter(|_| !rebuilt.has_findings()) {
        let urls = daemons(&runtime, config, options);
        if exchange == Exchange::Swap && runtime.block_on(tables.have_others(&parts))? {
            let tables = (config, &shadow_of);
            let is_exchanged = is_exchanged.is_some();
            rebuilt.letters_to_replay = letters::lacking(&live.name, tables, is_exchanged)?;
        }
        let switch = Switch {
            runtime: &runtime,
            signals: &signals,
            tables: &tables,
            parts: &parts,
            plan: &plan,
            live: (config, &live, &cluster),
            shadow: (&shadow_of, &shadow, &own),
            urls: &urls,
            keeps_old,
        };
        switch.carry_out(exchange)?;
        rebuilt.swapped = exchange == Exchange::Swap;
        rebuilt.old_kept = keeps_old || exchange == Exchange::Undo;
    }
    Ok(rebuilt)
}

/// Whether the old table stays: it does where it has rows that the rebuilt one lacks.
///
/// # Errors
/// A swap would lose such rows, and nobody has said that it may.
fn keeps_old(
    runtime: &tokio::runtime::Runtime,
    tables: &Tables,
    cluster: &Cluster,
    (live, parts, plan): (&Pipeline, &[Part], &Plan),
    options: &RebuildOptions,
) -> Result<bool, Failure> {
    if options.exchange != Some(Exchange::Swap) {
        return Ok(true);
    }
    if matches!(live.kind, Kind::Aggregation(_)) {
        // Which windows the rebuilt table lacks is known once it is filled.
        return Ok(options.keep_old);
    }
    let exchanged = runtime.block_on(tables.are_exchanged(parts))?;
    let mut keeps = options.keep_old;
    for (index, part) in parts.iter().enumerate() {
        let is_exchanged = exchanged.as_ref().is_some_and(|all| all[index]);
        let old = if is_exchanged {
            &part.shadow
        } else {
            &part.live
        };
        if !runtime.block_on(tables.has(old))? {
            continue;
        }
        let lost = match &live.kind {
            Kind::Cdc(_) => losses::cut_replicas(plan, &part.partitions),
            _ => {
                let firsts = runtime.block_on(tables.firsts(live, old))?;
                let lows = part.partitions.iter();
                let lows = lows.map(|one| Ok((one.clone(), cluster.log_range(one)?.0)));
                let lows: Vec<_> = lows.collect::<Result<_, Failure>>()?;
                losses::outside(&losses::begins(plan, &lows), &firsts)
            }
        };
        if lost.is_empty() {
            continue;
        }
        // One that has begun to exchange them was told that it may.
        if exchanged.is_none() && !options.accepts_missing_rows {
            return Err(Failure::Refused(losses::refusal(old, &lost)));
        }
        tracing::warn!("table {old} is kept: it has rows, or may have, that the rebuilt one lacks");
        keeps = true;
    }
    Ok(keeps)
}

/// The daemons that are named, or else that of this configuration, where it runs the pipeline and can be told what to
/// do.
fn daemons(
    runtime: &tokio::runtime::Runtime,
    config: &Config,
    options: &RebuildOptions,
) -> Vec<String> {
    if !options.urls.is_empty() {
        return options.urls.clone();
    }
    let url = status::address(&config.service);
    let shown = match &config.service.admin_token {
        Some(_) => runtime.block_on(status::fetch(&url)).ok(),
        None => None,
    };
    let all = shown
        .as_ref()
        .and_then(|shown| shown["pipelines"].as_array());
    let runs = all
        .into_iter()
        .flatten()
        .any(|one| one["name"] == *options.pipeline);
    runs.then_some(url).into_iter().collect()
}

impl Rebuilt {
    fn new(live: &Pipeline, parts: &[Part], plan: &Plan) -> Rebuilt {
        let records = plan
            .ranges()
            .map(|(_, (from, to))| (to - from).max(0).unsigned_abs());
        Rebuilt {
            pipeline: live.name.clone(),
            kind: live.kind.name(),
            group: plan.group.clone(),
            tables: parts.iter().map(|part| part.names(live)).collect(),
            partitions: plan.ranges().map(range).collect(),
            records: records.sum(),
            records_now: 0,
            seconds: 0.0,
            audit: None,
            windows_left_out: None,
            letters_to_replay: vec![],
            swapped: false,
            old_kept: false,
        }
    }
}

fn already_exchanged(live: &Pipeline, parts: &[Part]) -> Failure {
    let tables: Vec<&str> = parts.iter().map(|part| &*part.live).collect();
    Failure::Refused(format!(
        "table {} of pipeline {} is the rebuilt one already, and the old one may be there still: end that rebuild \
         with --swap (which drops the old table unless --keep-old is given), or take it back with --undo",
        tables.join(", "),
        live.name
    ))
}

/// Why a pipeline of this kind cannot be rebuilt.
fn why_not(pipeline: &Pipeline) -> Option<String> {
    let name = &pipeline.name;
    match &pipeline.kind {
        Kind::Enrichment(_) | Kind::Raw(_) | Kind::Cdc(_) => None,
        Kind::Aggregation(_) if !pipeline.table.is_empty() => None,
        Kind::Aggregation(_) => Some(format!(
            "pipeline {name} writes windows to a topic alone: there is no table to rebuild; write to another output \
             topic with another group_id"
        )),
        Kind::StreamJoin(_) => Some(format!(
            "pipeline {name} joins topics into a topic: there is no table to rebuild; write to another output \
             topic with another group_id"
        )),
    }
}

fn ends(plan: &Plan, cluster: &Cluster) -> Result<Ends, Failure> {
    let mut ends = Ends::new();
    for (partition, (from, to)) in plan.ranges() {
        let (low, _) = cluster.log_range(&partition)?;
        ends.insert(partition, (low.max(from), to));
    }
    Ok(ends)
}

fn audited(live: &Pipeline, plan: &Plan) -> AuditOptions {
    AuditOptions {
        pipeline: live.name.clone(),
        topic: None,
        from: plan.since_ms.map(Bound::TimeMs),
        to: None,
        values: false,
    }
}

fn range((partition, (from, to)): (TopicPartition, (i64, i64))) -> PartitionRange {
    PartitionRange {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        from,
        to,
    }
}
