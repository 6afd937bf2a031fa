//! The other examples: log lines and readings of devices.

use std::collections::BTreeMap;

use sandbox::generate::{device_readings, log_lines};
use sandbox::topic;

use crate::support::{EVENT_TIME_MS, Job};

#[test]
fn log_lines_are_rows_with_levels_and_errors_by_the_minute() {
    let job = Job::aggregation_of("examples/logs.toml", "logs", "logs");
    job.apply_schema();
    job.create_topic(2);
    let lines = log_lines(7, 400, EVENT_TIME_MS, 500);
    topic::produce(job.bootstrap(), &job.topic, lines).expect("lines");
    let (code, log) = job.run_to_code("logs", &["--until", "latest"]);
    assert_eq!(code, 0, "{log}");
    let records = topic::read_all(job.bootstrap(), &job.topic).expect("lines");
    let mut minutes: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    let mut strange = 0;
    for record in records {
        let line = String::from_utf8(record.value.expect("a value")).expect("a text");
        let mut words = line.split(' ');
        let (time, level) = (words.next().unwrap_or_default(), words.next());
        let (Some(level), Some(service)) = (level.filter(|_| !time.is_empty()), words.next())
        else {
            strange += 1;
            continue;
        };
        let of = minutes.entry((time[..16].replace('T', " "), service.to_owned()));
        let (lines, errors) = of.or_default();
        *lines += 1;
        *errors += u64::from(level == "ERROR");
    }
    let expected = minutes.iter().map(|((minute, service), (lines, errors))| {
        format!("{minute}:00\t{service}\t{lines}\t{errors}")
    });
    let rows = job.query(
        "SELECT minute, service, lines, errors FROM {db}.log_errors_1min ORDER BY minute, toString(service)",
    );
    assert_eq!(
        rows.lines().collect::<Vec<_>>(),
        expected.collect::<Vec<_>>()
    );
    let letters = job.dead_letters().expect("dead letters");
    assert_eq!((letters.len(), strange), (8, 8));
    let other = "SELECT countIf(level = 'WARN' AND has(quality_failed, 'level_known')), countIf(level = 'WARN'), \
                 countIf(message LIKE '%  %'), uniqExact(level) FROM {db}.log_lines";
    let counts: Vec<u64> = job
        .query(other)
        .split('\t')
        .map(|count| count.parse().expect("a number"))
        .collect();
    assert!(counts[0] == counts[1] && counts[0] > 0, "{counts:?}");
    assert_eq!(counts[2..], [0, 4]);
}

#[test]
fn readings_are_rows_once_and_windows_of_a_device_without_what_no_device_measures() {
    let readings = device_readings(7, 300, EVENT_TIME_MS, 1_000);
    let produced = readings.len();
    let produce = |job: &Job| {
        job.apply_schema();
        job.create_topic(2);
        topic::produce(job.bootstrap(), &job.topic, readings.clone()).expect("readings");
    };
    let rows = Job::aggregation_of("examples/iot.toml", "readings", "readings");
    produce(&rows);
    let (code, log) = rows.run_to_code("readings", &["--until", "latest"]);
    assert_eq!((code, produced), (0, 330), "{log}");
    let counts = "SELECT count(), uniqExact(reading_id), countIf(quality_passed = 0), \
                  countIf(temperature_band = '>=60'), countIf(has(quality_failed, 'battery_charged')) = \
                  countIf(battery < 20) FROM {db}.device_readings";
    assert_eq!(rows.query(counts), "300\t300\t10\t10\t1");
    let last = "SELECT countIf(l.last_temperature != r.temperature), count() FROM {db}.device_last AS l \
                INNER JOIN {db}.device_readings AS r ON r.device_id = l.device_id \
                AND r.measured_at = l.last_measured_at";
    assert_eq!(rows.query(last), "0\t7");

    let windows = Job::aggregation_of("examples/iot.toml", "minutes", "device_minutes");
    produce(&windows);
    let (code, log) = windows.run_to_code("minutes", &["--until", "latest", "--close"]);
    assert_eq!(code, 0, "{log}");
    // The same of the rows, without what a rule has flagged.
    let minutes = |of: &str| {
        format!("SELECT toStartOfMinute(t), d, n, low, high, last FROM ({of}) ORDER BY t, d")
    };
    let of_rows = minutes(
        "SELECT toStartOfMinute(measured_at) AS t, device_id AS d, count() AS n, min(temperature) AS low, \
         max(temperature) AS high, argMax(temperature, measured_at) AS last FROM {db}.device_readings \
         WHERE quality_passed = 1 GROUP BY t, d",
    );
    let of_windows = minutes(
        "SELECT window_start AS t, device_id AS d, readings AS n, temperature_min AS low, temperature_max AS high, \
         temperature_last AS last FROM {db}.device_minutes_current",
    );
    let expected = rows.query(&of_rows);
    assert_eq!(windows.query(&of_windows), expected);
    assert!(expected.lines().count() > 30, "{expected}");
}
