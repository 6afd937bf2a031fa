//! `/api/v1/watermarks`: how far pipelines are complete.

use std::time::Instant;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shown;
use super::api::carry_out;
use super::error::{ApiError, ErrorBody};
use crate::inspect::completeness::{NamedStatus, PipelineWatermark};

/// How far everything is complete.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WatermarksBody {
    /// Every pipeline of this process, with all partitions of its topics, whichever process reads them.
    pipelines: Vec<PipelineWatermark>,
    /// The named watermarks of the configuration file.
    named: Vec<NamedStatus>,
}

/// How far each pipeline is complete, by what its group has committed. The watermark of a partition never
/// falls, unless the group's offsets are set elsewhere or expire, or the topic is made again. That of a
/// pipeline is unknown until a partition that was added has one, which may lie before it.
#[utoipa::path(get, path = "/api/v1/watermarks",
    responses(
        (status = 200, description = "by pipeline and partition, with the least", body = WatermarksBody),
        (status = 500, description = "a defect of the program", body = ErrorBody)))]
pub(super) async fn watermarks(
    State(shown): State<Shown>,
) -> Result<Json<WatermarksBody>, ApiError> {
    let (since, watermarks) = (Instant::now(), shown.watermarks.clone());
    let turn = watermarks.turn().await;
    let read = carry_out(&shown, move |supervisor| {
        // Kept until the answer is there, also when nobody waits for it any more.
        let _turn = turn;
        Ok(watermarks.read_with_named(since, supervisor.pipelines()))
    });
    let (pipelines, named) = read.await?;
    Ok(Json(WatermarksBody { pipelines, named }))
}
