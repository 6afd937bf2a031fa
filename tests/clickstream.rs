//! Every clickstream case of the second implementation through real Kafka, ClickHouse and Redis.

use crate::support::{Job, material};
use sandbox::oracle::{self, Case, ProfileValue};
use sandbox::{shared, topic};

/// Rows, dead letters and committed offsets are what the second implementation says.
fn check(name: &str, change: impl FnOnce(&mut Job)) {
    check_and_explain(name, false, change);
}

/// Every record that is no dead letter is the row that the table has of it.
fn assert_explained(job: &Job) {
    for one in job.assert_explained(&[&job.topic]) {
        let own = &one["pipelines"][0];
        if own["outcome"] == "dead_letter" {
            continue;
        }
        assert_eq!(
            (&own["outcome"], &own["now"]),
            (&"row".into(), &"in_table".into()),
            "{one:#}"
        );
        let row = &own["row"];
        let place = ["_topic", "_partition", "_offset"].map(|name| match &row[name] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        });
        assert_eq!(one["address"], place.join(":"), "{one:#}");
    }
}

/// `explains`: `streamweir explain` agrees with the table and the dead letters of every record.
fn check_and_explain(name: &str, explains: bool, change: impl FnOnce(&mut Job)) {
    let directory = material(&format!("oracle/cases/dev/{name}"));
    let checker = material("oracle/check.py");
    let case = Case::load(&directory).expect("the case is readable");
    let mut job = Job::new(name);
    change(&mut job);
    job.apply_schema();
    case.create_topics(job.bootstrap(), &job.prefix)
        .expect("topics");
    case.load_profiles(&shared().redis.url(), &job.prefix)
        .expect("profiles");
    case.produce(job.bootstrap(), &job.prefix).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let table = format!("`{}`.clickstream_events", job.database);
    let rows = job.query(&oracle::query(&checker, &directory, &table).expect("a query"));
    oracle::check_rows(&checker, &directory, &rows, &job.prefix).unwrap_or_else(|e| panic!("{e}"));
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    oracle::check_dead_letters(&checker, &directory, &letters, &job.prefix)
        .unwrap_or_else(|e| panic!("{e}"));
    if explains {
        assert_explained(&job);
    }
    // Read again there is nothing to do, and nothing is done.
    job.run_to_end();
    let again = job.query(&oracle::query(&checker, &directory, &table).expect("a query"));
    oracle::check_rows(&checker, &directory, &again, &job.prefix).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_generated_clickstream_gives_the_expected_rows() {
    check_and_explain("clickstream", true, |_| {});
}

#[test]
fn small_batches_give_the_same_rows() {
    check("clickstream", |job| job.set("pipeline.batch.rows_max", 7));
}

#[test]
fn several_consumers_give_the_same_rows() {
    check("clickstream", |job| job.set("pipeline.consumers", 3));
}

#[test]
fn at_least_once_without_disturbance_gives_the_same_rows() {
    check("clickstream", |job| {
        job.set("pipeline.delivery", "at_least_once")
    });
}

#[test]
fn every_edge_of_a_record_is_a_row_or_a_dead_letter_with_its_reason() {
    check_and_explain("clickstream-edges", true, |_| {});
}

#[test]
fn every_edge_of_a_profile_gives_its_columns_or_their_defaults() {
    check_and_explain("profiles-edges", true, |_| {});
}

#[test]
fn every_edge_of_a_session_gives_the_expected_counts() {
    check_and_explain("sessions-edges", true, |job| {
        job.set("pipeline.session.duration_max", "2h")
    });
}

#[test]
fn profiles_kept_as_hashes_fill_the_same_columns() {
    let job = hash_job();
    let rows = job.query(
        "SELECT user_id, user_email, user_segment, toString(user_signup_date) FROM {db}.clickstream_events ORDER BY user_id",
    );
    let expected = [
        "1\ta@example.com\tvip\t2020-02-29",
        "2\t\tunknown\t1970-01-01",
        "3\t\tunknown\t1970-01-01",
        "4\t5\t\t1970-01-01",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

/// User 1 has every field, 2 has no profile, 3 a key of another type, 4 an odd one.
fn hash_job() -> Job {
    let mut job = Job::new("hashes");
    job.set("pipeline.lookup.encoding", "hash");
    job.apply_schema();
    job.create_topic(1);
    let field = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let full = [
        field("email", "a@example.com"),
        field("segment", "vip"),
        field("signup_date", "2020-02-29"),
    ];
    let odd = [
        field("email", "5"),
        field("segment", ""),
        field("signup_date", "2020-02-30"),
    ];
    let profiles = [
        ("1", ProfileValue::Hash(full.into())),
        ("3", ProfileValue::Text("{}".to_owned())),
        ("4", ProfileValue::Hash(odd.into())),
    ];
    let mut connection = shared().redis.connection().expect("redis answers");
    for (user, value) in profiles {
        let key = format!("{}user:profile:{user}", job.prefix);
        let command = match &value {
            ProfileValue::Text(text) => redis::cmd("SET").arg(&key).arg(text).to_owned(),
            ProfileValue::Hash(fields) => {
                let mut command = redis::cmd("HSET");
                command.arg(&key);
                for (name, value) in fields {
                    command.arg(name).arg(value);
                }
                command
            }
            ProfileValue::List(_) => unreachable!("not in this test"),
        };
        command
            .exec(&mut connection)
            .expect("the profile is stored");
    }
    let records = (1..=4).map(|user| {
        topic::Record::new(format!(
            r#"{{"event_id":"{user}","event_type":"click","session_id":"s","timestamp":1763719200000,"user_id":{user}}}"#
        ))
        .partition(0)
        .timestamp_ms(1_763_719_200_000)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job
}
