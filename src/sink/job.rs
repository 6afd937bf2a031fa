//! One range on its way to its destination, and how that ends.

use std::sync::Arc;
use std::time::Duration;

use super::Membership;
use super::doubts::Doubts;
use super::errors::InsertError;
use super::refusals::{Rows, Suspicion};
use crate::batch::SealedBatch;
use crate::clock::BootTime;
use crate::halt::Halt;
use crate::progress::Claim;
use crate::progress::insert::{Attempts, History, Missing, Round, Step};
use crate::source::TopicPartition;

/// The duty to write one range.
#[derive(Debug)]
pub(crate) struct WriteJob {
    pub(crate) claim: Claim,
    pub(crate) partition: TopicPartition,
    pub(crate) batch: SealedBatch,
    pub(crate) delivery: Delivery,
    /// Part of a range that was refused with an answer that nobody classified.
    pub(crate) is_half: bool,
    /// Goes with the job for a new lease and back.
    pub(crate) trouble: Trouble,
}

/// What has kept a range from being written so far.
#[derive(Debug, Default)]
pub(crate) struct Trouble {
    /// So long an insert of the range may be running that somebody else has sent; at least as long as our own.
    pub(super) earlier_span: Duration,
    /// How often the rows were refused behind the table.
    pub(super) view_failures: u32,
    /// No insert of the range that was sent earlier is running after this.
    pub(super) running_until: Option<BootTime>,
    pub(super) suspicion: Suspicion,
    pub(super) doubts: Doubts,
}

/// How often rows may arrive.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// The range was named in a commit; the insert carries its token.
    ExactlyOnce {
        /// `epoch:table:topic:partition:from-to`.
        token: String,
        attempts: Attempts,
        /// After this nothing may be sent before the naming commit has been repeated.
        lease_until: BootTime,
    },
    /// Sent until acknowledged.
    AtLeastOnce,
    /// The same; and what goes to a topic, only while the lane is known to be in its group.
    AsMember(Arc<Membership>),
}

/// How a job ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Acknowledged; the claim has settled. So many of its records have become dead letters on the way.
    Written { dead_letters: u64 },
    /// The lease is over: repeat the naming commit, then hand the job in again.
    Renew(Box<WriteJob>),
    /// The server refuses a row of it.
    Refused(Box<WriteJob>, InsertError),
    /// Only an operator can go on; the claim is given up.
    Halted(Halt),
    /// The table has other columns than these rows: they must be made again. The claim is given up.
    Altered(String),
}

impl Trouble {
    /// None yet, of a range whose inserts may be running for so long, whoever sends them.
    pub(crate) fn of(earlier_span: Duration) -> Self {
        Trouble {
            earlier_span,
            ..Trouble::default()
        }
    }
}

impl WriteJob {
    pub(super) fn rows(&self) -> Rows {
        match self.delivery {
            Delivery::AsMember(_) => Rows::Unsplit,
            _ if self.batch.single_offset().is_some() => Rows::One,
            _ if self.is_half => Rows::Half,
            _ => Rows::Many,
        }
    }

    pub(super) fn step(&self) -> Step {
        match &self.delivery {
            Delivery::ExactlyOnce { attempts, .. } => attempts.next(),
            Delivery::AtLeastOnce | Delivery::AsMember(_) => Step::Send(Round::FIRST),
        }
    }

    pub(super) fn attempts(&mut self) -> &mut Attempts {
        match &mut self.delivery {
            Delivery::ExactlyOnce { attempts, .. } => attempts,
            Delivery::AtLeastOnce | Delivery::AsMember(_) => {
                unreachable!("only exactly-once looks and waits")
            }
        }
    }

    /// Which rows go out under which token, if there is one.
    pub(super) fn tokens(&self) -> Option<&Attempts> {
        match &self.delivery {
            Delivery::ExactlyOnce { attempts, .. } => Some(attempts),
            Delivery::AtLeastOnce | Delivery::AsMember(_) => None,
        }
    }

    /// The rows are acknowledged. False where nothing more is known of them: they are taken to be there.
    pub(super) fn acknowledged(&mut self) -> bool {
        let Delivery::ExactlyOnce { attempts, .. } = &mut self.delivery else {
            return false;
        };
        attempts.acknowledged();
        true
    }

    /// Nobody knows whether rows arrived. `until`: where a sending may be running on, when it has ended.
    pub(super) fn unknown(&mut self, until: Option<BootTime>) {
        self.may_run(until);
        if let Delivery::ExactlyOnce { attempts, .. } = &mut self.delivery {
            attempts.unknown(until.is_some());
        }
    }

    /// Rows were refused; `until` as above.
    pub(super) fn refused(&mut self, until: Option<BootTime>) {
        self.may_run(until);
        self.attempts().refused(until.is_some());
    }

    fn may_run(&mut self, until: Option<BootTime>) {
        self.trouble.running_until = self.trouble.running_until.max(until);
    }

    /// Of the rows that were sent last, how many are in the table, and how many they are.
    pub(super) fn count(&self, missing: &Missing) -> (usize, usize) {
        let sends = |id: &i64| self.tokens().is_none_or(|t| t.sends(*id));
        let from = self.claim.range().from;
        let sent = || self.batch.row_ids(from).filter(sends);
        let there = sent().filter(|id| !missing.contains(*id));
        (there.count(), sent().count())
    }

    /// The lane's membership, of rows that a lane emits.
    pub(super) fn membership(&self) -> Option<&Arc<Membership>> {
        match &self.delivery {
            Delivery::AsMember(membership) => Some(membership),
            Delivery::ExactlyOnce { .. } | Delivery::AtLeastOnce => None,
        }
    }

    /// What parts of a refused range begin with.
    pub(crate) fn parts_history(&self) -> History {
        match self.step() {
            Step::Split(history) => history,
            _ => History::Unsent,
        }
    }

    pub(super) fn lease_is_over(&self) -> bool {
        match &self.delivery {
            Delivery::ExactlyOnce { lease_until, .. } => BootTime::now() >= *lease_until,
            Delivery::AtLeastOnce | Delivery::AsMember(_) => false,
        }
    }
}
