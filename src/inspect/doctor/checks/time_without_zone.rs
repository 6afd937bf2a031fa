//! Columns of times without a zone on a server that is not in UTC.

use super::prelude::*;

const UTC: [&str; 8] = [
    "UTC",
    "Etc/UTC",
    "GMT",
    "Etc/GMT",
    "Etc/UCT",
    "UCT",
    "Zulu",
    "Universal",
];

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, server, table) in with_tables(facts) {
        if server.timezone.is_empty() || UTC.contains(&&*server.timezone) {
            continue;
        }
        let columns = table.info.columns.iter();
        let columns = columns.filter(|c| !matches!(&*c.default_kind, "MATERIALIZED" | "ALIAS"));
        for column in columns.filter(|column| has_no_zone(&column.type_name)) {
            let (name, type_name) = (&column.name, &column.type_name);
            found.add(
                Warning,
                own.name(),
                format!("{}.{name}", table.name),
                format!(
                    "column {name} of table {} is {type_name} without a zone, and the server is in {}: it shows \
                     times, and partitions and groups by days, of that zone",
                    table.name, server.timezone
                ),
                format!("ALTER TABLE {} MODIFY COLUMN {name} with the zone 'UTC' in its type", table.name),
            );
        }
    }
}

/// Whether a `DateTime` or `DateTime64` in the type names no zone.
fn has_no_zone(type_name: &str) -> bool {
    let mut rest = type_name;
    while let Some(at) = rest.find("DateTime") {
        rest = &rest[at + "DateTime".len()..];
        let arguments = rest.strip_prefix("64").unwrap_or(rest);
        let arguments = arguments
            .strip_prefix('(')
            .and_then(|a| a.split(')').next());
        if !arguments.is_some_and(|arguments| arguments.contains('\'')) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::has_no_zone;

    #[test]
    fn a_zone_stands_in_the_type() {
        for (type_name, expected) in [
            ("DateTime", true),
            ("DateTime('UTC')", false),
            ("DateTime64(3)", true),
            ("DateTime64(3, 'UTC')", false),
            ("Nullable(DateTime64(6))", true),
            ("Array(DateTime('Europe/Berlin'))", false),
            ("Date", false),
            ("String", false),
        ] {
            assert_eq!(has_no_zone(type_name), expected, "{type_name}");
        }
    }

    #[test]
    fn it_matters_on_a_server_that_is_not_in_utc() {
        let mut facts = enrichment();
        let column = table(&mut facts)
            .info
            .columns
            .iter_mut()
            .find(|c| c.name == "timestamp");
        column.expect("a column").type_name = "DateTime64(3)".to_owned();
        assert_silent("time_without_zone", &facts);
        server(&mut facts).timezone = "Europe/Berlin".to_owned();
        let finding = one("time_without_zone", &facts);
        assert_eq!(finding.level, Warning);
        assert_eq!(finding.place, "analytics.clickstream_events.timestamp");
    }
}
