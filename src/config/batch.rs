//! `[pipeline.batch]`: when a batch is sealed. Ceilings, not reservations.

use std::time::Duration;

use super::quantity::{Integer, Number, Size, Span, format_size};
use super::section::Section;

/// `[pipeline.batch]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// 1 to 10,000,000.
    pub rows_max: usize,
    /// 64 KiB to 1 GiB, and at most half of `service.memory_max`.
    pub bytes_max: usize,
    /// The age at which a batch is sealed, 10 ms to 10 min.
    pub flush_interval: Duration,
    /// Ceiling per table for batches sealed by time, 0.01 to 1,000; full ones are never delayed.
    pub inserts_per_second_max: f64,
}

/// How often batches are sealed by time, where nothing else is said.
pub(super) struct Pace {
    pub(super) flush_interval: Duration,
    pub(super) inserts_per_second_max: f64,
}

impl Pace {
    /// Of inserts, whose parts the server has to merge.
    pub(super) const INSERTS: Pace = Pace {
        flush_interval: Duration::from_secs(5),
        inserts_per_second_max: 2.0,
    };
}

const BYTES_MAX: Size = Size {
    min: 64 << 10,
    max: 1 << 30,
};

impl Batch {
    pub(super) fn read(mut section: Section<'_>, memory_max_bytes: u64, pace: Pace) -> Batch {
        let rows = Integer {
            min: 1,
            max: 10_000_000,
            unit: "rows",
        };
        let rate = Number {
            min: 0.01,
            max: 1000.0,
            unit: "inserts per second",
        };
        let batch = Batch {
            rows_max: to_usize(section.take_or("rows_max", rows, 100_000)),
            bytes_max: to_usize(section.take_or("bytes_max", BYTES_MAX, 32 << 20)),
            flush_interval: section.take_or(
                "flush_interval",
                Span::millis(10, 600_000),
                pace.flush_interval,
            ),
            inserts_per_second_max: section.take_or(
                "inserts_per_second_max",
                rate,
                pace.inserts_per_second_max,
            ),
        };
        let half = memory_max_bytes / 2;
        if batch.bytes_max as u64 > half {
            let message = format!(
                "must be at most half of service.memory_max, {}: a larger batch would never fill, \
                 found {}",
                format_size(half),
                format_size(batch.bytes_max as u64)
            );
            section.problem("bytes_max", message);
        }
        section.finish();
        batch
    }
}

fn to_usize(number: u64) -> usize {
    usize::try_from(number).expect("the ranges fit 32 bits")
}
