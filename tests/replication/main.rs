//! Change records through real Kafka into real ClickHouse: replicas must end equal to their sources.

#[path = "../debezium_corpus/corpus.rs"]
mod corpus;
mod recorded;
#[path = "../support/mod.rs"]
mod support;

mod variants;
