//! What is there when a join begins, and what it refuses to begin with.

use sandbox::topic;

use crate::support::Job;
use crate::support::joins::{Joins, Kind};

#[test]
fn topics_of_unequal_partition_counts_are_refused_by_name() {
    let job = Job::join("unequal");
    job.create_topic(3);
    let settings = [("retention.ms", "-1")];
    topic::create(job.bootstrap(), job.right_topic(), 2, &settings).expect("a topic");
    job.create_output(3);
    let advice = [job.topic.as_str(), job.right_topic(), "3", "2"];
    job.assert_halts("unequal", "co_partitioning", &advice);
}

#[test]
fn a_random_join_of_each_kind_is_as_the_model_says() {
    for kind in Kind::ALL {
        let joins = Joins::new("random", kind, 3, 21);
        let produced = joins.produce(3_000);
        joins.close();
        let counts = joins.assert_equal(produced);
        assert!(counts.rows > 1_000, "{counts:?}");
    }
}

#[test]
fn closing_twice_sends_nothing_twice() {
    let joins = Joins::new("closed-twice", Kind::Left, 3, 22);
    let produced = joins.produce(1_000);
    for _ in 0..3 {
        joins.close();
        joins.assert_equal(produced);
    }
}
