//! Rules about records: what fails is flagged, dropped or refused, and counted whatever becomes of it.

use sandbox::topic::{self, Record};
use sandbox::wait;

use super::columns::{PROVENANCE, job};
use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

/// Of each record its number of the right form, and what the rules make of it.
fn ruled(name: &str) -> Job {
    let columns = format!(
        "quantity Int32, passed UInt8, failed Array(LowCardinality(String)), tag String DEFAULT 'none', {PROVENANCE}"
    );
    let mut job = job(name, &columns);
    std::fs::write(job.directory.path().join("countries.txt"), "DE\nFR\r\n\n").expect("a file");
    let rules: toml::Table = r#"
        [[rule]]
        name = "quantity_valid"
        check = { field = "$.quantity", gt = 0 }
        [[rule]]
        name = "total_consistent"
        check = { field = "$.total", equals_product = ["$.quantity", "$.price"], tolerance = "0.005" }
        on_fail = "dead_letter"
        [[rule]]
        name = "country_known"
        when = { field = "$.channel", eq = "web" }
        check = { field = "$.country", in_file = "countries.txt" }
        on_fail = "drop"
        [[rule]]
        name = "recent"
        check = { field = "$.ts", gt = "now-7d" }
        on_fail = "drop"
        severity = "warning"
        [quality]
        passed_column = "passed"
        failed_column = "failed"
    "#
    .parse()
    .expect("TOML");
    for (key, value) in rules {
        job.set(&format!("pipeline.{key}"), value);
    }
    job
}

/// Members of record number `id`, whose total is right.
fn produce(job: &Job, records: &[(&str, &str)]) {
    let records = records.iter().zip(0..).map(|((ts, fields), id)| {
        Record::new(format!(
            r#"{{"id":{id},"ts":"{ts}","price":"0.1",{fields}}}"#
        ))
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

const NOW: &str = "2025-11-21T10:00:00Z";
const LONG_AGO: &str = "2025-11-01T10:00:00Z";

#[test]
fn what_fails_a_rule_is_flagged_dropped_or_refused_and_always_counted() {
    let job = ruled("rules");
    let records = [
        (
            NOW,
            r#""quantity":3,"total":0.3,"channel":"web","country":"FR""#,
        ),
        (
            NOW,
            r#""quantity":0,"total":0,"channel":"shop","country":"??""#,
        ),
        (NOW, r#""quantity":3,"total":0.305"#),
        (NOW, r#""quantity":3,"total":0.3051"#),
        (
            NOW,
            r#""quantity":3,"total":0.3,"channel":"web","country":"de""#,
        ),
        (LONG_AGO, r#""quantity":-1,"total":-0.1"#),
        // A dead letter wins over a drop.
        (NOW, r#""quantity":1,"channel":"web""#),
    ];
    produce(&job, &records);
    let daemon = job.start("rules", &[], "");
    job.wait_for_rows(4);
    let metrics = || {
        daemon
            .get("/metrics")
            .map(|(_, text)| text)
            .unwrap_or_default()
    };
    let counted = |rule: &str, result: &str, count: u64| {
        format!(
            "streamweir_rule_checks_total{{pipeline=\"clickstream\",rule=\"{rule}\",result=\"{result}\"}} {count}\n"
        )
    };
    for (rule, passed, failed, skipped) in [
        ("quantity_valid", 5, 2, 0),
        ("total_consistent", 5, 2, 0),
        ("country_known", 1, 2, 4),
        ("recent", 6, 1, 0),
    ] {
        for (result, count) in [("passed", passed), ("failed", failed), ("skipped", skipped)] {
            let line = counted(rule, result, count);
            let seen = || metrics().contains(&line).then_some(());
            wait::until(&line, PATIENCE, seen).unwrap_or_else(|e| panic!("{e}: {}", metrics()));
        }
    }
    let ratio = "streamweir_quality_ratio{pipeline=\"clickstream\",rule=\"country_known\"} 0.333";
    let dropped = "records_dropped_total{pipeline=\"clickstream\",reason=\"rule_failed\"} 1\n";
    for line in [ratio, dropped] {
        let seen = || metrics().contains(line).then_some(());
        wait::until(line, PATIENCE, seen).unwrap_or_else(|e| panic!("{e}: {}", metrics()));
    }
    daemon.stop();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT id, quantity, passed, arrayStringConcat(failed, ','), tag FROM {db}.clickstream_events ORDER BY id",
    );
    let expected = [
        "0\t3\t1\t\tnone",
        "1\t0\t0\tquantity_valid\tnone",
        "2\t3\t1\t\tnone",
        "5\t-1\t0\tquantity_valid,recent\tnone",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    let letters = job.dead_letters().expect("the topic answers");
    let letters: Vec<_> = letters
        .iter()
        .map(|letter| {
            let header = |name: &str| letter.header(&format!("streamweir-{name}")).expect("named");
            [header("offset"), header("reason"), header("detail")].join(" ")
        })
        .collect();
    let expected = [
        "3 rule_failed total_consistent",
        "6 rule_failed total_consistent, country_known",
    ];
    assert_eq!(letters, expected);
    job.assert_audit_finds_nothing();
    let address = format!("{}:0:4", job.topic);
    let explained = job.explained(&[address]);
    let own = &explained[0]["pipelines"][0];
    assert_eq!(own["outcome"], "dropped", "{own:#}");
    assert_eq!(own["reason"], "rule_failed", "{own:#}");
    assert_eq!(own["detail"], "country_known", "{own:#}");
}

#[test]
fn a_threshold_that_is_missed_halts_where_it_says_so() {
    let mut job = ruled("threshold");
    let mut threshold = toml::Table::new();
    threshold.insert("rule".to_owned(), "quantity_valid".into());
    threshold.insert("ratio_min".to_owned(), 0.9.into());
    job.set("pipeline.quality.threshold", vec![threshold.clone()]);
    let failing = r#""quantity":0,"total":0"#;
    let passing = r#""quantity":1,"total":0.1"#;
    let records: Vec<_> = (0..40)
        .map(|number| (NOW, if number % 4 == 0 { failing } else { passing }))
        .collect();
    produce(&job, &records);
    let daemon = job.start("missed", &[], "");
    let line =
        "streamweir_quality_threshold_missed{pipeline=\"clickstream\",rule=\"quantity_valid\"} 1\n";
    let seen = || daemon.get("/metrics")?.1.contains(line).then_some(());
    wait::until(line, PATIENCE, seen).unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    job.wait_for_rows(40);
    daemon.stop();
    assert!(
        daemon.log().contains("fewer records pass a rule"),
        "{}",
        daemon.log()
    );
    threshold.insert("halt".to_owned(), true.into());
    job.set("pipeline.quality.threshold", vec![threshold]);
    produce(&job, &records);
    job.assert_halts("halts", "quality", &["quantity_valid", "0.9", "ratio_min"]);
}
