//! One process: starts the pipelines and the HTTP server, owns the shutdown and the exit code.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::config::{Config, Pipeline, Service};
use crate::exit;
use crate::lane::{Stop, panicked};
use crate::memory::{MemoryBudget, bound_allocator};
use crate::observe::board::{Board, PipelineBoard, PipelineState};
use crate::observe::metrics;
use crate::pipeline::{self, Ended, Environment, Until};

/// What `run` was asked for.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// Names of the pipelines to run; empty: all.
    pub pipelines: Vec<String>,
    /// Where to stop; `None`: never.
    pub until: Option<Until>,
    /// Emit windows that are still open at the end, too.
    pub close: bool,
}

/// A name given with `--pipeline` that the file does not have.
#[derive(Debug, thiserror::Error)]
#[error("--pipeline {name}: the configuration has {}", list(known))]
pub struct UnknownPipeline {
    name: String,
    known: Vec<String>,
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "no pipeline".to_owned()
    } else {
        names.join(", ")
    }
}

struct Running {
    name: String,
    stop: Stop,
    board: Arc<PipelineBoard>,
    thread: JoinHandle<Ended>,
}

/// Runs until every pipeline has ended or a signal says so.
///
/// # Errors
/// What is wrong before anything has started; the message names the key.
pub fn run(config: Config, options: &RunOptions) -> anyhow::Result<ExitCode> {
    let pipelines = selected(&config, &options.pipelines)?;
    log_panics();
    bound_allocator(lane_count(&pipelines));
    for pipeline in &pipelines {
        let directory = config.service.state_dir.join(&pipeline.name);
        std::fs::create_dir_all(&directory).map_err(|error| {
            let directory = directory.display();
            anyhow::anyhow!(
                "service.state_dir: {directory} cannot be made: {error}: name a \
                             directory that this user may write"
            )
        })?;
    }
    // For the clients of object stores, which bring no provider of their own. Another one that was
    // there first serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("streamweir-io")
        .enable_all()
        .build()?;
    let _entered = runtime.enter();
    let service = Arc::new(config.service);
    let board = Board::new();
    board.set_memory_max(service.memory_max_bytes);
    let server = start_http(&runtime, &service, &board)?;
    let running = start_pipelines(&runtime, &service, &board, pipelines, options)?;
    let signals = watch_signals(&running, &board, service.shutdown_timeout)?;
    runtime.spawn(signals);
    let ended = wait(running);
    board.set_shutting_down();
    server.notify_one();
    // Connections get a moment; nothing durable depends on them.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(exit_code(&ended))
}

/// A panic ends one pipeline, and the process runs on: it must be found in the log with everything else.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current();
        let place = panic.location().map(ToString::to_string);
        let backtrace = std::backtrace::Backtrace::capture();
        tracing::error!(
            thread = thread.name(),
            place,
            message = panic.payload_as_str(),
            %backtrace,
            "panic"
        );
    }));
}

fn selected(config: &Config, names: &[String]) -> Result<Vec<Pipeline>, UnknownPipeline> {
    let known = || config.pipelines.iter().map(|p| p.name.clone()).collect();
    if let Some(name) = names
        .iter()
        .find(|n| !config.pipelines.iter().any(|p| p.name == **n))
    {
        return Err(UnknownPipeline {
            name: name.clone(),
            known: known(),
        });
    }
    let is_wanted = |p: &&Pipeline| names.is_empty() || names.contains(&p.name);
    Ok(config.pipelines.iter().filter(is_wanted).cloned().collect())
}

fn lane_count(pipelines: &[Pipeline]) -> u64 {
    pipelines.iter().map(|p| u64::from(p.consumers)).sum()
}

fn start_http(
    runtime: &Runtime,
    service: &Service,
    board: &Arc<Board>,
) -> anyhow::Result<Arc<Notify>> {
    let prometheus = metrics::install()?;
    let address = service.http_listen;
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(|e| anyhow::anyhow!("service.http_listen: {address}: {e}"))?;
    let shutdown = Arc::new(Notify::new());
    let told = shutdown.clone();
    let server = crate::http::serve(listener, board.clone(), prometheus, async move {
        told.notified().await;
    });
    runtime.spawn(server);
    tracing::info!(%address, "status page, metrics and health");
    Ok(shutdown)
}

fn start_pipelines(
    runtime: &Runtime,
    service: &Arc<Service>,
    board: &Arc<Board>,
    pipelines: Vec<Pipeline>,
    options: &RunOptions,
) -> anyhow::Result<Vec<Running>> {
    let lanes = lane_count(&pipelines);
    let queue_bytes = (service.memory_max_bytes / 32 / lanes.max(1)).clamp(1 << 20, 16 << 20);
    let memory = Arc::new(MemoryBudget::new(
        service.memory_max_bytes,
        queue_bytes * lanes,
    ));
    let mut running = vec![];
    for pipeline in pipelines {
        let name = pipeline.name.clone();
        let pipeline_board = board.add_pipeline(&name, pipeline.kind.name());
        let stop = Stop::default();
        let environment = Environment {
            service: service.clone(),
            pipeline: Arc::new(pipeline),
            board: pipeline_board.clone(),
            memory: memory.clone(),
            cache_bytes_max: memory.cache_bytes_max(lanes),
            queue_bytes,
            runtime: runtime.handle().clone(),
            stop: stop.clone(),
            until: options.until,
            closes_windows: options.close,
        };
        let thread = std::thread::Builder::new()
            .name(format!("pipeline-{name}").chars().take(15).collect())
            .spawn(move || pipeline::run(environment))?;
        running.push(Running {
            name,
            stop,
            board: pipeline_board,
            thread,
        });
    }
    Ok(running)
}

/// The first signal drains, the second exits at once: the next start repairs.
fn watch_signals(
    running: &[Running],
    board: &Arc<Board>,
    shutdown_timeout: Duration,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stops: Vec<Stop> = running.iter().map(|r| r.stop.clone()).collect();
    let boards: Vec<Arc<PipelineBoard>> = running.iter().map(|r| r.board.clone()).collect();
    let board = board.clone();
    Ok(async move {
        next_signal(&mut terminate, &mut interrupt).await;
        tracing::info!(
            timeout_ms = shutdown_timeout.as_millis() as u64,
            "stopping: finishing what was read; a second signal exits at once"
        );
        board.set_shutting_down();
        // Leaving the group takes a moment of its own.
        let deadline = Instant::now() + shutdown_timeout.mul_f64(0.8);
        for (stop, board) in stops.iter().zip(&boards) {
            if matches!(
                board.state(),
                PipelineState::Running | PipelineState::Starting
            ) {
                board.set_state(PipelineState::Draining, None);
            }
            stop.drain(deadline);
        }
        tokio::select! {
            () = next_signal(&mut terminate, &mut interrupt) => {
                tracing::warn!("second signal: exiting at once");
                std::process::exit(i32::from(exit::OTHER));
            }
            () = tokio::time::sleep(shutdown_timeout) => {
                tracing::warn!("service.shutdown_timeout is over: the next start finishes the rest");
                let is_halted = boards.iter().any(|b| b.state() == PipelineState::Halted);
                let code = if is_halted { exit::HALTED } else { exit::DONE };
                std::process::exit(i32::from(code));
            }
        }
    })
}

async fn next_signal(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Waits for every pipeline. One that could not reach its dependencies in time ends the others.
fn wait(running: Vec<Running>) -> Vec<Ended> {
    let (ended, all) = channel();
    let count = running.len();
    let stops: Vec<Stop> = running.iter().map(|r| r.stop.clone()).collect();
    for Running {
        name,
        board,
        thread,
        ..
    } in running
    {
        let ended = ended.clone();
        std::thread::spawn(move || {
            let end = thread.join().unwrap_or_else(|_| Ended::Halted(panicked()));
            note_end(&name, &board, &end);
            let _ = ended.send(end);
        });
    }
    let mut ends = vec![];
    for end in all.iter().take(count) {
        if matches!(end, Ended::Unreachable(_)) {
            let deadline = Instant::now() + Duration::from_secs(30);
            stops.iter().for_each(|stop| stop.drain(deadline));
        }
        ends.push(end);
    }
    ends
}

fn note_end(name: &str, board: &PipelineBoard, end: &Ended) {
    match end {
        Ended::Done => board.set_state(PipelineState::Stopped, None),
        Ended::Unreachable(why) => {
            tracing::error!(pipeline = name, "{why} (service.start_timeout)");
            board.error(why);
            board.set_state(PipelineState::Stopped, Some(why));
        }
        Ended::Halted(halt) => {
            tracing::error!(
                pipeline = name,
                reason = halt.reason,
                "halted to protect data: {halt}"
            );
            board.error(&halt.advice);
            board.set_state(PipelineState::Halted, Some(&halt.advice));
            metrics::PipelineMetrics::new(name).halted(halt.reason);
        }
    }
}

fn exit_code(ends: &[Ended]) -> ExitCode {
    let code = if ends.iter().any(|end| matches!(end, Ended::Unreachable(_))) {
        exit::UNREACHABLE
    } else if ends.iter().any(|end| matches!(end, Ended::Halted(_))) {
        exit::HALTED
    } else {
        exit::DONE
    };
    ExitCode::from(code)
}
