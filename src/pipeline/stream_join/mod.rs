//! Records of two topics, joined by key and time into a third.

mod partition;
mod plan;
mod reading;
mod rendering;
#[cfg(test)]
mod tests;

pub(crate) use self::partition::partition_of;
pub(crate) use self::plan::JoinPlan;
pub(crate) use self::reading::{Left, LeftReader, Right, RightReader};
pub(crate) use self::rendering::{kafka_key, left_payload};
