//! Records that name a schema of a registry, which the pipeline does not read.

use super::prelude::*;
use crate::inspect::doctor::facts::SampledRecord;

pub(super) fn judge(facts: &Facts, found: &mut Findings) {
    for (own, kafka) in with_kafka(facts) {
        if own.pipeline.kind.reads_frames() {
            continue;
        }
        for topic in &kafka.sources {
            let records = kafka.records.iter().filter(|record| record.topic == *topic);
            let mut framed = records.filter_map(|record| Some((record, schema_id(record)?)));
            let Some((record, id)) = framed.next() else {
                continue;
            };
            let count = 1 + framed.count();
            let address = record.address();
            found.add(
                Error,
                own.name(),
                &address,
                format!(
                    "{count} records of the sample begin with the id of a schema in a registry, as {address} with \
                     id {id}, and the pipeline reads no such records: they become dead letters, or halt it"
                ),
                "set pipeline.format = \"avro\", \"protobuf\" or \"json_schema\" with [schema_registry], or have \
                 the producer or the connector write JSON (value.converter = \
                 org.apache.kafka.connect.json.JsonConverter)",
            );
        }
    }
}

/// A zero byte and four bytes of id before something that is no JSON.
fn schema_id(record: &SampledRecord) -> Option<u32> {
    let value = record.value.as_deref()?;
    let (magic, rest) = value.split_first()?;
    let id = rest.first_chunk::<4>()?;
    (*magic == 0).then(|| u32::from_be_bytes(*id))
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;

    #[test]
    fn a_value_with_a_schema_id_in_front_is_no_json() {
        let mut facts = enrichment();
        let record = |value: &[u8]| SampledRecord {
            topic: "user-events".to_owned(),
            partition: 0,
            offset: 5,
            timestamp_ms: NOW_MS,
            key: None,
            value: Some(value.to_vec()),
            headers: vec![],
        };
        kafka_of(&mut facts).records = vec![record(b"{}"), record(b""), record(b"\0\0")];
        assert_silent("schema_missing", &facts);
        kafka_of(&mut facts)
            .records
            .push(record(b"\0\0\0\0\x2aabc"));
        let finding = one("schema_missing", &facts);
        assert_eq!((finding.level, &*finding.place), (Error, "user-events:0:5"));
        assert!(finding.message.contains("id 42"));
    }
}
