//! Whether a table remembers the tokens of inserts.

use std::collections::HashMap;

/// Settings of tables without and with replication. A window of no blocks, or of no seconds, remembers
/// nothing.
const OF_ONE_SERVER: [&str; 1] = ["non_replicated_deduplication_window"];
const OF_REPLICAS: [&str; 2] = [
    "replicated_deduplication_window",
    "replicated_deduplication_window_seconds",
];

/// The query for what the server's configuration says where a table says nothing.
pub(super) fn query_of_defaults() -> String {
    let [own] = OF_ONE_SERVER;
    let replicated = OF_REPLICAS.map(|name| format!("'{name}'")).join(", ");
    format!(
        "SELECT name, value FROM system.merge_tree_settings WHERE name = '{own}' UNION ALL \
         SELECT name, value FROM system.replicated_merge_tree_settings WHERE name IN ({replicated})"
    )
}

/// `engine_full`: the engine clause with the table's own settings. `defaults`: those of the server by name,
/// as far as it shows them.
pub(crate) fn remembers_tokens(
    is_replicated: bool,
    engine_full: &str,
    defaults: &HashMap<String, String>,
) -> bool {
    let own = settings(engine_full);
    let window = |name: &str, built_in: u64| {
        let value = own.get(name).or_else(|| defaults.get(name));
        value.map_or(Some(built_in), |value| value.parse().ok())
    };
    let is_open = |name: &&str| {
        let built_in = u64::from(is_replicated);
        window(name, built_in).is_none_or(|blocks| blocks > 0)
    };
    if is_replicated {
        OF_REPLICAS.iter().all(is_open)
    } else {
        OF_ONE_SERVER.iter().all(is_open)
    }
}

/// `SETTINGS a = 1, b = 'x'` at the end of an engine clause. Values with commas are cut short.
pub(crate) fn settings(engine_full: &str) -> HashMap<String, String> {
    let Some((_, settings)) = engine_full.rsplit_once("SETTINGS ") else {
        return HashMap::new();
    };
    let pairs = settings.split(',').filter_map(|pair| pair.split_once('='));
    let trimmed = |text: &str| text.trim().trim_matches('\'').to_owned();
    pairs
        .map(|(name, value)| (trimmed(name), trimmed(value)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_remembers_tokens_where_its_own_window_or_the_servers_is_open() {
        let blocks = "replicated_deduplication_window";
        let seconds = "replicated_deduplication_window_seconds";
        let own = "non_replicated_deduplication_window";
        let none: &[(&str, &str)] = &[];
        let cases = [
            (false, "", none, false),
            (
                false,
                " SETTINGS non_replicated_deduplication_window = 100, index_granularity = 8192",
                none,
                true,
            ),
            (
                false,
                " SETTINGS non_replicated_deduplication_window = 0",
                &[(own, "100")],
                false,
            ),
            (false, "", &[(own, "100")], true),
            (
                false,
                " SETTINGS replicated_deduplication_window = 100",
                &[(blocks, "100")],
                false,
            ),
            (true, "", none, true),
            (true, " SETTINGS index_granularity = 8192", none, true),
            (
                true,
                " SETTINGS replicated_deduplication_window = 0, index_granularity = 8192",
                none,
                false,
            ),
            (
                true,
                " SETTINGS non_replicated_deduplication_window = 0",
                none,
                true,
            ),
            (
                true,
                " SETTINGS replicated_deduplication_window_for_async_inserts = 0",
                none,
                true,
            ),
            (
                true,
                " SETTINGS replicated_deduplication_window_seconds = 0",
                none,
                false,
            ),
            (
                true,
                " SETTINGS storage_policy = 'a = b', replicated_deduplication_window = 0",
                none,
                false,
            ),
            (true, "", &[(blocks, "0")], false),
            (
                true,
                " SETTINGS replicated_deduplication_window = 10",
                &[(blocks, "0")],
                true,
            ),
            (true, "", &[(blocks, "10000"), (seconds, "0")], false),
        ];
        for (is_replicated, text, defaults, expected) in cases {
            let owned = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
            let defaults = defaults.iter().map(owned).collect();
            let engine = format!("MergeTree('/a', '{{r}}') ORDER BY a{text}");
            let found = remembers_tokens(is_replicated, &engine, &defaults);
            assert_eq!(found, expected, "{is_replicated} {text} {defaults:?}");
        }
    }
}
