//! Windows against a model that keeps every record and knows nothing of order, silence or crashes.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ethnum::I256;
use proptest::prelude::*;

use super::*;
use crate::progress::CommitPoint;

mod edges;

/// A record: its partition, event time in seconds and group. Its number is drawn from its place.
#[derive(Debug, Clone, Copy)]
struct Given {
    partition: usize,
    time_s: i64,
    group: u8,
}

/// Something that happens between two records.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// The next record of this partition is read, if there is one.
    Read(usize),
    /// Rows that are due are sent, and acknowledged.
    Send,
    /// They are sent, and the process dies before it knows.
    SendAndDie,
    /// What is settled is committed.
    Commit,
    Die,
    /// A partition is taken for idle, or is not any more.
    Silent(usize, bool),
}

type Key = (i64, u8);

/// What a table would hold: version, count, sum, late records.
type Table = BTreeMap<Key, (u64, u64, i128, u64)>;

const PARTITIONS: usize = 3;

fn rules(size_s: i64, slide_s: i64, delay_s: i64, lateness_s: i64) -> Rules {
    Rules {
        shape: Shape::Aligned {
            size_ms: size_s * 1000,
            slide_ms: slide_s * 1000,
        },
        watermark_delay_ms: delay_s * 1000,
        lateness_ms: lateness_s * 1000,
        cells: vec![CellRules::Sum, CellRules::CountDistinct],
    }
}

fn number(given: Given, offset: usize) -> i128 {
    (given.partition * 1000 + offset) as i128
}

/// Every record, judged by the watermark of its own partition over the records before it.
fn model(rules: &Rules, log: &[Vec<Given>]) -> (Table, usize) {
    let Shape::Aligned { size_ms, slide_ms } = rules.shape else {
        panic!("sessions have a model of their own");
    };
    let (mut table, mut late_records) = (Table::new(), 0);
    for records in log {
        let mut watermark = i64::MIN;
        for (offset, given) in records.iter().enumerate() {
            let time_ms = given.time_s * 1000;
            let mut counted = false;
            let latest = time_ms.div_euclid(slide_ms) * slide_ms;
            let mut start = latest;
            while start > time_ms - size_ms {
                let end = start + size_ms;
                if watermark < end + rules.lateness_ms {
                    counted = true;
                    let row = table.entry((start, given.group)).or_default();
                    row.1 += 1;
                    row.2 += number(*given, offset);
                    row.3 += u64::from(watermark >= end);
                }
                start -= slide_ms;
            }
            late_records += usize::from(!counted);
            watermark = watermark.max(time_ms - rules.watermark_delay_ms);
        }
    }
    (table, late_records)
}

/// A process that reads the log, and what outlives it.
struct World<'l> {
    rules: Rules,
    log: &'l [Vec<Given>],
    windows: Windows,
    next: [usize; PARTITIONS],
    committed: [Option<CommitPoint>; PARTITIONS],
    /// By the highest version.
    table: Table,
    /// By the newest row.
    topic: Table,
    late: std::collections::BTreeSet<(usize, usize)>,
}

impl<'l> World<'l> {
    fn new(rules: &Rules, log: &'l [Vec<Given>]) -> World<'l> {
        let mut world = World {
            windows: Windows::new(rules.clone(), 1),
            rules: rules.clone(),
            log,
            next: [0; PARTITIONS],
            committed: [None; PARTITIONS],
            table: Table::new(),
            topic: Table::new(),
            late: std::collections::BTreeSet::new(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.windows = Windows::new(self.rules.clone(), 1);
        for partition in 0..PARTITIONS {
            let point = self.committed[partition];
            let position = point.map_or(0, |point| point.position);
            let frontier = point.and_then(|point| point.frontier.windows());
            self.windows.begin(partition, position, frontier, 0, false);
            self.next[partition] = usize::try_from(position).unwrap();
        }
    }

    fn read(&mut self, partition: usize) {
        let offset = self.next[partition];
        let Some(given) = self.log[partition].get(offset) else {
            return;
        };
        let place = Place {
            time_ms: given.time_s * 1000,
            partition: i32::try_from(partition).unwrap(),
            offset: i64::try_from(offset).unwrap(),
        };
        let number = number(*given, offset);
        let samples = [
            Sample::Number(number),
            Sample::Integer(u64::try_from(number).unwrap()),
        ];
        let verdict = self.windows.add(&Event {
            input: partition,
            place,
            group: &[given.group],
            samples: &samples,
            texts: &[],
        });
        match verdict {
            Verdict::Late => {
                self.late.insert((partition, offset));
            }
            Verdict::Counted | Verdict::Decided => {}
        }
        self.next[partition] += 1;
        let next = i64::try_from(self.next[partition]).unwrap();
        self.windows.note_read(partition, next);
    }

    fn send(&mut self, all: bool, limit: usize) {
        let (table, topic) = (&mut self.table, &mut self.topic);
        let mut sent = 0;
        self.windows.collect(all, |row| {
            let Cell::Sum { sum, count } = row.group.cells[0] else {
                panic!("the first metric is a sum");
            };
            let Cell::Distinct(distinct) = &row.group.cells[1] else {
                panic!("the second counts distinct values");
            };
            assert_eq!(distinct.len(), count, "every number is another");
            assert_eq!(
                row.version,
                row.group.revision * 2 + u64::from(row.is_final)
            );
            let key = (row.start_ms, row.group.key[0]);
            let value = (row.version, count, sum.as_i128(), row.group.late_count);
            let held = table.entry(key).or_default();
            *held = (*held).max(value);
            topic.insert(key, value);
            sent += 1;
            if sent < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }

    fn commit(&mut self) {
        for partition in 0..PARTITIONS {
            let settled = i64::try_from(self.next[partition]).unwrap();
            let point = self.windows.commit_point(partition, settled);
            let before = self.committed[partition].map_or(0, |point| point.position);
            assert!(before <= point.position && point.position <= settled);
            self.committed[partition] = Some(point);
        }
    }

    fn does(&mut self, happening: Happening) {
        match happening {
            Happening::Read(partition) => self.read(partition),
            Happening::Send => {
                self.send(false, 3);
                self.windows.settled();
            }
            Happening::SendAndDie => {
                self.send(false, 3);
                self.start();
            }
            Happening::Commit => self.commit(),
            Happening::Die => self.start(),
            Happening::Silent(partition, is_idle) => {
                let silence = if is_idle {
                    Silence::Idle
                } else {
                    Silence::None
                };
                self.windows.note_silence(partition, silence, 0);
            }
        }
    }

    fn finish(&mut self) {
        for partition in 0..PARTITIONS {
            while self.next[partition] < self.log[partition].len() {
                self.read(partition);
            }
        }
        self.send(true, usize::MAX);
        self.windows.settled();
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let partition = 0..PARTITIONS;
    prop_oneof![
        20 => partition.clone().prop_map(Happening::Read),
        3 => Just(Happening::Send),
        1 => Just(Happening::SendAndDie),
        2 => Just(Happening::Commit),
        1 => Just(Happening::Die),
        1 => (partition, any::<bool>()).prop_map(|(p, idle)| Happening::Silent(p, idle)),
    ]
}

fn logs() -> impl Strategy<Value = Vec<Vec<Given>>> {
    // Times that move on, with some that lag far behind.
    let step = (
        0i64..8,
        prop_oneof![4 => Just(0i64), 1 => 0i64..120],
        0u8..3,
    );
    let partition = prop::collection::vec(step, 0..60);
    prop::collection::vec(partition, PARTITIONS).prop_map(|partitions| {
        let numbered = partitions.into_iter().enumerate();
        let log = numbered.map(|(partition, steps)| {
            let mut now_s = 1000;
            let record = |(step, lag, group): (i64, i64, u8)| {
                now_s += step;
                Given {
                    partition,
                    time_s: now_s - lag,
                    group,
                }
            };
            steps.into_iter().map(record).collect()
        });
        log.collect()
    })
}

fn without_versions(table: &Table) -> Vec<(Key, (u64, i128, u64))> {
    let row = |(key, row): (&Key, &(u64, u64, i128, u64))| (*key, (row.1, row.2, row.3));
    table.iter().map(row).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever the order in which partitions are read, who is taken for idle, when rows are sent and
    /// commits are made, and wherever the process dies.
    #[test]
    fn table_and_topic_are_those_of_the_model(
        log in logs(),
        happenings in prop::collection::vec(happening(), 0..400),
        (size_s, slides) in (prop::sample::select(vec![10i64, 60]), 1i64..4),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
        lateness_s in prop::sample::select(vec![0i64, 20]),
    ) {
        let rules = rules(size_s * slides, size_s, delay_s, lateness_s);
        let (expected, late_records) = model(&rules, &log);
        let mut world = World::new(&rules, &log);
        for happening in happenings {
            world.does(happening);
        }
        world.finish();
        let expected = without_versions(&expected);
        prop_assert_eq!(without_versions(&world.table), &expected[..]);
        prop_assert_eq!(without_versions(&world.topic), &expected[..]);
        prop_assert_eq!(world.late.len(), late_records);
    }
}

/// One partition, one group, sums alone.
fn small(lateness_s: i64) -> Windows {
    let mut rules = rules(60, 60, 10, lateness_s);
    rules.cells = vec![CellRules::Sum];
    let mut windows = Windows::new(rules, 1);
    windows.begin(0, 0, None, 0, false);
    windows
}

fn add(windows: &mut Windows, offset: i64, time_s: i64, number: i128) -> Verdict {
    windows.add(&Event {
        input: 0,
        place: Place {
            time_ms: time_s * 1000,
            partition: 0,
            offset,
        },
        group: b"g",
        samples: &[Sample::Number(number)],
        texts: &[],
    })
}

/// Start in seconds, revision, whether it is final.
fn sent(windows: &mut Windows) -> Vec<(i64, u64, bool)> {
    let mut rows = vec![];
    windows.collect(false, |row| {
        rows.push((row.start_ms / 1000, row.group.revision, row.is_final));
        ControlFlow::Continue(())
    });
    windows.settled();
    rows
}

#[test]
fn a_window_is_sent_at_its_end_then_corrected_then_closed() {
    let mut windows = small(60);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 69, 1);
    assert_eq!(sent(&mut windows), []);
    add(&mut windows, 2, 70, 1);
    assert_eq!(
        sent(&mut windows),
        [(0, 1, false)],
        "70 - 10 has reached 60"
    );
    assert_eq!(sent(&mut windows), []);
    add(&mut windows, 3, 59, 1);
    assert_eq!(sent(&mut windows), [(0, 2, false)]);
    add(&mut windows, 4, 130, 1);
    assert_eq!(sent(&mut windows), [(0, 2, true), (60, 2, false)]);
    assert_eq!(add(&mut windows, 5, 59, 1), Verdict::Late);
}

#[test]
fn without_lateness_the_first_row_is_the_last() {
    let mut windows = small(0);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 70, 1);
    assert_eq!(sent(&mut windows), [(0, 1, true)]);
    assert_eq!(add(&mut windows, 2, 59, 1), Verdict::Late);
}

#[test]
fn an_idle_partition_lets_the_last_window_go_and_a_retired_one_closes_it() {
    let mut windows = small(60);
    add(&mut windows, 0, 0, 1);
    windows.note_silence(0, Silence::Idle, 1);
    assert_eq!(sent(&mut windows), [(0, 1, false)]);
    add(&mut windows, 1, 1, 1);
    assert_eq!(sent(&mut windows), [(0, 2, false)], "it still counts");
    windows.note_silence(0, Silence::Retired, 2);
    assert_eq!(sent(&mut windows), [(0, 2, true)]);
    assert_eq!(add(&mut windows, 2, 2, 1), Verdict::Late);
    let point = windows.commit_point(0, 3);
    assert_eq!(point.position, 3);
}

#[test]
fn a_partition_that_never_spoke_holds_windows_back_until_it_is_idle() {
    let mut windows = small(0);
    windows.begin(1, 0, None, 0, false);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 500, 1);
    assert_eq!(sent(&mut windows), []);
    windows.note_silence(1, Silence::Idle, 0);
    assert_eq!(
        sent(&mut windows),
        [(0, 1, false)],
        "the other may still speak"
    );
}

#[test]
fn a_sum_is_exact_however_far_it_goes_on_the_way() {
    let mut windows = small(0);
    for (offset, number) in (0..).zip([i128::MAX, i128::MAX, 7, -i128::MAX, -i128::MAX, i128::MIN])
    {
        assert_eq!(add(&mut windows, offset, 0, number), Verdict::Counted);
    }
    add(&mut windows, 6, 100, 1);
    let mut sums = vec![];
    windows.collect(false, |row| {
        sums.extend(row.group.cells.iter().map(|cell| match cell {
            Cell::Sum { sum, count } => (*sum, *count),
            other => panic!("{other:?} is no sum"),
        }));
        ControlFlow::Continue(())
    });
    assert_eq!(sums, [(I256::from(7) + I256::from(i128::MIN), 6)]);
}

#[test]
fn records_of_open_windows_hold_the_commit_back() {
    let mut windows = small(0);
    add(&mut windows, 0, 0, 1);
    add(&mut windows, 1, 60, 1);
    add(&mut windows, 2, 1, 1);
    windows.note_read(0, 3);
    assert_eq!(windows.commit_point(0, 3).position, 0);
    add(&mut windows, 3, 70, 1);
    windows.note_read(0, 4);
    let mut rows = 0;
    windows.collect(false, |_| {
        rows += 1;
        ControlFlow::Continue(())
    });
    assert_eq!(rows, 1);
    assert_eq!(
        windows.commit_point(0, 4).position,
        0,
        "not acknowledged yet"
    );
    windows.settled();
    let point = windows.commit_point(0, 4);
    assert_eq!(point.position, 1);
    let frontier = point.frontier.windows().expect("of windows");
    assert_eq!(frontier.largest_ms, Some(0));
    assert_eq!(frontier.closed_through_ms, Some(60_000));
    assert_eq!(frontier.read_to, 4);
}

#[test]
fn memory_is_given_back_with_the_windows() {
    let mut windows = small(0);
    assert_eq!(windows.memory_bytes(), 0);
    add(&mut windows, 0, 0, 1);
    let one = windows.memory_bytes();
    assert!(one > 0);
    add(&mut windows, 1, 100, 1);
    assert_eq!(windows.memory_bytes(), one * 2);
    sent(&mut windows);
    assert_eq!(windows.memory_bytes(), one);
}

/// Sessions of one partition, each with its records' number and sum, in the order of time.
fn session_model(rules: &Rules, gap_ms: i64, records: &[Given]) -> (Table, usize) {
    struct Model {
        first: i64,
        last: i64,
        count: u64,
        sum: i128,
        late: u64,
    }
    let (mut open, mut table, mut late_records) = (Vec::<(u8, Model)>::new(), Table::new(), 0);
    let mut closed = Vec::<(u8, i64)>::new();
    let mut watermark = i64::MIN;
    let write = |table: &mut Table, group: u8, m: &Model| {
        table.insert((m.first, group), (0, m.count, m.sum, m.late));
    };
    for (offset, given) in records.iter().enumerate() {
        let time = given.time_s * 1000;
        open.retain(|(group, m)| {
            let is_over = watermark >= m.last + gap_ms + rules.lateness_ms;
            if is_over {
                write(&mut table, *group, m);
                closed.push((*group, m.last));
            }
            !is_over
        });
        let is_reached = |(group, last): &(u8, i64)| *group == given.group && time <= last + gap_ms;
        if closed.iter().any(is_reached) {
            late_records += 1;
            watermark = watermark.max(time - rules.watermark_delay_ms);
            continue;
        }
        let is_near = |(group, m): &mut (u8, Model)| {
            *group == given.group && time >= m.first - gap_ms && time <= m.last + gap_ms
        };
        let mut all = Model {
            first: time,
            last: time,
            count: 1,
            sum: number(*given, offset),
            late: 0,
        };
        for (_, m) in open.extract_if(.., is_near) {
            all.first = all.first.min(m.first);
            all.last = all.last.max(m.last);
            all.count += m.count;
            all.sum += m.sum;
            all.late += m.late;
        }
        if watermark >= all.last + gap_ms + rules.lateness_ms {
            late_records += 1;
        } else {
            all.late += u64::from(watermark >= all.last + gap_ms);
            open.push((given.group, all));
        }
        watermark = watermark.max(time - rules.watermark_delay_ms);
    }
    for (group, m) in &open {
        write(&mut table, *group, m);
    }
    (table, late_records)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// As above, for sessions; rows of beginnings that have moved are deleted.
    #[test]
    fn sessions_are_those_of_their_model(
        log in logs(),
        happenings in prop::collection::vec(happening(), 0..300),
        gap_s in prop::sample::select(vec![1i64, 5, 20]),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
        lateness_s in prop::sample::select(vec![0i64, 20]),
    ) {
        let gap_ms = gap_s * 1000;
        let rules = Rules { shape: Shape::Session { gap_ms }, ..rules(1, 1, delay_s, lateness_s) };
        let records = &log[0];
        let (expected, late_records) = session_model(&rules, gap_ms, records);
        let mut sessions = SessionWorld::new(&rules, records);
        for happening in happenings {
            sessions.does(happening);
        }
        sessions.finish();
        let expected = without_versions(&expected);
        prop_assert_eq!(without_versions(&sessions.living()), &expected[..]);
        prop_assert_eq!(without_versions(&sessions.topic), &expected[..]);
        prop_assert_eq!(sessions.late.len(), late_records);
    }
}

/// Version, whether it is deleted, the row.
type Held = (u64, bool, (u64, u64, i128, u64));

/// As [`World`], of one partition.
struct SessionWorld<'l> {
    rules: Rules,
    records: &'l [Given],
    windows: Windows,
    next: usize,
    /// How far any process has ever read.
    ever_read: usize,
    committed: Option<CommitPoint>,
    table: BTreeMap<Key, Held>,
    topic: Table,
    late: std::collections::BTreeSet<usize>,
}

impl<'l> SessionWorld<'l> {
    fn new(rules: &Rules, records: &'l [Given]) -> SessionWorld<'l> {
        let mut world = SessionWorld {
            windows: Windows::new(rules.clone(), 1),
            rules: rules.clone(),
            records,
            next: 0,
            ever_read: 0,
            committed: None,
            table: BTreeMap::new(),
            topic: Table::new(),
            late: std::collections::BTreeSet::new(),
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.windows = Windows::new(self.rules.clone(), 1);
        let position = self.committed.map_or(0, |point| point.position);
        let frontier = self.committed.and_then(|point| point.frontier.windows());
        let log_end = i64::try_from(self.ever_read).unwrap();
        self.windows.begin(0, position, frontier, log_end, false);
        self.next = usize::try_from(position).unwrap();
    }

    fn read(&mut self) {
        let offset = self.next;
        let Some(given) = self.records.get(offset) else {
            return;
        };
        let number = number(*given, offset);
        let event = Event {
            input: 0,
            place: Place {
                time_ms: given.time_s * 1000,
                partition: 0,
                offset: i64::try_from(offset).unwrap(),
            },
            group: &[given.group],
            samples: &[Sample::Number(number), Sample::Integer(offset as u64)],
            texts: &[],
        };
        if self.windows.add(&event) == Verdict::Late {
            self.late.insert(offset);
        }
        self.next += 1;
        self.ever_read = self.ever_read.max(self.next);
        self.windows.note_read(0, i64::try_from(self.next).unwrap());
    }

    fn send(&mut self, all: bool, limit: usize) {
        let (table, topic) = (&mut self.table, &mut self.topic);
        let mut sent = 0;
        self.windows.collect(all, |row| {
            let Cell::Sum { sum, count } = row.group.cells[0] else {
                panic!("the first metric is a sum");
            };
            let Cell::Distinct(distinct) = &row.group.cells[1] else {
                panic!("the second counts distinct values");
            };
            assert_eq!((distinct.len(), row.group.revision), (count, count));
            let key = (row.start_ms, row.group.key[0]);
            let value = (row.version, count, sum.as_i128(), row.group.late_count);
            let held = table.entry(key).or_insert((0, false, value));
            if row.version >= held.0 {
                *held = (row.version, row.is_deleted, value);
            }
            if row.is_deleted {
                topic.remove(&key);
            } else {
                topic.insert(key, value);
            }
            sent += 1;
            if sent < limit {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        });
    }

    fn does(&mut self, happening: Happening) {
        match happening {
            Happening::Read(_) => self.read(),
            Happening::Send => {
                self.send(false, 3);
                self.windows.settled();
            }
            Happening::SendAndDie => {
                self.send(false, 3);
                self.start();
            }
            Happening::Commit => {
                let settled = i64::try_from(self.next).unwrap();
                let point = self.windows.commit_point(0, settled);
                let before = self.committed.map_or(0, |point| point.position);
                assert!(before <= point.position && point.position <= settled);
                self.committed = Some(point);
            }
            Happening::Die => self.start(),
            Happening::Silent(_, is_idle) => {
                let silence = if is_idle {
                    Silence::Idle
                } else {
                    Silence::None
                };
                self.windows.note_silence(0, silence, 0);
            }
        }
    }

    fn finish(&mut self) {
        while self.next < self.records.len() {
            self.read();
        }
        self.send(true, usize::MAX);
        self.windows.settled();
    }

    fn living(&self) -> Table {
        let living = self.table.iter().filter(|(_, row)| !row.1);
        living.map(|(key, row)| (*key, row.2)).collect()
    }
}
