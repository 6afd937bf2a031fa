//! What a topic forgets: its `cleanup.policy`.

use std::time::Duration;

use streamweir_kafka::{Admin, RequestError};

use super::client::admin_client;
use crate::config::Kafka;
use crate::halt::Halt;

/// Asks for a topic's `cleanup.policy`; `None` where the user may not know.
///
/// # Errors
/// The broker does not answer, or does not know the topic.
pub(crate) async fn cleanup_policy(
    kafka: &Kafka,
    topic: &str,
    timeout: Duration,
) -> Result<Option<String>, RequestError> {
    let admin = Admin::new(&admin_client(kafka, "cleanup-policy"))?;
    match admin.properties(topic, timeout).await {
        Ok(mut properties) => Ok(properties.remove("cleanup.policy")),
        Err(error) if error.is_missing_right() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why a topic of this policy cannot be the table side of a join: it forgets keys that have not changed.
pub(crate) fn table_refusal(topic: &str, policy: &str) -> Option<Halt> {
    if policy.split(',').any(|part| part.trim() == "compact") {
        return None;
    }
    let advice = format!(
        "topic {topic} has cleanup.policy = {policy}: it deletes records by age or size without compacting, \
         so as a table (pipeline.join.before = \"unlimited\") it loses the profiles of keys that have not \
         changed for that long: set cleanup.policy = compact on the topic, or \
         pipeline.join.retention_accepted = true if that is meant"
    );
    Some(Halt::new("table_retention", advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_compacted_topic_keeps_the_profiles_of_a_table() {
        for policy in ["compact", "compact,delete", "delete, compact"] {
            assert!(table_refusal("p", policy).is_none(), "{policy}");
        }
        let halt = table_refusal("profiles", "delete").expect("it forgets");
        for words in ["profiles", "cleanup.policy = delete", "retention_accepted"] {
            assert!(halt.advice.contains(words), "{words}: {}", halt.advice);
        }
    }
}
