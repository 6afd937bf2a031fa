//! `[pipeline.state]`: snapshots of what an operator remembers.

use std::time::Duration;

use super::quantity::{Integer, Span};
use super::secret::has_credentials;
use super::section::Section;
use super::value::{Choice, Text};

/// `[pipeline.state]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Where snapshots are kept: empty for `service.state_dir`, or the URL of an object store.
    pub url: String,
    /// Between two snapshots, 1 s to 24 h.
    pub interval: Duration,
    /// How many snapshots of a partition are kept, 1 to 1,000.
    pub keep: u32,
    /// What to do when there is a committed offset but no state for it.
    pub on_missing_state: OnMissingState,
}

/// What to do when there is a committed offset but no state for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnMissingState {
    /// Halt with advice.
    Halt,
    /// Go on as if nothing had been seen before.
    StartEmpty,
}

const URL: Text = Text {
    allowed: "\"\" (under service.state_dir) or the URL of an object store (file:///path, \
              s3://bucket/path, gs://bucket/path, az://container/path) without credentials",
    check: |text| {
        text.is_empty()
            || (["file:///", "s3://", "gs://", "az://"]
                .iter()
                .any(|scheme| {
                    text.strip_prefix(scheme)
                        .is_some_and(|rest| !rest.is_empty())
                })
                && !has_credentials(text)
                && !text.contains(|c: char| c.is_whitespace() || c.is_control()))
    },
};

impl State {
    /// Of an operator that remembers nothing.
    pub(crate) fn none() -> State {
        State {
            url: String::new(),
            interval: Duration::from_secs(60),
            keep: 1,
            on_missing_state: OnMissingState::Halt,
        }
    }

    pub(super) fn read(mut section: Section<'_>) -> State {
        let keep = Integer {
            min: 1,
            max: 1000,
            unit: "snapshots",
        };
        let choices = Choice(&[
            ("halt", OnMissingState::Halt),
            ("start_empty", OnMissingState::StartEmpty),
        ]);
        let minute = Duration::from_secs(60);
        let state = State {
            url: section.take_or("url", URL, String::new()),
            interval: section.take_or("interval", Span::secs(1, 86_400), minute),
            keep: u32::try_from(section.take_or("keep", keep, 3)).expect("at most 1,000"),
            on_missing_state: section.take_or("on_missing_state", choices, OnMissingState::Halt),
        };
        section.finish();
        state
    }
}
