//! The shipped configuration with all its pipelines in one process, and the proof of each.

use std::path::Path;

use sandbox::clickhouse::ClickHouse;
use sandbox::redis::Redis;
use sandbox::{topic, wait};
use tempfile::TempDir;
use toml::{Table, Value};

use super::joins::Joins;
use super::proof::{self, Counts, Profiles};
use super::replica::Replica;
use super::traffic::Traffic;
use super::windows::Windows;
use super::{Daemon, Job, TO_THE_END, keep_pipeline, project_root};

const EVENTS_PER_SECOND: u64 = 300;
const CHANGES_PER_SECOND: u64 = 100;
const SALES_PER_SECOND: u64 = 200;
/// Of both sides of the join.
const JOINED_PER_SECOND: u64 = 300;

/// The names of the shipped pipelines.
pub const PIPELINES: [&str; 4] = ["clickstream", "shop", "sales", "enriched"];

/// Four jobs whose pipelines run in one process, with ClickHouse and Redis of their own.
pub struct Four {
    /// The file that the process is started with; its `pipeline.…` is none of the four.
    pub whole: Job,
    pub clickstream: Job,
    pub shop: Replica,
    pub sales: Windows,
    pub enriched: Joins,
    pub clickhouse: ClickHouse,
    pub redis: Redis,
    partitions: i32,
}

/// The producers of all topics.
pub struct FourTraffic([Traffic; 4]);

impl Four {
    pub fn new(name: &str, partitions: i32, seed: u64) -> Four {
        Four::of(Job::new(name), partitions, seed)
    }

    /// The same under the names, and at the broker, of this job.
    pub fn of(mut whole: Job, partitions: i32, seed: u64) -> Four {
        let clickhouse = ClickHouse::start().expect("an engine");
        let redis = Redis::start().expect("a redis");
        whole.clickhouse_url = clickhouse.url();
        whole.config = config_of_all(&whole, &redis.url());
        let clickstream = part(&whole, "clickstream");
        clickstream.apply_schema();
        clickstream.create_topic(partitions);
        clickstream.load_profiles();
        redis.save().expect("profiles are kept");
        let mut shop = part(&whole, "shop");
        shop.database = shop.text("pipeline.clickhouse.database").to_owned();
        Four {
            shop: Replica::shipped(shop, partitions, seed),
            sales: Windows::shipped(part(&whole, "sales"), partitions, seed),
            enriched: Joins::shipped(part(&whole, "enriched"), partitions, seed),
            clickstream,
            whole,
            clickhouse,
            redis,
            partitions,
        }
    }

    pub fn traffic(&self) -> FourTraffic {
        FourTraffic([
            Traffic::start(&self.clickstream, self.partitions, EVENTS_PER_SECOND),
            self.shop.traffic(CHANGES_PER_SECOND),
            self.sales.traffic(SALES_PER_SECOND),
            self.enriched.traffic(JOINED_PER_SECOND),
        ])
    }

    pub fn start(&self, instance: &str) -> Daemon {
        self.whole.start(instance, &[], "")
    }

    /// Waits until every event and every change is committed; windows and joins may be open.
    pub fn wait_for_end(&self, daemon: &Daemon) {
        self.clickstream.wait_for_commits_to_end();
        self.shop.wait_for_end(daemon);
    }

    /// Writes what is open too; the exit must be clean. The most memory it held, in MiB.
    pub fn close(&self) -> u64 {
        let arguments = ["--until", "latest", "--close"];
        let daemon = self.whole.start("close", &arguments, "");
        let mut peak = 0;
        let status = wait::until("the last run ends", TO_THE_END, || {
            peak = daemon.peak_mib_if_alive().unwrap_or(0).max(peak);
            daemon.process.try_wait()
        });
        let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
        assert!(status.success(), "{status}: {}", daemon.log());
        peak
    }

    /// Holds every pipeline's result against what was produced for it, in the order of [`PIPELINES`].
    pub fn assert_right(&self, produced: [u64; 4]) -> [Counts; 4] {
        let [events, changes, sales, joined] = produced;
        self.assert_letters_have_owners();
        [
            proof::assert_exactly_once(&self.clickstream, events, Profiles::AsInRedis),
            self.shop.assert_equal(changes),
            self.sales.assert_equal(sales),
            self.enriched.assert_equal(joined),
        ]
    }

    /// Each proof looks at the dead letters of its own pipeline alone.
    fn assert_letters_have_owners(&self) {
        let Job {
            dead_letter_topic, ..
        } = &self.whole;
        let letters = topic::read_all(self.whole.bootstrap(), dead_letter_topic).expect("letters");
        for letter in letters {
            let owner = letter.header("streamweir-pipeline").unwrap_or_default();
            assert!(PIPELINES.contains(&&*owner), "a dead letter of {owner:?}");
        }
    }
}

impl FourTraffic {
    /// Ends all; how many records each had acknowledged.
    pub fn finish(self) -> [u64; 4] {
        self.0.map(Traffic::finish)
    }
}

/// The shipped configuration, but for addresses, names, and how soon a group misses a member.
fn config_of_all(job: &Job, redis_url: &str) -> Table {
    let file = project_root().join("config.toml");
    let text = std::fs::read_to_string(&file).expect("the shipped configuration");
    let mut config: Table = text.parse().expect("TOML");
    let state_dir = job.directory.path().join("state").display().to_string();
    put(&mut config, "service.state_dir", state_dir);
    put(
        &mut config,
        "kafka.bootstrap_servers",
        vec![job.bootstrap.clone()],
    );
    let properties = table_at(&mut config, "kafka.properties");
    properties.insert("session.timeout.ms".into(), 3_000.into());
    properties.insert("heartbeat.interval.ms".into(), 500.into());
    put(&mut config, "clickhouse.url", job.clickhouse_url.clone());
    put(&mut config, "clickhouse.database", job.database.clone());
    put(&mut config, "redis.url", redis_url);
    let pipelines = config["pipeline"].as_array_mut().expect("[[pipeline]]");
    let names: Vec<_> = pipelines.iter().map(|p| p["name"].as_str()).collect();
    assert_eq!(names, PIPELINES.map(Some), "the shipped pipelines");
    for pipeline in pipelines {
        rename(pipeline.as_table_mut().expect("a pipeline"), job);
    }
    config
}

/// Gives a pipeline names that nobody else has.
fn rename(pipeline: &mut Table, job: &Job) {
    let prefix = &job.prefix;
    for path in [
        "group_id",
        "lookup.key_prefix",
        "output.topic",
        "left.topic",
        "right.topic",
    ] {
        if let Some(name) = text_at(pipeline, path) {
            put(pipeline, path, format!("{prefix}{name}"));
        }
    }
    put(pipeline, "dead_letter.topic", job.dead_letter_topic.clone());
    if let Some(ddl) = text_at(pipeline, "clickhouse.ddl") {
        let ddl = project_root().join(Path::new(&ddl));
        put(pipeline, "clickhouse.ddl", ddl.display().to_string());
    }
    if let Some(database) = text_at(pipeline, "clickhouse.database") {
        let database = format!("{}{database}", job.database);
        put(pipeline, "clickhouse.database", database);
    }
    if let Some(topics) = pipeline.get_mut("topics").and_then(Value::as_array_mut) {
        for topic in topics {
            let name = topic.as_str().expect("a name");
            let name = match name.strip_prefix('^') {
                Some(pattern) => format!("^{prefix}{pattern}"),
                None => format!("{prefix}{name}"),
            };
            *topic = name.into();
        }
    }
    if let Some(tables) = pipeline.get_mut("tables").and_then(Value::as_table_mut) {
        let named = std::mem::take(tables).into_iter();
        *tables = named.map(|(t, v)| (format!("{prefix}{t}"), v)).collect();
    }
}

/// A job that is one of the pipelines of another, as it is there.
fn part(whole: &Job, name: &str) -> Job {
    let mut config = whole.config.clone();
    keep_pipeline(&mut config, name);
    let pipeline = &config["pipeline"][0];
    let named = |key: &str| Some(pipeline.get(key)?.as_str()?.to_owned());
    let topic = match pipeline.get("left") {
        Some(left) => left["topic"].as_str().expect("a name"),
        None => pipeline["topics"][0].as_str().expect("a name"),
    };
    Job {
        prefix: whole.prefix.clone(),
        topic: topic.to_owned(),
        dead_letter_topic: whole.dead_letter_topic.clone(),
        group: named("group_id").expect("a group"),
        database: whole.database.clone(),
        bootstrap: whole.bootstrap.clone(),
        clickhouse_url: whole.clickhouse_url.clone(),
        config,
        directory: TempDir::new().expect("a directory"),
    }
}

fn table_at<'t>(table: &'t mut Table, path: &str) -> &'t mut Table {
    path.split('.').fold(table, |table, name| {
        let entry = table.entry(name).or_insert_with(|| Table::new().into());
        entry.as_table_mut().expect("a table")
    })
}

fn text_at(table: &Table, path: &str) -> Option<String> {
    let mut names = path.split('.');
    let first = table.get(names.next()?)?;
    let value = names.try_fold(first, |value, name| value.get(name))?;
    value.as_str().map(str::to_owned)
}

fn put(table: &mut Table, path: &str, value: impl Into<Value>) {
    let (parent, name) = path.rsplit_once('.').unwrap_or(("", path));
    let table = match parent {
        "" => table,
        parent => table_at(table, parent),
    };
    table.insert(name.to_owned(), value.into());
}
