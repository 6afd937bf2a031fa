//! What windows write that does not fit into memory (ADR 0017): trees of `lsm-tree`, one for each bucket, in a
//! directory of this process alone. Nothing of it is read by another process, and nothing after a start.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lsm_tree::config::{BlockSizePolicy, FilterPolicy};
use lsm_tree::{
    AbstractTree as _, AnyTree, Cache, Config, DescriptorTable, Guard as _, IterGuardImpl, SeqNo,
    SequenceNumberCounter, UserKey, UserValue,
};
use metrics::Gauge;

use crate::causes::with_causes;
use crate::operator::window::{Cursor, Entries, Entry, Spill, SpillError};

/// What is kept in memory of what was read: entries are read once, in their order.
const CACHE_BYTES: u64 = 8 << 20;
/// Files that one bucket keeps open.
const FILES_MAX: usize = 128;
const BLOCK_BYTES: u32 = 16 << 10;
/// Directories that others hold under a name that was to be ours.
const NAMES_MAX: usize = 8;
/// How often it is asked whether there is room, in entries.
const CHECK_EVERY: u64 = 1024;

/// See the module. Of one pipeline.
#[derive(Debug)]
pub(crate) struct Scratch {
    directory: PathBuf,
    bytes_max: u64,
    /// What lies in all trees.
    held_bytes: AtomicU64,
    trees: AtomicU64,
    cache: SharedCache,
    gauge: Gauge,
    /// Others do not remove the directory as long as it is locked.
    lock: File,
}

struct SharedCache(Arc<Cache>);

impl std::fmt::Debug for SharedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedCache").finish()
    }
}

/// The directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{directory}: {source}")]
pub(crate) struct ScratchError {
    directory: String,
    source: io::Error,
}

impl Scratch {
    /// In a new directory under this one. What processes have left there that are gone is removed.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open(
        parent: &Path,
        bytes_max: u64,
        gauge: Gauge,
    ) -> Result<Arc<Scratch>, ScratchError> {
        let at = |source| ScratchError {
            directory: parent.display().to_string(),
            source,
        };
        std::fs::create_dir_all(parent).map_err(at)?;
        remove_abandoned(parent).map_err(at)?;
        let (directory, lock) = new_directory(parent).map_err(at)?;
        gauge.set(0.0);
        Ok(Arc::new(Scratch {
            directory,
            bytes_max,
            held_bytes: AtomicU64::new(0),
            trees: AtomicU64::new(0),
            cache: SharedCache(Arc::new(Cache::with_capacity_bytes(CACHE_BYTES))),
            gauge,
            lock,
        }))
    }

    /// What its windows share of the memory beside what they hold.
    pub(crate) fn memory_bytes(&self) -> usize {
        usize::try_from(self.cache.0.size()).unwrap_or(usize::MAX)
    }

    /// Room for windows that belong together. It is given back when this is dropped.
    pub(crate) fn space(self: &Arc<Self>) -> ScratchSpace {
        ScratchSpace {
            scratch: self.clone(),
            buckets: hashbrown::HashMap::new(),
        }
    }

    fn held_bytes(&self) -> u64 {
        self.held_bytes.load(Ordering::Relaxed)
    }

    fn change(&self, before: u64, after: u64) {
        self.held_bytes.fetch_add(after, Ordering::Relaxed);
        let held = self.held_bytes.fetch_sub(before, Ordering::Relaxed) - before;
        self.gauge.set(held as f64);
    }

    /// # Errors
    /// It holds as much as it may, with so much more.
    fn check(&self, more: u64) -> Result<(), SpillError> {
        let held_bytes = self.held_bytes() + more;
        if held_bytes > self.bytes_max {
            return Err(SpillError::Full {
                held_bytes,
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }

    fn new_bucket(&self) -> lsm_tree::Result<Bucket> {
        let number = self.trees.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(number.to_string());
        let counter = SequenceNumberCounter::default;
        let tree = Config::new(&path, counter(), counter())
            .use_cache(self.cache.0.clone())
            .use_descriptor_table(Some(Arc::new(DescriptorTable::new(FILES_MAX))))
            .data_block_size_policy(BlockSizePolicy::all(BLOCK_BYTES))
            // Nothing is looked up by its whole key.
            .filter_policy(FilterPolicy::disabled())
            .open()?;
        Ok(Bucket {
            path,
            tree,
            bytes: 0,
            written_bytes: 0,
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.gauge.set(0.0);
        let _ = std::fs::remove_dir_all(&self.directory);
        let _ = std::fs::remove_file(lock_path(&self.directory));
        let _ = self.lock.unlock();
    }
}

fn lock_path(directory: &Path) -> PathBuf {
    directory.with_extension("lock")
}

fn remove_abandoned(parent: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(parent)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        // Another process that begins may have been here first.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => continue,
            Err(TryLockError::Error(error)) => return Err(error),
        }
        match std::fs::remove_dir_all(path.with_extension("")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let _ = std::fs::remove_file(&path);
    }
    Ok(())
}

/// One of a name that nobody has, which is locked.
fn new_directory(parent: &Path) -> io::Result<(PathBuf, File)> {
    for _ in 0..NAMES_MAX {
        let directory = parent.join(format!("{:016x}", rand::random::<u64>()));
        let path = lock_path(&directory);
        let lock = File::create_new(&path)?;
        // Somebody may have taken it for abandoned before it was locked.
        if lock.try_lock().is_ok() && path.exists() {
            std::fs::create_dir(&directory)?;
            return Ok((directory, lock));
        }
    }
    Err(io::Error::other("others keep removing what is made there"))
}

/// See [`Scratch::space`].
#[derive(Debug)]
pub(crate) struct ScratchSpace {
    scratch: Arc<Scratch>,
    buckets: hashbrown::HashMap<u64, Bucket>,
}

struct Bucket {
    path: PathBuf,
    tree: AnyTree,
    /// On disk, and before that was compressed.
    bytes: u64,
    written_bytes: u64,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bucket")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Bucket {
    /// Appends entries.
    ///
    /// # Errors
    /// They do not fit, or cannot be written.
    fn write(&mut self, scratch: &Scratch, next: Entries<'_>) -> Result<(), SpillError> {
        scratch.check(0)?;
        let mut ingestion = self.tree.ingestion().map_err(failed)?;
        let (mut key, mut value) = (vec![], vec![]);
        let (mut count, mut bytes) = (0u64, 0u64);
        while next(&mut key, &mut value) {
            if key.len() > usize::from(u16::MAX) {
                return Err(SpillError::Failed(format!(
                    "a key of {} bytes is too long for it",
                    key.len()
                )));
            }
            bytes += (key.len() + value.len()) as u64;
            count += 1;
            if count.is_multiple_of(CHECK_EVERY) {
                scratch.check(self.compressed(bytes))?;
            }
            ingestion
                .write(UserKey::from(&key[..]), UserValue::from(&value[..]))
                .map_err(failed)?;
            key.clear();
            value.clear();
        }
        ingestion.finish().map_err(failed)?;
        let now = self.tree.disk_space();
        scratch.change(self.bytes, now);
        self.bytes = now;
        self.written_bytes += bytes;
        scratch.check(0)
    }

    /// What so many bytes take on disk, by what was written before.
    fn compressed(&self, bytes: u64) -> u64 {
        match self.written_bytes {
            0 => bytes,
            written => (u128::from(bytes) * u128::from(self.bytes) / u128::from(written)) as u64,
        }
    }

    fn remove(self, scratch: &Scratch) -> io::Result<()> {
        let Bucket {
            path, tree, bytes, ..
        } = self;
        // What is open of it would keep its room.
        drop(tree);
        std::fs::remove_dir_all(path)?;
        scratch.change(bytes, 0);
        Ok(())
    }
}

impl Spill for ScratchSpace {
    fn write(&mut self, bucket: u64, next: Entries<'_>) -> Result<(), SpillError> {
        if !self.buckets.contains_key(&bucket) {
            let new = self.scratch.new_bucket().map_err(failed)?;
            self.buckets.insert(bucket, new);
        }
        let bucket = self.buckets.get_mut(&bucket).expect("just made");
        bucket.write(&self.scratch, next)
    }

    fn read(&self, bucket: u64, from: &[u8]) -> Result<Box<dyn Cursor>, SpillError> {
        let Some(bucket) = self.buckets.get(&bucket) else {
            return Ok(Box::new(Reading::default()));
        };
        let entries = bucket.tree.range(from.., SeqNo::MAX, None);
        Ok(Box::new(Reading {
            entries: Some(entries),
            last: None,
        }))
    }

    fn remove(&mut self, bucket: u64) -> Result<(), SpillError> {
        let bucket = self.buckets.remove(&bucket);
        let removed = bucket.map_or(Ok(()), |bucket| bucket.remove(&self.scratch));
        removed.map_err(failed)
    }

    fn is_half_full(&self) -> bool {
        self.scratch.held_bytes() >= self.scratch.bytes_max / 2
    }
}

impl Drop for ScratchSpace {
    fn drop(&mut self) {
        for (_, bucket) in self.buckets.drain() {
            // It goes with the directory, at the latest.
            let _ = bucket.remove(&self.scratch);
        }
    }
}

fn failed(error: impl std::error::Error) -> SpillError {
    SpillError::Failed(with_causes(&error))
}

#[derive(Default)]
struct Reading {
    entries: Option<Box<dyn DoubleEndedIterator<Item = IterGuardImpl> + Send>>,
    last: Option<(UserKey, UserValue)>,
}

impl Cursor for Reading {
    fn next(&mut self) -> Result<Option<Entry<'_>>, SpillError> {
        let entry = self.entries.as_mut().and_then(Iterator::next);
        self.last = entry
            .map(|entry| entry.into_inner())
            .transpose()
            .map_err(failed)?;
        Ok(self
            .last
            .as_ref()
            .map(|(key, value)| (&key[..], &value[..])))
    }
}

#[cfg(test)]
mod tests;
