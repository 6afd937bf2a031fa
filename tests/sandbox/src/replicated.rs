//! Two replicas of ClickHouse and the ZooKeeper between them.
//!
//! Tokens, Keeper, quorum, merges and the fetching side of replication are ClickHouse's own. A part that
//! the other replica fetches is sent by the sandbox's front ([`crate::clickhouse_front`]): the library
//! listens nowhere. `ON CLUSTER` and databases of engine Replicated do not work there.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::Result;

use crate::clickhouse::ClickHouse;
use crate::wait;
use crate::zookeeper::ZooKeeper;

const SYNC_TIMEOUT: Duration = Duration::from_secs(180);

/// A cluster of one shard with two replicas, `r1` and `r2`. Statements of DDL go to each.
#[derive(Debug)]
pub struct Replicated {
    pub replicas: [ClickHouse; 2],
    pub zookeeper: ZooKeeper,
}

impl Replicated {
    /// Starts all three without data and waits until they answer.
    ///
    /// # Errors
    /// When something is missing (`make deps-test`) or does not start.
    pub fn start() -> Result<Self> {
        let zookeeper = ZooKeeper::start()?;
        let port = zookeeper.port();
        let [first, second] = thread::scope(|scope| {
            let start = |name| scope.spawn(move || ClickHouse::start_replica(name, port));
            ["r1", "r2"]
                .map(start)
                .map(|replica| replica.join().expect("starting an engine does not panic"))
        });
        Ok(Self {
            replicas: [first?, second?],
            zookeeper,
        })
    }

    /// The addresses, as `clickhouse.urls` takes them.
    pub fn urls(&self) -> Vec<String> {
        self.replicas.iter().map(ClickHouse::url).collect()
    }

    /// Runs a statement on both, one after the other.
    ///
    /// # Errors
    /// The first message of a server.
    pub fn on_both(&self, sql: &str) -> Result<()> {
        for replica in &self.replicas {
            replica.try_query(sql)?;
        }
        Ok(())
    }

    /// Waits until both have a session with ZooKeeper, so that statements of both find it: the engine as a library
    /// has no table that says so, so a table of no rows is made and dropped.
    ///
    /// # Errors
    /// That takes too long; the last message.
    pub fn wait_until_connected(&self) -> Result<()> {
        static TABLES: AtomicU32 = AtomicU32::new(0);
        for replica in &self.replicas {
            let mut last = String::new();
            let connected = wait::until("the replica reaches ZooKeeper", SYNC_TIMEOUT, || {
                // One that failed may have left its path behind.
                let table = format!("reaches_{}", TABLES.fetch_add(1, Ordering::Relaxed));
                let create = format!(
                    "CREATE TABLE default.{table} (n UInt8) ENGINE = ReplicatedMergeTree('/{table}', '{{replica}}') \
                     ORDER BY n"
                );
                let made = replica.try_query(&create);
                let gone = made
                    .and_then(|_| replica.try_query(&format!("DROP TABLE default.{table} SYNC")));
                gone.map_err(|error| last = error.to_string()).ok()
            });
            connected.map_err(|error| error.context(last))?;
        }
        Ok(())
    }

    /// Waits until both know each other for this table and take inserts.
    ///
    /// # Errors
    /// That takes too long.
    pub fn wait_until_writable(&self, database: &str, table: &str) -> Result<()> {
        let sql = format!(
            "SELECT NOT is_readonly AND active_replicas = 2 FROM system.replicas WHERE database = '{database}' \
             AND table = '{table}'"
        );
        for replica in &self.replicas {
            wait::until("the replica takes inserts", SYNC_TIMEOUT, || {
                (replica.query(&sql) == "1").then_some(())
            })?;
        }
        Ok(())
    }

    /// Waits until each has what the other acknowledged.
    ///
    /// # Errors
    /// That takes too long, or a server does not answer; its last message.
    pub fn sync(&self, table: &str) -> Result<()> {
        for replica in &self.replicas {
            let mut last = String::new();
            let synced = wait::until("the replica is in sync", SYNC_TIMEOUT, || {
                let answer = replica.try_query(&format!("SYSTEM SYNC REPLICA {table}"));
                answer.map_err(|error| last = error.to_string()).ok()
            });
            synced.map_err(|error| error.context(last))?;
        }
        Ok(())
    }
}
