//! Tables of another shape than the shipped one, from configuration alone.

use crate::support::{Job, command, project_root};
use sandbox::{shared, topic};
use toml::Value;

/// 2025-11-21T10:00:00Z.
const T: i64 = 1_763_719_200_000;

/// The pipeline that fills `tests/ddl/orders.sql`: nested fields, profiles by a text key in hashes,
/// sessions of customers.
fn orders(name: &str) -> Job {
    let mut job = Job::new(name);
    let ddl = project_root().join("tests/ddl/orders.sql");
    job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
    job.set("pipeline.clickhouse.table", "orders");
    job.set("pipeline.time_field", "placed_at");
    job.set(
        "pipeline.columns",
        table(
            r#"
            order_id = { path = "$.order.id", required = true }
            placed_at = "$.order.placed.at"
            customer = { path = "$.order.customer.name", required = true }
            amount = { path = "$.order.amount", required = true }
            status = { path = "$.order.status", default = "new" }
            tags = "$.order.tags"
            weight = "$.order.weight"
            payload = { path = "$.anything", raw = "any", default = "[]" }
            origin = { default = "web" }
            "#,
        ),
    );
    let lookup = r#"
        key_field = "customer"
        encoding = "hash"
        [columns]
        tier = { default = "none" }
        credit = { path = "$.limit", default = -1 }
        member_since = { path = "$.since" }
    "#;
    job.set("pipeline.lookup", table(lookup));
    let prefix = format!("{}customer/", job.prefix);
    job.set("pipeline.lookup.key_prefix", prefix);
    let session = r#"
        key_field = "customer"
        timeout = "10m"
        duration_max = "1h"
        count_column = "visit_orders"
        duration_column = "visit_seconds"
        distinct_column = "visit_paid_shops"
        distinct_field = "shop"
        distinct_where = { status = "paid", is_gift = false }
    "#;
    job.set("pipeline.session", table(session));
    job
}

fn table(text: &str) -> Value {
    Value::Table(text.parse().expect("TOML"))
}

fn produce(job: &Job, values: &[&str]) {
    let records = values.iter().map(|value| {
        topic::Record::new(*value)
            .partition(0)
            .timestamp_ms(T + 3_000_000)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
}

/// An order of which only the required fields and the time are said.
fn order(number: u8, customer: &str, at_ms: i64, rest: &str) -> String {
    format!(
        r#"{{"order":{{"id":"00000000-0000-0000-0000-0000000000{number:02}","placed":{{"at":{at_ms}}},"customer":{{"name":"{customer}"}},"amount":1,"status":"paid"}}{rest}}}"#
    )
}

#[test]
fn every_type_and_mapping_of_another_table_reads_back_as_the_record_says() {
    let job = orders("orders");
    job.apply_schema();
    job.create_topic(1);
    let full = r#"{"order":{"id":"61f0c404-5cb3-11e7-907b-a6006ad3dba0","placed":{"at":1763719200123},
        "customer":{"name":"Zoë \"Z\" Ø"},"amount":"12345678901234.5678","status":"it's; sent",
        "tags":["a","","\u00fc\t"],"weight":1.5e-3},
        "shop":"Köln","channel":"app","discount":-1234567.89,"ipv4":"203.0.113.255","ipv6":"2001:db8::1",
        "ordered_on":"2025-11-21","deliver_by":"1931-02-03","seen_at":"2025-11-21T11:30:00+01:30",
        "is_gift":true,"currency":"EUR","note":"","anything":{ "b":[1, 2.50], "a":null },
        "origin":"phone","priority":0,"label":"mine"}"#;
    let least = r#"{"order":{"id":"61F0C404-5CB3-11E7-907B-A6006AD3DBA1","placed":{"at":1763719200456},
        "customer":{"name":"Ann"},"amount":0.1}}"#;
    let nulls = r#"{"order":{"id":"61f0c404-5cb3-11e7-907b-a6006ad3dba2","placed":{"at":1763719200789},
        "customer":{"name":"Bob"},"amount":-7,"status":null,"tags":null,"weight":null},"shop":null,
        "channel":null,"discount":null,"ipv4":null,"ipv6":null,"ordered_on":null,"deliver_by":null,
        "seen_at":null,"is_gift":null,"currency":null,"note":null,"anything":null,"origin":null,
        "priority":null,"label":null}"#;
    produce(&job, &[full, least, nulls]);
    job.run_to_end();
    job.assert_committed_to_end();
    let rows = job.query(
        "SELECT order_id, placed_at, customer, shop, channel, tags, amount, discount, status, \
         ipv4, ipv6, ordered_on, deliver_by, seen_at, weight, is_gift, hex(currency), note, \
         payload, origin, priority, label, doubled, shouted, _partition, _offset \
         FROM {db}.orders ORDER BY _offset FORMAT JSONCompactStringsEachRow",
    );
    let zero = r#""0.0.0.0", "::", "1970-01-01", "1900-01-01", "1970-01-01 00:00:00", "0", "false", "000000""#;
    let expected = [
        r#"["61f0c404-5cb3-11e7-907b-a6006ad3dba0", "2025-11-21 10:00:00.123000", "Zoë \"Z\" Ø", "Köln", "app", "['a','','ü\\t']", "12345678901234.5678", "-1234567.89", "it's; sent", "203.0.113.255", "2001:db8::1", "2025-11-21", "1931-02-03", "2025-11-21 10:00:00", "0.0015", "true", "455552", "", "{ \"b\":[1, 2.50], \"a\":null }", "phone", "0", "mine", "24691357802469.1356", "ZOë \"Z\" Ø", "0", "0"]"#.to_owned(),
        format!(r#"["61f0c404-5cb3-11e7-907b-a6006ad3dba1", "2025-11-21 10:00:00.456000", "Ann", "", "ᴺᵁᴸᴸ", "[]", "0.1", "ᴺᵁᴸᴸ", "new", {zero}, "ᴺᵁᴸᴸ", "[]", "web", "5", "order of Ann", "0.2", "ANN", "0", "1"]"#),
        format!(r#"["61f0c404-5cb3-11e7-907b-a6006ad3dba2", "2025-11-21 10:00:00.789000", "Bob", "", "ᴺᵁᴸᴸ", "[]", "-7", "ᴺᵁᴸᴸ", "new", {zero}, "ᴺᵁᴸᴸ", "[]", "web", "5", "order of Bob", "-14", "BOB", "0", "2"]"#),
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn a_value_that_fits_no_column_is_a_dead_letter_that_names_the_column() {
    let job = orders("misfits");
    job.apply_schema();
    job.create_topic(1);
    let misfits = [
        (r#","channel":[]"#, "invalid_value", "channel"),
        (r#","shop":{}"#, "invalid_value", "shop"),
        (r#","discount":12345678.9"#, "out_of_range", "discount"),
        (r#","ipv4":"1.2.3"#, "invalid_json", ""),
        (r#","ipv4":"1.2.3""#, "invalid_value", "ipv4"),
        (r#","ipv6":"::g""#, "invalid_value", "ipv6"),
        (
            r#","ordered_on":"2025-02-29""#,
            "invalid_value",
            "ordered_on",
        ),
        (
            r#","ordered_on":"2150-01-01""#,
            "out_of_range",
            "ordered_on",
        ),
        (
            r#","deliver_by":"1899-12-31""#,
            "out_of_range",
            "deliver_by",
        ),
        (
            r#","seen_at":"2107-01-01T00:00:00Z""#,
            "out_of_range",
            "seen_at",
        ),
        (r#","is_gift":"perhaps""#, "invalid_value", "is_gift"),
        (r#","currency":"EURO""#, "out_of_range", "currency"),
        (r#","priority":256"#, "out_of_range", "priority"),
        (r#","priority":-1"#, "out_of_range", "priority"),
        (r#","priority":1.5"#, "invalid_value", "priority"),
    ];
    let mut values: Vec<String> = (0u8..)
        .zip(&misfits)
        .map(|(number, (rest, ..))| order(number, "Ann", T, rest))
        .collect();
    let id = "00000000-0000-0000-0000-000000000099";
    let of_order = |inner: &str| format!(r#"{{"order":{{{inner}}}}}"#);
    let placed = format!(r#""placed":{{"at":{T}}},"customer":{{"name":"Ann"}}"#);
    values.extend([
        of_order(&format!(r#""id":"{id}",{placed}"#)),
        of_order(&format!(r#""id":"{id}",{placed},"amount":1.00001"#)),
        of_order(&format!(
            r#""id":"{id}",{placed},"amount":1,"status":"lost""#
        )),
        of_order(&format!(
            r#""id":"{id}",{placed},"amount":1,"tags":["a",null]"#
        )),
        of_order(&format!(r#""id":"x",{placed},"amount":1"#)),
        of_order(&format!(
            r#""id":"{id}","amount":1,"placed":{{"at":null}},"customer":{{"name":"Ann"}}"#
        )),
        of_order(&format!(
            r#""id":"{id}","amount":1,"placed":{{"at":{T}}},"customer":"Ann""#
        )),
        order(98, "Ann", T, ""),
    ]);
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    produce(&job, &values);
    job.run_to_end();
    job.assert_committed_to_end();
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    let seen: Vec<(i64, String, String)> = letters.iter().map(offset_reason_column).collect();
    let others = [
        ("missing_field", "amount"),
        ("out_of_range", "amount"),
        ("out_of_range", "status"),
        ("invalid_value", "tags"),
        ("invalid_value", "order_id"),
        ("missing_field", "time_field"),
        ("missing_field", "customer"),
    ];
    let expected = misfits.iter().map(|(_, reason, column)| (*reason, *column));
    let expected: Vec<_> = (0..)
        .zip(expected.chain(others))
        .map(|(offset, (reason, column))| (offset, reason.to_owned(), column.to_owned()))
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(job.query("SELECT _offset FROM {db}.orders"), "22");
}

/// Where a dead letter came from, why it is one, and the column its detail begins with.
fn offset_reason_column(letter: &topic::Received) -> (i64, String, String) {
    let header = |name: &str| {
        letter
            .header(name)
            .unwrap_or_else(|| panic!("{name} is there"))
    };
    let offset = header("streamweir-offset").parse().expect("a number");
    let reason = header("streamweir-reason");
    let detail = header("streamweir-detail");
    let is_name = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let column = detail.chars().take_while(is_name).collect();
    let column = if reason == "invalid_json" {
        String::new()
    } else {
        column
    };
    (offset, reason, column)
}

#[test]
fn profiles_of_text_keys_in_hashes_fill_columns_of_any_type() {
    let job = orders("members");
    job.apply_schema();
    job.create_topic(1);
    let mut connection = shared().redis.connection().expect("redis answers");
    let mut store = |customer: &str, fields: &[(&str, &str)]| {
        let key = format!("{}customer/{customer}", job.prefix);
        redis::cmd("HSET")
            .arg(key)
            .arg(fields)
            .exec(&mut connection)
            .expect("stored");
    };
    store(
        "Ann",
        &[
            ("tier", "gold"),
            ("limit", "-2147483648"),
            ("since", "1931-02-03"),
        ],
    );
    store(
        "Bob B/ü",
        &[
            ("tier", "basic"),
            ("limit", "2147483648"),
            ("since", "never"),
        ],
    );
    let values = ["Ann", "Bob B/ü", "Cid"];
    let values: Vec<String> = (0u8..)
        .zip(values)
        .map(|(number, name)| order(number, name, T, ""))
        .collect();
    produce(&job, &values.iter().map(String::as_str).collect::<Vec<_>>());
    job.run_to_end();
    let rows =
        job.query("SELECT customer, tier, credit, member_since FROM {db}.orders ORDER BY customer");
    let expected = [
        "Ann\tgold\t-2147483648\t1931-02-03",
        "Bob B/ü\tbasic\t-1\t\\N",
        "Cid\tnone\t-1\t\\N",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn sessions_go_by_the_configured_key_and_count_what_every_condition_holds_for() {
    let job = orders("visits");
    job.apply_schema();
    job.create_topic(1);
    let minute = 60_000;
    let values = [
        order(1, "Ann", T, r#","shop":"a","is_gift":false"#),
        order(2, "Bob", T, r#","shop":"a","is_gift":true"#),
        // An absent field is the column's zero: no gift.
        order(3, "Ann", T + minute, r#","shop":"b""#),
        order(4, "Ann", T + 2 * minute, r#","shop":"c","is_gift":true"#),
        order(5, "Ann", T + 3 * minute + 999, r#","shop":"a""#),
        order(7, "Bob", T + 10 * minute, r#","shop":"x""#),
        order(6, "Ann", T + 14 * minute, r#","shop":"a""#),
    ];
    produce(&job, &values.iter().map(String::as_str).collect::<Vec<_>>());
    job.run_to_end();
    let rows = job.query(
        "SELECT customer, visit_orders, visit_seconds, visit_paid_shops FROM {db}.orders \
         ORDER BY _offset",
    );
    let expected = [
        "Ann\t1\t0\t1",
        "Bob\t1\t0\t0",
        "Ann\t2\t60\t2",
        "Ann\t3\t120\t2",
        "Ann\t4\t180\t2",
        "Bob\t2\t600\t1",
        "Ann\t1\t0\t1",
    ];
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn numbers_that_stand_for_times_are_read_in_the_declared_unit_and_never_land_in_1970() {
    let mut job = Job::new("clocks");
    let ddl = job.directory.path().join("clocks.sql");
    let statement = "CREATE TABLE clocks (at DateTime64(3, 'UTC'), sold Nullable(DateTime('UTC')), \
        loaded DateTime64(6, 'UTC'), seen DateTime('UTC'), flag UInt8, \
        _timestamp DateTime64(3, 'UTC'), _key Nullable(String), _value String, \
        _topic LowCardinality(String), _partition UInt32, _offset UInt64) \
        ENGINE = MergeTree ORDER BY at SETTINGS non_replicated_deduplication_window = 100";
    std::fs::write(&ddl, statement).expect("written");
    job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
    job.set("pipeline.clickhouse.table", "clocks");
    for section in ["columns", "lookup", "session"] {
        job.unset(&format!("pipeline.{section}"));
    }
    job.set("pipeline.time_field", "at");
    job.apply_schema();
    job.create_topic(1);
    let seconds = r#"{"at":1763719200.25,"sold":1763719200,"loaded":1763719200123456,"seen":1763719200,"flag":true}"#;
    let millis =
        r#"{"at":1763719200250,"sold":null,"loaded":"2025-11-21T10:00:00Z","seen":1763719200999}"#;
    let other = r#"{"at":1763719200250,"loaded":1763719200}"#;
    produce(&job, &[seconds, millis, other]);
    job.run_to_end();
    let rows = "SELECT at, sold, loaded, seen, flag FROM {db}.clocks ORDER BY _offset";
    let second = "2025-11-21 10:00:00.250\t\\N\t2025-11-21 10:00:00.000000\t2025-11-21 10:00:00\t0";
    assert_eq!(job.query(rows).lines().collect::<Vec<_>>(), [second]);
    let of_kafka = "SELECT _timestamp, _key, _value FROM {db}.clocks";
    let expected = format!("2025-11-21 10:50:00.000\t\\N\t{millis}");
    assert_eq!(job.query(of_kafka).trim_end(), expected);
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    let seen: Vec<_> = letters.iter().map(offset_reason_column).collect();
    let implausible =
        |offset, column: &str| (offset, "implausible_time".to_owned(), column.to_owned());
    assert_eq!(seen, [implausible(0, "at"), implausible(2, "loaded")]);
    for letter in &letters {
        let detail = letter.header("streamweir-detail").expect("a detail");
        assert!(
            detail.ends_with("looks like seconds: set time_unit"),
            "{detail}"
        );
    }

    job.set("pipeline.time_unit", "s");
    job.set("pipeline.columns", table(r#"loaded = { unit = "us" }"#));
    job.set("pipeline.group_id", format!("{}seconds", job.prefix));
    job.query("TRUNCATE TABLE {db}.clocks");
    produce(
        &job,
        &[r#"{"at":1763719201,"loaded":1763719200123456.5,"seen":60}"#],
    );
    job.run_to_end();
    let rows = job.query(rows);
    assert_eq!(
        rows.lines().collect::<Vec<_>>(),
        [
            "2025-11-21 10:00:00.250\t2025-11-21 10:00:00\t2025-11-21 10:00:00.123456\t2025-11-21 10:00:00\t1",
            "2025-11-21 10:00:01.000\t\\N\t2025-11-21 10:00:00.123456\t1970-01-01 00:01:00\t0"
        ]
    );
}

#[test]
fn a_table_without_profiles_and_sessions_takes_events_whose_time_is_no_column() {
    let mut job = Job::new("readings");
    let ddl = job.directory.path().join("readings.sql");
    let statement = "CREATE TABLE readings (sensor LowCardinality(String), value Nullable(Float32), \
        `odd name` Int16, _topic LowCardinality(String), _partition UInt32, _offset UInt64) \
        ENGINE = MergeTree ORDER BY sensor SETTINGS non_replicated_deduplication_window = 100";
    std::fs::write(&ddl, statement).expect("written");
    job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
    job.set("pipeline.clickhouse.table", "readings");
    job.set("pipeline.time_field", "ts");
    for section in ["columns", "lookup", "session"] {
        job.unset(&format!("pipeline.{section}"));
    }
    job.apply_schema();
    job.create_topic(3);
    let records = [
        format!(r#"{{"sensor":"a","value":1.5,"odd name":-3,"ts":{T}}}"#),
        format!(r#"{{"sensor":"b","ts":{T}}}"#),
        r#"{"sensor":"c","value":1}"#.to_owned(),
        format!(r#"{{"sensor":"d","ts":{}}}"#, T + 3_600_001),
    ];
    let records = (0..).zip(&records).map(|(n, value)| {
        topic::Record::new(value.as_str())
            .partition(n % 3)
            .timestamp_ms(T)
    });
    topic::produce(job.bootstrap(), &job.topic, records).expect("records");
    job.run_to_end();
    job.assert_committed_to_end();
    let rows =
        job.query("SELECT sensor, value, `odd name`, _partition FROM {db}.readings ORDER BY 1");
    assert_eq!(
        rows.lines().collect::<Vec<_>>(),
        ["a\t1.5\t-3\t0", "b\t\\N\t0\t1"]
    );
    let letters = topic::read_all(job.bootstrap(), &job.dead_letter_topic).expect("dead letters");
    let mut reasons: Vec<_> = letters
        .iter()
        .filter_map(|letter| letter.header("streamweir-reason"))
        .collect();
    reasons.sort();
    assert_eq!(reasons, ["missing_field", "too_far_ahead"]);
}

#[test]
fn schema_print_shows_the_statements_and_apply_twice_makes_them_once() {
    let job = orders("ddl");
    let (path, _) = job.write_config("schema");
    let run = |action: &str| {
        let output = command(&path, &["schema", action])
            .output()
            .expect("it starts");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text")
    };
    let printed = run("print");
    let starts = [
        "CREATE TABLE IF NOT EXISTS orders",
        "CREATE VIEW IF NOT EXISTS paid_orders",
    ];
    for start in starts {
        assert_eq!(printed.matches(start).count(), 1, "{printed}");
    }
    let first = run("apply");
    job.query("INSERT INTO {db}.orders (customer, status) VALUES ('kept', 'paid')");
    assert_eq!(run("apply"), first);
    assert_eq!(job.query("SELECT customer FROM {db}.paid_orders"), "kept");
    // What was printed is what a client can run by hand.
    let other = format!("{}_by_hand", job.database);
    shared()
        .clickhouse
        .try_query(&format!("CREATE DATABASE `{other}`"))
        .expect("a database");
    for statement in printed.split(";\n").filter(|s| s.contains("CREATE")) {
        let at = statement.find("CREATE").expect("just seen");
        let statement = statement[at..].replace(" orders", &format!(" `{other}`.orders"));
        let statement = statement.replace(" paid_orders", &format!(" `{other}`.paid_orders"));
        shared()
            .clickhouse
            .try_query(&statement)
            .expect("the statement runs");
    }
}

#[test]
fn a_ddl_file_that_does_more_than_create_is_refused_before_anything_is_made() {
    let mut job = orders("drops");
    let ddl = job.directory.path().join("drops.sql");
    std::fs::write(
        &ddl,
        "CREATE TABLE a (x Int8) ENGINE = Memory; DROP TABLE a",
    )
    .expect("written");
    job.set("pipeline.clickhouse.ddl", ddl.display().to_string());
    let (path, _) = job.write_config("schema");
    let output = command(&path, &["schema", "apply"])
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("DROP TABLE a") && said.contains("drops.sql"),
        "{said}"
    );
    let made = format!(
        "SELECT count() FROM system.databases WHERE name = '{}'",
        job.database
    );
    assert_eq!(shared().clickhouse.query(&made), "0");
}
