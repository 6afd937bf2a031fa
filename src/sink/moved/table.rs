//! Rows that have left their keys, in a table beside the replicas: right across members and restarts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::super::clickhouse::ClickHouseClient;
use super::super::errors::{InsertError, Remedy};
use super::super::{RowFormat, Target};
use super::told::{append_text, change_of, place, row_of};
use crate::batch::{GappedRow, Moved};
use crate::replica::{MOVED_COLUMNS, MOVED_ROWS, create_moved_rows};
use crate::target::{TableInfo, quote_name, quote_text};

/// How long a table that is not there is taken to be not there.
const LOOK_AGAIN: Duration = Duration::from_secs(60);
/// The form in which keys of the table are asked for.
const SOUGHT: &str = "o String, n String, c String";

/// See the module.
#[derive(Debug)]
pub(in crate::sink) struct MovedTable {
    client: ClickHouseClient,
    database: String,
    /// Whether it is made where it is missing.
    is_made: bool,
    state: Mutex<State>,
    has_warned: AtomicBool,
}

#[derive(Debug, Clone)]
enum State {
    /// Not looked for yet.
    Unknown,
    There(Arc<Target>),
    MissingSince(Instant),
}

impl MovedTable {
    pub(in crate::sink) fn new(client: ClickHouseClient, database: &str, is_made: bool) -> Self {
        MovedTable {
            client,
            database: database.to_owned(),
            is_made,
            state: Mutex::new(State::Unknown),
            has_warned: AtomicBool::new(false),
        }
    }

    /// The table, found or made; `None` where there is none, which is said once.
    ///
    /// # Errors
    /// A server that does not answer.
    pub(in crate::sink) async fn ready(&self) -> Result<Option<Arc<Target>>, InsertError> {
        let state = self.state().clone();
        match state {
            State::There(target) => return Ok(Some(target)),
            State::MissingSince(at) if at.elapsed() < LOOK_AGAIN => return Ok(None),
            _ => {}
        }
        let (client, database) = (&self.client, &*self.database);
        match self.find().await {
            Ok(Some(_)) if client.has_several(database, MOVED_ROWS).await => {
                self.give_up("each server of clickhouse.urls has a table of its own of this name");
                Ok(None)
            }
            Ok(Some(info)) if has_its_columns(&info) => {
                let target = Arc::new(target(&self.database, &info));
                *self.state() = State::There(target.clone());
                Ok(Some(target))
            }
            Ok(Some(_)) => {
                self.give_up(
                    "it has other columns than those that `streamweir schema print` shows",
                );
                Ok(None)
            }
            Ok(None) => {
                self.give_up("it does not exist, and pipeline.create_tables is false");
                Ok(None)
            }
            Err(error) if is_refusal(&error) => {
                self.give_up(&format!("the server refuses it: {error}"));
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn find(&self) -> Result<Option<TableInfo>, InsertError> {
        let (found, _) = self.client.find_table(&self.database, MOVED_ROWS).await?;
        if found.is_some() || !self.is_made {
            return Ok(found);
        }
        let statement = create_moved_rows(&self.database);
        if let Err(error) = self.client.execute_anywhere(&statement).await {
            // What the server answers here it will answer again.
            let remedy = match error.remedy {
                Remedy::Unclassified => Remedy::Halt("refused_statement"),
                remedy => remedy,
            };
            return Err(InsertError { remedy, ..error });
        }
        self.client.table_info(&self.database, MOVED_ROWS).await
    }

    /// Whether the server will not let us use it. If it is only gone, it is looked for, and made, anew.
    pub(in crate::sink) fn is_given_up(&self, error: &InsertError) -> bool {
        if error.remedy == Remedy::Halt("missing_table") {
            *self.state() = State::Unknown;
        } else if is_refusal(error) {
            self.give_up(&format!("the server refuses it: {error}"));
        }
        is_refusal(error)
    }

    fn give_up(&self, why: &str) {
        *self.state() = State::MissingSince(Instant::now());
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                table = format!("{}.{MOVED_ROWS}", self.database),
                why,
                "values of rows whose key changed are known to the process that wrote the old row, and \
                 from its deleted row, which may be of another life of the key: create the table, or \
                 grant the right (docs/debezium.md)"
            );
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// What has been told of these changes, in RowBinary; of those that say so, whether one that names no
    /// change has been told too.
    ///
    /// # Errors
    /// As [`ClickHouseClient::newest_rows`].
    pub(in crate::sink) async fn rows(
        &self,
        server: u32,
        table: &Target,
        sought: &[(&Moved, bool)],
        bytes_max: usize,
    ) -> Result<Bytes, InsertError> {
        let Some(own) = self.there() else {
            return Ok(Bytes::new());
        };
        let mut keys = vec![];
        for (moved, with_unnamed) in sought {
            keys.extend(place(moved, &change_of(moved)));
            if *with_unnamed {
                keys.extend(place(moved, ""));
            }
        }
        if own.replicated {
            // A replica that lags answers with values of before, or with none.
            self.client.sync_replica(server, &own.sql).await?;
        }
        // Of a change that is told more than once the first counts: what comes again was read when the old
        // key may have had another row.
        let sql = format!(
            "SELECT old_key, new_key, change, version, column_names, column_types, column_values FROM {} \
             WHERE table_name = {} AND (old_key, new_key, change) IN (SELECT o, n, c FROM \
             format(RowBinary, '{SOUGHT}', unhex('{}'))) ORDER BY version, written_at DESC \
             LIMIT 1 BY old_key, new_key, change SETTINGS select_sequential_consistency = 1, \
             max_result_bytes = {bytes_max}, result_overflow_mode = 'throw'",
            own.sql,
            quote_text(self.name_of(table)),
            hex(&keys),
        );
        self.client.select(server, &sql, "RowBinary").await
    }

    /// Old keys of these, and versions of their deleted rows that have left in a change that is told.
    ///
    /// # Errors
    /// As above.
    pub(in crate::sink) async fn versions(
        &self,
        server: u32,
        table: &Target,
        olds: &[&[u8]],
    ) -> Result<Bytes, InsertError> {
        let Some(own) = self.there().filter(|_| !olds.is_empty()) else {
            return Ok(Bytes::new());
        };
        let mut keys = vec![];
        for old in olds {
            append_text(old, &mut keys);
        }
        let sql = format!(
            "SELECT old_key, version FROM {} WHERE table_name = {} AND old_key IN (SELECT o FROM \
             format(RowBinary, 'o String', unhex('{}'))) SETTINGS select_sequential_consistency = 1",
            own.sql,
            quote_text(self.name_of(table)),
            hex(&keys),
        );
        self.client.select(server, &sql, "RowBinary").await
    }

    /// The table's row for a deleted row that has left its key.
    pub(in crate::sink) fn row(&self, table: &Target, row: &GappedRow, moved: &Moved) -> Vec<u8> {
        row_of(self.name_of(table), table, row, moved)
    }

    /// The table, as far as it has been looked for.
    pub(in crate::sink) fn there(&self) -> Option<Arc<Target>> {
        match &*self.state() {
            State::There(target) => Some(target.clone()),
            _ => None,
        }
    }

    /// The replica's name within the database.
    fn name_of<'t>(&self, table: &'t Target) -> &'t str {
        let name = table.label.strip_prefix(&*self.database);
        let name = name.and_then(|name| name.strip_prefix('.'));
        name.unwrap_or(&table.label)
    }
}

/// A server that answers, and will answer the same again.
fn is_refusal(error: &InsertError) -> bool {
    let may_pass = matches!(error.remedy, Remedy::Retry(_) | Remedy::Unclassified);
    error.code.is_some() && !may_pass
}

fn has_its_columns(info: &TableInfo) -> bool {
    MOVED_COLUMNS.iter().all(|(name, type_name)| {
        let mut columns = info.columns.iter();
        columns.any(|column| column.name == *name && column.type_name == *type_name)
    })
}

fn target(database: &str, info: &TableInfo) -> Target {
    let sql = format!("{}.{}", quote_name(database), quote_name(MOVED_ROWS));
    let label = format!("{database}.{MOVED_ROWS}");
    let names = MOVED_COLUMNS.map(|(name, _)| name.to_owned());
    Target::of_columns(label, sql, info, &names, RowFormat::Values)
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        write!(hex, "{byte:02x}").expect("writing to a string succeeds");
    }
    hex
}
