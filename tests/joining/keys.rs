//! Topics whose keys are not what they are joined by, and tables that forget.

use std::collections::BTreeMap;

use sandbox::topic::{self, Record};

use crate::support::{EVENT_TIME_MS, Job};

const PARTITIONS: i32 = 4;
const USERS: i64 = 20;

fn event(number: i64, key: Option<String>, partition: i32) -> Record {
    let time_ms = EVENT_TIME_MS + number;
    let user = number % USERS;
    let text = format!(r#"{{"event_id":"e{number}","user_id":{user},"timestamp":{time_ms}}}"#);
    let record = Record::new(text).partition(partition).timestamp_ms(time_ms);
    match key {
        Some(key) => record.key(key),
        None => record,
    }
}

fn profile(user: i64, key: &str, partition: i32, time_ms: i64) -> Record {
    let text = format!(r#"{{"user_id":{user},"email":"m{user}","updated_at":{time_ms}}}"#);
    Record::new(text)
        .key(key.to_owned())
        .partition(partition)
        .timestamp_ms(EVENT_TIME_MS)
}

/// The partition of a user's number.
fn place(user: i64) -> i32 {
    i32::try_from(user).expect("few") % PARTITIONS
}

/// Twenty profiles, keyed and placed by their users' numbers.
fn job(name: &str) -> Job {
    let job = Job::join(name);
    job.create_join_topics(PARTITIONS);
    let profiles =
        (0..USERS).map(|user| profile(user, &user.to_string(), place(user), EVENT_TIME_MS - 1000));
    topic::produce(job.bootstrap(), job.right_topic(), profiles).expect("records");
    job
}

fn happen(job: &Job, events: impl Iterator<Item = Record>) {
    topic::produce(job.bootstrap(), &job.topic, events).expect("records");
}

/// The mail of each joined event; each is there once.
fn mails(job: &Job) -> BTreeMap<String, Option<String>> {
    let mut mails = BTreeMap::new();
    for record in job.joined() {
        let value = record.value.as_deref().expect("a value");
        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        let before = mails.insert(text("event_id").expect("an id"), text("user_email"));
        assert_eq!(before, None, "{value}");
    }
    mails
}

fn assert_all_matched(job: &Job, count: usize) {
    let mails = mails(job);
    assert_eq!(mails.len(), count);
    for (event, mail) in &mails {
        let number: i64 = event[1..].parse().expect("a number");
        assert_eq!(
            mail.as_deref(),
            Some(&*format!("m{}", number % USERS)),
            "{event}"
        );
    }
}

#[test]
fn a_topic_keyed_by_something_else_halts_at_the_first_such_record() {
    let mut job = job("other-keys");
    let good = (0..40).map(|n| event(n, Some((n % USERS).to_string()), place(n % USERS)));
    happen(&job, good);
    let by_event = |n: i64| event(n, Some(format!("event-{n}")), place(n));
    happen(&job, [by_event(41)].into_iter());
    let address = format!("{}:1:10", job.topic);
    job.assert_halts(
        "event-ids",
        "co_partitioning",
        &[&address, "`event-41`", "user_id is `1`", "keys_placed_by"],
    );
    // A partitioner that goes by the user is declared, and goes by the event.
    job.set("pipeline.join.keys_placed_by", "key_modulo");
    happen(&job, [event(63, None, 1)].into_iter());
    job.assert_halts(
        "misplaced",
        "co_partitioning",
        &[&job.topic, "belongs into partition 3"],
    );
}

#[test]
fn records_without_key_halt_unless_they_lie_where_their_field_belongs() {
    let mut job = job("no-keys");
    happen(&job, (0..40).map(|n| event(n, None, place(n % USERS))));
    job.assert_halts(
        "none",
        "co_partitioning",
        &[&format!("{}:", job.topic), "key is none"],
    );
    job.set("pipeline.join.keys_placed_by", "key_modulo");
    job.close_join();
    assert_all_matched(&job, 40);
}

#[test]
fn keys_in_two_forms_halt_with_both_records_unless_the_value_decides_the_partition() {
    let mut job = job("two-forms");
    let object = |n: i64| Some(format!("{{\"user_id\":{}}}", n % USERS));
    happen(&job, (0..40).map(|n| event(n, object(n), place(n % USERS))));
    let (left, right) = (format!("{}:", job.topic), format!("{}:", job.right_topic()));
    job.assert_halts(
        "forms",
        "co_partitioning",
        &[&left, &right, "{\"user_id\":", "keys_placed_by"],
    );
    job.set("pipeline.join.keys_placed_by", "key_modulo");
    job.close_join();
    assert_all_matched(&job, 40);
}

/// A snapshot in the order of its keys: the newest row first, one of years ago, one that was deleted
/// under a JSON key before an older row of it comes, and an array.
#[test]
fn a_table_takes_its_rows_in_any_order_and_its_tombstones_by_any_form_of_key() {
    let mut job = Job::join("any-order");
    job.create_topic(1);
    let settings = [("retention.ms", "-1"), ("cleanup.policy", "delete")];
    topic::create(job.bootstrap(), job.right_topic(), 1, &settings).expect("a topic");
    job.create_output(1);
    job.set("pipeline.join.before", "unlimited");
    let right = job.right_topic().to_owned();
    job.assert_halts(
        "deletes",
        "table_retention",
        &[&right, "cleanup.policy", "retention_accepted"],
    );

    job.set("pipeline.join.retention_accepted", true);
    let hour_ms = 3_600_000;
    let at = |hours: i64| EVENT_TIME_MS - hours * hour_ms;
    let ends = |key: &str, hours: i64| {
        Record::tombstone(key.to_owned())
            .partition(0)
            .timestamp_ms(at(hours))
    };
    let rows = [
        profile(1, "1", 0, at(0) - 1),
        profile(2, "2", 0, at(24 * 700)),
        profile(3, "\"3\"", 0, at(5)),
        ends("\"3\"", 4),
        profile(4, "{\"user_id\":4}", 0, at(5)),
        ends("{\"user_id\":4}", 2),
        profile(4, "{\"user_id\":4}", 0, at(3)),
        profile(5, "5", 0, at(2)),
        ends("5", 3),
    ];
    topic::produce(job.bootstrap(), &right, rows).expect("records");
    happen(&job, (1..6).map(|n| event(n, Some(n.to_string()), 0)));
    job.close_join();
    let mails: Vec<_> = mails(&job).into_values().collect();
    let some = |mail: &str| Some(mail.to_owned());
    assert_eq!(mails, [some("m1"), some("m2"), None, None, some("m5")]);
}
