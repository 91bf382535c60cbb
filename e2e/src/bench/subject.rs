//! What is measured: processes of their own that lead to the mock, and what /proc says they need.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ring::digest::{SHA256, digest};
use tokio::process::{Child, Command};

use super::load::{Client, in_time};
use super::payload::{KEY, MODEL, Mode, chat, dechunked, events};
use crate::assets::{hex, nginx};
use crate::command::tail_of;
use crate::redis::{PASSWORD, Redis};
use crate::until;

/// What a gateway decides by.
#[derive(Clone, Copy)]
pub(super) enum Policies<'a> {
    /// One, of one rule, and so many that nobody calls.
    Plain(usize),
    /// One with rules, requirements, stickiness, limits, and budgets that are kept in a Redis.
    Governed(&'a Redis),
}

/// A way to the mock.
pub(super) struct Subject {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    /// Absent for the mock itself.
    child: Option<Child>,
    log: PathBuf,
}

impl Subject {
    /// The mock, in a process of its own.
    pub(super) async fn mock(folder: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let address = free_address()?;
        command.args(["bench-mock", "--listen"]).arg(address.to_string());
        Self::start("mock", address, command, folder).await
    }

    /// Straight to the mock: what nothing in between can be better than.
    pub(super) fn direct(mock: &Self) -> Self {
        Self {
            name: "direct".to_owned(),
            address: mock.address,
            child: None,
            log: PathBuf::new(),
        }
    }

    /// nginx as a plain reverse proxy: one worker, no access log, connections kept on both sides.
    pub(super) async fn nginx(mock: &Self, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let home = folder.join("nginx");
        std::fs::create_dir_all(&home)?;
        let configuration = home.join("nginx.conf");
        std::fs::write(&configuration, nginx_configuration(&home, address, mock.address))?;
        let mut command = Command::new(nginx::binary().await?);
        command.arg("-p").arg(&home).arg("-c").arg(&configuration).args(["-e", "stderr"]);
        Self::start("nginx", address, command, folder).await
    }

    /// `portfolio serve` with clients' keys, metrics, and these policies.
    pub(super) async fn gateway(name: &str, program: &Path, policies: Policies<'_>, mock: &Self, folder: &Path) -> Result<Self> {
        let address = free_address()?;
        let files = folder.join(name);
        std::fs::create_dir_all(&files)?;
        std::fs::write(files.join("portfolio.yaml"), portfolio(mock.address, policies))?;
        let mut command = Command::new(program);
        command.arg("serve");
        if let Policies::Governed(redis) = policies {
            let settings = folder.join(format!("{name}.settings"));
            let matrix = "Internal: {}, Personal: {classes: [Open, Custom]}";
            let ledger = format!("redis: {{url: \"{}\"}}", redis.url());
            std::fs::write(
                &settings,
                format!("{{acceleratorProfiles: {{cpu: {{}}}}, dataClasses: {{{matrix}}}, ledger: {{{ledger}}}}}"),
            )?;
            command.arg("--settings").arg(settings).env("PORTFOLIO_LEDGER_PASSWORD", PASSWORD);
        }
        command
            .arg("--listen")
            .arg(address.to_string())
            .arg("-f")
            .arg(&files)
            .env_remove("RUST_LOG");
        Self::start(name, address, command, folder).await
    }

    async fn start(name: &str, address: SocketAddr, mut command: Command, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = std::fs::File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} does not start"))?;
        let subject = Self {
            name: name.to_owned(),
            address,
            child: Some(child),
            log,
        };
        let what = format!("{name} answers");
        let answers = until(&what, Duration::from_secs(30), async || {
            subject.check(&[Mode::Chat]).await.map(Some)
        });
        answers.await.with_context(|| tail_of(&subject.log, 10))?;
        Ok(subject)
    }

    /// Asks once in each way, and compares every byte.
    pub(super) async fn check(&self, modes: &[Mode]) -> Result<()> {
        for mode in modes {
            let mut client = Client::connect(self.address).await?;
            in_time(client.ask(&mode.request())).await?;
            let (head, body) = client.answer()?;
            let (expected, body) = match mode {
                Mode::Chat => (chat(), body.to_owned()),
                _ => (events().concat(), dechunked(body)?),
            };
            if body != expected {
                bail!("{}: the answer to {} changed on its way:\n{head}\n\n{body}", self.name, mode.name());
            }
        }
        Ok(())
    }

    /// The time its threads have run so far; none for what is no process of its own.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let Some(pid) = self.pid() else { return Ok(Duration::ZERO) };
        let mut nanoseconds = 0;
        for thread in std::fs::read_dir(format!("/proc/{pid}/task")).with_context(|| self.ended())? {
            // A thread that ended meanwhile takes what it used with it; those of our subjects last.
            let Ok(line) = std::fs::read_to_string(thread?.path().join("schedstat")) else {
                continue;
            };
            let first = line.split_whitespace().next().context("schedstat has numbers")?;
            nanoseconds += first.parse::<u64>()?;
        }
        ensure!(nanoseconds > 0, "this kernel keeps no /proc/PID/schedstat");
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Its resident memory in bytes.
    pub(super) fn resident(&self) -> Result<Option<u64>> {
        let Some(pid) = self.pid() else { return Ok(None) };
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| self.ended())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(Some(kib << 10))
    }

    fn pid(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    fn ended(&self) -> String {
        format!("{} ended: {}", self.name, tail_of(&self.log, 10))
    }
}

/// An address that nobody has now.
fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

fn nginx_configuration(home: &Path, listen: SocketAddr, mock: SocketAddr) -> String {
    let home = home.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log stderr warn;
worker_rlimit_nofile 8192;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {home}/body; proxy_temp_path {home}/proxy; fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi; scgi_temp_path {home}/scgi;
  client_max_body_size 64m; client_body_buffer_size 2m;
  tcp_nodelay on; keepalive_timeout 300s; keepalive_requests 1000000000;
  upstream mock {{ server {mock}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen {listen};
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection \"\";
      proxy_buffering off; proxy_read_timeout 600s;
    }}
  }}
}}
"
    )
}

/// What a governed policy has beside its clients.
const GOVERNED: &str = "
  require: {classes: [Open, Custom]}
  rules:
  - {name: personal, when: {dataClasses: [Personal]}, targets: [{model: assistant}]}
  - {name: long, when: {expression: 'request.inputTokens > 30000 || request.images'}, targets: [{model: assistant}]}
  - {name: others, strategy: Weighted, require: {maxCostPerRequestUSD: '1'}, targets: [{model: assistant, weight: 80}]}
  sticky: {by: Conversation}
  limits: [{per: Client, requestsPerMinute: 1000000, tokensPerMinute: 1000000000, concurrent: 1000}, {per: Policy, concurrent: 1000}]
  budgets:
  - {per: Policy, tokens: 1000000000000, window: Month, timeZone: Europe/Berlin, warnAtPercent: 80}
  - {per: Client, usd: '1000000', window: Day, onExhausted: {action: Reject}}
";

/// One self-hosted model at the mock, a policy that admits a key, and those beside it.
fn portfolio(mock: SocketAddr, policies: Policies<'_>) -> String {
    let api = "apiVersion: llmportfolio.dev/v1alpha1";
    let hash = hex(digest(&SHA256, KEY.as_bytes()).as_ref());
    let policy = |name: &str, model: &str| {
        format!(
            "---\n{api}\nkind: RoutingPolicy\nmetadata: {{name: {name}}}\n\
             spec: {{model: {model}, clients: [{{apiKeys: {{matchLabels: {{team: bench}}}}}}], rules: [{{targets: [{{model: {MODEL}}}]}}]}}\n"
        )
    };
    let mut text = format!(
        "{api}\nkind: ModelDeployment\nmetadata: {{name: {MODEL}, annotations: {{llmportfolio.dev/endpoint: \"http://{mock}\"}}}}\n\
         spec: {{selfHosted: {{engine: {{kind: LlamaCpp}}, accelerator: {{profile: cpu}}}}, capabilities: {{maxOutputTokens: 1024}}, price: {{inputPer1M: '1', outputPer1M: '2'}}}}\n\
         ---\napiVersion: v1\nkind: Secret\nmetadata: {{name: bench, labels: {{llmportfolio.dev/api-key: \"true\", team: bench}}}}\n\
         stringData: {{sha256: \"{hash}\"}}\n"
    );
    match policies {
        Policies::Plain(others) => {
            text.push_str(&policy("bench", MODEL));
            for other in 0..others {
                text.push_str(&policy(&format!("other-{other}"), &format!("model-{other}")));
            }
        }
        Policies::Governed(_) => text.push_str(&format!(
            "---\n{api}\nkind: RoutingPolicy\nmetadata: {{name: bench}}\n\
             spec:\n  model: {MODEL}\n  clients: [{{apiKeys: {{matchLabels: {{team: bench}}}}}}]{GOVERNED}"
        )),
    }
    text
}
