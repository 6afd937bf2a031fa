//! A join against a model that keeps every record and knows nothing of order, silence or crashes.

mod edges;
mod model;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use proptest::prelude::*;

use self::model::{best, candidates, lateness, model};
use super::*;
use crate::progress::CommitPoint;

/// A record of either side. Of the left all have a value.
#[derive(Debug, Clone, Copy)]
struct Given {
    time_ms: i64,
    key: Option<u8>,
    is_tombstone: bool,
}

/// Something that happens to a process that reads both sides.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// So many records are read; whether it is noted that they have been.
    Read(Side, usize, bool),
    /// Decisions are asked for, until there are so many.
    Decide(usize),
    /// What was handed out and both commit points become durable together; so many records of each side
    /// are not settled.
    Commit(usize, usize),
    /// What was handed out since is lost.
    Die,
    /// A side is taken for idle, or is not any more.
    Silent(Side, bool),
}

/// A decided event: its offset, that of its match, and whether it was late.
type Row = (i64, Option<i64>, bool);

/// Offsets have gaps.
const STEP: usize = 3;

fn offset(index: usize) -> i64 {
    i64::try_from(index * STEP).unwrap()
}

/// Both sides' records.
type Logs = [Vec<Given>; 2];

/// A process that reads both sides, and what outlives it.
struct World<'l> {
    rules: Rules,
    logs: &'l Logs,
    join: Join,
    /// The record that is read next, of each side.
    next: [usize; 2],
    /// Where reading began, and how far what was read is settled.
    settled: [i64; 2],
    committed: [Option<CommitPoint>; 2],
    durable: Vec<Row>,
    handed_out: Vec<Row>,
}

const SIDES: [Side; 2] = [Side::Left, Side::Right];

impl<'l> World<'l> {
    fn new(rules: Rules, logs: &'l Logs) -> World<'l> {
        let mut world = World {
            rules,
            logs,
            join: Join::new(rules, 1),
            next: [0; 2],
            settled: [0; 2],
            committed: [None; 2],
            durable: vec![],
            handed_out: vec![],
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.handed_out.clear();
        self.join = Join::new(self.rules, 1);
        for side in SIDES {
            let point = self.committed[side as usize];
            let position = point.map_or(0, |point| point.position);
            let frontier = point.and_then(|point| point.frontier.join());
            self.join.begin(side, position, frontier);
            self.settled[side as usize] = position;
            self.next[side as usize] = usize::try_from(position).unwrap().div_ceil(STEP);
        }
        let right = &self.logs[1];
        if !right.is_sorted_by_key(|given| given.time_ms) {
            self.join.load(offset(right.len()));
        }
    }

    /// One record; false at the end of the log.
    fn read_one(&mut self, side: Side) -> bool {
        let index = self.next[side as usize];
        let Some(given) = self.logs[side as usize].get(index) else {
            return false;
        };
        self.next[side as usize] += 1;
        let key = given.key.as_ref().map(std::slice::from_ref);
        let payload = offset(index).to_be_bytes();
        let (offset, time_ms) = (offset(index), given.time_ms);
        match side {
            Side::Left => self.join.left(LeftEvent {
                offset,
                time_ms,
                key,
                payload: &payload,
            }),
            Side::Right => self.join.right(RightRecord {
                offset,
                time_ms,
                key,
                payload: (!given.is_tombstone).then_some(&payload),
            }),
        };
        true
    }

    fn read(&mut self, side: Side, count: usize, is_noted: bool) {
        let mut was_read = false;
        for _ in 0..count {
            was_read |= self.read_one(side);
        }
        if was_read && is_noted {
            let next = offset(self.next[side as usize] - 1) + 1;
            self.join.note_read(side, next);
        }
    }

    fn decide(&mut self, limit: usize) -> bool {
        let rows = &mut self.handed_out;
        let mut count = 0;
        self.join.decide(false, |joined| {
            let offset = |bytes: &[u8]| i64::from_be_bytes(bytes.try_into().unwrap());
            assert_eq!(offset(joined.left), joined.offset);
            assert_eq!(joined.right.is_some(), joined.outcome == Outcome::Matched);
            let is_late = joined.outcome == Outcome::Late;
            rows.push((joined.offset, joined.right.map(offset), is_late));
            count += 1;
            if count >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
    }

    fn commit(&mut self, unsettled: [usize; 2]) {
        for side in SIDES {
            let index = self.next[side as usize].saturating_sub(unsettled[side as usize]);
            let settled = offset(index).max(self.settled[side as usize]);
            self.settled[side as usize] = settled;
            let point = self.join.commit_point(side, settled);
            let before = self.committed[side as usize].map_or(0, |point| point.position);
            assert!(before <= point.position && point.position <= settled);
            self.committed[side as usize] = Some(point);
        }
        self.durable.append(&mut self.handed_out);
    }

    fn does(&mut self, happening: Happening) {
        match happening {
            Happening::Read(side, count, is_noted) => self.read(side, count, is_noted),
            Happening::Decide(limit) => {
                self.decide(limit);
            }
            Happening::Commit(left, right) => self.commit([left, right]),
            Happening::Die => self.start(),
            Happening::Silent(side, is_idle) => {
                let index = self.next[side as usize];
                let seen_to = offset(index).max(self.settled[side as usize]);
                self.join.note_silence(side, is_idle, seen_to);
            }
        }
    }

    /// Both sides end, and have nothing more to say.
    fn finish(&mut self) {
        for side in SIDES {
            self.read(side, self.logs[side as usize].len(), true);
            let end = offset(self.logs[side as usize].len());
            self.join
                .note_silence(side, true, end.max(self.settled[side as usize]));
        }
        while !self.decide(3) {}
        assert!(self.decide(usize::MAX));
        self.commit([0, 0]);
        assert_eq!(self.join.buffered(Side::Left), 0);
        let end = offset(self.logs[0].len());
        assert_eq!(self.committed[0].unwrap().position, end);
    }

    fn rows(&self) -> BTreeMap<i64, Row> {
        let rows: BTreeMap<i64, Row> = self.durable.iter().map(|row| (row.0, *row)).collect();
        assert_eq!(rows.len(), self.durable.len(), "twice: {:?}", self.durable);
        rows
    }
}

fn happening(has_silence: bool) -> impl Strategy<Value = Happening> {
    let side = prop::sample::select(SIDES.to_vec());
    let read = (side.clone(), 1usize..9, prop::bool::weighted(0.8));
    let unsettled = prop_oneof![3 => Just(0usize), 1 => 0usize..20];
    let silence = if has_silence { 2 } else { 0 };
    prop_oneof![
        10 => read.prop_map(|(side, count, is_noted)| Happening::Read(side, count, is_noted)),
        6 => (1usize..6).prop_map(Happening::Decide),
        4 => (unsettled.clone(), unsettled).prop_map(|(l, r)| Happening::Commit(l, r)),
        1 => Just(Happening::Die),
        silence => (side, any::<bool>()).prop_map(|(side, idle)| Happening::Silent(side, idle)),
    ]
}

/// Times that move on, with some that lag behind, a few of them far.
fn log(tombstones: u32) -> impl Strategy<Value = Vec<Given>> {
    let lag = prop_oneof![3 => Just(0i64), 3 => 0i64..9, 1 => 0i64..60];
    let key = prop::option::weighted(0.95, 0u8..3);
    let is_tombstone = prop_oneof![9 - tombstones => Just(false), tombstones => Just(true)];
    let record = (0i64..8, lag, key, is_tombstone);
    prop::collection::vec(record, 0..70).prop_map(|records| {
        let mut now_s = 1000;
        let given = |(step, lag, key, is_tombstone)| {
            now_s += step;
            Given {
                time_ms: (now_s - lag) * 1000,
                key,
                is_tombstone,
            }
        };
        records.into_iter().map(given).collect()
    })
}

fn logs() -> impl Strategy<Value = (Option<i64>, Logs)> {
    let limited = (prop::sample::select(vec![0i64, 5, 20]), log(0), log(0));
    let limited = limited.prop_map(|(before_s, l, r)| (Some(before_s * 1000), [l, r]));
    let unlimited = (log(0), log(2), any::<bool>()).prop_map(|(l, mut r, in_order)| {
        if in_order {
            r.sort_by_key(|given| given.time_ms);
        }
        (None, [l, r])
    });
    prop_oneof![1 => limited, 1 => unlimited]
}

fn rules(is_eager: bool, before_ms: Option<i64>, after_s: i64, delay_s: i64) -> Rules {
    Rules {
        is_eager,
        before_ms,
        after_ms: after_s * 1000,
        watermark_delay_ms: delay_s * 1000,
    }
}

fn lived<'l>(rules: Rules, logs: &'l Logs, happenings: &[Happening]) -> World<'l> {
    let mut world = World::new(rules, logs);
    for happening in happenings {
        world.does(*happening);
    }
    world.finish();
    world
}

/// Late events are told as late, each event is there once, and matches are matches.
fn assert_valid(world: &World<'_>) {
    let (rules, logs) = (&world.rules, world.logs);
    let rows = world.rows();
    assert_eq!(rows.len(), logs[0].len(), "one row for every event");
    let is_late = lateness(rules, &logs[0]);
    for (index, event) in logs[0].iter().enumerate() {
        let (_, found, was_late) = rows[&offset(index)];
        assert_eq!(was_late, is_late[index], "event {index}");
        if let Some(found) = found {
            let found = usize::try_from(found).unwrap() / STEP;
            let near = candidates(rules, logs, event);
            assert!(near.contains(&found) && !logs[1][found].is_tombstone);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the order in which the sides are read, when decisions are asked for, what is committed
    /// when, and wherever the process dies.
    #[test]
    fn on_watermark_rows_are_those_of_the_model_in_the_order_of_time(
        (before_ms, logs) in logs(),
        happenings in prop::collection::vec(happening(false), 0..120),
        after_s in prop::sample::select(vec![0i64, 5, 20]),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
    ) {
        let rules = rules(false, before_ms, after_s, delay_s);
        let world = lived(rules, &logs, &happenings);
        prop_assert_eq!(world.rows(), model(&rules, &logs));
        let in_time = world.durable.iter().filter(|(.., is_late)| !is_late);
        let places: Vec<(i64, i64)> = in_time
            .map(|row| (logs[0][usize::try_from(row.0).unwrap() / STEP].time_ms, row.0))
            .collect();
        prop_assert!(places.is_sorted(), "{:?}", places);
    }

    /// An event without match had none among all right records; one that ended may have been in the way.
    #[test]
    fn an_eager_row_has_a_match_where_there_is_one(
        (before_ms, logs) in logs(),
        happenings in prop::collection::vec(happening(false), 0..120),
        after_s in prop::sample::select(vec![0i64, 5, 20]),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
    ) {
        let rules = rules(true, before_ms, after_s, delay_s);
        let world = lived(rules, &logs, &happenings);
        assert_valid(&world);
        let rows = world.rows();
        for (index, event) in logs[0].iter().enumerate() {
            let (_, found, is_late) = rows[&offset(index)];
            if found.is_some() || is_late {
                continue;
            }
            let near = candidates(&rules, &logs, event);
            let has_ended = near.iter().any(|i| {
                logs[1][*i].is_tombstone && logs[1][*i].time_ms <= event.time_ms
            });
            prop_assert!(has_ended || best(&rules, &logs, event).is_none(), "event {}", index);
        }
    }

    /// Silence that was none costs matches, never an event.
    #[test]
    fn each_event_has_one_row_whoever_is_taken_for_idle(
        (before_ms, logs) in logs(),
        happenings in prop::collection::vec(happening(true), 0..120),
        after_s in prop::sample::select(vec![0i64, 5, 20]),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
        is_eager: bool,
    ) {
        let rules = rules(is_eager, before_ms, after_s, delay_s);
        assert_valid(&lived(rules, &logs, &happenings));
    }
}
