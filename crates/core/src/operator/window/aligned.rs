//! Tumbling and hopping windows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::disk::{Disk, Making};
use super::input::Input;
use super::pane::{First, Pane, Row};
use super::spill::{Spill, SpillError};
use super::{Event, Rules, Silence, Verdict, distinct};
use crate::progress::{CommitPoint, Frontier, WindowFrontier};

/// See the module.
#[derive(Debug)]
pub(super) struct Aligned {
    rules: Rules,
    size_ms: i64,
    slide_ms: i64,
    /// By the rules and the configuration around them.
    fingerprint: u32,
    seed: u64,
    inputs: Vec<Option<Input>>,
    /// By start.
    panes: BTreeMap<i64, Pane>,
    /// Closed windows whose last rows are not durable yet.
    leaving: Vec<Pane>,
    /// Every window whose end plus lateness is at or below this is over.
    closed_through_ms: Option<i64>,
    /// Windows whose last rows were sent, durable or not.
    sent: Through<Option<Vec<i64>>>,
    /// Windows whose last rows are durable.
    settled: Through<Vec<i64>>,
    /// Up to where windows are over, whether there were any or not: by the rows that were sent last, and
    /// by those that are durable.
    sent_complete_ms: Option<i64>,
    complete_ms: Option<i64>,
    bytes: usize,
    /// Starts of the windows that a record lies in.
    starts: Vec<i64>,
    /// The groups of these.
    found: Vec<(i64, usize)>,
    /// See [`super::Windows::opened_to_ms`].
    opened_to_ms: Option<i64>,
    /// See [`super::Windows::close_without_records`].
    closes_without_records: bool,
    /// See [`super::Windows::leave_out_cut`]: how far behind the first record such windows begin.
    leaves_out_ms: Option<i64>,
    /// See [`super::Windows::close_through`].
    told_through_ms: Option<i64>,
    /// Where what does not fit into memory is written; none: nowhere.
    disk: Option<Disk>,
}

/// Up to where windows are over, by the end of the window plus lateness.
#[derive(Debug, Default)]
struct Through<R> {
    through_ms: Option<i64>,
    /// How far each partition had been read then.
    read_to: R,
}

impl Aligned {
    pub(super) fn new(rules: Rules, size_ms: i64, slide_ms: i64, fingerprint: u32) -> Aligned {
        Aligned {
            rules,
            size_ms,
            slide_ms,
            fingerprint,
            seed: distinct::random_seed(),
            inputs: vec![],
            panes: BTreeMap::new(),
            leaving: vec![],
            closed_through_ms: None,
            sent: Through::default(),
            settled: Through::default(),
            sent_complete_ms: None,
            complete_ms: None,
            bytes: 0,
            starts: vec![],
            found: vec![],
            opened_to_ms: None,
            closes_without_records: false,
            leaves_out_ms: None,
            told_through_ms: None,
            disk: None,
        }
    }

    pub(super) fn spill_to(&mut self, store: Box<dyn Spill>) {
        let (delay_ms, lateness_ms) = (self.rules.watermark_delay_ms, self.rules.lateness_ms);
        let open_ms = self.size_ms.saturating_add(delay_ms);
        let open_ms = open_ms.saturating_add(lateness_ms);
        self.disk = Some(Disk::new(store, open_ms, self.slide_ms));
    }

    pub(super) fn spill(&mut self) -> Result<(), SpillError> {
        let Some(disk) = &mut self.disk else {
            return Ok(());
        };
        disk.check()?;
        let freed = disk.write_all(&mut self.panes, &self.rules.cells, self.seed)?;
        self.bytes = self.bytes.saturating_sub(freed);
        Ok(())
    }

    pub(super) fn close_without_records(&mut self) {
        self.closes_without_records = true;
    }

    pub(super) fn leave_out_cut(&mut self, reach_ms: i64) {
        let youngest_ms = self.rules.disorder_ms().saturating_add(reach_ms);
        // A window that begins with the youngest record of before has it.
        self.leaves_out_ms = Some(youngest_ms.saturating_add(1));
    }

    pub(super) fn close_through(&mut self, through_ms: i64) {
        self.told_through_ms = self.told_through_ms.max(Some(through_ms));
    }

    /// A partition begins to be read at `position`, where this was known.
    pub(super) fn begin(
        &mut self,
        input: usize,
        position: i64,
        before: WindowFrontier,
        log_end: i64,
    ) {
        if self.inputs.len() <= input {
            self.inputs.resize_with(input + 1, || None);
            self.settled.read_to.resize(input + 1, 0);
        }
        self.closed_through_ms = self.closed_through_ms.max(before.closed_through_ms);
        self.sent.through_ms = self.closed_through_ms;
        self.settled.through_ms = self.closed_through_ms;
        self.settled.read_to[input] = before.read_to.max(position);
        let mut begun = Input::new(position, before, log_end);
        begun.left_out_ms = self.leaves_out_ms.unwrap_or(0);
        self.inputs[input] = Some(begun);
    }

    fn input(&self, input: usize) -> &Input {
        self.inputs[input]
            .as_ref()
            .expect("only partitions that have begun are read")
    }

    fn input_mut(&mut self, input: usize) -> &mut Input {
        self.inputs[input]
            .as_mut()
            .expect("only partitions that have begun are read")
    }

    /// Puts a record into its windows and moves its partition's watermark.
    pub(super) fn add(&mut self, event: &Event<'_>) -> Verdict {
        let input = self.input(event.input);
        let watermark_ms = self.rules.watermark(input.largest_ms);
        let was_read_before = event.place.offset < input.before.read_to;
        let mut is_decided = false;
        self.starts.clear();
        for start_ms in self.starts_of(event.place.time_ms) {
            let closes_ms = self.rules.closes(start_ms.saturating_add(self.size_ms));
            if watermark_ms.is_some_and(|watermark| watermark >= closes_ms) {
                continue;
            }
            if self
                .closed_through_ms
                .is_some_and(|closed| closed >= closes_ms)
            {
                is_decided |= was_read_before;
                continue;
            }
            self.starts.push(start_ms);
        }
        if self.starts.is_empty() {
            if is_decided {
                self.observe(event);
                return Verdict::Decided;
            }
            return Verdict::Late;
        }
        self.find_groups(event);
        self.count(event, watermark_ms);
        self.observe(event);
        Verdict::Counted
    }

    /// The windows that hold a time, the latest first.
    fn starts_of(&self, time_ms: i64) -> impl Iterator<Item = i64> + use<> {
        let (size_ms, slide_ms) = (self.size_ms, self.slide_ms);
        let latest = time_ms - time_ms.rem_euclid(slide_ms);
        (0..size_ms / slide_ms).map(move |number| latest - number * slide_ms)
    }

    /// The groups of an event in its windows.
    fn find_groups(&mut self, event: &Event<'_>) {
        self.found.clear();
        self.opened_to_ms = None;
        let inputs = self.inputs.len();
        for &start_ms in &self.starts {
            let end_ms = start_ms.saturating_add(self.size_ms);
            let pane = self
                .panes
                .entry(start_ms)
                .or_insert_with(|| Pane::new(end_ms, inputs));
            let (id, grown) = pane.group(event, &self.rules.cells, self.seed);
            if grown > 0 {
                let closes_ms = self.rules.closes(end_ms);
                self.opened_to_ms = self.opened_to_ms.max(Some(closes_ms));
            }
            self.bytes += grown;
            self.found.push((start_ms, id));
        }
    }

    fn count(&mut self, event: &Event<'_>, watermark_ms: Option<i64>) {
        let largest_before_ms = self.input(event.input).largest_ms;
        for &(start_ms, id) in &self.found {
            let pane = self.panes.get_mut(&start_ms).expect("just found");
            if pane.firsts.len() <= event.input {
                pane.firsts.resize(event.input + 1, None);
            }
            pane.firsts[event.input].get_or_insert(First {
                offset: event.place.offset,
                largest_before_ms,
            });
            let is_behind = watermark_ms.is_some_and(|watermark| watermark >= pane.end_ms);
            let group = &mut pane.groups[id];
            group.late_count += u64::from(is_behind);
            self.bytes += group.add(&self.rules.cells, event, self.seed);
            if pane.is_due {
                pane.note_pending(id);
            }
        }
    }

    /// Moves a partition's watermark. One whose first record comes after it was silent had nothing to say when
    /// the others began: what was left out of it is older than their first records.
    fn observe(&mut self, event: &Event<'_>) {
        let is_silent = self.input(event.input).has_been_silent_until_now();
        let begun_ms = is_silent.then(|| self.complete_from_ms()).flatten();
        let time_ms = event.place.time_ms;
        self.input_mut(event.input).observe(time_ms, begun_ms);
    }

    pub(super) fn opened_to_ms(&self) -> Option<i64> {
        self.opened_to_ms
    }

    pub(super) fn closed_through_ms(&self) -> Option<i64> {
        self.closed_through_ms
    }

    /// Windows that begin earlier lack records of before we began to read, and are never final.
    fn complete_from_ms(&self) -> Option<i64> {
        self.inputs
            .iter()
            .flatten()
            .filter_map(Input::first_ms)
            .max()
    }

    /// A record that counts in no window but moves the watermark.
    pub(super) fn pass(&mut self, event: &Event<'_>) {
        self.observe(event);
    }

    /// The records of a partition below `next` have been added; no more is known of those behind.
    pub(super) fn note_read(&mut self, input: usize, next: i64) {
        self.input_mut(input).note_read(next);
    }

    /// How far a partition has been read, gaps of the log included, and whether it has gone silent.
    pub(super) fn note_silence(&mut self, input: usize, silence: Silence, read_to: i64) {
        self.input_mut(input).note_silence(silence, read_to);
    }

    /// The lowest watermark of the partitions that are not as silent as this; `i64::MAX` without any.
    fn watermark_ms(&self, without: Silence) -> Option<i64> {
        let is_heard = |input: &&Input| match without {
            Silence::Idle => input.silence == Silence::None,
            _ => input.silence != Silence::Retired,
        };
        let heard = self.inputs.iter().flatten().filter(is_heard);
        let watermarks = heard.map(|input| self.rules.watermark(input.largest_ms));
        watermarks.min().unwrap_or(Some(i64::MAX))
    }

    /// Hands out the rows that are due, as many as are taken; `all`: those of open windows too. False
    /// when there is more. To be called again only after [`Windows::settled`].
    ///
    /// # Errors
    /// What was written cannot be read, or what must be cannot be written.
    pub(super) fn collect(
        &mut self,
        all: bool,
        mut take: impl FnMut(Row<'_>) -> ControlFlow<()>,
    ) -> Result<bool, SpillError> {
        if let Some(disk) = &self.disk {
            disk.check()?;
        }
        let sends_to_ms = self.watermark_ms(Silence::Idle);
        let closes_to_ms = self.watermark_ms(Silence::Retired);
        let closes_to_ms = closes_to_ms.max(self.told_through_ms);
        let mut read_to = vec![0; self.inputs.len()];
        for (read_to, input) in read_to.iter_mut().zip(&self.inputs) {
            *read_to = input.as_ref().map_or(0, |input| input.read_to);
        }
        self.sent.read_to = Some(read_to);
        let complete_from_ms = self.complete_from_ms();
        let mut is_all = true;
        for (&start_ms, pane) in &mut self.panes {
            let closes_ms = self.rules.closes(pane.end_ms);
            let closes = !pane.is_closed && closes_to_ms >= Some(closes_ms);
            if closes {
                self.closed_through_ms = self.closed_through_ms.max(Some(closes_ms));
                pane.is_closed = true;
            }
            if closes || !pane.is_due && (all || sends_to_ms >= Some(pane.end_ms)) {
                pane.is_due = true;
                let freed = note_due(start_ms, pane, &mut self.disk, self.seed)?;
                self.bytes = self.bytes.saturating_sub(freed);
            }
            let is_whole = complete_from_ms <= Some(start_ms);
            if self.leaves_out_ms.is_some() && !is_whole {
                pane.forget_pending();
            }
            let making = Making {
                rules: &self.rules.cells,
                seed: self.seed,
                start_ms,
                is_final: pane.is_closed && is_whole,
            };
            if let Some(disk) = &mut self.disk {
                is_all = disk.sweep(pane, making, &mut take)?;
            }
            if is_all {
                let (sent_all, grown) = send_pending(pane, making, &mut self.disk, &mut take)?;
                self.bytes += grown;
                is_all = sent_all;
            }
            if !is_all {
                break;
            }
        }
        self.take_out_closed();
        if is_all {
            // With every partition retired the watermark is endless.
            let over_ms = closes_to_ms.filter(|over_ms| *over_ms < i64::MAX);
            self.sent_complete_ms = over_ms.max(self.closed_through_ms);
            self.closed_through_ms = self.closed_through_ms.max(self.told_through_ms);
            if self.closes_without_records {
                self.closed_through_ms = self.sent_complete_ms;
            }
            if self.closes_without_records || self.told_through_ms.is_some() {
                self.sent.through_ms = self.sent.through_ms.max(self.closed_through_ms);
            }
        }
        Ok(is_all)
    }

    /// Closed windows have no more to say once their last rows are sent. They end in the order of time.
    fn take_out_closed(&mut self) {
        while let Some(entry) = self.panes.first_entry() {
            let pane = entry.get();
            if !pane.is_closed || !pane.pending.is_empty() || pane.sweep.is_some() {
                break;
            }
            let closes_ms = self.rules.closes(pane.end_ms);
            self.sent.through_ms = self.sent.through_ms.max(Some(closes_ms));
            self.leaving.push(entry.remove());
        }
    }

    /// Everything that was handed out is durable.
    pub(super) fn settled(&mut self) {
        for pane in self.leaving.drain(..) {
            let groups = pane.groups.iter();
            let bytes: usize = groups.map(super::pane::Group::held_bytes).sum();
            self.bytes = self.bytes.saturating_sub(bytes);
        }
        if self.panes.is_empty() {
            self.bytes = 0;
        }
        if let Some(disk) = &mut self.disk {
            disk.remove_all_but(&self.panes);
        }
        self.settled.through_ms = self.sent.through_ms;
        self.complete_ms = self.complete_ms.max(self.sent_complete_ms);
        if let Some(read_to) = self.sent.read_to.take() {
            self.settled.read_to = read_to;
        }
    }

    /// Where a partition may be committed whose records below `settled` are done with.
    pub(super) fn commit_point(&mut self, input: usize, settled: i64) -> CommitPoint {
        let first_read = self.input(input).first_read;
        let frontier = |largest_ms| {
            Frontier::Windows(WindowFrontier {
                rules: self.fingerprint,
                largest_ms,
                closed_through_ms: self.settled.through_ms,
                read_to: self.settled.read_to[input],
                settled_to: settled,
                partitions: None,
                first_read,
            })
        };
        let complete_ms = self.rules.over(self.complete_ms);
        let panes = self.panes.values().chain(&self.leaving);
        let firsts = panes.filter_map(|pane| (*pane.firsts.get(input)?)?.into());
        let first = firsts.min_by_key(|first: &First| first.offset);
        let input = self.inputs[input].as_mut();
        let input = input.expect("only partitions that have begun are committed");
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

    pub(super) fn open_count(&self) -> usize {
        self.panes.len()
    }

    pub(super) fn has_open(&self) -> bool {
        !self.panes.is_empty()
    }

    /// The earliest and the latest of the open windows: where the first begins and the last ends.
    pub(super) fn open_span_ms(&self) -> Option<(i64, i64)> {
        let (first, last) = (self.panes.first_key_value()?, self.panes.last_key_value()?);
        Some((*first.0, last.1.end_ms))
    }

    pub(super) fn over_through_ms(&self) -> Option<i64> {
        let through_ms = self.settled.through_ms?;
        Some(through_ms.saturating_sub(self.rules.closes(self.size_ms)))
    }

    pub(super) fn is_retired(&self, input: usize) -> bool {
        let has_record = |pane: &Pane| pane.firsts.get(input).is_some_and(Option::is_some);
        let mut panes = self.panes.values().chain(&self.leaving);
        self.input(input).silence == Silence::Retired && !panes.any(has_record)
    }

    pub(super) fn input_largest_ms(&self, input: usize) -> Option<i64> {
        self.input(input).largest_ms
    }

    /// Of one partition.
    pub(super) fn input_watermark_ms(&self, input: usize) -> Option<i64> {
        self.rules.watermark(self.input(input).largest_ms)
    }

    /// What it takes of the process's memory.
    pub(super) fn memory_bytes(&self) -> usize {
        self.bytes
    }
}

/// All rows of a window are to be sent. Returns how many bytes were written to disk.
fn note_due(
    start_ms: i64,
    pane: &mut Pane,
    disk: &mut Option<Disk>,
    seed: u64,
) -> Result<usize, SpillError> {
    match disk {
        Some(disk) if pane.has_runs => disk.begin_sweep(start_ms, pane, seed),
        _ => {
            pane.note_all_pending();
            Ok(0)
        }
    }
}

/// Hands out the rows of groups that are pending, as many as are taken. Whether that was all, and how many
/// bytes the groups have grown.
fn send_pending(
    pane: &mut Pane,
    making: Making<'_>,
    disk: &mut Option<Disk>,
    take: &mut impl FnMut(Row<'_>) -> ControlFlow<()>,
) -> Result<(bool, usize), SpillError> {
    let mut grown = 0;
    while let Some(id) = pane.pending.pop() {
        let group = &mut pane.groups[id as usize];
        group.is_pending = false;
        if let Some(disk) = disk.as_mut().filter(|_| pane.has_runs && !group.is_whole) {
            grown += disk.make_whole(group, making)?;
        }
        let version = group.version(making.is_final);
        if group.revision == 0 || group.sent_version == version {
            continue;
        }
        group.sent_version = version;
        let row = Row {
            start_ms: making.start_ms,
            end_ms: pane.end_ms,
            group,
            is_final: making.is_final,
            is_deleted: false,
            version,
        };
        if take(row).is_break() {
            return Ok((false, grown));
        }
    }
    Ok((true, grown))
}
