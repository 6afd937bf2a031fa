//! What is sent again, under which token, and what counts as its acknowledgement.
//!
//! No server can be made to die between token and part on command. Its trace can be made: the insert
//! is done, then its rows are deleted; the token stays.

use std::time::Duration;

use crate::support::{Job, PATIENCE};
use sandbox::fault::{Fault, Matcher, Proxy, SeenRequest};
use sandbox::topic::{self, Committed};

/// A job whose inserts and looks go through a proxy. Its lease is shorter than the looks of
/// [`slow_looks`].
fn behind_a_proxy(name: &str, partitions: i32) -> (Job, Proxy) {
    let mut job = Job::new(name);
    job.set_small_batches();
    // The records of a partition are one batch, however long it takes to read them.
    job.set("pipeline.batch.flush_interval", "1s");
    job.set("pipeline.clickhouse.insert_lease", "1s");
    job.set("pipeline.clickhouse.insert_timeout", "2s");
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.apply_schema();
    job.create_topic(partitions);
    (job, proxy)
}

fn looks() -> Matcher {
    Matcher::any().query_contains("groupArray(toUInt64(_offset))")
}

fn slow_looks(proxy: &Proxy) {
    let delay = Duration::from_millis(1_500);
    proxy.inject(looks(), Fault::RespondSlowly { delay }, usize::MAX);
}

#[test]
fn a_token_without_its_rows_does_not_pass_for_a_write_and_what_is_there_is_not_sent_again() {
    let (job, proxy) = behind_a_proxy("second-round", 2);
    for partition in [0, 1] {
        job.produce_events(partition, 0..100);
    }
    let held = proxy.inject(Matcher::inserts(), Fault::HoldResponse, 2);
    let first = job.start("first", &[], "");
    held.wait_for_hits(2, PATIENCE)
        .unwrap_or_else(|e| panic!("{e:#}: {}", first.log()));
    job.wait_for_rows(200);
    first.process.kill();
    held.release();
    job.query(
        "ALTER TABLE {db}.clickstream_events DELETE WHERE _partition = 0 OR _offset % 2 = 0 \
         SETTINGS mutations_sync = 2",
    );
    assert_eq!(job.rows_and_offsets(), (50, 50));

    slow_looks(&proxy);
    let second = job.start("second", &["--until", "latest"], "");
    let status = second.process.wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{}", second.log());
    assert_eq!(job.rows_and_offsets(), (200, 200));
    job.assert_committed_to_end();
    // The repetition came first, under the token of old, and was acknowledged in vain.
    let inserts = proxy.inserts();
    for partition in [0, 1] {
        let place = format!("user-events:{partition}:");
        let tokens = inserts.iter().filter_map(|insert| insert.token.as_deref());
        let tokens: Vec<_> = tokens.filter(|token| token.contains(&place)).collect();
        let all = inserts.iter().map(|insert| &insert.token);
        assert!(!tokens.is_empty(), "{place}: {:?}", all.collect::<Vec<_>>());
        let again = format!("{}:2", tokens[0]);
        assert_eq!(tokens, [tokens[0], tokens[0], &again]);
    }
}

#[test]
fn a_group_set_back_behind_slow_looks_doubles_nothing_although_its_daemon_dies() {
    let (job, proxy) = behind_a_proxy("set-back", 1);
    job.produce_events(0, 0..60);
    job.run_to_end();
    job.produce_events(0, 60..100);
    let committed = Committed {
        offset: 0,
        metadata: String::new(),
    };
    topic::commit(job.bootstrap(), &job.group, &job.topic, 0, &committed).expect("committed");
    // The range is named, and of what it misses nothing is sent.
    let dies = job.start("dies", &["--until", "latest"], "before_insert=return");
    let status = dies.process.wait(PATIENCE).expect("it ends");
    assert!(!status.success(), "{}", dies.log());
    assert_eq!(job.rows_and_offsets(), (60, 60));
    slow_looks(&proxy);
    job.run_to_end();
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (100, 100));
}

#[test]
fn an_answer_of_200_that_is_no_acknowledgement_is_none() {
    for delivery in ["exactly_once", "at_least_once"] {
        let (mut job, proxy) = behind_a_proxy("lies", 1);
        job.set("pipeline.delivery", delivery);
        job.produce_events(0, 0..50);
        let page = "<html><title>Sign in</title></html>";
        let bodies = [
            "Code: 241. DB::Exception: Memory limit (total) exceeded\n",
            page,
            "",
        ];
        let lie = |body: &str| Fault::Lie {
            body: body.to_owned(),
        };
        let lies = bodies.map(|body| proxy.inject(Matcher::inserts(), lie(body), 1));
        let more = [
            proxy.inject(looks(), lie(page), 1),
            proxy.inject(
                Matcher::any().query_contains("max(toInt64(_offset))"),
                lie(page),
                1,
            ),
        ];
        job.run_to_end();
        job.assert_committed_to_end();
        assert_eq!(job.rows_and_offsets(), (50, 50), "{delivery}");
        assert!(lies.iter().all(|lie| lie.hits() == 1), "{delivery}");
        if delivery == "exactly_once" {
            assert!(more.iter().all(|lie| lie.hits() == 1));
        }
    }
}

#[test]
fn a_table_that_remembers_no_tokens_gets_no_row_again_for_a_lost_answer() {
    let (job, proxy) = behind_a_proxy("no-tokens", 1);
    job.query(
        "ALTER TABLE {db}.clickstream_events RESET SETTING non_replicated_deduplication_window",
    );
    job.produce_events(0, 0..100);
    let lost = proxy.inject(Matcher::inserts(), Fault::FailAfterWrite, 1);
    job.run_to_end();
    assert_eq!(lost.hits(), 1);
    assert_eq!(job.rows_and_offsets(), (100, 100));
    job.assert_committed_to_end();
}

#[test]
fn a_range_that_is_refused_after_a_lost_answer_is_not_split_while_it_may_arrive() {
    let (job, proxy) = behind_a_proxy("late-whole", 1);
    job.produce_events(0, 0..40);
    let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, 1);
    let violated = Fault::exception(500, 469, "Constraint `c` is violated");
    let refused = proxy.inject(Matcher::inserts(), violated, 1);
    let daemon = job.start("a", &["--until", "latest"], "");
    refused
        .wait_for_hits(1, PATIENCE)
        .unwrap_or_else(|e| panic!("{e:#}: {}", daemon.log()));
    held.release();
    let status = daemon.process.wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{}", daemon.log());
    held.wait_for_finished(1, PATIENCE).expect("it arrived");
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (40, 40), "{}", daemon.log());
    assert_eq!(job.dead_letters().unwrap_or_default().len(), 0);
}

#[test]
fn a_successor_with_a_smaller_lease_and_timeout_waits_as_long_as_its_predecessor_may_insert() {
    let (mut job, proxy) = behind_a_proxy("larger-span", 1);
    job.set("pipeline.clickhouse.insert_lease", "3s");
    job.set("pipeline.clickhouse.insert_timeout", "20s");
    job.produce_events(0, 0..40);
    let held = proxy.inject(Matcher::inserts(), Fault::HoldRequest, 1);
    let first = job.start("first", &[], "");
    held.wait_for_hits(1, PATIENCE)
        .unwrap_or_else(|e| panic!("{e:#}: {}", first.log()));
    first.process.kill();
    job.set("pipeline.clickhouse.insert_lease", "1s");
    job.set("pipeline.clickhouse.insert_timeout", "1s");
    let violated = Fault::exception(500, 469, "Constraint `c` is violated");
    let refused = proxy.inject(Matcher::inserts(), violated, 1);
    let second = job.start("second", &["--until", "latest"], "");
    refused
        .wait_for_hits(1, PATIENCE)
        .unwrap_or_else(|e| panic!("{e:#}: {}", second.log()));
    // Longer than its own lease and timeout: by then it would have split the range.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(job.rows_and_offsets(), (0, 0), "{}", second.log());
    held.release();
    let status = second.process.wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{}", second.log());
    held.wait_for_finished(1, PATIENCE).expect("it arrived");
    job.assert_committed_to_end();
    assert_eq!(job.rows_and_offsets(), (40, 40), "{}", second.log());
}

#[test]
fn parts_of_a_refused_range_leave_out_the_rows_of_it_that_are_there() {
    let (job, proxy) = behind_a_proxy("part-there", 1);
    job.produce_events(0, 0..40);
    let held = proxy.inject(Matcher::inserts(), Fault::HoldResponse, 1);
    let first = job.start("first", &[], "");
    held.wait_for_hits(1, PATIENCE)
        .unwrap_or_else(|e| panic!("{e:#}: {}", first.log()));
    job.wait_for_rows(40);
    first.process.kill();
    held.release();
    job.query(
        "ALTER TABLE {db}.clickstream_events DELETE WHERE _offset % 2 = 1 \
         SETTINGS mutations_sync = 2",
    );
    assert_eq!(job.rows_and_offsets(), (20, 20));
    let is_about_17 = |request: &SeenRequest| {
        let range = request.token_range();
        range.is_some_and(|range| range.contains(&17))
    };
    let violated = Fault::exception(500, 469, "Constraint `c` is violated");
    let refused = proxy.inject(Matcher::inserts().only(is_about_17), violated, usize::MAX);
    job.run_to_end();
    job.assert_committed_to_end();
    assert!(refused.hits() > 1);
    assert_eq!(job.rows_and_offsets(), (39, 39));
    let letters = job.dead_letters().expect("dead letters");
    let offsets: Vec<_> = letters
        .iter()
        .map(|letter| letter.header("streamweir-offset"))
        .collect();
    assert_eq!(offsets, [Some("17".to_owned())]);
}
