//! Items by the bucket of their key, in one file without a name, so that what does not fit into memory is
//! read back bucket by bucket.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;

/// Smallest and largest piece that is written at a time.
const BLOCK_BYTES_MIN: usize = 4 << 10;
const BLOCK_BYTES_MAX: usize = 256 << 10;

/// A piece of the file.
#[derive(Debug, Clone, Copy)]
struct Block {
    at: u64,
    length: usize,
}

/// The items of one bucket.
#[derive(Debug, Default)]
struct Bucket {
    written: Vec<Block>,
    open: Vec<u8>,
}

/// Items of so many buckets. The file is gone with the process, however that ends.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    end: u64,
    buckets: Vec<Bucket>,
    block_bytes: usize,
}

impl Spill {
    /// `memory`: bytes that may wait to be written, of all buckets together.
    ///
    /// # Errors
    /// No file can be made in the directory of temporary files (`TMPDIR`).
    pub(super) fn new(count: usize, memory: usize) -> io::Result<Self> {
        let name = format!("streamweir-audit-{:016x}", rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        std::fs::remove_file(&path)?;
        let mut buckets = vec![];
        buckets.resize_with(count, Bucket::default);
        Ok(Spill {
            file,
            end: 0,
            buckets,
            block_bytes: (memory / count.max(1)).clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX),
        })
    }

    pub(super) fn count(&self) -> usize {
        self.buckets.len()
    }

    /// Adds an item to a bucket.
    ///
    /// # Errors
    /// The disk takes no more.
    pub(super) fn push(&mut self, bucket: usize, item: &[u8]) -> io::Result<()> {
        let own = &mut self.buckets[bucket];
        if own.open.len() + item.len() + 4 > self.block_bytes && !own.open.is_empty() {
            self.file.write_all_at(&own.open, self.end)?;
            own.written.push(Block {
                at: self.end,
                length: own.open.len(),
            });
            self.end += own.open.len() as u64;
            own.open.clear();
        }
        let length = u32::try_from(item.len()).map_err(io::Error::other)?;
        own.open.extend(length.to_le_bytes());
        own.open.extend(item);
        Ok(())
    }

    /// Hands every item of a bucket to `each`, in the order in which they came.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn items(&self, bucket: usize, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let own = &self.buckets[bucket];
        let mut bytes = vec![];
        for block in &own.written {
            bytes.resize(block.length, 0);
            self.file.read_exact_at(&mut bytes, block.at)?;
            split(&bytes, &mut each)?;
        }
        split(&own.open, &mut each)
    }
}

fn split(mut bytes: &[u8], each: &mut impl FnMut(&[u8])) -> io::Result<()> {
    while !bytes.is_empty() {
        let item = bytes.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
            rest.split_at_checked(length)
        });
        let (item, rest) = item.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))?;
        each(item);
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_in_their_bucket_and_in_their_order() {
        let mut spill = Spill::new(3, 0).unwrap();
        let item = |number: usize| vec![u8::try_from(number % 251).unwrap(); number % 700];
        for number in 0..2_000 {
            spill.push(number % 3, &item(number)).unwrap();
        }
        spill.push(1, &[9; 100_000]).unwrap();
        assert!(spill.end > 100_000);
        for bucket in 0..spill.count() {
            let mut expected: Vec<Vec<u8>> = (bucket..2_000).step_by(3).map(item).collect();
            if bucket == 1 {
                expected.push(vec![9; 100_000]);
            }
            let mut found = vec![];
            spill
                .items(bucket, |item| found.push(item.to_vec()))
                .unwrap();
            assert_eq!(found, expected);
        }
    }
}
