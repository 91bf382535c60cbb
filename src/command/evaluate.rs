//! `portfolio evaluate`: one evaluation run to completion. Exits with 0 when there is a report, whatever it says, and with 1 when trying again
//! may help; it then goes on where it stopped.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cluster;
use crate::evaluator::client::{Client, Pace};
use crate::evaluator::display::{Display, summary};
use crate::evaluator::external::relay::{Relay, serve_health};
use crate::evaluator::files::Places;
use crate::evaluator::run;
use crate::evaluator::store::Store;
use crate::plan::evaluation::external;
use crate::plan::evaluation::report::Report;
use crate::plan::evaluation::run::Evaluation;

use super::start;

/// Of the 30 seconds that Kubernetes gives a pod to end.
const LAST_WORDS: Duration = Duration::from_secs(20);

/// Flags of `portfolio evaluate`. In the cluster the operator sets their environment variables.
#[derive(Args)]
pub struct Flags {
    /// What to do, as JSON.
    #[arg(long, env = "EVALUATION")]
    evaluation: String,
    /// The base URL of the gateway, such as `http://localhost:8080`.
    #[arg(long, env = "GATEWAY_URL")]
    gateway: String,
    /// The file with the token for the gateway, read anew for each request. Default: none is sent.
    #[arg(long, env = "TOKEN_FILE")]
    token_file: Option<PathBuf>,
    /// The folder with the datasets from ConfigMaps, as `<suite>/exemplars.dataset`.
    #[arg(long, env = "DATASETS", default_value = "/datasets")]
    datasets: PathBuf,
    /// The folder with a folder for each PersistentVolumeClaim.
    #[arg(long, env = "CLAIMS", default_value = "/claims")]
    claims: PathBuf,
    /// The folder with a folder for each Secret.
    #[arg(long, env = "CREDENTIALS", default_value = "/credentials")]
    credentials: PathBuf,
    /// The folder that datasets are fetched into.
    #[arg(long, env = "FETCHED", default_value = "/progress/fetched")]
    fetched: PathBuf,
    /// The folder with what evaluators that users bring have found, as `<place of the model>/<suite>/…`.
    #[arg(long, env = "RESULTS", default_value = "/results")]
    results: PathBuf,
    /// Does not evaluate, but relays to the gateway what such evaluators ask, within the limits of the evaluation.
    #[arg(long)]
    relay: bool,
    /// Where the relay listens.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::LOCALHOST, external::RELAY_PORT)), requires = "relay")]
    relay_listen: SocketAddr,
    /// Where it says that it does, under `/healthz`.
    #[arg(long, default_value_t = SocketAddr::from((Ipv4Addr::UNSPECIFIED, external::RELAY_HEALTH_PORT)), requires = "relay")]
    relay_health_listen: SocketAddr,
    /// The folder that keeps the report and the answers. Default: they are not kept.
    #[arg(long, env = "REPORT_FOLDER")]
    report_folder: Option<PathBuf>,
    /// The place in a bucket that keeps them instead, such as `s3://bucket/prefix`: then that folder, whose name is the run's, is what it works in.
    #[arg(long, env = "REPORT_STORE", requires = "report_folder")]
    report_store: Option<String>,
    /// The folder of `--credentials` whose files are the variables of that bucket. Default: those of this process.
    #[arg(long, env = "REPORT_STORE_SECRET", requires = "report_store")]
    report_store_secret: Option<String>,
    /// Where answers are noted down; a run that finds it goes on where that one stopped.
    #[arg(long, env = "PROGRESS_FILE", default_value = "/progress/progress.jsonl")]
    progress_file: PathBuf,
    /// Where the report is written.
    #[arg(long, env = "REPORT_FILE", default_value = "/dev/termination-log")]
    report_file: PathBuf,
}

pub(super) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    start::logs();
    start::runtime()?.block_on(evaluate(flags))
}

async fn evaluate(flags: Flags) -> anyhow::Result<ExitCode> {
    let stop = start::stop_on_signals()?;
    if flags.relay {
        return relay(&flags, stop).await;
    }
    let store = flags.report_store.as_ref();
    let store = store.map(|uri| Arc::new(Store::new(uri, flags.report_store_secret.clone())));
    let result = tokio::select! {
        result = carry_out(&flags, store.clone()) => result,
        () = stop.cancelled() => Err(anyhow::anyhow!("the run was stopped before its end")),
    };
    if let (Err(_), Some(store)) = (&result, &store) {
        // So that the next pod knows of all that this one asked.
        store
            .close(LAST_WORDS)
            .await
            .unwrap_or_else(|error| tracing::warn!("the last answers are not kept: {error:#}"));
    }
    let report = match &result {
        Ok(report) => report.clone(),
        Err(error) => Report::invalid(format!("{error:#}")),
    };
    std::fs::write(&flags.report_file, report.encode()).with_context(|| format!("writing the report {}", flags.report_file.display()))?;
    result.map(|report| {
        eprint!("{}", summary(&report));
        ExitCode::SUCCESS
    })
}

/// Relays until it is stopped, or until a limit of the run is reached: then the report says so, for whoever finds that an evaluator failed by it. The
/// kubelet starts it again, and it goes on refusing.
async fn relay(flags: &Flags, stop: CancellationToken) -> anyhow::Result<ExitCode> {
    let evaluation: Evaluation = serde_json::from_str(&flags.evaluation).context("reading --evaluation")?;
    let client = Client::new(&flags.gateway, flags.token_file.clone(), Pace::default()).context("--gateway cannot be used")?;
    let relay = Relay::open(evaluation, client, &places(flags, None)?)?;
    let listen = async |at: SocketAddr| TcpListener::bind(at).await.with_context(|| format!("listening on {at}"));
    let listener = listen(flags.relay_listen).await?;
    let health = listen(flags.relay_health_listen).await?;
    let report = tokio::select! {
        report = relay.serve(listener, stop.cancelled_owned()) => report?,
        ended = serve_health(health) => return Err(ended.err().map_or_else(|| anyhow::anyhow!("it ended"), Into::into)).context("the health endpoint"),
    };
    if let Some(report) = report {
        tracing::warn!("{}", report.invalid.as_deref().unwrap_or_default());
        std::fs::write(&flags.report_file, report.encode())
            .with_context(|| format!("writing the report {}", flags.report_file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(flags: &Flags, store: Option<Arc<Store>>) -> anyhow::Result<Report> {
    let evaluation: Evaluation = match serde_json::from_str(&flags.evaluation) {
        Ok(evaluation) => evaluation,
        Err(error) => return Ok(Report::invalid(format!("--evaluation cannot be read: {error}"))),
    };
    let client = match Client::new(&flags.gateway, flags.token_file.clone(), Pace::default()) {
        Ok(client) => client,
        Err(error) => return Ok(Report::invalid(format!("--gateway cannot be used: {error:#}"))),
    };
    let places = places(flags, store)?;
    let mut display = Display::default();
    let report = run::run(&evaluation, &client, &places, |standing| display.tell(standing)).await;
    display.end();
    report
}

fn places(flags: &Flags, store: Option<Arc<Store>>) -> anyhow::Result<Places> {
    if let Some(folder) = flags.progress_file.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("making the folder {}", folder.display()))?;
    }
    Ok(Places {
        datasets: flags.datasets.clone(),
        claims: flags.claims.clone(),
        credentials: flags.credentials.clone(),
        fetched: flags.fetched.clone(),
        results: flags.results.clone(),
        message: Some(flags.report_file.clone()),
        report: flags.report_folder.clone(),
        store,
        progress: flags.progress_file.clone(),
        clock: cluster::now,
    })
}
