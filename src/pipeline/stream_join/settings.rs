//! What an operator of a join is given besides its plan.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::config::{Emit as EmitMode, JoinSide, JoinType, Partitioner, StreamJoin};
use crate::halt::Halt;
use crate::lane::NotAccepted;
use crate::operator::join::Rules;
use crate::source::Record;
use crate::source::placement::partition_of;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) rules: Rules,
    pub(super) fingerprint: u32,
    pub(super) idle_timeout: Duration,
    pub(super) keeps_unmatched: bool,
    pub(super) left_topic: String,
    pub(super) right_topic: String,
    /// What puts keys into partitions, and how many there are of either topic.
    placement: Option<(Partitioner, usize)>,
    /// For people and commits.
    pub(super) label: String,
}

impl Settings {
    pub(super) fn new(config: &StreamJoin, partitions: usize) -> Self {
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Settings {
            rules: Rules {
                is_eager: config.emit == EmitMode::Eager,
                before_ms: config.before.map(ms),
                after_ms: ms(config.after),
                watermark_delay_ms: ms(config.watermark_delay),
            },
            fingerprint: fingerprint(config),
            idle_timeout: config.idle_timeout,
            keeps_unmatched: config.join_type == JoinType::Left,
            left_topic: config.left.topic.clone(),
            right_topic: config.right.topic.clone(),
            placement: config.keys_placed_by.map(|by| (by, partitions)),
            label: format!("topic:{}", config.output.topic),
        }
    }

    /// A key elsewhere than where both topics have it finds no match.
    pub(super) fn check_place(&self, record: Record<'_>) -> Result<(), NotAccepted> {
        let Some((partitioner, partitions)) = self.placement else {
            return Ok(());
        };
        let place = partition_of(partitioner, record.key(), partitions);
        let Some(place) = place.filter(|place| *place != record.partition()) else {
            return Ok(());
        };
        let key = String::from_utf8_lossy(record.key().unwrap_or_default());
        let key: String = key.chars().take(40).collect();
        let advice = format!(
            "key {key:?} belongs into partition {place} by pipeline.join.keys_placed_by, so it would not \
             meet its match here: have the producer use that partitioner, or correct the setting"
        );
        Err(NotAccepted::Halted(Halt::new("co_partitioning", advice)))
    }
}

/// A side as commits have known it since before it had a unit, which is left out where none is declared.
fn side(side: &JoinSide) -> String {
    let JoinSide {
        topic,
        key_field,
        time_field,
        time_unit,
    } = side;
    let unit = time_unit.map_or(String::new(), |unit| format!(", time_unit: {unit:?}"));
    format!(
        "JoinSide {{ topic: {topic:?}, key_field: {key_field:?}, time_field: {time_field:?}{unit} }}"
    )
}

/// Of everything that decides which events are matched, with what, and when.
fn fingerprint(config: &StreamJoin) -> u32 {
    let StreamJoin {
        watermark_delay,
        timestamp_ahead_max,
        left,
        right,
        emit,
        before,
        after,
        ..
    } = config;
    let (left, right) = (side(left), side(right));
    let rules = format!(
        "{watermark_delay:?} {timestamp_ahead_max:?} {left} {right} {emit:?} {before:?} {after:?}"
    );
    let digest = Sha256::digest(rules);
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}
