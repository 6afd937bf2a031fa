//! A join of events with profiles under records that keep coming, and the proof that its output topic
//! ends as a plain model says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sandbox::topic::{self, Received};
use sandbox::wait;
use serde_json::Value;

use super::join_model::{Answer, Place, Rules, Side};
use super::join_records::{Records, SPOKEN_HEADER, parse};
use super::proof::Counts;
use super::traffic::{POISON_HEADER, Traffic};
use super::{Daemon, Job, PATIENCE, TO_THE_END};

const DAY_MS: i64 = 86_400_000;
const BURST: u64 = 10;
/// How many places a violation names.
const SHOWN: usize = 5;
/// The members that a joined record has beside those of its event.
const PROFILE_MEMBERS: [&str; 4] = ["user_email", "user_name", "user_segment", "user_country"];

impl Job {
    /// One pipeline of the kind `stream_join`, pointed at the sandbox: its `topic` is the left side. Topics
    /// are not made.
    pub fn join(name: &str) -> Job {
        let mut job = Job::new(name);
        let pipeline = toml::toml! {
            name = "enriched"
            kind = "stream_join"
            watermark_delay = "10s"
            idle_timeout = "10s"
            [left]
            key_field = "user_id"
            time_field = "timestamp"
            [right]
            key_field = "user_id"
            time_field = "updated_at"
            [join]
            type = "left"
            emit = "on_watermark"
            before = "300s"
            after = "300s"
        };
        job.config["pipeline"] = toml::Value::Array(vec![toml::Value::Table(pipeline)]);
        job.topic = format!("{}clickstream-events", job.prefix);
        let right = format!("{}user-profile-updates", job.prefix);
        let output = format!("{}enriched-clickstream", job.prefix);
        job.set("pipeline.left.topic", job.topic.clone());
        job.set("pipeline.right.topic", right);
        job.set("pipeline.output.topic", output);
        job.set("pipeline.group_id", job.group.clone());
        job.set("pipeline.dead_letter.topic", job.dead_letter_topic.clone());
        job.set("pipeline.dead_letter.ratio_max", 1.0);
        job
    }

    pub fn right_topic(&self) -> &str {
        self.text("pipeline.right.topic")
    }

    pub fn output_topic(&self) -> &str {
        self.text("pipeline.output.topic")
    }

    /// Both sides and the output.
    pub fn create_join_topics(&self, partitions: i32) {
        self.create_topic(partitions);
        let settings = [("retention.ms", "-1")];
        topic::create(self.bootstrap(), self.right_topic(), partitions, &settings)
            .expect("a topic");
        self.create_output(partitions);
    }

    pub fn create_output(&self, partitions: i32) {
        let settings = [("retention.ms", "-1")];
        topic::create(self.bootstrap(), self.output_topic(), partitions, &settings)
            .expect("a topic");
    }

    /// Whether the output has records that are neither committed nor aborted yet.
    pub fn has_open_transaction(&self) -> bool {
        let is_stable = topic::is_stable(self.bootstrap(), self.output_topic());
        is_stable.is_ok_and(|is_stable| !is_stable)
    }

    /// What a reader of the output sees once no transaction is open any more.
    pub fn joined(&self) -> Vec<Received> {
        let (bootstrap, output) = (self.bootstrap(), self.output_topic());
        let is_stable = || topic::is_stable(bootstrap, output).ok()?.then_some(());
        wait::until("no transaction is open", PATIENCE, is_stable)
            .unwrap_or_else(|e| panic!("{output}: {e}"));
        topic::read_all(bootstrap, output).expect("the output is read")
    }

    /// Waits until a reader of the output sees so many records; the rest may be undecided.
    pub fn wait_for_joined(&self, count: usize, daemon: &Daemon) {
        let (mut seen, mut from) = (0, BTreeMap::new());
        let is_there = || {
            let before = from.clone();
            let take = |record: Received| {
                seen += 1;
                from.insert(record.partition, record.offset + 1);
            };
            topic::read_each(self.bootstrap(), self.output_topic(), &before, take).ok()?;
            (seen >= count).then_some(())
        };
        wait::until(&format!("{count} are joined"), TO_THE_END, is_there)
            .unwrap_or_else(|e| panic!("{e}: {seen}\n{}", daemon.log()));
    }

    /// Decides what is open, and ends; the exit must be clean. Its log.
    pub fn close_join(&self) -> String {
        let (code, log) = self.run_to_code("close", &["--until", "latest", "--close"]);
        assert_eq!(code, 0, "{log}");
        log
    }
}

/// How a trial joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Events without match are sent too.
    Left,
    Inner,
    /// At the first match, events without one as in `Left`.
    Eager,
    /// The newest profile holds for ever.
    Table,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Left, Kind::Inner, Kind::Eager, Kind::Table];

    /// Times of the records are even here, so that none lies on a watermark.
    pub fn rules(self) -> Rules {
        Rules {
            keeps_unmatched: self != Kind::Inner,
            before_ms: (self != Kind::Table).then_some(3_000),
            after_ms: 2_000,
            delay_ms: 1_001,
        }
    }
}

/// A job of the kind `stream_join` and its topics.
pub struct Joins {
    pub job: Job,
    pub kind: Kind,
    pub rules: Rules,
    partitions: i32,
    begun_ms: i64,
    /// Its rules are those of the shipped configuration.
    is_shipped: bool,
    seed: u64,
    /// Number of the next record, of whichever side.
    next: Arc<AtomicU64>,
}

impl Joins {
    pub fn new(name: &str, kind: Kind, partitions: i32, seed: u64) -> Joins {
        Joins::of(Job::join(name), kind, partitions, seed)
    }

    /// The same with a job that was prepared otherwise.
    pub fn of(mut job: Job, kind: Kind, partitions: i32, seed: u64) -> Joins {
        let rules = kind.rules();
        set_rules(&mut job, kind, &rules);
        job.set("pipeline.batch.rows_max", 40);
        // What a side says late would else change the answers: silence is not what is tried here.
        job.set("pipeline.idle_timeout", "10m");
        job.set("kafka.properties.session.timeout.ms", 2_000);
        job.set("kafka.properties.heartbeat.interval.ms", 300);
        Joins::ready(job, kind, rules, partitions, seed)
    }

    /// A job whose configuration is left as it is.
    pub fn shipped(job: Job, partitions: i32, seed: u64) -> Joins {
        let rules = Rules {
            keeps_unmatched: job.text("pipeline.join.type") == "left",
            before_ms: Some(job.milliseconds("pipeline.join.before")),
            after_ms: job.milliseconds("pipeline.join.after"),
            delay_ms: job.milliseconds("pipeline.watermark_delay"),
        };
        Joins {
            is_shipped: true,
            ..Joins::ready(job, Kind::Left, rules, partitions, seed)
        }
    }

    fn ready(job: Job, kind: Kind, rules: Rules, partitions: i32, seed: u64) -> Joins {
        job.create_join_topics(partitions);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now_ms = i64::try_from(now.expect("after 1970").as_millis()).expect("fits");
        Joins {
            job,
            kind,
            rules,
            partitions,
            // A day ago: event time goes faster than the clock here.
            begun_ms: (now_ms - DAY_MS) & !1,
            is_shipped: false,
            seed,
            next: Arc::default(),
        }
    }

    /// Records of both sides until told to end.
    pub fn traffic(&self, records_per_second: u64) -> Traffic {
        let pause = Duration::from_secs(1) * u32::try_from(BURST).expect("small")
            / u32::try_from(records_per_second).expect("small");
        let bootstrap = self.job.bootstrap.clone();
        let next = self.next.clone();
        let mut source = self.records();
        Traffic::of(move |stop| {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            let records = numbers
                .take_while(|number| {
                    if number % BURST == 0 {
                        std::thread::sleep(pause);
                    }
                    !stop.load(Ordering::Relaxed)
                })
                .map(|number| source.record(number));
            topic::produce_to_many(&bootstrap, records).expect("every record is acknowledged")
        })
    }

    /// Writes so many records of both sides at once.
    pub fn produce(&self, count: u64) -> u64 {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let mut source = self.records();
        let records = (first..first + count).map(|number| source.record(number));
        topic::produce_to_many(self.job.bootstrap(), records).expect("records")
    }

    /// Writes so many records, in a transaction of each topic; how many of them are there in the end.
    pub fn produce_transaction(&self, count: u64, is_kept: bool) -> u64 {
        let first = self.next.fetch_add(count, Ordering::Relaxed);
        let mut source = self.records();
        let records = (first..first + count).map(|number| source.record(number));
        let (left, right): (Vec<_>, Vec<_>) =
            records.partition(|(topic, _)| *topic == self.job.topic);
        for side in [left, right] {
            let topic = side[0].0.clone();
            let records = side.into_iter().map(|(_, record)| record);
            topic::produce_transaction(self.job.bootstrap(), &topic, records, is_kept)
                .expect("the transaction ends");
        }
        if is_kept { count } else { 0 }
    }

    fn records(&self) -> Records {
        let seed = self.seed ^ self.next.load(Ordering::Relaxed);
        let topics = [self.job.topic.clone(), self.job.right_topic().to_owned()];
        let is_table = self.kind == Kind::Table;
        let records = Records::new(seed, topics, self.partitions, self.begun_ms, is_table);
        if self.is_shipped {
            records.slower()
        } else {
            records
        }
    }

    pub fn start(&self, instance: &str, failpoints: &str) -> Daemon {
        self.job.start(instance, &[], failpoints)
    }

    /// The same for a member that the group knows by name: whoever comes after it ends its transactions.
    pub fn start_named(&self, instance: &str, name: &str, failpoints: &str) -> Daemon {
        let environment = [
            ("FAILPOINTS", failpoints),
            ("STREAMWEIR__SERVICE__INSTANCE_ID", name),
        ];
        self.job.start_with(instance, &[], &environment)
    }

    /// Left records before the committed positions.
    pub fn progress(&self) -> u64 {
        let job = &self.job;
        // A broker that restarts, a group that moves and a transaction that is open answer later.
        let answer = || topic::committed(job.bootstrap(), &job.group, &job.topic).ok();
        let committed = wait::until("the group answers", PATIENCE, answer);
        let committed = committed.unwrap_or_else(|e| panic!("{e}"));
        committed.values().map(|c| c.offset.unsigned_abs()).sum()
    }

    /// Waits until so many more left records are committed, or the daemon has died: a crash point may be
    /// met sooner than expected.
    pub fn wait_for_progress(&self, more: u64, daemon: &Daemon) {
        let wanted = self.progress() + more;
        let what = format!("{wanted} events are committed");
        let has_died = || daemon.process.try_wait().is_some();
        let there = || (has_died() || self.progress() >= wanted).then_some(());
        wait::until(&what, PATIENCE, there)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.progress(), daemon.log()));
    }

    /// Decides what is open, and ends; the exit must be clean.
    pub fn close(&self) {
        self.job.close_join();
    }

    /// Records of the output that no `read_committed` reader sees.
    pub fn aborted(&self) -> u64 {
        let visible = self.job.joined().len();
        let written = topic::read_uncommitted(self.job.bootstrap(), self.job.output_topic());
        (written.expect("the output is read").len() - visible) as u64
    }

    /// Output and dead letters are as the model says.
    pub fn assert_equal(&self, produced: u64) -> Counts {
        self.compare(produced)
            .unwrap_or_else(|violation| panic!("{}: {violation}", self.job.prefix))
    }

    /// See [`Joins::assert_equal`].
    pub fn compare(&self, produced: u64) -> Result<Counts, String> {
        let mut letters = BTreeMap::new();
        let (left, events) = self.side(&self.job.topic, &mut letters)?;
        let (right, profiles) = self.side(self.job.right_topic(), &mut letters)?;
        let records = (events.len() + profiles.len()) as u64;
        if records != produced {
            return Err(format!("{records} records instead of {produced}"));
        }
        let answers = self.rules.answers(&left, &right);
        let joined = self.job.joined();
        self.compare_joined(&answers, &events, &profiles, &joined)?;
        self.compare_letters(&letters)?;
        Ok(Counts {
            records: produced,
            rows: joined.len() as u64,
            dead_letters: letters.len() as u64,
        })
    }

    /// The records of a topic that take part; all of them by their places; what is a dead letter is noted.
    fn side(
        &self,
        name: &str,
        letters: &mut BTreeMap<(String, i32, i64), String>,
    ) -> Result<(Side, BTreeMap<Place, Received>), String> {
        let read = topic::read_all(self.job.bootstrap(), name).map_err(|e| e.to_string())?;
        let mut side = Side::new();
        let mut records = BTreeMap::new();
        for record in read {
            let (partition, offset) = (record.partition, record.offset);
            if let Some(reason) = record.header(POISON_HEADER) {
                letters.insert((name.to_owned(), partition, offset), reason);
            } else if let Some(said) = record.header(SPOKEN_HEADER) {
                side.entry(partition)
                    .or_default()
                    .push((offset, parse(&said)));
            }
            records.insert((partition, offset), record);
        }
        Ok((side, records))
    }

    fn compare_joined(
        &self,
        answers: &BTreeMap<Place, Answer>,
        events: &BTreeMap<Place, Received>,
        profiles: &BTreeMap<Place, Received>,
        joined: &[Received],
    ) -> Result<(), String> {
        let by_id: BTreeMap<String, Place> = answers
            .keys()
            .map(|place| (event_id(&events[place]), *place))
            .collect();
        let mut found: BTreeMap<Place, &Received> = BTreeMap::new();
        let (mut strange, mut doubled) = (vec![], vec![]);
        for record in joined {
            match by_id.get(&event_id(record)) {
                None => strange.push(shown(record)),
                Some(place) => {
                    if found.insert(*place, record).is_some() {
                        doubled.push(format!("{place:?}"));
                    }
                }
            }
        }
        report("event doubled", doubled.into_iter())?;
        report("record of no event", strange.into_iter())?;
        let sent = answers.iter().filter(|(_, a)| a.is_sent(&self.rules));
        let missing = sent.clone().filter(|(place, _)| !found.contains_key(place));
        report("event missing", missing.map(|m| format!("{m:?}")))?;
        let dropped = answers.iter().filter(|(_, a)| !a.is_sent(&self.rules));
        let kept = dropped.filter(|(place, _)| found.contains_key(place));
        report("event kept without match", kept.map(|m| format!("{m:?}")))?;
        let wrong = sent.filter_map(|(place, answer)| {
            let wrong = self.wrong(answer, &events[place], profiles, found[place])?;
            Some(format!("{place:?}: {wrong}"))
        });
        report("event not joined as in an undisturbed run", wrong)?;
        if self.kind == Kind::Eager {
            return Ok(());
        }
        let places: BTreeMap<String, (Place, &Answer)> = by_id
            .into_iter()
            .map(|(id, place)| (id, (place, &answers[&place])))
            .collect();
        report(
            "event out of order",
            out_of_order(joined, &places).into_iter(),
        )
    }

    /// What is wrong with a joined record.
    fn wrong(
        &self,
        answer: &Answer,
        event: &Received,
        profiles: &BTreeMap<Place, Received>,
        found: &Received,
    ) -> Option<String> {
        let allowed: BTreeSet<Option<Place>> = match (self.kind, answer.profile) {
            (Kind::Eager, Some(_)) => answer.candidates.iter().copied().map(Some).collect(),
            (_, profile) => [profile].into(),
        };
        let expected = allowed.iter().map(|place| {
            let profile = place.map(|place| &profiles[&place]);
            (event.key.clone(), joined_value(event, profile))
        });
        let value = plain_value(found);
        let is_expected = expected
            .clone()
            .any(|e| e == (found.key.clone(), value.clone()));
        let example = expected.clone().next_back();
        (!is_expected).then(|| format!("{} instead of {example:?}", shown(found)))
    }

    fn compare_letters(
        &self,
        expected: &BTreeMap<(String, i32, i64), String>,
    ) -> Result<(), String> {
        let job = &self.job;
        let mut letters = BTreeMap::new();
        for letter in job.dead_letters().map_err(|e| e.to_string())? {
            let header = |name: &str| {
                letter
                    .header(&format!("streamweir-{name}"))
                    .unwrap_or_default()
            };
            let number = |name: &str| header(name).parse::<i64>().expect("a number");
            let partition = i32::try_from(number("partition")).expect("a partition");
            let place = (header("topic"), partition, number("offset"));
            // At least once, and always for the same reason.
            letters.insert(place, header("reason"));
        }
        let missing = expected.iter().filter(|(p, _)| !letters.contains_key(*p));
        report("dead letter missing", missing.map(|l| format!("{l:?}")))?;
        let strange = letters.iter().filter(|(p, r)| expected.get(*p) != Some(*r));
        report(
            "dead letter without that reason",
            strange.map(|l| format!("{l:?}")),
        )
    }
}

/// Within an output partition the events of one left partition come in the order of their times, late ones
/// excepted.
fn out_of_order(joined: &[Received], places: &BTreeMap<String, (Place, &Answer)>) -> Vec<String> {
    let mut last: BTreeMap<(i32, i32), i64> = BTreeMap::new();
    let mut wrong = vec![];
    for record in joined {
        let ((partition, _), answer) = places[&event_id(record)];
        if answer.outcome == super::join_model::Outcome::Late {
            continue;
        }
        let last = last
            .entry((record.partition, partition))
            .or_insert(i64::MIN);
        if answer.time_ms < *last {
            wrong.push(shown(record));
        }
        *last = answer.time_ms.max(*last);
    }
    wrong
}

/// What a joined record says, its time as milliseconds and without the time of joining, which must be there.
fn plain_value(record: &Received) -> Value {
    let mut value = json(record);
    let members = value.as_object_mut().expect("an object");
    let joined = members.remove("join_timestamp").unwrap_or_default();
    assert!(instant_ms(&joined).is_some(), "{}", shown(record));
    let updated = members
        .get_mut("profile_updated_at")
        .unwrap_or_else(|| panic!("no profile_updated_at in {}", shown(record)));
    *updated = instant_ms(updated).into();
    value
}

fn joined_value(event: &Received, profile: Option<&Received>) -> Value {
    let mut value = json(event);
    let profile = profile.map(json).unwrap_or_default();
    for name in PROFILE_MEMBERS {
        let short = name.trim_start_matches("user_");
        value[name] = profile.get(short).cloned().unwrap_or_default();
    }
    value["profile_updated_at"] = profile.get("updated_at").cloned().unwrap_or_default();
    value
}

/// A time as a number of milliseconds or as a text, with or without a zone.
pub fn instant_ms(value: &Value) -> Option<i64> {
    if let Some(ms) = value.as_i64() {
        return Some(ms);
    }
    let text = value.as_str()?.trim_end_matches('Z').replace(' ', "T") + "Z";
    let time: jiff::Timestamp = text.parse().ok()?;
    Some(time.as_millisecond())
}

fn json(record: &Received) -> Value {
    let value = record.value.as_deref().unwrap_or_default();
    serde_json::from_slice(value).unwrap_or_else(|e| panic!("{e}: {}", shown(record)))
}

/// Its event's number.
pub fn event_id(record: &Received) -> String {
    json(record)["event_id"].as_str().unwrap_or("").to_owned()
}

fn shown(record: &Received) -> String {
    let value = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default());
    format!("{}:{} {value}", record.partition, record.offset)
}

fn report(what: &str, places: impl Iterator<Item = String>) -> Result<(), String> {
    let places: Vec<String> = places.collect();
    if places.is_empty() {
        return Ok(());
    }
    let first = places[..places.len().min(SHOWN)].join("; ");
    Err(format!("{} times {what}, first: {first}", places.len()))
}

fn set_rules(job: &mut Job, kind: Kind, rules: &Rules) {
    let ms = |ms: i64| format!("{ms}ms");
    job.set("pipeline.watermark_delay", ms(rules.delay_ms));
    job.set("pipeline.join.after", ms(rules.after_ms));
    let before = rules.before_ms.map_or("unlimited".to_owned(), ms);
    job.set("pipeline.join.before", before);
    if kind == Kind::Table {
        job.set("pipeline.join.retention_accepted", true);
    }
    if !rules.keeps_unmatched {
        job.set("pipeline.join.type", "inner");
    }
    if kind == Kind::Eager {
        job.set("pipeline.join.emit", "eager");
    }
}
