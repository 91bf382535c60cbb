//! Programs on this machine, without a cluster: the real engine, and `portfolio serve` before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::assets::engine;
use crate::http_client::HttpClient;
use crate::images::{self, Profile};
use crate::until;

/// For the weights to be loaded on a busy machine.
const STARTS: Duration = Duration::from_secs(120);

/// A program that answers HTTP until it is dropped.
pub struct Server {
    /// Where, without a path.
    pub url: String,
    child: Child,
}

impl Server {
    async fn start(command: &mut Command, address: SocketAddr, ready: &str) -> Result<Self> {
        let child = command.kill_on_drop(true).spawn()?;
        let mut server = Self {
            url: format!("http://{address}"),
            child,
        };
        let (client, url) = (HttpClient::new(None)?, format!("{}{ready}", server.url));
        until(&format!("{url} is answered"), STARTS, async || {
            ensure!(server.child.try_wait()?.is_none(), "it ended");
            let answer = client.get(&url, &[]).await?;
            ensure!(answer.status.is_success(), "{}", answer.status);
            Ok(Some(()))
        })
        .await?;
        Ok(server)
    }

    /// Its process.
    pub fn pid(&self) -> Result<u32> {
        self.child.id().context("it has ended")
    }
}

/// A port that nobody listens on now.
pub async fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}

/// llama.cpp's server with SmolLM2, with more arguments.
pub async fn engine(arguments: &[&str]) -> Result<Server> {
    let (server, model) = (engine::server().await?, engine::model().await?);
    let address = free_address().await?;
    let mut command = Command::new(server.join("llama-server"));
    command.env("LD_LIBRARY_PATH", &server).arg("--model").arg(model);
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--jinja"]);
    command.args(["--threads", "2", "--ctx-size", "4096", "--parallel", "2", "--log-disable"]);
    command.args(arguments);
    Server::start(&mut command, address, "/health").await
}

/// `portfolio serve` over a file, for anybody, with these variables.
pub async fn serve(file: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Server> {
    let program = portfolio(Profile::Debug).await?;
    let address = free_address().await?;
    let mut command = Command::new(program);
    command
        .args(["serve", "--allow-anonymous", "--listen", &address.to_string(), "-f"])
        .arg(file);
    command.args(arguments).envs(variables.iter().copied());
    Server::start(&mut command, address, "/readyz").await
}

/// The product's program.
pub async fn portfolio(profile: Profile) -> Result<PathBuf> {
    images::cargo_build(&["--bin", "portfolio"], profile).await
}

/// Sends JSON and expects success.
pub async fn post(url: &str, body: &Value) -> Result<Value> {
    let answer = HttpClient::new(None)?.post(url, &[], body).await?;
    ensure!(answer.status.is_success(), "{} {}", answer.status, answer.body);
    Ok(answer.body)
}
