//! What long-running commands begin with: logs, settings, signals, and the health endpoints.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use http::{StatusCode, header};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use super::lines::Lines;
use crate::api::Settings;
use crate::controller::Metrics;
use crate::gateway::{InRedis, OPEN_METRICS, Options, Traces};
use crate::manifest;

/// Logs to stderr: JSON lines, or text on a terminal. `RUST_LOG` filters them.
pub(super) fn logs() {
    logs_to(std::io::stderr);
}

/// The same, where requests are logged too: their lines go through a queue, which is to be flushed at the end.
pub(super) fn logs_of_requests() -> anyhow::Result<Lines> {
    let lines = Lines::to_stderr().context("starting the thread that writes the log")?;
    logs_to(lines.clone());
    Ok(lines)
}

fn logs_to(writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        logs.init();
    } else {
        logs.json().flatten_event(true).with_span_list(false).init();
    }
}

/// Where spans of requests go, as the environment says.
pub(super) fn traces(ca_file: Option<&Path>) -> anyhow::Result<Option<Traces>> {
    let traces = Traces::from_environment(ca_file)?;
    if traces.is_some() {
        tracing::info!("requests are traced, as OTEL_EXPORTER_OTLP_ENDPOINT says");
    }
    Ok(traces)
}

/// The last traces and log lines of a gateway.
pub(super) async fn finish(traces: Option<Traces>, lines: &Lines) {
    if let Some(traces) = traces {
        traces.finish().await;
    }
    lines.flush();
}

/// The runtime beside a gateway's lanes, which have a thread for each processor already.
pub(super) fn runtime_beside_lanes() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// The runtime of every command that waits.
pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")
}

/// The installer's settings from a file; without one, the defaults.
pub(super) fn settings(path: Option<&Path>) -> anyhow::Result<Settings> {
    let Some(path) = path else { return Ok(Settings::default()) };
    manifest::settings(path).map_err(|finding| anyhow::anyhow!("{finding}"))
}

/// The password of the store of what was spent. Not a flag: everybody on the machine can read those.
const LEDGER_PASSWORD: &str = "PORTFOLIO_LEDGER_PASSWORD";

/// Lets a gateway keep what was spent in the store that the settings name; whether they name one.
pub(super) fn ledger(settings: &Settings, options: &mut Options) -> anyhow::Result<bool> {
    let Some(redis) = &settings.ledger.redis else { return Ok(false) };
    let password = std::env::var(LEDGER_PASSWORD).ok().filter(|password| !password.is_empty());
    tracing::info!(url = %redis.url, on_failure = ?redis.on_failure, "what was spent of budgets is kept in a Redis");
    let store = InRedis::open(redis, password.as_deref(), options.ca_file.as_deref(), options.now)?;
    options.ledger = Arc::new(store);
    options.on_ledger_failure = redis.on_failure;
    Ok(true)
}

/// Cancelled by the first SIGTERM or SIGINT.
pub(super) fn stop_on_signals() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listening for SIGINT")?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("stopping");
        cancel.cancel();
    });
    Ok(stop)
}

fn readiness(ready: &AtomicBool) -> (StatusCode, &'static str) {
    if ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ready\n")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the watches are not complete yet: are the CRDs installed? See the log\n",
        )
    }
}

/// Serves `/healthz`, `/readyz` as `ready` says, and `/metrics`, until `stop`.
pub(super) async fn health(
    listen: SocketAddr,
    ready: Arc<AtomicBool>,
    metrics: Metrics,
    stop: CancellationToken,
) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(async move || readiness(&ready)))
        .route(
            "/metrics",
            get(async move || ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics.text())),
        );
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health endpoints ended");
        }
    }))
}
