//! `/api/v1/streaming`: the state of pipelines, and pipelines that are created, replaced and removed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::{CONTENT_LENGTH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;
use utoipa::{OpenApi as _, ToSchema};

use super::Shown;
use super::access::Authorized;
use super::body::PipelineBody;
use super::error::{ApiError, ErrorBody};
use super::openapi::Api;
use crate::observe::board::{PipelineStatus, ServiceStatus};
use crate::supervisor::{Declined, Ignored, Moved, Order, Supervisor};

/// Larger bodies are refused.
pub(super) const BODY_BYTES_MAX: usize = 1 << 20;
/// A body must arrive within this time.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a pipeline is, or goes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MoveBody {
    name: String,
    /// The state that the pipeline moves to, or is in.
    #[schema(value_type = String)]
    state: &'static str,
}

/// What was created.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CreatedBody {
    name: String,
    #[schema(value_type = String)]
    state: &'static str,
    /// Keys of the short form that have no effect, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Vec<Ignored>>,
}

/// A pipeline is valid.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ValidBody {
    valid: bool,
    /// Keys of the short form that have no effect, and why.
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<Vec<Ignored>>,
}

/// The name of a pipeline in the address.
#[derive(Debug)]
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        let path = path.map_err(|_| ApiError::bad_request("the pipeline's name is not UTF-8"))?;
        Ok(Name(path.0))
    }
}

/// Every pipeline.
#[utoipa::path(get, path = "/api/v1/streaming",
    responses((status = 200, description = "the state of everything", body = ServiceStatus)))]
pub(super) async fn pipelines(State(shown): State<Shown>) -> Json<ServiceStatus> {
    Json(shown.board.status())
}

/// One pipeline.
#[utoipa::path(get, path = "/api/v1/streaming/{name}",
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 200, description = "its state", body = PipelineStatus),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody)))]
pub(super) async fn pipeline(
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Json<PipelineStatus>, ApiError> {
    match shown.board.pipeline(&name) {
        Some(pipeline) => Ok(Json(pipeline.status())),
        None => Err(Declined::Unknown(name).into()),
    }
}

/// Checks a pipeline beside the ones that are there, and changes nothing.
#[utoipa::path(post, path = "/api/v1/streaming/validate", security(("token" = [])),
    request_body(content = PipelineBody, description = "as for create"),
    responses(
        (status = 200, description = "valid", body = ValidBody),
        (status = 400, description = "no JSON", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 408, description = "the body took too long", body = ErrorBody),
        (status = 413, description = "the body is too large", body = ErrorBody),
        (status = 422, description = "every problem", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn validate(
    _authorized: Authorized,
    State(shown): State<Shown>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<ValidBody>, ApiError> {
    let order = order(&headers, body).await?;
    let ignored = order.is_short.then(|| order.ignored.clone());
    carry_out(&shown, move |supervisor| supervisor.validate(&order)).await?;
    let valid = true;
    Ok(Json(ValidBody { valid, ignored }))
}

/// Creates a pipeline and keeps it.
#[utoipa::path(post, path = "/api/v1/streaming/create", security(("token" = [])),
    request_body(content = PipelineBody, description = "`{\"pipeline\": {…}, \"start\": true}` with the keys of a \
        [[pipeline]], or the short form with `pipeline_name`",
        example = json!({"pipeline": {"name": "clicks", "kind": "enrichment", "topics": ["user-events"],
            "group_id": "clicks", "clickhouse": {"table": "clickstream_events"}}, "start": true})),
    responses(
        (status = 201, description = "it is kept, and starts", body = CreatedBody),
        (status = 400, description = "no JSON", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 408, description = "the body took too long", body = ErrorBody),
        (status = 409, description = "the name exists", body = ErrorBody),
        (status = 413, description = "the body is too large", body = ErrorBody),
        (status = 422, description = "every problem", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody),
        (status = 503, description = "the disk or ClickHouse does not take it", body = ErrorBody)))]
pub(super) async fn create(
    _authorized: Authorized,
    State(shown): State<Shown>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let order = order(&headers, body).await?;
    let name = order.pipeline["name"].as_str().unwrap_or_default();
    let name = name.to_owned();
    let ignored = order.is_short.then(|| order.ignored.clone());
    let moved = carry_out(&shown, move |supervisor| supervisor.create(order)).await?;
    let location = [(LOCATION, format!("/api/v1/streaming/{name}"))];
    let body = CreatedBody {
        name,
        state: moved.state.as_str(),
        ignored,
    };
    Ok((StatusCode::CREATED, location, Json(body)).into_response())
}

/// Replaces a created pipeline: drains it, then starts it anew. The same body once more changes nothing.
#[utoipa::path(put, path = "/api/v1/streaming/{name}", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    request_body(content = PipelineBody, description = "as for create"),
    responses(
        (status = 200, description = "no change", body = MoveBody),
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no JSON, or no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 408, description = "the body took too long", body = ErrorBody),
        (status = 409, description = "one of the file, or another move is under way", body = ErrorBody),
        (status = 413, description = "the body is too large", body = ErrorBody),
        (status = 422, description = "every problem", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody),
        (status = 503, description = "the disk or ClickHouse does not take it", body = ErrorBody)))]
pub(super) async fn replace(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let order = order(&headers, body).await?;
    let order = order.named(&name).map_err(ApiError::invalid)?;
    let replaced = name.clone();
    let moved = carry_out(&shown, move |supervisor| {
        supervisor.replace(&replaced, order)
    })
    .await?;
    Ok(moved_to(name, moved))
}

/// Drains and removes a created pipeline. Its offsets and tables stay.
#[utoipa::path(delete, path = "/api/v1/streaming/{name}", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 202, description = "it drains and goes, or is gone already", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "one of the file, or another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody),
        (status = 503, description = "its file cannot be removed", body = ErrorBody)))]
pub(super) async fn remove(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    let removed = name.clone();
    let moved = carry_out(&shown, move |supervisor| supervisor.remove(&removed)).await?;
    Ok(moved_to(name, moved))
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json",
    responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
pub(super) async fn description() -> Response {
    Json(Api::openapi()).into_response()
}

pub(super) fn moved_to(name: String, moved: Moved) -> Response {
    let status = if moved.has_changed {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let state = moved.state.as_str();
    (status, Json(MoveBody { name, state })).into_response()
}

/// Files, locks and servers may take a moment: not on the threads that all pipelines share.
pub(super) async fn carry_out<T: Send + 'static>(
    shown: &Shown,
    wanted: impl FnOnce(&Arc<Supervisor>) -> Result<T, Declined> + Send + 'static,
) -> Result<T, ApiError> {
    let supervisor = shown.supervisor.clone();
    let carried_out = tokio::task::spawn_blocking(move || wanted(&supervisor)).await;
    match carried_out {
        Ok(result) => Ok(result?),
        Err(_panicked) => Err(ApiError::internal(
            "a defect of the program: look for the panic in the log",
        )),
    }
}

/// Reads a body as a pipeline.
async fn order(headers: &HeaderMap, body: Body) -> Result<Order, ApiError> {
    Order::read(json_of(headers, body).await?).map_err(ApiError::invalid)
}

/// Reads a body as JSON.
pub(super) async fn json_of(headers: &HeaderMap, body: Body) -> Result<Value, ApiError> {
    let too_large = || {
        let message = format!("the body has more than {BODY_BYTES_MAX} bytes");
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    let length = headers.get(CONTENT_LENGTH).and_then(|l| l.to_str().ok());
    let length = length.and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > BODY_BYTES_MAX) {
        return Err(too_large());
    }

    let bytes = timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let bytes = bytes.map_err(|_elapsed| {
        let message = format!("the body took more than {} s", BODY_TIMEOUT.as_secs());
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    })?;
    let bytes = bytes.map_err(|error| {
        if is_over_limit(&error) {
            too_large()
        } else {
            ApiError::bad_request(format!("the body breaks off: {error}"))
        }
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| ApiError::bad_request(format!("the body is not JSON: {error}")))
}

fn is_over_limit(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.is::<http_body_util::LengthLimitError>() {
            return true;
        }
        source = error.source();
    }
    false
}

/// For paths that nothing answers at.
pub(super) fn nothing_at(path: &str) -> Response {
    ApiError::not_found(format!("nothing at {path}")).into_response()
}

/// For other methods.
pub(super) fn not_possible(method: &str, path: &str) -> Response {
    let message = format!("{method} is not possible at {path}");
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        message,
    )
    .into_response()
}
