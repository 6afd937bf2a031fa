//! How the rows of one table become columns.

use std::ops::Range;

use super::prefix;
use crate::table::{ColumnType, append_length, dynamic};

/// The row's byte for NULL in a Variant, and the block's.
const NO_VARIANT: u8 = 255;

/// A column of a table, as a block states it.
#[derive(Debug, Clone)]
pub struct BlockColumn {
    /// Its name.
    pub name: String,
    /// Its type as the server spells it.
    pub type_name: String,
    /// The same, read.
    pub column_type: ColumnType,
    /// Whether the server has an expression for rows that leave it out.
    pub has_default: bool,
}

/// How the rows of one table become columns, and columns become rows again.
#[derive(Debug, Clone, Default)]
pub struct BlockPlan {
    pub(super) columns: Vec<ColumnPlan>,
    /// In how many streams the values are.
    pub(super) streams: usize,
    /// Whether a byte stands before each value of a row, 1 where it is left to the server.
    pub(super) has_flags: bool,
    has_enums: bool,
    has_json: bool,
}

#[derive(Debug, Clone)]
pub(super) struct ColumnPlan {
    name: String,
    type_name: String,
    /// What stands before its values, whatever they are.
    prefix: Vec<u8>,
    pub(super) layout: Layout,
    /// The streams of its values.
    streams: Range<usize>,
    /// The stream that marks the rows which leave it out, where they may.
    pub(super) absent: Option<usize>,
}

/// Where the values of a type lie. Numbers are those of streams.
#[derive(Debug, Clone)]
pub(super) enum Layout {
    Fixed {
        size: usize,
        stream: usize,
    },
    Text {
        stream: usize,
    },
    Nullable {
        map: usize,
        /// What stands in the place of NULL.
        zero: Vec<u8>,
        inner: Box<Layout>,
    },
    Dictionary {
        stream: usize,
        /// `None`: texts.
        size: Option<usize>,
        /// The first key of each dictionary is NULL, in whose place this stands.
        null: Option<Vec<u8>>,
    },
    Array {
        offsets: usize,
        inner: Box<Layout>,
    },
    Tuple {
        parts: Box<[Layout]>,
    },
    /// Of several types one, or NULL.
    OneOf {
        /// Says which.
        tags: usize,
        /// For each type the byte that says so in a row; in a block it is the type's place here.
        codes: Box<[u8]>,
        /// The byte of NULL in a row and in a block.
        null: (u8, u8),
        parts: Box<[Layout]>,
    },
}

/// A column of a block: what stands before its values, and the streams that are its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Name, type and prefix; of the first column the numbers of columns and rows before them.
    pub head: Vec<u8>,
    /// The streams, in this order.
    pub streams: Range<usize>,
}

impl BlockPlan {
    /// For rows of these columns in this order. `has_flags`: a byte stands before each value.
    #[must_use]
    pub fn new(columns: impl IntoIterator<Item = BlockColumn>, has_flags: bool) -> Self {
        let mut streams = 0;
        let mut next = || {
            streams += 1;
            streams - 1
        };
        let (mut planned, mut has_enums, mut has_json) = (vec![], false, false);
        for column in columns {
            has_enums |= column.column_type.has_enum();
            has_json |= column.column_type.has_json();
            let absent = (has_flags && column.has_default).then(&mut next);
            let (layout, last) = Layout::of(&column.column_type, &mut next);
            planned.push(ColumnPlan {
                name: column.name,
                type_name: column.type_name,
                prefix: prefix::of(&column.column_type),
                streams: layout.first_stream()..last + 1,
                layout,
                absent,
            });
        }
        BlockPlan {
            columns: planned,
            streams,
            has_flags,
            has_enums,
            has_json,
        }
    }

    /// In how many streams the values are.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.streams
    }

    /// Whether the server cannot tell from a block that the table has other columns now: it takes an Enum for
    /// any other of the same width, whatever its names are.
    #[must_use]
    pub fn has_enums(&self) -> bool {
        self.has_enums
    }

    /// Whether columns have JSON objects, which stand as texts in rows and in blocks.
    #[must_use]
    pub fn has_json(&self) -> bool {
        self.has_json
    }

    /// The columns of a block of so many rows, of which `absent` leave each column out; `None` where some
    /// rows leave out a column that others have.
    #[must_use]
    pub fn parts(&self, rows: usize, absent: &[usize]) -> Option<Vec<Part>> {
        let is_stated = |count: &usize| *count == 0 || *count == rows;
        if !absent.iter().all(is_stated) {
            return None;
        }
        let columns = self.columns.iter().zip(absent);
        let columns = columns.filter(|(_, absent)| **absent == 0);
        let mut parts: Vec<Part> = columns.map(|(column, _)| column.part()).collect();
        let mut head = vec![];
        append_length(parts.len(), &mut head);
        append_length(rows, &mut head);
        let first = parts.first_mut()?;
        first.head.splice(..0, head);
        Some(parts)
    }
}

impl ColumnPlan {
    fn part(&self) -> Part {
        let mut head = vec![];
        for text in [&self.name, &self.type_name] {
            append_length(text.len(), &mut head);
            head.extend_from_slice(text.as_bytes());
        }
        head.extend_from_slice(&self.prefix);
        Part {
            head,
            streams: self.streams.clone(),
        }
    }
}

impl Layout {
    /// With the number of its last stream.
    fn of(column_type: &ColumnType, next: &mut impl FnMut() -> usize) -> (Layout, usize) {
        match column_type {
            ColumnType::Nullable(inner) => {
                let map = next();
                let zero = zero(inner);
                let (inner, last) = Layout::of(inner, next);
                let inner = Box::new(inner);
                (Layout::Nullable { map, zero, inner }, last)
            }
            ColumnType::Array(inner) => {
                let offsets = next();
                let (inner, last) = Layout::of(inner, next);
                let inner = Box::new(inner);
                (Layout::Array { offsets, inner }, last)
            }
            ColumnType::LowCardinality(inner) => {
                let (key, null) = match &**inner {
                    ColumnType::Nullable(key) => (&**key, Some(zero(key))),
                    key => (key, None),
                };
                let (stream, size) = (next(), key.fixed_size());
                (Layout::Dictionary { stream, size, null }, stream)
            }
            ColumnType::Map(pair) => {
                let offsets = next();
                let (inner, last) = Layout::tuple([&pair.0, &pair.1], next);
                let inner = Box::new(inner);
                (Layout::Array { offsets, inner }, last)
            }
            ColumnType::Tuple(fields) => Layout::tuple(fields.types(), next),
            ColumnType::Variant(types) => {
                let codes = (0..NO_VARIANT).take(types.len()).collect();
                Layout::one_of(types.iter(), codes, (NO_VARIANT, NO_VARIANT), next)
            }
            ColumnType::Dynamic(_) => {
                let codes: Box<[u8]> = dynamic::TYPES.iter().map(|(code, _)| *code).collect();
                let null = (dynamic::NULL, codes.len() as u8);
                let types = dynamic::TYPES.iter().map(|(_, one)| one);
                Layout::one_of(types, codes, null, next)
            }
            other => {
                let stream = next();
                let layout = match other.fixed_size() {
                    Some(size) => Layout::Fixed { size, stream },
                    None => Layout::Text { stream },
                };
                (layout, stream)
            }
        }
    }

    fn tuple<'t>(
        types: impl IntoIterator<Item = &'t ColumnType>,
        next: &mut impl FnMut() -> usize,
    ) -> (Layout, usize) {
        let (parts, last): (Vec<Layout>, Vec<usize>) = types
            .into_iter()
            .map(|field| Layout::of(field, next))
            .unzip();
        let parts = parts.into();
        let last = last.last().expect("a tuple has fields");
        (Layout::Tuple { parts }, *last)
    }

    fn one_of<'t>(
        types: impl Iterator<Item = &'t ColumnType>,
        codes: Box<[u8]>,
        null: (u8, u8),
        next: &mut impl FnMut() -> usize,
    ) -> (Layout, usize) {
        let tags = next();
        let (parts, last): (Vec<Layout>, Vec<usize>) =
            types.map(|one| Layout::of(one, next)).unzip();
        let layout = Layout::OneOf {
            tags,
            codes,
            null,
            parts: parts.into(),
        };
        (layout, last.last().copied().unwrap_or(tags))
    }

    fn first_stream(&self) -> usize {
        match self {
            Layout::Fixed { stream, .. }
            | Layout::Text { stream }
            | Layout::Dictionary { stream, .. } => *stream,
            Layout::Nullable { map, .. } => *map,
            Layout::Array { offsets, .. } => *offsets,
            Layout::OneOf { tags, .. } => *tags,
            Layout::Tuple { parts } => parts[0].first_stream(),
        }
    }

    /// The layouts in this one.
    pub(super) fn parts(&self) -> &[Layout] {
        match self {
            Layout::Nullable { inner, .. } | Layout::Array { inner, .. } => {
                std::slice::from_ref(inner)
            }
            Layout::Tuple { parts } | Layout::OneOf { parts, .. } => parts,
            Layout::Fixed { .. } | Layout::Text { .. } | Layout::Dictionary { .. } => &[],
        }
    }
}

fn zero(column_type: &ColumnType) -> Vec<u8> {
    let mut zero = vec![];
    column_type.encode_null_or_zero(&mut zero);
    zero
}
