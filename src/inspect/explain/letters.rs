//! What the dead-letter topics have of the records that are explained: read once, when it is first asked for.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;

use super::{Address, ExplainError};
use crate::config::Config;
use crate::inspect::Failure;
use crate::inspect::dead_letters::{self, Selection, scan_letters};

/// Why a record was refused.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) reason: String,
    pub(super) detail: String,
    /// Of the configuration that refused it.
    pub(super) config_id: String,
}

#[derive(Debug)]
pub(super) struct Letters {
    pipelines: BTreeSet<String>,
    asked: BTreeSet<dead_letters::Address>,
    /// By pipeline and record; `None`: not read yet.
    kept: Option<HashMap<(String, dead_letters::Address), Kept>>,
}

impl Letters {
    /// Those by which these pipelines refused these records.
    pub(super) fn new(pipelines: impl Iterator<Item = String>, addresses: &[Address]) -> Self {
        Letters {
            pipelines: pipelines.collect(),
            asked: addresses.iter().map(of_letter).collect(),
            kept: None,
        }
    }

    /// The letter of a record by a pipeline.
    ///
    /// # Errors
    /// The dead-letter topic cannot be read.
    pub(super) fn of(
        &mut self,
        config: &Config,
        pipeline: &str,
        address: &Address,
    ) -> Result<Option<&Kept>, ExplainError> {
        let kept = match &mut self.kept {
            Some(kept) => kept,
            none => {
                let selection = Selection {
                    pipelines: std::mem::take(&mut self.pipelines),
                    addresses: std::mem::take(&mut self.asked),
                    ..Selection::default()
                };
                let read = read(config, &selection);
                none.insert(read.map_err(|error| ExplainError::Unreachable(error.to_string()))?)
            }
        };
        Ok(kept.get(&(pipeline.to_owned(), of_letter(address))))
    }
}

fn of_letter(address: &Address) -> dead_letters::Address {
    dead_letters::Address {
        topic: address.topic.clone(),
        partition: address.partition,
        offset: address.offset,
    }
}

fn read(
    config: &Config,
    selection: &Selection,
) -> Result<HashMap<(String, dead_letters::Address), Kept>, Failure> {
    let mut kept = HashMap::new();
    scan_letters(config, selection, |letter, pipeline| {
        if !letter.is_of_before {
            let place = (pipeline.name.clone(), letter.address());
            let own = Kept {
                reason: letter.reason,
                detail: letter.detail,
                config_id: letter.config_id,
            };
            kept.insert(place, own);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(kept)
}
