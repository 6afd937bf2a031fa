//! redb: a B-tree in one file.

use std::path::Path;

use anyhow::{Context as _, Result};
use redb::{
    Database, ReadOnlyTable, ReadableDatabase as _, ReadableTableMetadata as _, TableDefinition,
};

use super::{CACHE_BYTES, Key, RUN_KEYS, Store, Value};

const TABLE: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("windows");

pub(crate) struct Points {
    database: Database,
    /// As the last transaction left it.
    table: Option<ReadOnlyTable<&'static [u8], &'static [u8]>>,
}

impl Points {
    pub(crate) fn open(directory: &Path) -> Result<Points> {
        super::lies_in(directory);
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(directory.join("windows.redb"))?;
        Ok(Points {
            database,
            table: None,
        })
    }

    fn writing(
        &mut self,
        does: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<()>,
    ) -> Result<()> {
        self.table = None;
        let transaction = self.database.begin_write()?;
        does(&mut transaction.open_table(TABLE)?)?;
        transaction.commit()?;
        self.table = Some(self.database.begin_read()?.open_table(TABLE)?);
        Ok(())
    }
}

impl Store for Points {
    fn write(&mut self, entries: &mut dyn Iterator<Item = (Key, Value)>) -> Result<()> {
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            self.writing(|table| {
                for (key, value) in entries.by_ref().take(RUN_KEYS as usize) {
                    table.insert(&key[..], &value[..])?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        let table = self.table.as_ref().context("nothing was written")?;
        Ok(table.get(&key[..])?.map(|value| value.value().to_vec()))
    }

    fn scan(&self) -> Result<u64> {
        let table = self.table.as_ref().context("nothing was written")?;
        let mut count = 0;
        for entry in table.range::<&[u8]>(..)? {
            entry?;
            count += 1;
        }
        debug_assert_eq!(count, table.len()?);
        Ok(count)
    }

    fn remove_half(&mut self) -> Result<()> {
        self.writing(|table| {
            let end = 1u64.to_be_bytes();
            table.retain_in::<&[u8], _>(..&end[..], |_, _| false)?;
            Ok(())
        })
    }
}
