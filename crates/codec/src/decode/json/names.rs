//! Member names of one object of the plan, and a guess of which comes next.
//!
//! Producers write the members of their records in the same order every time. So each name remembers
//! which name followed it last, and the guess is checked by comparing bytes; only a wrong guess costs
//! a scan of the name and a look-up. Names nobody wants are remembered too, up to a limit.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::plan::Node;

/// A name in memory; 0 stands for the object's opening brace.
pub(super) type NameId = u16;
/// The predecessor of an object's first member.
pub(super) const START: NameId = 0;

/// Longest name that can be guessed, its closing quote included.
const GUESS_BYTES_MAX: usize = 32;
/// Unwanted names remembered; beyond them the memory starts afresh.
const UNWANTED_MAX: usize = 256;

/// A name as its bytes stand in a record, closing quote included, padded to a fixed size.
#[derive(Debug, Clone, Copy)]
struct Guess {
    bytes: [u8; GUESS_BYTES_MAX],
    mask: [u8; GUESS_BYTES_MAX],
    len: usize,
    next: NameId,
}

impl Guess {
    /// Equals no text: 0xff is no byte of UTF-8.
    const NEVER: Guess = Guess {
        bytes: [0xff; GUESS_BYTES_MAX],
        mask: [0xff; GUESS_BYTES_MAX],
        len: 0,
        next: START,
    };

    fn new(name: &[u8]) -> Guess {
        let plain = |&byte: &u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if name.len() >= GUESS_BYTES_MAX || !name.iter().all(plain) {
            return Guess::NEVER;
        }
        let mut guess = Guess {
            bytes: [0; GUESS_BYTES_MAX],
            mask: [0; GUESS_BYTES_MAX],
            len: name.len() + 1,
            next: START,
        };
        guess.bytes[..name.len()].copy_from_slice(name);
        guess.bytes[name.len()] = b'"';
        guess.mask[..=name.len()].fill(0xff);
        guess
    }

    /// Whether the name stands at `at`.
    #[inline(always)]
    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        let Some(found) = bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<GUESS_BYTES_MAX>())
        else {
            let end_of_record = bytes.get(at..).unwrap_or_default();
            return self.len > 0 && end_of_record.starts_with(&self.bytes[..self.len]);
        };
        let mut differ = 0;
        for (found, (byte, mask)) in found.iter().zip(self.bytes.iter().zip(&self.mask)) {
            differ |= (found ^ byte) & mask;
        }
        differ == 0
    }

    fn name(&self) -> &[u8] {
        &self.bytes[..self.len - 1]
    }
}

/// What is known about the member that starts at some position.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// The name, to be passed as the predecessor of the next one.
    pub(super) id: NameId,
    /// Length of the name in bytes, closing quote included.
    pub(super) len: usize,
}

/// The names met in one kind of object: first the wanted ones, in the plan's order, then others.
#[derive(Debug)]
pub(super) struct Names {
    guesses: Vec<Guess>,
    wanted: Vec<Box<str>>,
    ids: HashTable<NameId>,
    hasher: RandomState,
}

impl Names {
    pub(super) fn new(node: &Node) -> Names {
        let wanted: Vec<Box<str>> = node
            .children()
            .iter()
            .map(|(name, _)| name.clone())
            .collect();
        let mut guesses = Vec::with_capacity(1 + wanted.len() + UNWANTED_MAX);
        guesses.push(Guess::NEVER);
        guesses.extend(wanted.iter().map(|name| Guess::new(name.as_bytes())));
        let ids = HashTable::with_capacity(if wanted.is_empty() {
            0
        } else {
            guesses.capacity()
        });
        let mut names = Names {
            guesses,
            wanted,
            ids,
            hasher: RandomState::default(),
        };
        names.hash_wanted();
        names
    }

    fn hash_wanted(&mut self) {
        self.ids.clear();
        for id in 1..=self.wanted.len() {
            self.insert(id as NameId);
        }
    }

    fn insert(&mut self, id: NameId) {
        let Names {
            guesses,
            wanted,
            ids,
            hasher,
        } = self;
        let name = |id| name_of(wanted, guesses, id);
        ids.insert_unique(hasher.hash_one(name(id)), id, |&other| {
            hasher.hash_one(name(other))
        });
    }

    /// The child of the plan's node that a name stands for.
    #[inline]
    pub(super) fn child(&self, id: NameId) -> Option<usize> {
        let index = usize::from(id).wrapping_sub(1);
        (index < self.wanted.len()).then_some(index)
    }

    /// Tries the name that followed `previous` last time, and the one after that, which is next
    /// when a member was left out.
    #[inline(always)]
    pub(super) fn guess(&self, bytes: &[u8], at: usize, previous: NameId) -> Option<Found> {
        let id = self.guesses[usize::from(previous)].next;
        let next = &self.guesses[usize::from(id)];
        if next.is_at(bytes, at) {
            return Some(Found { id, len: next.len });
        }
        let id = next.next;
        let after = &self.guesses[usize::from(id)];
        after
            .is_at(bytes, at)
            .then_some(Found { id, len: after.len })
    }

    /// Looks a name up, unescaped.
    pub(super) fn find(&self, name: &[u8]) -> Option<NameId> {
        let is_name = |&id: &NameId| name_of(&self.wanted, &self.guesses, id) == name;
        self.ids.find(self.hasher.hash_one(name), is_name).copied()
    }

    /// Remembers a name that nobody wants, if it can be guessed. Ids other than those of wanted names
    /// may end here.
    pub(super) fn remember(&mut self, name: &[u8]) -> Option<NameId> {
        let guess = Guess::new(name);
        if guess.len == 0 {
            return None;
        }
        if self.guesses.len() > self.wanted.len() + UNWANTED_MAX {
            self.guesses.truncate(1 + self.wanted.len());
            self.guesses.iter_mut().for_each(|guess| guess.next = START);
            self.hash_wanted();
        }
        let id = self.guesses.len() as NameId;
        self.guesses.push(guess);
        self.insert(id);
        Some(id)
    }

    /// Remembers that `id` came after `previous`.
    pub(super) fn follows(&mut self, previous: NameId, id: NameId) {
        if let Some(guess) = self.guesses.get_mut(usize::from(previous)) {
            guess.next = id;
        }
    }
}

fn name_of<'n>(wanted: &'n [Box<str>], guesses: &'n [Guess], id: NameId) -> &'n [u8] {
    let id = usize::from(id);
    match wanted.get(id - 1) {
        Some(name) => name.as_bytes(),
        None => guesses[id].name(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Path;
    use crate::decode::json::Plan;

    #[test]
    fn unwanted_names_are_forgotten_before_they_fill_the_memory() {
        let long = Path::field("a wanted name that is too long to be guessed");
        let plan = Plan::new(&[Path::field("a"), long]);
        let mut names = Names::new(&plan.nodes()[Plan::ROOT]);
        for i in 0..10_000 {
            let name = format!("n{i}");
            let id = names.remember(name.as_bytes()).unwrap();
            names.follows(START, id);
            let found = names
                .guess(format!("{name}\":1}}").as_bytes(), 0, START)
                .unwrap();
            assert_eq!(
                (found.id, found.len, names.child(id)),
                (id, name.len() + 1, None)
            );
            assert!(
                names.guesses.len() <= 3 + UNWANTED_MAX && names.ids.len() < names.guesses.len()
            );
            assert_eq!(names.find(name.as_bytes()), Some(id));
            assert_eq!(names.find(b"a").and_then(|id| names.child(id)), Some(0));
        }
    }
}
