//! What is kept of the records of one group in one window, for one metric.

use ethnum::I256;

use super::Event;
use super::distinct::Distinct;

/// What one metric computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CellRules {
    Count,
    Sum,
    Min,
    Max,
    CountDistinct,
    Last,
}

/// Which of two records is the later one: by event time, then partition, then offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub time_ms: i64,
    pub partition: i32,
    pub offset: i64,
}

/// What a metric takes of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// The record takes no part.
    None,
    /// It is there: for counts.
    One,
    /// A number, in units of the metric's last digit.
    Number(i128),
    /// A text that is a number without sign and leading zeros.
    Integer(u64),
    /// Where it lies in the event's texts.
    Text { start: usize, end: usize },
}

/// See the module.
#[derive(Debug, Clone)]
pub enum Cell {
    Count(u64),
    /// Sum and count: averages need both. No count of numbers makes the sum leave 256 bits, so it does
    /// not matter in which order they are read; whether a column holds it is asked when a row is made.
    Sum {
        sum: I256,
        count: u64,
    },
    /// The smallest or the largest so far.
    Extreme(Option<i128>),
    Distinct(Box<Distinct>),
    Last(Option<Box<(Place, Box<[u8]>)>>),
}

impl Cell {
    pub(super) fn new(rules: CellRules) -> Cell {
        match rules {
            CellRules::Count => Cell::Count(0),
            CellRules::Sum => Cell::Sum {
                sum: I256::ZERO,
                count: 0,
            },
            CellRules::Min | CellRules::Max => Cell::Extreme(None),
            CellRules::CountDistinct => Cell::Distinct(Box::default()),
            CellRules::Last => Cell::Last(None),
        }
    }

    /// Takes in what another cell of the same kind holds. Returns how many bytes it has grown.
    pub(super) fn merge(&mut self, rules: CellRules, other: Cell, seed: u64) -> usize {
        match (self, other) {
            (Cell::Count(count), Cell::Count(others)) => {
                *count += others;
                0
            }
            (Cell::Sum { sum, count }, Cell::Sum { sum: s, count: c }) => {
                *sum += s;
                *count += c;
                0
            }
            (Cell::Extreme(extreme), Cell::Extreme(Some(other))) => {
                let further = |so_far: i128| match rules {
                    CellRules::Min => so_far.min(other),
                    _ => so_far.max(other),
                };
                *extreme = Some(extreme.map_or(other, further));
                0
            }
            (Cell::Distinct(distinct), Cell::Distinct(other)) => distinct.merge(*other, seed),
            (Cell::Last(last), Cell::Last(Some(other))) => {
                if last.as_ref().is_none_or(|last| last.0 < other.0) {
                    *last = Some(other);
                }
                0
            }
            (Cell::Extreme(_), Cell::Extreme(None)) | (Cell::Last(_), Cell::Last(None)) => 0,
            (cell, other) => unreachable!("{cell:?} is no {other:?}"),
        }
    }

    /// Takes it in. Returns how many bytes the cell has grown.
    pub(super) fn add(
        &mut self,
        rules: CellRules,
        sample: Sample,
        event: &Event<'_>,
        seed: u64,
    ) -> usize {
        match (self, sample) {
            (_, Sample::None) => 0,
            (Cell::Count(count), _) => {
                *count += 1;
                0
            }
            (Cell::Sum { sum, count }, Sample::Number(number)) => {
                *sum += I256::from(number);
                *count += 1;
                0
            }
            (Cell::Extreme(extreme), Sample::Number(number)) => {
                let further = |so_far: i128| match rules {
                    CellRules::Min => so_far.min(number),
                    _ => so_far.max(number),
                };
                *extreme = Some(extreme.map_or(number, further));
                0
            }
            (Cell::Distinct(distinct), Sample::Integer(number)) => {
                distinct.insert_integer(number, seed)
            }
            (Cell::Distinct(distinct), Sample::Text { start, end }) => {
                distinct.insert_text(&event.texts[start..end], seed)
            }
            (Cell::Last(last), Sample::Text { start, end }) => {
                if last.as_ref().is_some_and(|last| last.0 > event.place) {
                    return 0;
                }
                let text = &event.texts[start..end];
                let had = last.as_ref().map_or(0, |last| last.1.len());
                *last = Some(Box::new((event.place, text.into())));
                text.len().saturating_sub(had)
            }
            (cell, sample) => unreachable!("{cell:?} takes no {sample:?}"),
        }
    }
}
