//! Where the pipelines of a configuration keep their snapshots.

use std::sync::Arc;

use crate::config::{Config, Kind, Pipeline};
use crate::inspect::{Failure, pipeline_named};
use crate::state::SnapshotStore;

/// The store of one pipeline.
pub(super) struct Store {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) store: SnapshotStore,
    /// `pipeline.state.keep`.
    pub(super) keep: usize,
}

/// Of the pipelines that keep any, or of one of them. A directory that is not there is not made.
pub(super) fn stores(
    runtime: &tokio::runtime::Runtime,
    config: &Config,
    only: Option<&str>,
) -> Result<Vec<Store>, Failure> {
    if let Some(name) = only {
        pipeline_named(config, name)?;
    }
    let mut found = vec![];
    for pipeline in &config.pipelines {
        let Kind::Enrichment(enrichment) = &pipeline.kind else {
            continue;
        };
        if only.is_some_and(|name| name != pipeline.name) || !enrichment.keeps_state() {
            continue;
        }
        let state = &enrichment.state;
        let directory = config
            .service
            .state_dir
            .join(&pipeline.name)
            .join("snapshots");
        let is_local = state.url.is_empty();
        if is_local && !directory.exists() {
            continue;
        }
        // Clients of object stores begin tasks of their own.
        let _entered = runtime.enter();
        let environment = std::env::vars();
        let store = SnapshotStore::open(&state.url, &directory, &pipeline.name, environment);
        found.push(Store {
            pipeline: Arc::new(pipeline.clone()),
            store: store.map_err(|error| Failure::Usage(error.to_string()))?,
            keep: usize::try_from(state.keep).unwrap_or(usize::MAX),
        });
    }
    Ok(found)
}
