//! `streamweir dead-letters`.

use sandbox::topic::{self, Record};
use serde_json::json;

use super::audit::{change, replica, row};
use super::{json, json_lines, run};
use crate::support::{Job, event};

/// A job whose odd records lack a field that is required for now, and one that no configuration can read.
pub(super) fn with_letters(name: &str) -> Job {
    let mut job = Job::new(name);
    job.set("pipeline.columns.page_url.required", true);
    job.apply_schema();
    job.create_topic(1);
    let record = |number: u32| {
        let page = format!(r#","page_url":"/{number}""#);
        let rest = if number.is_multiple_of(2) { &*page } else { "" };
        Record::new(event(number, rest))
            .partition(0)
            .header("trace", "7")
    };
    let broken = Record::new("{").partition(0);
    let records = (0..10).map(record).chain([broken]);
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job
}

#[test]
fn a_replayed_letter_is_written_once_however_often_it_is_replayed() {
    let mut job = with_letters("letters");
    assert_eq!(job.rows_and_offsets(), (5, 5));
    let (code, _, why) = run(&job, &["dead-letters", "list"]);
    assert_eq!(code, 2, "{why}");
    assert!(why.contains("--all"), "{why}");
    let letters = json_lines(&job, &["dead-letters", "list", "--all"]);
    assert_eq!(letters.len(), 6);
    let first = &letters[0];
    let told = [
        "topic",
        "partition",
        "offset",
        "pipeline",
        "stage",
        "reason",
        "state",
    ];
    let told = told.map(|name| first[name].clone());
    let expected = json!([
        job.topic,
        0,
        1,
        "clickstream",
        "encode",
        "missing_field",
        "open"
    ]);
    assert_eq!(json!(told), expected);
    let by_reason = ["dead-letters", "list", "--reason", "invalid_json"];
    assert_eq!(json_lines(&job, &by_reason).len(), 1);
    let place = format!("{}:0:3", job.topic);
    let (code, shown) = json(&job, &["dead-letters", "show", &place]);
    assert_eq!(
        (code, &shown["pipelines"][0]["reason"]),
        (0, &json!("missing_field"))
    );
    assert_eq!(
        shown["record"]["headers"],
        json!([{ "name": "trace", "value": "7" }])
    );
    let (code, _, _) = run(
        &job,
        &["dead-letters", "show", &format!("{}:0:2", job.topic)],
    );
    assert_eq!(code, 1);

    // The configuration is as it was: all are refused again, and more than so many end it.
    let replay = ["dead-letters", "replay", "--pipeline", "clickstream"];
    let (code, done) = json(&job, &[&replay[..], &["--refused-max", "2"]].concat());
    assert_eq!(
        (code, &done["refused"]),
        (1, &json!({ "missing_field": 3 }))
    );

    job.set("pipeline.columns.page_url.required", false);
    let (code, dry) = json(&job, &[&replay[..], &["--dry-run"]].concat());
    let expected = |written: u64, already: u64| {
        json!({ "selected": 6, "written": written, "already_written": already,
                "refused": { "invalid_json": 1 } })
    };
    assert_eq!((code, dry), (1, expected(5, 0)));
    assert_eq!(job.rows_and_offsets(), (5, 5));
    // What the daemon reads again itself is left to it.
    let back = ["offsets", "reset", "--pipeline", "clickstream", "--to"];
    let (code, _, why) = run(&job, &[&back[..], &["5"]].concat());
    assert_eq!(code, 0, "{why}");
    let (code, dry) = json(&job, &[&replay[..], &["--dry-run"]].concat());
    let left = json!({ "selected": 6, "written": 2, "already_written": 0,
                       "refused": { "not_committed": 4 } });
    assert_eq!((code, dry), (1, left));
    let (code, done) = json(
        &job,
        &[
            "dead-letters",
            "replay",
            "--address",
            &format!("{}:0:5", job.topic),
        ],
    );
    assert_eq!(
        (code, &done["refused"]),
        (1, &json!({ "not_committed": 1 }))
    );
    assert_eq!(job.rows_and_offsets(), (5, 5));
    let (code, _, why) = run(&job, &[&back[..], &["latest"]].concat());
    assert_eq!(code, 0, "{why}");
    let one = ["dead-letters", "replay", "--address", &place];
    let (code, done) = json(&job, &one);
    assert_eq!((code, &done["written"]), (0, &json!(1)));
    // A limit is of those that the table lacks.
    let (code, done) = json(
        &job,
        &[&replay[..], &["--limit", "1", "--dry-run"]].concat(),
    );
    assert_eq!((code, &done["written"]), (0, &json!(1)));
    let (code, done) = json(&job, &[&replay[..], &["--limit", "2"]].concat());
    assert_eq!((code, &done["written"]), (0, &json!(2)));
    let (code, done) = json(&job, &[&replay[..], &["--limit", "2"]].concat());
    let counted = json!([done["written"], done["already_written"]]);
    assert_eq!((code, counted), (0, json!([2, 3])));
    assert_eq!(json(&job, &replay), (1, expected(0, 5)));
    assert_eq!(json(&job, &replay), (1, expected(0, 5)));
    assert_eq!(job.rows_and_offsets(), (10, 10));
    let states = json_lines(&job, &["dead-letters", "list", "--all"]);
    let open: Vec<_> = states.iter().filter(|l| l["state"] == "open").collect();
    assert_eq!(open.len(), 1);
    assert_eq!(open[0]["reason"], "invalid_json");
    let (_, summary) = json(&job, &["dead-letters", "list", "--all", "--summary"]);
    let missing =
        json!({ "pipeline": "clickstream", "reason": "missing_field", "open": 0, "written": 5 });
    assert_eq!(summary["summary"][1], missing);
    // Nothing went to the source, and nothing is wrong.
    let (code, audit) = json(&job, &["audit", "--pipeline", "clickstream"]);
    assert_eq!(code, 0, "{audit}");
    let counts = &audit["counts"];
    assert_eq!(
        json!([
            counts["records"],
            counts["rows"],
            counts["dead_letters"],
            counts["dead_letters_replayed"]
        ]),
        json!([11, 10, 1, 5])
    );
}

#[test]
fn letters_of_a_topic_that_was_deleted_are_not_replayed_under_the_one_of_its_name() {
    let mut job = with_letters("letters-of-before");
    // As earlier versions wrote them: without the id of their topic.
    let letters = job.dead_letters().expect("dead letters");
    let old = letters.iter().map(|letter| {
        let mut old = Record::new(letter.value.clone().expect("a value")).partition(0);
        for (name, value) in &letter.headers {
            if name != "streamweir-topic-id" {
                old = old.header(name, value.clone().unwrap_or_default());
            }
        }
        old
    });
    let old: Vec<Record> = old.collect();
    let has_id = |letter: &topic::Received| letter.header("streamweir-topic-id").is_some();
    assert!(letters.len() == 6 && letters.iter().all(has_id));
    topic::produce(job.bootstrap(), &job.dead_letter_topic, old).expect("letters");
    topic::delete(job.bootstrap(), &job.topic).expect("deleted");
    job.create_topic(1);
    let others = (100..115).map(|number| Record::new(event(number, "")).partition(0));
    topic::produce(job.bootstrap(), &job.topic, others).expect("records");
    job.set("pipeline.columns.page_url.required", false);
    let back = [
        "offsets",
        "reset",
        "--pipeline",
        "clickstream",
        "--to",
        "latest",
    ];
    let (code, _, why) = run(&job, &back);
    assert_eq!(code, 0, "{why}");
    let (code, done) = json(&job, &["dead-letters", "replay", "--all"]);
    let expected = json!({ "selected": 12, "written": 0, "already_written": 0,
                           "refused": { "topic_changed": 12 } });
    assert_eq!((code, done), (1, expected));
    assert_eq!(job.rows_and_offsets(), (5, 5));
}

#[test]
fn a_change_of_before_its_table_was_emptied_is_not_replayed() {
    let (mut job, topic) = replica("letters-emptied");
    job.set("pipeline.truncate", "apply");
    let too_large = |id: u32| {
        let after = format!(r#"{{"id":{id},"v":"large","n":99999999999}}"#);
        change("u", id, "null", &after)
    };
    let mut emptied = change("t", 0, "null", "null");
    emptied.key = None;
    let records = [
        row(1, "a"),
        too_large(7),
        row(2, "a"),
        emptied,
        row(3, "a"),
        too_large(8),
    ];
    topic::produce(job.bootstrap(), &topic, records).expect("records");
    job.run_to_end();
    job.query("ALTER TABLE {db}.t MODIFY COLUMN n Nullable(Int64)");
    job.config["pipeline"][0]["tables"][&topic]["columns"]["n"] = "Nullable(Int64)".into();
    let replay = ["dead-letters", "replay", "--all"];
    let (code, done) = json(&job, &replay);
    let expected = |written: u64| json!({ "selected": 2, "written": written, "already_written": 1 - written, "refused": {}, "dropped": 1 });
    assert_eq!((code, done), (0, expected(1)));
    assert_eq!(json(&job, &replay), (0, expected(0)));
    let rows = job.query("SELECT id FROM {db}.t FINAL WHERE _deleted = 0 ORDER BY id");
    assert_eq!(rows, "3\n8");
}
