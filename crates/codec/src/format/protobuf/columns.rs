//! The columns of a new table for the messages of a schema.

use super::schema::{Field, Kind, ProtobufSchema, Shape, WellKnown};
use crate::format::columns::{Chosen, Columns, FLAT_DEPTH_MAX, SchemaColumn};

impl ProtobufSchema {
    /// A column for each field of the message at this place of the file, and for those of messages inside it;
    /// `None`: there is no message.
    #[must_use]
    pub fn columns(&self, place: &[i32]) -> Option<Vec<SchemaColumn>> {
        let root = self.root(place)?;
        let mut open = Open {
            schema: self,
            path: vec![],
            inside: vec![],
            columns: Columns::default(),
        };
        open.message(root, false);
        Some(open.columns.found)
    }

    /// The full name of the message at this place.
    #[must_use]
    pub fn message_name(&self, place: &[i32]) -> Option<&str> {
        Some(&self.message(self.root(place)?).name)
    }
}

/// Where the walk is.
struct Open<'s> {
    schema: &'s ProtobufSchema,
    path: Vec<String>,
    /// Messages that the place is inside of.
    inside: Vec<usize>,
    columns: Columns,
}

impl Open<'_> {
    fn message(&mut self, number: usize, may_be_absent: bool) {
        let schema = self.schema;
        self.inside.push(number);
        for field in &schema.message(number).fields {
            if self.columns.is_full() {
                break;
            }
            self.path.push(field.name.clone());
            self.field(field, may_be_absent);
            self.path.pop();
        }
        self.inside.pop();
    }

    fn field(&mut self, field: &Field, may_be_absent: bool) {
        let may_be_absent = may_be_absent || field.shape == Shape::Optional;
        let is_single = matches!(field.shape, Shape::Optional | Shape::Plain);
        if let (Kind::Message(number), true) = (&field.kind, is_single) {
            let is_plain = self.schema.message(*number).known.is_none();
            if is_plain && !self.inside.contains(number) && self.path.len() < FLAT_DEPTH_MAX {
                self.message(*number, may_be_absent);
                return;
            }
        }
        let chosen = match field.shape {
            Shape::Optional | Shape::Plain => self.chosen(&field.kind, false),
            Shape::Repeated => self.chosen(&field.kind, true).array(false),
            Shape::Map => self.map(&field.kind),
        };
        self.columns.push(&self.path, chosen, may_be_absent);
    }

    /// A map is a message of key and value.
    fn map(&self, kind: &Kind) -> Chosen {
        let Kind::Message(entry) = kind else {
            return Chosen::sure("JSON");
        };
        let value = self.schema.message(*entry).fields.iter();
        match value.clone().find(|field| field.number == 2) {
            Some(value) => self.chosen(&value.kind, true).map(false),
            None => Chosen::sure("JSON"),
        }
    }

    fn chosen(&self, kind: &Kind, is_inside: bool) -> Chosen {
        match kind {
            Kind::Double => Chosen::sure("Float64"),
            Kind::Float => Chosen::sure("Float32"),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Chosen::sure("Int32"),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Chosen::sure("Int64"),
            Kind::Uint32 | Kind::Fixed32 => Chosen::sure("UInt32"),
            Kind::Uint64 | Kind::Fixed64 => Chosen::sure("UInt64"),
            Kind::Bool => Chosen::sure("Bool"),
            Kind::Bytes if is_inside => Chosen::because("String", "bytes in base64"),
            Kind::String | Kind::Bytes => Chosen::sure("String"),
            Kind::Enum(_) => Chosen::sure("LowCardinality(String)"),
            Kind::Group => Chosen::because("String", "a group, which is not read"),
            Kind::Message(number) => {
                let message = self.schema.message(*number);
                match message.known {
                    None | Some(WellKnown::Struct) => Chosen::sure("JSON"),
                    Some(WellKnown::Timestamp) => Chosen::moment(9),
                    Some(WellKnown::Date) => Chosen::sure("Date32"),
                    Some(WellKnown::TimeOfDay) => Chosen::sure("Time64(9)"),
                    Some(WellKnown::Duration) => {
                        Chosen::because("String", "a duration, as ISO 8601 writes it")
                    }
                    Some(WellKnown::Wrapper) => match message.fields.first() {
                        Some(value) => self.chosen(&value.kind, true),
                        None => Chosen::sure("String"),
                    },
                    Some(WellKnown::Value | WellKnown::ListValue) => {
                        Chosen::text_of_json("a value of any kind: kept as JSON text")
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_inside_are_columns_of_their_own_and_what_may_be_absent_is_nullable() {
        let source = r#"syntax = "proto3"; package shop;
            import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto";
            import "google/protobuf/wrappers.proto"; import "google/protobuf/duration.proto";
            import "google/type/date.proto"; import "google/type/timeofday.proto";
            enum State { NEW = 0; OLD = 1; }
            message Order {
              int64 id = 1; optional double price = 2; State state = 3; google.protobuf.Timestamp at = 4;
              repeated bytes parts = 5; map<string, int32> counts = 6; map<string, Line> by_name = 7;
              Line line = 8; repeated Line lines = 9; google.protobuf.Int64Value n = 10;
              google.protobuf.Struct s = 11; google.protobuf.Value v = 12; google.protobuf.Duration d = 13;
              Order parent = 14; oneof one { bool ok = 15; bytes raw = 16; } repeated string tags = 17;
              fixed32 u = 18; float f = 19; repeated google.protobuf.Value any = 20;
              google.type.Date day = 21; google.type.TimeOfDay clock = 22; }
            message Line { string sku = 1; uint64 n = 2; Deep deep = 3; }
            message Deep { optional string note = 1; }"#;
        let schema = ProtobufSchema::from_source(source, &[]).unwrap();
        let columns = schema.columns(&[0]).unwrap();
        let seen: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}", column.path.join("."), column.type_name))
            .collect();
        let expected = [
            "id Int64",
            "price Nullable(Float64)",
            "state LowCardinality(String)",
            "at Nullable(DateTime64(9, 'UTC'))",
            "parts Array(String)",
            "counts Map(String, Int32)",
            "by_name JSON",
            "line.sku Nullable(String)",
            "line.n Nullable(UInt64)",
            "line.deep.note Nullable(String)",
            "lines Array(JSON)",
            "n Nullable(Int64)",
            "s JSON",
            "v Nullable(String)",
            "d Nullable(String)",
            "parent JSON",
            "ok Nullable(Bool)",
            "raw Nullable(String)",
            "tags Array(String)",
            "u UInt32",
            "f Float32",
            "any String",
            "day Nullable(Date32)",
            "clock Nullable(Time64(9))",
        ];
        assert_eq!(seen, expected);
        assert!(
            columns
                .iter()
                .all(|column| { crate::table::ColumnType::parse(&column.type_name).is_ok() })
        );
        assert_eq!(schema.message_name(&[1]), Some("shop.Line"));
        assert_eq!(schema.columns(&[7]), None);
    }
}
