//! What a pipeline makes of a record, and where the values of its row come from.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::config::{Enrichment, Kind, Pipeline, RecordField};
use crate::inspect::doctor::facts::{SampledRecord, TableFacts};
use crate::pipeline::is_index;
use crate::pipeline::judging::{Judged, Judgement};
use crate::steps::Compute;

/// One of row, dead_letter, dropped, tombstone, delete and control, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) name: &'static str,
    pub(super) reason: Option<String>,
    pub(super) detail: Option<String>,
}

impl Outcome {
    fn new(name: &'static str, reason: Option<&str>, detail: Option<String>) -> Self {
        Outcome {
            name,
            reason: reason.map(str::to_owned),
            detail,
        }
    }

    pub(super) fn control() -> Self {
        Outcome::new("control", None, None)
    }

    pub(super) fn of(
        pipeline: &Pipeline,
        record: &SampledRecord,
        judgement: &Result<Judgement, String>,
    ) -> Self {
        let skipped = &pipeline.dead_letter.skip;
        let place = (record.topic.clone(), record.partition, record.offset);
        if skipped.contains(&place) {
            let detail = "pipeline.dead_letter.skip names it".to_owned();
            return Outcome::new("dropped", Some("skipped"), Some(detail));
        }
        let judged = match judgement {
            Ok(judgement) => judgement.records.first(),
            Err(why) => return Outcome::new("row", None, Some(format!("not known: {why}"))),
        };
        match judged {
            Some(Judged::Rows(_)) => Outcome::of_row(pipeline, record),
            Some(Judged::Dropped("tombstone", _)) => Outcome::new("tombstone", None, None),
            Some(Judged::Dropped(reason, detail)) => {
                Outcome::new("dropped", Some(reason), detail.clone())
            }
            Some(Judged::Refused(refusal)) => {
                let reject = &refusal.reject;
                let detail = Some(reject.detail.to_string());
                Outcome::new("dead_letter", Some(reject.reason.as_str()), detail)
            }
            Some(Judged::Waits(what)) => {
                Outcome::new("row", None, Some(format!("waits for the {what}")))
            }
            Some(Judged::Halted(halt)) => {
                let advice = format!("the pipeline halts: {}", halt.advice);
                Outcome::new("row", Some(halt.reason), Some(advice))
            }
            None => Outcome::new("row", None, None),
        }
    }

    fn of_row(pipeline: &Pipeline, record: &SampledRecord) -> Self {
        match &pipeline.kind {
            Kind::Cdc(_) if record.value.is_none() => Outcome::new("tombstone", None, None),
            Kind::Cdc(_) if is_delete(record) => Outcome::new("delete", None, None),
            Kind::Aggregation(_) => {
                let detail =
                    "counted in its windows; whether it is late depends on what was read before";
                Outcome::new("row", None, Some(detail.to_owned()))
            }
            Kind::StreamJoin(_) => {
                let detail = "joined with what the other topic has";
                Outcome::new("row", None, Some(detail.to_owned()))
            }
            Kind::Enrichment(_) | Kind::Cdc(_) | Kind::Raw(_) => Outcome::new("row", None, None),
        }
    }

    /// Whether a row is to be shown.
    pub(super) fn makes_row(&self) -> bool {
        matches!(self.name, "row" | "delete" | "tombstone")
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for part in [&self.reason, &self.detail].into_iter().flatten() {
            write!(f, ": {part}")?;
        }
        Ok(())
    }
}

/// A change that takes its row away.
fn is_delete(record: &SampledRecord) -> bool {
    let value = record.value.as_deref().unwrap_or_default();
    let Ok(value) = serde_json::from_slice::<Value>(value) else {
        return false;
    };
    let change = match (value.get("schema"), value.get("payload")) {
        (Some(_), Some(payload)) => payload,
        _ => &value,
    };
    let is = |key: &str, text: &str| change.get(key).and_then(Value::as_str) == Some(text);
    is("op", "d")
        || is("__op", "d")
        || is("__deleted", "true")
        || change["__deleted"] == json!(true)
}

/// Where each column's value comes from: a path in the record or the profile, or a word.
pub(super) fn sources(pipeline: &Pipeline, table: &TableFacts) -> Value {
    let mut sources = Map::new();
    for column in &table.info.columns {
        if matches!(&*column.default_kind, "MATERIALIZED" | "ALIAS") {
            continue;
        }
        let name = &column.name;
        if let Some(source) = source(pipeline, table, name) {
            sources.insert(name.clone(), source.into());
        }
    }
    Value::Object(sources)
}

fn source(pipeline: &Pipeline, table: &TableFacts, name: &str) -> Option<String> {
    match &pipeline.kind {
        Kind::Enrichment(config) => {
            let session = config.session.as_ref();
            let of_session = session.is_some_and(|session| {
                let columns = [
                    &session.count_column,
                    &session.duration_column,
                    &session.distinct_column,
                ];
                columns.into_iter().flatten().any(|column| column == name)
            });
            let looked_up = config.lookup.as_ref().and_then(|l| l.columns.get(name));
            let mapping = config.columns.get(name);
            let path = mapping.and_then(|mapping| mapping.path.clone());
            let made = mapping.and_then(|mapping| mapping.transform.as_ref());
            let computed = made.filter(|made| made.making.compute != Compute::Field);
            let from = match mapping {
                Some(mapping) => mapping.from.clone(),
                None if config.explode.is_some() && is_element_number(table, name) => {
                    Some(RecordField::Index)
                }
                None => RecordField::of_column(name),
            };
            Some(match (judged_by(config, name), looked_up, from, path) {
                _ if of_session => "session".to_owned(),
                (Some(judge), ..) => judge.to_owned(),
                (_, Some(column), ..) => format!("profile {}", column.path),
                (_, _, Some(field), _) => format!("kafka {}", field.name()),
                (.., Some(path)) => path,
                _ => match computed {
                    Some(made) => {
                        format!("{} {}", made.making.compute.name(), made.fields.join(" "))
                    }
                    None => format!("$.{name}"),
                },
            })
        }
        Kind::Cdc(cdc) => {
            let mapping = table.topic.as_ref().and_then(|t| cdc.tables.get(t));
            let own = mapping
                .map(|mapping| mapping.own.clone())
                .unwrap_or_default();
            let around = cdc.columns.get(name).and_then(|m| m.path.clone());
            Some(match around {
                Some(path) => path,
                None if own.has(name) => "change".to_owned(),
                None => format!("row $.{name}"),
            })
        }
        Kind::Raw(raw) => raw
            .field_of(name)
            .map(|field| format!("kafka {}", field.name())),
        Kind::Aggregation(_) | Kind::StreamJoin(_) => None,
    }
}

/// What says how a record did, where that fills the column.
fn judged_by(config: &Enrichment, name: &str) -> Option<&'static str> {
    let is = |column: &Option<String>| column.as_deref() == Some(name);
    let rules = &config.rules;
    if is(&rules.passed_column) || is(&rules.failed_column) {
        return Some("rules");
    }
    let dedup = config.dedup.as_ref();
    dedup
        .is_some_and(|dedup| is(&dedup.flag_column))
        .then_some("duplicates")
}

fn is_element_number(table: &TableFacts, name: &str) -> bool {
    let mut columns = table.info.columns.iter();
    columns.any(|column| column.name == name && is_index(column))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sink::{ColumnInfo, TableInfo};

    fn record(value: &str) -> SampledRecord {
        SampledRecord {
            topic: "t".to_owned(),
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            value: Some(value.as_bytes().to_vec()),
            headers: vec![],
        }
    }

    #[test]
    fn a_change_that_takes_its_row_away_is_a_delete_in_each_of_its_shapes() {
        for value in [
            r#"{"op":"d","before":{}}"#,
            r#"{"schema":{},"payload":{"op":"d"}}"#,
            r#"{"__deleted":"true"}"#,
            r#"{"__op":"d"}"#,
        ] {
            assert!(is_delete(&record(value)), "{value}");
        }
        for value in [r#"{"op":"u"}"#, r#"{"op":"c","after":{"op":"d"}}"#, "no"] {
            assert!(!is_delete(&record(value)), "{value}");
        }
    }

    #[test]
    fn a_change_is_told_by_what_it_does_to_its_row() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join("config.toml")).unwrap();
        let config = Config::parse(&text, "config.toml", root, [])
            .unwrap()
            .config;
        let name = |pipeline: &str, record: &SampledRecord| {
            let mut pipelines = config.pipelines.iter();
            let pipeline = pipelines.find(|p| p.name == pipeline).unwrap();
            let rows = Judgement {
                records: vec![Judged::Rows(1)],
                ..Judgement::default()
            };
            Outcome::of(pipeline, record, &Ok(rows)).name
        };
        let tombstone = SampledRecord {
            value: None,
            ..record("")
        };
        assert_eq!(name("shop", &tombstone), "tombstone");
        assert_eq!(name("shop", &record(r#"{"op":"d"}"#)), "delete");
        assert_eq!(name("shop", &record(r#"{"op":"u"}"#)), "row");
        assert_eq!(name("sales", &record(r#"{"op":"d"}"#)), "row");
    }

    #[test]
    fn a_column_that_no_field_fills_alone_says_what_fills_it() {
        let text = r#"
[[pipeline]]
name = "silver"
kind = "enrichment"
topics = ["t"]
group_id = "g"
time_field = "at"
[pipeline.columns]
total = { product = ["$.quantity", "$.price"], apply = [{ round = 2 }] }
mail = { path = "$.email", mask = "redact" }
[[pipeline.rule]]
name = "r"
check = { field = "$.quantity", gt = 0 }
[pipeline.quality]
passed_column = "passed"
failed_column = "failed"
[pipeline.dedup]
key = ["$.id"]
within = "1h"
on_duplicate = "flag"
flag_column = "again"
[pipeline.clickhouse]
table = "silver"
"#;
        let root = std::path::Path::new("/");
        let loaded = Config::parse(text, "config.toml", root, []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{problems}"));
        let names = [
            "total", "mail", "passed", "failed", "again", "id", "_offset",
        ];
        let columns = names.map(|name| ColumnInfo {
            name: name.to_owned(),
            type_name: "String".to_owned(),
            default_kind: String::new(),
        });
        let table = TableFacts {
            name: "default.silver".to_owned(),
            table: "silver".to_owned(),
            topic: None,
            info: TableInfo {
                engine: "MergeTree".to_owned(),
                engine_full: String::new(),
                sorting_key: String::new(),
                partition_key: String::new(),
                columns: columns.into(),
                metadata_version: 0,
                has_tokens: true,
            },
            columns: Default::default(),
            identity: String::new(),
            settings: [].into(),
            minmax: vec![],
            parts_max: 0,
            partitions: 0,
            views: vec![],
            replica: None,
        };
        let sources = sources(&loaded.config.pipelines[0], &table);
        let expected = [
            "product $.quantity $.price",
            "$.email",
            "rules",
            "rules",
            "duplicates",
            "$.id",
            "kafka offset",
        ];
        for (name, expected) in names.iter().zip(expected) {
            assert_eq!(sources[name], expected, "{name}");
        }
    }
}
