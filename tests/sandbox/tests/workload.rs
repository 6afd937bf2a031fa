//! A workload goes on over everything that happens to its database.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use sandbox::postgres::{Postgres, PostgresOptions};
use sandbox::wait;
use sandbox::workload::{self, Limit, Progress, Workload};

const PATIENCE: Duration = Duration::from_secs(180);

#[test]
fn a_workload_survives_lost_connections_and_a_killed_server() {
    let database = Postgres::start(&PostgresOptions::default()).unwrap();
    workload::create_tables(&database.url()).unwrap();
    let mut workload = Workload::new(database.url(), 1, Limit::Time(10 * PATIENCE));
    workload.statements_per_second = Some(500);
    let progress = Progress::default();
    let more_work = || {
        let before = progress.statements.load(Ordering::Relaxed);
        wait::until("it goes on", PATIENCE, || {
            (progress.statements.load(Ordering::Relaxed) > before + 50).then_some(())
        })
        .unwrap();
    };
    let counts = thread::scope(|scope| {
        let running = scope.spawn(|| workload::run(&workload, &progress));
        more_work();
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
        database.psql(cut).unwrap();
        more_work();
        database.restart().unwrap();
        more_work();
        progress.stop.store(true, Ordering::Relaxed);
        running.join().unwrap().unwrap()
    });
    assert!(counts.reconnected >= workload.sessions, "{counts}");
    assert_eq!(
        counts.statements,
        progress.statements.load(Ordering::Relaxed)
    );
}
