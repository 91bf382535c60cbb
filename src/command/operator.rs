//! `portfolio operator`: the controllers, run by the one replica that holds the lease.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Args;
use http::uri::Authority;
use tokio_util::sync::CancellationToken;

use crate::cluster::{self, lease};
use crate::controller;

use super::{address, prices, start};

/// The lease's name, in the operator's namespace.
const LEASE: &str = "llm-portfolio-operator";

/// Flags of `portfolio operator`.
#[derive(Args)]
pub struct Flags {
    /// The installer's settings, a YAML file.
    #[arg(long, env = "PORTFOLIO_SETTINGS")]
    settings: Option<PathBuf>,
    /// A price book, YAML or CSV, which is followed; may be given more than once: what an earlier one says wins.
    #[arg(long, value_name = "FILE")]
    prices: Vec<PathBuf>,
    /// The namespace of the operator, where its lease is.
    #[arg(long, env = "POD_NAMESPACE", default_value = "llm-portfolio")]
    namespace: String,
    /// The namespace of the gateway, where it finds credentials. Default: the operator's.
    #[arg(long)]
    gateway_namespace: Option<String>,
    /// Where evaluations reach the gateway.
    #[arg(long, default_value = "http://llm-portfolio-gateway.llm-portfolio")]
    gateway_url: String,
    /// The image that evaluations run: the operator's own.
    #[arg(long, env = "PORTFOLIO_IMAGE", default_value = "localhost/portfolio:dev")]
    image: String,
    /// Where KEDA's questions are answered (gRPC), by the replica that holds the lease.
    #[arg(long, default_value = "0.0.0.0:6000")]
    scaler_listen: SocketAddr,
    /// Where KEDA reaches that, such as llm-portfolio-operator.llm-portfolio.svc:6000. Default: KEDA is not used.
    #[arg(long, value_name = "HOST:PORT", value_parser = address::host_and_port)]
    scaler_address: Option<Authority>,
    /// This replica's name, unique among them.
    #[arg(long, env = "HOSTNAME", default_value = "operator")]
    identity: String,
    /// Where `/healthz`, `/readyz` and `/metrics` are served.
    #[arg(long, default_value = "0.0.0.0:8081")]
    health_listen: SocketAddr,
}

pub(super) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    start::logs();
    start::runtime()?.block_on(operate(flags))
}

async fn operate(flags: Flags) -> anyhow::Result<ExitCode> {
    let settings = start::settings(flags.settings.as_deref())?;
    let client = cluster::connect()
        .await
        .context("connecting to the cluster: set KUBECONFIG, or run in a pod")?;
    let stop = start::stop_on_signals()?;
    // A replica in waiting is ready: it is there to take over.
    let ready = Arc::new(AtomicBool::new(true));
    let metrics = controller::Metrics::default();
    let health = start::health(flags.health_listen, Arc::clone(&ready), metrics.clone(), stop.clone()).await?;

    let mut claim = lease::Claim::new(client.clone(), &flags.namespace, LEASE, flags.identity);
    tokio::select! {
        () = claim.acquire() => {}
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    }
    let setup = controller::Setup {
        settings,
        book: prices::follow(flags.prices).book,
        gateway_namespace: flags.gateway_namespace.unwrap_or(flags.namespace),
        gateway_url: flags.gateway_url,
        image: flags.image,
        scaler_listen: flags.scaler_listen,
        scaler_address: flags.scaler_address.map(|address| address.to_string()),
        ready: Arc::clone(&ready),
        metrics,
    };
    ready.store(false, Ordering::Relaxed);
    let done = CancellationToken::new();
    // A task of its own: long reconciles must not delay a renewal.
    let mut holder = tokio::spawn({
        let done = done.clone();
        async move {
            tokio::select! {
                () = claim.hold() => {}
                () = done.cancelled() => claim.release().await,
            }
        }
    });
    tokio::select! {
        ended = controller::run(client, setup, stop.clone()) => ended?,
        // Another replica may write from now on: end at once, and let the pod be started anew.
        _ = &mut holder => return Ok(ExitCode::FAILURE),
    }
    done.cancel();
    holder.await.ok();
    health.await.ok();
    Ok(ExitCode::SUCCESS)
}
