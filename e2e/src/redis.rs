//! A real Redis or Valkey on this machine, with a password, which writes each change to disk before it answers. It can be killed, frozen and
//! started again, by the id of its process.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ::redis::{Client, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use anyhow::{Context, Result, bail, ensure};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::assets::redis;
use crate::command::tail_of;
use crate::local::free_address;
use crate::until;

/// What it asks for.
pub const PASSWORD: &str = "a password of tests";
const STARTS: Duration = Duration::from_secs(20);

/// A running server. It ends when dropped, and its folder with it.
pub struct Redis {
    address: SocketAddr,
    folder: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    tls: bool,
}

impl Redis {
    /// One on a free port of 127.0.0.1.
    pub async fn start() -> Result<Self> {
        Self::with(&[]).await
    }

    /// One with more arguments.
    pub async fn with(arguments: &[&str]) -> Result<Self> {
        let address = free_address().await?;
        Self::on(
            address,
            folder()?,
            &[arguments, &["--port", &address.port().to_string()]].concat(),
            false,
        )
        .await
    }

    /// One that speaks TLS only; see [`Self::ca_file`].
    pub async fn over_tls() -> Result<Self> {
        let (address, folder) = (free_address().await?, folder()?);
        certificates(&folder)?;
        let port = address.port().to_string();
        let files = ["ca.pem", "cert.pem", "key.pem"].map(|name| folder.join(name).display().to_string());
        let [ca, certificate, key] = files.each_ref().map(String::as_str);
        let tls = ["--port", "0", "--tls-port", &port, "--tls-auth-clients", "no"];
        let files = ["--tls-ca-cert-file", ca, "--tls-cert-file", certificate, "--tls-key-file", key];
        Self::on(address, folder.clone(), &[&tls[..], &files].concat(), true).await
    }

    async fn on(address: SocketAddr, folder: PathBuf, arguments: &[&str], tls: bool) -> Result<Self> {
        let mut redis = Self {
            address,
            folder,
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            child: None,
            tls,
        };
        redis.start_again().await?;
        Ok(redis)
    }

    /// Where it is, as settings name it.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.address)
    }

    /// The authority behind its certificate.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Starts it after it was killed, with what it wrote to disk.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "it runs already");
        let (program, libraries) = redis::binary().await?;
        let log = self.folder.join("log");
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = Command::new(program);
        command
            .current_dir(&self.folder)
            .args(["--bind", "127.0.0.1", "--requirepass", PASSWORD]);
        command.args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""]);
        command
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        if let Some(libraries) = libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        self.child = Some(command.kill_on_drop(true).spawn().context("the Redis does not start")?);
        let answers = until("the Redis answers", STARTS, async || {
            if self.tls {
                return Ok(TcpStream::connect(self.address).await.is_ok().then_some(()));
            }
            self.ask::<String>(::redis::cmd("PING")).await.map(|_| Some(()))
        });
        answers.await.with_context(|| tail_of(&log, 10))
    }

    /// Ends it at once, as a crash does.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.take().context("it does not run")?.kill().await?;
        Ok(())
    }

    /// Lets it do nothing, with all its connections open.
    pub fn freeze(&self) -> Result<()> {
        self.send(Signal::STOP)
    }

    /// Lets it go on.
    pub fn thaw(&self) -> Result<()> {
        self.send(Signal::CONT)
    }

    fn send(&self, signal: Signal) -> Result<()> {
        let id = self.child.as_ref().and_then(Child::id).context("it does not run")?;
        let pid = Pid::from_raw(i32::try_from(id)?).context("a process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// The answer to a command.
    pub async fn ask<T: ::redis::FromRedisValue>(&self, command: ::redis::Cmd) -> Result<T> {
        let login = RedisConnectionInfo::default().set_password(PASSWORD);
        let plain: ConnectionInfo = format!("redis://{}", self.address)
            .into_connection_info()?
            .set_redis_settings(login);
        let mut connection = Client::open(plain)?.get_multiplexed_async_connection().await?;
        Ok(command.query_async(&mut connection).await?)
    }

    /// What has been taken of the one account that it holds; nothing where it holds none.
    pub async fn taken(&self) -> Result<u64> {
        let mut listing = ::redis::cmd("KEYS");
        listing.arg("*}");
        let keys: Vec<String> = self.ask(listing).await?;
        let key = match keys.as_slice() {
            [] => return Ok(0),
            [key] => key,
            several => bail!("{several:?}"),
        };
        let mut reading = ::redis::cmd("GET");
        reading.arg(key);
        self.ask(reading).await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.take());
        // What is left of it is of no use to anybody.
        fs::remove_dir_all(&self.folder).ok();
    }
}

fn folder() -> Result<PathBuf> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("llm-portfolio-redis-{}-{number}", std::process::id()));
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// An authority, and a certificate for 127.0.0.1 with its key.
fn certificates(folder: &Path) -> Result<()> {
    let mut authority = CertificateParams::new(vec![])?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    fs::write(folder.join("ca.pem"), authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&key, &issuer)?;
    fs::write(folder.join("cert.pem"), certificate.pem())?;
    Ok(fs::write(folder.join("key.pem"), key.serialize_pem())?)
}
