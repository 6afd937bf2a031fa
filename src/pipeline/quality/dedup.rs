//! Which records are duplicates of earlier ones.

use std::time::Duration;

use crate::config::{Dedup, OnDuplicate};
use crate::decode::json::{Kind, Plan, Raw, Scanner};
use crate::decode::{Path, text};
use crate::operator::{DedupKey, DedupRules};

/// `[pipeline.dedup]`, made ready.
#[derive(Debug)]
pub(crate) struct DedupPlan {
    slots: Vec<usize>,
    pub(crate) rules: DedupRules,
    pub(crate) on_duplicate: OnDuplicate,
}

impl DedupPlan {
    /// # Errors
    /// A path that `slot_of` refuses.
    pub(crate) fn new(
        config: &Dedup,
        watermark_delay: Duration,
        slot_of: impl FnMut(&str) -> Result<usize, String>,
    ) -> Result<DedupPlan, String> {
        let ms = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let slots = config.key.iter().map(String::as_str).map(slot_of);
        Ok(DedupPlan {
            slots: slots.collect::<Result<_, _>>()?,
            rules: DedupRules {
                within_ms: ms(config.within),
                delay_ms: ms(watermark_delay),
            },
            on_duplicate: config.on_duplicate,
        })
    }

    /// The key of a record; none where a part of it is absent or null.
    pub(crate) fn key<'v>(&self, get: impl Fn(usize) -> Raw<'v>) -> Option<DedupKey> {
        if self.slots.iter().any(|slot| get(*slot).is_missing()) {
            return None;
        }
        if let [slot] = self.slots[..]
            && !get(slot).is_escaped()
        {
            let raw = get(slot);
            return Some(DedupKey::of([(tag(raw), raw.as_received().as_bytes())]));
        }
        let part = |slot: &usize| {
            let raw = get(*slot);
            let mut bytes = vec![];
            // A string that is no text has its escapes for bytes.
            if text::append_text(raw, &mut bytes).is_err() {
                bytes = raw.as_received().as_bytes().to_vec();
            }
            (tag(raw), bytes)
        };
        let parts: Vec<(u8, Vec<u8>)> = self.slots.iter().map(part).collect();
        Some(DedupKey::of(
            parts.iter().map(|(kind, part)| (*kind, &part[..])),
        ))
    }
}

/// The key of a record's value by itself; none where it is no JSON, or has no key.
pub(crate) fn dedup_key(config: &Dedup, value: Option<&[u8]>) -> Option<DedupKey> {
    let mut paths = vec![];
    let plan = DedupPlan::new(config, Duration::ZERO, |path| {
        paths.push(Path::parse(path).map_err(|error| error.to_string())?);
        Ok(paths.len() - 1)
    });
    let plan = plan.ok()?;
    let mut scanner = Scanner::new(Plan::new(&paths));
    let fields = scanner.scan(value).ok()?;
    plan.key(|slot| fields.get(slot))
}

/// Equal texts of different types are different keys.
fn tag(raw: Raw<'_>) -> u8 {
    match raw.kind() {
        Kind::Absent | Kind::Null => 0,
        Kind::String => 1,
        Kind::Number => 2,
        Kind::True | Kind::False => 3,
        Kind::Object => 4,
        Kind::Array => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(paths: &[&str], json: &str) -> Option<DedupKey> {
        let config = Dedup {
            key: paths.iter().map(|path| (*path).to_owned()).collect(),
            within: Duration::from_secs(1),
            on_duplicate: OnDuplicate::Drop,
            flag_column: None,
        };
        dedup_key(&config, Some(json.as_bytes()))
    }

    #[test]
    fn a_key_has_all_of_its_parts_by_type_and_text() {
        let one = |json| key(&["$.a"], json);
        assert_eq!(one("{}"), None);
        assert_eq!(one(r#"{"a":null}"#), None);
        assert_ne!(one(r#"{"a":1}"#), one(r#"{"a":"1"}"#));
        assert_ne!(one(r#"{"a":true}"#), one(r#"{"a":"true"}"#));
        assert_eq!(one(r#"{"a":"x"}"#), one(r#"{"a":"\u0078"}"#));
        let two = |json| key(&["$.a", "$.b"], json);
        assert_eq!(two(r#"{"a":1}"#), None);
        assert_ne!(two(r#"{"a":"x","b":"yz"}"#), two(r#"{"a":"xy","b":"z"}"#));
        assert_eq!(two(r#"{"a":"x","b":2}"#), two(r#"{"b":2,"a":"\u0078"}"#));
    }
}
