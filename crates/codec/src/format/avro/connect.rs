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
        let mut block = Block {
            schema: self,
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

/// A type, and where it stands in the text: nowhere in what another schema defines.
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
        let defines = own.is_some_and(|own| {
            ["fields", "symbols", "size"]
                .iter()
                .any(|key| own.contains_key(*key))
        });
        match own {
            Some(own) if defines => {
                self.defined.insert(place.node, own);
                Some(own)
            }
            own if is_named => self.defined.get(&place.node).copied().or(own),
            own => own,
        }
    }

    fn append_parameters(
        &mut self,
        node: &Node,
        parameters: Option<&Value>,
        precision: Option<&Value>,
    ) {
        if let Some(parameters @ Value::Object(_)) = parameters {
            append(&mut self.out, format_args!(",\"parameters\":{parameters}"));
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
