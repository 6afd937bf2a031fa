//! Sides that are far apart: right as long as there is room, a clear halt when there is none.

use crate::support::EVENT_TIME_MS;
use crate::support::join_model::Spoken;
use crate::support::skewed::{Skewed, spread};

/// What lies on the side that is ahead, or behind.
const MANY: i64 = 300_000;
const FEW: i64 = 3_000;
const USERS: u64 = 500;

#[test]
fn profiles_that_lie_far_ahead_of_their_events_wait_outside_the_memory() {
    let mut skewed = Skewed::new("right-ahead");
    skewed.update(spread(MANY, USERS));
    skewed.happen(spread(FEW, USERS));
    skewed.assert_joined_within_memory();
}

#[test]
fn events_that_lie_far_ahead_of_their_profiles_wait_outside_the_memory() {
    let mut skewed = Skewed::new("left-ahead");
    skewed.happen(spread(MANY, USERS));
    skewed.update(spread(FEW, USERS));
    skewed.assert_joined_within_memory();
}

#[test]
fn profiles_that_do_not_fit_halt_and_say_so() {
    let mut skewed = Skewed::new("too-large");
    let users = (0..MANY * 2).map(|number| Spoken {
        time_ms: EVENT_TIME_MS + number / 4,
        user: Some(number.unsigned_abs()),
        ends_profile: false,
    });
    skewed.update(users);
    skewed.happen(spread(10, USERS));
    for before in ["unlimited", "300s"] {
        skewed.job.set("pipeline.join.before", before);
        let group = format!("{}-{before}", skewed.job.group);
        skewed.job.set("pipeline.group_id", group);
        let advice = ["memory_max", "pipeline.join"];
        skewed.job.assert_halts(before, "state_too_large", &advice);
    }
}
