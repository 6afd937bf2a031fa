//! Having the running daemon take snapshots, and keeping them under a name.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::Value;

use super::stores::{Store, stores};
use crate::config::Config;
use crate::inspect::{Failure, runtime, status};
use crate::source::TopicPartition;
use crate::state::StoredSnapshot;

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(200);

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

/// Asks the daemon at `url` for a snapshot of every partition, and keeps them under `name`.
///
/// # Errors
/// The name is taken or none, no pipeline keeps snapshots, or the daemon does not take any in time.
pub fn create(
    config: &Config,
    url: &str,
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
    let stores = stores(&runtime, config, pipeline)?;
    if stores.is_empty() {
        return Err(Failure::Refused(
            "no pipeline keeps snapshots here: only sessions of enrichment pipelines do, once the daemon \
             has run"
                .to_owned(),
        ));
    }
    for Store { store, .. } in &stores {
        let all = runtime.block_on(store.list_all())?;
        if all
            .iter()
            .any(|snapshot| snapshot.name.as_deref() == Some(name))
        {
            return Err(Failure::Refused(format!(
                "the name {name:?} is taken: choose another"
            )));
        }
    }
    let token = config
        .service
        .admin_token
        .as_ref()
        .map(|token| token.expose_secret().to_owned());
    let shown = runtime.block_on(status::fetch(url))?;
    let mut kept = vec![];
    for Store {
        pipeline, store, ..
    } in stores
    {
        let wanted = positions(&shown, &pipeline.name);
        if wanted.is_empty() {
            return Err(Failure::Refused(format!(
                "the daemon at {url} has no partition of pipeline {}",
                pipeline.name
            )));
        }
        let path = format!("/api/v1/streaming/{}/checkpoint", pipeline.name);
        runtime.block_on(status::post(url, &path, token.as_deref()))?;
        let deadline = Instant::now() + PATIENCE;
        let newest = loop {
            let all = runtime.block_on(store.list_all())?;
            match newest_of_each(&all, &wanted) {
                Ok(newest) => break newest,
                Err(lacking) if Instant::now() >= deadline => {
                    return Err(Failure::Refused(format!(
                        "the daemon has taken no snapshot of {lacking} within {} s: look at its log",
                        PATIENCE.as_secs()
                    )));
                }
                Err(_) => std::thread::sleep(BETWEEN),
            }
        };
        for snapshot in newest {
            runtime.block_on(store.copy(&snapshot, Some(name)))?;
            kept.push(Kept {
                pipeline: pipeline.name.clone(),
                topic: snapshot.partition.topic.to_string(),
                partition: snapshot.partition.partition,
                offset: snapshot.offset,
                bytes: snapshot.bytes,
            });
        }
    }
    Ok(kept)
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
