//! Change records through real Kafka into real ClickHouse: replicas must end equal to their sources.

#[path = "../debezium_corpus/corpus.rs"]
mod corpus;
mod recorded;
mod scale;
mod shop;

mod absent;
mod altering;
mod behind;
mod deletes;
mod evolution;
mod isolation;
mod keys;
mod lives;
mod moved;
mod naming;
mod provenance;
mod refusals;
mod unchanged;
mod variants;
mod versions;
mod workload;
