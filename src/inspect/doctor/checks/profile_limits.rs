//! Settings of the ClickHouse user's profile that break inserts or our own reads, or take the tokens away.

use super::prelude::*;
use crate::inspect::doctor::facts::Setting;

/// What is sent with inserts and reads, and the value that is sent where it is always the same.
const SENT: [(&str, Option<&str>); 24] = [
    ("async_insert", Some("0")),
    ("max_insert_block_size", None),
    ("min_insert_block_size_rows", None),
    ("min_insert_block_size_bytes", None),
    ("max_insert_threads", Some("1")),
    ("input_format_parallel_parsing", Some("0")),
    ("max_partitions_per_insert_block", Some("0")),
    ("timeout_overflow_mode", Some("throw")),
    ("insert_deduplicate", Some("1")),
    ("insert_deduplication_token", None),
    (
        "deduplicate_blocks_in_dependent_materialized_views",
        Some("1"),
    ),
    ("max_execution_time", None),
    ("max_memory_usage", Some("0")),
    ("max_query_size", Some("16777216")),
    ("max_rows_to_read", Some("0")),
    ("max_bytes_to_read", Some("0")),
    ("read_overflow_mode", Some("throw")),
    ("max_result_rows", Some("0")),
    ("max_result_bytes", Some("0")),
    ("result_overflow_mode", Some("throw")),
    ("max_rows_to_group_by", Some("0")),
    ("max_columns_to_read", Some("0")),
    ("force_primary_key", Some("0")),
    ("limit", Some("0")),
];

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for own in &facts.pipelines {
        for (url, server) in with_facts(own) {
            let user = &own.pipeline.clickhouse.user;
            let mut add = |level, setting: &str, what: String| {
                found.add(
                    level,
                    own.name(),
                    format!("{url} user {user} {setting}"),
                    format!("the profile of user {user} has {what}"),
                    format!(
                        "give user {user} a profile without it, or allow the user to change {setting} \
                         (SHOW CREATE SETTINGS PROFILE shows where it comes from)"
                    ),
                );
            };
            if let Some(readonly) = server.settings.get("readonly").filter(|s| s.value != "0") {
                let value = &readonly.value;
                add(
                    Error,
                    "readonly",
                    format!("readonly = {value}: every insert is refused"),
                );
            }
            for (name, sent) in SENT {
                if let Some(why) = server.settings.get(name).and_then(|s| refuses(s, sent)) {
                    add(
                        Error,
                        name,
                        format!("{name} {why}: every insert or read with it is refused"),
                    );
                }
            }
            for (name, why) in harmful(own, server) {
                add(Warning, name, why);
            }
        }
    }
}

/// Why a profile does not take the value that is sent.
fn refuses(setting: &Setting, sent: Option<&str>) -> Option<String> {
    let value = &setting.value;
    if setting.is_readonly && sent.is_none_or(|sent| sent != value) {
        return Some(format!("= {value}, which may not be changed"));
    }
    let sent: f64 = sent?.parse().ok()?;
    let bound = |bound: &Option<String>| bound.as_deref().and_then(|b| b.parse::<f64>().ok());
    if let Some(min) = bound(&setting.min).filter(|min| sent < *min) {
        return Some(format!(">= {min} as a constraint, and {sent} is sent"));
    }
    bound(&setting.max)
        .filter(|max| sent > *max)
        .map(|max| format!("<= {max} as a constraint, and {sent} is sent"))
}

/// What is not overridden by what is sent.
fn harmful(own: &PipelineFacts, server: &ClickHouseFacts) -> Vec<(&'static str, String)> {
    let number = |name: &str| {
        let setting = server
            .settings
            .get(name)
            .filter(|setting| setting.is_changed)?;
        setting.value.parse::<u64>().ok()
    };
    let mut harmful = vec![];
    let batch = own.pipeline.batch.bytes_max as u64;
    if let Some(bytes) = number("max_memory_usage").filter(|b| *b > 0 && *b < batch * 4) {
        let why = format!(
            "max_memory_usage = {bytes}, and an insert of a batch of up to {batch} bytes takes several times \
             that: it fails with code 241 and is tried again"
        );
        harmful.push(("max_memory_usage", why));
    }
    let lanes = u64::from(own.pipeline.consumers);
    let queries = number("max_concurrent_queries_for_user");
    if let Some(queries) = queries.filter(|queries| *queries > 0 && *queries <= lanes) {
        let why = format!(
            "max_concurrent_queries_for_user = {queries}, and {lanes} consumers insert and ask at the same time: \
             some are refused with code 202 and tried again"
        );
        harmful.push(("max_concurrent_queries_for_user", why));
    }
    if number("materialized_views_ignore_errors") == Some(1) {
        let why = "materialized_views_ignore_errors = 1: views below the table lack rows without an error";
        harmful.push(("materialized_views_ignore_errors", why.to_owned()));
    }
    let is_made = matches!(&own.pipeline.kind, Kind::Cdc(cdc) if cdc.create_tables);
    if is_made && number("allow_ddl") == Some(0) {
        let why = "allow_ddl = 0: tables and columns of replicas cannot be made";
        harmful.push(("allow_ddl", why.to_owned()));
    }
    harmful
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    fn with(name: &str, setting: Setting) -> Facts {
        let mut facts = enrichment();
        server(&mut facts).settings.insert(name.to_owned(), setting);
        facts
    }

    fn value(value: &str) -> Setting {
        Setting {
            value: value.to_owned(),
            is_changed: true,
            ..Setting::default()
        }
    }

    #[test]
    fn a_user_who_may_only_read_cannot_insert() {
        assert_silent("profile_limits", &with("readonly", value("0")));
        for readonly in ["1", "2"] {
            let finding = one("profile_limits", &with("readonly", value(readonly)));
            assert_eq!(finding.level, Error);
        }
    }

    #[test]
    fn a_setting_that_is_sent_must_be_the_users_to_change() {
        // A value of the profile is overridden.
        assert_silent("profile_limits", &with("insert_deduplicate", value("0")));
        let constant = |of: &str| Setting {
            is_readonly: true,
            ..value(of)
        };
        assert_silent("profile_limits", &with("insert_deduplicate", constant("1")));
        let finding = one("profile_limits", &with("insert_deduplicate", constant("0")));
        assert_eq!(finding.level, Error);
        assert!(finding.message.contains("insert_deduplicate = 0"));
        let bounded = Setting {
            min: Some("1000".to_owned()),
            ..value("5000")
        };
        assert!(
            one("profile_limits", &with("max_rows_to_read", bounded))
                .message
                .contains(">= 1000")
        );
    }

    #[test]
    fn what_is_not_overridden_is_a_warning_where_it_harms() {
        assert_silent(
            "profile_limits",
            &with("max_memory_usage", value("10000000000")),
        );
        for (name, of) in [
            ("max_memory_usage", "1000000"),
            ("max_concurrent_queries_for_user", "1"),
            ("materialized_views_ignore_errors", "1"),
        ] {
            assert_eq!(
                one("profile_limits", &with(name, value(of))).level,
                Warning,
                "{name}"
            );
        }
    }
}
