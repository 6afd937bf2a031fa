//! Session windows: of one partition, because the records of a group must meet.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;

use foldhash::fast::RandomState;

use super::input::Input;
use super::pane::{First, Group, Row};
use super::session::{Gone, Grown, Reach, Session, gather, gone_bytes};
use super::spill::SpillError;
use super::{Event, Place, Rules, Silence, Verdict, distinct};
use crate::progress::{CommitPoint, Frontier, WindowFrontier};

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
    /// Closed sessions whose last rows are sent, by group. They are kept until no record can come near, and
    /// until a commit says that all sessions of that time are closed: without that, the next owner would
    /// take the rest of one for another session.
    gone: HashMap<Box<[u8]>, Vec<Gone>, RandomState>,
    closed_through_ms: Option<i64>,
    /// What the next commit says of it.
    told_ms: Option<i64>,
    settled_through_ms: Option<i64>,
    settled_read_to: i64,
    /// What closed, and how far had been read, when rows were sent last.
    sent: Option<(Option<i64>, i64)>,
    /// The same of rows that are durable, until all that was read by then is settled too: only then does the
    /// next owner know that a late record was reported.
    durable: VecDeque<(Option<i64>, i64)>,
    bytes: usize,
    /// See [`super::Windows::opened_to_ms`].
    opened_to_ms: Option<i64>,
    /// See [`super::Windows::leave_out_cut`]: how far behind the first record such windows begin.
    leaves_out_ms: Option<i64>,
    /// See [`super::Windows::close_through`].
    told_closed_ms: Option<i64>,
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
            gone: HashMap::default(),
            closed_through_ms: None,
            told_ms: None,
            settled_through_ms: None,
            settled_read_to: 0,
            sent: None,
            durable: VecDeque::new(),
            bytes: 0,
            opened_to_ms: None,
            leaves_out_ms: None,
            told_closed_ms: None,
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
        let mut begun = Input::new(position, before, log_end);
        begun.left_out_ms = self.leaves_out_ms.unwrap_or(0);
        self.input = Some(begun);
    }

    pub(super) fn leave_out_cut(&mut self, reach_ms: i64) {
        self.leaves_out_ms = Some(self.rules.disorder_ms().saturating_add(reach_ms));
    }

    pub(super) fn close_through(&mut self, through_ms: i64) {
        self.told_closed_ms = self.told_closed_ms.max(Some(through_ms));
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
        let (largest_before_ms, perhaps_read_to) = (input.largest_ms, input.perhaps_read_to);
        let Place {
            time_ms, offset, ..
        } = event.place;
        let reach = Reach {
            time_ms,
            gap_ms: self.gap_ms,
            lateness_ms: self.rules.lateness_ms,
            watermark_ms: self.rules.watermark(largest_before_ms),
        };
        let grown = match self.grown(event, reach) {
            Ok(grown) => grown,
            Err(verdict) => {
                if matches!(verdict, Verdict::Decided) {
                    self.input_mut().observe(time_ms, None);
                }
                return verdict;
            }
        };
        let mut session = Session {
            first_ms: time_ms,
            last_ms: time_ms,
            group: Group::new(event.group, &self.rules.cells),
            first: First {
                offset,
                largest_before_ms,
            },
            last_offset: offset,
            start_offset: offset,
            retracted: vec![],
            is_closed: false,
        };
        let sessions = self.groups.entry(event.group.into()).or_default();
        let merge = |session: &mut Session, group| {
            session.group.merge(&self.rules.cells, group, self.seed);
        };
        let (place, freed) = gather(sessions, &mut session, reach, perhaps_read_to, merge);
        self.bytes = self.bytes.saturating_sub(freed);
        session.group.late_count += u64::from(grown.is_behind);
        session.group.add(&self.rules.cells, event, self.seed);
        session.last_offset = offset;
        self.bytes += session.bytes();
        self.opened_to_ms = grown.is_longer.then_some(grown.closes_ms);
        let place = place.unwrap_or_else(|| {
            let is_before = |other: &Session| other.first_ms < session.first_ms;
            sessions.partition_point(is_before)
        });
        sessions.insert(place, session);
        self.input_mut().observe(time_ms, None);
        Verdict::Counted
    }

    /// What the session of an event becomes with it.
    ///
    /// # Errors
    /// The event goes into no session.
    fn grown(&self, event: &Event<'_>, reach: Reach) -> Result<Grown, Verdict> {
        let is_past = event.place.offset < self.input().before.read_to;
        let sessions = self.groups.get(event.group).map_or(&[][..], |s| &s[..]);
        let near = sessions.iter().filter(|session| reach.is_near(session));
        let last_ms = near
            .clone()
            .map(|s| s.last_ms)
            .fold(reach.time_ms, i64::max);
        let is_alone = near.clone().next().is_none();
        let closes_ms = self.rules.closes(last_ms.saturating_add(reach.gap_ms));
        let was_closed = self
            .closed_through_ms
            .is_some_and(|closed| closed >= closes_ms);
        let is_closed = |session: &&Session| session.is_closed || reach.is_over(session.last_ms);
        let mut closed = sessions.iter().filter(is_closed).map(|s| s.last_ms);
        let mut gone = self.gone.get(event.group).into_iter().flatten();
        let is_too_near = closed.any(|last_ms| reach.touches(last_ms))
            || gone.any(|gone| reach.touches(gone.last_ms));
        if (reach.is_over(last_ms) || is_too_near) && is_past {
            // Late, and reported before, or of a session that was closed and is not all here.
            return Err(Verdict::Decided);
        }
        if reach.is_over(last_ms) || is_too_near || is_alone && was_closed && !is_past {
            return Err(Verdict::Late);
        }
        Ok(Grown {
            closes_ms,
            is_longer: near.clone().all(|session| session.last_ms < last_ms),
            is_behind: reach.is_behind(last_ms),
        })
    }

    pub(super) fn opened_to_ms(&self) -> Option<i64> {
        self.opened_to_ms
    }

    pub(super) fn closed_through_ms(&self) -> Option<i64> {
        self.closed_through_ms
    }

    pub(super) fn pass(&mut self, event: &Event<'_>) {
        self.input_mut().observe(event.place.time_ms, None);
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
    ) -> Result<bool, SpillError> {
        let input = self.input();
        let (before, read_to) = (input.before, input.read_to);
        let watermark_ms = self.rules.watermark(input.largest_ms);
        let watermark_ms = watermark_ms.max(self.told_closed_ms);
        let is_retired = input.silence == Silence::Retired;
        let is_idle = is_retired || input.silence == Silence::Idle;
        let first_ms = input.first_ms();
        let gap_ms = self.gap_ms;
        let mut closed_through_ms = self.closed_through_ms;
        let mut is_all = true;
        for (key, sessions) in &mut self.groups {
            let mut index = 0;
            while index < sessions.len() && is_all {
                let session = &mut sessions[index];
                let end_ms = session.last_ms.saturating_add(self.gap_ms);
                let closes_ms = self.rules.closes(end_ms);
                session.is_closed |= is_retired || watermark_ms >= Some(closes_ms);
                // A previous owner has sent it; perhaps not all of it is here.
                let is_decided = session.last_offset < before.read_to
                    && before.closed_through_ms >= Some(closes_ms);
                let is_due = all || is_idle || watermark_ms >= Some(end_ms) || session.is_closed;
                // One that may have begun before the first record lacks some, and is never final.
                let is_whole =
                    first_ms.is_none_or(|ms| session.first_ms > ms.saturating_add(gap_ms));
                let is_final = session.is_closed && is_whole;
                let is_left_out = self.leaves_out_ms.is_some() && !is_whole;
                if !is_decided && !is_left_out {
                    is_all = session
                        .send(end_ms, is_due, is_final, &mut take)
                        .is_continue();
                }
                if session.is_closed && is_all {
                    closed_through_ms = closed_through_ms.max(Some(closes_ms));
                    let session = sessions.remove(index);
                    self.bytes = self.bytes.saturating_sub(session.bytes());
                    let gone = self.gone.entry(key.clone()).or_default();
                    gone.push(session.gone(closes_ms));
                    self.bytes += gone_bytes(key);
                } else {
                    index += 1;
                }
            }
        }
        self.groups.retain(|_, sessions| !sessions.is_empty());
        self.closed_through_ms = closed_through_ms;
        // Sessions do not close in the order of their ends: until all are sent, commits say nothing of it.
        // Then all are closed that the watermark has passed, even where there was no session.
        let told_ms = if is_all {
            closed_through_ms.max(watermark_ms)
        } else {
            self.told_ms
        };
        self.told_ms = told_ms;
        self.sent = Some((told_ms, read_to));
        Ok(is_all)
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
        }
        self.forget_gone();
        let first_read = self.input().first_read;
        let frontier = |largest_ms| {
            Frontier::Windows(WindowFrontier {
                rules: self.fingerprint,
                largest_ms,
                closed_through_ms: self.settled_through_ms,
                read_to: self.settled_read_to,
                settled_to: settled,
                partitions: None,
                first_read,
            })
        };
        let complete_ms = self.rules.over(self.settled_through_ms);
        let open = self.groups.values().flatten().map(|session| &session.first);
        let gone = self.gone.values().flatten().map(|gone| &gone.first);
        let first = open.chain(gone).min_by_key(|first| first.offset).copied();
        let input = self.input.as_mut();
        let input = input.expect("only a partition that has begun is committed");
        let (by_mark, largest_ms) = input.mark(settled);
        match first {
            Some(first) if first.offset <= by_mark => CommitPoint {
                position: first.offset,
                frontier: frontier(first.largest_before_ms),
                complete_ms,
            },
            _ => CommitPoint {
                position: by_mark,
                frontier: frontier(largest_ms),
                complete_ms,
            },
        }
    }

    /// Lets go of closed sessions that no record can come near any more, neither one that is still to come
    /// nor one that is read again together with a session whose row is not durable yet. Of a partition that
    /// is not waited for any more no watermark will say so: what is durable is let go.
    ///
    /// A record that begins a session is less than a gap behind the watermark, and the next may come a gap
    /// before it: two gaps behind the watermark nothing of a group without an open session is reached. An open
    /// one may grow towards the past record by record, down to the closed one before it.
    fn forget_gone(&mut self) {
        let through_ms = self.settled_through_ms;
        let is_over = self.input().silence == Silence::Retired
            && self.groups.is_empty()
            && self.sent.is_none()
            && self.durable.is_empty();
        let rules = &self.rules;
        let reach_ms = self.gap_ms.saturating_mul(2);
        // Read again, the watermark lies before what an earlier owner has settled.
        let (margin_ms, passed_ms) = if is_over {
            (0, through_ms)
        } else {
            let watermark_ms = self.rules.watermark(self.input().largest_ms);
            (reach_ms, through_ms.min(watermark_ms))
        };
        let mut forgotten = 0;
        self.gone.retain(|key, gone| {
            let open = self.groups.get(key).into_iter().flatten();
            let before_open: Vec<i64> = open
                .filter_map(|session| {
                    let closed = last_before(gone, session.first_ms)?;
                    let begun_ms = rules.watermark(session.first.largest_before_ms);
                    // Else it may have been let go of before: what is kept is a matter of the log.
                    (Some(closed.closes_ms.saturating_add(reach_ms)) > begun_ms)
                        .then_some(closed.last_ms)
                })
                .collect();
            let unsettled = gone.iter().filter(|g| Some(g.closes_ms) > through_ms);
            let unsettled: Vec<i64> = unsettled.map(|g| g.first_ms).collect();
            let held = gone.len();
            gone.retain(|gone| {
                let until_ms = gone.last_ms.saturating_add(reach_ms);
                let meets = |first_ms: &i64| *first_ms > gone.last_ms && *first_ms <= until_ms;
                let free_ms = gone.closes_ms.saturating_add(margin_ms);
                Some(free_ms) > passed_ms
                    || before_open.contains(&gone.last_ms)
                    || unsettled.iter().any(meets)
            });
            forgotten += (held - gone.len()) * gone_bytes(key);
            !gone.is_empty()
        });
        self.bytes = self.bytes.saturating_sub(forgotten);
    }

    pub(super) fn open_count(&self) -> usize {
        self.groups.values().map(Vec::len).sum()
    }

    pub(super) fn has_open(&self) -> bool {
        self.groups.values().any(|sessions| !sessions.is_empty())
    }

    pub(super) fn open_span_ms(&self) -> Option<(i64, i64)> {
        let spans = self.groups.values().flatten();
        let spans = spans.map(|s| (s.first_ms, s.last_ms.saturating_add(self.gap_ms)));
        spans.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    /// A record that is nearer to a session than the gap may become part of it.
    pub(super) fn over_through_ms(&self) -> Option<i64> {
        let through_ms = self.settled_through_ms?;
        let reach_ms = self.gap_ms.saturating_mul(2);
        let over_ms = through_ms.saturating_sub(self.rules.closes(reach_ms));
        let open = self.groups.values().flatten().map(|s| s.first_ms);
        let gone = self.gone.values().flatten().map(|gone| gone.first_ms);
        let firsts_ms = open.chain(gone).min();
        let before_ms = firsts_ms.map(|ms| ms.saturating_sub(self.gap_ms).saturating_sub(1));
        Some(before_ms.map_or(over_ms, |before_ms| before_ms.min(over_ms)))
    }

    /// They close by the watermark, with records or without.
    pub(super) fn close_without_records(&mut self) {}

    pub(super) fn is_retired(&self, _input: usize) -> bool {
        let has_any = !self.groups.is_empty() || !self.gone.is_empty();
        self.input().silence == Silence::Retired && !has_any
    }

    pub(super) fn input_largest_ms(&self, _input: usize) -> Option<i64> {
        self.input().largest_ms
    }

    pub(super) fn input_watermark_ms(&self, _input: usize) -> Option<i64> {
        self.rules.watermark(self.input().largest_ms)
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// The last closed session that lies before `first_ms`.
fn last_before(gone: &[Gone], first_ms: i64) -> Option<&Gone> {
    let before = gone.iter().filter(|gone| gone.last_ms < first_ms);
    before.max_by_key(|gone| gone.last_ms)
}
