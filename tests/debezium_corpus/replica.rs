//! A replica in memory: per key the last change of its partition wins, deletes go by key, values left
//! out come from the newest row.

use std::collections::{BTreeMap, HashMap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use streamweir::debezium::{
    Change, Columns, Deletion, Failure, FieldType, Form, KeyReader, Modes, NEW_KEY_HEADER,
    NoChange, OLD_KEY_HEADER, Outcome, Row, RowReader,
};
use streamweir::table::ColumnType;

use crate::cells;
use crate::corpus::{self, Record, Source};

/// In which order partitions are read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Interleaving {
    Ascending,
    Descending,
    RoundRobin,
    Random(u64),
}

type Key = Vec<u8>;
type Cells = Vec<Vec<u8>>;

struct State {
    cells: Cells,
    deleted: bool,
}

pub(crate) struct Replica {
    variant: String,
    table: String,
    columns: Vec<(String, ColumnType)>,
    rows: RowReader,
    keys: KeyReader,
    state: HashMap<Key, State>,
    /// Rows on their way from an old key to a new one, in the order in which they left.
    moved: HashMap<(Key, Key), VecDeque<Cells>>,
    refusals: Vec<String>,
    truncates: usize,
    completed_from_old_key: usize,
}

/// What a record has to wait for.
enum Progress {
    Done,
    /// Values left out that only the old key's row has.
    NeedsOldRow,
}

impl Replica {
    pub(crate) fn new(
        table: &str,
        variant: &str,
        columns: Vec<(String, ColumnType)>,
        modes: Modes,
    ) -> Replica {
        let read =
            columns.iter().fold(
                Columns::new(),
                |all, (name, column_type)| match corpus::declared(variant, table, name) {
                    Some(field) => all.with_declared(
                        name,
                        column_type.clone(),
                        FieldType::declared(Form::Int64, Some(field)),
                    ),
                    None => all.with(name, column_type.clone()),
                },
            );
        let is_key = |name: &&(String, ColumnType)| key_columns(table).contains(&&*name.0);
        let key = columns
            .iter()
            .filter(is_key)
            .fold(Columns::new(), |all, (name, column_type)| {
                all.with(name, column_type.clone())
            });
        let mut rows = RowReader::new(read, Some(modes));
        if variant == "handling" {
            rows = rows.with_placeholder("__custom_unavailable");
        }
        Replica {
            variant: variant.to_owned(),
            table: table.to_owned(),
            columns,
            rows,
            keys: KeyReader::new(key, Some(modes)),
            state: HashMap::new(),
            moved: HashMap::new(),
            refusals: Vec::new(),
            truncates: 0,
            completed_from_old_key: 0,
        }
    }

    /// Applies all records; a partition whose next record waits for an old row lets the others go first.
    pub(crate) fn replay(&mut self, records: &[Record], interleaving: Interleaving) {
        let mut partitions: BTreeMap<usize, VecDeque<&Record>> = BTreeMap::new();
        for record in records {
            let queue = partitions.entry(record.partition).or_default();
            assert!(queue.back().is_none_or(|last| last.offset < record.offset));
            queue.push_back(record);
        }
        let mut queues: Vec<_> = partitions.into_values().collect();
        if let Interleaving::Descending = interleaving {
            queues.reverse();
        }
        let mut random = StdRng::seed_from_u64(match interleaving {
            Interleaving::Random(seed) => seed,
            _ => 0,
        });
        let (mut turn, mut blocked) = (0, 0);
        while queues.iter().any(|queue| !queue.is_empty()) {
            let index = turn % queues.len();
            let advances = match queues[index].front() {
                Some(record) => {
                    matches!(self.apply(record, blocked > queues.len()), Progress::Done)
                }
                None => false,
            };
            if advances {
                queues[index].pop_front();
                blocked = 0;
            } else {
                blocked += 1;
                assert!(blocked < 100, "{} {}: all wait", self.variant, self.table);
            }
            let stays = matches!(
                interleaving,
                Interleaving::Ascending | Interleaving::Descending
            );
            turn = match interleaving {
                Interleaving::Random(_) if blocked == 0 => random.random_range(0..queues.len()),
                _ if stays && advances => index,
                _ => index + 1,
            };
        }
    }

    /// Reads keys and rows and keeps nothing.
    pub(crate) fn read_only(&mut self, records: &[Record], out: &mut Vec<u8>) {
        for record in records {
            out.clear();
            let key = record.key.as_deref().map(str::as_bytes);
            let value = record.value.as_deref().map(str::as_bytes);
            let change = self.rows.read(&record.topic, key, value);
            if let Change::Row(row) = change.expect("a readable record") {
                for column in 0..self.columns.len() {
                    row.encode(column, out).expect("a readable value");
                }
            }
            self.keys.encode(key, out).expect("a readable key");
        }
    }

    /// Reads each record `times` times with another byte changed or its end cut off, and keeps nothing.
    pub(crate) fn read_damaged(&mut self, records: &[Record], times: usize) {
        let mut random = StdRng::seed_from_u64(3);
        let mut cell = Vec::new();
        for record in records.iter().flat_map(|record| vec![record; times]) {
            let (Some(key), Some(value)) = (&record.key, &record.value) else {
                continue;
            };
            let [key, value] = [key, value].map(|text| damaged(text, &mut random));
            if let Ok(Change::Row(row)) = self.rows.read(&record.topic, Some(&key), Some(&value)) {
                for column in 0..self.columns.len() {
                    cell.clear();
                    if row.encode(column, &mut cell).is_err() {
                        assert_eq!(cell, b"", "nothing is left of a refused value");
                    }
                }
            }
            let _ = self.keys.encode(Some(&key), &mut cell);
        }
    }

    fn apply(&mut self, record: &Record, alone: bool) -> Progress {
        match self.change(record, alone) {
            Ok(progress) => progress,
            Err(failure) => {
                let at = format!("{}:{}:{}", self.table, record.partition, record.offset);
                self.refusals.push(format!("{at} {failure}"));
                Progress::Done
            }
        }
    }

    fn change(&mut self, record: &Record, alone: bool) -> Result<Progress, Failure> {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let (key, value) = (key.map(str::as_bytes), value.map(str::as_bytes));
        let mut key_bytes = Vec::new();
        let change = self.rows.read(&record.topic, key, value)?;
        if let Change::Truncate(_) = change {
            self.state.clear();
            self.truncates += 1;
            return Ok(Progress::Done);
        }
        self.keys.encode(key, &mut key_bytes)?;
        match change {
            Change::Row(row) => {
                let old = record.header(OLD_KEY_HEADER);
                let mut old_key = Vec::new();
                let old_key = self
                    .keys
                    .encode_header(old, None, &mut old_key)
                    .then_some(old_key);
                let moved = old_key.map(|old| (old, key_bytes.clone()));
                let (mut cells, left_out) = encode(&row, self.columns.len())?;
                let left = moved
                    .as_ref()
                    .and_then(|pair| self.moved.get_mut(pair)?.pop_front());
                let must_wait = moved.is_some() && left.is_none();
                if must_wait && !(alone && left_out.is_empty()) {
                    return Ok(Progress::NeedsOldRow);
                }
                self.completed_from_old_key += left_out.len() * usize::from(left.is_some());
                for column in left_out {
                    let own = self.state.get(&key_bytes).map(|state| &state.cells);
                    let known = left.as_ref().or(own).expect("a row that has the value");
                    cells[column].clone_from(&known[column]);
                }
                let state = State {
                    cells,
                    deleted: false,
                };
                self.state.insert(key_bytes, state);
            }
            Change::Delete(delete) => {
                let is_tombstone = delete.deletion() == Deletion::Tombstone;
                let Some(state) = self.state.get_mut(&key_bytes) else {
                    return Ok(Progress::Done);
                };
                state.deleted = true;
                let new = record.header(NEW_KEY_HEADER);
                let mut new_key = Vec::new();
                if !is_tombstone && self.keys.encode_header(new, None, &mut new_key) {
                    let cells = state.cells.clone();
                    self.moved
                        .entry((key_bytes, new_key))
                        .or_default()
                        .push_back(cells);
                }
            }
            Change::Truncate(_) | Change::None(_) => {}
        }
        Ok(Progress::Done)
    }

    pub(crate) fn refusals(&self) -> &[String] {
        &self.refusals
    }

    pub(crate) fn truncates(&self) -> usize {
        self.truncates
    }

    /// Values that came from the row of a key's old name.
    pub(crate) fn completed_from_old_key(&self) -> usize {
        self.completed_from_old_key
    }

    /// The rows as the query of the comparison gives them.
    pub(crate) fn rows(&self) -> Vec<String> {
        let living = self.state.values().filter(|state| !state.deleted);
        let mut rows: Vec<_> = living.map(|state| self.row(&state.cells)).collect();
        rows.sort();
        rows
    }

    fn row(&self, cells: &Cells) -> String {
        let members = self
            .columns
            .iter()
            .zip(cells)
            .map(|((name, column_type), cell)| {
                // Bytes: with a schema block they are bytes again.
                let as_hex =
                    self.variant == "envelope_schema" && matches!(&**name, "c_bytea" | "big_b");
                let text = cells::text(column_type, cell, as_hex);
                let text = serde_json::to_string(&text).expect("JSON");
                format!("\"{name}\":{text}")
            });
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

fn damaged(text: &str, random: &mut StdRng) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let at = random.random_range(0..bytes.len());
    if random.random_ratio(1, 10) {
        bytes.truncate(at);
    } else {
        bytes[at] = *b"\"\\{}[],:0123456789-eEnutf\x00\xff"
            .get(random.random_range(0..40))
            .unwrap_or(&random.random());
    }
    bytes
}

/// The cells of a row, and the columns whose values were left out. A field that the record lacks is NULL.
fn encode(row: &Row<'_, '_>, columns: usize) -> Result<(Cells, Vec<usize>), Failure> {
    let (mut cells, mut left_out) = (Vec::new(), Vec::new());
    for column in 0..columns {
        let mut cell = Vec::new();
        match row.encode(column, &mut cell)? {
            Outcome::Written => {}
            Outcome::Absent => cell.push(1),
            Outcome::Unavailable => left_out.push(column),
        }
        cells.push(cell);
    }
    Ok((cells, left_out))
}

pub(crate) fn key_columns(table: &str) -> &'static [&'static str] {
    match table {
        "orders" => &["order_id"],
        "order_items" => &["item_id"],
        "multi_pk" => &["region", "acct", "day"],
        _ => &["id"],
    }
}

/// The columns of a table that fit a variant's records.
pub(crate) fn columns(source: Source, variant: &str, table: &str) -> Vec<(String, ColumnType)> {
    let columns = corpus::columns(source, variant, table).into_iter();
    let columns = columns.map(|(name, type_name)| {
        let type_name = corpus::exact(variant, table, &name).unwrap_or(&type_name);
        let column_type = ColumnType::parse(type_name).expect("a type");
        (name, column_type)
    });
    columns.collect()
}

/// How many records change no row, by what they are.
pub(crate) fn no_changes(records: &[Record], modes: Modes) -> HashMap<NoChange, usize> {
    let mut counts = HashMap::new();
    let mut readers: HashMap<&str, RowReader> = HashMap::new();
    for record in records {
        let reader = readers.entry(&record.topic).or_insert_with(|| {
            let reader = RowReader::new(Columns::new(), Some(modes));
            reader.with_signal_tables(&["dbz_signal_txmeta".to_owned()])
        });
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let change = reader.read(
            &record.topic,
            key.map(str::as_bytes),
            value.map(str::as_bytes),
        );
        if let Change::None(why) = change.expect("a readable record") {
            *counts.entry(why).or_default() += 1;
        }
    }
    counts
}
