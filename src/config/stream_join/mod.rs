//! `kind = "stream_join"`: the keys that only this kind has.

mod output;
mod side;

use std::collections::BTreeMap;
use std::time::Duration;

pub(super) use self::output::PARTITIONERS;
pub use self::output::{JoinOutput, Partitioner};
use self::side::SideDefaults;
pub use self::side::{JoinSide, RightField};
use super::batch::Pace;
use super::format::{Formats, KEY_FORMATS};
use super::pipeline::{Delivery, GroupProtocol, Pipeline};
use super::quantity::{Span, format_duration};
use super::section::Section;
use super::spilling::OnDisk;
use super::time_unit::{TIME_UNITS, TextTimes};
use super::topics::TopicSelector;
use super::tree::{Value, join};
use super::value::{Boolean, Choice, Kind, text_of};

/// The keys of a join of two topics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamJoin {
    /// How far the watermark of a partition stays behind its largest event time, up to 24 h.
    pub watermark_delay: Duration,
    /// How long a side that was read to its end may hold the other back, 100 ms to 24 h.
    pub idle_timeout: Duration,
    /// How far an event time may lie after the record's Kafka timestamp, up to 365 days.
    pub timestamp_ahead_max: Duration,
    /// The events, each of which is joined once.
    pub left: JoinSide,
    /// What they are joined with.
    pub right: JoinSide,
    /// What of the right record goes into the joined one, in the order of the file.
    pub right_fields: Vec<RightField>,
    /// What becomes of an event without match.
    pub join_type: JoinType,
    /// When an event is decided.
    pub emit: Emit,
    /// How long before the event its match may lie, up to 7 days; none: as long as you like.
    pub before: Option<Duration>,
    /// How long after the event its match may lie, up to 7 days.
    pub after: Duration,
    /// What put the records of both topics into their partitions; each is held against it.
    pub keys_placed_by: Option<Partitioner>,
    /// A table may lie on a topic that deletes its records by age or size.
    pub retention_accepted: bool,
    /// Where joined records go.
    pub output: JoinOutput,
}

/// What becomes of an event without match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinType {
    /// It is emitted with nulls.
    Left,
    /// It is dropped and counted.
    Inner,
}

/// When an event is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    /// Once no better match can come, by the watermark of the right side.
    OnWatermark,
    /// At the first match.
    Eager,
}

/// A length of time, or no bound.
struct Reach;

const UNLIMITED: &str = "unlimited";

impl Kind for Reach {
    type Out = Option<Duration>;

    fn found(&self, value: &Value) -> String {
        reach().found(value)
    }

    fn allowed(&self) -> String {
        format!("{}, or {UNLIMITED:?}", reach().allowed())
    }

    fn read(&self, value: &Value) -> Option<Option<Duration>> {
        if text_of(value) == Some(UNLIMITED) {
            return Some(None);
        }
        reach().read(value).map(Some)
    }

    fn canonical(&self, out: &Option<Duration>) -> String {
        out.map_or_else(|| UNLIMITED.to_owned(), format_duration)
    }
}

const fn reach() -> Span {
    Span::secs(0, 7 * 86_400)
}

impl StreamJoin {
    /// Each flush is one transaction, which readers wait for and behind which nothing is merged.
    pub(super) const PACE: Pace = Pace {
        flush_interval: Duration::from_millis(100),
        inserts_per_second_max: 1000.0,
    };

    pub(super) fn read(section: &mut Section<'_>) -> StreamJoin {
        let day = 86_400;
        let seconds = Duration::from_secs;
        let watermark_delay = section.take_or("watermark_delay", Span::secs(0, day), seconds(30));
        let idle_timeout =
            section.take_or("idle_timeout", Span::millis(100, 86_400_000), seconds(10));
        let timestamp_ahead_max = section.take_or(
            "timestamp_ahead_max",
            Span::secs(0, 365 * day),
            seconds(3600),
        );
        let defaults = SideDefaults {
            time_unit: section.take("time_unit", TIME_UNITS),
            text_times: TextTimes::read(section),
            formats: Formats::read(section, KEY_FORMATS),
        };
        let left = JoinSide::read_left(section.section("left"), &defaults);
        let (right, right_fields) = JoinSide::read_right(section.section("right"), &defaults);
        let mut rules = section.section("join");
        let types = Choice(&[("left", JoinType::Left), ("inner", JoinType::Inner)]);
        let emits = Choice(&[("on_watermark", Emit::OnWatermark), ("eager", Emit::Eager)]);
        let join = StreamJoin {
            watermark_delay,
            idle_timeout,
            timestamp_ahead_max,
            left,
            right,
            right_fields,
            join_type: rules.take_or("type", types, JoinType::Left),
            emit: rules.take_or("emit", emits, Emit::OnWatermark),
            before: rules.take_or("before", Reach, Some(seconds(300))),
            after: rules.take_or("after", reach(), seconds(300)),
            keys_placed_by: rules.take("keys_placed_by", output::PARTITIONERS),
            retention_accepted: rules.take_or("retention_accepted", Boolean, false),
            output: JoinOutput::read(section.section("output")),
        };
        rules.finish();
        OnDisk::refuse(
            section.section("state"),
            "what waits to be joined stays in memory",
        );
        join.check(section);
        join
    }

    /// The topics of both sides, in place of `topics`.
    pub(super) fn topics(&self, section: &mut Section<'_>) -> Vec<TopicSelector> {
        if section.has("topics") {
            section.take_node("topics");
            let message = "must not be set for kind stream_join: set pipeline.left.topic and \
                           pipeline.right.topic";
            section.problem("topics", message);
        }
        let topics = [&self.left.topic, &self.right.topic];
        let mut topics: Vec<_> = topics
            .into_iter()
            .filter(|topic| !topic.is_empty())
            .map(|topic| TopicSelector::Name(topic.clone()))
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }

    /// The members that are added to the event's own, in their order, with the key that names each.
    pub(crate) fn added_members(&self) -> impl Iterator<Item = (String, &str)> {
        let fields = self
            .right_fields
            .iter()
            .map(|field| (join("right.fields", &field.name), field.name.as_str()));
        let times = [
            ("output.right_time_field", &self.output.right_time_field),
            ("output.join_time_field", &self.output.join_time_field),
        ];
        fields.chain(times.map(|(key, name)| (key.to_owned(), name.as_str())))
    }

    fn check(&self, section: &Section<'_>) {
        let (left, right) = (&self.left.topic, &self.right.topic);
        if left == right && !left.is_empty() {
            let message = "must differ from pipeline.left.topic: a topic is not joined with itself";
            section.problem("right.topic", message);
        }
        let output = &self.output.topic;
        if [left, right].contains(&output) && !output.is_empty() {
            let message = format!(
                "must be neither pipeline.left.topic nor pipeline.right.topic: {output} would feed \
                 itself"
            );
            section.problem("output.topic", message);
        }
        let mut names: BTreeMap<&str, String> = BTreeMap::new();
        for (key, name) in self.added_members() {
            if let Some(other) = names.get(name) {
                let message =
                    format!("must differ from pipeline.{other}: both would be the member {name:?}");
                section.problem(&key, message);
            } else {
                names.insert(name, key);
            }
        }
    }

    /// What joins of two topics need of the rest of the pipeline.
    pub(super) fn check_pipeline(&self, pipeline: &Pipeline, section: &Section<'_>) {
        if pipeline.delivery != Delivery::ExactlyOnce {
            let message = "must be \"exactly_once\" for kind stream_join: joined records and the \
                           offsets of what they are made of are one transaction";
            section.problem("delivery", message);
        }
        if pipeline.group_protocol != GroupProtocol::Classic {
            let message = "must be \"classic\" for kind stream_join: equal partitions of both topics \
                           go to one member by the assignment \"range\", which only members can make";
            section.problem("group_protocol", message);
        }
        let dead_letters = &pipeline.dead_letter.topic;
        if self.output.topic == *dead_letters {
            let message = format!(
                "must differ from pipeline.dead_letter.topic: {dead_letters} is for what cannot be \
                 joined"
            );
            section.problem("output.topic", message);
        }
    }
}
