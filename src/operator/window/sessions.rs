//! Session windows: of one partition, because the records of a group must meet.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use foldhash::fast::RandomState;

use super::cell::CellRules;
use super::input::Input;
use super::pane::{First, Group, Row};
use super::{Event, Rules, Silence, Verdict, distinct};
use crate::progress::{CommitPoint, Frontier, WindowFrontier};

/// Records of one group, none further from the next than the gap.
#[derive(Debug)]
struct Session {
    /// Event times of the first and the last record.
    first_ms: i64,
    last_ms: i64,
    group: Group,
    /// The first record in the log.
    first: First,
    /// Offset of the last one, and of the one by which it begins where it does.
    last_offset: i64,
    start_offset: i64,
    /// Where it began before that moved, or what was merged into it: rows that may have been sent.
    retracted: Vec<i64>,
    is_closed: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sessions {
    rules: Rules,
    gap_ms: i64,
    fingerprint: u32,
    seed: u64,
    input: Option<Input>,
    /// Those of a group in the order of time.
    groups: HashMap<Box<[u8]>, Vec<Session>, RandomState>,
    /// When closed sessions closed whose last rows are sent, and their first records: kept until it is
    /// told that all of that time are closed, or whoever comes next would take what is left of one for
    /// another session.
    leaving: Vec<(i64, First)>,
    closed_through_ms: Option<i64>,
    /// The last that was to be told.
    told_ms: Option<i64>,
    settled_through_ms: Option<i64>,
    settled_read_to: i64,
    /// What closed, and how far had been read, when rows were sent last.
    sent: Option<(Option<i64>, i64)>,
    /// The same of rows that are durable, until all that was read by then is settled too: only then can
    /// whoever comes next tell that a late record was told.
    durable: VecDeque<(Option<i64>, i64)>,
    bytes: usize,
}

impl Sessions {
    pub(super) fn new(rules: Rules, gap_ms: i64, fingerprint: u32) -> Sessions {
        Sessions {
            rules,
            gap_ms,
            fingerprint,
            seed: distinct::random_seed(),
            input: None,
            groups: HashMap::default(),
            leaving: vec![],
            closed_through_ms: None,
            told_ms: None,
            settled_through_ms: None,
            settled_read_to: 0,
            sent: None,
            durable: VecDeque::new(),
            bytes: 0,
        }
    }

    pub(super) fn begin(
        &mut self,
        input: usize,
        position: i64,
        before: WindowFrontier,
        log_end: i64,
    ) {
        assert_eq!(input, 0, "sessions are of one partition");
        self.closed_through_ms = before.closed_through_ms;
        self.told_ms = before.closed_through_ms;
        self.settled_through_ms = before.closed_through_ms;
        self.settled_read_to = before.read_to.max(position);
        self.input = Some(Input::new(position, before, log_end));
    }

    fn input(&self) -> &Input {
        self.input
            .as_ref()
            .expect("only a partition that has begun is read")
    }

    fn input_mut(&mut self) -> &mut Input {
        self.input
            .as_mut()
            .expect("only a partition that has begun is read")
    }

    pub(super) fn add(&mut self, event: &Event<'_>) -> Verdict {
        let input = self.input();
        let watermark_ms = self.rules.watermark(input.largest_ms);
        let largest_before_ms = input.largest_ms;
        let is_past = event.place.offset < input.before.read_to;
        let perhaps_read_to = input.perhaps_read_to;
        let time_ms = event.place.time_ms;
        let (gap_ms, lateness_ms) = (self.gap_ms, self.rules.lateness_ms);
        let is_over = |last_ms: i64| {
            let closes_ms = last_ms.saturating_add(gap_ms).saturating_add(lateness_ms);
            watermark_ms.is_some_and(|watermark| watermark >= closes_ms)
        };
        let is_near = |session: &Session| {
            !session.is_closed
                && !is_over(session.last_ms)
                && time_ms >= session.first_ms.saturating_sub(gap_ms)
                && time_ms <= session.last_ms.saturating_add(gap_ms)
        };
        let sessions = self.groups.get(event.group).map_or(&[][..], |s| &s[..]);
        let near = sessions.iter().filter(|session| is_near(session));
        let last_ms = near.clone().map(|s| s.last_ms).fold(time_ms, i64::max);
        let is_alone = near.clone().next().is_none();
        let closes_ms = self.rules.closes(last_ms.saturating_add(gap_ms));
        let was_closed = self
            .closed_through_ms
            .is_some_and(|closed| closed >= closes_ms);
        if is_over(last_ms) && is_past {
            // Late, which was told, or of a session that was closed and is not all here.
            self.input_mut().observe(time_ms);
            return Verdict::Decided;
        }
        if is_over(last_ms) || is_alone && was_closed && !is_past {
            return Verdict::Late;
        }
        let sums = near.map(|session| &session.group);
        if let Some(metric) = overflow(&self.rules.cells, event, sums) {
            return Verdict::Overflow(metric);
        }
        let is_behind =
            watermark_ms.is_some_and(|watermark| watermark >= last_ms.saturating_add(gap_ms));
        let mut session = Session {
            first_ms: time_ms,
            last_ms: time_ms,
            group: Group::new(event.group, &self.rules.cells),
            first: First {
                offset: event.place.offset,
                largest_before_ms,
            },
            last_offset: event.place.offset,
            start_offset: event.place.offset,
            retracted: vec![],
            is_closed: false,
        };
        let sessions = self.groups.entry(event.group.into()).or_default();
        // Nearly always there is one, and it stays where it is.
        let mut index = 0;
        let mut place = None;
        while index < sessions.len() {
            if !is_near(&sessions[index]) {
                index += 1;
                continue;
            }
            let mut other = sessions.remove(index);
            self.bytes = self.bytes.saturating_sub(other.bytes());
            place.get_or_insert(index);
            if session.group.revision == 0 {
                let alone = std::mem::replace(&mut session, other);
                session.extend(&alone, perhaps_read_to);
            } else {
                session.take_in(&mut other, perhaps_read_to);
                let group = other.group;
                session.group.merge(&self.rules.cells, group, self.seed);
            }
        }
        session.group.late_count += u64::from(is_behind);
        session.group.add(&self.rules.cells, event, self.seed);
        session.last_offset = event.place.offset;
        self.bytes += session.bytes();
        let place = place.unwrap_or_else(|| {
            let is_before = |other: &Session| other.first_ms < session.first_ms;
            sessions.partition_point(is_before)
        });
        sessions.insert(place, session);
        self.input_mut().observe(time_ms);
        Verdict::Counted
    }

    pub(super) fn pass(&mut self, event: &Event<'_>) {
        self.input_mut().observe(event.place.time_ms);
    }

    pub(super) fn note_read(&mut self, _input: usize, next: i64) {
        self.input_mut().note_read(next);
    }

    pub(super) fn note_silence(&mut self, _input: usize, silence: Silence, read_to: i64) {
        self.input_mut().note_silence(silence, read_to);
    }

    pub(super) fn collect(
        &mut self,
        all: bool,
        mut take: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> bool {
        let input = self.input();
        let (before, read_to) = (input.before, input.read_to);
        let watermark_ms = self.rules.watermark(input.largest_ms);
        let (is_idle, is_retired) = match input.silence {
            Silence::None => (false, false),
            Silence::Idle => (true, false),
            Silence::Retired => (true, true),
        };
        let mut closed_through_ms = self.closed_through_ms;
        let mut is_all = true;
        for sessions in self.groups.values_mut() {
            let mut index = 0;
            while index < sessions.len() && is_all {
                let session = &mut sessions[index];
                let end_ms = session.last_ms.saturating_add(self.gap_ms);
                let closes_ms = self.rules.closes(end_ms);
                session.is_closed |= is_retired || watermark_ms >= Some(closes_ms);
                // Sent by whoever had the partition then; perhaps not all of it is here.
                let is_decided = session.last_offset < before.read_to
                    && before.closed_through_ms >= Some(closes_ms);
                let is_due = all || is_idle || watermark_ms >= Some(end_ms) || session.is_closed;
                if !is_decided {
                    is_all = session.send(end_ms, is_due, &mut take).is_continue();
                }
                if session.is_closed && is_all {
                    closed_through_ms = closed_through_ms.max(Some(closes_ms));
                    let session = sessions.remove(index);
                    self.bytes = self.bytes.saturating_sub(session.bytes());
                    self.leaving.push((closes_ms, session.first));
                } else {
                    index += 1;
                }
            }
        }
        self.groups.retain(|_, sessions| !sessions.is_empty());
        self.closed_through_ms = closed_through_ms;
        // Sessions do not close in the order of their ends: until all are sent, nothing is told.
        let told_ms = if is_all {
            closed_through_ms
        } else {
            self.told_ms
        };
        self.told_ms = told_ms;
        self.sent = Some((told_ms, read_to));
        is_all
    }

    pub(super) fn settled(&mut self) {
        self.durable.extend(self.sent.take());
    }

    pub(super) fn commit_point(&mut self, _input: usize, settled: i64) -> CommitPoint {
        while let Some((closed_through_ms, read_to)) = self
            .durable
            .pop_front_if(|(_, read_to)| *read_to <= settled)
        {
            self.settled_through_ms = closed_through_ms;
            self.settled_read_to = read_to;
            self.leaving
                .retain(|(closes_ms, _)| Some(*closes_ms) > closed_through_ms);
        }
        let frontier = |largest_ms| {
            Frontier::Windows(WindowFrontier {
                rules: self.fingerprint,
                largest_ms,
                closed_through_ms: self.settled_through_ms,
                read_to: self.settled_read_to,
                settled_to: settled,
            })
        };
        let open = self.groups.values().flatten().map(|session| &session.first);
        let leaving = self.leaving.iter().map(|(_, first)| first);
        let first = open
            .chain(leaving)
            .min_by_key(|first| first.offset)
            .copied();
        let input = self.input.as_mut();
        let input = input.expect("only a partition that has begun is committed");
        let (by_mark, largest_ms) = input.mark(settled);
        match first {
            Some(first) if first.offset <= by_mark => CommitPoint {
                position: first.offset,
                frontier: frontier(first.largest_before_ms),
            },
            _ => CommitPoint {
                position: by_mark,
                frontier: frontier(largest_ms),
            },
        }
    }

    pub(super) fn open_count(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }

    pub(super) fn open_span_ms(&self) -> Option<(i64, i64)> {
        let spans = self.groups.values().flatten();
        let spans = spans.map(|s| (s.first_ms, s.last_ms.saturating_add(self.gap_ms)));
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    pub(super) fn input_watermark_ms(&self, _input: usize) -> Option<i64> {
        self.rules.watermark(self.input().largest_ms)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

impl Session {
    /// What it takes of the memory.
    fn bytes(&self) -> usize {
        self.group.held_bytes()
            + size_of::<Session>()
            + self.group.key.len()
            + self.retracted.capacity() * 8
    }

    /// A row of where it begins may be out there: we have sent one, or somebody before us, who read this
    /// record too.
    fn is_perhaps_sent(&self, perhaps_read_to: i64) -> bool {
        self.group.sent_version > 0 || self.start_offset < perhaps_read_to
    }

    /// Reaches as far as a single record too, which is added later.
    fn extend(&mut self, alone: &Session, perhaps_read_to: i64) {
        self.last_ms = self.last_ms.max(alone.last_ms);
        if alone.first_ms < self.first_ms {
            if self.is_perhaps_sent(perhaps_read_to) {
                self.retracted.push(self.first_ms);
            }
            self.begins_as(alone);
        }
    }

    fn begins_as(&mut self, other: &Session) {
        self.first_ms = other.first_ms;
        self.start_offset = other.start_offset;
        self.group.sent_version = other.group.sent_version;
    }

    /// Takes in another session, which ends here, but for its group.
    fn take_in(&mut self, other: &mut Session, perhaps_read_to: i64) {
        if other.first_ms < self.first_ms {
            if self.is_perhaps_sent(perhaps_read_to) {
                self.retracted.push(self.first_ms);
            }
            self.begins_as(other);
        } else if other.first_ms > self.first_ms && other.is_perhaps_sent(perhaps_read_to) {
            self.retracted.push(other.first_ms);
        }
        self.last_ms = self.last_ms.max(other.last_ms);
        self.retracted.append(&mut other.retracted);
        if other.first.offset < self.first.offset {
            self.first = other.first;
        }
    }

    /// Hands out its row if it is due, and deletes rows of where it no longer begins.
    fn send(
        &mut self,
        end_ms: i64,
        is_due: bool,
        take: &mut impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let revision = self.group.revision;
        while let Some(start_ms) = self.retracted.pop() {
            if start_ms == self.first_ms {
                continue;
            }
            take(Row {
                start_ms,
                end_ms,
                group: &self.group,
                is_final: self.is_closed,
                is_deleted: true,
                version: revision * 2,
            })?;
        }
        let version = self.group.version(self.is_closed);
        if !is_due || self.group.sent_version == version {
            return ControlFlow::Continue(());
        }
        self.group.sent_version = version;
        take(Row {
            start_ms: self.first_ms,
            end_ms,
            group: &self.group,
            is_final: self.is_closed,
            is_deleted: false,
            version,
        })
    }
}

/// The first metric whose sum over all these groups and the record leaves its column.
fn overflow<'g>(
    rules: &[CellRules],
    event: &Event<'_>,
    groups: impl Iterator<Item = &'g Group> + Clone,
) -> Option<usize> {
    let fits = |metric: usize| {
        let (CellRules::Sum { limit }, super::Sample::Number(number)) =
            (rules[metric], event.samples[metric])
        else {
            return true;
        };
        let mut sums = groups.clone().map(|group| group.cells[metric].sum());
        let sum = sums.try_fold(number, |sum, more| sum.checked_add(more));
        sum.is_some_and(|sum| sum.unsigned_abs() <= limit.unsigned_abs())
    };
    (0..rules.len()).find(|metric| !fits(*metric))
}
