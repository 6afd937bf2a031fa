//! How many inserts and looks run at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of one table. More would only queue on the server.
const AT_ONCE_OF_TABLE: usize = 4;
/// Of a pipeline: so many tables may hang before another one waits.
const AT_ONCE: usize = 32;

/// Held while a statement is under way, and never while anything is waited for.
#[derive(Debug)]
pub(super) struct Permits {
    all: Arc<Semaphore>,
    tables: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to send one statement.
#[derive(Debug)]
pub(super) struct Permit {
    _of_table: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Permits {
    pub(super) fn new() -> Self {
        Permits {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            tables: Mutex::default(),
        }
    }

    /// Waits for the table's turn first, so that who waits for it takes no other table's.
    pub(super) async fn take(&self, table: &str) -> Permit {
        let semaphore = {
            let mut tables = self.tables.lock().expect("no holder of this lock panics");
            let new = || Arc::new(Semaphore::new(AT_ONCE_OF_TABLE));
            match tables.get(table) {
                Some(known) => known.clone(),
                None => tables.entry(table.to_owned()).or_insert_with(new).clone(),
            }
        };
        let of_table = semaphore.acquire_owned().await;
        let of_all = self.all.clone().acquire_owned().await;
        Permit {
            _of_table: of_table.expect("the semaphore is never closed"),
            _of_all: of_all.expect("the semaphore is never closed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn a_table_whose_statements_hang_leaves_the_others_theirs() {
        let permits = Permits::new();
        let take = |table: &str| permits.take(table).now_or_never();
        let hanging: Vec<_> = (0..AT_ONCE_OF_TABLE).filter_map(|_| take("sick")).collect();
        assert_eq!(hanging.len(), AT_ONCE_OF_TABLE);
        assert!(take("sick").is_none());
        let well: Vec<_> = (0..AT_ONCE_OF_TABLE).filter_map(|_| take("well")).collect();
        assert_eq!(well.len(), AT_ONCE_OF_TABLE);
        drop(hanging);
        assert!(take("sick").is_some());
    }

    #[test]
    fn all_tables_together_have_a_limit() {
        let permits = Permits::new();
        let take = |n: usize| permits.take(&format!("t{n}")).now_or_never();
        let taken: Vec<_> = (0..2 * AT_ONCE).filter_map(take).collect();
        assert_eq!(taken.len(), AT_ONCE);
    }
}
