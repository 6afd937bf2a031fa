//! The same for windows: records on their way into groups, in memory or on disk, and these on their way into
//! rows.

use std::path::Path;

use super::Given;
use crate::config::{Config, Kind};
use crate::memory::share_of;
use crate::pipeline::{Spilling, WindowsAgain};
use crate::sink::{ColumnInfo, TableInfo};
use crate::source::TopicPartition;
use crate::state::Scratch;

/// One lane of the kind `aggregation` that reads one partition.
#[derive(Debug)]
pub struct WindowPath {
    windows: WindowsAgain,
    next_offset: i64,
    /// What the rows so far take in RowBinary.
    pub row_bytes: u64,
}

impl WindowPath {
    /// The first pipeline of `config`, an aggregation whose table has these columns: name and type. `directory`:
    /// of windows that outgrow `state.memory_max`, where they go to disk.
    ///
    /// # Panics
    /// When there is no such pipeline, or the directory cannot be used.
    pub fn new(config: &Config, columns: &[(&str, &str)], directory: &Path) -> Self {
        let pipeline = config.pipelines.first().expect("a pipeline");
        let Kind::Aggregation(aggregation) = &pipeline.kind else {
            panic!("{} is no aggregation", pipeline.name);
        };
        let column = |(name, type_name): &(&str, &str)| ColumnInfo {
            name: (*name).to_owned(),
            type_name: (*type_name).to_owned(),
            default_kind: String::new(),
        };
        let info = TableInfo {
            engine: "ReplacingMergeTree".to_owned(),
            engine_full: String::new(),
            sorting_key: String::new(),
            partition_key: String::new(),
            columns: columns.iter().map(column).collect(),
            metadata_version: 0,
            has_tokens: true,
        };
        let spilling = aggregation.on_disk.as_ref().map(|on_disk| {
            let bytes_max = on_disk.memory_bytes_max.expect("state.memory_max");
            let scratch = Scratch::open(directory, on_disk.bytes_max, metrics::Gauge::noop());
            Spilling::new(scratch.expect("a directory"), share_of(bytes_max))
        });
        let topic = "sales".into();
        let partitions = [(
            TopicPartition {
                topic,
                partition: 0,
            },
            0,
            i64::MAX,
        )];
        let windows =
            WindowsAgain::spilling(pipeline, aggregation, &info, &partitions, 1, spilling);
        WindowPath {
            windows: windows.unwrap_or_else(|halt| panic!("{halt}")),
            next_offset: 0,
            row_bytes: 0,
        }
    }

    /// Counts records.
    ///
    /// # Panics
    /// When one is refused, or the disk fails.
    pub fn chunk(&mut self, records: &[Given<'_>]) {
        for (given, offset) in records.iter().zip(self.next_offset..) {
            let record = given.record(offset);
            let added = self.windows.add(0, record.record());
            added.unwrap_or_else(|halt| panic!("{halt}"));
        }
        self.next_offset += records.len() as i64;
    }

    /// Makes all rows, of open windows too.
    ///
    /// # Panics
    /// When the disk fails.
    pub fn close(&mut self) {
        loop {
            let rows = self.windows.rows(true);
            let rows = rows.unwrap_or_else(|halt| panic!("{halt}"));
            if rows.is_empty() {
                return;
            }
            self.row_bytes += rows.len() as u64;
        }
    }
}
