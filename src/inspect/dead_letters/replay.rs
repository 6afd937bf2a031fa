//! Sending records of letters through their pipeline once more.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use super::letter::{Letter, Selection};
use super::scan;
use super::states::judge;
use crate::config::{Config, Pipeline, Service};
use crate::inspect::{Failure, pipeline_named, runtime};
use crate::pipeline::{Replayed, Replayer, Wanted, why_not};

/// What is replayed, and how.
#[derive(Debug)]
pub struct ReplayOptions {
    /// Which letters.
    pub selection: Selection,
    /// Nothing is written.
    pub dry_run: bool,
    /// More records that are refused again end it.
    pub refused_max: u64,
}

/// What became of the selected letters.
#[derive(Debug, Default, Serialize)]
pub struct Replay {
    /// Letters of the selection.
    pub selected: u64,
    /// Written now (with `--dry-run`: would be).
    pub written: u64,
    /// The table had them.
    pub already_written: u64,
    /// Refused again, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Passed by, by a rule of the configuration.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Of pipelines whose records cannot be replayed one by one.
    #[serde(skip_serializing_if = "is_zero")]
    pub not_replayable: u64,
    /// It ended early, because more than so many were refused.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub stopped: bool,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Replay {
    /// Records that were refused again.
    #[must_use]
    pub fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }

    fn count(&mut self, replayed: &Replayed) {
        self.selected += 1;
        match replayed {
            Replayed::Written => self.written += 1,
            Replayed::AlreadyWritten => self.already_written += 1,
            Replayed::Dropped(_) => self.dropped += 1,
            Replayed::Refused { reason, .. } => {
                *self.refused.entry(reason.clone()).or_default() += 1;
            }
        }
    }
}

/// Sends the record of each selected letter through its pipeline's operator and sink. `said` gets a line
/// for each that is refused again.
///
/// # Errors
/// A named pipeline is of a kind whose records cannot be replayed, or a system does not answer. What was
/// written until then stays, and is recognised when this is repeated.
pub fn replay(
    config: &Config,
    options: &ReplayOptions,
    mut said: impl FnMut(&str),
) -> Result<Replay, Failure> {
    let selection = &options.selection;
    for name in &selection.pipelines {
        if let Some(why) = why_not(pipeline_named(config, name)?) {
            return Err(Failure::Refused(why));
        }
    }
    let wanted = if options.dry_run {
        Wanted::Judgement
    } else {
        Wanted::Row
    };
    let runtime = runtime()?;
    let service = Arc::new(config.service.clone());
    let mut replayers = HashMap::new();
    let mut counts = Replay::default();
    scan::letters(config, selection, |letter, pipeline| {
        if let Some(why) = why_not(pipeline) {
            if counts.not_replayable == 0 {
                said(&why);
            }
            counts.not_replayable += 1;
            return Ok(ControlFlow::Continue(()));
        }
        let one = one(&mut replayers, &service, pipeline, &letter, wanted);
        let replayed = runtime.block_on(one)?;
        if let Replayed::Refused { reason, detail } = &replayed {
            said(&format!(
                "{}: refused again: {reason}: {detail}",
                letter.address()
            ));
        }
        counts.count(&replayed);
        if counts.refused_count() > options.refused_max {
            counts.stopped = true;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counts)
}

async fn one(
    replayers: &mut HashMap<String, Replayer>,
    service: &Arc<Service>,
    pipeline: &Arc<Pipeline>,
    letter: &Letter,
    wanted: Wanted,
) -> Result<Replayed, Failure> {
    let place = letter.address();
    let place = (place.topic, place.partition, place.offset);
    if pipeline.dead_letter.skip.contains(&place) {
        return Ok(Replayed::Dropped("skip"));
    }
    if !replayers.contains_key(&pipeline.name) {
        let made = Replayer::new(service, pipeline).await?;
        replayers.insert(pipeline.name.clone(), made);
    }
    let replayer = replayers.get_mut(&pipeline.name);
    let replayer = replayer.expect("just inserted where it was missing");
    judge(replayer, letter, wanted).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_printed_as_the_contract_has_them() {
        let mut counts = Replay::default();
        let refused = |reason: &str| Replayed::Refused {
            reason: reason.to_owned(),
            detail: String::new(),
        };
        for replayed in [
            Replayed::Written,
            Replayed::AlreadyWritten,
            Replayed::Written,
            refused("invalid_json"),
            refused("invalid_json"),
            refused("out_of_range"),
        ] {
            counts.count(&replayed);
        }
        assert_eq!(counts.refused_count(), 3);
        let expected = r#"{"selected":6,"written":2,"already_written":1,"refused":{"invalid_json":2,"out_of_range":1}}"#;
        assert_eq!(serde_json::to_string(&counts).unwrap(), expected);
    }
}
