//! A topic is not as `[topics]` declares it.

use super::prelude::*;
use crate::topics::Change;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for difference in facts.differences.iter().flatten() {
        let topic = &difference.topic;
        for change in &difference.changes {
            let (message, advice) = match change {
                Change::Refused { key, advice } => (
                    format!("topic {topic} is not as [topics.\"{topic}\"] declares it: {key}"),
                    advice.clone(),
                ),
                Change::Create(_) => (
                    format!("topic {topic} is declared and does not exist"),
                    "create it with `streamweir topics apply`".to_owned(),
                ),
                change => (
                    format!("topic {topic} is not as [topics.\"{topic}\"] declares it: {change}"),
                    "run `streamweir topics plan` and `apply`, or declare what it is".to_owned(),
                ),
            };
            found.add_of_process(Warning, topic, message, advice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::topics::{Change, Difference};

    #[test]
    fn each_difference_from_what_is_declared_is_a_warning() {
        let mut facts = enrichment();
        assert_silent("topic_differs", &facts);
        let changes = vec![
            Change::Set {
                property: "retention.ms".to_owned(),
                from: "1".to_owned(),
                to: "604800000".to_owned(),
            },
            Change::Refused {
                key: "partitions".to_owned(),
                advice: "declare 6".to_owned(),
            },
        ];
        let topic = "user-events".to_owned();
        facts.differences = Some(vec![Difference { topic, changes }]);
        let found = found("topic_differs", &facts);
        assert_eq!(found.len(), 2);
        assert!(
            found
                .iter()
                .all(|f| f.level == Warning && f.place == "user-events")
        );
        assert!(
            found[0].message.contains("retention.ms 1 -> 604800000"),
            "{found:?}"
        );
        assert_eq!(found[1].advice, "declare 6");
    }
}
