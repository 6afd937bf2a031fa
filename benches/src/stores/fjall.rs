//! fjall: a log-structured merge tree.

use std::path::Path;

use anyhow::Result;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::{CACHE_BYTES, Key, Store, Value};

pub(crate) struct Points {
    _database: Database,
    keyspace: Keyspace,
}

impl Points {
    pub(crate) fn open(directory: &Path) -> Result<Points> {
        super::lies_in(directory);
        let database = Database::builder(directory.join("windows"))
            .cache_size(CACHE_BYTES as u64)
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(32 << 20);
        let keyspace = database.keyspace("windows", options)?;
        Ok(Points {
            _database: database,
            keyspace,
        })
    }
}

impl Store for Points {
    fn write(&mut self, entries: &mut dyn Iterator<Item = (Key, Value)>) -> Result<()> {
        for (key, value) in entries {
            self.keyspace.insert(key, value)?;
        }
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        Ok(self.keyspace.get(key)?.map(|value| value.to_vec()))
    }

    fn scan(&self) -> Result<u64> {
        let mut count = 0;
        for entry in self.keyspace.iter() {
            entry.into_inner()?;
            count += 1;
        }
        Ok(count)
    }

    fn remove_half(&mut self) -> Result<()> {
        let end = 1u64.to_be_bytes();
        for entry in self.keyspace.range(..&end[..]) {
            self.keyspace.remove(entry.key()?)?;
        }
        Ok(())
    }
}
