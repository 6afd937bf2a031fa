//! A connection that runs a workload's statements, and what its errors mean.

use std::fmt;

use anyhow::{Result, anyhow};
use mysql::prelude::Queryable;
use postgres::SimpleQueryMessage;
use postgres::error::SqlState;

use super::Dialect;
use crate::{mariadb, postgres as server};

/// Why a statement did not run.
#[derive(Debug)]
pub(super) enum Failure {
    /// Somebody else was faster: the transaction is to be rolled back, nothing is wrong.
    Refused(String),
    /// The connection is gone.
    Lost(String),
    /// The statement is wrong.
    Wrong(String),
}

impl Failure {
    pub(super) fn context(&self, statement: &str) -> anyhow::Error {
        anyhow!("{self}: {statement}")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Refused(text) | Self::Lost(text) | Self::Wrong(text)) = self;
        f.write_str(text)
    }
}

pub(super) trait Session {
    /// Runs one statement; returns the number of rows changed.
    fn run(&mut self, statement: &str) -> Result<u64, Failure>;
}

/// Connects to a server whose URL says which kind it is.
pub(super) fn open(url: &str) -> Result<Box<dyn Session>> {
    let mut session: Box<dyn Session> = match Dialect::of(url)? {
        Dialect::Postgres => Box::new(server::connect(url)?),
        Dialect::MariaDb => Box::new(mariadb::connect(url)?),
    };
    let settings: &[&str] = match Dialect::of(url)? {
        Dialect::Postgres => &["SET lock_timeout = '2s'", "SET deadlock_timeout = '20ms'"],
        Dialect::MariaDb => &[
            "SET SESSION innodb_lock_wait_timeout = 2",
            "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES'",
        ],
    };
    for setting in settings {
        session
            .run(setting)
            .map_err(|failure| failure.context(setting))?;
    }
    Ok(session)
}

impl Session for postgres::Client {
    fn run(&mut self, statement: &str) -> Result<u64, Failure> {
        let messages = self.simple_query(statement).map_err(|error| {
            let text = error
                .as_db_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            match error.code() {
                Some(code) if is_refusal(code) => Failure::Refused(text),
                Some(code) if !code.code().starts_with("57P") => Failure::Wrong(text),
                _ => Failure::Lost(text),
            }
        })?;
        let counts = messages.into_iter().map(|message| match message {
            SimpleQueryMessage::CommandComplete(rows) => rows,
            _ => 0,
        });
        Ok(counts.sum())
    }
}

fn is_refusal(code: &SqlState) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::LOCK_NOT_AVAILABLE,
        // The columns have changed since the statement was made.
        SqlState::UNDEFINED_COLUMN,
    ]
    .contains(code)
}

impl Session for mysql::Conn {
    fn run(&mut self, statement: &str) -> Result<u64, Failure> {
        let done = self.query_drop(statement).map(|()| self.affected_rows());
        done.map_err(|error| match &error {
            // A key taken, a lock not had in time, a deadlock, a row changed since it was read.
            mysql::Error::MySqlError(told) if [1062, 1205, 1213, 1020].contains(&told.code) => {
                Failure::Refused(error.to_string())
            }
            // The server is going down.
            mysql::Error::MySqlError(told) if ![1053, 1927].contains(&told.code) => {
                Failure::Wrong(error.to_string())
            }
            _ => Failure::Lost(error.to_string()),
        })
    }
}
