//! Programs on this machine, without a cluster: the real engine, and `portfolio serve` before it.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::assets::engine;
use crate::http_client::HttpClient;
use crate::images::{self, Profile};
use crate::until;

/// For the weights to be loaded on a busy machine.
const STARTS: Duration = Duration::from_secs(120);

/// For what it has begun.
const ENDS: Duration = Duration::from_secs(60);

/// A program that answers HTTP until it is dropped.
pub struct Server {
    /// Where, without a path.
    pub url: String,
    child: Child,
    log: PathBuf,
}

impl Server {
    async fn start(command: &mut Command, address: SocketAddr, ready: &str) -> Result<Self> {
        let log = std::env::temp_dir().join(format!("llm-portfolio-{}-{}.log", std::process::id(), address.port()));
        let file = File::create(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.kill_on_drop(true).spawn()?;
        let url = format!("http://{address}");
        let mut server = Self { url, child, log };
        let (client, url) = (HttpClient::new(None)?, format!("{}{ready}", server.url));
        let answered = until(&format!("{url} answers"), STARTS, async || {
            if let Some(status) = server.child.try_wait()? {
                return Ok(Some(Err(status)));
            }
            let answer = client.get(&url, &[]).await?;
            Ok(answer.status.is_success().then_some(Ok(())))
        })
        .await?;
        match answered {
            Ok(()) => Ok(server),
            Err(status) => bail!("it ended ({status}): {}", server.said()),
        }
    }

    /// Ends it at once, as a crash does.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Asks it to end, and waits until it has.
    pub async fn stop(mut self) -> Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw).context("it has ended")?;
        kill_process(pid, Signal::TERM)?;
        let status = timeout(ENDS, self.child.wait()).await.context("it does not end")??;
        ensure!(status.success(), "{status}: {}", self.said());
        Ok(())
    }

    /// What it wrote so far.
    pub fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A log that is gone is what is wanted.
        fs::remove_file(&self.log).ok();
    }
}

/// A port that nobody listens on now.
pub(crate) async fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?)
}

/// llama.cpp's server with SmolLM2, two answers at once of 2048 tokens each, with more arguments.
pub async fn engine(arguments: &[&str]) -> Result<Server> {
    let (server, model) = (engine::server().await?, engine::model().await?);
    let address = free_address().await?;
    let mut command = Command::new(server.join("llama-server"));
    command.env("LD_LIBRARY_PATH", &server).arg("--model").arg(model);
    command.args(["--host", "127.0.0.1", "--port", &address.port().to_string(), "--jinja"]);
    command.args(["--threads", "2", "--ctx-size", "4096", "--parallel", "2"]);
    command.args(arguments);
    Server::start(&mut command, address, "/health").await
}

/// `portfolio serve` over a file, with more arguments and these variables.
pub async fn serve(file: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Server> {
    static PROGRAM: OnceCell<PathBuf> = OnceCell::const_new();
    // Once, so that tests may start many.
    let program = PROGRAM
        .get_or_try_init(|| images::cargo_build(&["--bin", "portfolio"], Profile::Debug))
        .await?;
    let address = free_address().await?;
    let mut command = Command::new(program);
    command.args(["serve", "--listen", &address.to_string(), "-f"]).arg(file);
    command.args(arguments).envs(variables.iter().copied());
    Server::start(&mut command, address, "/readyz").await
}
