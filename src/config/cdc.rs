//! `kind = "cdc"`: the keys that only this kind has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::columns::{self, ColumnMapping};
use super::format::{Formats, KEY_FORMATS_OF_CHANGES};
use super::quantity::Span;
use super::replica_tables::{self, TableMapping};
use super::section::Section;
use super::topics::TopicSelector;
use super::value::{Boolean, Choice, OneOrMore, Text};
use super::version_epochs::{Epochs, VersionEpoch};
use crate::debezium::{
    BinaryMode, DecimalMode, Modes, OutOfRange, SIGNAL_TABLE, TimeMode, UNAVAILABLE_VALUE,
    UnsignedMode,
};
use crate::decode::Path;
use crate::format::Format;
use crate::replica::OwnNames;

/// The keys of change data capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cdc {
    /// How its records are read. Keys of which nothing is declared are of the values' format where they have a
    /// registry's frame, else JSON.
    pub formats: Formats,
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
    /// The tables by which connectors are given orders: their records are no rows of replicas.
    pub signal_tables: Vec<String>,
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

const PLACEHOLDER: Text = Text {
    allowed: "a text of 1 to 1,024 bytes",
    check: |text| (1..=1024).contains(&text.len()),
};

/// As the source calls it.
const SIGNAL: Text = Text {
    allowed: "the name of the connector's signal table, with or without its schema and database before \
              it, 1 to 249 bytes without control characters",
    check: |text| (1..=249).contains(&text.len()) && !text.chars().any(char::is_control),
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
        let formats = Formats::read(section, KEY_FORMATS_OF_CHANGES);
        let Connector {
            modes,
            placeholder,
            signal_tables,
        } = read_connector(section, !matches!(formats.format, Format::Avro(_)));
        let cdc = Cdc {
            formats,
            create_tables: section.take_or("create_tables", Boolean, true),
            evolution: section.take_or("evolution", evolutions, Evolution::AddColumns),
            truncate: section.take_or("truncate", truncates, Truncate::Halt),
            toast_wait: section.take_or("toast_wait", Span::secs(0, 600), minute),
            version_epochs: section.take_or("version_epochs", Epochs, vec![]),
            modes,
            placeholder,
            signal_tables,
            tables: replica_tables::read(section.section("tables")),
            columns: columns::read(section.section("columns")),
        };
        let own = OwnNames::default();
        let tables = cdc.tables.values().map(|mapping| &mapping.own);
        let own: BTreeSet<&str> = [&own]
            .into_iter()
            .chain(tables)
            .flat_map(|own| [&*own.version, &*own.deleted])
            .collect();
        for (column, mapping) in &cdc.columns {
            let message = "must not be set: only kind = \"enrichment\" reads it";
            if mapping.from.is_some() {
                section.problem(&format!("columns.{column}.from"), message);
            }
            if mapping.transform.is_some() {
                let message = "must not have apply, mask or a value that is computed: only kind = \
                               \"enrichment\" makes values";
                section.problem(&format!("columns.{column}"), message);
            }
            let path = mapping.path.as_deref().map(Path::parse);
            if let Some(Ok(path)) = path
                && (path.is_whole() || !path.steps().is_empty())
            {
                let message = "must be names of members alone: replicas read no whole records and no elements";
                section.problem(&format!("columns.{column}.path"), message);
            }
        }
        for column in own {
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
        let only_describes = ColumnMapping {
            on_out_of_range: mapping.on_out_of_range,
            classification: mapping.classification.clone(),
            ..ColumnMapping::default()
        };
        let describes = mapping.on_out_of_range.is_some() || mapping.classification.is_some();
        let is_note = !describes || *mapping != only_describes;
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

    /// What a topic's table has beside the columns of its source.
    #[must_use]
    pub fn own_names(&self, topic: &str) -> OwnNames {
        let mapping = self.tables.get(topic);
        mapping.map_or_else(OwnNames::default, |mapping| mapping.own.clone())
    }

    /// Whether other topics may be written to a topic's table too.
    #[must_use]
    pub fn shares_table(&self, topic: &str) -> bool {
        self.tables.get(topic).is_some_and(|mapping| mapping.shared)
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
            if first != topic && !(self.shares_table(first) && self.shares_table(topic)) {
                let message = format!(
                    "{first} and {topic} would both be written to the table {table}: name another \
                     one for either, [pipeline.tables.{topic:?}] table = \"…\", or say of both that \
                     they share it, shared = true"
                );
                section.problem("topics", message);
            }
        }
        for (table, topic) in &first_topics {
            let named = self.tables.get(*topic).and_then(|m| m.own.view.as_deref());
            let view = named.map_or_else(|| format!("{table}_current"), str::to_owned);
            if let Some(other) = first_topics.get(&*view) {
                let message = format!(
                    "the view of {topic} and the table of {other} would both be called {view}: name \
                     another view, [pipeline.tables.{topic:?}] view = \"…\", or another table, \
                     [pipeline.tables.{other:?}] table = \"…\""
                );
                section.reader.warning(&section.path_of("topics"), &message);
            }
        }
    }
}

/// What `[pipeline.debezium]` declares.
struct Connector {
    modes: Option<Modes>,
    placeholder: String,
    signal_tables: Vec<String>,
}

/// `may_be_untyped`: records may come without their types.
fn read_connector(section: &mut Section<'_>, may_be_untyped: bool) -> Connector {
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
        if may_be_untyped {
            section
                .reader
                .warning(&section.path_of("debezium"), message);
        }
        return Connector {
            modes: None,
            placeholder: UNAVAILABLE_VALUE.to_owned(),
            signal_tables: vec![SIGNAL_TABLE.to_owned()],
        };
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
    let signal_tables = connector.take_or(
        "signal_table",
        OneOrMore(SIGNAL),
        vec![SIGNAL_TABLE.to_owned()],
    );
    connector.finish();
    Connector {
        modes: Some(modes),
        placeholder,
        signal_tables,
    }
}
