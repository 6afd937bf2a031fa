//! What a table holds: offsets of ranges, and the newest rows of keys.

use std::time::Duration;

use bytes::Bytes;

use super::Target;
use super::answer::offsets;
use super::clickhouse::{ClickHouseClient, unreadable};
use super::errors::InsertError;
use crate::batch::ROW_ID_INDEX_BITS;
use crate::progress::Range;
use crate::source::TopicPartition;
use crate::target::{quote_name, quote_text};

impl ClickHouseClient {
    /// Which rows of `range` the table already holds, by their numbers in it
    /// ([`crate::batch::SealedBatch::row_ids`]).
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn rows_in(
        &self,
        server: u32,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let id = row_number(target, range);
        self.listed(server, target, (partition, range), &id, "")
            .await
    }

    /// Which offsets of `range` the table already holds.
    async fn offsets_in(
        &self,
        server: u32,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let offset = target.provenance.offset_sql();
        self.listed(server, target, (partition, range), &offset, "")
            .await
    }

    /// Which rows of `range` a replica holds for good, numbered as in [`ClickHouseClient::rows_in`]: after code
    /// 319 a part is on one replica, Keeper does not know it, and the server may still drop it. A part that
    /// is the result of a merge, or that has been there for `age`, is known.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn confirmed_rows_in(
        &self,
        server: u32,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
        age: Duration,
    ) -> Result<Vec<i64>, InsertError> {
        let confirmed = format!(
            " AND _part IN (SELECT name FROM system.parts WHERE active AND (min_block_number < \
             max_block_number OR modification_time <= now() - {}) AND concat(database, '.', table) = {})",
            age.as_secs(),
            quote_text(&target.label)
        );
        let id = row_number(target, range);
        self.listed(server, target, (partition, range), &id, &confirmed)
            .await
    }

    /// An integer of each row of a range for which `condition` holds too.
    async fn listed(
        &self,
        server: u32,
        target: &Target,
        (partition, range): (&TopicPartition, Range),
        expression: &str,
        condition: &str,
    ) -> Result<Vec<i64>, InsertError> {
        let (table, provenance) = (&target.sql, &target.provenance);
        let (is_in, offset) = (provenance.is_in(partition), provenance.offset_sql());
        let sql = format!(
            "SELECT groupArray(toUInt64({expression})), 'end' FROM {table} WHERE {is_in} AND {offset} >= {} \
             AND {offset} < {}{condition} SETTINGS select_sequential_consistency = 1",
            range.from, range.to
        );
        let bytes = self.select(server, &sql, "RowBinary").await?;
        offsets(&bytes).ok_or_else(|| self.servers.failed(server, unreadable(&bytes)))
    }

    /// Of each of these keys the newest row that counts and the newest that is deleted, as far as the
    /// server still has both: key, `_version`, `_deleted` and these columns, in RowBinary.
    ///
    /// # Errors
    /// As above; code 396 when the answer is longer than `bytes_max`, unless that is 0.
    pub(crate) async fn newest_rows(
        &self,
        server: u32,
        target: &Target,
        keys: &[&[u8]],
        columns: &[u16],
        bytes_max: usize,
    ) -> Result<Bytes, InsertError> {
        let names: Vec<_> = target
            .key
            .iter()
            .map(|(name, _)| quote_name(name))
            .collect();
        let key = names.join(", ");
        let form = target
            .key
            .iter()
            .map(|(name, t)| format!("{} {t}", quote_name(name)));
        let form = quote_text(&form.collect::<Vec<_>>().join(", "));
        let version = quote_name(&target.own.version);
        let deleted = quote_name(&target.own.deleted);
        // NULL in a key is a value like any other.
        let null_is_equal = if target.key.iter().any(|(_, t)| t.is_nullable()) {
            ", transform_null_in = 1"
        } else {
            ""
        };
        // Objects as they are inserted.
        let has_json = |index: &u16| target.others[usize::from(*index)].has_json();
        let json_is_text = match columns.iter().any(has_json) {
            true => ", output_format_binary_write_json_as_string = 1",
            false => "",
        };
        let column = |index: &u16| quote_name(&target.other_names[usize::from(*index)]);
        let columns: String = columns.iter().map(|c| format!(", {}", column(c))).collect();
        let mut hex = String::new();
        for byte in keys.iter().copied().flatten() {
            use std::fmt::Write as _;
            write!(hex, "{byte:02x}").expect("writing to a string succeeds");
        }
        let sql = format!(
            "SELECT {key}, {version}, {deleted}{columns} FROM {} WHERE ({key}) IN (SELECT {key} FROM \
             format(RowBinary, {form}, unhex('{hex}'))) ORDER BY {version} DESC \
             LIMIT 1 BY {key}, {deleted} SETTINGS select_sequential_consistency = 1, \
             max_result_bytes = {bytes_max}, result_overflow_mode = \
             'throw'{null_is_equal}{json_is_text}",
            target.sql
        );
        self.select(server, &sql, "RowBinary").await
    }

    /// The same of any server, which has what the others acknowledged.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn offsets_of(
        &self,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let look = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.offsets_in(server, target, partition, range).await
        };
        self.servers.any(look).await
    }

    /// As [`ClickHouseClient::rows_in`], of any server.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn rows_of(
        &self,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let look = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.rows_in(server, target, partition, range).await
        };
        self.servers.any(look).await
    }

    /// The highest offset of `partition` in the table, if there is one from `from` on: a late `from`
    /// spares reading the granules that the table's index tells are before it.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn highest_offset(
        &self,
        target: &Target,
        partition: &TopicPartition,
        from: i64,
    ) -> Result<Option<i64>, InsertError> {
        let provenance = &target.provenance;
        let (is_in, offset) = (provenance.is_in(partition), provenance.offset_sql());
        let sql = format!(
            "SELECT count(), max(toInt64({offset})) FROM {} WHERE {is_in} AND {offset} >= {from} \
             SETTINGS select_sequential_consistency = 1",
            target.sql,
        );
        largest(&self.look(target, &sql).await?)
    }

    /// The highest `_version` in the table, if it has rows.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn newest_version(&self, target: &Target) -> Result<Option<u64>, InsertError> {
        let sql = format!(
            "SELECT count(), max({}) FROM {} SETTINGS select_sequential_consistency = 1",
            quote_name(&target.own.version),
            target.sql
        );
        largest(&self.look(target, &sql).await?)
    }

    /// Whether a table, quoted as in SQL, has a row.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn has_rows(&self, table: &str) -> Result<bool, InsertError> {
        let text = self
            .select_text(&format!("SELECT 1 FROM {table} LIMIT 1"))
            .await?;
        Ok(!text.trim().is_empty())
    }

    /// Whether a table has no row at all, deleted ones included.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn is_empty(&self, target: &Target) -> Result<bool, InsertError> {
        let sql = format!(
            "SELECT 1 FROM {} LIMIT 1 SETTINGS select_sequential_consistency = 1",
            target.sql
        );
        Ok(self.look(target, &sql).await?.trim().is_empty())
    }

    /// The answer of a server that has what any other acknowledged.
    async fn look(&self, target: &Target, sql: &str) -> Result<String, InsertError> {
        let look = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.select(server, sql, "TabSeparated").await
        };
        let bytes = self.servers.any(look).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// The number of a row in a range, as SQL.
fn row_number(target: &Target, range: Range) -> String {
    match target.has_index {
        true => format!(
            "bitShiftLeft(toUInt64(_offset) - {}, {ROW_ID_INDEX_BITS}) + toUInt64(_index)",
            range.from
        ),
        false => target.provenance.offset_sql(),
    }
}

/// What `count(), max(…)` gives as text: the largest, if there are any.
fn largest<T: std::str::FromStr>(text: &str) -> Result<Option<T>, InsertError> {
    let read = || {
        let (count, largest) = text.strip_suffix('\n')?.split_once('\t')?;
        match count.parse::<u64>().ok()? {
            0 => Some(None),
            _ => largest.parse().ok().map(Some),
        }
    };
    read().ok_or_else(|| unreadable(text.as_bytes()))
}
