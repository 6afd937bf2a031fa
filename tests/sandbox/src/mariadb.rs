//! A real MariaDB server that logs whole rows: the other source of change data capture.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, Value};

use crate::kafka::log_to;
use crate::process::{Process, runs_as_root};
use crate::wait;
use crate::workdir::{ScratchDir, free_port, log_tail};

const START_TIMEOUT: Duration = Duration::from_secs(180);
/// The account that the sandbox and the connector use; it may do everything.
const USER: &str = "sandbox";
const DATABASE: &str = "shop";

/// A running server, killed and removed with its data when dropped.
#[derive(Debug)]
pub struct MariaDb {
    port: u16,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl MariaDb {
    /// Starts a server with an empty database `shop` and waits until it answers.
    ///
    /// # Errors
    /// When MariaDB is missing (`make deps`) or gives up; the end of its log is part of the
    /// message.
    pub fn start() -> Result<Self> {
        let mariadb = Self {
            port: free_port()?,
            process: Mutex::new(None),
            dir: ScratchDir::create("mariadb")?,
        };
        mariadb.initialise()?;
        mariadb.restart()?;
        Ok(mariadb)
    }

    /// The loopback port; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// An account that may do everything; its password is [`MariaDb::password`].
    pub fn user(&self) -> &str {
        USER
    }

    /// The password of [`MariaDb::user`].
    pub fn password(&self) -> &str {
        USER
    }

    /// The database that [`MariaDb::client`] connects to.
    pub fn database(&self) -> &str {
        DATABASE
    }

    /// As clients take it.
    pub fn url(&self) -> String {
        format!("mysql://{USER}:{USER}@127.0.0.1:{}/{DATABASE}", self.port)
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// A new connection, in UTC.
    pub fn client(&self) -> Result<Conn> {
        connect(&self.url())
    }

    /// Runs one statement on a connection of its own, and returns the rows as lines of text with
    /// tabs between the columns; NULL is `\N`.
    pub fn query(&self, sql: &str) -> Result<String> {
        let rows: Vec<mysql::Row> = self.client()?.query(sql).context(sql.to_owned())?;
        let line = |row: mysql::Row| {
            let cells = row.unwrap().into_iter().map(|value| match value {
                Value::NULL => "\\N".to_owned(),
                Value::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
                other => other.as_sql(true),
            });
            cells.collect::<Vec<_>>().join("\t")
        };
        let lines: Vec<_> = rows.into_iter().map(line).collect();
        Ok(lines.join("\n"))
    }

    /// SIGKILL.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Starts it again on the same port and data, after a kill if it runs.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let log = self.dir.path().join("mariadb.log");
        let mut command = Command::new("mariadbd");
        command
            .arg(self.settings_argument())
            .current_dir(self.dir.path())
            .stdin(Stdio::null());
        log_to(&mut command, &log)?;
        let process = Process::spawn(command)?;
        wait::until("mariadb answers", START_TIMEOUT, || {
            (process.try_wait().is_some() || self.client().is_ok()).then_some(())
        })
        .with_context(|| log_tail(&log))?;
        ensure!(
            process.try_wait().is_none(),
            "mariadb gave up: {}",
            log_tail(&log)
        );
        *self.process() = Some(process);
        Ok(())
    }

    fn initialise(&self) -> Result<()> {
        let (dir, port) = (self.dir.path(), self.port);
        // The account is made at the first start, before anything answers.
        let accounts = format!(
            "CREATE DATABASE IF NOT EXISTS {DATABASE};\n\
             CREATE USER IF NOT EXISTS '{USER}'@'%' IDENTIFIED BY '{USER}';\n\
             GRANT ALL ON *.* TO '{USER}'@'%';\n"
        );
        fs::write(dir.join("accounts.sql"), accounts)?;
        let mut lines = vec![
            "[mariadbd]".to_owned(),
            format!("port={port}"),
            format!("datadir={}", self.data().display()),
            format!("init-file={}", dir.join("accounts.sql").display()),
        ];
        if runs_as_root() {
            // The server runs as root only when told to.
            lines.push("user=root".to_owned());
        }
        lines.extend(SETTINGS.iter().map(|line| (*line).to_owned()));
        fs::write(dir.join("my.cnf"), lines.join("\n") + "\n")?;

        let log = dir.join("install.log");
        let mut command = Command::new("mariadb-install-db");
        command
            .arg(self.settings_argument())
            .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
            .current_dir(dir)
            .stdin(Stdio::null());
        log_to(&mut command, &log)?;
        let status = Process::spawn(command)?.wait(START_TIMEOUT)?;
        ensure!(
            status.success(),
            "mariadb-install-db failed: {}",
            log_tail(&log)
        );
        Ok(())
    }

    fn settings_argument(&self) -> String {
        format!(
            "--defaults-file={}",
            self.dir.path().join("my.cnf").display()
        )
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}

/// A new connection to the server at `url`, in UTC.
pub(crate) fn connect(url: &str) -> Result<Conn> {
    let mut client =
        Conn::new(Opts::from_url(url)?).with_context(|| format!("cannot connect to {url}"))?;
    client.query_drop("SET time_zone = '+00:00'")?;
    Ok(client)
}

const SETTINGS: &[&str] = &[
    "bind-address=127.0.0.1",
    // Relative to the data: a path within a deep checkout would be too long for a socket.
    "socket=mariadb.sock",
    "pid-file=mariadb.pid",
    "skip-name-resolve",
    "character-set-server=utf8mb4",
    "default-time-zone=+00:00",
    "server-id=1",
    "log-bin=mysql-bin",
    "binlog-format=ROW",
    "binlog-row-image=FULL",
    "innodb-buffer-pool-size=32M",
    "innodb-log-file-size=16M",
    // The machine does not fail here, only processes do.
    "innodb-flush-log-at-trx-commit=2",
    "sync-binlog=0",
];
