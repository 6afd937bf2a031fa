//! Connections: how many, how long, how large a request head.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_io_timeout::TimeoutStream;

use super::access::Peer;
use super::{Shown, Tls, routes};
use crate::observe::board::Board;
use crate::observe::metrics::Gauges;
use crate::observe::{metrics, process};

/// Larger request heads are answered with 431.
const REQUEST_HEAD_BYTES_MAX: usize = 16 * 1024;
/// What a connection gets to finish its answer once it is asked to end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// After an error of `accept`: most often no file descriptor is left.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How often rates and memory are sampled.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// How much of the server a client may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Further connections wait in the listener's backlog.
    pub(super) connections_max: usize,
    /// A request head must arrive within this time; it also ends idle connections.
    pub(super) header_timeout: Duration,
    /// A client that takes nothing of its answers for this long loses them and the connection.
    pub(super) write_timeout: Duration,
    /// However busy or slow, a connection ends after this time; clients open another.
    pub(super) connection_age_max: Duration,
}

const LIMITS: Limits = Limits {
    connections_max: 64,
    header_timeout: Duration::from_secs(10),
    write_timeout: Duration::from_secs(10),
    connection_age_max: Duration::from_secs(300),
};

/// Answers requests on `listener` until `shutdown` resolves, with `tls` over TLS only; returns when the
/// answers under way are sent, at most 2 s later.
pub(crate) async fn serve(
    listener: TcpListener,
    shown: Shown,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(LIMITS, listener, shown, tls, shutdown).await;
}

/// [`serve`] under limits of its own.
pub(super) async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    shown: Shown,
    tls: Option<Arc<Tls>>,
    shutdown: impl Future<Output = ()>,
) {
    let board = shown.board.clone();
    let router = routes::router(shown);
    let slots = Arc::new(Semaphore::new(limits.connections_max));
    let (closing, _) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut gauges = Gauges::default();
    sample(&board, &mut gauges);
    let mut samples = interval_at(Instant::now() + SAMPLE_INTERVAL, SAMPLE_INTERVAL);
    samples.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut shutdown = pin!(shutdown);
    loop {
        let accept = async {
            let slot = Arc::clone(&slots)
                .acquire_owned()
                .await
                .expect("nobody closes the slots");
            (listener.accept().await, slot)
        };
        tokio::select! {
            // In this order: a flood of connections delays neither the end nor a sample.
            biased;
            () = &mut shutdown => break,
            _ = samples.tick() => sample(&board, &mut gauges),
            Some(_) = connections.join_next() => {}
            (accepted, slot) = accept => match accepted {
                Ok((stream, peer)) => {
                    let closing = closing.subscribe();
                    let router = router.clone().layer(Extension(Peer(peer.ip())));
                    let tls = tls.clone();
                    connections.spawn(async move {
                        accept_connection(limits, stream, tls, router, closing).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(ACCEPT_BACKOFF).await;
                }
            },
        }
    }
    drop(listener);
    closing.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// What the pages show of the process as a whole.
fn sample(board: &Board, gauges: &mut Gauges) {
    const RESIDENT: &str = "resident";
    board.sample();
    gauges.publish(board);
    if let Some(bytes) = process::resident_bytes() {
        board.set_memory(RESIDENT, bytes);
        metrics::process_memory(RESIDENT, bytes);
    }
}

/// Serves a connection, once it speaks TLS where it has to.
async fn accept_connection(
    limits: Limits,
    stream: TcpStream,
    tls: Option<Arc<Tls>>,
    router: Router,
    closing: watch::Receiver<bool>,
) {
    let Some(tls) = tls else {
        return connection(limits, stream, router, closing).await;
    };
    let accepted = timeout(limits.header_timeout, tls.acceptor().accept(stream)).await;
    if let Ok(Ok(stream)) = accepted {
        connection(limits, stream, router, closing).await;
    }
}

/// Serves one connection until the client ends it, its time is up, or the server closes.
async fn connection(
    limits: Limits,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    mut closing: watch::Receiver<bool>,
) {
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(REQUEST_HEAD_BYTES_MAX);
    let service = TowerToHyperService::new(router);
    let mut stream = Box::pin(TimeoutStream::new(stream));
    stream
        .as_mut()
        .set_write_timeout_pinned(Some(limits.write_timeout));
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        _ = served.as_mut() => return,
        _ = closing.wait_for(|closing| *closing) => {}
        () = sleep(limits.connection_age_max) => {}
    }
    served.as_mut().graceful_shutdown();
    // A client that does not take its answer loses it.
    let _ = timeout(CLOSE_TIMEOUT, served).await;
}
