//! The statements that make a replica and change it.

use std::fmt::Write as _;

use super::ColumnMemo;
use super::OwnNames;
use super::types::column_type_for;
use crate::debezium::Field;
use crate::table::ColumnType;

/// A replica as it is to be: what [`ReplicaTable::create`] makes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaTable {
    database: String,
    table: String,
    /// Without the version and the mark of deleted rows.
    columns: Vec<(String, ColumnType)>,
    key: Vec<String>,
    own: OwnNames,
}

/// No such table can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("table {table} cannot be created: {why}")]
pub struct NotCreatable {
    /// `database.table`.
    table: String,
    why: String,
}

/// Columns of these types need a setting that servers before 25.10 do not have on by default.
const TIME_SETTING: &str = "enable_time_time64_type = 1";
/// A key with NULL in it is one that somebody asked for.
const NULL_SETTING: &str = "allow_nullable_key = 1";

/// The statement that makes a missing database.
#[must_use]
pub fn create_database(database: &str) -> String {
    format!("CREATE DATABASE IF NOT EXISTS {}", quoted(database))
}

impl ReplicaTable {
    /// Of columns in their order.
    ///
    /// # Errors
    /// A key that is empty or not among the columns; a column that is there twice or called as one of the
    /// table's own.
    pub fn new(
        database: &str,
        table: &str,
        columns: Vec<(String, ColumnType)>,
        key: &[String],
        own: &OwnNames,
    ) -> Result<ReplicaTable, NotCreatable> {
        let replica = ReplicaTable {
            database: database.to_owned(),
            table: table.to_owned(),
            columns,
            key: key.to_vec(),
            own: own.clone(),
        };
        match replica.obstacle() {
            Some(why) => Err(not_creatable(database, table, why)),
            None => Ok(replica),
        }
    }

    /// Of the fields of a schema block, in the record's order. `declared` comes before what the block
    /// says of a column, and columns that it has besides are added.
    ///
    /// # Errors
    /// As [`ReplicaTable::new`].
    pub fn of_fields(
        database: &str,
        table: &str,
        fields: &[Field],
        key: &[String],
        declared: &[(String, ColumnType)],
        own: &OwnNames,
    ) -> Result<ReplicaTable, NotCreatable> {
        let mut columns = Vec::new();
        for field in fields {
            let is_key = key.iter().any(|name| **name == *field.name);
            let found = declared.iter().find(|(name, _)| **name == *field.name);
            let column_type = match found {
                Some((_, column_type)) => column_type.clone(),
                None => column_type_for(&field.field_type, is_key),
            };
            columns.push((field.name.to_string(), column_type));
        }
        let is_extra = |name: &str| !fields.iter().any(|field| *field.name == *name);
        columns.extend(declared.iter().filter(|(name, _)| is_extra(name)).cloned());
        ReplicaTable::new(database, table, columns, key, own)
    }

    fn obstacle(&self) -> Option<String> {
        if self.key.is_empty() {
            return Some(
                "its records have no key: name the columns that tell rows apart as key = [...]"
                    .to_owned(),
            );
        }
        for (index, (name, _)) in self.columns.iter().enumerate() {
            if self.own.has(name) {
                let setting = if *name == self.own.version {
                    "version_column"
                } else {
                    "deleted_column"
                };
                return Some(format!(
                    "its source has a column {name}, which a replica needs for itself: call ours \
                     otherwise, [pipeline.tables] {setting} = \"…\", or have the connector leave it out \
                     (column.exclude.list) or rename it"
                ));
            }
            if self.columns[..index].iter().any(|(other, _)| other == name) {
                return Some(format!("it would have two columns {name}"));
            }
        }
        for key in &self.key {
            if !self.columns.iter().any(|(name, _)| name == key) {
                return Some(format!(
                    "it has no column {key} for the key: declare its type, [pipeline.tables] columns \
                     = {{ {key:?} = \"…\" }}, or name the columns that tell rows apart, key = \
                     [\"…\"]"
                ));
            }
        }
        None
    }

    /// Name and type of every column, without the version and the mark of deleted rows.
    #[must_use]
    pub fn columns(&self) -> &[(String, ColumnType)] {
        &self.columns
    }

    /// The columns that tell rows apart.
    #[must_use]
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// `CREATE TABLE`, unless it is there. Not partitioned: a row that an update moves to another
    /// partition is never replaced.
    #[must_use]
    pub fn create(&self) -> String {
        let mut sql = format!("CREATE TABLE IF NOT EXISTS {}\n(\n", self.name());
        for (name, column_type) in &self.columns {
            // Writing to a String cannot fail.
            let _ = writeln!(sql, "    {} {column_type},", quoted(name));
        }
        let _ = write!(
            sql,
            "    {} UInt64,\n    {} UInt8\n)\n{}",
            own_name(&self.own.version),
            own_name(&self.own.deleted),
            engine_clause(&self.key, &self.own)
        );
        let mut types = self.columns.iter();
        let mut settings = vec![];
        if types.any(|(_, column_type)| has_time_of_day(column_type)) {
            settings.push(TIME_SETTING);
        }
        let is_key = |name: &String| self.key.contains(name);
        let mut types = self.columns.iter();
        if types.any(|(name, column_type)| is_key(name) && column_type.is_nullable()) {
            settings.push(NULL_SETTING);
        }
        if !settings.is_empty() {
            let _ = write!(sql, "\nSETTINGS {}", settings.join(", "));
        }
        sql
    }

    /// `CREATE VIEW` of the rows that are there, unless it is there.
    #[must_use]
    pub fn create_view(&self) -> String {
        format!(
            "CREATE VIEW IF NOT EXISTS {} AS\n{}",
            self.view_name(),
            self.view_query()
        )
    }

    /// `CREATE OR REPLACE VIEW`: a view keeps the columns, and their types, that its table had when it
    /// was made, so it has to be made anew after every change of them.
    #[must_use]
    pub fn replace_view(&self) -> String {
        format!(
            "CREATE OR REPLACE VIEW {} AS\n{}",
            self.view_name(),
            self.view_query()
        )
    }

    /// Whether `as_select` of `system.tables` is the view's own query: another one is an operator's and
    /// stays as it is.
    #[must_use]
    pub fn is_own_view(&self, as_select: &str) -> bool {
        let letters = |sql: &str| -> String {
            sql.chars()
                .filter(|c| !c.is_whitespace() && *c != '`')
                .collect()
        };
        letters(as_select) == letters(&self.view_query())
    }

    /// The view's name without its database.
    #[must_use]
    pub fn view(&self) -> String {
        let named = self.own.view.clone();
        named.unwrap_or_else(|| format!("{}_current", self.table))
    }

    /// `ALTER TABLE … ADD COLUMN`, unless it is there. `default` is an expression for the rows of before;
    /// what is to be remembered of the column stands in its comment.
    #[must_use]
    pub fn add_column(
        &self,
        name: &str,
        column_type: &ColumnType,
        default: Option<&str>,
        memo: ColumnMemo,
    ) -> String {
        let default = default.map_or(String::new(), |default| format!(" DEFAULT {default}"));
        let comment = match &*memo.comment("") {
            "" => String::new(),
            comment => format!(" COMMENT '{comment}'"),
        };
        let definition = format!("{} {column_type}{default}{comment}", quoted(name));
        self.alter(
            &format!("ADD COLUMN IF NOT EXISTS {definition}"),
            column_type,
        )
    }

    /// `ALTER TABLE … COMMENT COLUMN`.
    #[must_use]
    pub fn comment_column(&self, name: &str, comment: &str) -> String {
        let comment = comment.replace('\\', "\\\\").replace('\'', "\\'");
        let column = quoted(name);
        format!(
            "ALTER TABLE {} COMMENT COLUMN {column} '{comment}'",
            self.name()
        )
    }

    /// `ALTER TABLE … UPDATE`: rows of before the version `stopped` lose what they have in a column, for the
    /// expression `default` where there is one, which rows without a value of before `returned` get too; with
    /// the part of the condition that tells this change from all others in `system.mutations`.
    #[must_use]
    pub fn clear_column(
        &self,
        name: &str,
        stopped: u64,
        returned: u64,
        default: Option<&str>,
    ) -> (String, String) {
        let (column, version) = (quoted(name), own_name(&self.own.version));
        let condition = format!("({version} < {stopped})");
        let changes = match default {
            None => format!("{column} = NULL WHERE {condition} AND ({column} IS NOT NULL)"),
            Some(default) => format!(
                "{column} = {default} WHERE ({condition} OR (({version} < {returned}) AND ({column} IS \
                 NULL))) AND ({} = 0)",
                own_name(&self.own.deleted)
            ),
        };
        let statement = format!(
            "ALTER TABLE {} UPDATE {changes} SETTINGS mutations_sync = 0",
            self.name()
        );
        (statement, condition)
    }

    /// `ALTER TABLE … MODIFY COLUMN … DEFAULT`, or `REMOVE DEFAULT`.
    #[must_use]
    pub fn column_default(&self, name: &str, type_name: &str, default: Option<&str>) -> String {
        let change = match default {
            Some(default) => format!("{type_name} DEFAULT {default}"),
            None => "REMOVE DEFAULT".to_owned(),
        };
        format!(
            "ALTER TABLE {} MODIFY COLUMN {} {change}",
            self.name(),
            quoted(name)
        )
    }

    /// `ALTER TABLE … MODIFY COLUMN`.
    #[must_use]
    pub fn modify_column(&self, name: &str, column_type: &ColumnType) -> String {
        self.alter(
            &format!("MODIFY COLUMN {} {column_type}", quoted(name)),
            column_type,
        )
    }

    fn alter(&self, change: &str, column_type: &ColumnType) -> String {
        let sql = format!("ALTER TABLE {} {change}", self.name());
        if has_time_of_day(column_type) {
            format!("{sql} SETTINGS {TIME_SETTING}")
        } else {
            sql
        }
    }

    fn name(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.table))
    }

    fn view_name(&self) -> String {
        format!("{}.{}", quoted(&self.database), quoted(&self.view()))
    }

    fn view_query(&self) -> String {
        format!(
            "SELECT * EXCEPT ({}, {deleted}) FROM {} FINAL WHERE {deleted} = 0",
            own_name(&self.own.version),
            self.name(),
            deleted = own_name(&self.own.deleted)
        )
    }
}

/// What makes a table a replica.
pub(super) fn engine_clause(key: &[String], own: &OwnNames) -> String {
    let key: Vec<String> = key.iter().map(|name| quoted(name)).collect();
    format!(
        "ENGINE = ReplacingMergeTree({}, {})\nORDER BY ({})",
        own_name(&own.version),
        own_name(&own.deleted),
        key.join(", ")
    )
}

/// In quotes where it is not a plain word.
fn own_name(name: &str) -> String {
    let is_plain = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let starts_plain = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    if starts_plain && name.chars().all(is_plain) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

fn not_creatable(database: &str, table: &str, why: String) -> NotCreatable {
    NotCreatable {
        table: format!("{database}.{table}"),
        why,
    }
}

fn has_time_of_day(column_type: &ColumnType) -> bool {
    match column_type {
        ColumnType::Time | ColumnType::Time64 { .. } => true,
        ColumnType::Nullable(inner)
        | ColumnType::LowCardinality(inner)
        | ColumnType::Array(inner) => has_time_of_day(inner),
        _ => false,
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
