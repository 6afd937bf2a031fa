//! `mask` of a column, and the key that some masks need.

use crate::config::quantity::Integer;
use crate::config::section::Section;
use crate::config::value::{Choice, Text};
use crate::steps::{Mask, MaskKey};

/// Fewest bytes of a key.
const KEY_BYTES_MIN: usize = 16;
/// Most bytes of a key.
const KEY_BYTES_MAX: u64 = 1 << 20;
/// Characters that `keep_last` leaves where nothing is said.
const KEEP: usize = 4;

#[derive(Clone, Copy, PartialEq)]
enum Name {
    Hmac,
    Redact,
    Null,
    KeepLast,
}

/// Reads `mask` and `keep`.
pub(super) fn read(entry: &mut Section<'_>) -> Option<Mask> {
    let names = Choice(&[
        ("hmac", Name::Hmac),
        ("redact", Name::Redact),
        ("null", Name::Null),
        ("keep_last", Name::KeepLast),
    ]);
    let kept = Integer {
        min: 1,
        max: 1000,
        unit: "characters",
    };
    let mask = entry.take("mask", names);
    let keep = entry.take("keep", kept);
    if keep.is_some() && mask != Some(Name::KeepLast) {
        entry.problem(
            "keep",
            "needs mask = \"keep_last\": it is how many characters stay",
        );
    }
    Some(match mask? {
        Name::Redact => Mask::Redact,
        Name::Null => Mask::Null,
        Name::KeepLast => {
            Mask::KeepLast(keep.map_or(KEEP, |keep| usize::try_from(keep).unwrap_or(KEEP)))
        }
        Name::Hmac => {
            let key = entry.reader.mask_key.borrow().clone();
            if key.is_none() {
                let message = "\"hmac\" needs service.mask_key_file, a file with the key";
                entry.problem("mask", message);
            }
            Mask::Hmac(key?)
        }
    })
}

const KEY_FILE: Text = Text {
    allowed: "the path of a file, not empty",
    check: |text| !text.is_empty() && !text.contains('\0'),
};

/// Reads `mask_key_file` of `[service]`: raw bytes, less one line break at the end. Messages show nothing of
/// the key.
pub(in crate::config) fn read_key(section: &mut Section<'_>) -> Option<MaskKey> {
    let name = section.take("mask_key_file", KEY_FILE)?;
    let path = section.reader.directory.join(name);
    let read = std::fs::metadata(&path).and_then(|file| match file.len() {
        ..=KEY_BYTES_MAX => std::fs::read(&path),
        size => Err(std::io::Error::other(format!("it has {size} bytes"))),
    });
    let path = path.display();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("must name a file that can be read: {path}: {error}");
            section.problem("mask_key_file", message);
            return None;
        }
    };
    let key = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let key = key.strip_suffix(b"\r").unwrap_or(key);
    if key.len() < KEY_BYTES_MIN {
        let message = format!(
            "must name a file with a key of at least {KEY_BYTES_MIN} bytes: {path} has {}",
            key.len()
        );
        section.problem("mask_key_file", message);
        return None;
    }
    Some(MaskKey::new(key))
}
