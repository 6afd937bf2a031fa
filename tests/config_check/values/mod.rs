//! A wrong value for every key that there is.

mod enrichment;
mod join;
mod replica;
mod topics;
mod windows;

use super::*;
use enrichment::WRONG_VALUES;
use join::WRONG_JOIN_VALUES;
use replica::WRONG_REPLICA_VALUES;
use topics::WRONG_TOPIC_VALUES;
use windows::WRONG_WINDOWS_VALUES;

/// The cases above, those of the overridable sections once more in the pipeline, and every table as
/// something that is no table.
fn wrong_values() -> Vec<(String, String, String)> {
    let owned = |(key, value, says): &(&str, &str, &str)| {
        ((*key).to_owned(), (*value).to_owned(), (*says).to_owned())
    };
    let values = WRONG_VALUES.iter().chain(WRONG_TOPIC_VALUES);
    let mut cases: Vec<_> = values.map(owned).collect();
    for section in ["kafka.", "clickhouse.", "redis.", "schema_registry."] {
        for (key, value, says) in WRONG_VALUES
            .iter()
            .filter(|(key, ..)| key.starts_with(section))
        {
            cases.push((
                format!("pipeline.{key}"),
                (*value).to_owned(),
                (*says).to_owned(),
            ));
        }
    }
    let keys = known_keys();
    for key in &keys {
        let is_table = keys
            .iter()
            .any(|other| other.starts_with(&format!("{key}.")));
        if is_table && !key.ends_with('*') && key != "pipeline" && !is_of_another_kind(key) {
            cases.push((key.clone(), "7".to_owned(), "must be a table".to_owned()));
        }
    }
    let entry = "pipeline.lookup.columns.user_email".to_owned();
    cases.push((entry.clone(), "7".to_owned(), "must be a table".to_owned()));
    cases.push((entry, "\"email\"".to_owned(), "$.".to_owned()));
    cases
}

/// Tables of the kind cdc, as something that is no table, besides its wrong values.
fn wrong_replica_values() -> Vec<(String, String, String)> {
    let tables = ["debezium", "tables", "columns"].map(|table| format!("pipeline.{table}"));
    let inner = ["columns", "source_types"]
        .map(|table| format!("pipeline.tables.\"shop.public.orders\".{table}"));
    let no_table = tables.into_iter().chain(inner);
    let no_table = no_table.map(|key| (key, "7".to_owned(), "must be a table".to_owned()));
    let owned = |(key, value, says): &(&str, &str, &str)| {
        ((*key).to_owned(), (*value).to_owned(), (*says).to_owned())
    };
    WRONG_REPLICA_VALUES
        .iter()
        .map(owned)
        .chain(no_table)
        .collect()
}

/// Whether the clickstream pipeline cannot have the table.
fn is_of_another_kind(key: &str) -> bool {
    let tables = [
        "debezium", "tables", "window", "group", "metrics", "where", "output", "left", "right",
        "join",
    ];
    let is_in = |table: &&str| {
        let rest = key.strip_prefix("pipeline.");
        rest.is_some_and(|rest| rest == *table || rest.starts_with(&format!("{table}.")))
    };
    tables.iter().any(is_in)
}

fn wrong_windows_values() -> Vec<(String, String, String)> {
    let owned = |(key, value, says): &(&str, &str, &str)| {
        ((*key).to_owned(), (*value).to_owned(), (*says).to_owned())
    };
    WRONG_WINDOWS_VALUES.iter().map(owned).collect()
}

/// The key as [`known_keys`] lists it: a name the user chose is `*`.
fn known_form(key: &str) -> String {
    const NAMED: [&str; 18] = [
        "topics",
        "topics.*.config",
        "kafka.properties",
        "clickhouse.settings",
        "pipeline.kafka.properties",
        "pipeline.clickhouse.settings",
        "watermark",
        "pipeline.columns",
        "pipeline.lookup.columns",
        "pipeline.session.distinct_where",
        "pipeline.tables",
        "pipeline.tables.*.columns",
        "pipeline.tables.*.source_types",
        "pipeline.group",
        "pipeline.metrics",
        "pipeline.metrics.*.where",
        "pipeline.where",
        "pipeline.right.fields",
    ];
    let mut known = String::new();
    for part in parts_of(key) {
        let is_chosen = NAMED.contains(&known.as_str());
        let part = if is_chosen { "*" } else { &part };
        let dot = if known.is_empty() { "" } else { "." };
        known = format!("{known}{dot}{part}");
    }
    known
}

#[test]
fn a_wrong_value_of_any_key_is_named_with_what_is_allowed() {
    for (key, value, says) in wrong_values() {
        assert_problem(
            &shipped_with(&[(&key, &value)]),
            &problem_path(&key),
            &[&says],
        );
    }
    assert!(parse(REPLICA).is_ok());
    for (key, value, says) in wrong_replica_values() {
        let text = replica_with(&[(&key, &value)]);
        assert_problem(&text, &path_in("shop", &key), &[&says]);
    }
    assert!(parse(WINDOWS).is_ok());
    for (key, value, says) in wrong_windows_values() {
        let text = windows_with(&[(&key, &value)]);
        assert_problem(&text, &path_in("sales", &key), &[&says]);
    }
    assert!(parse(JOIN).is_ok());
    for (key, value, says) in WRONG_JOIN_VALUES {
        let text = join_with(&[(key, value)]);
        assert_problem(&text, &path_in("enriched", key), &[says]);
    }
    let sessions = [
        ("pipeline.window", "{ kind = \"session\" }"),
        ("pipeline.partitioned_by", "\"category\""),
    ];
    assert!(parse(&windows_with(&sessions)).is_ok());
    let gap = [&sessions[..], &[("pipeline.window.gap", "\"8days\"")]].concat();
    assert_problem(&windows_with(&gap), "pipeline.sales.window.gap", &["7days"]);
    let text = shipped_with(&[("pipeline.name", "\"click stream\"")]);
    assert_problem(&text, "pipeline.click stream.name", &["1 to 64 characters"]);
    assert_problem("pipeline = 3", "pipeline", &["write [[pipeline]]"]);
    assert_problem(
        "[pipeline]\nname = \"x\"",
        "pipeline",
        &["write [[pipeline]]"],
    );
    assert_problem("pipeline = [3]", "pipeline[0]", &["write [[pipeline]]"]);
}

#[test]
fn every_key_the_reader_knows_has_a_wrong_value_here() {
    let mut tried: BTreeSet<String> = wrong_values()
        .iter()
        .chain(&wrong_replica_values())
        .chain(&wrong_windows_values())
        .map(|(key, ..)| known_form(key))
        .collect();
    tried.extend(WRONG_JOIN_VALUES.iter().map(|(key, ..)| known_form(key)));
    tried.insert("pipeline.window.gap".to_owned());
    tried.extend(["pipeline".to_owned(), "pipeline.name".to_owned()]);
    let known = known_keys();
    let untried: Vec<_> = known.difference(&tried).collect();
    assert!(
        untried.is_empty(),
        "keys without a wrong value: {untried:?}"
    );
    let unknown: Vec<_> = tried.difference(&known).collect();
    assert!(
        unknown.is_empty(),
        "cases for keys that do not exist: {unknown:?}"
    );
}

#[test]
fn every_key_of_the_shipped_file_is_known_and_every_table_refuses_others() {
    let tables = [
        "",
        "service.",
        "kafka.",
        "clickhouse.",
        "redis.",
        "topics.user-events.",
        "pipeline.",
        "pipeline.kafka.",
        "pipeline.clickhouse.",
        "pipeline.redis.",
        "pipeline.batch.",
        "pipeline.columns.event_id.",
        "pipeline.lookup.",
        "pipeline.lookup.columns.user_email.",
        "pipeline.session.",
        "pipeline.state.",
        "pipeline.dead_letter.",
    ];
    for table in tables {
        let key = format!("{table}nonsense");
        assert_problem(
            &shipped_with(&[(&key, "1")]),
            &problem_path(&key),
            &["unknown key", "allowed: "],
        );
    }
}

#[test]
fn a_misspelt_key_is_told_the_nearest_one() {
    let text = shipped_with(&[("pipeline.batch.row_max", "5")]);
    assert_problem(
        &text,
        "pipeline.clickstream.batch.row_max",
        &[
            "did you mean rows_max?",
            "allowed: bytes_max, flush_interval",
        ],
    );
    let text = shipped_with(&[("service.colour", "5")]);
    let Err(Problems(problems)) = parse(&text) else {
        panic!("accepted")
    };
    assert!(
        !problems[0].message.contains("did you mean"),
        "{}",
        problems[0]
    );
}
