//! What the kind `stream_join` must live through: a reader of what is committed sees each event once, joined
//! as in an undisturbed run.

mod broken;
mod crash_points;
mod lives;
mod members;
mod servers;

use std::time::{Duration, Instant};

use rand::Rng as _;
use sandbox::wait;

use super::{Attempt, Run, Trial};
use crate::support::joins::{Joins, Kind};
use crate::support::skewed::{Skewed, spread};
use crate::support::{Daemon, PATIENCE};

pub(super) use crash_points::every_point_once;

const RECORDS_PER_SECOND: u64 = 500;
const PARTITIONS: i32 = 4;
/// A daemon under these records that commits nothing for so long is held by a failpoint.
const STILL: Duration = Duration::from_millis(1_500);

/// Every trial of it, in the order of the table.
pub(super) fn trials() -> Vec<Trial> {
    let mut trials = crash_points::trials();
    trials.extend(lives::trials());
    trials.extend(members::trials());
    trials.extend(servers::trials());
    trials.push(Trial::new(
        "join-hot-user",
        "join; 200,000 events of one user at a time, within 64 MiB",
        5,
        1,
        hot_user,
    ));
    trials.extend(broken::trials());
    trials
}

impl Run {
    fn joins(&mut self, kind: Kind) -> Joins {
        let seed = self.random.random();
        Joins::new(&self.name, kind, PARTITIONS, seed)
    }

    /// How often the fault is met by each kind of join: by all where there is time, else by one.
    fn join_shares(&mut self) -> Vec<(Kind, u32)> {
        let kinds = u32::try_from(Kind::ALL.len()).expect("few");
        if self.times < kinds {
            return vec![(any_kind(self), self.times)];
        }
        let share = self.times.div_ceil(kinds);
        Kind::ALL.map(|kind| (kind, share)).to_vec()
    }

    /// The output is that of an undisturbed run, whoever died and took over.
    pub(super) fn prove_joins(&mut self, joins: &Joins, produced: u64) {
        let counts = joins.assert_equal(produced);
        joins.job.assert_audit_finds_nothing();
        self.add(counts);
        self.aborted += joins.aborted();
        self.result = format!("each once, {} aborted", self.aborted);
    }

    /// The same, and some of what was written must not be seen.
    fn prove_joins_and_aborted(&mut self, joins: &Joins, produced: u64) {
        let before = self.aborted;
        self.prove_joins(joins, produced);
        assert!(self.aborted > before, "{}: nothing was aborted", self.name);
    }
}

/// As many times as many events.
fn hot_user(run: &mut Run) {
    let events = i64::from(run.times) * 200_000;
    let mut skewed = Skewed::new(&run.name);
    skewed.update(spread(200, 1));
    skewed.happen(spread(events, 1));
    let peak_mib = skewed.assert_joined_within_memory();
    run.counts.records += events.unsigned_abs() + 200;
    run.counts.rows += events.unsigned_abs();
    run.result = format!("each once, peak {peak_mib} MiB");
}

fn any_kind(run: &mut Run) -> Kind {
    Kind::ALL[run.random.random_range(0..Kind::ALL.len())]
}

/// Waits until nothing is committed any more while a transaction is open: a failpoint holds the daemon in it, and
/// no busy machine does.
fn wait_until_it_stands_still(joins: &Joins, daemon: &Daemon) {
    let mut last = (0, Instant::now());
    let stands_still = || {
        let progress = joins.progress();
        if progress != last.0 {
            last = (progress, Instant::now());
        }
        let is_still = progress > 0 && last.1.elapsed() > STILL;
        (is_still && joins.job.has_open_transaction()).then_some(())
    };
    wait::until("it stands still", PATIENCE, stands_still)
        .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
}

/// How many partitions it works on, those of both topics.
fn share(daemon: &Daemon) -> Option<usize> {
    let (_, body) = daemon.get("/api/v1/streaming/enriched")?;
    let state: serde_json::Value = serde_json::from_str(&body).ok()?;
    Some(state["partitions"].as_array()?.len())
}

/// Waits until both have partitions.
fn wait_for_both(members: [&Daemon; 2]) {
    let are_shared = || {
        let has_some = |member: &&Daemon| share(member).is_some_and(|count| count > 0);
        members.iter().all(has_some).then_some(())
    };
    wait::until("the partitions are shared", PATIENCE, are_shared)
        .unwrap_or_else(|e| panic!("{e}\n{}\n{}", members[0].log(), members[1].log()));
}
