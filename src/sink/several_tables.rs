//! Servers of `clickhouse.urls` that have each a table of their own under one name.

use std::collections::BTreeSet;

use super::clickhouse::ClickHouseClient;
use crate::halt::Halt;
use crate::target::{TableInfo, quote_text};

/// Engines whose rows lie on one server, beside those of the MergeTree family.
const LOCAL: [&str; 8] = [
    "Log",
    "TinyLog",
    "StripeLog",
    "Memory",
    "Buffer",
    "Set",
    "Join",
    "EmbeddedRocksDB",
];

impl TableInfo {
    /// Whether rows that go to one server are on no other.
    pub(crate) fn is_of_one_server(&self) -> bool {
        let is_local = self.engine.ends_with("MergeTree") || LOCAL.contains(&&*self.engine);
        is_local && !self.is_replicated()
    }
}

impl ClickHouseClient {
    /// Whether rows that go to one of the servers would not be found on another. Several addresses of one
    /// server are fine; a server that does not answer says nothing.
    pub(crate) async fn has_several(&self, database: &str, table: &str, info: &TableInfo) -> bool {
        if self.servers() == 1 || !info.is_of_one_server() {
            return false;
        }
        let sql = format!(
            "SELECT toString(uuid) AS uuid, toString(serverUUID()) AS server FROM system.tables WHERE \
             database = {} AND name = {}",
            quote_text(database),
            quote_text(table)
        );
        let mut seen = BTreeSet::new();
        for server in 0..self.servers() {
            match self.select_json_on(server, &sql).await {
                Ok(rows) => drop(seen.insert(rows)),
                Err(error) => tracing::warn!(
                    table = format!("{database}.{table}"), engine = info.engine, %error,
                    "the table is not a replicated one, and a server of clickhouse.urls that does not answer \
                     may have another of the same name"
                ),
            }
        }
        seen.len() > 1
    }
}

/// The halt where the servers have each a table of their own.
pub(crate) fn several_tables(table: &str, engine: &str) -> Halt {
    let advice = format!(
        "table {table} has engine {engine}, and each server of clickhouse.urls has its own table of this \
         name: rows written to one are not on the others; use a Replicated table, or name one server \
         in clickhouse.url"
    );
    Halt::new("engine", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_replicated_and_distributed_tables_are_found_on_every_server() {
        let is_local = |engine: &str| {
            let info = TableInfo {
                engine: engine.to_owned(),
                engine_full: String::new(),
                sorting_key: String::new(),
                partition_key: String::new(),
                columns: vec![],
                metadata_version: 0,
                has_tokens: false,
            };
            info.is_of_one_server()
        };
        for engine in ["MergeTree", "ReplacingMergeTree", "Log", "Memory"] {
            assert!(is_local(engine), "{engine}");
        }
        for engine in [
            "ReplicatedMergeTree",
            "ReplicatedReplacingMergeTree",
            "SharedMergeTree",
            "Distributed",
            "KeeperMap",
        ] {
            assert!(!is_local(engine), "{engine}");
        }
    }
}
