//! The table beside the replicas of a database that keeps what rows were when their keys changed.

/// Its name.
pub const MOVED_ROWS: &str = "streamweir_moved_rows";

/// Its columns and their types, but for the time at which a row of it was written.
pub const MOVED_COLUMNS: [(&str, &str); 8] = [
    ("table_name", "LowCardinality(String)"),
    ("old_key", "String"),
    ("new_key", "String"),
    ("change", "String"),
    ("version", "UInt64"),
    ("column_names", "Array(String)"),
    ("column_types", "Array(String)"),
    ("column_values", "String"),
];

/// Days for which a row of it is kept: longer than records are.
const DAYS_KEPT: u32 = 30;

/// `CREATE TABLE`, unless it is there. One for all replicas of a database: keys change rarely, and a
/// thousand replicas should not be two thousand tables.
#[must_use]
pub fn create_moved_rows(database: &str) -> String {
    let column = |(name, column_type)| format!("    {name} {column_type},\n");
    let columns: String = MOVED_COLUMNS.into_iter().map(column).collect();
    format!(
        "CREATE TABLE IF NOT EXISTS {}.{MOVED_ROWS}\n(\n{columns}    written_at DateTime DEFAULT now()\n)\n\
         ENGINE = MergeTree\nORDER BY (table_name, old_key, new_key, change)\n\
         TTL written_at + INTERVAL {DAYS_KEPT} DAY",
        super::ddl::quoted(database)
    )
}
