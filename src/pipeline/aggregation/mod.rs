//! Events → one row for each window and group.
//!
//! A record is scanned once; its group and what each metric takes of it go into the windows its event
//! time lies in ([`crate::operator::window`]). Rows are made when windows say that they are due, for a
//! table, a compacted topic, or both. The rules are contract §6.3, a second implementation of them is run
//! against this one in `tests/`.

mod condition;
mod duplicates;
mod emission;
mod fingerprint;
mod halts;
mod places;
mod plan;
mod presence;
mod reading;
mod recomputed;
mod row;
mod settings;
mod spilling;

use std::sync::Arc;

use self::duplicates::Duplicates;
pub(super) use self::places::Places;
pub(super) use self::plan::AggregationPlan;
use self::reading::{Read, Reader};
pub(crate) use self::recomputed::WindowsAgain;
use self::row::RowMaker;
pub(super) use self::settings::Settings;
pub(crate) use self::spilling::Spilling;
use super::input::Input;
use super::stream_join::key_text;
use crate::config::{KeyFormat, LateRecords, OnDuplicate};
use crate::decode::{Reason, Reject};
use crate::halt::Halt;
use crate::lane::{
    Accepted, EmissionPart as Emission, NoRows, NotAccepted, Operator, PartitionCount, Refusal,
    Settling, TableNames, TimedState, Together,
};
use crate::observe::metrics::PipelineMetrics;
use crate::operator::window::{Event, Verdict, Windows};
use crate::pipeline::quality;
use crate::sink::{Stage, Target};
use crate::source::{Opened, Record, TopicPartition};

/// What one lane keeps.
pub(crate) struct AggregationOperator {
    plan: Arc<AggregationPlan>,
    settings: Settings,
    /// Where rows go; [`Target::nowhere`] where they go to a topic alone.
    target: Arc<Target>,
    /// How records are read; none: as they arrive.
    input: Option<Box<Input>>,
    /// Of a key with members or a value in JSON: the member that tells groups apart.
    key_field: Option<String>,
    key_scratch: Vec<u8>,
    reader: Reader,
    rows: RowMaker,
    /// Those of each partition, or, where one lane reads everything, one for all.
    spaces: Vec<Space>,
    metrics: PipelineMetrics,
    late_logged: bool,
    /// As the metric has it.
    open_count: usize,
    /// How many partitions the topic has, as far as the windows here know.
    partitions: usize,
    /// Of the partition whose record lies elsewhere too: whether windows were open before it came.
    had_open: Option<(i32, bool)>,
    /// None: windows stay in memory.
    spilling: Option<Spilling>,
}

/// Windows that belong together.
struct Space {
    /// `None`: of all partitions.
    partition: Option<i32>,
    windows: Windows,
}

/// Where a partition's records go.
#[derive(Debug)]
pub(crate) struct PartitionState {
    partition: i32,
    /// Offset behind the last record that was read.
    next: i64,
    /// The same of the last one that has a time.
    spoken_to: i64,
    /// What is known of its duplicates; none: nobody asks.
    duplicates: Option<Duplicates>,
}

impl AggregationOperator {
    pub(super) fn new(
        plan: Arc<AggregationPlan>,
        settings: Settings,
        target: Arc<Target>,
        metrics: PipelineMetrics,
    ) -> Self {
        AggregationOperator {
            reader: Reader::new(plan.clone()),
            rows: RowMaker::new(plan.clone()),
            plan,
            partitions: settings.places.partitions(),
            input: None,
            key_field: settings.key_field.clone(),
            key_scratch: vec![],
            had_open: None,
            spilling: None,
            settings,
            target,
            spaces: vec![],
            metrics,
            late_logged: false,
            open_count: 0,
        }
    }

    /// The same for records that are not read as they arrive.
    pub(super) fn with_input(self, input: Option<Box<Input>>) -> Self {
        AggregationOperator { input, ..self }
    }

    /// Takes a record whose value is JSON.
    fn accept_opened(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let Some(key) = record.key().filter(|_| self.key_field.is_some()) else {
            return self.accept_spelled(state, record);
        };
        let field = self.key_field.take().unwrap_or_default();
        let mut scratch = std::mem::take(&mut self.key_scratch);
        let (text, _) = key_text(key, &field, KeyFormat::Json, &mut scratch);
        let spelled = Opened {
            key: Some(text),
            value: record.value(),
        };
        let accepted = self.accept_spelled(state, record.opened(&spelled));
        self.key_scratch = scratch;
        self.key_field = Some(field);
        accepted
    }

    /// Takes a record whose key is a text.
    fn accept_spelled(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        state.next = record.offset() + 1;
        let read = self
            .reader
            .read(record, self.settings.timestamp_ahead_max_ms)?;
        if read == Read::Dropped {
            return Ok(Accepted::Dropped(quality::DROPPED));
        }
        state.spoken_to = state.next;
        let input = self.input(state.partition);
        let wanted = self.space_of(state.partition);
        let space = self.spaces.iter_mut().find(|s| s.partition == wanted);
        let windows = &mut space.expect("only what has begun is read").windows;
        let event = Event {
            input,
            ..self.reader.event()
        };
        if self.settings.is_partitioned && read != Read::Filtered {
            halts::misplaced(&self.settings, record, self.partitions)?;
        }
        if let Some(duplicates) = &mut state.duplicates {
            let largest_ms = windows.input_largest_ms(input);
            let key = self.reader.dedup_key();
            if duplicates.note(key, event.place, largest_ms) {
                windows.pass(&event);
                return self.duplicate();
            }
        }
        if read == Read::Filtered {
            windows.pass(&event);
            return Ok(Accepted::Dropped("where"));
        }
        let had_open = windows.has_open();
        match windows.add(&event) {
            Verdict::Counted => {
                let opened_to_ms = windows.opened_to_ms();
                if let Err(halt) = self.note_place(record, opened_to_ms) {
                    self.had_open = Some((state.partition, had_open));
                    return Err(halt.into());
                }
                Ok(Accepted::Rows(0))
            }
            Verdict::Decided => Ok(Accepted::Rows(0)),
            Verdict::Late => self.late(record),
        }
    }

    fn space_of(&self, partition: i32) -> Option<i32> {
        self.settings.is_partitioned.then_some(partition)
    }

    fn space(&mut self, partition: i32) -> &mut Windows {
        let wanted = self.space_of(partition);
        let index = self.spaces.iter().position(|s| s.partition == wanted);
        let index = index.unwrap_or_else(|| {
            let windows = self.new_windows();
            self.spaces.push(Space {
                partition: wanted,
                windows,
            });
            self.spaces.len() - 1
        });
        &mut self.spaces[index].windows
    }

    fn windows(&self, partition: i32) -> Option<&Windows> {
        let wanted = self.space_of(partition);
        let space = self.spaces.iter().find(|s| s.partition == wanted)?;
        Some(&space.windows)
    }

    /// The number of a partition within its windows.
    fn input(&self, partition: i32) -> usize {
        if self.settings.is_partitioned {
            return 0;
        }
        usize::try_from(partition).expect("partitions are numbered from 0")
    }

    fn duplicate(&self) -> Result<Accepted, NotAccepted> {
        let dedup = self.plan.dedup.as_ref();
        if dedup.is_some_and(|dedup| dedup.on_duplicate == OnDuplicate::DeadLetter) {
            return Err(refusal(quality::duplicate()));
        }
        Ok(Accepted::Dropped(quality::DUPLICATE))
    }

    fn late(&mut self, record: Record<'_>) -> Result<Accepted, NotAccepted> {
        self.metrics.late_records.increment(1);
        if !self.late_logged {
            self.late_logged = true;
            tracing::info!(
                topic = record.topic(),
                partition = record.partition(),
                offset = record.offset(),
                "a record came after all its windows had closed; more are only counted \
                 (streamweir_late_records_total)"
            );
        }
        match self.settings.late_records {
            LateRecords::Drop => Ok(Accepted::Dropped("late")),
            LateRecords::DeadLetter => {
                let detail = "every window of the record had closed";
                Err(refusal(Reject::new(Reason::Late, detail)))
            }
        }
    }

    /// Where the key of a record lies that has opened a window, or made one longer.
    fn note_place(&self, record: Record<'_>, opened_to_ms: Option<i64>) -> Result<(), Halt> {
        // Where each record is held against its place there is nothing to remember, and keys on disk may be more
        // than memory holds.
        let is_held_against = self.spilling.is_some() && self.settings.keys_placed_by.is_some();
        let is_noted = self.settings.is_partitioned && !is_held_against;
        let Some(closes_ms) = opened_to_ms.filter(|_| is_noted) else {
            return Ok(());
        };
        let key = record.key().unwrap_or_default();
        let (partition, offset) = (record.partition(), record.offset());
        let elsewhere = self.settings.places.note(key, partition, offset, closes_ms);
        match elsewhere {
            Some(elsewhere) => Err(halts::in_two_partitions(&self.settings, record, elsewhere)),
            None => Ok(()),
        }
    }

    /// Those that a record has opened by which a change was noticed are read again.
    fn has_open_windows(&self) -> bool {
        let has_open = |space: &Space| match self.had_open {
            Some((partition, had_open)) if space.partition == Some(partition) => had_open,
            _ => space.windows.has_open(),
        };
        self.spaces.iter().any(has_open)
    }

    /// Lanes share the metric.
    fn note_open(&mut self) {
        let open = self.spaces.iter().map(|s| s.windows.open_count()).sum();
        let grown = open as f64 - self.open_count as f64;
        self.metrics.windows_open.increment(grown);
        self.open_count = open;
    }
}

fn refusal(reject: Reject) -> NotAccepted {
    NotAccepted::Refused(Refusal {
        stage: Stage::Operate,
        reject,
    })
}

impl Operator for AggregationOperator {
    type Partition = PartitionState;
    type Rows = NoRows;

    fn table_names(&self) -> TableNames {
        let table = self.settings.table.clone();
        Arc::new(move |_| table.clone())
    }

    fn begin(&mut self, partition: &TopicPartition) -> PartitionState {
        PartitionState {
            partition: partition.partition,
            next: 0,
            spoken_to: 0,
            duplicates: self.plan.dedup.as_ref().map(Duplicates::new),
        }
    }

    fn accept(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let Some(mut input) = self.input.take() else {
            return self.accept_opened(state, record);
        };
        let accepted = match input.open(record) {
            Ok(opening) => match opening.record() {
                Ok(record) => self.accept_opened(state, record),
                Err(rule) => {
                    state.next = record.offset() + 1;
                    Ok(Accepted::Dropped(rule))
                }
            },
            // It is read again.
            Err(later @ NotAccepted::Later(_)) => Err(later),
            Err(refused) => {
                state.next = record.offset() + 1;
                Err(refused)
            }
        };
        self.input = Some(input);
        accepted
    }

    fn judge(&mut self, state: &mut PartitionState) -> Vec<(usize, Refusal)> {
        let (partition, next) = (state.partition, state.next);
        let input = self.input(partition);
        let windows = self.space(partition);
        windows.note_read(input, next);
        if let Some(duplicates) = &mut state.duplicates {
            duplicates.forget(windows.over_through_ms());
        }
        self.spill();
        vec![]
    }

    fn clear(&mut self, now_ms: u64) {
        if let Some(tally) = &self.settings.tally {
            tally.add(self.reader.judged(), now_ms);
        }
        self.reader.clear();
        if let Some(input) = &mut self.input {
            input.clear(now_ms);
        }
    }

    fn halt(&self) -> Option<Halt> {
        let spilling = self.spilling.as_ref().and_then(Spilling::halt);
        spilling.or_else(|| self.settings.tally.as_ref()?.halt())
    }

    fn note_time(&mut self, now_ms: u64) {
        if let Some(tally) = &self.settings.tally {
            tally.note_time(now_ms);
        }
    }

    fn note_counted(&mut self, are_counted: bool) {
        self.reader.judged().is_replayed = are_counted;
    }

    fn why_dropped(&self) -> Option<String> {
        self.reader.why_dropped()
    }

    /// What the lanes share is counted with each in equal parts.
    fn memory_bytes(&self) -> usize {
        let input = self.input.as_ref().map_or(0, |input| input.memory_bytes());
        let spilling = self.spilling.as_ref().map_or(0, Spilling::memory_bytes);
        let shared = self.settings.places.memory_bytes() + spilling;
        input + self.reader.memory_bytes() + shared / self.settings.lanes.max(1)
    }

    fn timed_state(&self) -> Option<&dyn TimedState<PartitionState>> {
        Some(self)
    }

    fn emission(&mut self) -> Option<&mut dyn Emission<PartitionState>> {
        Some(self)
    }

    fn settling(&mut self) -> Option<&mut dyn Settling> {
        Some(self)
    }

    fn together(&self) -> Option<Together<'_, PartitionState>> {
        (!self.settings.is_partitioned).then_some(Together::OneReader)
    }

    fn partition_count(&mut self) -> Option<&mut dyn PartitionCount> {
        self.settings.is_partitioned.then_some(self as _)
    }
}
