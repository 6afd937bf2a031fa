//! Windows against a model that keeps every record and knows nothing of order, silence or crashes.

mod by_hand;
mod cut;
mod edges;
mod sessions;
mod spilled;

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use ethnum::I256;
use proptest::prelude::*;

use super::spill::InMemory;
use super::*;
use crate::progress::CommitPoint;

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
    /// Memory is full, if there is a disk.
    Spill,
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
    has_disk: bool,
    /// Whatever is written is gathered.
    is_disk_full: bool,
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
    fn new(rules: &Rules, log: &'l [Vec<Given>], disk: [bool; 2]) -> World<'l> {
        let [has_disk, is_disk_full] = disk;
        let mut world = World {
            windows: Windows::new(rules.clone(), 1),
            rules: rules.clone(),
            has_disk,
            is_disk_full,
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
        if self.has_disk {
            let windows = Windows::new(self.rules.clone(), 1);
            let store = InMemory {
                is_half_full: self.is_disk_full,
                ..InMemory::default()
            };
            self.windows = windows.spilling_to(Box::new(store));
        }
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
        let collected = self.windows.collect(all, |row| {
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
        collected.expect("a store in memory does not fail");
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
            Happening::Spill => self.windows.spill().expect("there is room"),
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
        2 => Just(Happening::Spill),
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
    /// commits are made, what is on disk, and wherever the process dies.
    #[test]
    fn table_and_topic_are_those_of_the_model(
        log in logs(),
        happenings in prop::collection::vec(happening(), 0..400),
        (size_s, slides) in (prop::sample::select(vec![10i64, 60]), 1i64..4),
        delay_s in prop::sample::select(vec![0i64, 5, 30]),
        lateness_s in prop::sample::select(vec![0i64, 20]),
        disk in any::<[bool; 2]>(),
    ) {
        let rules = rules(size_s * slides, size_s, delay_s, lateness_s);
        let (expected, late_records) = model(&rules, &log);
        let mut world = World::new(&rules, &log, disk);
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
    let collected = windows.collect(false, |row| {
        rows.push((row.start_ms / 1000, row.group.revision, row.is_final));
        ControlFlow::Continue(())
    });
    collected.expect("nothing is on disk");
    windows.settled();
    rows
}
