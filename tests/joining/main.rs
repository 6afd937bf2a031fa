//! Two topics joined through real Kafka, read back as its own clients read them.

#[path = "../support/mod.rs"]
mod support;

mod cases;
mod keys;
mod memory;
mod partitions;
mod restarts;
mod runs;
mod silence;
mod table;
mod truth;
