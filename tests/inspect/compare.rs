//! `streamweir compare`.

use serde_json::json;

use super::{json, run};
use crate::support::Job;

const COLUMNS: &str = "id UInt64, part Nullable(String), at DateTime64(3, 'UTC'), name LowCardinality(String), \
                       price Nullable(Float64), tags Array(Nullable(String)), amount Decimal(18, 4)";

/// A table of 3,000 rows with NULLs, floating-point numbers and arrays.
fn fill(job: &Job, table: &str, columns: &str, engine: &str) {
    job.query(&format!(
        "CREATE TABLE {{db}}.{table} ({columns}) ENGINE = {engine} ORDER BY id"
    ));
    job.query(&format!(
        "INSERT INTO {{db}}.{table} (id, part, at, name, price, tags, amount) SELECT number, \
         if(number % 3 = 0, NULL, toString(number % 5)), toDateTime64('2026-11-21 10:00:00', 3, 'UTC') + number, \
         toString(number % 7), multiIf(number % 4 = 0, NULL, number % 4 = 1, nan, number / 10), \
         if(number % 2 = 0, ['a', NULL], ['b', '']), number FROM numbers(3000)"
    ));
}

#[test]
fn tables_are_equal_or_the_keys_that_differ_are_counted_and_shown() {
    let job = Job::new("compare");
    job.apply_schema();
    fill(&job, "a", COLUMNS, "MergeTree");
    // Other types of equal values, another column, and rows that are replaced.
    let columns = COLUMNS
        .replace("id UInt64", "id UInt32")
        .replace("LowCardinality(String)", "String")
        .replace(
            "amount Decimal(18, 4)",
            "amount Decimal(38, 9), version UInt8",
        );
    fill(&job, "b", &columns, "ReplacingMergeTree(version)");
    job.query("INSERT INTO {db}.b SELECT * REPLACE ('older' AS name) FROM {db}.b WHERE id < 10");
    job.query("INSERT INTO {db}.b SELECT * REPLACE (1 AS version) FROM {db}.b FINAL WHERE name != 'older' AND id < 20");
    job.query("INSERT INTO {db}.b SELECT * REPLACE (1 AS version, toString(id % 7) AS name) FROM {db}.b FINAL WHERE id < 10");
    let (a, b) = (format!("{}.a", job.database), format!("{}.b", job.database));
    let compare = |more: &[&str]| {
        let tables = ["compare", "--a", &a, "--b", &b, "--key", "id,part"];
        json(&job, &[&tables[..], more].concat())
    };
    let (code, found) = compare(&[]);
    assert_eq!((code, &found["equal"]), (0, &json!(true)), "{found:#}");
    assert_eq!(found["a"]["rows"], json!(3000));
    assert_eq!(
        found["b"],
        json!({ "table": b, "rows": 3000, "final": true })
    );
    assert_eq!(found["only_in_b"], json!(["version"]));
    assert_eq!(found["types"].as_array().map(Vec::len), Some(3));

    job.query("DELETE FROM {db}.a WHERE id IN (5, 6)");
    job.query("INSERT INTO {db}.a SELECT * FROM {db}.a WHERE id IN (100, 101, 102)");
    let changes = [
        ("name = 'x'", 200),
        ("price = NULL", 202),
        ("price = 0", 204),
        ("tags = ['a', '']", 206),
        ("tags = ['b', '', NULL]", 207),
        ("amount = 0.1", 208),
    ];
    for (change, id) in changes {
        job.query(&format!(
            "ALTER TABLE {{db}}.a UPDATE {change} WHERE id = {id} SETTINGS mutations_sync = 1"
        ));
    }
    job.query("INSERT INTO {db}.b SELECT * REPLACE (9000 AS id) FROM (SELECT * FROM {db}.b FINAL WHERE id = 1)");
    let (code, found) = compare(&[]);
    assert_eq!(code, 1);
    let counts = ["differs", "missing_in_a", "missing_in_b", "doubled"].map(|kind| &found[kind]);
    assert_eq!(json!(counts), json!([6, 3, 0, 3]), "{found:#}");
    let samples = found["samples"]["differs"].as_array().expect("samples");
    let columns = |id: u64| {
        let id = id.to_string();
        let one = samples
            .iter()
            .find(|sample| sample["key"]["id"] == json!(id));
        one.unwrap_or_else(|| panic!("{id}: {found:#}"))["columns"].clone()
    };
    assert_eq!(columns(200), json!({ "name": { "a": "x", "b": "4" } }));
    assert_eq!(columns(202), json!({ "price": { "a": null, "b": "20.2" } }));
    assert_eq!(columns(204), json!({ "price": { "a": "0", "b": null } }));
    assert_eq!(
        columns(207),
        json!({ "tags": { "a": "['b','',NULL]", "b": "['b','']" } })
    );
    let doubled = found["samples"]["doubled"].as_array().expect("samples");
    assert!(
        doubled
            .iter()
            .all(|one| one["rows_a"] == json!(2) && one["rows_b"] == json!(1)),
        "{found:#}"
    );
    assert_eq!(found["samples"]["missing_in_a"][0]["rows_b"], json!(1));

    // Only a part of the rows, or of the columns.
    let (code, _) = compare(&[
        "--since",
        "2026-11-21T10:10:00Z",
        "--until",
        "2026-11-21T10:40:00Z",
    ]);
    assert_eq!(code, 0);
    let until = ["--until", "2026-11-21T10:00:10Z", "--time-column", "at"];
    assert_eq!(compare(&until).1["missing_in_a"], json!(3));
    let (_, found) = compare(&["--ignore", "price,tags", "--ignore", "amount"]);
    assert_eq!(found["differs"], json!(1));
    for (more, message) in [
        (
            &["--a", "a", "--b", "nothing", "--key", "id"][..],
            "there is no table",
        ),
        (
            &["--a", "a", "--b", "b", "--key", "nothing"],
            "--key nothing: table",
        ),
        (
            &["--a", "a", "--b", "b", "--key", "id", "--ignore", "y"],
            "--ignore y",
        ),
    ] {
        let (code, _, err) = run(&job, &[&["compare"][..], more].concat());
        assert_ne!(code, 0);
        assert!(err.contains(message), "{err}");
    }
}
