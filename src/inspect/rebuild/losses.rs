//! Rows of the live table that the rebuilt one cannot have: pure.

use std::collections::BTreeMap;

use super::plan::Plan;
use crate::source::TopicPartition;

/// Partitions that a message names.
const NAMED_MAX: usize = 10;

/// The first offset of a partition whose rows a table has, as the server says it.
#[derive(Debug)]
pub(super) struct First {
    pub(super) topic: String,
    pub(super) partition: String,
    pub(super) offset: String,
}

/// Where the rebuilt table begins in each partition; one that the plan does not know yet is read from `lows`.
pub(super) fn begins(
    plan: &Plan,
    lows: &[(TopicPartition, i64)],
) -> BTreeMap<(String, String), i64> {
    let named =
        |partition: &TopicPartition| (partition.topic.to_string(), partition.partition.to_string());
    let mut begins: BTreeMap<_, _> = lows.iter().map(|(p, low)| (named(p), *low)).collect();
    begins.extend(plan.ranges().map(|(p, (from, _))| (named(&p), from)));
    begins
}

/// Partitions of which the table has rows that the plan does not cover.
pub(super) fn outside(begins: &BTreeMap<(String, String), i64>, firsts: &[First]) -> Vec<String> {
    let lost = |first: &First| {
        let key = (first.topic.clone(), first.partition.clone());
        let place = format!("{}:{}", first.topic, first.partition);
        match (begins.get(&key), first.offset.parse::<i64>()) {
            (Some(from), Ok(offset)) if offset >= *from => None,
            (Some(from), _) => Some(format!(
                "{place} from offset {} (it would begin at {from})",
                first.offset
            )),
            (None, _) => Some(format!("{place} (the pipeline does not read it)")),
        }
    };
    firsts.iter().filter_map(lost).collect()
}

/// Partitions of a replica whose keys may have their last change before the plan begins.
pub(super) fn cut_replicas(plan: &Plan, partitions: &[TopicPartition]) -> Vec<String> {
    let is_cut = |(partition, (from, _)): (TopicPartition, (i64, i64))| {
        let is_own = partitions.contains(&partition);
        (is_own && from > 0).then(|| format!("{partition} before offset {from}"))
    };
    plan.ranges().filter_map(is_cut).collect()
}

/// Why the tables are not exchanged.
pub(super) fn refusal(table: &str, lost: &[String]) -> String {
    let named: Vec<&str> = lost.iter().take(NAMED_MAX).map(String::as_str).collect();
    let more = match lost.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and of {more} more partitions"),
    };
    format!(
        "table {table} has rows, or may have, that the rebuilt one would lack: of {}{more}; nothing was stopped; with \
         --accept-missing-rows both tables are exchanged all the same, and the old one is kept",
        named.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }

    fn plan() -> Plan {
        let mut plan = Plan::new("p", "g", "1f", None);
        plan.set(&partition("a", 0), 5, 10);
        plan.set(&partition("a", 1), 0, 10);
        plan
    }

    #[test]
    fn rows_before_the_plan_or_of_other_partitions_are_found() {
        let begins = begins(&plan(), &[(partition("a", 0), 2), (partition("a", 2), 0)]);
        for (topic, number, offset, is_lost) in [
            ("a", "0", "5", false),
            ("a", "0", "4", true),
            ("a", "1", "0", false),
            ("a", "2", "0", false),
            ("a", "3", "0", true),
            ("b", "0", "7", true),
            ("", "0", "7", true),
            ("a", "0", "", true),
        ] {
            let first = First {
                topic: topic.to_owned(),
                partition: number.to_owned(),
                offset: offset.to_owned(),
            };
            let lost = outside(&begins, &[first]);
            assert_eq!(
                lost.len(),
                usize::from(is_lost),
                "{topic}:{number}:{offset}"
            );
        }
    }

    #[test]
    fn a_replica_lacks_keys_where_its_log_lacks_its_beginning() {
        let both = [partition("a", 0), partition("a", 1)];
        assert_eq!(cut_replicas(&plan(), &both).len(), 1);
        assert!(cut_replicas(&plan(), &both[1..]).is_empty());
        let lost: Vec<String> = (0..12).map(|n| format!("a:{n}")).collect();
        let text = refusal("t", &lost);
        assert!(
            text.contains("a:9 and of 2 more") && text.contains("--accept-missing-rows"),
            "{text}"
        );
    }
}
