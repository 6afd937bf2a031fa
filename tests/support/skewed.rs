//! Two sides of very unequal length, and whether they are joined within the memory.

use std::collections::BTreeMap;

use sandbox::topic::{self, Record};

use super::join_model::{Rules, Side, Spoken};
use super::joins::{event_id, instant_ms};
use super::{EVENT_TIME_MS, Job};

const MEMORY_MAX_MIB: u64 = 64;
/// How much event time both sides cover.
const HOURS_10_MS: i64 = 36_000_000;

/// One partition: the sides hold each other up with nothing beside them.
pub struct Skewed {
    pub job: Job,
    left: Vec<Spoken>,
    right: Vec<Spoken>,
}

impl Skewed {
    pub fn new(name: &str) -> Skewed {
        let mut job = Job::join(name);
        job.set("service.memory_max", format!("{MEMORY_MAX_MIB}MiB"));
        job.set("pipeline.batch.bytes_max", "8MiB");
        job.create_join_topics(1);
        Skewed {
            job,
            left: vec![],
            right: vec![],
        }
    }

    /// Events that lie so in time.
    pub fn happen(&mut self, events: impl Iterator<Item = Spoken>) {
        let first = self.left.len();
        self.left.extend(events);
        let records = (first..).zip(&self.left[first..]).map(|(number, event)| {
            let (user, time_ms) = (event.user.expect("a user"), event.time_ms);
            let text = format!(
                r#"{{"event_id":"{number}","user_id":{user},"timestamp":{time_ms},"page_url":"https://shop.example.com/{number}"}}"#
            );
            record(text, user, time_ms)
        });
        topic::produce(self.job.bootstrap(), &self.job.topic, records).expect("records");
    }

    /// The mail is the record's offset.
    pub fn update(&mut self, profiles: impl Iterator<Item = Spoken>) {
        let first = self.right.len();
        self.right.extend(profiles);
        let records = (first..).zip(&self.right[first..]).map(|(number, profile)| {
            let (user, time_ms) = (profile.user.expect("a user"), profile.time_ms);
            let text = format!(
                r#"{{"user_id":{user},"email":"{number}","name":"User of the number {user}","segment":"pro","country":"DE","updated_at":{time_ms}}}"#
            );
            record(text, user, time_ms)
        });
        topic::produce(self.job.bootstrap(), self.job.right_topic(), records).expect("records");
    }

    /// Runs until everything but the last minutes is joined, within the memory, and then closes; the
    /// largest that the daemon ever was, in MiB.
    pub fn assert_joined_within_memory(&self) -> u64 {
        let daemon = self.job.start("daemon", &[], "");
        // What lies within the last ten minutes waits for more.
        let last = self.left.iter().map(|e| e.time_ms).max().expect("events");
        let decided = self.left.iter().filter(|e| e.time_ms < last - 600_000);
        self.job.wait_for_joined(decided.count(), &daemon);
        let peak = daemon.peak_mib_as_released();
        println!("{}: peak {peak} MiB of {MEMORY_MAX_MIB}", self.job.prefix);
        assert!(peak <= MEMORY_MAX_MIB, "{peak} MiB at its peak");
        daemon.stop();
        self.job.close_join();
        self.assert_joined();
        peak
    }

    fn assert_joined(&self) {
        let rules = Rules {
            keeps_unmatched: true,
            before_ms: Some(300_000),
            after_ms: 300_000,
            delay_ms: 10_000,
        };
        let side = |records: &[Spoken]| {
            let records = (0i64..).zip(records.iter().cloned());
            Side::from([(0, records.collect())])
        };
        let answers = rules.answers(&side(&self.left), &side(&self.right));
        let expected: BTreeMap<String, Option<String>> = answers
            .iter()
            .map(|((_, offset), answer)| {
                let profile = answer.profile.map(|(_, profile)| profile.to_string());
                (offset.to_string(), profile)
            })
            .collect();
        let joined = self.job.joined();
        assert_eq!(joined.len(), self.left.len());
        let mut found = BTreeMap::new();
        let mut last = i64::MIN;
        for record in &joined {
            let value = record.value.as_deref().expect("a value");
            let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
            let mail = value["user_email"].as_str().map(str::to_owned);
            found.insert(event_id(record), mail);
            let time = instant_ms(&value["timestamp"]).expect("a time");
            assert!(time >= last, "in the order of their times: {value}");
            last = time;
        }
        let wrong: Vec<_> = expected
            .iter()
            .filter(|(id, profile)| found.get(*id) != Some(profile))
            .take(5)
            .collect();
        assert!(wrong.is_empty(), "expected {wrong:?}");
    }
}

fn record(text: String, user: u64, time_ms: i64) -> Record {
    Record::new(text)
        .key(user.to_string())
        .partition(0)
        .timestamp_ms(time_ms)
}

/// So many records of so many users, spread over ten hours.
pub fn spread(count: i64, users: u64) -> impl Iterator<Item = Spoken> {
    (0..count).map(move |number| Spoken {
        time_ms: EVENT_TIME_MS + number * HOURS_10_MS / count,
        user: Some(number.unsigned_abs() * 7 % users),
        ends_profile: false,
    })
}
