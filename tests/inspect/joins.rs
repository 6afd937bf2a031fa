//! `streamweir audit` of a join.

use sandbox::topic::{self, Record};
use serde_json::json;

use super::{json, run};
use crate::support::joins::{Joins, Kind};

#[test]
fn joined_records_are_computed_again_and_one_that_is_there_twice_is_found() {
    for kind in [Kind::Left, Kind::Table] {
        let joins = Joins::new("audit-join", kind, 2, 21);
        joins.produce(1_500);
        joins.close();
        let job = &joins.job;
        let audit = ["audit", "--pipeline", "enriched"];
        let (code, clean) = json(job, &audit);
        assert_eq!(code, 0, "{kind:?}: {clean}");
        let rows = clean["counts"]["rows"].as_u64().expect("a number");
        assert!(rows > 200, "{kind:?}: {clean}");
        let joined = job.joined();
        let twice = joined.iter().find(|record| record.partition == 1);
        let twice = twice.expect("a joined record");
        let end = topic::end_offsets(job.bootstrap(), job.output_topic()).expect("ends")[&1];
        let mut copy = Record::new(twice.value.clone().expect("a value")).partition(1);
        copy.key.clone_from(&twice.key);
        topic::produce(job.bootstrap(), job.output_topic(), [copy]).expect("a copy");
        let (code, found) = json(job, &audit);
        let address = json!({ "topic": job.output_topic(), "partition": 1, "offset": end });
        assert_eq!(
            (code, &found["doubled"]),
            (1, &json!([address])),
            "{kind:?}: {found}"
        );
        assert_eq!(found["counts"]["lost"], json!(0));
    }
}

#[test]
fn a_join_at_the_first_match_cannot_be_computed_again() {
    let joins = Joins::new("audit-eager", Kind::Eager, 1, 22);
    let (code, _, why) = run(&joins.job, &["audit", "--pipeline", "enriched"]);
    assert_eq!(code, 1, "{why}");
    assert!(why.contains("eager"), "{why}");
}
