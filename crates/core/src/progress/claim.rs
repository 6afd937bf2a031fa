//! The duty to make a range durable, as a value that cannot be lost silently.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use super::Range;

/// Proof that another system has acknowledged a write. Minted in `sink/` only.
#[derive(Debug)]
pub struct Receipt(());

impl Receipt {
    /// Call this where an acknowledgement was read off the wire, or where there was nothing to write.
    pub fn acknowledged() -> Self {
        Receipt(())
    }
}

/// One uninterrupted holding of one partition by one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnershipId(pub u64);

/// What the lane learns when the last part of a claim is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Settlement {
    /// The holding the range was sealed under; settlements of an ended one are ignored.
    pub ownership: OwnershipId,
    /// The range the claim stood for.
    pub range: Range,
    /// False when a part was dropped unsettled: the partition must be read again.
    pub durable: bool,
}

#[derive(Debug)]
struct Duty {
    ownership: OwnershipId,
    range: Range,
    abandoned: AtomicBool,
    lane: Sender<Settlement>,
}

impl Drop for Duty {
    fn drop(&mut self) {
        let settlement = Settlement {
            ownership: self.ownership,
            range: self.range,
            durable: !*self.abandoned.get_mut(),
        };
        // A lane that is gone has nothing to learn: its successor replays the range.
        let _ = self.lane.send(settlement);
    }
}

/// One part of the duty for one range. Dropped unsettled it abandons the range, and the partition rewinds.
#[must_use = "a dropped claim abandons its range and rewinds the partition"]
#[derive(Debug)]
pub struct Claim {
    duty: Arc<Duty>,
    settled: bool,
}

impl Claim {
    pub(super) fn new(ownership: OwnershipId, range: Range, lane: Sender<Settlement>) -> Self {
        let duty = Duty {
            ownership,
            range,
            abandoned: AtomicBool::new(false),
            lane,
        };
        Claim {
            duty: Arc::new(duty),
            settled: false,
        }
    }

    /// One more write that the range depends on: durable only when every part has settled.
    #[cfg(test)]
    pub fn split(&self) -> Claim {
        Claim {
            duty: Arc::clone(&self.duty),
            settled: false,
        }
    }

    /// Discharges this part; only a receipt can.
    pub fn settle(mut self, _proof: &Receipt) {
        self.settled = true;
    }

    /// The range this claim stands for.
    #[must_use]
    pub fn range(&self) -> Range {
        self.duty.range
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.settled {
            self.duty.abandoned.store(true, Ordering::Release);
        }
    }
}
