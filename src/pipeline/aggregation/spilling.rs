//! Windows that outgrow their share of the memory go to disk.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{AggregationOperator, Space, halts};
use crate::halt::Halt;
use crate::memory::CacheShare;
use crate::operator::window::{Spill, SpillError, Windows};
use crate::state::Scratch;

/// Where they go, and when.
#[derive(Debug)]
pub(crate) struct Spilling {
    scratch: Arc<Scratch>,
    /// What the windows of the lane may take of the memory.
    share: CacheShare,
    /// What cannot be written yet, because its rows are being sent, and some more.
    spill_at: usize,
    /// Why the lane cannot go on.
    halt: Option<Halt>,
}

impl Spilling {
    pub(crate) fn new(scratch: Arc<Scratch>, share: CacheShare) -> Spilling {
        Spilling {
            scratch,
            share,
            spill_at: 0,
            halt: None,
        }
    }

    pub(super) fn store(&self) -> Box<dyn Spill> {
        Box::new(self.scratch.space())
    }

    pub(super) fn halt(&self) -> Option<Halt> {
        self.halt.clone()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.scratch.memory_bytes()
    }

    /// # Errors
    /// They cannot be written.
    fn spill(&mut self, spaces: &mut [Space]) -> Result<(), SpillError> {
        let held =
            |spaces: &[Space]| -> usize { spaces.iter().map(|s| s.windows.memory_bytes()).sum() };
        let share = self.share.load(Ordering::Relaxed);
        if held(spaces) < share.max(self.spill_at) {
            return Ok(());
        }
        for space in &mut *spaces {
            space.windows.spill()?;
        }
        self.spill_at = held(spaces).saturating_add(share / 4);
        Ok(())
    }
}

impl AggregationOperator {
    /// The same whose windows go to disk when they outgrow their share of the memory.
    pub(in crate::pipeline) fn spilling(self, spilling: Option<Spilling>) -> Self {
        AggregationOperator { spilling, ..self }
    }

    /// Makes room in memory, if the windows take more than their share.
    pub(super) fn spill(&mut self) {
        let Some(spilling) = self.spilling.as_mut().filter(|s| s.halt.is_none()) else {
            return;
        };
        if let Err(error) = spilling.spill(&mut self.spaces) {
            spilling.halt = Some(halts::spilling(&error));
        }
    }

    pub(super) fn new_windows(&self) -> Windows {
        let plan = &self.plan;
        let mut windows = Windows::new(plan.rules.clone(), plan.fingerprint);
        if plan.dedup.is_some() {
            windows.close_without_records();
        }
        if self.settings.leaves_out_cut {
            let within_ms = plan.dedup.as_ref().map(|dedup| dedup.rules.within_ms);
            windows.leave_out_cut(within_ms.unwrap_or(0));
        }
        match &self.spilling {
            Some(spilling) => windows.spilling_to(spilling.store()),
            None => windows,
        }
    }
}
