//! One table that takes nothing for a while, and the tables and topics beside it, which go on.

use rand::Rng as _;
use sandbox::fault::{Fault, Matcher, Proxy};
use sandbox::wait;

use super::{Run, Trial, prepared};
use crate::support::joins::{Joins, Kind as JoinKind};
use crate::support::replica::Replica;
use crate::support::traffic::Traffic;
use crate::support::windows::{Kind, Windows};
use crate::support::{Daemon, Job, PATIENCE};

const PARTITIONS: i32 = 3;
const RECORDS_PER_SECOND: u64 = 500;
/// How many records of the neighbour are done with before the sick one gets well.
const GOES_ON_BY: u64 = 300;

pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::new(
            "sick-table",
            "inserts of one table refused, held and cut for a while; a second topic and its table go on meanwhile",
            20,
            3,
            events,
        ),
        Trial::new(
            "cdc-sick-table",
            "change records; the same of one of three tables of a pipeline",
            20,
            1,
            changes,
        ),
        Trial::new(
            "win-sick-table",
            "windows; the same of two aggregations in one process",
            20,
            1,
            windows,
        ),
        Trial::new(
            "join-sick-table",
            "join; the same of a table beside it, in one process",
            20,
            1,
            join,
        ),
    ]
}

/// One of two that run beside each other: what to ask how far it has come.
struct Side<'s> {
    progress: &'s dyn Fn() -> u64,
}

impl Side<'_> {
    /// Waits until so many more are done with.
    fn goes_on(&self, more: u64, what: &str, daemon: &Daemon) {
        let wanted = (self.progress)() + more;
        let is_there = || ((self.progress)() >= wanted).then_some(());
        wait::until(what, PATIENCE, is_there)
            .unwrap_or_else(|e| panic!("{e}: {} of {wanted}\n{}", (self.progress)(), daemon.log()));
    }
}

/// Inserts whose statement has this text meet each fault in turn, until the healthy side has gone on.
fn beset(run: &mut Run, proxy: &Proxy, text: &str, daemon: &Daemon, sides: &[Side<'_>; 2]) {
    let [sick, healthy] = sides;
    let parts = "Too many parts (300). Merges are processing slower than inserts. (TOO_MANY_PARTS)";
    let refused = Fault::Reject {
        status: 503,
        body: String::new(),
    };
    let faults = [
        Fault::exception(500, 252, parts),
        Fault::HoldRequest,
        Fault::Disconnect,
        refused,
    ];
    let first = run.random.random_range(0..faults.len());
    let turns = faults.iter().cycle().skip(first);
    for fault in turns.take(run.times as usize) {
        let matcher = Matcher::inserts().query_contains(text);
        let injection = proxy.inject(matcher, fault.clone(), usize::MAX);
        let met = injection.wait_for_hits(1, PATIENCE);
        met.unwrap_or_else(|e| panic!("{e:#}\n{}", daemon.log()));
        healthy.goes_on(
            GOES_ON_BY,
            &format!("{fault:?}: the neighbour goes on"),
            daemon,
        );
        injection.stop();
        injection.release();
        sick.goes_on(1, &format!("{fault:?}: the sick one gets well"), daemon);
    }
}

/// The sick job reaches ClickHouse by way of a proxy, and so does what runs beside it.
fn proxied(job: &mut Job, neighbour: &mut Job) -> Proxy {
    let proxy = Proxy::start(&job.clickhouse_url).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    job.run_beside(neighbour);
    proxy
}

fn events(run: &mut Run) {
    let mut sick = run.job(PARTITIONS);
    let mut healthy = prepared(Job::new(&format!("{}-beside", run.name)), PARTITIONS);
    let proxy = proxied(&mut sick, &mut healthy);
    let traffic = [&sick, &healthy].map(|job| Traffic::start(job, PARTITIONS, RECORDS_PER_SECOND));
    let daemon = sick.start("daemon", &[], "");
    sick.wait_for_more_rows(300);
    let sides = [
        Side {
            progress: &|| sick.row_count(),
        },
        Side {
            progress: &|| healthy.row_count(),
        },
    ];
    beset(run, &proxy, &sick.database, &daemon, &sides);
    let produced = traffic.map(Traffic::finish);
    for job in [&sick, &healthy] {
        job.wait_for_commits_to_end();
    }
    daemon.stop();
    run.prove(&sick, produced[0]);
    run.prove(&healthy, produced[1]);
}

fn changes(run: &mut Run) {
    let mut replica = run_replica(run);
    let proxy = Proxy::start(&replica.job.clickhouse_url).expect("a proxy");
    replica.job.set("clickhouse.url", proxy.url());
    let traffic = replica.traffic(RECORDS_PER_SECOND);
    let daemon = replica.start("daemon", "");
    replica.wait_for_progress(300, Some(&daemon));
    let sides = [
        Side {
            progress: &|| replica.progress_of(&["orders"]),
        },
        Side {
            progress: &|| replica.progress_of(&["notes", "visits"]),
        },
    ];
    beset(run, &proxy, "orders", &daemon, &sides);
    let produced = traffic.finish();
    replica.wait_for_end(&daemon);
    daemon.stop();
    let counts = replica.assert_equal(produced);
    run.add(counts);
    "equal to its source".clone_into(&mut run.result);
}

fn run_replica(run: &mut Run) -> Replica {
    let seed = run.random.random();
    Replica::new(&run.name, PARTITIONS, seed)
}

fn windows(run: &mut Run) {
    let kinds = [Kind::Tumbling, Kind::Partitioned];
    let names = [run.name.clone(), format!("{}-beside", run.name)];
    let [mut sick, mut healthy] =
        [0, 1].map(|i| Windows::new(&names[i], kinds[i], PARTITIONS, run.random.random()));
    let proxy = proxied(&mut sick.job, &mut healthy.job);
    let traffic = [&sick, &healthy].map(|windows| windows.traffic(RECORDS_PER_SECOND));
    let daemon = sick.start("daemon", "");
    sick.wait_for_progress(300, &daemon);
    let sides = [
        Side {
            progress: &|| sick.progress(),
        },
        Side {
            progress: &|| healthy.progress(),
        },
    ];
    beset(run, &proxy, &sick.job.database, &daemon, &sides);
    let produced = traffic.map(Traffic::finish);
    daemon.stop();
    sick.close();
    for (windows, produced) in [(&sick, produced[0]), (&healthy, produced[1])] {
        let counts = windows.assert_equal(produced);
        run.add(counts);
    }
    "as an undisturbed run".clone_into(&mut run.result);
}

fn join(run: &mut Run) {
    let mut sick = run.job(PARTITIONS);
    let name = format!("{}-beside", run.name);
    let mut healthy = Joins::new(&name, JoinKind::Left, PARTITIONS, run.random.random());
    let proxy = proxied(&mut sick, &mut healthy.job);
    let events = Traffic::start(&sick, PARTITIONS, RECORDS_PER_SECOND);
    let sides_of_join = healthy.traffic(RECORDS_PER_SECOND);
    let daemon = sick.start("daemon", &[], "");
    sick.wait_for_more_rows(300);
    let sides = [
        Side {
            progress: &|| sick.row_count(),
        },
        Side {
            progress: &|| healthy.progress(),
        },
    ];
    beset(run, &proxy, &sick.database, &daemon, &sides);
    let produced = [events.finish(), sides_of_join.finish()];
    sick.wait_for_commits_to_end();
    daemon.stop();
    healthy.close();
    run.prove(&sick, produced[0]);
    let counts = healthy.assert_equal(produced[1]);
    run.add(counts);
}
