//! The reverse: a guarantee is broken on purpose, and the proof must notice.

use sandbox::fault::{Fault, Matcher, Proxy};

use super::lives::late_inserts;
use super::{Attempt, CHANGES_PER_SECOND, Run, Trial};
use crate::support::PATIENCE;
use crate::support::replica::Replica;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "cdc-broken-version",
            "every row has the same version, and a frozen member's inserts arrive after the takeover",
            1,
            1,
            version,
        ),
        Trial::new(
            "cdc-broken-acknowledgement",
            "committed before the acknowledgement, then SIGKILL",
            1,
            1,
            acknowledgement,
        ),
        Trial::new(
            "cdc-broken-order",
            "rows with gaps do not wait for their predecessors, whose inserts come late",
            1,
            1,
            order,
        ),
        Trial::new(
            "cdc-broken-rows",
            "a row of a replica altered, lost, brought back by hand",
            1,
            1,
            rows,
        ),
    ]
}

/// Where a guarantee is broken a row may wait for one that is lost.
pub(super) fn give_lost_rows_up_soon(replica: &mut Replica) {
    replica.job.set("pipeline.toast_wait", "60s");
}

fn version(run: &mut Run) {
    run.prove_noticed("", |run| {
        let (replica, produced) = late_inserts(run, "break_version=return");
        attempt(&replica, produced)
    });
}

fn acknowledgement(run: &mut Run) {
    run.prove_noticed("", |run| {
        let mut replica = run.replica();
        give_lost_rows_up_soon(&mut replica);
        let direct = replica.job.clickhouse_url.clone();
        let proxy = Proxy::start(&direct).expect("a proxy");
        replica.job.set("clickhouse.url", proxy.url());
        let traffic = replica.traffic(CHANGES_PER_SECOND);
        let hasty = replica.start("hasty", "break_acknowledgement=return");
        replica.wait_for_progress(500, Some(&hasty));
        // No insert arrives any more, and the commits go on.
        let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        replica.wait_for_progress(500, Some(&hasty));
        hasty.process.kill();
        let produced = traffic.finish();
        replica.job.set("clickhouse.url", direct);
        // A table that has no row yet, behind a commit, is noticed by the next daemon itself.
        let (code, log) = replica.job.run_to_code("to-end", &["--until", "latest"]);
        match code {
            0 => attempt(&replica, produced),
            _ => Attempt {
                produced,
                proof: Err(halted_by_an_empty_table(log)),
            },
        }
    });
}

fn halted_by_an_empty_table(log: String) -> String {
    assert!(log.contains("is not there or has no row"), "{log}");
    log
}

fn order(run: &mut Run) {
    run.prove_noticed("", |run| {
        let mut replica = run.replica();
        give_lost_rows_up_soon(&mut replica);
        let proxy = Proxy::start(&replica.job.clickhouse_url).expect("a proxy");
        replica.job.set("clickhouse.url", proxy.url());
        let traffic = replica.traffic(CHANGES_PER_SECOND);
        let daemon = replica.start("daemon", "break_order=return");
        replica.wait_for_progress(500, Some(&daemon));
        let delay = std::time::Duration::from_secs(2);
        // Fewer than a table takes at once. More would only be held one after the other, each for as long
        // as a request may take, and what piled up meanwhile would outlast the trial's patience.
        let late = proxy.inject(Matcher::inserts(), Fault::HoldRequest, 3);
        late.wait_for_hits(3, PATIENCE).expect("inserts are held");
        // Others overtake them.
        std::thread::sleep(delay);
        late.release();
        replica.wait_for_progress(500, Some(&daemon));
        let produced = traffic.finish();
        replica.wait_for_end(&daemon);
        daemon.stop();
        attempt(&replica, produced)
    });
}

fn attempt(replica: &Replica, produced: u64) -> Attempt {
    let proof = replica.compare(produced).map(drop);
    Attempt { produced, proof }
}

/// Each way of spoiling a row, and the words that tell of it.
const SPOILT: [(&str, &str); 4] = [
    (
        "INSERT INTO {t} SELECT * REPLACE (_version + 1 AS _version, concat(big, '?') AS big) FROM {t} FINAL \
         WHERE _deleted = 0 AND big IS NOT NULL LIMIT 1",
        "row not that of the source",
    ),
    (
        "INSERT INTO {t} SELECT * REPLACE (_version + 1 AS _version, '__debezium_unavailable_value' AS other) \
         FROM {t} FINAL WHERE _deleted = 0 LIMIT 1",
        "row not that of the source",
    ),
    (
        "INSERT INTO {t} SELECT * REPLACE (_version + 1 AS _version, 1 AS _deleted) \
         FROM (SELECT * FROM {t} FINAL WHERE _deleted = 0 LIMIT 1)",
        "row missing",
    ),
    (
        "INSERT INTO {t} SELECT * REPLACE (id + 1000000 AS id) FROM {t} FINAL WHERE _deleted = 0 LIMIT 1",
        "row that the source does not have",
    ),
];

fn rows(run: &mut Run) {
    for (sql, words) in SPOILT {
        let replica = run.replica();
        let traffic = replica.traffic(CHANGES_PER_SECOND);
        let daemon = replica.start("daemon", "");
        replica.wait_for_progress(500, Some(&daemon));
        let produced = traffic.finish();
        replica.wait_for_end(&daemon);
        daemon.stop();
        run.prove_equal(&replica, produced);
        replica.job.query(&sql.replace("{t}", "{db}.notes"));
        let noticed = replica.compare(produced).expect_err(words);
        assert!(noticed.contains(words), "{words}: {noticed}");
    }
    run.result = format!("noticed: each of {}", SPOILT.len());
}
