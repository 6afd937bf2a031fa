//! A server older than those that the daemon is tried with.

use super::prelude::*;

/// The oldest that is tried: year and month.
const OLDEST: (u32, u32) = (24, 8);

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        let mut versions = vec![];
        for (url, server) in with_facts(own) {
            let Some(version) = parsed(&server.version) else {
                continue;
            };
            versions.push(version);
            if version < OLDEST {
                found.add(
                    Warning,
                    own.name(),
                    url,
                    format!(
                        "{url} is ClickHouse {}, and none before {}.{} is tried",
                        server.version, OLDEST.0, OLDEST.1
                    ),
                    "upgrade it: older servers may lack settings that exactly_once needs",
                );
            }
        }
        let (oldest, newest) = (versions.iter().min(), versions.iter().max());
        if let (Some(oldest), Some(newest)) = (oldest, newest)
            && oldest != newest
        {
            found.add(
                Info,
                own.name(),
                "clickhouse.urls",
                format!(
                    "the servers of clickhouse.urls have different versions, from {}.{} to {}.{}",
                    oldest.0, oldest.1, newest.0, newest.1
                ),
                "upgrade all of them: defaults such as that of async_insert differ between versions",
            );
        }
    }
}

fn parsed(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn old_servers_and_mixed_ones_are_named() {
        for (version, is_found) in [
            ("26.7.2.1", false),
            ("24.8.4.1", false),
            ("24.3.1.1", true),
            ("23.10.1", true),
            ("strange", false),
        ] {
            let mut facts = enrichment();
            server(&mut facts).version = version.to_owned();
            assert_eq!(
                !found("server_version", &facts).is_empty(),
                is_found,
                "{version}"
            );
        }
        let mut facts = enrichment();
        let mut other = server(&mut facts).clone();
        other.version = "25.8.2.1".to_owned();
        facts.pipelines[0]
            .clickhouse
            .push(("http://b:8123".to_owned(), Reached::Yes(other)));
        assert_eq!(one("server_version", &facts).level, Info);
    }
}
