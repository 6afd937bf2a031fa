//! Windows of sales under records that keep coming, and the proof that table and topic end as a plain
//! model says.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sandbox::topic::{self, Record};
use sandbox::wait;
use serde_json::Value;

use super::proof::Counts;
use super::traffic::{POISON_HEADER, Traffic};
use super::window_model::{Expected, Key, Place, Row, Rules, Sale, Shape};
use super::{Daemon, Job, PATIENCE};

/// What a record says, for the model.
const SALE_HEADER: &str = "sale";
/// Event time between two records of the topic.
const STEP_MS: i64 = 20;
const DAY_MS: i64 = 86_400_000;
/// How much longer everything lasts where a day of event time is read.
const DAY_SCALE: i64 = 60;
/// The same where windows are the shipped ones, of a minute.
const SHIPPED_SCALE: i64 = 15;
const BURST: u64 = 10;
/// Every so many records one can never count.
const POISON_EVERY: u64 = 97;
/// How many places a violation names.
const SHOWN: usize = 5;

/// How the windows of a job lie, and who reads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One member reads everything.
    Tumbling,
    /// Every partition has windows of its own.
    Partitioned,
    Hopping,
    /// As hopping ones, and none stays in memory.
    OnDisk,
    Sessions,
}

impl Kind {
    pub const ALL: [Kind; 5] = [
        Kind::Tumbling,
        Kind::Partitioned,
        Kind::Hopping,
        Kind::OnDisk,
        Kind::Sessions,
    ];

    fn rules(self) -> Rules {
        let shape = match self {
            Kind::Tumbling | Kind::Partitioned => Shape::Aligned {
                size_ms: 4_000,
                slide_ms: 4_000,
            },
            Kind::Hopping | Kind::OnDisk => Shape::Aligned {
                size_ms: 6_000,
                slide_ms: 2_000,
            },
            Kind::Sessions => Shape::Session { gap_ms: 3_000 },
        };
        Rules {
            shape,
            delay_ms: 1_000,
            lateness_ms: 3_000,
            is_partitioned: self != Kind::Tumbling,
        }
    }

    /// Few make full rows, many leave room between the records of a session.
    fn categories(self) -> u64 {
        match self {
            Kind::Sessions => 60,
            _ => 7,
        }
    }
}

/// A job of the kind `aggregation`, its table and its topics.
pub struct Windows {
    pub job: Job,
    pub kind: Kind,
    rules: Rules,
    partitions: i32,
    begun_ms: i64,
    /// Event time between two records of the topic.
    step_ms: i64,
    seed: u64,
    /// Number of the next record.
    next: std::sync::Arc<std::sync::atomic::AtomicU64>,
}

impl Windows {
    pub fn new(name: &str, kind: Kind, partitions: i32, seed: u64) -> Windows {
        Windows::of(Job::aggregation(name, "sales"), kind, partitions, seed)
    }

    /// The same with a job that was prepared otherwise.
    pub fn of(job: Job, kind: Kind, partitions: i32, seed: u64) -> Windows {
        Windows::scaled(job, kind, partitions, seed, 1)
    }

    /// Windows that are so much longer that a day of sales is soon made.
    pub fn a_day_behind(name: &str, kind: Kind, partitions: i32, seed: u64) -> Windows {
        let job = Job::aggregation(name, "sales");
        Windows::scaled(job, kind, partitions, seed, DAY_SCALE)
    }

    fn scaled(mut job: Job, kind: Kind, partitions: i32, seed: u64, scale: i64) -> Windows {
        let rules = kind.rules().scaled(scale);
        set_rules(&mut job, rules);
        if kind == Kind::OnDisk {
            job.set("pipeline.state.backend", "disk");
            job.set("pipeline.state.memory_max", "1KiB");
        }
        job.set("pipeline.batch.rows_max", 40);
        job.set("pipeline.batch.flush_interval", "100ms");
        job.set("pipeline.idle_timeout", "300ms");
        job.set("kafka.properties.session.timeout.ms", 2_000);
        job.set("kafka.properties.heartbeat.interval.ms", 300);
        Windows::ready(job, kind, rules, partitions, seed, scale)
    }

    /// Tumbling windows of a job whose configuration is left as it is.
    pub fn shipped(job: Job, partitions: i32, seed: u64) -> Windows {
        let size_ms = job.milliseconds("pipeline.window.size");
        let rules = Rules {
            shape: Shape::Aligned {
                size_ms,
                slide_ms: size_ms,
            },
            delay_ms: job.milliseconds("pipeline.watermark_delay"),
            lateness_ms: job.milliseconds("pipeline.allowed_lateness"),
            is_partitioned: false,
        };
        Windows::ready(job, Kind::Tumbling, rules, partitions, seed, SHIPPED_SCALE)
    }

    fn ready(
        job: Job,
        kind: Kind,
        rules: Rules,
        partitions: i32,
        seed: u64,
        scale: i64,
    ) -> Windows {
        job.apply_schema();
        job.create_topic(partitions);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = i64::try_from(now.expect("after 1970").as_millis()).expect("fits");
        Windows {
            job,
            kind,
            rules,
            partitions,
            // A day ago: event time goes faster than the clock here.
            begun_ms: now_ms - DAY_MS,
            step_ms: STEP_MS * scale,
            seed,
            next: std::sync::Arc::default(),
        }
    }

    /// Sales until told to end.
    pub fn traffic(&self, sales_per_second: u64) -> Traffic {
        let pause = Duration::from_secs(1) * u32::try_from(BURST).expect("small")
            / u32::try_from(sales_per_second).expect("small");
        let (bootstrap, topic) = (self.job.bootstrap.clone(), self.job.topic.clone());
        let next = self.next.clone();
        let mut sales = self.sales();
        Traffic::of(move |stop| {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let records = numbers
                .take_while(|number| {
                    if number % BURST == 0 {
                        std::thread::sleep(pause);
                    }
                    !stop.load(Ordering::Relaxed)
                })
                .map(|number| sales.record(number));
            topic::produce(&bootstrap, &topic, records).expect("every record is acknowledged")
        })
    }

    /// Writes so many sales at once.
    pub fn produce(&self, count: u64) -> u64 {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let mut sales = self.sales();
        let records = (first..first + count).map(|number| sales.record(number));
        topic::produce(self.job.bootstrap(), &self.job.topic, records).expect("records")
    }

    /// Writes the sales of a day.
    pub fn produce_a_day(&self) -> u64 {
        self.produce((DAY_MS / self.step_ms).unsigned_abs())
    }

    fn sales(&self) -> Sales {
        let begun = self.next.load(Ordering::Relaxed);
        Sales {
            random: StdRng::seed_from_u64(self.seed ^ begun),
            kind: self.kind,
            partitions: u64::try_from(self.partitions).expect("at least one"),
            begun_ms: self.begun_ms,
            step_ms: self.step_ms,
        }
    }

    pub fn start(&self, instance: &str, failpoints: &str) -> Daemon {
        self.job.start(instance, &[], failpoints)
    }

    /// Records before the committed positions.
    pub fn progress(&self) -> u64 {
        let job = &self.job;
        // A broker that restarts, or a group that moves, answers later.
        let answer = || topic::committed(job.bootstrap(), &job.group, &job.topic).ok();
        let committed = wait::until("the group answers", PATIENCE, answer);
        let committed = committed.unwrap_or_else(|e| panic!("{e}"));
        committed.values().map(|c| c.offset.unsigned_abs()).sum()
    }

    /// Waits until so many more records are committed, or the daemon has died: a crash point may be met
    /// sooner than expected.
    pub fn wait_for_progress(&self, more: u64, daemon: &Daemon) {
        let wanted = self.progress() + more;
        let what = format!("{wanted} records are committed");
        let has_died = || daemon.process.try_wait().is_some();
        let there = || (has_died() || self.progress() >= wanted).then_some(());
        wait::until(&what, PATIENCE, there)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.progress(), daemon.log()));
    }

    /// Writes what is still open too, and ends; the exit must be clean.
    pub fn close(&self) {
        let (code, log) = self
            .job
            .run_to_code("close", &["--until", "latest", "--close"]);
        assert_eq!(code, 0, "{log}");
    }

    /// Table, topic, dead letters and commits are as the model says.
    pub fn assert_equal(&self, produced: u64) -> Counts {
        self.compare(produced)
            .unwrap_or_else(|violation| panic!("{}: {violation}", self.job.prefix))
    }

    /// See [`Windows::assert_equal`].
    pub fn compare(&self, produced: u64) -> Result<Counts, String> {
        let (expected, letters, ends) = self.expected()?;
        let table = self.table();
        compare_rows("the table", &expected.rows, &table)?;
        compare_rows("the topic", &expected.rows, &self.topic_rows()?)?;
        self.compare_letters(&letters)?;
        self.compare_commits(&expected, &ends)?;
        let records: i64 = ends.values().sum();
        if records.unsigned_abs() != produced {
            return Err(format!("{records} records instead of {produced}"));
        }
        Ok(Counts {
            records: produced,
            rows: table.len() as u64,
            dead_letters: letters.len() as u64,
        })
    }

    /// What the topic comes to, its dead letters with their reasons, and where its partitions end.
    #[allow(clippy::type_complexity, reason = "three things of one reading")]
    fn expected(&self) -> Result<(Expected, BTreeMap<Place, String>, BTreeMap<i32, i64>), String> {
        let job = &self.job;
        let mut records =
            topic::read_all(job.bootstrap(), &job.topic).map_err(|e| e.to_string())?;
        records.sort_by_key(|record| (record.partition, record.offset));
        let mut sales: BTreeMap<i32, Vec<(i64, Sale)>> =
            (0..self.partitions).map(|p| (p, vec![])).collect();
        let mut letters = BTreeMap::new();
        let mut ends: BTreeMap<i32, i64> = (0..self.partitions).map(|p| (p, 0)).collect();
        for record in records {
            let place = (record.partition, record.offset);
            ends.insert(place.0, place.1 + 1);
            if let Some(reason) = record.header(POISON_HEADER) {
                letters.insert(place, reason);
                continue;
            }
            let said = record
                .header(SALE_HEADER)
                .expect("every sale says what it is");
            let of_partition = sales.get_mut(&place.0).expect("a partition of the topic");
            of_partition.push((place.1, parse(&said)));
        }
        let expected = self.rules.expected(&sales);
        let late = expected.late.iter();
        letters.extend(late.map(|place| (*place, "late".to_owned())));
        Ok((expected, letters, ends))
    }

    fn table(&self) -> BTreeMap<Key, Row> {
        let living = match self.kind {
            Kind::Sessions => "WHERE _deleted = 0",
            _ => "",
        };
        let text = self.job.query(&format!(
            "SELECT toUnixTimestamp64Milli(window_start), toUnixTimestamp64Milli(window_end), category, \
             total_sales, toString(total_revenue), unique_customers, unique_products, \
             toString(avg_transaction_value), revision, late_count, is_final \
             FROM {{db}}.sales_aggregates_1min FINAL {living}"
        ));
        let lines = text.lines().filter(|line| !line.is_empty());
        let mut rows = BTreeMap::new();
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            let number = |n: usize| fields[n].parse::<u64>().expect("a number");
            let row = Row {
                end_ms: fields[1].parse().expect("a time"),
                sales: number(3),
                revenue_cents: cents(fields[4]),
                customers: number(5),
                products: number(6),
                average_cents: cents(fields[7]),
                revision: number(8),
                late_count: number(9),
                is_final: number(10) == 1,
            };
            let key = (fields[0].parse().expect("a time"), fields[2].to_owned());
            assert_eq!(rows.insert(key, row), None, "FINAL has one row of a key");
        }
        rows
    }

    /// The last value of each key.
    fn topic_rows(&self) -> Result<BTreeMap<Key, Row>, String> {
        let output = self.job.text("pipeline.output.topic");
        let messages = topic::read_all(self.job.bootstrap(), output).map_err(|e| e.to_string())?;
        let mut rows = BTreeMap::new();
        for message in messages {
            let key = message.key.ok_or("a message without key")?;
            match message.value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(rows
            .into_iter()
            .map(|(key, value)| message_row(&key, &value))
            .collect())
    }

    fn compare_letters(&self, expected: &BTreeMap<Place, String>) -> Result<(), String> {
        let job = &self.job;
        let mut letters = BTreeMap::new();
        for letter in job.dead_letters().map_err(|e| e.to_string())? {
            let header = |name: &str| {
                letter
                    .header(&format!("streamweir-{name}"))
                    .unwrap_or_default()
            };
            let number = |name: &str| header(name).parse::<i64>().expect("a number");
            let place = (number("partition") as i32, number("offset"));
            let reason = header("reason");
            // At least once, and always for the same reason.
            let before = letters.insert(place, reason.clone());
            if before.is_some_and(|before| before != reason) {
                return Err(format!("dead letter of two reasons: {place:?}"));
            }
        }
        let missing = expected
            .iter()
            .filter(|(place, _)| !letters.contains_key(*place));
        report("dead letter missing", missing.map(|l| format!("{l:?}")))?;
        let strange = letters
            .iter()
            .filter(|(place, reason)| expected.get(*place) != Some(*reason));
        report(
            "dead letter without that reason",
            strange.map(|l| format!("{l:?}")),
        )
    }

    /// Every partition is done with to its end, and committed before the first record that a window needs.
    fn compare_commits(
        &self,
        expected: &Expected,
        ends: &BTreeMap<i32, i64>,
    ) -> Result<(), String> {
        let committed = self.job.committed();
        let wrong = ends.iter().filter_map(|(partition, end)| {
            let wanted = expected.needed.get(partition).unwrap_or(end);
            let Some(commit) = committed.get(partition) else {
                return (*end > 0).then(|| format!("{partition}: nothing"));
            };
            let settled_to = settled_to(&commit.metadata);
            let is_right = commit.offset == *wanted && settled_to == Some(*end);
            (!is_right).then(|| {
                format!(
                    "{partition}: {} and done to {settled_to:?} instead of {wanted} and {end}",
                    commit.offset
                )
            })
        });
        report("partition committed elsewhere", wrong)
    }
}

/// What a commit says of how far everything is done.
fn settled_to(metadata: &str) -> Option<i64> {
    let mut words = metadata.split(' ').filter(|word| word.starts_with('w'));
    let fields: Vec<&str> = words
        .find(|word| [4, 6].contains(&word.matches(',').count()))?
        .split(',')
        .collect();
    fields[4].parse().ok()
}

fn compare_rows(
    place: &str,
    expected: &BTreeMap<Key, Row>,
    found: &BTreeMap<Key, Row>,
) -> Result<(), String> {
    let missing = expected.keys().filter(|key| !found.contains_key(*key));
    report(
        &format!("row missing in {place}"),
        missing.map(|k| format!("{k:?}")),
    )?;
    let strange = found.iter().filter(|(key, _)| !expected.contains_key(*key));
    report(
        &format!("row of no window in {place}"),
        strange.map(|r| format!("{r:?}")),
    )?;
    let different = expected.iter().filter(|(key, row)| found[*key] != **row);
    report(
        &format!("row of {place} not that of an undisturbed run"),
        different.map(|(key, row)| format!("{key:?}: {:?} instead of {row:?}", found[key])),
    )
}

fn report(what: &str, places: impl Iterator<Item = String>) -> Result<(), String> {
    let places: Vec<String> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let first = places[..places.len().min(SHOWN)].join("; ");
    Err(format!("{} times {what}, first: {first}", places.len()))
}

fn message_row(key: &[u8], value: &[u8]) -> (Key, Row) {
    let key: Value = serde_json::from_slice(key).expect("a key is JSON");
    let value: Value = serde_json::from_slice(value).expect("a value is JSON");
    let time = |value: &Value| {
        let text = value.as_str().expect("a time").replace(' ', "T") + "Z";
        let time: jiff::Timestamp = text.parse().expect("a time");
        time.as_millisecond()
    };
    let number = |name: &str| value[name].as_u64().expect("a number");
    let decimal = |name: &str| cents(value[name].as_str().expect("decimals are texts"));
    let row = Row {
        end_ms: time(&value["window_end"]),
        sales: number("total_sales"),
        revenue_cents: decimal("total_revenue"),
        customers: number("unique_customers"),
        products: number("unique_products"),
        average_cents: decimal("avg_transaction_value"),
        revision: number("revision"),
        late_count: number("late_count"),
        is_final: number("is_final") == 1,
    };
    for name in ["window_start", "category"] {
        assert_eq!(key[name], value[name], "the value repeats its key");
    }
    let category = key["category"].as_str().expect("a text").to_owned();
    ((time(&key["window_start"]), category), row)
}

/// `-12.5` → −1250.
fn cents(text: &str) -> i64 {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let (fraction, rest) = fraction.split_at(fraction.len().min(2));
    assert!(
        rest.bytes().all(|digit| digit == b'0'),
        "{text}: no part of a cent"
    );
    let whole: i64 = whole.parse().expect("digits");
    let fraction: i64 = format!("{fraction:0<2}").parse().expect("digits");
    sign * (whole * 100 + fraction)
}

/// The records of one producer.
struct Sales {
    random: StdRng,
    kind: Kind,
    partitions: u64,
    begun_ms: i64,
    step_ms: i64,
}

impl Sales {
    fn record(&mut self, number: u64) -> Record {
        let category = self.random.random_range(0..self.kind.categories());
        let partition = match self.kind {
            // The first is read the most.
            Kind::Tumbling => {
                self.random.random_range(0..self.partitions * 2) % (self.partitions + 1)
            }
            _ => category,
        } % self.partitions;
        let sale = Sale {
            time_ms: self.time_ms(number),
            category: format!("c{category}"),
            customer: self.random.random_range(0..9),
            product: self.random.random_range(0..30),
            cents: self.random.random_range(-2_000..20_000),
        };
        let partition = i32::try_from(partition).expect("few");
        let record = if number % POISON_EVERY == POISON_EVERY - 1 {
            let (text, reason) = poisoned(&sale, number / POISON_EVERY);
            Record::new(text).header(POISON_HEADER, reason)
        } else {
            let Sale {
                time_ms,
                category,
                customer,
                product,
                cents,
            } = &sale;
            let said = format!("{time_ms},{category},{customer},{product},{cents}");
            Record::new(text(&sale)).header(SALE_HEADER, said)
        };
        record.key(sale.category).partition(partition)
    }

    /// Mostly in order, often a little behind, now and then so far that windows have closed.
    fn time_ms(&mut self, number: u64) -> i64 {
        let behind_steps_max = match self.random.random_range(0..100) {
            0..=4 => 1_000,
            5..=24 => 250,
            _ => 30,
        };
        let behind_ms = self.random.random_range(0..behind_steps_max * self.step_ms);
        self.begun_ms + i64::try_from(number).expect("fits") * self.step_ms - behind_ms
    }
}

fn text(sale: &Sale) -> String {
    let Sale {
        time_ms,
        category,
        customer,
        product,
        cents,
    } = sale;
    let amount = format!(
        "{}{}.{:02}",
        if *cents < 0 { "-" } else { "" },
        cents.abs() / 100,
        cents.abs() % 100
    );
    // As a number and as a text.
    let amount = if product % 2 == 0 {
        amount
    } else {
        format!("{amount:?}")
    };
    format!(
        r#"{{"timestamp":{time_ms},"category":"{category}","customer_id":{customer},"product_id":"p{product}","amount":{amount}}}"#
    )
}

fn poisoned(sale: &Sale, number: u64) -> (String, &'static str) {
    let (time_ms, category) = (sale.time_ms, &sale.category);
    match number % 5 {
        0 => ("not JSON".to_owned(), "invalid_json"),
        1 => (
            format!(r#"{{"timestamp":{time_ms},"category":"{category}"}}"#),
            "missing_field",
        ),
        2 => (
            format!(r#"{{"timestamp":{time_ms},"category":"{category}","amount":"much"}}"#),
            "invalid_value",
        ),
        3 => (
            format!(r#"{{"timestamp":"2099-01-01T00:00:00Z","category":"{category}","amount":1}}"#),
            "too_far_ahead",
        ),
        _ => (
            format!(r#"{{"timestamp":{time_ms},"category":"{category}","amount":0.0000000001}}"#),
            "out_of_range",
        ),
    }
}

fn parse(said: &str) -> Sale {
    let fields: Vec<&str> = said.split(',').collect();
    let number = |n: usize| fields[n].parse::<u64>().expect("a number");
    Sale {
        time_ms: fields[0].parse().expect("a time"),
        category: fields[1].to_owned(),
        customer: number(2),
        product: number(3),
        cents: fields[4].parse().expect("cents"),
    }
}

fn set_rules(job: &mut Job, rules: Rules) {
    let ms = |ms: i64| format!("{ms}ms");
    job.set("pipeline.watermark_delay", ms(rules.delay_ms));
    job.set("pipeline.allowed_lateness", ms(rules.lateness_ms));
    if rules.is_partitioned {
        job.set("pipeline.partitioned_by", "category");
    }
    match rules.shape {
        Shape::Aligned { size_ms, slide_ms } => {
            job.set("pipeline.window.size", ms(size_ms));
            if slide_ms != size_ms {
                job.set("pipeline.window.kind", "hopping");
                job.set("pipeline.window.slide", ms(slide_ms));
            }
        }
        Shape::Session { gap_ms } => {
            job.unset("pipeline.window.size");
            job.set("pipeline.window.kind", "session");
            job.set("pipeline.window.gap", ms(gap_ms));
            job.set("pipeline.clickhouse.ddl", sessions_ddl(job));
        }
    }
}

/// The table of sales, for sessions: a row whose session begins earlier than it said is deleted.
pub fn sessions_ddl(job: &Job) -> String {
    let ddl = std::fs::read_to_string(job.text("pipeline.clickhouse.ddl")).expect("a file");
    let ddl = ddl
        .replace(
            "ReplacingMergeTree(version)",
            "ReplacingMergeTree(version, _deleted)",
        )
        .replace(
            "    version UInt64,",
            "    version UInt64,\n    _deleted UInt8,",
        );
    let path = job.directory.path().join("sessions.sql");
    std::fs::write(&path, ddl).expect("written");
    path.display().to_string()
}
