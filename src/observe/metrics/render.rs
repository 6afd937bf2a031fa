//! The recorder: installed once, rendered as Prometheus text.

use std::io;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::names::{BUILD_INFO, Kind, METRICS};

/// Histogram samples wait in memory until the next scrape or upkeep, so their number is bounded by
/// the samples of this interval even when nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Installs the process-wide recorder and a thread that keeps it tidy; later calls return the same
/// handle.
///
/// Call it before the first [`PipelineMetrics`](super::PipelineMetrics) is made: handles made
/// earlier count into nothing.
///
/// # Errors
/// When the thread cannot be started.
///
/// # Panics
/// When something else in the process has installed a recorder of the `metrics` crate.
pub fn install() -> io::Result<PrometheusHandle> {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    if let Some(handle) = HANDLE.get() {
        return Ok(handle.clone());
    }
    let mut first = false;
    let handle = HANDLE.get_or_init(|| {
        first = true;
        let handle = builder()
            .install_recorder()
            .expect("no other part of the program installs a metrics recorder");
        describe();
        handle
    });
    if first {
        let upkeep = handle.clone();
        thread::Builder::new()
            .name("metrics-upkeep".to_owned())
            .spawn(move || {
                loop {
                    thread::sleep(UPKEEP_INTERVAL);
                    upkeep.run_upkeep();
                }
            })?;
    }
    Ok(handle.clone())
}

/// The exposition in Prometheus text format 0.0.4.
///
/// Samples that are NaN are left out: a gauge is set to NaN when its partition has gone or its
/// value is not known, and a number that means nothing should not reach a sum. Counters of seconds
/// get their true type.
pub fn render(handle: &PrometheusHandle) -> String {
    let raw = handle.render();
    let mut text = String::with_capacity(raw.len());
    for line in raw.lines() {
        match line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.strip_suffix(" gauge"))
        {
            Some(name) if is_seconds_counter(name) => {
                text.push_str("# TYPE ");
                text.push_str(name);
                text.push_str(" counter");
            }
            _ if !line.starts_with('#') && line.ends_with(" NaN") => continue,
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

fn is_seconds_counter(name: &str) -> bool {
    METRICS
        .iter()
        .any(|metric| metric.name == name && metric.kind == Kind::SecondsCounter)
}

pub(super) fn builder() -> PrometheusBuilder {
    METRICS
        .iter()
        .fold(PrometheusBuilder::new(), |builder, metric| {
            match metric.kind {
                Kind::Histogram(bounds) => builder
                    .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), bounds)
                    .expect("every histogram of the catalogue has bounds"),
                Kind::Counter | Kind::SecondsCounter | Kind::Gauge => builder,
            }
        })
}

/// Registers help texts and units with the current recorder, and the build.
pub(super) fn describe() {
    for metric in METRICS {
        let (name, unit, help) = (metric.name, metric.unit, metric.help);
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(name, unit, help),
            Kind::Gauge | Kind::SecondsCounter => metrics::describe_gauge!(name, unit, help),
            Kind::Histogram(_) => metrics::describe_histogram!(name, unit, help),
        }
    }
    metrics_process::Collector::default().describe();
    metrics::gauge!(
        BUILD_INFO,
        "version" => env!("CARGO_PKG_VERSION"),
        "commit" => env!("STREAMWEIR_COMMIT"),
        "arch" => std::env::consts::ARCH,
        "os" => std::env::consts::OS,
    )
    .set(1.0);
}
