//! serde_json as the judge of what is JSON, and of what an object holds.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::decode::Reason;
use crate::decode::json::DEPTH_MAX;

/// The members of a record's top-level object, or why there are none: any of the reasons would do.
pub(super) fn record(value: Option<&[u8]>) -> Result<Object<'_>, Vec<Reason>> {
    let value = value.ok_or(vec![Reason::NullValue])?;
    // Documented: one byte order mark is skipped.
    let value = value.strip_prefix(b"\xef\xbb\xbf").unwrap_or(value);
    let text = std::str::from_utf8(value).map_err(|_| vec![Reason::InvalidJson])?;
    let mut reasons = vec![];
    // Without values there is no limit of depth and no look at surrogates: the grammar alone.
    if serde_json::from_str::<IgnoredAny>(text).is_err() {
        reasons.push(Reason::InvalidJson);
    }
    if depth(text) > DEPTH_MAX {
        reasons.push(Reason::TooDeep);
    }
    if !reasons.is_empty() {
        return Err(reasons);
    }
    let text = text.trim_matches([' ', '\t', '\r', '\n']);
    if text.starts_with('{') {
        Ok(object(text))
    } else {
        Err(vec![Reason::NotAnObject])
    }
}

fn object(text: &str) -> Object<'_> {
    serde_json::from_str(text).expect("judged to be an object")
}

/// Most containers open at once before the text ends; of a text that is no JSON, roughly.
fn depth(text: &str) -> usize {
    let (mut level, mut deepest) = (0usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                level += 1;
                deepest = deepest.max(level);
            }
            b'}' | b']' if !in_string => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl<'a> Object<'a> {
    /// The text of the value at the end of `names`; `None` when it is absent or null. Of duplicate
    /// names the last wins.
    pub(super) fn find(&self, names: &[&str]) -> Option<&'a str> {
        let (name, rest) = names.split_first()?;
        let same = |member: &&(Vec<u8>, &'a RawValue)| member.0 == name.as_bytes();
        let value = self.0.iter().rev().find(same)?.1.get();
        match rest {
            [] => (value != "null").then_some(value),
            _ if value.starts_with('{') => object(value).find(rest),
            _ => None,
        }
    }
}

/// The members of an object in order; none where it is no object, or a name is no text.
pub(super) fn members(value: &str) -> Option<Vec<(String, &RawValue)>> {
    if !value.starts_with('{') {
        return None;
    }
    let members = object(value).0.into_iter();
    let members = members.map(|(name, value)| Some((String::from_utf8(name).ok()?, value)));
    members.collect()
}

/// The elements of an array.
pub(super) fn elements(array: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(array).ok()
}

/// The members of an object in order, duplicates included. Names are bytes: one with a lone surrogate
/// is no text, and equals no name.
pub(super) struct Object<'a>(Vec<(Vec<u8>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = vec![];
                while let Some((Name(name), value)) = map.next_entry()? {
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

struct Name(Vec<u8>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Name, E> {
                Ok(Name(bytes.to_vec()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.as_bytes().to_vec()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}
