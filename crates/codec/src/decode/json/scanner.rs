//! One pass over a record: validates all of it, finds the wanted values.

use std::borrow::Cow;
use std::sync::Arc;

use super::fault::{Expected, Fault};
use super::names::{Found, NameId, Names, START};
use super::plan::Plan;
use super::spans::{RECORD_BYTES_MAX, Span};
use super::syntax::{self, Value};
use super::{Kind, Raw};
use crate::decode::{Reason, Reject, guise, text};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// Names kept of top-level members that no path leads to.
const UNKNOWN_NAMES_MAX: usize = 100;
/// Bytes kept of each of them.
const UNKNOWN_NAME_BYTES_MAX: usize = 256;

/// Finds the values of a [`Plan`] in records. Keeps what it learns of the producers' habits, so use
/// one per lane and topic; allocates nothing per record once warm.
#[derive(Debug)]
pub struct Scanner {
    plan: Arc<Plan>,
    walk: Walk,
}

/// What changes while a record is read.
#[derive(Debug)]
struct Walk {
    /// For each node of the plan the names met in its object.
    names: Vec<Names>,
    /// For each value of the plan where it lies.
    spans: Vec<Span>,
    unknown_names: Vec<Box<str>>,
    unescaped_name: Vec<u8>,
    /// Whether the watched object had a member that no path leads to.
    has_others: bool,
    /// Number of the record read last.
    serial: u64,
}

/// A record that a scanner has read.
#[derive(Debug, Clone, Copy)]
pub struct Scanned<'a> {
    text: &'a str,
    serial: u64,
}

/// The wanted values of one record.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'s, 'a> {
    text: &'a str,
    spans: &'s [Span],
    value_of_slot: &'s [usize],
    has_others: bool,
}

impl<'a> Fields<'_, 'a> {
    /// The value of the plan's path number `slot`; absent when the record has none.
    ///
    /// # Panics
    /// When the plan has no such slot.
    #[inline]
    #[must_use]
    pub fn get(&self, slot: usize) -> Raw<'a> {
        self.spans[self.value_of_slot[slot]].raw(self.text)
    }

    /// The record itself.
    #[must_use]
    pub fn whole(&self) -> Raw<'a> {
        let object = self.text.trim_ascii();
        Raw::new(Kind::Object, false, object, object.len())
    }

    /// Whether the object that the plan watches has members that no path leads to.
    #[must_use]
    pub fn has_others(&self) -> bool {
        self.has_others
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.value_of_slot.len()
    }

    /// Whether the plan has no paths.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.value_of_slot.is_empty()
    }

    /// Appends the values of all slots; they live as long as the record.
    pub fn append_to(&self, out: &mut Vec<Raw<'a>>) {
        out.extend((0..self.len()).map(|slot| self.get(slot)));
    }
}

impl Scanner {
    /// A scanner for the plan's paths.
    #[must_use]
    pub fn new(plan: impl Into<Arc<Plan>>) -> Self {
        let plan = plan.into();
        let walk = Walk {
            names: plan.nodes().iter().map(Names::new).collect(),
            spans: vec![Span::ABSENT; plan.values_len()],
            unknown_names: Vec::new(),
            unescaped_name: Vec::new(),
            has_others: false,
            // Scanners of different plans seldom agree by chance.
            serial: (plan.values_len() as u64) << 48,
        };
        Scanner { plan, walk }
    }

    /// Validates a record and finds the wanted values. Of duplicate names the last wins.
    ///
    /// # Errors
    /// `null_value`, `invalid_json`, `too_deep`, `not_an_object`, and `too_large` from 4 GiB on.
    #[inline(never)]
    pub fn scan<'a>(&mut self, record: Option<&'a [u8]>) -> Result<Fields<'_, 'a>, Reject> {
        let text = self.read(record)?.text;
        Ok(self.fields_of(text))
    }

    /// Does what [`Scanner::scan`] does, but keeps no hold of the scanner: for who wants to look at
    /// the values before it is known whether this was the right scanner.
    ///
    /// # Errors
    /// As [`Scanner::scan`].
    #[inline(always)]
    pub fn read<'a>(&mut self, record: Option<&'a [u8]>) -> Result<Scanned<'a>, Reject> {
        let record =
            record.ok_or_else(|| Reject::new(Reason::NullValue, "the record has no value"))?;
        if record.len() > RECORD_BYTES_MAX {
            return Err(Reject::new(
                Reason::TooLarge,
                "the record has 4 GiB or more",
            ));
        }
        let text = simdutf8::basic::from_utf8(record)
            .map_err(|_| guise::explained(not_utf8(record), record))?;
        let marked = if record.starts_with(BYTE_ORDER_MARK) {
            BYTE_ORDER_MARK.len()
        } else {
            0
        };
        let text = &text[marked..];
        self.walk.spans.fill(Span::ABSENT);
        self.walk.has_others = false;
        let is_object = self
            .walk
            .record(&self.plan, text.as_bytes())
            .map_err(|fault| guise::explained(fault.reject(marked), record))?;
        if !is_object {
            return Err(Reject::new(
                Reason::NotAnObject,
                "the top level is not an object",
            ));
        }
        self.walk.serial = self.walk.serial.wrapping_add(1);
        Ok(Scanned {
            text,
            serial: self.walk.serial,
        })
    }

    /// Reads the rest of a record from a member of the top-level object on. What stands before it is
    /// known to be well formed, the comma included, and nothing in it is wanted: a beginning that many
    /// records share need not be read each time. The values found are those of the rest.
    ///
    /// # Errors
    /// As [`Scanner::scan`], positions counting from the rest's first byte.
    pub fn read_rest<'a>(&mut self, rest: &'a [u8]) -> Result<Scanned<'a>, Reject> {
        if rest.len() > RECORD_BYTES_MAX {
            return Err(Reject::new(Reason::TooLarge, "4 GiB or more"));
        }
        let text = simdutf8::basic::from_utf8(rest).map_err(|_| not_utf8(rest))?;
        self.walk.spans.fill(Span::ABSENT);
        self.walk.has_others = false;
        self.walk
            .rest(&self.plan, text.as_bytes())
            .map_err(|fault| fault.reject(0))?;
        self.walk.serial = self.walk.serial.wrapping_add(1);
        Ok(Scanned {
            text,
            serial: self.walk.serial,
        })
    }

    /// The wanted values of the record read last.
    ///
    /// # Panics
    /// When another record was read since, or by another scanner.
    #[inline]
    #[must_use]
    pub fn fields<'a>(&self, scanned: Scanned<'a>) -> Fields<'_, 'a> {
        assert_eq!(scanned.serial, self.walk.serial, "not the record read last");
        self.fields_of(scanned.text)
    }

    #[inline]
    fn fields_of<'a>(&self, text: &'a str) -> Fields<'_, 'a> {
        Fields {
            text,
            spans: &self.walk.spans,
            value_of_slot: self.plan.value_of_slot(),
            has_others: self.walk.has_others,
        }
    }

    /// The first 100 names of top-level members that no path leads to, in the order they were met,
    /// cut to 256 bytes.
    pub fn unknown_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.walk.unknown_names.iter().map(|name| &**name)
    }
}

#[cold]
fn not_utf8(record: &[u8]) -> Reject {
    let at = simdutf8::compat::from_utf8(record)
        .err()
        .map_or(0, |error| error.valid_up_to());
    Reject::new(Reason::InvalidJson, format!("not UTF-8 at byte {at}"))
}

impl Walk {
    /// Reads a whole record; whether it is an object.
    fn record(&mut self, plan: &Plan, bytes: &[u8]) -> Result<bool, Fault> {
        let at = syntax::skip_space(bytes, 0);
        let is_object = bytes.get(at) == Some(&b'{');
        let end = if is_object {
            self.object(plan, Plan::ROOT, bytes, at, 1)?
        } else {
            syntax::value(bytes, at, 0)?.end
        };
        syntax::end_of_text(bytes, end)?;
        if let Some(index) = plan.nodes()[Plan::ROOT].value() {
            self.spans[index] = Span::new(
                at,
                Value {
                    end,
                    kind: Kind::Object,
                    escaped: false,
                },
            );
        }
        Ok(is_object)
    }

    /// Reads a whole record's end from a member of the top-level object on.
    fn rest(&mut self, plan: &Plan, bytes: &[u8]) -> Result<(), Fault> {
        let at = syntax::skip_space(bytes, 0);
        let end = self.members(plan, Plan::ROOT, bytes, at, 1)?;
        syntax::end_of_text(bytes, end)
    }

    /// Reads an object that paths lead into, its brace at `at`, itself being level `level`; returns
    /// the position after it. Recurses along the plan, never along the record, so `level` stays far
    /// below the limit.
    fn object(
        &mut self,
        plan: &Plan,
        node: usize,
        bytes: &[u8],
        at: usize,
        level: usize,
    ) -> Result<usize, Fault> {
        let at = syntax::skip_space(bytes, at + 1);
        if bytes.get(at) == Some(&b'}') {
            return Ok(at + 1);
        }
        self.members(plan, node, bytes, at, level)
    }

    /// Reads the members of such an object from the one at `at` on.
    fn members(
        &mut self,
        plan: &Plan,
        node: usize,
        bytes: &[u8],
        mut at: usize,
        level: usize,
    ) -> Result<usize, Fault> {
        let mut previous = START;
        loop {
            if bytes.get(at) != Some(&b'"') {
                return Err(Fault::new(Expected::Name, at));
            }
            let name = match self.names[node].guess(bytes, at + 1, previous) {
                Some(name) => name,
                None => self.name(node, bytes, at + 1, previous)?,
            };
            previous = name.id;
            at = syntax::colon(bytes, at + 1 + name.len)?;
            at = match self.names[node].child(name.id) {
                Some(child) => {
                    let child = plan.nodes()[node].children()[child].1;
                    self.wanted(plan, child, bytes, at, level)?
                }
                None => {
                    self.has_others |= node == plan.watched();
                    syntax::value(bytes, at, level)?.end
                }
            };
            at = syntax::skip_space(bytes, at);
            match bytes.get(at) {
                Some(b',') => at = syntax::skip_space(bytes, at + 1),
                Some(b'}') => return Ok(at + 1),
                _ => return Err(Fault::new(Expected::CommaOrEnd, at)),
            }
        }
    }

    /// Reads the value of a member that a path ends at or leads through.
    #[inline(always)]
    fn wanted(
        &mut self,
        plan: &Plan,
        node: usize,
        bytes: &[u8],
        from: usize,
        level: usize,
    ) -> Result<usize, Fault> {
        let wanted = &plan.nodes()[node];
        let leads_on = !wanted.children().is_empty();
        if leads_on {
            // An earlier member of the same name counts for nothing, nor does what lay in it.
            self.spans[wanted.values_below()].fill(Span::ABSENT);
        }
        let value = if leads_on && bytes.get(from) == Some(&b'{') {
            let end = self.object(plan, node, bytes, from, level + 1)?;
            Value {
                end,
                kind: Kind::Object,
                escaped: false,
            }
        } else {
            syntax::value(bytes, from, level)?
        };
        if let Some(index) = wanted.value() {
            self.spans[index] = Span::new(from, value);
        }
        Ok(value.end)
    }

    /// Reads a name that was not the one expected after `previous`.
    #[cold]
    fn name(
        &mut self,
        node: usize,
        bytes: &[u8],
        at: usize,
        previous: NameId,
    ) -> Result<Found, Fault> {
        let string = syntax::string_after_quote(bytes, at)?;
        let (len, as_received) = (string.quote + 1 - at, &bytes[at..string.quote]);
        if string.escaped {
            return Ok(Found {
                id: self.escaped_name(node, as_received),
                len,
            });
        }
        let names = &mut self.names[node];
        let id = match names.find(as_received) {
            Some(id) => Some(id),
            None => {
                if node == Plan::ROOT {
                    note_unknown(&mut self.unknown_names, as_received);
                }
                names.remember(as_received)
            }
        };
        if let Some(id) = id {
            names.follows(previous, id);
        }
        Ok(Found {
            id: id.unwrap_or(START),
            len,
        })
    }

    /// A name with escapes is compared unescaped; one with a lone surrogate equals no path.
    fn escaped_name(&mut self, node: usize, as_received: &[u8]) -> NameId {
        self.unescaped_name.clear();
        let whole = text::unescape(as_received, &mut self.unescaped_name).is_ok();
        let name = if whole {
            &self.unescaped_name[..]
        } else {
            as_received
        };
        match self.names[node].find(name) {
            Some(id) if whole => id,
            _ => {
                if node == Plan::ROOT {
                    note_unknown(&mut self.unknown_names, name);
                }
                START
            }
        }
    }
}

fn note_unknown(unknown_names: &mut Vec<Box<str>>, name: &[u8]) {
    if unknown_names.len() == UNKNOWN_NAMES_MAX {
        return;
    }
    let name = String::from_utf8_lossy(name);
    let name = match name
        .char_indices()
        .find(|(at, c)| at + c.len_utf8() > UNKNOWN_NAME_BYTES_MAX)
    {
        Some((cut, _)) => Cow::Borrowed(&name[..cut]),
        None => name,
    };
    if !unknown_names.iter().any(|known| **known == *name) {
        unknown_names.push(name.into());
    }
}
