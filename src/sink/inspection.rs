//! What commands beside the daemon ask of a table.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::Target;
use super::answer::offsets;
use super::clickhouse::{ClickHouseClient, unreadable};
use super::errors::InsertError;
use crate::progress::Range;
use crate::source::TopicPartition;
use crate::target::{quote_name, quote_text};

/// A row of a key in a table in which versions decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyVersion {
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
}

/// How many rows a table has of one record, where records make several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RowCounts {
    pub(crate) offset: i64,
    pub(crate) rows: usize,
    /// Elements that they are of.
    pub(crate) different: usize,
}

/// A row of a table in which versions decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NewestRow {
    pub(crate) version: u64,
    pub(crate) is_deleted: bool,
    /// Where it was asked for.
    pub(crate) digest: Option<[u8; 32]>,
}

impl ClickHouseClient {
    /// The rows of a range by their numbers in it ([`crate::batch::SealedBatch::row_ids`]), ascending: of two
    /// rows of one record twice.
    ///
    /// # Errors
    /// Whatever the server or the network answered.
    pub(crate) async fn all_rows(
        &self,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<i64>, InsertError> {
        let mut found = self.rows_of(target, partition, range).await?;
        found.sort_unstable();
        Ok(found)
    }

    /// The lowest offset of `partition` in the table, from `from` on.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn lowest_offset(
        &self,
        target: &Target,
        partition: &TopicPartition,
        from: i64,
    ) -> Result<Option<i64>, InsertError> {
        let provenance = &target.provenance;
        let (is_in, offset) = (provenance.is_in(partition), provenance.offset_sql());
        let sql = format!(
            "SELECT toUInt64({offset}) FROM {} WHERE {is_in} AND {offset} >= {from} ORDER BY {offset} LIMIT 1 \
             SETTINGS select_sequential_consistency = 1",
            target.sql,
        );
        let bytes = self.read_in_sync(target, &sql, "RowBinary").await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let offset = bytes[..].try_into().map_err(|_| unreadable(&bytes))?;
        Ok(Some(i64::from_le_bytes(offset)))
    }

    /// Which of these offsets have a row.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn offsets_among(
        &self,
        target: &Target,
        partition: &TopicPartition,
        asked: &[i64],
    ) -> Result<HashSet<i64>, InsertError> {
        if asked.is_empty() {
            return Ok(HashSet::new());
        }
        let list: Vec<String> = asked.iter().map(i64::to_string).collect();
        let provenance = &target.provenance;
        let (is_in, offset) = (provenance.is_in(partition), provenance.offset_sql());
        let sql = format!(
            "SELECT groupUniqArray(toUInt64({offset})), 'end' FROM {} WHERE {is_in} AND {offset} IN ({}) \
             SETTINGS select_sequential_consistency = 1",
            target.sql,
            list.join(",")
        );
        let bytes = self.read_in_sync(target, &sql, "RowBinary").await?;
        let found = offsets(&bytes).ok_or_else(|| unreadable(&bytes))?;
        Ok(found.into_iter().collect())
    }

    /// Of each of these offsets that has rows, how many it has.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn counts_among(
        &self,
        target: &Target,
        partition: &TopicPartition,
        asked: &[i64],
    ) -> Result<Vec<RowCounts>, InsertError> {
        if asked.is_empty() {
            return Ok(vec![]);
        }
        let list: Vec<String> = asked.iter().map(i64::to_string).collect();
        let of_offsets = format!("_offset IN ({})", list.join(","));
        self.counts_where(target, partition, &of_offsets).await
    }

    /// The same of a range, in the order of the offsets.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn counts_in(
        &self,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
    ) -> Result<Vec<RowCounts>, InsertError> {
        let of_range = format!("_offset >= {} AND _offset < {}", range.from, range.to);
        let mut counts = self.counts_where(target, partition, &of_range).await?;
        counts.sort_unstable_by_key(|counts| counts.offset);
        Ok(counts)
    }

    async fn counts_where(
        &self,
        target: &Target,
        partition: &TopicPartition,
        condition: &str,
    ) -> Result<Vec<RowCounts>, InsertError> {
        let sql = format!(
            "SELECT groupArrayArray([of, rows, different]), 'end' FROM (SELECT toUInt64(_offset) AS of, \
             count() AS rows, uniqExact(_index) AS different FROM {} WHERE _topic = {} AND _partition = {} \
             AND {condition} GROUP BY of) SETTINGS select_sequential_consistency = 1",
            target.sql,
            quote_text(&partition.topic),
            partition.partition,
        );
        let bytes = self.read_in_sync(target, &sql, "RowBinary").await?;
        let numbers = offsets(&bytes).ok_or_else(|| unreadable(&bytes))?;
        let counts = |of: &[i64]| RowCounts {
            offset: of[0],
            rows: usize::try_from(of[1]).unwrap_or(usize::MAX),
            different: usize::try_from(of[2]).unwrap_or(usize::MAX),
        };
        Ok(numbers.chunks_exact(3).map(counts).collect())
    }

    /// The newest row of one key, deleted or not; `key` in RowBinary.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn newest_of_key(
        &self,
        target: &Target,
        key: &[u8],
    ) -> Result<Option<KeyVersion>, InsertError> {
        if target.replicated {
            self.sync_replica(self.current(), &target.sql).await?;
        }
        let rows = self
            .newest_rows(self.current(), target, &[key], &[], 0)
            .await?;
        newest(&rows, key.len()).ok_or_else(|| unreadable(&rows))
    }

    /// Rows of a table, those that a newer one has replaced among them.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn row_count(&self, target: &Target) -> Result<u64, InsertError> {
        let sql = format!("SELECT count() FROM {}", target.sql);
        let bytes = self.read_in_sync(target, &sql, "RowBinary").await?;
        let count = bytes[..].try_into().map_err(|_| unreadable(&bytes))?;
        Ok(u64::from_le_bytes(count))
    }

    /// Hands every row of a table to `each`, those that a newer one has replaced among them; keys in RowBinary.
    /// `digests`: the SHA-256 of key, version, mark and the other columns in RowBinary, too. One read, however
    /// large the table. False from `each` ends it.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn each_version(
        &self,
        target: &Target,
        digests: bool,
        mut each: impl FnMut(&[u8], NewestRow) -> bool,
    ) -> Result<(), InsertError> {
        let names = target.key.iter().map(|(name, _)| quote_name(name));
        let key = format!(
            "formatRow('RowBinary', {})",
            names.clone().collect::<Vec<_>>().join(", ")
        );
        let version = quote_name(&target.own.version);
        let deleted = quote_name(&target.own.deleted);
        let others = target.other_names.iter().map(|name| quote_name(name));
        let own = [version.clone(), deleted.clone()];
        let all: Vec<String> = names.chain(own).chain(others).collect();
        let digest = match digests {
            true => format!(", SHA256(formatRow('RowBinary', {}))", all.join(", ")),
            false => String::new(),
        };
        let sql = format!(
            "SELECT {key}, toUInt64({version}), toUInt8({deleted}){digest} FROM {} \
             SETTINGS select_sequential_consistency = 1",
            target.sql
        );
        let mut rest = vec![];
        let read = self.read_in_pieces(target, &sql, |piece| {
            rest.extend_from_slice(piece);
            let mut bytes = &rest[..];
            let mut goes_on = true;
            while let (true, Some((key, row, behind))) = (goes_on, version_row(bytes, digests)) {
                goes_on = each(key, row);
                bytes = behind;
            }
            let read = rest.len() - bytes.len();
            rest.drain(..read);
            goes_on
        });
        match read.await? {
            true if !rest.is_empty() => Err(unreadable(&rest)),
            _ => Ok(()),
        }
    }

    /// These columns of the rows of a range, each in RowBinary, by offset; of two rows of one record one.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn values_of(
        &self,
        target: &Target,
        partition: &TopicPartition,
        range: Range,
        names: &[String],
    ) -> Result<HashMap<i64, Vec<Vec<u8>>>, InsertError> {
        let column = |name: &String| format!("formatRow('RowBinary', {})", quote_name(name));
        let columns: Vec<String> = names.iter().map(column).collect();
        let provenance = &target.provenance;
        let (is_in, offset) = (provenance.is_in(partition), provenance.offset_sql());
        let sql = format!(
            "SELECT toUInt64({offset}), [{}] FROM {} WHERE {is_in} AND {offset} >= {} AND {offset} < {} \
             SETTINGS select_sequential_consistency = 1",
            columns.join(", "),
            target.sql,
            range.from,
            range.to
        );
        let bytes = self.read_in_sync(target, &sql, "RowBinary").await?;
        values(&bytes).ok_or_else(|| unreadable(&bytes))
    }

    /// A key in RowBinary as a JSON object.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn key_as_json(
        &self,
        target: &Target,
        key: &[u8],
    ) -> Result<serde_json::Value, InsertError> {
        let form = target
            .key
            .iter()
            .map(|(name, t)| format!("{} {t}", quote_name(name)));
        let form = quote_text(&form.collect::<Vec<_>>().join(", "));
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let sql = format!("SELECT * FROM format(RowBinary, {form}, unhex('{hex}'))");
        let bytes = self.select_any(&sql, "JSONEachRow").await?;
        serde_json::from_slice(&bytes).map_err(|_| unreadable(&bytes))
    }

    /// Hands the answer of a server that has what the others acknowledged to `each`, in RowBinary, piece by
    /// piece, however long it takes. False from `each` ends it; returns whether all was read.
    ///
    /// # Errors
    /// As above; pieces may have come before.
    async fn read_in_pieces(
        &self,
        target: &Target,
        sql: &str,
        mut each: impl FnMut(&[u8]) -> bool,
    ) -> Result<bool, InsertError> {
        let prepare = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.ping_on(server).await?;
            Ok(server)
        };
        let server = self.servers.any(prepare).await?;
        self.pieces(server, sql, "RowBinary", &mut each).await
    }

    /// The answer of any server, which has what the others acknowledged.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn read_in_sync(
        &self,
        target: &Target,
        sql: &str,
        format: &str,
    ) -> Result<Bytes, InsertError> {
        let read = |server| async move {
            if target.replicated {
                self.sync_replica(server, &target.sql).await?;
            }
            self.select(server, sql, format).await
        };
        self.servers.any(read).await
    }
}

/// Of rows of key, version and mark; `None`: they are not.
fn newest(mut rows: &[u8], key_len: usize) -> Option<Option<KeyVersion>> {
    let mut newest: Option<KeyVersion> = None;
    while !rows.is_empty() {
        let (row, rest) = rows.split_at_checked(key_len + 9)?;
        rows = rest;
        let version = u64::from_le_bytes(row[key_len..key_len + 8].try_into().ok()?);
        if newest.is_none_or(|newest| newest.version <= version) {
            newest = Some(KeyVersion {
                version,
                is_deleted: row[key_len + 8] != 0,
            });
        }
    }
    Some(newest)
}

/// A length as it stands before a text or an array.
fn length(bytes: &mut &[u8]) -> Option<usize> {
    let mut length: usize = 0;
    for shift in (0..56).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

/// Of rows of offset and texts; `None`: they are not.
fn values(mut bytes: &[u8]) -> Option<HashMap<i64, Vec<Vec<u8>>>> {
    let mut rows = HashMap::new();
    while !bytes.is_empty() {
        let (offset, rest) = bytes.split_at_checked(8)?;
        bytes = rest;
        let mut row = vec![];
        for _ in 0..length(&mut bytes)? {
            let length = length(&mut bytes)?;
            let (value, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            row.push(value.to_vec());
        }
        rows.insert(i64::from_le_bytes(offset.try_into().ok()?), row);
    }
    Some(rows)
}

/// The first row of rows of key, version, mark and digest, and what is behind it; `None`: it is not whole.
fn version_row(mut bytes: &[u8], digests: bool) -> Option<(&[u8], NewestRow, &[u8])> {
    let length = length(&mut bytes)?;
    let (key, rest) = bytes.split_at_checked(length)?;
    let (version, rest) = rest.split_at_checked(8)?;
    let (deleted, rest) = rest.split_first()?;
    let (digest, rest) = rest.split_at_checked(if digests { 32 } else { 0 })?;
    let row = NewestRow {
        version: u64::from_le_bytes(version.try_into().ok()?),
        is_deleted: *deleted != 0,
        digest: digest.try_into().ok(),
    };
    Some((key, row, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_key_version_mark_and_digest_is_read_once_it_is_whole() {
        let key = [b'k'; 200];
        let row = [&[200, 1][..], &key, &7u64.to_le_bytes(), &[1], &[9; 32]].concat();
        let expected = NewestRow {
            version: 7,
            is_deleted: true,
            digest: Some([9; 32]),
        };
        let more = [&row[..], &[1]].concat();
        let read = version_row(&more, true);
        assert_eq!(read, Some((&key[..], expected, &[1][..])));
        let without = NewestRow {
            digest: None,
            ..expected
        };
        let read = version_row(&row[..211], false);
        assert_eq!(read, Some((&key[..], without, &[][..])));
        for end in 0..row.len() {
            assert_eq!(version_row(&row[..end], true), None, "{end}");
        }
    }

    #[test]
    fn values_are_offset_and_texts() {
        let row = [&5u64.to_le_bytes()[..], &[2, 1, b'a', 0]].concat();
        assert_eq!(
            values(&row),
            Some([(5, vec![b"a".to_vec(), vec![]])].into())
        );
        for end in 1..row.len() {
            assert_eq!(values(&row[..end]), None, "{end}");
        }
    }

    #[test]
    fn the_newest_row_of_a_key_is_read_whatever_the_key() {
        let row =
            |version: u64, deleted: u8| [b"key", &version.to_le_bytes()[..], &[deleted]].concat();
        let rows = [row(5, 0), row(9, 1), row(7, 0)].concat();
        let expected = KeyVersion {
            version: 9,
            is_deleted: true,
        };
        assert_eq!(newest(&rows, 3), Some(Some(expected)));
        assert_eq!(newest(&[], 3), Some(None));
        assert_eq!(newest(&rows[1..], 3), None);
    }
}
