//! What columns are commented with, and how far a change of their values has come.

use std::collections::{BTreeMap, HashMap};

use super::{ClickHouseClient, InsertError};
use crate::target::quote_text;

/// Later than this DateTime64(9) has no times.
const NANOSECONDS_END: &str = "2262-04-11 00:00:00";

impl ClickHouseClient {
    /// The comments of a table's columns, by column.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(crate) async fn column_comments(
        &self,
        database: &str,
        table: &str,
    ) -> Result<HashMap<String, String>, InsertError> {
        let sql = format!(
            "SELECT name, comment FROM system.columns WHERE database = {} AND table = {} AND \
             comment != ''",
            quote_text(database),
            quote_text(table)
        );
        let answer = self.select_any(&sql, "JSONEachRow").await?;
        let lines = answer.split(|byte| *byte == b'\n');
        let rows = lines.filter_map(|line| {
            let mut row: BTreeMap<String, String> = serde_json::from_slice(line).ok()?;
            Some((row.remove("name")?, row.remove("comment")?))
        });
        Ok(rows.collect())
    }

    /// Whether a table still changes values where `condition`, as the server spells it, holds; with why it
    /// cannot.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn is_updating(
        &self,
        database: &str,
        table: &str,
        condition: &str,
    ) -> Result<Option<String>, InsertError> {
        let sql = format!(
            "SELECT latest_fail_reason FROM system.mutations WHERE database = {} AND table = {} AND \
             NOT is_done AND position(command, {}) > 0 LIMIT 1",
            quote_text(database),
            quote_text(table),
            quote_text(condition)
        );
        let answer = self.select_any(&sql, "TabSeparated").await?;
        let why = String::from_utf8_lossy(&answer);
        Ok((!answer.is_empty()).then(|| why.trim_end().to_owned()))
    }

    /// Whether a column has times that DateTime64(9) does not hold.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn has_far_times(
        &self,
        table: &str,
        column: &str,
    ) -> Result<bool, InsertError> {
        let sql = format!(
            "SELECT 1 FROM {table} WHERE {column} >= toDateTime64('{NANOSECONDS_END}', 0, 'UTC') LIMIT 1"
        );
        Ok(!self.select_any(&sql, "TabSeparated").await?.is_empty())
    }
}
