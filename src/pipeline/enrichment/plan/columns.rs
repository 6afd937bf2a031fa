//! What fills each column of the table: the event, the record, the session or the profile.

use std::collections::BTreeSet;

use super::PlanError;
use super::session::SessionColumn;
use crate::config::{Enrichment, RecordField};
use crate::pipeline::quality::QualityColumn;
use crate::pipeline::record_column::{RecordColumn, Times};
use crate::sink::ColumnInfo;
use crate::steps::Compute;
use crate::table::{Column, ColumnType, DefaultKind};

/// Names of the columns that say where a row came from.
pub(crate) const PROVENANCE: [&str; 3] = ["_topic", "_partition", "_offset"];

/// The column that tells the rows of one record apart.
pub(crate) const INDEX: &str = "_index";

/// The table's columns by what fills them, each group in the table's order.
#[derive(Default)]
pub(super) struct ColumnGroups {
    pub(super) event: Vec<Column>,
    pub(super) record: Vec<RecordColumn>,
    pub(super) quality: Vec<(QualityColumn, Column)>,
    pub(super) session: Vec<(SessionColumn, Column)>,
    pub(super) profile: Vec<Column>,
}

impl ColumnGroups {
    pub(super) fn new(config: &Enrichment, columns: &[ColumnInfo]) -> Result<Self, PlanError> {
        let mut groups = ColumnGroups::default();
        for info in columns {
            let Some(column) = insertable(info, config)? else {
                continue;
            };
            if let Some(kind) = session_column(config, &column.name) {
                groups.session.push((kind, counting_type(column)?));
            } else if let Some(kind) = quality_column(config, &column.name) {
                groups.quality.push((kind, column));
            } else if let Some(field) = record_field(config, &column.name) {
                let mapping = config.columns.get(&column.name);
                let times = Times::of_pipeline(config.time_unit, config.text_times.clone());
                let column = RecordColumn::new(field, column, mapping, config.key_format, times);
                let column = column.map_err(PlanError)?.hiding(&config.privacy);
                groups.record.push(column);
            } else if is_of_profile(config, &column.name) {
                groups.profile.push(column);
            } else {
                groups.event.push(column);
            }
        }
        Ok(groups)
    }
}

/// The columns that take a field each, in the table's order.
pub(super) fn field_names(config: &Enrichment, columns: &[Column]) -> Vec<String> {
    let is_computed = |column: &&Column| {
        let mapping = config.columns.get(&column.name);
        let transform = mapping.and_then(|mapping| mapping.transform.as_ref());
        transform.is_some_and(|transform| transform.making.compute != Compute::Field)
    };
    let columns = columns.iter().filter(|column| !is_computed(column));
    columns.map(|column| column.name.clone()).collect()
}

/// Every column the configuration names must be in the table.
pub(super) fn check_names(
    config: &Enrichment,
    columns: &[ColumnInfo],
    needs_provenance: bool,
) -> Result<(), PlanError> {
    let known: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let session = config.session.iter().flat_map(|s| {
        [&s.count_column, &s.duration_column, &s.distinct_column]
            .into_iter()
            .flatten()
    });
    let lookup = config.lookup.iter().flat_map(|l| l.columns.keys());
    let flag = config.dedup.iter().map(|dedup| &dedup.flag_column);
    let quality = [&config.rules.passed_column, &config.rules.failed_column];
    let quality = quality.into_iter().chain(flag).flatten();
    let named = [(
        "pipeline.columns",
        config.columns.keys().collect::<Vec<_>>(),
    )]
    .into_iter()
    .chain([
        ("pipeline.quality", quality.collect()),
        ("pipeline.session", session.collect()),
        ("pipeline.lookup.columns", lookup.collect()),
    ]);
    for (section, names) in named {
        if let Some(missing) = names
            .into_iter()
            .find(|name| !known.contains(name.as_str()))
        {
            return Err(PlanError(format!(
                "{section} names column {missing}, which the table does not have: add it with \
                 ALTER TABLE … ADD COLUMN, or correct the configuration"
            )));
        }
    }
    let needs_index = needs_provenance && config.explode.is_some();
    if needs_index && known.contains(INDEX) && !columns.iter().any(is_index) {
        return Err(PlanError(format!(
            "column {INDEX} is computed by the table, and exactly_once needs it together with explode to take \
             the element's number: make it a plain column ({INDEX} UInt32), or choose delivery = \
             \"at_least_once\""
        )));
    }
    if needs_index && !known.contains(INDEX) {
        return Err(PlanError(format!(
            "the table has no column {INDEX}, which exactly_once needs together with explode ({INDEX} \
             UInt32): add it with ALTER TABLE … ADD COLUMN, or choose delivery = \"at_least_once\""
        )));
    }
    let missing = PROVENANCE
        .iter()
        .find(|name| needs_provenance && !known.contains(*name));
    if let Some(missing) = missing {
        return Err(PlanError(format!(
            "the table has no column {missing}, which exactly_once needs (_topic \
             LowCardinality(String), _partition UInt32, _offset UInt64): add it with ALTER TABLE \
             … ADD COLUMN, or choose delivery = \"at_least_once\""
        )));
    }
    Ok(())
}

/// Whether it is the column that takes the elements' numbers, and keeps them.
pub(crate) fn is_index(info: &ColumnInfo) -> bool {
    let kind = DefaultKind::parse(&info.default_kind);
    info.name == INDEX && matches!(kind, Ok(DefaultKind::None | DefaultKind::Default))
}

fn insertable(info: &ColumnInfo, config: &Enrichment) -> Result<Option<Column>, PlanError> {
    let default_kind = DefaultKind::parse(&info.default_kind)
        .map_err(|e| PlanError(format!("{}: {e}", info.name)))?;
    let is_wanted = match default_kind {
        DefaultKind::Materialized | DefaultKind::Alias => false,
        DefaultKind::None | DefaultKind::Default | DefaultKind::Ephemeral => true,
    };
    if !is_wanted {
        return Ok(None);
    }
    let column_type = match ColumnType::parse(&info.type_name) {
        Ok(column_type) => column_type,
        // The server has a value for it, whatever its type.
        Err(error) if default_kind != DefaultKind::None && !is_named(config, &info.name) => {
            tracing::warn!(
                column = info.name, %error,
                "a column that is left to its DEFAULT, because the daemon does not write its type"
            );
            return Ok(None);
        }
        Err(error) => {
            let text = format!("column {} {}: {error}", info.name, info.type_name);
            return Err(PlanError(text));
        }
    };
    Ok(Some(Column {
        name: info.name.clone(),
        column_type,
        default_kind,
    }))
}

/// Whether a column that a table got while rows were written to it is no reason to stop: the daemon does
/// not write its type, and neither the configuration nor a row so far has anything for it.
pub(in crate::pipeline::enrichment) fn is_left_to_server(
    info: &ColumnInfo,
    config: &Enrichment,
    filled: &[String],
) -> bool {
    ColumnType::parse(&info.type_name).is_err()
        && !is_named(config, &info.name)
        && !filled.contains(&info.name)
}

/// Whether the configuration says what fills the column.
fn is_named(config: &Enrichment, name: &str) -> bool {
    config.columns.contains_key(name)
        || session_column(config, name).is_some()
        || quality_column(config, name).is_some()
        || record_field(config, name).is_some()
        || is_of_profile(config, name)
}

/// Whether rows without a profile take a column's DEFAULT.
pub(super) fn profiles_need_server_defaults(config: &Enrichment, columns: &[Column]) -> bool {
    let Some(lookup) = &config.lookup else {
        return false;
    };
    columns.iter().any(|column| {
        let mapping = &lookup.columns[&column.name];
        column.default_kind != DefaultKind::None && mapping.default.is_none()
    })
}

fn is_of_profile(config: &Enrichment, name: &str) -> bool {
    let lookup = config.lookup.as_ref();
    lookup.is_some_and(|lookup| lookup.columns.contains_key(name))
}

fn quality_column(config: &Enrichment, name: &str) -> Option<QualityColumn> {
    QualityColumn::of_name(&config.rules, config.dedup.as_ref(), name)
}

fn session_column(config: &Enrichment, name: &str) -> Option<SessionColumn> {
    let session = config.session.as_ref()?;
    SessionColumn::of_name(session, name)
}

/// What Kafka says of the record, where the column is mapped to it, or is named so and not mapped.
fn record_field(config: &Enrichment, name: &str) -> Option<RecordField> {
    match config.columns.get(name) {
        Some(mapping) => mapping.from.clone(),
        None if is_of_profile(config, name) => None,
        None if name == INDEX && config.explode.is_some() => Some(RecordField::Index),
        None => RecordField::of_column(name),
    }
}

fn counting_type(column: Column) -> Result<Column, PlanError> {
    let plain = match &column.column_type {
        ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => inner,
        plain => plain,
    };
    let is_wide = matches!(
        plain,
        ColumnType::UInt32 | ColumnType::UInt64 | ColumnType::Int32 | ColumnType::Int64
    );
    if is_wide {
        return Ok(column);
    }
    Err(PlanError(format!(
        "column {} {}: a session column is (U)Int32 or (U)Int64",
        column.name, column.column_type
    )))
}
