//! Parts of groups that did not fit into memory, and where they lie.
//!
//! What is in memory is a part of a window: all of it, or what was counted since the rest was written.
//! Parts are written in runs, each in the order of its keys, and never looked at while records are counted.
//! They meet again when the rows of their window are due, in one reading of all runs together. So an event
//! costs the same as without a store, and no key stays in memory.

use std::fmt::Debug;

/// A place for entries in the order of their keys. What it holds need not outlive the process.
///
/// Entries are of *buckets*: what is removed together. A bucket that nothing was written to is empty.
pub trait Spill: Debug + Send {
    /// Writes entries, all of them or none, in ascending order and none twice. `next` fills in key and value
    /// of another one, or says that there is none; both come empty.
    ///
    /// # Errors
    /// It has no room, or cannot be written. It is not used any more.
    fn write(&mut self, bucket: u64, next: Entries<'_>) -> Result<(), SpillError>;

    /// The entries that there are now, from this key on.
    ///
    /// # Errors
    /// It cannot be read. It is not used any more.
    fn read(&self, bucket: u64, from: &[u8]) -> Result<Box<dyn Cursor>, SpillError>;

    /// Removes what was written of a bucket.
    ///
    /// # Errors
    /// It cannot be removed. It is not used any more.
    fn remove(&mut self, bucket: u64) -> Result<(), SpillError>;

    /// Whether it holds so much that what need not be there is to be removed.
    fn is_half_full(&self) -> bool;
}

/// See [`Spill::read`].
pub trait Cursor {
    /// Key and value of the next entry.
    ///
    /// # Errors
    /// It cannot be read.
    fn next(&mut self) -> Result<Option<Entry<'_>>, SpillError>;
}

/// A key and its value.
pub type Entry<'e> = (&'e [u8], &'e [u8]);

/// See [`Spill::write`].
pub type Entries<'n> = &'n mut dyn FnMut(&mut Vec<u8>, &mut Vec<u8>) -> bool;

/// Why state cannot be kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SpillError {
    #[error("{held_bytes} bytes are on disk, and {bytes_max} may be")]
    Full { held_bytes: u64, bytes_max: u64 },
    #[error("{0}")]
    Failed(String),
}

/// The key of one part of a group: the window, the group, and the run it was written in.
///
/// Parts of a group lie side by side whatever its bytes are, because its length stands before them.
pub(super) fn write_key(key: &mut Vec<u8>, start_ms: i64, group: &[u8], run: u32) {
    let length = u32::try_from(group.len()).expect("groups are shorter than messages");
    write_start(key, start_ms);
    key.extend_from_slice(&length.to_be_bytes());
    key.extend_from_slice(group);
    key.extend_from_slice(&run.to_be_bytes());
}

/// What all keys of a window begin with.
pub(super) fn write_start(key: &mut Vec<u8>, start_ms: i64) {
    // Negative times come first.
    let ordered = (start_ms as u64) ^ (1 << 63);
    key.extend_from_slice(&ordered.to_be_bytes());
}

/// The group of a key that [`write_key`] wrote, and what is the same for all of its parts.
pub(super) fn group_of(key: &[u8]) -> (&[u8], &[u8]) {
    let same = &key[..key.len() - 4];
    (&same[12..], same)
}

/// The order in which groups of a window lie.
pub(super) fn order_of(group: &[u8]) -> (usize, &[u8]) {
    (group.len(), group)
}

/// For tests: entries in memory.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct InMemory {
    pub(super) buckets:
        std::collections::BTreeMap<u64, std::collections::BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(super) is_half_full: bool,
}

#[cfg(test)]
impl Spill for InMemory {
    fn write(&mut self, bucket: u64, next: Entries<'_>) -> Result<(), SpillError> {
        let entries = self.buckets.entry(bucket).or_default();
        let mut last = vec![];
        loop {
            let (mut key, mut value) = (vec![], vec![]);
            if !next(&mut key, &mut value) {
                return Ok(());
            }
            assert!(last < key, "entries come in ascending order");
            last.clone_from(&key);
            entries.insert(key, value);
        }
    }

    fn read(&self, bucket: u64, from: &[u8]) -> Result<Box<dyn Cursor>, SpillError> {
        let entries = self.buckets.get(&bucket).into_iter();
        let entries = entries.flat_map(|entries| entries.range(from.to_vec()..));
        let entries = entries.map(|(key, value)| (key.clone(), value.clone()));
        let entries: Vec<_> = entries.rev().collect();
        Ok(Box::new(Copied {
            entries,
            last: None,
        }))
    }

    fn remove(&mut self, bucket: u64) -> Result<(), SpillError> {
        self.buckets.remove(&bucket);
        Ok(())
    }

    fn is_half_full(&self) -> bool {
        self.is_half_full
    }
}

#[cfg(test)]
struct Copied {
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    last: Option<(Vec<u8>, Vec<u8>)>,
}

#[cfg(test)]
impl Cursor for Copied {
    fn next(&mut self) -> Result<Option<Entry<'_>>, SpillError> {
        self.last = self.entries.pop();
        let last = self.last.as_ref();
        Ok(last.map(|(key, value)| (&key[..], &value[..])))
    }
}
