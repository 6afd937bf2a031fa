//! Events → rows with profile and session columns.
//!
//! A record is scanned once, its columns are encoded straight into the row, its session is judged,
//! and its profile is looked up with those of the rest of the chunk; then the row is complete. The
//! rules are contract §6.1, a second implementation of them is run against this one in `tests/`.

mod current;
mod duplicates;
mod exploding;
#[cfg(test)]
mod made_columns;
mod plan;
mod profile;
mod profiles;
mod reading;
mod recomputed;
mod row;
#[cfg(test)]
mod ruled;
mod schemas;
mod settings;
mod snapshots;

use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

pub(crate) use self::current::CurrentRows;
use self::duplicates::note_seen;
pub(crate) use self::plan::{RowPlan, is_index};
use self::profiles::{Profile, Profiles};
use self::reading::{NotRead, RowSpace, Unjudged, at};
use self::row::SessionEvent;
use self::schemas::SCHEMA_HEADER;
pub(crate) use self::settings::{Settings, Table};
use self::snapshots::snapshot_spec;
use crate::batch::OpenBatch;
use crate::format::{AnyReader, Purpose};
use crate::halt::Halt;
use crate::lane::{
    Accepted, After, Appends, BlockingTask, LookupPart, NotAccepted, Operator, RecordRows, Refusal,
    SnapshotSpec, Snapshots, TableNames, TimedState,
};
use crate::lookup::{Found, ProfileCache};
use crate::observe::metrics::{LookupResult, PipelineMetrics};
use crate::operator::{SeenKeys, Sessions, Unreadable, Watermark};
use crate::pipeline::input::Input;
use crate::pipeline::payload::Payload;
use crate::pipeline::quality::Judged;
use crate::pipeline::record_column::RecordPlace;
use crate::sink::{Stage, Target};
use crate::source::{Record, TopicPartition};
use crate::steps::Scratch;

/// Encoded columns of the records that are judged together: a record that came small may make 64 MiB, and a
/// thousand of them wait for each other.
const CHUNK_BYTES_MAX: usize = 32 << 20;

/// What one lane keeps for its rows.
pub(crate) struct EnrichmentOperator {
    plan: Arc<RowPlan>,
    table: Table,
    settings: Settings,
    seeds: StdRng,
    snapshot_spec: Option<SnapshotSpec>,
    reader: AnyReader,
    payload: Payload,
    /// None: records are read as they arrive.
    input: Option<Box<Input>>,
    profiles: Option<Profiles>,
    metrics: PipelineMetrics,
    /// Event and record columns of the chunk's rows, one behind the other.
    heads: Vec<u8>,
    /// Their session columns.
    session_columns: Vec<u8>,
    rows: Vec<PendingRow>,
    /// Events that the sessions have not seen yet, in the order of their offsets.
    unjudged: Vec<Unjudged>,
    /// What the rules say.
    judged: Judged,
    /// Where each event column of the current row begins.
    starts: Vec<usize>,
    scratch: Vec<u8>,
    /// Of columns whose values are made.
    made: Scratch,
    names_logged: usize,
    /// When the schemas that the reader has were first asked for.
    schemas_since_ms: u64,
    /// Where to find how rows are made after the table was altered.
    current: Option<Arc<CurrentRows>>,
    /// The table was altered: the next chunk is made for it as it is now.
    is_outdated: bool,
}

/// Where the parts of a row lie, as start and end.
#[derive(Debug, Clone, Copy)]
struct PendingRow {
    head: (usize, usize),
    /// `None` until it was judged.
    session: Option<(usize, usize)>,
    profile: Profile,
}

/// What is kept for one partition.
#[derive(Debug)]
pub(crate) struct PartitionState {
    place: RecordPlace,
    watermark: Watermark,
    sessions: Option<Sessions>,
    /// Keys of records, where duplicates are looked for.
    seen: Option<SeenKeys>,
}

impl EnrichmentOperator {
    pub(crate) fn new(
        plan: Arc<RowPlan>,
        table: Table,
        settings: Settings,
        snapshot_spec: Option<SnapshotSpec>,
        metrics: PipelineMetrics,
    ) -> Self {
        let mut seeds = StdRng::seed_from_u64(settings.seed);
        let profiles = plan.profile.as_ref().map(|profile| {
            let bytes_max = settings.cache_bytes_max.clone();
            let ttl_ms = settings.cache_ttl_ms;
            Profiles::new(
                profile,
                ProfileCache::new(bytes_max, ttl_ms, seeds.random()),
            )
        });
        EnrichmentOperator {
            reader: plan.read.reader(),
            payload: Payload::new(settings.compression),
            input: settings.written_first.as_ref().and_then(|formats| {
                let input = Input::new(formats, Purpose::Fields, settings.schemas.clone());
                // Schemas of files are those of fields, of which any can be written.
                input.unwrap_or_default()
            }),
            plan,
            table,
            settings,
            seeds,
            snapshot_spec,
            profiles,
            metrics,
            heads: vec![],
            session_columns: vec![],
            rows: vec![],
            unjudged: vec![],
            judged: Judged::default(),
            starts: vec![],
            scratch: vec![],
            made: Scratch::default(),
            names_logged: 0,
            schemas_since_ms: 0,
            current: None,
            is_outdated: false,
        }
    }

    /// Takes a record that is written as JSON first, or its key.
    #[cold]
    fn accept_written(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        let Some(mut input) = self.input.take() else {
            return self.accept_opened(state, record);
        };
        let accepted = input
            .open(record)
            .and_then(|opening| match opening.record() {
                Ok(record) => self.accept_opened(state, record),
                Err(rule) => Ok(Accepted::Dropped(rule)),
            });
        self.input = Some(input);
        accepted
    }

    #[inline(always)]
    fn accept_opened(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        if self.heads.len() >= CHUNK_BYTES_MAX {
            return Err(NotAccepted::Later(rows_first()));
        }
        if self.plan.explode.is_some() {
            return self.accept_exploded(state, record);
        }
        let head_start = self.heads.len();
        let read = self.read(state, record);
        note_seen(state, &self.judged, &read);
        if let Some(halt) = self.unknown_field(record) {
            self.heads.truncate(head_start);
            return Err(halt.into());
        }
        let (event, has_key) = match read {
            Ok(read) => read,
            Err(not_read) => {
                self.heads.truncate(head_start);
                return match not_read {
                    NotRead::Refused(refusal) => Err(refusal.into()),
                    NotRead::Dropped(rule) => Ok(Accepted::Dropped(rule)),
                    NotRead::NeedsSchema(key) => {
                        self.take_schema(key)?;
                        self.accept_opened(state, record)
                    }
                    NotRead::Misfit(key, error) => Err(self.misfit(key, &error)),
                };
            }
        };
        let profile = match &mut self.profiles {
            Some(profiles) if has_key => profiles.note(&self.scratch),
            _ => Profile::Defaults,
        };
        self.unjudged.push(event);
        self.rows.push(PendingRow {
            head: (head_start, self.heads.len()),
            session: None,
            profile,
        });
        Ok(Accepted::Rows(1))
    }

    fn replay_opened(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<(), NotAccepted> {
        let head_start = self.heads.len();
        self.judged.is_replayed = true;
        let read = self.read(state, record);
        self.judged.is_replayed = false;
        note_seen(state, &self.judged, &read);
        self.heads.truncate(head_start);
        if let Some(halt) = self.unknown_field(record) {
            return Err(halt.into());
        }
        match read {
            Ok((event, _)) => self.unjudged.push(Unjudged {
                makes_row: false,
                ..event
            }),
            Err(NotRead::NeedsSchema(key)) => {
                return match self.take_schema(key) {
                    Ok(()) => self.replay_opened(state, record),
                    Err(NotAccepted::Refused(_)) => Ok(()),
                    Err(later) => Err(later),
                };
            }
            Err(NotRead::Misfit(key, error)) => return Err(self.misfit(key, &error)),
            // A refusal was one before, and its dead letter is written.
            Err(NotRead::Refused(_) | NotRead::Dropped(_)) => {}
        }
        Ok(())
    }

    /// From now on makes rows for the table as it is. The chunk must be empty: it was made for another.
    fn renew(&mut self) {
        let Some(current) = self.current.take() else {
            return;
        };
        let settings = Settings {
            seed: self.seeds.random(),
            ..self.settings.clone()
        };
        *self = current.operator(settings, self.metrics.clone());
    }
}

impl EnrichmentOperator {
    /// One row of the chunk, encoded, in three parts.
    pub(crate) fn row(&self, index: usize) -> [&[u8]; 3] {
        let row = &self.rows[index];
        let session = row.session.expect("rows are judged before they are taken");
        [
            &self.heads[row.head.0..row.head.1],
            &self.session_columns[session.0..session.1],
            match (&self.profiles, &self.plan.profile) {
                (Some(profiles), Some(plan)) => profiles.columns(plan, row.profile),
                _ => &[],
            },
        ]
    }
}

#[cfg(any(test, fuzzing))]
impl EnrichmentOperator {
    /// Rows of the chunk, and the bytes they take: what a refused record must leave as it is.
    pub(crate) fn chunk_len(&self) -> (usize, usize) {
        (self.rows.len(), self.heads.len())
    }
}

impl Operator for EnrichmentOperator {
    type Partition = PartitionState;
    type Rows = Self;

    fn table_names(&self) -> TableNames {
        let target = self.table.target.clone();
        Arc::new(move |_| target.label.clone())
    }

    fn begin(&mut self, partition: &TopicPartition) -> PartitionState {
        let seed = self.seeds.random();
        let rules = self.plan.session.as_ref().map(|session| session.rules);
        PartitionState {
            place: RecordPlace::new(partition),
            watermark: Watermark::new(self.settings.watermark_delay),
            sessions: rules.map(|rules| Sessions::new(rules, seed)),
            seen: self
                .plan
                .dedup
                .as_ref()
                .map(|dedup| SeenKeys::new(dedup.rules)),
        }
    }

    fn accept(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<Accepted, NotAccepted> {
        if self.input.is_some() {
            return self.accept_written(state, record);
        }
        self.accept_opened(state, record)
    }

    #[inline(never)]
    fn judge(&mut self, state: &mut PartitionState) -> Vec<(usize, Refusal)> {
        let PartitionState {
            watermark,
            sessions,
            ..
        } = state;
        if let Some(sessions) = sessions {
            sessions.expect(self.unjudged.iter().filter_map(|e| e.session.key));
        }
        let with_flag = self.plan.with_default_flag;
        let accepted = self.unjudged.iter().filter(|e| e.makes_row).count();
        let mut row = self.rows.len() - accepted;
        let mut nth = 0;
        let mut refused = vec![];
        for event in self.unjudged.drain(..) {
            let start = self.session_columns.len();
            let SessionEvent { key, distinct } = event.session;
            let encoded = match (&self.plan.session, &mut *sessions) {
                (Some(plan), Some(sessions)) => {
                    let judged = match (key, event.time_ms) {
                        (Some(key), Some(time_ms)) => {
                            sessions.judge(key, time_ms, watermark.time_ms(), distinct)
                        }
                        // Nothing to belong to: a session of its own.
                        _ => Sessions::alone(distinct.is_some()),
                    };
                    plan.encode(judged, &mut self.session_columns, with_flag)
                }
                _ => Ok(()),
            };
            if let (Ok(()), Some(time_ms)) = (&encoded, event.time_ms) {
                watermark.observe(time_ms);
            }
            if !event.makes_row {
                self.session_columns.truncate(start);
                continue;
            }
            match encoded {
                Ok(()) => {
                    self.rows[row].session = Some((start, self.session_columns.len()));
                    row += 1;
                }
                Err(reject) => {
                    self.session_columns.truncate(start);
                    self.rows.remove(row);
                    refused.push((nth, at(Stage::Operate)(reject)));
                }
            }
            nth += 1;
        }
        refused
    }

    fn clear(&mut self, now_ms: u64) {
        self.heads.clear();
        self.session_columns.clear();
        self.unjudged.clear();
        self.rows.clear();
        // One huge record must not keep its room for ever.
        shrink(&mut self.heads);
        shrink(&mut self.unjudged);
        shrink(&mut self.rows);
        if let Some(profiles) = &mut self.profiles {
            self.metrics.lookup(
                LookupResult::Cache,
                std::mem::take(&mut profiles.cache_hits),
            );
            profiles.keys.clear();
            shrink(&mut profiles.keys);
            profiles.wanted.clear();
            profiles.wanted_index.clear();
            profiles.resolved.clear();
            profiles.asked = false;
            profiles.cache.trim(now_ms);
        }
        if let Some(tally) = &self.settings.tally {
            tally.add(&mut self.judged, now_ms);
        }
        self.payload.trim();
        self.made.trim();
        self.reader.trim();
        if let Some(input) = &mut self.input {
            input.clear(now_ms);
        }
        self.log_unknown_names();
        self.renew_schemas(now_ms);
        if self.is_outdated {
            self.renew();
        }
    }

    fn halt(&self) -> Option<Halt> {
        self.settings.tally.as_ref()?.halt()
    }

    fn note_time(&mut self, now_ms: u64) {
        if let Some(tally) = &self.settings.tally {
            tally.note_time(now_ms);
        }
    }

    fn note_counted(&mut self, are_counted: bool) {
        self.judged.is_replayed = are_counted;
    }

    fn why_dropped(&self) -> Option<String> {
        let deciding = self.plan.rules.as_ref()?.deciding(&self.judged);
        (!deciding.is_empty()).then_some(deciding)
    }

    fn memory_bytes(&self) -> usize {
        let profiles = self.profiles.as_ref();
        let profiles = profiles.map_or(0, |p| p.cache.memory_bytes() + p.keys.capacity());
        profiles
            + room(&self.heads)
            + room(&self.unjudged)
            + room(&self.rows)
            + room(&self.session_columns)
            + self.payload.memory_bytes()
            + self.made.memory_bytes()
            + self.input.as_ref().map_or(0, |input| input.memory_bytes())
            + self.reader.memory_bytes()
    }

    fn rows(&mut self) -> Option<&mut Self> {
        Some(self)
    }

    fn appends(&self) -> Option<&dyn Appends> {
        Some(self)
    }

    fn lookups(&mut self) -> Option<&mut dyn LookupPart> {
        self.profiles.is_some().then_some(self as _)
    }

    fn snapshot_spec(&self) -> Option<&SnapshotSpec> {
        self.snapshot_spec.as_ref()
    }

    fn snapshots(&mut self) -> Option<&mut dyn Snapshots<PartitionState>> {
        self.snapshot_spec.is_some().then_some(self as _)
    }

    fn timed_state(&self) -> Option<&dyn TimedState<PartitionState>> {
        Some(self)
    }
}

/// Bytes that a list has room for.
fn room<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

/// Gives most of an empty list's room back where it is large.
fn shrink<T>(list: &mut Vec<T>) {
    if room(list) > 8 << 20 {
        list.shrink_to((1 << 20) / size_of::<T>().max(1));
    }
}

/// What is there goes into batches first.
#[cold]
fn rows_first() -> BlockingTask {
    BlockingTask {
        what: "rows of the records before".to_owned(),
        after: After::Nothing,
        task: Box::pin(std::future::ready(Ok(()))),
    }
}

impl RecordRows for EnrichmentOperator {
    fn target(&self, _row: usize) -> &Arc<Target> {
        &self.table.target
    }

    fn push(&self, row: usize, offset: i64, batch: &mut OpenBatch) {
        batch.push(&self.table.target, offset, self.row(row));
    }

    fn altered(&mut self, _table: &str) {
        if self.rows.is_empty() && self.unjudged.is_empty() {
            self.renew();
        } else {
            self.is_outdated = true;
        }
    }
}

impl Appends for EnrichmentOperator {
    fn target(&self) -> &Arc<Target> {
        &self.table.target
    }

    fn is_traceable(&self) -> bool {
        self.table.has_provenance
    }
}

impl LookupPart for EnrichmentOperator {
    fn lookup_keys(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let Some(profiles) = self.profiles.as_mut().filter(|p| !p.asked) else {
            return vec![];
        };
        profiles.asked = true;
        // All at once: each look into the cache waits for memory, and the processor waits for
        // several of them together when nothing else stands between.
        for row in &mut self.rows {
            if let Profile::Key { start, end } = row.profile {
                row.profile = profiles.find(start..end, now_ms);
            }
        }
        profiles.wanted.clone()
    }

    fn apply_lookup(&mut self, found: Vec<Found>, now_ms: u64) {
        let (Some(profiles), Some(plan)) = (&mut self.profiles, &self.plan.profile) else {
            return;
        };
        let (mut remote, mut missing) = (0, 0);
        for (key, found) in profiles.wanted.iter().zip(found) {
            self.scratch.clear();
            let has_profile = profiles.encoder.encode(plan, &found, &mut self.scratch);
            *if has_profile {
                &mut remote
            } else {
                &mut missing
            } += 1;
            let slot = profiles.cache.insert(key, &self.scratch, now_ms);
            profiles.resolved.push(Some(slot));
        }
        self.metrics.lookup(LookupResult::Remote, remote);
        self.metrics.lookup(LookupResult::Missing, missing);
    }

    fn apply_defaults(&mut self) {
        if let Some(profiles) = &mut self.profiles {
            profiles.resolved = vec![None; profiles.wanted.len()];
        }
    }
}

impl Snapshots<PartitionState> for EnrichmentOperator {
    fn save(&self, state: &PartitionState, out: Vec<u8>) -> Vec<u8> {
        state.save(out)
    }

    fn restore(
        &mut self,
        partition: &TopicPartition,
        saved: &[u8],
    ) -> Result<PartitionState, Unreadable> {
        self.restored(partition, saved)
    }

    fn replay(
        &mut self,
        state: &mut PartitionState,
        record: Record<'_>,
    ) -> Result<(), NotAccepted> {
        let Some(mut input) = self.input.take() else {
            return self.replay_opened(state, record);
        };
        let replayed = match input.open(record) {
            Ok(opening) => match opening.record() {
                Ok(record) => self.replay_opened(state, record),
                Err(_) => Ok(()),
            },
            // A refusal was one before, and its dead letter is written.
            Err(NotAccepted::Refused(_)) => Ok(()),
            Err(other) => Err(other),
        };
        self.input = Some(input);
        replayed
    }

    fn sweep(&self, state: &mut PartitionState) {
        if let (Some(sessions), Some(watermark_ms)) =
            (&mut state.sessions, state.watermark.time_ms())
        {
            sessions.sweep(watermark_ms);
        }
        if let Some(seen) = &mut state.seen {
            seen.sweep();
        }
    }
}

impl TimedState<PartitionState> for EnrichmentOperator {
    fn watermark_ms(&self, state: &PartitionState) -> Option<i64> {
        state.watermark.time_ms()
    }

    fn state_bytes(&self, state: &PartitionState) -> usize {
        let sessions = state.sessions.as_ref().map_or(0, Sessions::memory_bytes);
        sessions + state.seen.as_ref().map_or(0, SeenKeys::memory_bytes)
    }
}

impl EnrichmentOperator {
    /// Appends the event and record columns of a record, and leaves its key for the lookup in
    /// `scratch` if it has one. After an error part of the columns may be left.
    #[inline(always)]
    fn read(
        &mut self,
        state: &PartitionState,
        record: Record<'_>,
    ) -> Result<(Unjudged, bool), NotRead> {
        let space = RowSpace {
            plan: &self.plan,
            settings: &self.settings,
            out: &mut self.heads,
            starts: &mut self.starts,
            scratch: &mut self.scratch,
            judged: &mut self.judged,
            made: &mut self.made,
        };
        let value = self.payload.open(record.value());
        let value = value.map_err(at(Stage::Decode))?;
        match &mut self.reader {
            AnyReader::Json(reader) => space.read(reader, state, record, value),
            AnyReader::String(reader) => space.read(reader, state, record, value),
            AnyReader::Csv(reader) => space.read(reader, state, record, value),
            AnyReader::JsonSchema(reader) => {
                if reader.validates() {
                    let header = reader.set_header(record.header(SCHEMA_HEADER));
                    header.map_err(at(Stage::Decode))?;
                }
                space.read(reader, state, record, value)
            }
            AnyReader::Avro(reader) => {
                let header = reader.set_header(record.header(SCHEMA_HEADER));
                header.map_err(at(Stage::Decode))?;
                space.read(&mut **reader, state, record, value)
            }
            AnyReader::Protobuf(reader) => {
                let header = reader.set_header(record.header(SCHEMA_HEADER));
                header.map_err(at(Stage::Decode))?;
                space.read(&mut **reader, state, record, value)
            }
        }
    }

    /// Why a strict pipeline halts at the record that was read last, whatever else is wrong with it: it has
    /// fields that no column takes.
    pub(super) fn unknown_field(&self, record: Record<'_>) -> Option<Halt> {
        if !self.plan.is_strict {
            return None;
        }
        let names = self.reader.unknown_names(0);
        if names.is_empty() {
            return None;
        }
        let advice = format!(
            "{}:{}:{}: no column of {} takes {}, and evolution is \"strict\": add columns, then start the \
             pipeline again, or set evolution = \"ignore\"",
            record.topic(),
            record.partition(),
            record.offset(),
            self.table.target.label,
            names.join(", ")
        );
        Some(Halt::new("schema", advice))
    }

    /// The first hundred fields that no column takes, each once.
    fn log_unknown_names(&mut self) {
        let new = self.reader.unknown_names(self.names_logged);
        if new.is_empty() {
            return;
        }
        tracing::info!(
            fields = new.join(", "),
            "fields of events that no column takes"
        );
        self.names_logged += new.len();
    }
}
