//! One window: its groups, and which of their rows are still to be sent.

use std::hash::{BuildHasher, Hasher as _};

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::cell::Cell;
use super::{CellRules, Event};

/// The records of one group in one window.
#[derive(Debug, Clone)]
pub struct Group {
    /// What tells groups apart, encoded.
    pub key: Box<[u8]>,
    pub cells: Box<[Cell]>,
    /// How many records there are.
    pub revision: u64,
    /// How many of them came after the window's end, by their partition's watermark.
    pub late_count: u64,
    /// Of the newest row that was sent; 0 before the first.
    pub(super) sent_version: u64,
    /// It is among those that are to be sent.
    pub(super) is_pending: bool,
    /// What was written of it before is in it, and counts no more.
    pub(super) is_whole: bool,
    /// What its cells have grown by, in bytes.
    pub(super) grown: usize,
}

/// One row as it is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Row<'w> {
    pub start_ms: i64,
    pub end_ms: i64,
    pub group: &'w Group,
    /// No record can change it any more.
    pub is_final: bool,
    /// Another row has taken its place: a session whose start has moved.
    pub is_deleted: bool,
    /// Larger for every row of a window that is fuller than the one before.
    pub version: u64,
}

/// The first record of a partition in a window.
#[derive(Debug, Clone, Copy)]
pub(super) struct First {
    pub(super) offset: i64,
    /// The largest event time of the partition's records before it.
    pub(super) largest_before_ms: Option<i64>,
}

impl Group {
    pub(super) fn new(key: &[u8], rules: &[CellRules]) -> Group {
        Group {
            key: key.into(),
            cells: rules.iter().map(|rules| Cell::new(*rules)).collect(),
            revision: 0,
            late_count: 0,
            sent_version: 0,
            is_pending: false,
            is_whole: false,
            grown: 0,
        }
    }

    pub(super) fn version(&self, is_final: bool) -> u64 {
        self.revision * 2 + u64::from(is_final)
    }

    /// What it takes of the memory, but for what its cells grow by.
    pub(super) fn bytes(&self) -> usize {
        // Two allocations of its own, its entry in the table, the table's spare room.
        size_of::<Group>() * 2 + self.key.len() + self.cells.len() * size_of::<Cell>() + 64
    }

    /// What it takes of the memory, its cells included, as it was counted.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes() + self.grown
    }

    /// Takes in the records of another one. Returns how many bytes it has grown.
    pub(super) fn merge(&mut self, rules: &[CellRules], other: Group, seed: u64) -> usize {
        self.revision += other.revision;
        self.late_count += other.late_count;
        let cells = self.cells.iter_mut().zip(rules).zip(other.cells);
        let grown = cells.map(|((cell, rules), other)| cell.merge(*rules, other, seed));
        let grown: usize = grown.sum();
        self.grown += grown;
        grown
    }

    /// Returns how many bytes it has grown.
    pub(super) fn add(&mut self, rules: &[CellRules], event: &Event<'_>, seed: u64) -> usize {
        self.revision += 1;
        let cells = self.cells.iter_mut().zip(rules).zip(event.samples);
        let grown = cells.map(|((cell, rules), sample)| cell.add(*rules, *sample, event, seed));
        let grown: usize = grown.sum();
        self.grown += grown;
        grown
    }
}

fn hash(key: &[u8], seed: u64) -> u64 {
    let mut hasher = FixedState::with_seed(seed).build_hasher();
    hasher.write(key);
    hasher.finish()
}

/// See the module.
#[derive(Debug)]
pub(super) struct Pane {
    pub(super) end_ms: i64,
    /// For each partition.
    pub(super) firsts: Vec<Option<First>>,
    pub(super) groups: Vec<Group>,
    ids: HashTable<u32>,
    /// Its rows have been sent once.
    pub(super) is_due: bool,
    /// No record can come any more.
    pub(super) is_closed: bool,
    /// Groups whose rows are to be sent.
    pub(super) pending: Vec<u32>,
    /// Parts of it were written: groups in memory are what came since, but for whole ones.
    pub(super) has_runs: bool,
    /// Rows of what was written are to be sent, from this key on.
    pub(super) sweep: Option<Vec<u8>>,
}

impl Pane {
    pub(super) fn new(end_ms: i64, inputs: usize) -> Pane {
        Pane {
            end_ms,
            firsts: vec![None; inputs],
            groups: vec![],
            ids: HashTable::new(),
            is_due: false,
            is_closed: false,
            pending: vec![],
            has_runs: false,
            sweep: None,
        }
    }

    /// The group of an event, made if it is the first of it. Returns its number, and how many bytes more
    /// there are.
    pub(super) fn group(
        &mut self,
        event: &Event<'_>,
        rules: &[CellRules],
        seed: u64,
    ) -> (usize, usize) {
        if let Some(id) = self.id_of(event.group, seed) {
            return (id, 0);
        }
        let group = Group::new(event.group, rules);
        let bytes = group.bytes();
        (self.put(group, seed), bytes)
    }

    /// The number of a group that is in memory.
    pub(super) fn id_of(&self, key: &[u8], seed: u64) -> Option<usize> {
        let is_it = |id: &u32| *self.groups[*id as usize].key == *key;
        let id = self.ids.find(hash(key, seed), is_it)?;
        Some(*id as usize)
    }

    /// Adds a group that is not in memory. Returns its number.
    fn put(&mut self, group: Group, seed: u64) -> usize {
        let groups = &mut self.groups;
        let id = u32::try_from(groups.len()).expect("memory ends long before 4 billion groups");
        let key_hash = hash(&group.key, seed);
        groups.push(group);
        self.ids
            .insert_unique(key_hash, id, |id| hash(&groups[*id as usize].key, seed));
        id as usize
    }

    /// Takes out the groups whose rows are not to be sent; `all`: the others too, which are not to be sent any
    /// more then.
    pub(super) fn take_groups(&mut self, all: bool, seed: u64) -> Vec<Group> {
        let groups = std::mem::take(&mut self.groups);
        self.ids = HashTable::new();
        self.pending = vec![];
        if all {
            return groups;
        }
        let (kept, taken) = groups.into_iter().partition(|group| group.is_pending);
        for group in kept as Vec<Group> {
            let id = self.put(group, seed);
            self.pending.push(id as u32);
        }
        taken
    }

    /// A row has changed, or is to be sent whatever it was.
    pub(super) fn note_pending(&mut self, id: usize) {
        let group = &mut self.groups[id];
        if !group.is_pending {
            group.is_pending = true;
            self.pending.push(id as u32);
        }
    }

    /// No row is to be sent.
    pub(super) fn forget_pending(&mut self) {
        for id in self.pending.drain(..) {
            self.groups[id as usize].is_pending = false;
        }
        self.sweep = None;
    }

    /// Every row is to be sent, unless it was as it is.
    pub(super) fn note_all_pending(&mut self) {
        for id in 0..self.groups.len() {
            self.note_pending(id);
        }
    }
}
