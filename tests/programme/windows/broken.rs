//! The reverse: a guarantee is broken on purpose, and the proof must notice.

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::topic::{self, Record};

use super::members::after_late_inserts;
use super::{Attempt, Run, SALES_PER_SECOND, Trial};
use crate::support::PATIENCE;
use crate::support::windows::{Kind, Windows};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "win-broken-commit-point",
            "committed past the records of open windows, then SIGKILL",
            1,
            1,
            commit_point,
        ),
        Trial::new(
            "win-broken-acknowledgement",
            "committed before the acknowledgement, then SIGKILL",
            1,
            1,
            acknowledgement,
        ),
        Trial::new(
            "win-broken-membership",
            "rows go to the topic whoever has the partitions, and a frozen member wakes after the takeover",
            3,
            3,
            membership,
        ),
        Trial::new(
            "win-broken-rows",
            "a row altered, deleted, invented, and a value of the topic set back, by hand",
            1,
            1,
            rows,
        ),
    ]
}

fn commit_point(run: &mut Run) {
    run.prove_noticed("", |run| {
        let windows = run.windows(Kind::Tumbling);
        let traffic = windows.traffic(SALES_PER_SECOND);
        let hasty = windows.start("hasty", "break_commit_point=return");
        windows.wait_for_progress(500, &hasty);
        hasty.process.kill();
        let produced = traffic.finish();
        windows.close();
        attempt(&windows, produced)
    });
}

fn acknowledgement(run: &mut Run) {
    run.prove_noticed("", |run| {
        let mut windows = run.windows(Kind::Tumbling);
        let direct = windows.job.clickhouse_url.clone();
        let proxy = Proxy::start(&direct).expect("a proxy");
        windows.job.set("clickhouse.url", proxy.url());
        let traffic = windows.traffic(SALES_PER_SECOND);
        let hasty = windows.start("hasty", "break_acknowledgement=return");
        windows.wait_for_progress(500, &hasty);
        // No insert arrives any more, and the commits go on.
        let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        windows.wait_for_progress(1_000, &hasty);
        hasty.process.kill();
        let produced = traffic.finish();
        windows.job.set("clickhouse.url", direct);
        windows.close();
        attempt(&windows, produced)
    });
}

fn membership(run: &mut Run) {
    run.prove_noticed("", |run| {
        let broken = "break_membership=return";
        let (windows, produced) = after_late_inserts(run, Kind::Tumbling, run.times, broken);
        attempt(&windows, produced)
    });
}

fn attempt(windows: &Windows, produced: u64) -> Attempt {
    let proof = windows.compare(produced).map(drop);
    Attempt { produced, proof }
}

/// Each way of spoiling a row, and the words that tell of it.
const SPOILT: [(&str, &str); 3] = [
    (
        "INSERT INTO {t} SELECT * REPLACE (version + 1 AS version, late_count + 1 AS late_count) \
         FROM {t} FINAL LIMIT 1",
        "row of the table not that of an undisturbed run",
    ),
    (
        "INSERT INTO {t} SELECT * REPLACE ('strange' AS category) FROM {t} FINAL LIMIT 1",
        "row of no window in the table",
    ),
    (
        "ALTER TABLE {t} DELETE WHERE category = 'c1' SETTINGS mutations_sync = 2",
        "row missing in the table",
    ),
];

fn rows(run: &mut Run) {
    let windows = run.windows(Kind::Tumbling);
    let produced = windows.produce(2_000);
    windows.close();
    run.prove_windows(&windows, produced);
    let bootstrap = windows.job.bootstrap();
    let output = windows.job.text("pipeline.output.topic");
    let messages = topic::read_all(bootstrap, output).expect("messages");
    let first = messages.into_iter().next().expect("a row");
    let deletes = Record::tombstone(first.key.expect("a key")).partition(first.partition);
    topic::produce(bootstrap, output, [deletes]).expect("written");
    let must_notice = |words: &str| {
        let noticed = windows.compare(produced).expect_err(words);
        assert!(noticed.contains(words), "{words}: {noticed}");
    };
    must_notice("row missing in the topic");
    // Each is told of before what was spoilt earlier.
    for (sql, words) in SPOILT {
        windows
            .job
            .query(&sql.replace("{t}", "{db}.sales_aggregates_1min"));
        must_notice(words);
    }
    run.result = format!("noticed: each of {}", SPOILT.len() + 1);
}
