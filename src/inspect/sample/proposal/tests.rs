use super::*;
use crate::config::Config;
use crate::decode::json::Raw;

fn around(topic: &str) -> Surroundings {
    Surroundings {
        topic: topic.to_owned(),
        name: super::super::names::name_of(topic),
        database: "analytics".to_owned(),
        table: super::super::names::name_of(topic),
        ..Surroundings::default()
    }
}

fn proposed(values: &[&str]) -> Proposal {
    let objects = values.iter().map(|value| Raw::parse(value).expect("JSON"));
    let columns = super::super::of_objects(objects);
    of_columns(&columns, &Reading::default(), &around("shop.orders"))
}

fn assert_valid(config: &str) {
    let loaded = Config::parse(config, "c", std::path::Path::new("/"), []);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}\n{config}"));
    assert_eq!(loaded.config.pipelines.len(), 1);
}

#[test]
fn objects_become_a_table_and_a_pipeline_that_is_valid() {
    let proposal = proposed(&[
        r#"{"id":1,"at":1763719200,"odd na`me":"x","mixed":1,"user.id":7}"#,
        r#"{"id":2,"at":1763719201,"mixed":"a","_offset":9}"#,
    ]);
    let config = &proposal.config;
    assert_valid(config);
    for line in [
        "time_field = \"at\"",
        "time_unit = \"s\"",
        "mixed = { raw = \"any\" }",
        "\"odd na_me\" = '$.\"odd na`me\"'",
        "user_id = '$.\"user.id\"'",
        "_offset_2 = \"$._offset\"",
    ] {
        assert!(config.contains(line), "{line} in {config}");
    }
    assert_eq!(
        proposal.ddl.as_deref(),
        Some(
            "CREATE TABLE `analytics`.`shop_orders`\n(\n    `id` Int64,    -- seen 1 to 2\n    \
             `at` DateTime('UTC'),    -- seen 1763719200 to 1763719201: seconds, by their size\n    \
             `odd na_me` Nullable(String),    -- absent or null in 1 of 2 records\n    \
             `mixed` String,    -- seen as integer and text: kept as JSON text\n    \
             `user_id` Nullable(Int64),    -- seen 7 to 7; absent or null in 1 of 2 records\n    \
             `_offset_2` Nullable(Int64),    -- seen 9 to 9; absent or null in 1 of 2 records\n    \
             `_topic` LowCardinality(String),\n    `_partition` UInt32,\n    `_offset` UInt64\n)\n\
             ENGINE = MergeTree\nPARTITION BY toYYYYMM(`at`)\nORDER BY `at`\n\
             SETTINGS non_replicated_deduplication_window = 10000"
        )
    );
}

#[test]
fn every_way_of_reading_is_a_configuration_that_is_valid() {
    let lines = Lines {
        names: vec!["a".to_owned(), "b c".to_owned()],
        delimiter: b'\t',
        has_header: false,
    };
    let csv = Reading {
        format: Some("csv"),
        lines: Some(lines),
        ..Reading::default()
    };
    let text = Reading {
        format: Some("string"),
        compression: Some("gzip"),
        ..Reading::default()
    };
    let avro = Reading {
        format: Some("avro"),
        key_format: Some("avro"),
        ..Reading::default()
    };
    let column = |path: &[&str], is_time| Column {
        path: path.iter().map(|name| (*name).to_owned()).collect(),
        type_name: "DateTime64(3, 'UTC')".to_owned(),
        why: None,
        unit: None,
        is_time,
        is_raw: false,
    };
    let mut asked = around("shop.orders");
    asked.sources = "[pipeline.kafka]\nbootstrap_servers = [\"a:1\"]\n[pipeline.schema_registry]\n\
                     url = [\"http://r\"]\n"
        .to_owned();
    asked.target = "urls = [\"http://c\"]\n".to_owned();
    let fields = [column(&["a"], false), column(&["b c"], true)];
    let nested = [column(&["a", "b.c"], true)];
    for proposal in [
        of_texts(&text, &around("t")),
        of_columns(&fields, &csv, &around("t")),
        of_columns(&[], &Reading::default(), &around("t")),
        of_columns(&nested, &avro, &asked),
        of_changes(&avro, &asked),
        of_changes(&Reading::default(), &around("shop.public.orders")),
    ] {
        assert_valid(&proposal.config);
    }
    let nested = of_columns(&nested, &avro, &asked).config;
    assert!(nested.contains("time_field = '$.a.\"b.c\"'"), "{nested}");
}

#[test]
fn the_table_of_several_servers_is_replicated() {
    let asked = Surroundings {
        is_replicated: true,
        ..around("t")
    };
    let proposal = of_texts(&Reading::default(), &asked);
    let ddl = proposal.ddl.as_deref().unwrap_or_default();
    assert!(
        ddl.contains("\nENGINE = ReplicatedMergeTree('/clickhouse/tables/{shard}/{database}/{table}', '{replica}')\n")
            && ddl.ends_with("\nSETTINGS replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"),
        "{ddl}"
    );
    assert!(note_of_servers(&proposal, &asked).is_some());
    assert!(note_of_servers(&proposal, &around("t")).is_none());
    let changes = of_changes(&Reading::default(), &asked);
    assert!(note_of_servers(&changes, &asked).is_none());
}

#[test]
fn every_time_is_read_by_its_own_unit() {
    let config = proposed(&[r#"{"at":1763719200,"updated_at":1763719200000,"odd":1}"#]).config;
    assert_valid(&config);
    for line in ["time_unit = \"s\"\n", "updated_at = { unit = \"ms\" }\n"] {
        assert!(config.contains(line), "{config}");
    }
    let config = proposed(&[r#"{"at":1763719200000,"updated_at":1763719200}"#]).config;
    assert_valid(&config);
    assert!(
        config.contains("updated_at = { unit = \"s\" }\n"),
        "{config}"
    );
    assert!(!config.contains("time_unit"), "{config}");
    let config = proposed(&[r#"{"at":1763719200000}"#]).config;
    assert!(!config.contains("unit"), "{config}");
}

#[test]
fn names_with_both_kinds_of_quotes_are_keys() {
    for name in ["it's \"x\"", "'@'\"\"\"", "\\\"'", "\u{7f}\"'\n"] {
        let member = serde_json::json!({ name: 1 }).to_string();
        assert_valid(&proposed(&[&member]).config);
        let read: toml::Table = format!("{} = 1", key(name)).parse().expect(name);
        assert_eq!(read.keys().next().map(String::as_str), Some(name));
    }
}
