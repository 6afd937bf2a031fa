//! Sessions against a model of them.

use super::*;

/// Sessions of one partition, each with its records' number and sum, in the order of time.
pub(super) fn session_model(rules: &Rules, gap_ms: i64, records: &[Given]) -> (Table, usize) {
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

/// Records of a group and a time each.
fn given(times_s: &[(u8, i64)]) -> Vec<Given> {
    let given = |(group, time_s): &(u8, i64)| Given {
        partition: 0,
        time_s: *time_s,
        group: *group,
    };
    times_s.iter().map(given).collect()
}

/// Sent and committed after `read` records: what is forgotten then is late all the same.
fn assert_as_the_model(read: usize, gap_ms: i64, times_s: &[(u8, i64)]) {
    let shape = Shape::Session { gap_ms };
    let rules = Rules {
        shape,
        ..rules(1, 1, 0, 0)
    };
    let records = given(times_s);
    let (expected, late_records) = session_model(&rules, gap_ms, &records);
    assert_eq!(
        late_records, 1,
        "the last record comes near a closed session"
    );
    let mut sessions = SessionWorld::new(&rules, &records);
    for _ in 0..read {
        sessions.does(Happening::Read(0));
    }
    sessions.does(Happening::Send);
    sessions.does(Happening::Commit);
    sessions.finish();
    assert_eq!(
        without_versions(&sessions.living()),
        without_versions(&expected)
    );
    assert_eq!(sessions.late.len(), late_records);
}

#[test]
fn an_open_session_that_grows_towards_the_past_meets_the_closed_one_before_it() {
    let by_two_steps = [
        (0, 966),
        (0, 1007),
        (0, 1020),
        (0, 1030),
        (0, 987),
        (0, 1042),
        (0, 986),
    ];
    assert_as_the_model(4, 20_000, &by_two_steps);
    let by_many = [
        (0, 966),
        (0, 1030),
        (0, 1049),
        (0, 1068),
        (0, 1011),
        (0, 995),
        (0, 987),
        (0, 980),
    ];
    assert_as_the_model(4, 20_000, &by_many);
}

#[test]
fn a_session_that_begins_behind_the_watermark_meets_the_closed_one_before_it() {
    assert_as_the_model(2, 20_000, &[(0, 966), (1, 1010), (0, 991), (0, 986)]);
    assert_as_the_model(2, 20_000, &[(0, 966), (1, 1025), (0, 1006), (0, 986)]);
}

#[test]
fn a_session_that_is_read_again_is_not_forgotten_before_the_records_behind_it_are() {
    let times_s = [
        (1, 1000),
        (0, 1020),
        (0, 1030),
        (1, 1033),
        (0, 1040),
        (1, 1020),
        (0, 1060),
    ];
    let gap_ms = 20_000;
    let shape = Shape::Session { gap_ms };
    let rules = Rules {
        shape,
        ..rules(1, 1, 0, 0)
    };
    let records = given(&times_s);
    let (expected, _) = session_model(&rules, gap_ms, &records);
    let mut sessions = SessionWorld::new(&rules, &records);
    let read = |count| std::iter::repeat_n(Happening::Read(0), count);
    let sent = [Happening::Send, Happening::Commit];
    let happenings = read(7).chain(sent).chain([Happening::Die]);
    for happening in happenings.chain(read(2)).chain(sent) {
        sessions.does(happening);
    }
    sessions.finish();
    assert_eq!(
        without_versions(&sessions.living()),
        without_versions(&expected)
    );
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
        let collected = self.windows.collect(all, |row| {
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
        collected.expect("nothing is on disk");
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
            Happening::Spill => self.windows.spill().expect("sessions stay in memory"),
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
