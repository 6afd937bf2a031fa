//! Records that were read before us, and what has to wait until they have been read again.

use super::queue::Event;
use super::right::Version;
use super::{Join, Side};

/// A right record that becomes known when the replay is over.
#[derive(Debug)]
pub(super) struct Unapplied {
    key: Box<[u8]>,
    hash: u64,
    version: Version,
}

impl Unapplied {
    fn bytes(&self) -> usize {
        size_of::<Unapplied>() + self.key.len() + self.version.bytes()
    }
}

impl Join {
    /// Whether it is known if an event is new: both sides have begun, and an eager join knows all
    /// that was known when the commit was made.
    pub(super) fn can_judge(&self) -> bool {
        let [Some(_), Some(right)] = &self.inputs else {
            return false;
        };
        !self.rules.is_eager || right.is_replayed()
    }

    pub(super) fn hold(&mut self, event: Event<'_>) {
        self.held.push(event);
    }

    pub(super) fn hold_right(&mut self, key: &[u8], hash: u64, version: Version) {
        let unapplied = Unapplied {
            key: key.into(),
            hash,
            version,
        };
        self.unapplied_bytes += unapplied.bytes();
        self.unapplied.push_back(unapplied);
    }

    /// Goes on where the replay is far enough. New right records are kept back until the left has been
    /// read again as well: else an event they match, read again afterwards, would count as decided.
    pub(super) fn get_ready(&mut self) {
        if self.is_ready || !self.can_judge() {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        while let Some((number, event)) = held.first() {
            self.judge(event);
            held.remove(number);
        }
        if self.rules.is_eager && !self.input(Side::Left).is_replayed() {
            return;
        }
        self.is_ready = true;
        while let Some(unapplied) = self.unapplied.pop_front() {
            self.unapplied_bytes -= unapplied.bytes();
            let Unapplied { key, hash, version } = unapplied;
            self.apply(&key, hash, version);
        }
    }
}
