//! What is answered to whom.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::{Shown, api, limits, moves, page, watermarks};
use crate::observe::board::Verdict;
use crate::observe::metrics;

pub(super) fn router(shown: Shown) -> Router {
    page::routes()
        .route("/metrics", get(metrics_text))
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/api/v1/openapi.json", get(api::description))
        .route("/api/v1/watermarks", get(watermarks::watermarks))
        .route("/api/v1/streaming", get(api::pipelines))
        .route("/api/v1/streaming/validate", post(api::validate))
        .route("/api/v1/streaming/create", post(api::create))
        .route(
            "/api/v1/streaming/{name}",
            get(api::pipeline).put(api::replace).delete(api::remove),
        )
        .route("/api/v1/streaming/{name}/start", post(moves::start))
        .route("/api/v1/streaming/{name}/pause", post(moves::pause))
        .route("/api/v1/streaming/{name}/resume", post(moves::resume))
        .route("/api/v1/streaming/{name}/drain", post(moves::drain))
        .route("/api/v1/streaming/{name}/stop", post(moves::stop))
        .route("/api/v1/streaming/{name}/restart", post(moves::restart))
        .route(
            "/api/v1/streaming/{name}/checkpoint",
            post(moves::checkpoint),
        )
        .route("/api/v1/streaming/{name}/limits", post(limits::limits))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn(with_safe_headers))
        .with_state(shown)
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

async fn not_found(request: Request) -> Response {
    api::nothing_at(request.uri().path())
}

async fn method_not_allowed(request: Request) -> Response {
    api::not_possible(request.method().as_str(), request.uri().path())
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
