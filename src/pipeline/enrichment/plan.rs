//! Which column comes from where: the table and the configuration, brought together once at start.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::kafka_field::KafkaField;
use super::profile::ProfilePlan;
use crate::config::{Enrichment, Lookup, RawMode as ConfiguredRawMode};
use crate::decode::json::Plan;
use crate::decode::time::TimeUnit;
use crate::decode::{Path, Reject};
use crate::operator::{SessionRow, SessionRules};
use crate::sink::{ColumnInfo, RowFormat};
use crate::table::{Column, ColumnSource, ColumnType, DefaultKind, RawMode};

/// Names of the columns that say where a row came from.
pub(crate) const PROVENANCE: [&str; 3] = ["_topic", "_partition", "_offset"];

/// How one table's rows are made. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct RowPlan {
    pub(super) paths: Arc<Plan>,
    /// Columns taken from the event, in the order in which they stand in a row.
    pub(super) event_columns: Vec<ColumnSource>,
    pub(super) with_default_flag: bool,
    pub(super) time: Field,
    /// Of numbers in the event time's field, where its column does not read it.
    pub(super) time_unit: Option<TimeUnit>,
    pub(super) session: Option<SessionPlan>,
    pub(super) provenance: Vec<(Provenance, ColumnType)>,
    pub(super) lookup_key: Option<Field>,
    pub(super) profile: Option<ProfilePlan>,
    names: Vec<String>,
}

/// A value that an operator needs: a column of the row, or a field that no column takes.
#[derive(Debug, Clone)]
pub(super) enum Field {
    Column(usize),
    /// A slot of the scanner's plan.
    Slot(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Provenance {
    Topic,
    Partition,
    Offset,
    /// A column of that name which nothing is mapped to, and whether the table's DEFAULT takes the place of
    /// what a record does not have.
    Kafka(KafkaField, bool),
}

impl Provenance {
    /// A null is a value where the column holds it.
    fn before_default_of(self, column: &Column) -> Self {
        let kind = column.default_kind;
        let has_default = matches!(kind, DefaultKind::Default | DefaultKind::Ephemeral);
        match self {
            Provenance::Kafka(field, _) => {
                Provenance::Kafka(field, has_default && !column.column_type.is_nullable())
            }
            other => other,
        }
    }
}

#[derive(Debug)]
pub(super) struct SessionPlan {
    pub(super) rules: SessionRules,
    pub(super) key: Field,
    pub(super) distinct: Option<Field>,
    /// The distinct value counts where each of these fields has this value.
    pub(super) distinct_where: Vec<(Field, Vec<u8>)>,
    pub(super) columns: Vec<(SessionColumn, ColumnType)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionColumn {
    Count,
    Distinct,
    Duration,
}

impl SessionPlan {
    /// Appends the session columns of a row.
    ///
    /// # Errors
    /// A count that its column cannot hold. `out` may then end in a part of them.
    pub(super) fn encode(
        &self,
        row: SessionRow,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        for (kind, column_type) in &self.columns {
            let number = match kind {
                SessionColumn::Count => row.event_count,
                SessionColumn::Distinct => row.distinct_count,
                SessionColumn::Duration => row.duration_seconds,
            };
            if with_default_flag {
                // In formats of rows with defaults: a value follows.
                out.push(0);
            }
            match column_type {
                ColumnType::UInt32 if number <= u64::from(u32::MAX) => {
                    out.extend_from_slice(&number.to_le_bytes()[..4]);
                }
                other => other.encode_integer(i128::from(number), out)?,
            }
        }
        Ok(())
    }
}

/// The table cannot be filled as configured. The text names the column.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlanError(String);

impl RowPlan {
    /// Maps the columns of the table.
    ///
    /// # Errors
    /// The first column that cannot be filled, with what to do about it.
    pub(crate) fn new(
        config: &Enrichment,
        columns: &[ColumnInfo],
        needs_provenance: bool,
    ) -> Result<Self, PlanError> {
        check_names(config, columns, needs_provenance)?;
        let mut builder = Builder {
            config,
            paths: vec![],
            event_columns: vec![],
        };
        let mut session_columns = vec![];
        let mut provenance = vec![];
        let mut profile_columns = vec![];
        for info in columns {
            let Some(column) = insertable(info, config)? else {
                continue;
            };
            if let Some(kind) = session_column(config, &column.name) {
                session_columns.push((kind, counting_type(column)?));
            } else if let Some(kind) = provenance_column(config, &column.name) {
                let kind = kind.before_default_of(&column);
                provenance.push((kind, provenance_type(kind, column)?));
            } else if config
                .lookup
                .as_ref()
                .is_some_and(|l| l.columns.contains_key(&column.name))
            {
                profile_columns.push(column);
            } else {
                builder.event_column(column)?;
            }
        }
        let lookup = config.lookup.as_ref();
        let with_default_flag = builder
            .event_columns
            .iter()
            .any(ColumnSource::needs_server_default)
            || provenance
                .iter()
                .any(|(kind, _)| matches!(kind, Provenance::Kafka(_, true)))
            || lookup.is_some_and(|lookup| needs_server_default(lookup, &profile_columns));
        let profile = match &config.lookup {
            Some(lookup) => Some(
                ProfilePlan::new(lookup, profile_columns, with_default_flag).map_err(PlanError)?,
            ),
            None => None,
        };
        let names = insert_names(&builder, &session_columns, &provenance, profile.as_ref());
        let time = builder.field(&config.time_field)?;
        let lookup_key = match &config.lookup {
            Some(lookup) => Some(builder.field(&lookup.key_field)?),
            None => None,
        };
        let session = builder.session(
            session_columns
                .iter()
                .map(|(k, c)| (*k, c.1.clone()))
                .collect(),
        )?;
        Ok(RowPlan {
            paths: Arc::new(Plan::new(&builder.paths)),
            event_columns: builder.event_columns,
            with_default_flag,
            time,
            time_unit: config.time_unit,
            session,
            provenance: provenance
                .into_iter()
                .map(|(kind, column)| (kind, column.1))
                .collect(),
            lookup_key,
            profile,
            names,
        })
    }

    /// The columns that are inserted, in the order in which they stand in a row.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// How the values of a row stand one behind the other.
    pub(crate) fn format(&self) -> RowFormat {
        if self.with_default_flag {
            RowFormat::ValuesOrDefaults
        } else {
            RowFormat::Values
        }
    }

    /// The fields to ask a profile's hash for.
    pub(crate) fn hash_fields(&self) -> Vec<String> {
        self.profile
            .as_ref()
            .map(ProfilePlan::hash_fields)
            .unwrap_or_default()
    }
}

/// A column's name and type.
type Typed = (String, ColumnType);

fn insert_names(
    builder: &Builder<'_>,
    session: &[(SessionColumn, Typed)],
    provenance: &[(Provenance, Typed)],
    profile: Option<&ProfilePlan>,
) -> Vec<String> {
    let event = builder
        .event_columns
        .iter()
        .map(|source| source.column().name.clone());
    let session = session.iter().map(|(_, column)| column.0.clone());
    let provenance = provenance.iter().map(|(_, column)| column.0.clone());
    let profile = profile
        .into_iter()
        .flat_map(ProfilePlan::names)
        .map(str::to_owned);
    event
        .chain(provenance)
        .chain(session)
        .chain(profile)
        .collect()
}

struct Builder<'c> {
    config: &'c Enrichment,
    paths: Vec<Path>,
    event_columns: Vec<ColumnSource>,
}

impl Builder<'_> {
    fn event_column(&mut self, column: Column) -> Result<(), PlanError> {
        let mapping = self.config.columns.get(&column.name);
        let path = match mapping.and_then(|m| m.path.as_deref()) {
            Some(path) => parse(path)?,
            None => Path::field(&column.name),
        };
        let (required, default, raw) = match mapping {
            Some(mapping) => (
                mapping.required,
                mapping.default.as_deref(),
                raw_mode(mapping.raw),
            ),
            None => (false, None, RawMode::Off),
        };
        let slot = self.slot(path);
        let unit = mapping.and_then(|mapping| mapping.unit);
        let source = ColumnSource::new(column, slot, required, None, raw)
            .and_then(|source| source.with_unit(unit, self.config.time_unit))
            .and_then(|source| source.with_default(default))
            .map_err(|error| PlanError(format!("pipeline.columns: {error}")))?;
        self.event_columns.push(source);
        Ok(())
    }

    /// A column of that name, or else the event's own field, or a path.
    fn field(&mut self, name: &str) -> Result<Field, PlanError> {
        let is_it = |source: &ColumnSource| source.column().name == name;
        if let Some(index) = self.event_columns.iter().position(is_it) {
            return Ok(Field::Column(index));
        }
        let path = if name.starts_with('$') {
            parse(name)?
        } else {
            Path::field(name)
        };
        Ok(Field::Slot(self.slot(path)))
    }

    fn slot(&mut self, path: Path) -> usize {
        self.paths.push(path);
        self.paths.len() - 1
    }

    fn session(
        &mut self,
        columns: Vec<(SessionColumn, ColumnType)>,
    ) -> Result<Option<SessionPlan>, PlanError> {
        let Some(config) = &self.config.session else {
            return Ok(None);
        };
        let distinct = match &config.distinct_field {
            Some(name) => Some(self.field(name)?),
            None => None,
        };
        let mut distinct_where = vec![];
        for (name, value) in &config.distinct_where {
            let field = self.field(name)?;
            let expected = match &field {
                Field::Column(index) => self.encoded(*index, value)?,
                Field::Slot(_) => value.clone().into_bytes(),
            };
            distinct_where.push((field, expected));
        }
        Ok(Some(SessionPlan {
            rules: SessionRules::new(config.timeout, config.duration_max),
            key: self.field(&config.key_field)?,
            distinct,
            distinct_where,
            columns,
        }))
    }

    fn encoded(&self, index: usize, value: &str) -> Result<Vec<u8>, PlanError> {
        let source = &self.event_columns[index];
        let column = source.column();
        let mut bytes = vec![];
        column
            .column_type
            .encode_text_default_in(value, source.unit(), &mut bytes)
            .map_err(|reject| {
                let (name, type_name) = (&column.name, &column.column_type);
                let text = format!(
                    "pipeline.session.distinct_where.{name}: {value:?} is no {type_name}: {}",
                    reject.detail
                );
                PlanError(text)
            })?;
        Ok(bytes)
    }
}

fn parse(path: &str) -> Result<Path, PlanError> {
    Path::parse(path).map_err(|error| PlanError(format!("path {path:?}: {error}")))
}

fn raw_mode(mode: ConfiguredRawMode) -> RawMode {
    match mode {
        ConfiguredRawMode::No => RawMode::Off,
        ConfiguredRawMode::Object => RawMode::Object,
        ConfiguredRawMode::Any => RawMode::Any,
    }
}

/// Every column the configuration names must be in the table.
fn check_names(
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
    let named = [(
        "pipeline.columns",
        config.columns.keys().collect::<Vec<_>>(),
    )]
    .into_iter()
    .chain([
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
pub(super) fn is_left_to_server(info: &ColumnInfo, config: &Enrichment, filled: &[String]) -> bool {
    ColumnType::parse(&info.type_name).is_err()
        && !is_named(config, &info.name)
        && !filled.contains(&info.name)
}

/// Whether the configuration says what fills the column.
fn is_named(config: &Enrichment, name: &str) -> bool {
    config.columns.contains_key(name)
        || session_column(config, name).is_some()
        || provenance_column(config, name).is_some()
        || config
            .lookup
            .as_ref()
            .is_some_and(|lookup| lookup.columns.contains_key(name))
}

/// Whether rows without a profile take a column's DEFAULT.
fn needs_server_default(lookup: &Lookup, columns: &[Column]) -> bool {
    columns.iter().any(|column| {
        let mapping = &lookup.columns[&column.name];
        column.default_kind != DefaultKind::None && mapping.default.is_none()
    })
}

fn session_column(config: &Enrichment, name: &str) -> Option<SessionColumn> {
    let session = config.session.as_ref()?;
    let is = |column: &Option<String>| column.as_deref() == Some(name);
    if is(&session.count_column) {
        Some(SessionColumn::Count)
    } else if is(&session.distinct_column) {
        Some(SessionColumn::Distinct)
    } else if is(&session.duration_column) {
        Some(SessionColumn::Duration)
    } else {
        None
    }
}

fn provenance_column(config: &Enrichment, name: &str) -> Option<Provenance> {
    let lookup = config.lookup.as_ref();
    let is_mapped = config.columns.contains_key(name)
        || lookup.is_some_and(|lookup| lookup.columns.contains_key(name));
    if let Some(field) = KafkaField::of_column(name).filter(|_| !is_mapped) {
        return Some(Provenance::Kafka(field, false));
    }
    let index = PROVENANCE.iter().position(|known| *known == name)?;
    Some([Provenance::Topic, Provenance::Partition, Provenance::Offset][index])
}

fn counting_type(column: Column) -> Result<Typed, PlanError> {
    let plain = match &column.column_type {
        ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => inner,
        plain => plain,
    };
    let is_wide = matches!(
        plain,
        ColumnType::UInt32 | ColumnType::UInt64 | ColumnType::Int32 | ColumnType::Int64
    );
    if is_wide {
        return Ok((column.name, column.column_type));
    }
    Err(PlanError(format!(
        "column {} {}: a session column is (U)Int32 or (U)Int64",
        column.name, column.column_type
    )))
}

fn provenance_type(kind: Provenance, column: Column) -> Result<Typed, PlanError> {
    let fits = match kind {
        Provenance::Topic => column.column_type.is_text() && !column.column_type.is_nullable(),
        Provenance::Partition => {
            matches!(
                column.column_type,
                ColumnType::UInt32 | ColumnType::Int32 | ColumnType::UInt64
            )
        }
        Provenance::Offset => matches!(column.column_type, ColumnType::UInt64 | ColumnType::Int64),
        Provenance::Kafka(field, _) => field.fits(&column.column_type),
    };
    if fits {
        return Ok((column.name, column.column_type));
    }
    let expected = match kind {
        Provenance::Topic => "LowCardinality(String)",
        Provenance::Partition => "UInt32",
        Provenance::Offset => "UInt64",
        Provenance::Kafka(field, _) => field.expected(),
    };
    Err(PlanError(format!(
        "column {} must be {expected}, not {}",
        column.name, column.column_type
    )))
}
