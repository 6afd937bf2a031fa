//! Values as JSON has them.

use super::schema::{Field, Kind, Message, ProtobufSchema, Shape, WellKnown};
use super::times::append_of_time;
use super::wire::{DEPTH_MAX, Fields, NO_UTF8, Payload, Read, elements, fault};
use crate::decode::json::Kind as Json;
use crate::decode::{Reason, Reject};
use crate::format::json_text::{append_base64, append_float, append_integer, append_quoted, utf8};

/// Text that a record may become, whatever its size.
const TEXT_BYTES_MAX: usize = 32 << 20;

/// How the messages of a schema are written.
#[derive(Clone, Copy)]
pub(super) struct Texts<'s> {
    schema: &'s ProtobufSchema,
    /// Fields that a message leaves out are null, and not left out.
    has_nulls: bool,
    /// The record was validated before. If not, that is done here, with what is not written because it does not
    /// count: earlier occurrences of a field.
    is_validated: bool,
}

impl ProtobufSchema {
    pub(super) fn texts(&self) -> Texts<'_> {
        Texts {
            schema: self,
            has_nulls: false,
            is_validated: true,
        }
    }

    /// The same of records that are not validated yet.
    pub(super) fn validating_texts(&self) -> Texts<'_> {
        Texts {
            is_validated: false,
            ..self.texts()
        }
    }

    /// Appends a record, which is the message at this place, as JSON.
    pub(in crate::format) fn append_record(
        &self,
        place: &[i32],
        body: &[u8],
        has_nulls: bool,
        out: &mut String,
    ) -> Result<(), Reject> {
        let Some(number) = self.root(place) else {
            let detail = format!("the schema has no message at {place:?}");
            return Err(Reject::new(Reason::InvalidProtobuf, detail));
        };
        let texts = Texts {
            has_nulls,
            ..self.texts()
        };
        let start = out.len();
        let appended = texts.append_message(self.message(number), body, 0, out, 0);
        // The value of a wrapper is one, too.
        if appended.map_err(|fault| fault.reject())? == Json::String {
            let text = out.split_off(start);
            append_quoted(&text, out);
        }
        Ok(())
    }
}

impl Texts<'_> {
    /// Appends one value without quotes around texts.
    pub(super) fn append_value(
        &self,
        kind: &Kind,
        payload: Payload<'_>,
        out: &mut String,
        depth: usize,
    ) -> Read<Json> {
        let at = match payload {
            Payload::Bytes(_, at) => at,
            Payload::Bits(_) => 0,
        };
        check_size(at, out)?;
        let bits = match (kind, payload) {
            (Kind::Message(number), Payload::Bytes(body, at)) => {
                return self.append_message(self.schema.message(*number), body, at, out, depth + 1);
            }
            (Kind::Bytes, Payload::Bytes(bytes, _)) => {
                append_base64(bytes, out);
                return Ok(Json::String);
            }
            (_, Payload::Bytes(bytes, at)) => {
                match utf8(bytes) {
                    Some(text) => out.push_str(text),
                    None => return fault(at, NO_UTF8),
                }
                return Ok(Json::String);
            }
            (_, Payload::Bits(bits)) => bits,
        };
        match kind {
            Kind::Double => return Ok(append_float(f64::from_bits(bits), out)),
            Kind::Float => return Ok(append_float(f32::from_bits(bits as u32), out)),
            Kind::Bool => {
                out.push_str(if bits != 0 { "true" } else { "false" });
                return Ok(if bits != 0 { Json::True } else { Json::False });
            }
            Kind::Enum(values) => {
                let number = bits as i32;
                if let Some((_, name)) = values.iter().find(|(known, _)| *known == number) {
                    out.push_str(name);
                    return Ok(Json::String);
                }
                append_integer(number, out);
            }
            kind => append_number(kind, bits, out),
        }
        Ok(Json::Number)
    }

    fn append_json(
        &self,
        kind: &Kind,
        payload: Payload<'_>,
        out: &mut String,
        depth: usize,
    ) -> Read<()> {
        let start = out.len();
        match (kind, payload) {
            (Kind::String, Payload::Bytes(bytes, at)) => {
                let Some(text) = utf8(bytes) else {
                    return fault(at, NO_UTF8);
                };
                check_size(at, out)?;
                append_quoted(text, out);
            }
            _ => {
                if self.append_value(kind, payload, out, depth)? == Json::String {
                    let text = out.split_off(start);
                    append_quoted(&text, out);
                }
            }
        }
        Ok(())
    }

    /// Appends what the occurrences of a field come to, without quotes around a text; `None`: it is absent.
    pub(super) fn append_field(
        &self,
        field: &Field,
        occurrences: &[Payload<'_>],
        out: &mut String,
        depth: usize,
    ) -> Read<Option<Json>> {
        match field.shape {
            Shape::Map => self
                .append_map(field, occurrences, out, depth)
                .map(|()| Some(Json::Object)),
            Shape::Repeated => {
                out.push('[');
                let mut separator = "";
                for payload in occurrences {
                    elements(&field.kind, *payload, |payload| {
                        out.push_str(separator);
                        separator = ",";
                        self.append_json(&field.kind, payload, out, depth)
                    })?;
                }
                out.push(']');
                Ok(Some(Json::Array))
            }
            _ => match (occurrences, &field.kind) {
                ([], _) if field.shape == Shape::Optional => Ok(None),
                ([], kind) => {
                    let default = match kind {
                        Kind::String | Kind::Bytes | Kind::Message(_) => Payload::Bytes(&[], 0),
                        _ => Payload::Bits(0),
                    };
                    self.append_value(kind, default, out, depth).map(Some)
                }
                // Parts of one message are one message.
                ([_, _, ..], Kind::Message(_)) => {
                    let parts = occurrences.iter().filter_map(|payload| match payload {
                        Payload::Bytes(bytes, _) => Some(*bytes),
                        Payload::Bits(_) => None,
                    });
                    let whole: Vec<u8> = parts.flatten().copied().collect();
                    self.append_value(&field.kind, Payload::Bytes(&whole, 0), out, depth)
                        .map(Some)
                }
                ([.., last], kind) => self.append_value(kind, *last, out, depth).map(Some),
            },
        }
    }

    fn append_map(
        &self,
        field: &Field,
        occurrences: &[Payload<'_>],
        out: &mut String,
        depth: usize,
    ) -> Read<()> {
        let Kind::Message(number) = field.kind else {
            return fault(0, "no map");
        };
        let [key, value] = &self.schema.message(number).fields[..] else {
            return fault(0, "no map");
        };
        out.push('{');
        let mut separator = "";
        for payload in occurrences {
            let Payload::Bytes(body, at) = *payload else {
                return fault(0, "no map");
            };
            let (mut keys, mut values) = (vec![], vec![]);
            let mut fields = Fields::new(body, at);
            while let Some((number, wire, payload)) = fields.next()? {
                let (of, all) = match number {
                    1 => (key, &mut keys),
                    2 => (value, &mut values),
                    _ => continue,
                };
                if !of.kind.takes(wire, Shape::Plain) {
                    let what = format!("wire type {wire} is none of the field's type");
                    return fault(at, what).map_err(|fault| fault.within(&of.name));
                }
                all.push(payload);
            }
            out.push_str(separator);
            separator = ",";
            let start = out.len();
            let plain = |field: &Field| Field {
                shape: Shape::Plain,
                ..field.clone()
            };
            self.append_field(&plain(key), &keys, out, depth)?;
            let name = out.split_off(start);
            append_quoted(&name, out);
            out.push(':');
            let start = out.len();
            if self.append_field(&plain(value), &values, out, depth)? == Some(Json::String) {
                let text = out.split_off(start);
                append_quoted(&text, out);
            }
        }
        out.push('}');
        Ok(())
    }

    pub(super) fn append_message(
        &self,
        message: &Message,
        body: &[u8],
        base: usize,
        out: &mut String,
        depth: usize,
    ) -> Read<Json> {
        if depth > DEPTH_MAX {
            return fault(base, "more than 100 levels").map_err(|f| f.because(Reason::TooDeep));
        }
        match message.known {
            Some(known) if known.is_time() => return append_of_time(message, body, base, out),
            None if is_in_order(message, body, base)? => {
                return self.append_in_order(message, body, base, out, depth);
            }
            _ if !self.is_validated => {
                self.schema.pass(message, body, base, depth)?;
                let validated = Texts {
                    is_validated: true,
                    ..*self
                };
                return validated.append_message(message, body, base, out, depth);
            }
            _ => {}
        }
        let mut occurrences: Vec<Vec<Payload<'_>>> = vec![vec![]; message.fields.len()];
        let mut fields = Fields::new(body, base);
        while let Some((number, wire, payload)) = fields.next()? {
            let index = message
                .fields
                .binary_search_by_key(&number, |field| field.number);
            let Ok(index) = index else { continue };
            let field = &message.fields[index];
            if !field.kind.takes(wire, field.shape) {
                return fault(
                    base,
                    format!("wire type {wire} is none of the field's type"),
                )
                .map_err(|fault| fault.within(&field.name));
            }
            if field.one_of.is_some() {
                let others = message.fields.iter().zip(&mut occurrences).enumerate();
                let others = others.filter(|(at, (f, _))| *at != index && f.one_of == field.one_of);
                others.for_each(|(_, (_, occurrences))| occurrences.clear());
            }
            occurrences[index].push(payload);
        }
        match message.known {
            Some(WellKnown::Wrapper | WellKnown::ListValue) => {
                if let ([field], [of]) = (&message.fields[..], &occurrences[..]) {
                    let field = Field {
                        shape: match field.shape {
                            Shape::Optional => Shape::Plain,
                            shape => shape,
                        },
                        ..field.clone()
                    };
                    let appended = self.append_field(&field, of, out, depth)?;
                    return Ok(appended.unwrap_or(Json::Null));
                }
            }
            Some(WellKnown::Struct) => {
                if let ([field], [of]) = (&message.fields[..], &occurrences[..]) {
                    return self
                        .append_map(field, of, out, depth)
                        .map(|()| Json::Object);
                }
            }
            Some(WellKnown::Value) => {
                let set = message
                    .fields
                    .iter()
                    .zip(&occurrences)
                    .rev()
                    .find(|(_, of)| !of.is_empty());
                return match set {
                    Some((field, of)) if field.name != "null_value" => {
                        let appended = self.append_field(field, of, out, depth)?;
                        Ok(appended.unwrap_or(Json::Null))
                    }
                    _ => {
                        out.push_str("null");
                        Ok(Json::Null)
                    }
                };
            }
            _ => {}
        }
        out.push('{');
        let mut separator = "";
        for (field, of) in message.fields.iter().zip(&occurrences) {
            self.append_member(field, of, &mut separator, out, depth)?;
        }
        out.push('}');
        Ok(Json::Object)
    }

    /// Appends a message whose fields come in their order.
    fn append_in_order(
        &self,
        message: &Message,
        body: &[u8],
        base: usize,
        out: &mut String,
        depth: usize,
    ) -> Read<Json> {
        out.push('{');
        let (mut separator, mut next) = ("", 0);
        let mut fields = Fields::new(body, base);
        while let Some((number, _, payload)) = fields.next()? {
            let Some(index) = message.index_of(number, next) else {
                continue;
            };
            for absent in &message.fields[next..index] {
                self.append_member(absent, &[], &mut separator, out, depth)?;
            }
            let field = &message.fields[index];
            out.push_str(separator);
            separator = ",";
            out.push_str(&field.member);
            let appended = self.append_json(&field.kind, payload, out, depth);
            appended.map_err(|fault| fault.within(&field.name))?;
            next = index + 1;
        }
        for absent in &message.fields[next..] {
            self.append_member(absent, &[], &mut separator, out, depth)?;
        }
        out.push('}');
        Ok(Json::Object)
    }

    /// Appends what the occurrences of a field come to as a member of an object.
    fn append_member(
        &self,
        field: &Field,
        occurrences: &[Payload<'_>],
        separator: &mut &'static str,
        out: &mut String,
        depth: usize,
    ) -> Read<()> {
        let before = out.len();
        out.push_str(separator);
        out.push_str(&field.member);
        let start = out.len();
        let appended = self.append_field(field, occurrences, out, depth);
        match appended.map_err(|fault| fault.within(&field.name))? {
            None if !self.has_nulls => {
                out.truncate(before);
                return Ok(());
            }
            None => out.push_str("null"),
            Some(Json::String) => {
                let text = out.split_off(start);
                append_quoted(&text, out);
            }
            Some(_) => {}
        }
        *separator = ",";
        Ok(())
    }
}

/// Whether each field of a message comes once at most, in the order of the numbers, as writers have it; fields
/// that may come several times are not in it.
fn is_in_order(message: &Message, body: &[u8], base: usize) -> Read<bool> {
    let mut next = 0;
    let mut fields = Fields::new(body, base);
    while let Some((number, wire, _)) = fields.next()? {
        let Some(index) = message.index_of(number, next) else {
            continue;
        };
        let field = &message.fields[index];
        if index < next
            || field.one_of.is_some()
            || matches!(field.shape, Shape::Repeated | Shape::Map)
            || !field.kind.takes(wire, field.shape)
        {
            return Ok(false);
        }
        next = index + 1;
    }
    Ok(true)
}

fn check_size(at: usize, out: &str) -> Read<()> {
    match out.len() > TEXT_BYTES_MAX {
        true => fault(at, "too much text").map_err(|f| f.because(Reason::TooLarge)),
        false => Ok(()),
    }
}

fn append_number(kind: &Kind, bits: u64, out: &mut String) {
    match kind {
        Kind::Uint64 | Kind::Fixed64 => append_integer(bits, out),
        // No other kind has numbers beyond this.
        kind => append_integer(integer(kind, bits) as i64, out),
    }
}

/// The number that the bits of an integer stand for.
#[inline(always)]
pub(super) fn integer(kind: &Kind, bits: u64) -> i128 {
    match kind {
        Kind::Uint64 | Kind::Fixed64 => bits.into(),
        Kind::Uint32 | Kind::Fixed32 => (bits as u32).into(),
        Kind::Sint32 => {
            let bits = bits as u32;
            (((bits >> 1) as i32) ^ -((bits & 1) as i32)).into()
        }
        Kind::Sint64 => (((bits >> 1) as i64) ^ -((bits & 1) as i64)).into(),
        Kind::Int64 | Kind::Sfixed64 => (bits as i64).into(),
        _ => (bits as i32).into(),
    }
}
