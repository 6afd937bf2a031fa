//! The pipeline that fills a shadow: the live one with another table, another group and another place for what
//! it remembers.

use std::collections::BTreeMap;

use super::TablePair;
use super::plan::Plan;
use crate::config::{Cdc, Config, Kind, Pipeline};
use crate::inspect::{Failure, writes_table};
use crate::source::TopicPartition;

/// Longest name of a consumer group.
const GROUP_BYTES_MAX: usize = 249;

/// A table, its shadow, and the partitions whose records are in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) live: String,
    pub(super) shadow: String,
    pub(super) partitions: Vec<TopicPartition>,
}

impl Part {
    pub(super) fn names(&self, live: &Pipeline) -> TablePair {
        let name = |table: &str| format!("{}.{table}", live.clickhouse.database);
        TablePair {
            table: name(&self.live),
            shadow: name(&self.shadow),
        }
    }
}

/// The tables that are rebuilt.
///
/// # Errors
/// A shadow that is a table of the configuration, or one name for several tables.
pub(super) fn parts(
    config: &Config,
    live: &Pipeline,
    partitions: &[TopicPartition],
    into: Option<&str>,
) -> Result<Vec<Part>, Failure> {
    let mut by_table: BTreeMap<&str, Vec<TopicPartition>> = BTreeMap::new();
    for partition in partitions {
        let table = match &live.kind {
            Kind::Cdc(cdc) => cdc.table_for(&partition.topic),
            _ => &live.table,
        };
        by_table.entry(table).or_default().push(partition.clone());
    }
    if let Some(into) = into
        && by_table.len() > 1
    {
        let tables: Vec<&str> = by_table.keys().copied().collect();
        return Err(Failure::Usage(format!(
            "--into {into}: pipeline {} has {} tables ({}), and each needs a shadow of its own: leave it out, and \
             they are called as their tables with _rebuild behind",
            live.name,
            tables.len(),
            tables.join(", ")
        )));
    }
    let part = |(table, partitions): (&str, Vec<TopicPartition>)| {
        let shadow = into.map_or_else(|| format!("{table}_rebuild"), str::to_owned);
        check_name(config, live, &shadow)?;
        Ok(Part {
            live: table.to_owned(),
            shadow,
            partitions,
        })
    };
    by_table.into_iter().map(part).collect()
}

fn check_name(config: &Config, live: &Pipeline, shadow: &str) -> Result<(), Failure> {
    let is_plain = |c: char| !c.is_control() && !"`\\.".contains(c);
    if !(1..=200).contains(&shadow.len()) || !shadow.chars().all(is_plain) {
        return Err(Failure::Usage(format!(
            "--into {shadow:?}: must be the name of a table in the pipeline's database, 1 to 200 bytes without \
             dots, backticks, backslashes and control characters"
        )));
    }
    let writes = |other: &&Pipeline| {
        let same_database = other.clickhouse.database == live.clickhouse.database;
        same_database && writes_table(other, shadow)
    };
    match config.pipelines.iter().find(writes) {
        Some(other) => Err(Failure::Usage(format!(
            "--into {shadow}: pipeline {} writes this table: name another",
            other.name
        ))),
        None => Ok(()),
    }
}

/// The configuration of the pipeline that fills the shadows. It keeps the pipeline's name, so that its dead
/// letters are those of the same records.
pub(super) fn shadow_config(
    config: &Config,
    live: &Pipeline,
    parts: &[Part],
    plan: &Plan,
) -> Config {
    let first = parts.first().map_or("", |part| &part.shadow);
    let mut shadow = live.clone();
    shadow.group_id.clone_from(&plan.group);
    shadow.ddl = None;
    shadow.start_offset = crate::config::StartOffset::Earliest;
    match &mut shadow.kind {
        Kind::Cdc(cdc) => shadow_replicas(cdc, parts, plan.since_ms.is_some()),
        Kind::Enrichment(enrichment) => {
            first.clone_into(&mut shadow.table);
            let url = &mut enrichment.state.url;
            if !url.is_empty() {
                *url = format!("{}/rebuild-{}", url.trim_end_matches('/'), plan.id);
            }
        }
        Kind::Aggregation(aggregation) => {
            first.clone_into(&mut shadow.table);
            // The live pipeline has written it, and goes on.
            aggregation.output_topic = None;
        }
        _ => first.clone_into(&mut shadow.table),
    }
    let mut service = config.service.clone();
    service.state_dir = service.state_dir.join("rebuild").join(&plan.id);
    // Another member of this name would take its place.
    service.instance_id = None;
    Config {
        service,
        pipelines: vec![shadow],
        ..config.clone()
    }
}

/// Has each process that fills the shadows read no faster.
pub(super) fn limit(shadow: &mut Config, records_per_second_max: Option<u64>) {
    for pipeline in &mut shadow.pipelines {
        if records_per_second_max.is_some() {
            pipeline.limits.records_per_second_max = records_per_second_max;
        }
    }
}

fn shadow_replicas(cdc: &mut Cdc, parts: &[Part], begins_later: bool) {
    for part in parts {
        for partition in &part.partitions {
            let mapping = cdc.tables.entry(partition.topic.to_string()).or_default();
            mapping.table = Some(part.shadow.clone());
            mapping.own.view = None;
            // It lacks what the log had before.
            mapping.accept_empty |= begins_later;
        }
    }
}

/// The name of the group that fills a shadow.
pub(super) fn group(live: &str, id: &str) -> String {
    let behind = format!("-rebuild-{id}");
    let kept = live.floor_char_boundary(GROUP_BYTES_MAX - behind.len());
    format!("{}{behind}", &live[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let loaded = Config::parse(text, "config.toml", std::path::Path::new("/"), []);
        loaded
            .unwrap_or_else(|problems| panic!("{problems}"))
            .config
    }

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }

    const EVENTS: &str = "[service]\ninstance_id = \"a\"\n[[pipeline]]\nname = \"p\"\nkind = \"enrichment\"\n\
                          topics = [\"t\"]\ngroup_id = \"g\"\n[pipeline.state]\nurl = \"s3://bucket/state\"\n\
                          [pipeline.clickhouse]\ntable = \"events\"\n";

    #[test]
    fn the_shadow_of_a_table_is_filled_by_another_group_that_shares_nothing_with_the_live_one() {
        let config = config(EVENTS);
        let live = &config.pipelines[0];
        let all = [partition("t", 0), partition("t", 1)];
        let parts = parts(&config, live, &all, None).unwrap();
        let pair = (
            &*parts[0].live,
            &*parts[0].shadow,
            parts[0].partitions.len(),
        );
        assert_eq!((parts.len(), pair), (1, ("events", "events_rebuild", 2)));
        let plan = Plan::new("p", &group("g", "1f"), "1f", None);
        let mut made = shadow_config(&config, live, &parts, &plan);
        limit(&mut made, Some(500));
        limit(&mut made, None);
        let shadow = &made.pipelines[0];
        assert_eq!(shadow.limits.records_per_second_max, Some(500));
        assert_eq!(shadow.table, "events_rebuild");
        assert_eq!(shadow.group_id, "g-rebuild-1f");
        assert_eq!(shadow.name, "p");
        assert_ne!(made.service.state_dir, config.service.state_dir);
        assert_eq!(made.service.instance_id, None);
        let Kind::Enrichment(enrichment) = &shadow.kind else {
            panic!()
        };
        assert_eq!(enrichment.state.url, "s3://bucket/state/rebuild-1f");
        for into in ["", "a.b", "events", "a`"] {
            let refused = super::parts(&config, live, &all, Some(into)).unwrap_err();
            assert_eq!(refused.code(), 2, "{into}: {refused}");
        }
    }

    #[test]
    fn each_replica_has_a_shadow() {
        let config = config(
            "[[pipeline]]\nname = \"p\"\nkind = \"cdc\"\ntopics = [\"shop.a\", \"shop.b\"]\ngroup_id = \"g\"\n\
             [pipeline.debezium]\ndecimal_mode = \"precise\"\n[pipeline.tables.\"shop.b\"]\ntable = \"other\"\nview = \"seen\"\n",
        );
        let live = &config.pipelines[0];
        let all = [partition("shop.a", 0), partition("shop.b", 0)];
        assert_eq!(parts(&config, live, &all, Some("x")).unwrap_err().code(), 2);
        // The table of the other topic, which has none of its own name in the configuration.
        let refused = parts(&config, live, &all[1..], Some("a")).unwrap_err();
        assert_eq!(refused.code(), 2, "{refused}");
        let parts = parts(&config, live, &all, None).unwrap();
        let names: Vec<&str> = parts.iter().map(|part| &*part.shadow).collect();
        assert_eq!(names, ["a_rebuild", "other_rebuild"]);
        let plan = Plan::new("p", "g-rebuild-1f", "1f", Some(7));
        let made = shadow_config(&config, live, &parts, &plan);
        let Kind::Cdc(cdc) = &made.pipelines[0].kind else {
            panic!()
        };
        assert_eq!(cdc.table_for("shop.a"), "a_rebuild");
        assert_eq!(cdc.table_for("shop.b"), "other_rebuild");
        assert_eq!(cdc.tables["shop.b"].own.view, None);
        assert!(cdc.tables["shop.a"].accept_empty);
    }

    #[test]
    fn a_group_has_a_name_that_kafka_takes() {
        assert_eq!(group("g", "1f"), "g-rebuild-1f");
        let long = group(&"ä".repeat(124), "1f");
        assert!(
            long.len() <= GROUP_BYTES_MAX && long.ends_with("ä-rebuild-1f"),
            "{long}"
        );
    }
}
