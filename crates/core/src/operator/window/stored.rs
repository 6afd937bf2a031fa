//! A part of a group as bytes.

use ethnum::I256;
use serde::{Deserialize, Serialize};

use super::cell::{Cell, Place};
use super::distinct::Distinct;
use super::pane::Group;

/// What stands before the cells.
#[derive(Serialize, Deserialize)]
struct Head {
    revision: u64,
    late_count: u64,
    sent_version: u64,
    /// It holds what was written of the group before.
    is_whole: bool,
}

#[derive(Serialize, Deserialize)]
enum Stored<'a> {
    Count(u64),
    Sum(i128, u64),
    /// A sum that leaves 128 bits.
    WideSum([u8; 32], u64),
    Extreme(Option<i128>),
    Distinct {
        integers: Vec<u64>,
        #[serde(borrow)]
        texts: Vec<&'a [u8]>,
    },
    Last(Option<(i64, i32, i64, &'a [u8])>),
}

/// Appends everything but the key.
pub(super) fn write(group: &Group, out: &mut Vec<u8>) {
    let head = Head {
        revision: group.revision,
        late_count: group.late_count,
        sent_version: group.sent_version,
        is_whole: group.is_whole,
    };
    append(&head, out);
    for cell in &group.cells {
        append(&stored(cell), out);
    }
}

fn append(value: &impl Serialize, out: &mut Vec<u8>) {
    let taken = std::mem::take(out);
    *out = postcard::to_extend(value, taken).expect("a vector takes what it is given");
}

fn stored(cell: &Cell) -> Stored<'_> {
    match cell {
        Cell::Count(count) => Stored::Count(*count),
        Cell::Sum { sum, count } => match i128::try_from(*sum) {
            Ok(sum) => Stored::Sum(sum, *count),
            Err(_) => Stored::WideSum(sum.to_le_bytes(), *count),
        },
        Cell::Extreme(extreme) => Stored::Extreme(*extreme),
        Cell::Distinct(distinct) => Stored::Distinct {
            integers: distinct.integers().collect(),
            texts: distinct.texts().collect(),
        },
        Cell::Last(last) => Stored::Last(last.as_ref().map(|last| {
            let (place, text) = &**last;
            (place.time_ms, place.partition, place.offset, &**text)
        })),
    }
}

/// The part of a group that [`write`] wrote; none: the bytes are no such part.
pub(super) fn read(key: &[u8], bytes: &[u8], seed: u64) -> Option<Group> {
    let (head, mut rest) = postcard::take_from_bytes::<Head>(bytes).ok()?;
    let (mut cells, mut grown) = (vec![], 0);
    while !rest.is_empty() {
        let (stored, after) = postcard::take_from_bytes::<Stored<'_>>(rest).ok()?;
        rest = after;
        cells.push(cell(stored, seed, &mut grown));
    }
    Some(Group {
        key: key.into(),
        cells: cells.into(),
        revision: head.revision,
        late_count: head.late_count,
        sent_version: head.sent_version,
        is_pending: false,
        is_whole: head.is_whole,
        grown,
    })
}

fn cell(stored: Stored<'_>, seed: u64, grown: &mut usize) -> Cell {
    match stored {
        Stored::Count(count) => Cell::Count(count),
        Stored::Sum(sum, count) => Cell::Sum {
            sum: I256::from(sum),
            count,
        },
        Stored::WideSum(bytes, count) => Cell::Sum {
            sum: I256::from_le_bytes(bytes),
            count,
        },
        Stored::Extreme(extreme) => Cell::Extreme(extreme),
        Stored::Distinct { integers, texts } => {
            let mut distinct = Distinct::default();
            for number in integers {
                *grown += distinct.insert_integer(number, seed);
            }
            for text in texts {
                *grown += distinct.insert_text(text, seed);
            }
            Cell::Distinct(Box::new(distinct))
        }
        Stored::Last(last) => Cell::Last(last.map(|(time_ms, partition, offset, text)| {
            *grown += text.len();
            let place = Place {
                time_ms,
                partition,
                offset,
            };
            Box::new((place, text.into()))
        })),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::operator::window::CellRules;

    fn written(group: &Group) -> Group {
        let mut bytes = vec![];
        write(group, &mut bytes);
        read(&group.key, &bytes, 9).expect("what was written is read")
    }

    proptest! {
        #[test]
        fn a_part_is_read_as_it_was_written(
            numbers in prop::collection::vec(any::<u64>(), 0..40),
            texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..40),
            (sum, extreme) in (any::<i128>(), any::<Option<i128>>()),
            is_wide in any::<bool>(),
            place in (any::<i64>(), any::<i32>(), any::<i64>()),
            counts in any::<(u32, u32)>(),
        ) {
            let rules = [
                CellRules::Count, CellRules::Sum, CellRules::Min, CellRules::CountDistinct,
                CellRules::Last, CellRules::Last,
            ];
            let mut group = Group::new(b"group", &rules);
            (group.revision, group.late_count) = (counts.0.into(), counts.1.into());
            group.is_whole = is_wide;
            let sum = I256::from(sum) * I256::from(if is_wide { i128::MAX } else { 1 });
            let mut distinct = Distinct::default();
            for number in &numbers {
                distinct.insert_integer(*number, 3);
            }
            for text in &texts {
                distinct.insert_text(text, 3);
            }
            let (time_ms, partition, offset) = place;
            let place = Place { time_ms, partition, offset };
            let text = texts.first().cloned().unwrap_or_default();
            group.cells = Box::new([
                Cell::Count(7),
                Cell::Sum { sum, count: 3 },
                Cell::Extreme(extreme),
                Cell::Distinct(Box::new(distinct)),
                Cell::Last(None),
                Cell::Last(Some(Box::new((place, text.into())))),
            ]);
            let read = written(&group);
            let sorted = |group: &Group| {
                let Cell::Distinct(distinct) = &group.cells[3] else {
                    panic!("the fourth counts distinct values");
                };
                let mut integers: Vec<u64> = distinct.integers().collect();
                let mut texts: Vec<Vec<u8>> = distinct.texts().map(<[u8]>::to_vec).collect();
                integers.sort_unstable();
                texts.sort_unstable();
                (integers, texts, distinct.len())
            };
            prop_assert_eq!(sorted(&read), sorted(&group));
            prop_assert_eq!((read.revision, read.late_count), (group.revision, group.late_count));
            prop_assert_eq!((&read.key, read.is_whole), (&group.key, group.is_whole));
            for (read, wrote) in read.cells.iter().zip(&group.cells) {
                if !matches!(wrote, Cell::Distinct(_)) {
                    prop_assert_eq!(format!("{read:?}"), format!("{wrote:?}"));
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_part_are_refused() {
        assert!(read(b"group", &[1, 0, 0, 0, 9], 1).is_none());
    }
}
