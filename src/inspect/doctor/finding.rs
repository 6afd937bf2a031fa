//! What doctor says: findings, each of one check about one place.

use serde_json::{Value, json};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// It will halt, lose, double or never start.
    Error,
    /// It may, or it costs.
    Warning,
    Info,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Info => "info",
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// The check's id.
    pub(crate) check: &'static str,
    /// None: it concerns several pipelines, or the process.
    pub(crate) pipeline: Option<String>,
    /// A key, a server, a topic, `topic:partition:offset`, or a table.
    pub(crate) place: String,
    pub(crate) message: String,
    pub(crate) advice: String,
}

impl Finding {
    pub(crate) fn json(&self) -> Value {
        json!({
            "level": self.level.name(),
            "check": self.check,
            "pipeline": self.pipeline,
            "place": self.place,
            "message": self.message,
            "advice": self.advice,
        })
    }
}

/// The findings of one check, as it makes them.
#[derive(Debug)]
pub(crate) struct Findings {
    check: &'static str,
    found: Vec<Finding>,
}

impl Findings {
    pub(super) fn new(check: &'static str) -> Self {
        Findings {
            check,
            found: vec![],
        }
    }

    /// Adds one about a pipeline.
    pub(super) fn add(
        &mut self,
        level: Level,
        pipeline: &str,
        place: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.found.push(Finding {
            level,
            check: self.check,
            pipeline: Some(pipeline.to_owned()),
            place: place.into(),
            message: message.into(),
            advice: advice.into(),
        });
    }

    /// Adds one about the process or the whole configuration.
    pub(super) fn add_of_process(
        &mut self,
        level: Level,
        place: impl Into<String>,
        message: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(level, "", place, message, advice);
        if let Some(last) = self.found.last_mut() {
            last.pipeline = None;
        }
    }

    pub(super) fn into_vec(self) -> Vec<Finding> {
        self.found
    }
}

/// Puts the worst first, and says once what several pipelines have in common.
pub(super) fn merged(findings: Vec<Finding>) -> Vec<Finding> {
    let mut merged: Vec<Finding> = vec![];
    for finding in findings {
        let same = |known: &&mut Finding| {
            let general = |finding: &Finding| Finding {
                pipeline: None,
                ..finding.clone()
            };
            general(known) == general(&finding)
        };
        match merged.iter_mut().find(same) {
            Some(known) if known.pipeline != finding.pipeline => known.pipeline = None,
            Some(_) => {}
            None => merged.push(finding),
        }
    }
    merged.sort_by_key(|finding| finding.level);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pipelines_have_in_common_is_said_once_and_the_worst_first() {
        let mut found = Findings::new("a");
        found.add(Level::Info, "one", "p", "m", "x");
        found.add(Level::Error, "one", "q", "m", "x");
        found.add(Level::Info, "two", "p", "m", "x");
        found.add_of_process(Level::Warning, "r", "m", "x");
        let merged = merged(found.into_vec());
        let seen: Vec<_> = merged
            .iter()
            .map(|f| (f.level.name(), f.pipeline.as_deref(), &*f.place))
            .collect();
        assert_eq!(
            seen,
            [
                ("error", Some("one"), "q"),
                ("warning", None, "r"),
                ("info", None, "p")
            ]
        );
    }
}
