//! `kind = "raw"`: the keys that only this kind has.

use std::collections::BTreeMap;

use super::columns::{self, ColumnMapping};
use super::record_field::RecordField;
use super::section::Section;
use super::value::Choice;
use crate::steps::PrivateFields;

/// The keys of a pipeline that writes every record as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raw {
    /// Columns that differ from what their name says.
    pub columns: BTreeMap<String, ColumnMapping>,
    /// Fields whose values are hidden.
    pub privacy: PrivateFields,
}

const FORMATS: Choice<&str> = Choice(&[
    ("json", "json"),
    ("avro", "avro"),
    ("protobuf", "protobuf"),
    ("json_schema", "json_schema"),
    ("csv", "csv"),
    ("string", "string"),
]);

impl Raw {
    pub(super) fn read(section: &mut Section<'_>) -> Raw {
        // For people: bytes are kept whatever they are, and a frame is told by its first byte.
        section.take("format", FORMATS);
        let raw = Raw {
            columns: columns::read(section.section("columns")),
            privacy: PrivateFields::default(),
        };
        raw.check_columns(section);
        raw
    }

    /// Whatever a record has, its row can be made.
    fn check_columns(&self, section: &Section<'_>) {
        for (column, mapping) in &self.columns {
            let key = |key: &str| format!("columns.{column}.{key}");
            if mapping.from.is_none() {
                let message = "is required with kind = \"raw\", which reads nothing in a record: \
                               { from = \"value\" } takes the whole value";
                section.problem(&key("from"), message);
                continue;
            }
            for (name, is_set) in [
                ("path", mapping.path.is_some()),
                ("required", mapping.required),
                ("unit", mapping.unit.is_some()),
                ("on_out_of_range", mapping.on_out_of_range.is_some()),
            ] {
                if is_set {
                    let message =
                        "must not be set with kind = \"raw\": it takes every record as it is";
                    section.problem(&key(name), message);
                }
            }
        }
    }

    /// What fills a column of this name, where anything does.
    #[must_use]
    pub fn field_of(&self, column: &str) -> Option<RecordField> {
        if let Some(mapping) = self.columns.get(column) {
            return mapping.from.clone();
        }
        let named = match column {
            "message_key" => Some(RecordField::Key),
            "message_value" => Some(RecordField::Value),
            "kafka_timestamp" => Some(RecordField::Timestamp),
            name if name.starts_with("header:") => None,
            name => RecordField::parse(name),
        };
        named.or_else(|| RecordField::of_column(column))
    }

    /// The columns among these with topic, partition and offset of the record that a row came from.
    ///
    /// # Errors
    /// What such a column could be called, where there is none.
    pub(crate) fn provenance<'c>(
        &self,
        columns: impl Iterator<Item = &'c str> + Clone,
    ) -> Result<[&'c str; 3], &'static str> {
        let of = |field: RecordField, or: &'static str| {
            let is_it = |column: &&str| self.field_of(column).as_ref() == Some(&field);
            columns.clone().find(is_it).ok_or(or)
        };
        Ok([
            of(RecordField::Topic, "topic")?,
            of(RecordField::Partition, "partition")?,
            of(RecordField::Offset, "offset")?,
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_filled_by_their_mapping_and_else_by_their_name() {
        let mapping = |from: &str| ColumnMapping {
            from: RecordField::parse(from),
            ..ColumnMapping::default()
        };
        let columns = [
            ("body", "value"),
            ("message_key", "header:id"),
            ("at", "offset"),
        ];
        let columns = columns.map(|(column, from)| (column.to_owned(), mapping(from)));
        let raw = Raw {
            columns: columns.into(),
            privacy: PrivateFields::default(),
        };
        let field = |column| raw.field_of(column).map(|field| field.name());
        for (column, expected) in [
            ("body", Some("value")),
            ("message_key", Some("header:id")),
            ("message_value", Some("value")),
            ("_value", Some("value")),
            ("kafka_timestamp", Some("timestamp")),
            ("timestamp_type", Some("timestamp_type")),
            ("schema_id", Some("schema_id")),
            ("headers", Some("headers")),
            ("header:id", None),
            ("ingestion_timestamp", None),
        ] {
            assert_eq!(field(column).as_deref(), expected, "{column}");
        }
        let named = ["body", "topic", "_partition", "at", "offset"];
        let provenance = raw.provenance(named.into_iter());
        assert_eq!(provenance, Ok(["topic", "_partition", "at"]));
        assert_eq!(
            raw.provenance(["topic", "at"].into_iter()),
            Err("partition")
        );
    }
}
