//! What a record of either side says: when, which key, and what of it goes into the joined record.

use std::sync::Arc;

use super::keys::{Form, key_text};
use super::plan::{JoinPlan, SidePlan};
use super::rendering::append_time;
use crate::decode::json::{Fields, Kind, Raw, Scanner};
use crate::decode::{Reject, text};
use crate::lane::Refusal;
use crate::pipeline::event_time::{event_time_ms, kafka_time_ms};
use crate::sink::Stage;
use crate::source::Record;

/// An event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left<'r> {
    pub(crate) time_ms: i64,
    /// The text of the key field; none: it matches nothing.
    pub(crate) key: Option<&'r [u8]>,
    /// What stands between the braces, as received, without members of the names that are added.
    pub(crate) own: &'r [u8],
    /// Where it has some of those: what stands in for the added members if nothing matches.
    pub(crate) unmatched: Option<&'r [u8]>,
}

/// What events are joined with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Right<'r> {
    Record {
        time_ms: i64,
        /// The text of the key field; none: nothing matches it.
        key: Option<&'r [u8]>,
        /// The members that are added to an event, as JSON text.
        members: &'r [u8],
    },
    /// A record without value: from its Kafka timestamp on (−1 where the broker has none) there is
    /// nothing of its Kafka key.
    Tombstone {
        time_ms: i64,
        /// The text of the key field, by the Kafka key.
        key: Option<&'r [u8]>,
        form: Option<Form>,
    },
}

/// Reads one event at a time into buffers of its own.
pub(crate) struct LeftReader {
    plan: Arc<JoinPlan>,
    scanner: Scanner,
    key: Vec<u8>,
    own: Vec<u8>,
    unmatched: Vec<u8>,
}

/// Reads one record of the right side at a time into buffers of its own.
pub(crate) struct RightReader {
    plan: Arc<JoinPlan>,
    scanner: Scanner,
    key: Vec<u8>,
    members: Vec<u8>,
    scratch: Vec<u8>,
    names_logged: usize,
}

impl LeftReader {
    pub(crate) fn new(plan: Arc<JoinPlan>) -> Self {
        LeftReader {
            scanner: Scanner::new(plan.left.paths.clone()),
            plan,
            key: vec![],
            own: vec![],
            unmatched: vec![],
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// It can never be joined.
    pub(crate) fn read<'r>(&'r mut self, record: Record<'r>) -> Result<Left<'r>, Refusal> {
        let plan = &self.plan;
        let fields = scan(&mut self.scanner, record)?;
        let time_ms = time(&plan.left, &fields, record, plan)?;
        let key = key(&plan.left, &fields, &mut self.key)?;
        let whole = fields.whole();
        let mut added = SidePlan::REST..SidePlan::REST + plan.added.len();
        let (own, unmatched) = if added.any(|slot| fields.get(slot).kind() != Kind::Absent) {
            self.own.clear();
            append_others(whole, &plan.added, &mut self.own);
            self.unmatched.clear();
            append_unmatched(plan, &fields, &mut self.unmatched);
            (&self.own[..], Some(&self.unmatched[..]))
        } else {
            (inner(whole.as_received()).as_bytes(), None)
        };
        Ok(Left {
            time_ms,
            key,
            own,
            unmatched,
        })
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.key.capacity() + self.own.capacity() + self.unmatched.capacity()
    }
}

impl RightReader {
    pub(crate) fn new(plan: Arc<JoinPlan>) -> Self {
        RightReader {
            scanner: Scanner::new(plan.right.paths.clone()),
            plan,
            key: vec![],
            members: vec![],
            scratch: vec![],
            names_logged: 0,
        }
    }

    /// Reads one record.
    ///
    /// # Errors
    /// It can never be joined with.
    pub(crate) fn read<'r>(&'r mut self, record: Record<'r>) -> Result<Right<'r>, Refusal> {
        if record.value().is_none() {
            let side = &self.plan.right;
            let key = record.key();
            let key = key.map(|k| key_text(k, &side.key_field, side.key_format, &mut self.key));
            return Ok(Right::Tombstone {
                time_ms: record.timestamp_ms(),
                key: key.map(|(text, _)| text),
                form: key.map(|(_, form)| form.as_received(side.key_format, record)),
            });
        }
        let plan = &self.plan;
        let fields = scan(&mut self.scanner, record)?;
        let time_ms = time(&plan.right, &fields, record, plan)?;
        let key = key(&plan.right, &fields, &mut self.key)?;
        self.members.clear();
        for (slot, member) in (SidePlan::REST..).zip(&plan.right_fields) {
            self.members.extend_from_slice(&member.json);
            append_member(fields.get(slot), &mut self.scratch, &mut self.members)
                .map_err(|reject| operate(reject.about(&member.name)))?;
            self.members.push(b',');
        }
        self.members.extend_from_slice(&plan.right_time.json);
        append_time(time_ms, &mut self.members);
        Ok(Right::Record {
            time_ms,
            key,
            members: &self.members,
        })
    }

    /// Logs the fields that nothing reads, each once.
    pub(crate) fn log_unread(&mut self) {
        let names = self.scanner.unknown_names();
        if names.len() == self.names_logged {
            return;
        }
        let new: Vec<&str> = names.skip(self.names_logged).collect();
        tracing::info!(
            fields = new.join(", "),
            "fields of the right side that nothing reads"
        );
        self.names_logged += new.len();
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.key.capacity() + self.members.capacity() + self.scratch.capacity()
    }
}

fn scan<'s, 'r>(scanner: &'s mut Scanner, record: Record<'r>) -> Result<Fields<'s, 'r>, Refusal> {
    let scanned = scanner.scan(record.value());
    scanned.map_err(|reject| Refusal {
        stage: Stage::Decode,
        reject,
    })
}

fn operate(reject: Reject) -> Refusal {
    Refusal {
        stage: Stage::Operate,
        reject,
    }
}

fn time(
    side: &SidePlan,
    fields: &Fields<'_, '_>,
    record: Record<'_>,
    plan: &JoinPlan,
) -> Result<i64, Refusal> {
    let Some(name) = &side.time_field else {
        return kafka_time_ms(record).map_err(operate);
    };
    let (raw, rules) = (fields.get(SidePlan::TIME), side.time_rules());
    event_time_ms(raw, name, rules, record, plan.timestamp_ahead_max_ms).map_err(operate)
}

/// The text of the key, in `scratch` where it has escapes.
fn key<'r>(
    side: &SidePlan,
    fields: &Fields<'_, 'r>,
    scratch: &'r mut Vec<u8>,
) -> Result<Option<&'r [u8]>, Refusal> {
    let raw = fields.get(SidePlan::KEY);
    if raw.is_missing() {
        return Ok(None);
    }
    let key = text::text(raw, scratch).map_err(|reject| operate(reject.about(&side.key_field)))?;
    Ok(Some(key.as_bytes()))
}

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// What stands between the braces of an object.
fn inner(object: &str) -> &str {
    let inner = object.strip_prefix('{').and_then(|o| o.strip_suffix('}'));
    inner.unwrap_or_default().trim_ascii()
}

/// Appends the members of an object that have none of these names, each as received.
#[cold]
fn append_others(object: Raw<'_>, names: &[String], out: &mut Vec<u8>) {
    let text = object.as_received();
    let mut members = object.members();
    loop {
        let from = members.position();
        let Some((name, _)) = members.next() else {
            return;
        };
        if names.iter().any(|other| *other == name) {
            continue;
        }
        // A comma and space may follow; no value ends with them.
        let member = text[from..members.position()].trim_end_matches(SPACE);
        let member = member.strip_suffix(',').unwrap_or(member);
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(member.trim_end_matches(SPACE).as_bytes());
    }
}

/// Appends the members that an event without match has in place of added ones: its own, or null.
#[cold]
fn append_unmatched(plan: &JoinPlan, fields: &Fields<'_, '_>, out: &mut Vec<u8>) {
    let added = plan.right_fields.iter().chain([&plan.right_time]);
    for (slot, member) in (SidePlan::REST..).zip(added) {
        if !out.is_empty() {
            out.push(b',');
        }
        out.extend_from_slice(&member.json);
        match fields.get(slot) {
            raw if raw.is_missing() => out.extend_from_slice(b"null"),
            raw => text::append_json(raw, out),
        }
    }
}

/// Appends a scalar as a JSON string, an object or array as received, or null.
fn append_member(raw: Raw<'_>, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(), Reject> {
    if raw.is_missing() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    if matches!(raw.kind(), Kind::Object | Kind::Array) {
        text::append_json(raw, out);
        return Ok(());
    }
    // What is a text keeps its escapes, which are known to be right.
    text::text(raw, scratch)?;
    out.push(b'"');
    out.extend_from_slice(raw.as_received().as_bytes());
    out.push(b'"');
    Ok(())
}
