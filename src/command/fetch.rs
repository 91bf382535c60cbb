//! `portfolio fetch`: a model's weights into a folder. Exits with 0 when they are there, with 1 when a person must act, and with 2 when time
//! may heal it; it then goes on where it stopped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::{Json, Router};
use clap::{Args, ValueEnum};

use crate::cluster;
use crate::fetch::{
    self, Display, Ending, Environment, Failure, Listing, Location, MOST_CONNECTIONS, Marker, Meter, Options, Selection, Standing,
    StatusFile, Style,
};

use super::out;
use super::start;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);
const DONE: u8 = 0;
const ACT: u8 = 1;
const TRY_LATER: u8 = 2;

/// What to fetch, where to, and how to tell of it.
///
/// Endpoints and credentials come from the environment: HF_ENDPOINT and HF_TOKEN; AWS_…, GOOGLE_…, AZURE_…; HTTPS_PROXY and NO_PROXY.
#[derive(Args)]
pub struct Flags {
    /// hf://org/name, hf://org/name@revision/path, s3://bucket/prefix/, gs://…, az://…, or https://host/file#sha256=HEX.
    uri: String,
    /// The folder to fill.
    #[arg(long, value_name = "FOLDER", required_unless_present = "plan")]
    to: Option<PathBuf>,
    /// Print what would be fetched, as JSON, and fetch nothing.
    #[arg(long)]
    plan: bool,
    /// Only files whose path matches one of these, such as '*.safetensors'; `*` also matches `/`.
    #[arg(long, value_name = "GLOB")]
    include: Vec<String>,
    /// No files whose path matches one of these, such as 'original/*'.
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Connections at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=MOST_CONNECTIONS as i64))]
    parallel: u8,
    /// Certificates of the authorities to trust instead of the system's, in PEM.
    #[arg(long, value_name = "PEM", env = "SSL_CERT_FILE")]
    ca_file: Option<PathBuf>,
    /// How to tell how far it is.
    #[arg(long, value_enum, default_value_t = Progress::Auto)]
    progress: Progress,
    /// Where to keep how far it is, as JSON.
    #[arg(long, value_name = "PATH", env = "STATUS_FILE")]
    status_file: Option<PathBuf>,
    /// Where to answer HTTP requests with how far it is, as JSON, such as 0.0.0.0:8082. Whoever can connect may ask.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where to write how it ended, as JSON; in pods /dev/termination-log.
    #[arg(long, value_name = "PATH", env = "TERMINATION_FILE")]
    termination_file: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Progress {
    /// A bar on a terminal, else a line every few seconds.
    Auto,
    /// A bar on stderr.
    Bar,
    /// JSON objects on stdout, one a line.
    Json,
    /// Nothing.
    None,
}

pub(super) fn run(flags: Flags) -> anyhow::Result<ExitCode> {
    start::logs();
    let code = start::runtime()?.block_on(carry_out(flags, Environment::of_process()))?;
    Ok(ExitCode::from(code))
}

/// Says how the process exits.
async fn carry_out(flags: Flags, environment: Environment) -> anyhow::Result<u8> {
    let options = Options {
        selection: Selection {
            include: flags.include,
            exclude: flags.exclude,
        },
        parallel: usize::from(flags.parallel),
        ca_file: flags.ca_file,
        ..Options::new(environment, cluster::now)
    };
    let ended = match (Location::parse(&flags.uri), &flags.to) {
        (Err(failure), _) => Err(failure),
        (Ok(location), Some(to)) if !flags.plan => {
            let tellers = Tellers {
                display: Display::new(flags.progress.style()),
                status: flags.status_file.map(|path| StatusFile::new(path, cluster::now)),
            };
            fill(&location, to, &options, tellers, flags.listen).await?
        }
        (Ok(location), _) => plan(&location, &options).await?,
    };
    let (ending, code) = match ended {
        Ok(ending) => (ending, DONE),
        Err(failure) => {
            eprintln!("portfolio: {failure}");
            let code = if failure.reason.time_may_heal() { TRY_LATER } else { ACT };
            (Ending::failed(&failure), code)
        }
    };
    if let Some(path) = &flags.termination_file {
        fetch::write_termination(path, &ending).with_context(|| format!("writing --termination-file {}", path.display()))?;
    }
    Ok(code)
}

/// Prints what would be fetched.
async fn plan(location: &Location, options: &Options) -> anyhow::Result<Result<Ending, Failure>> {
    let stop = start::stop_on_signals()?;
    let planned = tokio::select! {
        planned = fetch::plan(location, options) => planned,
        () = stop.cancelled() => Err(Failure::stopped()),
    };
    if let Ok(listing) = &planned {
        out::line(&document(listing)?)?;
    }
    Ok(planned.map(|listing| Ending::planned(&listing)))
}

fn document(listing: &Listing) -> anyhow::Result<String> {
    let mut document = serde_json::to_value(listing).context("writing the plan")?;
    document["bytes"] = listing.bytes().into();
    serde_json::to_string_pretty(&document).context("writing the plan")
}

async fn fill(
    location: &Location,
    to: &Path,
    options: &Options,
    mut tellers: Tellers,
    listen: Option<SocketAddr>,
) -> anyhow::Result<Result<Ending, Failure>> {
    let stop = start::stop_on_signals()?;
    let meter = Arc::new(Meter::new(location.to_string(), cluster::now()));
    if let Some(address) = listen {
        answer(address, Arc::clone(&meter)).await?;
    }
    let mut look = tokio::time::interval(LOOK);
    let filled: Result<Marker, Failure> = {
        let filling = fetch::run(location, to, options, &meter);
        tokio::pin!(filling);
        loop {
            tokio::select! {
                filled = &mut filling => break filled,
                () = stop.cancelled() => break Err(Failure::stopped()),
                _ = look.tick() => tellers.tell(&meter.standing()),
            }
        }
    };
    let standing = meter.standing();
    let ended = filled.map(|marker| Ending::complete(&marker, &standing));
    tellers.end(&standing, &ended);
    Ok(ended)
}

/// Answers every request with how far it is, until the process ends.
async fn answer(address: SocketAddr, meter: Arc<Meter>) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(address)
        .await
        .with_context(|| format!("listening on --listen {address}"))?;
    let app = Router::new().fallback(async move || Json(meter.standing()));
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(())
}

impl Progress {
    fn style(self) -> Style {
        match self {
            Self::Auto => Style::of_stderr(),
            Self::Bar => Style::Bar,
            Self::Json => Style::Json,
            Self::None => Style::Nothing,
        }
    }
}

/// Those who say how far it is.
struct Tellers {
    display: Display,
    status: Option<StatusFile>,
}

impl Tellers {
    fn tell(&mut self, standing: &Standing) {
        let now = Instant::now();
        self.display.tell(standing, now);
        if let Some(status) = &mut self.status {
            status.tell(standing, now);
        }
    }

    fn end(mut self, standing: &Standing, ended: &Result<Ending, Failure>) {
        let standing = standing.ended(ended.is_ok());
        self.display.tell(&standing, Instant::now());
        self.display.end();
        if let Some(status) = self.status {
            status.end(&standing, ended.as_ref().err());
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::Value;

    use super::*;
    use crate::fetch::tests::Scratch;
    use crate::fetch::tests::hub::{Hub, Repository};

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        flags: Flags,
    }

    #[test]
    fn a_folder_is_needed_unless_only_a_plan_is_asked_for() {
        let parse = |arguments: &[&str]| Arguments::try_parse_from([&["fetch", "hf://a/b"], arguments].concat());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--plan"]).is_ok());
        assert_eq!(parse(&["--to", "/x"]).unwrap().flags.parallel, 8);
        assert!(parse(&["--to", "/x", "--parallel", "0"]).is_err());
        assert!(parse(&["--to", "/x", "--parallel", "65"]).is_err());
    }

    #[tokio::test]
    async fn the_exit_code_says_who_must_act_and_the_termination_file_why() {
        let (source, target) = (Scratch::new(), Scratch::new());
        std::fs::write(source.path().join("config.json"), "{}").unwrap();
        let hub = Hub::start(Repository::new("org/name", source.path())).await.unwrap();
        let file = |name: &str| target.path().join(name).display().to_string();
        let (to, status, termination) = (file("model"), file("status"), file("termination"));
        let fetch = async |uri: &str, more: &[&str]| {
            let all = [
                "fetch",
                uri,
                "--progress",
                "none",
                "--termination-file",
                &termination,
                "--status-file",
                &status,
            ];
            let flags = Arguments::parse_from([&all, more].concat()).flags;
            let code = carry_out(flags, [("HF_ENDPOINT".to_owned(), hub.url())].into_iter().collect())
                .await
                .unwrap();
            let read = |path: &str| {
                std::fs::read(path)
                    .ok()
                    .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok())
            };
            (code, read(&termination).unwrap(), read(&status).unwrap_or_default())
        };

        let (code, ending, _) = fetch("hf://org/name", &["--plan"]).await;
        assert_eq!((code, &ending["bytes"], &ending["revision"]), (0, &2.into(), &hub.commit().into()));
        let (code, ending, status) = fetch("hf://org/name@v9", &["--to", &to]).await;
        assert_eq!(
            (code, &ending["reason"], &status["reason"]),
            (1, &"RevisionNotFound".into(), &"RevisionNotFound".into())
        );
        // Longer than a fetch waits.
        hub.set(|script| script.busy = (1, 3600));
        let (code, ending, status) = fetch("hf://org/name", &["--to", &to]).await;
        assert_eq!(
            (code, &ending["timeMayHeal"], &status["phase"]),
            (2, &true.into(), &"Failed".into())
        );
        let (code, ending, status) = fetch("hf://org/name", &["--to", &to]).await;
        assert_eq!(
            (code, &ending["bytesFetched"], &status["phase"]),
            (0, &2.into(), &"Complete".into())
        );
    }
}
