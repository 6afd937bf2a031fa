//! `time_unit`, `unit`, `time_format` and `time_zone`: how numbers and texts are read that stand for times.

use std::sync::Arc;

use super::section::Section;
use super::value::{Choice, Text};
use crate::decode::time::{TextRules, TimeUnit};

pub(super) const TIME_UNITS: Choice<TimeUnit> = Choice(&[
    ("s", TimeUnit::Seconds),
    ("ms", TimeUnit::Milliseconds),
    ("us", TimeUnit::Microseconds),
    ("ns", TimeUnit::Nanoseconds),
]);

const FORMAT: Text = Text {
    allowed: "a strptime format that reads a day or a time, such as \"%d.%m.%Y %H:%M:%S\"",
    check: |format| TextRules::new(Some(format), None).is_ok(),
};

pub(super) const ZONE: Text = Text {
    allowed: "a time zone of the IANA database, such as \"Europe/Berlin\"",
    check: |zone| TextRules::new(None, Some(zone)).is_ok(),
};

/// `time_format` and `time_zone`, before they are put together.
#[derive(Debug, Clone, Default)]
pub(super) struct TextTimes {
    format: Option<String>,
    zone: Option<String>,
}

impl TextTimes {
    pub(super) fn read(section: &mut Section<'_>) -> TextTimes {
        TextTimes {
            format: section.take("time_format", FORMAT),
            zone: section.take("time_zone", ZONE),
        }
    }

    /// What is declared here, or else there.
    pub(super) fn or(self, defaults: &TextTimes) -> TextTimes {
        TextTimes {
            format: self.format.or_else(|| defaults.format.clone()),
            zone: self.zone.or_else(|| defaults.zone.clone()),
        }
    }

    /// None where nothing is declared.
    pub(super) fn rules(&self) -> Option<Arc<TextRules>> {
        let rules = TextRules::new(self.format.as_deref(), self.zone.as_deref());
        rules.ok().flatten().map(Arc::new)
    }
}
