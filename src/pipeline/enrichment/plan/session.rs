//! The session columns: which number goes into which column.

use super::event::EventColumns;
use super::{Field, PlanError};
use crate::config::Session;
use crate::decode::Reject;
use crate::operator::{SessionRow, SessionRules};
use crate::table::{Column, ColumnType};

/// What a session depends on, and the columns that it fills.
#[derive(Debug)]
pub(in crate::pipeline::enrichment) struct SessionPlan {
    pub(in crate::pipeline::enrichment) rules: SessionRules,
    pub(in crate::pipeline::enrichment) key: Field,
    pub(in crate::pipeline::enrichment) distinct: Option<Field>,
    /// The distinct value counts where each of these fields has this value.
    pub(in crate::pipeline::enrichment) distinct_where: Vec<(Field, Vec<u8>)>,
    columns: Vec<(SessionColumn, Column)>,
}

/// A number that a session gives to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionColumn {
    Count,
    Distinct,
    Duration,
}

impl SessionColumn {
    /// What the session fills a column of this name with, if it does.
    pub(super) fn of_name(session: &Session, name: &str) -> Option<SessionColumn> {
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
}

impl SessionPlan {
    pub(super) fn new(
        config: &Session,
        columns: Vec<(SessionColumn, Column)>,
        event: &mut EventColumns<'_>,
    ) -> Result<Self, PlanError> {
        let distinct = match &config.distinct_field {
            Some(name) => Some(event.field(name)?),
            None => None,
        };
        let mut distinct_where = vec![];
        for (name, value) in &config.distinct_where {
            let field = event.field(name)?;
            let expected = match &field {
                Field::Column(index) => event.encoded(*index, value)?,
                Field::Slot(_) => value.clone().into_bytes(),
            };
            distinct_where.push((field, expected));
        }
        Ok(SessionPlan {
            rules: SessionRules::new(config.timeout, config.duration_max),
            key: event.field(&config.key_field)?,
            distinct,
            distinct_where,
            columns,
        })
    }

    /// The columns in the order in which they stand in a row.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(_, column)| column.name.as_str())
    }

    /// Appends the session columns of a row.
    ///
    /// # Errors
    /// A count that its column cannot hold. `out` may then end in a part of them.
    pub(in crate::pipeline::enrichment) fn encode(
        &self,
        row: SessionRow,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        for (kind, column) in &self.columns {
            let number = match kind {
                SessionColumn::Count => row.event_count,
                SessionColumn::Distinct => row.distinct_count,
                SessionColumn::Duration => row.duration_seconds,
            };
            if with_default_flag {
                // In formats of rows with defaults: a value follows.
                out.push(0);
            }
            match &column.column_type {
                ColumnType::UInt32 if number <= u64::from(u32::MAX) => {
                    out.extend_from_slice(&number.to_le_bytes()[..4]);
                }
                other => other.encode_integer(i128::from(number), out)?,
            }
        }
        Ok(())
    }
}
