//! The figures: each as it came, and the medians beside each other.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::Result;

use crate::child::Run;
use crate::daemon::DaemonRuns;
use crate::formats::Format;
use crate::readers::ReaderKind;

/// What was measured, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Reader(ReaderKind),
    Daemon,
    DaemonIdle,
    OtherDaemon,
    DaemonToEngine,
    Raw,
    Uncompressed,
    Asked,
    Format(Format),
    Prototype,
}

impl Kind {
    const ALL: [Kind; 15] = [
        Kind::Reader(ReaderKind::Batch),
        Kind::Reader(ReaderKind::Poll),
        Kind::Reader(ReaderKind::Decode),
        Kind::Reader(ReaderKind::Copy),
        Kind::Daemon,
        Kind::DaemonIdle,
        Kind::OtherDaemon,
        Kind::DaemonToEngine,
        Kind::Raw,
        Kind::Uncompressed,
        Kind::Asked,
        Kind::Format(Format::Json),
        Kind::Format(Format::Avro),
        Kind::Format(Format::Protobuf),
        Kind::Prototype,
    ];

    fn label(self) -> &'static str {
        match self {
            Kind::Reader(ReaderKind::Batch) => "(a) drain, batches",
            Kind::Reader(ReaderKind::Poll) => "(b) drain, poll by poll",
            Kind::Reader(ReaderKind::Decode) => "(c) batches and decoding",
            Kind::Reader(ReaderKind::Copy) => "(t) as (b), and transactions",
            Kind::Daemon => "(d) daemon, rows discarded",
            Kind::DaemonIdle => "(0) daemon, nothing to read",
            Kind::OtherDaemon => "(o) the other daemon, as (d)",
            Kind::DaemonToEngine => "(e) daemon into ClickHouse",
            Kind::Raw => "(r) raw records, as (d)",
            Kind::Uncompressed => "(u) the same without compression",
            Kind::Asked => "(q) with rules and keys, as (d)",
            Kind::Format(Format::Json) => "events in JSON, as (d)",
            Kind::Format(Format::Avro) => "events in Avro, as (d)",
            Kind::Format(Format::Protobuf) => "events in Protobuf, as (d)",
            Kind::Prototype => "(p) prototype, as (d)",
        }
    }

    fn index(self) -> usize {
        let is_it = |kind: &Kind| *kind == self;
        Kind::ALL
            .iter()
            .position(is_it)
            .expect("all kinds are listed")
    }
}

pub(crate) struct Report {
    /// What a record is called here.
    noun: &'static str,
    daemon: &'static str,
    events: f64,
    runs: BTreeMap<usize, Vec<Run>>,
}

impl Report {
    pub(crate) fn new(noun: &'static str, events: u64) -> Self {
        Self {
            noun,
            daemon: Kind::Daemon.label(),
            events: events as f64,
            runs: BTreeMap::new(),
        }
    }

    /// The same with another name for (d).
    pub(crate) fn daemon_is(self, daemon: &'static str) -> Self {
        Self { daemon, ..self }
    }

    fn label(&self, kind: Kind) -> &'static str {
        if kind == Kind::Daemon {
            return self.daemon;
        }
        kind.label()
    }

    /// Keeps one run, and prints it at once.
    pub(crate) fn add(&mut self, round: usize, kind: Kind, run: Run) {
        println!(
            "round {round}  {:<29} {:6.3} CPU µs/{noun}  {:7.0} {noun}s/s  {:5.2} s  peak {} MiB",
            self.label(kind),
            self.cpu_us(&run),
            self.rate(&run),
            run.wall.as_secs_f64(),
            run.rss_peak_bytes >> 20,
            noun = self.noun,
        );
        self.runs.entry(kind.index()).or_default().push(run);
    }

    /// Runs the daemon and, where there is one, another into the server that forgets.
    pub(crate) fn add_daemons(
        &mut self,
        round: usize,
        own: &DaemonRuns<'_>,
        other: Option<&DaemonRuns<'_>>,
    ) -> Result<()> {
        let other = other.map(|other| || other.read_into_nowhere());
        self.add_in_turns(round, || own.read_into_nowhere(), other)
    }

    /// Runs the daemon and, where there is one, another; each run comes with one that had nothing to do.
    /// Whoever is second finds the processor's caches and the clock as the first left them, so they swap
    /// places every round.
    pub(crate) fn add_in_turns(
        &mut self,
        round: usize,
        own: impl Fn() -> Result<(Run, Run)>,
        other: Option<impl Fn() -> Result<(Run, Run)>>,
    ) -> Result<()> {
        let mut are_ours = [true, false];
        if round.is_multiple_of(2) {
            are_ours.reverse();
        }
        for is_ours in are_ours {
            if is_ours {
                let (run, idle) = own()?;
                self.add(round, Kind::Daemon, run);
                self.add(round, Kind::DaemonIdle, idle);
            } else if let Some(other) = &other {
                self.add(round, Kind::OtherDaemon, other()?.0);
            }
        }
        Ok(())
    }

    fn cpu_us(&self, run: &Run) -> f64 {
        run.cpu.as_secs_f64() * 1e6 / self.events
    }

    fn rate(&self, run: &Run) -> f64 {
        self.events / run.wall.as_secs_f64()
    }

    fn median_of(&self, kind: Kind, value: impl Fn(&Run) -> f64) -> Option<f64> {
        let values = self.runs.get(&kind.index())?.iter().map(value).collect();
        Some(median(values))
    }

    /// CPU time of a record's way through the daemon, by that of a drain poll by poll; without what it
    /// takes to start, join and leave.
    pub(crate) fn daemon_by_poll(&self) -> Option<f64> {
        let cpu = |kind| self.median_of(kind, |run| self.cpu_us(run));
        let (own, idle) = (cpu(Kind::Daemon)?, cpu(Kind::DaemonIdle)?);
        Some((own - idle) / cpu(Kind::Reader(ReaderKind::Poll))?)
    }

    /// The median of what one kind takes for a record.
    pub(crate) fn median_cpu_us(&self, kind: Kind) -> Option<f64> {
        self.median_of(kind, |run| self.cpu_us(run))
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, kind: Kind, runs: &[Run]) -> fmt::Result {
        let cpu: Vec<f64> = runs.iter().map(|run| self.cpu_us(run)).collect();
        let rates: Vec<f64> = runs.iter().map(|run| self.rate(run) / 1e3).collect();
        let against = |other: Kind| {
            let other = self.median_of(other, |run| self.cpu_us(run));
            other.map_or("-".to_owned(), |other| {
                format!("{:.2}", median(cpu.clone()) / other)
            })
        };
        writeln!(
            f,
            "| {:<28} | {:6.3} | {} | {:>5} | {:>5} | {:5.0} | {} | {:4} |",
            self.label(kind),
            median(cpu.clone()),
            list(&cpu, 2),
            against(Kind::Reader(ReaderKind::Poll)),
            against(Kind::Daemon),
            median(rates.clone()),
            list(&rates, 0),
            runs.iter()
                .map(|run| run.rss_peak_bytes >> 20)
                .max()
                .unwrap_or(0),
        )
    }

    fn conclusions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wall = |run: &Run| run.wall.as_secs_f64();
        let cpu = |run: &Run| self.cpu_us(run);
        let idle = Kind::DaemonIdle;
        if let (Some(own), Some(idle_wall), Some(idle_cpu)) = (
            self.median_of(Kind::Daemon, wall),
            self.median_of(idle, wall),
            self.median_of(idle, |run| run.cpu.as_secs_f64() * 1e3),
        ) {
            writeln!(
                f,
                "(d) without the {idle_wall:.2} s and {idle_cpu:.0} CPU ms of (0), to start, join \
                 and leave: {:.0} thousand {}s/s",
                self.events / (own - idle_wall).max(0.001) / 1e3,
                self.noun
            )?;
        }
        for (other, name) in [(Kind::Prototype, "(p)"), (Kind::OtherDaemon, "(o)")] {
            if let (Some(own_cpu), Some(other_cpu), Some(own_wall), Some(other_wall)) = (
                self.median_of(Kind::Daemon, cpu),
                self.median_of(other, cpu),
                self.median_of(Kind::Daemon, wall),
                self.median_of(other, wall),
            ) {
                writeln!(
                    f,
                    "(d)/{name}: CPU {:.2}, {}s/s {:.2}",
                    own_cpu / other_cpu,
                    self.noun,
                    other_wall / own_wall
                )?;
            }
        }
        let of_engine = |run: &Run| run.engine_cpu.unwrap_or_default().as_secs_f64() * 1e6;
        if let Some(engine) = self.median_of(Kind::DaemonToEngine, of_engine) {
            let runs = &self.runs[&Kind::DaemonToEngine.index()];
            let each: Vec<f64> = runs
                .iter()
                .map(|run| of_engine(run) / self.events)
                .collect();
            writeln!(
                f,
                "ClickHouse's engine during (e): {:.2} CPU µs/{} ({})",
                engine / self.events,
                self.noun,
                list(&each, 2)
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| what | CPU µs/{noun}, median | each | × (b) | × (d) | thousand {noun}s/s, median \
             | each | peak RSS, MiB |\n|---|---|---|---|---|---|---|---|",
            noun = self.noun,
        )?;
        for kind in Kind::ALL {
            if let Some(runs) = self.runs.get(&kind.index()) {
                self.row(f, kind, runs)?;
            }
        }
        writeln!(f)?;
        self.conclusions(f)
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        (values[middle - 1] + values[middle]) / 2.0
    }
}

fn list(values: &[f64], decimals: usize) -> String {
    let texts: Vec<String> = values.iter().map(|v| format!("{v:.decimals$}")).collect();
    texts.join(" ")
}
