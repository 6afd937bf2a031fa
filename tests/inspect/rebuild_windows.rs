//! `streamweir rebuild` of windows.

use sandbox::{topic, wait};
use serde_json::json;

use super::rebuild::dies_at;
use super::{json, run};
use crate::support::PATIENCE;
use crate::support::windows::{Kind, Windows};

/// A job of windows whose daemon may be told what to do, and that daemon's address.
fn windows_job(name: &str, kind: Kind, seed: u64) -> Windows {
    let mut windows = Windows::new(name, kind, 3, seed);
    std::fs::write(windows.job.directory.path().join("token"), "open-sesame").expect("a token");
    windows.job.set("service.admin_token_file", "token");
    windows
}

#[test]
fn windows_that_are_rebuilt_and_swapped_beside_traffic_are_those_of_an_undisturbed_run() {
    for (kind, seed) in [(Kind::Tumbling, 31), (Kind::Sessions, 32)] {
        let windows = windows_job("rebuild-windows", kind, seed);
        let job = &windows.job;
        let mut produced = windows.produce(1_500);
        let daemon = windows.start("live", "");
        let rows = "SELECT count() > 60 FROM {db}.sales_aggregates_1min";
        wait::until("rows", PATIENCE, || (job.query(rows) == "1").then_some(()))
            .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        let lost = "DELETE FROM {db}.sales_aggregates_1min WHERE category IN ('c1', 'c2', 'c3')";
        job.query(lost);
        let rebuild = ["rebuild", "--pipeline", "sales"];
        for point in ["before_emission=return", "after_emission=return"] {
            assert_eq!(dies_at(job, &rebuild, point), None, "{point}");
        }
        let traffic = windows.traffic(150);
        let (code, rebuilt) = json(job, &rebuild);
        assert_eq!(code, 0, "{rebuilt:#}");
        assert_eq!(rebuilt.get("windows_left_out"), None, "{rebuilt:#}");
        let swap = [
            &rebuild[..],
            &["--swap", "--keep-old", "--url", &daemon.http],
        ]
        .concat();
        let mut deaths = 0;
        for steps in 0..20 {
            let point = match steps {
                0 => "between_swap_steps=return".to_owned(),
                steps => format!("between_swap_steps={steps}*off->return"),
            };
            match dies_at(job, &swap, &point) {
                None => deaths += 1,
                Some(code) => {
                    assert_eq!(code, 0, "{kind:?}");
                    break;
                }
            }
        }
        assert!(deaths >= 3, "{deaths}");
        produced += windows.produce(200);
        let undo = [&rebuild[..], &["--undo", "--url", &daemon.http]].concat();
        let (code, undone) = json(job, &undo);
        assert_eq!((code, &undone["swapped"]), (0, &json!(false)), "{undone:#}");
        let swap = [&rebuild[..], &["--swap", "--url", &daemon.http]].concat();
        let (code, swapped) = json(job, &swap);
        assert_eq!(
            (code, &swapped["swapped"]),
            (0, &json!(true)),
            "{swapped:#}"
        );
        produced += traffic.finish();
        daemon.stop();
        windows.close();
        windows.assert_equal(produced);
        assert_eq!(job.query("EXISTS {db}.sales_aggregates_1min_rebuild"), "0");
    }
}

#[test]
fn windows_that_the_log_has_only_in_part_are_named_and_not_rebuilt() {
    let windows = windows_job("rebuild-cut", Kind::Tumbling, 33);
    let job = &windows.job;
    let produced = windows.produce(2_000);
    windows.close();
    windows.assert_equal(produced);
    for partition in 0..3 {
        topic::delete_records_before(job.bootstrap(), &job.topic, partition, 200).expect("deleted");
    }
    let rebuild = ["rebuild", "--pipeline", "sales"];
    let (code, rebuilt) = json(job, &rebuild);
    assert_eq!(code, 0, "{rebuilt:#}");
    let left = &rebuilt["windows_left_out"];
    let time = |name: &str| -> i64 {
        let text = left[name].as_str().expect("a time");
        let time: jiff::Timestamp = text.parse().expect("a time");
        time.as_millisecond()
    };
    // Windows of four seconds, each with some of the records that are left.
    let count = (time("last") - time("first")) / 4_000 + 1;
    assert!(left["windows"] == json!(count) && count > 1, "{rebuilt:#}");
    let of =
        |table: &str, what: &str| job.query(&format!("SELECT {what} FROM {{db}}.{table} FINAL"));
    let ms = "toUnixTimestamp64Milli(min(window_start))";
    let first: i64 = of("sales_aggregates_1min_rebuild", ms)
        .parse()
        .expect("a time");
    assert_eq!(time("last") + 4_000, first, "{rebuilt:#}");
    // What is there is as it was.
    let rows = |table: &str| {
        job.query(&format!(
            "SELECT count(), groupBitXor(cityHash64(window_start, category, total_sales, toString(total_revenue), version)) \
             FROM {{db}}.{table} FINAL WHERE is_final = 1 AND toUnixTimestamp64Milli(window_start) >= {first}"
        ))
    };
    assert_eq!(
        rows("sales_aggregates_1min"),
        rows("sales_aggregates_1min_rebuild")
    );

    let swap = [&rebuild[..], &["--swap"]].concat();
    let (code, _, err) = run(job, &swap);
    let is_named = err.contains("--accept-missing-rows") && err.contains("only a part");
    assert!(code == 1 && is_named, "{code}: {err}");
    let accepted = [&swap[..], &["--accept-missing-rows"]].concat();
    let (code, swapped) = json(job, &accepted);
    assert_eq!(
        (code, &swapped["old_kept"]),
        (0, &json!(true)),
        "{swapped:#}"
    );
    assert_eq!(
        of("sales_aggregates_1min", ms)
            .parse::<i64>()
            .expect("a time"),
        first
    );
}

#[test]
fn windows_of_a_topic_alone_or_of_other_rules_are_not_exchanged() {
    let mut windows = windows_job("rebuild-refused", Kind::Tumbling, 34);
    windows.produce(600);
    windows.close();
    windows.job.set("pipeline.watermark_delay", "2s");
    let rebuild = ["rebuild", "--pipeline", "sales"];
    assert_eq!(json(&windows.job, &rebuild).0, 0);
    let (code, _, err) = run(&windows.job, &[&rebuild[..], &["--swap"]].concat());
    assert!(code == 1 && err.contains("other rules"), "{code}: {err}");
    windows.job.unset("pipeline.clickhouse.table");
    windows.job.unset("pipeline.clickhouse.ddl");
    let (code, _, err) = run(&windows.job, &rebuild);
    assert!(
        code == 2 && err.contains("to a topic alone"),
        "{code}: {err}"
    );
}
