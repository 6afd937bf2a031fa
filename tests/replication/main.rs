//! Change records through real Kafka into real ClickHouse: replicas must end equal to their sources.

#[path = "../debezium_corpus/corpus.rs"]
mod corpus;
mod recorded;
mod scale;
#[path = "../support/mod.rs"]
mod support;

mod variants;
