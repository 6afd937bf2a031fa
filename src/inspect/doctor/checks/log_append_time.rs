//! A column takes Kafka's timestamp, and the broker puts its own time there.

use super::prelude::*;

/// The column that Kafka's timestamp fills.
const COLUMN: &str = "_timestamp";

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        let is_mapped = |table: &TableFacts| {
            let columns = table.info.columns.iter();
            columns.clone().any(|column| column.name == COLUMN)
        };
        let time_field = match &own.pipeline.kind {
            Kind::Enrichment(config) => Some(&*config.time_field),
            Kind::Aggregation(config) => Some(&*config.time_field),
            Kind::Cdc(_) | Kind::StreamJoin(_) => None,
        };
        let is_meant = time_field == Some(COLUMN) || own.tables().iter().any(is_mapped);
        for topic in kafka.sources.iter().filter(|_| is_meant) {
            let kind = kafka.topics.get(topic).and_then(|t| t.properties.get("message.timestamp.type"));
            if kind.is_some_and(|kind| kind == "LogAppendTime") {
                found.add(
                    Warning,
                    own.name(),
                    topic,
                    format!(
                        "topic {topic} has message.timestamp.type = LogAppendTime: column {COLUMN} gets the time \
                         at which the broker took the record, not that of the event"
                    ),
                    format!("set message.timestamp.type=CreateTime on {topic} if the event's own time is meant"),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use crate::sink::ColumnInfo;

    #[test]
    fn only_a_column_of_kafkas_timestamp_makes_it_matter() {
        let mut facts = enrichment();
        set(&mut facts, "user-events", "message.timestamp.type", "LogAppendTime");
        assert_silent("log_append_time", &facts);
        table(&mut facts).info.columns.push(ColumnInfo {
            name: "_timestamp".to_owned(),
            type_name: "DateTime64(3)".to_owned(),
            default_kind: String::new(),
        });
        let finding = one("log_append_time", &facts);
        assert_eq!((finding.level, &*finding.place), (Warning, "user-events"));
        set(&mut facts, "user-events", "message.timestamp.type", "CreateTime");
        assert_silent("log_append_time", &facts);
    }
}
