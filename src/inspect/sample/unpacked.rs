//! Values as they are looked at: unpacked, with what names their schemas.

use std::borrow::Cow;

use super::look::Look;
use crate::config::Compression;
use crate::format::schema_of;
use crate::inspect::doctor::facts::SampledRecord;
use crate::pipeline::Payload;

const VALUE_HEADER: &str = "__value_schema_id";
const KEY_HEADER: &str = "__key_schema_id";
/// Values that were unpacked are kept together: beyond so many bytes no further one is unpacked.
const UNPACKED_BYTES_MAX: usize = 64 << 20;

/// A value as it is looked at.
pub(super) struct Unpacked<'r> {
    value: Cow<'r, [u8]>,
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

/// Values as they are looked at.
pub(super) struct Opened<'r> {
    /// The records with a value.
    pub(super) records: Vec<(&'r SampledRecord, Unpacked<'r>)>,
    pub(super) notes: Vec<String>,
}

/// The values, unpacked as long as there is room for them.
pub(super) fn unpacked(found: &[SampledRecord], is_packed: bool) -> Opened<'_> {
    unpacked_to(found, is_packed, UNPACKED_BYTES_MAX)
}

fn unpacked_to(found: &[SampledRecord], is_packed: bool, bytes_max: usize) -> Opened<'_> {
    let mut payload = Payload::new(match is_packed {
        true => Compression::Auto,
        false => Compression::None,
    });
    let (mut all, mut failed, mut bytes) = (vec![], 0, 0);
    let mut notes = vec![];
    for record in found {
        if is_packed && bytes >= bytes_max {
            let (opened, records) = (all.len(), found.len());
            let why = format!(
                "only {opened} of {records} records were looked at: unpacked they are large"
            );
            notes.push(why);
            break;
        }
        let Some(value) = record.value.as_deref() else {
            continue;
        };
        let value: Cow<'_, [u8]> = match is_packed {
            false => value.into(),
            true => match payload.open(Some(value)) {
                Ok(opened) => opened.unwrap_or_default().to_vec().into(),
                Err(_) => {
                    failed += 1;
                    continue;
                }
            },
        };
        bytes += value.len();
        let header = header(record, VALUE_HEADER);
        all.push((record, Unpacked { value, header }));
    }
    if failed > 0 {
        notes.push(format!("{failed} records could not be unpacked"));
    }
    Opened {
        records: all,
        notes,
    }
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn no_more_values_are_unpacked_than_there_is_room_for() {
        let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
        packed.write_all(&[b' '; 1000]).unwrap();
        let packed = packed.finish().unwrap();
        let record = |offset| SampledRecord {
            topic: "t".to_owned(),
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: None,
            value: Some(packed.clone()),
            headers: vec![],
        };
        let found: Vec<SampledRecord> = (0..5).map(record).collect();
        let opened = unpacked_to(&found, true, 1500);
        assert_eq!(opened.records.len(), 2);
        assert_eq!(opened.records[0].1.look().value.len(), 1000);
        let note = "only 2 of 5 records were looked at: unpacked they are large";
        assert_eq!(opened.notes, [note]);
        for (bytes_max, is_packed) in [(5000, true), (0, false)] {
            let opened = unpacked_to(&found, is_packed, bytes_max);
            assert_eq!((opened.records.len(), opened.notes.len()), (5, 0));
        }
    }
}
