//! `streamweir audit`.

use sandbox::topic::{self, Record};
use serde_json::{Value, json};

use super::{json, json_lines};
use crate::support::{EVENT_TIME_MS, Job};

#[test]
fn rows_that_were_removed_or_doubled_by_hand_are_found_at_their_addresses() {
    let job = Job::new("audit");
    job.apply_schema();
    job.create_topic(2);
    job.produce_events(0, 0..300);
    job.produce_events(1, 300..400);
    job.run_to_end();
    job.produce_events(1, 400..410);
    let (code, clean) = json(&job, &["audit", "--pipeline", "clickstream"]);
    assert_eq!(code, 0, "{clean}");
    let counts = &clean["counts"];
    assert_eq!(
        json!([
            counts["records"],
            counts["rows"],
            counts["uncommitted"],
            counts["lost"]
        ]),
        json!([400, 400, 10, 0])
    );
    job.query(
        "DELETE FROM {db}.clickstream_events WHERE _partition = 0 AND _offset IN (0, 17, 18, 299)",
    );
    job.query(
        "INSERT INTO {db}.clickstream_events SELECT * FROM {db}.clickstream_events WHERE _partition = 1 \
         AND _offset IN (5, 99)",
    );
    job.query(
        "ALTER TABLE {db}.clickstream_events UPDATE country = 'XX' WHERE _partition = 1 AND _offset = 7 \
         SETTINGS mutations_sync = 1",
    );
    let (code, found) = json(&job, &["audit", "--pipeline", "clickstream", "--values"]);
    assert_eq!(code, 1);
    let altered =
        json!({ "topic": job.topic, "partition": 1, "offset": 7, "columns": ["country"] });
    assert_eq!(found["altered"], json!([altered]));
    let address = |partition: i32| {
        let topic = job.topic.clone();
        move |offset: i64| json!({ "topic": topic, "partition": partition, "offset": offset })
    };
    let lost: Vec<Value> = [0, 17, 18, 299].map(address(0)).into();
    let doubled: Vec<Value> = [5, 99].map(address(1)).into();
    assert_eq!(found["lost"], json!(lost));
    assert_eq!(found["doubled"], json!(doubled));
    assert_eq!(
        json!([found["counts"]["lost"], found["counts"]["doubled"]]),
        json!([4, 2])
    );
    let part = [
        "audit",
        "--pipeline",
        "clickstream",
        "--from",
        "18",
        "--to",
        "99",
    ];
    let (code, part) = json(&job, &part);
    assert_eq!((code, &part["lost"]), (1, &json!([address(0)(18)])));
    assert_eq!(part["counts"]["records"], json!(162));
}

/// A pipeline of the table `t (id, v)`, and its change records.
pub(super) fn replica(name: &str) -> (Job, String) {
    let mut job = Job::replication(name);
    let topic = format!("{}shop.public.t", job.prefix);
    job.topic.clone_from(&topic);
    job.set("pipeline.topics", vec![topic.clone()]);
    job.set("pipeline.dead_letter.ratio_max", 1.0);
    job.set("pipeline.create_tables", true);
    let table = toml::toml! { columns = { id = "Int64", v = "String", n = "Nullable(Int32)" } };
    let tables: toml::Table = [(topic.clone(), table.into())].into_iter().collect();
    job.set("pipeline.tables", tables);
    job.create_topic(1);
    (job, topic)
}

/// A change record as a connector writes it.
pub(super) fn change(operation: &str, id: u32, before: &str, after: &str) -> Record {
    let source = r#"{"version":"3.0","connector":"postgresql","name":"shop","ts_ms":1763719200000,"db":"shop","schema":"public","table":"t","lsn":1}"#;
    let envelope = format!(
        r#"{{"before":{before},"after":{after},"source":{source},"op":"{operation}","ts_ms":1763719200000,"transaction":null}}"#
    );
    Record::new(envelope)
        .key(format!(r#"{{"id":{id}}}"#))
        .partition(0)
}

pub(super) fn row(id: u32, v: &str) -> Record {
    let after = format!(r#"{{"id":{id},"v":"{v}","n":{id}}}"#);
    change("u", id, "null", &after)
}

#[test]
fn a_replica_is_held_against_the_newest_changes_and_its_letters_are_replayed() {
    let (job, topic) = replica("audit-cdc");
    let delete = change("d", 5, r#"{"id":5,"v":"","n":null}"#, "null");
    let too_large = change("u", 7, "null", r#"{"id":7,"v":"new","n":99999999999}"#);
    let records = (1..=40)
        .map(|id| row(id, "a"))
        .chain((1..=20).map(|id| row(id, "b")));
    topic::produce(job.bootstrap(), &topic, records.chain([delete, too_large])).expect("records");
    job.run_to_end();
    let audit = ["audit", "--pipeline", "replica", "--values"];
    let (code, clean) = json(&job, &audit);
    let counts = &clean["counts"];
    assert_eq!(code, 0, "{clean}");
    assert_eq!(
        json!([
            counts["records"],
            counts["rows"],
            counts["dead_letters"],
            counts["not_checkable"]
        ]),
        json!([62, 40, 1, 0])
    );
    // Its column takes it later: the letter's change comes under its own version.
    let letter = &json_lines(&job, &["dead-letters", "list", "--all"])[0];
    assert_eq!(
        (&letter["reason"], &letter["state"]),
        (&json!("out_of_range"), &json!("open"))
    );
    job.query("ALTER TABLE {db}.t MODIFY COLUMN n Nullable(Int64)");
    let mut job = job;
    job.config["pipeline"][0]["tables"][&topic]["columns"]["n"] = "Nullable(Int64)".into();
    let replay = ["dead-letters", "replay", "--all"];
    let done = |written: u64, already: u64| json!({ "selected": 1, "written": written, "already_written": already, "refused": {} });
    assert_eq!(json(&job, &replay), (0, done(1, 0)));
    assert_eq!(json(&job, &replay), (0, done(0, 1)));
    assert_eq!(
        job.query("SELECT v, n FROM {db}.t FINAL WHERE id = 7"),
        "new\t99999999999"
    );
    assert_eq!(
        json_lines(&job, &["dead-letters", "list", "--all"])[0]["state"],
        "written"
    );

    // Removed, set back, invented and altered by hand.
    job.query("DELETE FROM {db}.t WHERE id IN (30, 31)");
    job.query("DELETE FROM {db}.t WHERE id = 3");
    job.query("INSERT INTO {db}.t (id, v, _version, _deleted) VALUES (77, 'x', 9, 0)");
    job.query("INSERT INTO {db}.t (id, v, _version, _deleted) VALUES (3, 'a', 2, 0)");
    job.query("ALTER TABLE {db}.t UPDATE v = 'c' WHERE id = 9 SETTINGS mutations_sync = 1");
    let (code, found) = json(&job, &audit);
    assert_eq!(code, 1, "{found}");
    let ids = |kind: &str| {
        let list = found[kind].as_array().expect("a list").iter();
        let mut ids: Vec<i64> = list
            .map(|e| {
                e["key"]["id"].as_str().map_or_else(
                    || e["key"]["id"].as_i64().expect("a number"),
                    |text| text.parse().expect("a number"),
                )
            })
            .collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(ids("missing"), [30, 31], "{found}");
    assert_eq!(ids("stale"), [3], "{found}");
    assert_eq!(ids("extra"), [77], "{found}");
    assert_eq!(ids("altered"), [9], "{found}");
    assert_eq!(found["stale"][0]["offset"], json!(42));

    // Without its table nothing is compared, and the table itself is what is missing.
    job.query("DROP TABLE {db}.t");
    let (code, found) = json(&job, &audit);
    let entry = &found["missing"][0];
    assert_eq!(
        (
            code,
            &found["counts"]["missing"],
            &entry["key"],
            &entry["offset"]
        ),
        (1, &json!(1), &Value::Null, &json!(0)),
        "{found}"
    );
    assert_eq!(found["counts"]["not_checkable"], json!(62));
}

#[test]
fn final_windows_are_computed_again_from_the_log() {
    let job = Job::aggregation("audit-windows", "sales");
    job.apply_schema();
    job.create_topic(2);
    let sale = |second: i64| {
        let time_ms = EVENT_TIME_MS + second * 1_000;
        let category = ["toys", "tools"][usize::from(second % 3 == 0)];
        let value = format!(
            r#"{{"timestamp":{time_ms},"category":"{category}","amount":"{second}.25","customer_id":{},"product_id":{}}}"#,
            second % 7,
            second % 5
        );
        let partition = i32::from(second % 2 == 0);
        Record::new(value)
            .timestamp_ms(time_ms)
            .partition(partition)
    };
    topic::produce(job.bootstrap(), &job.topic, (0..1_200).map(sale)).expect("records");
    job.run_to_end();
    let audit = ["audit", "--pipeline", "sales"];
    let (code, clean) = json(&job, &audit);
    assert_eq!(code, 0, "{clean}");
    // Twenty minutes of two categories, of which the last are open.
    let rows = clean["counts"]["rows"].as_u64().expect("a number");
    assert!((30..=38).contains(&rows), "{clean}");
    let window = |minute: i64| {
        format!(
            "toDateTime64({}, 3, 'UTC')",
            EVENT_TIME_MS / 1000 + minute * 60
        )
    };
    let table = "{db}.sales_aggregates_1min";
    job.query(&format!(
        "DELETE FROM {table} WHERE category = 'toys' AND window_start = {}",
        window(2)
    ));
    job.query(&format!(
        "ALTER TABLE {table} UPDATE total_sales = total_sales + 1 WHERE category = 'tools' AND window_start \
         = {} SETTINGS mutations_sync = 1",
        window(5)
    ));
    let (code, found) = json(&job, &audit);
    let counts = &found["counts"];
    assert_eq!(
        (code, json!([counts["differs"], counts["missing"]])),
        (1, json!([1, 1])),
        "{found}"
    );
    let listed = |list: &str| {
        let entry = &found[list][0];
        let start = entry["window_start"].as_str().expect("a time").to_owned();
        (start[14..16].to_owned(), entry["group"].clone())
    };
    let expected =
        |minute: &str, category: &str| (minute.to_owned(), json!({ "category": category }));
    assert_eq!(listed("missing"), expected("02", "toys"));
    assert_eq!(listed("differs"), expected("05", "tools"));
}
