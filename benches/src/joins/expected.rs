//! Which update each event goes with, and whether joined records say so.

use anyhow::{Context as _, Result, bail, ensure};
use sandbox::generate::{JOIN_USERS, Joinable, join_event, join_update, joined_numbers};

use super::Form;

/// How far a match may lie from its event, where there is a bound.
const REACH_MS: i64 = 300_000;

/// The number of the event that a joined record was made of, and of the update, if there is one.
///
/// # Errors
/// It is not one of these events with members of these updates.
pub(crate) fn numbers(joined: &[u8]) -> Result<(usize, Option<u32>)> {
    joined_numbers(joined).with_context(|| {
        let text = String::from_utf8_lossy(joined);
        format!("not a joined record of the benchmark: {text}")
    })
}

/// Which update each event must be joined with, by their numbers, worked out without the daemon.
#[derive(Debug)]
pub(super) struct Expected {
    of_event: Vec<Option<u32>>,
}

impl Expected {
    pub(super) fn new(form: Form, events: u64, updates: u64) -> Result<Self> {
        let mut of_user: Vec<Vec<(i64, u32)>> = vec![vec![]; usize::try_from(JOIN_USERS)? + 1];
        for number in 0..updates {
            let made = join_update(number);
            let user = usize::try_from(made.user)?;
            of_user[user].push((made.time_ms, u32::try_from(number)?));
        }
        let best = |number| {
            let Joinable { user, time_ms, .. } = join_event(number);
            let updates = &of_user[usize::try_from(user)?];
            let younger = updates.partition_point(|(at, _)| *at <= time_ms);
            let before = younger.checked_sub(1).map(|index| updates[index]);
            let before = before.filter(|(at, _)| form.is_table() || *at >= time_ms - REACH_MS);
            let after = updates.get(younger).copied();
            let after = after.filter(|(at, _)| *at <= time_ms + REACH_MS);
            Ok(before.or(after).map(|(_, number)| number))
        };
        let of_event: Result<_> = (0..events).map(best).collect();
        Ok(Expected {
            of_event: of_event?,
        })
    }

    pub(super) fn matched(&self) -> usize {
        self.of_event.iter().flatten().count()
    }

    /// Holds joined records against it.
    pub(super) fn checker(&self) -> Checker<'_> {
        Checker {
            expected: self,
            seen: vec![false; self.of_event.len()],
            count: 0,
        }
    }
}

/// What was seen of the joined records.
pub(super) struct Checker<'e> {
    expected: &'e Expected,
    seen: Vec<bool>,
    count: usize,
}

impl Checker<'_> {
    /// # Errors
    /// An event that is there twice, or with another update than it must.
    pub(super) fn take(&mut self, joined: &[u8]) -> Result<()> {
        let (event, update) = numbers(joined)?;
        let Some(expected) = self.expected.of_event.get(event) else {
            bail!("there is no event {event}");
        };
        ensure!(
            update == *expected,
            "event {event} was joined with update {update:?}, not {expected:?}"
        );
        let was_seen = std::mem::replace(&mut self.seen[event], true);
        ensure!(!was_seen, "event {event} is there twice");
        self.count += 1;
        Ok(())
    }

    /// # Errors
    /// Events are missing.
    pub(super) fn finish(&self) -> Result<()> {
        let (found, events) = (self.count, self.seen.len());
        ensure!(found == events, "{found} joined records of {events} events");
        Ok(())
    }
}
