//! Message types: read from descriptors, or from the sources that a registry has, by `protox`.

use std::collections::HashMap;

use prost_reflect::{
    Cardinality, DescriptorPool, FieldDescriptor, Kind as Described, MessageDescriptor,
};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::built_in::built_in;
use crate::format::SchemaError;
use crate::format::json_text::member_of;

/// Longer sources and descriptors are refused, with all that they import.
const BYTES_MAX: usize = 8 << 20;
/// The name under which a schema without one is compiled.
const MAIN: &str = "main.proto";

/// The messages of one source or descriptor.
#[derive(Debug)]
pub struct ProtobufSchema {
    source: Vec<u8>,
    messages: Vec<Message>,
    /// Messages of the main file by their place in it: 0, or 0.2 for the third one inside the first.
    by_index: HashMap<Vec<i32>, usize>,
}

#[derive(Debug)]
pub(super) struct Message {
    pub(super) name: String,
    /// In the order of their numbers.
    pub(super) fields: Vec<Field>,
    pub(super) known: Option<WellKnown>,
}

#[derive(Debug, Clone)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) name: String,
    /// How it begins as a member of a JSON object: the name in quotes, and a colon.
    pub(super) member: Box<str>,
    pub(super) json_name: String,
    pub(super) kind: Kind,
    pub(super) shape: Shape,
    /// The number of the `oneof` that it is a member of.
    pub(super) one_of: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Absent and default are told apart.
    Optional,
    /// What is absent is the default.
    Plain,
    Repeated,
    Map,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum(Vec<(i32, String)>),
    Message(usize),
    /// Which is not read.
    Group,
}

/// Messages with a meaning of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WellKnown {
    Timestamp,
    Duration,
    /// `google.type.Date`, as which Connect's converter writes its own.
    Date,
    /// `google.type.TimeOfDay`; likewise.
    TimeOfDay,
    /// Its one field is the value.
    Wrapper,
    Struct,
    Value,
    ListValue,
}

impl WellKnown {
    /// Whether it is made of numbers that are one text.
    pub(super) fn is_time(self) -> bool {
        matches!(
            self,
            WellKnown::Timestamp | WellKnown::Duration | WellKnown::Date | WellKnown::TimeOfDay
        )
    }
}

impl PartialEq for ProtobufSchema {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.by_index == other.by_index
    }
}

impl Eq for ProtobufSchema {}

impl ProtobufSchema {
    /// Reads a descriptor set (`protoc --include_imports --descriptor_set_out`) and finds a message in it.
    ///
    /// # Errors
    /// It is none, or has no such message.
    pub fn from_descriptors(bytes: &[u8], message: &str) -> Result<ProtobufSchema, SchemaError> {
        check_size(bytes.len())?;
        let pool = decoded(bytes)?;
        let name = message.strip_prefix('.').unwrap_or(message);
        let Some(found) = pool.get_message_by_name(name) else {
            let mut names: Vec<String> = pool
                .all_messages()
                .map(|m| m.full_name().to_owned())
                .collect();
            names.truncate(10);
            let names = names.join(", ");
            return Err(SchemaError(format!("no message {message}; it has {names}")));
        };
        let mut schema = ProtobufSchema {
            source: bytes.to_vec(),
            messages: vec![],
            by_index: HashMap::new(),
        };
        let mut builder = Builder::default();
        let root = builder.add(&found, &mut schema.messages);
        builder.finish(&mut schema.messages);
        schema.by_index.insert(vec![0], root);
        Ok(schema)
    }

    /// Compiles a source with those that it imports, by their names.
    ///
    /// # Errors
    /// What the compiler says.
    pub fn from_source(
        text: &str,
        imports: &[(String, String)],
    ) -> Result<ProtobufSchema, SchemaError> {
        let pool = compiled(text, imports)?;
        let file = pool
            .get_file_by_name(MAIN)
            .ok_or_else(|| SchemaError("no schema of Protobuf".to_owned()))?;
        let mut schema = ProtobufSchema {
            source: text.as_bytes().to_vec(),
            messages: vec![],
            by_index: HashMap::new(),
        };
        let mut builder = Builder::default();
        for (index, message) in file.messages().enumerate() {
            schema.index(&mut builder, &message, vec![index as i32]);
        }
        builder.finish(&mut schema.messages);
        Ok(schema)
    }

    fn index(&mut self, builder: &mut Builder, message: &MessageDescriptor, place: Vec<i32>) {
        let number = builder.add(message, &mut self.messages);
        for (index, child) in message.child_messages().enumerate() {
            let place = [&place[..], &[index as i32]].concat();
            self.index(builder, &child, place);
        }
        self.by_index.insert(place, number);
    }

    /// The message at this place of the main file.
    pub(super) fn root(&self, place: &[i32]) -> Option<usize> {
        self.by_index.get(place).copied()
    }

    pub(super) fn message(&self, number: usize) -> &Message {
        &self.messages[number]
    }
}

/// The types of a source and of those that it imports.
pub(crate) fn compiled(
    text: &str,
    imports: &[(String, String)],
) -> Result<DescriptorPool, SchemaError> {
    check_size(text.len() + imports.iter().map(|(_, text)| text.len()).sum::<usize>())?;
    let mut resolver = ChainFileResolver::new();
    resolver.add(GoogleFileResolver::new());
    resolver.add(Sources {
        main: text.to_owned(),
        imports: imports.to_vec(),
    });
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true);
    compiler
        .open_file(MAIN)
        .map_err(|error| SchemaError(format!("no schema of Protobuf: {error}")))?;
    Ok(compiler.descriptor_pool())
}

/// The types of a descriptor set. The decoder panics at some sets that no compiler writes.
pub(crate) fn decoded(bytes: &[u8]) -> Result<DescriptorPool, SchemaError> {
    let refused = |why: String| SchemaError(format!("no descriptor set of Protobuf: {why}"));
    let decoded = std::panic::catch_unwind(|| DescriptorPool::decode(bytes));
    match decoded {
        Ok(decoded) => decoded.map_err(|error| refused(error.to_string())),
        Err(_) => Err(refused("its decoder failed".to_owned())),
    }
}

fn check_size(bytes: usize) -> Result<(), SchemaError> {
    match bytes <= BYTES_MAX {
        true => Ok(()),
        false => Err(SchemaError(format!(
            "a schema of Protobuf of more than {BYTES_MAX} bytes"
        ))),
    }
}

/// What a registry has sent.
struct Sources {
    main: String,
    imports: Vec<(String, String)>,
}

impl FileResolver for Sources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let import = self.imports.iter().find(|(known, _)| known == name);
        match import {
            _ if name == MAIN => File::from_source(name, &self.main),
            Some((_, text)) => File::from_source(name, text),
            None => match built_in(name) {
                Some(text) => File::from_source(name, &text),
                None => Err(protox::Error::file_not_found(name)),
            },
        }
    }
}

#[derive(Default)]
struct Builder {
    numbers: HashMap<String, usize>,
    /// Messages that have a number, and no fields yet.
    open: Vec<(usize, MessageDescriptor)>,
}

impl Builder {
    /// The number of a message; its fields come with [`Builder::finish`].
    fn add(&mut self, descriptor: &MessageDescriptor, messages: &mut Vec<Message>) -> usize {
        if let Some(&number) = self.numbers.get(descriptor.full_name()) {
            return number;
        }
        let number = messages.len();
        self.numbers
            .insert(descriptor.full_name().to_owned(), number);
        messages.push(Message {
            name: descriptor.full_name().to_owned(),
            fields: vec![],
            known: well_known(descriptor.full_name()),
        });
        self.open.push((number, descriptor.clone()));
        number
    }

    /// Messages name each other, in chains of any length.
    fn finish(&mut self, messages: &mut Vec<Message>) {
        while let Some((number, descriptor)) = self.open.pop() {
            let mut fields: Vec<Field> = descriptor
                .fields()
                .map(|field| self.field(&field, messages))
                .collect();
            fields.sort_by_key(|field| field.number);
            let message = &mut messages[number];
            let is_number = |field: &Field| {
                matches!(field.kind, Kind::Int32 | Kind::Int64)
                    && matches!(field.shape, Shape::Plain | Shape::Optional)
            };
            // A schema may call anything so.
            if message.known.is_some_and(WellKnown::is_time) && !fields.iter().all(is_number) {
                message.known = None;
            }
            message.fields = fields;
        }
    }

    fn field(&mut self, field: &FieldDescriptor, messages: &mut Vec<Message>) -> Field {
        let kind = match field.kind() {
            Described::Double => Kind::Double,
            Described::Float => Kind::Float,
            Described::Int32 => Kind::Int32,
            Described::Int64 => Kind::Int64,
            Described::Uint32 => Kind::Uint32,
            Described::Uint64 => Kind::Uint64,
            Described::Sint32 => Kind::Sint32,
            Described::Sint64 => Kind::Sint64,
            Described::Fixed32 => Kind::Fixed32,
            Described::Fixed64 => Kind::Fixed64,
            Described::Sfixed32 => Kind::Sfixed32,
            Described::Sfixed64 => Kind::Sfixed64,
            Described::Bool => Kind::Bool,
            Described::String => Kind::String,
            Described::Bytes => Kind::Bytes,
            Described::Enum(of) => Kind::Enum(
                of.values()
                    .map(|value| (value.number(), value.name().to_owned()))
                    .collect(),
            ),
            Described::Message(_) if field.is_group() => Kind::Group,
            Described::Message(of) => Kind::Message(self.add(&of, messages)),
        };
        Field {
            number: field.number(),
            name: field.name().to_owned(),
            member: member_of(field.name()),
            json_name: field.json_name().to_owned(),
            kind,
            one_of: one_of(field),
            shape: match field.cardinality() {
                _ if field.is_map() => Shape::Map,
                Cardinality::Repeated => Shape::Repeated,
                _ if field.supports_presence() => Shape::Optional,
                _ => Shape::Plain,
            },
        }
    }
}

/// What only says of a field that it is optional is none.
fn one_of(field: &FieldDescriptor) -> Option<u32> {
    let own = field.containing_oneof().filter(|own| !own.is_synthetic())?;
    let mut all = field.parent_message().oneofs();
    let place = all.position(|other| other == own)?;
    u32::try_from(place).ok()
}

fn well_known(name: &str) -> Option<WellKnown> {
    match name {
        "google.type.Date" => return Some(WellKnown::Date),
        "google.type.TimeOfDay" => return Some(WellKnown::TimeOfDay),
        _ => {}
    }
    Some(match name.strip_prefix("google.protobuf.")? {
        "Timestamp" => WellKnown::Timestamp,
        "Duration" => WellKnown::Duration,
        "Struct" => WellKnown::Struct,
        "Value" => WellKnown::Value,
        "ListValue" => WellKnown::ListValue,
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
        | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => WellKnown::Wrapper,
        _ => return None,
    })
}
