//! What a user does wrong first, and the words that say so.

use sandbox::topic::{self, Record};

use crate::replication::shop::{Shop, change, envelope, field, in_block, set_mapping};

const COLUMNS: [(&str, &str); 2] = [("id", "Int64"), ("v", "Nullable(String)")];

fn row(id: u32) -> Record {
    let after = format!(r#"{{"id":{id},"v":"a"}}"#);
    change("c", &format!(r#"{{"id":{id}}}"#), &after)
}

#[test]
fn a_connector_whose_modes_nobody_declared() {
    let mut shop = Shop::new("undeclared", &COLUMNS, 1);
    shop.job.unset("pipeline.debezium");
    let fields = [field("id", "int64", false), field("v", "string", true)];
    shop.write([in_block(row(1), &fields, 1), row(2)]);
    let place = format!("{}:0:1", shop.topic);
    let advice = [
        &*place,
        "the record has no schema block",
        "decimal_mode, time_mode and binary_mode in [pipeline.debezium]",
    ];
    shop.job
        .assert_halts("undeclared", "undeclared_modes", &advice);
    shop.job.set("pipeline.debezium.time_mode", "adaptive");
    shop.run();
    assert_eq!(shop.rows(), "1\ta\n2\ta");
}

#[test]
fn a_missing_table_that_nobody_may_or_can_make() {
    let mut shop = Shop::new("missing", &[], 1);
    shop.write([row(1)]);
    let advice = [
        "_.t does not exist, and the records have no schema block",
        "columns = { id = \"Int64\", … }",
        "value.converter.schemas.enable",
        ":0:0",
    ];
    shop.job
        .assert_halts("no-columns", "missing_table", &advice);
    shop.job.set("pipeline.create_tables", false);
    let advice = [
        "_.t does not exist: create it, set pipeline.create_tables = true",
        ":0:0",
    ];
    shop.job
        .assert_halts("not-allowed", "missing_table", &advice);
}

#[test]
fn a_table_that_cannot_be_a_replica() {
    let shop = Shop::new("unfit", &COLUMNS, 1);
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.write([row(1)]);
    let own = "_version UInt64, _deleted UInt8";
    let replacing = "ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id";
    let cases = [
        (
            own,
            "ENGINE = MergeTree ORDER BY id",
            "its engine is MergeTree",
        ),
        (
            own,
            "ENGINE = ReplacingMergeTree ORDER BY id",
            "replaces by (), not by",
        ),
        (
            "_version Int64, _deleted UInt8",
            "ENGINE = ReplacingMergeTree(_version) ORDER BY id",
            "replaces by (_version)",
        ),
        (
            "_version UInt32, _deleted UInt8",
            replacing,
            "_version is UInt32, not UInt64",
        ),
        (
            own,
            "ENGINE = ReplacingMergeTree(_version, _deleted) PARTITION BY v ORDER BY id \
             SETTINGS allow_nullable_key = 1",
            "partitioned by (v), and an update of v would leave the old row",
        ),
    ];
    for (number, (columns, engine, words)) in cases.into_iter().enumerate() {
        shop.job.query("DROP TABLE IF EXISTS {db}.t");
        let create = "CREATE TABLE {db}.t (id Int64, v Nullable(String)";
        shop.job.query(&format!("{create}, {columns}) {engine}"));
        let advice = [
            words,
            "cannot be a replica",
            "create it anew with _version UInt64",
        ];
        shop.job
            .assert_halts(&format!("unfit-{number}"), "schema", &advice);
        assert_eq!(shop.job.query("SELECT count() FROM {db}.t"), "0");
    }
    shop.job.query("DROP TABLE {db}.t");
    shop.job.query(&format!(
        "CREATE TABLE {{db}}.t (id Int64, v Nullable(String), {own}) {replacing}"
    ));
    shop.run();
    assert_eq!(shop.rows(), "1\ta");
}

#[test]
fn two_topics_of_a_pattern_in_one_table() {
    let mut shop = Shop::new("clash", &[], 1);
    let fields = [field("id", "int64", false), field("v", "string", true)];
    let other = format!("{}other.public.t", shop.job.prefix);
    topic::create(shop.job.bootstrap(), &other, 1, &[]).expect("a topic");
    let record = in_block(row(5), &fields, 1);
    topic::produce(shop.job.bootstrap(), &other, [record]).expect("records");
    shop.write([in_block(row(1), &fields, 1)]);
    let pattern = format!("^{}.*[.]t$", shop.job.prefix);
    shop.job.set("pipeline.topics", vec![pattern]);
    let advice = [
        &*other,
        &*shop.topic,
        "would both be written to table",
        "name another one for either, [pipeline.tables.",
    ];
    let (code, log) = shop.job.run_to_code("clash", &["--until", "latest"]);
    assert_eq!(code, 4, "{log}");
    for words in advice {
        assert!(log.contains(words), "{words}: {log}");
    }
    // Whichever came first has the table, and goes on; the advice names the other.
    let is_last = log.contains(&format!("[pipeline.tables.{other:?}]"));
    let last = if is_last { other } else { shop.topic.clone() };
    set_mapping(&mut shop.job, &last, "table", "t2");
    shop.run();
    let ids = shop.job.query("SELECT id FROM {db}.t FINAL")
        + &shop.job.query("SELECT id FROM {db}.t2 FINAL");
    assert_eq!(ids, if is_last { "15" } else { "51" });
}

#[test]
fn records_that_cannot_be_read_are_dead_letters_and_the_rest_goes_on() {
    let shop = Shop::new("unreadable", &COLUMNS, 1);
    let key = |id: u32| format!(r#"{{"id":{id}}}"#);
    let bad = [
        (
            Record::new(envelope("x", "null", r#"{"id":1}"#)).key(key(1)),
            "unknown_operation",
        ),
        (Record::new("{").key(key(2)), "invalid_json"),
        (Record::new("7").key(key(3)), "not_an_object"),
        (
            Record::new(envelope("c", "null", "null")).key(key(4)),
            "missing_field",
        ),
        (change("c", &key(5), r#"{"id":5,"v":{"a":1}}"#), ""),
        (
            change("c", r#"{"id":"x"}"#, r#"{"id":7,"v":"a"}"#),
            "invalid_value",
        ),
    ];
    shop.write([row(100)]);
    shop.write(bad.iter().map(|(record, _)| record.clone()));
    shop.write([row(101)]);
    shop.run();
    shop.job.assert_committed_to_end();
    let reasons: Vec<String> = shop
        .reasons()
        .into_iter()
        .map(|(reason, _)| reason)
        .collect();
    let expected: Vec<&str> = bad
        .iter()
        .map(|(_, reason)| *reason)
        .filter(|r| !r.is_empty())
        .collect();
    assert_eq!(reasons, expected);
    assert_eq!(shop.select("id", "_deleted = 0"), "5\n100\n101");
}
