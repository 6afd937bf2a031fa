//! The process's memory, counted where it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::observe::metrics::process_memory;

/// `service.memory_max`, divided: what the lanes hold is counted here, and at the limit they pause.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    memory_max_bytes: u64,
    bytes_max: AtomicU64,
    cache_bytes_max: CacheShare,
    state_bytes_max: CacheShare,
    parts: [AtomicU64; MemoryBudget::PARTS.len()],
}

/// Bytes that the profile cache of one lane may take, or its windows before they go to disk: it follows while
/// pipelines come and go.
pub(crate) type CacheShare = Arc<AtomicUsize>;

/// One that stays as it is.
pub(crate) fn share_of(bytes: usize) -> CacheShare {
    Arc::new(AtomicUsize::new(bytes))
}

/// What memory is held for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MemoryPart {
    Batches,
    InFlight,
    Cache,
    State,
    /// Fetched records that no lane has taken yet.
    Queue,
    /// Of what is in flight, what a server has not taken for a while and may never take; counted there.
    Stuck,
}

impl MemoryBudget {
    const PARTS: [&'static str; 6] = ["batches", "in_flight", "cache", "state", "queue", "stuck"];
    /// What the process takes beside what is counted: code, stacks, the clients' own buffers, and
    /// what the allocator holds in reserve.
    const PROCESS_BYTES: u64 = 80 << 20;

    /// The budget of no lane: [`MemoryBudget::share`] follows.
    pub(crate) fn new(memory_max_bytes: u64) -> Self {
        process_memory("limit", memory_max_bytes);
        let budget = MemoryBudget {
            memory_max_bytes,
            bytes_max: AtomicU64::new(0),
            cache_bytes_max: CacheShare::default(),
            state_bytes_max: CacheShare::default(),
            parts: Default::default(),
        };
        budget.share(0, 0);
        budget
    }

    /// Divides what there is among this many lanes anew.
    ///
    /// `queue_bytes`: what their consumers prefetch together. What waits in their queues is counted; as
    /// much again is on its way there or borrowed by a lane.
    pub(crate) fn share(&self, lanes: u64, queue_bytes: u64) {
        let fixed = Self::PROCESS_BYTES + queue_bytes;
        let rest = self.memory_max_bytes.saturating_sub(fixed);
        let bytes_max = rest.max(self.memory_max_bytes / 4);
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        let cache_bytes_max = bytes_max / 6 / lanes.max(1);
        let cache_bytes_max = usize::try_from(cache_bytes_max).unwrap_or(usize::MAX);
        self.cache_bytes_max
            .store(cache_bytes_max, Ordering::Relaxed);
        let state_bytes_max = bytes_max / 3 / lanes.max(1);
        let state_bytes_max = usize::try_from(state_bytes_max).unwrap_or(usize::MAX);
        self.state_bytes_max
            .store(state_bytes_max, Ordering::Relaxed);
    }

    /// Bytes that each of this many lanes may prefetch.
    pub(crate) fn queue_bytes_of_lane(&self, lanes: u64) -> u64 {
        (self.memory_max_bytes / 32 / lanes.max(1)).clamp(1 << 20, 16 << 20)
    }

    /// What the profile cache of one lane may take, now and later.
    pub(crate) fn cache_share(&self) -> CacheShare {
        self.cache_bytes_max.clone()
    }

    /// What the windows of one lane may take before they go to disk, now and later. What is being sent of them
    /// stays in memory, so this is well below what makes memory tight.
    pub(crate) fn state_share(&self) -> CacheShare {
        self.state_bytes_max.clone()
    }

    fn bytes_max(&self) -> u64 {
        self.bytes_max.load(Ordering::Relaxed)
    }

    /// A lane's share of one part changed.
    fn change(&self, part: MemoryPart, before: usize, after: usize) {
        let cell = &self.parts[part as usize];
        cell.fetch_add(after as u64, Ordering::Relaxed);
        let now = cell.fetch_sub(before as u64, Ordering::Relaxed) - before as u64;
        process_memory(Self::PARTS[part as usize], now);
    }

    fn held(&self) -> u64 {
        self.parts[..MemoryPart::Stuck as usize]
            .iter()
            .map(|part| part.load(Ordering::Relaxed))
            .sum()
    }

    /// At 80 %: batches are cut before they are full.
    pub(crate) fn is_tight(&self) -> bool {
        self.held() >= self.bytes_max() / 5 * 4
    }

    /// At 50 %: what was held back for want of room may go on.
    pub(crate) fn is_half_full(&self) -> bool {
        self.held() >= self.bytes_max() / 2
    }

    /// At 100 %: nothing more is taken in.
    pub(crate) fn is_full(&self) -> bool {
        self.held() >= self.bytes_max()
    }

    /// Whether acknowledgements are awaited that will give something back, beside those of tables that a
    /// server refuses.
    pub(crate) fn has_in_flight(&self) -> bool {
        let part = |p: MemoryPart| self.parts[p as usize].load(Ordering::Relaxed);
        let (in_flight, stuck) = (part(MemoryPart::InFlight), part(MemoryPart::Stuck));
        // The two are not measured at the same moment.
        in_flight > stuck + stuck / 8
    }

    /// Whether caches and operator state alone leave no room for a batch.
    pub(crate) fn is_full_of_state(&self) -> bool {
        let part = |p: MemoryPart| self.parts[p as usize].load(Ordering::Relaxed);
        part(MemoryPart::State) + part(MemoryPart::Cache) >= self.bytes_max()
    }
}

/// Bytes counted for as long as this lives.
#[derive(Debug)]
pub(crate) struct MemoryHold {
    budget: Arc<MemoryBudget>,
    part: MemoryPart,
    bytes: usize,
}

impl MemoryHold {
    pub(crate) fn new(budget: &Arc<MemoryBudget>, part: MemoryPart, bytes: usize) -> Self {
        let mut hold = MemoryHold {
            budget: Arc::clone(budget),
            part,
            bytes: 0,
        };
        hold.resize(bytes);
        hold
    }

    /// Another hold of the same part.
    pub(crate) fn another(&self, bytes: usize) -> Self {
        MemoryHold::new(&self.budget, self.part, bytes)
    }

    pub(crate) fn resize(&mut self, bytes: usize) {
        self.budget.change(self.part, self.bytes, bytes);
        self.bytes = bytes;
    }
}

impl Drop for MemoryHold {
    fn drop(&mut self) {
        self.resize(0);
    }
}

/// Makes the C library's allocator, which this crate and librdkafka share, give back what is freed.
///
/// By itself it learns from every large block that is freed to take the next ones from heaps that
/// it hardly ever returns: a process that counts 160 MiB then takes 250. Fixed, large blocks
/// (batches, mostly) go back to the kernel one by one. To be called before any thread starts.
#[cfg(target_env = "gnu")]
pub(crate) fn bound_allocator(lanes: u64) {
    // Below this a block is worth keeping: what a fetch brings comes and goes all the time.
    const LARGE_BLOCK_BYTES: libc::c_int = 4 << 20;
    const SPARE_BYTES: libc::c_int = 8 << 20;
    let arenas = libc::c_int::try_from(lanes + 1).unwrap_or(libc::c_int::MAX);
    for (parameter, value) in [
        (libc::M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES),
        (libc::M_TRIM_THRESHOLD, SPARE_BYTES),
        // One for everybody and as many as there are threads that allocate most.
        (libc::M_ARENA_MAX, arenas),
    ] {
        // SAFETY: mallopt takes and returns integers; it locks what it changes.
        let taken = unsafe { libc::mallopt(parameter, value) };
        debug_assert_eq!(taken, 1, "the allocator refuses {parameter} = {value}");
    }
}

/// Other C libraries' allocators are taken as they are.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn bound_allocator(_lanes: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_is_what_the_process_and_the_queues_leave() {
        let budget = MemoryBudget::new(256 << 20);
        budget.share(1, 16 << 20);
        let free = (256 - 80 - 16) << 20;
        assert!(!budget.is_tight());
        budget.change(MemoryPart::Batches, 0, free / 5 * 4);
        assert!(budget.is_tight() && !budget.is_full());
        budget.change(MemoryPart::InFlight, 0, free / 5 + 5);
        assert!(budget.is_full() && !budget.is_full_of_state());
        budget.change(MemoryPart::Batches, free / 5 * 4, 0);
        assert!(!budget.is_tight());
    }

    #[test]
    fn shares_follow_the_lanes() {
        let budget = MemoryBudget::new(256 << 20);
        let cache = budget.cache_share();
        let mut caches = vec![];
        for (lanes, queue_bytes) in [(1, 8 << 20), (4, 8 << 20), (200, 200 << 20), (1, 8 << 20)] {
            budget.share(lanes, queue_bytes);
            caches.push(cache.load(Ordering::Relaxed) >> 10);
        }
        // A sixth of what is left, by the number of lanes; a quarter of all is left at least.
        assert_eq!(caches, [28_672, 7_168, 54, 28_672]);
        let queues = [0, 1, 2, 4, 200].map(|lanes| budget.queue_bytes_of_lane(lanes) >> 20);
        assert_eq!(queues, [8, 8, 4, 2, 1]);
    }

    #[test]
    fn what_a_server_refuses_is_held_and_not_waited_for() {
        let budget = MemoryBudget::new(256 << 20);
        budget.change(MemoryPart::InFlight, 0, 1000);
        assert!(budget.has_in_flight());
        budget.change(MemoryPart::Stuck, 0, 1000);
        assert!(!budget.has_in_flight());
        assert_eq!(budget.held(), 1000);
        budget.change(MemoryPart::InFlight, 1000, 2000);
        assert!(budget.has_in_flight());
    }

    #[test]
    fn a_hold_gives_back_what_it_held() {
        let budget = Arc::new(MemoryBudget::new(256 << 20));
        let mut hold = MemoryHold::new(&budget, MemoryPart::State, 1 << 30);
        assert!(budget.is_full_of_state());
        hold.resize(10);
        assert!(!budget.is_tight());
        drop(hold);
        assert_eq!(budget.held(), 0);
    }
}
