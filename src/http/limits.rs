//! `/api/v1/streaming/{name}/limits`: how fast a pipeline reads.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::Shown;
use super::access::Authorized;
use super::api::{Name, carry_out, json_of};
use super::error::{ApiError, ErrorBody};
use crate::config::ReadLimits;
use crate::supervisor::Fault;

/// The limits that hold from now on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LimitsBody {
    name: String,
    #[serde(flatten)]
    limits: ReadLimits,
}

/// Changes how fast a pipeline reads in this process, at once and until the process ends. A key that is left
/// out stays as it is; `null` is no limit.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/limits", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    request_body(content = ReadLimits, description = "as in the file; a size may be a text such as \"10MiB\"",
        example = json!({"records_per_second_max": 5000})),
    responses(
        (status = 200, description = "the limits that hold now", body = LimitsBody),
        (status = 400, description = "no JSON, or no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 408, description = "the body took too long", body = ErrorBody),
        (status = 409, description = "the process shuts down, or its file cannot be used", body = ErrorBody),
        (status = 413, description = "the body is too large", body = ErrorBody),
        (status = 422, description = "every problem", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn limits(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<LimitsBody>, ApiError> {
    let body = json_of(&headers, body).await?;
    let changed = move |limits: ReadLimits| {
        let faults = |faults: Vec<(String, String)>| {
            let faults = faults.into_iter();
            faults
                .map(|(key, message)| Fault::new(&key, message))
                .collect()
        };
        limits.changed(&body).map_err(faults)
    };
    let limited = name.clone();
    let limits = carry_out(&shown, move |supervisor| {
        supervisor.limit(&limited, changed)
    })
    .await?;
    Ok(Json(LimitsBody { name, limits }))
}
