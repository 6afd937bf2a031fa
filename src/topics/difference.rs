//! What a cluster would have to change for its topics to be as declared: pure.

use std::collections::{BTreeMap, BTreeSet};

use super::movement;
use crate::config::{Config, DeclaredTopic};

/// A topic as the cluster has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Existing {
    pub(super) partitions: i32,
    /// Of the partition that has the fewest.
    pub(super) replication: i32,
    /// Every property with its value, defaults included.
    pub(super) properties: BTreeMap<String, String>,
}

/// What differs between a declared topic and the cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The topic.
    pub topic: String,
    /// In the order in which they are made; never empty.
    pub changes: Vec<Change>,
}

/// One step from what is to what is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The topic is missing.
    Create(DeclaredTopic),
    /// It has fewer partitions than declared.
    AddPartitions {
        /// It has so many.
        from: i32,
        /// It is to have so many.
        to: i32,
        /// What no longer holds in pipelines of the configuration once keys lie elsewhere.
        breaks: Vec<String>,
    },
    /// A property has another value.
    Set {
        /// As Kafka names it.
        property: String,
        /// What it is.
        from: String,
        /// What it is to be.
        to: String,
    },
    /// What is declared cannot be had, and why.
    Refused {
        /// The key that says so, within `[topics."name"]`.
        key: String,
        /// What to do about it.
        advice: String,
    },
}

/// The differences of every declared topic that has some.
pub(super) fn differences(
    config: &Config,
    existing: &BTreeMap<String, Existing>,
) -> Vec<Difference> {
    let topics = config.topics.iter().map(|declared| Difference {
        topic: declared.name.clone(),
        changes: match existing.get(&declared.name) {
            None => vec![Change::Create(declared.clone())],
            Some(existing) => {
                let breaks = movement::breaks(config, &declared.name);
                changes(declared, existing, breaks)
            }
        },
    });
    topics.filter(|topic| !topic.changes.is_empty()).collect()
}

fn changes(declared: &DeclaredTopic, existing: &Existing, breaks: Vec<String>) -> Vec<Change> {
    let mut changes = vec![];
    changes.extend(partitions(declared, existing, breaks));
    changes.extend(replication(declared, existing));
    for (property, to) in &declared.properties {
        changes.extend(match existing.properties.get(property) {
            Some(from) if same_value(property, from, to) => None,
            Some(from) => Some(Change::Set {
                property: property.clone(),
                from: from.clone(),
                to: to.clone(),
            }),
            None => Some(Change::Refused {
                key: format!("config.{property}"),
                advice: "the cluster knows no such property of a topic: correct its name"
                    .to_owned(),
            }),
        });
    }
    changes
}

fn partitions(
    declared: &DeclaredTopic,
    existing: &Existing,
    breaks: Vec<String>,
) -> Option<Change> {
    let (from, to) = (existing.partitions, declared.partitions);
    if to > from {
        return Some(Change::AddPartitions { from, to, breaks });
    }
    (to < from).then(|| Change::Refused {
        key: "partitions".to_owned(),
        advice: format!(
            "the topic has {from} partitions and {to} are declared: Kafka takes no partition away; \
             declare {from}, or make another topic and move over to it"
        ),
    })
}

fn replication(declared: &DeclaredTopic, existing: &Existing) -> Option<Change> {
    let (from, to) = (existing.replication, declared.replication?);
    (to != from).then(|| Change::Refused {
        key: "replication".to_owned(),
        advice: format!(
            "the topic has {from} replicas and {to} are declared: that moves data between brokers, \
             which kafka-reassign-partitions does under a throttle; declare {from} until it has"
        ),
    })
}

/// Brokers give values back in a spelling of their own.
fn same_value(property: &str, left: &str, right: &str) -> bool {
    let (left, right) = (left.trim(), right.trim());
    if left == right {
        return true;
    }
    if property == "cleanup.policy" {
        let policies = |text: &str| -> BTreeSet<String> {
            text.split(',').map(|p| p.trim().to_owned()).collect()
        };
        return policies(left) == policies(right);
    }
    if let (Ok(left), Ok(right)) = (left.parse::<i128>(), right.parse::<i128>()) {
        return left == right;
    }
    // A share such as 0.5 and 0.50.
    if let (Ok(left), Ok(right)) = (left.parse::<f64>(), right.parse::<f64>()) {
        return left == right;
    }
    let is_boolean = |text: &str| {
        ["true", "false"]
            .iter()
            .any(|b| text.eq_ignore_ascii_case(b))
    };
    is_boolean(left) && left.eq_ignore_ascii_case(right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn existing(properties: &[(&str, &str)]) -> Existing {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        Existing {
            partitions: 3,
            replication: 2,
            properties: properties.iter().map(owned).collect(),
        }
    }

    fn declared(partitions: i32, properties: &[(&str, &str)]) -> DeclaredTopic {
        DeclaredTopic {
            name: "t".to_owned(),
            partitions,
            replication: None,
            properties: existing(properties).properties,
        }
    }

    #[test]
    fn other_spellings_of_a_value_are_no_difference() {
        for (property, left, right) in [
            ("cleanup.policy", "compact,delete", "delete, compact"),
            ("min.cleanable.dirty.ratio", "0.5", "0.50"),
            ("segment.ms", "5000", " 5000"),
            ("preallocate", "true", "TRUE"),
        ] {
            assert!(same_value(property, left, right), "{property}");
        }
        for (property, left, right) in [
            ("cleanup.policy", "compact,delete", "compact"),
            ("segment.ms", "9007199254740993", "9007199254740992"),
            ("segment.ms", "-1", "1"),
            ("compression.type", "ZSTD", "zstd"),
        ] {
            assert!(!same_value(property, left, right), "{property}");
        }
    }

    #[test]
    fn what_is_not_declared_is_not_compared() {
        let found = existing(&[("retention.ms", "1"), ("segment.ms", "2")]);
        assert_eq!(
            changes(&declared(3, &[("segment.ms", "2")]), &found, vec![]),
            []
        );
    }

    #[test]
    fn fewer_partitions_another_replication_and_unknown_properties_are_refused() {
        let mut wanted = declared(2, &[("segment.mss", "2")]);
        wanted.replication = Some(3);
        let changes = changes(&wanted, &existing(&[]), vec![]);
        let refused = changes.iter().map(|change| match change {
            Change::Refused { key, .. } => key.as_str(),
            other => panic!("{other:?}"),
        });
        let keys = ["partitions", "replication", "config.segment.mss"];
        assert_eq!(refused.collect::<Vec<_>>(), keys);
    }
}
