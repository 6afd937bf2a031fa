//! Real requests over a socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::server::{Limits, serve_within};
use crate::observe::board::{Board, PartitionStatus, PipelineState};
use crate::observe::clock::ManualClock;
use crate::observe::metrics::PipelineMetrics;

const DEADLINE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits {
    connections_max: 16,
    header_timeout: DEADLINE,
    connection_age_max: DEADLINE,
};

struct Served {
    address: SocketAddr,
    clock: Arc<ManualClock>,
    board: Arc<Board>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        assert!(
            self.head.contains("content-type: application/json"),
            "{}",
            self.head
        );
        serde_json::from_str(&self.body).expect("the body is JSON")
    }
}

impl Served {
    /// A server whose board has the pipeline `clickstream`, running and ready.
    async fn start() -> Self {
        Self::start_within(LIMITS).await
    }

    async fn start_within(limits: Limits) -> Self {
        let clock = Arc::new(ManualClock::default());
        let board = Board::with_clock(Arc::clone(&clock) as _);
        let pipeline = board.add_pipeline("clickstream", "enrichment");
        let lane = pipeline.add_lane(0, Duration::from_secs(300));
        lane.set_joined(true);
        lane.set_partitions(vec![PartitionStatus::new(
            "user-events",
            0,
            1_500,
            1_000,
            4_500,
        )]);
        pipeline.sink("clickhouse").answered();
        pipeline.batch_written(
            "clickstream_events",
            1_000,
            93_000,
            Duration::from_millis(40),
        );
        pipeline.set_state(PipelineState::Running, None);

        let recorder = PrometheusBuilder::new().build_recorder();
        let prometheus = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            PipelineMetrics::new("clickstream")
                .rows_written
                .increment(1_000);
        });

        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve_within(
            limits,
            listener,
            Arc::clone(&board),
            prometheus,
            shutdown,
        ));
        Self {
            address,
            clock,
            board,
            stop,
            server,
        }
    }

    async fn send(&self, request: &[u8]) -> Answer {
        let (address, request) = (self.address, request.to_vec());
        let exchange = tokio::task::spawn_blocking(move || exchange(address, &request));
        let text = exchange.await.expect("the exchange does not panic");
        let (head, body) = text.split_once("\r\n\r\n").expect("an answer has a head");
        let status = head[9..12].parse().expect("a status line");
        Answer {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    async fn request(&self, method: &str, target: &str) -> Answer {
        let request = format!("{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        self.send(request.as_bytes()).await
    }

    async fn get(&self, target: &str) -> Answer {
        self.request("GET", target).await
    }
}

/// Sends a request and reads until the server closes.
fn exchange(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream
        .set_read_timeout(Some(DEADLINE))
        .expect("a valid timeout");
    // A refused request may be answered and cut off before it is sent whole: what counts is the
    // answer.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).expect("answers are UTF-8")
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let served = Served::start().await;
    let answer = served.get("/metrics").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer
            .head
            .contains("content-type: text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    let row = "streamweir_rows_written_total{pipeline=\"clickstream\"} 1000\n";
    assert!(answer.body.contains(row), "{}", answer.body);
}

#[tokio::test]
async fn livez_turns_503_and_names_the_stuck_lane() {
    let served = Served::start().await;
    assert_eq!(served.get("/livez").await.status, 200);
    served.clock.advance_ms(312_000);
    let answer = served.get("/livez").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.body, "clickstream lane 0 has not turned for 312 s\n");
}

#[tokio::test]
async fn readyz_answers_for_every_state_of_a_pipeline() {
    let served = Served::start().await;
    let pipeline = served.board.pipeline("clickstream").expect("added");
    for (state, reason, status, body) in [
        (
            PipelineState::Starting,
            None,
            503,
            "clickstream is starting\n",
        ),
        (PipelineState::Running, None, 200, "ok\n"),
        (PipelineState::Paused, Some("by an operator"), 200, "ok\n"),
        (PipelineState::Draining, None, 200, "ok\n"),
        (PipelineState::Stopped, None, 200, "ok\n"),
        (
            PipelineState::Halted,
            Some("no table"),
            503,
            "clickstream is halted: no table\n",
        ),
    ] {
        pipeline.set_state(state, reason);
        let answer = served.get("/readyz").await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body),
            "{state}"
        );
    }
}

#[tokio::test]
async fn readyz_turns_503_when_a_sink_falls_silent() {
    let served = Served::start().await;
    assert_eq!(served.get("/readyz").await.status, 200);
    served.clock.advance_ms(45_000);
    let answer = served.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.body,
        "clickstream sink clickhouse has not answered for 45 s\n"
    );
}

#[tokio::test]
async fn the_api_lists_pipelines_and_shows_one() {
    let served = Served::start().await;
    let all = served.get("/api/v1/streaming").await;
    assert_eq!(all.status, 200);
    let one = served.get("/api/v1/streaming/clickstream").await;
    assert_eq!(one.status, 200);
    let one = one.json();
    assert_eq!(one["name"], "clickstream");
    assert_eq!(one["state"], "running");
    assert_eq!(one["partitions"][0]["lag"], 3_000);
    assert_eq!(one["rows_written"], 1_000);
    assert_eq!(all.json()["pipelines"][0]["partitions"], one["partitions"]);
}

#[tokio::test]
async fn an_unknown_pipeline_is_a_json_404() {
    let served = Served::start().await;
    let answer = served.get("/api/v1/streaming/sales%20%22x%22").await;
    assert_eq!(answer.status, 404);
    let expected = "no pipeline `sales \"x\"`; GET /api/v1/streaming lists them";
    assert_eq!(answer.json()["error"], expected);
}

#[tokio::test]
async fn unknown_paths_are_json_404_and_other_methods_json_405() {
    let served = Served::start().await;
    for (method, target, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/api/v1/streaming/clickstream/start", 404),
        ("POST", "/api/v1/streaming/create", 405),
        ("DELETE", "/api/v1/streaming/clickstream", 405),
        ("POST", "/", 405),
        ("PUT", "/metrics", 405),
        ("FROBNICATE", "/livez", 405),
    ] {
        let answer = served.request(method, target).await;
        assert_eq!(answer.status, status, "{method} {target}");
        assert!(answer.json()["error"].is_string(), "{method} {target}");
        assert_eq!(
            answer.head.contains("\r\nallow: GET"),
            status == 405,
            "{}",
            answer.head
        );
    }
}

#[tokio::test]
async fn the_page_shows_pipelines_under_a_strict_policy_without_external_assets() {
    let served = Served::start().await;
    let answer = served.get("/").await;
    assert_eq!(answer.status, 200);
    assert!(
        answer.head.contains("content-type: text/html"),
        "{}",
        answer.head
    );
    let (_, nonce) = answer
        .head
        .split_once("script-src 'nonce-")
        .expect("a policy with a nonce");
    let nonce = &nonce[..32];
    assert_eq!(
        answer.body.matches(&format!("nonce=\"{nonce}\"")).count(),
        2
    );
    assert!(!answer.body.contains("{{"), "a mark was left in the page");
    for external in ["src=", "http://", "https://", "<link", "@import", "url("] {
        assert!(!answer.body.contains(external), "{external}");
    }
    for shown in [
        "clickstream",
        "enrichment",
        "user-events",
        "clickstream_events",
        "90.8 KiB",
    ] {
        assert!(answer.body.contains(shown), "{shown}");
    }
    assert!(
        !served.get("/").await.head.contains(nonce),
        "each answer has its own nonce"
    );
}

#[tokio::test]
async fn nothing_that_a_user_or_server_wrote_becomes_markup() {
    let served = Served::start().await;
    let hostile = "\"'><script>alert(1)</script>{{nonce}}{{status}}";
    let pipeline = served.board.add_pipeline(hostile, hostile);
    pipeline.set_state(PipelineState::Halted, Some(hostile));
    pipeline.error(hostile);
    pipeline.sink(hostile);
    pipeline.batch_written(hostile, 1, 1, Duration::ZERO);
    let lane = pipeline.add_lane(0, Duration::from_secs(1));
    lane.set_partitions(vec![PartitionStatus::new(hostile, 0, 1, 1, 1)]);
    let body = served.get("/").await.body;
    assert_eq!(
        body.matches("<script").count(),
        1,
        "only the page's own script"
    );
    assert!(!body.contains("\"'>"), "quotes are escaped");
    assert_eq!(
        body.matches("<main>").count(),
        1,
        "marks within values are text"
    );
    assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;{{nonce}}"));
}

#[tokio::test]
async fn a_watermark_that_is_ahead_of_the_clock_is_shown() {
    let served = Served::start().await;
    let pipeline = served.board.add_pipeline("sales", "aggregation");
    let lane = pipeline.add_lane(0, Duration::from_secs(1));
    let partition = |ahead| PartitionStatus::new("sales", 3, 1, 1, 1).with_watermark_ahead(ahead);
    for (ahead, is_shown) in [(None, false), (Some(7_200), true)] {
        lane.set_partitions(vec![partition(ahead)]);
        let page = served.get("/").await.body;
        let said = "The watermark of sales:3 is 2 h 0 min ahead of the wall clock";
        assert_eq!(page.contains("ahead of the wall clock"), is_shown);
        assert_eq!(page.contains(said), is_shown, "{page}");
        let state = served.get("/api/v1/streaming/sales").await.body;
        assert_eq!(
            state.contains("\"watermark_ahead_seconds\":7200"),
            is_shown,
            "{state}"
        );
    }
}

#[tokio::test]
async fn hostile_requests_are_answered_and_the_server_lives_on() {
    let served = Served::start().await;
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(500));
    let requests: [(&[u8], &[u16]); 6] = [
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            &[400],
        ),
        (b"GET / HTTP/9.9\r\n\r\n", &[400, 505]),
        (
            b"GET /api/v1/streaming/%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            &[400],
        ),
        (
            b"GET /livez HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
            &[400],
        ),
        (long_path.as_bytes(), &[414, 431]),
        (many_headers.as_bytes(), &[431]),
    ];
    for (request, statuses) in requests {
        let answer = served.send(request).await;
        assert!(statuses.contains(&answer.status), "{}", answer.head);
    }
    assert_eq!(served.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_connection_that_never_sends_a_request_does_not_hold_up_others_or_the_shutdown() {
    let served = Served::start().await;
    let mut silent = TcpStream::connect(served.address).expect("the server listens");
    silent.write_all(b"GET / HT").expect("the server reads");
    assert_eq!(served.get("/livez").await.status, 200);
    served.stop.send(()).expect("the server runs");
    timeout(DEADLINE, served.server)
        .await
        .expect("it ends in time")
        .expect("without a panic");
    TcpStream::connect(served.address).expect_err("nobody listens any more");
}

#[tokio::test]
async fn a_request_head_that_does_not_arrive_in_time_ends_the_connection() {
    let limits = Limits {
        header_timeout: Duration::from_millis(50),
        ..LIMITS
    };
    let served = Served::start_within(limits).await;
    assert_cut_off(&served, b"GET / HTTP/1.1\r\nhost:").await;
}

#[tokio::test]
async fn a_connection_kept_alive_ends_when_its_time_is_up() {
    let limits = Limits {
        connection_age_max: Duration::from_millis(50),
        ..LIMITS
    };
    let served = Served::start_within(limits).await;
    assert_cut_off(&served, b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await;
}

/// Sends this much of a request and sees the server close while the client would wait for more.
async fn assert_cut_off(served: &Served, request: &'static [u8]) {
    let address = served.address;
    let ended = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream
            .set_read_timeout(Some(DEADLINE / 2))
            .expect("a valid timeout");
        stream.write_all(request).expect("the server reads");
        stream.read_to_end(&mut Vec::new())
    });
    ended
        .await
        .expect("no panic")
        .expect("the server closes before the client gives up");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_waits_until_another_ends() {
    let served = Served::start_within(Limits {
        connections_max: 1,
        ..LIMITS
    })
    .await;
    let address = served.address;
    let clients = tokio::task::spawn_blocking(move || {
        let request = b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n";
        let mut status = [0; 12];
        let mut first = TcpStream::connect(address).expect("the server listens");
        first.write_all(request).expect("the server reads");
        first
            .read_exact(&mut status)
            .expect("the first connection is served");
        let mut second = TcpStream::connect(address).expect("the backlog takes it");
        second.write_all(request).expect("the backlog takes it");
        second
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a valid timeout");
        second
            .read_exact(&mut status)
            .expect_err("the only slot is taken");
        drop(first);
        second
            .set_read_timeout(Some(DEADLINE / 2))
            .expect("a valid timeout");
        second.read_exact(&mut status).expect("the slot is free");
        status
    });
    assert_eq!(&clients.await.expect("no panic"), b"HTTP/1.1 200");
}

#[tokio::test]
async fn the_memory_of_the_process_is_shown() {
    let served = Served::start().await;
    let shown = served.get("/api/v1/streaming").await.json();
    let resident_bytes = shown["memory_bytes"]["resident"].as_u64();
    assert!(
        resident_bytes.is_some_and(|bytes| bytes > 1_000_000),
        "{shown}"
    );
}
