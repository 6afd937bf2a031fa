//! Columns back into rows: a part of a batch is sent again, or in halves.

use super::chunk::{BlockState, Chunk, length};
use super::plan::{BlockPlan, Layout};
use crate::table::append_length;

/// A dictionary that is read: its keys, then an index for each value.
#[derive(Debug, Default)]
struct Keys {
    /// Where each key begins and ends.
    spans: Vec<(usize, usize)>,
    /// Bytes of an index.
    width: usize,
}

/// How far each stream has been read.
#[derive(Debug)]
struct Restorer<'c> {
    chunk: &'c Chunk,
    cursors: Vec<usize>,
    keys: Vec<Keys>,
}

impl BlockPlan {
    /// Gives the rows of a chunk to `take`, in their order, as [`BlockPlan::fill`] got them. `state` is that
    /// of the chunks before it.
    ///
    /// # Panics
    /// When the chunk has no rows of these columns.
    pub fn restore(
        &self,
        chunk: &Chunk,
        rows: usize,
        state: &mut BlockState,
        mut take: impl FnMut(&[u8]),
    ) {
        let mut restorer = Restorer {
            chunk,
            cursors: vec![0; self.streams],
            keys: vec![],
        };
        restorer.keys.resize_with(self.streams, Keys::default);
        for column in &self.columns {
            restorer.read_keys(&column.layout);
        }
        let mut row = vec![];
        for _ in 0..rows {
            row.clear();
            for column in &self.columns {
                let is_absent = column.absent.is_some_and(|map| restorer.byte(map) != 0);
                if self.has_flags {
                    row.push(u8::from(is_absent));
                }
                if !is_absent {
                    restorer.append(&column.layout, state, &mut row);
                }
            }
            take(&row);
        }
    }
}

impl<'c> Restorer<'c> {
    fn take(&mut self, stream: usize, bytes: usize) -> &'c [u8] {
        let start = self.cursors[stream];
        self.cursors[stream] = start + bytes;
        &self.chunk.streams[stream][start..start + bytes]
    }

    fn byte(&mut self, stream: usize) -> u8 {
        self.take(stream, 1)[0]
    }

    fn number(&mut self, stream: usize) -> u64 {
        let bytes = self.take(stream, 8).try_into().expect("eight bytes");
        u64::from_le_bytes(bytes)
    }

    /// Reads the dictionary of a column, if it has one.
    fn read_keys(&mut self, layout: &Layout) {
        let (stream, size) = match layout {
            Layout::Dictionary { stream, size, .. } => (*stream, size),
            other => return other.parts().iter().for_each(|part| self.read_keys(part)),
        };
        // No value of the chunk is in the column.
        if self.chunk.streams[stream].is_empty() {
            return;
        }
        let width = 1 << (self.number(stream) & 0xff);
        let mut spans = vec![];
        for _ in 0..self.number(stream) {
            let start = self.cursors[stream];
            let end = match size {
                Some(size) => start + size,
                None => {
                    let (length, text) = length(&self.chunk.streams[stream], start);
                    text + length
                }
            };
            self.cursors[stream] = end;
            spans.push((start, end));
        }
        self.number(stream);
        self.keys[stream] = Keys { spans, width };
    }

    fn append(&mut self, layout: &Layout, state: &mut BlockState, row: &mut Vec<u8>) {
        match layout {
            Layout::Fixed { size, stream } => row.extend_from_slice(self.take(*stream, *size)),
            Layout::Text { stream } => {
                let start = self.cursors[*stream];
                let (length, text) = length(&self.chunk.streams[*stream], start);
                row.extend_from_slice(self.take(*stream, text + length - start));
            }
            Layout::Nullable { map, inner, .. } => {
                let flag = self.byte(*map);
                row.push(flag);
                let value = row.len();
                self.append(inner, state, row);
                if flag != 0 {
                    row.truncate(value);
                }
            }
            Layout::Dictionary { stream, null, .. } => {
                let mut index = [0; 8];
                let width = self.keys[*stream].width;
                index[..width].copy_from_slice(self.take(*stream, width));
                let index = usize::from_le_bytes(index);
                if null.is_some() {
                    row.push(u8::from(index == 0));
                }
                if null.is_none() || index != 0 {
                    let (start, end) = self.keys[*stream].spans[index];
                    row.extend_from_slice(&self.chunk.streams[*stream][start..end]);
                }
            }
            Layout::Array { offsets, inner } => {
                let total = self.number(*offsets);
                let before = std::mem::replace(&mut state.elements[*offsets], total);
                let count = usize::try_from(total - before).expect("elements are in memory");
                append_length(count, row);
                (0..count).for_each(|_| self.append(inner, state, row));
            }
            Layout::Tuple { parts } => {
                parts.iter().for_each(|part| self.append(part, state, row));
            }
            Layout::OneOf {
                tags,
                codes,
                null,
                parts,
            } => {
                let place = self.byte(*tags);
                if place == null.1 {
                    return row.push(null.0);
                }
                row.push(codes[usize::from(place)]);
                self.append(&parts[usize::from(place)], state, row);
            }
        }
    }
}
