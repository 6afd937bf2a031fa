//! Joined events in a table, by the pipeline of examples/enriched.toml.

use std::collections::BTreeMap;

use sandbox::oracle::Case;
use serde_json::Value;

use crate::support::{Job, material};

#[test]
fn joined_events_are_written_to_a_table_each_once() {
    let case = Case::load(material("oracle/cases/dev/join-left")).expect("the case is readable");
    let join = Job::join("to-table");
    let partitions = case.description.topics.values().max().expect("two topics");
    case.create_topics(join.bootstrap(), &join.prefix)
        .expect("topics");
    join.create_output(*partitions);
    case.produce(join.bootstrap(), &join.prefix)
        .expect("records");
    join.close_join();
    let joined = join.joined();
    assert!(joined.len() > 400, "{}", joined.len());

    let file = "examples/enriched.toml";
    let mut table = Job::aggregation_of(file, "enriched-table", "enriched_table");
    table.set("pipeline.topics", vec![join.output_topic().to_owned()]);
    table.apply_schema();
    for run in ["first", "second"] {
        let (code, log) = table.run_to_code(run, &["--until", "latest"]);
        assert_eq!(code, 0, "{log}");
    }
    let rows = table.query(
        "SELECT event_id, ifNull(user_email, '-'), ifNull(toString(profile_updated_at), '-') \
         FROM {db}.enriched_clickstream",
    );
    let mut found: BTreeMap<&str, u32> = BTreeMap::new();
    for row in rows.lines() {
        *found.entry(row).or_default() += 1;
    }
    let mut expected: BTreeMap<String, u32> = BTreeMap::new();
    for record in &joined {
        let value: Value =
            serde_json::from_slice(record.value.as_deref().expect("a value")).expect("one object");
        let text = |name: &str| value[name].as_str().unwrap_or("-").to_owned();
        let time = text("profile_updated_at")
            .replace('T', " ")
            .replace('Z', "");
        let row = format!("{}\t{}\t{time}", text("event_id"), text("user_email"));
        *expected.entry(row).or_default() += 1;
    }
    let expected: BTreeMap<&str, u32> = expected.iter().map(|(k, n)| (k.as_str(), *n)).collect();
    assert_eq!(found, expected);
}
