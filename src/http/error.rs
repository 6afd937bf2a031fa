//! Errors as the API answers them.

use axum::Json;
use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::access::Denied;
use crate::supervisor::{Declined, Fault};

/// The body of every error.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ErrorBody {
    error: ErrorDetail,
}

/// What is wrong with a request.
#[derive(Debug, Serialize, ToSchema)]
struct ErrorDetail {
    /// One word for programs.
    #[schema(value_type = String)]
    code: &'static str,
    /// What happened and what to do.
    message: String,
    /// What is wrong with the pipeline, key by key.
    problems: Vec<Fault>,
}

/// An error and its status.
#[derive(Debug)]
pub(super) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    problems: Vec<Fault>,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError {
            status,
            code,
            message: message.into(),
            problems: vec![],
        }
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn internal(message: &str) -> Self {
        tracing::error!("http: {message}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(super) fn invalid(problems: Vec<Fault>) -> Self {
        let message = match problems.len() {
            1 => "1 problem".to_owned(),
            count => format!("{count} problems"),
        };
        ApiError {
            problems,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
        }
    }

    pub(super) fn denied(denied: Denied) -> Self {
        let (status, code, message) = match denied {
            Denied::NoToken => (
                StatusCode::FORBIDDEN,
                "forbidden",
                "nothing can be changed over HTTP: set service.admin_token or service.admin_token_file",
            ),
            Denied::Missing => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "needs the header `Authorization: Bearer <service.admin_token>`",
            ),
            Denied::Wrong => (
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "the token is not that of service.admin_token",
            ),
            Denied::TooMany => (
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                "ten wrong tokens within a minute came from this address: wait a minute",
            ),
        };
        Self::new(status, code, message)
    }
}

impl From<Declined> for ApiError {
    fn from(declined: Declined) -> Self {
        let (status, code) = match &declined {
            Declined::Invalid(faults) => return ApiError::invalid(faults.clone()),
            Declined::Unknown(_) => (StatusCode::NOT_FOUND, "not_found"),
            Declined::Refused { .. } => (StatusCode::CONFLICT, "conflict"),
            Declined::ShuttingDown => (StatusCode::CONFLICT, "shutting_down"),
            Declined::Exists(_) => (StatusCode::CONFLICT, "exists"),
            Declined::OfFile(_) => (StatusCode::CONFLICT, "of_file"),
            Declined::Unusable { .. } => (StatusCode::CONFLICT, "unusable"),
            Declined::NoState(_) => (StatusCode::CONFLICT, "no_state"),
            Declined::TableRefused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "table_refused"),
            Declined::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Declined::Disk(_) => (StatusCode::SERVICE_UNAVAILABLE, "state_dir"),
        };
        Self::new(status, code, declined.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = ErrorBody {
            error: ErrorDetail {
                code: self.code,
                message: self.message,
                problems: self.problems,
            },
        };
        let mut response = (self.status, Json(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let headers = response.headers_mut();
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
