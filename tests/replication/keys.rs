//! What tells rows apart: composite keys, tables without one, keys that do not fit their table.

use sandbox::topic::Record;

use crate::replication::shop::{Shop, change, delete, envelope, field, in_block, key_change};

/// A record of a table without key: `before` and `after` are JSON.
fn keyless(operation: &str, before: &str, after: &str) -> Record {
    Record::new(envelope(operation, before, after))
}

#[test]
fn all_columns_of_a_composite_key_tell_rows_apart() {
    let columns = [
        ("region", "String"),
        ("id", "Int64"),
        ("day", "Date32"),
        ("v", "Nullable(String)"),
    ];
    let mut shop = Shop::new("composite", &columns, 4);
    shop.set_mapping("key", vec!["region", "id", "day"]);
    let key = |region: &str, id: u32| format!(r#"{{"region":"{region}","id":{id},"day":20000}}"#);
    let row = |region: &str, id: u32, v: &str| {
        format!(r#"{{"region":"{region}","id":{id},"day":20000,"v":"{v}"}}"#)
    };
    let (leaves, comes) = key_change(&key("eu", 2), &key("us", 2), &row("us", 2, "moved"));
    let records = [
        change("c", &key("eu", 1), &row("eu", 1, "a")),
        change("c", &key("eu", 2), &row("eu", 2, "b")),
        change("c", &key("us", 1), &row("us", 1, "c")),
        change("u", &key("us", 1), &row("us", 1, "d")),
        change("c", &key("us", 3), &row("us", 3, "e")),
        delete(&key("us", 3), &row("us", 3, "")),
    ];
    shop.write([records.into(), leaves, vec![comes]].concat());
    shop.run();
    let expected = "eu\t1\t2024-10-04\ta\nus\t1\t2024-10-04\td\nus\t2\t2024-10-04\tmoved";
    assert_eq!(shop.rows(), expected);
    shop.assert_no_dead_letters();
}

#[test]
fn a_header_that_cannot_be_read_costs_nothing() {
    let columns = [("id", "Int64"), ("day", "Date32"), ("v", "String")];
    let mut shop = Shop::new("bad-header", &columns, 1);
    shop.set_mapping("key", vec!["id", "day"]);
    let key = |id: u32| format!(r#"{{"id":{id},"day":20000}}"#);
    let row = |id: u32| format!(r#"{{"id":{id},"day":20000,"v":"a"}}"#);
    let broken = [
        r#"{"id":1,"day":2026-01-01}"#,
        "",
        "null",
        "[1]",
        r#"{"other":1}"#,
        "\u{fffd}{",
    ];
    for (id, header) in (1..).zip(broken) {
        shop.write([
            change("c", &key(id), &row(id)).header("__debezium.oldkey", header),
            change("c", &key(id + 100), &row(id + 100)),
            delete(&key(id + 100), &key(id + 100)).header("__debezium.newkey", header),
            Record::tombstone(key(id + 100)).header("__debezium.newkey", header),
        ]);
    }
    shop.run();
    assert_eq!(shop.select("id", "_deleted = 0"), "1\n2\n3\n4\n5\n6");
    shop.assert_no_dead_letters();
}

#[test]
fn a_table_without_key_halts_until_columns_are_named_and_then_ends_right() {
    let columns = [
        ("visitor", "String"),
        ("page", "String"),
        ("n", "Nullable(Int64)"),
    ];
    let mut shop = Shop::new("no-key", &columns, 1);
    let row = |visitor: &str, page: &str, n: u32| {
        format!(r#"{{"visitor":"{visitor}","page":"{page}","n":{n}}}"#)
    };
    shop.write([
        keyless("c", "null", &row("ann", "/", 1)),
        keyless("c", "null", &row("bob", "/", 1)),
        keyless("c", "null", &row("eve", "/", 1)),
        keyless("u", &row("ann", "/", 1), &row("ann", "/", 2)),
        // The columns that tell rows apart change, there and back again in another row.
        keyless("u", &row("bob", "/", 1), &row("bob", "/shop", 5)),
        keyless("u", &row("bob", "/shop", 5), &row("bill", "/shop", 6)),
        keyless("c", "null", &row("bob", "/", 7)),
        keyless("d", &row("eve", "/", 1), "null"),
    ]);
    let advice = [
        "have no key, so nothing tells the rows of table",
        "key = [",
        "REPLICA IDENTITY FULL",
        "one partition",
        ":0:0",
    ];
    shop.job.assert_halts("no-key", "missing_key", &advice);
    shop.set_mapping("key", vec!["visitor", "page"]);
    shop.run();
    let expected = "ann\t/\t2\nbill\t/shop\t6\nbob\t/\t7";
    assert_eq!(shop.rows(), expected);
    shop.set_back(0, 2);
    shop.run();
    assert_eq!(shop.rows(), expected);
    shop.assert_no_dead_letters();
}

#[test]
fn a_table_that_is_sorted_by_something_else_halts() {
    let shop = Shop::new("other-key", &[("id", "Int64"), ("v", "String")], 1);
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, v String, _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY (v, id)",
    );
    shop.write([change("c", r#"{"id":1}"#, r#"{"id":1,"v":"a"}"#)]);
    let advice = [
        "is sorted by (v, id)",
        "key of the records is (id)",
        "ORDER BY (id)",
    ];
    shop.job.assert_halts("sorted", "schema", &advice);
    assert_eq!(shop.job.query("SELECT count() FROM {db}.t"), "0");
}

#[test]
fn a_key_that_changes_at_the_source_halts_at_its_first_record_and_the_advice_loses_nothing() {
    let mut shop = Shop::new("wider-key", &[], 2);
    let fields = |of_key: &[&str]| {
        let all = [
            field("id", "int32", false),
            field("region", "string", false),
        ];
        let key_len = of_key.len();
        move |record: Record| in_block(record, &all, key_len)
    };
    let (narrow, wide) = (fields(&["id"]), fields(&["id", "region"]));
    let row = |id: u32, region: &str| format!(r#"{{"id":{id},"region":"{region}"}}"#);
    let id = |id: u32| format!(r#"{{"id":{id}}}"#);
    // The key changed long ago: both partitions have records of either.
    for partition in 0..2 {
        let (one, two) = (10 * partition + 1, 10 * partition + 2);
        let records = [
            narrow(change("c", &id(one), &row(one, "eu"))),
            wide(change("c", &row(one, "us"), &row(one, "us"))),
            wide(change("c", &row(two, "us"), &row(two, "us"))),
            wide(delete(&row(two, "us"), &row(two, "us"))),
        ];
        shop.write_to(partition as i32, records);
    }
    let advice = [
        "is sorted by (id), but the key of the records is (id, region)",
        "for topic",
        "to its end",
        "accept_empty = true",
        "new snapshot",
        ":1",
    ];
    shop.job.assert_halts("wider", "schema", &advice);
    assert_eq!(shop.rows(), "1\teu\n11\teu");
    let committed = sandbox::topic::committed(shop.job.bootstrap(), &shop.job.group, &shop.topic);
    let committed = committed.expect("offsets");
    assert!(committed.values().all(|committed| committed.offset == 1));
    shop.set_mapping("table", "wide");
    shop.job.assert_halts("behind", "table_behind", &["_.wide"]);
    // As the advice says: neither halts any more, whatever lies in which partition.
    shop.set_mapping("accept_empty", true);
    shop.set_back(0, 4);
    shop.set_back(1, 4);
    let rows = [(1, "eu"), (1, "us"), (11, "eu"), (11, "us")];
    for (number, (id, region)) in (0..).zip(rows) {
        let record = wide(change("r", &row(id, region), &row(id, region)));
        shop.write_to(number % 2, [record]);
    }
    shop.run();
    let rows = "SELECT id, region FROM {db}.wide_current ORDER BY ALL";
    assert_eq!(shop.job.query(rows), "1\teu\n1\tus\n11\teu\n11\tus");
    shop.assert_no_dead_letters();
}

#[test]
fn a_part_of_the_source_s_key_is_no_key() {
    let mut shop = Shop::new("part-of-key", &[], 1);
    let fields = [
        field("id", "int32", false),
        field("region", "string", false),
    ];
    let row = |id: u32, region: &str| format!(r#"{{"id":{id},"region":"{region}"}}"#);
    let wide = |operation: &str, id: u32, region: &str| {
        let row = row(id, region);
        in_block(change(operation, &row, &row), &fields, 2)
    };
    let narrow = change("c", r#"{"id":1}"#, &row(1, "eu"));
    shop.write([
        in_block(narrow, &fields, 1),
        wide("c", 2, "eu"),
        wide("c", 2, "us"),
        in_block(delete(&row(2, "eu"), &row(2, "eu")), &fields, 2),
    ]);
    shop.set_mapping("key", vec!["id"]);
    let advice = [
        r#"key = ["id"] leaves out ["region"]"#,
        r#"key = ["id", "region"]"#,
        "message.key.columns",
    ];
    shop.job
        .assert_halts("part", "schema", &[&advice[..], &[":0:1"]].concat());
    assert_eq!(shop.rows(), "1\teu");
    // From the first record on no table is made.
    shop.set_back(0, 1);
    shop.job.query("DROP TABLE {db}.t");
    shop.set_mapping("accept_empty", true);
    shop.job.assert_halts("first", "schema", &advice);
    assert_eq!(shop.job.query("EXISTS {db}.t"), "0");
    // As the advice says.
    shop.set_mapping("key", vec!["id", "region"]);
    shop.set_back(0, 0);
    shop.run();
    assert_eq!(shop.rows(), "1\teu\n2\tus");
    shop.assert_no_dead_letters();
}

#[test]
fn null_in_a_key_halts_where_its_column_has_none_and_the_advice_loses_nothing() {
    let mut shop = Shop::new("null-in-key", &[], 1);
    let fields = [field("visitor", "string", true), field("n", "int32", false)];
    let row = |visitor: &str, n: u32| {
        let row = format!(r#"{{"visitor":{visitor},"n":{n}}}"#);
        let key = format!(r#"{{"visitor":{visitor}}}"#);
        in_block(change("c", &key, &row), &fields, 1)
    };
    shop.set_mapping("key", vec!["visitor"]);
    shop.write([
        row(r#""ann""#, 1),
        row(r#""""#, 2),
        // A key without members: it is the row that has NULL.
        row("null", 3).key("7"),
        row("null", 4),
    ]);
    let advice = [
        "column visitor String of the key is null",
        r#"columns = { "visitor" = "Nullable(String)" }"#,
        "to its beginning",
    ];
    let halts = |shop: &Shop, instance: &str, place: &str| {
        let advice = [&advice[..], &[place]].concat();
        shop.job.assert_halts(instance, "schema", &advice);
        assert_eq!(shop.select("n", "1"), "1\n2");
    };
    halts(&shop, "of-row", ":0:2");
    let skip = |places: Vec<String>| toml::Value::from(places);
    let place = format!("{}:0:2", shop.topic);
    shop.job.set("pipeline.dead_letter.skip", skip(vec![place]));
    halts(&shop, "of-key", ":0:3");
    // As the advice says.
    shop.job.set("pipeline.dead_letter.skip", skip(vec![]));
    let columns = toml::Table::from_iter([("visitor".to_owned(), "Nullable(String)".into())]);
    shop.set_mapping("columns", columns);
    shop.set_mapping("table", "with_null");
    shop.set_back(0, 0);
    shop.run();
    let rows = "SELECT concat('<', visitor, '>'), n FROM {db}.with_null_current ORDER BY n";
    assert_eq!(shop.job.query(rows), "<ann>\t1\n<>\t2\n\\N\t4");
    shop.assert_no_dead_letters();
}

#[test]
fn a_key_of_bytes_is_taken_from_the_row_whatever_converter_wrote_it() {
    let mut shop = Shop::new("bytes-key", &[], 1);
    shop.set_mapping("key", vec!["id"]);
    let fields = [field("id", "bytes", false), field("big", "string", true)];
    let row = |id: &str, big: &str| format!(r#"{{"id":"{id}","big":{big}}}"#);
    let id = |id: &str| format!(r#"{{"id":"{id}"}}"#);
    let of_key = |bytes: &[u8], record: Record| Record {
        key: Some(bytes.to_vec()),
        ..in_block(
            Record {
                key: None,
                ..record
            },
            &fields,
            1,
        )
    };
    let (one, two, three): (&[u8], &[u8], &[u8]) = (b"\0\0\0\0\0\0\0\x07", b"\xff\xfe", b"AQI=");
    let (leaves, comes) = key_change(
        &id("AQI="),
        &id("AwQ="),
        &row("AwQ=", crate::replication::shop::UNCHANGED),
    );
    let mut records = vec![
        of_key(one, change("c", "", &row("AQI=", r#""large""#))),
        of_key(two, change("c", "", &row("//4=", r#""gone""#))),
        of_key(two, delete("", &row("//4=", "null"))),
        Record {
            key: Some(two.to_vec()),
            ..Record::tombstone("")
        },
    ];
    records.extend(leaves.into_iter().map(|record| match record.value {
        Some(_) => of_key(one, record),
        None => Record {
            key: Some(one.to_vec()),
            ..record
        },
    }));
    records.push(of_key(three, comes));
    shop.write(records);
    shop.run();
    assert_eq!(shop.select("hex(id), big", "_deleted = 0"), "0304\tlarge");
    shop.assert_no_dead_letters();
}

#[test]
fn keys_without_the_table_s_columns_need_these_to_be_named() {
    let mut shop = Shop::new("scalar-key", &[("id", "Int64"), ("v", "String")], 1);
    let row = |id: u32, v: &str| format!(r#"{{"id":{id},"v":"{v}"}}"#);
    shop.write([
        change("c", "1", &row(1, "a")),
        change("c", r#""two""#, &row(2, "b")),
        change("c", "user-3", &row(3, "c")),
        change("c", r#"{"id":4,"shard":"x"}"#, &row(4, "d")),
        change("c", r#"{"other":5}"#, &row(5, "e")),
        change("u", "1", &row(1, "a2")),
        delete(r#""two""#, &row(2, "b")),
        Record::tombstone(r#""two""#),
        Record::tombstone("user-3"),
        Record::tombstone(r#"{"id":4,"shard":"x"}"#),
        Record::new(envelope("u", &row(5, "e"), &row(6, "moved"))).key(r#"{"other":5}"#),
    ]);
    let advice = ["is no JSON object", "key = [", "struct", ":0:0"];
    shop.job.assert_halts("scalar", "schema", &advice);
    assert_eq!(shop.job.query("EXISTS {db}.t"), "0");
    shop.set_mapping("key", vec!["id"]);
    shop.run();
    assert_eq!(shop.rows(), "1\ta2\n3\tc\n6\tmoved");
    let reasons = shop.reasons();
    assert_eq!(
        reasons.len(),
        1,
        "the tombstone that follows no delete: {reasons:?}"
    );
    assert_eq!(reasons[0].0, "missing_field");
    assert!(
        reasons[0].1.contains("key is not the table's"),
        "{reasons:?}"
    );
}

#[test]
fn a_key_s_member_that_a_transform_added_is_a_column_of_the_table() {
    let shop = Shop::new("router", &[], 1);
    let router = |record: Record, shard: &str| {
        let fields = [field("id", "int32", false), field("v", "string", true)];
        let mut record = in_block(record, &fields, 1);
        let key = String::from_utf8(record.key.expect("a key")).expect("JSON");
        let key = key
            .replace(
                r#""field":"id"}"#,
                r#""field":"id"},{"type":"string","field":"__shard"}"#,
            )
            .replace(
                r#""payload":{"#,
                &format!(r#""payload":{{"__shard":"{shard}","#),
            );
        record.key = Some(key.into_bytes());
        record
    };
    let row = |id: u32, v: &str| {
        change(
            "c",
            &format!(r#"{{"id":{id}}}"#),
            &format!(r#"{{"id":{id},"v":"{v}"}}"#),
        )
    };
    shop.write([
        router(row(1, "a"), "one"),
        router(row(1, "b"), "two"),
        router(delete(r#"{"id":1}"#, r#"{"id":1,"v":null}"#), "one"),
    ]);
    shop.run();
    assert_eq!(shop.rows(), "two\t1\tb");
}

#[test]
fn null_in_a_key_is_a_value_where_its_column_has_null() {
    let columns = [
        ("visitor", "Nullable(String)"),
        ("big", "String"),
        ("n", "Int64"),
    ];
    let mut shop = Shop::new("null-key", &columns, 1);
    shop.set_mapping("key", vec!["visitor"]);
    let row = |operation: &str, visitor: &str, big: &str, n: u32| {
        let after = format!(r#"{{"visitor":{visitor},"big":{big},"n":{n}}}"#);
        change(operation, &format!(r#"{{"visitor":{visitor}}}"#), &after)
    };
    let (null, empty, ann) = ("null", r#""""#, r#""ann""#);
    shop.write([null, empty, ann].map(|visitor| row("c", visitor, r#""large""#, 1)));
    shop.run();
    let unchanged = crate::replication::shop::UNCHANGED;
    shop.write([row("u", null, unchanged, 2), row("u", empty, unchanged, 3)]);
    shop.write([delete(&format!(r#"{{"visitor":{ann}}}"#), "null")]);
    shop.run();
    assert_eq!(
        shop.select("visitor, n, big", "_deleted = 0"),
        "3\tlarge\n\\N\t2\tlarge"
    );
    shop.assert_no_dead_letters();
}
