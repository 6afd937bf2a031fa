//! A real database that changes at random, Debezium, a daemon and ClickHouse behind it, and the proof that
//! the replicas end equal to their sources.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::certificates::{Authority, Issued};
use sandbox::clickhouse::ClickHouse;
use sandbox::compare::{self, Comparison, ReplicaOptions};
use sandbox::connect::{Connect, ConnectOptions, Connector, Plugin};
use sandbox::evidence;
use sandbox::mariadb::MariaDb;
use sandbox::postgres::{Postgres, PostgresOptions};
use sandbox::registry::Registry;
use sandbox::tls_front::TlsFront;
use sandbox::topic::{self, Received};
use sandbox::wait;
use sandbox::workload::{self, Limit, Workload};
use streamweir::format::{AsJson, Avro, AvroSchema, Format, Purpose, SchemaKey, Unread};

use super::{Daemon, Job};

/// Much is going on at once here, and a row may wait for another one for a minute.
pub const LIVE_PATIENCE: Duration = Duration::from_secs(600);
const CONNECTOR: &str = "shop";
const KEYS: u64 = 120;
const STATEMENTS_PER_SECOND: u64 = 250;

/// What the source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Postgres,
    MariaDb,
}

/// Kept while it runs; it ends with this.
enum Server {
    Postgres(Postgres),
    MariaDb(MariaDb),
}

/// The parts between a database and its replicas.
pub struct Live {
    pub job: Job,
    pub connect: Connect,
    pub clickhouse: ClickHouse,
    registry: Option<Registered>,
    server: Server,
    tables: Vec<Table>,
}

/// What Avro's records are read by.
struct Registered {
    registry: Registry,
    /// Between the daemon and the registry: TLS, for clients whose certificate the authority vouches for.
    front: TlsFront,
    authority: Authority,
    client: Issued,
    reader: Mutex<AsJson>,
}

/// What the connector writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// JSON with schema blocks.
    Json,
    /// Avro, with a schema registry.
    Avro,
}

struct Table {
    name: &'static str,
    topic: String,
}

/// What was found in the end.
#[derive(Debug, Default)]
pub struct Findings {
    pub records: u64,
    /// Of these, sent once more because the connector had died.
    pub sent_again: u64,
    pub tables: u64,
    pub rows: u64,
    pub values: u64,
    /// Of changes that were sent once more, and need values that their row has no more.
    pub dead_letters: u64,
}

/// Where a record is: topic, partition, offset.
type Place = (String, i32, i64);

impl Live {
    /// Starts everything but a daemon, and waits until each table has its topic.
    pub fn start(name: &str, source: Source, written: Written) -> Live {
        let clickhouse = ClickHouse::start().expect("an engine");
        let mut job = Job::replication(name);
        job.clickhouse_url = clickhouse.url();
        job.set("clickhouse.url", clickhouse.url());
        let prefix = job.prefix.trim_end_matches('-').to_owned();
        let server = Server::start(source);
        workload::create_tables(&server.url()).expect("tables");
        if written == Written::Avro {
            server.drop_defaults();
        }
        let (plugin, connector, schema) = match &server {
            Server::Postgres(server) => {
                let connector = Connector::postgres(CONNECTOR, server, &prefix);
                (Plugin::Postgres, connector, "public")
            }
            Server::MariaDb(server) => {
                let connector = Connector::mariadb(CONNECTOR, server, job.bootstrap(), &prefix);
                (Plugin::MariaDb, connector, server.database())
            }
        };
        let registry = (written == Written::Avro).then(Registered::start);
        let mut options = ConnectOptions::new(plugin);
        options.schemas = true;
        options.registry = registry.as_ref().map(|own| own.registry.own_url());
        // What was sent since is sent again after a kill; Connect's own is 60 s.
        let interval = ("offset.flush.interval.ms".to_owned(), "5000".to_owned());
        options.properties.push(interval);
        let connect = Connect::start(job.bootstrap(), &options, vec![connector]).expect("Debezium");
        let names = workload::tables(&server.url()).expect("a database");
        let table = |name| Table {
            name,
            topic: format!("{prefix}.{schema}.{name}"),
        };
        let mut live = Live {
            tables: names.into_iter().map(table).collect(),
            job,
            connect,
            clickhouse,
            registry,
            server,
        };
        live.configure();
        live.wait_for_topics();
        live
    }

    fn configure(&mut self) {
        let topics: Vec<String> = self.tables.iter().map(|t| t.topic.clone()).collect();
        let job = &mut self.job;
        job.set("pipeline.topics", topics);
        if let Some(registered) = &self.registry {
            job.set("pipeline.format", "avro");
            for (key, value) in registered.settings() {
                job.set(&format!("pipeline.schema_registry.{key}"), value);
            }
            // Nothing has to be declared of the connector.
            job.unset("pipeline.debezium");
        }
        job.set("pipeline.create_tables", true);
        job.set("pipeline.evolution", "add_columns");
        job.set("pipeline.batch.rows_max", 200);
        job.set("pipeline.batch.flush_interval", "200ms");
        job.set("pipeline.revoke_timeout", "2s");
        job.set("kafka.properties.session.timeout.ms", 2_000);
        job.set("kafka.properties.heartbeat.interval.ms", 300);
    }

    fn wait_for_topics(&self) {
        for table in &self.tables {
            let what = format!("topic {} is there", table.topic);
            wait::until(&what, LIVE_PATIENCE, || {
                let ends = topic::end_offsets(self.job.bootstrap(), &table.topic).ok()?;
                (ends.values().sum::<i64>() > 0).then_some(())
            })
            .expect("the snapshot is written");
        }
    }

    /// All that the workload can do, for so long.
    pub fn workload(&self, seed: u64, time: Duration) -> Workload {
        Workload {
            keys: KEYS,
            statements_per_second: Some(STATEMENTS_PER_SECOND),
            evolve: true,
            defaults: self.registry.is_none(),
            large_keys_return: true,
            ..Workload::new(self.server.url(), seed, Limit::Time(time))
        }
    }

    /// Killed before its snapshot is known to be done, the connector would take another one, in which rows
    /// that were deleted meanwhile are missing: no replica can know of them.
    pub fn wait_until_streamed(&self) {
        let has_streamed = || self.connect.has_streamed(CONNECTOR).then_some(());
        wait::until("changes are streamed", LIVE_PATIENCE, has_streamed).expect("they are");
    }

    /// Records before the committed positions.
    pub fn progress(&self) -> u64 {
        let bootstrap = self.job.bootstrap();
        let of = |table: &Table| {
            let ask = || topic::committed(bootstrap, &self.job.group, &table.topic).ok();
            let committed = wait::until("the group answers", LIVE_PATIENCE, ask);
            let committed = committed.expect("it does").into_values();
            committed.map(|c| c.offset.unsigned_abs()).sum::<u64>()
        };
        self.tables.iter().map(of).sum()
    }

    /// Waits until the last change of the source is in its topic.
    pub fn wait_for_source(&self) {
        let bootstrap = self.job.bootstrap();
        let ends = |table: &Table| topic::end_offsets(bootstrap, &table.topic).expect("a topic");
        let before: Vec<_> = self.tables.iter().map(ends).collect();
        workload::mark(&self.server.url()).expect("rows are inserted");
        for (table, before) in self.tables.iter().zip(before) {
            let what = format!("the marks are in every partition of {}", table.topic);
            let waited = wait::until(&what, LIVE_PATIENCE, || {
                let mut marked = HashSet::new();
                let take = |record: Received| {
                    if is_mark(&self.as_text(record.key.as_deref())) {
                        marked.insert(record.partition);
                    }
                };
                topic::read_each(bootstrap, &table.topic, &before, take).ok()?;
                (marked.len() == before.len()).then_some(())
            });
            waited.unwrap_or_else(|e| panic!("{e}: {:?}", self.connect.check()));
        }
    }

    /// Waits until everything is committed.
    pub fn wait_for_end(&self, daemons: &[Daemon]) {
        let mut last = String::new();
        let waited = wait::until("everything is committed", LIVE_PATIENCE, || {
            assert_alive(daemons);
            let left = self.tables.iter().find_map(|table| self.left(table));
            last = left.unwrap_or_default();
            last.is_empty().then_some(())
        });
        waited.unwrap_or_else(|e| {
            let logs: Vec<_> = daemons.iter().map(Daemon::log).collect();
            panic!("{e}: {last}\n{}", logs.join("\n"))
        });
    }

    /// The first partition that is not committed to its end.
    fn left(&self, table: &Table) -> Option<String> {
        let (bootstrap, name) = (self.job.bootstrap(), &table.topic);
        let ends = topic::end_offsets(bootstrap, name);
        let committed = topic::committed(bootstrap, &self.job.group, name);
        let (Ok(ends), Ok(committed)) = (ends, committed) else {
            return Some(format!("{name}: no answer"));
        };
        let at = |partition| committed.get(partition).map_or(0, |c| c.offset);
        let mut left = ends
            .iter()
            .filter(|(partition, end)| at(partition) != **end);
        let (partition, end) = left.next()?;
        Some(format!(
            "{name}:{partition} is committed to {} of {end}",
            at(partition)
        ))
    }

    /// Every value of every table is the source's, and no change is a dead letter, but for those that were
    /// sent once more and need large values that their row has no more: it is gone, or has NULL since.
    ///
    /// # Panics
    /// When something differs; the records of the topic are kept then.
    pub fn prove(&self) -> Findings {
        let mut findings = Findings::default();
        let mut again = HashSet::new();
        for table in &self.tables {
            self.count_records(table, &mut findings, &mut again);
        }
        findings.sent_again = again.len() as u64;
        findings.dead_letters = self.explained_letters(&again);
        let mut unequal = vec![];
        for table in &self.tables {
            let comparison = self.compare(table);
            println!("{comparison}");
            findings.tables += 1;
            findings.rows += comparison.source_rows as u64;
            findings.values += comparison.values as u64;
            if !(comparison.is_equal() && comparison.columns_missing.is_empty()) {
                unequal.push(format!("{comparison}\n{}", self.keep(&table.topic)));
            }
        }
        assert!(unequal.is_empty(), "{}", unequal.join("\n"));
        findings
    }

    /// One value of the first table's replica is altered by hand.
    ///
    /// # Panics
    /// When comparing it does not tell of exactly that.
    pub fn prove_noticed(&self) {
        let table = &self.tables[0];
        self.job.query(&format!(
            "INSERT INTO {{db}}.`{0}` SELECT * REPLACE ('spoilt' AS status, _version + 1 AS _version) \
             FROM {{db}}.`{0}` FINAL ORDER BY order_id LIMIT 1",
            table.name
        ));
        let comparison = self.compare(table);
        assert_eq!(comparison.differences_total, 1, "{comparison}");
    }

    fn compare(&self, table: &Table) -> Comparison {
        let replica = format!("{}.{}", self.job.database, table.name);
        let url = self.clickhouse.url();
        let options = ReplicaOptions::default();
        compare::tables(&self.server.url(), table.name, &url, &replica, &options)
            .expect("both are read")
    }

    fn count_records(&self, table: &Table, findings: &mut Findings, again: &mut HashSet<Place>) {
        let hashes = RandomState::new();
        let mut seen = HashSet::new();
        let take = |record: Received| {
            findings.records += 1;
            let value = self.as_text(record.value.as_deref());
            let Some(position) = position(&value) else {
                return;
            };
            let change = hashes.hash_one((record.partition, &record.key, position));
            if !seen.insert(change) {
                again.insert((table.topic.clone(), record.partition, record.offset));
            }
        };
        let from = BTreeMap::new();
        topic::read_each(self.job.bootstrap(), &table.topic, &from, take)
            .expect("the topic is read");
    }

    /// A value or key as JSON.
    fn as_text(&self, bytes: Option<&[u8]>) -> Vec<u8> {
        match (&self.registry, bytes) {
            (Some(registered), Some(bytes)) => registered.as_text(bytes),
            (_, bytes) => bytes.unwrap_or_default().to_vec(),
        }
    }

    /// The registry does not answer for a while.
    pub fn pause_registry(&self) {
        self.registry.iter().for_each(|own| own.registry.pause());
    }

    pub fn resume_registry(&self) {
        self.registry.iter().for_each(|own| own.registry.resume());
    }

    /// How many dead letters there are.
    fn explained_letters(&self, again: &HashSet<Place>) -> u64 {
        let (bootstrap, topic) = (self.job.bootstrap(), &self.job.dead_letter_topic);
        let letters = topic::read_all(bootstrap, topic).expect("the dead letters are read");
        for letter in &letters {
            let header = |name: &str| letter.header(&format!("streamweir-{name}"));
            let number = |name: &str| header(name)?.parse::<i64>().ok();
            let partition = number("partition").and_then(|n| i32::try_from(n).ok());
            let place = (
                header("topic").expect("a topic"),
                partition.expect("a partition"),
                number("offset").expect("an offset"),
            );
            let is_explained =
                header("reason").as_deref() == Some("unavailable_value") && again.contains(&place);
            let reasons = || evidence::dead_letters(bootstrap, topic).unwrap_or_default();
            assert!(
                is_explained,
                "{place:?} is a dead letter without need:\n{}{}",
                reasons(),
                self.keep(&place.0)
            );
        }
        letters.len() as u64
    }

    fn keep(&self, topic: &str) -> String {
        let kept = evidence::keep_records(self.job.bootstrap(), topic, self.job.directory.path());
        format!("all records of the topic: {kept:?}")
    }
}

impl Registered {
    fn start() -> Registered {
        let format = Format::Avro(Avro::default());
        let reader = AsJson::new(&format, Purpose::Change).expect("no schema yet");
        let registry = Registry::start().expect("a schema registry");
        let authority = Authority::new("live-registry").expect("an authority");
        let [server, client] =
            ["server", "client"].map(|name| authority.issue(name).expect("a certificate"));
        Registered {
            front: TlsFront::start(&registry.address(), &authority, &server).expect("a front"),
            registry,
            authority,
            client,
            reader: Mutex::new(reader.expect("Avro is no JSON")),
        }
    }

    /// What the daemon is told of it.
    fn settings(&self) -> [(&'static str, String); 4] {
        let url = self.registry.url();
        let (_, path) = url.split_once(&self.registry.address()).expect("its own");
        let text = |path: &Path| path.display().to_string();
        [
            ("url", format!("{}{path}", self.front.url())),
            ("ca_file", text(&self.authority.ca_file())),
            ("cert_file", text(&self.client.cert_file)),
            ("key_file", text(&self.client.key_file)),
        ]
    }

    fn as_text(&self, bytes: &[u8]) -> Vec<u8> {
        let mut reader = self.reader.lock().expect("no holder of this lock panics");
        if let Err(Unread::NeedsSchema(key)) = reader.prepare(bytes, None) {
            let SchemaKey::Id(id) = key else {
                panic!("{key} is no id");
            };
            let text = self.registry.schema(id).expect("a schema");
            let schema = AvroSchema::parse_with(&text, &[]).expect("a schema of Avro");
            reader.add_avro(key, Arc::new(schema)).expect("a block");
        }
        let json = reader.read(bytes, None).expect("a record of its schema");
        json.to_vec()
    }
}

impl Server {
    fn start(source: Source) -> Server {
        match source {
            Source::Postgres => {
                let server = Postgres::start(&PostgresOptions::default());
                Server::Postgres(server.expect("PostgreSQL"))
            }
            Source::MariaDb => Server::MariaDb(MariaDb::start().expect("MariaDB")),
        }
    }

    /// Apicurio's converter writes a column's default in place of NULL, so that nobody can tell them apart.
    fn drop_defaults(&self) {
        for (table, column) in [("orders", "currency"), ("order_items", "discount")] {
            let sql = format!("ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT NULL");
            match self {
                Server::Postgres(server) => server.psql(&sql).map(|_| ()),
                Server::MariaDb(server) => server.query(&sql).map(|_| ()),
            }
            .expect("the column has no default any more");
        }
    }

    fn url(&self) -> String {
        match self {
            Server::Postgres(server) => server.url(),
            Server::MariaDb(server) => server.url(),
        }
    }
}

/// # Panics
/// With the log of a daemon that has ended.
pub fn assert_alive(daemons: &[Daemon]) {
    for daemon in daemons {
        let ended = daemon.process.try_wait();
        assert!(ended.is_none(), "{ended:?}: {}", daemon.log());
    }
}

/// Whether the key has one of the numbers of [`workload::MARKS`].
fn is_mark(key: &[u8]) -> bool {
    let key = String::from_utf8_lossy(key);
    let numbers = key.split(|c: char| !c.is_ascii_digit());
    let mut numbers = numbers.filter_map(|number| number.parse().ok());
    numbers.any(|number| workload::MARKS.contains(&number))
}

/// Where the source's log has this change: together with the key, no two changes have the same.
fn position(value: &[u8]) -> Option<&[u8]> {
    let (rest, end) = match after(value, br#""lsn":"#) {
        Some(rest) => (rest, b','),
        None => (after(value, br#""file":"#)?, b'}'),
    };
    let end = rest.iter().position(|byte| *byte == end)?;
    Some(&rest[..end])
}

/// What follows the last occurrence: the row comes first, the rest of the envelope after it.
fn after<'v>(value: &'v [u8], name: &[u8]) -> Option<&'v [u8]> {
    let found = value.windows(name.len()).rposition(|part| part == name)?;
    Some(&value[found + name.len()..])
}
