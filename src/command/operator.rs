//! `portfolio operator`: the controllers, run by the one replica that holds the lease.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::cluster::{self, lease};
use crate::controller;

use super::start;

/// The lease's name, in the operator's namespace.
const LEASE: &str = "llm-portfolio-operator";

/// Flags of `portfolio operator`.
#[derive(Args)]
pub struct Flags {
    /// The installer's settings, a YAML file.
    #[arg(long, env = "PORTFOLIO_SETTINGS")]
    settings: Option<PathBuf>,
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
    /// This replica's name, unique among them.
    #[arg(long, env = "HOSTNAME", default_value = "operator")]
    identity: String,
    /// Where `/healthz` and `/readyz` are served.
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
    let health = start::health(flags.health_listen, stop.clone()).await?;

    let mut claim = lease::Claim::new(client.clone(), &flags.namespace, LEASE, flags.identity);
    tokio::select! {
        () = claim.acquire() => {}
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    }
    let setup = controller::Setup {
        settings,
        gateway_namespace: flags.gateway_namespace.unwrap_or(flags.namespace),
        gateway_url: flags.gateway_url,
        image: flags.image,
    };
    let controllers = stop.child_token();
    let code = tokio::select! {
        done = controller::run(client, setup, controllers) => { done?; ExitCode::SUCCESS }
        // Another replica may write from now on: end at once, and let the pod be started anew.
        () = claim.hold() => return Ok(ExitCode::FAILURE),
    };
    claim.release().await;
    health.await.ok();
    Ok(code)
}
