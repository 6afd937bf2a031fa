//! Groups as they are read from disk: each from its parts, which lie side by side.

use super::pane::Group;
use super::spill::{self, Cursor, SpillError};
use super::{CellRules, stored};

/// See the module.
pub(super) struct Gathering<'r> {
    entries: Box<dyn Cursor>,
    rules: &'r [CellRules],
    seed: u64,
    /// The first part of the group that comes next, and what its keys have in common.
    ahead: Option<(Vec<u8>, Group)>,
}

impl<'r> Gathering<'r> {
    pub(super) fn new(entries: Box<dyn Cursor>, rules: &'r [CellRules], seed: u64) -> Self {
        Gathering {
            entries,
            rules,
            seed,
            ahead: None,
        }
    }

    /// The next group, of all its parts, and what its keys have in common.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<(Vec<u8>, Group)>, SpillError> {
        let mut gathered = self.ahead.take();
        while let Some((key, value)) = self.entries.next()? {
            let (group, same) = spill::group_of(key);
            let part = stored::read(group, value, self.seed);
            let Some(part) = part.filter(|part| part.cells.len() == self.rules.len()) else {
                let why = "what was read is not what was written";
                return Err(SpillError::Failed(why.to_owned()));
            };
            gathered = match gathered {
                Some((held, before)) if held == same => {
                    Some((held, joined(before, part, self.rules, self.seed)))
                }
                Some(whole) => {
                    self.ahead = Some((same.to_vec(), part));
                    return Ok(Some(whole));
                }
                None => Some((same.to_vec(), part)),
            };
        }
        Ok(gathered)
    }
}

/// A group of what was known of it before, and of a later part.
fn joined(before: Group, part: Group, rules: &[CellRules], seed: u64) -> Group {
    if part.is_whole {
        return part;
    }
    let sent_version = before.sent_version.max(part.sent_version);
    let is_whole = before.is_whole;
    // The smaller one goes into the larger one.
    let (mut into, from) = match before.held_bytes() >= part.held_bytes() {
        true => (before, part),
        false => (part, before),
    };
    into.merge(rules, from, seed);
    (into.sent_version, into.is_whole) = (sent_version, is_whole);
    into
}
