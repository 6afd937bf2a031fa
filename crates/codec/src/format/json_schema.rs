//! JSON Schema: the columns of a new table for the records that it describes.

use serde_json::{Map, Value};

use super::SchemaError;
use super::columns::{Chosen, Columns, FLAT_DEPTH_MAX, SchemaColumn};

/// `$ref` that lead to `$ref`.
const REFERENCES_MAX: usize = 16;
/// Arrays inside arrays.
const ARRAYS_MAX: usize = 4;

/// A column for each property of the records, and for those of objects inside them.
///
/// # Errors
/// The text is no JSON, or describes no object with properties.
pub fn json_schema_columns(text: &str) -> Result<Vec<SchemaColumn>, SchemaError> {
    let root: Value = serde_json::from_str(text)
        .map_err(|error| SchemaError(format!("no JSON Schema: {error}")))?;
    let mut open = Open {
        root: &root,
        path: vec![],
        inside: vec![],
        columns: Columns::default(),
    };
    let top = open.meant(&root).0;
    let Some(properties) = top.and_then(|top| top.get("properties")?.as_object()) else {
        let why = "a JSON Schema whose top level is no object with properties";
        return Err(SchemaError(why.to_owned()));
    };
    open.properties(properties, required(top), false);
    Ok(open.columns.found)
}

/// Where the walk is.
struct Open<'s> {
    root: &'s Value,
    path: Vec<String>,
    /// The objects that the place is inside of.
    inside: Vec<*const Value>,
    columns: Columns,
}

fn required(schema: Option<&Value>) -> Vec<&str> {
    let list = schema.and_then(|schema| schema.get("required")?.as_array());
    list.into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect()
}

impl<'s> Open<'s> {
    fn properties(
        &mut self,
        properties: &'s Map<String, Value>,
        required: Vec<&str>,
        may_be_absent: bool,
    ) {
        for (name, schema) in properties {
            if self.columns.is_full() {
                break;
            }
            self.path.push(name.clone());
            self.property(schema, may_be_absent || !required.contains(&&**name));
            self.path.pop();
        }
    }

    fn property(&mut self, schema: &'s Value, may_be_absent: bool) {
        let (meant, has_null) = self.meant(schema);
        let may_be_absent = may_be_absent || has_null;
        let properties = meant.and_then(|meant| meant.get("properties")?.as_object());
        if let (Some(meant), Some(properties)) = (meant, properties) {
            let place = std::ptr::from_ref(meant);
            if !self.inside.contains(&place) && self.path.len() < FLAT_DEPTH_MAX {
                self.inside.push(place);
                self.properties(properties, required(Some(meant)), may_be_absent);
                self.inside.pop();
                return;
            }
        }
        let chosen = self.chosen(meant, 0);
        self.columns.push(&self.path, chosen, may_be_absent);
    }

    /// What a schema leads to, and whether null is another of its values; none where there are several.
    fn meant(&self, schema: &'s Value) -> (Option<&'s Value>, bool) {
        let mut schema = schema;
        let mut has_null = false;
        for _ in 0..REFERENCES_MAX {
            if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
                match self.root.pointer(reference.trim_start_matches('#')) {
                    Some(found) => schema = found,
                    None => return (None, has_null),
                }
                continue;
            }
            let branches = ["oneOf", "anyOf"]
                .iter()
                .find_map(|key| schema.get(key)?.as_array());
            // Beside properties, branches only say more of them, such as which are required together.
            let branches = branches.filter(|_| schema.get("properties").is_none());
            let Some(branches) = branches else {
                return (Some(schema), has_null || takes_null(schema));
            };
            let is_null = |branch: &&Value| types(branch) == ["null"];
            has_null |= branches.iter().any(|branch| is_null(&branch));
            let mut others = branches.iter().filter(|branch| !is_null(branch));
            match (others.next(), others.next()) {
                (Some(only), None) => schema = only,
                _ => return (None, has_null),
            }
        }
        (None, has_null)
    }

    fn chosen(&self, schema: Option<&'s Value>, arrays: usize) -> Chosen {
        let several = || Chosen::text_of_json("several types: kept as JSON text");
        let Some(schema) = schema else {
            return several();
        };
        let mut types = types(schema);
        types.retain(|name| *name != "null");
        let of_enum = schema.get("enum").and_then(Value::as_array);
        let is_text = |value: &Value| value.is_string() || value.is_null();
        if of_enum.is_some_and(|values| values.iter().all(is_text)) {
            return Chosen::sure("LowCardinality(String)");
        }
        match types[..] {
            ["boolean"] => Chosen::sure("Bool"),
            ["integer"] => Chosen::sure("Int64"),
            ["number"] | ["integer", "number"] | ["number", "integer"] => Chosen::sure("Float64"),
            ["string"] => text(schema),
            ["object"] => self.object(schema, arrays),
            ["array"] if arrays < ARRAYS_MAX => match schema.get("items") {
                Some(items @ Value::Object(_)) => {
                    let (meant, has_null) = self.meant(items);
                    self.chosen(meant, arrays + 1).array(has_null)
                }
                _ => several(),
            },
            _ => several(),
        }
    }

    fn object(&self, schema: &'s Value, arrays: usize) -> Chosen {
        let has_properties = schema.get("properties").is_some();
        match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) if !has_properties && arrays < ARRAYS_MAX => {
                let (meant, has_null) = self.meant(values);
                self.chosen(meant, arrays + 1).map(has_null)
            }
            _ => Chosen::sure("JSON"),
        }
    }
}

/// `type`, which may be a list; guessed where it is left out.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ if schema.get("properties").is_some() => vec!["object"],
        _ => vec![],
    }
}

fn takes_null(schema: &Value) -> bool {
    let of_enum = schema.get("enum").and_then(Value::as_array);
    types(schema).contains(&"null") || of_enum.is_some_and(|values| values.contains(&Value::Null))
}

fn text(schema: &Value) -> Chosen {
    match schema.get("format").and_then(Value::as_str) {
        Some("date-time") => Chosen {
            why: Some("more digits than six are dropped".to_owned()),
            ..Chosen::moment(6)
        },
        Some("date") => Chosen::sure("Date32"),
        Some("uuid") => Chosen::sure("UUID"),
        Some("ipv4") => Chosen::sure("IPv4"),
        Some("ipv6") => Chosen::sure("IPv6"),
        _ => Chosen::sure("String"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(text: &str) -> Vec<String> {
        let columns = json_schema_columns(text).unwrap();
        let line = |column: &SchemaColumn| {
            assert!(crate::table::ColumnType::parse(&column.type_name).is_ok());
            format!("{} {}", column.path.join("."), column.type_name)
        };
        columns.iter().map(line).collect()
    }

    #[test]
    fn each_property_is_a_column_of_its_type() {
        let text = r##"{"$ref":"#/$defs/Order","$defs":{"Order":{"type":"object",
            "required":["id","at","place","tags","meta","rows"],"properties":{
            "id":{"type":"integer"},"n":{"type":"number"},"at":{"type":"string","format":"date-time"},
            "state":{"enum":["a","b"]},"either":{"type":["integer","string"]},"any":{},
            "o":{"oneOf":[{"type":"null"},{"type":"boolean"}]},
            "two":{"anyOf":[{"type":"integer"},{"type":"string"}]},
            "tags":{"type":"array","items":{"type":["string","null"]}},
            "meta":{"type":"object","additionalProperties":{"type":"integer"}},
            "rows":{"type":"array","items":{"$ref":"#/$defs/Place"}},
            "place":{"$ref":"#/$defs/Place"},"u":{"type":"string","format":"uuid"}}},
            "Place":{"type":"object","required":["city"],"properties":{"city":{"type":"string"},
            "up":{"$ref":"#/$defs/Place"}}}}}"##;
        let mut seen = columns(text);
        seen.sort();
        let mut expected = [
            "any Nullable(String)",
            "at DateTime64(6, 'UTC')",
            "either Nullable(String)",
            "id Int64",
            "meta Map(String, Int64)",
            "n Nullable(Float64)",
            "o Nullable(Bool)",
            "place.city String",
            "place.up JSON",
            "rows Array(JSON)",
            "state LowCardinality(Nullable(String))",
            "tags Array(Nullable(String))",
            "two Nullable(String)",
            "u Nullable(UUID)",
        ];
        expected.sort_unstable();
        assert_eq!(seen, expected);
        for branches in [
            r#""anyOf":[{"required":["a"]},{"required":["b"]}]"#,
            r#""oneOf":[{"required":["a"]}]"#,
        ] {
            let text = format!(
                r#"{{"type":"object","required":["b"],"properties":{{"a":{{"type":"integer"}},"b":{{"enum":["x",null]}}}},{branches}}}"#
            );
            let expected = ["a Nullable(Int64)", "b LowCardinality(Nullable(String))"];
            let mut seen = columns(&text);
            seen.sort();
            assert_eq!(seen, expected, "{branches}");
        }
        for none in ["[]", "{}", "{\"type\":\"string\"}", "{\"$ref\":\"#\"}", "x"] {
            assert!(json_schema_columns(none).is_err(), "{none}");
        }
    }
}
