//! What is on disk: which rows come from there, what is removed, and what a store that fails does.

use std::sync::{Arc, Mutex};

use super::super::spill::InMemory;
use super::*;

/// Which buckets there are, and whether it fails from now on.
#[derive(Debug, Default, Clone)]
struct Watched {
    inner: Arc<Mutex<InMemory>>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    buckets: Vec<u64>,
    reads: usize,
    fails: bool,
}

impl Watched {
    fn check(&self) -> Result<(), SpillError> {
        match self.seen.lock().unwrap().fails {
            true => Err(SpillError::Failed("no such device".to_owned())),
            false => Ok(()),
        }
    }
}

impl Spill for Watched {
    fn write(&mut self, bucket: u64, next: Entries<'_>) -> Result<(), SpillError> {
        self.check()?;
        let mut seen = self.seen.lock().unwrap();
        seen.buckets.push(bucket);
        seen.buckets.sort_unstable();
        seen.buckets.dedup();
        self.inner.lock().unwrap().write(bucket, next)
    }

    fn read(&self, bucket: u64, from: &[u8]) -> Result<Box<dyn Cursor>, SpillError> {
        self.check()?;
        self.seen.lock().unwrap().reads += 1;
        self.inner.lock().unwrap().read(bucket, from)
    }

    fn is_half_full(&self) -> bool {
        self.inner.lock().unwrap().is_half_full
    }

    fn remove(&mut self, bucket: u64) -> Result<(), SpillError> {
        self.check()?;
        self.seen.lock().unwrap().buckets.retain(|b| *b != bucket);
        self.inner.lock().unwrap().remove(bucket)
    }
}

/// Minutes, with this lateness, of one partition, and where their parts are written.
fn minutes(lateness_s: i64) -> (Windows, Watched) {
    let store = Watched::default();
    let mut rules = rules(60, 60, 0, lateness_s);
    rules.cells = vec![CellRules::Sum];
    let mut windows = Windows::new(rules, 1).spilling_to(Box::new(store.clone()));
    windows.begin(0, 0, None, 0, false);
    (windows, store)
}

fn add_to(windows: &mut Windows, time_s: i64, group: &[u8]) -> Verdict {
    windows.add(&Event {
        input: 0,
        place: Place {
            time_ms: time_s * 1000,
            partition: 0,
            offset: time_s,
        },
        group,
        samples: &[Sample::Number(1)],
        texts: &[],
    })
}

/// Start in seconds, group, records, whether final; as many as that.
fn rows(windows: &mut Windows, limit: usize) -> Vec<(i64, Vec<u8>, u64, bool)> {
    let mut rows = vec![];
    let collected = windows.collect(false, |row| {
        let group = row.group.key.to_vec();
        rows.push((row.start_ms / 1000, group, row.group.revision, row.is_final));
        match rows.len() < limit {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    collected.expect("the store works");
    windows.settled();
    rows
}

fn row(start_s: i64, group: &[u8], records: u64, is_final: bool) -> (i64, Vec<u8>, u64, bool) {
    (start_s, group.to_vec(), records, is_final)
}

#[test]
fn parts_of_a_group_meet_when_its_window_closes_and_its_bucket_is_removed() {
    let (mut windows, store) = minutes(0);
    // Groups whose bytes and run numbers could be taken for each other's.
    let groups: [&[u8]; 3] = [b"a", b"a\0\0\0\0", b"a\0\0\0\0\0"];
    for round in 0..3 {
        for group in groups {
            add_to(&mut windows, round, group);
        }
        windows.spill().expect("there is room");
        assert_eq!(windows.memory_bytes(), 0);
    }
    add_to(&mut windows, 4, b"a");
    add_to(&mut windows, 60, b"b");
    windows.spill().expect("there is room");
    assert_eq!(
        store.seen.lock().unwrap().reads,
        0,
        "counting reads nothing"
    );
    assert_eq!(store.seen.lock().unwrap().buckets.len(), 2);
    // One row a batch: the sweep goes on where it ended.
    assert_eq!(rows(&mut windows, 1), [row(0, b"a", 4, true)]);
    assert_eq!(
        store.seen.lock().unwrap().buckets.len(),
        2,
        "not all is sent"
    );
    assert_eq!(rows(&mut windows, 1), [row(0, groups[1], 3, true)]);
    assert_eq!(rows(&mut windows, 9), [row(0, groups[2], 3, true)]);
    assert_eq!(store.seen.lock().unwrap().buckets.len(), 1);
    assert_eq!(rows(&mut windows, 9), []);
}

#[test]
fn a_row_that_was_sent_is_sent_again_whole_with_records_that_came_late() {
    let (mut windows, store) = minutes(100);
    add_to(&mut windows, 0, b"a");
    add_to(&mut windows, 1, b"b");
    windows.spill().expect("there is room");
    add_to(&mut windows, 60, b"c");
    assert_eq!(
        rows(&mut windows, 9),
        [row(0, b"a", 1, false), row(0, b"b", 1, false)]
    );
    add_to(&mut windows, 2, b"a");
    windows.spill().expect("what is to be sent stays");
    assert_eq!(rows(&mut windows, 9), [row(0, b"a", 2, false)]);
    // Whole, it takes the place of what was written before.
    windows.spill().expect("there is room");
    add_to(&mut windows, 3, b"a");
    assert_eq!(rows(&mut windows, 9), [row(0, b"a", 3, false)]);
    add_to(&mut windows, 161, b"d");
    let closed = rows(&mut windows, 9);
    assert_eq!(
        closed,
        [
            row(0, b"a", 3, true),
            row(0, b"b", 1, true),
            row(60, b"c", 1, false)
        ]
    );
    assert!(store.seen.lock().unwrap().reads > 0);
}

#[test]
fn after_a_store_has_failed_no_row_is_handed_out() {
    let (mut windows, store) = minutes(0);
    add_to(&mut windows, 0, b"a");
    windows.spill().expect("there is room");
    add_to(&mut windows, 60, b"b");
    windows.note_read(0, 61);
    store.seen.lock().unwrap().fails = true;
    windows.spill().expect_err("the store fails");
    store.seen.lock().unwrap().fails = false;
    let collected = windows.collect(true, |row| panic!("{row:?} may lack records"));
    let error = collected.expect_err("what was to be written is gone");
    assert_eq!(error.to_string(), "no such device");
    assert_eq!(windows.commit_point(0, 61).position, 0, "it is read again");
}

#[test]
fn where_the_disk_fills_each_group_is_there_once() {
    let (mut windows, store) = minutes(0);
    store.inner.lock().unwrap().is_half_full = true;
    let entries = || {
        let store = store.inner.lock().unwrap();
        let entries = store.buckets.values().map(std::collections::BTreeMap::len);
        entries.sum::<usize>()
    };
    let mut most = 0;
    for round in 0..40 {
        add_to(&mut windows, round, &[(round % 4) as u8]);
        windows.spill().expect("there is room");
        most = most.max(entries());
    }
    assert_eq!(most, 7, "four whole groups, and three parts");
    add_to(&mut windows, 60, b"b");
    let expected: Vec<_> = (0..4u8).map(|group| row(0, &[group], 10, true)).collect();
    assert_eq!(rows(&mut windows, 9), expected);
    assert_eq!(entries(), 0);
}

#[test]
fn many_runs_are_made_one() {
    let (mut windows, store) = minutes(0);
    for round in 0..600 {
        add_to(&mut windows, round % 50, b"a");
        windows.spill().expect("there is room");
    }
    let entries = {
        let store = store.inner.lock().unwrap();
        store
            .buckets
            .values()
            .map(std::collections::BTreeMap::len)
            .sum::<usize>()
    };
    assert!(entries < 300, "{entries} parts are read together");
    add_to(&mut windows, 60, b"b");
    assert_eq!(rows(&mut windows, 9), [row(0, b"a", 600, true)]);
}
