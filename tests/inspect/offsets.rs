//! `streamweir offsets` and `streamweir status`.

use sandbox::topic;
use serde_json::json;

use super::{json, run};
use crate::support::Job;

#[test]
fn offsets_are_set_once_the_group_is_empty_and_the_daemon_goes_on_from_there() {
    let job = Job::new("offsets");
    job.apply_schema();
    job.create_topic(2);
    job.produce_events(0, 0..30);
    job.produce_events(1, 30..50);
    let daemon = job.start("first", &[], "");
    job.wait_for_rows(50);

    let url = daemon.http.clone();
    let (code, shown) = json(&job, &["status", "--url", &url]);
    assert_eq!(
        (code, &shown["pipelines"][0]["state"]),
        (0, &json!("running"))
    );
    let (code, table, _) = run(&job, &["status", "--url", &format!("http://{url}/")]);
    assert_eq!(code, 0);
    assert!(
        table.contains("clickstream  enrichment  running"),
        "{table}"
    );

    let reset = [
        "offsets",
        "reset",
        "--pipeline",
        "clickstream",
        "--to",
        "earliest",
    ];
    let (code, _, why) = run(&job, &reset);
    assert_eq!(code, 1, "{why}");
    assert!(
        why.contains(&job.group) && why.contains("1 member"),
        "{why}"
    );
    daemon.stop();
    let (code, _, why) = run(&job, &["status", "--url", &url]);
    assert_eq!(code, 3, "{why}");
    assert!(why.contains(&url), "{why}");

    let show = ["offsets", "show", "--pipeline", "clickstream"];
    let (code, shown) = json(&job, &show);
    assert_eq!((code, &shown["group"]), (0, &json!(job.group)));
    let place = |partition: usize| {
        let p = &shown["partitions"][partition];
        json!([
            p["topic"],
            p["partition"],
            p["committed"],
            p["end"],
            p["lag"],
            p["ranges"]
        ])
    };
    assert_eq!(place(0), json!([job.topic, 0, 30, 30, 0, []]));
    assert_eq!(place(1), json!([job.topic, 1, 20, 20, 0, []]));

    // A dry run and what cannot be change nothing.
    let (code, plan) = json(&job, &[&reset[..], &["--dry-run"]].concat());
    assert_eq!((code, &plan["partitions"][0]["to"]), (0, &json!(0)));
    let beyond = [
        "offsets",
        "reset",
        "--pipeline",
        "clickstream",
        "--to",
        "31",
    ];
    let (code, _, why) = run(&job, &beyond);
    assert_eq!(code, 1, "{why}");
    for wrong in [
        &["offsets", "show", "--pipeline", "other"][..],
        &[
            "offsets",
            "reset",
            "--pipeline",
            "clickstream",
            "--to",
            "sometime",
        ],
        &[
            "offsets",
            "reset",
            "--pipeline",
            "clickstream",
            "--to",
            "0",
            "--topic",
            "other",
        ],
        &[
            "offsets",
            "reset",
            "--pipeline",
            "clickstream",
            "--to",
            "0",
            "--partition",
            "0",
        ],
    ] {
        let (code, _, why) = run(&job, wrong);
        assert_eq!(code, 2, "{wrong:?}: {why}");
    }
    assert_eq!(json(&job, &show).1["partitions"][0]["committed"], json!(30));

    let (code, done) = json(&job, &reset);
    assert_eq!(code, 0);
    assert_eq!(done["partitions"][1]["from"], json!(20));
    let effects = done["effects"].to_string();
    assert!(effects.contains("not written again"), "{effects}");
    assert_eq!(json(&job, &show).1["partitions"][0]["committed"], json!(0));
    // What is there is recognised; what is passed over never comes.
    job.produce_events(0, 50..60);
    let one = ["--to", "35", "--topic", &job.topic, "--partition", "0"];
    let (code, done) = json(&job, &[&reset[..4], &one].concat());
    assert_eq!(
        (code, done["partitions"].as_array().map(Vec::len)),
        (0, Some(1))
    );
    drop_what_is_not_understood(&job, &[&reset[..4], &one].concat());
    job.run_to_end();
    assert_eq!(job.rows_and_offsets(), (55, 55));
    assert_eq!(json(&job, &show).1["partitions"][0]["committed"], json!(40));
}

/// Metadata of a later version halts every start: setting the same offset again drops it.
fn drop_what_is_not_understood(job: &Job, reset: &[&str]) {
    let later = topic::Committed {
        offset: 35,
        metadata: "sw9 x".to_owned(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &later).expect("committed");
    let metadata = || job.committed()[&0].metadata.clone();
    let (_, plan) = json(job, &[reset, &["--dry-run"]].concat());
    assert_eq!(plan["partitions"][0]["metadata"], "dropped", "{plan}");
    assert_eq!(metadata(), "sw9 x");
    let (code, out, why) = run(job, reset);
    assert_eq!(code, 0, "{why}");
    assert!(out.contains("35 stays, metadata dropped"), "{out}");
    assert_eq!(metadata(), "");
    let (_, again) = json(job, reset);
    assert_eq!(again["partitions"][0]["metadata"], "kept", "{again}");
}

#[test]
fn a_cluster_that_is_away_is_exit_3_and_named() {
    let mut job = Job::new("away");
    let nobody = format!(
        "127.0.0.1:{}",
        sandbox::workdir::free_port().expect("a port")
    );
    job.set("kafka.bootstrap_servers", vec![nobody.clone()]);
    let (code, _, why) = run(&job, &["offsets", "show", "--pipeline", "clickstream"]);
    assert_eq!(code, 3, "{why}");
    assert!(why.contains(&nobody), "{why}");
}
