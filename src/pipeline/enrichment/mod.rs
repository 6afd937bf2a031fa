//! Events → rows with profile and session columns.
//!
//! A record is scanned once, its columns are encoded straight into the row, its session is judged,
//! and its profile is looked up with those of the rest of the chunk; then the row is complete. The
//! rules are contract §6.1, a second implementation of them is run against this one in `tests/`.

mod memory;
mod plan;
mod profile;
mod row;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::memory::memory;
pub(crate) use self::plan::{PROVENANCE, RowPlan};
use self::profile::ProfileEncoder;
use self::row::Row;
use crate::decode::Reject;
use crate::decode::json::Scanner;
use crate::lane::{Memory, Operator, Refusal};
use crate::lookup::{Found, ProfileCache, SlotId};
use crate::observe::metrics::{LookupResult, PipelineMetrics};
use crate::operator::{Sessions, Unreadable, Watermark};
use crate::sink::Stage;
use crate::source::{Record, TopicPartition};
use crate::table::append_length;

/// What one lane keeps for its rows.
pub(crate) struct EnrichmentOperator {
    plan: Arc<RowPlan>,
    settings: Settings,
    memory: Option<Memory>,
    scanner: Scanner,
    profiles: Option<Profiles>,
    metrics: PipelineMetrics,
    /// Rows of the chunk, without their profile columns, one behind the other.
    heads: Vec<u8>,
    rows: Vec<PendingRow>,
    /// Where each event column of the current row begins.
    starts: Vec<usize>,
    scratch: Vec<u8>,
    names_logged: usize,
}

/// What the configuration says about time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) watermark_delay: Duration,
    pub(crate) timestamp_ahead_max_ms: i64,
    pub(crate) cache_bytes_max: usize,
    pub(crate) cache_ttl_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct PendingRow {
    head_end: usize,
    profile: Profile,
}

#[derive(Debug, Clone, Copy)]
enum Profile {
    /// No key, or no look-up at all.
    Defaults,
    /// Not looked for yet: the key lies here among those of the chunk.
    Key {
        start: usize,
        end: usize,
    },
    Cached(SlotId),
    /// Index into what is asked for.
    Wanted(usize),
}

/// The profile columns of the chunk's rows.
struct Profiles {
    cache: ProfileCache,
    encoder: ProfileEncoder,
    /// Keys of the chunk's rows, one behind the other.
    keys: Vec<u8>,
    wanted: Vec<Vec<u8>>,
    wanted_index: HashMap<Vec<u8>, usize>,
    asked: bool,
    /// What became of each wanted key; `None`: nobody answered.
    resolved: Vec<Option<SlotId>>,
    cache_hits: u64,
}

/// What is kept for one partition.
pub(crate) struct PartitionState {
    topic: Vec<u8>,
    partition: i32,
    watermark: Watermark,
    sessions: Option<Sessions>,
}

impl EnrichmentOperator {
    pub(crate) fn new(
        plan: Arc<RowPlan>,
        settings: Settings,
        memory: Option<Memory>,
        metrics: PipelineMetrics,
    ) -> Self {
        let profiles = plan.profile.as_ref().map(|profile| Profiles {
            cache: ProfileCache::new(settings.cache_bytes_max, settings.cache_ttl_ms),
            encoder: profile.encoder(),
            keys: vec![],
            wanted: vec![],
            wanted_index: HashMap::new(),
            asked: false,
            resolved: vec![],
            cache_hits: 0,
        });
        EnrichmentOperator {
            scanner: Scanner::new(plan.paths.clone()),
            plan,
            settings,
            memory,
            profiles,
            metrics,
            heads: vec![],
            rows: vec![],
            starts: vec![],
            scratch: vec![],
            names_logged: 0,
        }
    }
}

impl Operator for EnrichmentOperator {
    type Partition = PartitionState;

    fn begin(&mut self, partition: &TopicPartition) -> PartitionState {
        let mut topic = vec![];
        append_length(partition.topic.len(), &mut topic);
        topic.extend_from_slice(partition.topic.as_bytes());
        let rules = self.plan.session.as_ref().map(|session| session.rules);
        PartitionState {
            topic,
            partition: partition.partition,
            watermark: Watermark::new(self.settings.watermark_delay),
            sessions: rules.map(|rules| Sessions::new(rules, rand::random())),
        }
    }

    fn memory(&self) -> Option<Memory> {
        self.memory.clone()
    }

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

    fn replay(&mut self, state: &mut PartitionState, record: Record<'_>) {
        let (heads, rows) = (self.heads.len(), self.rows.len());
        let keys = self.profiles.as_ref().map_or(0, |p| p.keys.len());
        // A refusal was one before, and its dead letter is written.
        let _ = self.accept(state, record);
        self.heads.truncate(heads);
        self.rows.truncate(rows);
        if let Some(profiles) = &mut self.profiles {
            profiles.keys.truncate(keys);
        }
    }

    fn accept(&mut self, state: &mut PartitionState, record: Record<'_>) -> Result<(), Refusal> {
        let row_start = self.heads.len();
        let fields = self
            .scanner
            .scan(record.value())
            .map_err(at(Stage::Decode))?;
        let mut row = Row {
            plan: &self.plan,
            fields: &fields,
            out: &mut self.heads,
            starts: &mut self.starts,
            scratch: &mut self.scratch,
        };
        let judged = row
            .event_columns()
            .map_err(at(Stage::Encode))
            .and_then(|()| {
                row.event_time(record, &self.settings)
                    .map_err(at(Stage::Operate))
            })
            .and_then(|time_ms| {
                row.session_columns(state, time_ms)
                    .map_err(at(Stage::Operate))
            });
        if let Err(refusal) = judged {
            self.heads.truncate(row_start);
            return Err(refusal);
        }
        row.provenance_columns(state, record);
        let profile = match &mut self.profiles {
            Some(profiles) if row.lookup_key() => profiles.note(&self.scratch),
            _ => Profile::Defaults,
        };
        self.rows.push(PendingRow {
            head_end: self.heads.len(),
            profile,
        });
        Ok(())
    }

    fn wanted(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
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

    fn found(&mut self, found: Vec<Found>, now_ms: u64) {
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

    fn unavailable(&mut self) {
        if let Some(profiles) = &mut self.profiles {
            profiles.resolved = vec![None; profiles.wanted.len()];
        }
    }

    fn row(&self, index: usize) -> [&[u8]; 2] {
        let start = index
            .checked_sub(1)
            .map_or(0, |before| self.rows[before].head_end);
        let row = self.rows[index];
        [
            &self.heads[start..row.head_end],
            self.profile_columns(row.profile),
        ]
    }

    fn clear(&mut self, now_ms: u64) {
        self.heads.clear();
        self.rows.clear();
        // One huge record must not keep its room for ever.
        if self.heads.capacity() > 8 << 20 {
            self.heads.shrink_to(1 << 20);
        }
        if let Some(profiles) = &mut self.profiles {
            self.metrics.lookup(
                LookupResult::Cache,
                std::mem::take(&mut profiles.cache_hits),
            );
            profiles.keys.clear();
            profiles.wanted.clear();
            profiles.wanted_index.clear();
            profiles.resolved.clear();
            profiles.asked = false;
            profiles.cache.trim(now_ms);
        }
        self.log_unknown_names();
    }

    fn tidy(&self, state: &mut PartitionState) {
        if let (Some(sessions), Some(watermark_ms)) =
            (&mut state.sessions, state.watermark.time_ms())
        {
            sessions.sweep(watermark_ms);
        }
    }

    fn watermark_ms(&self, state: &PartitionState) -> Option<i64> {
        state.watermark.time_ms()
    }

    fn state_bytes(&self, state: &PartitionState) -> usize {
        state.sessions.as_ref().map_or(0, Sessions::memory_bytes)
    }

    fn memory_bytes(&self) -> usize {
        let cache = self.profiles.as_ref().map_or(0, |p| p.cache.memory_bytes());
        cache + self.heads.capacity()
    }
}

impl EnrichmentOperator {
    fn profile_columns(&self, profile: Profile) -> &[u8] {
        let (Some(profiles), Some(plan)) = (&self.profiles, &self.plan.profile) else {
            return &[];
        };
        let slot = match profile {
            // Records are only dropped, never batched, before their keys are looked for.
            Profile::Key { .. } => unreachable!("a row is made before its profile was looked for"),
            Profile::Defaults => None,
            Profile::Cached(slot) => Some(slot),
            Profile::Wanted(index) => profiles.resolved[index],
        };
        slot.map_or(plan.defaults(), |slot| profiles.cache.columns(slot))
    }

    /// The first hundred fields that no column takes, each once.
    fn log_unknown_names(&mut self) {
        let names = self.scanner.unknown_names();
        if names.len() == self.names_logged {
            return;
        }
        let new: Vec<&str> = names.skip(self.names_logged).collect();
        tracing::info!(
            fields = new.join(", "),
            "fields of events that no column takes"
        );
        self.names_logged += new.len();
    }
}

impl Profiles {
    /// Keeps a key until the chunk is complete.
    fn note(&mut self, key: &[u8]) -> Profile {
        let start = self.keys.len();
        self.keys.extend_from_slice(key);
        Profile::Key {
            start,
            end: self.keys.len(),
        }
    }

    fn find(&mut self, key: Range<usize>, now_ms: u64) -> Profile {
        let key = &self.keys[key];
        if let Some(slot) = self.cache.find(key, now_ms) {
            self.cache_hits += 1;
            return Profile::Cached(slot);
        }
        if let Some(index) = self.wanted_index.get(key) {
            return Profile::Wanted(*index);
        }
        let index = self.wanted.len();
        self.wanted.push(key.to_vec());
        self.wanted_index.insert(key.to_vec(), index);
        Profile::Wanted(index)
    }
}

fn at(stage: Stage) -> impl Fn(Reject) -> Refusal {
    move |reject| Refusal { stage, reject }
}
