//! Deletes, in every form they come in.

use sandbox::topic::Record;

use crate::replication::shop::{Shop, change, delete, dropped};

const COLUMNS: [(&str, &str); 3] = [("id", "Int64"), ("v", "String"), ("n", "Nullable(Int64)")];

fn row(operation: &str, id: u32, v: &str) -> Record {
    let after = format!(r#"{{"id":{id},"v":"{v}","n":{id}}}"#);
    change(operation, &format!(r#"{{"id":{id}}}"#), &after)
}

/// As a connector writes it: columns that are no part of the key are filled with something.
fn gone(id: u32) -> Record {
    let before = format!(r#"{{"id":{id},"v":"filler","n":0}}"#);
    delete(&format!(r#"{{"id":{id}}}"#), &before)
}

fn tombstone(id: u32) -> Record {
    Record::tombstone(format!(r#"{{"id":{id}}}"#))
}

#[test]
fn a_deleted_row_is_its_key_and_nothing_else() {
    let shop = Shop::new("deletes", &COLUMNS, 1);
    let flat = |id: u32, deleted: bool| {
        let row = format!(r#"{{"id":{id},"v":"flat","n":null,"__deleted":"{deleted}"}}"#);
        Record::new(row).key(format!(r#"{{"id":{id}}}"#))
    };
    let json_null = |id: u32| Record::new("null").key(format!(r#"{{"id":{id}}}"#));
    shop.write((1..=8).map(|id| row("c", id, "a")));
    shop.run();
    shop.write([
        gone(1),
        tombstone(1),
        tombstone(2),
        json_null(3),
        flat(4, true),
        // Gone and there again, in the same batch and as an update.
        gone(5),
        tombstone(5),
        row("c", 5, "again"),
        flat(6, false),
        // Nobody has ever seen this one.
        gone(77),
        tombstone(77),
        row("c", 9, "short"),
        gone(9),
    ]);
    shop.run();
    let living = "5\tagain\t5\n6\tflat\t\\N\n7\ta\t7\n8\ta\t8";
    assert_eq!(shop.rows(), living);
    let view = "SELECT id, v, n FROM {db}.t_current ORDER BY id";
    assert_eq!(shop.job.query(view), living);
    let deleted = shop.deleted("id, v, n");
    let expected: Vec<String> = [1, 2, 3, 4, 9, 77].map(|id| format!("{id}\t\t\\N")).into();
    assert_eq!(deleted, expected.join("\n"));
    let fillers = "SELECT count() FROM {db}.t WHERE v = 'filler'";
    assert_eq!(shop.job.query(fillers), "0");
    shop.write([row("r", 1, "back")]);
    shop.run();
    assert_eq!(shop.rows(), format!("1\tback\t1\n{living}"));
    shop.assert_no_dead_letters();
}

#[test]
fn deletes_alone_make_no_table_and_are_counted() {
    let shop = Shop::new("no-table", &[], 1);
    shop.write([gone(1), tombstone(1), tombstone(2)]);
    let daemon = shop.start("daemon");
    shop.wait_for_commits(&daemon);
    assert_eq!(dropped(&daemon), [("no_table".to_owned(), 3)].into());
    assert_eq!(shop.job.query("EXISTS {db}.t"), "0");
    // A table made meanwhile is found when a row comes.
    shop.job.query("CREATE DATABASE IF NOT EXISTS {db}");
    shop.job.query(
        "CREATE TABLE {db}.t (id Int64, v String, n Nullable(Int64), _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY id",
    );
    shop.write([row("c", 3, "x"), row("c", 4, "y"), gone(4)]);
    shop.wait_for_rows(&daemon, "3\tx\t3");
    shop.wait_for_commits(&daemon);
    assert_eq!(shop.deleted("id"), "4");
    shop.assert_no_dead_letters();
    daemon.stop();
}
