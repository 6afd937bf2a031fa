//! What an operator is given besides its plan.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Compression, Enrichment, Formats};
use crate::memory::CacheShare;
use crate::pipeline::quality::Tally;
use crate::registry::Schemas;
use crate::sink::Target;

/// Where its rows go.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) target: Arc<Target>,
    /// Whether it has `_topic`, `_partition` and `_offset`.
    pub(crate) has_provenance: bool,
}

/// What an operator is given besides its plan.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(super) watermark_delay: Duration,
    pub(super) timestamp_ahead_max_ms: i64,
    pub(super) cache_bytes_max: CacheShare,
    pub(super) cache_ttl_ms: u64,
    pub(super) seed: u64,
    pub(super) compression: Compression,
    /// What rules say of all records together.
    pub(super) tally: Option<Arc<Tally>>,
    /// What is written as JSON before it is read.
    pub(super) written_first: Option<Formats>,
    /// Where the schemas of records are asked for.
    pub(super) schemas: Option<Arc<Schemas>>,
}

impl Settings {
    /// From `seed` come the seeds of all hashes: a random number, so that nobody can send keys that
    /// collide.
    pub(crate) fn new(config: &Enrichment, cache_bytes_max: CacheShare, seed: u64) -> Self {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let cache_ttl = config.lookup.as_ref().map(|lookup| lookup.cache_ttl);
        Settings {
            watermark_delay: config.watermark_delay,
            timestamp_ahead_max_ms: ms(config.timestamp_ahead_max),
            cache_bytes_max,
            cache_ttl_ms: cache_ttl.map_or(0, |ttl| ms(ttl).unsigned_abs()),
            seed,
            // What is written first is unpacked there.
            compression: match config.read_format() == config.format {
                true => config.compression,
                false => Compression::None,
            },
            written_first: config.written_first(),
            tally: None,
            schemas: None,
        }
    }

    /// The same, with what the lanes count together.
    pub(crate) fn with_tally(self, tally: Option<Arc<Tally>>) -> Self {
        Settings { tally, ..self }
    }

    /// The same, with the schemas of a registry.
    pub(crate) fn with_schemas(self, schemas: Option<Arc<Schemas>>) -> Self {
        Settings { schemas, ..self }
    }
}
