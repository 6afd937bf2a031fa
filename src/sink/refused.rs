//! The halt that follows an answer of ClickHouse which no retry mends, with advice.

use super::errors::{ADDRESS_FAILED, InsertError, VIEW_FAILED};
use crate::halt::Halt;

/// ClickHouse refused an insert for a reason that no retry mends.
pub(crate) fn refused(reason: &'static str, table: &str, error: &InsertError) -> Halt {
    let hint = match reason {
        // SETTING_CONSTRAINT_VIOLATION and READONLY name the setting.
        _ if matches!(error.code, Some(452 | 164)) && error.message.contains("etting") => {
            "the daemon pins this setting, so that limits of a profile neither stop nor change \
             what it reads and writes: allow the user of clickhouse.user to change it"
        }
        "missing_table" => {
            "create it with `streamweir schema apply`, or correct pipeline.clickhouse.table \
             and clickhouse.database"
        }
        ADDRESS_FAILED => {
            "what stands before clickhouse refuses the address of the request (414, 431), which holds \
             settings alone (long statements stand in the body): shorten clickhouse.settings, raise \
             the limit (large_client_header_buffers of nginx), or give clickhouse.url the server's \
             own address, then start again"
        }
        VIEW_FAILED => {
            "fix the view and start again, and the same insert is repeated, which gives the view \
             what it lacks if its target remembers deduplication tokens; or drop the view"
        }
        "authentication" => {
            "check clickhouse.user, clickhouse.password_file and that the user may INSERT \
             into and SELECT from the table"
        }
        _ => "compare the table with the configuration, then start again",
    };
    Halt::new(reason, format!("table {table}: {error}: {hint}"))
}
