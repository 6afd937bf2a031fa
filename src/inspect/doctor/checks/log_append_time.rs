//! A column or the event time takes Kafka's timestamp, and the broker puts its own time there.

use super::prelude::*;
use crate::config::{RecordField, TimeField};

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let Some(what) = what_takes_it(own) else {
            continue;
        };
        for topic in &kafka.sources {
            let properties = kafka.topics.get(topic).map(|topic| &topic.properties);
            let kind = properties.and_then(|known| known.get("message.timestamp.type"));
            if kind.is_some_and(|kind| kind == "LogAppendTime") {
                found.add(
                    Warning,
                    own.name(),
                    topic,
                    format!(
                        "topic {topic} has message.timestamp.type = LogAppendTime: {what} is the time at which the \
                         broker took the record, not that of the event"
                    ),
                    format!(
                        "set message.timestamp.type=CreateTime on {topic} if the event's own time is meant"
                    ),
                );
            }
        }
    }
}

/// What is Kafka's timestamp: the event time, or a column.
fn what_takes_it(own: &PipelineFacts) -> Option<String> {
    let Kind::Enrichment(config) = &own.pipeline.kind else {
        return None;
    };
    if config.time_field == TimeField::KafkaTimestamp {
        return Some("the event time".to_owned());
    }
    let columns = own.tables().iter().flat_map(|table| &table.info.columns);
    let mut columns = columns.map(|column| &column.name);
    let takes_it = |name: &&String| match config.columns.get(*name) {
        Some(mapping) => mapping.from == Some(RecordField::Timestamp),
        None => RecordField::of_column(name) == Some(RecordField::Timestamp),
    };
    columns.find(takes_it).map(|name| format!("column {name}"))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::sink::ColumnInfo;

    const TOPIC: &str = "user-events";

    #[test]
    fn only_a_column_of_kafkas_timestamp_makes_it_matter() {
        let mut facts = enrichment();
        set(&mut facts, TOPIC, "message.timestamp.type", "LogAppendTime");
        assert_silent("log_append_time", &facts);
        table(&mut facts).info.columns.push(ColumnInfo {
            name: "_timestamp".to_owned(),
            type_name: "DateTime64(3)".to_owned(),
            default_kind: String::new(),
        });
        let finding = one("log_append_time", &facts);
        assert_eq!((finding.level, &*finding.place), (Warning, TOPIC));
        set(&mut facts, TOPIC, "message.timestamp.type", "CreateTime");
        assert_silent("log_append_time", &facts);
    }
}
