//! Sending records of letters through their pipeline once more.

use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Serialize;

use super::letter::{Letter, Selection};
use super::scan;
use super::sources::Sources;
use super::states::judge;
use crate::config::{Config, Pipeline, Service};
use crate::inspect::cluster::Cluster;
use crate::inspect::{Failure, pipeline_named, runtime};
use crate::pipeline::{Replayed, Replayer, Wanted, why_not};
use crate::source::TopicPartition;

/// Of a record that the group has not committed: the daemon reads it again and writes it itself.
const NOT_COMMITTED: &str = "not_committed";
/// Of a record whose topic is another one now.
const TOPIC_CHANGED: &str = "topic_changed";

/// Of a letter that has its record's value not as it was.
const PAYLOAD_MISSING: &str = "payload_missing";

/// What is replayed, and how.
#[derive(Debug)]
pub struct ReplayOptions {
    /// Which letters; the limit counts those that the table lacks.
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
    /// Refused again, by reason; `not_committed` where nothing was tried.
    pub refused: BTreeMap<String, u64>,
    /// Passed by, by a rule of the configuration.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: u64,
    /// Of pipelines whose records cannot be replayed one by one; they are among the selected.
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
    /// Records that were refused, again or because they are not committed.
    #[must_use]
    pub fn refused_count(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Whether some of what was selected is not written, and not by a rule.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused_count() + self.not_replayable > 0
    }

    /// Letters that a limit counts: what the table has, and what no replay can write, would use it up each
    /// time.
    fn limited(&self) -> u64 {
        self.written + self.refused_count()
    }

    /// Records that the daemon reads again itself.
    #[must_use]
    pub fn not_committed(&self) -> u64 {
        self.refused.get(NOT_COMMITTED).copied().unwrap_or_default()
    }

    /// Records that were refused again.
    #[must_use]
    pub fn refused_again(&self) -> u64 {
        self.refused_count() - self.not_committed()
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
/// for each that is refused. A record that the group has not committed is left to the daemon, which may send
/// a range of records again without a look at the table.
///
/// # Errors
/// A named pipeline is of a kind whose records cannot be replayed, or a system does not answer. What was
/// written until then stays, and is recognised when this is repeated.
pub fn replay(
    config: &Config,
    options: &ReplayOptions,
    mut said: impl FnMut(&str),
) -> Result<Replay, Failure> {
    let mut selection = options.selection.clone();
    let limit = selection.limit.take().unwrap_or(u64::MAX);
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
    let mut groups = Groups::default();
    let mut sources = Sources::default();
    let mut counts = Replay::default();
    scan::letters(config, &selection, |letter, pipeline| {
        if counts.limited() >= limit {
            return Ok(ControlFlow::Break(()));
        }
        if let Some(why) = why_not(pipeline) {
            if counts.not_replayable == 0 {
                said(&why);
            }
            counts.selected += 1;
            counts.not_replayable += 1;
            return Ok(ControlFlow::Continue(()));
        }
        let replayed = if let Some(payload) = &letter.payload {
            payload_missing(payload)
        } else if sources.is_of_before(&service, pipeline, &letter)? {
            topic_changed(&letter.partition)
        } else if !groups.has_committed(&service, pipeline, &letter)? {
            not_committed(&pipeline.group_id)
        } else {
            let made = replayer(&mut replayers, &service, pipeline);
            let replayer = runtime.block_on(made)?;
            match sources.emptied(&service, pipeline, &letter, replayer)? {
                Some(replayed) => replayed,
                None => runtime.block_on(one(replayer, pipeline, &letter, wanted))?,
            }
        };
        if let Replayed::Dropped(why @ super::sources::TRUNCATED) = &replayed {
            said(&format!("{}: passed by: {why}", letter.address()));
        }
        if let Replayed::Refused { reason, detail } = &replayed {
            said(&refusal(&letter, reason, detail));
        }
        counts.count(&replayed);
        if counts.refused_again() > options.refused_max {
            counts.stopped = true;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(counts)
}

fn not_committed(group: &str) -> Replayed {
    Replayed::Refused {
        reason: NOT_COMMITTED.to_owned(),
        detail: format!(
            "group {group} has not committed it yet: the daemon reads it again and writes it itself"
        ),
    }
}

fn payload_missing(payload: &str) -> Replayed {
    Replayed::Refused {
        reason: PAYLOAD_MISSING.to_owned(),
        detail: format!(
            "the letter's value is {payload} (pipeline.dead_letter.payload): the record itself is in its \
             topic as long as that keeps it"
        ),
    }
}

fn topic_changed(partition: &TopicPartition) -> Replayed {
    Replayed::Refused {
        reason: TOPIC_CHANGED.to_owned(),
        detail: format!(
            "topic {} was deleted and made again since: its record at this offset is another one",
            partition.topic
        ),
    }
}

fn refusal(letter: &Letter, reason: &str, detail: &str) -> String {
    let word = match reason {
        NOT_COMMITTED | TOPIC_CHANGED | PAYLOAD_MISSING => "refused",
        _ => "refused again",
    };
    format!("{}: {word}: {reason}: {detail}", letter.address())
}

/// What the groups of pipelines have committed, as far as it was asked.
#[derive(Debug, Default)]
struct Groups {
    clusters: HashMap<String, Cluster>,
    committed: HashMap<(String, TopicPartition), i64>,
}

impl Groups {
    /// Whether the pipeline never reads the record again. A commit is asked for anew where the one that is
    /// known does not reach so far.
    fn has_committed(
        &mut self,
        service: &Service,
        pipeline: &Arc<Pipeline>,
        letter: &Letter,
    ) -> Result<bool, Failure> {
        let name = &pipeline.name;
        let place = (name.clone(), letter.partition.clone());
        if self
            .committed
            .get(&place)
            .is_some_and(|to| letter.offset < *to)
        {
            return Ok(true);
        }
        if !self.clusters.contains_key(name) {
            let cluster = Cluster::connect(service, pipeline)?;
            self.clusters.insert(name.clone(), cluster);
        }
        let answer = self.clusters[name].committed(std::slice::from_ref(&letter.partition))?;
        let Some(to) = answer.first().and_then(|offsets| offsets.position) else {
            return Ok(false);
        };
        self.committed.insert(place, to);
        Ok(letter.offset < to)
    }
}

async fn one(
    replayer: &mut Replayer,
    pipeline: &Pipeline,
    letter: &Letter,
    wanted: Wanted,
) -> Result<Replayed, Failure> {
    let place = letter.address();
    let place = (place.topic, place.partition, place.offset);
    if pipeline.dead_letter.skip.contains(&place) {
        return Ok(Replayed::Dropped("skip"));
    }
    judge(replayer, letter, wanted).await
}

/// The pipeline's way for single records.
async fn replayer<'r>(
    replayers: &'r mut HashMap<String, Replayer>,
    service: &Arc<Service>,
    pipeline: &Arc<Pipeline>,
) -> Result<&'r mut Replayer, Failure> {
    if !replayers.contains_key(&pipeline.name) {
        let made = Replayer::new(service, pipeline).await?;
        replayers.insert(pipeline.name.clone(), made);
    }
    let replayer = replayers.get_mut(&pipeline.name);
    Ok(replayer.expect("just inserted where it was missing"))
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
        assert_eq!(counts.refused_again(), 3);
        let expected = r#"{"selected":6,"written":2,"already_written":1,"refused":{"invalid_json":2,"out_of_range":1}}"#;
        assert_eq!(serde_json::to_string(&counts).unwrap(), expected);
        counts.count(&not_committed("clicks"));
        assert_eq!(counts.refused["not_committed"], 1);
        assert_eq!((counts.refused_again(), counts.refused_count()), (3, 4));
        assert_eq!((counts.limited(), counts.is_refused()), (6, true));
        let mut counts = Replay::default();
        counts.count(&Replayed::AlreadyWritten);
        counts.count(&Replayed::Dropped("skip"));
        assert_eq!((counts.limited(), counts.is_refused()), (0, false));
        counts.not_replayable = 1;
        assert_eq!((counts.limited(), counts.is_refused()), (0, true));
    }
}
