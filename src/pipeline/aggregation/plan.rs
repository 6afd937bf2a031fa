//! How records become samples and windows become rows, worked out once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::condition::Check;
use super::{fingerprint, presence};
use crate::config::{Aggregation, Function, Input, WINDOW_COLUMNS, Window};
use crate::decode::Path;
use crate::decode::json::Plan as Paths;
use crate::decode::time::TimeUnit;
use crate::operator::window::{CellRules, Rules, Shape};
use crate::sink::ColumnInfo;
use crate::table::{ColumnType, DefaultKind};

/// Digits of a number where no column says otherwise: those of Decimal(38, 9).
const PRECISION: u8 = 38;
const SCALE: u8 = 9;

/// See the module. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct AggregationPlan {
    pub(super) paths: Arc<Paths>,
    /// Slot of the event time.
    pub(super) time: usize,
    pub(super) time_field: String,
    pub(super) time_unit: Option<TimeUnit>,
    pub(super) group: Vec<GroupPlan>,
    pub(super) metrics: Vec<MetricPlan>,
    pub(super) checks: Vec<Check>,
    /// Of the field of the group that is the records' key.
    pub(super) key_field: Option<usize>,
    /// The most bytes that one value of the group may have.
    pub(super) group_bytes_max: usize,
    pub(super) rules: Rules,
    /// Of everything that decides what a window holds.
    pub(super) fingerprint: u32,
    /// As earlier versions made it: a wider column was another rule to them.
    pub(super) fingerprint_of_digits: u32,
    /// The columns of the table, in the order of the insert.
    pub(super) columns: Vec<(Source, ColumnType)>,
    names: Vec<String>,
}

/// What fills a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    Start,
    End,
    Group(usize),
    Metric(usize),
    Revision,
    IsFinal,
    LateCount,
    Version,
    ProcessedAt,
    Deleted,
}

impl Source {
    /// Whether it is where a window begins or ends.
    pub(super) fn is_bound(self) -> bool {
        matches!(self, Source::Start | Source::End)
    }
}

/// One field of the group.
#[derive(Debug)]
pub(super) struct GroupPlan {
    pub(super) name: String,
    pub(super) slot: usize,
    pub(super) default: Option<String>,
}

/// One metric.
#[derive(Debug)]
pub(super) struct MetricPlan {
    pub(super) name: String,
    pub(super) function: Function,
    /// Slots, and the paths they are of: more than one for a product.
    pub(super) inputs: Vec<(usize, String)>,
    pub(super) checks: Vec<Check>,
    pub(super) digits: Digits,
    /// What its column holds; none where rows go to a topic alone.
    pub(super) column: Option<ColumnType>,
    /// Of numbers that stand for times in its column.
    pub(super) time_unit: Option<TimeUnit>,
}

/// How many digits a number may have, and how many of them behind the point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) precision: u8,
    pub(super) scale: u8,
}

/// The table cannot be filled as configured. The text names the column.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct PlanError(pub(super) String);

impl AggregationPlan {
    /// Maps the columns of the table; `None`: rows go to a topic alone.
    ///
    /// # Errors
    /// The first column that cannot be filled, with what to do about it.
    pub(crate) fn new(
        config: &Aggregation,
        columns: Option<&[ColumnInfo]>,
    ) -> Result<Self, PlanError> {
        let mut slots = Slots::default();
        let time = slots.of(&field_path(&config.time_field))?;
        let mut group = vec![];
        for field in &config.group {
            group.push(GroupPlan {
                name: field.name.clone(),
                slot: slots.of(&field.path)?,
                default: field.default.clone(),
            });
        }
        let checks = Check::all(&config.conditions, |path| slots.of(path))?;
        let typed = columns.map(|columns| typed(columns, config)).transpose()?;
        let mut metrics = vec![];
        for metric in &config.metrics {
            let columns = typed.iter().flatten();
            let column = columns
                .filter(|(name, _)| *name == metric.name)
                .map(|(_, column_type)| column_type.clone())
                .next();
            let paths = match &metric.input {
                None => vec![],
                Some(Input::Path(path)) => vec![path.clone()],
                Some(Input::Product(paths)) => paths.clone(),
            };
            let mut inputs = vec![];
            for path in paths {
                inputs.push((slots.of(&path)?, path));
            }
            metrics.push(MetricPlan {
                name: metric.name.clone(),
                function: metric.function,
                inputs,
                checks: Check::all(&metric.conditions, |path| slots.of(path))?,
                digits: digits(metric.function, column.as_ref(), &metric.name)?,
                column,
                time_unit: config.time_unit,
            });
        }
        presence::check(config, &metrics)?;
        let cells = metrics.iter().map(MetricPlan::cell).collect();
        let sources = sources(config, typed.unwrap_or_default())?;
        let key_field = config.partitioned_by.as_ref();
        let key_field = key_field.and_then(|name| group.iter().position(|g| g.name == *name));
        Ok(AggregationPlan {
            paths: Arc::new(Paths::new(&slots.paths)),
            time,
            time_field: config.time_field.clone(),
            time_unit: config.time_unit,
            rules: rules(config, cells),
            fingerprint: fingerprint::of(config, &metrics),
            fingerprint_of_digits: fingerprint::of_digits(config, &metrics),
            names: sources.iter().map(|(name, _, _)| name.clone()).collect(),
            columns: sources.into_iter().map(|(_, s, t)| (s, t)).collect(),
            group,
            metrics,
            checks,
            key_field,
            group_bytes_max: config.group_bytes_max,
        })
    }

    /// The name of a column, by its number in the insert.
    pub(super) fn column_name(&self, index: usize) -> &str {
        &self.names[index]
    }

    /// The columns that are inserted, in the order in which they stand in a row.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }
}

impl MetricPlan {
    fn cell(&self) -> CellRules {
        match self.function {
            Function::Count => CellRules::Count,
            Function::Sum | Function::Avg { .. } => CellRules::Sum,
            Function::Min => CellRules::Min,
            Function::Max => CellRules::Max,
            Function::CountDistinct => CellRules::CountDistinct,
            Function::Last => CellRules::Last,
        }
    }
}

/// Paths, each once.
#[derive(Default)]
struct Slots {
    texts: Vec<String>,
    paths: Vec<Path>,
}

impl Slots {
    fn of(&mut self, text: &str) -> Result<usize, PlanError> {
        if let Some(slot) = self.texts.iter().position(|known| known == text) {
            return Ok(slot);
        }
        let path =
            Path::parse(text).map_err(|error| PlanError(format!("path {text:?}: {error}")))?;
        self.texts.push(text.to_owned());
        self.paths.push(path);
        Ok(self.paths.len() - 1)
    }
}

fn field_path(field: &str) -> String {
    format!("$.{field}")
}

fn rules(config: &Aggregation, cells: Vec<CellRules>) -> Rules {
    let shape = match config.window {
        Window::Tumbling { size } => Shape::Aligned {
            size_ms: ms(size),
            slide_ms: ms(size),
        },
        Window::Hopping { size, slide } => Shape::Aligned {
            size_ms: ms(size),
            slide_ms: ms(slide),
        },
        Window::Session { gap } => Shape::Session { gap_ms: ms(gap) },
    };
    Rules {
        shape,
        watermark_delay_ms: ms(config.watermark_delay),
        lateness_ms: ms(config.allowed_lateness),
        cells,
    }
}

pub(super) fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What numbers may look like, by the column they end in.
fn digits(
    function: Function,
    column: Option<&ColumnType>,
    name: &str,
) -> Result<Digits, PlanError> {
    let plain = column.map(bare);
    let any = Digits {
        precision: PRECISION,
        scale: SCALE,
    };
    match (function, plain) {
        (_, None) | (Function::Last, Some(_)) => Ok(any),
        (Function::Count | Function::CountDistinct, Some(column)) if is_integer(column) => Ok(any),
        (Function::Avg { places }, Some(ColumnType::Decimal { scale, .. })) if *scale < places => {
            Err(PlanError(format!(
                "column {name} has {scale} digits behind the point and pipeline.metrics.{name}.places \
                 is {places}: it must hold them all"
            )))
        }
        (Function::Avg { .. }, Some(ColumnType::Decimal { .. } | ColumnType::Float64)) => Ok(any),
        (
            Function::Sum | Function::Min | Function::Max,
            Some(ColumnType::Decimal { precision, scale }),
        ) if *precision <= PRECISION => Ok(Digits {
            precision: *precision,
            scale: *scale,
        }),
        (Function::Sum | Function::Min | Function::Max, Some(ColumnType::Float64)) => Ok(any),
        (Function::Sum | Function::Min | Function::Max, Some(ColumnType::Int64)) => Ok(Digits {
            precision: 18,
            scale: 0,
        }),
        (Function::Count | Function::CountDistinct, Some(column)) => Err(PlanError(format!(
            "column {name} {column}: a count needs a column of integers, such as UInt64"
        ))),
        (_, Some(column)) => Err(PlanError(format!(
            "column {name} {column}: exact numbers need Decimal(p, s) with p up to {PRECISION}, or \
             Int64 for whole ones (Float64 takes them rounded)"
        ))),
    }
}

/// Without what may stand around a type.
pub(super) fn bare(column_type: &ColumnType) -> &ColumnType {
    match column_type {
        ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => bare(inner),
        other => other,
    }
}

fn is_integer(column_type: &ColumnType) -> bool {
    use ColumnType::{Int32, Int64, UInt32, UInt64};
    matches!(column_type, UInt32 | UInt64 | Int32 | Int64)
}

type Typed = (String, ColumnType);

/// The columns that are inserted.
fn typed(columns: &[ColumnInfo], config: &Aggregation) -> Result<Vec<Typed>, PlanError> {
    let mut typed = vec![];
    let is_ours = |name: &str| {
        WINDOW_COLUMNS.contains(&name)
            || config.group.iter().any(|g| g.name == name)
            || config.metrics.iter().any(|m| m.name == name)
    };
    for info in columns {
        let kind = DefaultKind::parse(&info.default_kind)
            .map_err(|e| PlanError(format!("column {}: {e}", info.name)))?;
        let by_server = match kind {
            DefaultKind::Materialized | DefaultKind::Alias => true,
            DefaultKind::Default => info.name == "processed_at",
            DefaultKind::None | DefaultKind::Ephemeral => false,
        };
        if by_server || !is_ours(&info.name) {
            continue;
        }
        let column_type = ColumnType::parse(&info.type_name).map_err(|error| {
            PlanError(format!("column {} {}: {error}", info.name, info.type_name))
        })?;
        typed.push((info.name.clone(), column_type));
    }
    let known: BTreeSet<&str> = typed.iter().map(|(name, _)| name.as_str()).collect();
    let group = config.group.iter().map(|g| ("pipeline.group", &g.name));
    let metrics = config.metrics.iter().map(|m| ("pipeline.metrics", &m.name));
    for (table, name) in group.chain(metrics) {
        if !known.contains(name.as_str()) {
            return Err(PlanError(format!(
                "{table} names column {name}, which the table does not have: add it with ALTER TABLE \
                 … ADD COLUMN, or correct the configuration"
            )));
        }
    }
    for name in ["window_start", "version"] {
        if !known.contains(name) {
            return Err(PlanError(format!(
                "the table has no column {name}, by which the fullest row of a window is found \
                 (window_start DateTime64(3, 'UTC'), version UInt64)"
            )));
        }
    }
    Ok(typed)
}

fn sources(
    config: &Aggregation,
    typed: Vec<Typed>,
) -> Result<Vec<(String, Source, ColumnType)>, PlanError> {
    let mut sources = vec![];
    for (name, column_type) in typed {
        let source = source(config, &name);
        check_type(config, source, &name, &column_type)?;
        sources.push((name, source, column_type));
    }
    Ok(sources)
}

fn source(config: &Aggregation, name: &str) -> Source {
    if let Some(index) = config.group.iter().position(|g| g.name == name) {
        return Source::Group(index);
    }
    if let Some(index) = config.metrics.iter().position(|m| m.name == name) {
        return Source::Metric(index);
    }
    match name {
        "window_start" => Source::Start,
        "window_end" => Source::End,
        "revision" => Source::Revision,
        "is_final" => Source::IsFinal,
        "late_count" => Source::LateCount,
        "version" => Source::Version,
        "_deleted" => Source::Deleted,
        _ => Source::ProcessedAt,
    }
}

fn check_type(
    config: &Aggregation,
    source: Source,
    name: &str,
    column_type: &ColumnType,
) -> Result<(), PlanError> {
    use ColumnType::{Bool, DateTime, DateTime64, Int64, UInt8, UInt64};
    let whole_seconds = match config.window {
        Window::Tumbling { size } => ms(size) % 1000 == 0,
        Window::Hopping { slide, .. } => ms(slide) % 1000 == 0,
        Window::Session { .. } => false,
    };
    let (fits, wanted) = match (source, column_type) {
        (Source::Start | Source::End, DateTime64 { precision, .. }) => {
            (*precision >= 3 || whole_seconds, "DateTime64(3, 'UTC')")
        }
        (Source::Start | Source::End, DateTime { .. }) => (whole_seconds, "DateTime64(3, 'UTC')"),
        (Source::Start | Source::End, _) => (false, "DateTime64(3, 'UTC')"),
        (Source::ProcessedAt, other) => (
            matches!(other, DateTime64 { .. } | DateTime { .. }),
            "DateTime64(3, 'UTC')",
        ),
        (Source::Group(_), other) => (
            other.is_text() && !other.is_nullable(),
            "String or LowCardinality(String), because groups are told apart by their text",
        ),
        (Source::Version, other) => (*other == UInt64, "UInt64"),
        (Source::Revision | Source::LateCount, other) => {
            (matches!(other, UInt64 | Int64), "UInt64")
        }
        (Source::IsFinal, other) => (matches!(other, UInt8 | Bool), "UInt8"),
        (Source::Deleted, other) => (*other == UInt8, "UInt8"),
        // Judged by what it computes.
        (Source::Metric(_), _) => (true, ""),
    };
    if fits {
        return Ok(());
    }
    Err(PlanError(format!(
        "column {name} must be {wanted}, not {column_type}"
    )))
}

impl From<String> for PlanError {
    fn from(text: String) -> Self {
        PlanError(text)
    }
}
