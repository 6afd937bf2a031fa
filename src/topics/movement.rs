//! What a topic with more partitions means to the pipelines that read it: keys move.

use crate::config::{Config, Kind, Pipeline};

/// What no longer holds in which pipeline once keys of `topic` lie on other partitions; a sentence each.
pub(super) fn breaks(config: &Config, topic: &str) -> Vec<String> {
    let pipelines = config.pipelines.iter();
    let of_this_cluster =
        |p: &&Pipeline| p.kafka.bootstrap_servers == config.kafka.bootstrap_servers;
    let reading = pipelines
        .filter(of_this_cluster)
        .filter(|p| p.topics.iter().any(|selector| selector.matches(topic)));
    reading.filter_map(consequence).collect()
}

/// None: it goes on as before, or at worst with sessions that begin anew.
fn consequence(pipeline: &Pipeline) -> Option<String> {
    let name = &pipeline.name;
    // By name: what a kind is does not matter here, only which rule it relies on.
    match pipeline.kind.name() {
        "stream_join" => Some(format!(
            "pipeline {name} joins this topic: both of its topics need the same count, and records of \
             a key that were written before lie on another partition than those that come, so they \
             do not meet; drain it first (run --until latest) and change both topics together"
        )),
        "cdc" => Some(format!(
            "pipeline {name} makes a replica of this topic: offsets no longer order the changes of a \
             key, and it halts until [[pipeline]] version_epochs has a new epoch"
        )),
        "aggregation" if has_windows_by_partition(pipeline) => Some(format!(
            "pipeline {name} keeps windows by partition: a window that is open now would be summed up \
             in two halves, of which the larger stays; drain it first (run --until latest --close)"
        )),
        _ => None,
    }
}

fn has_windows_by_partition(pipeline: &Pipeline) -> bool {
    matches!(&pipeline.kind, Kind::Aggregation(a) if a.partitioned_by.is_some())
}
