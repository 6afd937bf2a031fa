//! The comparer notices every way in which a replica can be wrong.

use serde_json::{Value, json};

use super::*;

fn source() -> Source {
    let column = |name: &str, kind| Column {
        name: name.to_owned(),
        kind,
    };
    let row = |cells: [Option<&str>; 4]| cells.map(|cell| cell.map(str::to_owned)).to_vec();
    Source {
        columns: vec![
            column("region", Kind::Text),
            column("id", Kind::Number),
            column("amount", Kind::Number),
            column("note", Kind::Text),
        ],
        key: vec![0, 1],
        rows: vec![
            row([Some("eu"), Some("1"), Some("1.50"), Some("")]),
            row([Some("eu"), Some("2"), Some("2.00"), None]),
            row([Some("us"), Some("1"), None, Some("x")]),
        ],
    }
}

fn replica(rows: Value) -> Replica {
    Replica {
        columns: ["note", "id", "region", "amount"]
            .map(str::to_owned)
            .to_vec(),
        rows: serde_json::from_value(rows).unwrap(),
    }
}

fn equal_rows() -> Value {
    json!([
        ["x", "1", "us", null],
        [null, "2", "eu", "2"],
        ["", "1", "eu", "1.5"],
    ])
}

fn compared(replica: &Replica) -> Comparison {
    rows("accounts", &source(), replica, Binary::Raw).unwrap()
}

fn value(key: &str, column: &str, source: Option<&str>, replica: Option<&str>) -> Difference {
    Difference::Value {
        key: key.to_owned(),
        column: column.to_owned(),
        source: source.map(str::to_owned),
        replica: replica.map(str::to_owned),
    }
}

#[test]
fn equal_tables_are_equal_in_any_order() {
    let comparison = compared(&replica(equal_rows()));
    assert!(comparison.is_equal(), "{comparison}");
    assert_eq!((comparison.source_rows, comparison.values), (3, 12));
}

#[test]
fn a_missing_row_is_noticed() {
    let mut rows = equal_rows();
    rows.as_array_mut().unwrap().remove(1);
    let key = "region=eu id=2".to_owned();
    assert_eq!(
        compared(&replica(rows)).differences,
        [Difference::Missing { key }]
    );
}

#[test]
fn an_extra_row_and_a_repeated_one_are_noticed() {
    let mut rows = equal_rows();
    let more = [json!(["", "9", "eu", "1"]), json!(["x", "1", "us", null])];
    rows.as_array_mut().unwrap().extend(more);
    let repeated = Difference::Repeated {
        key: "region=us id=1".to_owned(),
        rows: 2,
    };
    let extra = Difference::Extra {
        key: "region=eu id=9".to_owned(),
    };
    assert_eq!(compared(&replica(rows)).differences, [repeated, extra]);
}

#[test]
fn a_changed_value_is_noticed_with_table_key_and_column() {
    let mut rows = equal_rows();
    rows[2][3] = json!("1.05");
    let comparison = compared(&replica(rows));
    let expected = value("region=eu id=1", "amount", Some("1.5"), Some("1.05"));
    assert_eq!(comparison.differences, [expected]);
    let shown = "accounts region=eu id=1: amount is \"1.5\" at the source, \"1.05\" in the replica";
    assert!(comparison.to_string().contains(shown), "{comparison}");
}

#[test]
fn null_is_neither_empty_nor_zero() {
    let mut rows = equal_rows();
    rows[0][3] = json!("0");
    rows[1][0] = json!("");
    rows[2][0] = json!(null);
    let expected = [
        value("region=eu id=1", "note", Some(""), None),
        value("region=eu id=2", "note", None, Some("")),
        value("region=us id=1", "amount", None, Some("0")),
    ];
    assert_eq!(compared(&replica(rows)).differences, expected);
}

#[test]
fn an_empty_replica_lacks_every_row() {
    let comparison = compared(&replica(json!([])));
    assert_eq!(comparison.differences_total, 3);
}

#[test]
fn a_column_that_the_replica_lacks_is_named_and_a_key_it_lacks_is_an_error() {
    let mut replica = replica(json!([["1", "us"], ["1", "eu"], ["2", "eu"]]));
    replica.columns = vec!["id".to_owned(), "region".to_owned()];
    let comparison = compared(&replica);
    assert!(comparison.is_equal());
    assert_eq!(comparison.columns_missing, ["amount", "note"]);
    replica.columns = vec!["id".to_owned(), "other".to_owned()];
    let error = rows("accounts", &source(), &replica, Binary::Raw).unwrap_err();
    assert_eq!(error.to_string(), "the replica of accounts lacks region");
}
