//! What the kind `aggregation` must live through: its table and its topic end as those of an undisturbed
//! run.

mod broken;
mod crash_points;
mod lives;
mod members;
mod network;
mod servers;

use rand::Rng as _;

use super::{Attempt, Run, Trial};
use crate::support::windows::{Kind, Windows};

pub(super) use crash_points::every_point_once;

const SALES_PER_SECOND: u64 = 500;
const PARTITIONS: i32 = 4;
const EQUAL: &str = "as an undisturbed run";

/// Every trial of it, in the order of the table.
pub(super) fn trials() -> Vec<Trial> {
    let mut trials = crash_points::trials();
    trials.extend(lives::trials());
    trials.extend(members::trials());
    trials.extend(network::trials());
    trials.extend(servers::trials());
    trials.extend(broken::trials());
    trials
}

impl Run {
    fn windows(&mut self, kind: Kind) -> Windows {
        let seed = self.random.random();
        Windows::new(&self.name, kind, PARTITIONS, seed)
    }

    /// How often the fault is met by each kind of windows: by all where there is time, else by one.
    fn shares(&mut self) -> Vec<(Kind, u32)> {
        let kinds = u32::try_from(Kind::ALL.len()).expect("few");
        if self.times < kinds {
            let kind = Kind::ALL[self.random.random_range(0..Kind::ALL.len())];
            return vec![(kind, self.times)];
        }
        let share = self.times.div_ceil(kinds);
        Kind::ALL.map(|kind| (kind, share)).to_vec()
    }

    /// Table and topic are those of an undisturbed run, whoever died and took over.
    fn prove_windows(&mut self, windows: &Windows, produced: u64) {
        let counts = windows.assert_equal(produced);
        windows.job.assert_audit_finds_nothing();
        self.add(counts);
        EQUAL.clone_into(&mut self.result);
    }
}
