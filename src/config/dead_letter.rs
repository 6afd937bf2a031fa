//! `[pipeline.dead_letter]`: where records go that can never be written.

use std::collections::BTreeSet;

use super::quantity::Number;
use super::section::Section;
use super::topics::{TOPIC, TopicSelector, is_topic};
use super::tree::Value;
use super::value::{Choice, Kind, List, text_of};

/// `[pipeline.dead_letter]`.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Created when it is missing; none of the pipeline's own topics.
    pub topic: String,
    /// Share of the last 10,000 records above which the pipeline halts, 0 to 1.
    pub ratio_max: f64,
    /// What letters have of the record's value.
    pub payload: Payload,
    /// Records to pass by, counted: topic, partition, offset.
    pub skip: BTreeSet<(String, i32, i64)>,
}

/// What a dead letter has of its record's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Payload {
    /// All of it.
    #[default]
    Original,
    /// JSON objects with their private fields hidden; of other records nothing.
    Masked,
    /// Nothing.
    Omit,
}

struct Position;

impl Kind for Position {
    type Out = (String, i32, i64);

    fn allowed(&self) -> String {
        "a record as \"topic:partition:offset\", such as \"user-events:0:1234\"".to_owned()
    }

    fn read(&self, value: &Value) -> Option<(String, i32, i64)> {
        let mut parts = text_of(value)?.split(':');
        let (topic, partition, offset) = (parts.next()?, parts.next()?, parts.next()?);
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let legal =
            parts.next().is_none() && is_topic(topic) && digits(partition) && digits(offset);
        legal.then_some(())?;
        Some((
            topic.to_owned(),
            partition.parse().ok()?,
            offset.parse().ok()?,
        ))
    }

    fn canonical(&self, (topic, partition, offset): &(String, i32, i64)) -> String {
        format!("{topic}:{partition}:{offset}")
    }
}

const PAYLOADS: Choice<Payload> = Choice(&[
    ("original", Payload::Original),
    ("masked", Payload::Masked),
    ("omit", Payload::Omit),
]);

impl DeadLetter {
    pub(super) fn read(mut section: Section<'_>, topics: &[TopicSelector]) -> DeadLetter {
        let ratio = Number {
            min: 0.0,
            max: 1.0,
            unit: "share of records",
        };
        let positions = List {
            of: Position,
            may_be_empty: true,
        };
        let topic = section.take_or("topic", TOPIC, "streamweir-dead-letters".to_owned());
        if topics.iter().any(|selector| selector.matches(&topic)) {
            section.problem(
                "topic",
                format!("must not be among the pipeline's own topics: {topic} would feed itself"),
            );
        }
        let dead_letter = DeadLetter {
            topic,
            ratio_max: section.take_or("ratio_max", ratio, 0.1),
            payload: section.take_or("payload", PAYLOADS, Payload::Original),
            skip: section
                .take_or("skip", positions, Vec::new())
                .into_iter()
                .collect(),
        };
        for (topic, partition, offset) in &dead_letter.skip {
            if !topics.is_empty() && !topics.iter().any(|selector| selector.matches(topic)) {
                section.problem(
                    "skip",
                    format!("must name records of the pipeline's topics, found {topic}:{partition}:{offset}"),
                );
            }
        }
        section.finish();
        dead_letter
    }
}
