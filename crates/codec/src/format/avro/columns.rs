//! The columns of a new table for the records of a writer's schema.

use apache_avro::Schema as Parsed;
use apache_avro::schema::UuidSchema;

use super::schema::{Named, Schema, SchemaError};
use crate::format::columns::{Chosen, Columns, FLAT_DEPTH_MAX, SchemaColumn};

/// Arrays inside arrays.
const ARRAYS_MAX: usize = 4;

impl Schema {
    /// A column for each field, and for those of records inside the record.
    ///
    /// # Errors
    /// The top level is no record.
    pub fn columns(&self) -> Result<Vec<SchemaColumn>, SchemaError> {
        self.check_record()?;
        let mut columns = Columns::default();
        self.with_parsed(|schema, named| {
            let mut open = Open {
                named,
                path: vec![],
                inside: vec![],
                columns: &mut columns,
            };
            open.record(schema, false);
        })?;
        Ok(columns.found)
    }
}

/// Where the walk is.
struct Open<'s, 'c> {
    named: &'s Named<'s>,
    path: Vec<String>,
    /// Names of the records that the place is inside of.
    inside: Vec<String>,
    columns: &'c mut Columns,
}

impl<'s> Open<'s, '_> {
    fn record(&mut self, schema: &'s Parsed, may_be_absent: bool) {
        let Parsed::Record(record) = self.resolved(schema) else {
            return;
        };
        self.inside.push(record.name.fullname(None));
        for field in &record.fields {
            if self.columns.is_full() {
                break;
            }
            self.path.push(field.name.clone());
            self.field(&field.schema, may_be_absent);
            self.path.pop();
        }
        self.inside.pop();
    }

    fn field(&mut self, schema: &'s Parsed, may_be_absent: bool) {
        let (branch, has_null) = self.branch(schema);
        let may_be_absent = may_be_absent || has_null;
        if let Some(inner @ Parsed::Record(record)) = branch {
            let is_inside_itself = self.inside.contains(&record.name.fullname(None));
            if !is_inside_itself && self.path.len() < FLAT_DEPTH_MAX {
                self.record(inner, may_be_absent);
                return;
            }
        }
        let chosen = self.chosen(branch, 0);
        let path = std::mem::take(&mut self.path);
        self.columns.push(&path, chosen, may_be_absent);
        self.path = path;
    }

    /// The one branch that is not null, and whether null is another; none where there are several.
    fn branch(&self, schema: &'s Parsed) -> (Option<&'s Parsed>, bool) {
        let schema = self.resolved(schema);
        let Parsed::Union(union) = schema else {
            return (Some(schema), matches!(schema, Parsed::Null));
        };
        let branches = union.variants().iter();
        let has_null = branches
            .clone()
            .any(|branch| matches!(branch, Parsed::Null));
        let mut others = branches.filter(|branch| !matches!(branch, Parsed::Null));
        match (others.next(), others.next()) {
            (Some(only), None) => (Some(self.resolved(only)), has_null),
            (None, _) => (Some(&Parsed::Null), true),
            _ => (None, has_null),
        }
    }

    fn resolved(&self, schema: &'s Parsed) -> &'s Parsed {
        match schema {
            Parsed::Ref { name } => {
                let found = self.named.get(&name.fullname(None));
                found.copied().unwrap_or(schema)
            }
            own => own,
        }
    }

    fn chosen(&self, schema: Option<&'s Parsed>, arrays: usize) -> Chosen {
        let Some(schema) = schema else {
            return Chosen::text_of_json("a union of several types: kept as JSON text");
        };
        let local = |digits| Chosen {
            why: Some("a time without zone".to_owned()),
            ..Chosen::moment(digits)
        };
        match schema {
            Parsed::Null => Chosen::because("String", "always null"),
            Parsed::Boolean => Chosen::sure("Bool"),
            Parsed::Int => Chosen::sure("Int32"),
            Parsed::Long => Chosen::sure("Int64"),
            Parsed::Float => Chosen::sure("Float32"),
            Parsed::Double => Chosen::sure("Float64"),
            Parsed::Bytes if arrays > 0 => Chosen::because("String", "bytes in base64"),
            Parsed::Fixed(_) if arrays > 0 => Chosen::because("String", "bytes in base64"),
            Parsed::Fixed(fixed) if fixed.size > 0 => {
                Chosen::sure(format!("FixedString({})", fixed.size))
            }
            Parsed::Bytes | Parsed::String | Parsed::Fixed(_) => Chosen::sure("String"),
            Parsed::Enum(_) => Chosen::sure("LowCardinality(String)"),
            Parsed::Uuid(UuidSchema::String | UuidSchema::Bytes | UuidSchema::Fixed(_)) => {
                Chosen::sure("UUID")
            }
            Parsed::Decimal(decimal) => Chosen::decimal(decimal.precision, decimal.scale),
            Parsed::BigDecimal => Chosen::text_of_json("a decimal of any size: kept as its text"),
            Parsed::Date => Chosen::sure("Date32"),
            Parsed::TimeMillis => Chosen::sure("Time64(3)"),
            Parsed::TimeMicros => Chosen::sure("Time64(6)"),
            Parsed::TimestampMillis => Chosen::moment(3),
            Parsed::TimestampMicros => Chosen::moment(6),
            Parsed::TimestampNanos => Chosen::moment(9),
            Parsed::LocalTimestampMillis => local(3),
            Parsed::LocalTimestampMicros => local(6),
            Parsed::LocalTimestampNanos => local(9),
            Parsed::Duration(_) => Chosen::because("String", "a duration, as ISO 8601 writes it"),
            Parsed::Record(_) => Chosen::sure("JSON"),
            Parsed::Array(_) | Parsed::Map(_) if arrays >= ARRAYS_MAX => {
                Chosen::text_of_json("arrays inside arrays: kept as JSON text")
            }
            Parsed::Array(array) => {
                let (branch, has_null) = self.branch(&array.items);
                self.chosen(branch, arrays + 1).array(has_null)
            }
            Parsed::Map(map) => {
                let (branch, has_null) = self.branch(&map.types);
                self.chosen(branch, arrays + 1).map(has_null)
            }
            Parsed::Union(_) | Parsed::Ref { .. } => {
                Chosen::text_of_json("a union of several types: kept as JSON text")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_a_column_of_its_type_and_fields_of_records_inside_are_too() {
        let text = r#"{"type":"record","name":"Order","namespace":"shop","fields":[
            {"name":"id","type":"long"},{"name":"n","type":["null","int"]},{"name":"f","type":"float"},
            {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},
            {"name":"seen","type":["null",{"type":"long","logicalType":"timestamp-millis"}]},
            {"name":"local","type":{"type":"long","logicalType":"local-timestamp-millis"}},
            {"name":"price","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
            {"name":"wide","type":{"type":"bytes","logicalType":"decimal","precision":90,"scale":2}},
            {"name":"day","type":{"type":"int","logicalType":"date"}},
            {"name":"hour","type":{"type":"int","logicalType":"time-millis"}},
            {"name":"key","type":{"type":"string","logicalType":"uuid"}},
            {"name":"hash","type":{"type":"fixed","name":"Hash","size":16}},
            {"name":"state","type":{"type":"enum","name":"State","symbols":["A","B"]}},
            {"name":"before","type":["null","State"]},
            {"name":"tags","type":{"type":"array","items":["null","string"]}},
            {"name":"rows","type":{"type":"array","items":{"type":"record","name":"Row","fields":[
                {"name":"x","type":"int"}]}}},
            {"name":"meta","type":{"type":"map","values":"long"}},
            {"name":"rest","type":{"type":"map","values":["int","string"]}},
            {"name":"either","type":["null","int","string"]},
            {"name":"place","type":["null",{"type":"record","name":"Place","fields":[
                {"name":"city","type":"string"},{"name":"row","type":"Row"},
                {"name":"above","type":["null","Place"]}]}]},
            {"name":"took","type":{"type":"fixed","name":"D","size":12,"logicalType":"duration"}},
            {"name":"nothing","type":"null"}]}"#;
        let columns = Schema::parse(text).unwrap().columns().unwrap();
        let seen: Vec<String> = columns
            .iter()
            .map(|column| format!("{} {}", column.path.join("."), column.type_name))
            .collect();
        let expected = [
            "id Int64",
            "n Nullable(Int32)",
            "f Float32",
            "at DateTime64(6, 'UTC')",
            "seen Nullable(DateTime64(3, 'UTC'))",
            "local DateTime64(3, 'UTC')",
            "price Decimal(9, 2)",
            "wide String",
            "day Date32",
            "hour Time64(3)",
            "key UUID",
            "hash FixedString(16)",
            "state LowCardinality(String)",
            "before LowCardinality(Nullable(String))",
            "tags Array(Nullable(String))",
            "rows Array(JSON)",
            "meta Map(String, Int64)",
            "rest JSON",
            "either Nullable(String)",
            "place.city Nullable(String)",
            "place.row.x Nullable(Int32)",
            "place.above JSON",
            "took String",
            "nothing Nullable(String)",
        ];
        assert_eq!(seen, expected);
        assert!(
            columns
                .iter()
                .all(|column| { crate::table::ColumnType::parse(&column.type_name).is_ok() })
        );
        let times = columns.iter().filter(|column| column.is_time);
        let times: Vec<&String> = times.map(|column| &column.path[0]).collect();
        assert_eq!(times, ["at", "local"]);
    }

    #[test]
    fn what_another_schema_defines_has_its_columns_too() {
        let money = r#"{"type":"record","name":"Money","namespace":"pay","fields":[
            {"name":"n","type":"long"}]}"#;
        let text = r#"{"type":"record","name":"R","fields":[{"name":"m","type":"pay.Money"}]}"#;
        let schema = Schema::parse_with(text, &[money.to_owned()]).unwrap();
        let columns = schema.columns().unwrap();
        assert_eq!(columns[0].path, ["m", "n"]);
        assert!(
            Schema::parse_with("\"long\"", &[])
                .unwrap()
                .columns()
                .is_err()
        );
    }
}
