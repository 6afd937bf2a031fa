//! Windows of event time through real Kafka into real ClickHouse and back into Kafka.

mod cases;
mod disk;
mod examples;
mod memory;
mod retail;
mod rules;
mod runs;
mod silence;
