//! `kind = "cdc"`: the keys that only this kind has.

use std::collections::BTreeMap;
use std::time::Duration;

use super::columns::{self, ColumnMapping};
use super::quantity::Span;
use super::replica_tables::{self, TableMapping};
use super::section::Section;
use super::topics::TopicSelector;
use super::value::{Boolean, Choice, Text};
use super::version_epochs::{Epochs, VersionEpoch};
use crate::decode::debezium::{
    BinaryMode, DecimalMode, Modes, OutOfRange, TimeMode, UNAVAILABLE_VALUE, UnsignedMode,
};

/// The keys of change data capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cdc {
    /// Whether missing tables are created.
    pub create_tables: bool,
    /// What happens when records change their columns.
    pub evolution: Evolution,
    /// What happens when the source empties a table.
    pub truncate: Truncate,
    /// How long a created row may wait for the row of its old key to appear, up to 10 min.
    pub toast_wait: Duration,
    /// When the topics were made anew, in the order of time.
    pub version_epochs: Vec<VersionEpoch>,
    /// How the connector writes values; none: only records with a schema block can be read.
    pub modes: Option<Modes>,
    /// What the connector writes for a large value that did not change.
    pub placeholder: String,
    /// What differs from a table called as the topic's last part, by topic.
    pub tables: BTreeMap<String, TableMapping>,
    /// Columns filled from the record around the row, such as `_lsn` from `$.source.lsn`.
    pub columns: BTreeMap<String, ColumnMapping>,
}

/// What happens when records have other columns than their table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evolution {
    /// The pipeline halts.
    Strict,
    /// Columns are added, and widened where nothing is lost.
    AddColumns,
    /// Fields without a column are dropped and counted.
    Ignore,
}

/// What happens when the source empties a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncate {
    /// The pipeline halts.
    Halt,
    /// The replica is emptied too; only for topics of one partition.
    Apply,
    /// Nothing but a count.
    Ignore,
}

/// Columns of every replica that the daemon fills: the order of changes, and whether the row is gone.
pub(super) const REPLICA_COLUMNS: [&str; 2] = ["_version", "_deleted"];

const PLACEHOLDER: Text = Text {
    allowed: "a text of 1 to 1,024 bytes",
    check: |text| (1..=1024).contains(&text.len()),
};

impl Cdc {
    pub(super) fn read(section: &mut Section<'_>) -> Cdc {
        let evolutions = Choice(&[
            ("strict", Evolution::Strict),
            ("add_columns", Evolution::AddColumns),
            ("ignore", Evolution::Ignore),
        ]);
        let truncates = Choice(&[
            ("halt", Truncate::Halt),
            ("apply", Truncate::Apply),
            ("ignore", Truncate::Ignore),
        ]);
        let minute = Duration::from_secs(60);
        let (modes, placeholder) = read_connector(section);
        let cdc = Cdc {
            create_tables: section.take_or("create_tables", Boolean, true),
            evolution: section.take_or("evolution", evolutions, Evolution::AddColumns),
            truncate: section.take_or("truncate", truncates, Truncate::Halt),
            toast_wait: section.take_or("toast_wait", Span::secs(0, 600), minute),
            version_epochs: section.take_or("version_epochs", Epochs, vec![]),
            modes,
            placeholder,
            tables: replica_tables::read(section.section("tables")),
            columns: columns::read(section.section("columns")),
        };
        for column in REPLICA_COLUMNS {
            if cdc.columns.contains_key(column) {
                let message = "must not be mapped: the daemon fills it";
                section.problem(&format!("columns.{column}"), message);
            }
        }
        cdc
    }

    /// The table of a topic: the configured one, else the topic's last part.
    #[must_use]
    pub fn table_for<'a>(&'a self, topic: &'a str) -> &'a str {
        let configured = self.tables.get(topic).and_then(|t| t.table.as_deref());
        let last_part = || topic.rsplit('.').find(|part| !part.is_empty());
        configured.or_else(last_part).unwrap_or(topic)
    }

    /// How a column is filled from the record around the row; none: from the row.
    #[must_use]
    pub fn note(&self, column: &str) -> Option<&ColumnMapping> {
        let mapping = self.columns.get(column)?;
        let only_says_range = ColumnMapping {
            on_out_of_range: mapping.on_out_of_range,
            ..ColumnMapping::default()
        };
        let is_note = mapping.on_out_of_range.is_none() || *mapping != only_says_range;
        is_note.then_some(mapping)
    }

    /// What becomes of values that a column of a topic's table does not hold.
    #[must_use]
    pub fn out_of_range(&self, topic: &str, column: &str) -> OutOfRange {
        let of_table = self
            .tables
            .get(topic)
            .and_then(|t| t.out_of_range.get(column));
        let of_all = self.columns.get(column).and_then(|c| c.on_out_of_range);
        of_table.copied().or(of_all).unwrap_or_default()
    }

    /// The epoch of a record with this Kafka timestamp, epoch milliseconds; 0 before the first.
    #[must_use]
    pub fn epoch_at(&self, timestamp_ms: i64) -> u16 {
        let begun = self.version_epochs.iter();
        let begun = begun.take_while(|epoch| epoch.since_ms <= timestamp_ms);
        begun.last().map_or(0, |epoch| epoch.epoch)
    }

    /// What only shows beside the topics: tables of topics that are not read, two topics in one table.
    pub(super) fn check_topics(&self, topics: &[TopicSelector], section: &Section<'_>) {
        for topic in self.tables.keys() {
            if !topics.iter().any(|selector| selector.matches(topic)) {
                let message = format!(
                    "must be one of the pipeline's topics; a topic's name goes in quotes: \
                     [pipeline.tables.{topic:?}]"
                );
                section.problem(&format!("tables.{topic}"), message);
            }
        }
        let named = topics.iter().filter_map(|selector| match selector {
            TopicSelector::Name(topic) => Some(topic.as_str()),
            TopicSelector::Pattern(_) => None,
        });
        let known = named.chain(self.tables.keys().map(String::as_str));
        let mut first_topics: BTreeMap<&str, &str> = BTreeMap::new();
        for topic in known {
            let table = self.table_for(topic);
            let first = *first_topics.entry(table).or_insert(topic);
            if first != topic {
                let message = format!(
                    "{first} and {topic} would both be written to the table {table}: name another \
                     one for either, [pipeline.tables.{topic:?}] table = \"…\""
                );
                section.problem("topics", message);
            }
        }
    }
}

/// `[pipeline.debezium]`: the modes it declares, and the placeholder.
fn read_connector(section: &mut Section<'_>) -> (Option<Modes>, String) {
    let decimals = Choice(&[
        ("precise", DecimalMode::Precise),
        ("string", DecimalMode::String),
        ("double", DecimalMode::Double),
    ]);
    let times = Choice(&[
        ("adaptive", TimeMode::Adaptive),
        (
            "adaptive_time_microseconds",
            TimeMode::AdaptiveTimeMicroseconds,
        ),
        ("microseconds", TimeMode::Microseconds),
        ("nanoseconds", TimeMode::Nanoseconds),
        ("connect", TimeMode::Connect),
        ("isostring", TimeMode::IsoString),
        ("structured", TimeMode::Structured),
    ]);
    let binaries = Choice(&[
        ("bytes", BinaryMode::Bytes),
        ("base64", BinaryMode::Base64),
        ("base64-url-safe", BinaryMode::Base64UrlSafe),
        ("hex", BinaryMode::Hex),
    ]);
    let unsigned = Choice(&[
        ("long", UnsignedMode::Long),
        ("precise", UnsignedMode::Precise),
    ]);
    let Some(mut connector) = section.section_if_present("debezium") else {
        let message = "is not there, so a record without a schema block halts the pipeline: declare \
                       decimal_mode, time_mode and binary_mode as the connector has them, or have it \
                       write schema blocks";
        section
            .reader
            .warning(&section.path_of("debezium"), message);
        return (None, UNAVAILABLE_VALUE.to_owned());
    };
    let modes = Modes {
        decimal: connector.take_or("decimal_mode", decimals, DecimalMode::Precise),
        time: connector.take_or("time_mode", times, TimeMode::Adaptive),
        binary: connector.take_or("binary_mode", binaries, BinaryMode::Bytes),
        unsigned: connector.take("bigint_unsigned_mode", unsigned),
    };
    let placeholder = connector.take_or(
        "unavailable_value_placeholder",
        PLACEHOLDER,
        UNAVAILABLE_VALUE.to_owned(),
    );
    connector.finish();
    (Some(modes), placeholder)
}
