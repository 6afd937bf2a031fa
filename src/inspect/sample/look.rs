//! What the records of a topic are, by their bytes: pure.

use super::lines::{Lines, lines};
use crate::decode::json::{Kind, Raw};
use crate::format::schema_of;

/// What the records are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Objects.
    Objects,
    /// Objects behind the frame of a registry.
    FramedObjects,
    /// Changes of a database's rows.
    Changes,
    /// Behind the frame of a registry, and no objects.
    Framed,
    /// Lines of fields.
    Lines(Lines),
    /// Texts that are nothing of these.
    Texts,
    /// Something that no text is.
    Binary,
    /// No record has a value.
    Nothing,
}

/// One record as it is looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look<'v> {
    /// Unpacked.
    pub(super) value: &'v [u8],
    /// What names the schema in place of a frame.
    pub(super) header: Option<&'v [u8]>,
}

impl<'v> Look<'v> {
    /// The object that the record is.
    pub(super) fn object(&self) -> Option<Raw<'v>> {
        object(self.value)
    }

    /// The object behind the frame.
    pub(super) fn framed_object(&self) -> Option<Raw<'v>> {
        let body = match (self.header, self.value) {
            (Some(_), value) => value,
            (None, [0, _, _, _, _, body @ ..]) => body,
            (None, [1, rest @ ..]) => rest.get(16..)?,
            _ => return None,
        };
        object(body)
    }

    fn is_framed(&self) -> bool {
        schema_of(self.value, self.header).is_some()
    }
}

fn object(bytes: &[u8]) -> Option<Raw<'_>> {
    let parsed = Raw::parse(str::from_utf8(bytes).ok()?).ok();
    parsed.filter(|raw| raw.kind() == Kind::Object)
}

/// What most of the records are, and how many are something else.
pub(super) fn shape(records: &[Look<'_>]) -> (Shape, usize) {
    let total = records.len();
    if total == 0 {
        return (Shape::Nothing, 0);
    }
    let is_most = |count: usize| count * 2 > total;
    let framed = records.iter().filter(|record| record.is_framed()).count();
    if is_most(framed) {
        let objects = records.iter().filter_map(Look::framed_object).count();
        return match is_most(objects) {
            true => (Shape::FramedObjects, total - objects),
            false => (Shape::Framed, total - framed),
        };
    }
    let objects: Vec<Raw<'_>> = records.iter().filter_map(Look::object).collect();
    if is_most(objects.len()) {
        let changes = objects.iter().filter(|object| is_change(**object)).count();
        return match is_most(changes) {
            true => (Shape::Changes, total - changes),
            false => (Shape::Objects, total - objects.len()),
        };
    }
    let texts = records
        .iter()
        .map(|record| str::from_utf8(record.value).ok());
    let texts: Vec<&str> = texts.flatten().collect();
    if !is_most(texts.len()) {
        return (Shape::Binary, 0);
    }
    match lines(&texts) {
        Some(lines) => (Shape::Lines(lines), total - texts.len()),
        None => (Shape::Texts, total - texts.len()),
    }
}

/// Whether an object is a change of a row, as Debezium writes it.
pub(super) fn is_change(object: Raw<'_>) -> bool {
    let payload = object.members().find(|(name, _)| name == "payload");
    let change = payload.map_or(object, |(_, payload)| payload);
    let has = |wanted: &str| change.members().any(|(name, _)| name == wanted);
    are_names_of_a_change(has)
}

/// The same by the names of its members.
pub(super) fn are_names_of_a_change(has: impl Fn(&str) -> bool) -> bool {
    has("op") && has("source") && (has("after") || has("before"))
}

/// `compression` for these values; `None`: they are not compressed.
pub(super) fn compression<'v>(values: impl Iterator<Item = &'v [u8]>) -> Option<&'static str> {
    let (mut gzip, mut zstd, mut total) = (0, 0, 0);
    for value in values {
        total += 1;
        match value {
            [0x1f, 0x8b, ..] => gzip += 1,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => zstd += 1,
            _ => {}
        }
    }
    match (gzip, zstd) {
        (0, 0) => None,
        (all, 0) if all == total => Some("gzip"),
        (0, all) if all == total => Some("zstd"),
        _ => Some("auto"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&[u8]]) -> (Shape, usize) {
        let looks: Vec<Look<'_>> = values
            .iter()
            .map(|value| Look {
                value,
                header: None,
            })
            .collect();
        shape(&looks)
    }

    #[test]
    fn records_are_what_most_of_them_are() {
        let change = &br#"{"payload":{"op":"c","source":{},"after":{}}}"#[..];
        assert_eq!(of(&[]), (Shape::Nothing, 0));
        assert_eq!(of(&[b"{}", b"{\"a\":1}", b"x"]), (Shape::Objects, 1));
        assert_eq!(of(&[change]), (Shape::Changes, 0));
        assert_eq!(of(&[b"a line", b"[1]"]), (Shape::Texts, 0));
        assert_eq!(of(&[b"\0\0\0\0\x07rest"]), (Shape::Framed, 0));
        assert_eq!(of(&[b"\0\0\0\0\x07{}"]), (Shape::FramedObjects, 0));
        let guid = [&[1; 17][..], b"{}"].concat();
        assert_eq!(of(&[&guid, b"\0\0\0\0\x07{}"]), (Shape::FramedObjects, 0));
        assert_eq!(of(&[b"\xff\xfe"]), (Shape::Binary, 0));
        assert!(matches!(
            of(&[b"1,2", b"3,4", b"\xff"]),
            (Shape::Lines(_), 1)
        ));
        let header = [1; 17];
        let named = Look {
            value: b"\x02",
            header: Some(&header),
        };
        assert_eq!(shape(&[named]), (Shape::Framed, 0));
    }

    #[test]
    fn compression_is_told_by_the_first_bytes() {
        let of = |values: &[&'static [u8]]| compression(values.iter().copied());
        assert_eq!(of(&[b"{}"]), None);
        assert_eq!(of(&[b"\x1f\x8b\x08", b"\x1f\x8b\x08"]), Some("gzip"));
        assert_eq!(of(&[b"\x28\xb5\x2f\xfd"]), Some("zstd"));
        assert_eq!(of(&[b"\x1f\x8b\x08", b"{}"]), Some("auto"));
    }
}
