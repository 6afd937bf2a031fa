//! Real requests over a socket.

mod control;
mod limits;
mod tls;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::server::{Limits, serve_within};
use super::{Access, Shown, Tls};
use crate::config::Config;
use crate::inspect::completeness::Watermarks;
use crate::memory::MemoryBudget;
use crate::observe::board::{Board, PartitionStatus, PipelineState};
use crate::observe::clock::ManualClock;
use crate::observe::metrics::PipelineMetrics;
use crate::supervisor::{Ground, Supervisor};

const DEADLINE: Duration = Duration::from_secs(10);
const LIMITS: Limits = Limits {
    connections_max: 16,
    header_timeout: DEADLINE,
    write_timeout: DEADLINE,
    connection_age_max: DEADLINE,
};

struct Served {
    directory: TempDir,
    address: SocketAddr,
    clock: Arc<ManualClock>,
    board: Arc<Board>,
    supervisor: Arc<Supervisor>,
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
        Self::start_with(limits, "", None).await
    }

    /// Under more keys of `[service]`.
    async fn start_with(limits: Limits, service: &str, tls: Option<Arc<Tls>>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let state_dir = directory.path().join("state");
        let text = format!("[service]\nstate_dir = {state_dir:?}\n{service}");
        let loaded = Config::parse(&text, "config.toml", directory.path(), []);
        let config = loaded.expect("a valid configuration").config;
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
        let ground = Ground {
            records_max: None,
            memory: Arc::new(MemoryBudget::new(config.service.memory_max_bytes)),
            board: board.clone(),
            runtime: tokio::runtime::Handle::current(),
            until: None,
            closes_windows: false,
            service: Arc::new(config.service.clone()),
        };
        let watermarks = Arc::new(Watermarks::new(&ground.service, vec![]));
        let supervisor = Supervisor::new(ground, config.base);
        let shown = Shown {
            watermarks,
            board: board.clone(),
            prometheus,
            supervisor: supervisor.clone(),
            access: Arc::new(Access::new(config.service.admin_token)),
        };
        let server = tokio::spawn(serve_within(limits, listener, shown, tls, shutdown));
        Self {
            directory,
            address,
            clock,
            board,
            supervisor,
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

    /// With a token and a body, JSON or not.
    async fn change(&self, method: &str, target: &str, token: &str, body: &str) -> Answer {
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
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
    assert_eq!(answer.json()["error"]["message"], expected);
}

#[tokio::test]
async fn unknown_paths_are_json_404_and_other_methods_json_405() {
    let served = Served::start().await;
    for (method, target, status) in [
        ("GET", "/nothing", 404),
        ("GET", "/api/v1", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("POST", "/api/v1/streaming/clickstream/begin", 404),
        ("PUT", "/api/v1/streaming/create", 405),
        ("GET", "/api/v1/streaming/clickstream/start", 405),
        ("DELETE", "/api/v1/streaming", 405),
        ("POST", "/", 405),
        ("PUT", "/metrics", 405),
        ("FROBNICATE", "/livez", 405),
    ] {
        let answer = served.request(method, target).await;
        assert_eq!(answer.status, status, "{method} {target}");
        assert!(
            answer.json()["error"]["message"].is_string(),
            "{method} {target}"
        );
        assert_eq!(
            answer.head.contains("\r\nallow: "),
            status == 405,
            "{}",
            answer.head
        );
    }
}

#[tokio::test]
async fn the_page_has_no_inline_code_and_no_assets_of_other_hosts() {
    let served = Served::start().await;
    let page = served.get("/").await.body;
    let attributes = page.split('"').skip(1).step_by(2);
    let files: Vec<_> = attributes.filter(|a| a.starts_with("page/")).collect();
    assert_eq!(files, ["page/page.css", "page/main.js"]);
    for (path, content_type) in [
        ("/", "text/html"),
        ("/page/page.css", "text/css"),
        ("/page/main.js", "text/javascript"),
        ("/page/view.js", "text/javascript"),
        ("/page/judge.js", "text/javascript"),
        ("/page/dom.js", "text/javascript"),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, 200, "{path}");
        let head = answer.head;
        assert!(
            head.contains(&format!("content-type: {content_type}")),
            "{head}"
        );
        assert!(
            head.contains("content-security-policy: default-src 'none'"),
            "{head}"
        );
        assert!(
            head.contains("script-src 'self'") && !head.contains("unsafe"),
            "{head}"
        );
        for forbidden in [
            "https://",
            "//cdn",
            "@import",
            "url(",
            "style=",
            "<style",
            "<script>",
            "onclick=",
            "innerHTML",
            "localStorage",
        ] {
            assert!(!answer.body.contains(forbidden), "{path}: {forbidden}");
        }
        let others = answer.body.matches("http://").count();
        let namespaces = answer.body.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(others, namespaces, "{path}");
    }
}

#[tokio::test]
async fn without_scripts_the_page_has_the_state_and_nothing_in_it_becomes_markup() {
    let served = Served::start().await;
    let hostile = "\"'></noscript><script>alert(1)</script>{{state}}";
    let pipeline = served.board.add_pipeline(hostile, hostile);
    pipeline.set_state(PipelineState::Halted, Some(hostile));
    pipeline.error(hostile);
    pipeline.sink("clickhouse").failed(hostile);
    let lane = pipeline.add_lane(0, Duration::from_secs(1));
    lane.set_partitions(vec![PartitionStatus::new(hostile, 0, 1, 1, 1)]);
    let body = served.get("/").await.body;
    for shown in [
        "clickstream (enrichment): running",
        "user-events:0 lag 3000",
        "halted",
    ] {
        assert!(body.contains(shown), "{shown}: {body}");
    }
    assert_eq!(body.matches("<script").count(), 1, "the page's own");
    assert_eq!(body.matches("</noscript>").count(), 1);
    assert!(!body.contains("\"'>"), "quotes are escaped");
    assert!(body.contains("&lt;script&gt;alert(1)&lt;/script&gt;{{state}}"));
}

#[tokio::test]
async fn a_watermark_that_is_ahead_of_the_clock_is_shown() {
    let served = Served::start().await;
    let pipeline = served.board.add_pipeline("sales", "aggregation");
    let lane = pipeline.add_lane(0, Duration::from_secs(1));
    let partition = |ahead| PartitionStatus::new("sales", 3, 1, 1, 1).with_watermark_ahead(ahead);
    for (ahead, is_shown) in [(None, false), (Some(7_200), true)] {
        lane.set_partitions(vec![partition(ahead)]);
        let state = served.get("/api/v1/streaming/sales").await.body;
        assert_eq!(
            state.contains("\"watermark_ahead_seconds\":7200"),
            is_shown,
            "{state}"
        );
    }
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
