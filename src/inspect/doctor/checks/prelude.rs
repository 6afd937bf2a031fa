//! What most checks need.

pub(super) use streamweir_kafka::RDKafkaErrorCode;

pub(super) use super::super::facts::{
    ClickHouseFacts, Facts, KafkaFacts, PipelineFacts, Reached, TableFacts, TopicFacts,
};
pub(super) use super::super::finding::{Findings, Level::*};
pub(super) use super::super::sample::SampleFacts;
pub(super) use crate::config::Kind;
use crate::config::Lookup;

/// Pipelines whose Kafka answered.
pub(super) fn with_kafka(facts: &Facts) -> impl Iterator<Item = (&PipelineFacts, &KafkaFacts)> {
    let pipelines = facts.pipelines.iter();
    pipelines.filter_map(|own| Some((own, own.kafka.facts()?)))
}

/// Servers of ClickHouse that answered.
pub(super) fn with_facts(own: &PipelineFacts) -> impl Iterator<Item = (&String, &ClickHouseFacts)> {
    let servers = own.clickhouse.iter();
    servers.filter_map(|(url, server)| Some((url, server.facts()?)))
}

/// Tables of pipelines whose ClickHouse answered.
pub(super) fn with_tables(
    facts: &Facts,
) -> impl Iterator<Item = (&PipelineFacts, &ClickHouseFacts, &TableFacts)> {
    let pipelines = facts.pipelines.iter();
    pipelines.flat_map(|own| {
        let server = own.server().into_iter();
        server.flat_map(move |server| server.tables.iter().map(move |table| (own, server, table)))
    })
}

/// Pipelines of whose topics a sample was judged.
pub(super) fn with_sample(facts: &Facts) -> impl Iterator<Item = (&PipelineFacts, &SampleFacts)> {
    let pipelines = facts.pipelines.iter();
    pipelines.filter_map(|own| Some((own, own.sample.as_ref()?)))
}

pub(super) fn lookup(own: &PipelineFacts) -> Option<&Lookup> {
    match &own.pipeline.kind {
        Kind::Enrichment(config) => config.lookup.as_ref(),
        Kind::Cdc(_) | Kind::Aggregation(_) | Kind::StreamJoin(_) | Kind::Raw(_) => None,
    }
}
