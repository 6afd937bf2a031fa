//! The reverse: a guarantee is broken on purpose, and the proof must notice.

use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::wait;

use super::members::let_an_insert_come_late;
use super::network::Faulty;
use super::{Attempt, Run, Trial};
use crate::support::proof::{Profiles, assert_exactly_once, exactly_once};
use crate::support::traffic::Traffic;
use crate::support::{Job, PATIENCE};

const PARTITIONS: i32 = 4;
const EVENTS_PER_SECOND: u64 = 1_000;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "broken-token",
            "inserts without token, which arrive twice",
            10,
            3,
            token,
        ),
        Trial::new(
            "broken-acknowledgement",
            "committed before the acknowledgement, then SIGKILL",
            1,
            1,
            acknowledgement,
        ),
        Trial::new(
            "broken-cut",
            "a predecessor's range cut anew, whose insert arrives late",
            1,
            1,
            cut,
        ),
        Trial::new(
            "broken-rows",
            "a row altered, doubled, deleted by hand",
            1,
            1,
            rows,
        ),
    ]
}

fn token(run: &mut Run) {
    run.prove_noticed("row doubled", |run| {
        let faulty = Faulty::start(run, "break_token=return");
        faulty.meet(Fault::Duplicate, run.times);
        let (job, produced) = faulty.end();
        attempt(&job, produced)
    });
}

fn acknowledgement(run: &mut Run) {
    run.prove_noticed("row missing", |run| {
        let mut job = run.job(PARTITIONS);
        let direct = job.clickhouse_url.clone();
        let proxy = Proxy::start(&direct).expect("a proxy");
        job.set("clickhouse.url", proxy.url());
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        let hasty = job.start("hasty", &[], "break_acknowledgement=return");
        job.wait_for_more_rows(500);
        // No insert arrives any more, and the commits go on.
        let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, usize::MAX);
        held.wait_for_hits(1, PATIENCE).expect("an insert is held");
        let rows = job.row_count();
        let go_on = || (committed(&job) > rows + 1_000).then_some(());
        wait::until("commits go past the rows", PATIENCE, go_on)
            .unwrap_or_else(|e| panic!("{e}\n{}", hasty.log()));
        hasty.process.kill();
        job.set("clickhouse.url", direct);
        let produced = traffic.finish();
        job.run_to_end();
        attempt(&job, produced)
    });
}

fn attempt(job: &Job, produced: u64) -> Attempt {
    let proof = exactly_once(job, produced, Profiles::AsInRedis).map(drop);
    Attempt { produced, proof }
}

/// Offsets before the committed positions.
fn committed(job: &Job) -> u64 {
    let positions = job.committed();
    let offsets = positions.values().map(|c| c.offset.unsigned_abs());
    offsets.sum()
}

fn cut(run: &mut Run) {
    run.prove_noticed("row doubled", |run| {
        let mut job = run.job(PARTITIONS);
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        for number in 0..run.times {
            let_an_insert_come_late(&mut job, number, "break_cut=return");
        }
        let produced = traffic.finish();
        job.run_to_end();
        attempt(&job, produced)
    });
}

/// Each way of spoiling one row or letter, and the words that tell of it.
const SPOILT: [(&str, &str); 5] = [
    (
        "ALTER TABLE {t} UPDATE session_event_count = session_event_count + 1 WHERE {one}",
        "session not that of an undisturbed run",
    ),
    (
        "ALTER TABLE {t} UPDATE session_event_count = session_event_count - 1, \
         session_pages_viewed = session_pages_viewed + 1 WHERE {one}",
        "session not that of an undisturbed run",
    ),
    (
        "ALTER TABLE {t} UPDATE session_pages_viewed = session_pages_viewed - 1, \
         user_email = concat(user_email, '?') WHERE {one}",
        "profile not that in redis",
    ),
    (
        "INSERT INTO {t} SELECT * FROM {t} WHERE {one}",
        "row doubled",
    ),
    ("DELETE FROM {t} WHERE {one}", "row missing"),
];

fn rows(run: &mut Run) {
    let job = run.job(PARTITIONS);
    let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_more_rows(1_000);
    let produced = traffic.finish();
    job.wait_for_commits_to_end();
    daemon.stop();
    let counts = assert_exactly_once(&job, produced, Profiles::AsInRedis);
    run.add(counts);
    for (sql, words) in SPOILT {
        spoil(&job, produced, sql, words);
    }
    run.result = format!("noticed: each of {}", SPOILT.len());
}

fn spoil(job: &Job, produced: u64, sql: &str, words: &str) {
    let sql = sql
        .replace("{t}", "{db}.clickstream_events")
        .replace("{one}", "_partition = 1 AND _offset = 7");
    let settings = if sql.starts_with("ALTER") {
        " SETTINGS mutations_sync = 2"
    } else {
        ""
    };
    job.query(&format!("{sql}{settings}"));
    let noticed = exactly_once(job, produced, Profiles::AsInRedis).expect_err(words);
    assert!(
        noticed.contains(words) && noticed.contains("(1, 7)"),
        "{words}: {noticed}"
    );
}
