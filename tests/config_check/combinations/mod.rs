//! Values that are right alone and impossible together.

mod enrichment;
mod join;
mod replica;
mod windows;

use super::*;

#[test]
fn a_table_or_topic_has_one_writer_and_nobody_feeds_itself() {
    let second = |edits: &[Edit]| {
        let apart = [
            ("pipeline.name", "\"second\""),
            ("pipeline.topics", "[\"other-events\"]"),
            ("pipeline.clickhouse.table", "\"others\""),
            ("pipeline.output.topic", "\"others-by-minute\""),
        ];
        let text = windows_with(&[&apart[..], edits].concat());
        format!("{WINDOWS}{}", text.replace("\n[service]", ""))
    };
    let both = second(&[]);
    assert!(parse(&both).is_ok_and(|loaded| loaded.warnings.is_empty()));
    let table = second(&[("pipeline.clickhouse.table", "\"sales\"")]);
    assert_problem(
        &table,
        "pipeline.second.clickhouse.table",
        &["the table analytics.sales", "pipeline.sales"],
    );
    let elsewhere = second(&[
        ("pipeline.clickhouse.table", "\"sales\""),
        ("pipeline.clickhouse.url", "\"http://other:8123\""),
    ]);
    assert!(parse(&elsewhere).is_ok(), "another server");
    let topic = second(&[("pipeline.output.topic", "\"sales-by-minute\"")]);
    let key = "pipeline.second.output.topic";
    assert_problem(&topic, key, &["the topic sales-by-minute"]);
    let dead_letters = second(&[("pipeline.output.topic", "\"streamweir-dead-letters\"")]);
    assert_problem(&dead_letters, key, &["dead letters"]);
    let own = windows_with(&[("pipeline.output.topic", "\"sales-events\"")]);
    assert_problem(
        &own,
        "pipeline.sales.output.topic",
        &["the topic sales-events", "would feed itself"],
    );
    let events = "\n[[pipeline]]\nname = \"raw\"\nkind = \"enrichment\"\ntopics = [\"raw\"]\n\
                  group_id = \"raw\"\nclickhouse.table = \"sales\"\n";
    assert_problem(
        &format!("{WINDOWS}{events}"),
        "pipeline.raw.clickhouse.table",
        &["the table analytics.sales"],
    );
    let replicas = REPLICA
        .replace("\"shop\"", "\"copy\"")
        .replace("shop-replica", "copy");
    let both_replicas = format!("{REPLICA}{replicas}");
    assert_problem(
        &both_replicas,
        "pipeline.copy.topics",
        &["the table analytics.order_items"],
    );
    let around = second(&[
        ("pipeline.topics", "[\"sales-by-minute\"]"),
        ("pipeline.output.topic", "\"sales-events\""),
    ]);
    let warnings = parse(&around).unwrap().warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].message.contains("sales → second → sales"));
}
