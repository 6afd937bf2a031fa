//! `kind = "enrichment"`: the keys that only this kind has.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::columns::{self, ColumnMapping, INDEX, RawMode};
use super::dedup::Dedup;
use super::format::{self, Compression, Formats, KEY_FORMATS, KeyFormat};
use super::lookup::Lookup;
use super::quantity::Span;
use super::record_field::RecordField;
use super::rules::Rules;
use super::section::Section;
use super::session::Session;
use super::state::State;
use super::time_field::{TimeField, is_plain_path};
use super::time_unit::{TIME_UNITS, TextTimes};
use super::tree::join;
use super::value::{Choice, Text};
use crate::decode::Path;
use crate::decode::time::{TextRules, TimeUnit};
use crate::format::Format;
use crate::steps::PrivateFields;

/// The keys of an enrichment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrichment {
    /// How the bytes of a record are read.
    pub format: Format,
    /// The array of which each element makes a row: `$.items`.
    pub explode: Option<String>,
    /// What the keys are that `{ from = "key", path = … }` reads.
    pub key_format: KeyFormat,
    /// How the value of a record is compressed.
    pub compression: Compression,
    /// What becomes of records without value.
    pub tombstones: Tombstones,
    /// `evolution = "strict"`: a field that no column takes halts the pipeline.
    pub is_strict: bool,
    /// Where the event time is.
    pub time_field: TimeField,
    /// What numbers that stand for times are; none: milliseconds, and what looks like seconds is refused.
    pub time_unit: Option<TimeUnit>,
    /// How texts that stand for times are read, besides RFC 3339 and UTC.
    pub text_times: Option<Arc<TextRules>>,
    /// How far the watermark stays behind the largest event time, up to 24 h.
    pub watermark_delay: Duration,
    /// How far an event time may lie after the record's Kafka timestamp, up to 365 days.
    pub timestamp_ahead_max: Duration,
    /// Columns that differ from "`$.<column>`, optional, the type's zero".
    pub columns: BTreeMap<String, ColumnMapping>,
    /// None: no lookup.
    pub lookup: Option<Lookup>,
    /// None: no session metrics.
    pub session: Option<Session>,
    /// What is asked of records.
    pub rules: Rules,
    /// None: duplicates are written like others.
    pub dedup: Option<Dedup>,
    /// Snapshots of the sessions.
    pub state: State,
    /// Fields whose values are hidden.
    pub privacy: PrivateFields,
}

const EXPLODE: Text = Text {
    allowed: "the path of an array, such as \"$.items\", without array steps",
    check: is_plain_path,
};

/// What becomes of records without value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tombstones {
    /// They are dead letters, `null_value`.
    DeadLetter,
    /// They are dropped and counted.
    Drop,
}

impl Enrichment {
    pub(super) fn read(section: &mut Section<'_>) -> Enrichment {
        let delay = Duration::from_secs(30);
        let hour = Duration::from_secs(3600);
        let format = format::read(section);
        let time_field = match format {
            Format::Json | Format::JsonSchema { .. } | Format::Avro(_) | Format::Protobuf(_) => {
                TimeField::Field("timestamp".to_owned())
            }
            Format::String | Format::Csv(_) => TimeField::Nowhere,
        };
        let tombstones = Choice(&[
            ("dead_letter", Tombstones::DeadLetter),
            ("drop", Tombstones::Drop),
        ]);
        let evolutions = Choice(&[("ignore", false), ("strict", true)]);
        let enrichment = Enrichment {
            is_strict: section.take_or("evolution", evolutions, false),
            explode: section.take("explode", EXPLODE),
            key_format: section.take("key_format", KEY_FORMATS).unwrap_or_default(),
            compression: format::read_compression(section),
            tombstones: section.take_or("tombstones", tombstones, Tombstones::DeadLetter),
            time_field: TimeField::read(section, time_field),
            format,
            time_unit: section.take("time_unit", TIME_UNITS),
            text_times: TextTimes::read(section).rules(),
            watermark_delay: section.take_or("watermark_delay", Span::secs(0, 86_400), delay),
            timestamp_ahead_max: section.take_or(
                "timestamp_ahead_max",
                Span::secs(0, 365 * 86_400),
                hour,
            ),
            columns: columns::read(section.section("columns")),
            lookup: section.section_if_present("lookup").map(Lookup::read),
            session: section.section_if_present("session").map(Session::read),
            rules: Rules::read(section),
            dedup: Dedup::read(section),
            state: State::read(section.section("state")),
            privacy: PrivateFields::default(),
        };
        enrichment.check_columns(section);
        enrichment.check_fields(section);
        enrichment.check_quality(section);
        let fields = enrichment.deciding_fields();
        let asked = enrichment.asked_fields();
        format::check(
            &enrichment.format,
            &enrichment.columns,
            &fields,
            &asked,
            section,
        );
        enrichment
    }

    /// The rows of a record are told apart by the numbers of their elements, and by nothing else.
    fn check_index(&self, section: &Section<'_>) {
        let mapped = self
            .columns
            .keys()
            .map(|column| ("columns", column.as_str()));
        let looked_up = self
            .lookup_columns()
            .map(|column| ("lookup.columns", column));
        for (of, column) in mapped.chain(looked_up).filter(|(_, c)| *c == INDEX) {
            let message =
                "must not be mapped: with explode the daemon fills it with the element's number";
            section.problem(&format!("{of}.{column}"), message);
        }
        for (key, column) in self.session.iter().flat_map(Session::columns) {
            if column == INDEX {
                let message = format!(
                    "must not be {column}: with explode the daemon fills it with the element's number"
                );
                section.problem(&format!("session.{key}"), message);
            }
        }
    }

    /// What is read of a record that is written as JSON first: one that is exploded, or whose key is no JSON.
    /// None: records are read as they arrive.
    #[must_use]
    pub fn written_first(&self) -> Option<Formats> {
        let is_key = |mapping: &ColumnMapping| {
            mapping.from == Some(RecordField::Key) && mapping.path.is_some()
        };
        let is_text = matches!(self.key_format, KeyFormat::Json | KeyFormat::Text);
        let has_keys = !is_text && self.columns.values().any(is_key);
        let has_values = self.read_format() != self.format;
        (has_keys || has_values).then(|| Formats {
            format: match has_values {
                true => self.format.clone(),
                false => Format::Json,
            },
            key_format: Some(match has_keys {
                true => self.key_format,
                false => KeyFormat::Text,
            }),
            compression: match has_values {
                true => self.compression,
                false => Compression::None,
            },
        })
    }

    /// The format that columns are filled from.
    #[must_use]
    pub fn read_format(&self) -> Format {
        match (&self.explode, &self.format) {
            (Some(_), Format::Avro(_) | Format::Protobuf(_)) => Format::Json,
            (_, format) => format.clone(),
        }
    }

    /// Every column has one source.
    fn check_columns(&self, section: &Section<'_>) {
        for (column, mapping) in &self.columns {
            if mapping.on_out_of_range.is_some() {
                let key = format!("columns.{column}.on_out_of_range");
                section.problem(
                    &key,
                    "must not be set: only replicas (kind = \"cdc\") read it",
                );
            }
        }
        let has_arrays = !matches!(self.format, Format::String | Format::Csv(_));
        if self.explode.is_some() && !has_arrays {
            let message = "needs format = \"json\", \"avro\" or \"protobuf\": texts and lines have no arrays of elements";
            section.problem("explode", message);
        }
        if self.explode.is_some() && self.session.is_some() {
            let message = "cannot be set together with [pipeline.session]: a session counts records, \
                           and these make several rows";
            section.problem("explode", message);
        }
        if self.explode.is_some() {
            self.check_index(section);
        }
        for (column, mapping) in &self.columns {
            let is_path =
                mapping.from.is_some() && mapping.path.as_deref().is_some_and(|p| p != "$");
            if is_path && !self.key_format.has_members() {
                let message =
                    "must be \"$\", the whole key: key_format = \"string\" knows no members";
                section.problem(&format!("columns.{column}.path"), message);
            }
        }
        for column in self.lookup_columns() {
            if self.columns.contains_key(column) {
                let message =
                    format!("must not be in [pipeline.columns] too: the lookup fills {column}");
                section.problem(&format!("lookup.columns.{column}"), message);
            }
        }
        for (key, column) in self.session.iter().flat_map(Session::columns) {
            let path = format!("session.{key}");
            if self.columns.contains_key(column) {
                let message = format!("must not be {column}: [pipeline.columns] maps it");
                section.problem(&path, message);
            }
            if self.lookup_columns().any(|other| other == column) {
                let message = format!("must not be {column}: the lookup fills it");
                section.problem(&path, message);
            }
        }
    }

    /// Rules see the record, not its elements.
    fn check_exploded(&self, section: &Section<'_>) {
        let Some(explode) = &self.explode else {
            return;
        };
        for (number, rule) in self.rules.rules.iter().enumerate() {
            let when = rule.when.iter().map(|when| ("when", when));
            for (key, condition) in when.chain([("check", &rule.check)]) {
                let of_elements = |path: &&str| is_below(path, explode);
                if let Some(path) = condition.paths().into_iter().find(of_elements) {
                    let message = format!(
                        "must not look at {path}: with explode = {explode:?} a rule sees the record, not its \
                         elements"
                    );
                    section.problem(&format!("rule.{number}.{key}"), message);
                }
            }
        }
    }

    /// What rules fill nothing else fills.
    fn check_quality(&self, section: &Section<'_>) {
        self.check_exploded(section);
        let flag = self
            .dedup
            .iter()
            .filter_map(|dedup| dedup.flag_column.as_deref());
        let flag = flag.map(|column| ("dedup.flag_column", column));
        if self.dedup.is_some() && self.time_field == TimeField::Nowhere {
            section.problem(
                "time_field",
                "must not be \"\": [pipeline.dedup] needs an event time",
            );
        }
        if self.dedup.is_some() && self.explode.is_some() {
            let message = "cannot be set together with [pipeline.dedup], which counts records";
            section.problem("explode", message);
        }
        for (key, column) in self.rules.columns().chain(flag) {
            let by_session = self.session.iter().flat_map(Session::columns);
            let other = if self.columns.contains_key(column) {
                "[pipeline.columns] maps it"
            } else if self.lookup_columns().any(|other| other == column) {
                "the lookup fills it"
            } else if by_session.map(|(_, own)| own).any(|own| own == column) {
                "the session fills it"
            } else if key == "dedup.flag_column"
                && self.rules.columns().any(|(_, own)| own == column)
            {
                "[pipeline.quality] fills it"
            } else if column == INDEX || RecordField::of_column(column).is_some() {
                "the daemon fills it with the record's origin"
            } else {
                continue;
            };
            section.problem(key, format!("must not be {column}: {other}"));
        }
    }

    /// A field that decides something is read from the event, converted.
    fn check_fields(&self, section: &Section<'_>) {
        if self.time_field == TimeField::Nowhere && self.session.is_some() {
            let message = "must not be \"\": [pipeline.session] needs an event time";
            section.problem("time_field", message);
        }
        for (key, field) in self.deciding_fields() {
            let by_session = self.session.iter().flat_map(Session::columns);
            if self.lookup_columns().any(|column| column == field) {
                section.problem(&key, format!("must not be {field}: the lookup fills it"));
            }
            if by_session
                .map(|(_, column)| column)
                .any(|column| column == field)
            {
                section.problem(&key, format!("must not be {field}: the session fills it"));
            }
            if self
                .columns
                .get(field)
                .is_some_and(|mapping| mapping.raw != RawMode::No)
            {
                let message = format!("must not be {field}: [pipeline.columns] keeps it raw");
                section.problem(&key, message);
            }
            if self
                .columns
                .get(field)
                .is_some_and(|mapping| mapping.transform.is_some())
            {
                let message = format!(
                    "must not be {field}: [pipeline.columns] makes that column of fields; call the column \
                     otherwise, or name the field by its path where a path may stand"
                );
                section.problem(&key, message);
            }
            if self
                .columns
                .get(field)
                .is_some_and(|mapping| mapping.from.is_some())
            {
                let message = format!(
                    "must not be {field}: [pipeline.columns] fills it with what Kafka says of the record"
                );
                section.problem(&key, message);
            }
        }
    }

    /// Each field that decides something, with the key that names it.
    fn deciding_fields(&self) -> Vec<(String, &str)> {
        let mut fields = vec![];
        let time_field = self.time_field.field();
        fields.extend(time_field.map(|field| ("time_field".to_owned(), field)));
        if let Some(lookup) = &self.lookup {
            fields.push(("lookup.key_field".to_owned(), &lookup.key_field));
        }
        if let Some(session) = &self.session {
            fields.push(("session.key_field".to_owned(), &session.key_field));
            let distinct = session.distinct_field.as_deref();
            fields.extend(distinct.map(|field| ("session.distinct_field".to_owned(), field)));
            for field in session.distinct_where.keys() {
                fields.push((join("session.distinct_where", field), field));
            }
        }
        fields
    }

    /// Each field that rules and duplicates look at, by its path, with the key that names it.
    fn asked_fields(&self) -> Vec<(String, &str)> {
        let mut fields = vec![];
        for (number, rule) in self.rules.rules.iter().enumerate() {
            let when = rule.when.iter().map(|when| ("when", when));
            for (key, condition) in when.chain([("check", &rule.check)]) {
                let paths = condition.paths().into_iter();
                fields.extend(paths.map(|path| (format!("rule.{number}.{key}"), path)));
            }
        }
        let keys = self.dedup.iter().flat_map(|dedup| &dedup.key);
        fields.extend(keys.map(|path| ("dedup.key".to_owned(), path.as_str())));
        fields
    }

    /// Whether state outlives the owner of a partition.
    #[must_use]
    pub fn keeps_state(&self) -> bool {
        self.session.is_some() || self.dedup.is_some()
    }

    fn lookup_columns(&self) -> impl Iterator<Item = &str> {
        self.lookup
            .iter()
            .flat_map(|lookup| lookup.columns.keys().map(String::as_str))
    }
}

/// Whether a path leads to an array that is taken apart, or into its elements.
fn is_below(path: &str, array: &str) -> bool {
    let (Ok(path), Ok(array)) = (Path::parse(path), Path::parse(array)) else {
        return false;
    };
    let mut names = path.names();
    array.names().all(|name| names.next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_lie_below_their_array() {
        for (path, expected) in [
            ("$.items.sku", true),
            ("$.items", true),
            ("$.items_count", false),
            ("$.order.items", false),
        ] {
            assert_eq!(is_below(path, "$.items"), expected, "{path}");
        }
    }
}
