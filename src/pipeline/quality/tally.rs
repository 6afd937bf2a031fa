//! What rules say of all records together: metrics, and thresholds that are missed.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::judged::{Counts, Judged};
use super::window::Window;
use crate::config::{self, Rules};
use crate::halt::Halt;
use crate::observe::board::PipelineBoard;
use crate::observe::metrics::{PipelineMetrics, RuleMetrics};

/// Of one pipeline, shared by its lanes, which add once a chunk.
pub(crate) struct Tally {
    board: Arc<PipelineBoard>,
    pipeline: String,
    rules: Mutex<Vec<Watched>>,
    /// When thresholds were last judged without records.
    judged_ms: AtomicU64,
}

struct Watched {
    name: String,
    /// Over the time that the metric has.
    window: Window,
    metrics: RuleMetrics,
    thresholds: Vec<Threshold>,
}

/// The share of records that must pass.
#[derive(Debug)]
struct Threshold {
    /// Over its own time.
    window: Window,
    ratio_min: f64,
    halts: bool,
    is_missed: bool,
    /// When it was last said that it is missed.
    said_ms: u64,
}

/// In what thresholds are configured.
const MILLION: u64 = 1_000_000;
/// How often a threshold that stays missed is said.
const SAID_EVERY_MS: u64 = 60_000;
/// How often thresholds are judged where no records come.
const JUDGED_EVERY_MS: u64 = 5_000;

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
            let own = rules.thresholds.iter().filter(|t| t.rule == rule.name);
            let thresholds: Vec<Threshold> = own.map(Threshold::new).collect();
            Watched {
                name: rule.name.clone(),
                window: Window::new(rules.over(&rule.name)),
                metrics: metrics.rule(&rule.name, !thresholds.is_empty()),
                thresholds,
            }
        });
        let watched: Vec<Watched> = watched.collect();
        (!watched.is_empty()).then(|| Tally {
            board: board.clone(),
            pipeline: pipeline.to_owned(),
            rules: Mutex::new(watched),
            judged_ms: AtomicU64::new(0),
        })
    }

    /// What is older than the windows counts no more, although no record comes.
    pub(crate) fn note_time(&self, now_ms: u64) {
        let judged_ms = self.judged_ms.load(Ordering::Relaxed);
        if now_ms < judged_ms.saturating_add(JUDGED_EVERY_MS) {
            return;
        }
        self.judged_ms.store(now_ms, Ordering::Relaxed);
        let mut rules = self.rules.lock().expect("no holder of this lock panics");
        for rule in rules.iter_mut() {
            for missed in rule.add(&self.pipeline, Counts::default(), now_ms) {
                self.board.error(&missed);
            }
        }
    }

    /// Adds what a lane has counted.
    pub(crate) fn add(&self, judged: &mut Judged, now_ms: u64) {
        let mut rules = self.rules.lock().expect("no holder of this lock panics");
        for (rule, counts) in rules.iter_mut().zip(judged.take_counts()) {
            for missed in rule.add(&self.pipeline, counts, now_ms) {
                self.board.error(&missed);
            }
        }
    }

    /// Why the pipeline halts, if a threshold that says so is missed.
    pub(crate) fn halt(&self) -> Option<Halt> {
        let rules = self.rules.lock().expect("no holder of this lock panics");
        let mut halting = rules
            .iter()
            .filter_map(|rule| Some((rule, rule.halting()?)));
        let (rule, ratio_min) = halting.next()?;
        let advice = format!(
            "fewer than {ratio_min} of the records pass rule {} (pipeline.quality.threshold): look at what \
             fails it, fix the producer or the rule, or lower ratio_min, then start again",
            rule.name
        );
        Some(Halt::new("quality", advice))
    }
}

impl Watched {
    /// Returns what to say of the thresholds that are missed.
    fn add(&mut self, pipeline: &str, counts: Counts, now_ms: u64) -> Vec<String> {
        let Counts {
            passed,
            failed,
            skipped,
        } = counts;
        self.metrics.add(passed, failed, skipped);
        self.window.add(now_ms, passed, failed);
        let ratio = ratio(self.window.sums(now_ms));
        self.metrics.ratio.set(ratio.unwrap_or(f64::NAN));
        let mut said = vec![];
        for threshold in &mut self.thresholds {
            threshold.window.add(now_ms, passed, failed);
            said.extend(threshold.judge(pipeline, &self.name, now_ms));
        }
        if !self.thresholds.is_empty() {
            let is_missed = self.thresholds.iter().any(|threshold| threshold.is_missed);
            self.metrics.missed.set(f64::from(u8::from(is_missed)));
        }
        said
    }

    /// The share that a missed threshold asks for, if one halts the pipeline.
    fn halting(&self) -> Option<f64> {
        let missed = self.thresholds.iter().find(|t| t.halts && t.is_missed);
        missed.map(|threshold| threshold.ratio_min)
    }
}

impl Threshold {
    fn new(threshold: &config::Threshold) -> Self {
        Threshold {
            window: Window::new(threshold.over),
            ratio_min: f64::from(threshold.ratio_min_ppm) / MILLION as f64,
            halts: threshold.halts,
            is_missed: false,
            said_ms: 0,
        }
    }

    /// What to say where it is missed, once and then from time to time. Where no record counts any more
    /// nothing is missed.
    fn judge(&mut self, pipeline: &str, rule: &str, now_ms: u64) -> Option<String> {
        let (passed, failed) = self.window.sums(now_ms);
        let (all, ratio_min) = (passed + failed, self.ratio_min);
        let ratio = ratio((passed, failed));
        let was_missed = self.is_missed;
        self.is_missed = ratio.is_some_and(|ratio| is_missed(ratio, all, ratio_min));
        if !self.is_missed {
            if was_missed {
                tracing::info!(
                    pipeline,
                    rule,
                    ratio,
                    ratio_min,
                    "enough records pass again"
                );
            }
            return None;
        }
        if was_missed && now_ms < self.said_ms.saturating_add(SAID_EVERY_MS) {
            return None;
        }
        self.said_ms = now_ms;
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

/// The share that passed; none of no records.
fn ratio((passed, failed): (u64, u64)) -> Option<f64> {
    let all = passed + failed;
    (all > 0).then(|| passed as f64 / all as f64)
}

/// With fewer records than this one failure alone would miss the threshold: then nothing is said.
fn is_missed(ratio: f64, records: u64, ratio_min: f64) -> bool {
    // Counted in millionths, as it is configured: in floats 1 - 0.9 is less than a tenth.
    let may_fail = MILLION.saturating_sub((ratio_min * MILLION as f64).round() as u64);
    let is_enough = may_fail == 0 || records >= MILLION.div_ceil(may_fail);
    is_enough && ratio < ratio_min
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threshold(ratio_min_ppm: u32, over_s: u64, halts: bool) -> Threshold {
        Threshold::new(&config::Threshold {
            rule: "q".to_owned(),
            ratio_min_ppm,
            over: std::time::Duration::from_secs(over_s),
            halts,
        })
    }

    #[test]
    fn thresholds_of_one_rule_are_judged_each_over_its_own_time() {
        let mut watched = Watched {
            name: "q".to_owned(),
            window: Window::new(std::time::Duration::from_secs(60)),
            metrics: PipelineMetrics::new("tally").rule("q", true),
            thresholds: vec![
                threshold(980_000, 60, false),
                threshold(500_000, 3_600, true),
            ],
        };
        let counts = |passed, failed| Counts {
            passed,
            failed,
            skipped: 0,
        };
        assert!(watched.add("p", counts(1_000, 0), 0).is_empty());
        assert_eq!(watched.add("p", counts(0, 100), 120_000).len(), 1);
        assert_eq!(watched.halting(), None, "1,000 of 1,100 passed in an hour");
        assert!(watched.add("p", counts(0, 1_000), 121_000).len() == 1);
        assert_eq!(watched.halting(), Some(0.5));
        // What lasts is said once a minute.
        assert!(watched.add("p", counts(0, 1), 150_000).is_empty());
        assert_eq!(watched.add("p", counts(0, 100), 185_000).len(), 2);
    }

    #[test]
    fn a_threshold_is_missed_no_longer_once_no_record_counts() {
        let mut one = threshold(980_000, 60, true);
        one.window.add(0, 0, 100);
        assert!(one.judge("p", "q", 0).is_some() && one.is_missed);
        assert!(one.judge("p", "q", 120_000).is_none() && !one.is_missed);
        assert_eq!(ratio((0, 0)), None);
        assert_eq!(ratio((1, 3)), Some(0.25));
    }

    #[test]
    fn a_threshold_is_judged_once_a_single_failure_does_not_miss_it() {
        assert!(!is_missed(0.5, 2, 0.98));
        assert!(!is_missed(0.95, 49, 0.98));
        assert!(is_missed(0.96, 50, 0.98));
        assert!(!is_missed(0.98, 50, 0.98));
        for (ratio_min, records_min) in [
            (0.5, 2),
            (0.8, 5),
            (0.9, 10),
            (0.95, 20),
            (0.97, 34),
            (0.99, 100),
            (0.999_999, 1_000_000),
        ] {
            assert!(!is_missed(0.0, records_min - 1, ratio_min), "{ratio_min}");
            assert!(is_missed(0.0, records_min, ratio_min), "{ratio_min}");
        }
        assert!(is_missed(0.999, 1_000, 1.0));
        assert!(is_missed(0.0, 1, 1.0));
        assert!(!is_missed(0.0, 100, 0.0));
    }
}
