//! How records become samples and windows become rows, worked out once.

mod columns;

use std::sync::Arc;
use std::time::Duration;

pub(super) use self::columns::bare;
use self::columns::{digits, sources, typed};
use super::condition::Check;
use super::{fingerprint, presence};
use crate::config::{Aggregation, Function, Input, Metric, RecordField, Window};
use crate::decode::Path;
use crate::decode::json::Plan as Paths;
use crate::decode::time::{TextRules, TimeRules, TimeUnit};
use crate::operator::window::{CellRules, Rules, Shape};
use crate::pipeline::quality::{DedupPlan, ReadyRules};
use crate::sink::ColumnInfo;
use crate::table::ColumnType;

/// Digits of the largest numbers of Int64.
const INT64_DIGITS: u8 = 19;
/// Digits of a number where no column says otherwise: those of Decimal(38, 9).
const PRECISION: u8 = 38;
const SCALE: u8 = 9;

/// See the module. Shared by the lanes.
#[derive(Debug)]
pub(crate) struct AggregationPlan {
    pub(super) paths: Arc<Paths>,
    /// Slot of the event time; none: it is the record's Kafka timestamp.
    pub(super) time: Option<usize>,
    pub(super) time_field: String,
    pub(super) time_unit: Option<TimeUnit>,
    pub(super) text_times: Option<Arc<TextRules>>,
    pub(super) group: Vec<GroupPlan>,
    pub(super) metrics: Vec<MetricPlan>,
    pub(super) checks: Vec<Check>,
    /// What is asked of records first; none: nothing.
    pub(super) asked: Option<ReadyRules>,
    /// Which records are duplicates; none: nobody asks.
    pub(super) dedup: Option<DedupPlan>,
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
    pub(super) source: GroupSource,
    pub(super) default: Option<String>,
}

/// Where the value of a field of the group is.
#[derive(Debug)]
pub(super) enum GroupSource {
    Slot(usize),
    Record(RecordField),
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
        let time = config.time_field.field();
        let time = time.map(|field| slots.of(&field_path(field))).transpose()?;
        let mut group = vec![];
        for field in &config.group {
            group.push(GroupPlan {
                name: field.name.clone(),
                source: match &field.from {
                    Some(from) => GroupSource::Record(from.clone()),
                    None => GroupSource::Slot(slots.of(&field.path)?),
                },
                default: field.default.clone(),
            });
        }
        let checks = Check::all(&config.conditions, |path| slots.of(path))?;
        let typed = columns.map(|columns| typed(columns, config)).transpose()?;
        let mut metrics = vec![];
        for metric in &config.metrics {
            let mut columns = typed.iter().flatten();
            let column = columns.find(|(name, _)| *name == metric.name);
            let column = column.map(|(_, column_type)| column_type.clone());
            metrics.push(MetricPlan::new(
                metric,
                column,
                config.time_unit,
                &mut slots,
            )?);
        }
        let asked = ReadyRules::new(&config.rules.rules, config.text_times.as_deref(), |path| {
            slots.of(path).map_err(|error| error.to_string())
        });
        let asked = asked.map_err(PlanError)?;
        let dedup = config.dedup.as_ref().map(|dedup| {
            DedupPlan::new(dedup, config.watermark_delay, |path| {
                slots.of(path).map_err(|error| error.to_string())
            })
        });
        let dedup = dedup.transpose().map_err(PlanError)?;
        presence::check(config, &metrics)?;
        let cells = metrics.iter().map(MetricPlan::cell).collect();
        let sources = sources(config, typed.unwrap_or_default())?;
        let key_field = config.partitioned_by.as_ref();
        let key_field = key_field.and_then(|name| group.iter().position(|g| g.name == *name));
        Ok(AggregationPlan {
            paths: Arc::new(Paths::new(&slots.paths)),
            time,
            time_field: config.time_field.field().unwrap_or_default().to_owned(),
            time_unit: config.time_unit,
            text_times: config.text_times.clone(),
            rules: rules(config, cells),
            fingerprint: fingerprint::of(config, &metrics),
            fingerprint_of_digits: fingerprint::of_digits(config, &metrics),
            names: sources.iter().map(|(name, _, _)| name.clone()).collect(),
            columns: sources.into_iter().map(|(_, s, t)| (s, t)).collect(),
            group,
            metrics,
            checks,
            asked,
            dedup,
            key_field,
            group_bytes_max: config.group_bytes_max,
        })
    }

    /// How the event time is read.
    pub(super) fn time_rules(&self) -> TimeRules<'_> {
        TimeRules {
            unit: self.time_unit,
            unit_of_day: None,
            texts: self.text_times.as_deref(),
        }
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
    fn new(
        metric: &Metric,
        column: Option<ColumnType>,
        time_unit: Option<TimeUnit>,
        slots: &mut Slots,
    ) -> Result<MetricPlan, PlanError> {
        let paths = match &metric.input {
            None => vec![],
            Some(Input::Path(path)) => vec![path.clone()],
            Some(Input::Product(paths)) => paths.clone(),
        };
        let mut inputs = vec![];
        for path in paths {
            inputs.push((slots.of(&path)?, path));
        }
        Ok(MetricPlan {
            name: metric.name.clone(),
            function: metric.function,
            inputs,
            checks: Check::all(&metric.conditions, |path| slots.of(path))?,
            digits: digits(metric.function, column.as_ref(), &metric.name)?,
            column,
            time_unit,
        })
    }

    /// Whether its numbers are those of Int64.
    pub(super) fn is_int64(&self) -> bool {
        let is_number = matches!(self.function, Function::Sum | Function::Min | Function::Max);
        is_number && self.column.as_ref().map(bare) == Some(&ColumnType::Int64)
    }

    /// How many digits a number may have. `digits` says 18 of Int64, as commits of earlier versions have it.
    pub(super) fn precision(&self) -> u8 {
        match self.is_int64() {
            true => INT64_DIGITS,
            false => self.digits.precision,
        }
    }

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
    match field.starts_with('$') {
        true => field.to_owned(),
        false => format!("$.{field}"),
    }
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

impl From<String> for PlanError {
    fn from(text: String) -> Self {
        PlanError(text)
    }
}
