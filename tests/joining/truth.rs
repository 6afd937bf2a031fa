//! What the second implementation says of a join beyond its expected records.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use sandbox::oracle::Case;
use serde::Deserialize;
use serde_json::json;

use crate::support::join_model::{Rules, Side};
use crate::support::join_records::{Records, SPOKEN_HEADER, parse};
use crate::support::joins::Kind;
use crate::support::{EVENT_TIME_MS, material, project_root};

/// A right record: its time, and the JSON text of its `email`, if it has that.
type Candidate = (i64, Option<String>);

#[derive(Debug, Deserialize)]
pub(crate) struct Truth {
    /// How many events have each outcome.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Of both sides.
    pub(crate) late_records: u64,
    /// On the right.
    pub(crate) tombstones: u64,
    /// What each event may be joined with, by the event's id.
    pub(crate) candidates: BTreeMap<String, Vec<Candidate>>,
}

impl Truth {
    pub(crate) fn of(case: &Case) -> Truth {
        let output = Command::new("python3")
            .arg("-B")
            .arg(project_root().join("tests/joining/truth.py"))
            .arg(material("oracle"))
            .arg(&case.dir)
            .output()
            .expect("python3 starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        serde_json::from_slice(&output.stdout).expect("one object")
    }
}

/// Random records of both sides as a case; no broker is needed.
fn random_case(directory: &Path, rules: &Rules) -> (Case, Side, Side) {
    const LEFT: &str = "left";
    let topics = [LEFT, "right"].map(str::to_owned);
    let mut source = Records::new(31, topics, 3, EVENT_TIME_MS, false);
    let mut sides = [Side::new(), Side::new()];
    let mut ends: BTreeMap<(String, i32), i64> = BTreeMap::new();
    let mut lines = String::new();
    for (topic, record) in (0..3_000).map(|number| source.record(number)) {
        let partition = record.partition.expect("it is placed");
        let offset = ends.entry((topic.clone(), partition)).or_default();
        let said = record
            .headers
            .iter()
            .find(|(name, _)| name == SPOKEN_HEADER);
        if let Some((_, Some(said))) = said {
            let said = std::str::from_utf8(said).expect("a text");
            let side = &mut sides[usize::from(topic != LEFT)];
            let records = side.entry(partition).or_default();
            records.push((*offset, parse(said)));
        }
        *offset += 1;
        let text = |bytes: Option<Vec<u8>>| bytes.map(|b| String::from_utf8(b).expect("a text"));
        let line = json!({
            "topic": topic, "partition": partition, "timestamp_ms": record.timestamp_ms,
            "key": text(record.key), "value": text(record.value),
        });
        lines.push_str(&format!("{line}\n"));
    }
    let case = json!({
        "name": "random", "kind": "stream_join", "topics": {"left": 3, "right": 3},
        "config": {
            "left": {"topic": "left", "key_field": "user_id", "time_field": "timestamp"},
            "right": {"topic": "right", "key_field": "user_id", "time_field": "updated_at"},
            "before_ms": rules.before_ms.unwrap_or(1_000_000_000_000), "after_ms": rules.after_ms,
            "watermark_delay_ms": rules.delay_ms, "join": "left",
        },
    });
    std::fs::write(directory.join("input.jsonl"), lines).expect("written");
    std::fs::write(directory.join("case.json"), case.to_string()).expect("written");
    let [left, right] = sides;
    (Case::load(directory).expect("a case"), left, right)
}

#[test]
fn the_model_of_the_fault_programme_agrees_with_the_second_implementation() {
    for kind in Kind::ALL {
        let rules = kind.rules();
        let directory = tempfile::tempdir().expect("a directory");
        let (case, left, right) = random_case(directory.path(), &rules);
        let truth = Truth::of(&case);
        let answers = rules.answers(&left, &right);
        let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
        for answer in answers.values() {
            *outcomes
                .entry(answer.outcome.label().to_owned())
                .or_default() += 1;
        }
        assert_eq!(outcomes, truth.outcomes, "{kind:?}");
        let is_rich = kind == Kind::Table || outcomes.len() == 4;
        assert!(is_rich, "every outcome is tried: {outcomes:?}");
        let late = rules.late_count(&left) + rules.late_count(&right);
        assert_eq!(late, truth.late_records, "{kind:?}");
        let mut found: Vec<usize> = answers.values().map(|a| a.candidates.len()).collect();
        let mut expected: Vec<usize> = truth.candidates.values().map(Vec::len).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{kind:?}");
    }
}
