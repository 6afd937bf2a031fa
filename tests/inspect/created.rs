//! Pipelines that were created over HTTP, in the commands that look at records.

use sandbox::topic::{self, Record};
use sandbox::wait;
use serde_json::{Value, json};

use super::{json, json_lines, run};
use crate::support::{Daemon, Job, PATIENCE, event};

const TOKEN: &str = "open-sesame";

fn order(daemon: &Daemon, method: &str, target: &str, pipeline: &Value) {
    let target = format!("/api/v1/streaming/{target}");
    let body = json!({ "pipeline": pipeline }).to_string();
    let taken = || {
        let (status, answer) = daemon.request(method, &target, Some(TOKEN), &body)?;
        assert!(status < 400 || status == 409, "{status} {answer}");
        (status < 400).then_some(())
    };
    wait::until(&target, PATIENCE, taken).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
}

#[test]
fn a_created_pipeline_is_explained_audited_and_its_letters_are_replayed() {
    let mut job = Job::new("created-letters");
    job.apply_schema();
    job.create_topic(1);
    job.set("service.admin_token", TOKEN);
    job.set("pipeline.columns.page_url.required", true);
    let mut pipeline = serde_json::to_value(&job.config["pipeline"][0]).expect("JSON");
    pipeline["name"] = json!("made");
    // The file has none of its own.
    let of_file = job.config["pipeline"].clone();
    job.config
        .insert("pipeline".into(), toml::Value::Array(vec![]));
    job.config.remove("topics");
    let daemon = job.start("a", &[], "");
    wait::until("it answers", PATIENCE, || daemon.get("/livez")).expect("it does");
    order(&daemon, "POST", "create", &pipeline);
    let rest = r#","page_url":"/""#;
    let records = [event(0, rest), event(1, ""), event(2, rest)];
    let records = records.map(|value| Record::new(value).partition(0));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.wait_for_rows(2);
    let committed = || {
        job.committed()
            .get(&0)
            .is_some_and(|c| c.offset == 3)
            .then_some(())
    };
    wait::until("it is committed", PATIENCE, committed).expect("it is");

    let address = |offset: u8| format!("{}:0:{offset}", job.topic);
    let explained = json_lines(&job, &["explain", &address(0), &address(1)]);
    let told = explained.iter().map(|one| {
        let own = &one["pipelines"][0];
        json!([own["pipeline"], own["outcome"], own["now"], own["reason"]])
    });
    let expected = [
        json!(["made", "row", "in_table", null]),
        json!(["made", "dead_letter", "dead_letter", "missing_field"]),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    let (code, audit) = json(&job, &["audit", "--pipeline", "made", "--values"]);
    let counts = &audit["counts"];
    let counts = json!([
        code,
        counts["records"],
        counts["rows"],
        counts["dead_letters"]
    ]);
    assert_eq!(counts, json!([0, 3, 2, 1]), "{audit}");
    let letters = json_lines(&job, &["dead-letters", "list", "--pipeline", "made"]);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        json!([letters[0]["offset"], letters[0]["state"]]),
        json!([1, "open"])
    );

    // What is created anew counts at once.
    pipeline["columns"]["page_url"]["required"] = json!(false);
    order(&daemon, "PUT", "made", &pipeline);
    let (code, replay) = json(&job, &["dead-letters", "replay", "--pipeline", "made"]);
    assert_eq!((code, &replay["written"]), (0, &json!(1)), "{replay}");
    assert_eq!(job.rows_and_offsets(), (3, 3));
    let (code, _, why) = run(&job, &["audit", "--pipeline", "clickstream"]);
    assert!(code == 2 && why.contains("it has: made"), "{why}");

    // Another command says what a broken one is, and does without it.
    daemon.stop();
    let kept = job.directory.path().join("state/pipelines/made.json");
    assert!(kept.exists(), "{}", kept.display());
    std::fs::write(&kept, "{").expect("a file");
    job.config.insert("pipeline".into(), of_file);
    let (code, out, why) = run(&job, &["explain", &address(0)]);
    assert!(code == 0 && out.contains("clickstream"), "{out}{why}");
    assert!(why.contains("a created pipeline cannot be read"), "{why}");
}
