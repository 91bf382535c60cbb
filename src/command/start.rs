//! What long-running commands begin with: logs, settings, signals, and the health endpoints.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use axum::Router;
use axum::routing::get;
use http::StatusCode;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::api::Settings;
use crate::manifest;

/// Logs to stderr: JSON lines, or text on a terminal. `RUST_LOG` filters them.
pub(super) fn logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        logs.init();
    } else {
        logs.json().flatten_event(true).with_span_list(false).init();
    }
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

/// Serves `/healthz`, and `/readyz` as `ready` says, until `stop`.
pub(super) async fn health(listen: SocketAddr, ready: Arc<AtomicBool>, stop: CancellationToken) -> anyhow::Result<JoinHandle<()>> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .with_context(|| format!("listening on {listen}"))?;
    let app = Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(async move || readiness(&ready)));
    Ok(tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the health endpoints ended");
        }
    }))
}
