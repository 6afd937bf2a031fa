//! A real PostgreSQL server that decodes its log: the source of change data capture.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postgres::{Client, NoTls, SimpleQueryMessage};

use crate::kafka::log_to;
use crate::process::{Process, runs_as_root};
use crate::wait;
use crate::workdir::{ScratchDir, free_port, log_tail};

const START_TIMEOUT: Duration = Duration::from_secs(180);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The superuser, and the database that the sandbox works in.
const NAME: &str = "postgres";

/// What may differ from server to server.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    /// Lines of `postgresql.conf`; they win over the sandbox's own.
    pub settings: Vec<(String, String)>,
}

/// A running server, killed and removed with its data when dropped.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    account: Option<Account>,
    process: Mutex<Option<Process>>,
    dir: ScratchDir,
}

impl Postgres {
    /// Starts a server with empty databases and waits until it answers.
    ///
    /// # Errors
    /// When PostgreSQL is missing (`make deps`) or gives up; the end of its log is part of the
    /// message.
    pub fn start(options: &PostgresOptions) -> Result<Self> {
        let account = Account::to_run_under()?;
        let dir = match account {
            Some(_) => ScratchDir::create_for_any_user("postgres")?,
            None => ScratchDir::create("postgres")?,
        };
        let postgres = Self {
            port: free_port()?,
            account,
            process: Mutex::new(None),
            dir,
        };
        postgres.initialise(options)?;
        postgres.restart()?;
        Ok(postgres)
    }

    /// The loopback port; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The superuser, who needs no password.
    pub fn user(&self) -> &str {
        NAME
    }

    /// The database that [`Postgres::client`] connects to.
    pub fn database(&self) -> &str {
        NAME
    }

    /// As `psql` and other clients take it.
    pub fn url(&self) -> String {
        format!("postgresql://{NAME}@127.0.0.1:{}/{NAME}", self.port)
    }

    /// The process id, 0 while it is stopped.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map_or(0, Process::pid)
    }

    /// A new connection, in UTC.
    pub fn client(&self) -> Result<Client> {
        connect(&self.url())
    }

    /// Runs statements on a connection of their own, and returns the rows as lines of text with
    /// tabs between the columns; NULL is `\N`.
    pub fn psql(&self, sql: &str) -> Result<String> {
        let mut lines = Vec::new();
        for message in self.client()?.simple_query(sql).context(sql.to_owned())? {
            if let SimpleQueryMessage::Row(row) = message {
                let cells = (0..row.len()).map(|at| row.get(at).unwrap_or("\\N"));
                lines.push(cells.collect::<Vec<_>>().join("\t"));
            }
        }
        Ok(lines.join("\n"))
    }

    /// Ends what reads the log through this slot, and drops the slot. One that does not exist is
    /// fine.
    pub fn drop_slot(&self, name: &str) -> Result<()> {
        let mut client = self.client()?;
        wait::until("the slot is gone", STOP_TIMEOUT, || {
            let ended = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots \
                         WHERE slot_name = $1 AND active";
            let dropped = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                           WHERE slot_name = $1";
            client.execute(ended, &[&name]).ok()?;
            client.execute(dropped, &[&name]).ok().map(|_| ())
        })
    }

    /// Waits until what reads the log through this slot has confirmed all that is committed now:
    /// what it made of it is safe. Debezium confirms a commit only once it has sent a record of a
    /// later one, so two logical messages follow; they go to topic `<prefix>.message`.
    ///
    /// # Errors
    /// When it has not within `timeout`.
    pub fn wait_until_confirmed(&self, slot: &str, timeout: Duration) -> Result<()> {
        let mut client = self.client()?;
        let asked = "SELECT coalesce(confirmed_flush_lsn >= $2::text::pg_lsn, false) \
                     FROM pg_replication_slots WHERE slot_name = $1";
        let now: String = client
            .query_one("SELECT pg_current_wal_lsn()::text", &[])?
            .get(0);
        for _ in 0..2 {
            client.batch_execute("SELECT pg_logical_emit_message(true, 'sandbox', 'later')")?;
        }
        wait::until(&format!("slot {slot} has reached {now}"), timeout, || {
            let row = client.query_opt(asked, &[&slot, &now]).ok()??;
            row.get::<_, bool>(0).then_some(())
        })
    }

    /// SIGKILL. The processes that serve connections notice and end as well.
    pub fn kill(&self) {
        *self.process() = None;
    }

    /// Ends it at once, without losing what was committed.
    pub fn stop(&self) {
        if let Some(process) = self.process().take() {
            process.quit();
            let _ = process.wait(STOP_TIMEOUT);
        }
    }

    /// Starts it again on the same port and data, after a kill if it runs.
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let log = self.dir.path().join("postgres.log");
        let begun = std::time::Instant::now();
        let process = loop {
            let mut command = self.command("postgres")?;
            command.arg("-D").arg(self.data());
            log_to(&mut command, &log)?;
            let process = Process::spawn(command)?;
            wait::until("postgres answers", START_TIMEOUT, || {
                (process.try_wait().is_some() || self.client().is_ok()).then_some(())
            })
            .with_context(|| log_tail(&log))?;
            if process.try_wait().is_none() {
                break process;
            }
            // What served connections before a kill holds the old memory for a moment.
            let tail = log_tail(&log);
            let may_pass = tail.contains("still in use") && begun.elapsed() < START_TIMEOUT;
            ensure!(may_pass, "postgres gave up: {tail}");
        };
        *self.process() = Some(process);
        Ok(())
    }

    fn initialise(&self, options: &PostgresOptions) -> Result<()> {
        if let Some(account) = self.account {
            chown(self.dir.path(), Some(account.user), Some(account.group))?;
        }
        let log = self.dir.path().join("initdb.log");
        let mut command = self.command("initdb")?;
        command
            .args(["-A", "trust", "-U", NAME, "-E", "UTF8", "--locale=C.UTF-8"])
            .args(["--no-sync", "-D"])
            .arg(self.data());
        log_to(&mut command, &log)?;
        let status = Process::spawn(command)?.wait(START_TIMEOUT)?;
        ensure!(status.success(), "initdb failed: {}", log_tail(&log));

        let mut lines = vec![format!("port = {}", self.port)];
        lines.extend(SETTINGS.iter().map(|line| (*line).to_owned()));
        let own = options.settings.iter();
        lines.extend(own.map(|(name, value)| format!("{name} = {value}")));
        // The last of several lines for one setting holds.
        let file = self.data().join("postgresql.conf");
        let before = fs::read_to_string(&file)?;
        fs::write(&file, before + "\n" + &lines.join("\n") + "\n")?;
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A command of the server's, under an account that it accepts.
    fn command(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(commands_dir()?.join(name));
        command.stdin(Stdio::null()).current_dir(self.dir.path());
        if let Some(account) = self.account {
            command.uid(account.user).gid(account.group);
        }
        Ok(command)
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().expect("no holder of this lock panics")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Killed, it would leave children that still write into what is then removed.
        self.stop();
    }
}

/// A new connection to the server at `url`, in UTC.
pub(crate) fn connect(url: &str) -> Result<Client> {
    let mut client =
        Client::connect(url, NoTls).with_context(|| format!("cannot connect to {url}"))?;
    client.batch_execute("SET TIME ZONE 'UTC'; SET client_min_messages = warning")?;
    Ok(client)
}

const SETTINGS: &[&str] = &[
    "listen_addresses = '127.0.0.1'",
    // A path within a deep checkout would be too long for a socket.
    "unix_socket_directories = ''",
    "timezone = 'UTC'",
    "wal_level = logical",
    "max_replication_slots = 20",
    "max_wal_senders = 20",
    "shared_buffers = 32MB",
    // The machine does not fail here, only processes do.
    "fsync = off",
    "full_page_writes = off",
];

/// Where Debian puts the commands: not into the path, as several releases may be there.
fn commands_dir() -> Result<PathBuf> {
    let dirs = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let dirs = dirs.flatten().map(|release| release.path().join("bin"));
    let newest = dirs.filter(|dir| dir.join("postgres").is_file()).max();
    newest.context("no postgres in /usr/lib/postgresql/*/bin: run `make deps` first")
}

/// The ids of an account of this machine.
#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// `None` where this process's own will do. The server refuses to run as root; Debian's
    /// package makes it an account.
    fn to_run_under() -> Result<Option<Self>> {
        if !runs_as_root() {
            return Ok(None);
        }
        let accounts = fs::read_to_string(Path::new("/etc/passwd"))?;
        let fields = accounts
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&NAME) && fields.len() > 3)
            .context("PostgreSQL does not run as root, and there is no account postgres")?;
        Ok(Some(Self {
            user: fields[2].parse()?,
            group: fields[3].parse()?,
        }))
    }
}
