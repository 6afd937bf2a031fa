//! Dead letters that were replayed into the live table, and that the rebuilt one lacks: the rebuild had judged their
//! records before.

use std::collections::BTreeSet;

use crate::config::Config;
use crate::inspect::Failure;
use crate::inspect::dead_letters::{LetterState, Selection, list};

/// `topic:partition:offset` of letters whose records the old table has and the rebuilt one has not.
///
/// # Errors
/// A system does not answer.
pub(super) fn lacking(
    pipeline: &str,
    (live, shadow): (&Config, &Config),
    is_exchanged: bool,
) -> Result<Vec<String>, Failure> {
    let (old, rebuilt) = match is_exchanged {
        true => (shadow, live),
        false => (live, shadow),
    };
    let mut written = of_state(pipeline, old, LetterState::Written)?;
    if !written.is_empty() {
        let there = of_state(pipeline, rebuilt, LetterState::Written)?;
        written.retain(|letter| !there.contains(letter));
    }
    Ok(written.into_iter().collect())
}

fn of_state(
    pipeline: &str,
    config: &Config,
    state: LetterState,
) -> Result<BTreeSet<String>, Failure> {
    let selection = Selection {
        pipelines: std::iter::once(pipeline.to_owned()).collect(),
        ..Selection::default()
    };
    let mut found = BTreeSet::new();
    list(config, &selection, |letter| {
        if letter.state == state {
            let place = (letter.topic, letter.partition, letter.offset);
            found.insert(format!("{}:{}:{}", place.0, place.1, place.2));
        }
    })?;
    Ok(found)
}
