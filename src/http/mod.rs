//! The HTTP server: metrics, health, the status page and the pipelines' state as JSON.
//!
//! | route | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus text |
//! | `GET /livez` | 200 while every lane's loop turns, else 503 naming the stuck lanes |
//! | `GET /readyz` | 200 when every running pipeline can do its work, else 503 saying why not |
//! | `GET /`, `GET /page/…` | the status page |
//! | `GET /api/v1/streaming` | every pipeline |
//! | `GET /api/v1/streaming/{name}` | one pipeline |
//! | `POST /api/v1/streaming/validate` | whether a pipeline is valid |
//! | `POST /api/v1/streaming/create` | creates a pipeline |
//! | `PUT`, `DELETE /api/v1/streaming/{name}` | replaces or removes a created pipeline |
//! | `POST /api/v1/streaming/{name}/start` … | moves a pipeline |
//! | `POST /api/v1/streaming/{name}/limits` | changes how fast a pipeline reads |
//! | `GET /api/v1/watermarks` | how far pipelines are complete |
//! | `GET /api/v1/openapi.json` | the description of the API |
//!
//! Everything else is 404, every other method 405. `docs/control.md` is the page about it. What changes
//! something needs the token (`access`); errors are of one shape (`error`).

mod access;
mod api;
mod body;
mod error;
mod limits;
mod moves;
mod openapi;
mod page;
mod routes;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod watermarks;

use std::sync::Arc;

use metrics_exporter_prometheus::PrometheusHandle;

pub(crate) use self::access::Access;
pub(crate) use self::server::serve;
pub(crate) use self::tls::Tls;
use crate::inspect::completeness::Watermarks;
use crate::observe::board::Board;
use crate::supervisor::Supervisor;

/// What the routes read from and act on.
#[derive(Debug, Clone)]
pub(crate) struct Shown {
    pub(crate) board: Arc<Board>,
    pub(crate) prometheus: PrometheusHandle,
    pub(crate) supervisor: Arc<Supervisor>,
    pub(crate) access: Arc<Access>,
    pub(crate) watermarks: Arc<Watermarks>,
}
