//! Every recorded way in which a connector writes, partition by partition in several orders.

use sandbox::topic::{self, Record};

use crate::replication::corpus::{AvroRecording, Recording, Source};
use crate::replication::recorded::{Order, Replication, avro_to_kafka};
use crate::support::registry::{framed, registry};

const KEYED: [&str; 10] = [
    "orders",
    "order_items",
    "kitchen_sink",
    "edge_num",
    "edge_time",
    "toasty",
    "toasty_full",
    "multi_pk",
    "swap_pk",
    "evolving",
];

fn check(source: Source, variant: &str, tables: &[&str], orders: &[Order]) {
    let recording = Recording::load(source, variant);
    for (index, &order) in orders.iter().enumerate() {
        let replication = Replication::new(source, variant, tables, true);
        replication.create_topics(4);
        replication.produce(&recording, order);
        replication.job.run_to_end();
        replication.assert_equals_source();
        assert_eq!(replication.dead_letters(), [].into(), "{variant} {order:?}");
        if index + 1 == orders.len() && is_explained(variant) {
            assert_explained(&replication);
        }
    }
}

/// Variants of whose every record it is always asked what became of it, which takes a minute each. Of all with
/// `EXPLAIN_EVERY_VARIANT=1`.
const EXPLAINED: [&str; 2] = ["envelope", "unwrap_rewrite_tombstone"];

fn is_explained(variant: &str) -> bool {
    EXPLAINED.contains(&variant) || std::env::var_os("EXPLAIN_EVERY_VARIANT").is_some()
}

/// Of every record it is asked what became of it: the newest change of each row that is there is in its table,
/// every older one is superseded, and what was refused is a dead letter.
fn assert_explained(replication: &Replication) {
    let job = &replication.job;
    let topics: Vec<&str> = replication.topics.values().map(String::as_str).collect();
    let mut there = 0;
    for one in job.assert_explained(&topics) {
        let own = &one["pipelines"][0];
        let (outcome, now) = (&own["outcome"], &own["now"]);
        let is_row = outcome == "row" || outcome == "delete";
        assert!(
            is_row
                || ["tombstone", "dropped", "dead_letter"]
                    .contains(&outcome.as_str().unwrap_or("")),
            "{one:#}"
        );
        assert!(
            !is_row || now == "in_table" || now == "superseded",
            "{one:#}"
        );
        there += u64::from(outcome == "row" && now == "in_table");
    }
    let count = |table: &String| {
        let sql = format!("SELECT count() FROM {{db}}.`{table}` FINAL");
        job.query(&sql).parse::<u64>().expect("a number")
    };
    let rows: u64 = replication.topics.keys().map(count).sum();
    assert_eq!(there, rows, "{}", replication.variant);
}

macro_rules! variants {
    ($($name:ident: $variant:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            check(Source::Postgres, $variant, &KEYED, &[Order::Turns]);
        })*
    };
}

variants! {
    a_second_snapshot_after_a_crash_ends_equal: "crash",
    decimals_as_doubles_end_equal: "decimal_double",
    decimals_as_strings_end_equal: "decimal_string",
    other_ways_to_write_bytes_intervals_and_maps_end_equal: "handling",
    nulls_replaced_by_defaults_end_equal_elsewhere: "null_default",
    times_in_milliseconds_end_equal: "time_connect",
    times_as_text_end_equal: "time_isostring",
    times_in_microseconds_end_equal: "time_microseconds",
    envelopes_with_transaction_metadata_end_equal: "txmeta",
    flattened_rows_end_equal: "unwrap_rewrite",
    flattened_rows_with_tombstones_end_equal: "unwrap_rewrite_tombstone",
}

#[test]
fn envelopes_end_equal_in_every_order() {
    let orders = [Order::Ascending, Order::Descending, Order::Turns];
    check(Source::Postgres, "envelope", &KEYED, &orders);
}

#[test]
fn envelopes_in_a_schema_block_end_equal_in_tables_made_of_it() {
    let variant = "envelope_schema";
    check(Source::Postgres, variant, &KEYED, &[Order::Ascending]);
    let recording = Recording::load(Source::Postgres, variant);
    let mut replication = Replication::new(Source::Postgres, variant, &KEYED, false);
    // Nothing is declared about the connector: every record says what it is.
    replication.job.unset("pipeline.debezium");
    replication.create_topics(4);
    replication.produce(&recording, Order::Turns);
    replication.job.run_to_end();
    // By the comments of columns that came later or stopped coming, too.
    assert_explained(&replication);
    // The checker asks for two columns that no record has.
    let two = "ADD COLUMN e Nullable(String), ADD COLUMN f Nullable(Int32)";
    let alter = format!("ALTER TABLE {{db}}.evolving {two}");
    replication.job.query(&alter);
    for table in KEYED.iter().filter(|table| **table != "edge_time") {
        assert_eq!(replication.differences(table), [""; 0], "{table}");
    }
    // Infinity, years before Christ and behind 2299 have no place in the columns of times.
    let missing = replication.differences("edge_time");
    assert!(
        missing.iter().all(|line| line.starts_with("missing row")),
        "{missing:?}"
    );
    let reasons = replication.dead_letters();
    let reasons: Vec<&str> = reasons.keys().map(String::as_str).collect();
    assert_eq!(reasons, ["not_representable", "out_of_range"]);
}

#[test]
fn nanoseconds_of_a_snapshot_and_its_first_change_are_explained() {
    let variant = "time_nanoseconds";
    let recording = Recording::load(Source::Postgres, variant);
    let replication = Replication::new(Source::Postgres, variant, &KEYED, true);
    replication.create_topics(4);
    replication.produce(&recording, Order::Turns);
    replication.job.run_to_end();
    assert_explained(&replication);
}

#[test]
fn avro_of_a_registry_ends_equal_in_tables_made_of_its_schemas() {
    let recording = AvroRecording::load();
    let mut replication = Replication::new(Source::Postgres, "envelope_schema", &KEYED, false);
    replication.job.unset("pipeline.debezium");
    replication.job.set("pipeline.format", "avro");
    let url = registry(recording.schemas.clone().into_iter().collect());
    replication.job.set("pipeline.schema_registry.url", url);
    replication.create_topics(4);
    let bootstrap = replication.job.bootstrap();
    for (table, topic) in &replication.topics {
        let records = recording.of(table).map(avro_to_kafka);
        topic::produce(bootstrap, topic, records).expect("records");
    }
    // Of a schema that the registry does not have.
    let unknown = Record::new(framed(999_999, b"\0")).key(framed(999_999, b"\0"));
    topic::produce(bootstrap, &replication.topics["orders"], [unknown]).expect("a record");
    replication.job.run_to_end();
    if is_explained("avro") {
        assert_explained(&replication);
    }
    let two = "ADD COLUMN e Nullable(String), ADD COLUMN f Nullable(Int32)";
    let alter = format!("ALTER TABLE {{db}}.evolving {two}");
    replication.job.query(&alter);
    for table in KEYED.iter().filter(|table| **table != "edge_time") {
        replication.variant = AvroRecording::variant_of(table).to_owned();
        assert_eq!(replication.differences(table), [""; 0], "{table}");
    }
    let reasons = replication.dead_letters();
    let reasons: Vec<&str> = reasons.keys().map(String::as_str).collect();
    assert_eq!(
        reasons,
        ["not_representable", "out_of_range", "unknown_schema"]
    );
    // The audit has its schemas from the registry too; of a table whose columns changed it knows little.
    let audit = ["audit", "--pipeline", "replica", "--json"];
    let (_, report, log) = replication.job.inspect(&audit);
    let report: serde_json::Value =
        serde_json::from_str(&report).unwrap_or_else(|e| panic!("{e}: {report} {log}"));
    let count = |name: &str| report["counts"][name].as_u64();
    for name in ["lost", "stale", "missing", "differs"] {
        assert_eq!(count(name), Some(0), "{name}: {report:#}");
    }
    assert!(count("rows") > Some(100), "{report:#}");
}

#[test]
fn mariadb_ends_equal() {
    let tables = ["orders", "order_items", "sink"];
    check(
        Source::MariaDb,
        "envelope",
        &tables,
        &[Order::Ascending, Order::Turns],
    );
}
