//! Answers that come again for the same rows while the server takes others.

use std::collections::BTreeSet;

use sandbox::fault::{Fault, Matcher, Proxy, SeenRequest};
use sandbox::{shared, topic};

use crate::support::{EVENT_TIME_MS, Job};

/// A row that a column computed of others, or a constraint, cannot take.
const POISONS: [&str; 9] = [
    r#""items.sku":["a","b"],"items.qty":[1]"#,
    r#""ip_text":"n/a""#,
    r#""ip6_text":"n/a""#,
    r#""port_text":"""#,
    r#""port_text":"many""#,
    r#""uuid_text":"n/a""#,
    r#""day_text":"never""#,
    r#""share":0"#,
    r#""key_text":"short""#,
];

/// A table of its own whose computed columns throw: each in its way.
fn computing(name: &str) -> Job {
    let mut job = Job::new(name);
    job.query("CREATE DATABASE IF NOT EXISTS {db} ENGINE = Atomic");
    job.query(
        "CREATE TABLE {db}.clickstream_events (id UInt32, ts DateTime64(3, 'UTC'), \
         `items.sku` Array(String), `items.qty` Array(UInt32), \
         ip_text String, ip IPv4 MATERIALIZED toIPv4(ip_text), \
         ip6_text String, ip6 IPv6 MATERIALIZED toIPv6(ip6_text), \
         port_text String, port UInt16 MATERIALIZED toUInt16(port_text), \
         uuid_text String, uuid UUID MATERIALIZED toUUID(uuid_text), \
         day_text String, day Date MATERIALIZED toDate(day_text), \
         share Int32, part Int32 MATERIALIZED intDiv(100, share), \
         key_text String, coded String MATERIALIZED encrypt('aes-128-ecb', 'x', key_text), \
         pad String, \
         _topic LowCardinality(String), _partition UInt32, _offset UInt64) \
         ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000",
    );
    for key in ["lookup", "session", "columns"] {
        job.unset(&format!("pipeline.{key}"));
    }
    job.unset("pipeline.clickhouse.ddl");
    job.set("pipeline.time_field", "ts");
    job.create_topic(1);
    job
}

fn row(id: usize, rest: &str) -> topic::Record {
    let good = [
        (r#""ip_text""#, r#""1.2.3.4""#),
        (r#""ip6_text""#, r#""::1""#),
        (r#""port_text""#, r#""80""#),
        (
            r#""uuid_text""#,
            r#""00000000-0000-0000-0000-000000000001""#,
        ),
        (r#""day_text""#, r#""2025-11-21""#),
        (r#""share""#, "4"),
        (r#""key_text""#, r#""0123456789abcdef""#),
    ];
    let mut members = format!(r#"{{"id":{id},"ts":"2025-11-21T10:00:00Z""#);
    for (name, value) in good.into_iter().filter(|(name, _)| !rest.contains(name)) {
        members += &format!(",{name}:{value}");
    }
    if !rest.is_empty() {
        members += &format!(",{rest}");
    }
    topic::Record::new(members + "}")
        .partition(0)
        .timestamp_ms(EVENT_TIME_MS)
}

fn rejected(job: &Job) -> BTreeSet<i64> {
    let letters = job.dead_letters().expect("dead letters");
    let offset = |letter: &topic::Received| {
        assert_eq!(
            letter.header("streamweir-reason").as_deref(),
            Some("rejected")
        );
        let offset = letter.header("streamweir-offset").expect("an offset");
        offset.parse().expect("a number")
    };
    letters.iter().map(offset).collect()
}

/// Of the rows in the table, in order.
fn offsets(job: &Job) -> Vec<i64> {
    let sql = "SELECT arraySort(groupArray(toInt64(_offset))) FROM {db}.clickstream_events";
    serde_json::from_str(&job.query(sql)).expect("a list")
}

/// Rows 0..count are in the table once, but for these.
fn assert_written(job: &Job, count: i64, but: &BTreeSet<i64>) {
    let expected: Vec<i64> = (0..count).filter(|offset| !but.contains(offset)).collect();
    assert_eq!(offsets(job), expected);
    job.assert_committed_to_end();
}

#[test]
fn rows_that_computed_columns_cannot_take_become_dead_letters_and_the_others_rows() {
    let job = computing("computed");
    let poison = |id: usize| {
        if id % 5 == 3 {
            POISONS.get(id / 5)
        } else {
            None
        }
    };
    let records = (0..60).map(|id| row(id, poison(id).unwrap_or(&"")));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    let poisoned: BTreeSet<i64> = (0..POISONS.len() as i64).map(|n| n * 5 + 3).collect();
    assert_eq!(rejected(&job), poisoned);
    assert_written(&job, 60, &poisoned);
}

#[test]
fn a_code_of_tomorrow_and_a_proxy_that_takes_nothing_large_cost_only_the_rows_they_are_about() {
    let mut job = computing("tomorrow");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let is_about_17 = |request: &SeenRequest| {
        let range = request.token_range();
        range.is_some_and(|range| range.contains(&17))
    };
    let tomorrow = Fault::exception(500, 4711, "an error of tomorrow");
    let unknown = proxy.inject(Matcher::inserts().only(is_about_17), tomorrow, usize::MAX);
    let too_large = Fault::Reject {
        status: 413,
        body: "<html><title>413</title></html>".to_owned(),
    };
    let is_large = |request: &SeenRequest| request.body_bytes > 6_000;
    let large = proxy.inject(Matcher::inserts().only(is_large), too_large, usize::MAX);
    // Digits that no compression makes much smaller; one row is too large alone.
    let pad = |id: usize, bytes: usize| {
        let mut number = id as u64 + 1;
        let mut digit = || {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            char::from(b'!' + (number >> 33) as u8 % 90)
        };
        let text: String = std::iter::repeat_with(&mut digit).take(bytes).collect();
        format!(r#""pad":{}"#, serde_json::Value::from(text))
    };
    let records = (0..60).map(|id| row(id, &pad(id, if id == 40 { 20_000 } else { 400 })));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    assert!(unknown.hits() > 0 && large.hits() > 0);
    let refused = BTreeSet::from([17, 40]);
    assert_eq!(rejected(&job), refused);
    assert_written(&job, 60, &refused);
}

#[test]
fn an_unknown_answer_to_every_row_halts_with_its_code() {
    let mut job = computing("every");
    let proxy = Proxy::start(&shared().clickhouse.url()).expect("a proxy");
    job.set("clickhouse.url", proxy.url());
    let every_row = || {
        let tomorrow = Fault::exception(500, 4711, "an error of tomorrow");
        proxy.inject(Matcher::inserts(), tomorrow, usize::MAX)
    };
    let mut all = every_row();
    let table = format!("{}.clickstream_events", job.database);
    // Many rows and few: none of them is at fault.
    for (run, ids) in [0..60, 60..63].into_iter().enumerate() {
        let records = ids.map(|id| row(id, ""));
        topic::produce(job.bootstrap(), &job.topic, records).expect("records");
        job.assert_halts(&format!("run-{run}"), "rejected", &["4711", &table]);
        assert_eq!(rejected(&job), BTreeSet::new());
        if run == 0 {
            all.stop();
            job.run_to_end();
            all = every_row();
        }
    }
    all.stop();
    job.run_to_end();
    assert_written(&job, 63, &BTreeSet::new());
}
