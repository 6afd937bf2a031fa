//! What an event costs that is joined with the updates of its user's profile, into a topic by transactions.
//!
//! 2 million events and 200,000 updates, read by the shipped pipeline `enriched`; beside it bare drains of
//! both topics, and a bare copy: the same drain that produces as many messages of the size of joined
//! records, in transactions.

mod expected;
mod topics;

use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;
use sandbox::generate::{JOIN_LATE_MAX_MS, JOIN_LATE_ONE_IN, JOIN_USERS};
use sandbox::workdir::executable;
use sandbox::{Sandbox, topic, unique};

use self::topics::{JoinRuns, JoinTopics};
use crate::child::Run;
use crate::readers::{self, ReaderKind, Source};
use crate::report::{Kind, Report};

pub(crate) use self::expected::numbers;
pub(crate) use self::topics::{
    PARTITIONS, Sides, create_output, ensure_no_dead_letters, output_of,
};

/// A joined event, its production included, may take so many times what the drain poll by poll takes.
const TIMES_MAX: f64 = 4.0;

/// What the right side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Form {
    /// A stream: matches lie 300 s around the event
    Window,
    /// A table: `before = "unlimited"`
    Table,
}

impl Form {
    fn is_table(self) -> bool {
        self == Form::Table
    }

    fn name(self) -> &'static str {
        match self {
            Form::Window => "before = after = 300s",
            Form::Table => "before = unlimited, after = 300s",
        }
    }
}

/// How much is measured.
pub(crate) struct Amounts {
    pub(crate) events: u64,
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
/// When a run fails, or leaves other joined records than it must.
pub(crate) fn measure(parts: &Sandbox, amounts: &Amounts) -> Result<()> {
    let topics = JoinTopics::fill(parts.kafka.bootstrap(), amounts.events)?;
    println!(
        "\njoins: {} events of {} bytes on average, one in {JOIN_LATE_ONE_IN} up to {} s late, and {} updates of \
         {} bytes, of {JOIN_USERS} users, in {PARTITIONS} partitions each\n",
        topics.events,
        topics.event_bytes / topics.events,
        JOIN_LATE_MAX_MS / 1000,
        topics.updates,
        topics.update_bytes / topics.updates,
    );
    drain(parts, &topics, ReaderKind::Batch)?;
    let wanted = |form: &&Form| amounts.forms.is_empty() || amounts.forms.contains(form);
    for form in Form::value_variants().iter().filter(wanted) {
        compare(parts, &topics, *form, amounts)?;
    }
    Ok(())
}

fn compare(parts: &Sandbox, topics: &JoinTopics, form: Form, amounts: &Amounts) -> Result<()> {
    let program = executable("streamweir", "STREAMWEIR_BIN")?;
    let daemon = JoinRuns::new(parts, topics, form, program)?;
    let other = match &amounts.against {
        Some(program) => Some(JoinRuns::new(parts, topics, form, program.clone())?),
        None => None,
    };
    let share = 100.0 * daemon.matched() as f64 / topics.events as f64;
    println!("{}: {share:.1} % of the events have a match\n", form.name());
    let mut report = Report::new("event", topics.events).daemon_is("(d) daemon, joined into Kafka");
    for round in 1..=amounts.rounds {
        for (letter, kind) in [
            ('a', ReaderKind::Batch),
            ('b', ReaderKind::Poll),
            ('t', ReaderKind::Copy),
        ] {
            if amounts.kinds.contains(letter) {
                report.add(round, Kind::Reader(kind), drain(parts, topics, kind)?);
            }
        }
        if amounts.kinds.contains('d') {
            report.add_in_turns(round, || daemon.join(), other.as_ref().map(|o| || o.join()))?;
        }
    }
    println!("\n{report}");
    if let Some(ratio) = report.daemon_by_poll() {
        let judged = if ratio <= TIMES_MAX { "held" } else { "MISSED" };
        println!("(d) without (0): {ratio:.2} x (b); at most {TIMES_MAX}: {judged}\n");
    }
    Ok(())
}

/// Both topics; a copy goes into one of its own.
fn drain(parts: &Sandbox, topics: &JoinTopics, kind: ReaderKind) -> Result<Run> {
    let source = Source {
        topics: &topics.names(),
        partitions: PARTITIONS,
        records: topics.records(),
    };
    if kind != ReaderKind::Copy {
        return readers::run_over(kind, parts, &source, None);
    }
    let bootstrap = parts.kafka.bootstrap();
    let output = create_output(bootstrap, &unique("copy"))?;
    let run = readers::run_over(kind, parts, &source, Some(&output))?;
    topic::delete(bootstrap, &output)?;
    Ok(run)
}
