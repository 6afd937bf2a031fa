//! What the shipped examples read: log lines, and readings of devices.

use super::Random;
use crate::topic::Record;

const LEVELS: [&str; 6] = ["DEBUG", "INFO", "INFO", "INFO", "warning", "ERROR"];
const SERVICES: [&str; 3] = ["payment", "cart", "search"];

/// One log line a record, so many milliseconds apart; every fiftieth is no line of that form.
pub fn log_lines(seed: u64, count: u64, begun_ms: i64, step_ms: i64) -> Vec<Record> {
    let mut random = Random(seed);
    let line = |number: u64| {
        let time_ms = at(begun_ms, step_ms, number);
        let level = LEVELS[pick(&mut random, LEVELS.len())];
        let service = SERVICES[pick(&mut random, SERVICES.len())];
        let time = jiff::Timestamp::from_millisecond(time_ms).unwrap_or_default();
        let line = match number % 50 {
            49 => format!("    at {service}.handle(line {number})"),
            _ => format!("{time:.3} {level} {service} request  {number} done"),
        };
        Record::new(line).key(service).timestamp_ms(time_ms)
    };
    (0..count).map(line).collect()
}

/// One reading a record, so many milliseconds apart. Every tenth is sent again with the next one, every thirtieth is
/// beyond what a device can measure.
pub fn device_readings(seed: u64, count: u64, begun_ms: i64, step_ms: i64) -> Vec<Record> {
    let mut random = Random(seed);
    let mut records = vec![];
    for number in 0..count {
        let time_ms = at(begun_ms, step_ms, number);
        let device = format!("d{}", pick(&mut random, 7));
        let tenths = match number % 30 {
            29 => 2_000,
            _ => pick(&mut random, 400),
        };
        let (humidity, battery) = (pick(&mut random, 101), pick(&mut random, 101));
        let reading = format!(
            r#"{{"device_id":"{device}","reading_id":{number},"temperature":{}.{},"humidity":{humidity},"battery":{battery},"measured_at":{time_ms}}}"#,
            tenths / 10,
            tenths % 10
        );
        let record = Record::new(reading).key(device).timestamp_ms(time_ms);
        if number % 10 == 9 {
            records.push(record.clone());
        }
        records.push(record);
    }
    records
}

fn at(begun_ms: i64, step_ms: i64, number: u64) -> i64 {
    begun_ms + step_ms * i64::try_from(number).unwrap_or_default()
}

fn pick(random: &mut Random, below: usize) -> usize {
    usize::try_from(random.next() % below as u64).unwrap_or_default()
}
