//! Rows into columns.

use super::dictionary::Dictionary;
use super::plan::{BlockPlan, ColumnPlan, Layout};

/// Texts up to this long, with the byte of their length, are copied as a block of fixed size.
const BLOCK_BYTES: usize = 64;
/// What a stream may keep of its memory. One huge row must not keep its room for ever.
const STREAM_BYTES_KEPT: usize = 1 << 20;

/// What the chunks of one block have in common.
#[derive(Debug, Clone, Default)]
pub struct BlockState {
    /// Elements of arrays so far, by stream.
    pub(super) elements: Vec<u64>,
    /// Rows that leave a column out, by column.
    pub(super) absent: Vec<usize>,
}

impl BlockState {
    /// Rows that leave a column out, by column.
    #[must_use]
    pub fn absent(&self) -> &[usize] {
        &self.absent
    }
}

/// The columns of some rows. One value serves many chunks, one after the other.
#[derive(Debug, Default)]
pub struct Chunk {
    pub(super) streams: Vec<Vec<u8>>,
    dictionaries: Vec<Dictionary>,
    /// How far each row has been read.
    cursors: Vec<usize>,
}

impl Chunk {
    /// The streams; those of arrays without elements are empty.
    #[must_use]
    pub fn streams(&self) -> &[Vec<u8>] {
        &self.streams
    }

    /// The same, to be filled with what [`Chunk::streams`] gave.
    pub fn streams_mut(&mut self, plan: &BlockPlan) -> &mut [Vec<u8>] {
        self.begin(plan);
        &mut self.streams
    }

    fn begin(&mut self, plan: &BlockPlan) {
        self.streams.truncate(plan.streams);
        for stream in &mut self.streams {
            stream.clear();
            if stream.capacity() > STREAM_BYTES_KEPT {
                *stream = vec![];
            }
        }
        self.streams.resize_with(plan.streams, Vec::new);
        if self.dictionaries.len() < plan.streams {
            self.dictionaries
                .resize_with(plan.streams, Dictionary::default);
        }
    }
}

impl BlockPlan {
    /// The beginning of a block.
    #[must_use]
    pub fn state(&self) -> BlockState {
        BlockState {
            elements: vec![0; self.streams],
            absent: vec![0; self.columns.len()],
        }
    }

    /// Makes columns of rows in RowBinary that stand one behind the other, each ending where `ends` says.
    ///
    /// # Panics
    /// When they are no rows of these columns.
    pub fn fill(&self, rows: &[u8], ends: &[u32], state: &mut BlockState, chunk: &mut Chunk) {
        chunk.begin(self);
        let mut cursors = std::mem::take(&mut chunk.cursors);
        cursors.clear();
        cursors.push(0);
        cursors.extend(ends.iter().map(|end| *end as usize));
        let end = cursors.pop();
        assert!(end.is_none_or(|end| end == rows.len()));
        let skip = usize::from(self.has_flags);
        for (number, column) in self.columns.iter().enumerate() {
            column.layout.begin(chunk);
            match (column.absent, &column.layout) {
                (Some(map), _) => {
                    state.absent[number] +=
                        column.fill_present(map, rows, &mut cursors, state, chunk);
                }
                (None, Layout::Fixed { size, stream }) => {
                    fixed(*size, skip, rows, &mut cursors, &mut chunk.streams[*stream]);
                }
                (None, Layout::Text { stream }) => {
                    texts(skip, rows, &mut cursors, &mut chunk.streams[*stream]);
                }
                (None, layout) => {
                    for cursor in &mut cursors {
                        *cursor += skip;
                        layout.push(rows, cursor, state, chunk);
                    }
                }
            }
            column.layout.finish(chunk);
        }
        let mut ends = cursors.iter().zip(ends);
        let are_read = ends.all(|(cursor, end)| *cursor == *end as usize);
        assert!(are_read, "rows have the columns of their table");
        chunk.cursors = cursors;
    }
}

impl ColumnPlan {
    /// Adds the values of rows that have one; how many have none.
    fn fill_present(
        &self,
        map: usize,
        rows: &[u8],
        cursors: &mut [usize],
        state: &mut BlockState,
        chunk: &mut Chunk,
    ) -> usize {
        let mut absent = 0;
        for cursor in cursors {
            let flag = rows[*cursor];
            *cursor += 1;
            chunk.streams[map].push(flag);
            if flag == 0 {
                self.layout.push(rows, cursor, state, chunk);
            } else {
                absent += 1;
            }
        }
        absent
    }
}

impl Layout {
    /// Readies the dictionary, if there is one.
    fn begin(&self, chunk: &mut Chunk) {
        match self {
            Layout::Dictionary {
                stream,
                null: Some(zero),
                ..
            } => {
                chunk.dictionaries[*stream].begin_with_null(zero);
            }
            other => other.parts().iter().for_each(|part| part.begin(chunk)),
        }
    }

    /// Writes the dictionary, if there is one.
    fn finish(&self, chunk: &mut Chunk) {
        match self {
            Layout::Dictionary { stream, .. } => {
                chunk.dictionaries[*stream].finish(&mut chunk.streams[*stream]);
            }
            other => other.parts().iter().for_each(|part| part.finish(chunk)),
        }
    }

    /// Adds the value at `cursor`, which moves behind it.
    fn push(&self, rows: &[u8], cursor: &mut usize, state: &mut BlockState, chunk: &mut Chunk) {
        match self {
            Layout::Fixed { size, stream } => {
                let value = &rows[*cursor..*cursor + size];
                chunk.streams[*stream].extend_from_slice(value);
                *cursor += size;
            }
            Layout::Text { stream } => {
                texts(
                    0,
                    rows,
                    std::slice::from_mut(cursor),
                    &mut chunk.streams[*stream],
                );
            }
            Layout::Nullable { map, zero, inner } => {
                let flag = rows[*cursor];
                *cursor += 1;
                chunk.streams[*map].push(flag);
                if flag == 0 {
                    inner.push(rows, cursor, state, chunk);
                } else {
                    inner.push(zero, &mut 0, state, chunk);
                }
            }
            Layout::Dictionary { stream, size, null } => {
                let dictionary = &mut chunk.dictionaries[*stream];
                if null.is_some() {
                    let is_null = rows[*cursor] != 0;
                    *cursor += 1;
                    if is_null {
                        return dictionary.push_null();
                    }
                }
                let end = match size {
                    Some(size) => *cursor + size,
                    None => text_end(rows, *cursor),
                };
                dictionary.push(&rows[*cursor..end]);
                *cursor = end;
            }
            Layout::Array { offsets, inner } => {
                let (count, start) = length(rows, *cursor);
                *cursor = start;
                for _ in 0..count {
                    inner.push(rows, cursor, state, chunk);
                }
                let total = &mut state.elements[*offsets];
                *total += count as u64;
                chunk.streams[*offsets].extend_from_slice(&total.to_le_bytes());
            }
            Layout::Tuple { parts } => {
                for part in parts {
                    part.push(rows, cursor, state, chunk);
                }
            }
            Layout::OneOf {
                tags,
                codes,
                null,
                parts,
            } => {
                let code = rows[*cursor];
                *cursor += 1;
                if code == null.0 {
                    return chunk.streams[*tags].push(null.1);
                }
                let place = codes.iter().position(|known| *known == code);
                let place = place.expect("rows have values of known types");
                chunk.streams[*tags].push(place as u8);
                parts[place].push(rows, cursor, state, chunk);
            }
        }
    }
}

fn fixed(size: usize, skip: usize, rows: &[u8], cursors: &mut [usize], out: &mut Vec<u8>) {
    match size {
        1 => fixed_of::<1>(skip, rows, cursors, out),
        2 => fixed_of::<2>(skip, rows, cursors, out),
        4 => fixed_of::<4>(skip, rows, cursors, out),
        8 => fixed_of::<8>(skip, rows, cursors, out),
        16 => fixed_of::<16>(skip, rows, cursors, out),
        size => {
            for cursor in cursors {
                let start = *cursor + skip;
                *cursor = start + size;
                out.extend_from_slice(&rows[start..*cursor]);
            }
        }
    }
}

fn fixed_of<const SIZE: usize>(skip: usize, rows: &[u8], cursors: &mut [usize], out: &mut Vec<u8>) {
    let values = cursors.iter_mut().map(|cursor| {
        let start = *cursor + skip;
        *cursor = start + SIZE;
        let value: &[u8; SIZE] = rows[start..].first_chunk().expect("rows have all columns");
        *value
    });
    // An array a time: the room for all is made once.
    out.reserve(values.len() * SIZE);
    values.for_each(|value| out.extend_from_slice(&value));
}

fn texts(skip: usize, rows: &[u8], cursors: &mut [usize], out: &mut Vec<u8>) {
    for cursor in cursors {
        let start = *cursor + skip;
        let short = usize::from(rows[start]) + 1;
        let block = rows[start..].first_chunk::<BLOCK_BYTES>();
        *cursor = match block {
            Some(block) if short <= BLOCK_BYTES => {
                let end = out.len() + short;
                out.extend_from_slice(block);
                out.truncate(end);
                start + short
            }
            _ => {
                let end = text_end(rows, start);
                out.extend_from_slice(&rows[start..end]);
                end
            }
        };
    }
}

/// Where the text that begins at `start` with its length ends.
fn text_end(rows: &[u8], start: usize) -> usize {
    let (length, start) = length(rows, start);
    start + length
}

/// A number of variable length (LEB128), and where what stands behind it begins.
pub(super) fn length(bytes: &[u8], start: usize) -> (usize, usize) {
    let (mut length, mut shift, mut at) = (0, 0, start);
    loop {
        let byte = bytes[at];
        length |= usize::from(byte & 0x7f) << shift;
        (shift, at) = (shift + 7, at + 1);
        if byte < 0x80 {
            return (length, at);
        }
    }
}
