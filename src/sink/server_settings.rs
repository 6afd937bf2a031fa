//! Settings by which a user's profile could change what our statements do. They are pinned in every request;
//! those that only later versions have, where the server knows them.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

/// Reads see everything that a table holds, or fail. Every supported version knows these.
pub(super) const READS: [(&str, &str); 27] = [
    ("max_memory_usage", "0"),
    ("max_query_size", "16777216"),
    ("max_rows_to_read", "0"),
    ("max_bytes_to_read", "0"),
    ("max_rows_to_read_leaf", "0"),
    ("max_bytes_to_read_leaf", "0"),
    ("read_overflow_mode", "throw"),
    ("read_overflow_mode_leaf", "throw"),
    ("max_result_rows", "0"),
    ("max_result_bytes", "0"),
    ("result_overflow_mode", "throw"),
    ("max_rows_to_group_by", "0"),
    ("max_rows_to_sort", "0"),
    ("max_bytes_to_sort", "0"),
    ("max_rows_in_set", "0"),
    ("max_bytes_in_set", "0"),
    ("max_columns_to_read", "0"),
    ("max_temporary_columns", "0"),
    ("max_temporary_non_const_columns", "0"),
    ("timeout_overflow_mode", "throw"),
    ("min_execution_speed", "0"),
    ("min_execution_speed_bytes", "0"),
    ("force_primary_key", "0"),
    ("force_index_by_date", "0"),
    ("limit", "0"),
    ("offset", "0"),
    ("extremes", "0"),
];

/// The same of settings that came later: sent where the server knows them.
pub(super) const READS_OF_LATER_VERSIONS: [(&str, &str); 10] = [
    ("final", "0"),
    ("use_query_cache", "0"),
    ("apply_deleted_mask", "1"),
    ("additional_table_filters", "{}"),
    ("additional_result_filter", ""),
    ("max_estimated_execution_time", "0"),
    ("max_execution_time_leaf", "0"),
    ("timeout_overflow_mode_leaf", "throw"),
    ("max_partitions_to_read", "-1"),
    ("empty_result_for_aggregation_by_empty_set", "0"),
];

/// Whether a block's values are cast to the types of the table.
pub(super) const NATIVE_CONVERSION: &str = "input_format_native_allow_types_conversion";

/// Settings of inserts that came later: sent where the server knows them.
const INSERTS_OF_LATER_VERSIONS: [&str; 6] = [
    NATIVE_CONVERSION,
    "input_format_native_decode_types_in_binary_format",
    "deduplicate_insert",
    "input_format_binary_read_json_as_string",
    "max_insert_block_size_bytes",
    "input_format_binary_decode_types_in_binary_format",
];

/// Rows with names and types in front and a byte before each value that says whether it is the default.
const STATED_DEFAULTS: &str = "RowBinaryWithNamesAndTypesAndDefaults";

/// Whether an answer is about a setting or a format of ours that only later versions know.
pub(super) fn is_of_later_versions(message: &str) -> bool {
    let reads = READS_OF_LATER_VERSIONS.iter().map(|(name, _)| *name);
    let mut names = reads
        .chain(INSERTS_OF_LATER_VERSIONS)
        .chain([STATED_DEFAULTS]);
    // Hints name others than the one in question.
    let question = message.split("aybe you meant").next().unwrap_or_default();
    let words = || question.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    names.any(|name| words().any(|word| word == name))
}

/// A server may be replaced by another version while we run.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What one server knows of what came later.
#[derive(Debug, Clone)]
pub(super) struct Known {
    asked_at: Instant,
    /// Names of settings and formats.
    names: HashSet<String>,
}

impl Known {
    /// The query whose answer, as JSON lines, [`Known::new`] takes.
    pub(super) fn query() -> String {
        let reads = READS_OF_LATER_VERSIONS.iter().map(|(name, _)| *name);
        let names = reads.chain(INSERTS_OF_LATER_VERSIONS);
        let names: Vec<String> = names.map(|name| format!("'{name}'")).collect();
        format!(
            "SELECT name FROM system.settings WHERE name IN ({}) UNION ALL SELECT name FROM \
             system.formats WHERE name = '{STATED_DEFAULTS}' AND is_input",
            names.join(", ")
        )
    }

    pub(super) fn new(rows: Vec<BTreeMap<String, String>>, now: Instant) -> Known {
        Known {
            asked_at: now,
            names: rows.into_iter().flat_map(BTreeMap::into_values).collect(),
        }
    }

    /// Whether it is so long ago that the server may be another one.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.duration_since(self.asked_at) >= ASK_AGAIN_AFTER
    }

    /// What a read is sent with besides [`READS`].
    pub(super) fn reads(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        let is_known = |(name, _): &(&str, &str)| self.names.contains(*name);
        READS_OF_LATER_VERSIONS.into_iter().filter(is_known)
    }

    /// Whether an insert may be sent with this setting.
    pub(super) fn takes(&self, setting: &str) -> bool {
        !INSERTS_OF_LATER_VERSIONS.contains(&setting) || self.names.contains(setting)
    }

    /// Whether rows of values and defaults can state the types that they were made for.
    pub(super) fn has_stated_defaults(&self) -> bool {
        self.names.contains(STATED_DEFAULTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Known {
        let row = |name: &&str| BTreeMap::from([("name".to_owned(), (*name).to_owned())]);
        Known::new(names.iter().map(row).collect(), Instant::now())
    }

    #[test]
    fn a_setting_that_the_server_does_not_know_is_not_sent() {
        let old = known(&[]);
        assert_eq!(old.reads().count(), 0);
        assert!(!old.takes("deduplicate_insert") && old.takes("insert_deduplicate"));
        assert!(!old.has_stated_defaults());
        let new = known(&["deduplicate_insert", STATED_DEFAULTS, "final"]);
        assert!(new.takes("deduplicate_insert") && new.has_stated_defaults());
        assert_eq!(new.reads().collect::<Vec<_>>(), [("final", "0")]);
    }

    #[test]
    fn what_a_server_knows_is_asked_again_after_a_while() {
        let known = known(&[]);
        let now = known.asked_at;
        assert!(!known.is_old(now + ASK_AGAIN_AFTER / 2));
        assert!(known.is_old(now + ASK_AGAIN_AFTER));
    }
}
