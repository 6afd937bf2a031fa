//! How a message is walked: each wanted field is kept where it lies, or as the text that it is in JSON.

use smallvec::SmallVec;

use super::schema::{Field, Kind, Message, ProtobufSchema};
use super::text::integer;
use super::wire::{self, Fields, NO_UTF8, Payload, Read, Tag, fault};
use super::{Found, Level, Step};
use crate::decode::Reason;
use crate::format::Wish;
use crate::format::json_text::utf8;

/// Which member of each `oneof` of a message came last. A hostile record may have a million of them, so those
/// that do not count any more are not looked for each time.
#[derive(Debug, Default)]
struct Chosen {
    /// The `oneof`, the member, and how many occurrences of all fields were gathered before it was chosen.
    members: Vec<(u32, usize, usize)>,
}

impl Chosen {
    fn choose(&mut self, one_of: u32, member: usize, gathered: usize) {
        match self.members.iter_mut().find(|(of, ..)| *of == one_of) {
            Some((_, last, _)) if *last == member => {}
            Some(last) => *last = (one_of, member, gathered),
            None => self.members.push((one_of, member, gathered)),
        }
    }

    /// From where on the occurrences of a field count.
    fn begin_of(&self, one_of: Option<u32>, member: usize) -> usize {
        let mut members = self.members.iter();
        match members.find(|(of, ..)| one_of == Some(*of)) {
            Some((_, last, gathered)) if *last == member => *gathered,
            Some(_) => usize::MAX,
            None => 0,
        }
    }
}

/// Occurrences of fields that most messages have.
const GATHERED: usize = 4;

/// Occurrences with the index of their field.
type Gathered<'a> = SmallVec<[(usize, Payload<'a>); GATHERED]>;

/// A record while it is walked.
pub(super) struct Walking<'w, 'a> {
    pub(super) schema: &'w ProtobufSchema,
    pub(super) wishes: &'w [Wish],
    pub(super) needs_text: &'w [bool],
    pub(super) found: &'w mut [Found],
    pub(super) text: &'w mut String,
    pub(super) body: std::marker::PhantomData<&'a [u8]>,
}

impl<'a> Walking<'_, 'a> {
    pub(super) fn walk(
        &mut self,
        level: &Level,
        body: &'a [u8],
        base: usize,
        depth: usize,
    ) -> Read<()> {
        let message = self.schema.message(level.message);
        if depth > wire::DEPTH_MAX {
            return fault(base, "more than 100 levels").map_err(|f| f.because(Reason::TooDeep));
        }
        let mut gathered = Gathered::new();
        let mut chosen = Chosen::default();
        let (mut fields, mut expected) = (Fields::new(body, base), 0);
        loop {
            let (tag, wire) = match fields.tag()? {
                Tag::END => break,
                tag => (tag, tag.wire()),
            };
            let Some(index) = message.index_of(tag.number(), expected) else {
                fields.payload(wire)?;
                continue;
            };
            expected = index + 1;
            let (step, field) = (&level.fields[index], &message.fields[index]);
            if let (Some(slot), 2) = (step.text, wire) {
                let (bytes, from) = fields.bytes()?;
                if utf8(bytes).is_none() {
                    return fault(from, NO_UTF8).map_err(|fault| fault.within(&field.name));
                }
                let end = from + bytes.len();
                self.found[slot] = Found::Text { from, end };
                continue;
            }
            let payload = fields.payload(wire)?;
            if step.is_validated_later && wire == 2 {
                gathered.push((index, payload));
                continue;
            }
            for &slot in &step.clears {
                self.found[slot] = Found::Absent;
            }
            if let Some(one_of) = field.one_of {
                chosen.choose(one_of, index, gathered.len());
            }
            let walked = self.field(step, field, (wire, payload), depth);
            walked.map_err(|fault| fault.within(&field.name))?;
            if step.gathers {
                gathered.push((index, payload));
            }
        }
        self.keep_defaults(level, message, depth)?;
        if level.gathers {
            self.keep_gathered(level, message, (&gathered, &chosen), depth)?;
        }
        Ok(())
    }

    /// What is absent and has a default is that. A message in two parts is walked twice.
    #[inline(always)]
    fn keep_defaults(&mut self, level: &Level, message: &Message, depth: usize) -> Read<()> {
        for &index in &level.defaults {
            let (step, field) = (&level.fields[index], &message.fields[index]);
            let is_absent = |slot: &usize| matches!(self.found[*slot], Found::Absent);
            if step.slots.iter().all(is_absent) {
                let default = match field.kind {
                    Kind::String | Kind::Bytes => Payload::Bytes(&[], 0),
                    _ => Payload::Bits(0),
                };
                self.keep(step, field, default, depth)?;
            }
        }
        Ok(())
    }

    /// What all occurrences of a field come to.
    fn keep_gathered(
        &mut self,
        level: &Level,
        message: &Message,
        (gathered, chosen): (&Gathered<'a>, &Chosen),
        depth: usize,
    ) -> Read<()> {
        let steps = level.fields.iter().enumerate();
        for (index, step) in steps.filter(|(_, step)| step.gathers) {
            let field = &message.fields[index];
            let occurrences: SmallVec<[Payload<'_>; GATHERED]> = gathered
                .iter()
                .skip(chosen.begin_of(field.one_of, index))
                .filter(|(of, _)| *of == index)
                .map(|(_, p)| *p)
                .collect();
            let texts = match (step.is_validated_later, &occurrences[..]) {
                (true, [_]) => self.schema.validating_texts(),
                (true, parts) => {
                    // Parts of one message; each is one.
                    for part in parts {
                        let passed = self.schema.pass_field(field, 2, *part, depth);
                        passed.map_err(|fault| fault.within(&field.name))?;
                    }
                    self.schema.texts()
                }
                (false, _) => self.schema.texts(),
            };
            let from = self.text.len();
            let appended = texts.append_field(field, &occurrences, self.text, depth);
            if let Some(kind) = appended.map_err(|fault| fault.within(&field.name))? {
                let end = self.text.len();
                for &slot in &step.slots {
                    self.found[slot] = Found::Natural { kind, from, end };
                }
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn field(
        &mut self,
        step: &Step,
        field: &Field,
        (wire, payload): (u8, Payload<'a>),
        depth: usize,
    ) -> Read<()> {
        match (&step.below, payload) {
            (Some(below), Payload::Bytes(body, at)) => self.walk(below, body, at, depth + 1)?,
            _ => self.schema.pass_field(field, wire, payload, depth)?,
        }
        if !step.slots.is_empty() && !step.gathers {
            self.keep(step, field, payload, depth)?;
        }
        Ok(())
    }

    #[inline(always)]
    fn keep(&mut self, step: &Step, field: &Field, payload: Payload<'_>, depth: usize) -> Read<()> {
        for &slot in &step.slots {
            let is_natural = self.needs_text[slot];
            self.found[slot] = match (&field.kind, payload) {
                (Kind::String, Payload::Bytes(bytes, from)) => Found::Text {
                    from,
                    end: from + bytes.len(),
                },
                (Kind::Bytes, Payload::Bytes(bytes, from))
                    if self.wishes[slot].column.is_some() =>
                {
                    let start = self.text.len();
                    if is_natural {
                        let texts = self.schema.texts();
                        texts.append_value(&field.kind, payload, self.text, depth)?;
                    }
                    Found::Bytes {
                        from,
                        end: from + bytes.len(),
                        natural: is_natural.then_some((start, self.text.len())),
                    }
                }
                (Kind::Double, Payload::Bits(bits)) if !is_natural => {
                    Found::Double(f64::from_bits(bits))
                }
                (
                    Kind::Double | Kind::Float | Kind::Bool | Kind::Enum(_) | Kind::Bytes,
                    payload,
                ) => {
                    let from = self.text.len();
                    let kind =
                        self.schema
                            .texts()
                            .append_value(&field.kind, payload, self.text, depth)?;
                    let end = self.text.len();
                    Found::Natural { kind, from, end }
                }
                (Kind::Uint64 | Kind::Fixed64, Payload::Bits(bits)) if !is_natural => {
                    Found::Unsigned(bits)
                }
                (kind, Payload::Bits(bits)) if !is_natural => {
                    Found::Integer(integer(kind, bits) as i64)
                }
                (kind, payload) => {
                    let from = self.text.len();
                    let texts = self.schema.texts();
                    let kind = texts.append_value(kind, payload, self.text, depth)?;
                    let end = self.text.len();
                    Found::Natural { kind, from, end }
                }
            };
        }
        Ok(())
    }
}
