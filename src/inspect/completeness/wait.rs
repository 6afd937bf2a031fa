//! `streamweir wait`: until something is complete.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::goal::{
    CommittedGoal, Goal, Log, PartitionGoal, Targets, has_passed, is_reached, target,
};
use super::left::Left;
use super::{PipelineWatermark, Reader, least_of};
use crate::clock::wall_ms;
use crate::config::{Config, Pipeline, Service};
use crate::inspect::{Failure, status};
use crate::observe::board::status::Moment;
use crate::supervisor;

/// How often the group's offsets are asked for.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long a cluster that does not answer is asked at once; the time that is left may be shorter.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_MIN: Duration = Duration::from_secs(4);

/// What is waited for, and how.
#[derive(Debug)]
pub struct WaitOptions {
    /// The pipelines that are to be complete.
    pub pipelines: Vec<String>,
    /// What all of them are to reach.
    pub goal: Goal,
    /// How long at most; zero: it is asked once.
    pub timeout: Duration,
    /// Where daemons answer that may have halted.
    pub urls: Vec<String>,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// All is complete: exit 0.
    Reached,
    /// Not in time: exit 1.
    Timeout,
    /// A pipeline has halted: exit 4.
    Halted,
}

/// A pipeline that a daemon reports as halted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HaltedPipeline {
    /// The pipeline.
    pub pipeline: String,
    /// The daemon that says so; `null` where only its files do, because it has ended.
    pub url: Option<String>,
    /// The reason.
    pub reason: String,
    /// What to do.
    pub advice: String,
}

/// What became of a wait.
#[derive(Debug, Serialize)]
pub struct Waited {
    /// How it ended.
    pub state: Ended,
    /// Whether all is complete.
    pub reached: bool,
    /// The least watermark of all; `null` as long as one partition has none.
    pub watermark: Option<Moment>,
    /// How long it took.
    pub waited_seconds: f64,
    /// How far the pipelines were when they were last asked.
    pub pipelines: Vec<PipelineWatermark>,
    /// Offsets that were waited for and are not reached.
    pub missing: Vec<PartitionGoal>,
    /// Why it cannot be reached.
    pub halted: Option<HaltedPipeline>,
}

/// One of the pipelines that are waited for.
struct Waiting {
    reader: Reader,
    pipeline: Arc<Pipeline>,
    /// Offsets, once they are known.
    targets: Option<Targets>,
    last: Option<PipelineWatermark>,
    /// Since when its group has no members, after a halt here.
    left: Option<Left>,
}

/// Waits until every pipeline has reached the goal, one has halted, or the time is over. `said` is told now
/// and then how far it is.
///
/// # Errors
/// No such pipeline, one without event time, or Kafka does not answer.
pub fn wait(
    config: &Config,
    options: &WaitOptions,
    mut said: impl FnMut(&[PipelineWatermark], usize),
) -> Result<Waited, Failure> {
    let began = Instant::now();
    let runtime = crate::inspect::runtime()?;
    options.urls.iter().try_for_each(|url| status::check(url))?;
    let mut silent = HashSet::new();
    let mut all = vec![];
    for name in &options.pipelines {
        let pipeline = Arc::new(crate::inspect::pipeline_named(config, name)?.clone());
        check(&pipeline, options.goal)?;
        all.push(Waiting {
            reader: Reader::new(&config.service, &pipeline)?,
            pipeline,
            targets: None,
            last: None,
            left: None,
        });
    }
    loop {
        let asked = all.iter_mut().try_for_each(|one| {
            let rest = options.timeout.saturating_sub(began.elapsed());
            one.reader.set_patience(patience(rest));
            one.ask(options.goal)
        });
        let is_over = began.elapsed() >= options.timeout;
        match asked {
            Ok(()) => {}
            // A broker may be away for longer than one question waits, and know a topic only later; what it
            // refuses otherwise it refuses again.
            Err(Failure::Unreachable(why) | Failure::NoTopic(why)) if !is_over => {
                tracing::warn!("{why}");
            }
            Err(failure) => return Err(failure),
        }
        let missing: usize = all.iter().map(|one| one.missing(options.goal)).sum();
        let shown: Vec<_> = all.iter().filter_map(|one| one.last.clone()).collect();
        said(&shown, missing);
        let is_reached = missing == 0 && shown.len() == all.len();
        let halted = match is_reached {
            true => None,
            false => {
                let asked = answers(&options.urls, &mut silent);
                let answers = runtime.block_on(asked);
                let mut each = all.iter();
                let shown = each.find_map(|one| one.is_shown_halted(&answers, is_over));
                let mut left = all.iter_mut();
                shown.or_else(|| left.find_map(|one| one.has_left(&config.service, is_over)))
            }
        };
        let state = match (is_reached, &halted, is_over) {
            (true, ..) => Ended::Reached,
            (_, Some(_), _) => Ended::Halted,
            (.., true) => Ended::Timeout,
            _ => {
                let rest = options.timeout.saturating_sub(began.elapsed());
                std::thread::sleep(INTERVAL.min(rest));
                continue;
            }
        };
        return Ok(Waited {
            state,
            reached: is_reached,
            watermark: least_of(&options.pipelines, &shown),
            waited_seconds: began.elapsed().as_secs_f64(),
            missing: all
                .iter()
                .flat_map(|one| one.missing_offsets(options.goal))
                .collect(),
            pipelines: shown,
            halted,
        });
    }
}

/// How long one question asks on, with so much time left. One answer takes a moment, however little is left.
fn patience(rest: Duration) -> Duration {
    rest.clamp(PATIENCE_MIN, PATIENCE)
}

/// Without event time there is no watermark.
fn check(pipeline: &Pipeline, goal: Goal) -> Result<(), Failure> {
    if matches!(goal, Goal::Committed(_)) || pipeline.has_event_time() {
        return Ok(());
    }
    let (name, kind) = (&pipeline.name, pipeline.kind.name());
    Err(Failure::Usage(format!(
        "pipeline {name} ({kind}) has no event time, so no watermark: wait with --committed latest, a time or \
         an offset"
    )))
}

impl Waiting {
    /// Whether daemons show that it has halted, and nobody goes on with it, those among them that were not asked.
    fn is_shown_halted(&self, answers: &[(&str, Value)], is_over: bool) -> Option<HaltedPipeline> {
        let halted = halted_of(answers, &self.pipeline.name)?;
        let members = self.reader.cluster().members();
        let goes_on = members.is_ok_and(|members| !members.is_empty());
        (is_over || !goes_on).then_some(halted)
    }

    /// Whether it halted here, and nobody goes on with it: another process may just be starting again.
    fn has_left(&mut self, service: &Service, is_over: bool) -> Option<HaltedPipeline> {
        let before = self.left.take();
        let halted = supervisor::halted(&service.state_dir, &self.pipeline.name)?;
        let members = self.reader.cluster().members();
        if !members.is_ok_and(|members| members.is_empty()) {
            return None;
        }
        let shown = self.last.iter().flat_map(|last| &last.partitions);
        let committed = shown.map(|partition| partition.committed).collect();
        let left = self
            .left
            .insert(Left::next(before, committed, Instant::now()));
        (is_over || left.is_believed(Instant::now())).then(|| HaltedPipeline {
            pipeline: self.pipeline.name.clone(),
            url: None,
            reason: halted.reason,
            advice: halted.advice,
        })
    }

    fn ask(&mut self, goal: Goal) -> Result<(), Failure> {
        if let (Goal::Committed(goal), None) = (goal, &self.targets) {
            self.targets = self.resolve(goal)?;
        }
        self.last = Some(self.reader.read()?);
        Ok(())
    }

    /// The offsets that a goal means; none as long as records of that time may still come.
    fn resolve(&self, goal: CommittedGoal) -> Result<Option<Targets>, Failure> {
        if matches!(goal, CommittedGoal::TimeMs(time_ms) if time_ms > wall_ms()) {
            return Ok(None);
        }
        let cluster = self.reader.cluster();
        let all = cluster.partitions(None)?;
        let at_times = match goal {
            CommittedGoal::TimeMs(time_ms) => cluster.offsets_at(&all, time_ms)?,
            _ => vec![None; all.len()],
        };
        let mut targets = Targets::new();
        for (partition, at_time) in all.iter().zip(at_times) {
            let (begin, end) = cluster.log_range(partition)?;
            let log = Log {
                begin,
                end,
                at_time,
            };
            if let Some(target) = target(goal, log) {
                targets.insert((partition.topic.to_string(), partition.partition), target);
            }
        }
        Ok(Some(targets))
    }

    /// How many partitions have not reached the goal; one at least where nothing is known.
    fn missing(&self, goal: Goal) -> usize {
        let Some(last) = &self.last else { return 1 };
        match goal {
            Goal::WatermarkMs(time_ms) => {
                let counting = last.partitions.iter();
                let counting = counting.filter(|p| super::counts(&self.pipeline, &p.topic));
                let missing = counting
                    .filter(|p| !has_passed(p.watermark, time_ms))
                    .count();
                missing.max(usize::from(!has_passed(last.watermark, time_ms)))
            }
            Goal::Committed(_) if self.targets.is_none() => 1,
            Goal::Committed(_) => self.missing_offsets(goal).len(),
        }
    }

    fn missing_offsets(&self, goal: Goal) -> Vec<PartitionGoal> {
        let (Goal::Committed(_), Some(targets), Some(last)) = (goal, &self.targets, &self.last)
        else {
            return vec![];
        };
        let known = |topic: &str, partition| {
            let mut known = last.partitions.iter();
            known.find(|p| p.topic == topic && p.partition == partition)
        };
        let missing = targets.iter().filter(|((topic, partition), offset)| {
            let known = known(topic, *partition);
            !known.is_some_and(|known| is_reached(known, Some(**offset)))
        });
        let missing = missing.map(|((topic, partition), offset)| PartitionGoal {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        });
        missing.collect()
    }
}

/// What the daemons show. One that does not answer says nothing; it is warned of once.
async fn answers<'u>(urls: &'u [String], silent: &mut HashSet<String>) -> Vec<(&'u str, Value)> {
    let mut answers = vec![];
    for url in urls {
        match status::fetch(url).await {
            Ok(shown) => answers.push((&**url, shown)),
            Err(why) => {
                if silent.insert(url.clone()) {
                    tracing::warn!("a halt there would not be seen: {why}");
                }
            }
        }
    }
    answers
}

/// The first daemon that shows the pipeline as halted, unless another one goes on with it.
fn halted_of(answers: &[(&str, Value)], pipeline: &str) -> Option<HaltedPipeline> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = None;
    for (url, shown) in answers {
        let all = shown["pipelines"].as_array().into_iter().flatten();
        for own in all.filter(|own| own["name"] == pipeline) {
            match own["state"].as_str() {
                Some("halted") => {
                    found.get_or_insert_with(|| HaltedPipeline {
                        pipeline: pipeline.to_owned(),
                        url: Some((*url).to_owned()),
                        reason: text(&own["halt"]["reason"]),
                        advice: text(&own["halt"]["advice"]),
                    });
                }
                Some("stopped") | None => {}
                Some(_) => return None,
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_question_asks_no_longer_than_time_is_left() {
        let seconds = Duration::from_secs;
        for (rest, expected) in [(0, 4), (7, 7), (3600, 20)] {
            assert_eq!(patience(seconds(rest)), seconds(expected));
        }
    }

    #[test]
    fn a_halt_of_another_pipeline_is_not_waited_for() {
        let shown = json!({ "pipelines": [
            { "name": "a", "state": "halted", "halt": { "reason": "schema", "advice": "fix it" } },
            { "name": "b", "state": "running", "halt": null },
        ]});
        let answers = [("u", shown)];
        let of = |name| halted_of(&answers, name).map(|halted| (halted.pipeline, halted.reason));
        assert_eq!(of("b"), None);
        assert_eq!(of("a"), Some(("a".to_owned(), "schema".to_owned())));
        assert_eq!(halted_of(&[("u", json!({}))], "a"), None);
    }

    #[test]
    fn a_halt_is_believed_once_no_other_daemon_goes_on() {
        let shown = |state: &str| {
            let halt = json!({ "reason": "schema", "advice": "fix it" });
            json!({ "pipelines": [{ "name": "a", "state": state, "halt": halt }] })
        };
        let halted_at = |states: [&str; 2]| {
            let answers = [("u", shown(states[0])), ("v", shown(states[1]))];
            halted_of(&answers, "a")?.url
        };
        assert_eq!(halted_at(["halted", "running"]), None);
        assert_eq!(halted_at(["starting", "halted"]), None);
        assert_eq!(halted_at(["halted", "paused"]), None);
        assert_eq!(halted_at(["halted", "halted"]), Some("u".to_owned()));
        assert_eq!(halted_at(["stopped", "halted"]), Some("v".to_owned()));
        assert_eq!(halted_at(["stopped", "stopped"]), None);
    }
}
