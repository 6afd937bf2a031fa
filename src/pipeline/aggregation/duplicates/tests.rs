//! Owners that end anywhere and begin where the last commit says make the rows of one that is never disturbed.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::operator::DedupRules;
use crate::operator::window::{CellRules, Event, Rules, Sample, Shape, Silence, Windows};
use crate::progress::WindowFrontier;

const WITHIN_MS: i64 = 700;
const DELAY_MS: i64 = 100;

/// Records that are known together: few, so that not all of a short log are.
const TOGETHER: u32 = 4;

/// A record: how much later it is than the one before, and its key.
type Given = (i64, u8);

/// The key of records that count in no window: no `where` lets them through.
const FILTERED: u8 = 11;

/// One owner after the other.
struct World<'l> {
    log: &'l [Given],
    shape: Shape,
    windows: Windows,
    duplicates: Duplicates,
    committed: Option<CommitPoint>,
    next: usize,
    /// By start, group and version: how many records a window has.
    rows: BTreeMap<(i64, Vec<u8>), (u64, u64)>,
}

fn rules(shape: Shape) -> Rules {
    Rules {
        shape,
        watermark_delay_ms: DELAY_MS,
        lateness_ms: 200,
        cells: vec![CellRules::Count],
    }
}

fn nothing_seen() -> Duplicates {
    let rules = DedupRules {
        within_ms: WITHIN_MS,
        delay_ms: DELAY_MS,
    };
    Duplicates::of(rules, NeededRecords::new(WITHIN_MS).by(TOGETHER))
}

fn no_windows(shape: Shape) -> Windows {
    let mut windows = Windows::new(rules(shape), 1);
    windows.close_without_records();
    windows
}

impl<'l> World<'l> {
    fn new(log: &'l [Given], shape: Shape) -> Self {
        let mut world = World {
            log,
            shape,
            windows: no_windows(shape),
            duplicates: nothing_seen(),
            committed: None,
            next: 0,
            rows: BTreeMap::new(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.windows = no_windows(self.shape);
        self.duplicates = nothing_seen();
        let position = self.committed.map_or(0, |point| point.position);
        let frontier = self.committed.and_then(|point| point.frontier.windows());
        let end = i64::try_from(self.log.len()).unwrap();
        self.windows.begin(0, position, frontier, end, false);
        let largest_ms = frontier.and_then(|f: WindowFrontier| f.largest_ms);
        self.duplicates.begin(largest_ms);
        self.next = usize::try_from(position).unwrap();
    }

    fn read(&mut self) {
        let Some((_, key)) = self.log.get(self.next) else {
            return;
        };
        let time_ms = self.log[..=self.next].iter().map(|(step, _)| step).sum();
        let place = Place {
            time_ms,
            partition: 0,
            offset: i64::try_from(self.next).unwrap(),
        };
        let event = Event {
            input: 0,
            place,
            group: &[key % 2],
            samples: &[Sample::One],
            texts: &[],
        };
        let largest_ms = self.windows.input_largest_ms(0);
        let dedup_key = (*key != 0).then(|| DedupKey::of([(1, &[*key][..])]));
        let is_duplicate = self.duplicates.note(dedup_key, place, largest_ms);
        if is_duplicate || *key == FILTERED {
            self.windows.pass(&event);
        } else {
            self.windows.add(&event);
        }
        self.next += 1;
        let next = i64::try_from(self.next).unwrap();
        self.windows.note_read(0, next);
        self.duplicates.forget(self.windows.over_through_ms());
    }

    fn send(&mut self, all: bool) {
        let rows = &mut self.rows;
        let collected = self.windows.collect(all, |row| {
            let key = (row.start_ms, row.group.key.to_vec());
            let known = rows.entry(key).or_insert((0, 0));
            let count = if row.is_deleted {
                0
            } else {
                row.group.revision
            };
            *known = (row.version, count).max(*known);
            ControlFlow::Continue(())
        });
        collected.expect("windows are in memory");
        self.windows.settled();
    }

    fn commit(&mut self) {
        let settled = i64::try_from(self.next).unwrap();
        let point = self.windows.commit_point(0, settled);
        let over_ms = self.windows.over_through_ms();
        let is_retired = self.windows.is_retired(0);
        let point = self.duplicates.commit_point(point, over_ms, is_retired);
        if let Some(before) = self.committed {
            assert!(point.position >= before.position, "{point:?}, {before:?}");
        }
        self.committed = Some(point);
    }

    fn counts(mut self) -> BTreeMap<(i64, Vec<u8>), u64> {
        while self.next < self.log.len() {
            self.read();
        }
        self.send(true);
        let rows = self.rows.into_iter();
        rows.map(|(key, (_, count))| (key, count)).collect()
    }
}

fn log() -> impl Strategy<Value = Vec<Given>> {
    // Time goes on, with records that come late now and then.
    let step = prop_oneof![8 => 0i64..60, 1 => -1_500i64..0, 1 => 0i64..1_500];
    prop::collection::vec((step, 0u8..12), 1..400)
}

fn shape() -> impl Strategy<Value = Shape> {
    let aligned = prop_oneof![Just(250i64), Just(1_000), Just(4_000)];
    let aligned = aligned.prop_map(|size_ms| Shape::Aligned {
        size_ms,
        slide_ms: size_ms,
    });
    let session = prop_oneof![Just(30i64), Just(300)];
    prop_oneof![3 => aligned, 1 => session.prop_map(|gap_ms| Shape::Session { gap_ms })]
}

proptest! {
    #[test]
    fn owners_that_end_anywhere_count_what_an_undisturbed_one_counts(
        log in log(),
        lives in prop::collection::vec((1usize..60, any::<bool>(), any::<bool>()), 0..12),
        shape in shape(),
    ) {
        let expected = World::new(&log, shape).counts();
        let mut world = World::new(&log, shape);
        for (reads, sends, commits) in lives {
            for _ in 0..reads {
                world.read();
            }
            if sends {
                world.send(false);
            }
            if commits {
                world.commit();
            }
            world.start();
        }
        prop_assert_eq!(world.counts(), expected);
    }
}

#[test]
fn duplicates_count_once_and_what_they_are_told_by_is_read_again() {
    // Of key 3 at 0, 600 and 1,200: each within reach of the one before. The windows of the first two are over.
    let log = [
        (0, 3),
        (600, 3),
        (600, 3),
        (10, 5),
        (1_000, 0),
        (0, 7),
        (0, 7),
    ];
    let shape = Shape::Aligned {
        size_ms: 500,
        slide_ms: 500,
    };
    let mut world = World::new(&log, shape);
    for _ in 0..log.len() {
        world.read();
    }
    world.send(false);
    let windows_need = world.windows.commit_point(0, 7).position;
    world.commit();
    let position = world.committed.unwrap().position;
    assert!(position < windows_need, "{position} {windows_need}");
    let counts = world.counts();
    let of = |start_ms: i64, group: u8| counts.get(&(start_ms, vec![group])).copied();
    assert_eq!(of(0, 1), Some(1));
    assert_eq!(of(500, 1), None, "a duplicate");
    assert_eq!(of(1_000, 1), Some(1), "key 5 alone");
    assert_eq!(of(2_000, 0), Some(1), "no key");
    assert_eq!(of(2_000, 1), Some(1), "key 7 once");
}

/// Where a log is committed once all of it is read and what is due is sent.
fn committed(log: &[Given], shape: Shape, silence: Silence) -> i64 {
    let mut world = World::new(log, shape);
    let to = i64::try_from(log.len()).unwrap();
    for _ in log {
        world.read();
    }
    world.windows.note_silence(0, silence, to);
    world.send(false);
    world.commit();
    world.committed.unwrap().position
}

#[test]
fn a_commit_lies_as_far_back_as_duplicates_do_whatever_the_records_are() {
    let aligned = Shape::Aligned {
        size_ms: 500,
        slide_ms: 500,
    };
    // One that records of 10 ms apart do not hold together: an open session holds the commit.
    let session = Shape::Session { gap_ms: 5 };
    // Distinct, filtered and repeated records, 10 ms apart, and few that are hours apart.
    let distinct: Vec<Given> = (0..1_000u32).map(|n| (10, (n % 97) as u8 + 12)).collect();
    let filtered = vec![(10, FILTERED); 1_000];
    let repeated = vec![(10, 3); 1_000];
    let sparse = vec![(3_600_000, 0); 1_000];
    for shape in [aligned, session] {
        for (log, back) in [
            (&distinct, 200),
            (&filtered, 200),
            (&repeated, 200),
            (&sparse, 3),
        ] {
            let position = committed(log, shape, Silence::None);
            let key = log[0].1;
            assert!(
                (1_000 - back..1_000).contains(&position),
                "{key} {shape:?}: {position}"
            );
            let position = committed(log, shape, Silence::Retired);
            assert_eq!(position, 1_000, "{key} {shape:?}, not waited for any more");
        }
    }
}
