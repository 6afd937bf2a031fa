//! `format`: how the bytes of a record are read.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::columns::{COLUMN, ColumnMapping};
use super::section::Section;
use super::value::{Boolean, Choice, List, Text};
use crate::decode::Path;
use crate::format::{Avro, AvroSchema, Csv, Format, Protobuf, ProtobufSchema};
use crate::steps::Compute;

/// How the value of a record is compressed, whatever Kafka does with batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// As gzip.
    Gzip,
    /// As Zstandard.
    Zstd,
    /// As the first bytes say, each record for itself.
    Auto,
}

/// How the records are read of a kind that reads JSON alone: they are written as JSON first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Formats {
    /// Of the values.
    pub format: Format,
    /// Of the Kafka keys; none: nothing is declared.
    pub key_format: Option<KeyFormat>,
    /// How the values are compressed.
    pub compression: Compression,
}

impl Formats {
    /// Reads `format` with its own keys, `key_format` and `compression`.
    pub(super) fn read(section: &mut Section<'_>, key_formats: Choice<KeyFormat>) -> Formats {
        let formats = Formats {
            format: read(section),
            key_format: section.take("key_format", key_formats),
            compression: read_compression(section),
        };
        formats.check(section);
        formats
    }

    /// The same of a side of a join, over what stands at the pipeline.
    pub(super) fn read_over(section: &mut Section<'_>, defaults: &Formats) -> Formats {
        let name = section.take("format", FORMATS);
        let has_table = ["csv", "avro", "protobuf", "json_schema"]
            .iter()
            .any(|key| section.has(key));
        let of_pipeline = Name::of(&defaults.format);
        // What the pipeline says of a format is said of it here too.
        let has_own = has_table || name.is_some_and(|name| name != of_pipeline);
        let compression = section.take("compression", COMPRESSIONS);
        let formats = Formats {
            format: match has_own {
                true => read_named(section, name.unwrap_or(of_pipeline)),
                false => defaults.format.clone(),
            },
            key_format: section
                .take("key_format", KEY_FORMATS)
                .or(defaults.key_format),
            compression: compression.unwrap_or(defaults.compression),
        };
        if has_own {
            formats.check(section);
        }
        formats
    }

    /// Whether the schemas of values or keys are those that a registry has.
    #[must_use]
    pub fn needs_registry(&self) -> bool {
        let of_keys = self.key_format.is_some_and(KeyFormat::needs_registry);
        self.format.needs_registry() || of_keys
    }

    fn check(&self, section: &Section<'_>) {
        match &self.format {
            Format::String => {
                let message = "must not be \"string\": only kind = \"enrichment\" reads records that are one \
                               text; the fields that this kind reads are members of JSON, Avro, Protobuf or CSV";
                section.problem("format", message);
            }
            Format::Csv(csv) if csv.columns.is_none() => {
                let message = "is required with format = \"csv\": the names of a line's fields in their order";
                section.problem("csv.columns", message);
            }
            _ => {}
        }
    }
}

/// What a Kafka key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyFormat {
    /// The text itself, a JSON scalar, or a JSON object with the field as a member.
    #[default]
    Json,
    /// The text itself, whatever it looks like.
    Text,
    /// Avro, by the schema that a registry has.
    Avro,
    /// A message, by the schema that a registry has.
    Protobuf,
    /// JSON behind the frame of a registry, if there is one.
    JsonSchema,
}

impl KeyFormat {
    /// Whether a registry has the schemas of keys.
    #[must_use]
    pub fn needs_registry(self) -> bool {
        matches!(self, KeyFormat::Avro | KeyFormat::Protobuf)
    }

    /// Whether keys have members and values, and are not a text alone.
    #[must_use]
    pub fn has_members(self) -> bool {
        self != KeyFormat::Text
    }
}

pub(super) const KEY_FORMATS: Choice<KeyFormat> = Choice(&[
    ("json", KeyFormat::Json),
    ("string", KeyFormat::Text),
    ("bytes", KeyFormat::Text),
    ("avro", KeyFormat::Avro),
    ("protobuf", KeyFormat::Protobuf),
    ("json_schema", KeyFormat::JsonSchema),
]);

/// Of kinds to which a key that is one text says nothing.
pub(super) const KEY_FORMATS_OF_CHANGES: Choice<KeyFormat> = Choice(&[
    ("json", KeyFormat::Json),
    ("avro", KeyFormat::Avro),
    ("protobuf", KeyFormat::Protobuf),
    ("json_schema", KeyFormat::JsonSchema),
]);

const COMPRESSIONS: Choice<Compression> = Choice(&[
    ("none", Compression::None),
    ("gzip", Compression::Gzip),
    ("zstd", Compression::Zstd),
    ("auto", Compression::Auto),
]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Json,
    String,
    Csv,
    JsonSchema,
    Avro,
    Protobuf,
}

const DESCRIPTOR_FILE: Text = Text {
    allowed: "the path of a file with descriptors of Protobuf",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

const MESSAGE: Text = Text {
    allowed: "the full name of a message, such as \"shop.Order\"",
    check: |text| !text.is_empty() && !text.contains(|c: char| c.is_whitespace()),
};

const SCHEMA_FILE: Text = Text {
    allowed: "the path of a file with an Avro schema",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

const DELIMITER: Text = Text {
    allowed: "one character of ASCII that is no letter, digit, quote or line break, such as \";\" or \"\\t\"",
    check: |text| match text.as_bytes() {
        [byte] => byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte),
        _ => false,
    },
};

const FORMATS: Choice<Name> = Choice(&[
    ("json", Name::Json),
    ("string", Name::String),
    ("csv", Name::Csv),
    ("json_schema", Name::JsonSchema),
    ("avro", Name::Avro),
    ("protobuf", Name::Protobuf),
]);

impl Name {
    fn of(format: &Format) -> Name {
        match format {
            Format::Json => Name::Json,
            Format::String => Name::String,
            Format::Csv(_) => Name::Csv,
            Format::JsonSchema { .. } => Name::JsonSchema,
            Format::Avro(_) => Name::Avro,
            Format::Protobuf(_) => Name::Protobuf,
        }
    }
}

/// Reads `format` and the format's own keys.
pub(super) fn read(section: &mut Section<'_>) -> Format {
    let name = section.take_or("format", FORMATS, Name::Json);
    read_named(section, name)
}

fn read_named(section: &mut Section<'_>, name: Name) -> Format {
    let has_csv = section.has("csv");
    let csv = (has_csv || name == Name::Csv).then(|| read_csv(section.section("csv")));
    if has_csv && name != Name::Csv {
        section.problem("csv", "must not be set without format = \"csv\"");
    }
    let has_avro = section.has("avro");
    let avro = has_avro.then(|| read_avro(section.section("avro")));
    if has_avro && name != Name::Avro {
        section.problem("avro", "must not be set without format = \"avro\"");
    }
    let has_protobuf = section.has("protobuf");
    let protobuf = has_protobuf.then(|| read_protobuf(section.section("protobuf")));
    if has_protobuf && name != Name::Protobuf {
        section.problem("protobuf", "must not be set without format = \"protobuf\"");
    }
    let has_json_schema = section.has("json_schema");
    let validate = has_json_schema && read_json_schema(section.section("json_schema"));
    if has_json_schema && name != Name::JsonSchema {
        section.problem(
            "json_schema",
            "must not be set without format = \"json_schema\"",
        );
    }
    match (name, csv) {
        (Name::Protobuf, _) => Format::Protobuf(protobuf.unwrap_or_default()),
        (Name::Csv, Some(csv)) => Format::Csv(csv),
        (Name::String, _) => Format::String,
        (Name::Avro, _) => Format::Avro(avro.unwrap_or_default()),
        (Name::JsonSchema, _) => Format::JsonSchema { validate },
        (_, _) => Format::Json,
    }
}

/// `compression`: of the values themselves.
pub(super) fn read_compression(section: &mut Section<'_>) -> Compression {
    section.take_or("compression", COMPRESSIONS, Compression::None)
}

fn read_avro(mut section: Section<'_>) -> Avro {
    let file = section.take("schema_file", SCHEMA_FILE);
    let avro = Avro {
        schema: file.and_then(|file| read_schema(&file, &section)),
        framed: section.take_or("framed", Boolean, false),
    };
    if avro.framed && !section.was_written("schema_file") {
        let message = "must not be set without schema_file: a registry is asked for the schema that the \
                       frame names";
        section.problem("framed", message);
    }
    section.finish();
    avro
}

fn read_json_schema(mut section: Section<'_>) -> bool {
    let validate = section.take_or("validate", Boolean, false);
    section.finish();
    validate
}

fn read_protobuf(mut section: Section<'_>) -> Protobuf {
    let file = section.take("descriptor_file", DESCRIPTOR_FILE);
    let message = section.take("message", MESSAGE);
    let schema = match (&file, &message) {
        (Some(file), Some(message)) => read_descriptors(file, message, &section),
        (Some(_), None) if !section.was_written("message") => {
            let message =
                "is required together with descriptor_file: the full name of the records' message";
            section.problem("message", message);
            None
        }
        (None, Some(_)) if !section.was_written("descriptor_file") => {
            let message = "must not be set without descriptor_file: a registry is asked for the message that the \
                           frame names";
            section.problem("message", message);
            None
        }
        _ => None,
    };
    let protobuf = Protobuf {
        schema,
        framed: section.take_or("framed", Boolean, false),
    };
    if protobuf.framed && !section.was_written("descriptor_file") {
        let message = "must not be set without descriptor_file: a registry is asked for the message that the \
                       frame names";
        section.problem("framed", message);
    }
    section.finish();
    protobuf
}

fn read_descriptors(
    file: &str,
    message: &str,
    section: &Section<'_>,
) -> Option<Arc<ProtobufSchema>> {
    let path = section.reader.directory.join(file);
    let read = std::fs::read(&path).map_err(|error| error.to_string());
    let schema = read.and_then(|bytes| {
        ProtobufSchema::from_descriptors(&bytes, message).map_err(|error| error.to_string())
    });
    match schema {
        Ok(schema) => Some(Arc::new(schema)),
        Err(why) => {
            let message = format!(
                "must name a file with the descriptors of the message (protoc --include_imports \
                 --descriptor_set_out): {}: {why}",
                path.display()
            );
            section.problem("descriptor_file", message);
            None
        }
    }
}

fn read_schema(file: &str, section: &Section<'_>) -> Option<Arc<AvroSchema>> {
    let path = section.reader.directory.join(file);
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    let schema = read.and_then(|text| AvroSchema::parse(&text).map_err(|error| error.to_string()));
    match schema {
        Ok(schema) => Some(Arc::new(schema)),
        Err(why) => {
            let message = format!(
                "must name a file with the Avro schema of the records: {}: {why}",
                path.display()
            );
            section.problem("schema_file", message);
            None
        }
    }
}

fn read_csv(mut section: Section<'_>) -> Csv {
    let names = List {
        of: COLUMN,
        may_be_empty: false,
    };
    let columns = section.take("columns", names);
    let delimiter = section.take_or("delimiter", DELIMITER, ",".to_owned());
    let csv = Csv {
        delimiter: delimiter.bytes().next().unwrap_or(b','),
        header: section.take_or("header", Boolean, false),
        columns,
    };
    let mut names = csv.columns.iter().flatten().collect::<Vec<_>>();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        section.problem(
            "columns",
            format!("must name each field once, has {:?} twice", pair[0]),
        );
    }
    section.finish();
    csv
}

/// What the columns and the deciding fields of a pipeline ask for must be in a record of the format.
/// `fields`: each with the key that names it. `asked`: those that rules and duplicates look at, by their paths.
pub(super) fn check(
    format: &Format,
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    asked: &[(String, &str)],
    section: &Section<'_>,
) {
    match format {
        Format::Json | Format::JsonSchema { .. } | Format::Avro(_) | Format::Protobuf(_) => {}
        Format::String => check_string(columns, fields, asked, section),
        Format::Csv(csv) => check_csv(csv, columns, fields, asked, section),
    }
}

/// The fields that values are computed of, each with its key.
fn computed_fields(
    columns: &BTreeMap<String, ColumnMapping>,
) -> impl Iterator<Item = (String, &str)> {
    let transforms = columns
        .iter()
        .filter_map(|(column, mapping)| Some((column, mapping.transform.as_ref()?)));
    let computed = transforms.filter(|(_, transform)| transform.making.compute != Compute::Field);
    computed.flat_map(|(column, transform)| {
        let key = format!("columns.{column}.{}", transform.making.compute.name());
        let fields = transform.fields.iter();
        fields.map(move |field| (key.clone(), field.as_str()))
    })
}

fn check_string(
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    asked: &[(String, &str)],
    section: &Section<'_>,
) {
    for (column, mapping) in columns.iter().filter(|(_, m)| m.from.is_none()) {
        if mapping.path.as_deref().is_some_and(|path| path != "$") {
            let message = "must be \"$\", the whole value: format = \"string\" knows no members";
            section.problem(&format!("columns.{column}.path"), message);
        }
    }
    let asked = asked.iter().map(|(key, path)| (key.clone(), *path));
    let named = computed_fields(columns).chain(asked);
    for (key, path) in named.filter(|(_, path)| *path != "$") {
        let message =
            format!("must be \"$\", the whole value: format = \"string\" knows no {path}");
        section.problem(&key, message);
    }
    let takes_whole = |mapping: &ColumnMapping| mapping.path.as_deref() == Some("$");
    let takes_value = |mapping: &ColumnMapping| mapping.from.is_some();
    if !columns.values().any(|m| takes_whole(m) || takes_value(m)) {
        let message = "\"string\" needs a column that takes the whole value: message = \"$\" in \
                       [pipeline.columns]";
        section.problem("format", message);
    }
    for (key, field) in fields {
        if !columns.get(*field).is_some_and(takes_whole) {
            let message = format!(
                "must be a column that [pipeline.columns] maps to \"$\", found {field:?}: \
                 format = \"string\" knows no members"
            );
            section.problem(key, message);
        }
    }
}

/// A line has fields by name and nothing below them.
fn check_csv(
    csv: &Csv,
    columns: &BTreeMap<String, ColumnMapping>,
    fields: &[(String, &str)],
    asked: &[(String, &str)],
    section: &Section<'_>,
) {
    let has = |name: &str| {
        let names = csv.columns.as_ref();
        names.is_none_or(|names| names.iter().any(|known| known == name))
    };
    let is_field = |path: &Path| {
        let mut steps = path.names();
        steps.next().is_some_and(has) && steps.next().is_none() && path.steps().is_empty()
    };
    let paths = columns
        .iter()
        .filter(|(_, m)| m.from.is_none())
        .filter_map(|(c, m)| Some((c, m.path.as_deref()?)));
    for (column, path) in paths {
        if !Path::parse(path).is_ok_and(|path| is_field(&path)) {
            let key = format!("columns.{column}.path");
            let message = format!("must be \"$.name\" with a name of csv.columns, found {path:?}");
            section.problem(&key, message);
        }
    }
    let asked = asked.iter().map(|(key, path)| (key.clone(), *path));
    for (key, path) in computed_fields(columns).chain(asked) {
        if !Path::parse(path).is_ok_and(|path| is_field(&path)) {
            let message = format!("must be \"$.name\" with a name of csv.columns, found {path:?}");
            section.problem(&key, message);
        }
    }
    for (key, field) in fields {
        let is_mapped = columns
            .get(*field)
            .is_some_and(|mapping| mapping.path.is_some());
        let is_there = match field.strip_prefix("$.") {
            Some(name) => has(name),
            None => has(field) || is_mapped,
        };
        if !is_there {
            let message = format!("must be a field of csv.columns, found {field:?}");
            section.problem(key, message);
        }
    }
}
