//! The wire format: tags and what follows them.

use std::borrow::Cow;

use super::schema::{Kind, Message, ProtobufSchema, Shape};
use crate::decode::{Reason, Reject};
use crate::format::json_text::utf8;

/// Messages in messages, as other readers have it.
pub(super) const DEPTH_MAX: usize = 100;

pub(super) const NO_UTF8: &str = "a string that is not UTF-8";

/// What a field has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// Of a varint, or of 4 or 8 bytes.
    Bits(u64),
    /// With where they begin in the record.
    Bytes(&'a [u8], usize),
}

/// A record that is not its message.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) what: Cow<'static, str>,
    pub(super) reason: Reason,
    fields: Vec<String>,
}

pub(super) type Read<T> = Result<T, Box<Fault>>;

#[cold]
pub(super) fn fault<T>(at: usize, what: impl Into<Cow<'static, str>>) -> Read<T> {
    Err(Box::new(Fault {
        at,
        what: what.into(),
        reason: Reason::InvalidProtobuf,
        fields: vec![],
    }))
}

impl Fault {
    #[cold]
    pub(super) fn within(mut self: Box<Self>, field: &str) -> Box<Self> {
        if self.fields.len() < 16 {
            self.fields.push(field.to_owned());
        }
        self
    }

    #[cold]
    pub(super) fn because(mut self: Box<Self>, reason: Reason) -> Box<Self> {
        self.reason = reason;
        self
    }

    #[cold]
    pub(super) fn reject(&self) -> Reject {
        let names: Vec<&str> = self.fields.iter().rev().map(String::as_str).collect();
        let place = match names.is_empty() {
            true => String::new(),
            false => format!("field {}, ", names.join(".")),
        };
        Reject::new(
            self.reason,
            format!("{place}byte {}: {}", self.at, self.what),
        )
    }
}

/// Number and wire type of a field, in one number as they are in a message; 0 behind the last field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u32);

impl Tag {
    /// Behind the last field.
    pub(super) const END: Tag = Tag(0);

    #[inline(always)]
    pub(super) fn number(self) -> u32 {
        self.0 >> 3
    }

    #[inline(always)]
    pub(super) fn wire(self) -> u8 {
        (self.0 & 7) as u8
    }
}

/// The fields of a message, one after the other.
pub(super) struct Fields<'a> {
    body: &'a [u8],
    at: usize,
    /// Where the message begins in the record.
    base: usize,
}

#[inline(always)]
fn varint(body: &[u8], at: usize) -> Option<(u64, usize)> {
    let first = *body.get(at)?;
    if first < 0x80 {
        return Some((first.into(), at + 1));
    }
    if let Some(&second @ ..0x80) = body.get(at + 1) {
        let number = u64::from(first & 0x7f) | u64::from(second) << 7;
        return Some((number, at + 2));
    }
    varint_of_many_bytes(body, at)
}

fn varint_of_many_bytes(body: &[u8], at: usize) -> Option<(u64, usize)> {
    let mut number = 0u64;
    for (index, &byte) in body[at..].iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte < 0x80 {
            return (index < 9 || byte <= 1).then_some((number, at + index + 1));
        }
    }
    None
}

impl<'a> Fields<'a> {
    pub(super) fn new(body: &'a [u8], base: usize) -> Self {
        Fields { body, at: 0, base }
    }

    /// Number and payload of the next field.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Read<Option<(u32, u8, Payload<'a>)>> {
        match self.tag()? {
            Tag::END => Ok(None),
            tag => Ok(Some((tag.number(), tag.wire(), self.payload(tag.wire())?))),
        }
    }

    /// The next field, whose payload is to be read next.
    #[inline(always)]
    pub(super) fn tag(&mut self) -> Read<Tag> {
        if self.at >= self.body.len() {
            return Ok(Tag::END);
        }
        let start = self.base + self.at;
        let Some((tag, at)) = varint(self.body, self.at) else {
            return fault(start, "no tag of a field");
        };
        let (number, wire) = (tag >> 3, (tag & 7) as u8);
        if number == 0 || number >= 1 << 29 {
            return fault(start, format!("no number of a field: {number}"));
        }
        match wire {
            3 | 4 => return fault(start, "a group, which is not read"),
            6.. => return fault(start, format!("no wire type: {wire}")),
            _ => {}
        }
        self.at = at;
        Ok(Tag(tag as u32))
    }

    /// What a field of this wire type has.
    #[inline(always)]
    pub(super) fn payload(&mut self, wire: u8) -> Read<Payload<'a>> {
        match wire {
            0 => {
                let Some((value, end)) = varint(self.body, self.at) else {
                    return fault(self.base + self.at, "no varint");
                };
                self.at = end;
                Ok(Payload::Bits(value))
            }
            1 => Ok(Payload::Bits(u64::from_le_bytes(self.array()?))),
            5 => Ok(Payload::Bits(u32::from_le_bytes(self.array()?).into())),
            _ => {
                let (bytes, from) = self.bytes()?;
                Ok(Payload::Bytes(bytes, from))
            }
        }
    }

    /// The bytes of a field of wire type 2, and where they begin in the record.
    #[inline(always)]
    pub(super) fn bytes(&mut self) -> Read<(&'a [u8], usize)> {
        let Some((len, from)) = varint(self.body, self.at) else {
            return fault(self.base + self.at, "no length");
        };
        let rest = &self.body[from..];
        let Some(bytes) = usize::try_from(len).ok().and_then(|len| rest.get(..len)) else {
            let left = rest.len();
            let what = format!("{len} bytes are announced, and {left} are left");
            return fault(self.base + from, what);
        };
        self.at = from + bytes.len();
        Ok((bytes, self.base + from))
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let at = self.at;
        match self.body[at..].first_chunk() {
            Some(bytes) => {
                self.at = at + N;
                Ok(*bytes)
            }
            None => fault(self.base + at, format!("the message ends within {N} bytes")),
        }
    }
}

impl Kind {
    fn wire(&self) -> u8 {
        match self {
            Kind::Double | Kind::Fixed64 | Kind::Sfixed64 => 1,
            Kind::Float | Kind::Fixed32 | Kind::Sfixed32 => 5,
            Kind::String | Kind::Bytes | Kind::Message(_) => 2,
            Kind::Group => 3,
            _ => 0,
        }
    }

    /// Whether a field of this kind may come as this wire type; packed where it is repeated.
    pub(super) fn takes(&self, wire: u8, shape: Shape) -> bool {
        wire == self.wire() || (wire == 2 && shape == Shape::Repeated && *self != Kind::Group)
    }
}

/// The elements of a packed field, or the one that it is.
pub(super) fn elements<'a>(
    kind: &Kind,
    payload: Payload<'a>,
    mut each: impl FnMut(Payload<'a>) -> Read<()>,
) -> Read<()> {
    let (bytes, base) = match payload {
        Payload::Bytes(bytes, base) if kind.wire() != 2 => (bytes, base),
        one => return each(one),
    };
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let (value, len) = match kind.wire() {
            0 => match varint(rest, 0) {
                Some(read) => read,
                None => return fault(base + at, "no varint"),
            },
            1 => match rest.first_chunk() {
                Some(bytes) => (u64::from_le_bytes(*bytes), 8),
                None => return fault(base + at, "a packed field that ends within a number"),
            },
            _ => match rest.first_chunk() {
                Some(bytes) => (u32::from_le_bytes(*bytes).into(), 4),
                None => return fault(base + at, "a packed field that ends within a number"),
            },
        };
        each(Payload::Bits(value))?;
        at += len;
    }
    Ok(())
}

impl ProtobufSchema {
    /// Validates a message of which nothing is wanted.
    pub(super) fn pass(
        &self,
        message: &Message,
        body: &[u8],
        base: usize,
        depth: usize,
    ) -> Read<()> {
        if depth > DEPTH_MAX {
            return fault(base, "more than 100 levels").map_err(|f| f.because(Reason::TooDeep));
        }
        let mut fields = Fields::new(body, base);
        let mut expected = 0;
        while let Some((number, wire, payload)) = fields.next()? {
            if let Some(index) = message.index_of(number, expected) {
                expected = index + 1;
                let field = &message.fields[index];
                let passed = self.pass_field(field, wire, payload, depth);
                passed.map_err(|fault| fault.within(&field.name))?;
            }
        }
        Ok(())
    }

    #[inline(always)]
    pub(super) fn pass_field(
        &self,
        field: &super::schema::Field,
        wire: u8,
        payload: Payload<'_>,
        depth: usize,
    ) -> Read<()> {
        let at = match payload {
            Payload::Bytes(_, at) => at,
            Payload::Bits(_) => 0,
        };
        if !field.kind.takes(wire, field.shape) {
            return fault(at, format!("wire type {wire} is none of the field's type"));
        }
        match (&field.kind, payload) {
            (Kind::String, Payload::Bytes(bytes, at)) => match utf8(bytes) {
                Some(_) => Ok(()),
                None => fault(at, NO_UTF8),
            },
            (Kind::Message(number), Payload::Bytes(bytes, at)) => {
                self.pass(self.message(*number), bytes, at, depth + 1)
            }
            (kind, payload) if field.shape == Shape::Repeated => {
                elements(kind, payload, |_| Ok(()))
            }
            _ => Ok(()),
        }
    }
}

impl Message {
    /// The index of the field of this number, which is looked for at `expected` first.
    #[inline(always)]
    pub(super) fn index_of(&self, number: u32, expected: usize) -> Option<usize> {
        let next = self.fields.get(expected);
        if next.is_some_and(|field| field.number == number) {
            return Some(expected);
        }
        let found = self
            .fields
            .binary_search_by_key(&number, |field| field.number);
        found.ok()
    }
}
