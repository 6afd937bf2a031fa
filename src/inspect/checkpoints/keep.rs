//! Having the running daemon take snapshots, and keeping them under a name.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;

use super::names::Names;
use super::stores::{Store, stores};
use crate::config::Config;
use crate::crash::crash_point;
use crate::inspect::cluster::Cluster;
use crate::inspect::{Failure, runtime, status};
use crate::source::TopicPartition;
use crate::state::{SnapshotStore, StoredSnapshot};

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(200);
/// How long a daemon that has just begun may take to show where it reads each partition.
const SHOWN_WITHIN: Duration = Duration::from_secs(10);

type Positions = Vec<(TopicPartition, i64)>;

/// A snapshot that is kept.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// The pipeline.
    pub pipeline: String,
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that it has not seen.
    pub offset: i64,
    /// Its size.
    pub bytes: u64,
}

/// Asks the daemons at `urls`, which are all instances of the configuration, for a snapshot of every partition,
/// and keeps them under `name`. The name counts once all of it is there: what is half made is none, and is
/// replaced when this is repeated.
///
/// # Errors
/// The name is taken or none, no pipeline keeps snapshots, the daemons do not have every partition, or do not
/// take any in time.
pub fn create(
    config: &Config,
    urls: &[String],
    name: &str,
    pipeline: Option<&str>,
) -> Result<Vec<Kept>, Failure> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || !name.chars().all(is_plain) {
        return Err(Failure::Usage(format!(
            "{name:?} is no name: 1 to 100 of a-z, A-Z, 0-9, '.', '_' and '-'"
        )));
    }
    let runtime = runtime()?;
    let all = stores(&runtime, config, None)?;
    if Names::read(&runtime, &all)?.is_whole(name) {
        return Err(Failure::Refused(format!(
            "the name {name:?} is taken: choose another"
        )));
    }
    let stores = stores(&runtime, config, pipeline)?;
    if stores.is_empty() {
        return Err(Failure::Refused(
            "no pipeline keeps snapshots here: only sessions of enrichment pipelines do, once the daemon \
             has run"
                .to_owned(),
        ));
    }
    let token = config
        .service
        .admin_token
        .as_ref()
        .map(|token| token.expose_secret().to_owned());
    let known = stores.iter().map(|Store { pipeline, .. }| {
        Cluster::connect(&config.service, pipeline)?.partitions(None)
    });
    let known = known.collect::<Result<Vec<_>, _>>()?;
    let deadline = Instant::now() + SHOWN_WITHIN;
    let (shown, wanted) = loop {
        match all_positions(&runtime, &stores, &known, urls) {
            Err(Failure::Refused(_)) if Instant::now() < deadline => std::thread::sleep(BETWEEN),
            asked => break asked?,
        }
    };
    // What an earlier attempt has left.
    for Store { store, .. } in &all {
        runtime.block_on(store.remove_name(name))?;
    }
    let mut kept = vec![];
    for (
        Store {
            pipeline, store, ..
        },
        wanted,
    ) in stores.iter().zip(&wanted)
    {
        for (url, shown) in urls.iter().zip(&shown) {
            if !positions(shown, &pipeline.name).is_empty() {
                let path = format!("/api/v1/streaming/{}/checkpoint", pipeline.name);
                runtime.block_on(status::post(url, &path, token.as_deref()))?;
            }
        }
        let copied = copy_newest(&runtime, store, wanted, name)?;
        kept.extend(copied.into_iter().map(|snapshot| Kept {
            pipeline: pipeline.name.clone(),
            topic: snapshot.partition.topic.to_string(),
            partition: snapshot.partition.partition,
            offset: snapshot.offset,
            bytes: snapshot.bytes,
        }));
    }
    let names: Vec<String> = stores.iter().map(|s| s.pipeline.name.clone()).collect();
    for Store { store, .. } in &stores {
        crash_point!("before_name_is_complete");
        runtime.block_on(store.complete(name, &names))?;
    }
    Ok(kept)
}

/// Copies the newest snapshot of each partition as soon as it has seen what was read by then.
fn copy_newest(
    runtime: &tokio::runtime::Runtime,
    store: &SnapshotStore,
    wanted: &[(TopicPartition, i64)],
    name: &str,
) -> Result<Vec<StoredSnapshot>, Failure> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let all = runtime.block_on(store.list_all())?;
        let copied: Result<(), Failure> = match newest_of_each(&all, wanted) {
            Ok(newest) => {
                let copying = newest
                    .iter()
                    .try_for_each(|snapshot| runtime.block_on(store.copy(snapshot, Some(name))));
                match copying {
                    Ok(()) => return Ok(newest),
                    Err(error) => Err(Failure::from(error)),
                }
            }
            Err(lacking) => Err(Failure::Refused(format!(
                "the daemon has taken no snapshot of {lacking} within {} s: look at its log",
                PATIENCE.as_secs()
            ))),
        };
        match copied {
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            // A newer one has taken its place meanwhile: the name begins anew.
            Err(Failure::Unreachable(_)) => runtime.block_on(store.remove_name(name))?,
            _ => {}
        }
        std::thread::sleep(BETWEEN);
    }
}

/// What each instance shows, and of each pipeline where all of its partitions are read.
fn all_positions(
    runtime: &tokio::runtime::Runtime,
    stores: &[Store],
    known: &[Vec<TopicPartition>],
    urls: &[String],
) -> Result<(Vec<Value>, Vec<Positions>), Failure> {
    let shown = urls.iter().map(|url| runtime.block_on(status::fetch(url)));
    let shown = shown.collect::<Result<Vec<Value>, _>>()?;
    let of_pipeline = |(Store { pipeline, .. }, known): (&Store, &Vec<TopicPartition>)| {
        let own = shown
            .iter()
            .flat_map(|shown| positions(shown, &pipeline.name));
        let own: Positions = own.collect();
        check_all_are_there(&pipeline.name, known, &own, urls)?;
        Ok(own)
    };
    let wanted = stores.iter().zip(known).map(of_pipeline);
    let wanted = wanted.collect::<Result<Vec<_>, Failure>>()?;
    Ok((shown, wanted))
}

/// A name that lacks partitions would restore half of a pipeline.
fn check_all_are_there(
    pipeline: &str,
    known: &[TopicPartition],
    own: &[(TopicPartition, i64)],
    urls: &[String],
) -> Result<(), Failure> {
    let is_there = |partition: &&TopicPartition| own.iter().any(|(p, _)| p == *partition);
    let lacking = known.iter().filter(|partition| !is_there(partition));
    let lacking: Vec<String> = lacking.map(ToString::to_string).collect();
    let Some(first) = lacking.first() else {
        return Ok(());
    };
    let urls = urls.join(", ");
    Err(Failure::Refused(format!(
        "pipeline {pipeline}: {} of {} partitions, {first} first, are not at {urls}: name the address of every \
         instance (--url, may be repeated), and wait until all partitions are assigned",
        lacking.len(),
        known.len()
    )))
}

/// The partitions of a pipeline that a daemon has, and how far it has read them.
fn positions(shown: &Value, pipeline: &str) -> Vec<(TopicPartition, i64)> {
    let all = shown["pipelines"].as_array().into_iter().flatten();
    let own = all.filter(|p| p["name"] == pipeline);
    let partitions = own.flat_map(|p| p["partitions"].as_array().into_iter().flatten());
    let position = |p: &Value| {
        let partition = TopicPartition {
            topic: p["topic"].as_str()?.into(),
            partition: i32::try_from(p["partition"].as_i64()?).ok()?,
        };
        Some((partition, p["position"].as_i64()?))
    };
    partitions.filter_map(position).collect()
}

/// The newest snapshot of each partition, all of which have seen what was read by then.
///
/// # Errors
/// A partition of which there is none yet.
fn newest_of_each(
    all: &[StoredSnapshot],
    wanted: &[(TopicPartition, i64)],
) -> Result<Vec<StoredSnapshot>, TopicPartition> {
    let newest = |(partition, position): &(TopicPartition, i64)| {
        let own = all
            .iter()
            .filter(|s| s.name.is_none() && s.partition == *partition);
        let newest = own
            .max_by_key(|s| s.offset)
            .filter(|s| s.offset >= *position);
        newest.cloned().ok_or_else(|| partition.clone())
    };
    wanted.iter().map(newest).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_partition_that_no_instance_has_is_named() {
        let partition = |number| TopicPartition {
            topic: "t".into(),
            partition: number,
        };
        let urls = ["http://a".to_owned()];
        let known = [0, 1, 2].map(partition);
        let check = |own: &[i32]| {
            let own: Vec<_> = own.iter().map(|number| (partition(*number), 5)).collect();
            check_all_are_there("p", &known, &own, &urls)
        };
        check(&[2, 1, 0]).expect("all are there");
        let why = check(&[0]).expect_err("two are lacking").to_string();
        for words in ["2 of 3", "t:1", "http://a", "--url"] {
            assert!(why.contains(words), "{words}: {why}");
        }
    }

    #[test]
    fn every_partition_needs_a_snapshot_of_all_that_was_read() {
        let shown = json!({ "pipelines": [
            { "name": "other", "partitions": [{ "topic": "t", "partition": 9, "position": 1 }] },
            { "name": "p", "partitions": [
                { "topic": "t", "partition": 0, "position": 10 },
                { "topic": "t", "partition": 1, "position": 20 },
                { "topic": "t", "partition": 2, "position": null },
            ] },
        ] });
        let wanted = positions(&shown, "p");
        assert_eq!(wanted.len(), 2);
        let snapshot = |name: Option<&str>, partition, offset| StoredSnapshot {
            name: name.map(str::to_owned),
            partition: TopicPartition {
                topic: "t".into(),
                partition,
            },
            offset,
            bytes: 1,
            taken_ms: 0,
        };
        let mut all = vec![
            snapshot(None, 0, 5),
            snapshot(None, 0, 12),
            snapshot(None, 1, 19),
            snapshot(Some("old"), 1, 25),
        ];
        assert_eq!(newest_of_each(&all, &wanted), Err(wanted[1].0.clone()));
        all.push(snapshot(None, 1, 20));
        let newest = newest_of_each(&all, &wanted).unwrap();
        assert_eq!(
            newest.iter().map(|s| s.offset).collect::<Vec<_>>(),
            [12, 20]
        );
    }
}
