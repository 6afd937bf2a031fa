//! Records with what must become of them, and the check that it did.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::{topic, wait};

use crate::support::{EVENT_TIME_MS, Job, PATIENCE};

/// Events that are sent behind the hostile ones.
const ORDINARY: u32 = 5;

/// One record.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) record: topic::Record,
    pub(crate) expected: Expected,
}

/// What becomes of it.
pub(crate) enum Expected {
    /// A row with these texts in these columns.
    Row(Vec<(&'static str, Vec<u8>)>),
    /// A dead letter for one of these reasons.
    DeadLetter(Vec<&'static str>),
}

impl Case {
    /// A record with this value, at the time of the events.
    pub(crate) fn new(
        name: impl Into<String>,
        value: impl Into<Vec<u8>>,
        expected: Expected,
    ) -> Case {
        let record = topic::Record::new(value).timestamp_ms(EVENT_TIME_MS);
        Case {
            name: name.into(),
            record,
            expected,
        }
    }
}

/// A dead letter for this reason.
pub(crate) fn dead(reason: &'static str) -> Expected {
    Expected::DeadLetter(vec![reason])
}

/// A row with this text in this column.
pub(crate) fn row(column: &'static str, text: impl Into<Vec<u8>>) -> Expected {
    Expected::Row(vec![(column, text.into())])
}

/// A complete event with more members; `members` begins with a comma.
pub(crate) fn event(id: &str, members: &str) -> String {
    format!(
        r#"{{"event_id":"{id}","event_type":"click","session_id":"{id}","timestamp":{EVENT_TIME_MS}{members}}}"#
    )
}

/// Sends the records and ordinary events behind them through one daemon, and holds rows, dead
/// letters and committed offset against what must be.
pub(crate) fn check(name: &str, cases: &[Case]) {
    let job = Job::new(name);
    job.apply_schema();
    // The broker refuses times far ahead of its own unless told otherwise.
    let settings = [
        ("retention.ms", "-1"),
        ("max.message.bytes", "41943040"),
        ("message.timestamp.after.max.ms", "9223372036854775807"),
    ];
    topic::create(job.bootstrap(), &job.topic, 1, &settings).expect("a topic");
    let daemon = job.start("lane", &[], "");
    let records = cases.iter().map(|case| case.record.clone().partition(0));
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.produce_events(0, 0..ORDINARY);
    let rows = cases
        .iter()
        .filter(|case| matches!(case.expected, Expected::Row(_)))
        .count();
    let end = cases.len() as i64 + i64::from(ORDINARY);
    let is_through = || {
        job.committed()
            .get(&0)
            .is_some_and(|c| c.offset == end)
            .then_some(())
    };
    wait::until("the lane is through", PATIENCE, is_through).unwrap_or_else(|error| {
        let pages = [daemon.get("/api/v1/streaming"), daemon.get("/metrics")];
        panic!(
            "{error}: {:?}\n{pages:#?}\n{}",
            job.committed(),
            daemon.log()
        )
    });
    daemon.stop();
    let log = daemon.log();
    assert!(!log.contains("panicked"), "{log}");
    check_dead_letters(&job, cases);
    check_rows(&job, cases);
    let expected = rows + ORDINARY as usize;
    assert_eq!(job.rows_and_offsets(), (expected, expected));
}

fn check_dead_letters(job: &Job, cases: &[Case]) {
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    let offset = |letter: &topic::Received| -> i64 {
        letter
            .header("streamweir-offset")
            .and_then(|o| o.parse().ok())
            .expect("an offset")
    };
    let mut unread: BTreeSet<i64> = letters.iter().map(offset).collect();
    for (case, at) in cases.iter().zip(0..) {
        let Expected::DeadLetter(reasons) = &case.expected else {
            continue;
        };
        let letter = letters.iter().find(|letter| offset(letter) == at);
        let letter = letter.unwrap_or_else(|| panic!("{}: no dead letter", case.name));
        let reason = letter.header("streamweir-reason").unwrap_or_default();
        let detail = letter.header("streamweir-detail");
        assert!(
            reasons.contains(&reason.as_str()),
            "{}: {reason}, {detail:?}",
            case.name
        );
        assert!(letter.key == case.record.key, "{}: another key", case.name);
        assert!(
            letter.value == case.record.value,
            "{}: another value",
            case.name
        );
        assert!(
            letter.headers.starts_with(&case.record.headers),
            "{}: {:?}",
            case.name,
            letter.headers
        );
        let told = letter
            .header("streamweir-timestamp")
            .and_then(|ms| ms.parse().ok());
        let timestamp_ms = told.unwrap_or(letter.timestamp_ms);
        assert_eq!(
            Some(timestamp_ms),
            case.record.timestamp_ms,
            "{}",
            case.name
        );
        unread.remove(&at);
    }
    let name = |offset: &i64| cases.get(*offset as usize).map(|case| &case.name);
    let unexpected: Vec<_> = unread.iter().map(name).collect();
    assert!(unexpected.is_empty(), "dead letters of {unexpected:?}");
}

fn check_rows(job: &Job, cases: &[Case]) {
    let mut expected: BTreeMap<&str, BTreeMap<i64, &[u8]>> = BTreeMap::new();
    for (case, offset) in cases.iter().zip(0..) {
        if let Expected::Row(texts) = &case.expected {
            for (column, text) in texts {
                expected.entry(column).or_default().insert(offset, text);
            }
        }
    }
    for (column, texts) in expected {
        // In hex, since no byte is barred from a text.
        let sql = format!("SELECT _offset, hex(toString({column})) FROM {{db}}.clickstream_events");
        let answer = job.query(&sql);
        let found: BTreeMap<i64, &str> = answer
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .map(|(offset, hex)| (offset.parse().expect("an offset"), hex))
            .collect();
        for (offset, text) in texts {
            let case = &cases[offset as usize].name;
            let found = found
                .get(&offset)
                .unwrap_or_else(|| panic!("{case}: no row"));
            let is_same = found.eq_ignore_ascii_case(&hex(text));
            assert!(
                is_same,
                "{case}: {column} is {found:.200} instead of {:.200}",
                hex(text)
            );
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(out, "{byte:02x}").expect("writing to a string succeeds");
    }
    out
}
