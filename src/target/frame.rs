//! ClickHouse's own compressed frames, as an insert with `decompress=1` takes them.
//!
//! Each is CityHash128 (version 1.0.2, high half first) over what follows, one method byte
//! (0x82 = LZ4, 0x90 = ZSTD, 0x02 = none), the compressed size including these nine bytes and the raw size
//! (both u32, little-endian), then an LZ4 block, a frame of ZSTD, or the bytes themselves. The format is that
//! of `CompressedWriteBuffer` in ClickHouse.

use std::cell::RefCell;

use cityhash_rs::cityhash_102_128;
use zstd::bulk::{Compressor, Decompressor};

use crate::config::InsertCompression;

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;
const METHOD_NONE: u8 = 0x02;
/// The fastest of the levels that are not made for speed alone.
const ZSTD_LEVEL: i32 = 1;
const BLOCK_BYTES_KEPT: usize = 1 << 20;

thread_local! {
    /// Room for the worst case of one frame, kept: making it anew for every frame means zeroing
    /// three times as many bytes as come out, on pages that nothing else has touched yet.
    static BLOCK: RefCell<Vec<u8>> = const { RefCell::new(vec![]) };
    static ZSTD: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
}

/// Appends `raw` to `out` as one frame.
pub(crate) fn compress_by(method: InsertCompression, raw: &[u8], out: &mut Vec<u8>) {
    match method {
        InsertCompression::Lz4 => compress(raw, out),
        InsertCompression::Zstd => compress_zstd(raw, out),
        InsertCompression::None => append(METHOD_NONE, raw, raw.len(), out),
    }
}

#[inline(never)]
fn compress_zstd(raw: &[u8], out: &mut Vec<u8>) {
    ZSTD.with_borrow_mut(|compressor| {
        let compressor = compressor.get_or_insert_with(|| {
            Compressor::new(ZSTD_LEVEL).expect("the level is one of those that there are")
        });
        let block = compressor.compress(raw);
        let block = block.expect("memory takes every frame");
        append(METHOD_ZSTD, &block, raw.len(), out);
    });
}

/// The same by LZ4.
#[inline(never)]
pub(crate) fn compress(raw: &[u8], out: &mut Vec<u8>) {
    BLOCK.with_borrow_mut(|block| {
        let worst = lz4_flex::block::get_maximum_output_size(raw.len());
        if block.len() < worst {
            block.resize(worst, 0);
        }
        let written = lz4_flex::block::compress_into(raw, block)
            .expect("the output has room for the worst case");
        append(METHOD_LZ4, &block[..written], raw.len(), out);
        // One huge row must not keep its room for ever.
        if block.len() > BLOCK_BYTES_KEPT {
            *block = vec![];
        }
    });
}

/// `raw` as one frame.
pub(crate) fn compressed(raw: &[u8]) -> Vec<u8> {
    let mut out = vec![];
    compress(raw, &mut out);
    out
}

fn append(method: u8, block: &[u8], raw_bytes: usize, out: &mut Vec<u8>) {
    let bytes = |n: usize| u32::try_from(n).expect("a frame stays far below 4 GiB");
    let start = out.len();
    let head = start + CHECKSUM_BYTES;
    out.reserve(CHECKSUM_BYTES + HEADER_BYTES + block.len());
    out.extend_from_slice(&[0; CHECKSUM_BYTES]);
    out.push(method);
    out.extend_from_slice(&bytes(HEADER_BYTES + block.len()).to_le_bytes());
    out.extend_from_slice(&bytes(raw_bytes).to_le_bytes());
    out.extend_from_slice(block);
    let hash = cityhash_102_128(&out[head..]);
    let (high, low) = ((hash >> 64) as u64, hash as u64);
    out[start..start + 8].copy_from_slice(&high.to_le_bytes());
    out[start + 8..head].copy_from_slice(&low.to_le_bytes());
}

/// Takes frames that [`compress_by`] wrote apart, one after the other.
pub(crate) struct Frames<'f>(pub(crate) &'f [u8]);

impl Frames<'_> {
    /// Leaves the raw bytes of the next frame in `raw`; false after the last.
    pub(crate) fn next_into(&mut self, raw: &mut Vec<u8>) -> bool {
        raw.clear();
        if self.0.is_empty() {
            return false;
        }
        let header = &self.0[CHECKSUM_BYTES..CHECKSUM_BYTES + HEADER_BYTES];
        let word = |at: usize| {
            let bytes = header[at..at + 4].try_into().expect("four bytes");
            usize::try_from(u32::from_le_bytes(bytes)).expect("u32 fits")
        };
        let (size, raw_size) = (word(1), word(5));
        let block = &self.0[CHECKSUM_BYTES + HEADER_BYTES..CHECKSUM_BYTES + size];
        let ours = "the frame was written by this process";
        match header[0] {
            METHOD_NONE => raw.extend_from_slice(block),
            METHOD_ZSTD => {
                let unpacked = Decompressor::new().and_then(|mut d| d.decompress(block, raw_size));
                *raw = unpacked.expect(ours);
            }
            _ => {
                raw.resize(raw_size, 0);
                lz4_flex::block::decompress_into(block, raw).expect(ours);
            }
        }
        self.0 = &self.0[CHECKSUM_BYTES + size..];
        true
    }
}

/// The raw bytes of all frames.
pub(crate) fn decompress(frames: &[u8]) -> Vec<u8> {
    let (mut frames, mut raw, mut all) = (Frames(frames), vec![], vec![]);
    while frames.next_into(&mut raw) {
        all.extend_from_slice(&raw);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..5), first in 0usize..3) {
            let methods = [InsertCompression::Lz4, InsertCompression::Zstd, InsertCompression::None];
            let mut frames = vec![];
            for (number, part) in parts.iter().enumerate() {
                compress_by(methods[(first + number) % 3], part, &mut frames);
            }
            prop_assert_eq!(decompress(&frames), parts.concat());
        }
    }

    #[test]
    fn the_frame_is_the_one_clickhouse_reads() {
        // Taken from a frame that an engine of ClickHouse accepted; see tests/clickstream.rs for the rest.
        let mut frame = vec![];
        compress(b"abc", &mut frame);
        assert_eq!(frame[16], 0x82);
        assert_eq!(&frame[17..25], [13, 0, 0, 0, 3, 0, 0, 0]);
        assert_eq!(&frame[25..], [0x30, b'a', b'b', b'c']);
    }
}
