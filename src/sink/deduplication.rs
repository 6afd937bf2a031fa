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

/// How long a replicated table remembers tokens: the last so many blocks, of those of the last so many seconds
/// before the newest, whoever wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TokenWindow {
    pub(crate) blocks: u64,
    pub(crate) seconds: u64,
}

impl TokenWindow {
    /// `defaults` as above; `version` of the server decides where it shows none.
    pub(crate) fn of(
        engine_full: &str,
        defaults: &HashMap<String, String>,
        version: &str,
    ) -> TokenWindow {
        let own = settings(engine_full);
        let value = |name: &str, built_in: u64| {
            let value = own.get(name).or_else(|| defaults.get(name));
            value
                .and_then(|value| value.parse().ok())
                .unwrap_or(built_in)
        };
        let [blocks, seconds] = OF_REPLICAS;
        let (built_in_blocks, built_in_seconds) = built_in_window(version);
        TokenWindow {
            blocks: value(blocks, built_in_blocks),
            seconds: value(seconds, built_in_seconds),
        }
    }

    /// What is too little of it for this many inserts an hour, and the setting that mends it.
    pub(crate) fn shortage(&self, inserts_per_hour: f64) -> Option<(String, String)> {
        let [blocks, seconds] = OF_REPLICAS;
        if (self.blocks as f64) < inserts_per_hour {
            let enough = (inserts_per_hour * 2.0).max(10_000.0);
            return Some((
                format!(
                    "the last {} blocks, and this pipeline may make {inserts_per_hour:.0} an hour",
                    self.blocks
                ),
                format!("{blocks} = {enough:.0}"),
            ));
        }
        (self.seconds < HOUR_SECONDS).then(|| {
            (
                format!("blocks of the last {} s", self.seconds),
                format!("{seconds} = 604800"),
            )
        })
    }
}

/// An insert may have to be repeated after an outage of this length.
const HOUR_SECONDS: u64 = 3_600;

/// Blocks and seconds of a server's version: fewer blocks for longer before 26.
fn built_in_window(version: &str) -> (u64, u64) {
    let major = version.split('.').next().and_then(|v| v.parse().ok());
    match major {
        Some(..26u32) => (1_000, 604_800),
        _ => (10_000, 3_600),
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
    fn the_window_of_a_replicated_table_is_its_own_or_the_servers_or_the_versions() {
        let engine =
            |settings: &str| format!("ReplicatedMergeTree('/a', '{{r}}') ORDER BY a{settings}");
        let none = HashMap::new();
        let window = |blocks, seconds| TokenWindow { blocks, seconds };
        for (version, built_in) in [
            ("24.8.4.1", window(1_000, 604_800)),
            ("25.8.2.1", window(1_000, 604_800)),
            ("26.3.9.1", window(10_000, 3_600)),
            ("26.7.2.1", window(10_000, 3_600)),
        ] {
            assert_eq!(TokenWindow::of(&engine(""), &none, version), built_in);
        }
        let own = engine(" SETTINGS replicated_deduplication_window = 7, index_granularity = 8192");
        let shown = [(
            "replicated_deduplication_window_seconds".to_owned(),
            "60".to_owned(),
        )];
        let shown = HashMap::from(shown);
        assert_eq!(TokenWindow::of(&own, &shown, "26.7"), window(7, 60));
        for (found, inserts, setting) in [
            (window(1_000, 604_800), 999.0, None),
            (
                window(1_000, 604_800),
                4_320.0,
                Some("replicated_deduplication_window = 10000"),
            ),
            (
                window(10_000, 60),
                10.0,
                Some("replicated_deduplication_window_seconds = 604800"),
            ),
            (window(10_000, 3_600), 4_320.0, None),
        ] {
            let shortage = found.shortage(inserts).map(|(_, setting)| setting);
            assert_eq!(shortage.as_deref(), setting, "{found:?}");
        }
    }

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
