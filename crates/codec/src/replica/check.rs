//! Whether a table that is there can be the replica of a topic.

use super::OwnNames;
use super::ddl::engine_clause;
use crate::table::{Column, ColumnType, DefaultKind};

/// A table as `system.tables` and `system.columns` have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingTable<'a> {
    /// `database.table`, for people.
    pub name: &'a str,
    /// `engine`.
    pub engine: &'a str,
    /// `engine_full`: the engine with its arguments.
    pub engine_full: &'a str,
    /// `sorting_key`: expressions with commas between them.
    pub sorting_key: &'a str,
    /// `partition_key`.
    pub partition_key: &'a str,
    /// In the order of the table.
    pub columns: Vec<ExistingColumn<'a>>,
}

/// A column as `system.columns` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExistingColumn<'a> {
    /// `name`.
    pub name: &'a str,
    /// `type`.
    pub type_name: &'a str,
    /// `default_kind`.
    pub default_kind: &'a str,
}

impl ExistingTable<'_> {
    /// Whether `view`, whose query is [`super::ReplicaTable::create_view`]'s, was made of the table as it
    /// is now. An older one shows cut values without an error, and lacks columns.
    #[must_use]
    pub fn is_shown_by(&self, view: &ExistingTable<'_>, own: &OwnNames) -> bool {
        // What `SELECT *` leaves out, and what the view leaves out of it.
        let is_shown = |column: &&ExistingColumn<'_>| {
            matches!(column.default_kind, "" | "DEFAULT") && !own.has(column.name)
        };
        let shown = self.columns.iter().filter(is_shown);
        let shown = shown.map(|column| (column.name, column.type_name));
        shown.eq(view
            .columns
            .iter()
            .map(|column| (column.name, column.type_name)))
    }
}

/// A table that can be a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// The columns that tell rows apart, in the order that was asked for.
    pub key: Vec<String>,
    /// Every column that can be inserted, but for the version and the mark of deleted rows.
    pub columns: Vec<Column>,
}

/// A table that would not become equal to its source, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "table {table} cannot be a replica: {why}; create it anew with {} UInt64, {} UInt8 and {}",
    own.version,
    own.deleted,
    engine_clause(key, own).replace('\n', " ")
)]
pub struct NotAReplica {
    /// `database.table`.
    pub table: String,
    /// What is wrong with it.
    pub why: String,
    key: Vec<String>,
    own: OwnNames,
}

/// Checks everything that makes a row replace the one before it. `key` are the columns of the records'
/// keys, or those that were named for the table.
///
/// # Errors
/// The first thing that is wrong.
pub fn check_table(
    table: &ExistingTable<'_>,
    key: &[String],
    own: &OwnNames,
) -> Result<Replica, Box<NotAReplica>> {
    let refused = |why: String| {
        Box::new(NotAReplica {
            table: table.name.to_owned(),
            why,
            key: key.to_vec(),
            own: own.clone(),
        })
    };
    check_engine(table, own).map_err(refused)?;
    check_own_columns(table, own).map_err(refused)?;
    check_key(table, key).map_err(refused)?;
    check_partitions(table, key).map_err(refused)?;
    let columns = columns(table, own).map_err(refused)?;
    Ok(Replica {
        key: key.to_vec(),
        columns,
    })
}

fn check_engine(table: &ExistingTable<'_>, own: &OwnNames) -> Result<(), String> {
    let plain = table.engine.strip_prefix("Replicated");
    let plain = plain.or_else(|| table.engine.strip_prefix("Shared"));
    if plain.unwrap_or(table.engine) != "ReplacingMergeTree" {
        return Err(format!(
            "its engine is {}, which does not replace rows by their version",
            table.engine
        ));
    }
    let arguments = engine_arguments(table.engine_full);
    if arguments != [&*own.version, &*own.deleted] {
        return Err(format!(
            "its engine replaces by ({}), not by ({}, {})",
            arguments.join(", "),
            own.version,
            own.deleted
        ));
    }
    Ok(())
}

/// The arguments in the engine's clause but for texts: the path and the replica's name in Keeper.
fn engine_arguments(engine_full: &str) -> Vec<String> {
    let Some((_, rest)) = engine_full.split_once('(') else {
        return vec![];
    };
    // A clause without arguments goes on with `ORDER BY (…)`.
    if engine_full
        .find(' ')
        .is_some_and(|space| space < engine_full.len() - rest.len() - 1)
    {
        return vec![];
    }
    let arguments = split(rest).into_iter();
    let arguments = arguments.filter(|argument| !argument.starts_with('\''));
    arguments.map(|argument| unquoted(&argument)).collect()
}

fn check_own_columns(table: &ExistingTable<'_>, own: &OwnNames) -> Result<(), String> {
    for (name, type_name) in [(&*own.version, "UInt64"), (&*own.deleted, "UInt8")] {
        let column = table.columns.iter().find(|column| column.name == name);
        match column {
            None => return Err(format!("it has no column {name} {type_name}")),
            Some(column) if column.type_name != type_name => {
                let found = column.type_name;
                return Err(format!("its column {name} is {found}, not {type_name}"));
            }
            Some(column) if !column.default_kind.is_empty() && column.default_kind != "DEFAULT" => {
                return Err(format!("its column {name} is computed by the server"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The sorting key tells which rows are the same one: not more of them, and not fewer.
fn check_key(table: &ExistingTable<'_>, key: &[String]) -> Result<(), String> {
    let sorting = sorting_columns(table.sorting_key);
    let is_same = key.iter().all(|column| sorting.contains(column))
        && sorting.iter().all(|column| key.contains(column));
    if key.is_empty() {
        return Err(
            "its records have no key: name the columns that tell rows apart as key = [...]"
                .to_owned(),
        );
    }
    if !is_same {
        return Err(format!(
            "it is sorted by ({}), but the key of its records is ({})",
            without_parentheses(table.sorting_key),
            key.join(", ")
        ));
    }
    Ok(())
}

/// Rows replace each other within a partition only.
fn check_partitions(table: &ExistingTable<'_>, key: &[String]) -> Result<(), String> {
    let words = words(table.partition_key);
    let is_column = |word: &&String| table.columns.iter().any(|column| column.name == **word);
    let moves = words
        .iter()
        .filter(is_column)
        .find(|word| !key.contains(word));
    match moves {
        Some(column) => Err(format!(
            "it is partitioned by ({}), and an update of {column} would leave the old row in another \
             partition, where nothing replaces it",
            without_parentheses(table.partition_key)
        )),
        None => Ok(()),
    }
}

fn columns(table: &ExistingTable<'_>, own: &OwnNames) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    let sorted = sorting_columns(table.sorting_key);
    for column in &table.columns {
        let default_kind = DefaultKind::parse(column.default_kind);
        let default_kind =
            default_kind.map_err(|error| format!("column {}: {error}", column.name))?;
        if own.has(column.name) || !default_kind.is_insertable() {
            continue;
        }
        let column_type = match ColumnType::parse(column.type_name) {
            Ok(column_type) => column_type,
            // Left to the server as long as no record has a field for it.
            Err(_) if !sorted.iter().any(|name| *name == *column.name) => continue,
            Err(error) => return Err(format!("column {}: {error}", column.name)),
        };
        columns.push(Column {
            name: column.name.to_owned(),
            column_type,
            default_kind,
        });
    }
    Ok(columns)
}

/// The parts between commas that stand in no text, name or parenthesis, up to a parenthesis that was
/// not opened.
fn split(list: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for token in tokens(list) {
        match token {
            ")" if depth == 0 => break,
            "," if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            "(" => depth += 1,
            ")" => depth -= 1,
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push_str(token);
        }
    }
    let parts = parts.iter().map(|part| part.trim().to_owned());
    parts.filter(|part| !part.is_empty()).collect()
}

/// The parts of `sorting_key` of `system.tables`: columns by their names, anything else as it stands.
#[must_use]
pub fn sorting_columns(sorting_key: &str) -> Vec<String> {
    let parts = split(without_parentheses(sorting_key));
    parts.iter().map(|part| unquoted(part)).collect()
}

/// `(a, b)` as `a, b`.
fn without_parentheses(list: &str) -> &str {
    let inner = list
        .strip_prefix('(')
        .and_then(|list| list.strip_suffix(')'));
    let is_balanced = |list: &&str| {
        let mut depth = 0;
        tokens(list).iter().all(|token| {
            depth += i32::from(*token == "(") - i32::from(*token == ")");
            depth >= 0
        })
    };
    inner.filter(is_balanced).unwrap_or(list)
}

/// Names in an expression that are no functions' names.
fn words(expression: &str) -> Vec<String> {
    let tokens: Vec<&str> = tokens(expression);
    let is_word =
        |token: &str| token.starts_with(|c: char| c == '`' || c == '_' || c.is_alphabetic());
    let mut words = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let is_call = tokens.get(index + 1) == Some(&"(");
        if is_word(token) && !is_call {
            words.push(unquoted(token));
        }
    }
    words
}

/// Texts, quoted names, words, and everything else by itself.
fn tokens(sql: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c == '_' || c.is_alphanumeric();
        let length = match first {
            '\'' | '`' => quoted_length(rest, first),
            c if is_word(c) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        if character == '\\' {
            characters.next();
        } else if character == quote {
            return at + 1;
        }
    }
    text.len()
}

/// A name as it is called.
fn unquoted(name: &str) -> String {
    let Some(inner) = name
        .strip_prefix('`')
        .and_then(|name| name.strip_suffix('`'))
    else {
        return name.to_owned();
    };
    let mut plain = String::new();
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => characters.next().unwrap_or('\\'),
            other => other,
        });
    }
    plain
}
