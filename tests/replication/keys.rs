//! What tells rows apart: composite keys, tables without one, keys that do not fit their table.

use sandbox::topic::Record;

use crate::shop::{Shop, change, delete, envelope, key_change};

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
