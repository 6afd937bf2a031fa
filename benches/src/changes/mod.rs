//! What a change record costs, by its form, and how a replica catches up.
//!
//! Each form has a topic of its own with the changes of the same table. The daemon reads it with the
//! shipped replica pipeline into a server that forgets, beside bare drains of the same topic; then two
//! million changes go into the engine, whose table must come out as the generator's rows.

mod catch_up;
mod topic;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use sandbox::Sandbox;
use sandbox::generate::ChangeForm;
use sandbox::workdir::executable;

use self::topic::{ChangeTopic, KEYS};
use crate::daemon::DaemonRuns;
use crate::readers::{self, ReaderKind};
use crate::report::{Kind, Report};
use crate::topic::PARTITIONS;

/// Without a schema block a record may take so many times what the drain poll by poll takes.
const BARE_MAX: f64 = 3.0;

/// What records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// The envelope without a schema block
    Bare,
    /// The row with `__deleted`, `__op` and so on
    Flattened,
    /// The envelope with a schema block
    InBlock,
}

impl Form {
    /// What it is called, and of how many changes it gets one: records with a schema block are several
    /// times as large.
    fn facts(self) -> (ChangeForm, &'static str, u64) {
        match self {
            Form::Bare => (ChangeForm::Envelope, "envelope without schema block", 1),
            Form::Flattened => (ChangeForm::Flattened, "flattened", 1),
            Form::InBlock => (ChangeForm::EnvelopeInBlock, "envelope with schema block", 4),
        }
    }
}

/// How much is measured.
pub(crate) struct Amounts {
    pub(crate) changes: u64,
    pub(crate) rounds: usize,
    /// All, if empty.
    pub(crate) forms: Vec<Form>,
    /// Letters of the kinds, as for events.
    pub(crate) kinds: String,
    /// Another daemon to measure beside ours.
    pub(crate) against: Option<PathBuf>,
}

/// Measures and prints.
///
/// # Errors
/// When a run misses or refuses a record, or leaves another table than the source's.
pub(crate) fn measure(parts: &Sandbox, amounts: &Amounts) -> Result<()> {
    ensure!(amounts.changes > 0, "nothing to do");
    let mut summary = vec![];
    let wanted = |form: &&Form| amounts.forms.is_empty() || amounts.forms.contains(form);
    for form in Form::value_variants().iter().filter(wanted) {
        let (form, name, share) = form.facts();
        let topic = ChangeTopic::fill(parts, form, (amounts.changes / share).max(1))?;
        let bytes_mean = topic.written.value_bytes / topic.changes;
        println!(
            "\n{name}: {} changes of {bytes_mean} bytes on average and {} tombstones, of {KEYS} keys, in \
             {PARTITIONS} partitions\n",
            topic.changes, topic.written.tombstones,
        );
        let report = compare(parts, &topic, amounts)?;
        println!("\n{report}");
        summary.extend(line(name, form, bytes_mean, &report));
        if form == ChangeForm::Envelope && amounts.kinds.contains('e') {
            catch_up::measure(parts, &topic, amounts.rounds)?;
        }
        topic.delete(parts)?;
    }
    if !summary.is_empty() {
        println!(
            "| form | bytes | (a), CPU µs/record | (b) | (d) | (d) without (0), × (b) | |\n\
             |---|---|---|---|---|---|---|\n{}\n",
            summary.join("\n")
        );
    }
    Ok(())
}

/// Drains and daemons take turns, as for events.
fn compare(parts: &Sandbox, topic: &ChangeTopic, amounts: &Amounts) -> Result<Report> {
    let records = topic.written.records;
    let daemon = DaemonRuns::new(parts, topic, executable("streamweir", "STREAMWEIR_BIN")?)?;
    let other = match &amounts.against {
        Some(program) => Some(DaemonRuns::new(parts, topic, program.clone())?),
        None => None,
    };
    let drain = |kind| readers::run(kind, parts, crate::daemon::Work::topic(topic), records);
    drain(ReaderKind::Batch)?;
    let mut report = Report::new("record", records);
    for round in 1..=amounts.rounds {
        for (letter, kind) in [('a', ReaderKind::Batch), ('b', ReaderKind::Poll)] {
            if amounts.kinds.contains(letter) {
                report.add(round, Kind::Reader(kind), drain(kind)?);
            }
        }
        if amounts.kinds.contains('d') {
            report.add_daemons(round, &daemon, other.as_ref())?;
        }
    }
    Ok(report)
}

fn line(name: &str, form: ChangeForm, bytes_mean: u64, report: &Report) -> Option<String> {
    let cpu = |kind| report.median_cpu_us(kind).map(|cpu| format!("{cpu:.2}"));
    let ratio = report.daemon_by_poll()?;
    let judged = match form {
        ChangeForm::EnvelopeInBlock => String::new(),
        _ if ratio <= BARE_MAX => format!("≤ {BARE_MAX}: held"),
        _ => format!("≤ {BARE_MAX}: MISSED"),
    };
    Some(format!(
        "| {name} | {bytes_mean} | {} | {} | {} | {ratio:.2} | {judged} |",
        cpu(Kind::Reader(ReaderKind::Batch))?,
        cpu(Kind::Reader(ReaderKind::Poll))?,
        cpu(Kind::Daemon)?,
    ))
}
