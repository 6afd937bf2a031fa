//! The rows of a batch as columns: compressed chunk by chunk, sent as one block.

use std::cell::RefCell;

use bytes::Bytes;

use crate::config::InsertCompression;
use crate::native::{BlockPlan, BlockState, Chunk};
use crate::target::{Frames, compress, compress_by};

/// Frames of a body that takes no more are sent as one piece.
const PIECE_BYTES_MIN: usize = 64 << 10;
/// Raw bytes of the rows that go into one frame where rows are sent as rows.
const ROWS_FRAME_BYTES: usize = 256 << 10;

thread_local! {
    /// Columns on their way into frames, whatever their batch.
    static CHUNK: RefCell<Chunk> = RefCell::default();
}

/// Where the frames of one chunk are: how many rows it has, and how long each stream is without
/// compression. A stream without bytes has no frame.
#[derive(Debug)]
struct ChunkIndex {
    rows: usize,
    raw_lens: Box<[u32]>,
}

/// Columns to which chunks are added.
#[derive(Debug, Default)]
pub(super) struct OpenColumns {
    /// By stream.
    frames: Vec<Vec<u8>>,
    chunks: Vec<ChunkIndex>,
    state: BlockState,
}

/// Columns of a closed batch.
#[derive(Debug, Default)]
pub(super) struct Columns {
    /// By stream.
    frames: Vec<Bytes>,
    /// What the frames' buffers take, spare room included.
    capacity: usize,
    chunks: Vec<ChunkIndex>,
    state: BlockState,
}

impl OpenColumns {
    /// Adds rows in RowBinary that stand one behind the other and end where `ends` says.
    #[inline(never)]
    pub(super) fn add(
        &mut self,
        plan: &BlockPlan,
        compression: InsertCompression,
        rows: &[u8],
        ends: &[u32],
    ) {
        if self.chunks.is_empty() {
            self.state = plan.state();
            self.frames.resize_with(plan.streams(), Vec::new);
        }
        CHUNK.with_borrow_mut(|chunk| {
            plan.fill(rows, ends, &mut self.state, chunk);
            let mut raw_lens = Vec::with_capacity(self.frames.len());
            for (stream, frames) in chunk.streams().iter().zip(&mut self.frames) {
                if !stream.is_empty() {
                    compress_by(compression, stream, frames);
                }
                let len = u32::try_from(stream.len()).expect("a frame stays far below 4 GiB");
                raw_lens.push(len);
            }
            self.chunks.push(ChunkIndex {
                rows: ends.len(),
                raw_lens: raw_lens.into(),
            });
        });
    }

    /// What it takes of the process's memory.
    pub(super) fn memory_bytes(&self) -> usize {
        let frames: usize = self.frames.iter().map(Vec::capacity).sum();
        frames + index_bytes(&self.chunks)
    }

    pub(super) fn close(&mut self) -> Columns {
        let columns = std::mem::take(self);
        Columns {
            capacity: columns.frames.iter().map(Vec::capacity).sum(),
            frames: columns.frames.into_iter().map(Bytes::from).collect(),
            chunks: columns.chunks,
            state: columns.state,
        }
    }
}

impl Columns {
    pub(super) fn memory_bytes(&self) -> usize {
        self.capacity + index_bytes(&self.chunks)
    }

    /// The rows, one after the other, as they were added. One chunk is taken apart at a time: all raw bytes
    /// together may be a gigabyte.
    pub(super) fn each_row(&self, plan: &BlockPlan, mut take: impl FnMut(&[u8])) {
        let mut frames: Vec<Frames<'_>> = self.frames.iter().map(|f| Frames(f)).collect();
        // Not the one of the thread: the rows may go into another batch at once.
        let (mut chunk, mut state) = (Chunk::default(), plan.state());
        for index in &self.chunks {
            let streams = chunk.streams_mut(plan).iter_mut().zip(&mut frames);
            for ((stream, frames), raw_len) in streams.zip(&index.raw_lens) {
                if *raw_len > 0 {
                    frames.next_into(stream);
                }
            }
            plan.restore(&chunk, index.rows, &mut state, &mut take);
        }
    }

    /// The compressed body of an insert of one block; `None` where a column is absent from some rows alone,
    /// which blocks cannot state.
    pub(super) fn block(&self, plan: &BlockPlan, rows: usize) -> Option<Vec<Bytes>> {
        let parts = plan.parts(rows, self.state.absent())?;
        let mut pieces = vec![];
        for part in parts {
            let mut head = vec![];
            compress(&part.head, &mut head);
            pieces.push(Bytes::from(head));
            let frames = self.frames[part.streams].iter();
            pieces.extend(frames.filter(|frames| !frames.is_empty()).cloned());
        }
        Some(joined(pieces))
    }

    /// The compressed body of an insert of rows.
    pub(super) fn rows(&self, plan: &BlockPlan) -> Vec<Bytes> {
        let (mut raw, mut frames) = (vec![], vec![]);
        self.each_row(plan, |row| {
            raw.extend_from_slice(row);
            if raw.len() >= ROWS_FRAME_BYTES {
                compress(&raw, &mut frames);
                raw.clear();
            }
        });
        if !raw.is_empty() {
            compress(&raw, &mut frames);
        }
        vec![frames.into()]
    }
}

fn index_bytes(chunks: &[ChunkIndex]) -> usize {
    let of = |chunk: &ChunkIndex| size_of::<ChunkIndex>() + size_of_val(&*chunk.raw_lens);
    chunks.iter().map(of).sum()
}

/// Many small pieces as one.
fn joined(pieces: Vec<Bytes>) -> Vec<Bytes> {
    let bytes: usize = pieces.iter().map(Bytes::len).sum();
    if bytes > PIECE_BYTES_MIN {
        return pieces;
    }
    vec![pieces.concat().into()]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fuzzing::{Cell, Reader, block};
    use crate::native::BlockColumn;
    use crate::table::{ColumnType, append_length, dynamic};
    use crate::target::decompress;

    const TYPES: [&str; 22] = [
        "String",
        "UInt8",
        "Decimal(76, 3)",
        "FixedString(3)",
        "UUID",
        "Float64",
        "Nullable(String)",
        "Nullable(DateTime64(3))",
        "LowCardinality(String)",
        "LowCardinality(Nullable(String))",
        "LowCardinality(UInt32)",
        "Array(Nullable(Int16))",
        "Array(LowCardinality(Nullable(String)))",
        "Array(Array(String))",
        "UInt256",
        "Map(LowCardinality(String), Array(Int16))",
        "Tuple(a LowCardinality(Nullable(String)), b Array(UInt8))",
        "Nullable(Tuple(LowCardinality(String), Nullable(UInt16)))",
        "JSON",
        "Variant(Array(String), LowCardinality(String), UInt64)",
        "Dynamic",
        "Array(Tuple(Variant(String, UInt8), Nullable(JSON), Dynamic))",
    ];

    /// Bytes that look random, and are few enough different ones to come again.
    struct Noise(u64);

    impl Noise {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (self.0 >> 33) % limit
        }

        fn value(&mut self, column_type: &ColumnType, out: &mut Vec<u8>) {
            match column_type {
                ColumnType::Nullable(inner) => {
                    let is_null = self.below(3) == 0;
                    out.push(is_null.into());
                    if !is_null {
                        self.value(inner, out);
                    }
                }
                ColumnType::LowCardinality(inner) => self.value(inner, out),
                ColumnType::Map(pair) => {
                    let count = self.below(4);
                    append_length(count as usize, out);
                    for _ in 0..count {
                        self.value(&pair.0, out);
                        self.value(&pair.1, out);
                    }
                }
                ColumnType::Tuple(fields) => {
                    fields
                        .types()
                        .iter()
                        .for_each(|field| self.value(field, out));
                }
                ColumnType::Variant(types) => {
                    let place = self.below(types.len() as u64 + 1) as usize;
                    out.push(if place == types.len() {
                        255
                    } else {
                        place as u8
                    });
                    types
                        .get(place)
                        .into_iter()
                        .for_each(|one| self.value(one, out));
                }
                ColumnType::Dynamic(_) => {
                    let place = self.below(dynamic::TYPES.len() as u64 + 1) as usize;
                    match dynamic::TYPES.get(place) {
                        None => out.push(dynamic::NULL),
                        Some((code, one)) => {
                            out.push(*code);
                            self.value(one, out);
                        }
                    }
                }
                ColumnType::Bool => out.push(self.below(2) as u8),
                ColumnType::Array(inner) => {
                    let count = self.below(4);
                    append_length(count as usize, out);
                    (0..count).for_each(|_| self.value(inner, out));
                }
                other => {
                    let is_long = self.below(8) == 0;
                    let length = self.below(if is_long { 200 } else { 3 }) as usize;
                    let size = other.fixed_size().unwrap_or_else(|| {
                        append_length(length, out);
                        length
                    });
                    // No NaN, which equals nothing.
                    out.extend((0..size).map(|_| self.below(3) as u8));
                }
            }
        }
    }

    fn column(number: usize, has_default: bool) -> BlockColumn {
        let type_name = TYPES[number % TYPES.len()];
        BlockColumn {
            name: format!("c{number}"),
            type_name: type_name.to_owned(),
            column_type: ColumnType::parse(type_name).expect("a type"),
            has_default,
        }
    }

    proptest! {
        #[test]
        fn a_block_says_what_its_rows_say(
            seed in any::<u64>(),
            numbers in prop::collection::vec(0usize..64, 1..8),
            row_count in 1usize..40,
            per_chunk in 1usize..40,
            absence in prop::option::of(0u64..3),
        ) {
            let noise = &mut Noise(seed);
            let has_flags = absence.is_some();
            let columns: Vec<BlockColumn> = numbers
                .iter()
                .enumerate()
                .map(|(place, number)| column(*number, place % 2 == 1))
                .collect();
            let plan = BlockPlan::new(columns.clone(), has_flags);
            let mut rows = vec![];
            for _ in 0..row_count {
                let mut row = vec![];
                for column in &columns {
                    let is_absent = match absence {
                        Some(0) | None => false,
                        Some(1) => column.has_default,
                        _ => column.has_default && noise.below(2) == 0,
                    };
                    if has_flags {
                        row.push(is_absent.into());
                    }
                    if !is_absent {
                        noise.value(&column.column_type, &mut row);
                    }
                }
                rows.push(row);
            }
            let mut open = OpenColumns::default();
            let methods = [InsertCompression::Lz4, InsertCompression::Zstd, InsertCompression::None];
            let method = methods[row_count % 3];
            for rows in rows.chunks(per_chunk) {
                let mut end = 0;
                let ends = rows.iter().map(|row| {
                    end += u32::try_from(row.len()).expect("a short row");
                    end
                });
                let ends: Vec<u32> = ends.collect();
                open.add(&plan, method, &rows.concat(), &ends);
            }
            let sealed = open.close();
            prop_assert_eq!(decompress(&sealed.rows(&plan).concat()), rows.concat());
            let mut expected: Vec<(String, Vec<Cell>)> =
                columns.iter().map(|column| (column.name.clone(), vec![])).collect();
            for row in &rows {
                let mut reader = Reader(row);
                for (column, (_, cells)) in columns.iter().zip(&mut expected) {
                    cells.push(match has_flags {
                        true => reader.flagged(&column.column_type),
                        false => reader.cell(&column.column_type),
                    }.expect("a value"));
                }
            }
            let left_out = |cells: &[Cell]| cells.iter().filter(|c| **c == Cell::ServerDefault).count();
            let is_mixed = expected.iter().any(|(_, cells)| ![0, row_count].contains(&left_out(cells)));
            expected.retain(|(_, cells)| left_out(cells) == 0);
            let body = sealed.block(&plan, row_count);
            prop_assert_eq!(body.is_some(), !is_mixed && !expected.is_empty());
            if let Some(body) = body {
                let (read, count) = block(&decompress(&body.concat())).expect("a block");
                let read: Vec<_> = read.into_iter().map(|c| (c.name, c.cells)).collect();
                prop_assert_eq!(count, row_count);
                prop_assert_eq!(read, expected);
            }
        }
    }
}
