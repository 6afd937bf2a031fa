//! Facts in which everything is right, for the tests of the checks to put one thing wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) use super::super::facts::*;
pub(super) use super::super::finding::{Finding, Level::*};
pub(super) use super::super::sample::{RefusedRecord, SampleFacts};
pub(super) use streamweir_kafka::RDKafkaErrorCode;
use streamweir_kafka::{GroupRights, Operation, TopicRights};

use super::{CHECKS, Findings};
use crate::config::{Config, Kind};
use crate::pipeline::ColumnFacts;
use crate::sink::{ColumnInfo, TableInfo, table_settings};

pub(super) const NOW_MS: i64 = 1_763_719_200_000;

/// What one check finds.
pub(super) fn found(id: &str, facts: &Facts) -> Vec<Finding> {
    let (id, check) = CHECKS
        .iter()
        .find(|(known, _)| *known == id)
        .expect("a check");
    let mut found = Findings::new(id);
    check(facts, &mut found);
    found.into_vec()
}

#[track_caller]
pub(super) fn assert_silent(id: &str, facts: &Facts) {
    assert_eq!(found(id, facts), []);
}

/// The only finding of a check.
#[track_caller]
pub(super) fn one(id: &str, facts: &Facts) -> Finding {
    let mut found = found(id, facts);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// One pipeline of the shipped configuration on servers that are set up for it.
pub(super) fn shipped(name: &str, change: &[(&str, &str)]) -> Facts {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = std::fs::read_to_string(root.join("config.toml")).expect("a file");
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let loaded = Config::parse(&text, "config.toml", root, []).expect("valid");
    let pipelines = loaded.config.pipelines.into_iter();
    let pipeline = pipelines.filter(|p| p.name == name).map(Arc::new).next();
    let pipeline = pipeline.expect("a pipeline of that name");
    let kafka = kafka(&pipeline);
    let server = ClickHouseFacts {
        version: "26.7.2.1".to_owned(),
        timezone: "Etc/UTC".to_owned(),
        tables: tables(&pipeline),
        ..ClickHouseFacts::default()
    };
    let looks_up = matches!(&pipeline.kind, Kind::Enrichment(_));
    Facts {
        now_ms: NOW_MS,
        service: loaded.config.service,
        machine: MachineFacts {
            memory_bytes: Some(8 << 30),
            file_limit: Some(65_536),
            state_dir_problem: None,
            listener: Listener::Free,
        },
        differences: Some(vec![]),
        names: [name.to_owned()].into(),
        pipelines: vec![PipelineFacts {
            kafka: Reached::Yes(kafka),
            clickhouse: vec![("http://localhost:8123".to_owned(), Reached::Yes(server))],
            redis: looks_up.then(|| {
                Reached::Yes(RedisFacts {
                    maxmemory: 0,
                    maxmemory_policy: "noeviction".to_owned(),
                    ..RedisFacts::default()
                })
            }),
            sample: Some(SampleFacts {
                judged: 100,
                ..SampleFacts::default()
            }),
            snapshots: BTreeMap::new(),
            pipeline,
        }],
    }
}

pub(super) fn enrichment() -> Facts {
    shipped("clickstream", &[])
}

pub(super) fn cdc() -> Facts {
    shipped("shop", &[])
}

pub(super) fn windows() -> Facts {
    shipped("sales", &[])
}

pub(super) fn joined() -> Facts {
    shipped("enriched", &[])
}

fn kafka(pipeline: &crate::config::Pipeline) -> KafkaFacts {
    let mut sources: BTreeSet<String> = pipeline
        .topics
        .iter()
        .filter(|t| !t.as_str().starts_with('^'))
        .map(|t| t.as_str().to_owned())
        .collect();
    if sources.is_empty() {
        sources.insert("shop.public.orders".to_owned());
    }
    let mut topics: BTreeMap<String, TopicFacts> = sources
        .iter()
        .map(|name| {
            (
                name.clone(),
                healthy(name, 6, &[("retention.ms", "604800000")]),
            )
        })
        .collect();
    let dead_letters = &pipeline.dead_letter.topic;
    let properties = [("retention.ms", "-1"), ("max.message.bytes", "16777216")];
    topics.insert(dead_letters.clone(), healthy(dead_letters, 1, &properties));
    let partition = |topic: &String, partition| PartitionFacts {
        topic: topic.clone(),
        partition,
        low: 0,
        high: 1000,
        committed: Some(1000),
        metadata: None,
        first_unread_ms: None,
        records_last_hour: None,
        progress: None,
    };
    let partitions = sources
        .iter()
        .flat_map(|t| (0..6).map(move |n| partition(t, n)));
    KafkaFacts {
        broker: [
            ("offset.metadata.max.bytes", "4096"),
            ("offsets.retention.minutes", "10080"),
            ("group.min.session.timeout.ms", "6000"),
            ("group.max.session.timeout.ms", "1800000"),
            ("group.consumer.session.timeout.ms", "45000"),
            ("group.coordinator.rebalance.protocols", "classic,consumer"),
        ]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into(),
        partitions: partitions.collect(),
        topics,
        sources,
        group: Some(GroupRights {
            error: None,
            operations: Some([Operation::Read, Operation::Describe].into()),
            members: vec![],
        }),
        ..KafkaFacts::default()
    }
}

fn healthy(name: &str, partitions: usize, properties: &[(&str, &str)]) -> TopicFacts {
    let all = [
        Operation::Read,
        Operation::Write,
        Operation::Create,
        Operation::Describe,
        Operation::DescribeConfigs,
    ];
    let mut own: BTreeMap<String, String> = [
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "1048588"),
        ("message.timestamp.type", "CreateTime"),
        ("retention.bytes", "-1"),
    ]
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .into();
    own.extend(
        properties
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned())),
    );
    TopicFacts {
        rights: TopicRights {
            topic: name.to_owned(),
            error: None,
            partitions,
            operations: Some(all.into()),
        },
        properties: own,
    }
}

fn tables(pipeline: &crate::config::Pipeline) -> Vec<TableFacts> {
    let database = &pipeline.clickhouse.database;
    let (topic, name, engine, key, columns): (_, &str, &str, &str, &[(&str, &str, &str)]) =
        match &pipeline.kind {
            Kind::Enrichment(_) => (
                None,
                "clickstream_events",
                "MergeTree PARTITION BY toYYYYMM(timestamp) ORDER BY (timestamp, user_id, event_id) \
                 SETTINGS non_replicated_deduplication_window = 10000, index_granularity = 8192",
                "timestamp, user_id, event_id",
                &[
                    ("event_id", "String", ""),
                    ("timestamp", "DateTime64(3, 'UTC')", ""),
                    ("city", "String", ""),
                    ("user_email", "String", ""),
                    ("session_event_count", "UInt32", ""),
                    ("processed_at", "DateTime64(3, 'UTC')", "DEFAULT"),
                    ("_topic", "LowCardinality(String)", ""),
                    ("_partition", "UInt32", ""),
                    ("_offset", "UInt64", ""),
                ],
            ),
            Kind::Cdc(_) => (
                Some("shop.public.orders"),
                "orders",
                "ReplacingMergeTree(_version, _deleted) ORDER BY id SETTINGS index_granularity = 8192",
                "id",
                &[
                    ("id", "Int64", ""),
                    ("note", "Nullable(String)", ""),
                    ("_version", "UInt64", ""),
                    ("_deleted", "UInt8", ""),
                ],
            ),
            Kind::Aggregation(_) => (
                None,
                "sales_aggregates_1min",
                "ReplacingMergeTree(version) ORDER BY (window_start, category)",
                "window_start, category",
                &[
                    ("window_start", "DateTime64(3, 'UTC')", ""),
                    ("category", "String", ""),
                    ("version", "UInt64", ""),
                ],
            ),
            Kind::Raw(_) => (
                None,
                "bronze_events",
                "MergeTree ORDER BY (topic, partition, offset) SETTINGS \
                 non_replicated_deduplication_window = 10000, index_granularity = 8192",
                "topic, partition, offset",
                &[
                    ("message_value", "Nullable(String)", ""),
                    ("topic", "LowCardinality(String)", ""),
                    ("partition", "UInt32", ""),
                    ("offset", "UInt64", ""),
                ],
            ),
            Kind::StreamJoin(_) => return vec![],
        };
    let column = |(name, type_name, kind): &(&str, &str, &str)| ColumnInfo {
        name: (*name).to_owned(),
        type_name: (*type_name).to_owned(),
        default_kind: (*kind).to_owned(),
    };
    let partition_key = match &pipeline.kind {
        Kind::Enrichment(_) => "toYYYYMM(timestamp)",
        _ => "",
    };
    vec![TableFacts {
        identity: "server table".to_owned(),
        name: format!("{database}.{name}"),
        table: name.to_owned(),
        topic: topic.map(str::to_owned),
        info: TableInfo {
            engine: engine
                .split(['(', ' '])
                .next()
                .unwrap_or_default()
                .to_owned(),
            engine_full: engine.to_owned(),
            sorting_key: key.to_owned(),
            partition_key: partition_key.to_owned(),
            columns: columns.iter().map(column).collect(),
            metadata_version: 0,
            has_tokens: true,
        },
        columns: ColumnFacts::default(),
        settings: table_settings(engine).into_iter().collect(),
        minmax: vec!["_offset".to_owned()],
        parts_max: 10,
        partitions: 2,
        views: vec![],
        replica: None,
    }]
}

pub(super) fn kafka_of(facts: &mut Facts) -> &mut KafkaFacts {
    match &mut facts.pipelines[0].kafka {
        Reached::Yes(kafka) => kafka,
        other => panic!("{other:?}"),
    }
}

pub(super) fn topic<'f>(facts: &'f mut Facts, name: &str) -> &'f mut TopicFacts {
    kafka_of(facts).topics.get_mut(name).expect("a topic")
}

pub(super) fn set(facts: &mut Facts, topic_name: &str, property: &str, value: &str) {
    let properties = &mut topic(facts, topic_name).properties;
    properties.insert(property.to_owned(), value.to_owned());
}

pub(super) fn server(facts: &mut Facts) -> &mut ClickHouseFacts {
    match &mut facts.pipelines[0].clickhouse[0].1 {
        Reached::Yes(server) => server,
        other => panic!("{other:?}"),
    }
}

pub(super) fn table(facts: &mut Facts) -> &mut TableFacts {
    &mut server(facts).tables[0]
}

pub(super) fn sample(facts: &mut Facts) -> &mut SampleFacts {
    facts.pipelines[0].sample.as_mut().expect("a sample")
}

#[test]
fn on_servers_that_are_set_up_for_it_nothing_is_found() {
    for facts in [enrichment(), cdc(), windows(), joined()] {
        assert_eq!(super::judge(&facts), []);
    }
}
