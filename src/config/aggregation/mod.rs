//! `kind = "aggregation"`: the keys that only this kind has.

mod condition;
mod metric;
mod window;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub use self::condition::{Condition, Operand, Test};
pub use self::metric::{Function, Input, Metric};
pub use self::window::Window;
use super::columns::{COLUMN, PATH};
use super::dedup::{Dedup, OnDuplicate};
use super::format::{Formats, KEY_FORMATS, KeyFormat};
use super::quantity::{Size, Span, format_duration, format_size};
use super::record_field::{From, RecordField};
use super::rules::Rules;
use super::section::Section;
use super::spilling::{KEY_BYTES_MAX, OnDisk};
use super::stream_join::{PARTITIONERS, Partitioner};
use super::time_field::TimeField;
use super::time_unit::{TIME_UNITS, TextTimes};
use super::topics::{TOPIC, TopicSelector};
use super::tree::Value;
use super::value::{Choice, Scalar};
use crate::decode::time::{TextRules, TimeUnit};

/// The keys of an aggregation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aggregation {
    /// What is declared of its records; see [`Aggregation::formats_read`].
    pub formats: Formats,
    /// The field that holds the event time.
    pub time_field: TimeField,
    /// What a number as event time is; none: milliseconds, and what looks like seconds is refused.
    pub time_unit: Option<TimeUnit>,
    /// How its texts are read, besides RFC 3339 and UTC.
    pub text_times: Option<Arc<TextRules>>,
    /// How far the watermark stays behind the largest event time, up to 24 h.
    pub watermark_delay: Duration,
    /// How far an event time may lie after the record's Kafka timestamp, up to 365 days.
    pub timestamp_ahead_max: Duration,
    /// How long after its end, by the watermark, a window still takes records, up to 30 days.
    pub allowed_lateness: Duration,
    /// How long a partition that was read to its end may hold windows back, 100 ms to 24 h.
    pub idle_timeout: Duration,
    /// How long a silent partition may keep windows from being closed, up to 30 days.
    pub idle_retention: Duration,
    /// What becomes of a record whose windows have all closed.
    pub late_records: LateRecords,
    /// The group field that is the records' key, so that each partition has windows of its own; none:
    /// one lane reads the whole topic.
    pub partitioned_by: Option<String>,
    /// What put the records into their partitions by their keys; each is held against it.
    pub keys_placed_by: Option<Partitioner>,
    /// The most bytes that one value of the group may have, 1 B to 256 KiB.
    pub group_bytes_max: usize,
    /// How time is divided.
    pub window: Window,
    /// The fields that tell rows of one window apart, in the order of the file.
    pub group: Vec<GroupField>,
    /// What is computed, in the order of the file; at least one.
    pub metrics: Vec<Metric>,
    /// Only records of which all of these hold count; empty: every record.
    pub conditions: Vec<Condition>,
    /// The compacted topic that rows go to; none: only the table.
    pub output_topic: Option<String>,
    /// What is asked of records before they count.
    pub rules: Rules,
    /// None: duplicates count like others.
    pub dedup: Option<Dedup>,
    /// Where windows go that do not fit into memory; none: nowhere.
    pub on_disk: Option<OnDisk>,
}

/// What becomes of late records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LateRecords {
    /// A dead letter each.
    DeadLetter,
    /// They are dropped and counted.
    Drop,
}

/// One entry of `[pipeline.group]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupField {
    /// The column, and the member of the output's key.
    pub name: String,
    /// Where the value is.
    pub path: String,
    /// What Kafka says of the record, in place of a value in it.
    pub from: Option<RecordField>,
    /// Its text where it is absent or null; none: such a record is a dead letter.
    pub default: Option<String>,
}

/// A row's message has each value of the group twice, and brokers take 1 MB.
pub(crate) const GROUP_BYTES_MAX: u64 = 16 << 10;

/// Columns that the daemon fills besides those of the group and the metrics.
pub(crate) const WINDOW_COLUMNS: [&str; 8] = [
    "window_start",
    "window_end",
    "revision",
    "is_final",
    "late_count",
    "version",
    "processed_at",
    "_deleted",
];

impl Aggregation {
    pub(super) fn read(section: &mut Section<'_>) -> Aggregation {
        let late = Choice(&[
            ("dead_letter", LateRecords::DeadLetter),
            ("drop", LateRecords::Drop),
        ]);
        let day = 86_400;
        let (half_minute, hour) = (Duration::from_secs(30), Duration::from_secs(3600));
        let aggregation = Aggregation {
            formats: Formats::read(section, KEY_FORMATS),
            time_field: TimeField::read_some(section, "timestamp"),
            time_unit: section.take("time_unit", TIME_UNITS),
            text_times: TextTimes::read(section).rules(),
            watermark_delay: section.take_or("watermark_delay", Span::secs(0, day), half_minute),
            timestamp_ahead_max: section.take_or(
                "timestamp_ahead_max",
                Span::secs(0, 365 * day),
                hour,
            ),
            allowed_lateness: section.take_or(
                "allowed_lateness",
                Span::secs(0, 30 * day),
                Duration::ZERO,
            ),
            idle_timeout: section.take_or(
                "idle_timeout",
                Span::millis(100, 86_400_000),
                Duration::from_secs(10),
            ),
            idle_retention: section.take_or("idle_retention", Span::secs(0, 30 * day), hour),
            late_records: section.take_or("late_records", late, LateRecords::DeadLetter),
            partitioned_by: section.take("partitioned_by", COLUMN),
            keys_placed_by: section.take("keys_placed_by", PARTITIONERS),
            group_bytes_max: read_group_bytes_max(section),
            window: Window::read(section.section("window")),
            group: read_group(section.section("group")),
            metrics: metric::read(section.section("metrics")),
            conditions: condition::read(section.section("where")),
            output_topic: read_output(section),
            rules: Rules::read(section),
            dedup: Dedup::read(section),
            on_disk: OnDisk::read(section.section("state")),
        };
        aggregation.check(section);
        aggregation
    }

    /// How its records are read: keys of which nothing is declared, and those that nothing reads, are taken as
    /// they are.
    #[must_use]
    pub fn formats_read(&self) -> Formats {
        let is_key = |field: &GroupField| field.from == Some(RecordField::Key);
        let reads_keys = self.partitioned_by.is_some() || self.group.iter().any(is_key);
        let declared = self.formats.key_format.filter(|_| reads_keys);
        Formats {
            key_format: Some(declared.unwrap_or(KeyFormat::Text)),
            ..self.formats.clone()
        }
    }

    fn check(&self, section: &mut Section<'_>) {
        for (key, _) in self.rules.columns() {
            let message =
                "must not be set with kind = \"aggregation\": a row is made of many records";
            section.problem(key, message);
        }
        let dedup = self.dedup.as_ref();
        if dedup.is_some_and(|dedup| dedup.on_duplicate == OnDuplicate::Flag) {
            let message = "must be \"drop\" or \"dead_letter\" with kind = \"aggregation\": a row is made of \
                           many records";
            section.problem("dedup.on_duplicate", message);
        }
        if self.idle_retention < self.idle_timeout {
            let timeout = format_duration(self.idle_timeout);
            let message = format!("must be at least pipeline.idle_timeout ({timeout})");
            section.problem("idle_retention", message);
        }
        self.check_on_disk(section);
        let mut names = BTreeSet::new();
        let groups = self.group.iter().map(|field| ("group", &field.name));
        let metrics = self.metrics.iter().map(|metric| ("metrics", &metric.name));
        for (table, name) in groups.chain(metrics) {
            let key = format!("{table}.{name}");
            if WINDOW_COLUMNS.contains(&name.as_str()) {
                let message = format!("must not be called {name}: the daemon fills that column");
                section.problem(&key, message);
            }
            if !names.insert(name) {
                section.problem(
                    &key,
                    "must differ from the fields of [pipeline.group]: both fill it",
                );
            }
        }
        for field in &self.group {
            let default = field.default.as_deref().unwrap_or_default();
            if default.len() > self.group_bytes_max {
                let max = format_size(self.group_bytes_max as u64);
                let message = format!("must be at most pipeline.group_bytes_max ({max}) long");
                section.problem(&format!("group.{}.default", field.name), message);
            }
        }
        if self.keys_placed_by.is_some() && self.partitioned_by.is_none() {
            let message = "needs pipeline.partitioned_by: without it a group may lie anywhere, and one \
                           lane reads the whole topic";
            section.problem("keys_placed_by", message);
        }
        match &self.partitioned_by {
            Some(field) if !self.group.iter().any(|group| group.name == *field) => {
                let message =
                    "must name a field of [pipeline.group]: the one that is the topic's key";
                section.problem("partitioned_by", message);
            }
            Some(_) => {}
            None if matches!(self.window, Window::Session { .. }) => {
                let message = "is required with session windows: name the field of [pipeline.group] \
                               that is the topic's key, so that a session lies in one partition";
                section.problem("partitioned_by", message);
            }
            None => self.check_single_reader(section),
        }
    }

    /// Without `partitioned_by` one lane reads everything.
    fn check_single_reader(&self, section: &mut Section<'_>) {
        let why = "without pipeline.partitioned_by one lane reads the whole topic";
        let is_above_one = matches!(section.peek("consumers"), Some(Value::Integer(n)) if *n > 1);
        if is_above_one {
            section.problem("consumers", format!("must be 1: {why}"));
        }
        let is_kip_848 =
            matches!(section.peek("group_protocol"), Some(Value::Text(text)) if text == "consumer");
        if is_kip_848 {
            let message = format!("must be \"classic\": {why}, which the broker cannot assign");
            section.problem("group_protocol", message);
        }
    }

    /// What lies on disk is read once a window is over.
    fn check_on_disk(&self, section: &Section<'_>) {
        if self.on_disk.is_none() {
            return;
        }
        if matches!(self.window, Window::Session { .. }) {
            let message = "must be \"memory\" with window.kind = \"session\": whether a record belongs to a \
                           session is asked when it comes, so sessions stay in memory";
            section.problem("state.backend", message);
        }
        let bytes = self.group.len().saturating_mul(self.group_bytes_max);
        if bytes > KEY_BYTES_MAX {
            let most = KEY_BYTES_MAX / self.group.len().max(1);
            let message = format!(
                "must be at most {most} with state.backend = \"disk\" and {} fields in the group: the store \
                 takes keys of {KEY_BYTES_MAX} bytes",
                self.group.len()
            );
            section.problem("group_bytes_max", message);
        }
    }

    /// One topic, by its name.
    pub(super) fn check_topics(&self, topics: &[TopicSelector], section: &Section<'_>) {
        if !matches!(topics, [TopicSelector::Name(_)]) {
            let message = "must be one topic, by its name: an aggregation knows when a window is \
                           complete by the partitions of one topic";
            section.problem("topics", message);
        }
    }
}

fn read_group_bytes_max(section: &mut Section<'_>) -> usize {
    let size = Size {
        min: 1,
        max: 256 << 10,
    };
    let bytes = section.take_or("group_bytes_max", size, GROUP_BYTES_MAX);
    usize::try_from(bytes).expect("at most 256 KiB")
}

fn read_group(mut section: Section<'_>) -> Vec<GroupField> {
    let mut fields = vec![];
    for name in in_file_order(&section) {
        check_name(&section, &name);
        fields.push(read_group_field(&mut section, name));
    }
    section.finish();
    fields
}

fn read_group_field(section: &mut Section<'_>, name: String) -> GroupField {
    let own_field = || format!("$.{name}");
    if matches!(section.peek(&name), Some(Value::Text(_))) {
        let path = section.take(&name, PATH);
        return GroupField {
            path: path.unwrap_or_else(own_field),
            from: None,
            name,
            default: None,
        };
    }
    let Some(mut entry) = section.section_if_present(&name) else {
        return GroupField {
            path: own_field(),
            from: None,
            name,
            default: None,
        };
    };
    let from = entry.take("from", From);
    if entry.has("path") && from.is_some() {
        entry.problem("path", "cannot be set together with from: keep one of them");
    }
    let is_text = |field: &RecordField| {
        matches!(
            field,
            RecordField::Key | RecordField::Topic | RecordField::Header(_)
        )
    };
    if !from.as_ref().is_none_or(is_text) {
        let message =
            "must be \"key\", \"topic\" or \"header:NAME\": groups are told apart by a text";
        entry.problem("from", message);
    }
    let field = GroupField {
        path: match &from {
            Some(_) => entry.take("path", PATH).unwrap_or_else(own_field),
            None => entry.take_or("path", PATH, own_field()),
        },
        from,
        default: entry.take("default", Scalar),
        name,
    };
    entry.finish();
    field
}

fn read_output(section: &mut Section<'_>) -> Option<String> {
    let mut output = section.section_if_present("output")?;
    let topic = output.take_required("topic", TOPIC);
    output.finish();
    (!topic.is_empty()).then_some(topic)
}

/// Names of columns.
fn check_name(section: &Section<'_>, name: &str) {
    if !(COLUMN.check)(name) {
        section.problem(name, format!("must be {}", COLUMN.allowed));
    }
}

/// The keys of a table as a reader of the file meets them.
fn in_file_order(section: &Section<'_>) -> Vec<String> {
    let mut keys = section.keys();
    keys.sort_by_key(|key| section.line_of(key));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Kind};

    fn key_format(keys: &str) -> Option<KeyFormat> {
        let text = format!(
            "[[pipeline]]\nname = \"p\"\nkind = \"aggregation\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n{keys}\n\
             [pipeline.clickhouse]\ntable = \"t\"\n[pipeline.schema_registry]\nurl = \"http://r\"\n\
             [pipeline.window]\nkind = \"tumbling\"\nsize = \"1m\"\n[pipeline.group]\nk = {{ from = \"key\" }}\n\
             g = \"$.g\"\n[pipeline.metrics]\nn = {{ function = \"count\" }}\n"
        );
        let text = match keys.contains("unread") {
            true => text.replace("k = { from = \"key\" }\n", ""),
            false => text,
        };
        let loaded = Config::parse(&text, "config.toml", std::path::Path::new("."), []);
        let loaded = loaded.expect("a configuration");
        match &loaded.config.pipelines[0].kind {
            Kind::Aggregation(own) => own.formats_read().key_format,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_are_opened_where_their_form_is_declared_and_something_reads_them() {
        let avro = "format = \"avro\"";
        assert_eq!(key_format(avro), Some(KeyFormat::Text), "not guessed");
        let declared = format!("{avro}\nkey_format = \"avro\"");
        assert_eq!(key_format(&declared), Some(KeyFormat::Avro));
        assert_eq!(
            key_format(&format!("{declared} # unread")),
            Some(KeyFormat::Text)
        );
    }
}
