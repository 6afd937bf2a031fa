//! Two topics joined through real Kafka, read back as its own clients read them.

mod cases;
mod keys;
mod memory;
mod partitions;
mod restarts;
mod runs;
mod silence;
mod table;
mod truth;
