//! The rights that a pipeline needs in Kafka: the smallest set for each kind is enough, and each that is missing
//! is named.

use std::time::Duration;

use sandbox::kafka::{Door, Kafka, Right};
use sandbox::{topic, wait};
use toml::{Table, Value};

use crate::security::doors::{PASSWORD, USER, behind_doors, kafka_table, own_table, rights};
use crate::support::four::Four;
use crate::support::{Job, PATIENCE, command};

const DOOR: Door = Door::Scram256;

/// `[kafka]` for this user.
fn kafka_section(kafka: &Kafka, user: &str) -> Table {
    let certificate = kafka
        .doors()
        .authority()
        .issue(user)
        .expect("a certificate");
    kafka_table(kafka, DOOR, user, &certificate)
}

#[test]
fn every_kind_runs_with_the_smallest_set_of_rights() {
    let (kafka, job) = behind_doors("smallest");
    let mut four = Four::of(job, 2, 7);
    let letters = four.whole.dead_letter_topic.clone();
    let prefix = four.whole.prefix.clone();
    let named = |name: &str| format!("{prefix}{name}");
    let output = |job: &Job| job.text("pipeline.output.topic").to_owned();
    // The topic of the join is there already; nobody may make the other.
    let (summed, joined) = (output(&four.sales.job), output(&four.enriched.job));
    let compacted = [("cleanup.policy", "compact"), ("retention.ms", "-1")];
    topic::create(kafka.bootstrap(), &summed, 2, &compacted).expect("a topic");
    let mut granted = vec![];
    let sets: [(&Job, Vec<String>, Vec<&str>); 4] = [
        (
            &four.clickstream,
            vec![named("user-events")],
            vec![&letters],
        ),
        (
            &four.shop.job,
            ["orders", "order_items"]
                .map(|table| named(&format!("shop.public.{table}")))
                .into(),
            vec![&letters],
        ),
        (
            &four.sales.job,
            vec![named("sales-events")],
            vec![&letters, &summed],
        ),
        (
            &four.enriched.job,
            ["clickstream-events", "user-profile-updates"]
                .map(named)
                .into(),
            vec![&letters, &joined],
        ),
    ];
    for (job, read, written) in sets {
        let read: Vec<&str> = read.iter().map(String::as_str).collect();
        granted.extend(rights(&job.group, &read, &written));
    }
    let group = &four.enriched.job.group;
    granted.push(Right::prefixed("WRITE", "transactional-id", group));
    kafka.grant(USER, &granted).expect("rights");
    let properties = four.whole.config["kafka"]["properties"].clone();
    let mut section = kafka_section(kafka, USER);
    let own = section["properties"].as_table_mut().expect("a table");
    own.extend(properties.as_table().expect("a table").clone());
    four.whole.config.insert("kafka".to_owned(), section.into());

    let traffic = four.traffic();
    let daemon = four.start("a");
    std::thread::sleep(Duration::from_secs(3));
    let produced = traffic.finish();
    four.wait_for_end(&daemon);
    daemon.stop();
    four.close();
    four.assert_right(produced);
}

/// A user who lacks one right, and what is said of it.
struct Lacking {
    user: &'static str,
    right: Right,
}

#[test]
fn each_right_that_is_missing_is_named_with_its_resource() {
    let (kafka, mut job) = behind_doors("lacking");
    job.apply_schema();
    job.create_topic(1);
    job.produce_events(0, 0..3);
    topic::produce(job.bootstrap(), &job.topic, [topic::Record::new("no JSON")]).expect("a record");
    let group = |user: &str| format!("{}-{user}", job.group);
    let lacking = [
        ("no-topic", Right::new("READ", "topic", &job.topic)),
        (
            "no-letters",
            Right::new("WRITE", "topic", &job.dead_letter_topic),
        ),
        ("no-group", Right::new("READ", "group", &group("no-group"))),
    ]
    .map(|(user, right)| Lacking { user, right });
    let mut pipelines = vec![];
    for Lacking { user, right } in &lacking {
        kafka.set_password(user, PASSWORD).expect("a password");
        let mut all = rights(&group(user), &[&job.topic], &[&job.dead_letter_topic]);
        all.retain(|other| other != right);
        // Who may not read or write may still see that a topic is there.
        if let Some(name) = right.resource.strip_prefix("topic ") {
            all.push(Right::new("DESCRIBE", "topic", name));
        }
        kafka.grant(user, &all).expect("rights");
        let mut pipeline = job.config["pipeline"][0].clone();
        let keys = pipeline.as_table_mut().expect("a pipeline");
        keys.insert("name".to_owned(), (*user).into());
        keys.insert("group_id".to_owned(), group(user).into());
        own_table(&job, keys, user);
        keys.insert("kafka".to_owned(), kafka_section(kafka, user).into());
        pipelines.push(pipeline);
    }
    job.config["pipeline"] = Value::Array(pipelines);
    // Found before the start: exactly these.
    let expected: Vec<(String, String)> = lacking
        .iter()
        .map(|lacking| {
            let message = format!("this user lacks the right {}", lacking.right);
            (lacking.user.to_owned(), message)
        })
        .collect();
    let mut last = vec![];
    wait::until("exactly these rights are missing", PATIENCE, || {
        last = missing(&job);
        (last == expected).then_some(())
    })
    .unwrap_or_else(|e| panic!("{e}: {expected:?}: {last:?}"));
    // And said by each pipeline that is started without.
    let daemon = job.start("a", &[], "");
    let status = daemon.process.wait(PATIENCE);
    let log = daemon.log();
    let status = status.unwrap_or_else(|e| panic!("{e}: {log}"));
    assert_eq!(status.code(), Some(4), "{log}");
    for Lacking { user, right } in &lacking {
        let is_it = |line: &&str| line.contains("halted") && line.contains(user);
        let line = log
            .lines()
            .find(is_it)
            .unwrap_or_else(|| panic!("{user}: {log}"));
        let expected = format!("lacks the right {right}");
        assert!(line.contains(&expected), "{expected}: {line}");
        let reason = match *user {
            "no-letters" => "dead_letter",
            _ => "authentication",
        };
        let reason = format!("reason=\"{reason}\"");
        assert!(line.contains(&reason), "{reason}: {line}");
    }
}

/// The pipelines that lack rights, and what doctor says of them.
fn missing(job: &Job) -> Vec<(String, String)> {
    let (path, _) = job.write_config("doctor");
    let output = command(&path, &["doctor", "--json", "--sample", "0"]).output();
    let output = output.expect("it starts");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = answer["findings"].as_array().expect("a list").iter();
    let rights = findings.filter(|f| f["check"] == "kafka_rights" && f["level"] == "error");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let mut all: Vec<_> = rights
        .map(|f| (text(&f["pipeline"]), text(&f["message"])))
        .collect();
    let order = ["no-topic", "no-letters", "no-group"];
    all.sort_by_key(|(user, _)| order.iter().position(|known| known == user));
    all
}
