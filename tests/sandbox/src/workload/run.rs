//! Running a workload: its sessions, one thread each, and the steps in between.

use std::sync::RwLock;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::plan::{Effect, End, Plan, Transaction, UsedOnce};
use super::session::{self, Failure, Session};
use super::steps::{Step, steps};
use super::table::{Column, PRODUCTS};
use super::{Counts, Dialect, Limit, Progress, Workload};
use crate::wait;

const RECONNECT_TIMEOUT: Duration = Duration::from_secs(180);
const STEP_ATTEMPTS_MAX: u32 = 50;

/// Runs the workload to its limit, over lost connections, and says what it did. The tables exist
/// ([`super::create_tables`]).
///
/// # Errors
/// When a statement is wrong, or the server does not come back within three minutes.
pub fn run(workload: &Workload, progress: &Progress) -> Result<Counts> {
    let dialect = Dialect::of(&workload.url)?;
    let running = Running {
        workload,
        dialect,
        progress,
        begun: Instant::now(),
        products: RwLock::new(PRODUCTS.to_vec()),
    };
    let mut total = Counts::default();
    thread::scope(|scope| {
        let running = &running;
        let mut threads: Vec<_> = (1..=workload.sessions)
            .map(|number| scope.spawn(move || running.session(number)))
            .collect();
        threads.push(scope.spawn(|| running.steps()));
        for thread in threads {
            let counts = thread.join().map_err(|_| anyhow!("a session panicked"))?;
            if counts.is_err() {
                progress.stop.store(true, Ordering::Relaxed);
            }
            total += counts?;
        }
        Ok(total)
    })
}

struct Running<'w> {
    workload: &'w Workload,
    dialect: Dialect,
    progress: &'w Progress,
    begun: Instant,
    /// The columns of `products` at this moment.
    products: RwLock<Vec<Column>>,
}

impl Running<'_> {
    /// How much of the workload is done: 1 is all.
    fn done(&self) -> f64 {
        if self.progress.stop.load(Ordering::Relaxed) {
            return 1.0;
        }
        match self.workload.limit {
            Limit::Time(time) => self.begun.elapsed().as_secs_f64() / time.as_secs_f64(),
            Limit::Statements(count) => {
                self.progress.statements.load(Ordering::Relaxed) as f64 / count as f64
            }
        }
    }

    fn session(&self, number: u64) -> Result<Counts> {
        let mut counts = Counts::default();
        let mut random = StdRng::seed_from_u64(self.workload.seed.wrapping_mul(1_000) + number);
        let mut once = UsedOnce::of_session(number);
        let mut session = session::open(&self.workload.url)?;
        while self.done() < 1.0 {
            self.pace(counts.statements);
            let mut plan = Plan {
                tables: self.dialect.tables(),
                keys: i64::try_from(self.workload.keys)?,
                own_key: -i64::try_from(number)?,
                products: self.columns_of_products(),
                once: (!self.workload.large_keys_return).then_some(&mut once),
                random: &mut random,
            };
            let transaction = plan.transaction();
            // Transactions of other sessions come in between.
            let pause = Duration::from_micros(random.random_range(0..600));
            let outcome = self.transaction(&mut *session, &transaction, pause, &mut counts);
            match outcome {
                Ok(()) => {}
                Err((Failure::Refused(_), _)) => counts.refused += 1,
                Err((Failure::Lost(_), _)) => {
                    counts.reconnected += 1;
                    session = self.reopen()?;
                }
                Err((failure, statement)) => return Err(failure.context(&statement)),
            }
        }
        Ok(counts)
    }

    /// Fails with the statement that did.
    fn transaction(
        &self,
        session: &mut dyn Session,
        transaction: &Transaction,
        pause: Duration,
        counts: &mut Counts,
    ) -> Result<(), (Failure, String)> {
        let Some(end) = transaction.end else {
            for statement in &transaction.statements {
                let rows = self.send(session, &statement.sql, counts)?;
                *count_of(statement.effect, counts) += rows;
                counts.committed += 1;
            }
            return Ok(());
        };
        let mut changed = Counts::default();
        self.send(session, "BEGIN", counts)?;
        for statement in &transaction.statements {
            match self.send(session, &statement.sql, counts) {
                Ok(rows) => *count_of(statement.effect, &mut changed) += rows,
                Err((Failure::Refused(why), sql)) => {
                    self.send(session, "ROLLBACK", counts)?;
                    return Err((Failure::Refused(why), sql));
                }
                Err(other) => return Err(other),
            }
            thread::sleep(pause);
        }
        match end {
            End::Commit => {
                self.send(session, "COMMIT", counts)?;
                changed.committed = 1;
                *counts += changed;
            }
            End::Rollback => {
                self.send(session, "ROLLBACK", counts)?;
                counts.rolled_back += 1;
            }
        }
        Ok(())
    }

    fn send(
        &self,
        session: &mut dyn Session,
        statement: &str,
        counts: &mut Counts,
    ) -> Result<u64, (Failure, String)> {
        counts.statements += 1;
        self.progress.statements.fetch_add(1, Ordering::Relaxed);
        let sent = session.run(statement);
        sent.map_err(|failure| (failure, statement.to_owned()))
    }

    /// Holds a session back that is ahead of the rate.
    fn pace(&self, statements: u64) {
        let Some(rate) = self.workload.statements_per_second else {
            return;
        };
        let share = rate as f64 / self.workload.sessions as f64;
        let due = Duration::from_secs_f64(statements as f64 / share);
        // Waiting in vain is the usual way here; the end of the run comes first at times.
        let ahead = due.saturating_sub(self.begun.elapsed());
        let _ = wait::until("it is due", ahead, || (self.done() >= 1.0).then_some(()));
    }

    fn reopen(&self) -> Result<Box<dyn Session>> {
        wait::until("the database takes connections", RECONNECT_TIMEOUT, || {
            session::open(&self.workload.url).ok()
        })
        .with_context(|| format!("lost {}", self.workload.url))
    }

    /// Takes the steps, evenly over the run, those that are left when it ends among them.
    fn steps(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        let steps = steps(self.dialect, self.workload.evolve, self.workload.defaults);
        let parts = (steps.len() + 1) as f64;
        for (number, step) in (1..).zip(steps) {
            while self.done() < f64::from(number) / parts {
                thread::sleep(Duration::from_millis(2));
            }
            if self.progress.stop.load(Ordering::Relaxed) {
                break;
            }
            self.step(&step, &mut counts)?;
            let mut products = self
                .products
                .write()
                .expect("no holder of this lock panics");
            *products = step.products;
        }
        Ok(counts)
    }

    /// Tries a step's statements until they get their locks.
    fn step(&self, step: &Step, counts: &mut Counts) -> Result<()> {
        let mut session = self.reopen()?;
        for statement in &step.statements {
            let mut attempt = 1;
            loop {
                match self.send(&mut *session, statement, counts) {
                    Ok(_) => break,
                    Err((Failure::Wrong(why), _)) => return Err(anyhow!("{why}: {statement}")),
                    Err((failure, _)) if attempt == STEP_ATTEMPTS_MAX => {
                        return Err(failure.context(statement));
                    }
                    Err((Failure::Lost(_), _)) => session = self.reopen()?,
                    Err((Failure::Refused(_), _)) => counts.refused += 1,
                }
                attempt += 1;
            }
            counts.steps += 1;
        }
        Ok(())
    }

    fn columns_of_products(&self) -> Vec<Column> {
        let products = self.products.read();
        products.expect("no holder of this lock panics").clone()
    }
}

fn count_of(effect: Effect, counts: &mut Counts) -> &mut u64 {
    match effect {
        Effect::Insert => &mut counts.inserted,
        Effect::Update => &mut counts.updated,
        Effect::Delete => &mut counts.deleted,
        Effect::Move => &mut counts.moved,
    }
}
