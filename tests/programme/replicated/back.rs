//! What comes back: a group that is set back to rows which Keeper may not know, and a server that was away when
//! tables were made.

use rand::Rng as _;
use sandbox::replicated::Replicated;
use sandbox::topic::{self, Committed};
use sandbox::wait;
use serde_json::Value;

use super::{PARTITIONS, RECORDS_PER_SECOND, pair, put_on, settle, tables};
use crate::programme::{Run, Trial, prepared};
use crate::support::replica::Replica;
use crate::support::{Job, PATIENCE};

const EVENTS: u32 = 50;
const WATERMARKS: &str = "streamweir_watermarks";

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "replicated-set-back",
            "the group set back to rows of the last minutes, which a server may drop after code 319: nothing settles by them until they are merged",
            3,
            1,
            |run| (0..run.times).for_each(|_| set_back(run)),
        ),
        Trial::new(
            "replicated-away-at-start",
            "one of two servers away while a replica's tables are made: it gets them when it is back",
            3,
            1,
            |run| (0..run.times).for_each(|_| away_at_start(run)),
        ),
    ]
}

/// As the other trials have it, but that inserts fail at nothing.
fn job_on(pair: &Replicated, mut job: Job) -> Job {
    put_on(&mut job, pair);
    let settings = "clickhouse.settings";
    job.unset(&format!(
        "{settings}.insert_keeper_fault_injection_probability"
    ));
    job
}

fn set_back(run: &mut Run) {
    let pair = pair();
    let mut job = job_on(&pair, Job::new(&run.name));
    job.set("watermark.all.pipelines", vec!["clickstream".to_owned()]);
    job.set("watermark.all.table", WATERMARKS);
    let job = prepared(job, PARTITIONS);
    let table = format!("`{}`.clickstream_events", job.database);
    pair.on_both(&format!("SYSTEM STOP MERGES {table}"))
        .expect("merges stop");
    // Of each partition two ranges, and a part each.
    for half in 0..2 {
        for partition in 0..PARTITIONS {
            job.produce_events(partition, half * EVENTS..(half + 1) * EVENTS);
        }
        job.run_to_end();
    }
    let beginning = Committed {
        offset: 0,
        metadata: String::new(),
    };
    for partition in 0..PARTITIONS {
        let (broker, group) = (job.bootstrap(), &job.group);
        topic::commit(broker, group, &job.topic, partition, &beginning).expect("committed");
    }
    let daemon = job.start("daemon", &[], "");
    daemon.wait_for_log("that this replica may still drop");
    let committed = job.committed();
    assert!(committed.values().all(|c| c.offset == 0), "{committed:?}");
    pair.on_both(&format!("SYSTEM START MERGES {table}"))
        .expect("merges go on");
    pair.replicas[0].query(&format!("OPTIMIZE TABLE {table} FINAL"));
    job.wait_for_commits_to_end();
    daemon.stop();
    assert_watermarks_on_both(&pair, &job);
    let rows = PARTITIONS.unsigned_abs() * 2 * EVENTS;
    let rows = usize::try_from(rows).expect("few");
    assert_eq!(job.rows_and_offsets(), (rows, rows));
    assert_doctor_finds_a_replica_without_keeper(&pair, &job);
    run.counts.records += rows as u64;
    run.counts.rows += rows as u64;
}

/// The table of a named watermark is as the others of the cluster are, and `schema print` says so.
fn assert_watermarks_on_both(pair: &Replicated, job: &Job) {
    let engine = "ENGINE = ReplicatedReplacingMergeTree(";
    let (code, printed, log) = job.inspect(&["schema", "print"]);
    let printed = printed.split_once("-- watermarks").expect("printed").1;
    assert!(code == 0 && printed.contains(engine), "{printed}{log}");
    let table = format!("`{}`.{WATERMARKS}", job.database);
    pair.sync(&table).expect("both have everything");
    let told = pair.replicas.each_ref().map(|replica| {
        let made = replica.query(&format!("SHOW CREATE TABLE {table} FORMAT TSVRaw"));
        assert!(made.contains(engine), "{made}");
        replica.query(&format!(
            "SELECT name, max(watermark) FROM {table} GROUP BY name"
        ))
    });
    assert!(told[0].starts_with("all\t2025-"), "{told:?}");
    assert_eq!(told[0], told[1]);
}

fn assert_doctor_finds_a_replica_without_keeper(pair: &Replicated, job: &Job) {
    let finds = |(check, level): (&str, &str)| {
        let (_, answer, log) = job.inspect(&["doctor", "--json"]);
        let answer: Value =
            serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}{log}"));
        let mut findings = answer["findings"].as_array().expect("a list").iter();
        findings.any(|finding| finding["check"] == check && finding["level"] == level)
    };
    let is_found = || finds(("replica_lag", "error"));
    assert!(!is_found());
    pair.zookeeper.kill();
    let found = wait::until("it is found", PATIENCE, || is_found().then_some(()));
    pair.zookeeper.restart().expect("zookeeper comes back");
    found.expect("doctor finds a replica without Keeper");
}

fn away_at_start(run: &mut Run) {
    let pair = pair();
    pair.replicas[1].kill();
    let job = job_on(&pair, Job::replication(&run.name));
    let mut replica = Replica::of(job, PARTITIONS, run.random.random());
    let traffic = replica.traffic(RECORDS_PER_SECOND / 2);
    let daemon = replica.start("daemon", "");
    replica.wait_for_progress(100, Some(&daemon));
    pair.replicas[1].restart().expect("it comes back");
    let database = replica.job.database.clone();
    let has_them = || {
        let [here, there] = [0, 1].map(|number| tables(&pair, number, &database));
        (!here.is_empty() && here.iter().all(|table| there.contains(table))).then_some(())
    };
    wait::until("the server that is back has the tables", PATIENCE, has_them)
        .unwrap_or_else(|e| panic!("{e}\n{}", daemon.log()));
    let produced = traffic.finish();
    replica.wait_for_end(&daemon);
    daemon.stop();
    settle(&pair, &database);
    for server in &pair.replicas {
        replica.job.clickhouse_url = server.url();
        let counts = replica.assert_equal(produced);
        run.counts = Default::default();
        run.add(counts);
    }
    "equal to its source".clone_into(&mut run.result);
}
