//! Answers that are lost, late, doubled, refused or cut.

use std::time::Duration;

use rand::Rng as _;
use sandbox::fault::{Fault, Matcher, Proxy};

use super::{Run, SALES_PER_SECOND, Trial};
use crate::support::PATIENCE;
use crate::support::windows::Kind;

pub(super) fn trials() -> Vec<Trial> {
    vec![Trial::new(
        "win-replies",
        "windows; inserts whose answer is lost, late or held, that arrive twice, are refused or cut",
        80,
        8,
        replies,
    )]
}

fn replies(run: &mut Run) {
    let kind = Kind::ALL[run.random.random_range(0..Kind::ALL.len())];
    let mut windows = run.windows(kind);
    let proxy = Proxy::start(&windows.job.clickhouse_url).expect("a proxy");
    windows.job.set("clickhouse.url", proxy.url());
    let traffic = windows.traffic(SALES_PER_SECOND);
    let daemon = windows.start("daemon", "");
    windows.wait_for_progress(300, &daemon);
    let parts = "Too many parts (300). Merges are processing slower than inserts. (TOO_MANY_PARTS)";
    let delay = Duration::from_millis(700);
    let reject = Fault::Reject {
        status: 500,
        body: "oops".to_owned(),
    };
    let faults = [
        Fault::FailAfterWrite,
        Fault::Duplicate,
        Fault::HoldResponse,
        Fault::RespondSlowly { delay },
        Fault::exception(500, 252, parts),
        reject,
        Fault::Disconnect,
        Fault::CutMidBody { bytes: 2_000 },
    ];
    let each = usize::try_from(run.times)
        .expect("small")
        .div_ceil(faults.len());
    for fault in faults {
        // One insert is under way at a time: a held one is let go before the next.
        let is_held = matches!(fault, Fault::HoldResponse);
        let (rounds, at_once) = if is_held { (each.min(2), 1) } else { (1, each) };
        for _ in 0..rounds {
            let injection = proxy.inject(Matcher::inserts(), fault.clone(), at_once);
            let met = injection.wait_for_hits(at_once, PATIENCE);
            met.unwrap_or_else(|e| panic!("{e:#}\n{}", daemon.log()));
            if is_held {
                // Longer than a session: a reply that is awaited must not cost the membership.
                std::thread::sleep(Duration::from_secs(3));
                injection.release();
            }
        }
    }
    windows.wait_for_progress(500, &daemon);
    let produced = traffic.finish();
    daemon.stop();
    windows.close();
    run.prove_windows(&windows, produced);
}
