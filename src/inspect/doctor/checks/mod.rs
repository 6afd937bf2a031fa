//! The checks: one file each, named as its id.

mod cleanup_forgets_deletes;
mod clickhouse_authentication;
mod clickhouse_rights;
mod clickhouse_unreachable;
mod clock_skew;
mod co_partitioning;
mod column_unfilled;
mod commit_metadata_limit;
mod dead_letter_topic;
mod dedup_key_apart;
mod dedup_window_missing;
mod dedup_window_small;
mod engine_not_exact;
mod field_unread;
mod fields;
mod file_limit;
mod implausible_time;
mod instance_id_shared;
mod kafka_authentication;
mod kafka_rights;
mod kafka_unreachable;
mod log_append_time;
mod memory_small;
mod offset_index_missing;
mod offset_out_of_range;
mod offsets_expire;
mod order_by_not_key;
mod partition_key_moves;
mod partitions_changed;
mod parts_pressure;
mod pattern_matches_nothing;
mod port_taken;
mod prelude;
mod profile_limits;
mod profiles_missing;
mod redis_authentication;
mod redis_cluster;
mod redis_eviction;
mod redis_unreachable;
mod replica;
mod replica_lag;
mod retention_below_lag;
mod sample_rejects;
mod schema_missing;
mod server_version;
mod session_timeout;
mod state_dir;
mod state_missing;
mod table_missing;
#[cfg(test)]
mod testing;
mod time_without_zone;
mod topic_differs;
mod topic_missing;
mod type_unsupported;
mod view_on_insert;

use super::facts::Facts;
use super::finding::{Finding, Findings};

/// Adds what one check finds.
type Check = fn(&Facts, &mut Findings);

macro_rules! checks {
    ($($id:ident),* $(,)?) => {
        /// Every check, by its id.
        pub(crate) const CHECKS: &[(&str, Check)] = &[$((stringify!($id), $id::judge)),*];
    };
}

checks! {
    kafka_unreachable,
    kafka_authentication,
    kafka_rights,
    topic_missing,
    pattern_matches_nothing,
    topic_differs,
    dead_letter_topic,
    commit_metadata_limit,
    retention_below_lag,
    offset_out_of_range,
    offsets_expire,
    clock_skew,
    session_timeout,
    co_partitioning,
    dedup_key_apart,
    partitions_changed,
    log_append_time,
    clickhouse_unreachable,
    clickhouse_authentication,
    clickhouse_rights,
    table_missing,
    column_unfilled,
    field_unread,
    type_unsupported,
    engine_not_exact,
    dedup_window_missing,
    dedup_window_small,
    view_on_insert,
    order_by_not_key,
    partition_key_moves,
    cleanup_forgets_deletes,
    offset_index_missing,
    profile_limits,
    time_without_zone,
    parts_pressure,
    replica_lag,
    server_version,
    redis_unreachable,
    redis_authentication,
    redis_eviction,
    redis_cluster,
    profiles_missing,
    memory_small,
    state_dir,
    port_taken,
    instance_id_shared,
    state_missing,
    file_limit,
    sample_rejects,
    implausible_time,
    schema_missing,
}

/// Everything that all checks find.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let judge = |(id, check): &(&'static str, Check)| {
        let mut found = Findings::new(id);
        check(facts, &mut found);
        found.into_vec()
    };
    CHECKS.iter().flat_map(judge).collect()
}

#[cfg(test)]
mod tests {
    use super::CHECKS;

    #[test]
    fn the_documentation_has_a_row_for_each_check_and_no_other() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(root.join("docs/doctor.md")).expect("a page");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let ids = rows.filter_map(|row| row.split('`').next());
        let mut documented: Vec<&str> = ids.filter(|id| !id.starts_with('-')).collect();
        let mut checks: Vec<&str> = CHECKS.iter().map(|(id, _)| *id).collect();
        documented.sort_unstable();
        checks.sort_unstable();
        assert_eq!(documented, checks);
    }
}
