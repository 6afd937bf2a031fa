//! The fault programme: what a daemon must live through without losing, doubling or changing a
//! row. `make soak` runs each trial at length, the tests run each once or a few times.
#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test executable uses its own part"
)]

mod all_four;
mod broken;
mod clock;
mod control;
mod crash_points;
mod dedup;
mod disk;
mod joins;
mod kills;
mod letters;
mod members;
mod months;
mod neighbours;
mod network;
mod offsets;
mod raw;
mod rebuilds;
mod replica;
mod replicated;
mod servers;
mod transactions;
mod versions;
mod windows;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::support::Job;
use crate::support::proof::{self, Counts, Profiles};

/// One fault, met a number of times, and the proof afterwards.
pub struct Trial {
    pub name: String,
    /// What happens, in a table's cell.
    pub what: &'static str,
    /// How often in the full programme.
    pub full: u32,
    /// How often in the tests.
    pub short: u32,
    act: fn(&mut Run),
}

/// How often a broken guarantee is tried until it does harm.
const TRIES: u32 = 3;

/// What came of a try without a guarantee.
struct Attempt {
    produced: u64,
    proof: Result<(), String>,
}

/// One run of a trial.
pub struct Run {
    pub name: String,
    pub times: u32,
    pub random: StdRng,
    pub counts: Counts,
    /// Records that transactions had written and that nobody sees.
    pub aborted: u64,
    pub result: String,
}

impl Trial {
    fn new(name: &str, what: &'static str, full: u32, short: u32, act: fn(&mut Run)) -> Trial {
        Trial {
            name: name.to_owned(),
            what,
            full,
            short,
            act,
        }
    }

    /// Meets the fault so often; the same seed makes the same choices.
    ///
    /// # Panics
    /// When something does not hold.
    pub fn run(&self, times: u32, seed: u64) -> Run {
        let mut hasher = DefaultHasher::new();
        (seed, &self.name).hash(&mut hasher);
        let mut run = Run {
            name: self.name.clone(),
            times,
            random: StdRng::seed_from_u64(hasher.finish()),
            counts: Counts::default(),
            aborted: 0,
            result: "exactly once".to_owned(),
        };
        (self.act)(&mut run);
        run
    }
}

impl Run {
    /// A job for it.
    fn job(&self, partitions: i32) -> Job {
        prepared(Job::new(&self.name), partitions)
    }

    /// Every record arrived once and as it should, whoever died and took over.
    fn prove(&mut self, job: &Job, produced: u64) {
        self.prove_with(job, produced, Profiles::AsInRedis);
    }

    fn prove_with(&mut self, job: &Job, produced: u64, profiles: Profiles) {
        let counts = proof::assert_exactly_once(job, produced, profiles);
        job.assert_audit_finds_nothing();
        self.add(counts);
    }

    fn add(&mut self, counts: Counts) {
        self.counts.records += counts.records;
        self.counts.rows += counts.rows;
        self.counts.dead_letters += counts.dead_letters;
    }

    /// A guarantee was broken on purpose: the proof must say so, in these words.
    ///
    /// Whether the break does harm is a matter of moments: a try that it did none is repeated, on a job of
    /// its own.
    fn prove_noticed(&mut self, words: &str, attempt: impl Fn(&mut Run) -> Attempt) {
        for number in 1..=TRIES {
            let Attempt { produced, proof } = attempt(self);
            if let Err(violation) = proof {
                assert!(violation.contains(words), "{words}: {violation}");
                self.counts.records += produced;
                self.result = format!("noticed: {}", violation.split(',').next().unwrap_or(""));
                return;
            }
            eprintln!("{}: try {number}: nothing was noticed", self.name);
        }
        panic!("{}: nothing was noticed in {TRIES} tries", self.name);
    }

    fn skip(&mut self, why: &str) {
        eprintln!("{}: skipped: {why}", self.name);
        self.result = format!("skipped: {why}");
    }
}

/// Gives a job small batches and short sessions, its tables, its profiles and its topic.
fn prepared(mut job: Job, partitions: i32) -> Job {
    job.set_small_batches();
    job.set_short_sessions();
    job.apply_schema();
    job.load_profiles();
    job.create_topic(partitions);
    job
}

/// Every trial, in the order of the table.
pub fn all() -> Vec<Trial> {
    let mut trials = crash_points::trials();
    trials.extend(kills::trials());
    trials.extend(letters::trials());
    trials.extend(members::trials());
    trials.extend(network::trials());
    trials.extend(servers::trials());
    trials.extend(disk::trials());
    trials.extend(clock::trials());
    trials.extend(offsets::trials());
    trials.extend(months::trials());
    trials.extend(transactions::trials());
    trials.extend(raw::trials());
    trials.extend(rebuilds::trials());
    trials.extend(dedup::trials());
    trials.extend(broken::trials());
    trials.extend(replica::trials());
    trials.extend(windows::trials());
    trials.extend(joins::trials());
    trials.extend(neighbours::trials());
    trials.extend(all_four::trials());
    trials.extend(control::trials());
    trials.extend(replicated::trials());
    trials.extend(versions::trials());
    trials
}

/// The short run of one trial, with a seed of its own, or that of `STREAMWEIR_SEED`.
pub fn short(name: &str) {
    let seed = std::env::var("STREAMWEIR_SEED").ok();
    let seed = seed.map_or_else(rand::random, |text| text.parse().expect("a number"));
    println!("STREAMWEIR_SEED={seed}");
    let trial = all().into_iter().find(|trial| trial.name == name);
    let trial = trial.unwrap_or_else(|| panic!("there is no trial {name}"));
    trial.run(trial.short, seed);
}

/// The short run of every crash point, on one job.
pub fn every_crash_point_once() {
    crash_points::every_point_once();
}

/// The same for the kind `cdc`.
pub fn every_crash_point_of_a_replica_once() {
    replica::every_point_once();
}

/// The same for the kind `aggregation`.
pub fn every_crash_point_of_windows_once() {
    windows::every_point_once();
}

/// The same for the kind `stream_join`.
pub fn every_crash_point_of_a_join_once() {
    joins::every_point_once();
}
