//! `[pipeline.window]`: how event time is divided.

use std::time::Duration;

use crate::config::quantity::{Span, format_duration};
use crate::config::section::Section;
use crate::config::value::Choice;

/// How event time is divided. Tumbling and hopping windows are aligned to 1970-01-01 00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// One behind the other, 1 s to 31 days long.
    Tumbling {
        /// How long each is.
        size: Duration,
    },
    /// Overlapping: a new one begins every `slide`, at most 100 of them hold one record.
    Hopping {
        /// How long each is.
        size: Duration,
        /// How far apart they begin.
        slide: Duration,
    },
    /// As long as no two records of a group are more than `gap` apart, 1 ms to 7 days.
    Session {
        /// The longest silence within.
        gap: Duration,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Tumbling,
    Hopping,
    Session,
}

/// Windows that one record may lie in.
const OVERLAP_MAX: u128 = 100;

impl Window {
    pub(super) fn read(mut section: Section<'_>) -> Window {
        let shapes = Choice(&[
            ("tumbling", Shape::Tumbling),
            ("hopping", Shape::Hopping),
            ("session", Shape::Session),
        ]);
        let long = || Span::millis(1, 31 * 86_400_000);
        let minute = Duration::from_secs(60);
        let window = match section.take_or("kind", shapes, Shape::Tumbling) {
            Shape::Tumbling => Window::Tumbling {
                size: section.take_or("size", long(), minute),
            },
            Shape::Hopping => {
                let size = section.take_or("size", long(), minute);
                let slide = section.take_or("slide", long(), size);
                check_slide(&section, size, slide);
                Window::Hopping { size, slide }
            }
            Shape::Session => Window::Session {
                gap: section.take_or(
                    "gap",
                    Span::millis(1, 7 * 86_400_000),
                    Duration::from_secs(1800),
                ),
            },
        };
        section.finish();
        window
    }
}

fn check_slide(section: &Section<'_>, size: Duration, slide: Duration) {
    if slide > size {
        let size = format_duration(size);
        let message =
            format!("must be at most pipeline.window.size ({size}), or records are left out");
        section.problem("slide", message);
    } else if !size.as_nanos().is_multiple_of(slide.as_nanos().max(1)) {
        let size = format_duration(size);
        section.problem(
            "slide",
            format!("must divide pipeline.window.size ({size})"),
        );
    } else if size.as_nanos() / slide.as_nanos().max(1) > OVERLAP_MAX {
        let message = format!(
            "must be at least a hundredth of pipeline.window.size: a record may lie in {OVERLAP_MAX} windows"
        );
        section.problem("slide", message);
    }
}
