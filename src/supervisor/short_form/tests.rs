//! The short form as people write it.

use super::*;

fn example() -> Value {
    json!({
        "pipeline_name": "clickstream_processing",
        "type": "kafka_consumer",
        "config": {
            "bootstrap_servers": "localhost:9092, other:9093",
            "topics": ["user-events"],
            "group_id": "clickstream-processor",
            "auto_offset_reset": "latest",
            "enable_auto_commit": false,
            "max_poll_records": 500,
        },
        "processing": {
            "enrichment": {
                "type": "redis_lookup",
                "key_field": "user_id",
                "cache_prefix": "user:profile:",
            },
            "aggregation": {
                "window_size_seconds": 60,
                "metrics": ["event_count", "unique_users", "session_duration"],
            },
        },
        "output": {
            "type": "clickhouse",
            "table": "clickstream_events",
            "batch_size": 1000,
            "flush_interval_ms": 5000,
        },
    })
}

fn order(body: Value) -> Result<Order, Vec<Fault>> {
    let Value::Object(body) = body else {
        unreachable!("an object");
    };
    read(body)
}

#[test]
fn the_short_form_becomes_the_shipped_pipeline() {
    let order = order(example()).unwrap();
    let pipeline = &order.pipeline;
    assert_eq!(pipeline["name"], "clickstream_processing");
    assert_eq!(pipeline["kind"], "enrichment");
    assert_eq!(pipeline["start_offset"], "latest");
    assert_eq!(
        pipeline["kafka"]["bootstrap_servers"],
        json!(["localhost:9092", "other:9093"])
    );
    assert_eq!(pipeline["lookup"]["key_prefix"], "user:profile:");
    let batch = json!({ "rows_max": 1000, "flush_interval": "5000ms" });
    assert_eq!(pipeline["batch"], batch);
    assert_eq!(order.ignored.len(), 1);
    assert_eq!(order.ignored[0].path, "config.max_poll_records");
    assert!(order.starts);
    assert_eq!(order.tables.len(), 2, "table and view: {:?}", order.tables);
    assert!(order.tables[0].contains("`clickstream_events`"));
    assert!(order.tables[1].contains("`clickstream_metrics_1min`"));
}

#[test]
fn what_would_change_its_meaning_is_refused_by_its_own_path() {
    for (pointer, value, path) in [
        (
            "/config/enable_auto_commit",
            json!(true),
            "config.enable_auto_commit",
        ),
        (
            "/config/auto_offset_reset",
            json!("newest"),
            "config.auto_offset_reset",
        ),
        ("/type", json!("kinesis"), "type"),
        ("/output/type", json!("postgres"), "output.type"),
        ("/output/table", json!(7), "output.table"),
        ("/output/batch_size", json!(-1), "output.batch_size"),
        ("/config/topics", json!("user-events"), "config.topics"),
        (
            "/processing/enrichment/type",
            json!("http"),
            "processing.enrichment.type",
        ),
        (
            "/processing/aggregation/metrics",
            json!(["p99"]),
            "processing.aggregation.metrics",
        ),
        ("/processing", json!([]), "processing"),
        ("/config", json!(null), "config"),
    ] {
        let mut body = example();
        *body.pointer_mut(pointer).unwrap() = value;
        let faults = order(body).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.path == path),
            "{pointer}: {faults:?}"
        );
    }
}

#[test]
fn keys_without_a_meaning_are_named_and_other_tables_and_windows_have_their_own_view() {
    let mut body = example();
    body["config"]["fetch_min_bytes"] = json!(1);
    body["owner"] = json!("me");
    body["output"]["table"] = json!("events");
    body["processing"]["aggregation"]["window_size_seconds"] = json!(300);
    let order = order(body).unwrap();
    let mut paths: Vec<&str> = order.ignored.iter().map(|i| i.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(
        paths,
        ["config.fetch_min_bytes", "config.max_poll_records", "owner"]
    );
    assert!(order.tables[0].contains("`events`"), "{:?}", order.tables);
    let view = &order.tables[1];
    for part in [
        "`events_metrics_300s`",
        "INTERVAL 300 SECOND",
        "FROM `events`",
    ] {
        assert!(view.contains(part), "{part}: {view}");
    }
    assert!(
        !view.contains("minute") && !view.contains(DDL_TABLE),
        "{view}"
    );
}
