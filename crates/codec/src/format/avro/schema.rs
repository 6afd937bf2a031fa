//! Writer schemas: parsed by `apache-avro`, kept as a list of types that name each other by number.

use std::collections::HashMap;
use std::sync::Once;

use apache_avro::error::Details;
use apache_avro::schema::{InnerDecimalSchema, UuidSchema};
use apache_avro::validator::{
    SchemaNameValidator, SchemaNamespaceValidator, set_schema_name_validator,
    set_schema_namespace_validator,
};
use apache_avro::{AvroResult, Schema as Parsed};

use crate::decode::decimal::DIGITS_MAX;
use crate::format::json_text::member_of;

/// Longer schemas are refused: a text of schemas, with those that it refers to.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// More types than any schema has.
const NODES_MAX: usize = 100_000;
/// Types inside types: more than any record may have levels.
const DEPTH_MAX: usize = 512;
/// Room for the parser's calls; only what it uses is taken.
const STACK_BYTES: usize = 256 << 20;
/// Largest `fixed`: more is no value of a record that Kafka carries.
const FIXED_BYTES_MAX: usize = 1 << 28;

/// The named types of a schema, by their full names.
pub(super) type Named<'s> = HashMap<String, &'s Parsed>;

/// The number of a type in its schema.
pub(super) type NodeId = u32;

/// A writer's schema.
#[derive(Debug)]
pub struct Schema {
    text: String,
    /// The texts of what it refers to.
    references: Vec<String>,
    name: String,
    nodes: Vec<Node>,
    root: NodeId,
}

/// A schema that cannot be read, or not into the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SchemaError(pub(crate) String);

/// One type.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Fixed(usize),
    Enum(Box<[Box<str>]>),
    Array(NodeId),
    Map(NodeId),
    Union(Box<[NodeId]>),
    Record(Box<[Field]>),
    Decimal { scale: u8, size: Option<usize> },
    BigDecimal,
    UuidBytes { size: Option<usize> },
    Date,
    TimeOfDay(Unit),
    Timestamp { unit: Unit, is_local: bool },
    Duration,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    /// How it begins as a member of a JSON object: the name in quotes, and a colon.
    pub(super) member: Box<str>,
    pub(super) aliases: Box<[Box<str>]>,
    pub(super) node: NodeId,
}

/// Of numbers that stand for times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    pub(super) fn per_second(self) -> i64 {
        match self {
            Unit::Millis => 1_000,
            Unit::Micros => 1_000_000,
            Unit::Nanos => 1_000_000_000,
        }
    }

    pub(super) fn digits(self) -> usize {
        match self {
            Unit::Millis => 3,
            Unit::Micros => 6,
            Unit::Nanos => 9,
        }
    }
}

impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Schema {}

impl Schema {
    /// Reads a schema of a record.
    ///
    /// # Errors
    /// It is none, is larger than 1 MiB, or its top level is no record.
    pub fn parse(text: &str) -> Result<Schema, SchemaError> {
        let schema = Schema::parse_with(text, &[])?;
        schema.check_record()?;
        Ok(schema)
    }

    /// Reads a schema of any type, with the schemas that it refers to by name.
    ///
    /// # Errors
    /// It or any of them is none, or is too large.
    pub fn parse_with(text: &str, references: &[String]) -> Result<Schema, SchemaError> {
        let bytes: usize = references.iter().map(String::len).sum();
        if bytes + text.len() > TEXT_BYTES_MAX {
            return Err(SchemaError(format!(
                "an Avro schema of more than {TEXT_BYTES_MAX} bytes"
            )));
        }
        on_deep_stack(|| Schema::parsed(text, references))
    }

    fn parsed(text: &str, references: &[String]) -> Result<Schema, SchemaError> {
        let (parsed, others) = parse(text, references)?;
        let mut builder = Builder::default();
        for schema in others.iter().chain([&parsed]) {
            builder.define(schema);
        }
        let root = builder.node(&parsed, 0)?;
        Ok(Schema {
            text: text.to_owned(),
            references: references.to_vec(),
            name: parsed
                .name()
                .map_or_else(String::new, |name| name.fullname(None)),
            nodes: builder.nodes,
            root,
        })
    }

    /// Calls with the schema as the parser has it, and with its named types.
    pub(super) fn with_parsed(
        &self,
        look: impl FnOnce(&Parsed, &Named<'_>) + Send,
    ) -> Result<(), SchemaError> {
        on_deep_stack(|| {
            let (parsed, others) = parse(&self.text, &self.references)?;
            let mut builder = Builder::default();
            for schema in others.iter().chain([&parsed]) {
                builder.define(schema);
            }
            look(&parsed, &builder.named);
            Ok(())
        })
    }

    /// Keys may be of any type, values are records.
    ///
    /// # Errors
    /// The top level is no record.
    pub fn check_record(&self) -> Result<(), SchemaError> {
        match self.node(self.root) {
            Node::Record(_) => Ok(()),
            _ => Err(SchemaError(
                "an Avro schema whose top level is no record".to_owned(),
            )),
        }
    }

    /// As it was written.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn references(&self) -> &[String] {
        &self.references
    }

    /// The full name of its record.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// About what it takes: names are in the text too.
    pub(in crate::format) fn memory_bytes(&self) -> usize {
        2 * self.text.len() + self.nodes.len() * 2 * size_of::<Node>()
    }

    pub(super) fn root(&self) -> NodeId {
        self.root
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }
}

/// Connect names types after topics, and Java's Avro, which writes most schemas, takes any text as a namespace:
/// `my-shop.public.orders`.
struct AnyNamespace;

impl SchemaNamespaceValidator for AnyNamespace {
    fn validate(&self, _namespace: &str) -> AvroResult<()> {
        Ok(())
    }
}

impl SchemaNameValidator for AnyNamespace {
    fn validate(&self, full_name: &str) -> AvroResult<usize> {
        let start = full_name.rfind('.').map_or(0, |dot| dot + 1);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = &full_name[start..];
        if name.chars().all(is_part) && name.starts_with(|c: char| !c.is_ascii_digit()) {
            return Ok(start);
        }
        Err(Details::InvalidSchemaName(full_name.to_owned(), "[A-Za-z_][A-Za-z0-9_]*").into())
    }
}

/// For the parser, once: whoever was first has set the same.
fn allow_namespaces() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = set_schema_namespace_validator(Box::new(AnyNamespace));
        let _ = set_schema_name_validator(Box::new(AnyNamespace));
    });
}

fn parse(text: &str, references: &[String]) -> Result<(Parsed, Vec<Parsed>), SchemaError> {
    allow_namespaces();
    let parsed = match references {
        [] => Parsed::parse_str(text).map(|parsed| (parsed, vec![])),
        references => Parsed::parse_str_with_list(text, references),
    };
    parsed.map_err(|error| SchemaError(format!("no Avro schema: {error}")))
}

/// The parser descends as far as types are inside each other, by way of references too.
fn on_deep_stack<T: Send>(
    parse: impl FnOnce() -> Result<T, SchemaError> + Send,
) -> Result<T, SchemaError> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("avro-schema".to_owned());
        let thread = thread.stack_size(STACK_BYTES).spawn_scoped(scope, parse);
        let failed = |why: String| SchemaError(format!("an Avro schema cannot be read: {why}"));
        let thread = thread.map_err(|error| failed(error.to_string()))?;
        let parsed = thread.join();
        parsed.unwrap_or_else(|_| Err(failed("its parser failed".to_owned())))
    })
}

#[derive(Default)]
struct Builder<'s> {
    nodes: Vec<Node>,
    named: HashMap<String, &'s Parsed>,
    /// Named types that have a number.
    numbers: HashMap<String, NodeId>,
}

impl<'s> Builder<'s> {
    /// Notes the named types of a schema. The parser has given them their full names.
    fn define(&mut self, schema: &'s Parsed) {
        if let (Some(name), false) = (schema.name(), matches!(schema, Parsed::Ref { .. })) {
            self.named.insert(name.fullname(None), schema);
            let namespace = name.namespace();
            for alias in schema.aliases().into_iter().flatten() {
                self.named
                    .entry(alias.fullname(namespace))
                    .or_insert(schema);
            }
        }
        match schema {
            Parsed::Array(array) => self.define(&array.items),
            Parsed::Map(map) => self.define(&map.types),
            Parsed::Union(union) => union.variants().iter().for_each(|b| self.define(b)),
            Parsed::Record(record) => record.fields.iter().for_each(|f| self.define(&f.schema)),
            _ => {}
        }
    }

    /// `depth`: types that this one is inside of. Named types refer to each other, however flat they are
    /// written.
    fn node(&mut self, schema: &'s Parsed, depth: usize) -> Result<NodeId, SchemaError> {
        let name = schema.name().map(|name| name.fullname(None));
        if let Some(&number) = name.as_ref().and_then(|name| self.numbers.get(name)) {
            return Ok(number);
        }
        if let (Parsed::Ref { .. }, Some(name)) = (schema, &name) {
            let Some(schema) = self.named.get(name).copied() else {
                return Err(SchemaError(format!("no Avro schema: no type {name}")));
            };
            return self.node(schema, depth + 1);
        }
        if depth > DEPTH_MAX {
            return Err(SchemaError(format!(
                "an Avro schema of more than {DEPTH_MAX} levels"
            )));
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(SchemaError(format!(
                "an Avro schema of more than {NODES_MAX} types"
            )));
        }
        let id = self.nodes.len() as NodeId;
        // Stands for the type while those inside it, which may name it, are read.
        self.nodes.push(Node::Null);
        if let Some(name) = name {
            self.numbers.insert(name, id);
        }
        self.nodes[id as usize] = self.content(schema, depth + 1)?;
        Ok(id)
    }

    fn content(&mut self, schema: &'s Parsed, depth: usize) -> Result<Node, SchemaError> {
        let timestamp = |unit, is_local| Node::Timestamp { unit, is_local };
        Ok(match schema {
            Parsed::Null => Node::Null,
            Parsed::Boolean => Node::Boolean,
            Parsed::Int => Node::Int,
            Parsed::Long => Node::Long,
            Parsed::Float => Node::Float,
            Parsed::Double => Node::Double,
            Parsed::Bytes => Node::Bytes,
            Parsed::String | Parsed::Uuid(UuidSchema::String) => Node::String,
            Parsed::Fixed(fixed) => Node::Fixed(size(fixed.size)?),
            Parsed::Enum(of) => Node::Enum(of.symbols.iter().map(|s| s.as_str().into()).collect()),
            Parsed::Array(array) => Node::Array(self.node(&array.items, depth)?),
            Parsed::Map(map) => Node::Map(self.node(&map.types, depth)?),
            Parsed::Union(union) => {
                let branches = union.variants().iter();
                Node::Union(
                    branches
                        .map(|branch| self.node(branch, depth))
                        .collect::<Result<_, _>>()?,
                )
            }
            Parsed::Record(record) => {
                let mut fields = vec![];
                for field in &record.fields {
                    fields.push(Field {
                        name: field.name.as_str().into(),
                        member: member_of(&field.name),
                        aliases: field.aliases.iter().map(|a| a.as_str().into()).collect(),
                        node: self.node(&field.schema, depth)?,
                    });
                }
                Node::Record(fields.into())
            }
            Parsed::Decimal(decimal) => Node::Decimal {
                scale: u8::try_from(decimal.scale)
                    .ok()
                    .filter(|scale| *scale <= DIGITS_MAX)
                    .ok_or_else(|| SchemaError(format!("a decimal of scale {}", decimal.scale)))?,
                size: match &decimal.inner {
                    InnerDecimalSchema::Bytes => None,
                    InnerDecimalSchema::Fixed(fixed) => Some(size(fixed.size)?),
                },
            },
            Parsed::BigDecimal => Node::BigDecimal,
            Parsed::Uuid(UuidSchema::Bytes) => Node::UuidBytes { size: None },
            Parsed::Uuid(UuidSchema::Fixed(fixed)) => Node::UuidBytes {
                size: Some(size(fixed.size)?),
            },
            Parsed::Date => Node::Date,
            Parsed::TimeMillis => Node::TimeOfDay(Unit::Millis),
            Parsed::TimeMicros => Node::TimeOfDay(Unit::Micros),
            Parsed::TimestampMillis => timestamp(Unit::Millis, false),
            Parsed::TimestampMicros => timestamp(Unit::Micros, false),
            Parsed::TimestampNanos => timestamp(Unit::Nanos, false),
            Parsed::LocalTimestampMillis => timestamp(Unit::Millis, true),
            Parsed::LocalTimestampMicros => timestamp(Unit::Micros, true),
            Parsed::LocalTimestampNanos => timestamp(Unit::Nanos, true),
            Parsed::Duration(_) => Node::Duration,
            Parsed::Ref { name } => {
                let name = name.fullname(None);
                return Err(SchemaError(format!("no Avro schema: no type {name}")));
            }
        })
    }
}

fn size(size: usize) -> Result<usize, SchemaError> {
    match size <= FIXED_BYTES_MAX {
        true => Ok(size),
        false => Err(SchemaError(format!("a fixed of {size} bytes"))),
    }
}

impl Node {
    /// What people call the type.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int => "int",
            Node::Long => "long",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes => "bytes",
            Node::String => "string",
            Node::Fixed(_) => "fixed",
            Node::Enum(_) => "enum",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Union(_) => "union",
            Node::Record(_) => "record",
            Node::Decimal { .. } => "decimal",
            Node::BigDecimal => "big-decimal",
            Node::UuidBytes { .. } => "uuid",
            Node::Date => "date",
            Node::TimeOfDay(Unit::Millis) => "time-millis",
            Node::TimeOfDay(_) => "time-micros",
            Node::Timestamp {
                is_local: false, ..
            } => "timestamp",
            Node::Timestamp { .. } => "local-timestamp",
            Node::Duration => "duration",
        }
    }
}
