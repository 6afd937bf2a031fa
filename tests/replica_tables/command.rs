//! `schema print` and `schema apply` for replicas.

use std::process::Output;

use sandbox::{shared, unique};

use super::{Found, query};
use crate::support::command;

/// A configuration with one declared replica, one that a record has to make, and a pattern.
fn run(database: &str, more: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("config.toml");
    let url = shared().clickhouse.url();
    let text = format!(
        r#"
        [clickhouse]
        url = "{url}"
        [[pipeline]]
        name = "shop"
        kind = "cdc"
        topics = ["shop.public.orders", "shop.public.stock", "shop.public.visits", "^crm\\..*"]
        group_id = "shop-replica"
        clickhouse.database = "{database}"
        {more}
        [pipeline.debezium]
        [pipeline.tables."shop.public.orders"]
        table = "all_orders"
        key = ["order_id"]
        columns = {{ total = "Nullable(Decimal(10, 2))", at = "Time64(3)", order_id = "Int64" }}
        [pipeline.tables."shop.public.visits"]
        columns = {{ page = "String" }}
        "#
    );
    std::fs::write(&path, text).expect("written");
    command(&path, arguments).output().expect("it starts")
}

fn printed(output: Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn declared_replicas_are_printed_and_made_and_the_others_are_named() {
    let database = unique("declared");
    let text = printed(run(&database, "", &["schema", "print"]));
    let begins =
        format!("CREATE TABLE IF NOT EXISTS `{database}`.`all_orders`\n(\n    `order_id` Int64,\n");
    assert!(text.contains(&begins), "{text}");
    for line in [
        "-- topic shop.public.stock, table stock: made from the first record",
        "-- topic shop.public.visits, table visits: made from the first record",
        "-- topics ^crm\\..*: made from the first record",
    ] {
        assert!(text.contains(line), "{text}");
    }
    assert!(!text.contains("-- topic shop.public.orders"), "{text}");
    let later = printed(run(
        &database,
        "create_tables = false",
        &["schema", "print"],
    ));
    assert!(
        later.contains("table stock: not made, create_tables is false"),
        "{later}"
    );

    for _ in 0..2 {
        let made = printed(run(&database, "", &["schema", "apply"]));
        assert_eq!(made.lines().count(), 3, "{made}");
    }
    assert!(
        Found::new(&database, "all_orders")
            .check(&["order_id"])
            .is_ok()
    );
    assert_eq!(
        query(&format!(
            "SELECT count() FROM {database}.all_orders_current"
        )),
        "0"
    );
}

#[test]
fn a_replica_whose_key_has_no_column_is_named_before_anything_is_made() {
    let database = unique("undeclared");
    let more =
        "[pipeline.tables.\"shop.public.stock\"]\nkey = [\"sku\"]\ncolumns = { left = \"Int32\" }";
    let output = run(&database, more, &["schema", "apply"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("pipeline.shop.tables.shop.public.stock")
            && said.contains("no column sku for the key"),
        "{said}"
    );
    let made = format!("SELECT count() FROM system.tables WHERE database = '{database}'");
    assert_eq!(query(&made), "0");
}
