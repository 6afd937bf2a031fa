//! Sides that say nothing, and tables whose profiles end.

use sandbox::topic::{self, Record};
use sandbox::wait;

use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

const HOUR_MS: i64 = 3_600_000;

fn job(name: &str) -> Job {
    let mut job = Job::join(name);
    job.set("pipeline.idle_timeout", "300ms");
    job.create_join_topics(2);
    job
}

/// Events of ten users, a second apart.
fn happen(job: &Job, numbers: std::ops::Range<i64>) {
    let records = numbers.map(|number| {
        let time_ms = EVENT_TIME_MS + number * 1_000;
        let user = number % 10;
        let text = format!(r#"{{"event_id":"e{number}","user_id":{user},"timestamp":{time_ms}}}"#);
        let partition = i32::try_from(user % 2).expect("small");
        Record::new(text)
            .key(user.to_string())
            .partition(partition)
            .timestamp_ms(time_ms)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

fn profile(job: &Job, user: i64, name: &str, time_ms: i64) {
    let text = format!(r#"{{"user_id":{user},"email":"{name}","updated_at":{time_ms}}}"#);
    let partition = i32::try_from(user % 2).expect("small");
    let record = Record::new(text)
        .key(user.to_string())
        .partition(partition)
        .timestamp_ms(time_ms);
    topic::produce(job.bootstrap(), job.right_topic(), [record]).expect("a record");
}

/// The mails of the joined events, an empty one for none.
fn mails(job: &Job) -> Vec<String> {
    let joined = job.joined();
    let mail = |record: &topic::Received| {
        let value = record.value.as_deref().expect("a value");
        let value: serde_json::Value = serde_json::from_slice(value).expect("JSON");
        value["user_email"].as_str().unwrap_or_default().to_owned()
    };
    joined.iter().map(mail).collect()
}

#[test]
fn events_are_sent_though_the_other_side_never_spoke() {
    let job = job("never-spoke");
    happen(&job, 0..100);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_joined(100, &daemon);
    happen(&job, 100..120);
    job.wait_for_joined(120, &daemon);
    daemon.stop();
    assert_eq!(mails(&job), vec![""; 120]);
}

#[test]
fn events_are_sent_though_the_other_side_spoke_an_hour_before() {
    let job = job("an-hour-before");
    for user in 0..10 {
        profile(&job, user, "old", EVENT_TIME_MS - HOUR_MS);
    }
    happen(&job, 0..100);
    let daemon = job.start("daemon", &[], "");
    job.wait_for_joined(100, &daemon);
    // It speaks again, of now.
    profile(&job, 1, "new", EVENT_TIME_MS + 110_000);
    happen(&job, 110..130);
    job.wait_for_joined(120, &daemon);
    daemon.stop();
    let mails = mails(&job);
    let is_met = |mail: &&String| mail.as_str() == "new";
    assert_eq!(mails.iter().filter(is_met).count(), 2, "{mails:?}");
    assert_eq!(mails.iter().filter(|mail| *mail == "old").count(), 0);
}

#[test]
fn a_table_keeps_its_profiles_for_ever_and_a_tombstone_ends_one() {
    let mut job = job("table");
    job.set("pipeline.join.before", "unlimited");
    job.set("pipeline.join.retention_accepted", true);
    job.set("pipeline.join.after", "0s");
    // Long ago, then one for each minute.
    for (minute, name) in [(-60_000, "first"), (1, "second"), (5, "third")] {
        profile(&job, 3, name, EVENT_TIME_MS + minute * 60_000);
    }
    let ends = Record::tombstone("3")
        .partition(1)
        .timestamp_ms(EVENT_TIME_MS + 10 * 60_000 + 500);
    topic::produce(job.bootstrap(), job.right_topic(), [ends]).expect("a tombstone");
    profile(&job, 3, "back", EVENT_TIME_MS + 20 * 60_000);
    let minute = |minute: i64| (minute * 60 + 3)..(minute * 60 + 4);
    for at in [0, 2, 6, 9, 12, 15, 25] {
        happen(&job, minute(at));
    }
    job.close_join();
    let expected = ["first", "second", "third", "third", "", "", "back"];
    assert_eq!(mails(&job), expected);
}

#[test]
fn events_are_sent_though_all_that_a_table_says_is_that_profiles_have_ended() {
    let mut job = job("only-tombstones");
    job.set("pipeline.idle_timeout", "2s");
    job.set("pipeline.join.before", "unlimited");
    job.set("pipeline.join.retention_accepted", true);
    profile(&job, 3, "old", EVENT_TIME_MS - HOUR_MS);
    profile(&job, 4, "old", EVENT_TIME_MS - HOUR_MS);
    happen(&job, 0..50);
    let ends = |number: u32| {
        let time_ms = EVENT_TIME_MS - HOUR_MS / 2;
        let both = [0, 1].map(|partition| {
            let user = 100 + 2 * number + partition;
            Record::tombstone(user.to_string())
                .partition(i32::try_from(partition).expect("small"))
                .timestamp_ms(time_ms)
        });
        topic::produce(job.bootstrap(), job.right_topic(), both).expect("tombstones");
    };
    let daemon = job.start("daemon", &[], "");
    let has_ended = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Seldom enough for its end to be reached, and sooner than a silence lasts.
        let speaking = scope.spawn(|| {
            for number in 0..400 {
                if has_ended.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                ends(number);
                std::thread::sleep(std::time::Duration::from_millis(120));
            }
        });
        job.wait_for_joined(50, &daemon);
        has_ended.store(true, std::sync::atomic::Ordering::Relaxed);
        speaking.join().expect("it speaks");
    });
    daemon.stop();
    let old = mails(&job).iter().filter(|mail| *mail == "old").count();
    assert_eq!(old, 10);
}

#[test]
fn start_offset_fail_halts_the_very_first_start_alone() {
    let mut job = job("fail");
    happen(&job, 0..20);
    job.set("pipeline.start_offset", "fail");
    let advice = ["start_offset", "earliest", job.group.as_str()];
    job.assert_halts("fail", "no_offset", &advice);
    job.set("pipeline.start_offset", "earliest");
    job.close_join();
    job.set("pipeline.start_offset", "fail");
    happen(&job, 20..30);
    job.close_join();
    assert_eq!(job.joined().len(), 30);
}

#[test]
fn a_side_that_is_created_again_halts_before_its_events_are_sent() {
    let mut job = job("again");
    job.set("pipeline.consumers", 1);
    happen(&job, 0..20);
    // Nobody asks for the topic's id but who has events to send.
    let daemon = job.start("daemon", &[], "topics_asked_on_demand=return");
    job.wait_for_joined(20, &daemon);
    // What it reads next is of the new topic, at an offset that this has too.
    daemon.process.pause();
    topic::delete(job.bootstrap(), &job.topic).expect("deleted");
    job.create_topic(2);
    happen(&job, 100..130);
    daemon.process.resume();
    let status = daemon.process.wait(PATIENCE);
    let status = status.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert_eq!(status.code(), Some(4), "{}", daemon.log());
    for words in ["reason=\"topic_changed\"", &job.topic] {
        assert!(daemon.log().contains(words), "{words}: {}", daemon.log());
    }
    assert_eq!(job.joined().len(), 20);
}

#[test]
fn a_join_needs_no_clickhouse_to_be_ready() {
    let mut job = Job::join("no-table");
    job.set("clickhouse.url", "http://127.0.0.1:9");
    job.create_join_topics(1);
    let daemon = job.start("daemon", &[], "");
    let is_ready = || (daemon.get("/readyz")?.0 == 200).then_some(());
    wait::until("it is ready", PATIENCE, is_ready)
        .unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    daemon.stop();
}
