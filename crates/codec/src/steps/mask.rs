//! Masks: what hides a value.

use std::fmt;
use std::fmt::Write as _;
use std::sync::{Arc, RwLock, Weak};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::value::{Scratch, Text, Value};
use crate::decode::Reject;
use crate::decode::json::Raw;

/// What is written in place of a value that is hidden altogether.
pub const REDACTED: &str = "***";
/// Hexadecimal digits of a masked value.
const HMAC_DIGITS: usize = 32;

/// What hides a value. A missing one stays missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mask {
    /// The first 32 hexadecimal digits of HMAC-SHA-256 over the text.
    Hmac(MaskKey),
    /// `***`
    Redact,
    /// As if it were null.
    Null,
    /// `*` for every character but the last ones; for all where there are no more.
    KeepLast(usize),
}

impl Mask {
    /// Objects and arrays are hidden by their JSON text.
    pub(super) fn apply<'a>(
        &self,
        value: Value<'a>,
        scratch: &mut Scratch,
    ) -> Result<Value<'a>, Reject> {
        match self {
            Mask::Null => return Ok(Value::Missing),
            Mask::Redact => return Ok(Value::Text(REDACTED)),
            Mask::Hmac(_) | Mask::KeepLast(_) => {}
        }
        let text = value.to_text(scratch).unwrap_or_else(|_| match value {
            Value::Field(raw) => Text::Plain(raw.as_received()),
            _ => Text::Plain(REDACTED),
        });
        let hidden = scratch.rewrite(text, |text, out| {
            match self {
                Mask::Hmac(key) => key.hide(text, out),
                Mask::KeepLast(kept) => keep_last(text, *kept, out),
                Mask::Null | Mask::Redact => out.push_str(REDACTED),
            }
            Ok(())
        });
        Ok(hidden?.into())
    }
}

fn keep_last(text: &str, kept: usize, out: &mut String) {
    let count = text.chars().count();
    let hidden = if count > kept { count - kept } else { count };
    out.extend(std::iter::repeat_n('*', hidden));
    out.extend(text.chars().skip(hidden));
}

/// The key of masks: one for the process, which may be exchanged while it runs. Shows nothing of the key
/// but its id.
#[derive(Clone)]
pub struct MaskKey(Arc<RwLock<Shared>>);

struct Shared {
    keyed: Keyed,
    /// Keys of configurations that were read later: what renews this one renews them.
    later: Vec<Weak<RwLock<Shared>>>,
}

#[derive(Clone)]
struct Keyed {
    mac: Hmac<Sha256>,
    id: [u8; 32],
}

impl Keyed {
    fn new(key: &[u8]) -> Keyed {
        let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
        let mut digest = Sha256::new();
        digest.update(b"streamweir mask key");
        digest.update(key);
        Keyed {
            mac,
            id: digest.finalize().into(),
        }
    }
}

impl MaskKey {
    /// A key of these bytes.
    #[must_use]
    pub fn new(key: &[u8]) -> MaskKey {
        MaskKey(Arc::new(RwLock::new(Shared {
            keyed: Keyed::new(key),
            later: vec![],
        })))
    }

    /// From now on this key, and those that it was renewed by before, are as `newer` is; true where that is
    /// another one.
    pub fn renew(&self, newer: &MaskKey) -> bool {
        if Arc::ptr_eq(&self.0, &newer.0) {
            return false;
        }
        let keyed = newer.keyed();
        let mut own = self.0.write().expect("no holder of this lock panics");
        let is_other = own.keyed.id != keyed.id;
        own.later.retain(|later| later.strong_count() > 0);
        for later in own.later.iter().filter_map(Weak::upgrade) {
            let mut later = later.write().expect("no holder of this lock panics");
            later.keyed = keyed.clone();
        }
        own.keyed = keyed;
        own.later.push(Arc::downgrade(&newer.0));
        is_other
    }

    /// Eight hexadecimal digits that tell keys apart, and nothing of them.
    #[must_use]
    pub fn id(&self) -> String {
        let id = self.keyed().id;
        id[..4].iter().fold(String::new(), |mut digits, byte| {
            let _ = write!(digits, "{byte:02x}");
            digits
        })
    }

    fn keyed(&self) -> Keyed {
        let own = self.0.read();
        own.expect("no holder of this lock panics").keyed.clone()
    }

    fn hide(&self, text: &str, out: &mut String) {
        let mut mac = self.keyed().mac;
        mac.update(text.as_bytes());
        for byte in &mac.finalize().into_bytes()[..HMAC_DIGITS / 2] {
            let _ = write!(out, "{byte:02x}");
        }
    }
}

impl PartialEq for MaskKey {
    fn eq(&self, other: &Self) -> bool {
        self.keyed().id == other.keyed().id
    }
}

impl Eq for MaskKey {}

impl fmt::Debug for MaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskKey({})", self.id())
    }
}

/// A hidden value as JSON has it.
pub(super) fn redacted() -> Raw<'static> {
    Raw::string(REDACTED)
}
