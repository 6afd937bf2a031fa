//! The HTTP server: metrics, health, the status page and the pipelines' state as JSON.
//!
//! | route | answer |
//! |---|---|
//! | `GET /metrics` | Prometheus text |
//! | `GET /livez` | 200 while every lane's loop turns, else 503 naming the stuck lanes |
//! | `GET /readyz` | 200 when every running pipeline can do its work, else 503 saying why not |
//! | `GET /` | the status page |
//! | `GET /api/v1/streaming` | every pipeline |
//! | `GET /api/v1/streaming/{name}` | one pipeline |
//!
//! Everything else is 404, every other method 405, both with a JSON error.

mod page;
mod routes;
mod server;
#[cfg(test)]
mod tests;

pub use server::serve;
