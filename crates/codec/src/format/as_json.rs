//! Records of any format as JSON, for what reads JSON alone: change records, windows and joins.
//!
//! A record is written out once more, so this costs what reading it as JSON costs and the writing on top.
//! Change records of Avro come with a schema block before them, as Connect's JSON converter writes it: with
//! it every type is known, and nothing has to be declared.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use super::avro::{Dress, explained, of_header, split_frame};
use super::csv::CsvText;
use super::protobuf::split_indexes;
use super::validation::{JsonSchema, Validation, unframed};
use super::{AvroSchema, Format, ProtobufSchema, SchemaError, SchemaKey, Unread};
use crate::decode::{Reason, Reject};

/// Schemas that one lane keeps.
const SCHEMAS_MAX: usize = 1_000;
/// Bytes of their texts and blocks.
const SCHEMA_BYTES_MAX: usize = 32 << 20;

/// What the JSON is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its fields: times are texts, decimals are numbers.
    Fields,
    /// A change record, or the key of one: as Connect's JSON converter writes it.
    Change,
}

/// Writes records as JSON; use one per lane, and one for keys.
#[derive(Debug)]
pub struct AsJson {
    format: Format,
    purpose: Purpose,
    known: HashMap<SchemaKey, Arc<Known>>,
    known_bytes: usize,
    current: Option<(SchemaKey, Arc<Known>)>,
    /// The schema of every record, where no registry has it.
    own: Option<Arc<Known>>,
    csv: Option<CsvText>,
    validation: Option<Box<Validation>>,
    text: String,
}

/// A schema, and what comes of it.
#[derive(Debug)]
enum Known {
    Avro {
        schema: Arc<AvroSchema>,
        /// What stands before and behind each record.
        around: (String, &'static str),
    },
    Protobuf(Arc<ProtobufSchema>),
}

impl Known {
    fn avro(schema: Arc<AvroSchema>, purpose: Purpose) -> Result<Known, SchemaError> {
        let around = match purpose {
            Purpose::Fields => (String::new(), ""),
            Purpose::Change => {
                let block = schema.connect_block()?;
                (format!("{{\"schema\":{block},\"payload\":"), "}")
            }
        };
        Ok(Known::Avro { schema, around })
    }

    fn bytes(&self) -> usize {
        match self {
            Known::Avro { schema, around } => schema.memory_bytes() + around.0.len(),
            Known::Protobuf(_) => 0,
        }
    }
}

impl AsJson {
    /// `None`: the records are JSON, or are not read.
    ///
    /// # Errors
    /// The schema of the records cannot be used.
    pub fn new(format: &Format, purpose: Purpose) -> Result<Option<AsJson>, SchemaError> {
        let own = match format {
            Format::Json | Format::String => return Ok(None),
            Format::Avro(avro) => match &avro.schema {
                Some(schema) => Some(Known::avro(schema.clone(), purpose)?),
                None => None,
            },
            Format::Protobuf(protobuf) => protobuf.schema.clone().map(Known::Protobuf),
            Format::JsonSchema { .. } | Format::Csv(_) => None,
        };
        Ok(Some(AsJson {
            csv: match format {
                Format::Csv(csv) => Some(CsvText::new(csv)),
                _ => None,
            },
            validation: match format {
                Format::JsonSchema { validate: true } => Some(Box::default()),
                _ => None,
            },
            format: format.clone(),
            purpose,
            known: HashMap::new(),
            known_bytes: 0,
            current: None,
            own: own.map(Arc::new),
            text: String::new(),
        }))
    }

    /// `format` of what it reads.
    #[must_use]
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// Why bytes are refused whose schema is of no use.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self.format {
            Format::Protobuf(_) => Reason::InvalidProtobuf,
            Format::JsonSchema { .. } => Reason::SchemaViolation,
            _ => Reason::InvalidAvro,
        }
    }

    /// Turns to the schema of a record.
    ///
    /// # Errors
    /// It is not known yet; [`AsJson::read`] says what else is wrong.
    pub fn prepare(&mut self, value: &[u8], header: Option<&[u8]>) -> Result<(), Unread> {
        if let Some(validation) = &mut self.validation {
            validation.set_header(header)?;
            return validation.prepare(value);
        }
        match &self.format {
            Format::Avro(_) | Format::Protobuf(_) if self.own.is_none() => {
                self.open(value, header, false).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    /// A record, or its key, as JSON. `header`: what names its schema in place of a frame.
    ///
    /// # Errors
    /// The record is none of the format, or its schema is not known yet.
    pub fn read<'r>(
        &'r mut self,
        value: &'r [u8],
        header: Option<&[u8]>,
    ) -> Result<&'r [u8], Unread> {
        match &self.format {
            Format::Json | Format::String => Ok(value),
            Format::JsonSchema { .. } => match &mut self.validation {
                Some(validation) => {
                    validation.set_header(header)?;
                    validation.check(value)
                }
                None => Ok(unframed(value)),
            },
            Format::Csv(_) => match &mut self.csv {
                Some(csv) => {
                    csv.write_json(value, &mut self.text)?;
                    Ok(self.text.as_bytes())
                }
                None => Ok(value),
            },
            Format::Avro(avro) => {
                let is_framed = avro.framed;
                self.read_avro(value, header, is_framed)?;
                Ok(self.text.as_bytes())
            }
            Format::Protobuf(protobuf) => {
                let is_framed = protobuf.framed;
                let read = self.read_protobuf(value, header, is_framed);
                read.map_err(|unread| match unread {
                    Unread::Refused(reject) if reject.reason == Reason::InvalidAvro => {
                        Reject::new(Reason::InvalidProtobuf, reject.detail).into()
                    }
                    other => other,
                })?;
                Ok(self.text.as_bytes())
            }
        }
    }

    /// Takes a schema that [`Unread::NeedsSchema`] asked for.
    ///
    /// # Errors
    /// It cannot be written as a block.
    pub fn add_avro(&mut self, key: SchemaKey, schema: Arc<AvroSchema>) -> Result<(), SchemaError> {
        let known = Known::avro(schema, self.purpose)?;
        self.add(key, known);
        Ok(())
    }

    /// Takes a schema that [`Unread::NeedsSchema`] asked for.
    pub fn add_protobuf(&mut self, key: SchemaKey, schema: Arc<ProtobufSchema>) {
        self.add(key, Known::Protobuf(schema));
    }

    /// Takes a schema that [`Unread::NeedsSchema`] asked for.
    pub fn add_json(&mut self, key: SchemaKey, schema: Arc<JsonSchema>) {
        if let Some(validation) = &mut self.validation {
            validation.add(key, schema);
        }
    }

    fn add(&mut self, key: SchemaKey, known: Known) {
        let bytes = known.bytes();
        if self.known.len() >= SCHEMAS_MAX || self.known_bytes + bytes > SCHEMA_BYTES_MAX {
            self.forget_schemas();
        }
        self.known_bytes += bytes;
        self.known.insert(key, Arc::new(known));
    }

    /// Forgets the schemas, so that they are asked for again.
    pub fn forget_schemas(&mut self) {
        self.known.clear();
        self.known_bytes = 0;
        self.current = None;
        if let Some(validation) = &mut self.validation {
            validation.forget();
        }
    }

    /// Gives back the room that a large record took.
    pub fn trim(&mut self, bytes_max: usize) {
        if self.text.capacity() > bytes_max {
            self.text = String::new();
        }
    }

    /// Texts and schemas that it keeps.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let validation = self.validation.as_ref();
        let validated = validation.map_or(0, |validation| validation.text_bytes());
        self.text.capacity() + self.known_bytes + validated
    }

    /// The schema that a record is read by, and what is left of the record behind its frame.
    fn open<'v>(
        &mut self,
        value: &'v [u8],
        header: Option<&[u8]>,
        is_framed: bool,
    ) -> Result<(Arc<Known>, &'v [u8]), Unread> {
        if let Some(own) = &self.own {
            let body = match (is_framed, header) {
                (true, None) => split_frame(value)?.1,
                _ => value,
            };
            return Ok((own.clone(), body));
        }
        let (key, body) = match header {
            Some(header) => (of_header(header)?, value),
            None => split_frame(value)?,
        };
        match &self.current {
            Some((current, known)) if *current == key => Ok((known.clone(), body)),
            _ => {
                let known = self.known.get(&key).ok_or(Unread::NeedsSchema(key))?;
                self.current = Some((key, known.clone()));
                Ok((known.clone(), body))
            }
        }
    }

    fn read_avro(
        &mut self,
        value: &[u8],
        header: Option<&[u8]>,
        is_framed: bool,
    ) -> Result<(), Unread> {
        let (known, body) = self.open(value, header, is_framed)?;
        let Known::Avro { schema, around } = &*known else {
            return Err(Reject::new(Reason::InvalidAvro, "the record has no Avro schema").into());
        };
        let dress = match self.purpose {
            Purpose::Fields => Dress::Meant,
            Purpose::Change => Dress::Connect,
        };
        self.text.clear();
        self.text.push_str(&around.0);
        let appended = schema.append_record(body, dress, &mut self.text);
        let skips = self.own.is_some() && !is_framed;
        appended.map_err(|reject| explained(reject, value, skips, "avro"))?;
        self.text.push_str(around.1);
        Ok(())
    }

    fn read_protobuf(
        &mut self,
        value: &[u8],
        header: Option<&[u8]>,
        is_framed: bool,
    ) -> Result<(), Unread> {
        let (known, body) = self.open(value, header, is_framed)?;
        let Known::Protobuf(schema) = &*known else {
            let detail = "the record has no Protobuf schema";
            return Err(Reject::new(Reason::InvalidProtobuf, detail).into());
        };
        // The places of messages stand behind frames alone.
        let has_indexes = header.is_none() && (self.own.is_none() || is_framed);
        let (place, body) = match has_indexes {
            true => split_indexes(body)?,
            false => (Cow::Borrowed(&[0][..]), body),
        };
        self.text.clear();
        let place = match self.own {
            Some(_) => &[0][..],
            None => &place[..],
        };
        let appended =
            schema.append_record(place, body, self.purpose == Purpose::Change, &mut self.text);
        let skips = self.own.is_some() && !is_framed;
        appended.map_err(|reject| explained(reject, value, skips, "protobuf"))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Csv, Protobuf};

    fn read(format: &Format, purpose: Purpose, value: &[u8]) -> Result<String, String> {
        let reader = AsJson::new(format, purpose).map_err(|error| error.to_string())?;
        let mut reader = reader.ok_or("it is JSON")?;
        match reader.read(value, None) {
            Ok(json) => Ok(String::from_utf8_lossy(json).into_owned()),
            Err(Unread::Refused(reject)) => Err(reject.to_string()),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn a_line_is_an_object_of_the_fields_that_it_has() {
        let names = ["a", "b c", "d"].map(str::to_owned).to_vec();
        let csv = Format::Csv(Csv {
            columns: Some(names),
            delimiter: b',',
            header: true,
        });
        let read = |line: &str| read(&csv, Purpose::Fields, line.as_bytes());
        assert_eq!(
            read("1,\"x\\\"\"\n\",true\n").as_deref(),
            Ok(r#"{"a":1,"b c":"x\\\"\u000a","d":true}"#)
        );
        assert_eq!(read(",,\\N").as_deref(), Ok("{}"));
        assert_eq!(read("a,b c,d"), Err("Dropped(\"header\")".to_owned()));
        assert!(read("1,2").is_err_and(|error| error.starts_with("invalid_value")));
    }

    #[test]
    fn frames_of_json_schema_are_passed_over() {
        let json = Format::JsonSchema { validate: false };
        for value in [&b"\0\0\0\0\x07{}"[..], b"{}"] {
            assert_eq!(read(&json, Purpose::Change, value).as_deref(), Ok("{}"));
        }
        assert!(
            AsJson::new(&Format::Json, Purpose::Fields)
                .unwrap()
                .is_none()
        );
    }

    #[test]
    fn absent_fields_of_messages_are_null_in_changes_alone() {
        let source = r#"syntax = "proto3"; message M { int32 a = 1; optional string b = 2; }"#;
        let schema = ProtobufSchema::from_source(source, &[]).unwrap();
        let protobuf = Format::Protobuf(Protobuf {
            schema: Some(Arc::new(schema)),
            framed: false,
        });
        for (purpose, expected) in [
            (Purpose::Fields, r#"{"a":1}"#),
            (Purpose::Change, r#"{"a":1,"b":null}"#),
        ] {
            assert_eq!(
                read(&protobuf, purpose, b"\x08\x01").as_deref(),
                Ok(expected)
            );
        }
        // As Connect's converter writes them.
        let source = r#"syntax = "proto3"; import "confluent/meta.proto"; import "confluent/type/decimal.proto";
            message V { confluent.type.Decimal n = 1 [(confluent.field_meta) = {
                params: [{ key: "scale", value: "2" }] }]; }"#;
        let of_connect = Format::Protobuf(Protobuf {
            schema: Some(Arc::new(ProtobufSchema::from_source(source, &[]).unwrap())),
            framed: false,
        });
        assert_eq!(
            read(
                &of_connect,
                Purpose::Change,
                b"\x0a\x05\x0a\x01\x96\x18\x02"
            )
            .as_deref(),
            Ok(r#"{"n":{"value":"lg==","precision":0,"scale":2}}"#)
        );
        let refused = read(&protobuf, Purpose::Fields, b"\x08");
        assert!(refused.is_err_and(|error| error.starts_with("invalid_protobuf")));
    }

    #[test]
    fn json_is_validated_where_that_is_asked_for() {
        let format = Format::JsonSchema { validate: true };
        let mut reader = AsJson::new(&format, Purpose::Fields).unwrap().unwrap();
        let value = b"\0\0\0\0\x07{\"a\":1}";
        let unknown = Err(Unread::NeedsSchema(SchemaKey::Id(7)));
        assert_eq!(reader.prepare(value, None), unknown);
        let schema = JsonSchema::parse_with(r#"{"properties":{"a":{"maximum":1}}}"#, &[]).unwrap();
        reader.add_json(SchemaKey::Id(7), Arc::new(schema));
        assert_eq!(reader.prepare(value, None), Ok(()));
        assert_eq!(reader.read(value, None), Ok(&b"{\"a\":1}"[..]));
        match reader.read(b"\0\0\0\0\x07{\"a\":2}", None) {
            Err(Unread::Refused(reject)) => assert_eq!(reject.reason, Reason::SchemaViolation),
            other => panic!("{other:?}"),
        }
        let header = Some(&b"\0\0\0\0\x08"[..]);
        assert_eq!(
            reader.read(b"{}", header),
            Err(Unread::NeedsSchema(SchemaKey::Id(8)))
        );
        assert!(reader.memory_bytes() > 0);
        reader.forget_schemas();
        assert_eq!(reader.prepare(value, None), unknown);
    }
}
