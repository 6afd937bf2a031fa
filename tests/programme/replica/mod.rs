//! What the kind `cdc` must live through: its replicas end equal to their sources.

mod broken;
mod columns;
mod crash_points;
mod live;
mod lives;
mod network;
mod servers;

use rand::Rng as _;

use super::{Attempt, Run, Trial};
use crate::support::replica::Replica;

pub(super) use crash_points::every_point_once;

const CHANGES_PER_SECOND: u64 = 300;
const PARTITIONS: i32 = 3;
const EQUAL: &str = "equal to its source";

/// Every trial of it, in the order of the table.
pub(super) fn trials() -> Vec<Trial> {
    let mut trials = crash_points::trials();
    trials.extend(lives::trials());
    trials.extend(columns::trials());
    trials.extend(network::trials());
    trials.extend(servers::trials());
    trials.extend(live::trials());
    trials.extend(broken::trials());
    trials
}

impl Run {
    fn replica(&mut self) -> Replica {
        let seed = self.random.random();
        Replica::new(&self.name, PARTITIONS, seed)
    }

    /// Every table equals its source, whoever died and took over.
    pub(super) fn prove_equal(&mut self, replica: &Replica, produced: u64) {
        let counts = replica.assert_equal(produced);
        replica.job.assert_audit_finds_nothing();
        self.add(counts);
        EQUAL.clone_into(&mut self.result);
    }
}
