//! How fast and how much a pipeline reads.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{ready, wait_for_page};
use crate::support::{Job, PATIENCE};

const TOKEN: &str = "open-sesame";

#[test]
fn a_limited_pipeline_says_so_and_the_control_api_lifts_the_limit_while_it_runs() {
    let mut job = ready("limited", 2);
    job.set("service.admin_token", TOKEN);
    // A second member of the group would have partitions revoked while it joins.
    job.set("pipeline.consumers", 1);
    job.set("pipeline.records_per_second_max", 20);
    job.produce_events(0, 0..2_000);
    job.produce_events(1, 0..2_000);
    // The limit begins to count before the first row is there, which may be long in coming.
    let began = Instant::now();
    let daemon = job.start("a", &[], "");
    job.wait_for_rows(60);
    let (rows, _) = job.rows_and_offsets();
    let allowed = 100 + 20 * began.elapsed().as_secs() as usize;
    assert!(rows < allowed.max(200), "{rows} rows, {allowed} allowed");

    let path = "/api/v1/streaming/clickstream";
    let is_limited = |body: &str| {
        let status: Value = serde_json::from_str(body).unwrap_or_default();
        status["limits"]["limited"] == true
    };
    let status = wait_for_page(&daemon, path, "it is limited", |_, body| is_limited(body));
    let status: Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(status["limits"]["records_per_second_max"], 20, "{status}");
    assert_eq!(status["limits"]["bytes_per_second_max"], Value::Null);
    let reason = status["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("20 records a second"), "{status}");
    assert_eq!(status["stuck"], json!([]), "{status}");
    let (_, metrics) = daemon.get("/metrics").expect("an answer");
    let paused = r#"streamweir_paused_seconds_total{pipeline="clickstream",reason="rate"}"#;
    assert!(metrics.contains(paused), "{metrics}");

    let limit = |token, body: &str| {
        let path = "/api/v1/streaming/clickstream/limits";
        let (status, body) = daemon
            .request("POST", path, token, body)
            .expect("an answer");
        (
            status,
            serde_json::from_str::<Value>(&body).unwrap_or_default(),
        )
    };
    assert_eq!(limit(None, r#"{"records_per_second_max":1}"#).0, 401);
    let (status, body) = limit(Some(TOKEN), r#"{"records_per_second_max":0}"#);
    assert_eq!(status, 422, "{body}");
    assert_eq!(
        body["error"]["problems"][0]["path"],
        "records_per_second_max"
    );
    let (status, body) = limit(Some(TOKEN), r#"{"bytes_per_second_max":"1GiB"}"#);
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["records_per_second_max"], 20);
    assert_eq!(body["bytes_per_second_max"], 1 << 30);
    let (status, body) = limit(Some(TOKEN), r#"{"records_per_second_max":null}"#);
    assert_eq!(
        (status, &body["records_per_second_max"]),
        (200, &Value::Null)
    );
    // 3,900 rows at 20 a second would take more than three minutes.
    let lifted = Instant::now();
    job.wait_for_rows(4_000);
    assert!(lifted.elapsed() < Duration::from_secs(150));
    assert!(
        !daemon.log().contains("partitions revoked"),
        "{}",
        daemon.log()
    );
    daemon.stop();
    assert_eq!(job.rows_and_offsets(), (4_000, 4_000));
}

#[test]
fn a_run_of_so_many_records_commits_no_more_than_these() {
    let mut job = ready("so-many", 3);
    job.set("pipeline.consumers", 2);
    for partition in 0..3 {
        job.produce_events(partition, 0..100);
    }
    let committed = |job: &Job| -> i64 { job.committed().values().map(|c| c.offset).sum() };
    let mut expected = 0;
    for records_max in [1, 120, 7] {
        expected += records_max;
        let records_max = records_max.to_string();
        let (code, log) = job.run_to_code("max", &["--records-max", &records_max]);
        assert_eq!(code, 0, "{log}");
        assert_eq!(committed(&job), expected);
        let rows = usize::try_from(expected).expect("few");
        assert_eq!(job.rows_and_offsets(), (rows, rows));
    }
    // Whichever comes first.
    let (code, log) = job.run_to_code("first", &["--records-max", "100000", "--until", "latest"]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(job.rows_and_offsets(), (300, 300));
    job.assert_committed_to_end();
    // Without more to read it waits for more.
    let daemon = job.start("waits", &["--records-max", "5"], "");
    daemon.wait_for_log("partition begins");
    job.produce_events(1, 100..120);
    let status = daemon.process.wait(PATIENCE).expect("the run ends");
    assert!(status.success(), "{status}: {}", daemon.log());
    assert_eq!(committed(&job), 305);
}
