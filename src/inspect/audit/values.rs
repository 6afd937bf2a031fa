//! Columns that come from the record alone, held against the table's.

use std::collections::HashMap;

use serde_json::Value;

use super::report::address;
use crate::config::Pipeline;
use crate::inspect::Failure;
use crate::pipeline::Replayer;
use crate::progress::Range;
use crate::sink::{ClickHouseClient, Target};
use crate::source::{Record, TopicPartition};

/// Offsets whose rows are held at a time.
const SLICE: i64 = 20_000;

/// The values of a table's rows, slice by slice, in the order of offsets.
#[derive(Debug)]
pub(super) struct Values<'a> {
    pipeline: &'a Pipeline,
    client: &'a ClickHouseClient,
    target: &'a Target,
    names: Vec<String>,
    slice: Range,
    rows: HashMap<i64, Vec<Vec<u8>>>,
}

impl<'a> Values<'a> {
    pub(super) fn new(
        pipeline: &'a Pipeline,
        client: &'a ClickHouseClient,
        target: &'a Target,
        rules: &Replayer,
    ) -> Self {
        Values {
            pipeline,
            client,
            target,
            names: rules.value_names(),
            slice: Range { from: 0, to: 0 },
            rows: HashMap::new(),
        }
    }

    /// Begins a partition, or goes on behind a gap.
    pub(super) fn begin(&mut self) {
        self.slice = Range { from: 0, to: 0 };
        self.rows.clear();
    }

    /// What differs in the row of a record, as it is listed; `None` where nothing does, or there is no row.
    ///
    /// # Errors
    /// ClickHouse does not answer, or the record cannot be read.
    pub(super) fn difference(
        &mut self,
        runtime: &tokio::runtime::Runtime,
        rules: &mut Replayer,
        partition: &TopicPartition,
        record: Record<'_>,
        to: i64,
    ) -> Result<Option<Value>, Failure> {
        let offset = record.offset();
        if offset >= self.slice.to {
            let to = (offset + SLICE).min(to.max(offset + 1));
            self.slice = Range { from: offset, to };
            let asked = self
                .client
                .values_of(self.target, partition, self.slice, &self.names);
            let urls = &self.pipeline.clickhouse.urls;
            let rows = runtime.block_on(asked);
            self.rows = rows.map_err(|e| Failure::clickhouse(urls, &self.target.label, &e))?;
        }
        let Some(row) = self.rows.remove(&offset) else {
            return Ok(None);
        };
        let mut columns = vec![];
        let compared = rules.values(partition, record, |expected| {
            columns = differing(expected, &row)
        });
        runtime.block_on(compared)?;
        if columns.is_empty() {
            return Ok(None);
        }
        let names: Vec<&str> = columns.iter().map(|column| &*self.names[*column]).collect();
        let mut entry = address(partition, offset);
        entry["columns"] = names.into();
        Ok(Some(entry))
    }
}

/// The numbers of the columns whose values are others.
fn differing(expected: &[Option<&[u8]>], row: &[Vec<u8>]) -> Vec<usize> {
    let pairs = expected.iter().zip(row).enumerate();
    pairs
        .filter(|(_, (expected, found))| expected.is_some_and(|value| value != &found[..]))
        .map(|(column, _)| column)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_default_of_the_table_is_not_compared() {
        let row = [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()];
        let expected = [Some(&b"a"[..]), None, Some(&b"x"[..])];
        assert_eq!(differing(&expected, &row), [2]);
        assert_eq!(differing(&[Some(b"a"), Some(b"b"), None], &row), [0; 0]);
    }
}
