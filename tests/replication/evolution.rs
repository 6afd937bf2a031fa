//! Records that have other columns than their table.

use sandbox::topic::Record;

use crate::replication::shop::{Declared, Shop, change, field, in_block};

const COLUMNS: [(&str, &str); 2] = [("id", "Int64"), ("v", "Nullable(String)")];

fn key(id: u32) -> String {
    format!(r#"{{"id":{id}}}"#)
}

/// `rest` is more JSON members.
fn row(id: u32, rest: &str) -> Record {
    change("u", &key(id), &format!(r#"{{"id":{id}{rest}}}"#))
}

fn base() -> Vec<Declared> {
    vec![field("id", "int64", false), field("v", "string", true)]
}

fn with(more: &[Declared]) -> Vec<Declared> {
    [base(), more.to_vec()].concat()
}

fn types(shop: &Shop) -> String {
    let types = format!(
        "SELECT name, type FROM system.columns WHERE database = '{}' AND table = 't' \
         AND name NOT IN ('id', 'v', '_version', '_deleted') ORDER BY name",
        shop.job.database
    );
    shop.job.query(&types)
}

#[test]
fn new_columns_without_a_schema_block() {
    let mut shop = Shop::new("bare", &COLUMNS, 2);
    shop.write([row(1, r#","v":"a""#)]);
    shop.run();
    let new = [
        row(2, r#","v":"b","n":7,"flag":null,"t":"x""#),
        row(3, r#","v":"c","n":null,"flag":true,"t":null,"o":{"a":[1]}"#),
    ];
    shop.write(new);
    let halt = [
        "the records have a field",
        "that no column takes",
        "add_columns",
        ":0",
    ];
    shop.job.set("pipeline.evolution", "strict");
    shop.job.assert_halts("strict", "schema", &halt);
    shop.job.set("pipeline.evolution", "ignore");
    let group = shop.job.group.clone();
    shop.set_group(&format!("{group}-ignores"));
    shop.run();
    assert_eq!(shop.rows(), "1\ta\n2\tb\n3\tc");
    assert_eq!(types(&shop), "");
    shop.job.set("pipeline.group_id", group);
    shop.job.set("pipeline.evolution", "add_columns");
    shop.run();
    let expected =
        "flag\tNullable(Bool)\nn\tNullable(Int64)\no\tNullable(String)\nt\tNullable(String)";
    assert_eq!(types(&shop), expected);
    let columns = "id, v, n, flag, t, o";
    let expected =
        "1\ta\t\\N\t\\N\t\\N\t\\N\n2\tb\t7\t\\N\tx\t\\N\n3\tc\t\\N\ttrue\t\\N\t{\"a\":[1]}";
    assert_eq!(shop.select(columns, "_deleted = 0"), expected);
    let view = format!("SELECT {columns} FROM {{db}}.t_current ORDER BY id");
    assert_eq!(shop.job.query(&view), expected);
    // Dropped and renamed columns keep what they hold.
    shop.write([row(2, r#","v":"d","m":7,"flag":true"#), row(4, "")]);
    shop.run();
    let expected = "2\td\t\\N\t7\ttrue\n4\t\\N\t\\N\t\\N\t\\N";
    assert_eq!(shop.select("id, v, n, m, flag", "id IN (2, 4)"), expected);
    shop.assert_no_dead_letters();
}

#[test]
fn new_columns_with_a_schema_block() {
    let mut shop = Shop::new("block", &[], 2);
    shop.write([in_block(row(1, r#","v":"a""#), &base(), 1)]);
    shop.run();
    let precise = r#""version":1,"parameters":{"scale":"2","connect.decimal.precision":"10"}"#;
    let decimal = field("price", "bytes", true)
        .named("org.apache.kafka.connect.data.Decimal")
        .with(precise);
    let fields = with(&[
        field("n", "int32", true),
        decimal,
        field("s", "string", false).with(r#""default":"new""#),
    ]);
    let new = [
        in_block(
            row(2, r#","v":"b","n":null,"price":"fQ==","s":"x""#),
            &fields,
            1,
        ),
        in_block(
            row(3, r#","v":"c","n":3,"price":null,"s":"new""#),
            &fields,
            1,
        ),
    ];
    shop.write(new);
    shop.job.set("pipeline.evolution", "strict");
    shop.job
        .assert_halts("strict", "schema", &["that no column takes"]);
    shop.job.set("pipeline.evolution", "ignore");
    let group = shop.job.group.clone();
    shop.set_group(&format!("{group}-ignores"));
    shop.run();
    assert_eq!(shop.select("id, v", "_deleted = 0"), "1\ta\n2\tb\n3\tc");
    assert_eq!(types(&shop), "");
    shop.job.set("pipeline.group_id", group);
    shop.job.set("pipeline.evolution", "add_columns");
    shop.run();
    let expected = "n\tNullable(Int32)\nprice\tNullable(Decimal(10, 2))\ns\tString";
    assert_eq!(types(&shop), expected);
    // Rows that the source did not touch show the default, as they do there.
    let expected = "1\ta\t\\N\t\\N\tnew\n2\tb\t\\N\t1.25\tx\n3\tc\t3\t\\N\tnew";
    assert_eq!(shop.select("id, v, n, price, s", "_deleted = 0"), expected);
    shop.assert_no_dead_letters();
}

/// A column as it was declared, and as it is from some record on.
struct Widened {
    before: Declared,
    after: Declared,
    /// JSON of a value of before, and of one that only the new type takes.
    values: [&'static str; 2],
    column: &'static str,
    shown: [&'static str; 2],
}

fn decimal(precision: u32, scale: u32) -> Declared {
    field("n", "bytes", false)
        .named("org.apache.kafka.connect.data.Decimal")
        .with(&format!(
            r#""version":1,"parameters":{{"scale":"{scale}","connect.decimal.precision":"{precision}"}}"#
        ))
}

fn widened() -> [Widened; 4] {
    [
        Widened {
            before: field("n", "int32", false),
            after: field("n", "int64", false),
            values: ["7", "5000000000"],
            column: "Int64",
            shown: ["7", "5000000000"],
        },
        Widened {
            before: decimal(4, 2),
            after: decimal(12, 4),
            // 1.25 at scale 2, and 12345678.0001 at scale 4.
            values: [r#""fQ==""#, r#""HL6Y9uE=""#],
            column: "Decimal(12, 4)",
            shown: ["1.25", "12345678.0001"],
        },
        Widened {
            before: field("n", "string", false),
            after: field("n", "string", true),
            values: [r#""x""#, "null"],
            column: "Nullable(String)",
            shown: ["x", "\\N"],
        },
        Widened {
            before: field("n", "int16", false),
            after: field("n", "int32", true),
            values: ["7", "null"],
            column: "Nullable(Int32)",
            shown: ["7", "\\N"],
        },
    ]
}

#[test]
fn columns_that_become_wider() {
    for (number, case) in widened().into_iter().enumerate() {
        let mut shop = Shop::new(&format!("wider-{number}"), &[], 1);
        let value = |which: usize| format!(r#","v":"a","n":{}"#, case.values[which]);
        shop.write([in_block(
            row(1, &value(0)),
            &with(std::slice::from_ref(&case.before)),
            1,
        )]);
        shop.run();
        shop.write([in_block(
            row(2, &value(1)),
            &with(std::slice::from_ref(&case.after)),
            1,
        )]);
        shop.job.set("pipeline.evolution", "strict");
        let halt = ["column n", "MODIFY COLUMN `n`", case.column, "add_columns"];
        shop.job.assert_halts("strict", "schema", &halt);
        shop.job.set("pipeline.evolution", "add_columns");
        shop.run();
        assert_eq!(types(&shop), format!("n\t{}", case.column));
        let expected = format!("1\t{}\n2\t{}", case.shown[0], case.shown[1]);
        assert_eq!(shop.select("id, n", "_deleted = 0"), expected);
        let view = "SELECT id, n FROM {db}.t_current ORDER BY id";
        assert_eq!(shop.job.query(view), expected);
        shop.assert_no_dead_letters();
    }
}

#[test]
fn changes_that_no_column_follows() {
    let mut shop = Shop::new("never", &[], 1);
    let number = with(&[field("n", "int32", false)]);
    shop.write([in_block(row(1, r#","v":"a","n":1"#), &number, 1)]);
    shop.run();
    let text = with(&[field("n", "string", false)]);
    shop.write([in_block(row(2, r#","v":"b","n":"x""#), &text, 1)]);
    let halt = [
        "column n Int32 cannot take what the records have now",
        "alter the column, or write to another table",
        "accept_empty = true",
        ":0:1",
    ];
    for evolution in ["strict", "add_columns"] {
        shop.job.set("pipeline.evolution", evolution);
        shop.job.assert_halts(evolution, "schema", &halt);
    }
    shop.job.set("pipeline.evolution", "ignore");
    shop.run();
    assert_eq!(shop.select("id", "_deleted = 0"), "1");
    let reasons = shop.reasons();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert_eq!(reasons[0].0, "invalid_value");
    assert!(reasons[0].1.starts_with("n: "), "{reasons:?}");
}

#[test]
fn a_statement_that_the_server_refuses_is_named() {
    let mut shop = Shop::new("refused", &[("id", "Int64"), ("n", "Int32")], 1);
    let fields = |kind| [field("id", "int64", false), field("n", kind, false)];
    shop.write([in_block(row(1, r#","n":1"#), &fields("int32"), 1)]);
    shop.run();
    shop.write([in_block(row(2, r#","n":5000000000"#), &fields("int64"), 1)]);
    let proxy = sandbox::fault::Proxy::start(&shop.job.clickhouse_url).expect("a proxy");
    let url = shop.job.clickhouse_url.clone();
    shop.job.set("clickhouse.url", proxy.url());
    let denied = sandbox::fault::Fault::exception(
        403,
        497,
        "app: Not enough privileges. To execute this query, it's necessary to have the grant ALTER MODIFY COLUMN(n)",
    );
    let alter = sandbox::fault::Matcher::any().query_contains("MODIFY COLUMN");
    proxy.inject(alter, denied, 1);
    let advice = [
        "the server refuses ALTER TABLE",
        "MODIFY COLUMN `n` Int64",
        "Not enough privileges",
        "grant the right, or run a statement that does the same yourself",
        ":0:1",
    ];
    shop.job
        .assert_halts("denied", "refused_statement", &advice);
    assert_eq!(shop.rows(), "1\t1");
    // As the advice says.
    shop.job.set("clickhouse.url", url);
    shop.job.query("ALTER TABLE {db}.t MODIFY COLUMN n Int64");
    shop.run();
    assert_eq!(shop.rows(), "1\t1\n2\t5000000000");
}
