//! A plain reader of blocks in format Native, to see what an insert says.

use super::cell::Cell;
use super::row_binary::Reader;
use super::tables::Table;
use crate::batch::SealedBatch;
use crate::table::{ColumnType, dynamic};
use crate::target::decompress;

/// A column as a block states it.
#[derive(Debug)]
pub(crate) struct ReadColumn {
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) cells: Vec<Cell>,
}

/// The columns of a block, and how many rows it has. `None` for anything else than one whole block.
pub(crate) fn block(bytes: &[u8]) -> Option<(Vec<ReadColumn>, usize)> {
    let mut reader = Reader(bytes);
    let (columns, rows) = (reader.length()?, reader.length()?);
    let column = |_| {
        let [name, type_name] = [reader.text()?, reader.text()?];
        let column_type = ColumnType::parse(&type_name).ok()?;
        prefix(&mut reader, &column_type)?;
        let cells = values(&mut reader, &column_type, rows)?;
        Some(ReadColumn {
            name,
            type_name,
            cells,
        })
    };
    let columns = (0..columns).map(column).collect::<Option<_>>()?;
    reader.is_at_end().then_some((columns, rows))
}

fn prefix(reader: &mut Reader<'_>, column_type: &ColumnType) -> Option<()> {
    match column_type {
        ColumnType::LowCardinality(_) | ColumnType::Json(_) => {
            (reader.number()? == 1).then_some(())
        }
        ColumnType::Dynamic(_) => {
            let version = (reader.number()?, reader.length()?);
            (version == (3, dynamic::TYPES.len())).then_some(())?;
            let mut types = dynamic::TYPES.iter();
            types.try_for_each(|(_, one)| (reader.text()? == one.to_string()).then_some(()))
        }
        other => {
            if let ColumnType::Variant(_) = other {
                (reader.number()? == 0).then_some(())?;
            }
            let mut inner = other.inner().into_iter();
            inner.try_for_each(|inner| prefix(reader, inner))
        }
    }
}

fn values(reader: &mut Reader<'_>, column_type: &ColumnType, count: usize) -> Option<Vec<Cell>> {
    match column_type {
        ColumnType::Nullable(inner) => {
            let map = reader.take(count)?;
            let cells = values(reader, inner, count)?.into_iter().zip(map);
            let cell = |(cell, is_null): (Cell, &u8)| match is_null {
                0 => Some(cell),
                1 => Some(Cell::Null),
                _ => None,
            };
            cells.map(cell).collect()
        }
        ColumnType::Array(inner) => {
            let ends = ends(reader, count)?;
            let all = values(reader, inner, ends.last().copied().unwrap_or(0))?;
            lists(&all, ends)
        }
        ColumnType::Map(pair) => {
            let ends = ends(reader, count)?;
            let total = ends.last().copied().unwrap_or(0);
            let keys = values(reader, &pair.0, total)?;
            let all = keys.into_iter().zip(values(reader, &pair.1, total)?);
            let all: Vec<Cell> = all.map(|(k, v)| Cell::List(vec![k, v])).collect();
            lists(&all, ends)
        }
        ColumnType::Tuple(fields) => {
            let mut rows = vec![vec![]; count];
            for field in fields.types() {
                let cells = values(reader, field, count)?;
                rows.iter_mut()
                    .zip(cells)
                    .for_each(|(row, cell)| row.push(cell));
            }
            Some(rows.into_iter().map(Cell::List).collect())
        }
        ColumnType::Variant(types) => {
            let types: Vec<ColumnType> = types.to_vec();
            let codes: Vec<u8> = (0..=254).take(types.len()).collect();
            one_of(reader, &types, &codes, 255, count)
        }
        ColumnType::Dynamic(_) => {
            let (codes, types): (Vec<u8>, Vec<ColumnType>) = dynamic::TYPES.into_iter().unzip();
            one_of(reader, &types, &codes, types.len() as u8, count)
        }
        ColumnType::LowCardinality(inner) => {
            let mut cells = vec![];
            while cells.len() < count {
                dictionary(reader, inner, &mut cells)?;
            }
            (cells.len() == count).then_some(cells)
        }
        plain => (0..count).map(|_| reader.cell(plain)).collect(),
    }
}

/// Where the elements of each array end.
fn ends(reader: &mut Reader<'_>, count: usize) -> Option<Vec<usize>> {
    let end = |_| usize::try_from(reader.number()?).ok();
    (0..count).map(end).collect()
}

fn lists(all: &[Cell], ends: Vec<usize>) -> Option<Vec<Cell>> {
    let mut start = 0;
    let list = |end| {
        let list = all.get(start..end)?.to_vec();
        start = end;
        Some(Cell::List(list))
    };
    ends.into_iter().map(list).collect()
}

/// Which type each value has, then the values by type.
fn one_of(
    reader: &mut Reader<'_>,
    types: &[ColumnType],
    codes: &[u8],
    null: u8,
    count: usize,
) -> Option<Vec<Cell>> {
    let tags = reader.take(count)?;
    let mut by_type = vec![];
    for (place, one) in types.iter().enumerate() {
        let count = tags
            .iter()
            .filter(|tag| usize::from(**tag) == place)
            .count();
        by_type.push(values(reader, one, count)?.into_iter());
    }
    let cell = |tag: &u8| match *tag {
        tag if tag == null => Some(Cell::Null),
        tag => {
            let value = by_type.get_mut(usize::from(tag))?.next()?;
            Some(Cell::Of(codes[usize::from(tag)], Box::new(value)))
        }
    };
    tags.iter().map(cell).collect()
}

/// Keys, and which of them each value is.
fn dictionary(reader: &mut Reader<'_>, inner: &ColumnType, cells: &mut Vec<Cell>) -> Option<()> {
    let kind = reader.number()?;
    if kind & !0xff != 0x200 {
        return None;
    }
    let width = [1, 2, 4, 8].get(usize::try_from(kind & 0xff).ok()?)?;
    let (key_type, is_nullable) = match inner {
        ColumnType::Nullable(key) => (&**key, true),
        key => (key, false),
    };
    let mut keys = vec![];
    for _ in 0..reader.number()? {
        keys.push(reader.cell(key_type)?);
    }
    if is_nullable {
        *keys.first_mut()? = Cell::Null;
    }
    for _ in 0..reader.number()? {
        let bytes = reader.take(*width)?.iter().rev();
        let index = bytes.fold(0, |index, byte| index << 8 | usize::from(*byte));
        cells.push(keys.get(index)?.clone());
    }
    Some(())
}

/// What a batch sends is what its rows say, as one block or as rows.
pub(super) fn check(table: &Table, rows: &[Vec<u8>], batch: &SealedBatch) {
    if rows.is_empty() {
        return;
    }
    let frames = batch.row_frames();
    assert!(decompress(&frames.concat()) == rows.concat(), "other rows");
    let mut readers: Vec<Reader<'_>> = rows.iter().map(|row| Reader(row)).collect();
    let mut columns = vec![];
    for name in table.plan.names() {
        let column = table.columns.iter().find(|column| column.name == *name);
        let column_type = &column.expect("a column of the table").column_type;
        let cell = |reader: &mut Reader<'_>| match table.has_flags() {
            true => reader.flagged(column_type),
            false => reader.cell(column_type),
        };
        let cells = readers.iter_mut().map(|r| cell(r).expect("a value"));
        columns.push((name, cells.collect::<Vec<_>>()));
    }
    let is_left_out = |cell: &Cell| *cell == Cell::ServerDefault;
    let Some(pieces) = batch.block() else {
        let is_mixed = |(_, cells): &(&String, Vec<Cell>)| {
            cells.iter().any(is_left_out) && !cells.iter().all(is_left_out)
        };
        assert!(columns.iter().any(is_mixed), "a block can state these rows");
        return;
    };
    let (read, count) = block(&decompress(&pieces.concat())).expect("one block");
    assert_eq!(count, rows.len());
    columns.retain(|(_, cells)| !cells.iter().all(is_left_out));
    assert_eq!(read.len(), columns.len());
    for (read, (name, cells)) in read.iter().zip(columns) {
        assert_eq!(read.name, *name);
        let info = table.target.columns.iter().find(|info| info.name == *name);
        assert_eq!(Some(&read.type_name), info.map(|info| &info.type_name));
        assert_eq!(read.cells, cells, "column {name}");
    }
}
