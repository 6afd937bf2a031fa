//! Fields that stop coming, and come again: what a row has where its record has no field. Never a value that
//! nobody wrote.

use std::collections::HashSet;

use super::super::replicas::{Addition, Return, key_names};
use super::evolving::{Evolving, default_of, nullable, schema_changed};
use crate::config::{Absent, Cdc, Evolution};
use crate::debezium::{Operation, Row, Schema};
use crate::decode::json::Kind;
use crate::lane::NotAccepted;
use crate::replica::Since;
use crate::table::ColumnType;

/// What the column of a field has that its record does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// The column's DEFAULT: the source did not have the field yet.
    Default,
    Null,
    /// What the row before has, else NULL.
    Kept,
    /// What the row before has, else the column's DEFAULT.
    KeptOrDefault,
}

/// The policy of a topic: its own, else what the evolution comes to.
pub(super) fn policy(config: &Cdc, topic: &str) -> Absent {
    let own = config.tables.get(topic).and_then(|mapping| mapping.absent);
    own.unwrap_or(match config.evolution {
        Evolution::Strict => Absent::Halt,
        Evolution::AddColumns | Evolution::Ignore => Absent::Null,
    })
}

impl Evolving<'_> {
    /// What a column has in the row of a record without its field.
    pub(super) fn absent(
        &self,
        row: &Row<'_, '_>,
        column: usize,
        missed: &mut HashSet<String>,
    ) -> Result<Value, NotAccepted> {
        let Some((name, column_type)) = self.replica.fields.iter().nth(column) else {
            return Ok(Value::Null);
        };
        // A writer may leave out what is NULL; without a block nothing says that it is not that.
        let is_null = row.schema().is_some_and(|s| s.field_type(name).is_some());
        if !is_null && self.is_earlier(column) {
            return Ok(match self.absence {
                Absent::Keep => Value::KeptOrDefault,
                Absent::Null | Absent::Halt => Value::Default,
            });
        }
        if self.absence == Absent::Halt && !is_null && row.schema().is_some() {
            return Err(self.halted(name, column_type));
        }
        let mut changes = vec![];
        if !column_type.is_nullable() {
            let nullable = nullable(column_type).filter(|_| self.policy == Evolution::AddColumns);
            let Some(nullable) = nullable else {
                return Err(self.halted(name, column_type));
            };
            changes.push(Addition::widened(name, column_type, &nullable));
        }
        let has_stopped = !is_null && self.absence == Absent::Null && self.has_stopped(row, column);
        if has_stopped {
            changes.push(Addition::stopped(name, self.now));
        }
        if !is_null && !missed.contains(name) {
            missed.insert(name.to_owned());
            tracing::warn!(
                table = self.replica.target.label,
                column = name,
                topic = &**self.topic,
                "the records have no field for the column: rows that are written now have NULL there, or \
                 what they had ([pipeline.tables] absent), and others keep what they have"
            );
        }
        if !changes.is_empty() {
            return Err(self.alter(changes));
        }
        Ok(match self.absence {
            Absent::Keep if !is_null => Value::Kept,
            _ => Value::Null,
        })
    }

    /// Whether the record is of before the field came, and the column says what rows of then have.
    fn is_earlier(&self, column: usize) -> bool {
        let memo = self.replica.memo(column);
        let stopped = memo.stopped.is_some_and(|since| !self.is_before(since));
        let is_later = memo.added.is_some_and(|since| self.is_behind(since));
        self.replica.has_default(column) && !stopped && !is_later
    }

    /// Whether what the record has for a column is of one that the source has dropped since: read once more
    /// it would come back. Only in one partition do versions say so.
    pub(super) fn is_of_former(&self, column: usize) -> bool {
        let mut cleared = self.replica.cleared().iter();
        let is_before = |since: &Since| self.now.version < since.version;
        self.has_one_partition && cleared.any(|(of, since)| *of == column && is_before(since))
    }

    /// Whether the record is the first without a field that others had before it. One without a schema
    /// block may leave out what is NULL.
    fn has_stopped(&self, row: &Row<'_, '_>, column: usize) -> bool {
        let memo = self.replica.memo(column);
        let is_later = memo.added.is_none_or(|since| self.is_behind(since));
        row.schema().is_some() && memo.stopped.is_none() && is_later
    }

    fn is_behind(&self, since: Since) -> bool {
        is_behind(self.now, since, self.has_one_partition)
    }

    fn is_before(&self, since: Since) -> bool {
        is_before(self.now, since, self.has_one_partition)
    }

    fn halted(&self, name: &str, column_type: &ColumnType) -> NotAccepted {
        let (table, topic) = (&self.replica.target.label, self.topic);
        let alter = match nullable(column_type) {
            Some(nullable) => {
                format!("ALTER TABLE {table} MODIFY COLUMN `{name}` {nullable} and set")
            }
            None => "set".to_owned(),
        };
        schema_changed(format!(
            "table {table}: the records have no field for column {name} {column_type} any more, and a value \
             that nobody wrote must not stand there: {alter} [pipeline.tables.{topic:?}] absent = \"null\" \
             (NULL) or \"keep\" (what the row had), or drop the column, then start again"
        ))
    }

    /// Whether a field comes again that records before this one did not have: the source dropped its column
    /// and made a new one, of which only newer records tell.
    pub(super) fn check_returned(
        &self,
        row: &Row<'_, '_>,
        key: Option<&[u8]>,
        missed: &mut HashSet<String>,
        returned: &mut HashSet<String>,
    ) -> Result<(), NotAccepted> {
        // Snapshots read columns that streamed changes leave out, such as those that the source computes.
        let is_streamed = row.operation() != Operation::Read && row.schema().is_some();
        for &(column, stopped) in self.replica.stopped() {
            let is_there = row.field(column).kind() != Kind::Absent;
            let Some((name, _)) = self.replica.fields.iter().nth(column) else {
                continue;
            };
            if !is_there || !is_streamed || !self.is_behind(stopped) {
                continue;
            }
            let table = &self.replica.target.label;
            let is_new = row.schema().is_some_and(|schema| {
                let memo = self.replica.memo(column);
                tells_of_new_column(row.operation(), key, schema) && !memo.returned
            });
            if !is_new {
                if self.policy != Evolution::Ignore && returned.insert(name.to_owned()) {
                    tracing::warn!(
                        table,
                        column = name,
                        "records have the field again after others without it, and nothing says for \
                         certain that the source's column is a new one: rows keep what they have there; if \
                         it is, let the connector take a snapshot of the table"
                    );
                }
                continue;
            }
            missed.remove(name);
            let mut fields = row.schema().map_or(&[][..], Schema::fields).iter();
            let field = fields.rfind(|field| *field.name == *name);
            let of = Return {
                stopped,
                since: self.now,
                // In which partition a row was written its version does not say.
                clears: self.has_one_partition,
                default: field.and_then(|field| default_of(row, field)),
            };
            self.new_column(column, name, of, returned)?;
        }
        Ok(())
    }

    /// The source's column is a new one, and rows of before still have values of the old one.
    fn new_column(
        &self,
        column: usize,
        name: &str,
        of: Return,
        returned: &mut HashSet<String>,
    ) -> Result<(), NotAccepted> {
        let table = &self.replica.target.label;
        match self.policy {
            Evolution::Strict => {
                let memo = of.memo(self.replica.memo(column)).comment("");
                let value = of.default.as_deref().unwrap_or("NULL");
                Err(schema_changed(format!(
                    "table {table}: the records have the field {name} again after others without it: \
                     the source's column is a new one, and rows of before still show values of the \
                     old one: ALTER TABLE {table} UPDATE `{name}` = {value} WHERE `{}` < {}, \
                     then ALTER TABLE {table} COMMENT COLUMN `{name}` '{memo}', and start again",
                    self.replica.target.own.version, of.stopped.version
                )))
            }
            Evolution::Ignore => {
                if returned.insert(name.to_owned()) {
                    tracing::warn!(
                        table,
                        column = name,
                        "the records have the field again after others without it, and \
                         pipeline.evolution = \"ignore\" alters nothing: rows that the source does not \
                         write again show values of its old column"
                    );
                }
                Ok(())
            }
            Evolution::AddColumns => {
                if !of.clears {
                    tracing::warn!(
                        table,
                        column = name,
                        "the records have the field again after others without it: rows that the \
                         source does not write again show values of its old column; let the connector \
                         take a snapshot of the table"
                    );
                }
                Err(self.alter(vec![Addition::returned(name, of)]))
            }
        }
    }
}

/// Whether a field that comes again in a streamed record can only be one of a new column. Without its
/// operation a record may be of a snapshot; and a key with members that the row has not was made by a
/// transform that puts tables of several shapes into one topic.
fn tells_of_new_column(operation: Operation, key: Option<&[u8]>, row: &Schema) -> bool {
    let key = key_names(key).unwrap_or_default();
    let is_of_row = key.iter().all(|name| row.field_type(name).is_some());
    is_of_row && operation != Operation::Flattened
}

/// Whether a record came later than another, at its source too: a connector that stopped sends again what it
/// had sent, under new offsets.
fn is_behind(now: Since, since: Since, has_one_partition: bool) -> bool {
    match has_one_partition {
        true => now.version > since.version && now.at_us >= since.at_us,
        false => now.at_us > since.at_us,
    }
}

/// Whether a record is of before another, by its place or by its source.
fn is_before(now: Since, since: Since, has_one_partition: bool) -> bool {
    match has_one_partition {
        true => now.version < since.version || now.at_us < since.at_us,
        false => now.at_us < since.at_us,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::json::Raw;

    #[test]
    fn only_a_streamed_row_of_a_topic_with_one_shape_tells_of_a_new_column() {
        let block = r#"{"type":"struct","fields":[{"type":"int32","field":"id"},
            {"type":"string","field":"note"}]}"#;
        let row = Schema::parse(Raw::parse(block).expect("JSON")).expect("a block");
        for (operation, key, is_told) in [
            (Operation::Update, Some(r#"{"id":1}"#), true),
            (Operation::Create, None, true),
            (Operation::Create, Some("1"), true),
            (
                Operation::Update,
                Some(r#"{"schema":null,"payload":{"id":1}}"#),
                true,
            ),
            (
                Operation::Update,
                Some(r#"{"id":1,"__dbz__physicalTableIdentifier":"s.t1"}"#),
                false,
            ),
            (Operation::Flattened, Some(r#"{"id":1}"#), false),
        ] {
            let told = tells_of_new_column(operation, key.map(str::as_bytes), &row);
            assert_eq!(told, is_told, "{operation:?} {key:?}");
        }
    }

    #[test]
    fn a_record_that_is_sent_again_is_not_behind_the_first_of_a_new_shape() {
        let at = |version, at_us| Since { version, at_us };
        let since = at(10, 500);
        // Of one partition: behind, before. Of several: behind, before.
        for (now, one, several) in [
            (at(9, 400), (false, true), (false, true)),
            (at(10, 500), (false, false), (false, false)),
            (at(11, 500), (true, false), (false, false)),
            (at(11, 501), (true, false), (true, false)),
            // The connector began anew at an earlier change.
            (at(11, 499), (false, true), (false, true)),
            // Read once more, or from another partition.
            (at(9, 501), (false, true), (true, false)),
        ] {
            let judged = |one| (is_behind(now, since, one), is_before(now, since, one));
            assert_eq!((judged(true), judged(false)), (one, several), "{now:?}");
        }
    }
}
