//! What is answered to whom.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::json;

use super::page;
use crate::observe::board::{Board, PipelineStatus, ServiceStatus, Verdict};
use crate::observe::metrics;

/// What the routes read from.
#[derive(Debug, Clone)]
pub(super) struct Shown {
    pub(super) board: Arc<Board>,
    pub(super) prometheus: PrometheusHandle,
}

pub(super) fn router(shown: Shown) -> Router {
    Router::new()
        .route("/", get(status_page))
        .route("/metrics", get(metrics_text))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/api/v1/streaming", get(pipelines))
        .route("/api/v1/streaming/{name}", get(pipeline))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(with_safe_headers))
        .with_state(shown)
}

async fn status_page(State(shown): State<Shown>) -> Response {
    // Style and script carry a nonce that only this answer knows: nothing else on the page runs.
    let nonce = format!("{:032x}", rand::random::<u128>());
    let policy = format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let page = page::render(&shown.board.status(), &nonce);
    ([(CONTENT_SECURITY_POLICY, policy)], Html(page)).into_response()
}

async fn metrics_text(State(shown): State<Shown>) -> impl IntoResponse {
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    (
        [(CONTENT_TYPE, content_type)],
        metrics::render(&shown.prometheus),
    )
}

async fn alive(State(shown): State<Shown>) -> Response {
    health(shown.board.alive())
}

async fn ready(State(shown): State<Shown>) -> Response {
    health(shown.board.ready())
}

/// `ok`, or 503 with one complaint a line.
fn health(verdict: Verdict) -> Response {
    if verdict.is_good() {
        "ok\n".into_response()
    } else {
        let mut text = verdict.complaints.join("\n");
        text.push('\n');
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn pipelines(State(shown): State<Shown>) -> Json<ServiceStatus> {
    Json(shown.board.status())
}

async fn pipeline(
    State(shown): State<Shown>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Json<PipelineStatus>, Response> {
    let Path(name) = name.map_err(|_| {
        error(
            StatusCode::BAD_REQUEST,
            "the pipeline's name is not UTF-8".to_owned(),
        )
    })?;
    match shown.board.pipeline(&name) {
        Some(pipeline) => Ok(Json(pipeline.status())),
        None => Err(error(
            StatusCode::NOT_FOUND,
            format!("no pipeline `{name}`; GET /api/v1/streaming lists them"),
        )),
    }
}

async fn not_found(request: Request) -> Response {
    error(
        StatusCode::NOT_FOUND,
        format!("nothing at {}", request.uri().path()),
    )
}

async fn method_not_allowed(request: Request) -> Response {
    error(
        StatusCode::METHOD_NOT_ALLOWED,
        format!(
            "{} is not possible at {}",
            request.method(),
            request.uri().path()
        ),
    )
}

fn error(status: StatusCode, error: String) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}

/// No answer is to be cached or taken for another type than it says.
async fn with_safe_headers(request: Request, next: Next) -> Response {
    const NOSNIFF: (HeaderName, HeaderValue) = (
        HeaderName::from_static("x-content-type-options"),
        HeaderValue::from_static("nosniff"),
    );
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
