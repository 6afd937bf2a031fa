//! What rules say of all records together: metrics, and thresholds that are missed.

use std::fmt;
use std::sync::{Arc, Mutex};

use super::judged::{Counts, Judged};
use super::window::Window;
use crate::config::Rules;
use crate::halt::Halt;
use crate::observe::board::PipelineBoard;
use crate::observe::metrics::{PipelineMetrics, RuleMetrics};

/// Of one pipeline, shared by its lanes, which add once a chunk.
pub(crate) struct Tally {
    board: Arc<PipelineBoard>,
    pipeline: String,
    rules: Mutex<Vec<Watched>>,
}

struct Watched {
    name: String,
    window: Window,
    metrics: RuleMetrics,
    threshold: Option<Threshold>,
}

/// The share of records that must pass.
#[derive(Debug, Clone, Copy)]
struct Threshold {
    ratio_min: f64,
    halts: bool,
    is_missed: bool,
}

impl fmt::Debug for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tally").finish_non_exhaustive()
    }
}

impl Tally {
    /// None without rules.
    pub(crate) fn new(
        pipeline: &str,
        rules: &Rules,
        metrics: &PipelineMetrics,
        board: &Arc<PipelineBoard>,
    ) -> Option<Self> {
        let watched = rules.rules.iter().map(|rule| {
            let threshold = rules.thresholds.iter().find(|t| t.rule == rule.name);
            Watched {
                name: rule.name.clone(),
                window: Window::new(rules.over(&rule.name)),
                metrics: metrics.rule(&rule.name, threshold.is_some()),
                threshold: threshold.map(|threshold| Threshold {
                    ratio_min: f64::from(threshold.ratio_min_ppm) / 1e6,
                    halts: threshold.halts,
                    is_missed: false,
                }),
            }
        });
        let watched: Vec<Watched> = watched.collect();
        (!watched.is_empty()).then(|| Tally {
            board: board.clone(),
            pipeline: pipeline.to_owned(),
            rules: Mutex::new(watched),
        })
    }

    /// Adds what a lane has counted.
    pub(crate) fn add(&self, judged: &mut Judged, now_ms: u64) {
        let mut rules = self.rules.lock().expect("no holder of this lock panics");
        for (rule, counts) in rules.iter_mut().zip(judged.take_counts()) {
            if let Some(missed) = rule.add(&self.pipeline, counts, now_ms) {
                self.board.error(&missed);
            }
        }
    }

    /// Why the pipeline halts, if a threshold that says so is missed.
    pub(crate) fn halt(&self) -> Option<Halt> {
        let rules = self.rules.lock().expect("no holder of this lock panics");
        let missed = |rule: &&Watched| rule.threshold.is_some_and(|t| t.halts && t.is_missed);
        let rule = rules.iter().find(missed)?;
        let ratio_min = rule.threshold?.ratio_min;
        let advice = format!(
            "fewer than {ratio_min} of the records pass rule {} (pipeline.quality.threshold): look at what \
             fails it, fix the producer or the rule, or lower ratio_min, then start again",
            rule.name
        );
        Some(Halt::new("quality", advice))
    }
}

impl Watched {
    /// Returns what to say where the threshold is missed from now on.
    fn add(&mut self, pipeline: &str, counts: Counts, now_ms: u64) -> Option<String> {
        self.metrics
            .add(counts.passed, counts.failed, counts.skipped);
        self.window.add(now_ms, counts.passed, counts.failed);
        let (passed, failed) = self.window.sums(now_ms);
        let all = passed + failed;
        if all == 0 {
            return None;
        }
        let ratio = passed as f64 / all as f64;
        self.metrics.ratio.set(ratio);
        let threshold = self.threshold.as_mut()?;
        let ratio_min = threshold.ratio_min;
        let is_missed = is_missed(ratio, all, ratio_min);
        self.metrics.missed.set(f64::from(u8::from(is_missed)));
        if is_missed == threshold.is_missed {
            return None;
        }
        threshold.is_missed = is_missed;
        let rule = &self.name;
        if !is_missed {
            tracing::info!(
                pipeline,
                rule,
                ratio,
                ratio_min,
                "enough records pass again"
            );
            return None;
        }
        tracing::warn!(
            pipeline,
            rule,
            ratio,
            ratio_min,
            records = all,
            "fewer records pass a rule than its threshold asks for"
        );
        Some(format!(
            "{passed} of {all} records pass rule {rule}, and its threshold asks for {ratio_min}"
        ))
    }
}

/// With fewer records than this one failure alone would miss the threshold: then nothing is said.
fn is_missed(ratio: f64, records: u64, ratio_min: f64) -> bool {
    let records_min = (1.0 / (1.0 - ratio_min)).ceil();
    let is_enough = !records_min.is_finite() || records as f64 >= records_min - 1e-6;
    is_enough && ratio < ratio_min
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_judged_once_a_single_failure_does_not_miss_it() {
        assert!(!is_missed(0.5, 2, 0.98));
        assert!(!is_missed(0.95, 49, 0.98));
        assert!(is_missed(0.96, 50, 0.98));
        assert!(!is_missed(0.98, 50, 0.98));
        assert!(is_missed(0.999, 1_000, 1.0));
        assert!(is_missed(0.0, 1, 1.0));
        assert!(!is_missed(0.0, 100, 0.0));
    }
}
