//! Prometheus metrics: `names` holds every name, `pipeline` the handles the lanes use.

mod gauges;
mod names;
mod pipeline;
mod render;
#[cfg(test)]
mod tests;

pub use gauges::Gauges;
pub use names::DEAD_LETTER_REASONS;
pub use pipeline::{LookupResult, PartitionMetrics, PipelineMetrics, RuleMetrics, Stage};
pub use render::{install, render};

/// Publishes how much memory a part of the whole process holds, as
/// `streamweir_memory_bytes{part}` without a pipeline.
pub fn process_memory(part: &'static str, bytes: u64) {
    metrics::gauge!(names::MEMORY_BYTES, "part" => part).set(bytes as f64);
}
