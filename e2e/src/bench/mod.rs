//! What the gateway costs, beside nginx as a plain reverse proxy and beside nothing at all: the same mock behind them, the same clients
//! before them, taking turns within one run.
//!
//! ```text
//! clients ─┬────────────────────────────┬─► mock      CPU of the process in the middle alone, per request;
//!          ├─► nginx ───────────────────┤             first every subject must pass every byte unchanged
//!          └─► portfolio serve ─────────┘
//! ```

mod load;
mod memory;
mod mock;
mod payload;
mod report;
mod subject;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub use mock::run as mock;

use crate::images::{Profile, cargo_build};
use crate::redis::Redis;
use load::Load;
use memory::Memory;
use payload::Mode;
use report::{Round, Series, Workload};
use subject::{Policies, Subject};

/// Policies that nobody calls, in the route table that must cost nothing.
const OTHERS: usize = 1000;
/// Two for each of 1,000 streams, and some.
const FILES: u64 = 8192;

const WORKLOADS: [(Mode, Workload); 6] = [
    (Mode::Chat, of("chat", 1, 1.3)),
    (Mode::Chat, of("chat", 32, 1.3)),
    (Mode::Paced, of("stream-paced", 1, 1.3)),
    (Mode::Paced, of("stream-paced", 32, 1.3)),
    (Mode::Burst, of("stream-burst", 1, 1.5)),
    (Mode::Burst, of("stream-burst", 32, 1.5)),
];

const fn of(name: &'static str, connections: usize, limit: f64) -> Workload {
    Workload { name, connections, limit }
}

/// How a run goes.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// How long each subject is used in each round; with 1 and one round it only shows that the answers are right
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How often the subjects take turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A build to measure instead of this checkout's
    #[arg(long)]
    portfolio: Option<PathBuf>,
    /// Another build to measure beside it
    #[arg(long, value_name = "NAME=PATH", value_parser = named)]
    beside: Vec<(String, PathBuf)>,
    /// Only the workloads whose name and connections begin so, such as chat or stream-burst@1
    #[arg(long, default_value = "")]
    only: String,
}

fn named(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("write NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
}

/// Measures; returns the tables, and writes `target/bench/gateway.json`.
///
/// # Errors
/// When a subject does not start, or changes what it passes.
pub async fn run(options: &Options) -> Result<String> {
    raise_limit_of_files()?;
    let out = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    std::fs::create_dir_all(&out)?;
    let program = match &options.portfolio {
        Some(program) => program.clone(),
        None => cargo_build(&["--bin", "portfolio"], Profile::Release).await?,
    };
    let time = Duration::from_secs_f64(options.seconds);

    let mock = Subject::mock(&out).await?;
    let mut subjects = vec![Subject::direct(&mock), Subject::nginx(&mock, &out).await?];
    for (name, program) in &options.beside {
        subjects.push(Subject::gateway(name, program, Policies::Plain(0), &mock, &out).await?);
    }
    subjects.push(Subject::gateway("gateway", &program, Policies::Plain(0), &mock, &out).await?);
    let many = Subject::gateway("gateway-1000-policies", &program, Policies::Plain(OTHERS), &mock, &out).await?;
    let redis = Redis::start().await?;
    let governed = Subject::gateway("gateway-governed", &program, Policies::Governed(&redis), &mock, &out).await?;

    let mut memory = Vec::new();
    if options.only.is_empty() {
        for subject in &subjects {
            memory.extend(Memory::of(subject, time).await?);
        }
    }
    for subject in subjects.iter().chain([&many, &governed]) {
        subject.check(&[Mode::Chat, Mode::Burst, Mode::Paced]).await?;
    }
    let mut all = Vec::new();
    for (mode, workload) in WORKLOADS {
        if format!("{}@{}", workload.name, workload.connections).starts_with(&options.only) {
            let extra = (mode == Mode::Chat).then_some(&many);
            let subjects: Vec<&Subject> = subjects.iter().chain(extra).chain([&governed]).collect();
            all.extend(in_turns(&subjects, mode, workload, options.rounds, time).await?);
        }
    }
    let list = out.join("gateway.json");
    std::fs::write(&list, report::json(&all)?).with_context(|| list.display().to_string())?;
    Ok(report::table(&all, &memory))
}

/// Each subject once in each round, beginning with another one each time.
async fn in_turns(subjects: &[&Subject], mode: Mode, workload: Workload, rounds: usize, time: Duration) -> Result<Vec<Series>> {
    let series = |subject: &&Subject| Series {
        subject: subject.name.clone(),
        workload,
        rounds: Vec::new(),
    };
    let mut all: Vec<Series> = subjects.iter().map(series).collect();
    for round in 0..rounds {
        for turn in 0..subjects.len() {
            let at = (round + turn) % subjects.len();
            let subject = subjects[at];
            let load = Load {
                address: subject.address,
                request: mode.request(),
                connections: workload.connections,
                time,
            };
            let measured = tokio::task::block_in_place(|| {
                std::thread::scope(|scope| {
                    let running = scope.spawn(|| load.run(|| subject.cpu()));
                    running.join().map_err(|_| anyhow::anyhow!("the clients panicked"))?
                })
            })
            .with_context(|| format!("{} under {}", subject.name, workload.name))?;
            all[at].rounds.push(Round::new(measured, subject.resident()?));
        }
    }
    Ok(all)
}

/// Children inherit it.
fn raise_limit_of_files() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|now| now < FILES) {
        let raised = Rlimit {
            current: Some(limit.maximum.map_or(FILES, |most| most.min(FILES))),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised).context("1,000 streams need 2,000 open files: raise ulimit -n")?;
    }
    Ok(())
}
