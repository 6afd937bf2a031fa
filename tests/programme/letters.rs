//! Replaying dead letters, killed at any moment.

use std::process::Stdio;
use std::time::Duration;

use rand::Rng as _;
use sandbox::process::Process;
use sandbox::topic::{self, Record};
use sandbox::wait;
use serde_json::Value;

use super::{Run, Trial};
use crate::support::proof::Counts;
use crate::support::{Job, PATIENCE, command, event};

/// Records, every second of which is a dead letter.
const RECORDS: u32 = 400;

pub(super) fn trials() -> Vec<Trial> {
    let what = "SIGKILL of `dead-letters replay` at a random moment, begun again each time";
    let of_changes = "the same of a replica's dead letters";
    vec![
        Trial::new("replay-kills", what, 20, 3, of_events),
        Trial::new("cdc-replay-kills", of_changes, 20, 3, of_a_replica),
    ]
}

fn of_events(run: &mut Run) {
    let mut job = Job::new(&run.name);
    job.set("pipeline.columns.page_url.required", true);
    job.apply_schema();
    job.create_topic(2);
    let records = (0..RECORDS).map(|number| {
        let page = format!(r#","page_url":"/{number}""#);
        let rest = if number % 2 == 0 { &*page } else { "" };
        Record::new(event(number, rest)).partition(i32::from(number % 3 == 0))
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.set("pipeline.columns.page_url.required", false);
    replay_killed(run, &job, "clickstream_events");
    let all = RECORDS as usize;
    assert_eq!(job.rows_and_offsets(), (all, all));
    finish(run, &job);
}

fn of_a_replica(run: &mut Run) {
    let mut job = Job::replication(&run.name);
    let topic = format!("{}shop.public.t", job.prefix);
    job.topic.clone_from(&topic);
    job.set("pipeline.topics", vec![topic.clone()]);
    job.set("pipeline.dead_letter.ratio_max", 1.0);
    job.set("pipeline.create_tables", true);
    let table = toml::toml! { columns = { id = "Int64", n = "Nullable(Int32)" } };
    let tables: toml::Table = [(topic.clone(), table.into())].into_iter().collect();
    job.set("pipeline.tables", tables);
    job.create_topic(1);
    topic::produce(job.bootstrap(), &topic, (0..RECORDS).map(change)).expect("records");
    job.run_to_end();
    job.query("ALTER TABLE {db}.t MODIFY COLUMN n Nullable(Int64)");
    job.config["pipeline"][0]["tables"][&topic]["columns"]["n"] = "Nullable(Int64)".into();
    replay_killed(run, &job, "t");
    // Every row once, as its newest change says; a letter that a later change replaced is none.
    let rows = job.query("SELECT count(), uniqExact(id), sum(n) FROM {db}.t FINAL");
    let keys = RECORDS / 2;
    let sum: u64 = (keys..RECORDS).map(value).sum();
    assert_eq!(rows, format!("{keys}\t{keys}\t{sum}"));
    finish(run, &job);
}

/// Each key has two changes: of some the first cannot be written at first, of some the second.
fn change(number: u32) -> Record {
    let (id, n) = (number % (RECORDS / 2), value(number));
    let source = r#"{"version":"3.0","connector":"postgresql","name":"shop","ts_ms":1763719200000,"db":"shop","schema":"public","table":"t","lsn":1}"#;
    let envelope = format!(
        r#"{{"before":null,"after":{{"id":{id},"n":{n}}},"source":{source},"op":"u","ts_ms":1763719200000,"transaction":null}}"#
    );
    let record = Record::new(envelope).key(format!(r#"{{"id":{id}}}"#));
    record.partition(0)
}

fn value(number: u32) -> u64 {
    let half = number / (RECORDS / 2);
    let too_large = u64::from((number + half) % 2) * 9_999_999_999;
    too_large + u64::from(number)
}

/// Begins it as often as the trial says, and kills it each time but the last, behind its first row or later.
fn replay_killed(run: &mut Run, job: &Job, table: &str) {
    let rows = || -> u32 {
        let count = job.query(&format!("SELECT count() FROM {{db}}.{table}"));
        count.parse().expect("a number")
    };
    let (first, mut partly) = (rows(), 0);
    for _ in 0..run.times {
        let before = rows();
        let (path, _) = job.write_config("replay");
        let mut replay = command(&path, &["dead-letters", "replay", "--all"]);
        replay.stdout(Stdio::null()).stderr(Stdio::null());
        let replay = Process::spawn(replay).expect("it starts");
        let goes_on = || (rows() > before || replay.try_wait().is_some()).then_some(());
        wait::until("a row is written", PATIENCE, goes_on).expect("rows are written");
        let lifetime = Duration::from_millis(run.random.random_range(0..300));
        std::thread::sleep(lifetime);
        replay.kill();
        let written = rows().saturating_sub(first);
        partly += u32::from(0 < written && written < RECORDS / 2);
    }
    assert!(partly > 0, "each replay was over before it was killed");
    let (code, first) = replayed(job);
    assert_eq!(code, 0, "{first}");
}

fn replayed(job: &Job) -> (i32, Value) {
    let (code, out, err) = job.inspect(&["dead-letters", "replay", "--all", "--json"]);
    let done = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}{err}"));
    (code, done)
}

/// What was replayed is replayed again, which changes nothing, and an audit finds nothing.
fn finish(run: &mut Run, job: &Job) {
    let (code, again) = replayed(job);
    let letters = u64::from(RECORDS / 2);
    assert_eq!((code, again["written"].as_u64()), (0, Some(0)), "{again}");
    assert_eq!(again["already_written"].as_u64(), Some(letters), "{again}");
    job.assert_audit_finds_nothing();
    run.add(Counts {
        records: u64::from(RECORDS),
        rows: u64::from(RECORDS),
        dead_letters: letters,
    });
    run.result = "each once".to_owned();
}
