//! ClickHouse's own compressed blocks, as `compress=1` and `decompress=1` carry them:
//! CityHash128 of what follows (16 bytes, high half first) · method (1 byte) · size with this
//! 9-byte header (u32) · raw size (u32) · payload.

use std::io::{self, Read};

use cityhash_rs::cityhash_102_128;

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;
/// The server's own limit on one block.
const BLOCK_BYTES_MAX: u32 = 1 << 30;
const WRITTEN_BLOCK_BYTES: usize = 1 << 20;

/// Compresses with LZ4.
pub(super) fn compress(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for raw in data.chunks(WRITTEN_BLOCK_BYTES) {
        let payload = lz4_flex::block::compress(raw);
        let mut block = Vec::with_capacity(HEADER_BYTES + payload.len());
        block.push(METHOD_LZ4);
        block.extend(((payload.len() + HEADER_BYTES) as u32).to_le_bytes());
        block.extend((raw.len() as u32).to_le_bytes());
        block.extend(payload);
        out.extend(checksum(&block));
        out.extend(block);
    }
    out
}

fn checksum(block: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_102_128(block).rotate_left(64).to_le_bytes()
}

/// Reads the raw data out of compressed blocks. A damaged or cut block is `InvalidData`; an error
/// of the inner reader is passed on.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    inner: R,
    raw: Vec<u8>,
    position: usize,
}

impl<R: Read> FrameReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            raw: Vec::new(),
            position: 0,
        }
    }

    /// Reads the next block into `raw`; false at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut sum = [0; CHECKSUM_BYTES];
        if !fill(&mut self.inner, &mut sum)? {
            return Ok(false);
        }
        let mut block = vec![0; HEADER_BYTES];
        if !fill(&mut self.inner, &mut block)? {
            return Err(damaged(33, "a compressed block ends after its checksum"));
        }
        let number = |at: usize| {
            u32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
        };
        let (size, raw_size) = (number(1), number(5));
        if size < HEADER_BYTES as u32 || size > BLOCK_BYTES_MAX || raw_size > BLOCK_BYTES_MAX {
            return Err(damaged(271, "impossible size of a compressed block"));
        }
        block.resize(size as usize, 0);
        if !fill(&mut self.inner, &mut block[HEADER_BYTES..])? && size > HEADER_BYTES as u32 {
            return Err(damaged(33, "a compressed block ends after its header"));
        }
        if checksum(&block) != sum {
            return Err(damaged(40, "checksum doesn't match: corrupted data"));
        }
        let payload = &block[HEADER_BYTES..];
        self.raw = match block[0] {
            METHOD_LZ4 => lz4_flex::block::decompress(payload, raw_size as usize)
                .map_err(|error| damaged(271, &format!("cannot decompress: {error}")))?,
            METHOD_ZSTD => zstd::bulk::decompress(payload, raw_size as usize)
                .map_err(|error| damaged(271, &format!("cannot decompress: {error}")))?,
            METHOD_NONE => payload.to_vec(),
            method => {
                return Err(damaged(
                    89,
                    &format!("unknown compression method {method:#x}"),
                ));
            }
        };
        self.position = 0;
        Ok(true)
    }
}

impl<R: Read> Read for FrameReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.position == self.raw.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let count = out.len().min(self.raw.len() - self.position);
        out[..count].copy_from_slice(&self.raw[self.position..self.position + count]);
        self.position += count;
        Ok(count)
    }
}

/// Fills `out`, or returns false where the data ends exactly before it.
fn fill(reader: &mut impl Read, out: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < out.len() {
        match reader.read(&mut out[filled..])? {
            0 if filled == 0 => return Ok(false),
            0 => {
                return Err(damaged(
                    33,
                    "cannot read all data: a compressed block is cut",
                ));
            }
            count => filled += count,
        }
    }
    Ok(true)
}

fn damaged(code: u32, message: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("Code: {code}. DB::Exception: {message}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::ClickHouse;

    fn read(framed: &[u8]) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        FrameReader::new(framed).read_to_end(&mut raw).map(|_| raw)
    }

    #[test]
    fn what_was_compressed_reads_back() {
        let data: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
        assert_eq!(read(&compress(&data)).unwrap(), data);
    }

    #[test]
    fn they_are_those_that_the_engine_writes() {
        let server = ClickHouse::start().unwrap();
        let query = |sql: &str| server.try_query(sql).unwrap();
        for (codec, method) in [
            ("NONE", METHOD_NONE),
            ("LZ4", METHOD_LZ4),
            ("ZSTD(1)", METHOD_ZSTD),
        ] {
            query("DROP TABLE IF EXISTS blocks");
            query(&format!(
                "CREATE TABLE blocks (n UInt64 CODEC({codec})) ENGINE = MergeTree ORDER BY tuple() \
                 SETTINGS min_bytes_for_wide_part = 0"
            ));
            query("INSERT INTO blocks SELECT number FROM numbers(100000)");
            let path = query("SELECT path FROM system.parts WHERE table = 'blocks' AND active");
            let written = std::fs::read(format!("{}n.bin", path.trim())).unwrap();
            assert_eq!(written[CHECKSUM_BYTES], method, "{codec}");
            let expected: Vec<u8> = (0..100_000u64).flat_map(u64::to_le_bytes).collect();
            assert_eq!(read(&written).unwrap(), expected, "{codec}");
        }
    }

    #[test]
    fn a_cut_or_changed_block_is_an_error() {
        let framed = compress(b"one two three one two three");
        assert!(read(&framed[..framed.len() - 1]).is_err());
        assert!(read(&framed[..20]).is_err());
        let mut changed = framed.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(read(&changed).unwrap_err().to_string().contains("Code: 40"));
    }
}
