//! How far pipelines are complete: `streamweir wait` and `GET /api/v1/watermarks`.

use sandbox::topic::{self, Record};
use sandbox::wait;
use serde_json::{Value, json};

use super::{json, run};
use crate::support::{Daemon, EVENT_TIME_MS, Job, PATIENCE};

const PARTITIONS: i32 = 4;
const ROUNDS: u32 = 12;
const EVENTS_PER_ROUND: u32 = 200;

fn time_ms(text: &Value) -> Option<i64> {
    let time: jiff::Timestamp = text.as_str()?.parse().expect("RFC 3339");
    Some(time.as_millisecond())
}

fn at(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms)
        .expect("a time")
        .to_string()
}

/// What a daemon answers for its only pipeline.
fn watermarks(daemon: &Daemon) -> Option<Value> {
    let (status, body) = daemon.get("/api/v1/watermarks")?;
    assert_eq!(status, 200, "{body}");
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let pipeline = body["pipelines"][0].clone();
    pipeline["error"].is_null().then_some(pipeline)
}

/// Of each partition, if all are known.
fn by_partition(pipeline: &Value) -> Vec<Option<i64>> {
    let partitions = pipeline["partitions"].as_array().expect("partitions");
    partitions
        .iter()
        .map(|p| time_ms(&p["watermark"]))
        .collect()
}

/// `streamweir wait`, its exit code and its document.
fn waited(job: &Job, arguments: &[&str]) -> (i32, Value) {
    json(job, &[&["wait"], arguments].concat())
}

#[test]
fn a_watermark_holds_across_members_that_are_killed_and_is_never_taken_back() {
    let mut job = Job::new("complete");
    job.set("pipeline.watermark_delay", "5s");
    job.set("pipeline.batch.flush_interval", "100ms");
    job.set("kafka.properties.session.timeout.ms", 2_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
    job.apply_schema();
    job.create_topic(PARTITIONS);
    let stays = job.start("stays", &[], "");
    let mut other = job.start("other", &[], "");
    let mut told = vec![None; PARTITIONS as usize];
    let mut least = None;
    // The rows that are before a time that was told are there when it is.
    let mut look = |daemon: &Daemon| {
        let Some(pipeline) = watermarks(daemon) else {
            return;
        };
        let (now, now_least) = (by_partition(&pipeline), time_ms(&pipeline["watermark"]));
        assert!(
            now.iter().zip(&told).all(|(now, told)| now >= told),
            "{told:?} {pipeline}"
        );
        assert!(now_least >= least, "{least:?} {pipeline}");
        assert_eq!(now_least, now.iter().copied().min().flatten(), "{pipeline}");
        if let Some(ms) = now_least.filter(|_| now_least > least) {
            let seconds = (ms - EVENT_TIME_MS).div_euclid(1000);
            let expected = seconds.max(0) * i64::from(PARTITIONS);
            let rows = format!(
                "SELECT count() FROM {{db}}.clickstream_events WHERE toUnixTimestamp64Milli(timestamp) < {ms}"
            );
            assert!(
                job.query(&rows).parse::<i64>().expect("a number") >= expected,
                "{ms}"
            );
        }
        (told, least) = (now, now_least);
    };
    for round in 0..ROUNDS {
        for partition in 0..PARTITIONS {
            job.produce_events(
                partition,
                round * EVENTS_PER_ROUND..(round + 1) * EVENTS_PER_ROUND,
            );
        }
        if round % 4 == 1 {
            other.process.kill();
            other = job.start(&format!("other-{round}"), &[], "");
        }
        for _ in 0..5 {
            look(&stays);
            look(&other);
        }
    }
    let last_ms = EVENT_TIME_MS + i64::from(ROUNDS * EVENTS_PER_ROUND - 1) * 1000 - 5_000;
    let own = ["--pipeline", "clickstream", "--timeout", "5m"];
    let (code, document) = waited(&job, &[&own[..], &["--watermark", &at(last_ms)]].concat());
    assert_eq!(
        (code, &document["reached"]),
        (0, &json!(true)),
        "{document}"
    );
    assert_eq!(time_ms(&document["watermark"]), Some(last_ms), "{document}");
    look(&stays);
    let (code, document) = waited(&job, &[&own[..], &["--committed", "latest"]].concat());
    assert_eq!(
        (code, &document["state"]),
        (0, &json!("reached")),
        "{document}"
    );
    let count = (ROUNDS * EVENTS_PER_ROUND) as usize * PARTITIONS as usize;
    assert_eq!(job.rows_and_offsets(), (count, count));

    // A time that no record has passed is not reached, and a table that is gone halts.
    let beyond = at(last_ms + 1);
    let short = ["--pipeline", "clickstream", "--timeout", "1s"];
    let (code, document) = waited(&job, &[&short[..], &["--watermark", &beyond]].concat());
    assert_eq!(
        (code, &document["state"]),
        (1, &json!("timeout")),
        "{document}"
    );
    let (code, document) = waited(&job, &[&short[..], &["--committed", "999999"]].concat());
    assert_eq!(code, 1, "{document}");
    assert_eq!(
        document["missing"].as_array().map(Vec::len),
        Some(PARTITIONS as usize)
    );
    job.query("RENAME TABLE {db}.clickstream_events TO {db}.away");
    job.produce_events(0, 0..10);
    job.produce_events(1, 0..10);
    job.produce_events(2, 0..10);
    job.produce_events(3, 0..10);
    // With their only pipeline halted the daemons end.
    for daemon in [&stays, &other] {
        let status = daemon.process.wait(PATIENCE).expect("it ends");
        assert_eq!(status.code(), Some(4), "{}", daemon.log());
    }
    let url = stays.http.clone();
    let (code, document) = waited(
        &job,
        &[&own[..], &["--watermark", &beyond, "--url", &url]].concat(),
    );
    assert_eq!(
        (code, &document["state"]),
        (4, &json!("halted")),
        "{document}"
    );
    assert!(
        document["halted"]["advice"]
            .as_str()
            .is_some_and(|a| !a.is_empty()),
        "{document}"
    );
}

#[test]
fn windows_are_complete_once_their_last_rows_are_written() {
    let mut job = Job::aggregation("windows-complete", "sales");
    job.set("pipeline.batch.flush_interval", "100ms");
    job.unset("pipeline.output");
    job.set("watermark.all.pipelines", vec!["sales".to_owned()]);
    job.set("watermark.all.table", "streamweir_watermarks");
    job.apply_schema();
    job.create_topic(2);
    let sell = |seconds: &[i64]| {
        let sale = |(partition, second): (i32, &i64)| {
            let time_ms = EVENT_TIME_MS + second * 1_000;
            Record::new(format!(
                r#"{{"timestamp":{time_ms},"category":"a","amount":1}}"#
            ))
            .timestamp_ms(time_ms)
            .partition(partition)
        };
        let all =
            (0..2).flat_map(|partition| seconds.iter().map(move |second| (partition, second)));
        topic::produce(job.bootstrap(), &job.topic, all.map(sale)).expect("records");
    };
    sell(&[0, 30, 61]);
    let daemon = job.start("a", &[], "");
    let own = ["--pipeline", "sales", "--timeout", "5m"];
    // Read to the end, with windows that are open.
    let (code, document) = waited(&job, &[&own[..], &["--committed", "latest"]].concat());
    assert_eq!(code, 0, "{document}");
    let minute = at(EVENT_TIME_MS + 60_000);
    let once = ["--pipeline", "sales", "--timeout", "0", "--watermark"];
    let (code, document) = waited(&job, &[&once[..], &[&minute]].concat());
    assert_eq!(code, 1, "{document}");
    // Delay and lateness of the shipped windows are 10 and 60 seconds.
    sell(&[131]);
    let (code, document) = waited(&job, &[&own[..], &["--watermark", &minute]].concat());
    assert_eq!(code, 0, "{document}");
    assert_eq!(
        time_ms(&document["watermark"]),
        Some(EVENT_TIME_MS + 61_000),
        "{document}"
    );
    let rows = "SELECT total_sales, is_final FROM {db}.sales_aggregates_1min FINAL \
                ORDER BY window_start LIMIT 1";
    assert_eq!(job.query(rows), "4\t1");
    // The same under a name, from the daemon and in the table.
    let (code, document) = waited(
        &job,
        &["--name", "all", "--timeout", "5m", "--watermark", &minute],
    );
    assert_eq!(code, 0, "{document}");
    let told = || {
        let (_, body) = daemon.get("/api/v1/watermarks")?;
        let body: Value = serde_json::from_str(&body).expect("JSON");
        let named = &body["named"][0];
        assert_eq!(named["name"], "all", "{body}");
        (time_ms(&named["watermark"]) == Some(EVENT_TIME_MS + 61_000)).then_some(())
    };
    wait::until("the daemon tells the same", PATIENCE, told).expect("it does");
    let written = || {
        let row = "SELECT name, toUnixTimestamp64Milli(max(watermark)) FROM {db}.streamweir_watermarks \
                   GROUP BY name";
        (job.query(row) == format!("all\t{}", EVENT_TIME_MS + 61_000)).then_some(())
    };
    wait::until("the table has it", PATIENCE, written)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    daemon.stop();
}

#[test]
fn what_cannot_be_waited_for_is_said_before_anything_is_asked() {
    let job = Job::raw("no-time");
    for (arguments, words) in [
        (
            &[
                "--pipeline",
                "bronze",
                "--watermark",
                "2026-11-21T10:00:00Z",
            ][..],
            "no event time",
        ),
        (
            &["--pipeline", "nobody", "--committed", "latest"],
            "no pipeline \"nobody\"",
        ),
        (&["--pipeline", "bronze"], "required"),
        (
            &["--name", "nobody", "--committed", "latest"],
            "no [watermark.\"nobody\"]",
        ),
        (&["--committed", "latest"], "required"),
        (&["--pipeline", "bronze", "--committed", "soon"], "RFC 3339"),
        (
            &["--pipeline", "bronze", "--watermark", "soon"],
            "--watermark",
        ),
        (
            &[
                "--pipeline",
                "bronze",
                "--committed",
                "latest",
                "--timeout",
                "long",
            ],
            "write a duration",
        ),
        (
            &[
                "--pipeline",
                "bronze",
                "--committed",
                "1",
                "--watermark",
                "2026-11-21T10:00:00Z",
            ],
            "cannot be used with",
        ),
    ] {
        let (code, out, err) = run(&job, &[&["wait"], arguments].concat());
        assert_eq!(code, 2, "{arguments:?}: {out}{err}");
        assert!(err.contains(words), "{words}: {err}");
    }
    // Nothing to read is nothing to wait for.
    job.create_topic(2);
    let arguments = [
        "--pipeline",
        "bronze",
        "--committed",
        "latest",
        "--timeout",
        "0",
    ];
    let (code, document) = waited(&job, &arguments);
    assert_eq!(
        (code, &document["reached"]),
        (0, &json!(true)),
        "{document}"
    );
}
