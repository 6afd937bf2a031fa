//! Tables that are there already.

use super::{Found, database, query};

#[test]
fn a_table_that_would_not_become_equal_is_refused_with_what_to_do() {
    let database = database("refused");
    let own = "_version UInt64, _deleted UInt8";
    let columns = "id Int32, day Date, v String";
    let replacing = "ReplacingMergeTree(_version, _deleted)";
    for (number, (columns, engine, says)) in [
        (
            format!("{columns}, {own}"),
            format!("{replacing} ORDER BY id"),
            "",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} PARTITION BY id % 8 ORDER BY id"),
            "",
        ),
        (
            format!("{columns}, w String MATERIALIZED v, {own}"),
            format!("{replacing} ORDER BY (id)"),
            "",
        ),
        (
            format!("{columns}, {own}"),
            "MergeTree ORDER BY id".to_owned(),
            "its engine is MergeTree",
        ),
        (
            format!("{columns}, {own}"),
            "Memory".to_owned(),
            "its engine is Memory",
        ),
        (
            format!("{columns}, {own}"),
            "ReplacingMergeTree ORDER BY id".to_owned(),
            "replaces by (), not by",
        ),
        (
            format!("{columns}, {own}"),
            "ReplacingMergeTree(_version) ORDER BY id".to_owned(),
            "replaces by (_version), not by",
        ),
        (
            format!("{columns}, {own}, other UInt64"),
            "ReplacingMergeTree(other, _deleted) ORDER BY id".to_owned(),
            "replaces by (other, _deleted)",
        ),
        (
            format!("{columns}, _version UInt32, _deleted UInt8"),
            format!("{replacing} ORDER BY id"),
            "its column _version is UInt32, not UInt64",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} ORDER BY (id, day)"),
            "it is sorted by (id, day), but the key of its records is (id)",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} ORDER BY day"),
            "it is sorted by (day)",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} ORDER BY intHash32(id)"),
            "it is sorted by (intHash32(id))",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} ORDER BY tuple()"),
            "it is sorted by (",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} PARTITION BY toYYYYMM(day) ORDER BY id"),
            "an update of day would leave the old row",
        ),
        (
            format!("{columns}, {own}"),
            format!("{replacing} PARTITION BY (id % 2, `v`) ORDER BY id"),
            "an update of v would leave",
        ),
        (
            format!("{columns}, m Map(String, String), {own}"),
            format!("{replacing} ORDER BY id"),
            // Left to the server until a record has its field.
            "",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        query(&format!(
            "CREATE TABLE {database}.t{number} ({columns}) ENGINE = {engine}"
        ));
        match Found::new(&database, &format!("t{number}")).check(&["id"]) {
            Ok(_) => assert_eq!(says, "", "{engine}"),
            Err(error) => {
                let error = error.to_string();
                assert!(
                    !says.is_empty() && error.contains(says),
                    "{engine}: {error}"
                );
                assert!(
                    error.starts_with(&format!("table {database}.t{number} cannot be a replica"))
                );
                assert!(
                    error.contains(
                        "ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY (`id`)"
                    ),
                    "{error}"
                );
            }
        }
    }
}
