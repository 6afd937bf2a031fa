//! What is known of each key, in bounded memory and in one pass over whatever tells of it.
//!
//! What does not fit goes to a file by the hash of its key, and comes back one bucket after the other.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::io;

use super::spill::Spill;
use crate::inspect::Failure;

/// What the map takes for a key beside its bytes and its entry.
const OVERHEAD_BYTES: usize = 64;
/// Buckets are meant to be half as large as what fits.
const BUCKETS_MAX: u64 = 4_096;

/// What is known of a key.
pub(super) trait Entry: Sized {
    /// What it takes of memory.
    const BYTES: usize;

    /// Adds what came later.
    fn merge(&mut self, later: Self);

    fn write(&self, out: &mut Vec<u8>);

    /// What was written; `None`: it is something else.
    fn read(bytes: &[u8]) -> Option<Self>;
}

/// The entry of each key.
#[derive(Debug)]
pub(super) struct Gathered<E> {
    entries: HashMap<Box<[u8]>, E>,
    state: foldhash::fast::RandomState,
    bytes: usize,
    bytes_max: usize,
    buckets: usize,
    spill: Option<Spill>,
}

impl<E: Entry> Gathered<E> {
    /// `keys_max`: no more keys than this come.
    pub(super) fn new(bytes_max: usize, keys_max: u64) -> Self {
        let bytes_max = bytes_max.max(1);
        let entry = (E::BYTES + OVERHEAD_BYTES + 32) as u64;
        let buckets = (keys_max.saturating_mul(entry * 2) / bytes_max as u64 + 2).min(BUCKETS_MAX);
        Gathered {
            entries: HashMap::new(),
            state: foldhash::fast::RandomState::default(),
            bytes: 0,
            bytes_max,
            buckets: usize::try_from(buckets).expect("a few thousand"),
            spill: None,
        }
    }

    /// Adds to what is known of a key.
    ///
    /// # Errors
    /// The disk takes no more.
    pub(super) fn add(&mut self, key: &[u8], entry: E) -> Result<(), Failure> {
        if let Some(known) = self.entries.get_mut(key) {
            known.merge(entry);
            return Ok(());
        }
        self.bytes += key.len() + E::BYTES + OVERHEAD_BYTES;
        self.entries.insert(key.into(), entry);
        if self.bytes > self.bytes_max {
            self.spill().map_err(|error| no_room(&error))?;
        }
        Ok(())
    }

    fn spill(&mut self) -> io::Result<()> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            none => none.insert(Spill::new(self.buckets, self.bytes_max / 4)?),
        };
        let mut item = vec![];
        for (key, entry) in self.entries.drain() {
            let hash = self.state.hash_one(&key);
            let bucket = hash % spill.count() as u64;
            let length = u32::try_from(key.len()).map_err(io::Error::other)?;
            item.clear();
            item.extend(length.to_le_bytes());
            item.extend(&key);
            entry.write(&mut item);
            spill.push(usize::try_from(bucket).expect("a few thousand"), &item)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// Hands every key to `each`, once, with all that is known of it.
    ///
    /// # Errors
    /// The file cannot be read, or what `each` returned.
    pub(super) fn finish(
        mut self,
        mut each: impl FnMut(&[u8], E) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if self.spill.is_some() {
            self.spill().map_err(|error| no_room(&error))?;
        }
        let Some(spill) = self.spill else {
            return self
                .entries
                .into_iter()
                .try_for_each(|(key, entry)| each(&key, entry));
        };
        let mut entries: HashMap<Box<[u8]>, E> = HashMap::new();
        for bucket in 0..spill.count() {
            let mut is_whole = true;
            let read = spill.items(bucket, |item| match item_of::<E>(item) {
                Some((key, entry)) => match entries.get_mut(key) {
                    Some(known) => known.merge(entry),
                    None => drop(entries.insert(key.into(), entry)),
                },
                None => is_whole = false,
            });
            read.map_err(|error| no_room(&error))?;
            if !is_whole {
                return Err(no_room(&io::ErrorKind::InvalidData.into()));
            }
            entries
                .drain()
                .try_for_each(|(key, entry)| each(&key, entry))?;
        }
        Ok(())
    }
}

fn item_of<E: Entry>(item: &[u8]) -> Option<(&[u8], E)> {
    let (length, rest) = item.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (key, rest) = rest.split_at_checked(length)?;
    Some((key, E::read(rest)?))
}

fn no_room(error: &io::Error) -> Failure {
    Failure::Refused(format!(
        "what does not fit into service.memory_max goes to a file in {} while the audit runs: {error}: give \
         it room there (TMPDIR), or memory (service.memory_max), or audit one topic (--topic)",
        std::env::temp_dir().display()
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// How often a key came, and when last.
    #[derive(Debug, PartialEq, Eq)]
    struct Seen(u64, u64);

    impl Entry for Seen {
        const BYTES: usize = 16;

        fn merge(&mut self, later: Seen) {
            *self = Seen(self.0 + later.0, later.1);
        }

        fn write(&self, out: &mut Vec<u8>) {
            out.extend(self.0.to_le_bytes());
            out.extend(self.1.to_le_bytes());
        }

        fn read(bytes: &[u8]) -> Option<Seen> {
            let (count, last) = bytes.split_first_chunk::<8>()?;
            let last = last.try_into().ok()?;
            Some(Seen(u64::from_le_bytes(*count), u64::from_le_bytes(last)))
        }
    }

    proptest! {
        #[test]
        fn however_little_memory_there_is_each_key_comes_once_with_all_of_it(
            keys in prop::collection::vec(0u64..300, 1..400),
            bytes_max in 1usize..20_000,
        ) {
            let mut all = Gathered::new(bytes_max, keys.len() as u64);
            let mut expected = BTreeMap::new();
            for (number, key) in keys.iter().enumerate() {
                all.add(&key.to_le_bytes(), Seen(1, number as u64)).unwrap();
                let seen = expected.entry(key.to_le_bytes().to_vec()).or_insert(Seen(0, 0));
                seen.merge(Seen(1, number as u64));
            }
            let mut found = BTreeMap::new();
            let finished = all.finish(|key, entry| {
                assert!(found.insert(key.to_vec(), entry).is_none(), "{key:?} came twice");
                Ok(())
            });
            finished.unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}
