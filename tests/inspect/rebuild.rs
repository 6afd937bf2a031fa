//! `streamweir rebuild`.

use std::process::Stdio;
use std::time::Duration;

use sandbox::process::Process;
use sandbox::topic::{self, Record};
use serde_json::{Value, json};

use super::audit::{change, replica, row};
use super::{json, run};
use crate::support::{EVENT_TIME_MS, Job, command};

const ENDS: Duration = Duration::from_secs(300);

/// Starts the command with a point at which it dies; its exit code where it ended by itself.
pub(super) fn dies_at(job: &Job, arguments: &[&str], failpoint: &str) -> Option<i32> {
    let (path, _) = job.write_config("rebuild");
    let log = job.directory.path().join("rebuild.log");
    let log = std::fs::File::options().create(true).append(true).open(log);
    let mut command = command(&path, arguments);
    command
        .env("FAILPOINTS", failpoint)
        .stdout(Stdio::null())
        .stderr(log.expect("a log"));
    let process = Process::spawn(command).expect("it starts");
    process.wait(ENDS).expect("it ends").code()
}

#[track_caller]
fn assert_equal(job: &Job, a: &str, b: &str, key: &str, ignore: &[&str]) {
    let pipeline = job.text("pipeline.name");
    let compare = [
        "compare",
        "--pipeline",
        pipeline,
        "--a",
        a,
        "--b",
        b,
        "--key",
        key,
    ];
    let ignore: Vec<&str> = ignore
        .iter()
        .flat_map(|column| ["--ignore", column])
        .collect();
    let (code, found) = json(job, &[&compare[..], &ignore].concat());
    assert_eq!(code, 0, "{found:#}");
}

/// A member that was killed holds its partitions no longer than this.
fn forget_members_soon(job: &mut Job) {
    job.set("kafka.properties.session.timeout.ms", 2_000);
    job.set("kafka.properties.heartbeat.interval.ms", 300);
}

#[test]
fn a_rebuild_that_is_killed_again_and_again_equals_the_live_table() {
    let mut job = Job::new("rebuild");
    forget_members_soon(&mut job);
    job.set("pipeline.batch.rows_max", 400);
    job.apply_schema();
    job.create_topic(2);
    job.produce_events(0, 0..2_000);
    job.produce_events(1, 2_000..4_000);
    topic::produce(job.bootstrap(), &job.topic, [Record::new("{").partition(1)]).expect("a record");
    job.run_to_end();

    let rebuild = ["rebuild", "--pipeline", "clickstream"];
    for (round, point) in [
        "after_naming_commit",
        "during_insert",
        "after_insert_acknowledged",
    ]
    .into_iter()
    .enumerate()
    {
        let code = dies_at(&job, &rebuild, &format!("{point}=1*off->return"));
        assert_eq!(code, None, "{point}");
        if round == 0 {
            // What comes after the beginning is not meant.
            job.produce_events(0, 4_000..4_100);
        }
    }
    let (code, rebuilt) = json(&job, &rebuild);
    assert_eq!(code, 0, "{rebuilt:#}");
    let counts = &rebuilt["audit"]["counts"];
    assert_eq!(
        json!([
            counts["rows"],
            counts["dead_letters"],
            counts["lost"],
            counts["doubled"]
        ]),
        json!([4000, 1, 0, 0])
    );
    let ends: Vec<&Value> = rebuilt["partitions"]
        .as_array()
        .expect("partitions")
        .iter()
        .map(|p| &p["to"])
        .collect();
    assert_eq!(json!(ends), json!([2000, 2001]));
    let table = |name: &str| format!("{}.{name}", job.database);
    let pair = json!([{ "table": table("clickstream_events"), "shadow": table("clickstream_events_rebuild") }]);
    assert_eq!(rebuilt["tables"], pair);
    let key = "_topic,_partition,_offset";
    assert_equal(
        &job,
        "clickstream_events",
        "clickstream_events_rebuild",
        key,
        &["processed_at"],
    );

    // It is done: nothing is read again.
    let (code, again) = json(&job, &rebuild);
    assert_eq!(
        (code, &again["records_now"], &again["records"]),
        (0, &json!(0), &json!(4001))
    );

    // A part of the log, and what is refused.
    let since = jiff::Timestamp::from_millisecond(EVENT_TIME_MS + 1_000_000).expect("a time");
    let since = since.to_string();
    let part = ["--from", &since, "--into", "part"];
    let (code, part) = json(&job, &[&rebuild[..], &part].concat());
    assert_eq!(code, 0, "{part:#}");
    let rows = "SELECT count(), countIf(_partition = 0), min(_offset) FROM {db}.part";
    // Of partition 0 the records that came meanwhile too.
    assert_eq!(job.query(rows), "3100\t1100\t0");
    assert_eq!(part["partitions"][0]["from"], json!(1000));
    job.query("CREATE TABLE {db}.other AS {db}.part");
    job.query("INSERT INTO {db}.other SELECT * FROM {db}.part LIMIT 1");
    for (more, code, message) in [
        (&["--into", "other"][..], 1, "has rows and is no shadow"),
        (&["--into", "clickstream_events"], 2, "writes this table"),
        (&["--from", "latest"], 2, "--from latest"),
        (&["--from", "17"], 2, "neither earliest nor latest"),
    ] {
        let more = if more[0] == "--from" {
            [more, &["--into", "fresh"]].concat()
        } else {
            more.to_vec()
        };
        let (found, _, err) = run(&job, &[&rebuild[..], &more].concat());
        assert!(found == code && err.contains(message), "{found}: {err}");
    }
}

#[test]
fn raw_tables_and_replicas_are_rebuilt_too_by_several_processes() {
    let mut raw = Job::raw("rebuild-raw");
    forget_members_soon(&mut raw);
    raw.create_topic(4);
    for partition in 0..4 {
        let record = |number: u32| Record::new(format!("{number}")).partition(partition);
        topic::produce(raw.bootstrap(), &raw.topic, (0..3_000).map(record)).expect("records");
    }
    raw.run_to_end();
    let rebuild = ["rebuild", "--pipeline", "bronze"];
    let codes = std::thread::scope(|scope| {
        let both = [(), ()].map(|()| scope.spawn(|| dies_at(&raw, &rebuild, "")));
        both.map(|one| one.join().expect("it ends"))
    });
    assert_eq!(codes, [Some(0), Some(0)]);
    assert_eq!(
        raw.query("SELECT count() FROM {db}.bronze_events_rebuild"),
        "12000"
    );
    assert_equal(
        &raw,
        "bronze_events",
        "bronze_events_rebuild",
        "topic,partition,offset",
        &["ingestion_timestamp"],
    );

    let (job, topic) = replica("rebuild-cdc");
    let records = (1..=40)
        .map(|id| row(id, "a"))
        .chain((1..=20).map(|id| row(id, "b")));
    topic::produce(job.bootstrap(), &topic, records).expect("records");
    job.run_to_end();
    let (code, rebuilt) = json(&job, &["rebuild", "--pipeline", "replica"]);
    assert_eq!(code, 0, "{rebuilt:#}");
    assert_eq!(rebuilt["audit"]["counts"]["rows"], json!(40));
    assert_equal(&job, "t", "t_rebuild", "id", &[]);
}

/// Rows of the live table, distinct offsets, and its comment.
fn live_rows(job: &Job) -> (String, String) {
    let comment = "SELECT comment FROM system.tables WHERE database = replaceAll('{db}', '`', '') AND name = 'clickstream_events'";
    let rows = "SELECT count(), uniqExact(_partition, _offset) FROM {db}.clickstream_events";
    (job.query(rows), job.query(comment))
}

#[test]
fn a_swap_that_dies_at_each_step_has_each_row_once_and_can_be_undone() {
    let mut job = Job::new("swap");
    forget_members_soon(&mut job);
    std::fs::write(job.directory.path().join("token"), "open-sesame").expect("a token");
    job.set("service.admin_token_file", "token");
    job.apply_schema();
    job.query("ALTER TABLE {db}.clickstream_events MODIFY COMMENT 'events of the site'");
    job.create_topic(2);
    let mut produced = 0;
    let mut produce = |job: &Job| {
        job.produce_events(0, produced..produced + 50);
        job.produce_events(1, produced + 50..produced + 100);
        produced += 100;
        produced as usize
    };
    produce(&job);
    let daemon = job.start("live", &[], "");
    job.wait_for_rows(100);
    // What was lost by hand comes back.
    job.query("DELETE FROM {db}.clickstream_events WHERE _offset = 7");
    let url = daemon.http.clone();
    let swap = [
        "rebuild",
        "--pipeline",
        "clickstream",
        "--swap",
        "--keep-old",
        "--url",
        &url,
    ];
    let without = &swap[..5];
    let (code, _, err) = run(&job, without);
    assert!(code == 1 && err.contains("--url"), "{code}: {err}");
    let mut deaths = 0;
    for steps in 0..20 {
        produce(&job);
        let point = match steps {
            0 => "between_swap_steps=return".to_owned(),
            steps => format!("between_swap_steps={steps}*off->return"),
        };
        match dies_at(&job, &swap, &point) {
            None => deaths += 1,
            Some(code) => {
                assert_eq!(code, 0);
                break;
            }
        }
    }
    assert!(deaths >= 3, "{deaths}");
    let all = produce(&job);
    job.wait_for_rows(all);
    let whole = format!("{all}\t{all}");
    assert_eq!(live_rows(&job).0, whole);
    let old = "SELECT countIf(_offset = 7), count() > 0 FROM {db}.clickstream_events_rebuild";
    assert_eq!(job.query(old), "0\t1");
    let audit = ["audit", "--pipeline", "clickstream"];
    assert_eq!(json(&job, &audit).0, 0);

    // Taken back, the old table lacks again what it lacked.
    let undo = [
        "rebuild",
        "--pipeline",
        "clickstream",
        "--undo",
        "--url",
        &url,
    ];
    assert_eq!(
        dies_at(&job, &undo, "between_swap_steps=2*off->return"),
        None
    );
    let (code, undone) = json(&job, &undo);
    assert_eq!((code, &undone["swapped"]), (0, &json!(false)), "{undone:#}");
    let all = produce(&job);
    job.wait_for_rows(all - 2);
    assert_eq!(live_rows(&job).0, format!("{0}\t{0}", all - 2));

    let (code, swapped) = json(&job, &[&swap[..4], &["--url", &url]].concat());
    assert_eq!(
        (code, &swapped["swapped"]),
        (0, &json!(true)),
        "{swapped:#}"
    );
    let all = produce(&job);
    job.wait_for_rows(all);
    assert_eq!(
        live_rows(&job),
        (format!("{all}\t{all}"), "events of the site".to_owned())
    );
    assert_eq!(job.query("EXISTS {db}.clickstream_events_rebuild"), "0");
    assert_eq!(json(&job, &audit).0, 0);
    daemon.stop();
}

#[test]
fn a_letter_that_was_replayed_while_the_table_was_rebuilt_is_named_by_the_swap() {
    let (mut job, topic) = replica("swap-letters");
    let records = (1..=20).map(|id| row(id, "a"));
    let too_large = change("u", 7, "null", r#"{"id":7,"v":"new","n":99999999999}"#);
    topic::produce(job.bootstrap(), &topic, records.chain([too_large])).expect("records");
    job.run_to_end();
    let rebuild = ["rebuild", "--pipeline", "replica"];
    assert_eq!(json(&job, &rebuild).0, 0);
    // The column takes it after the rebuild had passed it.
    for table in ["t", "t_rebuild"] {
        job.query(&format!(
            "ALTER TABLE {{db}}.{table} MODIFY COLUMN n Nullable(Int64)"
        ));
    }
    job.config["pipeline"][0]["tables"][&topic]["columns"]["n"] = "Nullable(Int64)".into();
    let replay = ["dead-letters", "replay", "--pipeline", "replica"];
    assert_eq!(json(&job, &replay).1["written"], json!(1));
    let swap = [&rebuild[..], &["--swap"]].concat();
    let (code, swapped) = json(&job, &[&swap[..], &["--keep-old"]].concat());
    let named = json!([format!("{topic}:0:20")]);
    assert_eq!(
        (code, &swapped["letters_to_replay"]),
        (0, &named),
        "{swapped:#}"
    );
    let newest = "SELECT v FROM {db}.t FINAL WHERE id = 7";
    assert_eq!(job.query(newest), "a");
    assert_eq!(json(&job, &replay).1["written"], json!(1));
    assert_eq!(job.query(newest), "new");
    let (code, swapped) = json(&job, &swap);
    assert_eq!(
        (code, &swapped["letters_to_replay"]),
        (0, &json!([])),
        "{swapped:#}"
    );
}

/// What a replica has, as `id v` of the rows that are not deleted.
fn replica_rows(job: &Job) -> Vec<String> {
    let sql =
        "SELECT concat(toString(id), ' ', v) FROM {db}.t FINAL WHERE _deleted = 0 ORDER BY id";
    job.query(sql).lines().map(str::to_owned).collect()
}

#[test]
fn a_replica_is_swapped_beside_its_changes_and_taken_back() {
    let (mut job, topic) = replica("swap-cdc");
    forget_members_soon(&mut job);
    std::fs::write(job.directory.path().join("token"), "open-sesame").expect("a token");
    job.set("service.admin_token_file", "token");
    let mut model = std::collections::BTreeMap::new();
    // Each round changes all keys, deletes one and adds one.
    let mut produce = |job: &Job, round: u32| {
        let rows = (1..=20 + round).map(|id| row(id, &format!("r{round}")));
        let deleted = change(
            "d",
            round,
            &format!(r#"{{"id":{round},"v":"","n":null}}"#),
            "null",
        );
        topic::produce(job.bootstrap(), &topic, rows.chain([deleted])).expect("records");
        model.extend((1..=20 + round).map(|id| (id, format!("r{round}"))));
        model.remove(&round);
        let rows = model.iter().map(|(id, v)| format!("{id} {v}"));
        rows.collect::<Vec<String>>()
    };
    let wait_for = |job: &Job, rows: &[String]| {
        let there = || (replica_rows(job) == rows).then_some(());
        sandbox::wait::until("the replica is as its source", ENDS, there)
            .unwrap_or_else(|e| panic!("{e}: {:?} instead of {rows:?}", replica_rows(job)));
    };
    let first = produce(&job, 1);
    let daemon = job.start("live", &[], "");
    daemon.wait_for_log("partition begins");
    sandbox::wait::until("the table", ENDS, || {
        (job.query("EXISTS {db}.t") == "1").then_some(())
    })
    .expect("it is made");
    wait_for(&job, &first);
    // A row that no change made stays in the old table and is not in the rebuilt one.
    job.query("INSERT INTO {db}.t (id, v, _version, _deleted) VALUES (77, 'by hand', 1, 0)");
    let url = daemon.http.clone();
    let rebuild = ["rebuild", "--pipeline", "replica", "--url", &url];
    let swap = [&rebuild[..], &["--swap", "--keep-old"]].concat();
    let mut round = 2;
    let mut deaths = 0;
    for steps in 0..20 {
        produce(&job, round);
        round += 1;
        let point = match steps {
            0 => "between_swap_steps=return".to_owned(),
            steps => format!("between_swap_steps={steps}*off->return"),
        };
        match dies_at(&job, &swap, &point) {
            None => deaths += 1,
            Some(code) => {
                assert_eq!(code, 0);
                break;
            }
        }
    }
    assert!(deaths >= 3, "{deaths}");
    let after = produce(&job, round);
    wait_for(&job, &after);
    let audit = ["audit", "--pipeline", "replica", "--values"];
    assert_eq!(json(&job, &audit).0, 0);

    // Taken back, the old table has what it had, and every change since.
    let undo = [&rebuild[..], &["--undo"]].concat();
    assert_eq!(
        dies_at(&job, &undo, "between_swap_steps=2*off->return"),
        None
    );
    let (code, undone) = json(&job, &undo);
    assert_eq!((code, &undone["swapped"]), (0, &json!(false)), "{undone:#}");
    let mut with_hand = produce(&job, round + 1);
    with_hand.push("77 by hand".to_owned());
    wait_for(&job, &with_hand);

    let (code, swapped) = json(&job, &[&rebuild[..], &["--swap"]].concat());
    assert_eq!(
        (code, &swapped["swapped"]),
        (0, &json!(true)),
        "{swapped:#}"
    );
    let last = produce(&job, round + 2);
    wait_for(&job, &last);
    assert_eq!(job.query("EXISTS {db}.t_rebuild"), "0");
    assert_eq!(json(&job, &audit).0, 0);
    daemon.stop();
}
