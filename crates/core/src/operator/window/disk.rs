//! Aligned windows that do not fit into memory: parts of groups are written, and meet again when the rows
//! of their window are due.
//!
//! While records are counted nothing is read. A window whose rows become due has all of it written, and is
//! swept: its runs are read together, in the order of groups, and each group is whole once its last part is
//! read. A group that gets a record after that is pending, as without a store; what was written of it is read
//! before its row is sent, and it is *whole* from then on, in memory as on disk. The sweep passes groups by
//! that are in memory: those are whole, or will be sent.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::gathering::Gathering;
use super::pane::{Group, Pane, Row};
use super::spill::{self, Cursor, Spill, SpillError};
use super::{CellRules, stored};

/// How many buckets the windows are divided into that are open at the same time, more or less. Each is
/// written to whenever memory is full.
const BUCKETS: i64 = 8;

/// Runs of one bucket that are read together, before they are made one.
const RUNS_MAX: u32 = 256;

/// Where parts of windows are written, and which there are.
#[derive(Debug)]
pub(super) struct Disk {
    store: Box<dyn Spill>,
    /// Windows that begin within the same span of this length are removed together.
    bucket_ms: i64,
    buckets: BTreeMap<i64, Bucket>,
    /// The next bucket of the store.
    next_id: u64,
    /// The next run.
    run: u32,
    /// What is in the store may not be all that was written.
    broken: Option<SpillError>,
}

/// What lies on disk of windows that begin within the same span.
#[derive(Debug)]
struct Bucket {
    /// In the store.
    id: u64,
    /// Groups that were read and written again, with all their parts, the last time.
    whole_count: u64,
    /// Parts that were written since, in so many runs.
    part_count: u64,
    run_count: u32,
}

/// Of what rows are made, and which they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making<'r> {
    pub(super) rules: &'r [CellRules],
    pub(super) seed: u64,
    pub(super) start_ms: i64,
    pub(super) is_final: bool,
}

impl Disk {
    /// `open_ms`: how long a window is open.
    pub(super) fn new(store: Box<dyn Spill>, open_ms: i64, slide_ms: i64) -> Disk {
        let slides = open_ms / BUCKETS / slide_ms;
        Disk {
            store,
            bucket_ms: slides.max(1).saturating_mul(slide_ms),
            buckets: BTreeMap::new(),
            next_id: 0,
            run: 0,
            broken: None,
        }
    }

    fn bucket(&self, start_ms: i64) -> i64 {
        start_ms.div_euclid(self.bucket_ms)
    }

    /// # Errors
    /// Something went wrong before.
    pub(super) fn check(&self) -> Result<(), SpillError> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Notes what goes wrong: from then on no row is made.
    fn noting<T>(&mut self, result: Result<T, SpillError>) -> Result<T, SpillError> {
        if let Err(error) = &result {
            self.broken = Some(error.clone());
        }
        result
    }

    /// Writes everything that is not about to be sent. Returns how many bytes of memory that took.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write_all(
        &mut self,
        panes: &mut BTreeMap<i64, Pane>,
        rules: &[CellRules],
        seed: u64,
    ) -> Result<usize, SpillError> {
        let (mut freed, mut bucket, mut parts) = (0, None, vec![]);
        // One that is closed is on disk, or is being sent.
        for (&start_ms, pane) in panes.iter_mut().filter(|(_, pane)| !pane.is_closed) {
            let its_bucket = Some(self.bucket(start_ms));
            if bucket != its_bucket {
                freed += self.write(std::mem::take(&mut parts))?;
                bucket = its_bucket;
            }
            let groups = pane.take_groups(false, seed);
            if !groups.is_empty() {
                pane.has_runs = true;
                parts.push((start_ms, groups));
            }
        }
        freed += self.write(parts)?;
        self.gather(rules, seed)?;
        Ok(freed)
    }

    /// Writes all of a window, whose rows are to be sent. Returns how many bytes of memory that took.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn begin_sweep(
        &mut self,
        start_ms: i64,
        pane: &mut Pane,
        seed: u64,
    ) -> Result<usize, SpillError> {
        let groups = pane.take_groups(true, seed);
        let mut from = vec![];
        spill::write_start(&mut from, start_ms);
        pane.sweep = Some(from);
        self.write(vec![(start_ms, groups)])
    }

    /// Windows of one bucket, in the order of time.
    fn write(&mut self, parts: Vec<(i64, Vec<Group>)>) -> Result<usize, SpillError> {
        let count: usize = parts.iter().map(|(_, groups)| groups.len()).sum();
        let Some((start_ms, _)) = parts.first().filter(|_| count > 0) else {
            return Ok(0);
        };
        let (bucket, run) = (self.bucket(*start_ms), self.run);
        self.run = run.checked_add(1).expect("runs are written for centuries");
        let next_id = &mut self.next_id;
        let bucket = self
            .buckets
            .entry(bucket)
            .or_insert_with(|| Bucket::new(next_id));
        bucket.part_count += count as u64;
        bucket.run_count += 1;
        let mut freed = 0;
        let mut groups = parts.into_iter().flat_map(|(start_ms, mut groups)| {
            groups.sort_unstable_by(|a, b| spill::order_of(&a.key).cmp(&spill::order_of(&b.key)));
            groups.into_iter().map(move |group| (start_ms, group))
        });
        let written = self.store.write(bucket.id, &mut |key, value| {
            let Some((start_ms, group)) = groups.next() else {
                return false;
            };
            freed += group.held_bytes();
            spill::write_key(key, start_ms, &group.key, run);
            stored::write(&group, value);
            true
        });
        self.noting(written)?;
        Ok(freed)
    }

    /// Makes room where the disk fills or runs are many: reads and writes again what has as many new parts as
    /// there were groups, so that each group is there once.
    fn gather(&mut self, rules: &[CellRules], seed: u64) -> Result<(), SpillError> {
        let is_due = |bucket: &Bucket| bucket.part_count >= bucket.whole_count;
        let due = self.buckets.iter().filter(|(_, bucket)| is_due(bucket));
        let due: Vec<(i64, u32)> = due.map(|(number, b)| (*number, b.run_count)).collect();
        for (number, runs) in due {
            if runs >= RUNS_MAX || self.store.is_half_full() {
                let gathered = self.gather_bucket(number, rules, seed);
                self.noting(gathered)?;
            }
        }
        Ok(())
    }

    fn gather_bucket(
        &mut self,
        number: i64,
        rules: &[CellRules],
        seed: u64,
    ) -> Result<(), SpillError> {
        let old_id = self.buckets[&number].id;
        let mut new = Bucket::new(&mut self.next_id);
        let mut groups = Gathering::new(self.store.read(old_id, &[])?, rules, seed);
        let mut unread = None;
        self.store
            .write(new.id, &mut |key, value| match groups.next() {
                Ok(Some((same, mut group))) => {
                    new.whole_count += 1;
                    // Of the first run, so that parts of later ones come behind it.
                    key.extend_from_slice(&same);
                    key.extend_from_slice(&0u32.to_be_bytes());
                    group.is_whole = true;
                    stored::write(&group, value);
                    true
                }
                Ok(None) => false,
                Err(error) => {
                    unread = Some(error);
                    false
                }
            })?;
        unread.map_or(Ok(()), Err)?;
        self.buckets.insert(number, new);
        self.store.remove(old_id)
    }

    /// What was written of a window, from this key on; nothing where its bucket is empty.
    fn read(&self, start_ms: i64, from: &[u8]) -> Result<Option<Box<dyn Cursor>>, SpillError> {
        let bucket = self.buckets.get(&self.bucket(start_ms));
        bucket
            .map(|bucket| self.store.read(bucket.id, from))
            .transpose()
    }

    /// Hands out the rows of what was written of a window, from where the last call ended. False when a row
    /// was the last that is taken.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn sweep(
        &mut self,
        pane: &mut Pane,
        making: Making<'_>,
        take: &mut impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<bool, SpillError> {
        let Some(from) = pane.sweep.take() else {
            return Ok(true);
        };
        let swept = self.sweep_from(&from, pane, making, take);
        self.noting(swept)
    }

    fn sweep_from(
        &self,
        from: &[u8],
        pane: &mut Pane,
        making: Making<'_>,
        take: &mut impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<bool, SpillError> {
        let Some(entries) = self.read(making.start_ms, from)? else {
            return Ok(true);
        };
        let mut start = vec![];
        spill::write_start(&mut start, making.start_ms);
        let mut groups = Gathering::new(entries, making.rules, making.seed);
        while let Some((mut same, group)) = groups.next()? {
            if !same.starts_with(&start) {
                break;
            }
            let version = group.version(making.is_final);
            let is_in_memory = pane.id_of(&group.key, making.seed).is_some();
            if is_in_memory || group.sent_version == version {
                continue;
            }
            let row = Row {
                start_ms: making.start_ms,
                end_ms: pane.end_ms,
                group: &group,
                is_final: making.is_final,
                is_deleted: false,
                version,
            };
            if take(row).is_break() {
                // Behind all parts of this group.
                same.extend_from_slice(&u32::MAX.to_be_bytes());
                pane.sweep = Some(same);
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts what was written of a group into its part in memory. Returns by how many bytes that has grown.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn make_whole(
        &mut self,
        group: &mut Group,
        making: Making<'_>,
    ) -> Result<usize, SpillError> {
        let mut from = vec![];
        spill::write_key(&mut from, making.start_ms, &group.key, 0);
        let written = self.first_from(&from, making);
        let written = self.noting(written)?;
        group.is_whole = true;
        let Some(written) = written else {
            return Ok(0);
        };
        group.sent_version = group.sent_version.max(written.sent_version);
        Ok(group.merge(making.rules, written, making.seed))
    }

    /// The group whose parts begin with this key.
    fn first_from(&self, from: &[u8], making: Making<'_>) -> Result<Option<Group>, SpillError> {
        let Some(entries) = self.read(making.start_ms, from)? else {
            return Ok(None);
        };
        let mut groups = Gathering::new(entries, making.rules, making.seed);
        let first = groups.next()?;
        let (_, wanted) = spill::group_of(from);
        Ok(first
            .filter(|(same, _)| same == wanted)
            .map(|first| first.1))
    }

    /// Removes what was written of windows that are not there any more.
    pub(super) fn remove_all_but(&mut self, panes: &BTreeMap<i64, Pane>) {
        let is_over = |number: &&i64| {
            let first_ms = number.saturating_mul(self.bucket_ms);
            let end_ms = first_ms.saturating_add(self.bucket_ms);
            panes.range(first_ms..end_ms).next().is_none()
        };
        let over: Vec<i64> = self.buckets.keys().filter(is_over).copied().collect();
        for number in over {
            let removed = self.buckets.remove(&number);
            let removed = removed.map_or(Ok(()), |bucket| self.store.remove(bucket.id));
            // Whoever makes the next row is told.
            let _ = self.noting(removed);
        }
    }
}

impl Bucket {
    fn new(next_id: &mut u64) -> Bucket {
        let id = *next_id;
        *next_id += 1;
        Bucket {
            id,
            whole_count: 0,
            part_count: 0,
            run_count: 0,
        }
    }
}
