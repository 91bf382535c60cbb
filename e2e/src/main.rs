//! The `e2e` command: a real Kubernetes on this machine, up, down, and its parts one by one.

#![expect(clippy::print_stdout, reason = "a command line's answers go to stdout")]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};
use e2e::cluster::{self, Shape, State};
use e2e::http_client::HttpClient;
use e2e::hub::{Hub, Repository};
use e2e::provider::{Options, Provider};
use e2e::{assets, bench, demo, evaluator, images, policies, scale, stand_in, vllm};

/// A real Kubernetes on this machine: one process tree, no registry, nothing leaves it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the cluster, unless it runs
    Up {
        /// Nodes; a running cluster gets the missing ones
        #[arg(long, default_value_t = Shape::default().nodes)]
        nodes: usize,
        /// Fake GPUs of each node
        #[arg(long, default_value_t = Shape::default().gpus)]
        gpus: usize,
    },
    /// The whole loop: install, apply the example, chat, evaluate; in the cluster of KUBECONFIG, else in ours
    Demo {
        /// Which build to install
        #[arg(long, value_enum, default_value_t)]
        profile: images::Profile,
    },
    /// Many ModelDeployments at once on nodes that do not exist: how long, how many requests, how much memory
    Scale {
        /// How many ModelDeployments
        #[arg(long, default_value_t = 200)]
        count: usize,
        /// Which build to measure
        #[arg(long, value_enum, default_value = "release")]
        profile: images::Profile,
        /// Have them scaled by demand, and measure that too
        #[arg(long)]
        scaled: bool,
    },
    /// What the gateway costs per request, beside nginx and beside nothing; needs no cluster
    Bench(bench::Options),
    /// Answer as a model that takes no time; what `bench` measures in front of
    #[command(hide = true)]
    BenchMock {
        /// Address and port
        #[arg(long)]
        listen: SocketAddr,
    },
    /// End it and remove every trace
    Down,
    /// Start, stop, kill, freeze or thaw one part, or print its process id
    Part {
        /// What to do
        action: Action,
        /// As `status` lists them: etcd@1, kubelet@2, …
        name: String,
    },
    /// What runs
    Status,
    /// Lines for a shell: eval "$(e2e env)"
    Env,
    /// Run a fake commercial API until ended; PUT /_control changes how it answers
    Provider {
        /// Address and port
        #[arg(long)]
        listen: SocketAddr,
        /// Plain HTTP instead of TLS
        #[arg(long)]
        plain: bool,
        /// Where to write the certificate of its authority
        #[arg(long)]
        ca_file: Option<PathBuf>,
        /// A script as JSON, as of the control endpoint
        #[arg(long)]
        script: Option<String>,
    },
    /// Serve a folder as a repository of the Hugging Face hub until ended; HF_ENDPOINT names it to clients
    Hub {
        /// Address and port
        #[arg(long)]
        listen: SocketAddr,
        /// Address and port of its storage, which large files are redirected to; by default the same
        #[arg(long)]
        storage_listen: Option<SocketAddr>,
        /// The files
        #[arg(long)]
        folder: PathBuf,
        /// What it is called: org/name
        #[arg(long)]
        repo: String,
        /// The only token it takes; by default everybody may read
        #[arg(long)]
        token: Option<String>,
    },
    /// Answer as vLLM does, without a model, to vLLM's own arguments; for pods
    Vllm {
        /// As of `vllm serve`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// GET a URL and print the answer; for pods, whose images have no shell
    Get {
        /// What to get
        url: String,
        /// The certificate (PEM) of the authority to trust
        #[arg(long, allow_hyphen_values = true)]
        ca: Option<String>,
    },
    /// Ask what OPENAI_BASE_URL leads to, and score the answers; for pods of evaluations
    Evaluator {
        /// How many questions
        #[arg(long, default_value_t = 10)]
        questions: usize,
        /// End with this error instead
        #[arg(long)]
        fail: Option<String>,
    },
    /// Stand in for vLLM in one of several pods that serve together, with its arguments
    #[command(hide = true)]
    StandIn {
        /// As vLLM takes them
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Enforce NetworkPolicies on one node until ended; a part of the cluster
    #[command(hide = true)]
    Policies {
        /// How to reach the API server
        kubeconfig: PathBuf,
        /// Whose pods
        node: String,
    },
    /// Build or fetch everything that is kept between runs
    Assets,
}

#[derive(Clone, ValueEnum)]
enum Action {
    Start,
    Stop,
    Kill,
    Freeze,
    Thaw,
    Pid,
}

#[tokio::main]
async fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Up { nodes, gpus } => {
            let begin = Instant::now();
            let local = cluster::up(Shape { nodes, gpus }).await?;
            eprintln!(
                "the cluster is up ({:.1} s, {} node(s)); use it: eval \"$(e2e env)\"",
                begin.elapsed().as_secs_f32(),
                local.nodes()?
            );
        }
        Command::Demo { profile } => demo::run(profile).await?,
        Command::Scale { count, profile, scaled } => scale::run(count, profile, scaled).await?,
        Command::Bench(options) => print!("{}", bench::run(&options).await?),
        Command::BenchMock { listen } => tokio::task::spawn_blocking(move || bench::mock(listen)).await??,
        Command::Down => {
            cluster::down().await?;
            eprintln!("no cluster of ours is left");
        }
        Command::Part { action, name } => {
            let parts = running()?.parts();
            match action {
                Action::Start => parts.start(&name)?,
                Action::Stop => parts.stop(&name)?,
                Action::Kill => parts.kill(&name)?,
                Action::Freeze => parts.freeze(&name)?,
                Action::Thaw => parts.thaw(&name)?,
                Action::Pid => println!("{}", parts.pid(&name)?),
            }
        }
        Command::Status => status()?,
        Command::Env => {
            let local = running()?;
            println!("export KUBECONFIG='{}'", local.kubeconfig().display());
            println!("export PATH='{}':\"$PATH\"", local.bin().display());
        }
        Command::Provider {
            listen,
            plain,
            ca_file,
            script,
        } => {
            let provider = Provider::on(
                TcpListener::bind(listen)?,
                Options {
                    tls: !plain,
                    ..Options::default()
                },
            )
            .await?;
            if let Some(script) = script {
                let script = serde_json::from_str(&script).context("--script")?;
                provider.set(|current| *current = script);
            }
            if let Some((file, ca)) = ca_file.zip(provider.ca()) {
                std::fs::write(file, ca)?;
            }
            eprintln!("{}", provider.url());
            provider.run().await?;
        }
        Command::Hub {
            listen,
            storage_listen,
            folder,
            repo,
            token,
        } => {
            let storage = storage_listen.map(TcpListener::bind).transpose()?;
            let hub = Hub::on(TcpListener::bind(listen)?, storage, Repository::new(&repo, &folder)).await?;
            hub.set(|script| script.token = token);
            eprintln!("{} serves {repo} at {}", hub.url(), hub.commit());
            hub.run().await?;
        }
        Command::Vllm { arguments } => vllm::run(&arguments).await?,
        Command::Get { url, ca } => {
            let answer = HttpClient::new(ca.as_deref())?.get(&url, &[]).await?;
            println!("{}", answer.body);
            anyhow::ensure!(answer.status.is_success(), "{}", answer.status);
        }
        Command::Evaluator { questions, fail } => evaluator::run(questions, fail.as_deref()).await?,
        Command::StandIn { arguments } => stand_in::run(&arguments).await?,
        Command::Policies { kubeconfig, node } => policies::run(&kubeconfig, &node).await?,
        Command::Assets => {
            println!("kubernetes {}", assets::kubernetes::binary().await?.display());
            println!("pause      {}", images::pause().await?.archive.display());
            println!("engine     {}", images::engine().await?.archive.display());
            println!("helm       {}", assets::helm::binary().await?.display());
        }
    }
    Ok(())
}

fn status() -> Result<()> {
    let parts = running()?.parts();
    for name in parts.names()? {
        let state = match parts.state(&name)? {
            State::Running => format!("running  {}", parts.pid(&name)?),
            State::Frozen => format!("frozen   {}", parts.pid(&name)?),
            State::Gone => "gone".to_owned(),
        };
        println!("{name:28} {state}");
    }
    Ok(())
}

fn running() -> Result<cluster::Local> {
    cluster::Local::running()?.context("no cluster is up: run `e2e up`")
}
