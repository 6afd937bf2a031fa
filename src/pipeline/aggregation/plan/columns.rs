//! Which columns of the table are filled, and whether they take what goes into them.

use std::collections::BTreeSet;

use super::{Digits, PRECISION, PlanError, SCALE, Source, ms};
use crate::config::{Aggregation, Function, WINDOW_COLUMNS, Window};
use crate::sink::ColumnInfo;
use crate::table::{ColumnType, DefaultKind};

/// What numbers may look like, by the column they end in.
pub(super) fn digits(
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
pub(in super::super) fn bare(column_type: &ColumnType) -> &ColumnType {
    match column_type {
        ColumnType::Nullable(inner) | ColumnType::LowCardinality(inner) => bare(inner),
        other => other,
    }
}

fn is_integer(column_type: &ColumnType) -> bool {
    use ColumnType::{Int32, Int64, UInt32, UInt64};
    matches!(column_type, UInt32 | UInt64 | Int32 | Int64)
}

pub(super) type Typed = (String, ColumnType);

/// The columns that are inserted.
pub(super) fn typed(columns: &[ColumnInfo], config: &Aggregation) -> Result<Vec<Typed>, PlanError> {
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

pub(super) fn sources(
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
