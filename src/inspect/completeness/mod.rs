//! How far pipelines are complete, by what their groups have committed: any process can tell, whoever reads.
//!
//! A commit carries the watermark of its partition ([`crate::progress::Metadata`]). What was made of the
//! records before it is durable, so that of a partition never falls as long as nobody else sets its offset.

mod goal;
mod left;
mod served;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

pub use self::goal::{CommittedGoal, Goal, PartitionGoal};
pub(crate) use self::served::{Named, NamedStatus, Watermarks};
pub use self::wait::{Ended, WaitOptions, Waited, wait};
use super::Failure;
use super::cluster::Cluster;
use crate::config::{Kind, Pipeline, Service};
use crate::observe::board::status::Moment;
use crate::progress::{Metadata, SwapFence};
use crate::source::{Offsets, TopicPartition};

/// How far one partition is complete.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PartitionWatermark {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The committed offset; `null` where nothing is committed.
    pub committed: Option<i64>,
    /// What was made of records before this event time is written and committed; `null` where that is not
    /// known of any time.
    #[schema(value_type = Option<String>)]
    pub watermark: Option<Moment>,
    /// How far it was read, and written as far as it can be; differs from `committed` where open windows or
    /// events that wait hold the offset back.
    #[serde(skip)]
    pub done_to: Option<i64>,
}

/// How far one pipeline is complete, whichever process reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct PipelineWatermark {
    /// Its name in the configuration.
    pub name: String,
    /// `enrichment`, `cdc`, `aggregation`, `stream_join` or `raw`.
    #[schema(value_type = String)]
    pub kind: &'static str,
    /// The consumer group that commits.
    pub group: String,
    /// Whether its records have an event time. Without, offsets alone tell how far it is.
    pub has_event_time: bool,
    /// The least of its partitions; `null` as long as one of them has none.
    #[schema(value_type = Option<String>)]
    pub watermark: Option<Moment>,
    /// Every partition of its topics.
    pub partitions: Vec<PartitionWatermark>,
    /// Why nothing is known: Kafka does not answer, or refuses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether the partition tells how far the pipeline is: of a join, events alone do, which wait for the other
/// side.
fn counts(pipeline: &Pipeline, topic: &str) -> bool {
    match &pipeline.kind {
        Kind::StreamJoin(join) => join.left.topic == topic,
        _ => true,
    }
}

/// The least watermark of the pipelines of these names; none as long as one has none, or nothing is known of it.
pub(crate) fn least_of<'n>(
    names: impl IntoIterator<Item = &'n String>,
    known: &[PipelineWatermark],
) -> Option<Moment> {
    let of = |name: &String| known.iter().find(|p| p.name == *name)?.watermark;
    least(names.into_iter().map(of))
}

/// The least of watermarks that are all known.
fn least(watermarks: impl IntoIterator<Item = Option<Moment>>) -> Option<Moment> {
    let mut watermarks = watermarks.into_iter();
    let first = watermarks.next()??;
    watermarks.try_fold(first, |least, next| Some(Moment(least.0.min(next?.0))))
}

/// Asks for one pipeline, again and again, by one client.
#[derive(Debug)]
pub(crate) struct Reader {
    cluster: Cluster,
    pipeline: Arc<Pipeline>,
}

impl Reader {
    /// # Errors
    /// Properties that librdkafka refuses.
    pub(crate) fn new(service: &Service, pipeline: &Arc<Pipeline>) -> Result<Self, Failure> {
        Ok(Reader {
            cluster: Cluster::connect(service, pipeline)?,
            pipeline: pipeline.clone(),
        })
    }

    /// Gives up sooner where nobody answers.
    pub(crate) fn with_patience(mut self, patience: Duration) -> Self {
        self.cluster = self.cluster.with_patience(patience);
        self
    }

    /// From now on.
    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.cluster.set_patience(patience);
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// How far it is now.
    ///
    /// # Errors
    /// Kafka does not answer, or refuses.
    pub(crate) fn read(&self) -> Result<PipelineWatermark, Failure> {
        let all = self.cluster.partitions(None)?;
        let committed = self.cluster.committed(&all)?;
        let pipeline = &self.pipeline;
        let partitions: Vec<_> = all.iter().zip(&committed).map(of_partition).collect();
        let counting = partitions.iter().filter(|p| counts(pipeline, &p.topic));
        Ok(PipelineWatermark {
            watermark: least(counting.map(|p| p.watermark)),
            partitions,
            ..nothing_known(pipeline, None)
        })
    }
}

/// What is shown of a pipeline of which nothing is known.
pub(crate) fn nothing_known(pipeline: &Pipeline, error: Option<String>) -> PipelineWatermark {
    PipelineWatermark {
        name: pipeline.name.clone(),
        kind: pipeline.kind.name(),
        group: pipeline.group_id.clone(),
        has_event_time: pipeline.has_event_time(),
        watermark: None,
        partitions: vec![],
        error,
    }
}

fn of_partition((partition, offsets): (&TopicPartition, &Offsets)) -> PartitionWatermark {
    // While a rebuild exchanges the table, what stood there is behind its mark.
    let fence = SwapFence::decode(&offsets.metadata);
    let text = fence.map_or(&*offsets.metadata, |fence| fence.metadata);
    let metadata = offsets
        .position
        .and_then(|position| Metadata::decode(text, position).ok()?);
    let watermark_ms = metadata.as_ref().and_then(|m| m.watermark_ms);
    let frontier = metadata.and_then(|m| m.frontier);
    let read_to = frontier.map(|frontier| frontier.read_to().min(frontier.settled_to()));
    PartitionWatermark {
        topic: partition.topic.to_string(),
        partition: partition.partition,
        committed: offsets.position,
        watermark: watermark_ms.map(Moment),
        done_to: offsets.position.max(read_to),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_known_once_all_are() {
        let at = |ms| Some(Moment(ms));
        assert_eq!(least([at(5), at(3), at(9)]), at(3));
        assert_eq!(least([at(5), None]), None);
        assert_eq!(least([None, at(5)]), None);
        assert_eq!(least([]), None);
    }

    #[test]
    fn pipelines_have_a_least_watermark_once_something_is_known_of_each() {
        let of = |name: &str, watermark_ms: Option<i64>| PipelineWatermark {
            name: name.to_owned(),
            kind: "enrichment",
            group: name.to_owned(),
            has_event_time: true,
            watermark: watermark_ms.map(Moment),
            partitions: vec![],
            error: None,
        };
        let known = [of("a", Some(5)), of("b", Some(3)), of("c", None)];
        for (names, expected) in [
            (&["a"][..], Some(5)),
            (&["a", "b"], Some(3)),
            (&["a", "c"], None),
            (&["a", "away"], None),
        ] {
            let asked: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let least = least_of(&asked, &known).map(|moment| moment.0);
            assert_eq!(least, expected, "{names:?}");
        }
    }

    #[test]
    fn a_commit_tells_watermark_and_how_far_was_read() {
        let read = |metadata: &str| {
            let partition = TopicPartition {
                topic: "t".into(),
                partition: 3,
            };
            let offsets = Offsets {
                position: Some(10),
                metadata: metadata.to_owned(),
                start: None,
            };
            let read = of_partition((&partition, &offsets));
            (read.watermark.map(|w| w.0), read.done_to)
        };
        assert_eq!(read(""), (None, Some(10)));
        assert_eq!(read("another program"), (None, Some(10)));
        assert_eq!(read("sw9 of a later version"), (None, Some(10)));
        assert_eq!(read("sw1 - 1 1 t 5 t7000"), (Some(7_000), Some(10)));
        assert_eq!(
            read("sw-swap 1f sw1 - 1 1 t 5 t7000"),
            (Some(7_000), Some(10))
        );
        assert_eq!(
            read("sw1 - 1 1 t - w1,-,-,50,40 t7000"),
            (Some(7_000), Some(40))
        );
    }
}
