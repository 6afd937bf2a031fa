//! A replica under change records that keep coming, and the proof that it ends equal to its source.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use sandbox::topic;
use sandbox::wait;
use serde_json::Value;

use super::changes::{Database, Row, Shape, SourceTable};
use super::proof::Counts;
use super::traffic::Traffic;
use super::{Daemon, Job, PATIENCE, TO_THE_END};

/// Changes that are made between two pauses.
const BURST: u64 = 10;
/// How many places a violation names.
const SHOWN: usize = 5;

/// A job of the kind `cdc` and its source.
pub struct Replica {
    pub job: Job,
    pub source: Arc<Mutex<Database>>,
    partitions: i32,
}

impl Replica {
    /// Three tables: records with schema blocks and without, keys of one column and of two, one that is
    /// emptied now and then.
    pub fn new(name: &str, partitions: i32, seed: u64) -> Replica {
        Replica::of(Job::replication(name), partitions, seed)
    }

    /// The same with a job that was prepared otherwise.
    pub fn of(job: Job, partitions: i32, seed: u64) -> Replica {
        let mut replica = Replica {
            job,
            source: Arc::new(Mutex::new(Database::new(seed))),
            partitions,
        };
        let job = &mut replica.job;
        job.set("pipeline.batch.rows_max", 100);
        job.set("pipeline.batch.flush_interval", "200ms");
        job.set("kafka.properties.session.timeout.ms", 2_000);
        job.set("kafka.properties.heartbeat.interval.ms", 300);
        job.set("pipeline.truncate", "apply");
        // What a row waits for may be in a partition that waits for this member to let others go.
        job.set("pipeline.revoke_timeout", "2s");
        // A busy machine is further behind than a row waits for the row of its old key by default.
        job.set("pipeline.toast_wait", "8m");
        job.set("pipeline.topics", Vec::<String>::new());
        let [blocks, region, truncated] = [true; 3];
        let shape = |has_blocks, has_region, is_truncated| Shape {
            has_blocks,
            has_region,
            is_truncated,
        };
        for (name, shape) in [
            ("notes", shape(!blocks, !region, !truncated)),
            ("orders", shape(blocks, region, !truncated)),
            ("visits", shape(!blocks, !region, truncated)),
        ] {
            replica.create(name, shape);
            replica.source().begin(name);
        }
        replica
    }

    /// A job whose configuration is left as it is: two tables, which it makes of the schema blocks.
    pub fn shipped(job: Job, partitions: i32, seed: u64) -> Replica {
        let source = Arc::new(Mutex::new(Database::new(seed)));
        let replica = Replica {
            job,
            source,
            partitions,
        };
        for (name, has_region) in [("orders", false), ("order_items", true)] {
            let shape = Shape {
                has_blocks: true,
                has_region,
                is_truncated: false,
            };
            let topic = replica.create_topic(name, shape);
            replica.source().create(name, topic, shape);
            replica.source().begin(name);
        }
        replica
    }

    fn create_topic(&self, name: &str, shape: Shape) -> String {
        let topic = format!("{}shop.public.{name}", self.job.prefix);
        let partitions = if shape.is_truncated {
            1
        } else {
            self.partitions
        };
        let settings = [("retention.ms", "-1")];
        topic::create(self.job.bootstrap(), &topic, partitions, &settings).expect("a topic");
        topic
    }

    /// A table more and its topic; nothing happens to it until it is begun.
    pub fn create(&mut self, name: &str, shape: Shape) {
        let topic = self.create_topic(name, shape);
        let job = &mut self.job;
        let topics = job.config["pipeline"][0]["topics"].as_array_mut();
        topics.expect("a list").push(topic.clone().into());
        if !shape.has_blocks {
            declare_columns(job, &topic, shape);
        }
        self.source().create(name, topic, shape);
    }

    pub fn source(&self) -> MutexGuard<'_, Database> {
        self.source.lock().expect("no holder of this lock panics")
    }

    fn topics(&self) -> Vec<String> {
        let source = self.source();
        source.tables.values().map(|t| t.topic.clone()).collect()
    }

    /// Changes in all tables, until told to end.
    pub fn traffic(&self, changes_per_second: u64) -> Traffic {
        let pause = Duration::from_secs(1) * u32::try_from(BURST).expect("small")
            / u32::try_from(changes_per_second).expect("small");
        let (bootstrap, source) = (self.job.bootstrap.clone(), self.source.clone());
        Traffic::of(move |stop| {
            let changes = std::iter::from_fn(|| {
                // Between two changes: what was made is always written.
                if stop.load(Ordering::Relaxed) {
                    return None;
                }
                std::thread::sleep(pause);
                let mut source = source.lock().expect("no holder of this lock panics");
                let burst = (0..BURST).flat_map(|_| source.next_change());
                Some(burst.collect::<Vec<_>>())
            });
            topic::produce_to_many(&bootstrap, changes.flatten())
                .expect("every record is acknowledged")
        })
    }

    pub fn start(&self, instance: &str, failpoints: &str) -> Daemon {
        self.job.start(instance, &[], failpoints)
    }

    /// Records before the committed positions.
    pub fn progress(&self) -> u64 {
        self.progress_in(&self.topics())
    }

    /// The same of these tables alone.
    pub fn progress_of(&self, tables: &[&str]) -> u64 {
        let topics: Vec<String> = {
            let source = self.source();
            tables
                .iter()
                .map(|name| source.tables[*name].topic.clone())
                .collect()
        };
        self.progress_in(&topics)
    }

    fn progress_in(&self, topics: &[String]) -> u64 {
        let job = &self.job;
        // A broker that restarts, or a group that moves, answers later.
        let answer = |topic: &String| topic::committed(job.bootstrap(), &job.group, topic).ok();
        let of = |topic: &String| {
            let committed = wait::until("the group answers", PATIENCE, || answer(topic));
            let committed = committed.unwrap_or_else(|e| panic!("{e}"));
            committed
                .values()
                .map(|c| c.offset.unsigned_abs())
                .sum::<u64>()
        };
        topics.iter().map(of).sum()
    }

    /// Waits until so many more records are committed, or the daemon has died: a crash point may be met
    /// sooner than expected.
    pub fn wait_for_progress(&self, more: u64, daemon: Option<&Daemon>) {
        let wanted = self.progress() + more;
        let what = format!("{wanted} records are committed");
        let has_died = || daemon.is_some_and(|daemon| daemon.process.try_wait().is_some());
        let there = || (has_died() || self.progress() >= wanted).then_some(());
        wait::until(&what, PATIENCE, there).unwrap_or_else(|e| {
            let log = daemon.map(Daemon::log).unwrap_or_default();
            panic!("{e}: {}\n{log}", self.progress())
        });
    }

    fn is_committed_to_end(&self) -> Result<(), String> {
        let job = &self.job;
        for name in self.topics() {
            let ends = topic::end_offsets(job.bootstrap(), &name).map_err(|e| e.to_string())?;
            let committed =
                topic::committed(job.bootstrap(), &job.group, &name).map_err(|e| e.to_string())?;
            for (partition, end) in ends {
                let at = committed.get(&partition).map_or(0, |c| c.offset);
                if at != end {
                    return Err(format!("{name}:{partition} is committed to {at} of {end}"));
                }
            }
        }
        Ok(())
    }

    /// Waits until everything is committed.
    pub fn wait_for_end(&self, daemon: &Daemon) {
        let mut last = String::new();
        let is_done = || self.is_committed_to_end().map_err(|e| last = e).ok();
        let waited = wait::until("everything is committed", TO_THE_END, is_done);
        waited.unwrap_or_else(|e| panic!("{e}: {last}\n{}", daemon.log()));
    }

    /// Every table equals its source, no record is a dead letter, everything is committed.
    pub fn assert_equal(&self, produced: u64) -> Counts {
        let counts = self
            .compare(produced)
            .unwrap_or_else(|violation| panic!("{}: {violation}", self.job.prefix));
        self.is_committed_to_end().expect("committed to the end");
        counts
    }

    /// See [`Replica::assert_equal`]; the error tells what is wrong with rows and dead letters.
    pub fn compare(&self, produced: u64) -> Result<Counts, String> {
        let letters = self.job.dead_letters().map_err(|e| e.to_string())?;
        if let Some(letter) = letters.first() {
            let header = |name: &str| letter.header(&format!("streamweir-{name}"));
            let [reason, topic, partition, offset, detail] =
                ["reason", "topic", "partition", "offset", "detail"]
                    .map(|name| header(name).unwrap_or_default());
            let old = letter.header("__debezium.oldkey").unwrap_or_default();
            let key = String::from_utf8_lossy(letter.key.as_deref().unwrap_or_default());
            return Err(format!(
                "{} times dead-lettered without reason; the first is {reason} \
                 {topic}:{partition}:{offset} {detail}; of its key the table has {}, of the key it \
                 had before {}",
                letters.len(),
                self.history(&topic, &key),
                self.history(&topic, &old)
            ));
        }
        let source = self.source();
        let mut rows = 0;
        for (name, table) in &source.tables {
            let finals = format!("{{db}}.`{name}` FINAL WHERE _deleted = 0");
            let replica = self.rows(&format!("* EXCEPT (_version, _deleted) FROM {finals}"));
            compare_tables(name, table, &replica)?;
            let view = self.rows(&format!("* FROM {{db}}.`{name}_current`"));
            compare_tables(&format!("{name}_current"), table, &view)?;
            rows += replica.len() as u64;
        }
        Ok(Counts {
            records: produced,
            rows,
            dead_letters: 0,
        })
    }

    /// All that a table has of one key, for a message.
    fn history(&self, topic: &str, key: &str) -> String {
        let name = topic.rsplit('.').next().unwrap_or_default();
        let key: Value = serde_json::from_str(key).unwrap_or_default();
        let key = key.get("payload").unwrap_or(&key);
        let rows = self.job.query(&format!(
            "SELECT bitAnd(_version, 281474976710655), _deleted, big, other FROM {{db}}.`{name}` \
             WHERE id = {} ORDER BY _version",
            key.get("id").unwrap_or(&Value::from(0))
        ));
        format!("{key}: {rows:?}")
    }

    fn rows(&self, what: &str) -> BTreeMap<String, Row> {
        let text = self.job.query(&format!(
            "SELECT {what} FORMAT JSONEachRow SETTINGS output_format_json_quote_64bit_integers = 0"
        ));
        let rows = text.lines().map(|line| {
            let row: Row = serde_json::from_str(line).expect("a row");
            (key_of(&row), row)
        });
        rows.collect()
    }
}

fn key_of(row: &Row) -> String {
    let region = row
        .get("region")
        .and_then(Value::as_str)
        .unwrap_or_default();
    format!("{region}{}", row["id"])
}

fn compare_tables(
    name: &str,
    table: &SourceTable,
    replica: &BTreeMap<String, Row>,
) -> Result<(), String> {
    let source: BTreeMap<String, &Row> = table.rows.values().map(|r| (key_of(r), r)).collect();
    let missing = source.keys().filter(|key| !replica.contains_key(*key));
    report(name, "row missing", missing.cloned())?;
    let strange = replica.keys().filter(|key| !source.contains_key(*key));
    report(name, "row that the source does not have", strange.cloned())?;
    let different = source.iter().filter_map(|(key, row)| {
        let of_replica = &replica[key];
        let names = row.keys().chain(of_replica.keys());
        // Without a schema block nobody can tell the type of a column that has been NULL so far: it is not
        // there yet, which says the same.
        let value = |row: &Row, name: &str| row.get(name).filter(|value| !value.is_null()).cloned();
        let mut different = names.filter(|n| value(row, n) != value(of_replica, n));
        let column = different.next()?;
        let (found, wanted) = (of_replica.get(column), row.get(column));
        Some(format!(
            "{key}: {column} is {found:?} instead of {wanted:?}"
        ))
    });
    report(name, "row not that of the source", different)
}

fn report(table: &str, what: &str, places: impl Iterator<Item = String>) -> Result<(), String> {
    let places: Vec<String> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let first = places[..places.len().min(SHOWN)].join("; ");
    Err(format!(
        "{} times {what}, {table}, first: {first}",
        places.len()
    ))
}

/// Without schema blocks the configuration says what the table is made of.
fn declare_columns(job: &mut Job, topic: &str, shape: Shape) {
    let mut columns = toml::Table::new();
    if shape.has_region {
        columns.insert("region".into(), "String".into());
    }
    columns.insert("id".into(), "Int64".into());
    columns.insert("n".into(), "Nullable(Int64)".into());
    for name in ["note", "big", "other"] {
        columns.insert(name.into(), "Nullable(String)".into());
    }
    let mut mapping = toml::Table::new();
    mapping.insert("columns".into(), columns.into());
    let pipeline = job.config["pipeline"][0].as_table_mut();
    let tables = pipeline.expect("a pipeline").entry("tables");
    let tables = tables.or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let tables = tables.as_table_mut().expect("a table of tables");
    tables.insert(topic.to_owned(), mapping.into());
}
