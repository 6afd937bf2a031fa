//! `/api/v1/watermarks`: how far pipelines are complete.

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

/// How far each pipeline is complete, by what its group has committed. A watermark that was answered once is
/// never taken back, unless the group's offsets are set elsewhere.
#[utoipa::path(get, path = "/api/v1/watermarks",
    responses(
        (status = 200, description = "by pipeline and partition, with the least", body = WatermarksBody),
        (status = 500, description = "a defect of the program", body = ErrorBody)))]
pub(super) async fn watermarks(
    State(shown): State<Shown>,
) -> Result<Json<WatermarksBody>, ApiError> {
    let watermarks = shown.watermarks.clone();
    let read = carry_out(&shown, move |supervisor| {
        Ok(watermarks.read_with_named(supervisor.pipelines()))
    });
    let (pipelines, named) = read.await?;
    Ok(Json(WatermarksBody { pipelines, named }))
}
