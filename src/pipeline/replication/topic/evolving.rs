//! What becomes of records that do not fit their table.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::halted_behind;
use super::super::replica::Replica;
use super::super::replicas::{Addition, Replicas};
use crate::config::{Absent, Evolution};
use crate::debezium::{Field, OutOfRange, Row, Schema, fraction_digits, holds_time};
use crate::decode::json::{Kind, Raw};
use crate::decode::{Reason, Reject};
use crate::halt::Halt;
use crate::lane::NotAccepted;
use crate::replica::{self, Fit, Since};
use crate::table::ColumnType;

/// Schema blocks that are remembered to fit the table.
const FITTING_MAX: usize = 64;
/// Names that are logged once, so that a record of new names each time fills no memory.
const NAMES_MAX: usize = 1_000;

/// A record that is held against its table.
pub(super) struct Evolving<'e> {
    pub(super) replicas: &'e Arc<Replicas>,
    pub(super) topic: &'e Arc<str>,
    pub(super) policy: Evolution,
    /// What a row has in a column that its record has no field for.
    pub(super) absence: Absent,
    pub(super) replica: &'e Arc<Replica>,
    /// The record.
    pub(super) now: Since,
    /// Then versions order all records of the topic.
    pub(super) has_one_partition: bool,
}

impl Evolving<'_> {
    pub(super) fn check(
        &self,
        row: &Row<'_, '_>,
        fitting: &mut Vec<u64>,
        ignored: &mut HashSet<String>,
    ) -> Result<(), NotAccepted> {
        let number = row.schema_number();
        if let (Some(schema), Some(number)) = (row.schema(), number)
            && !fitting.contains(&number)
        {
            self.check_schema(schema)?;
            if fitting.len() >= FITTING_MAX {
                fitting.clear();
            }
            fitting.push(number);
        }
        if row.has_others() {
            self.check_others(row, ignored)?;
        }
        self.mark_seen(row)
    }

    /// A column with a DEFAULT whose field comes: from now on a record without it is not one of before.
    fn mark_seen(&self, row: &Row<'_, '_>) -> Result<(), NotAccepted> {
        let unmarked = self.replica.unmarked().iter();
        let seen = unmarked.filter(|column| row.field(**column).kind() != Kind::Absent);
        let names = seen.filter_map(|column| self.replica.fields.iter().nth(*column));
        let seen: Vec<Addition> = names
            .map(|(name, _)| Addition::seen(name, self.now))
            .collect();
        match seen.is_empty() {
            true => Ok(()),
            false => Err(self.alter(seen)),
        }
    }

    /// Whether every column can take what the block declares.
    fn check_schema(&self, schema: &Schema) -> Result<(), NotAccepted> {
        let mut wider = vec![];
        for field in schema.fields() {
            let Some(column_type) = self.replica.column_type(&field.name) else {
                continue;
            };
            let table = &self.replica.target.label;
            let is_key = self.replica.is_key(&field.name);
            match replica::fit(&field.field_type, column_type, is_key) {
                Fit::Fits => {}
                Fit::Widen(to) if self.policy == Evolution::AddColumns => {
                    wider.push(Addition::widened(&field.name, column_type, &to));
                }
                Fit::Widen(to) if self.policy == Evolution::Strict => {
                    return Err(schema_changed(format!(
                        "table {table}: column {} {column_type} would have to be {to} to take what \
                         the records have now: ALTER TABLE {table} MODIFY COLUMN `{}` {to}, then \
                         start again, or set pipeline.evolution = \"add_columns\"",
                        field.name, field.name
                    )));
                }
                // What does not fit becomes dead letters, record by record.
                Fit::Widen(_) => {}
                Fit::Never(_) if self.policy == Evolution::Ignore => {}
                Fit::Never(why) => {
                    let again = self.replicas.read_again(self.topic);
                    let alter = if is_key { "" } else { "alter the column, or " };
                    return Err(schema_changed(format!(
                        "table {table}: column {} {column_type} cannot take what the records have \
                         now: {why}: {alter}write to another table with a column that does \
                         ([pipeline.tables.{:?}] table = \"…\", columns = {{ {:?} = \"…\" }}) and {again}",
                        field.name, self.topic, field.name
                    )));
                }
            }
        }
        if wider.is_empty() {
            return Ok(());
        }
        Err(self.alter(wider))
    }

    fn own_name_is_taken(&self, name: &str) -> NotAccepted {
        let again = self.replicas.read_again(self.topic);
        schema_changed(format!(
            "table {}: the records have a field {name}, and the table has a column of this name \
             for itself: have the connector leave it out (column.exclude.list) or rename it; or \
             give the table's own columns other names, which takes another table \
             ([pipeline.tables.{:?}] table = \"…\", version_column = \"…\", deleted_column = \
             \"…\"), and {again}",
            self.replica.target.label, self.topic
        ))
    }

    /// Fields that no column takes.
    fn check_others(
        &self,
        row: &Row<'_, '_>,
        ignored: &mut HashSet<String>,
    ) -> Result<(), NotAccepted> {
        let mut added = vec![];
        for (name, value) in row.others() {
            if self.replica.is_left_out(&name) {
                added.push(Addition::seen(&name, self.now));
                continue;
            }
            if self.replica.is_own(&name) && self.policy != Evolution::Ignore {
                return Err(self.own_name_is_taken(&name));
            }
            if self.replica.has(&name) && !self.replica.is_own(&name) {
                continue;
            }
            if ignored.contains(&*name) {
                self.replicas.note_ignored_field();
                continue;
            }
            match self.policy {
                Evolution::Ignore => {
                    if ignored.len() < NAMES_MAX {
                        tracing::warn!(
                            topic = &**self.topic,
                            field = &*name,
                            table = self.replica.target.label,
                            "the table has no column for this field, and pipeline.evolution = \
                             \"ignore\" drops it"
                        );
                        ignored.insert(name.into_owned());
                    }
                    self.replicas.note_ignored_field();
                }
                Evolution::Strict => {
                    let table = &self.replica.target.label;
                    return Err(schema_changed(format!(
                        "table {table}: the records have a field {name} that no column takes: add \
                         the column, then start again, or set pipeline.evolution = \"add_columns\" \
                         or \"ignore\""
                    )));
                }
                Evolution::AddColumns => {
                    added.extend(self.addition(row, &name, value)?);
                }
            }
        }
        if added.is_empty() {
            return Ok(());
        }
        Err(self.alter(added))
    }

    /// The column for a field that has none.
    fn addition(
        &self,
        row: &Row<'_, '_>,
        name: &str,
        value: Raw<'_>,
    ) -> Result<Option<Addition>, NotAccepted> {
        let fields = row.schema().map_or(&[][..], Schema::fields);
        let Some(field) = fields.iter().rfind(|field| *field.name == *name) else {
            // Null tells nothing about its type, and a column of nulls says the same as none.
            let has_type = value.kind() != Kind::Null;
            let column_type = || replica::column_type_of_value(value);
            let addition = || Addition::new(name, &column_type(), None, self.now);
            return Ok(has_type.then(addition));
        };
        let default = default_of(row, field);
        let column_type = replica::added_column_type(&field.field_type, default.is_some());
        let addition = Addition::new(name, &column_type, default, self.now);
        Ok(Some(addition))
    }

    /// NULL in a column that has no NULL.
    pub(super) fn of_null(
        &self,
        row: &Row<'_, '_>,
        column: usize,
        reject: &Reject,
    ) -> Option<NotAccepted> {
        let may_be_null = || {
            let out_of_range = self.replica.fields.out_of_range(column);
            row.field(column).kind() == Kind::Null || out_of_range == OutOfRange::Null
        };
        let is_null = reject.reason == Reason::MissingField && may_be_null();
        let (name, column_type) = self.replica.fields.iter().nth(column)?;
        let may_widen = self.policy == Evolution::AddColumns && !self.replica.is_key(name);
        if !is_null || !may_widen {
            return None;
        }
        let nullable = nullable(column_type)?;
        Some(self.alter(vec![Addition::widened(name, column_type, &nullable)]))
    }

    /// A time with more digits of a second than its column has: nothing declares them but the text itself.
    pub(super) fn of_digits(
        &self,
        row: &Row<'_, '_>,
        column: usize,
        reject: &Reject,
    ) -> Option<NotAccepted> {
        let (name, column_type) = self.replica.fields.iter().nth(column)?;
        let value = row.field(column);
        let may_widen = self.policy == Evolution::AddColumns && !self.replica.is_key(name);
        if reject.reason != Reason::OutOfRange || value.kind() != Kind::String || !may_widen {
            return None;
        }
        let digits = u8::try_from(fraction_digits(value)).ok()?;
        let wider = replica::with_digits(column_type, digits)?;
        // More digits leave room for fewer years.
        if !holds_time(&wider, value) {
            return None;
        }
        Some(self.alter(vec![Addition::widened(name, column_type, &wider)]))
    }

    pub(super) fn alter(&self, additions: Vec<Addition>) -> NotAccepted {
        NotAccepted::Later(self.replicas.clone().alter(self.topic, additions))
    }
}

/// What rows of before have at the source in a column that it adds, as an expression.
pub(super) fn default_of(row: &Row<'_, '_>, field: &Field) -> Option<String> {
    let connector = row.provenance().connector();
    let connector = connector.or_else(|| row.schema()?.connector());
    let default = replica::default_expression(field);
    match connector {
        Some("mysql" | "mariadb") => default.or_else(|| replica::implicit_default(field)),
        _ => default,
    }
}

pub(super) fn schema_changed(advice: String) -> NotAccepted {
    halted_behind(Halt::new("schema", advice))
}

/// The type with NULL; an array, and what has parts, has none.
pub(super) fn nullable(column_type: &ColumnType) -> Option<ColumnType> {
    match column_type {
        ColumnType::LowCardinality(inner) => {
            Some(ColumnType::LowCardinality(Box::new(nullable(inner)?)))
        }
        ColumnType::Array(_)
        | ColumnType::Map(_)
        | ColumnType::Tuple(_)
        | ColumnType::Json(_)
        | ColumnType::Variant(_)
        | ColumnType::Dynamic(_)
        | ColumnType::Nullable(_) => None,
        plain => Some(ColumnType::Nullable(Box::new(plain.clone()))),
    }
}
