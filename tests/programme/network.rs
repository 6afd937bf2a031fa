//! Answers that are lost, late, doubled, refused or cut.

use std::time::Duration;

use sandbox::fault::{Fault, Injection, Matcher, Proxy};

use super::{Run, Trial};
use crate::support::traffic::Traffic;
use crate::support::{Daemon, Job, PATIENCE};

const PARTITIONS: i32 = 3;
const EVENTS_PER_SECOND: u64 = 1_000;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new("lost-replies", "inserts whose answer is lost", 200, 8, lost),
        Trial::new(
            "held-replies",
            "inserts whose answer is held beyond the session timeout",
            20,
            3,
            held,
        ),
        Trial::new(
            "slow-replies",
            "inserts whose answer comes 0.7 s later",
            100,
            6,
            slow,
        ),
        Trial::new("duplicates", "inserts that arrive twice", 200, 10, doubled),
        Trial::new(
            "refusals",
            "inserts refused: too many parts, memory, 500, 503",
            100,
            16,
            refused,
        ),
        Trial::new(
            "cuts",
            "connections cut before, during and at the start of an insert",
            100,
            12,
            cut,
        ),
    ]
}

/// A daemon under traffic that reaches ClickHouse by way of a proxy.
pub(super) struct Faulty {
    pub(super) job: Job,
    pub(super) proxy: Proxy,
    pub(super) daemon: Daemon,
    pub(super) traffic: Traffic,
}

impl Faulty {
    pub(super) fn start(run: &Run, failpoints: &str) -> Faulty {
        let mut job = run.job(PARTITIONS);
        let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
        job.set("clickhouse.url", proxy.url());
        let traffic = Traffic::start(&job, PARTITIONS, EVENTS_PER_SECOND);
        let daemon = job.start("daemon", &[], failpoints);
        job.wait_for_more_rows(300);
        Faulty {
            job,
            proxy,
            daemon,
            traffic,
        }
    }

    /// The next inserts meet the fault; returns once all of them have.
    pub(super) fn meet(&self, fault: Fault, times: u32) -> Injection {
        let times = usize::try_from(times).expect("small");
        let injection = self.proxy.inject(Matcher::inserts(), fault, times);
        let met = injection.wait_for_hits(times, PATIENCE);
        met.unwrap_or_else(|e| panic!("{e:#}\n{}", self.daemon.log()));
        injection
    }

    /// Traffic goes on until everything is there; returns the job and how much was produced.
    pub(super) fn end(self) -> (Job, u64) {
        self.job.wait_for_more_rows(1_000);
        let produced = self.traffic.finish();
        self.job.wait_for_commits_to_end();
        self.daemon.stop();
        (self.job, produced)
    }

    fn prove(self, run: &mut Run) {
        let (job, produced) = self.end();
        run.prove(&job, produced);
    }
}

fn lost(run: &mut Run) {
    let faulty = Faulty::start(run, "");
    faulty.meet(Fault::FailAfterWrite, run.times);
    faulty
        .daemon
        .wait_for_log("looked for the rows in the table");
    faulty.prove(run);
}

fn held(run: &mut Run) {
    let faulty = Faulty::start(run, "");
    const AT_ONCE: u32 = 3;
    for first in (0..run.times).step_by(AT_ONCE as usize) {
        let times = AT_ONCE.min(run.times - first);
        let held = faulty.meet(Fault::HoldResponse, times);
        // Longer than a session: a reply that is awaited must not cost the membership.
        std::thread::sleep(Duration::from_secs(4));
        held.release();
        let times = usize::try_from(times).expect("small");
        held.wait_for_finished(times, PATIENCE)
            .expect("they are let go");
    }
    faulty.prove(run);
}

fn slow(run: &mut Run) {
    let faulty = Faulty::start(run, "");
    let delay = Duration::from_millis(700);
    faulty.meet(Fault::RespondSlowly { delay }, run.times);
    faulty.prove(run);
}

fn doubled(run: &mut Run) {
    let faulty = Faulty::start(run, "");
    faulty.meet(Fault::Duplicate, run.times);
    faulty.prove(run);
}

fn refused(run: &mut Run) {
    let parts = "Too many parts (300). Merges are processing slower than inserts. (TOO_MANY_PARTS)";
    let memory = "Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)";
    let reject = |status, body: &str| Fault::Reject {
        status,
        body: body.to_owned(),
    };
    let faulty = Faulty::start(run, "");
    for fault in [
        Fault::exception(500, 252, parts),
        Fault::exception(500, 241, memory),
        reject(500, "oops"),
        reject(503, ""),
    ] {
        faulty.meet(fault, run.times.div_ceil(4));
    }
    faulty.prove(run);
}

fn cut(run: &mut Run) {
    let faulty = Faulty::start(run, "");
    for fault in [
        Fault::Disconnect,
        Fault::CutMidBody { bytes: 3_000 },
        Fault::CutMidBody { bytes: 0 },
    ] {
        faulty.meet(fault, run.times.div_ceil(3));
    }
    faulty.prove(run);
}
