//! Answers that are lost, late, doubled, refused or cut.

use std::time::Duration;

use sandbox::fault::{Fault, Matcher, Proxy};

use super::{CHANGES_PER_SECOND, Run, Trial};
use crate::support::{Daemon, PATIENCE};

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "cdc-replies",
            "change records; inserts, queries and statements whose answer is lost, late or held, or that arrive twice",
            100,
            10,
            replies,
        ),
        Trial::new(
            "cdc-refusals",
            "change records; requests refused (too many parts, memory, full disk, 500) or cut",
            100,
            10,
            refusals,
        ),
    ]
}

fn replies(run: &mut Run) {
    let delay = Duration::from_millis(700);
    meet(
        run,
        &[
            Fault::FailAfterWrite,
            Fault::Duplicate,
            Fault::HoldResponse,
            Fault::RespondSlowly { delay },
        ],
    );
}

fn refusals(run: &mut Run) {
    let parts = "Too many parts (300). Merges are processing slower than inserts. (TOO_MANY_PARTS)";
    let memory = "Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)";
    let disk = "Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)";
    meet(
        run,
        &[
            Fault::exception(500, 252, parts),
            Fault::exception(500, 241, memory),
            Fault::exception(500, 243, disk),
            Fault::Reject {
                status: 500,
                body: "oops".to_owned(),
            },
            Fault::Disconnect,
            Fault::CutMidBody { bytes: 2_000 },
        ],
    );
}

/// Inserts meet each fault in turn, then whatever else is asked of the server: it tells of tables, of
/// the values that records left out, and alters.
fn meet(run: &mut Run, faults: &[Fault]) {
    let mut replica = run.replica();
    let proxy = Proxy::start(&replica.job.clickhouse_url).expect("a proxy");
    replica.job.set("clickhouse.url", proxy.url());
    let traffic = replica.traffic(CHANGES_PER_SECOND);
    let daemon = replica.start("daemon", "");
    replica.wait_for_progress(300, Some(&daemon));
    let each = usize::try_from(run.times)
        .expect("small")
        .div_ceil(2 * faults.len());
    for (number, fault) in faults.iter().enumerate() {
        let others = if number % 2 == 0 {
            "SELECT"
        } else {
            "_version"
        };
        for matcher in [Matcher::inserts(), Matcher::any().query_contains(others)] {
            let injection = proxy.inject(matcher, fault.clone(), each);
            met(injection.wait_for_hits(each, PATIENCE), &daemon);
            if *fault == Fault::HoldResponse {
                // Longer than a session: a reply that is awaited must not cost the membership.
                std::thread::sleep(Duration::from_secs(3));
                injection.release();
                met(injection.wait_for_finished(each, PATIENCE), &daemon);
            }
        }
        let alters = proxy.inject(
            Matcher::any().query_contains("ALTER TABLE"),
            fault.clone(),
            1,
        );
        replica.source().add_column("notes", false);
        met(alters.wait_for_hits(1, PATIENCE), &daemon);
        alters.release();
    }
    replica.wait_for_progress(500, Some(&daemon));
    let produced = traffic.finish();
    replica.wait_for_end(&daemon);
    daemon.stop();
    run.prove_equal(&replica, produced);
}

fn met<T, E: std::fmt::Debug>(result: Result<T, E>, daemon: &Daemon) {
    if let Err(error) = result {
        panic!("{error:?}\n{}", daemon.log());
    }
}
