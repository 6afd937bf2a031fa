//! Hostile records through the lane, on real Kafka and ClickHouse: each becomes a row that says what
//! was sent or a dead letter with its reason, and ordinary events behind them arrive.

mod case;
mod json_suite;
mod own;
mod quiet;
mod sizes;
pub(crate) mod suite;
mod times;
