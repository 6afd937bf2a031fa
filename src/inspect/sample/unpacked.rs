//! Values as they are looked at: unpacked, with what names their schemas.

use super::look::Look;
use crate::config::Compression;
use crate::format::schema_of;
use crate::inspect::doctor::facts::SampledRecord;
use crate::pipeline::Payload;

const VALUE_HEADER: &str = "__value_schema_id";
const KEY_HEADER: &str = "__key_schema_id";

/// A value as it is looked at.
pub(super) struct Unpacked<'r> {
    value: std::borrow::Cow<'r, [u8]>,
    header: Option<&'r [u8]>,
}

impl Unpacked<'_> {
    pub(super) fn look(&self) -> Look<'_> {
        Look {
            value: &self.value,
            header: self.header,
        }
    }
}

/// The records with a value, unpacked, and how many could not be.
pub(super) fn unpacked(
    found: &[SampledRecord],
    is_packed: bool,
) -> (Vec<(&SampledRecord, Unpacked<'_>)>, usize) {
    let mut payload = Payload::new(match is_packed {
        true => Compression::Auto,
        false => Compression::None,
    });
    let (mut all, mut failed) = (vec![], 0);
    for record in found {
        let Some(value) = record.value.as_deref() else {
            continue;
        };
        let value = match is_packed {
            false => value.into(),
            true => match payload.open(Some(value)) {
                Ok(opened) => opened.unwrap_or_default().to_vec().into(),
                Err(_) => {
                    failed += 1;
                    continue;
                }
            },
        };
        let header = header(record, VALUE_HEADER);
        all.push((record, Unpacked { value, header }));
    }
    (all, failed)
}

fn header<'r>(record: &'r SampledRecord, name: &str) -> Option<&'r [u8]> {
    let found = record.headers.iter().find(|(own, _)| own == name);
    found.and_then(|(_, value)| value.as_deref())
}

/// How the keys of changes are read: as their values, where they have a frame of a schema registry too.
pub(super) fn key_format<'r>(
    format: &'static str,
    records: impl Iterator<Item = &'r SampledRecord>,
) -> Option<&'static str> {
    let has_frame = |record: &SampledRecord| {
        let key = record.key.as_deref()?;
        Some(schema_of(key, header(record, KEY_HEADER)).is_some())
    };
    let framed: Vec<bool> = records.filter_map(has_frame).collect();
    let is_framed = !framed.is_empty() && framed.iter().all(|framed| *framed);
    (is_framed && format != "json").then_some(format)
}
