//! Whether a lane is still in its group, by what the broker last said.
//!
//! In a table the fuller row wins, whoever writes it last. In a compacted topic the last one wins: who has
//! stood still, and whose partitions another member has by now, must not send what it still holds.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::clock::BootTime;
use crate::crash::{Guarantee, is_broken};

/// How often one who waits looks again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// A lane's membership. The broker accepts a commit from a member alone, and does not give its partitions
/// away before `session.timeout.ms` have passed from then on.
#[derive(Debug)]
pub(crate) struct Membership {
    lasts: Duration,
    until: Mutex<BootTime>,
    is_awaited: AtomicBool,
}

impl Membership {
    /// One that is still to be proven; each proof lasts so long.
    pub(crate) fn unproven(lasts: Duration) -> Self {
        Membership {
            lasts,
            until: Mutex::new(BootTime::now()),
            is_awaited: AtomicBool::new(false),
        }
    }

    /// A commit that was sent then has been accepted.
    pub(crate) fn proven(&self, sent_at: BootTime) {
        let mut until = self.until.lock().expect("no holder of this lock panics");
        *until = (*until).max(sent_at.after(self.lasts));
    }

    /// Whether somebody waits for a proof.
    pub(crate) fn is_awaited(&self) -> bool {
        self.is_awaited.load(Ordering::Relaxed) && !self.holds()
    }

    fn holds(&self) -> bool {
        let until = self.until.lock().expect("no holder of this lock panics");
        BootTime::now() < *until || is_broken(Guarantee::Membership)
    }

    /// Returns while it is proven, at once if it is.
    pub(crate) async fn confirmed(&self) {
        while !self.holds() {
            self.is_awaited.store(true, Ordering::Relaxed);
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        self.is_awaited.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_ends_by_itself_and_an_older_one_does_not_shorten_it() {
        let membership = Membership::unproven(Duration::from_secs(60));
        assert!(!membership.holds(), "nothing is proven yet");
        let before = BootTime::now();
        membership.proven(before.after(Duration::from_secs(10)));
        membership.proven(before);
        assert!(membership.holds());
        let ended = Membership::unproven(Duration::ZERO);
        ended.proven(before);
        assert!(!ended.holds());
    }

    #[tokio::test]
    async fn who_waits_is_told_of_and_goes_on_once_it_is_proven() {
        let membership = Membership::unproven(Duration::from_secs(60));
        assert!(!membership.is_awaited());
        let prove = async {
            while !membership.is_awaited() {
                tokio::task::yield_now().await;
            }
            membership.proven(BootTime::now());
        };
        tokio::join!(membership.confirmed(), prove);
        assert!(!membership.is_awaited());
    }
}
