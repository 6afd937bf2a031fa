//! What outlives a partition's owner: its watermark, its sessions, and the keys that it has seen.

use std::fmt::Write as _;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::plan::{EventTime, Field, RowPlan};
use super::{EnrichmentOperator, PartitionState};
use crate::config::{Dedup, Enrichment};
use crate::lane::{Operator as _, SnapshotSpec};
use crate::operator::{SeenKeys, Sessions, Unreadable};
use crate::source::TopicPartition;

/// What the state of this pipeline depends on; `None` without sessions and keys.
pub(crate) fn snapshot_spec(config: &Enrichment, plan: &RowPlan) -> Option<SnapshotSpec> {
    let sessions = session_rules(config, plan);
    let dedup = config.dedup.as_ref();
    let dedup = dedup.map(|dedup| {
        let time = match (&plan.time, config.time_field.field()) {
            (Some(EventTime::Field(time)), Some(name)) => {
                format!("{name} {}", type_of(config, plan, time))
            }
            (_, _) => "Kafka".to_owned(),
        };
        (dedup_rules(dedup, config, &time), dedup.within)
    });
    let rules = match (&sessions, &dedup) {
        (None, None) => return None,
        (Some((sessions, _)), None) => sessions.clone(),
        (None, Some((dedup, _))) => dedup.clone(),
        (Some((sessions, _)), Some((dedup, _))) => format!("{sessions}{dedup}"),
    };
    let reach = sessions
        .iter()
        .chain(&dedup)
        .map(|(_, reach)| *reach)
        .max()?;
    Some(SnapshotSpec {
        fingerprint: format!("{:x}", Sha256::digest(rules)),
        horizon: reach + config.watermark_delay + config.timestamp_ahead_max,
    })
}

/// What the keys that were seen depend on; `time`: which field has the event time, and its type.
fn dedup_rules(dedup: &Dedup, config: &Enrichment, time: &str) -> String {
    let mut rules = format!(
        "dedup 2 {:?} within {}\nwatermark_delay {}\ntimestamp_ahead_max {}\ntime {time}\n",
        dedup.key,
        dedup.within.as_millis(),
        config.watermark_delay.as_millis(),
        config.timestamp_ahead_max.as_millis(),
    );
    if let Some(unit) = config.time_unit {
        writeln!(rules, "time_unit {unit:?}").expect("memory takes every text");
    }
    if let Some(texts) = &config.text_times {
        writeln!(rules, "{texts}").expect("memory takes every text");
    }
    let decisive = config.rules.decisive();
    if !decisive.is_empty() {
        writeln!(rules, "rules {decisive}").expect("memory takes every text");
    }
    // A duplicate is an earlier record whatever becomes of it, and counts in a session only where it is written.
    if config.session.is_some() {
        let on_duplicate = dedup.on_duplicate;
        writeln!(rules, "on_duplicate {on_duplicate:?}").expect("memory takes every text");
    }
    rules
}

/// The type by which values of a field are told apart, with what its column says of where they are, of what numbers
/// are, and of what stands in for none.
fn type_of(config: &Enrichment, plan: &RowPlan, field: &Field) -> String {
    let Field::Column(index) = field else {
        return "JSON".to_owned();
    };
    let column = plan.event_columns[*index].column();
    let mut kind = column.column_type.to_string();
    let Some(mapping) = config.columns.get(&column.name) else {
        return kind;
    };
    if let Some(unit) = mapping.unit {
        write!(kind, " unit {unit:?}").expect("memory takes every text");
    }
    let own = format!("$.{}", column.name);
    if let Some(path) = mapping.path.as_ref().filter(|path| **path != own) {
        write!(kind, " path {path}").expect("memory takes every text");
    }
    if let Some(default) = &mapping.default {
        write!(kind, " default {default:?}").expect("memory takes every text");
    }
    kind
}

/// What sessions depend on, and how far back they reach.
fn session_rules(config: &Enrichment, plan: &RowPlan) -> Option<(String, Duration)> {
    let (session, planned) = (config.session.as_ref()?, plan.session.as_ref()?);
    // Every value that decides what a session is, and the types by which values are told apart.
    let mut rules = format!(
        "sessions 1\ntimeout {}\nduration_max {}\nwatermark_delay {}\ntimestamp_ahead_max {}\n",
        session.timeout.as_millis(),
        session.duration_max.as_millis(),
        config.watermark_delay.as_millis(),
        config.timestamp_ahead_max.as_millis(),
    );
    let mut field = |role: &str, name: &str, field: &Field| {
        let kind = type_of(config, plan, field);
        writeln!(rules, "{role} {name} {kind}").expect("memory takes every text");
    };
    match (&plan.time, config.time_field.field()) {
        (Some(EventTime::Field(time)), Some(name)) => field("time", name, time),
        (_, _) => field("time", "Kafka", &Field::Slot(0)),
    }
    field("key", &session.key_field, &planned.key);
    if let (Some(name), Some(distinct)) = (&session.distinct_field, &planned.distinct) {
        field("distinct", name, distinct);
    }
    for ((name, value), (planned, _)) in session.distinct_where.iter().zip(&planned.distinct_where)
    {
        field(&format!("where {value:?}"), name, planned);
    }
    if let Some(unit) = config.time_unit {
        writeln!(rules, "time_unit {unit:?}").expect("memory takes every text");
    }
    if let Some(texts) = &config.text_times {
        writeln!(rules, "{texts}").expect("memory takes every text");
    }
    let decisive = config.rules.decisive();
    if !decisive.is_empty() {
        writeln!(rules, "rules {decisive}").expect("memory takes every text");
    }
    Some((rules, session.duration_max + session.timeout))
}

impl PartitionState {
    pub(super) fn save(&self, out: Vec<u8>) -> Vec<u8> {
        let largest_ms = self.watermark.largest_ms();
        let saved = postcard::to_extend(&largest_ms, out).expect("memory takes every value");
        let saved = match &self.seen {
            Some(seen) => seen.save(saved),
            None => saved,
        };
        match &self.sessions {
            Some(sessions) => sessions.save(saved),
            None => saved,
        }
    }
}

impl EnrichmentOperator {
    pub(super) fn restored(
        &mut self,
        partition: &TopicPartition,
        saved: &[u8],
    ) -> Result<PartitionState, Unreadable> {
        let mut state = self.begin(partition);
        let (largest_ms, mut rest) = postcard::take_from_bytes::<Option<i64>>(saved)?;
        if let Some(largest_ms) = largest_ms {
            state.watermark.observe(largest_ms);
        }
        if let Some(planned) = &self.plan.dedup {
            let (seen, behind) = SeenKeys::restore(planned.rules, rest)?;
            (state.seen, rest) = (Some(seen), behind);
        }
        if let Some(planned) = &self.plan.session {
            state.sessions = Some(Sessions::restore(planned.rules, rest)?);
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Kind};
    use crate::sink::ColumnInfo;

    /// A pipeline with these keys and sections.
    fn enrichment(keys: &str, more: &str) -> Enrichment {
        let text = format!(
            "[[pipeline]]\nname = \"p\"\nkind = \"enrichment\"\ntopics = [\"t\"]\ngroup_id = \"g\"\n\
             time_field = \"time\"\n{keys}\n[pipeline.clickhouse]\ntable = \"t\"\n[pipeline.dedup]\n\
             key = [\"$.id\"]\nwithin = \"1h\"\n{more}\n"
        );
        let loaded = Config::parse(&text, "config.toml", Path::new("/"), []);
        let loaded = loaded.unwrap_or_else(|problems| panic!("{text}: {problems}"));
        let Kind::Enrichment(config) = &loaded.config.pipelines[0].kind else {
            panic!("an enrichment");
        };
        Enrichment::clone(config)
    }

    /// The rules of its keys.
    fn rules(keys: &str, more: &str, time: &str) -> String {
        let config = enrichment(keys, more);
        dedup_rules(config.dedup.as_ref().unwrap(), &config, time)
    }

    fn fingerprint(more: &str) -> String {
        let config = enrichment("", more);
        let columns = [("id", "String"), ("time", "DateTime64(3)"), ("n", "UInt32")];
        let columns = columns.map(|(name, type_name)| ColumnInfo {
            name: name.to_owned(),
            type_name: type_name.to_owned(),
            default_kind: String::new(),
        });
        let plan = RowPlan::new(&config, &columns, false).unwrap();
        snapshot_spec(&config, &plan).unwrap().fingerprint
    }

    #[test]
    fn the_unit_of_the_column_of_times_is_a_rule_of_what_is_kept() {
        let session = "[pipeline.session]\nkey_field = \"id\"\ncount_column = \"n\"\n";
        for more in ["", session] {
            let of = |unit: &str| fingerprint(&format!("{more}[pipeline.columns]\n{unit}"));
            let (plain, seconds) = (of(""), of("time = { unit = \"s\" }"));
            assert_eq!(plain, fingerprint(more));
            assert_ne!(seconds, plain);
            assert_ne!(seconds, of("time = { unit = \"ms\" }"));
        }
    }

    #[test]
    fn where_the_value_of_a_deciding_column_is_and_what_stands_in_for_it_are_rules_of_what_is_kept()
    {
        let session =
            "[pipeline.session]\nkey_field = \"id\"\ncount_column = \"n\"\n[pipeline.columns]\n";
        let of = |column: &str| fingerprint(&format!("{session}{column}"));
        let plain = of("");
        assert_eq!(of("id = \"$.id\""), plain);
        assert_eq!(of("id = { required = true }"), plain);
        assert_ne!(of("id = \"$.user.id\""), plain);
        assert_ne!(of("id = { default = \"nobody\" }"), plain);
        assert_ne!(of("time = \"$.at\""), plain);
    }

    #[test]
    fn keys_are_those_of_times_that_were_read_alike() {
        let here = rules("", "", "time JSON");
        for (keys, more, time) in [
            ("time_zone = \"Europe/Berlin\"", "", "time JSON"),
            ("timestamp_ahead_max = \"2h\"", "", "time JSON"),
            ("watermark_delay = \"2m\"", "", "time JSON"),
            ("", "", "time DateTime"),
            ("", "", "Kafka"),
        ] {
            assert_ne!(rules(keys, more, time), here, "{keys} {more} {time}");
        }
        let refused = rules("", "on_duplicate = \"dead_letter\"", "time JSON");
        assert_eq!(
            refused, here,
            "what becomes of a duplicate decides about no other"
        );
    }
}
