//! Debezium's records of real databases arrive in topics, over a worker's death, and a connector
//! that has failed is noticed.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sandbox::connect::{Connect, ConnectOptions, Connector, Plugin};
use sandbox::kafka::{Kafka, KafkaOptions};
use sandbox::mariadb::MariaDb;
use sandbox::postgres::{Postgres, PostgresOptions};
use sandbox::topic::{self, Received};
use sandbox::{unique, wait};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(180);

fn bootstrap() -> &'static str {
    static KAFKA: OnceLock<Kafka> = OnceLock::new();
    KAFKA
        .get_or_init(|| Kafka::start(KafkaOptions::default()).unwrap())
        .bootstrap()
}

fn postgres(sql: &str) -> Postgres {
    let postgres = Postgres::start(&PostgresOptions::default()).unwrap();
    postgres.psql(sql).unwrap();
    postgres
}

fn worker(plugin: Plugin, connectors: Vec<Connector>) -> Connect {
    let (bootstrap, asked) = (bootstrap(), Instant::now());
    let connect = Connect::start(bootstrap, &ConnectOptions::new(plugin), connectors).unwrap();
    println!("the worker's tasks ran after {:?}", asked.elapsed());
    connect
}

/// The records once there are so many, in order of partition and offset.
fn records(topic: &str, count: usize) -> Vec<Received> {
    wait::until(&format!("{topic} has {count} records"), PATIENCE, || {
        let records = topic::read_all(bootstrap(), topic).ok()?;
        (records.len() >= count).then_some(records)
    })
    .unwrap()
}

fn json(bytes: Option<&[u8]>) -> Value {
    bytes.map_or(Value::Null, |bytes| serde_json::from_slice(bytes).unwrap())
}

/// Operation and row of every record of a key: `["u", {…}]`, `["d", null]`, null for a tombstone.
fn story(records: &[Received], key: &Value) -> Vec<Value> {
    let of_key = records
        .iter()
        .filter(|record| json(record.key.as_deref()) == *key);
    let told = of_key.map(|record| match json(record.value.as_deref()) {
        Value::Null => Value::Null,
        envelope => json!([envelope["op"], envelope["after"]]),
    });
    told.collect()
}

#[test]
fn changes_of_postgres_become_records_over_a_kill_of_the_worker() {
    let asked = Instant::now();
    let database = postgres(
        "CREATE TABLE orders (id int PRIMARY KEY, status text, note text);
         ALTER TABLE orders ALTER note SET STORAGE EXTERNAL;
         INSERT INTO orders VALUES (1, 'new', repeat('x', 9000))",
    );
    println!("postgres took {:?}", asked.elapsed());
    let prefix = unique("shop");
    let connector = Connector::postgres("shop", &database, &prefix).heartbeat_ms(200);
    let connect = worker(Plugin::Postgres, vec![connector]);
    let topic = format!("{prefix}.public.orders");
    let snapshot = records(&topic, 1);
    let note = "x".repeat(9_000);
    let row = |id: i32, status: &str, note: &str| json!({"id": id, "status": status, "note": note});
    assert_eq!(
        story(&snapshot, &json!({"id": 1})),
        [json!(["r", row(1, "new", &note)])]
    );
    assert_eq!(topic::partition_count(bootstrap(), &topic).unwrap(), 4);

    for sql in [
        "INSERT INTO orders VALUES (2, 'new', '')",
        "UPDATE orders SET status = 'paid' WHERE id = 1",
        "UPDATE orders SET id = 3 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
    ] {
        database.psql(sql).unwrap();
    }
    let streamed = records(&topic, 8);
    let absent = "__debezium_unavailable_value";
    let key = |id: i32| json!({ "id": id });
    let first = [
        json!(["r", row(1, "new", &note)]),
        json!(["u", row(1, "paid", absent)]),
        json!(["d", null]),
        Value::Null,
    ];
    assert_eq!(story(&streamed, &key(1)), first);
    let second = [
        json!(["c", row(2, "new", "")]),
        json!(["d", null]),
        Value::Null,
    ];
    assert_eq!(story(&streamed, &key(2)), second);
    assert_eq!(
        story(&streamed, &key(3)),
        [json!(["c", row(3, "paid", absent)])]
    );
    let moved = streamed
        .iter()
        .find(|r| r.header("__debezium.oldkey").is_some());
    assert_eq!(json(moved.unwrap().key.as_deref()), key(3));
    records(&format!("__debezium-heartbeat.{prefix}"), 1);

    database.wait_until_confirmed(&prefix, PATIENCE).unwrap();
    connect.kill();
    database
        .psql("INSERT INTO orders VALUES (4, 'late', NULL)")
        .unwrap();
    let asked = Instant::now();
    connect.restart().unwrap();
    println!(
        "a killed worker's tasks ran again after {:?}",
        asked.elapsed()
    );
    let all = wait::until("the change of the meantime", PATIENCE, || {
        let all = topic::read_all(bootstrap(), &topic).unwrap();
        (!story(&all, &key(4)).is_empty()).then_some(all)
    })
    .unwrap();
    let late = json!({"id": 4, "status": "late", "note": null});
    assert_eq!(story(&all, &key(4)), [json!(["c", late])]);
    // It went on where it was: no second snapshot.
    let snapshots = story(&all, &key(3))
        .iter()
        .filter(|told| told[0] == "r")
        .count();
    assert_eq!(snapshots, 0);
    connect.check().unwrap();
}

#[test]
fn a_failed_connector_is_noticed_and_one_that_works_is_not_touched_by_it() {
    let database =
        postgres("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
    let prefix = unique("pair");
    let of = |table: &str| {
        Connector::postgres(table, &database, &format!("{prefix}.{table}"))
            .tables(&[&format!("public.{table}")])
    };
    let (lost, kept) = (of("a").slot("lost"), of("b").slot("kept"));
    let connect = worker(Plugin::Postgres, vec![lost, kept]);
    database
        .psql("INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)")
        .unwrap();
    records(&format!("{prefix}.a.public.a"), 1);
    database.wait_until_confirmed("lost", PATIENCE).unwrap();
    connect.check().unwrap();

    // The position that the first has kept is no longer there to be read.
    connect.kill();
    database.drop_slot("lost").unwrap();
    let error = match connect.restart() {
        Ok(()) => connect.wait_for_failure(PATIENCE).unwrap(),
        Err(error) => error,
    };
    let error = format!("{error:#}");
    assert!(error.contains("connector a has failed"), "{error}");
    database.psql("INSERT INTO b VALUES (2)").unwrap();
    records(&format!("{prefix}.b.public.b"), 2);
}

#[test]
fn a_killed_postgres_comes_back_with_what_was_committed() {
    let database = postgres("CREATE TABLE t (id int); INSERT INTO t VALUES (1)");
    let (pid, asked) = (database.pid(), Instant::now());
    database.restart().unwrap();
    println!("a killed postgres answered after {:?}", asked.elapsed());
    assert_ne!(database.pid(), pid);
    assert_eq!(database.psql("SELECT id, NULL FROM t").unwrap(), "1\t\\N");
}

#[test]
fn changes_of_mariadb_become_records_over_a_kill_of_the_worker() {
    let asked = Instant::now();
    let database = MariaDb::start().unwrap();
    println!("mariadb took {:?}", asked.elapsed());
    for sql in [
        "CREATE TABLE orders (id int PRIMARY KEY, status varchar(9))",
        "INSERT INTO orders VALUES (1, 'new')",
    ] {
        database.query(sql).unwrap();
    }
    let prefix = unique("maria");
    let connector = Connector::mariadb("maria", &database, bootstrap(), &prefix);
    let connect = worker(Plugin::MariaDb, vec![connector]);
    let topic = format!("{prefix}.shop.orders");
    records(&topic, 1);
    let row = |id: i32, status: &str| json!({"id": id, "status": status});
    for sql in [
        "INSERT INTO orders VALUES (2, 'new')",
        "UPDATE orders SET status = 'paid' WHERE id = 1",
        "FLUSH BINARY LOGS",
        "UPDATE orders SET id = 3 WHERE id = 1",
        "DELETE FROM orders WHERE id = 2",
    ] {
        database.query(sql).unwrap();
    }
    let streamed = records(&topic, 8);
    let key = |id: i32| json!({ "id": id });
    let first = [
        json!(["r", row(1, "new")]),
        json!(["u", row(1, "paid")]),
        json!(["d", null]),
        Value::Null,
    ];
    assert_eq!(story(&streamed, &key(1)), first);
    assert_eq!(story(&streamed, &key(3)), [json!(["c", row(3, "paid")])]);

    wait::until("offsets are kept", PATIENCE, || {
        connect.has_offsets("maria").then_some(())
    })
    .unwrap();
    connect.kill();
    database
        .query("INSERT INTO orders VALUES (4, NULL)")
        .unwrap();
    connect.restart().unwrap();
    wait::until("the change of the meantime", PATIENCE, || {
        let all = topic::read_all(bootstrap(), &topic).unwrap();
        let late = json!(["c", {"id": 4, "status": null}]);
        (story(&all, &key(4)) == [late]).then_some(())
    })
    .unwrap();
    connect.check().unwrap();
}
