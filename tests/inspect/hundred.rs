//! A hundred rows removed by hand, a hundred that are there twice, a hundred altered: an audit names each of them and
//! no other. Joined records are in [`super::retention`].

use std::collections::BTreeSet;

use sandbox::topic::{self, Record};
use serde_json::Value;

use super::audit::{replica, row};
use super::json;
use crate::support::{EVENT_TIME_MS, Job};

const ROWS: u32 = 1_000;
const EACH: u32 = 100;

/// Numbers of rows all over the log, none of which is in another hundred.
fn hundred(which: u32) -> BTreeSet<u32> {
    // It has no factor in common with the number of rows.
    let scattered = |number: u32| number * 37 % ROWS;
    (which * EACH..(which + 1) * EACH).map(scattered).collect()
}

fn list(numbers: &BTreeSet<u32>) -> String {
    let texts: Vec<String> = numbers.iter().map(u32::to_string).collect();
    texts.join(", ")
}

/// What a list of an audit says, entry by entry.
#[track_caller]
fn named(found: &Value, list: &str, number: impl Fn(&Value) -> u32) -> BTreeSet<u32> {
    let entries = found[list].as_array().expect("a list");
    let numbers: BTreeSet<u32> = entries.iter().map(number).collect();
    assert_eq!(numbers.len(), entries.len(), "{list}: {found}");
    assert_eq!(found["counts"][list], numbers.len(), "{list}");
    numbers
}

fn as_number(value: &Value) -> u32 {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.parse().expect("a number")
}

/// Removes, doubles and alters rows of a table that has a row for each record, and audits it.
fn assert_hundreds_of_records(job: &Job, table: &str, offset: &str, alter: &str) {
    let pipeline = job.text("pipeline.name").to_owned();
    let audit = ["audit", "--pipeline", &*pipeline, "--values"];
    let (code, clean) = json(job, &audit);
    assert_eq!(
        (code, &clean["counts"]["rows"]),
        (0, &ROWS.into()),
        "{clean}"
    );
    let [removed, doubled, altered] = [0, 1, 2].map(hundred);
    job.query(&format!(
        "DELETE FROM {{db}}.{table} WHERE {offset} IN ({})",
        list(&removed)
    ));
    job.query(&format!(
        "INSERT INTO {{db}}.{table} SELECT * FROM {{db}}.{table} WHERE {offset} IN ({})",
        list(&doubled)
    ));
    job.query(&format!(
        "ALTER TABLE {{db}}.{table} UPDATE {alter} WHERE {offset} IN ({}) SETTINGS mutations_sync = 1",
        list(&altered)
    ));
    let (code, found) = json(job, &audit);
    assert_eq!(code, 1, "{found}");
    let offset_of = |entry: &Value| as_number(&entry["offset"]);
    assert_eq!(named(&found, "lost", offset_of), removed);
    assert_eq!(named(&found, "doubled", offset_of), doubled);
    assert_eq!(named(&found, "altered", offset_of), altered);
}

#[test]
fn of_events() {
    let job = Job::new("hundred");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..ROWS);
    job.run_to_end();
    assert_hundreds_of_records(&job, "clickstream_events", "_offset", "country = 'XX'");
}

#[test]
fn of_raw_records() {
    let job = Job::raw("hundred-raw");
    job.create_topic(1);
    job.produce_events(0, 0..ROWS);
    job.run_to_end();
    let alter = "message_value = concat(message_value, ' ')";
    assert_hundreds_of_records(&job, "bronze_events", "offset", alter);
}

#[test]
fn of_a_replica() {
    let (job, topic) = replica("hundred-cdc");
    let changes = ["a", "b"]
        .into_iter()
        .flat_map(|v| (0..ROWS).map(move |id| row(id, v)));
    topic::produce(job.bootstrap(), &topic, changes).expect("records");
    job.run_to_end();
    let audit = ["audit", "--pipeline", "replica", "--values"];
    let (code, clean) = json(&job, &audit);
    assert_eq!(
        (code, &clean["counts"]["rows"]),
        (0, &ROWS.into()),
        "{clean}"
    );
    let [missing, stale, altered] = [0, 1, 2].map(hundred);
    let extra: BTreeSet<u32> = (ROWS..ROWS + EACH).collect();
    let gone: BTreeSet<u32> = missing.union(&stale).copied().collect();
    job.query(&format!(
        "DELETE FROM {{db}}.t WHERE id IN ({})",
        list(&gone)
    ));
    let insert = |ids: &BTreeSet<u32>, v: &str| {
        let rows: Vec<String> = ids
            .iter()
            .map(|id| format!("({id}, '{v}', 2, 0)"))
            .collect();
        job.query(&format!(
            "INSERT INTO {{db}}.t (id, v, _version, _deleted) VALUES {}",
            rows.join(", ")
        ));
    };
    insert(&stale, "a");
    insert(&extra, "x");
    job.query(&format!(
        "ALTER TABLE {{db}}.t UPDATE v = 'c' WHERE id IN ({}) SETTINGS mutations_sync = 1",
        list(&altered)
    ));
    let (code, found) = json(&job, &audit);
    assert_eq!(code, 1, "{found}");
    let id_of = |entry: &Value| as_number(&entry["key"]["id"]);
    assert_eq!(named(&found, "missing", id_of), missing);
    assert_eq!(named(&found, "stale", id_of), stale);
    assert_eq!(named(&found, "extra", id_of), extra);
    assert_eq!(named(&found, "altered", id_of), altered);
}

#[test]
fn of_windows() {
    let job = Job::aggregation("hundred-windows", "sales");
    job.apply_schema();
    job.create_topic(1);
    // One a minute, and what closes the last of them.
    let sale = |minute: u32| {
        let time_ms = EVENT_TIME_MS + i64::from(minute) * 60_000;
        let value = format!(
            r#"{{"timestamp":{time_ms},"category":"toys","amount":"1.25","customer_id":1,"product_id":2}}"#
        );
        Record::new(value).timestamp_ms(time_ms).partition(0)
    };
    topic::produce(job.bootstrap(), &job.topic, (0..ROWS + 10).map(sale)).expect("records");
    job.run_to_end();
    let audit = ["audit", "--pipeline", "sales"];
    let (code, clean) = json(&job, &audit);
    let rows = clean["counts"]["rows"].as_u64().expect("a number");
    assert!(code == 0 && rows >= u64::from(ROWS), "{clean}");
    let [missing, differs] = [0, 1].map(hundred);
    let begin = EVENT_TIME_MS - EVENT_TIME_MS.rem_euclid(60_000);
    let number = format!("intDiv(toUnixTimestamp64Milli(window_start) - {begin}, 60000)");
    let table = "{db}.sales_aggregates_1min";
    job.query(&format!(
        "DELETE FROM {table} WHERE {number} IN ({})",
        list(&missing)
    ));
    job.query(&format!(
        "ALTER TABLE {table} UPDATE total_sales = total_sales + 1 WHERE {number} IN ({}) \
         SETTINGS mutations_sync = 1",
        list(&differs)
    ));
    let (code, found) = json(&job, &audit);
    assert_eq!(code, 1, "{found}");
    let minutes = |list: &str| {
        let entries = found[list].as_array().expect("a list").iter();
        let starts: Vec<&str> = entries
            .map(|entry| entry["window_start"].as_str().expect("a time"))
            .collect();
        let starts = format!("['{}']", starts.join("', '"));
        let ms = "toUnixTimestamp64Milli(parseDateTime64BestEffort(start, 3, 'UTC'))";
        let minutes = job.query(&format!(
            "SELECT intDiv({ms} - {begin}, 60000) FROM (SELECT arrayJoin({starts}) AS start)"
        ));
        let minutes = minutes
            .lines()
            .map(|minute| minute.parse().expect("a number"));
        minutes.collect::<BTreeSet<u32>>()
    };
    assert_eq!(minutes("missing"), missing);
    assert_eq!(minutes("differs"), differs);
    assert_eq!(found["counts"]["missing"], EACH);
    assert_eq!(found["counts"]["differs"], EACH);
}
