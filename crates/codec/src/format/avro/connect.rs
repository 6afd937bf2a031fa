//! A writer's schema as a schema block of Connect's JSON converter.
//!
//! Connect's converters keep what Avro has no word for in attributes beside the types: the name of a
//! logical type (`connect.name`), its parameters, its default. The parser drops them where a type is
//! primitive, so they are taken from the text, which is walked beside the types.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::schema::{Field, Node, NodeId, Schema, SchemaError, Unit};
use crate::format::json_text::{append, append_base64, append_quoted};

/// Structs inside structs: deeper ones are read as JSON, whatever they hold.
const DEPTH_MAX: usize = 8;
/// Longer blocks are refused: named types are written out wherever they are used.
const BLOCK_BYTES_MAX: usize = 4 << 20;

const DECIMAL: &str = "org.apache.kafka.connect.data.Decimal";
const UUID: &str = "io.debezium.data.Uuid";

impl Schema {
    /// The block.
    ///
    /// # Errors
    /// It would be too long.
    pub(in crate::format) fn connect_block(&self) -> Result<String, SchemaError> {
        let json = serde_json::from_str(self.text());
        let json: Value = json.map_err(|error| SchemaError(format!("no Avro schema: {error}")))?;
        let references = self.references().iter();
        let references = references.filter_map(|text| serde_json::from_str(text).ok());
        let references: Vec<Value> = references.collect();
        let mut named = HashMap::new();
        for reference in &references {
            collect_named(reference, "", &mut named);
        }
        let mut block = Block {
            schema: self,
            named,
            defined: HashMap::new(),
            out: String::new(),
        };
        let place = Place {
            json: Some(&json),
            node: self.root(),
            depth: 0,
        };
        block.append_type(place, None, None)?;
        Ok(block.out)
    }
}

/// Where other schemas define what this one names: by full names, and by names without a namespace.
fn collect_named<'s>(
    json: &'s Value,
    namespace: &str,
    named: &mut HashMap<String, &'s Map<String, Value>>,
) {
    let own = match json {
        Value::Array(all) => {
            for one in all {
                collect_named(one, namespace, named);
            }
            return;
        }
        Value::Object(own) => own,
        _ => return,
    };
    let text = |key: &str| own.get(key).and_then(Value::as_str);
    let mut inner = namespace.to_owned();
    if let (Some(name), true) = (text("name"), is_definition(own)) {
        let (before, last) = name.rsplit_once('.').unwrap_or_else(|| {
            let namespace = text("namespace").unwrap_or(namespace);
            (namespace, name)
        });
        inner = before.to_owned();
        let full = match before {
            "" => last.to_owned(),
            before => format!("{before}.{last}"),
        };
        named.insert(full, own);
        named.entry(last.to_owned()).or_insert(own);
    }
    for key in ["type", "items", "values", "fields"] {
        if let Some(part) = own.get(key) {
            collect_named(part, &inner, named);
        }
    }
}

fn is_definition(own: &Map<String, Value>) -> bool {
    let mut named = ["fields", "symbols", "size"].into_iter();
    named.any(|key| own.contains_key(key))
}

/// A type, and where it stands in the text.
#[derive(Clone, Copy)]
struct Place<'s> {
    json: Option<&'s Value>,
    node: NodeId,
    depth: usize,
}

struct Block<'s> {
    schema: &'s Schema,
    /// Where named types are written that the text names elsewhere.
    defined: HashMap<NodeId, &'s Map<String, Value>>,
    named: HashMap<String, &'s Map<String, Value>>,
    out: String,
}

impl<'s> Block<'s> {
    /// Appends a type as an object; `field` and `default` are those of a struct's field.
    fn append_type(
        &mut self,
        place: Place<'s>,
        field: Option<&str>,
        default: Option<&Value>,
    ) -> Result<(), SchemaError> {
        if self.out.len() > BLOCK_BYTES_MAX {
            return Err(SchemaError(format!(
                "an Avro schema of more than {BLOCK_BYTES_MAX} bytes with all that it names"
            )));
        }
        let (place, optional) = self.branch(place);
        self.out.push_str("{\"type\":");
        match place {
            // Each value as it is.
            None => self.out.push_str("\"struct\""),
            Some(place) => self.append_form(place, default)?,
        }
        append(&mut self.out, format_args!(",\"optional\":{optional}"));
        if let Some(name) = field {
            self.out.push_str(",\"field\":");
            append_quoted(name, &mut self.out);
        }
        self.out.push('}');
        Ok(())
    }

    /// The one branch of a union that is not null, and whether null is another; none where there are several.
    fn branch(&self, place: Place<'s>) -> (Option<Place<'s>>, bool) {
        let schema = self.schema;
        let Node::Union(branches) = schema.node(place.node) else {
            let is_null = matches!(schema.node(place.node), Node::Null);
            return (Some(place), is_null);
        };
        let is_null = |node: &NodeId| matches!(schema.node(*node), Node::Null);
        let optional = branches.iter().any(is_null);
        let texts = place.json.and_then(Value::as_array);
        let mut others = branches
            .iter()
            .enumerate()
            .filter(|(_, node)| !is_null(node));
        let branch = match (others.next(), others.next()) {
            (Some((index, &node)), None) => Some(Place {
                json: texts.and_then(|texts| texts.get(index)),
                node,
                depth: place.depth,
            }),
            (None, _) => branches.first().map(|&node| Place { node, ..place }),
            _ => None,
        };
        (branch, optional)
    }

    /// Appends the form, and what stands beside it of name, parameters, default and parts.
    fn append_form(
        &mut self,
        place: Place<'s>,
        default: Option<&Value>,
    ) -> Result<(), SchemaError> {
        let schema = self.schema;
        let node = schema.node(place.node);
        let attributes = self.attributes(place, node);
        let attribute = |name: &str| attributes.and_then(|attributes| attributes.get(name));
        let text = |name: &str| attribute(name).and_then(Value::as_str);
        append(
            &mut self.out,
            format_args!("\"{}\"", form(node, text("connect.type"))),
        );
        let full_name = || full_name(attributes);
        let name = match text("connect.name") {
            Some(name) => Some(name.to_owned()),
            None => match node {
                Node::Record(_) => full_name(),
                Node::String if text("logicalType") == Some("uuid") => Some(UUID.to_owned()),
                _ => name_of(node).map(str::to_owned),
            },
        };
        if let Some(name) = &name {
            self.out.push_str(",\"name\":");
            append_quoted(name, &mut self.out);
        }
        self.append_parameters(
            node,
            attribute("connect.parameters"),
            attribute("precision"),
        );
        let default = attribute("connect.default").or(default);
        self.append_default(node, default);
        match node {
            Node::Array(item) => {
                self.out.push_str(",\"items\":");
                self.append_part(place, *item, attribute("items"))?;
            }
            Node::Map(value) => {
                self.out
                    .push_str(",\"keys\":{\"type\":\"string\",\"optional\":false},\"values\":");
                self.append_part(place, *value, attribute("values"))?;
            }
            Node::Record(fields) if place.depth < DEPTH_MAX => {
                self.append_fields(fields, place.depth, attribute("fields"))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn append_part(
        &mut self,
        around: Place<'s>,
        node: NodeId,
        json: Option<&'s Value>,
    ) -> Result<(), SchemaError> {
        if around.depth >= DEPTH_MAX {
            self.out.push_str("{\"type\":\"struct\"}");
            return Ok(());
        }
        let depth = around.depth + 1;
        self.append_type(Place { json, node, depth }, None, None)
    }

    fn append_fields(
        &mut self,
        fields: &'s [Field],
        depth: usize,
        json: Option<&'s Value>,
    ) -> Result<(), SchemaError> {
        let texts = json.and_then(Value::as_array);
        self.out.push_str(",\"fields\":[");
        for (index, field) in fields.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let text = texts.and_then(|texts| texts.get(index));
            let place = Place {
                json: text.and_then(|text| text.get("type")),
                node: field.node,
                depth: depth + 1,
            };
            let default = text.and_then(|text| text.get("default"));
            self.append_type(place, Some(&field.name), default)?;
        }
        self.out.push(']');
        Ok(())
    }

    /// The object in which the type stands, here or where its name is defined.
    fn attributes(&mut self, place: Place<'s>, node: &Node) -> Option<&'s Map<String, Value>> {
        let mut json = place.json;
        while let Some(inner @ Value::Object(_)) = json.and_then(|json| json.get("type")) {
            json = Some(inner);
        }
        let own = json.and_then(Value::as_object);
        let is_named = matches!(node, Node::Record(_) | Node::Enum(_) | Node::Fixed(_));
        // {"type": "shop.Money"} is a name too.
        let name = own
            .and_then(|own| own.get("type"))
            .or(json)
            .and_then(Value::as_str);
        match own {
            Some(own) if is_definition(own) => {
                self.defined.insert(place.node, own);
                Some(own)
            }
            own if is_named => {
                let elsewhere = || self.named.get(name?).copied();
                let here = self.defined.get(&place.node).copied();
                here.or_else(elsewhere).or(own)
            }
            own => own,
        }
    }

    fn append_parameters(
        &mut self,
        node: &Node,
        parameters: Option<&Value>,
        precision: Option<&Value>,
    ) {
        if let Some(own) = parameters.and_then(Value::as_object) {
            let mut all = own.clone();
            if let (Node::Decimal { scale, .. }, false) = (node, own.contains_key("scale")) {
                all.insert("scale".to_owned(), scale.to_string().into());
                if let Some(precision) = precision.and_then(Value::as_u64) {
                    let known = all.entry("connect.decimal.precision");
                    known.or_insert_with(|| precision.to_string().into());
                }
            }
            let all = Value::Object(all);
            append(&mut self.out, format_args!(",\"parameters\":{all}"));
            return;
        }
        match node {
            Node::Decimal { scale, .. } => {
                append(
                    &mut self.out,
                    format_args!(",\"parameters\":{{\"scale\":\"{scale}\""),
                );
                if let Some(precision) = precision.and_then(Value::as_u64) {
                    append(
                        &mut self.out,
                        format_args!(",\"connect.decimal.precision\":\"{precision}\""),
                    );
                }
                self.out.push('}');
            }
            Node::Enum(symbols) => {
                self.out.push_str(",\"parameters\":{\"allowed\":");
                append_quoted(&symbols.join(","), &mut self.out);
                self.out.push('}');
            }
            _ => {}
        }
    }

    /// Avro writes bytes as the characters of these numbers.
    fn append_default(&mut self, node: &Node, default: Option<&Value>) {
        let Some(default) = default.filter(|default| !default.is_null()) else {
            return;
        };
        match (node, default) {
            (Node::Bytes | Node::Fixed(_) | Node::Decimal { .. }, Value::String(text)) => {
                let bytes = text.chars().map(|c| u8::try_from(u32::from(c)));
                if let Ok(bytes) = bytes.collect::<Result<Vec<u8>, _>>() {
                    self.out.push_str(",\"default\":\"");
                    append_base64(&bytes, &mut self.out);
                    self.out.push('"');
                }
            }
            (
                Node::Boolean
                | Node::Int
                | Node::Long
                | Node::Float
                | Node::Double
                | Node::String
                | Node::Enum(_)
                | Node::Date
                | Node::TimeOfDay(_)
                | Node::Timestamp { .. },
                Value::Bool(_) | Value::Number(_) | Value::String(_),
            ) => append(&mut self.out, format_args!(",\"default\":{default}")),
            _ => {}
        }
    }
}

/// What Connect calls the form of a type's values.
fn form(node: &Node, connect_type: Option<&str>) -> &'static str {
    match node {
        Node::Boolean => "boolean",
        Node::Int if connect_type == Some("int8") => "int8",
        Node::Int if connect_type == Some("int16") => "int16",
        Node::Int | Node::Date | Node::TimeOfDay(Unit::Millis) => "int32",
        Node::Long | Node::TimeOfDay(_) | Node::Timestamp { .. } => "int64",
        Node::Float => "float",
        Node::Double => "double",
        Node::Bytes | Node::Fixed(_) | Node::Decimal { .. } => "bytes",
        Node::Array(_) => "array",
        Node::Map(_) => "map",
        Node::Record(_) | Node::Union(_) => "struct",
        Node::Null
        | Node::String
        | Node::Enum(_)
        | Node::BigDecimal
        | Node::UuidBytes { .. }
        | Node::Duration => "string",
    }
}

/// The name of a type that Connect did not write.
fn name_of(node: &Node) -> Option<&'static str> {
    Some(match node {
        Node::Decimal { .. } => DECIMAL,
        Node::UuidBytes { .. } => UUID,
        Node::Enum(_) => "io.debezium.data.Enum",
        Node::Date => "io.debezium.time.Date",
        Node::TimeOfDay(Unit::Millis) => "io.debezium.time.Time",
        Node::TimeOfDay(Unit::Micros) => "io.debezium.time.MicroTime",
        Node::TimeOfDay(Unit::Nanos) => "io.debezium.time.NanoTime",
        Node::Timestamp { unit, .. } => match unit {
            Unit::Millis => "io.debezium.time.Timestamp",
            Unit::Micros => "io.debezium.time.MicroTimestamp",
            Unit::Nanos => "io.debezium.time.NanoTimestamp",
        },
        _ => return None,
    })
}

fn full_name(attributes: Option<&Map<String, Value>>) -> Option<String> {
    let text = |name: &str| attributes?.get(name)?.as_str();
    let name = text("name")?;
    Some(match text("namespace") {
        Some(space) if !name.contains('.') && !space.is_empty() => format!("{space}.{name}"),
        _ => name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str, references: &[&str]) -> String {
        let references: Vec<String> = references.iter().map(|text| (*text).to_owned()).collect();
        let schema = Schema::parse_with(text, &references).expect("a schema");
        schema.connect_block().expect("a block")
    }

    #[test]
    fn parameters_of_a_decimal_keep_the_scale_of_its_type() {
        let made = block(
            r#"{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"bytes","logicalType":"decimal",
                "precision":9,"scale":2,"connect.parameters":{"__debezium.source.column.type":"NUMERIC"}}}]}"#,
            &[],
        );
        let made: Value = serde_json::from_str(&made).expect("JSON");
        let parameters = &made["fields"][0]["parameters"];
        assert_eq!(parameters["scale"], "2", "{made}");
        assert_eq!(parameters["connect.decimal.precision"], "9");
        assert_eq!(parameters["__debezium.source.column.type"], "NUMERIC");
    }

    #[test]
    fn attributes_of_what_another_schema_defines_are_seen() {
        let money = r#"{"type":"record","name":"Money","namespace":"shop","fields":[
            {"name":"at","type":{"type":"long","connect.name":"io.debezium.time.MicroTimestamp"}},
            {"name":"small","type":{"type":"int","connect.type":"int16"}}],
            "connect.name":"shop.Amount"}"#;
        for named in [r#""shop.Money""#, r#"["null","shop.Money"]"#] {
            let text = format!(
                r#"{{"type":"record","name":"R","fields":[{{"name":"m","type":{named}}}]}}"#
            );
            let made = block(&text, &[money]);
            let made: Value = serde_json::from_str(&made).expect("JSON");
            let field = &made["fields"][0];
            assert_eq!(field["name"], "shop.Amount", "{made}");
            assert_eq!(
                field["fields"][0]["name"],
                "io.debezium.time.MicroTimestamp"
            );
            assert_eq!(field["fields"][1]["type"], "int16");
        }
    }
}
