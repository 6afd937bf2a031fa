//! `streamweir checkpoints` beside running daemons.

use sandbox::{topic, wait};
use serde_json::{Value, json};

use super::{json, run};
use crate::support::{Daemon, Job, PATIENCE, command};

fn url(daemon: &Daemon) -> String {
    format!("http://{}", daemon.http)
}

/// The partitions of a daemon, once it has so many and has read them to the end.
fn wait_for_partitions(daemon: &Daemon, count: usize) {
    let has = || {
        let (_, body) = daemon.get("/api/v1/streaming")?;
        let shown: Value = serde_json::from_str(&body).ok()?;
        let partitions = shown["pipelines"][0]["partitions"].as_array()?;
        let is_read = partitions.iter().all(|p| p["lag"] == 0);
        (partitions.len() == count && is_read).then_some(())
    };
    wait::until("the partitions are read", PATIENCE, has).unwrap_or_else(|e| {
        panic!(
            "{e}: {:?}\n{}",
            daemon.get("/api/v1/streaming"),
            daemon.log()
        )
    });
}

/// The partitions that are kept under a name, and whether something is wrong with them.
fn kept(job: &Job, name: &str) -> Vec<(i64, bool)> {
    let (code, all) = json(job, &["checkpoints", "list"]);
    assert_eq!(code, 0, "{all}");
    let all = all["checkpoints"].as_array().expect("a list").iter();
    let mut kept: Vec<_> = all
        .filter(|c| c["name"] == name)
        .map(|c| {
            (
                c["partition"].as_i64().expect("a number"),
                c["problem"].is_string(),
            )
        })
        .collect();
    kept.sort_unstable();
    kept
}

#[test]
fn a_name_counts_once_all_of_it_is_there_from_every_instance() {
    let mut job = Job::new("checkpoints");
    job.set("service.admin_token", "a-token-of-the-test");
    job.set_small_batches();
    // Nobody dies here: each has its part until it is told to stop.
    job.set("kafka.properties.session.timeout.ms", 30_000);
    job.apply_schema();
    job.create_topic(2);
    job.produce_events(0, 0..30);
    job.produce_events(1, 30..60);
    let one = job.start("one", &[], "");
    wait_for_partitions(&one, 2);
    let create = |name: &str, urls: &[String]| {
        let mut arguments = vec!["checkpoints", "create", name];
        urls.iter().for_each(|url| arguments.extend(["--url", url]));
        run(&job, &arguments)
    };
    let first = [url(&one)];
    let (code, _, why) = create("before", &first);
    assert_eq!(code, 0, "{why}");
    assert_eq!(kept(&job, "before"), [(0, false), (1, false)]);
    let (code, _, why) = create("before", &first);
    assert!(code == 1 && why.contains("taken"), "{code}: {why}");

    // Interrupted, the name is none, until it is repeated.
    let (path, _) = job.write_config("interrupted");
    let mut interrupted = command(
        &path,
        &["checkpoints", "create", "half", "--url", &first[0]],
    );
    interrupted.env("FAILPOINTS", "before_name_is_complete=return");
    let status = interrupted.output().expect("it starts").status;
    assert_eq!(status.code(), None, "it is killed");
    assert_eq!(kept(&job, "half"), [(0, true), (1, true)]);
    let (code, _, why) = run(&job, &["checkpoints", "restore", "half"]);
    assert!(
        code == 1 && why.contains("not all of this name"),
        "{code}: {why}"
    );
    let (code, _, why) = create("half", &first);
    assert_eq!(code, 0, "{why}");
    assert_eq!(kept(&job, "half"), [(0, false), (1, false)]);

    // Of two instances each has a part.
    let two = job.start("two", &[], "");
    wait_for_partitions(&two, 1);
    wait_for_partitions(&one, 1);
    let (code, _, why) = create("both", &first);
    assert!(code == 1 && why.contains("--url"), "{code}: {why}");
    assert_eq!(kept(&job, "both"), []);
    let (code, _, why) = create("both", &[url(&one), url(&two)]);
    assert_eq!(code, 0, "{why}");
    assert_eq!(kept(&job, "both"), [(0, false), (1, false)]);

    one.stop();
    two.stop();
    let (code, restored) = json(&job, &["checkpoints", "restore", "both"]);
    assert_eq!(code, 0, "{restored}");
    let offsets: Vec<&Value> = (0..2).map(|i| &restored["restored"][i]["offset"]).collect();
    assert_eq!(json!(offsets), json!([30, 30]));
    job.run_to_end();
    let ends = topic::end_offsets(job.bootstrap(), &job.topic).expect("ends");
    assert_eq!(job.rows_and_offsets().0 as i64, ends.values().sum::<i64>());
}
