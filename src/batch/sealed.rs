//! A closed batch: what one insert carries.

use std::sync::Arc;

use bytes::Bytes;

use super::OpenBatch;
use super::columns::Columns;
use super::keyed::GappedRow;
use crate::memory::{MemoryBudget, MemoryHold, MemoryPart};
use crate::message::{DeadLetter, OutputMessage};
use crate::target::Target;

/// Bits of a row's index in the numbers of [`SealedBatch::row_ids`].
pub(crate) const ROW_ID_INDEX_BITS: u32 = 32;

/// When Kafka got the rows of one chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Milliseconds since the epoch.
    pub(crate) timestamp_ms: i64,
}

/// Closed rows with their dead letters. It can be thinned out and split, because an insert of
/// unknown outcome is repeated with what is missing, and a refused one in two halves.
#[derive(Debug)]
pub(crate) struct SealedBatch {
    /// Where its rows go; `None` without rows.
    pub(super) target: Option<Arc<Target>>,
    /// Rows that must get their missing values before they are written.
    pub(super) gapped: Vec<GappedRow>,
    pub(super) columns: Columns,
    pub(super) raw_bytes: usize,
    /// The offset of each row.
    pub(super) rows: Vec<i64>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The same rows for a topic.
    pub(super) messages: Vec<OutputMessage>,
    /// Counts the batch against the process's memory for as long as it lives.
    pub(super) hold: Option<MemoryHold>,
}

impl SealedBatch {
    /// Where its rows go.
    pub(crate) fn target(&self) -> Option<&Arc<Target>> {
        self.target.as_ref()
    }

    /// The table's name, for people.
    pub(crate) fn table(&self) -> &str {
        self.target.as_ref().map_or("", |target| &target.label)
    }

    /// Whether rows must get their missing values first.
    pub(crate) fn has_gaps(&self) -> bool {
        !self.gapped.is_empty()
    }

    /// The rows that must get their missing values first; the batch forgets them.
    pub(crate) fn take_gapped(&mut self) -> Vec<GappedRow> {
        std::mem::take(&mut self.gapped)
    }

    /// Takes rows back that could not be written yet.
    pub(crate) fn put_gapped(&mut self, rows: Vec<GappedRow>) {
        self.gapped.extend(rows);
    }

    /// Rows that are ready to be written.
    pub(crate) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Bytes of the rows, uncompressed.
    pub(crate) fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// The body of an insert of one block in format Native, with `decompress=1`; `None` where rows leave a
    /// column to the server's DEFAULT that other rows have.
    pub(crate) fn block(&self) -> Option<Vec<Bytes>> {
        let target = self.target.as_ref()?;
        self.columns.block(&target.plan, self.rows.len())
    }

    /// The body of an insert of the same rows as rows.
    pub(crate) fn row_frames(&self) -> Vec<Bytes> {
        let target = self.target.as_ref();
        target.map_or_else(Vec::new, |target| self.columns.rows(&target.plan))
    }

    /// Its rows, uncompressed.
    pub(crate) fn raw_rows(&self) -> Vec<u8> {
        let frames = self.row_frames();
        frames
            .iter()
            .flat_map(|frames| crate::target::decompress(frames))
            .collect()
    }

    /// The offsets of the records its rows came from, ascending.
    pub(crate) fn offsets(&self) -> impl Iterator<Item = i64> + '_ {
        self.rows.iter().copied()
    }

    /// A number for each row that tells it from the others of a range which begins at `from`: the offset of
    /// its record, or where records make several rows, that and its index.
    pub(crate) fn row_ids(&self, from: i64) -> impl Iterator<Item = i64> + '_ {
        let has_index = self.target.as_ref().is_some_and(|target| target.has_index);
        let (mut before, mut index) = (None, 0);
        self.rows.iter().map(move |offset| {
            index = if before == Some(*offset) {
                index + 1
            } else {
                0
            };
            before = Some(*offset);
            match has_index {
                true => (offset - from) << ROW_ID_INDEX_BITS | index,
                false => *offset,
            }
        })
    }

    pub(crate) fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    pub(crate) fn dead_letters(&self) -> &[DeadLetter] {
        &self.dead_letters
    }

    /// The rows as messages of a topic; no two have one key.
    pub(crate) fn messages(&self) -> &[OutputMessage] {
        &self.messages
    }

    /// Forgets the dead letters: they have been acknowledged.
    pub(crate) fn dead_letters_written(&mut self) {
        self.dead_letters = vec![];
    }

    /// A batch without rows that carries one dead letter: what is left of a refused row.
    fn of_dead_letter(letter: DeadLetter) -> Self {
        SealedBatch {
            target: None,
            gapped: vec![],
            columns: Columns::default(),
            raw_bytes: 0,
            rows: vec![],
            arrivals: vec![],
            dead_letters: vec![letter],
            messages: vec![],
            hold: None,
        }
    }

    /// What is left when the only row that was ready is refused: its letter, and rows that still wait for
    /// their missing values.
    pub(crate) fn with_dead_letter(self, letter: DeadLetter) -> Self {
        SealedBatch {
            target: self.target,
            gapped: self.gapped,
            ..SealedBatch::of_dead_letter(letter)
        }
    }

    /// Counts the batch against `budget` from now on.
    pub(crate) fn count(&mut self, budget: &Arc<MemoryBudget>) {
        let bytes = self.memory_bytes();
        self.hold = Some(MemoryHold::new(budget, MemoryPart::InFlight, bytes));
    }

    /// What it takes, unless [`SealedBatch::count`] counts it already.
    pub(crate) fn uncounted_bytes(&self) -> usize {
        if self.hold.is_some() {
            0
        } else {
            self.memory_bytes()
        }
    }

    /// What it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let letters: usize = self.dead_letters.iter().map(DeadLetter::bytes).sum();
        let gapped: usize = self.gapped.iter().map(|row| row.bytes.capacity()).sum();
        let messages: usize = self.messages.iter().map(OutputMessage::bytes).sum();
        self.columns.memory_bytes()
            + self.rows.capacity() * size_of::<i64>()
            + letters
            + gapped
            + messages
    }

    /// A batch of the rows whose offsets `keep` accepts, without the dead letters.
    pub(crate) fn filtered(&self, keep: impl Fn(i64) -> bool) -> SealedBatch {
        self.filtered_by(self.offsets(), keep)
    }

    /// A batch of the rows whose numbers `keep` accepts: see [`SealedBatch::row_ids`].
    pub(crate) fn filtered_rows(&self, from: i64, keep: impl Fn(i64) -> bool) -> SealedBatch {
        self.filtered_by(self.row_ids(from), keep)
    }

    fn filtered_by(
        &self,
        mut ids: impl Iterator<Item = i64>,
        keep: impl Fn(i64) -> bool,
    ) -> SealedBatch {
        let mut kept = OpenBatch::new();
        let Some(target) = &self.target else {
            return kept.seal();
        };
        let mut offsets = self.offsets();
        self.columns.each_row(&target.plan, |row| {
            let offset = offsets.next().expect("each row has an offset");
            if ids.next().is_some_and(&keep) {
                kept.push(target, offset, [row]);
            }
        });
        let kept = kept.seal();
        let hold = self.hold.as_ref();
        let gapped = self.gapped.iter().filter(|row| keep(row.offset));
        SealedBatch {
            gapped: gapped.cloned().collect(),
            arrivals: self.arrivals.clone(),
            hold: hold.map(|hold| hold.another(kept.memory_bytes())),
            ..kept
        }
    }

    /// Its rows in two batches, whatever their offsets; `None` for a single row.
    pub(crate) fn halves(&self) -> Option<[SealedBatch; 2]> {
        let half = self.row_count() / 2;
        let part = |is_first: bool| {
            let seen = std::cell::Cell::new(0);
            self.filtered(|_| (seen.replace(seen.get() + 1) < half) == is_first)
        };
        (half > 0).then(|| [part(true), part(false)])
    }

    /// The offset that cuts the rows into two halves; `None` for a single row.
    pub(crate) fn middle_offset(&self) -> Option<i64> {
        let (first, last) = (*self.rows.first()?, *self.rows.last()?);
        (first < last).then(|| {
            // A record may have made two rows; they are not parted.
            let middle = self.rows[self.rows.len().div_ceil(2)];
            if middle > first {
                return middle;
            }
            let next = self.rows.iter().find(|offset| **offset > first);
            next.copied().unwrap_or(last)
        })
    }

    /// The only row's offset.
    pub(crate) fn single_offset(&self) -> Option<i64> {
        let (first, last) = (*self.rows.first()?, *self.rows.last()?);
        (first == last).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::{BlockColumn, BlockPlan};
    use crate::table::{ColumnType, append_length};

    /// A table with a column of texts.
    fn texts() -> Arc<Target> {
        let column = BlockColumn {
            name: "text".to_owned(),
            type_name: "String".to_owned(),
            column_type: ColumnType::String,
            has_default: false,
        };
        Arc::new(Target {
            plan: BlockPlan::new([column], false),
            ..Target::nowhere()
        })
    }

    fn batch(offsets: &[i64]) -> SealedBatch {
        let mut open = OpenBatch::new();
        let texts = texts();
        for offset in offsets {
            let row = format!("row {offset} ");
            let length = u8::try_from(row.len() + 5).expect("short");
            open.push(&texts, *offset, [&[length], row.as_bytes(), b"tail;"]);
        }
        open.seal()
    }

    fn rows(batch: &SealedBatch) -> Vec<Vec<u8>> {
        let mut rows = vec![];
        batch.columns.each_row(&texts().plan, |row| {
            let start = row.iter().take_while(|byte| **byte >= 0x80).count() + 1;
            rows.push(row[start..].to_vec());
        });
        rows
    }

    fn text(batch: &SealedBatch) -> String {
        String::from_utf8(rows(batch).concat()).unwrap()
    }

    #[test]
    fn filtering_keeps_whole_rows_and_their_offsets() {
        let all = batch(&[3, 4, 7, 9]);
        let rest = all.filtered(|offset| offset != 4 && offset != 9);
        assert_eq!(text(&rest), "row 3 tail;row 7 tail;");
        assert_eq!(rest.offsets().collect::<Vec<_>>(), [3, 7]);
        assert_eq!(rest.raw_bytes(), text(&rest).len() + 2);
        assert_eq!(text(&rest.filtered(|o| o == 7)), "row 7 tail;");
    }

    /// A row of the length that comes before its content.
    fn row(content: &[u8]) -> Vec<u8> {
        let mut row = vec![];
        append_length(content.len(), &mut row);
        [row, content.to_vec()].concat()
    }

    #[test]
    fn many_chunks_are_filtered_like_one() {
        let mut open = OpenBatch::new();
        let texts = texts();
        let content = |offset: i64| vec![u8::try_from(offset).unwrap(); 100_000];
        for offset in 0..10 {
            open.push(&texts, offset, [&row(&content(offset))]);
        }
        let sealed = open.seal();
        assert_eq!(sealed.raw_bytes(), 1_000_030);
        let even = sealed.filtered(|offset| offset % 2 == 0);
        assert!(rows(&even) == [0, 2, 4, 6, 8].map(content));
        assert_eq!(even.offsets().collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        let four = even.filtered(|offset| offset == 4);
        assert!(rows(&four) == [content(4)]);
        assert_eq!(four.raw_bytes(), 100_003);
    }

    #[test]
    fn what_a_look_leaves_is_counted_like_the_batch_it_came_from() {
        let budget = Arc::new(MemoryBudget::new(64 << 20));
        let mut open = OpenBatch::new();
        // Incompressible to LZ4, or next to nothing would be held.
        let mut state = 1u64;
        let noise = |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        };
        let row = row(&(0..9 << 20).map(noise).collect::<Vec<u8>>());
        let texts = texts();
        open.push(&texts, 1, [&row]);
        open.push(&texts, 2, [&row]);
        let mut sealed = open.seal();
        sealed.count(&budget);
        assert!(budget.is_full(), "a budget of 16 MiB holds 18 of them");
        let rest = sealed.filtered(|offset| offset == 2);
        drop(sealed);
        assert!(!budget.is_full());
        let again = rest.filtered(|_| true);
        assert!(budget.is_full());
        drop((rest, again));
        assert!(!budget.is_tight());
    }

    #[test]
    fn rows_of_one_record_are_told_apart_where_the_table_has_an_index() {
        let mut open = OpenBatch::new();
        let target = Arc::new(Target {
            has_index: true,
            ..(*texts()).clone()
        });
        for (offset, text) in [(5, "a"), (5, "b"), (7, "c"), (7, "d"), (7, "e")] {
            open.push(&target, offset, [&row(text.as_bytes())]);
        }
        let sealed = open.seal();
        let of = |offset: i64, index: i64| (offset - 5) << 32 | index;
        let ids = [of(5, 0), of(5, 1), of(7, 0), of(7, 1), of(7, 2)];
        assert_eq!(sealed.row_ids(5).collect::<Vec<_>>(), ids);
        let left = sealed.filtered_rows(5, |id| [of(5, 1), of(7, 1)].contains(&id));
        assert_eq!(text(&left), "bd");
        assert_eq!(left.offsets().collect::<Vec<_>>(), [5, 7]);
        let plain = batch(&[3, 3, 4]);
        assert_eq!(plain.row_ids(3).collect::<Vec<_>>(), [3, 3, 4]);
    }

    #[test]
    fn halves_have_each_row_once_whatever_their_offsets() {
        for count in 2..6 {
            let whole = batch(&vec![0; count]);
            let [first, second] = whole.halves().expect("more than one row");
            assert_eq!(first.row_count() + second.row_count(), count);
            assert!(first.row_count().abs_diff(second.row_count()) <= 1);
        }
        assert!(batch(&[7]).halves().is_none());
    }

    #[test]
    fn rows_that_wait_for_values_stay_when_the_only_other_one_is_refused() {
        let mut refused = batch(&[3]);
        refused.put_gapped(vec![GappedRow {
            offset: 2,
            bytes: vec![],
            key_len: 0,
            gaps: crate::batch::Gaps {
                kept: vec![],
                columns: vec![0],
                source: crate::batch::GapSource::None,
                needed: true,
                moved: None,
            },
        }]);
        let letter = DeadLetter {
            partition: crate::source::TopicPartition {
                topic: "t".into(),
                partition: 0,
            },
            offset: 3,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: vec![],
            stage: crate::message::Stage::Write,
            reason: crate::decode::Reason::Rejected,
            detail: String::new(),
        };
        let mut left = refused.with_dead_letter(letter);
        assert!(left.target().is_some(), "the rows know where they go");
        assert_eq!((left.row_count(), left.dead_letters().len()), (0, 1));
        assert_eq!(left.take_gapped().len(), 1);
    }

    #[test]
    fn a_batch_is_cut_in_the_middle_until_one_row_is_left() {
        assert_eq!(batch(&[3, 4, 7, 9]).middle_offset(), Some(7));
        assert_eq!(batch(&[3, 9]).middle_offset(), Some(9));
        assert_eq!(batch(&[3]).middle_offset(), None);
        assert_eq!(batch(&[3, 3, 3, 4]).middle_offset(), Some(4));
        assert_eq!(batch(&[3, 3]).middle_offset(), None);
        assert_eq!(batch(&[3, 3]).single_offset(), Some(3));
        assert_eq!(batch(&[3]).single_offset(), Some(3));
    }
}
