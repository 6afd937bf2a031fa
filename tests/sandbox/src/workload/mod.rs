//! Random changes to a database's tables, by several sessions at once: what change data capture
//! has to keep up with.
//!
//! Every statement is drawn from the seed; which of two sessions comes first is not. What must
//! come out is therefore not foretold but read from the tables afterwards ([`crate::compare`]).

mod plan;
mod run;
mod session;
mod steps;
mod table;

pub use run::run;

use std::fmt;
use std::ops::{AddAssign, Range};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use anyhow::{Result, bail};

use table::Table;

/// When a workload has done enough.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// After so many statements of all sessions together.
    Statements(u64),
    /// After this time.
    Time(Duration),
}

/// What to do to which database.
#[derive(Debug, Clone)]
pub struct Workload {
    /// `postgresql://…` or `mysql://…`.
    pub url: String,
    /// Connections that work at the same time.
    pub sessions: u64,
    /// Same seed, same statements of each session.
    pub seed: u64,
    /// When to end.
    pub limit: Limit,
    /// Statements a second of all sessions together; `None`: as fast as possible.
    pub statements_per_second: Option<u64>,
    /// Different keys of each table. Few of them make sessions meet in one row.
    pub keys: u64,
    /// Whether columns of `products` are added, renamed and dropped on the way (PostgreSQL).
    pub evolve: bool,
    /// Whether an added column may have a default. Converters that write a default in place of NULL
    /// leave nothing to compare.
    pub defaults: bool,
    /// Whether the keys of `documents`, whose rows have large values, change at random like all
    /// others. If not, each key that a row leaves is one that nobody has again.
    pub large_keys_return: bool,
}

impl Workload {
    /// Four sessions that meet often, for as many statements.
    pub fn new(url: impl Into<String>, seed: u64, limit: Limit) -> Self {
        Self {
            url: url.into(),
            sessions: 4,
            seed,
            limit,
            statements_per_second: None,
            keys: 60,
            evolve: false,
            defaults: true,
            large_keys_return: true,
        }
    }
}

/// Watched, and stopped, while a workload runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Statements so far.
    pub statements: AtomicU64,
    /// Set to end it early.
    pub stop: AtomicBool,
}

/// What a workload did. Changes count as rows of transactions that were committed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Statements sent, whatever became of them.
    pub statements: u64,
    /// Transactions committed, single statements among them.
    pub committed: u64,
    /// Transactions rolled back on purpose.
    pub rolled_back: u64,
    /// Transactions that the database refused: a key taken meanwhile, a deadlock, a column gone.
    pub refused: u64,
    /// Connections lost and made again. Whether a commit under way succeeded is not known then.
    pub reconnected: u64,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows updated, their key unchanged.
    pub updated: u64,
    /// Rows deleted.
    pub deleted: u64,
    /// Rows whose key was changed.
    pub moved: u64,
    /// Statements that changed a table's columns, or ended a log file.
    pub steps: u64,
}

impl Counts {
    /// Changes that a replica sees; a row whose key changed is two: one gone, one new.
    pub fn changes(&self) -> u64 {
        self.inserted + self.updated + self.deleted + 2 * self.moved
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.statements += other.statements;
        self.committed += other.committed;
        self.rolled_back += other.rolled_back;
        self.refused += other.refused;
        self.reconnected += other.reconnected;
        self.inserted += other.inserted;
        self.updated += other.updated;
        self.deleted += other.deleted;
        self.moved += other.moved;
        self.steps += other.steps;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} statements: {} rows inserted, {} updated, {} deleted, {} keys changed; \
             {} transactions committed, {} rolled back, {} refused; {} steps, {} reconnections",
            self.statements,
            self.inserted,
            self.updated,
            self.deleted,
            self.moved,
            self.committed,
            self.rolled_back,
            self.refused,
            self.steps,
            self.reconnected,
        )
    }
}

/// Which SQL is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Postgres,
    MariaDb,
}

impl Dialect {
    pub(crate) fn of(url: &str) -> Result<Self> {
        match url.split_once("://") {
            Some(("postgresql" | "postgres", _)) => Ok(Self::Postgres),
            Some(("mysql", _)) => Ok(Self::MariaDb),
            _ => bail!("not the URL of a PostgreSQL or MariaDB server: {url}"),
        }
    }

    fn tables(self) -> &'static [Table] {
        match self {
            Self::Postgres => &Table::ALL,
            Self::MariaDb => &[Table::Orders, Table::OrderItems],
        }
    }
}

/// Creates the tables that a workload changes, and puts a row in each: a topic begins with its
/// table's first row.
pub fn create_tables(url: &str) -> Result<()> {
    let dialect = Dialect::of(url)?;
    let mut session = session::open(url)?;
    for statement in table::statements(dialect) {
        session
            .run(&statement)
            .map_err(|failure| failure.context(&statement))?;
    }
    Ok(())
}

/// Keys that no workload uses.
pub const MARKS: Range<i64> = 4_000_000_000..4_000_000_064;

/// Puts a row under each of [`MARKS`] into every table: enough of them that each partition of a
/// table's topic gets one, and with it all that was written before.
pub fn mark(url: &str) -> Result<()> {
    let dialect = Dialect::of(url)?;
    let mut session = session::open(url)?;
    for table in dialect.tables() {
        for number in MARKS {
            let statement = table::mark(*table, number);
            session
                .run(&statement)
                .map_err(|failure| failure.context(&statement))?;
        }
    }
    Ok(())
}

/// The names of these tables, without schema or database.
pub fn tables(url: &str) -> Result<Vec<&'static str>> {
    let tables = Dialect::of(url)?.tables().iter();
    Ok(tables.map(|table| table.name()).collect())
}
