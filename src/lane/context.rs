//! What a lane is given, and never changes.

use std::sync::Arc;
use std::time::Instant;

use super::shared::{LaneParts, PipelineShared, Stop};
use crate::config::Pipeline;
use crate::observe::board::LaneBoard;
use crate::observe::metrics::PipelineMetrics;
use crate::sink::Sink;

/// See the module.
pub(super) struct Context {
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) shared: Arc<PipelineShared>,
    pub(super) sink: Arc<Sink>,
    pub(super) runtime: tokio::runtime::Handle,
    pub(super) metrics: PipelineMetrics,
    pub(super) board: Arc<LaneBoard>,
    pub(super) stop: Stop,
    pub(super) number: u16,
    /// When the lane was made.
    pub(super) born: Instant,
}

impl Context {
    pub(super) fn new<O: super::Operator>(parts: &LaneParts<O>) -> Self {
        Context {
            pipeline: parts.pipeline.clone(),
            shared: parts.shared.clone(),
            sink: parts.sink.clone(),
            runtime: parts.runtime.clone(),
            metrics: parts.shared.metrics.clone(),
            board: parts.board.clone(),
            stop: parts.stop.clone(),
            number: parts.number,
            born: Instant::now(),
        }
    }
}
