//! Sides that are far apart: right as long as there is room, a clear halt when there is none.

use crate::support::join_model::Spoken;
use crate::support::skewed::{Skewed, spread};
use crate::support::{EVENT_TIME_MS, TO_THE_END};

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

/// More updates than fit, of which no event needs any.
fn many_updates_and_later_events(name: &str) -> Skewed {
    let mut skewed = Skewed::new(name);
    let users = (0..MANY * 2).map(|number| Spoken {
        time_ms: EVENT_TIME_MS + number / 4,
        user: Some(number.unsigned_abs()),
        ends_profile: false,
    });
    skewed.update(users);
    skewed.happen(spread(10, USERS));
    skewed
}

#[test]
fn what_a_slow_transaction_keeps_from_being_let_go_is_not_too_much() {
    let skewed = many_updates_and_later_events("slow");
    let args = ["--until", "latest", "--close"];
    let slow = "in_transaction=4*sleep(3000)->off";
    let daemon = skewed.job.start("slow", &args, slow);
    let status = daemon.process.wait(TO_THE_END).expect("it ends");
    assert!(status.success(), "{status}: {}", daemon.log());
    assert!(skewed.job.joined().len() == 10);
}

#[test]
fn a_table_that_does_not_fit_halts_and_says_so_and_a_limited_time_fits() {
    let mut skewed = many_updates_and_later_events("too-large");
    skewed.job.set("pipeline.join.before", "unlimited");
    skewed.job.set("pipeline.join.retention_accepted", true);
    let advice = ["memory_max", "pipeline.join"];
    skewed
        .job
        .assert_halts("unlimited", "state_too_large", &advice);
    // No event that is to come needs them.
    skewed.job.set("pipeline.join.before", "300s");
    let group = format!("{}-limited", skewed.job.group);
    skewed.job.set("pipeline.group_id", group);
    let (code, log) = skewed
        .job
        .run_to_code("limited", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    // The other group may have sent some before it halted.
    assert!(skewed.job.joined().len() >= 10);
}
