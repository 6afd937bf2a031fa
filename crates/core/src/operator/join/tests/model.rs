//! The same join, with all records at hand.

use super::*;

/// Which of the records are behind the watermark of those before them.
pub(super) fn lateness(rules: &Rules, log: &[Given]) -> Vec<bool> {
    let is_late = |index: usize| {
        let largest = log[..index].iter().map(|given| given.time_ms).max();
        largest.is_some_and(|largest| log[index].time_ms < largest - rules.watermark_delay_ms)
    };
    (0..log.len()).map(is_late).collect()
}

/// The right records that take part and belong to the event: indexes in the log.
pub(super) fn candidates(rules: &Rules, logs: &Logs, event: &Given) -> Vec<usize> {
    let is_late = lateness(rules, &logs[1]);
    // A table takes its records in whatever order they come.
    let takes_part = |index: usize| rules.before_ms.is_none() || !is_late[index];
    let is_near = |right: &Given| {
        right.time_ms <= event.time_ms + rules.after_ms
            && rules
                .before_ms
                .is_none_or(|before| right.time_ms >= event.time_ms - before)
    };
    let is_candidate = |index: &usize| {
        let right = &logs[1][*index];
        event.key.is_some() && right.key == event.key && is_near(right) && takes_part(*index)
    };
    (0..logs[1].len()).filter(is_candidate).collect()
}

/// The match of an event when everything is known.
pub(super) fn best(rules: &Rules, logs: &Logs, event: &Given) -> Option<usize> {
    let right = &logs[1];
    let near = candidates(rules, logs, event);
    let before = near.iter().filter(|i| right[**i].time_ms <= event.time_ms);
    let newest = before.max_by_key(|i| (right[**i].time_ms, **i));
    if let Some(newest) = newest
        && !right[*newest].is_tombstone
    {
        return Some(*newest);
    }
    let after = near
        .iter()
        .filter(|i| right[**i].time_ms > event.time_ms && !right[**i].is_tombstone);
    after
        .min_by_key(|i| (right[**i].time_ms, -offset(**i)))
        .copied()
}

/// The rows of all events, by offset.
pub(super) fn model(rules: &Rules, logs: &Logs) -> BTreeMap<i64, Row> {
    let is_late = lateness(rules, &logs[0]);
    let row = |(index, event): (usize, &Given)| {
        let found = best(rules, logs, event).filter(|_| !is_late[index]);
        let offset_of_left = offset(index);
        (
            offset_of_left,
            (offset_of_left, found.map(offset), is_late[index]),
        )
    };
    logs[0].iter().enumerate().map(row).collect()
}
