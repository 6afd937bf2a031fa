//! One process: starts the supervisor of the pipelines and the HTTP server, owns signals and the shutdown.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use crate::config::{Config, Pipeline, Service, process_environment};
use crate::exit;
use crate::http::{Access, Shown, Tls};
use crate::inspect::completeness::{Named, Watermarks};
use crate::memory::{MemoryBudget, bound_allocator};
use crate::observe::board::Board;
use crate::observe::metrics;
use crate::pipeline::Until;
use crate::service_manager::ServiceManager;
use crate::supervisor::{Ground, Supervisor, is_created};
use crate::watermark_table::WatermarkTables;

/// Supervisors of processes, and people at a terminal, sometimes send a signal twice.
const SAME_SIGNAL_WITHIN: Duration = Duration::from_secs(1);

/// What `run` was asked for.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// The configuration file, read again on SIGHUP.
    pub config_path: PathBuf,
    /// Names of the pipelines to run; empty: all.
    pub pipelines: Vec<String>,
    /// Where to stop; `None`: never.
    pub until: Option<Until>,
    /// How many records each pipeline reads at most; `None`: as many as there are.
    pub records_max: Option<u64>,
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
    let of_file: Vec<String> = config.pipelines.iter().map(|p| p.name.clone()).collect();
    let all: Vec<Arc<Pipeline>> = config.pipelines.into_iter().map(Arc::new).collect();
    let service = Arc::new(config.service);
    let runs = |name: &str| pipelines.iter().any(|pipeline| pipeline.name == name);
    let tables = WatermarkTables::new(&service, &config.watermarks, &all, runs)?;
    let board = Board::new();
    board.set_memory_max(service.memory_max_bytes);
    let prometheus = metrics::install()?;
    let ground = Ground {
        memory: Arc::new(MemoryBudget::new(service.memory_max_bytes)),
        board: board.clone(),
        runtime: runtime.handle().clone(),
        until: options.until,
        records_max: options.records_max,
        closes_windows: options.close,
        service: service.clone(),
    };
    let supervisor = Supervisor::new(ground, config.base);
    let access = Arc::new(Access::new(service.admin_token.clone()));
    let tls = service.http_tls.as_ref().map(Tls::new).transpose()?;
    let shown = Shown {
        board: board.clone(),
        prometheus,
        supervisor: supervisor.clone(),
        access: access.clone(),
        watermarks: Arc::new(Watermarks::new(
            &service,
            Named::all(&config.watermarks, &all),
        )),
    };
    let listener = listen(&runtime, &service)?;
    let manager = Arc::new(ServiceManager::of_environment());
    let signals = watch_signals(&supervisor, &board, &manager, service.shutdown_timeout)?;
    runtime.spawn(signals);
    let reload = Reload {
        path: options.config_path.clone(),
        supervisor: supervisor.clone(),
        access,
        tls,
    };
    supervisor
        .start_all(pipelines, &of_file, &options.pipelines)
        .map_err(|error| anyhow::anyhow!("service.state_dir: pipelines: {error}"))?;
    // Orders are taken once the pipelines of the file are there: none may take the name of one.
    let server = serve(&runtime, listener, shown, reload.tls.clone());
    runtime.spawn(watch_hangups(reload)?);
    manager.ready();
    let (watched, watching) = (board.clone(), manager.clone());
    runtime.spawn(async move { watching.watch(|| watched.alive().is_good()).await });
    if let Some(tables) = tables.clone() {
        runtime.spawn(tables.run());
    }
    supervisor.wait();
    manager.stopping();
    board.set_shutting_down();
    if let Some(tables) = tables {
        runtime.block_on(tables.write_last());
    }
    server.notify_one();
    // Connections get a moment; nothing durable depends on them.
    runtime.shutdown_timeout(Duration::from_millis(500));
    Ok(ExitCode::from(supervisor.exit_code()))
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
    let is_known = |name: &String| {
        let is_of_file = config.pipelines.iter().any(|p| p.name == *name);
        is_of_file || is_created(&config.service, name)
    };
    if let Some(name) = names.iter().find(|name| !is_known(name)) {
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

fn listen(runtime: &Runtime, service: &Service) -> anyhow::Result<TcpListener> {
    let address = service.http_listen;
    let listener = runtime
        .block_on(TcpListener::bind(address))
        .map_err(|e| anyhow::anyhow!("service.http_listen: {address}: {e}"))?;
    tracing::info!(%address, "status page, metrics and health");
    Ok(listener)
}

fn serve(
    runtime: &Runtime,
    listener: TcpListener,
    shown: Shown,
    tls: Option<Arc<Tls>>,
) -> Arc<Notify> {
    let shutdown = Arc::new(Notify::new());
    let told = shutdown.clone();
    let server = crate::http::serve(listener, shown, tls, async move {
        told.notified().await;
    });
    runtime.spawn(server);
    shutdown
}

/// The first signal drains. One that comes within a second of it is the same wish, sent twice; a later one
/// exits at once: the next start repairs.
fn watch_signals(
    supervisor: &Arc<Supervisor>,
    board: &Arc<Board>,
    manager: &Arc<ServiceManager>,
    shutdown_timeout: Duration,
) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (supervisor, board) = (supervisor.clone(), board.clone());
    let manager = manager.clone();
    Ok(async move {
        next_signal(&mut terminate, &mut interrupt).await;
        let first = Instant::now();
        tracing::info!(
            timeout_ms = shutdown_timeout.as_millis() as u64,
            "stopping: finishing what was read; a second signal exits at once"
        );
        manager.stopping();
        board.set_shutting_down();
        supervisor.shut_down();
        let second = async {
            loop {
                next_signal(&mut terminate, &mut interrupt).await;
                if first.elapsed() >= SAME_SIGNAL_WITHIN {
                    return;
                }
                tracing::info!("stopping already: this signal came with the first one");
            }
        };
        tokio::select! {
            () = second => {
                tracing::warn!("second signal: exiting at once");
                std::process::exit(i32::from(exit::OTHER));
            }
            () = tokio::time::sleep(shutdown_timeout) => {
                tracing::warn!("service.shutdown_timeout is over: the next start finishes the rest");
                std::process::exit(i32::from(supervisor.exit_code()));
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

/// What SIGHUP reads again.
struct Reload {
    path: PathBuf,
    supervisor: Arc<Supervisor>,
    access: Arc<Access>,
    tls: Option<Arc<Tls>>,
}

impl Reload {
    /// Secrets and certificates; everything else of the file waits for a restart. What is wrong changes
    /// nothing.
    fn run(&self) {
        let loaded = match Config::load(&self.path, process_environment()) {
            Ok(loaded) => loaded,
            Err(problems) => {
                tracing::error!("SIGHUP: nothing has changed: {problems}");
                return;
            }
        };
        let Config {
            service,
            pipelines,
            base,
            ..
        } = loaded.config;
        self.supervisor
            .set_takes_orders(service.admin_token.is_some());
        self.access.set_token(service.admin_token);
        if let (Some(tls), Some(files)) = (&self.tls, &service.http_tls)
            && let Err(error) = tls.reload(files)
        {
            tracing::error!("SIGHUP: the certificate stays as it is: {error:#}");
        }
        let renewed = self.supervisor.renew_secrets(pipelines, &base);
        tracing::info!(
            renewed,
            "SIGHUP: secrets and certificates were read again; those of kafka, clickhouse and redis apply to \
             pipelines that are started from now on"
        );
    }
}

fn watch_hangups(reload: Reload) -> anyhow::Result<impl Future<Output = ()> + use<>> {
    let mut hangups = signal(SignalKind::hangup())?;
    let reload = Arc::new(reload);
    Ok(async move {
        while hangups.recv().await.is_some() {
            let reload = reload.clone();
            // It reads files.
            let _ = tokio::task::spawn_blocking(move || reload.run()).await;
        }
    })
}
