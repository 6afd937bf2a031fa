//! Records through operators without a daemon.

use std::path::Path;

use super::*;
use crate::config::Config;
use crate::sink::ColumnInfo;

#[test]
fn a_duplicate_is_known_by_records_whose_rows_are_more_than_an_operator_takes_at_a_time() {
    let text = "[[pipeline]]\nname = \"p\"\nkind = \"enrichment\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
                delivery = \"at_least_once\"\ntime_field = { from = \"timestamp\" }\n\
                [pipeline.clickhouse]\ntable = \"t\"\n\
                [pipeline.dedup]\nkey = [\"$.id\"]\nwithin = \"1h\"\n";
    let loaded = Config::parse(text, "config.toml", Path::new("/"), []).expect("right");
    let pipeline = Arc::new(loaded.config.pipelines[0].clone());
    let column = |name: &str| ColumnInfo {
        name: name.to_owned(),
        type_name: "String".to_owned(),
        default_kind: String::new(),
    };
    let info = TableInfo {
        engine: "MergeTree".to_owned(),
        engine_full: String::new(),
        sorting_key: String::new(),
        partition_key: String::new(),
        columns: vec![column("id"), column("text")],
        metadata_version: 0,
        has_tokens: true,
    };
    // 40 rows of a megabyte.
    let wide = "x".repeat(1 << 20);
    let value = |n: i64| format!("{{\"id\":\"{}\",\"text\":\"{wide}\"}}", n % 40);
    let values: Vec<String> = (0..41).map(value).collect();
    let given = (0..41).zip(&values).map(|(offset, value)| Given {
        topic: "t",
        partition: 0,
        offset,
        timestamp_ms: 1_763_719_200_000 + offset,
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
    });
    let given: Vec<Given<'_>> = given.collect();
    let known = [KnownTable {
        topic: None,
        info: &info,
        columns: None,
    }];
    let judged = |given: &[Given<'_>]| {
        judge_last(&pipeline, &known, &HashMap::new(), given).expect("a table that fits")
    };
    let repeated = judged(&given);
    assert!(
        matches!(
            repeated.records[..],
            [Judged::Dropped(quality::DUPLICATE, _)]
        ),
        "{:?}",
        repeated.records
    );
    let unique = judged(&given[..40]);
    assert!(matches!(unique.records[..], [Judged::Rows(1)]));
    assert_eq!(unique.rows.map(|rows| rows.rows.len()), Some(1));
}
