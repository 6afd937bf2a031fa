//! `format = "protobuf"`: records that are messages, by their descriptor or the source that a registry has.
//!
//! A message is walked once and validated. For each wanted field the walk keeps where it lies; numbers
//! and texts are written from there, everything else becomes JSON first.

mod built_in;
mod columns;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod times;
mod walk;
mod wire;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

pub use self::schema::ProtobufSchema;
#[cfg(any(test, fuzzing))]
pub(crate) use self::schema::compiled as protobuf_pool;
use self::schema::{Field, Kind, Shape};
use self::walk::Walking;
use self::wire::{Read, fault};
use super::avro::{explained, split_frame};
use super::{Reader, SchemaError, SchemaKey, Unread, Values, Wish};
use crate::decode::json::{Kind as Json, Raw};
use crate::decode::{Reason, Reject};
use crate::format::json_text::{append_integer, append_part, utf8};
use crate::table::{ColumnSource, ColumnType, RawMode, append_length};

/// Schemas whose steps one lane keeps.
const SCHEMAS_MAX: usize = 1_000;
/// Names of fields that no path leads to, as many as are told.
const NAMES_MAX: usize = 100;
/// Levels of messages in the main file.
const INDEXES_MAX: i64 = 100;

/// `[pipeline.protobuf]`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protobuf {
    /// The message of every record; none: a registry has those that the frames name.
    pub schema: Option<Arc<ProtobufSchema>>,
    /// Without a registry: whether records begin with the frame of one, which is passed over.
    pub framed: bool,
}

/// What is wanted of the records of a pipeline.
#[derive(Debug)]
pub struct ProtobufPlan {
    wishes: Vec<Wish>,
    /// Slots of columns of integers.
    takes_integers: Vec<bool>,
    /// Slots whose values are texts: those without a column, and those that are asked for.
    needs_text: Vec<bool>,
    compiled: Option<Arc<Compiled>>,
    framed: bool,
}

/// A message of a schema, and where the wanted fields are in it.
#[derive(Debug)]
struct Compiled {
    schema: Arc<ProtobufSchema>,
    root: Level,
    /// Slots of `$`.
    whole: Vec<usize>,
    /// Top-level fields that no path leads to.
    unknown_names: Vec<String>,
}

/// What is wanted of one message.
#[derive(Debug)]
struct Level {
    message: usize,
    /// In the order of the fields' numbers.
    fields: Vec<Step>,
    /// Those that have a default.
    defaults: Vec<usize>,
    /// Whether a step needs all occurrences of its field.
    gathers: bool,
}

#[derive(Debug)]
struct Step {
    slots: Vec<usize>,
    /// The one slot of a text that is no member of a `oneof`.
    text: Option<usize>,
    /// Whether one of the slots needs all occurrences.
    gathers: bool,
    /// Whether it is a message that is only written as JSON: that validates it.
    is_validated_later: bool,
    below: Option<Level>,
    /// Slots of the other members of its `oneof`, and of what is below them.
    clears: Vec<usize>,
}

/// Reads messages.
#[derive(Debug)]
pub struct ProtobufReader {
    plan: Arc<ProtobufPlan>,
    schemas: HashMap<SchemaKey, Arc<ProtobufSchema>>,
    compiled: HashMap<(SchemaKey, Vec<i32>), Arc<Compiled>>,
    header: Option<SchemaKey>,
    current: Option<Arc<Compiled>>,
    current_key: Option<(SchemaKey, Vec<i32>)>,
    found: Vec<Found>,
    text: String,
    unknown_names: Vec<String>,
}

/// What a record has for a slot.
#[derive(Debug, Clone, Copy)]
enum Found {
    Absent,
    Integer(i64),
    /// One that may be larger than those.
    Unsigned(u64),
    Double(f64),
    /// In the record.
    Text {
        from: usize,
        end: usize,
    },
    /// With the base64 that stands for them in JSON among the texts of the reader, where that is asked for.
    Bytes {
        from: usize,
        end: usize,
        natural: Option<(usize, usize)>,
    },
    /// In the texts of the reader.
    Natural {
        kind: Json,
        from: usize,
        end: usize,
    },
}

/// The values of a record.
#[derive(Debug)]
pub struct ProtobufValues<'r, 'a> {
    takes_integers: &'r [bool],
    found: &'r [Found],
    text: &'r str,
    body: &'a [u8],
}

impl ProtobufPlan {
    pub(super) fn new(protobuf: &Protobuf, wishes: Vec<Wish>) -> Result<Self, SchemaError> {
        let takes_integers = wishes.iter().map(|wish| {
            let column = wish.column.as_ref();
            column.is_some_and(|column| {
                let column_type = &column.column().column_type;
                column.raw_mode() == RawMode::Off
                    && !column.has_steps()
                    && column_type.encode_integer(0, &mut vec![]).is_ok()
            })
        });
        let needs_text = wishes
            .iter()
            .map(|wish| wish.column.is_none() || wish.is_asked_for);
        let mut plan = ProtobufPlan {
            takes_integers: takes_integers.collect(),
            needs_text: needs_text.collect(),
            wishes,
            compiled: None,
            framed: protobuf.framed,
        };
        if let Some(schema) = &protobuf.schema {
            plan.compiled = Some(Arc::new(Compiled::new(schema.clone(), &[0], &plan.wishes)?));
        }
        Ok(plan)
    }
}

impl Compiled {
    fn new(
        schema: Arc<ProtobufSchema>,
        place: &[i32],
        wishes: &[Wish],
    ) -> Result<Compiled, SchemaError> {
        let Some(message) = schema.root(place) else {
            return Err(SchemaError(format!(
                "the schema has no message at {place:?}"
            )));
        };
        let mut left = vec![];
        let mut whole = vec![];
        let mut reached = vec![false; wishes.len()];
        for (slot, wish) in wishes.iter().enumerate() {
            let names: Vec<&str> = wish.path.names().collect();
            match names.is_empty() {
                true => {
                    whole.push(slot);
                    reached[slot] = true;
                }
                false => left.push((slot, names)),
            }
        }
        let root = Level::new(&schema, message, &left, wishes, &mut reached)?;
        for (wish, reached) in wishes.iter().zip(reached) {
            if let Some(column) = wish.column.as_ref().filter(|c| c.is_required() && !reached) {
                return Err(SchemaError(format!(
                    "message {} has no field {} for the column {}, which is required",
                    schema.message(message).name,
                    wish.path,
                    column.column().name
                )));
            }
        }
        let steps = root.fields.iter().zip(&schema.message(message).fields);
        let unknown = steps.filter(|(step, _)| step.slots.is_empty() && step.below.is_none());
        let unknown_names = match whole.is_empty() {
            true => unknown.map(|(_, field)| field.name.clone()).collect(),
            false => vec![],
        };
        Ok(Compiled {
            schema,
            root,
            whole,
            unknown_names,
        })
    }
}

impl Level {
    fn new(
        schema: &ProtobufSchema,
        message: usize,
        left: &[(usize, Vec<&str>)],
        wishes: &[Wish],
        reached: &mut [bool],
    ) -> Result<Level, SchemaError> {
        let mut fields = vec![];
        for field in &schema.message(message).fields {
            let is_it = |name: &&str| **name == field.name || **name == field.json_name;
            let of_field = left
                .iter()
                .filter(|(_, names)| names.first().is_some_and(is_it));
            let (mut slots, mut below) = (vec![], vec![]);
            for (slot, names) in of_field {
                match &names[1..] {
                    [] => slots.push(*slot),
                    rest => below.push((*slot, rest.to_vec())),
                }
            }
            for &slot in &slots {
                reached[slot] = true;
                check(schema, message, field, &wishes[slot])?;
            }
            let is_plain = !matches!(field.shape, Shape::Repeated | Shape::Map);
            let below = match &field.kind {
                Kind::Message(inner) if is_plain && !below.is_empty() => {
                    Some(Level::new(schema, *inner, &below, wishes, reached)?)
                }
                _ => None,
            };
            let is_message = matches!(field.kind, Kind::Message(_));
            let gathers = (!is_plain || is_message) && !slots.is_empty();
            let is_alone = is_plain && below.is_none() && field.one_of.is_none();
            fields.push(Step {
                gathers,
                is_validated_later: gathers && is_message && is_alone,
                text: match slots[..] {
                    [slot] if is_plain && field.kind == Kind::String && field.one_of.is_none() => {
                        Some(slot)
                    }
                    _ => None,
                },
                slots,
                below,
                clears: vec![],
            });
        }
        let has_default =
            |(step, field): (&Step, &Field)| field.shape == Shape::Plain && !step.slots.is_empty();
        let of_schema = &schema.message(message).fields;
        let mut level = Level {
            message,
            defaults: (0..fields.len())
                .filter(|&index| has_default((&fields[index], &of_schema[index])))
                .collect(),
            gathers: fields.iter().any(|step| step.gathers),
            fields,
        };
        level.note_one_ofs(schema);
        Ok(level)
    }

    /// Of the members of a `oneof` the last one in a record counts.
    fn note_one_ofs(&mut self, schema: &ProtobufSchema) {
        let of_schema = &schema.message(self.message).fields;
        for index in 0..self.fields.len() {
            let own = of_schema[index].one_of;
            if own.is_none() {
                continue;
            }
            let mut clears = vec![];
            for (other, step) in self.fields.iter().enumerate() {
                if other != index && of_schema[other].one_of == own {
                    step.append_slots(&mut clears);
                }
            }
            self.fields[index].clears = clears;
        }
    }
}

impl Step {
    fn append_slots(&self, out: &mut Vec<usize>) {
        out.extend(&self.slots);
        let below = self.below.iter().flat_map(|below| &below.fields);
        below.for_each(|step| step.append_slots(out));
    }
}

/// Whether the column may hold some value of the field.
fn check(
    schema: &ProtobufSchema,
    message: usize,
    field: &Field,
    wish: &Wish,
) -> Result<(), SchemaError> {
    let Some(column) = wish.column.as_ref().filter(|column| !column.has_steps()) else {
        return Ok(());
    };
    let is_several = matches!(field.shape, Shape::Repeated | Shape::Map);
    let is_object = match field.kind {
        Kind::Message(inner) => schema.message(inner).known.is_none(),
        _ => false,
    };
    let column = column.column();
    if (is_several || is_object) && is_number(&column.column_type) {
        return Err(SchemaError(format!(
            "column {} {} cannot hold the field {} of message {}",
            column.name,
            column.column_type,
            field.name,
            schema.message(message).name
        )));
    }
    Ok(())
}

fn plain(column: &ColumnType) -> &ColumnType {
    match column {
        ColumnType::LowCardinality(inner) | ColumnType::Nullable(inner) => plain(inner),
        plain => plain,
    }
}

fn is_number(column: &ColumnType) -> bool {
    column.encode_integer(0, &mut vec![]).is_ok()
        || matches!(
            plain(column),
            ColumnType::Float32
                | ColumnType::Float64
                | ColumnType::Decimal { .. }
                | ColumnType::Bool
        )
        || plain(column).has_times() && !matches!(plain(column), ColumnType::Array(_))
}

impl ProtobufReader {
    pub(super) fn new(plan: Arc<ProtobufPlan>) -> Self {
        ProtobufReader {
            current: plan.compiled.clone(),
            current_key: None,
            found: vec![Found::Absent; plan.wishes.len()],
            plan,
            schemas: HashMap::new(),
            compiled: HashMap::new(),
            header: None,
            text: String::new(),
            unknown_names: vec![],
        }
    }

    /// The header `__value_schema_id` of the next record.
    ///
    /// # Errors
    /// It names no schema.
    pub fn set_header(&mut self, header: Option<&[u8]>) -> Result<(), Reject> {
        let header = header.map(super::avro::of_header).transpose();
        self.header =
            header.map_err(|reject| Reject::new(Reason::InvalidProtobuf, reject.detail))?;
        Ok(())
    }

    /// Takes a schema that [`Unread::NeedsSchema`] asked for. Whether its messages can fill the table's
    /// columns shows when a record names one of them.
    pub fn add_schema(&mut self, key: SchemaKey, schema: Arc<ProtobufSchema>) {
        if self.schemas.len() >= SCHEMAS_MAX {
            self.forget_schemas();
        }
        self.schemas.insert(key, schema);
    }

    /// Forgets the schemas, so that they are asked for again.
    pub fn forget_schemas(&mut self) {
        self.schemas.clear();
        self.compiled.clear();
        self.current_key = None;
    }

    /// The message of a record, and its schema as the current one.
    fn open<'a>(&mut self, value: &'a [u8]) -> Result<&'a [u8], Unread> {
        let invalid = |reject: Reject| Reject::new(Reason::InvalidProtobuf, reject.detail);
        if self.plan.compiled.is_some() {
            if !self.plan.framed || self.header.is_some() {
                return Ok(value);
            }
            let (_, body) = split_frame(value).map_err(invalid)?;
            return Ok(indexes(body).map_err(|fault| fault.reject())?.1);
        }
        let (key, (place, body)) = match self.header {
            Some(key) => (key, (Cow::Borrowed(FIRST), value)),
            None => {
                let (key, body) = split_frame(value).map_err(invalid)?;
                (key, indexes(body).map_err(|fault| fault.reject())?)
            }
        };
        let is_current = |known: &(SchemaKey, Vec<i32>)| known.0 == key && known.1[..] == place[..];
        if !self.current_key.as_ref().is_some_and(is_current) {
            self.turn_to((key, place.into_owned()))?;
        }
        Ok(body)
    }

    #[cold]
    fn turn_to(&mut self, key: (SchemaKey, Vec<i32>)) -> Result<(), Unread> {
        if !self.compiled.contains_key(&key) {
            let schema = self.schemas.get(&key.0).ok_or(Unread::NeedsSchema(key.0))?;
            if schema.root(&key.1).is_none() {
                let detail = format!("schema {} has no message at {:?}", key.0, key.1);
                return Err(Reject::new(Reason::InvalidProtobuf, detail).into());
            }
            let compiled = Compiled::new(schema.clone(), &key.1, &self.plan.wishes);
            let compiled = compiled.map_err(|error| Unread::Misfit(key.0, error))?;
            for name in &compiled.unknown_names {
                if self.unknown_names.len() < NAMES_MAX && !self.unknown_names.contains(name) {
                    self.unknown_names.push(name.clone());
                }
            }
            if self.compiled.len() >= SCHEMAS_MAX {
                self.compiled.clear();
            }
            self.compiled.insert(key.clone(), Arc::new(compiled));
        }
        self.current = self.compiled.get(&key).cloned();
        self.current_key = Some(key);
        Ok(())
    }
}

/// The place of the first message of a file.
const FIRST: &[i32] = &[0];

/// The place of the message in its file, which stands behind the frame, and the message.
fn indexes(body: &[u8]) -> Read<(Cow<'static, [i32]>, &[u8])> {
    // The short form of the first message, which most are.
    if let Some((0, body)) = body.split_first() {
        return Ok((Cow::Borrowed(FIRST), body));
    }
    let mut at = 0;
    let mut next = || -> Read<i64> {
        let mut number = 0u64;
        for shift in (0..63).step_by(7) {
            let Some(&byte) = body.get(at) else {
                return fault(at, "the record ends in its message indexes");
            };
            at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        fault(at, "no message index")
    };
    let count = next()?;
    if !(0..=INDEXES_MAX).contains(&count) {
        return fault(0, format!("{count} message indexes"));
    }
    let mut place = vec![];
    for _ in 0..count {
        let index = next()?;
        match i32::try_from(index) {
            Ok(index) => place.push(index),
            Err(_) => return fault(0, format!("message index {index}")),
        }
    }
    if place.is_empty() {
        place.push(0);
    }
    Ok((Cow::Owned(place), &body[at..]))
}

/// The place of a record's message and the message, behind its frame.
pub(super) fn split_indexes(body: &[u8]) -> Result<(Cow<'static, [i32]>, &[u8]), Reject> {
    indexes(body).map_err(|fault| fault.reject())
}

impl Reader for ProtobufReader {
    type Values<'r, 'a> = ProtobufValues<'r, 'a>;

    fn read<'r, 'a>(
        &'r mut self,
        value: Option<&'a [u8]>,
    ) -> Result<ProtobufValues<'r, 'a>, Unread> {
        let value =
            value.ok_or_else(|| Reject::new(Reason::NullValue, "the record has no value"))?;
        let body = self.open(value)?;
        let Some(compiled) = &self.current else {
            return Err(Reject::new(Reason::InvalidProtobuf, "the record has no schema").into());
        };
        self.found.fill(Found::Absent);
        self.text.clear();
        self.text.shrink_to(1 << 20);
        let mut walking = Walking {
            schema: &compiled.schema,
            wishes: &self.plan.wishes,
            needs_text: &self.plan.needs_text,
            found: &mut self.found,
            text: &mut self.text,
            body: std::marker::PhantomData,
        };
        let walked = walking.walk(&compiled.root, body, 0, 0).and_then(|()| {
            for &slot in &compiled.whole {
                let from = self.text.len();
                let message = compiled.schema.message(compiled.root.message);
                let kind =
                    compiled
                        .schema
                        .texts()
                        .append_message(message, body, 0, &mut self.text, 0)?;
                let end = self.text.len();
                self.found[slot] = Found::Natural { kind, from, end };
            }
            Ok(())
        });
        if let Err(fault) = walked {
            let without = self.plan.compiled.is_some() && !self.plan.framed;
            return Err(explained(fault.reject(), value, without, "protobuf").into());
        }
        Ok(ProtobufValues {
            takes_integers: &self.plan.takes_integers,
            found: &self.found,
            text: &self.text,
            body,
        })
    }

    fn unknown_names(&self, known: usize) -> Vec<&str> {
        let of_plan = self.plan.compiled.iter();
        let of_plan = of_plan.flat_map(|compiled| &compiled.unknown_names);
        let names = of_plan.chain(&self.unknown_names).take(NAMES_MAX);
        names.skip(known).map(String::as_str).collect()
    }
}

impl ProtobufValues<'_, '_> {
    #[inline(always)]
    fn append_number(
        &self,
        number: impl itoa::Integer,
        wide: i128,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        if self.takes_integers[column.slot()] {
            return column.encode_with(out, with_default_flag, |column, out| {
                column.encode_integer(wide, out)
            });
        }
        let mut text = String::new();
        append_integer(number, &mut text);
        column.encode_value(Raw::written(Json::Number, &text), out, with_default_flag)
    }
}

impl Values for ProtobufValues<'_, '_> {
    #[inline(always)]
    fn append(
        &self,
        column: &ColumnSource,
        out: &mut Vec<u8>,
        with_default_flag: bool,
    ) -> Result<(), Reject> {
        let slot = column.slot();
        let column_type = &column.column().column_type;
        let is_plain = column.raw_mode() == RawMode::Off && !column.has_steps();
        match self.found[slot] {
            Found::Integer(number) => {
                self.append_number(number, number.into(), column, out, with_default_flag)
            }
            Found::Unsigned(number) => {
                self.append_number(number, number.into(), column, out, with_default_flag)
            }
            Found::Double(number) if is_plain && *plain(column_type) == ColumnType::Float64 => {
                column.encode_with(out, with_default_flag, |column, out| {
                    if column.is_nullable() {
                        out.push(0);
                    }
                    out.extend_from_slice(&number.to_le_bytes());
                    Ok(())
                })
            }
            Found::Double(number) => {
                let mut text = String::new();
                let kind = crate::format::json_text::append_float(number, &mut text);
                column.encode_value(Raw::written(kind, &text), out, with_default_flag)
            }
            Found::Text { from, end } | Found::Bytes { from, end, .. }
                if is_plain && column_type.is_text() =>
            {
                column.encode_with(out, with_default_flag, |column, out| {
                    if column.is_nullable() {
                        out.push(0);
                    }
                    append_length(end - from, out);
                    append_part(self.body, from, end, out);
                    Ok(())
                })
            }
            Found::Bytes { from, end, .. } => {
                let mut text = String::new();
                crate::format::json_text::append_base64(&self.body[from..end], &mut text);
                column.encode_value(Raw::string(&text), out, with_default_flag)
            }
            Found::Natural {
                kind: Json::Object | Json::Array,
                from,
                end,
            } if is_plain && column_type.is_text() => {
                column.encode_value(Raw::string(&self.text[from..end]), out, with_default_flag)
            }
            _ => column.encode_value(self.get(slot), out, with_default_flag),
        }
    }

    fn get(&self, slot: usize) -> Raw<'_> {
        match self.found[slot] {
            Found::Text { from, end } => {
                let bytes = &self.body[from..end];
                Raw::string(utf8(bytes).unwrap_or_default())
            }
            Found::Bytes {
                natural: Some((from, end)),
                ..
            } => Raw::string(&self.text[from..end]),
            Found::Natural {
                kind: Json::Null, ..
            } => Raw::NULL,
            Found::Natural { kind, from, end } => Raw::written(kind, &self.text[from..end]),
            _ => Raw::ABSENT,
        }
    }
}
