//! What each kind of pipeline makes of its records, on real Kafka, ClickHouse and Redis.

mod aggregation;
mod clickstream;
mod co_partitioning;
mod column_types;
mod hostile;
mod joining;
mod json_suite;
mod lone_records;
mod refusals;
mod replica_tables;
mod replication;
mod second_round;
mod shape;
mod state;
mod support;
mod topics;
