//! Sources whose names meet those of a replica.

use sandbox::topic::{self, Record};

use crate::replication::shop::{Shop, change, delete, field, in_block, set_mapping};

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

/// Another topic of the same pipeline.
fn write(shop: &Shop, table: &str, records: impl IntoIterator<Item = Record>) -> String {
    let topic = shop.topic.replace(".t", &format!(".{table}"));
    // It may be there already.
    let _ = topic::create(shop.job.bootstrap(), &topic, 1, &[]);
    topic::produce(shop.job.bootstrap(), &topic, records).expect("records");
    topic
}

fn read_all(shop: &mut Shop) {
    let pattern = format!("^{}shop[.]public[.].*", shop.job.prefix);
    shop.job.set("pipeline.topics", vec![pattern]);
}

#[test]
fn columns_of_the_source_called_like_the_replica_s_own_need_other_names_for_these() {
    let mut shop = Shop::new("own-names", &[], 1);
    read_all(&mut shop);
    let fields = |name: &str| [field("id", "int32", false), field(name, "int32", true)];
    let row = |id: u32, name: &str, value: u32| {
        let after = format!(r#"{{"id":{id},"{name}":{value}}}"#);
        in_block(change("c", &key(id), &after), &fields(name), 1)
    };
    let gone = |id: u32, name: &str| {
        let record = delete(&key(id), &key(id));
        in_block(record, &fields(name), 1)
    };
    shop.write([row(1, "v", 1)]);
    let versioned = write(
        &shop,
        "versioned",
        [row(1, "_version", 7), row(2, "_version", 8)],
    );
    let advice = ["its source has a column _version", "] version_column = "];
    shop.job.assert_halts("version", "schema", &advice);
    assert_eq!(shop.rows(), "1\t1", "the others go on");
    set_mapping(
        &mut shop.job,
        &versioned,
        "version_column",
        "order of changes",
    );
    let marked = write(
        &shop,
        "marked",
        [row(1, "_deleted", 1), row(2, "_deleted", 0)],
    );
    let advice = ["its source has a column _deleted", "] deleted_column = "];
    shop.job.assert_halts("deleted", "schema", &advice);
    set_mapping(&mut shop.job, &marked, "deleted_column", "gone");
    set_mapping(&mut shop.job, &marked, "view", "what is there");
    shop.run();
    write(
        &shop,
        "versioned",
        [row(1, "_version", 9), gone(2, "_version")],
    );
    write(
        &shop,
        "marked",
        [gone(1, "_deleted"), row(2, "_deleted", 5)],
    );
    shop.run();
    let query = |sql: &str| shop.job.query(sql);
    assert_eq!(
        query("SELECT id, _version FROM {db}.versioned_current"),
        "1\t9"
    );
    assert_eq!(
        query("SELECT id, _deleted FROM {db}.`what is there`"),
        "2\t5"
    );
    assert_eq!(query("EXISTS {db}.marked_current"), "0");
    shop.assert_no_dead_letters();
}

#[test]
fn a_column_of_such_a_name_that_comes_later_is_not_dropped_in_silence() {
    let shop = Shop::new(
        "own-later",
        &[("id", "Int32"), ("v", "Nullable(String)")],
        1,
    );
    shop.write([
        change("c", &key(1), r#"{"id":1,"v":"a"}"#),
        change("u", &key(1), r#"{"id":1,"v":"b","_version":3}"#),
    ]);
    let advice = [
        "a field _version",
        "version_column",
        "column.exclude.list",
        ":0:1",
    ];
    shop.job.assert_halts("later", "schema", &advice);
    assert_eq!(shop.rows(), "1\ta");
}

#[test]
fn a_table_called_like_another_s_view_needs_another_name() {
    let mut shop = Shop::new("views", &[], 1);
    read_all(&mut shop);
    let fields = [field("id", "int32", false)];
    let row = |id: u32| in_block(change("c", &key(id), &key(id)), &fields, 1);
    shop.write([row(1)]);
    write(&shop, "late_current", [row(7)]);
    shop.run();
    let of_view = write(&shop, "t_current", [row(5)]);
    write(&shop, "late", [row(8)]);
    let advice = ["t_current is a view", "table = ", "view = ", "DROP VIEW"];
    shop.job.assert_halts("view", "schema", &advice);
    set_mapping(&mut shop.job, &of_view, "table", "t_now");
    let (code, log) = shop.job.run_to_code("named", &["--until", "latest"]);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("late_current is a table, so no view"), "{log}");
    let query = |sql: &str| shop.job.query(sql);
    assert_eq!(query("SELECT id FROM {db}.t_current"), "1");
    assert_eq!(query("SELECT id FROM {db}.t_now FINAL"), "5");
    assert_eq!(query("SELECT id FROM {db}.late FINAL"), "8");
    assert_eq!(query("SELECT id FROM {db}.late_current FINAL"), "7");
}

#[test]
fn tables_that_only_look_like_a_signal_table_are_replicated() {
    let mut shop = Shop::new("signals", &[], 1);
    read_all(&mut shop);
    let fields = ["id", "type", "data"].map(|name| field(name, "string", name == "data"));
    let row = |id: &str| {
        let after = format!(r#"{{"id":"{id}","type":"green","data":null}}"#);
        in_block(
            change("c", &format!(r#"{{"id":"{id}"}}"#), &after),
            &fields,
            1,
        )
    };
    write(&shop, "traffic_signal", [row("s1"), row("s2")]);
    write(&shop, "debezium_signal", [row("default")]);
    write(&shop, "orders_for_it", [row("named")]);
    shop.job.set(
        "pipeline.debezium.signal_table",
        vec!["debezium_signal", "public.orders_for_it"],
    );
    shop.run();
    let query = |sql: &str| shop.job.query(sql);
    assert_eq!(
        query("SELECT id FROM {db}.traffic_signal FINAL ORDER BY id"),
        "s1\ns2"
    );
    let tables = format!(
        "SELECT arraySort(groupArray(name)) FROM system.tables WHERE database = '{}' AND name != \
         'streamweir_moved_rows'",
        shop.job.database
    );
    let expected = "['traffic_signal','traffic_signal_current']";
    assert_eq!(query(&tables), expected);
}
