//! Keys as bytes, for snapshots.

use super::{DedupKey, DedupRules, Entry, SeenKeys, Span};
use crate::operator::Unreadable;

/// What most keys take: their own bytes and small numbers for their times.
const SAVED_BYTES: usize = 22;

impl SeenKeys {
    /// Appends what is not forgotten as bytes.
    #[must_use]
    pub fn save(&self, out: Vec<u8>) -> Vec<u8> {
        let is_known = |span: &Span| !self.is_forgotten(*span);
        let newest = self
            .shards
            .iter()
            .flatten()
            .map(|entry| (entry.key, entry.span));
        let older = self.older.iter();
        let older = older.flat_map(|(key, spans)| spans.iter().map(|span| (*key, *span)));
        let count = newest
            .clone()
            .chain(older.clone())
            .filter(|(_, span)| is_known(span));
        let count = count.count();
        let mut out = out;
        out.reserve(count * SAVED_BYTES);
        let head = (self.largest_ms, count as u64);
        let mut out = postcard::to_extend(&head, out).expect("memory takes every value");
        for (key, span) in newest.chain(older).filter(|(_, span)| is_known(span)) {
            out.extend_from_slice(&key.0.to_le_bytes());
            // Small numbers take few bytes.
            let behind_ms = self
                .largest_ms
                .unwrap_or_default()
                .wrapping_sub(span.last_ms);
            let length_ms = span.last_ms.wrapping_sub(span.first_ms);
            let times = (behind_ms, length_ms);
            out = postcard::to_extend(&times, out).expect("memory takes every value");
        }
        out
    }

    /// What [`SeenKeys::save`] wrote under the same rules, and what stands behind it.
    ///
    /// # Errors
    /// The bytes are not that.
    pub fn restore(rules: DedupRules, saved: &[u8]) -> Result<(Self, &[u8]), Unreadable> {
        let mut seen = SeenKeys::new(rules);
        let ((largest_ms, count), mut rest) =
            postcard::take_from_bytes::<(Option<i64>, u64)>(saved)?;
        seen.largest_ms = largest_ms;
        for _ in 0..count {
            let (key, behind) = rest
                .split_first_chunk()
                .ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
            let ((behind_ms, length_ms), behind) = postcard::take_from_bytes::<(i64, i64)>(behind)?;
            rest = behind;
            let last_ms = largest_ms.unwrap_or_default().wrapping_sub(behind_ms);
            let span = Span {
                first_ms: last_ms.wrapping_sub(length_ms),
                last_ms,
            };
            seen.put(DedupKey(u128::from_le_bytes(*key)), span);
        }
        Ok((seen, rest))
    }

    /// The first span of a key is its newest.
    fn put(&mut self, key: DedupKey, span: Span) {
        let shard = &mut self.shards[key.shard()];
        match shard.find(key.hash(), |entry| entry.key == key) {
            Some(_) => self.older.entry(key).or_default().push(span),
            None => {
                let entry = Entry { key, span };
                shard.insert_unique(key.hash(), entry, |entry| entry.key.hash());
            }
        }
    }
}
