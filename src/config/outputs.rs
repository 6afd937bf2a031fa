//! What pipelines write: a table or topic has one writer, and nobody feeds itself.

use super::pipeline::{Kind, Pipeline};
use super::section::Reader;
use super::topics::TopicSelector;

/// A pipeline and its key path.
type Named = (String, Pipeline);

/// Two pipelines that write one table or topic would replace each other's rows.
pub(super) fn check(pipelines: &[Named], reader: &Reader) {
    for (index, pipeline) in pipelines.iter().enumerate() {
        check_own_input(pipeline, reader);
        for other in &pipelines[..index] {
            check_tables(pipeline, other, reader);
            check_output_topics(pipeline, other, reader);
        }
        for other in pipelines {
            check_dead_letters(pipeline, other, reader);
        }
    }
    check_loops(pipelines, reader);
}

/// The topic that rows go to, and the key that names it.
fn output_topic(pipeline: &Pipeline) -> Option<&str> {
    let topic = match &pipeline.kind {
        Kind::Aggregation(aggregation) => aggregation.output_topic.as_deref()?,
        Kind::StreamJoin(join) => &join.output.topic,
        Kind::Enrichment(_) | Kind::Cdc(_) | Kind::Raw(_) => return None,
    };
    (!topic.is_empty()).then_some(topic)
}

/// The tables that are known before a topic is seen, each with the key that names it.
fn tables(pipeline: &Pipeline) -> Vec<(&str, String)> {
    let Kind::Cdc(cdc) = &pipeline.kind else {
        let table = pipeline.table.as_str();
        let named = (!table.is_empty()).then(|| (table, "clickhouse.table".to_owned()));
        return named.into_iter().collect();
    };
    let named = pipeline.topics.iter().filter_map(|topic| match topic {
        TopicSelector::Name(topic) if !cdc.tables.contains_key(topic) => {
            Some((cdc.table_for(topic), "topics".to_owned()))
        }
        TopicSelector::Name(_) | TopicSelector::Pattern(_) => None,
    });
    let mapped = cdc.tables.keys();
    named
        .chain(mapped.map(|topic| (cdc.table_for(topic), format!("tables.{topic}"))))
        .collect()
}

fn check_tables((path, pipeline): &Named, (other_path, other): &Named, reader: &Reader) {
    let (own, others) = (&pipeline.clickhouse, &other.clickhouse);
    let is_one_server = own.urls.iter().any(|url| others.urls.contains(url));
    if !is_one_server || own.database != others.database {
        return;
    }
    let theirs = tables(other);
    let named = tables(pipeline).into_iter();
    let both = named.filter(|(table, _)| theirs.iter().any(|(name, _)| name == table));
    for (table, key) in both.chain(replicated_by_both(pipeline, other)) {
        let message = format!(
            "must not write the table {}.{table}, which {other_path} ({}) writes too: the rows of one \
             would replace or stand among those of the other; name another table",
            own.database, other.name
        );
        reader.problem(&format!("{path}.{key}"), message);
    }
}

/// A table of a topic that two replicas read, of which one knows it by a pattern.
fn replicated_by_both<'p>(
    pipeline: &'p Pipeline,
    other: &'p Pipeline,
) -> Option<(&'p str, String)> {
    let (Kind::Cdc(own), Kind::Cdc(others)) = (&pipeline.kind, &other.kind) else {
        return None;
    };
    let pairs = pipeline
        .topics
        .iter()
        .flat_map(|a| other.topics.iter().map(move |b| (a, b)));
    let table = pairs.into_iter().find_map(|(a, b)| match (a, b) {
        (TopicSelector::Name(topic), TopicSelector::Pattern(_)) if b.matches(topic) => {
            let is_one = own.table_for(topic) == others.table_for(topic);
            is_one.then(|| own.table_for(topic))
        }
        (TopicSelector::Pattern(_), TopicSelector::Name(topic)) if a.matches(topic) => {
            let is_one = own.table_for(topic) == others.table_for(topic);
            is_one.then(|| own.table_for(topic))
        }
        (TopicSelector::Pattern(a), TopicSelector::Pattern(b)) if a == b => Some(a.as_str()),
        _ => None,
    });
    Some((table?, "topics".to_owned()))
}

fn is_one_cluster(a: &Pipeline, b: &Pipeline) -> bool {
    let (own, others) = (&a.kafka.bootstrap_servers, &b.kafka.bootstrap_servers);
    own.iter().any(|server| others.contains(server))
}

fn check_output_topics((path, pipeline): &Named, (other_path, other): &Named, reader: &Reader) {
    let (Some(topic), Some(theirs)) = (output_topic(pipeline), output_topic(other)) else {
        return;
    };
    if topic == theirs && is_one_cluster(pipeline, other) {
        let message = format!(
            "must not write the topic {topic}, which {other_path} ({}) writes too: the records of one \
             would replace or stand among those of the other; name another topic",
            other.name
        );
        reader.problem(&format!("{path}.output.topic"), message);
    }
}

/// Of a join the kind itself sees to it, for whom inputs and output have keys of their own.
fn check_own_input((path, pipeline): &Named, reader: &Reader) {
    let Some(topic) = output_topic(pipeline) else {
        return;
    };
    if matches!(pipeline.kind, Kind::StreamJoin(_)) {
        return;
    }
    if reads(pipeline, topic) {
        let message = format!(
            "must not be among the pipeline's own topics: the topic {topic} would feed itself"
        );
        reader.problem(&format!("{path}.output.topic"), message);
    }
}

/// Rows among dead letters are neither.
fn check_dead_letters((path, pipeline): &Named, (other_path, other): &Named, reader: &Reader) {
    let is_join = matches!(pipeline.kind, Kind::StreamJoin(_));
    // A join sees to its own.
    if is_join && path == other_path || !is_one_cluster(pipeline, other) {
        return;
    }
    let dead_letters = &other.dead_letter.topic;
    if output_topic(pipeline) == Some(dead_letters) {
        let message = format!(
            "must not be the topic {dead_letters}: {other_path} ({}) writes its dead letters there",
            other.name
        );
        reader.problem(&format!("{path}.output.topic"), message);
    }
}

fn reads(pipeline: &Pipeline, topic: &str) -> bool {
    let mut selectors = pipeline.topics.iter();
    selectors.any(|selector| selector.matches(topic))
}

/// Records that come back to the pipeline that wrote them, by way of others.
fn check_loops(pipelines: &[Named], reader: &Reader) {
    let feeds = |from: usize, to: usize| {
        let (from, to) = (&pipelines[from].1, &pipelines[to].1);
        output_topic(from).is_some_and(|topic| is_one_cluster(from, to) && reads(to, topic))
    };
    for start in 0..pipelines.len() {
        let Some(way) = way_back(pipelines.len(), start, &feeds) else {
            continue;
        };
        // Each loop is told once, at the first of its pipelines.
        if way.len() < 2 || way.iter().any(|&pipeline| pipeline < start) {
            continue;
        }
        let (path, pipeline) = &pipelines[start];
        let names: Vec<&str> = way.iter().map(|&p| pipelines[p].1.name.as_str()).collect();
        let message = format!(
            "begins a loop: {} → {}: records come back to the pipeline that wrote them",
            names.join(" → "),
            pipeline.name
        );
        reader.warning(&format!("{path}.output.topic"), message);
    }
}

/// The shortest way over others from a pipeline to itself, itself first.
fn way_back(
    count: usize,
    start: usize,
    feeds: &impl Fn(usize, usize) -> bool,
) -> Option<Vec<usize>> {
    let mut ways = std::collections::VecDeque::from([vec![start]]);
    let mut seen = vec![false; count];
    while let Some(way) = ways.pop_front() {
        let last = *way.last().expect("a way begins somewhere");
        if feeds(last, start) {
            return Some(way);
        }
        for (next, is_seen) in seen.iter_mut().enumerate() {
            if feeds(last, next) && !std::mem::replace(is_seen, true) {
                ways.push_back([&way[..], &[next]].concat());
            }
        }
    }
    None
}
