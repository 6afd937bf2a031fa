//! The servers of `clickhouse.urls`: questions go to one of them until it fails, then to the next. Inserts go
//! to each in turn ([`super::turns`]).

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use clickhouse::Client;

use super::answer::Signature;
use super::errors::{InsertError, Remedy};
use super::server_settings::Known;
use super::turns::{Fare, Turn};

/// ClickHouse's error codes.
pub(super) const UNKNOWN_SETTING: u32 = 115;
const UNKNOWN_FORMAT: u32 = 73;

/// How many statements are kept for a server that is away: more are for `streamweir schema apply`.
const OWED_MAX: usize = 10_000;

/// How long a server may take to catch up with the others.
const SYNC_PATIENCE_MIN: Duration = Duration::from_secs(4);
const SYNC_PATIENCE_MAX: Duration = Duration::from_secs(30);

/// One address, and what is known of the server behind it.
pub(super) struct Server {
    url: String,
    /// With the settings that our own reads need.
    pub(super) reader: Client,
    /// Proxies that strip headers may stand before some servers only.
    pub(super) signature: Signature,
    /// What it was found to know of settings and formats.
    known: Mutex<Option<Arc<Known>>>,
    /// Whether our user may see what a replica has still to do, as far as is known.
    pub(super) sees_queue: AtomicBool,
    fare: Mutex<Fare>,
    /// Tables, by database and name, that were not seen here to be those of the other servers.
    unseen: Mutex<BTreeSet<(String, String)>>,
    /// Statements that the others have run while it was away, in their order, each with the database whose
    /// name is left out.
    owed: Mutex<Vec<(String, String)>>,
}

/// All servers; cloning shares them, and which one is the current.
#[derive(Clone)]
pub(super) struct Servers {
    all: Arc<[Server]>,
    current: Arc<AtomicU32>,
    /// How many inserts were sent.
    sent: Arc<AtomicU32>,
    /// How often in a row a server did not catch up with the others in time.
    not_in_sync: Arc<AtomicU32>,
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.current(), self.count())
    }
}

impl Server {
    pub(super) fn new(url: &str, reader: Client) -> Self {
        Server {
            url: url.to_owned(),
            reader,
            signature: Signature::default(),
            known: Mutex::default(),
            sees_queue: AtomicBool::new(true),
            fare: Mutex::default(),
            unseen: Mutex::default(),
            owed: Mutex::default(),
        }
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Option<Arc<Known>>> {
        self.known.lock().expect("no holder of this lock panics")
    }

    pub(super) fn unseen(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.unseen.lock().expect("no holder of this lock panics")
    }

    /// It lacks what this statement creates.
    pub(super) fn owe(&self, sql: &str, database: &str) {
        let statement = (sql.to_owned(), database.to_owned());
        let mut owed = self.owed();
        if !owed.contains(&statement) && owed.len() < OWED_MAX {
            owed.push(statement);
        }
    }

    pub(super) fn first_owed(&self) -> Option<(String, String)> {
        self.owed().first().cloned()
    }

    pub(super) fn paid(&self, statement: &(String, String)) {
        self.owed().retain(|owed| owed != statement);
    }

    fn owed(&self) -> MutexGuard<'_, Vec<(String, String)>> {
        self.owed.lock().expect("no holder of this lock panics")
    }

    fn is_unseen(&self) -> bool {
        !self.unseen().is_empty() || !self.owed().is_empty()
    }

    pub(super) fn fare(&self) -> MutexGuard<'_, Fare> {
        self.fare.lock().expect("no holder of this lock panics")
    }
}

impl Servers {
    /// The first is the current one.
    pub(super) fn new(all: Vec<Server>) -> Self {
        Servers {
            all: all.into(),
            current: Arc::default(),
            sent: Arc::new(AtomicU32::new(first_turn())),
            not_in_sync: Arc::default(),
        }
    }

    pub(super) fn count(&self) -> u32 {
        u32::try_from(self.all.len()).expect("a handful of servers")
    }

    /// The last server that answered, or the one after it, which is to be tried.
    pub(super) fn current(&self) -> u32 {
        self.current.load(Ordering::Relaxed)
    }

    /// The server that the next insert goes to, and those that are to be asked whether they are back. Where all
    /// rest they take turns as if none did, but for one that may have a table of its own.
    pub(super) fn turn(&self, now: Instant) -> (u32, Vec<u32>) {
        let (count, mut asked) = (self.count(), vec![]);
        if count == 1 {
            return (0, asked);
        }
        let first = self.sent.fetch_add(1, Ordering::Relaxed);
        for number in 0..count {
            let server = first.wrapping_add(number) % count;
            let turn = match self.get(server).is_unseen() {
                true => self.get(server).fare().turn_unseen(now),
                false => self.get(server).fare().turn(now),
            };
            match turn {
                Turn::Takes => return (server, asked),
                Turn::Passes => {}
                Turn::PassesAsked => asked.push(server),
            }
        }
        let mut all = (0..count).map(|number| first.wrapping_add(number) % count);
        let seen = all.find(|server| !self.get(*server).is_unseen());
        (seen.unwrap_or(first % count), asked)
    }

    /// How long a server may take to catch up with the others before another one is asked.
    pub(super) fn sync_patience(&self) -> Duration {
        sync_patience(self.count(), self.not_in_sync.load(Ordering::Relaxed))
    }

    /// A server caught up with the others, or did not in time.
    pub(super) fn synced(&self, is_in_sync: bool) {
        match is_in_sync {
            true => self.not_in_sync.store(0, Ordering::Relaxed),
            false => drop(self.not_in_sync.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(super) fn index(&self, number: u32) -> usize {
        usize::try_from(number % self.count()).expect("a small index")
    }

    pub(super) fn get(&self, number: u32) -> &Server {
        &self.all[self.index(number)]
    }

    /// Notes that a statement failed. If another server may do better, the next one is the current one
    /// from now on; the error names the address that was asked.
    pub(super) fn failed(&self, number: u32, mut error: InsertError) -> InsertError {
        let server = self.get(number);
        // Another version may answer behind the same address.
        if matches!(error.code, Some(UNKNOWN_SETTING | UNKNOWN_FORMAT)) {
            *server.known() = None;
        }
        // Nobody answered.
        if error.code.is_none() {
            server.fare().failed(Instant::now());
        }
        if self.count() == 1 {
            return error;
        }
        let next = (number + 1) % self.count();
        // Of many statements that fail together the first moves on.
        let moves_on = may_be_the_server(&error)
            && self
                .current
                .compare_exchange(number, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if moves_on {
            tracing::warn!(
                from = server.url, to = self.get(next).url, %error,
                "a server of clickhouse.urls fails, turning to the next"
            );
        }
        error.message = format!("{}: {}", server.url, error.message);
        error
    }

    /// The same of an insert, after which the server takes no turns for a while.
    pub(super) fn insert_failed(&self, number: u32, error: InsertError) -> InsertError {
        if may_be_the_server(&error) {
            self.get(number).fare().failed(Instant::now());
        }
        self.failed(number, error)
    }

    /// Asks one server after the other, from the current one on, until one answers. `ask` reports failures
    /// to [`Servers::failed`].
    ///
    /// # Errors
    /// What the last one said; of several errors one that may pass, since a server that is away may have
    /// what the others lack.
    pub(super) async fn any<T, F>(&self, ask: impl Fn(u32) -> F) -> Result<T, InsertError>
    where
        F: Future<Output = Result<T, InsertError>>,
    {
        let first = self.current();
        let mut passing = None;
        for tried in 1..=self.count() {
            let error = match ask((first + tried - 1) % self.count()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if !may_be_the_server(&error) {
                return Err(error);
            }
            if tried == self.count() {
                return Err(passing.unwrap_or(error));
            }
            if !matches!(error.remedy, Remedy::Halt(_)) {
                passing = Some(error);
            }
        }
        unreachable!("there is at least one server")
    }
}

/// Little at first, since one replica may fetch nothing while another has everything; twice as much each time
/// that all of them failed to, since all may be behind.
fn sync_patience(servers: u32, failures: u32) -> Duration {
    if servers == 1 {
        return SYNC_PATIENCE_MAX;
    }
    let rounds = (failures / servers).min(16);
    (SYNC_PATIENCE_MIN * 2u32.pow(rounds)).min(SYNC_PATIENCE_MAX)
}

/// Many pipelines and processes that begin together begin at different servers.
fn first_turn() -> u32 {
    use std::hash::{BuildHasher as _, RandomState};
    let random = RandomState::new().hash_one(0u8);
    u32::try_from(random & 0xffff).expect("sixteen bits")
}

/// Whether another server may answer otherwise: this one is not there or not well, or it lacks a table, a
/// column or a user that the others have.
fn may_be_the_server(error: &InsertError) -> bool {
    error.code.is_none() || matches!(error.remedy, Remedy::Retry(_) | Remedy::Halt(_))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use clickhouse::error::Error;

    use super::super::answer::ask;
    use super::*;

    const CLOSED: &str = "http://127.0.0.1:1";

    /// A server with one answer for everything, and its address.
    fn server(status: u16, body: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut request = [0; 4096];
                let _ = client.read(&mut request);
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = client.write_all(answer.as_bytes());
            }
        });
        url
    }

    fn servers(urls: &[&str]) -> Servers {
        let client = |url: &&str| Server::new(url, Client::default().with_url(*url));
        Servers::new(urls.iter().map(client).collect())
    }

    async fn answer(servers: &Servers) -> Result<String, InsertError> {
        let run = |number: u32| async move {
            let Server {
                reader, signature, ..
            } = servers.get(number);
            let patience = Duration::from_millis(300);
            let answer = ask(reader, signature, "SELECT 1", "TabSeparated", patience).await;
            answer.map_err(|error| servers.failed(number, error.into()))
        };
        let answer = servers.any(run).await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    fn error(text: &str) -> InsertError {
        Error::BadResponse(text.to_owned()).into()
    }

    #[tokio::test]
    async fn a_question_goes_on_to_the_next_server_and_stays_there() {
        // Connections are taken in by the system and never answered.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let hanging = format!("http://{}", silent.local_addr().expect("an address"));
        let bad = [
            CLOSED.to_owned(),
            hanging,
            server(500, "Code: 242. DB::Exception: Table is in readonly mode"),
            server(404, "<html>no such site</html>"),
            server(404, "Code: 60. DB::Exception: Table x does not exist"),
            server(403, "Code: 516. DB::Exception: Authentication failed"),
        ];
        let well = server(200, "1");
        for bad in &bad {
            let servers = servers(&[bad, &well]);
            assert_eq!(answer(&servers).await.expect("an answer"), "1", "{bad}");
            assert_eq!(servers.current(), 1, "{bad}");
            let shared = servers.clone();
            assert_eq!(answer(&shared).await.expect("an answer"), "1", "{bad}");
            assert_eq!(servers.current(), 1, "{bad}");
        }
        // The second one dies: back to the first.
        let servers = servers(&[&well, CLOSED]);
        servers.failed(0, Error::TimedOut.into());
        assert_eq!(servers.current(), 1);
        assert_eq!(answer(&servers).await.expect("an answer"), "1");
        assert_eq!(servers.current(), 0);
    }

    #[tokio::test]
    async fn what_a_statement_is_refused_for_is_believed_and_what_one_server_lacks_is_not() {
        let refusing = server(500, "Code: 62. DB::Exception: Syntax error");
        let value = server(500, "Code: 6. DB::Exception: Cannot parse string");
        let missing = server(404, "Code: 60. DB::Exception: Table x does not exist");
        let well = server(200, "1");
        let servers_two = servers(&[&value, &well]);
        let error = answer(&servers_two).await.expect_err("refused");
        assert_eq!((error.code, servers_two.current()), (Some(6), 0));
        assert!(error.message.starts_with(&value), "{error}");
        for (urls, remedy) in [
            ([&*missing, &*refusing], Remedy::Halt("schema")),
            ([&*refusing, &*missing], Remedy::Halt("missing_table")),
            // The one that is away may have it.
            ([&*missing, CLOSED], Remedy::Retry("network")),
            ([CLOSED, &*missing], Remedy::Retry("network")),
            ([CLOSED, CLOSED], Remedy::Retry("network")),
        ] {
            let error = answer(&servers(&urls)).await.expect_err("nobody has it");
            assert_eq!(error.remedy, remedy, "{urls:?}");
        }
    }

    #[tokio::test]
    async fn a_proxy_that_strips_headers_from_one_server_stops_none() {
        let (signing, stripped) = (server(200, "1"), server(200, "1"));
        let servers = servers(&[&signing, &stripped]);
        assert!(servers.get(0).signature.accepts_read(true));
        assert!(answer(&servers).await.is_ok(), "from the other one");
        assert_eq!(servers.current(), 1);
        assert!(!servers.get(0).signature.accepts_read(false));
    }

    #[test]
    fn inserts_go_to_each_server_in_turn_past_those_that_fail() {
        let servers = servers(&[CLOSED; 3]);
        let now = Instant::now();
        let turns = |count: usize| -> Vec<u32> {
            let mut turns: Vec<u32> = (0..count).map(|_| servers.turn(now).0).collect();
            turns.sort_unstable();
            turns
        };
        assert_eq!(turns(6), [0, 0, 1, 1, 2, 2]);
        let read_only = || error("Code: 242. DB::Exception: Table is in readonly mode");
        servers.insert_failed(1, read_only());
        assert_eq!(turns(6).iter().filter(|server| **server == 1).count(), 0);
        // Rows that a server refuses are no fault of it, nor is a question that it cannot answer.
        servers.failed(2, read_only());
        servers.insert_failed(2, error("Code: 6. DB::Exception: x"));
        assert!(turns(6).contains(&2));
        servers.failed(0, Error::TimedOut.into());
        assert_eq!(turns(3), [2, 2, 2]);
        servers.insert_failed(2, Error::TimedOut.into());
        assert_eq!(turns(6), [0, 0, 1, 1, 2, 2], "somebody must try");
        let later = now + std::time::Duration::from_secs(5);
        let (_, mut asked) = servers.turn(later);
        asked.sort_unstable();
        assert_eq!(asked, [0, 1, 2]);
        assert!(servers.turn(later).1.is_empty(), "they are asked");
        servers.get(1).fare().asked(true, later);
        assert_eq!(servers.turn(later).0, 1);
    }

    #[test]
    fn a_replica_that_does_not_catch_up_is_soon_left_for_another() {
        let seconds = |servers, failures| sync_patience(servers, failures).as_secs();
        assert_eq!(seconds(1, 0), 30);
        assert_eq!([0, 1].map(|failures| seconds(2, failures)), [4, 4]);
        assert_eq!([2, 3].map(|failures| seconds(2, failures)), [8, 8]);
        assert_eq!(
            [4, 6, 1_000].map(|failures| seconds(2, failures)),
            [16, 30, 30]
        );
        let servers = servers(&[CLOSED; 2]);
        (0..2).for_each(|_| servers.synced(false));
        assert_eq!(servers.sync_patience().as_secs(), 8);
        servers.synced(true);
        assert_eq!(servers.sync_patience().as_secs(), 4);
    }

    #[test]
    fn a_server_whose_table_was_not_seen_takes_no_insert() {
        let servers = servers(&[CLOSED; 2]);
        let now = Instant::now();
        let table = ("d".to_owned(), "t".to_owned());
        servers.get(1).unseen().insert(table.clone());
        let turns: Vec<(u32, Vec<u32>)> = (0..4).map(|_| servers.turn(now)).collect();
        assert!(turns.iter().all(|(server, _)| *server == 0), "{turns:?}");
        assert_eq!(turns.iter().flat_map(|(_, asked)| asked).count(), 1);
        servers.insert_failed(0, Error::TimedOut.into());
        assert_eq!(servers.turn(now).0, 0, "nor where the other one fails");
        servers.get(1).unseen().remove(&table);
        servers.get(1).fare().asked(true, now);
        assert_eq!(servers.turn(now).0, 1);
    }

    #[test]
    fn of_statements_that_fail_together_one_moves_on() {
        let servers = servers(&[CLOSED; 3]);
        for _ in 0..4 {
            servers.failed(0, Error::TimedOut.into());
        }
        assert_eq!(servers.current(), 1);
        servers.failed(1, error("Code: 6. DB::Exception: x"));
        assert_eq!(servers.current(), 1);
        servers.failed(1, Error::TimedOut.into());
        servers.failed(2, Error::TimedOut.into());
        assert_eq!(servers.current(), 0);
    }

    #[test]
    fn a_server_that_does_not_know_a_setting_or_a_format_is_asked_anew() {
        for (text, is_kept) in [
            ("Code: 115. DB::Exception: Unknown setting", false),
            ("Code: 73. DB::Exception: Unknown format", false),
            ("Code: 241. DB::Exception: Memory limit", true),
        ] {
            let servers = servers(&[CLOSED]);
            let known = Known::new(vec![], std::time::Instant::now());
            *servers.get(0).known() = Some(Arc::new(known));
            servers.failed(0, error(text));
            assert_eq!(servers.get(0).known().is_some(), is_kept, "{text}");
        }
    }
}
