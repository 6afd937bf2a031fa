//! Servers of `clickhouse.urls` that have each a table of their own under one name.

use std::collections::BTreeMap;

use super::clickhouse::ClickHouseClient;
use super::errors::InsertError;
use crate::halt::Halt;
use crate::target::{is_replicated, quote_text};

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

/// Whether rows that go to one server are on no other.
fn is_of_one_server(engine: &str) -> bool {
    let is_local = engine.ends_with("MergeTree") || LOCAL.contains(&engine);
    is_local && !is_replicated(engine)
}

/// The query for what [`identity`] takes.
pub(crate) fn query_of_identity(database: &str, table: &str) -> String {
    let (database, table) = (quote_text(database), quote_text(table));
    format!(
        "SELECT engine, concat(toString(serverUUID()), ' ', toString(uuid)) AS own, ifNull((SELECT \
         any(zookeeper_path) FROM system.replicas WHERE database = {database} AND table = {table}), '') AS path \
         FROM system.tables WHERE database = {database} AND name = {table}"
    )
}

/// What two servers have alike whose rows of a table are the same: the family of its engine, and where its
/// rows are told of. Empty: it cannot be told.
pub(crate) fn identity(engine: &str, path: &str, own: &str) -> String {
    if engine.starts_with("Replicated") {
        return match path {
            "" => String::new(),
            path => format!("{engine} {path}"),
        };
    }
    match is_of_one_server(engine) {
        true => format!("{engine} {own}"),
        false => engine.to_owned(),
    }
}

/// The same of a row of the answer.
pub(crate) fn identity_of(row: &BTreeMap<String, String>) -> String {
    let text = |name: &str| row.get(name).map_or("", String::as_str);
    identity(text("engine"), text("path"), text("own"))
}

/// Whether a table of this identity is on one server only, so that one that answers and lacks it is no server of its cluster.
fn is_kept_by_one(identity: &str) -> bool {
    is_of_one_server(identity.split(' ').next().unwrap_or_default())
}

/// Of what servers answered about one table: whether two have tables of their own, what it is where it was
/// seen, and the servers on which it was not.
fn compared(seen: &[Option<String>]) -> Result<(Option<String>, Vec<u32>), (String, String)> {
    let mut first: Option<&String> = None;
    let mut unseen = vec![];
    for (server, identity) in (0..).zip(seen) {
        match (identity.as_ref().filter(|text| !text.is_empty()), first) {
            (None, _) => unseen.push(server),
            (Some(identity), None) => first = Some(identity),
            (Some(identity), Some(first)) if identity == first => {}
            (Some(identity), Some(first)) => return Err((first.clone(), identity.clone())),
        }
    }
    Ok((first.cloned(), unseen))
}

impl ClickHouseClient {
    /// Whether rows that go to one of the servers would not be found on another: the engines and, of
    /// replicated tables, the paths in Keeper differ. Several addresses of one server are fine. One on which
    /// the table was not seen gets no inserts until it was.
    pub(crate) async fn has_several(&self, database: &str, table: &str) -> bool {
        if self.servers() == 1 {
            return false;
        }
        let (mut seen, mut lacks) = (vec![], false);
        for server in 0..self.servers() {
            let found = self.identity_on(server, database, table).await;
            lacks |= matches!(found, Ok(None));
            if let Err(error) = &found {
                tracing::warn!(
                    table = format!("{database}.{table}"), %error,
                    "a server of clickhouse.urls does not say what table it has: it gets no inserts until it does"
                );
            }
            seen.push(found.unwrap_or_default());
        }
        let name = (database.to_owned(), table.to_owned());
        match compared(&seen) {
            Err((first, other)) => {
                tracing::error!(
                    table = format!("{database}.{table}"),
                    first,
                    other,
                    "servers of clickhouse.urls have different tables of one name"
                );
                true
            }
            // Nobody can be told from the others.
            Ok((None, _)) => false,
            Ok((Some(first), _)) if lacks && is_kept_by_one(&first) => true,
            Ok((Some(_), unseen)) => {
                for server in 0..self.servers() {
                    let mut of_server = self.servers.get(server).unseen();
                    match unseen.contains(&server) {
                        true => drop(of_server.insert(name.clone())),
                        false => drop(of_server.remove(&name)),
                    }
                }
                false
            }
        }
    }

    async fn identity_on(
        &self,
        server: u32,
        database: &str,
        table: &str,
    ) -> Result<Option<String>, InsertError> {
        let rows = self
            .select_json_on(server, &query_of_identity(database, table))
            .await?;
        Ok(rows.first().map(identity_of))
    }

    /// Whether a server that is back has the tables that the others have. One that lacks a table, or has
    /// another, gets no inserts.
    pub(super) async fn has_the_same(&self, away: u32) -> bool {
        let unseen = self.servers.get(away).unseen().clone();
        for name in unseen {
            let (database, table) = &name;
            let is_known = |server: &u32| {
                *server != away && !self.servers.get(*server).unseen().contains(&name)
            };
            let mut seen = vec![
                self.identity_on(away, database, table)
                    .await
                    .unwrap_or_default(),
            ];
            for other in (0..self.servers()).filter(is_known) {
                seen.push(
                    self.identity_on(other, database, table)
                        .await
                        .unwrap_or_default(),
                );
            }
            let is_there = seen[0]
                .as_ref()
                .is_some_and(|identity| !identity.is_empty());
            match compared(&seen) {
                Ok((Some(_), unseen)) if is_there && unseen.len() + 1 < seen.len() => {
                    self.servers.get(away).unseen().remove(&name);
                }
                Ok(_) => return false,
                Err((own, others)) => {
                    tracing::error!(
                        table = format!("{database}.{table}"),
                        own,
                        others,
                        "a server of clickhouse.urls that is back has another table of this name than the \
                         others: it gets no inserts; drop that table there and run `streamweir schema apply`"
                    );
                    return false;
                }
            }
        }
        true
    }
}

/// The halt where the servers have each a table of their own.
pub(crate) fn several_tables(table: &str, engine: &str) -> Halt {
    let advice = format!(
        "table {table} has engine {engine}, and each server of clickhouse.urls has its own table of this \
         name (another engine, or another path in Keeper): rows written to one are not on the others; use a \
         Replicated table with the same path on every server, or name one server in clickhouse.url"
    );
    Halt::new("engine", advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_replicated_and_distributed_tables_are_found_on_every_server() {
        for engine in ["MergeTree", "ReplacingMergeTree", "Log", "Memory"] {
            assert_ne!(
                identity(engine, "", "a"),
                identity(engine, "", "b"),
                "{engine}"
            );
            assert_eq!(
                identity(engine, "", "a"),
                identity(engine, "", "a"),
                "{engine}"
            );
        }
        for engine in ["SharedMergeTree", "Distributed", "KeeperMap"] {
            assert_eq!(
                identity(engine, "", "a"),
                identity(engine, "", "b"),
                "{engine}"
            );
        }
        let replica = |path: &str, own: &str| identity("ReplicatedMergeTree", path, own);
        assert_eq!(replica("/t/1", "a"), replica("/t/1", "b"));
        assert_ne!(replica("/t/1", "a"), replica("/t/2", "b"));
        assert_ne!(replica("/t/1", "a"), identity("MergeTree", "", "b"));
        assert_eq!(replica("", "a"), "", "it cannot be told");
        assert!(is_kept_by_one(&identity("MergeTree", "", "a")));
        assert!(!is_kept_by_one(&replica("/t/1", "a")));
        assert!(!is_kept_by_one(&identity("Distributed", "", "a")));
    }

    #[test]
    fn the_first_table_that_is_seen_is_what_the_others_are_held_against() {
        let seen = |servers: &[&str]| {
            let identity = |text: &&str| (*text != "-").then(|| (*text).to_owned());
            compared(&servers.iter().map(identity).collect::<Vec<_>>())
        };
        assert_eq!(seen(&["x", "x"]), Ok((Some("x".to_owned()), vec![])));
        assert_eq!(
            seen(&["-", "x", ""]),
            Ok((Some("x".to_owned()), vec![0, 2]))
        );
        assert_eq!(seen(&["-", "-"]), Ok((None, vec![0, 1])));
        let differ = Err(("x".to_owned(), "y".to_owned()));
        assert_eq!(seen(&["x", "-", "y"]), differ);
    }
}
