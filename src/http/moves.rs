//! `/api/v1/streaming/{name}/…`: moves of a pipeline.

use axum::extract::State;
use axum::response::Response;

use super::Shown;
use super::access::Authorized;
use super::api::{MoveBody, Name, carry_out, moved_to};
use super::error::{ApiError, ErrorBody};
use crate::life::Move;

/// Starts a pipeline that has stopped or halted.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/start", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 200, description = "no change", body = MoveBody),
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "not from this state, or another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn start(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    make_move(&shown, name, Move::Start).await
}

/// Keeps the partitions and stops reading.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/pause", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 200, description = "no change", body = MoveBody),
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "not from this state, or another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn pause(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    make_move(&shown, name, Move::Pause).await
}

/// Reads on.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/resume", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 200, description = "no change", body = MoveBody),
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "not from this state, or another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn resume(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    make_move(&shown, name, Move::Resume).await
}

/// Writes and commits what was read, then stops.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/drain", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 200, description = "no change", body = MoveBody),
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "not from this state, or another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn drain(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    make_move(&shown, name, Move::Drain).await
}

/// Stops without writing what was read: the next start reads it again.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/stop", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 200, description = "no change", body = MoveBody),
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "not from this state, or another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn stop(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    make_move(&shown, name, Move::Stop).await
}

/// Drains, then starts.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/restart", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 202, description = "the state that it moves to", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "another move is under way", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn restart(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    make_move(&shown, name, Move::Restart).await
}

/// Has a snapshot of each partition written now.
#[utoipa::path(post, path = "/api/v1/streaming/{name}/checkpoint", security(("token" = [])),
    params(("name" = String, Path, description = "the pipeline")),
    responses(
        (status = 202, description = "the lanes are told", body = MoveBody),
        (status = 400, description = "no name", body = ErrorBody),
        (status = 401, description = "no token, or a wrong one", body = ErrorBody),
        (status = 403, description = "no token is configured", body = ErrorBody),
        (status = 404, description = "no such pipeline", body = ErrorBody),
        (status = 409, description = "it keeps no snapshots, or does not run", body = ErrorBody),
        (status = 429, description = "too many wrong tokens", body = ErrorBody)))]
pub(super) async fn checkpoint(
    _authorized: Authorized,
    State(shown): State<Shown>,
    Name(name): Name,
) -> Result<Response, ApiError> {
    let asked = name.clone();
    let moved = carry_out(&shown, move |supervisor| supervisor.checkpoint(&asked)).await?;
    Ok(moved_to(name, moved))
}

async fn make_move(shown: &Shown, name: String, wanted: Move) -> Result<Response, ApiError> {
    let moving = name.clone();
    let moved = carry_out(shown, move |supervisor| supervisor.request(&moving, wanted)).await?;
    Ok(moved_to(name, moved))
}
