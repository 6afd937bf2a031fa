//! A server that dies between token and part acknowledges a repetition and has no rows.
//!
//! No server can be made to die there on command. Its trace can be made: the insert is done, then
//! its rows are deleted; the token stays.

mod support;

use sandbox::fault::{Fault, Matcher, Proxy};
use support::{Job, PATIENCE};

#[test]
fn a_token_without_its_rows_does_not_pass_for_a_write() {
    let mut job = Job::new("second-round");
    job.set_small_batches();
    job.set("pipeline.clickhouse.insert_lease", "1s");
    job.set("pipeline.clickhouse.insert_timeout", "2s");
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..100);

    let held = proxy.inject(Matcher::inserts(), Fault::HoldResponse, 1);
    let first = job.start("first", &[], "");
    held.wait_for_hits(1, PATIENCE)
        .unwrap_or_else(|e| panic!("{e:#}: {}", first.log()));
    job.wait_for_rows(100);
    first.process.kill();
    held.release();
    job.query("ALTER TABLE {db}.clickstream_events DELETE WHERE 1 SETTINGS mutations_sync = 2");
    assert_eq!(job.rows_and_offsets(), (0, 0));

    let second = job.start("second", &["--until", "latest"], "");
    let status = second.process.wait(PATIENCE).expect("it ends");
    assert!(status.success(), "{}", second.log());
    assert_eq!(job.rows_and_offsets(), (100, 100));
    job.assert_committed_to_end();
    // The repetition came first, under the token of old, and was acknowledged in vain.
    let inserts = proxy.inserts();
    let tokens: Vec<_> = inserts.iter().filter_map(|i| i.token.as_deref()).collect();
    let again = format!("{}:2", tokens[0]);
    assert_eq!(tokens, [tokens[0], tokens[0], &again]);
}
