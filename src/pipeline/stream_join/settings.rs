//! What an operator of a join is given besides its plan.

use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::config::{Emit as EmitMode, JoinSide, JoinType, StreamJoin};
use crate::operator::join::Rules;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) rules: Rules,
    pub(super) fingerprint: u32,
    pub(super) idle_timeout: Duration,
    pub(super) keeps_unmatched: bool,
    pub(super) left_topic: String,
    pub(super) right_topic: String,
    /// For people and commits.
    pub(super) label: String,
}

impl Settings {
    pub(super) fn new(config: &StreamJoin) -> Self {
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
            label: format!("topic:{}", config.output.topic),
        }
    }
}

/// A side as commits have known it since before it had a unit, which is left out where none is declared.
fn side(side: &JoinSide) -> String {
    let JoinSide {
        topic,
        key_field,
        time_field,
        time_unit,
        text_times,
        formats: _,
    } = side;
    let unit = time_unit.map_or(String::new(), |unit| format!(", time_unit: {unit:?}"));
    let texts = text_times
        .as_ref()
        .map_or(String::new(), |texts| format!(", {texts}"));
    let time_field = time_field.rule();
    format!(
        "JoinSide {{ topic: {topic:?}, key_field: {key_field:?}, time_field: {time_field}{unit}{texts} }}"
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
