//! Whether records lie where those of equal keys lie: the Kafka key is the field they are joined by.
//!
//! A producer chooses a record's partition by its Kafka key, byte for byte. So the key of each record
//! must be its `key_field`, and both topics must spell it alike, or `keys_placed_by` must say where
//! each value lies.

use std::hash::{BuildHasher as _, Hasher as _};

use foldhash::fast::FixedState;

use super::spelling::Spelling;
use crate::config::{KeyFormat, Partitioner, StreamJoin};
use crate::decode::json::{Kind, Raw};
use crate::decode::text;
use crate::halt::Halt;
use crate::operator::join::Side;
use crate::source::Record;
use crate::source::placement::partition_of;

/// So many forms of one side are remembered.
const FORMS_MAX: usize = 32;
/// How much of a key or a value a message shows.
const CHARS_SHOWN_MAX: usize = 60;

/// How the bytes of a Kafka key spell the text of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::pipeline) enum Form {
    /// As it is, as JSON's numbers, true and false are too.
    Text,
    /// As a JSON string.
    Quoted(Spelling),
    /// As a member of a JSON object; the hash of all that stands around the members' values.
    Member(u64, Spelling),
    /// In binary behind a registry's frame; the hash of the frame, which says by which schema.
    Framed(u64),
}

impl Form {
    /// The form of a key that is read as JSON, as the producer wrote it.
    pub(super) fn as_received(self, format: KeyFormat, record: Record<'_>) -> Form {
        if matches!(format, KeyFormat::Json | KeyFormat::Text) {
            return self;
        }
        let key = record.key_as_received().unwrap_or_default();
        let frame = match key.first() {
            Some(0) => key.get(..5),
            Some(1) => key.get(..17),
            _ => None,
        };
        Form::Framed(FixedState::with_seed(0).hash_one(frame))
    }

    /// Whether equal texts have equal bytes in both forms, as far as it shows.
    fn agrees_with(self, other: Form) -> bool {
        match (self, other) {
            (Form::Text, Form::Text) => true,
            (Form::Quoted(one), Form::Quoted(other)) => !one.differs_from(other),
            (Form::Member(around, one), Form::Member(other_around, other)) => {
                around == other_around && !one.differs_from(other)
            }
            (Form::Framed(one), Form::Framed(other)) => one == other,
            _ => false,
        }
    }
}

/// The text of the field that a Kafka key spells, in `scratch` where it has escapes.
pub(in crate::pipeline) fn key_text<'k>(
    key: &'k [u8],
    field: &str,
    format: KeyFormat,
    scratch: &'k mut Vec<u8>,
) -> (&'k [u8], Form) {
    let is_json = |key: &&[u8]| key.starts_with(b"\"") || key.starts_with(b"{");
    let json = Some(key).filter(|key| format.has_members() && is_json(key));
    let json = json.and_then(|key| std::str::from_utf8(key).ok());
    let Some(raw) = json.and_then(|json| Raw::parse(json).ok()) else {
        return (key, Form::Text);
    };
    let (value, around) = match raw.kind() {
        Kind::Object => (member(raw, field), Some(around_values(raw))),
        _ => (Some(raw), None),
    };
    let string = value.filter(|value| value.kind() == Kind::String);
    let spelling = string.map_or(Spelling::default(), |s| Spelling::of(s.as_received()));
    let form = around.map_or(Form::Quoted(spelling), |around| {
        Form::Member(around, spelling)
    });
    match value.and_then(|value| text::text(value, scratch).ok()) {
        Some(text) => (text.as_bytes(), form),
        None => (key, Form::Text),
    }
}

/// The member of that name; of a key with a schema beside it, as Connect writes them, that of its payload,
/// or the payload itself where that is no object.
fn member<'k>(object: Raw<'k>, field: &str) -> Option<Raw<'k>> {
    let named = |object: Raw<'k>, name: &str| {
        let members = object.members().filter(|(known, _)| known == name);
        members.map(|(_, value)| value).last()
    };
    named(object, field).or_else(|| {
        let payload = named(object, "payload").filter(|_| named(object, "schema").is_some())?;
        match payload.kind() {
            Kind::Object => named(payload, field),
            _ => Some(payload),
        }
    })
}

/// Of an object's names and all other bytes that are not of a value.
fn around_values(object: Raw<'_>) -> u64 {
    let text = object.as_received();
    let mut hasher = FixedState::with_seed(0).build_hasher();
    let mut behind = 0;
    for (_, value) in object.members() {
        let value = value.as_received();
        let from = value.as_ptr().addr() - text.as_ptr().addr();
        hasher.write(&text.as_bytes()[behind..from]);
        behind = from + value.len();
    }
    hasher.write(&text.as_bytes()[behind..]);
    hasher.finish()
}

/// A form that records of one side have, and the first of them.
#[derive(Debug)]
struct Seen {
    form: Form,
    place: String,
    key: String,
}

/// What is held against each record of a lane.
#[derive(Debug)]
pub(super) struct KeyCheck {
    /// Of the left and the right side.
    fields: [String; 2],
    formats: [KeyFormat; 2],
    partitions: usize,
    /// Tombstones end profiles, so their topic's keys are looked at even in a single partition.
    has_table: bool,
    placement: Option<Partitioner>,
    seen: [Vec<Seen>; 2],
    scratch: Vec<u8>,
}

impl KeyCheck {
    pub(super) fn new(config: &StreamJoin, partitions: usize) -> Self {
        let sides = [&config.left, &config.right];
        KeyCheck {
            fields: sides.map(|side| side.key_field.clone()),
            formats: sides.map(|side| side.key_format()),
            partitions,
            has_table: config.before.is_none(),
            placement: config.keys_placed_by,
            seen: [vec![], vec![]],
            scratch: vec![],
        }
    }

    /// Checks a record by the text of its key field; without one it takes part in no join.
    ///
    /// # Errors
    /// It lies elsewhere than records of the other side with the same text, or may.
    #[inline]
    pub(super) fn check(
        &mut self,
        side: Side,
        record: Record<'_>,
        field: Option<&[u8]>,
    ) -> Result<(), Halt> {
        let Some(field) = field else {
            return Ok(());
        };
        if self.partitions == 1 && !(self.has_table && side == Side::Right) {
            return Ok(());
        }
        // What is read as JSON is none where it came otherwise.
        let is_text = record.key_as_received() == Some(field) && record.key() == Some(field);
        if is_text && self.placement.is_none() && self.is_known(side, Form::Text) {
            return Ok(());
        }
        let form = if is_text {
            Some(Form::Text)
        } else {
            self.form(side, record, field)
        };
        match self.placement {
            None => match form {
                Some(form) => self.note(side, record, form),
                None => Err(self.other_key(side, record, field)),
            },
            Some(partitioner) => self.check_place(side, record, field, form, partitioner),
        }
    }

    /// Notes the form of a tombstone's key.
    pub(super) fn check_tombstone(&mut self, record: Record<'_>, form: Form) -> Result<(), Halt> {
        match self.placement {
            None => self.note(Side::Right, record, form),
            Some(_) => Ok(()),
        }
    }

    fn form(&mut self, side: Side, record: Record<'_>, field: &[u8]) -> Option<Form> {
        let index = side as usize;
        let format = self.formats[index];
        let (text, form) = key_text(
            record.key()?,
            &self.fields[index],
            format,
            &mut self.scratch,
        );
        (text == field).then(|| form.as_received(format, record))
    }

    /// A record lies where the partitioner puts its field's text; or where it puts its key, as long as
    /// both sides spell that alike.
    fn check_place(
        &mut self,
        side: Side,
        record: Record<'_>,
        field: &[u8],
        form: Option<Form>,
        partitioner: Partitioner,
    ) -> Result<(), Halt> {
        let is_here = |key: Option<&[u8]>| {
            let place = partition_of(partitioner, key, self.partitions);
            place.is_none_or(|place| place == record.partition())
        };
        let by_field = is_here(Some(field));
        let own_place = is_here(record.key_as_received());
        let other_form = form.filter(|form| *form != Form::Text && own_place);
        match (by_field, other_form) {
            // Either way of placing it explains where it lies.
            (true, Some(_)) => Ok(()),
            (true, None) => self.note(side, record, Form::Text),
            (false, Some(form)) => self.note(side, record, form),
            (false, None) => Err(self.misplaced(side, field, partitioner)),
        }
    }

    fn is_known(&self, side: Side, form: Form) -> bool {
        self.seen[side as usize]
            .iter()
            .any(|seen| seen.form == form)
    }

    /// Notes a form of a side's keys, which the other side must not spell otherwise.
    fn note(&mut self, side: Side, record: Record<'_>, form: Form) -> Result<(), Halt> {
        if self.partitions == 1 || self.is_known(side, form) {
            return Ok(());
        }
        let mut others = self.seen[side.other() as usize].iter();
        if let Some(other) = others.find(|seen| !seen.form.agrees_with(form)) {
            return Err(forms_differ(record, other));
        }
        let seen = &mut self.seen[side as usize];
        if seen.len() < FORMS_MAX {
            seen.push(Seen {
                form,
                place: place(record),
                key: shown(record.key()),
            });
        }
        Ok(())
    }

    #[cold]
    fn other_key(&self, side: Side, record: Record<'_>, field: &[u8]) -> Halt {
        let (name, key, value) = (self.name(side), shown(record.key()), shown(Some(field)));
        let (topic, key_field) = (record.topic(), &self.fields[side as usize]);
        halt(format!(
            "the record's Kafka key is {key} and its {key_field} is {value}: the key of every record of \
             topic {topic} must be {name}.key_field, as text, as a JSON scalar or as that member of a JSON \
             object, else records of one {key_field} lie in several partitions and do not meet: have its \
             producer set the key, or write the topic anew by it; where the partitioner goes by \
             {key_field} all the same set pipeline.join.keys_placed_by"
        ))
    }

    #[cold]
    fn misplaced(&self, side: Side, field: &[u8], partitioner: Partitioner) -> Halt {
        let (name, value) = (self.name(side), shown(Some(field)));
        let place = partition_of(partitioner, Some(field), self.partitions).unwrap_or(-1);
        halt(format!(
            "key {value} ({name}.key_field) belongs into partition {place} by \
             pipeline.join.keys_placed_by, so it would not meet its match here: have the producer use that \
             partitioner on that field, or correct the setting"
        ))
    }

    fn name(&self, side: Side) -> &'static str {
        match side {
            Side::Left => "pipeline.left",
            Side::Right => "pipeline.right",
        }
    }
}

#[cold]
fn forms_differ(record: Record<'_>, other: &Seen) -> Halt {
    let (key, other_key, place) = (shown(record.key()), &other.key, &other.place);
    halt(format!(
        "the record's Kafka key is {key}, and that of {place} is {other_key}: partitioners go by a key's \
         bytes, so equal values in different forms lie on different partitions and do not meet: have both \
         producers write keys in one form, or set pipeline.join.keys_placed_by if both topics are placed by \
         the value itself"
    ))
}

fn halt(advice: String) -> Halt {
    Halt::new("co_partitioning", advice)
}

fn place(record: Record<'_>) -> String {
    let (topic, partition, offset) = (record.topic(), record.partition(), record.offset());
    format!("{topic}:{partition}:{offset}")
}

/// A key for people.
fn shown(key: Option<&[u8]>) -> String {
    let Some(key) = key else {
        return "none".to_owned();
    };
    let text = String::from_utf8_lossy(key);
    let mut start: String = text.chars().take(CHARS_SHOWN_MAX).collect();
    if start.len() < text.len() {
        start.push('…');
    }
    // JSON's quotes stay readable.
    format!(
        "`{}`",
        start.escape_debug().to_string().replace("\\\"", "\"")
    )
}

#[cfg(test)]
mod tests;
