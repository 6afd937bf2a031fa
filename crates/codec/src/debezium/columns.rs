//! The columns that records are read into.

use super::field::FieldType;
use super::modes::Modes;
use super::out_of_range::OutOfRange;
use super::reading::{Reading, Way};
use super::schema::Schema;
use crate::table::ColumnType;

/// Names and types of columns, and what is declared about the fields behind them.
#[derive(Debug, Clone, Default)]
pub struct Columns {
    columns: Vec<Column>,
}

#[derive(Debug, Clone)]
struct Column {
    name: Box<str>,
    column_type: ColumnType,
    /// The source's type, for records without a schema block.
    declared: Option<FieldType>,
    out_of_range: OutOfRange,
}

impl Columns {
    /// No columns.
    #[must_use]
    pub fn new() -> Columns {
        Columns::default()
    }

    /// One column more, filled from the field of the same name.
    #[must_use]
    pub fn with(mut self, name: &str, column_type: ColumnType) -> Columns {
        self.columns.push(Column {
            name: name.into(),
            column_type,
            declared: None,
            out_of_range: OutOfRange::DeadLetter,
        });
        self
    }

    /// One column more, whose field has this type in records without a schema block too.
    #[must_use]
    pub fn with_declared(
        mut self,
        name: &str,
        column_type: ColumnType,
        field_type: FieldType,
    ) -> Columns {
        self.columns.push(Column {
            name: name.into(),
            column_type,
            declared: Some(field_type),
            out_of_range: OutOfRange::DeadLetter,
        });
        self
    }

    /// The same, where values of the last column that it does not hold become something else.
    #[must_use]
    pub fn with_out_of_range(mut self, out_of_range: OutOfRange) -> Columns {
        if let Some(column) = self.columns.last_mut() {
            column.out_of_range = out_of_range;
        }
        self
    }

    /// What becomes of values that a column does not hold.
    pub fn out_of_range(&self, index: usize) -> OutOfRange {
        let column = self.columns.get(index);
        column.map_or(OutOfRange::DeadLetter, |column| column.out_of_range)
    }

    /// Names and types, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &ColumnType)> {
        self.columns
            .iter()
            .map(|column| (&*column.name, &column.column_type))
    }

    /// Whether a column of this name is among them.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.columns.iter().any(|column| *column.name == *name)
    }

    /// The name of a column, if there are so many.
    pub(super) fn name(&self, index: usize) -> &str {
        self.columns.get(index).map_or("", |column| &column.name)
    }

    pub(super) fn typed(&self, schema: &Schema) -> Vec<Reading> {
        let reading = |column: &Column| match schema.field_type(&column.name) {
            Some(field_type) => column.typed(field_type),
            // The record has no such field either, or its block is wrong.
            None => Reading {
                way: Way::UnknownType("not in the schema block".into()),
                ..Reading::untyped(&column.column_type, Modes::default())
            },
        };
        self.columns.iter().map(reading).collect()
    }

    pub(super) fn untyped(&self, modes: Modes) -> Vec<Reading> {
        let reading = |column: &Column| match &column.declared {
            Some(field_type) => column.typed(field_type),
            None => Reading {
                out_of_range: column.out_of_range,
                ..Reading::untyped(&column.column_type, modes)
            },
        };
        self.columns.iter().map(reading).collect()
    }
}

impl Column {
    fn typed(&self, field_type: &FieldType) -> Reading {
        Reading {
            out_of_range: self.out_of_range,
            ..Reading::typed(field_type, &self.column_type)
        }
    }
}
