//! Random changes go through Debezium into a replica made by the simplest means, and the comparer
//! finds the two equal, until a value of the replica is spoiled.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sandbox::clickhouse::ClickHouse;
use sandbox::compare::{self, Binary, Difference, ReplicaOptions};
use sandbox::connect::{Connect, ConnectOptions, Connector, Plugin};
use sandbox::kafka::{Kafka, KafkaOptions};
use sandbox::mariadb::MariaDb;
use sandbox::postgres::{Postgres, PostgresOptions};
use sandbox::topic::{self, Received};
use sandbox::workload::{self, Limit, Progress, Workload};
use sandbox::{unique, wait};
use serde_json::{Map, Value};

const PATIENCE: Duration = Duration::from_secs(180);

fn bootstrap() -> &'static str {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA
        .get_or_init(|| Kafka::start(KafkaOptions::default()).unwrap())
        .bootstrap()
}

fn clickhouse() -> &'static ClickHouse {
    static CLICKHOUSE: OnceLock<ClickHouse> = OnceLock::new();
    CLICKHOUSE.get_or_init(|| ClickHouse::start().unwrap())
}

/// Every value as text that needs no schema to be read, but for bytes, which are base64.
fn as_text(connector: Connector) -> Connector {
    connector
        .set("decimal.handling.mode", "string")
        .set("time.precision.mode", "isostring")
}

fn work(workload: &Workload) {
    let begun = Instant::now();
    let counts = workload::run(workload, &Progress::default()).unwrap();
    println!("{counts}, in {:?}", begun.elapsed());
    let happened = [
        counts.inserted,
        counts.updated,
        counts.deleted,
        counts.moved,
    ];
    assert!(happened.iter().all(|count| *count > 0), "{counts}");
    assert!(counts.committed > 0 && counts.rolled_back > 0, "{counts}");
}

fn wait_for_snapshot(topics: &[String]) {
    for topic in topics {
        wait::until("the first row is there", PATIENCE, || {
            let ends = topic::end_offsets(bootstrap(), topic).ok()?;
            (ends.values().sum::<i64>() > 0).then_some(())
        })
        .unwrap();
    }
}

/// The source's own position of a change: a number that rises with every change of one server.
fn position(source: &Value) -> (u64, u64, u64) {
    let number = |field: &str| source[field].as_u64().unwrap_or_default();
    match source["file"].as_str() {
        Some(file) => {
            let file = file.rsplit('.').next().unwrap().parse().unwrap();
            (file, number("pos"), number("row"))
        }
        None => (0, number("lsn"), 0),
    }
}

/// A row, or `None` of a row that was deleted.
type Version = (Value, Option<Map<String, Value>>);

/// All changes of a topic in the order of the source, with no placeholder left.
fn versions(topic: &str) -> Vec<Version> {
    let records = topic::read_all(bootstrap(), topic).unwrap();
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    let of = |record: Received| {
        let (key, moved_from) = (record.key.as_deref(), record.header("__debezium.oldkey"));
        let envelope = parse(record.value.as_deref()?);
        let moved_from = moved_from.map(|key| parse(key.as_bytes()));
        Some((parse(key.unwrap()), moved_from, envelope))
    };
    let mut changes: Vec<_> = records.into_iter().filter_map(of).collect();
    changes.sort_by_key(|(_, _, envelope)| position(&envelope["source"]));

    // The last row of every key, also of one that is deleted: a moved row refers to it.
    let mut last: HashMap<String, Map<String, Value>> = HashMap::new();
    let mut versions = Vec::new();
    for (key, moved_from, envelope) in changes {
        let row = envelope["after"].as_object().map(|after| {
            let before = last.get(&moved_from.as_ref().unwrap_or(&key).to_string());
            let known = |column: &String, value: &Value| {
                let is_absent = value.to_string().contains("__debezium_unavailable_value")
                    || value == "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
                let known = is_absent.then(|| before.expect("an earlier row")[column].clone());
                (column.clone(), known.unwrap_or_else(|| value.clone()))
            };
            after
                .iter()
                .map(|(column, value)| known(column, value))
                .collect()
        });
        if let Some(row) = &row {
            last.insert(key.to_string(), Map::clone(row));
        }
        versions.push((key, row));
    }
    versions
}

/// Writes every version of every row into a table whose columns are all text.
fn fill(table: &str, versions: &[Version]) {
    let clickhouse = clickhouse();
    let key: Vec<_> = versions[0].0.as_object().unwrap().keys().cloned().collect();
    let rows = versions.iter().filter_map(|(_, row)| row.as_ref());
    let mut columns: Vec<_> = rows.flat_map(|row| row.keys()).cloned().collect();
    columns.sort();
    columns.dedup();
    let columns = columns.iter().map(|name| match key.contains(name) {
        true => format!("`{name}` String"),
        false => format!("`{name}` Nullable(String)"),
    });
    let created = format!(
        "CREATE TABLE {table} ({}, _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY ({})",
        columns.collect::<Vec<_>>().join(", "),
        key.join(", ")
    );
    clickhouse.try_query(&created).unwrap();
    let as_text = |value: &Value| match value {
        Value::Null | Value::String(_) => value.clone(),
        other => Value::String(other.to_string()),
    };
    let mut insert = format!("INSERT INTO {table} FORMAT JSONEachRow\n");
    for (number, (key, row)) in (1_u64..).zip(versions) {
        let filled = row.as_ref().unwrap_or(key.as_object().unwrap());
        let mut filled: Map<_, _> = filled
            .iter()
            .map(|(k, v)| (k.clone(), as_text(v)))
            .collect();
        filled.insert("_version".to_owned(), number.into());
        filled.insert("_deleted".to_owned(), u8::from(row.is_none()).into());
        insert += &(Value::Object(filled).to_string() + "\n");
    }
    clickhouse.try_query(&insert).unwrap();
}

/// Compares all tables, then spoils a value of `orders` and sees that nothing else differs.
fn assert_equal(url: &str, topics: &HashMap<&str, String>) {
    let database = unique("replica");
    let clickhouse = clickhouse();
    clickhouse
        .try_query(&format!("CREATE DATABASE {database}"))
        .unwrap();
    let options = ReplicaOptions {
        binary: Binary::Base64,
        ..ReplicaOptions::default()
    };
    let of = |table: &str| {
        let replica = format!("{database}.{table}");
        compare::tables(url, table, &clickhouse.url(), &replica, &options).unwrap()
    };
    for table in workload::tables(url).unwrap() {
        fill(&format!("{database}.{table}"), &versions(&topics[table]));
        let comparison = of(table);
        println!("{comparison}");
        assert!(
            comparison.is_equal() && comparison.source_rows > 1,
            "{comparison}"
        );
        assert!(comparison.columns_missing.is_empty(), "{comparison}");
    }
    clickhouse
        .try_query(&format!(
            "INSERT INTO {database}.orders SELECT * REPLACE ('lost' AS status, 1000000000 AS \
             _version) FROM {database}.orders FINAL ORDER BY order_id LIMIT 1"
        ))
        .unwrap();
    let comparison = of("orders");
    assert!(
        matches!(&comparison.differences[..], [Difference::Value { column, replica, .. }]
            if column == "status" && replica.as_deref() == Some("lost")),
        "{comparison}"
    );
}

#[test]
fn a_replica_of_postgres_equals_its_source_after_random_changes() {
    let database = Postgres::start(&PostgresOptions::default()).unwrap();
    workload::create_tables(&database.url()).unwrap();
    let prefix = unique("random");
    let topics = workload::tables(&database.url()).unwrap();
    let topics: HashMap<_, _> = topics
        .into_iter()
        .map(|table| (table, format!("{prefix}.public.{table}")))
        .collect();
    let connector = as_text(Connector::postgres("random", &database, &prefix));
    let options = ConnectOptions::new(Plugin::Postgres);
    let connect = Connect::start(bootstrap(), &options, vec![connector]).unwrap();
    wait_for_snapshot(&topics.values().cloned().collect::<Vec<_>>());

    let mut workload = Workload::new(database.url(), 7, Limit::Statements(3_000));
    workload.evolve = true;
    work(&workload);
    connect.check().unwrap();
    database.wait_until_confirmed(&prefix, PATIENCE).unwrap();
    // What was read before that is sent before it ends.
    connect.stop();
    assert_equal(&database.url(), &topics);
}

#[test]
fn a_replica_of_mariadb_equals_its_source_after_random_changes() {
    let database = MariaDb::start().unwrap();
    workload::create_tables(&database.url()).unwrap();
    let prefix = unique("random");
    let topics = workload::tables(&database.url()).unwrap();
    let topics: HashMap<_, _> = topics
        .into_iter()
        .map(|table| (table, format!("{prefix}.shop.{table}")))
        .collect();
    let bootstrap = bootstrap();
    let connector = as_text(Connector::mariadb("random", &database, bootstrap, &prefix));
    let options = ConnectOptions::new(Plugin::MariaDb);
    let connect = Connect::start(bootstrap, &options, vec![connector]).unwrap();
    wait_for_snapshot(&topics.values().cloned().collect::<Vec<_>>());

    work(&Workload::new(database.url(), 7, Limit::Statements(1_500)));
    database
        .query("INSERT INTO order_items VALUES (999, 0, 0, 0, 0, 0, now(6), now(6))")
        .unwrap();
    wait::until("the last change is there", PATIENCE, || {
        connect.check().unwrap();
        let read = topic::read_all(bootstrap, &topics["order_items"]).unwrap();
        read.iter()
            .any(|r| r.key.as_deref() == Some(br#"{"item_id":999}"#))
            .then_some(())
    })
    .unwrap();
    connect.stop();
    assert_equal(&database.url(), &topics);
}

/// One row of every kind of value, in the types that a replica has for them.
#[test]
fn typed_columns_of_a_replica_are_read_as_the_source_means_them() {
    let database = Postgres::start(&PostgresOptions::default()).unwrap();
    let source = "CREATE TABLE typed (id bigint PRIMARY KEY, paid bool, amount numeric(12, 4), \
         ratio float8, day date, at timestamp, at_zone timestamptz, at_ms timestamp(3), \
         clock time, code char(5), name text, u uuid, facts jsonb, raw bytea, words text[], \
         numbers numeric[]); \
         INSERT INTO typed VALUES (9007199254740993, true, -12.5, 0.1, '1931-02-03', \
         '2026-01-02 03:04:05.1', '2026-01-02 03:04:05+02', '2026-01-02 03:04:05', '23:59:59.5', \
         'ab', E'é\"\\n', '61f0c404-5cb3-11e7-907b-a6006ad3dba0', '{\"b\": 1.5, \"a\": []}', \
         '\\x00ff', '{a,NULL,\"\"}', '{1.50,NULL}'); INSERT INTO typed VALUES (1)";
    database.psql(source).unwrap();
    let (clickhouse, name) = (clickhouse(), unique("typed"));
    let columns = [
        ("id", "Int64", "9007199254740993"),
        ("paid", "Nullable(Bool)", "true"),
        ("amount", "Nullable(Decimal(12, 4))", "-12.5"),
        ("ratio", "Nullable(Float64)", "0.1"),
        ("day", "Nullable(Date32)", "'1931-02-03'"),
        ("at", "Nullable(DateTime64(6))", "'2026-01-02 03:04:05.1'"),
        (
            "at_zone",
            "Nullable(DateTime64(6, 'UTC'))",
            "'2026-01-02 01:04:05'",
        ),
        ("at_ms", "Nullable(DateTime64(3))", "'2026-01-02 03:04:05'"),
        ("clock", "Nullable(String)", "'23:59:59.5'"),
        ("code", "Nullable(String)", "'ab   '"),
        ("name", "Nullable(String)", "'é\"\\n'"),
        (
            "u",
            "Nullable(UUID)",
            "'61f0c404-5cb3-11e7-907b-a6006ad3dba0'",
        ),
        ("facts", "Nullable(String)", r#"'{"b": 1.5, "a": []}'"#),
        ("raw", "Nullable(String)", "unhex('00ff')"),
        ("words", "Nullable(String)", r#"'["a",null,""]'"#),
        ("numbers", "Nullable(String)", r#"'["1.50",null]'"#),
    ];
    let typed: Vec<_> = columns
        .iter()
        .map(|(name, kind, _)| format!("{name} {kind}"))
        .collect();
    let values: Vec<_> = columns.iter().map(|(_, _, value)| *value).collect();
    for sql in [
        format!(
            "CREATE TABLE {name} ({}, _version UInt64) ENGINE = ReplacingMergeTree(_version) ORDER BY id",
            typed.join(", ")
        ),
        format!("INSERT INTO {name} (id, _version) VALUES (1, 1)"),
        format!("INSERT INTO {name} VALUES ({}, 1)", values.join(", ")),
    ] {
        clickhouse.try_query(&sql).unwrap();
    }
    let compared = || {
        let options = ReplicaOptions::default();
        let replica = format!("default.{name}");
        compare::tables(
            &database.url(),
            "typed",
            &clickhouse.url(),
            &replica,
            &options,
        )
        .unwrap()
    };
    let comparison = compared();
    assert!(comparison.is_equal(), "{comparison}");
    assert_eq!(
        (comparison.values, comparison.columns_missing.len()),
        (32, 0)
    );
    // A NULL instead of any value is seen, and nothing else is.
    for (at, (column, ..)) in columns.iter().enumerate().skip(1) {
        let mut spoiled = values.clone();
        spoiled[at] = "NULL";
        let version = at + 1;
        clickhouse
            .try_query(&format!(
                "INSERT INTO {name} VALUES ({}, {version})",
                spoiled.join(", ")
            ))
            .unwrap();
        let comparison = compared();
        assert!(
            matches!(&comparison.differences[..], [Difference::Value { column: c, replica: None, .. }]
                if c == column),
            "{column}: {comparison}"
        );
    }
}
