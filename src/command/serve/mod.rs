//! `portfolio serve`: the gateway from files, without a cluster. The same YAML, the same routes; keys come from the environment.
//!
//! ```text
//! files ──poll──► the same twice? ──► good? ──► routes, credentials, clients' keys ──► gateway
//!                                      └─ no: said in the log, and all stays as it was
//! ```

mod follow;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::{ArgAction, Args};

use crate::api::Settings;
use crate::cluster;
use crate::gateway::{self, Drain, Gateway, InFile, Options};
use crate::manifest::GivenSecrets;
use crate::plan::names::Key;

use super::files::Files;
use super::limits::Limits;
use super::lines::Lines;
use super::start;
use follow::{Follower, Step};

/// Between two looks at the files. A change is taken over after two looks that show the same: editors write in pieces.
const LOOK: Duration = Duration::from_millis(250);
/// How long open answers may go on after Ctrl-C. Somebody waits for the prompt.
const FINISH: Duration = Duration::from_secs(30);

/// Flags of `portfolio serve`.
#[derive(Args)]
// Else what environment variables give is in the line as if it had to be.
#[command(override_usage = "portfolio serve [OPTIONS] -f <PATH>...")]
pub struct Serve {
    #[command(flatten)]
    files: Files,
    /// Where clients reach it.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Serve clients without credentials: where a policy admits `anonymous`, and each model as NAMESPACE/NAME.
    #[arg(long)]
    allow_anonymous: bool,
    /// A Secret's key from an environment variable, such as default/openai:api-key=OPENAI_API_KEY; may be given more than once.
    #[arg(long = "secret-from-env", value_name = "NAMESPACE/NAME:KEY=VARIABLE")]
    secrets: Vec<SecretFromEnv>,
    /// Certificates of the authorities to trust instead of the system's, in PEM.
    #[arg(long, env = "SSL_CERT_FILE")]
    ca_file: Option<PathBuf>,
    /// Where it is kept what was spent of budgets, a file that is made where there is none. Without it every start begins all budgets anew,
    /// unless the settings name a Redis (ledger.redis), whose password is in the environment variable PORTFOLIO_LEDGER_PASSWORD.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    #[command(flatten)]
    limits: Limits,
    /// Whether each request is told in the log, by a line without content whose target is `access`.
    #[arg(long, env = "PORTFOLIO_ACCESS_LOG", value_name = "BOOL", action = ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    access_log: bool,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let lines = start::logs_of_requests()?;
        start::runtime_beside_lanes()?.block_on(self.serve(&lines))
    }

    async fn serve(self, lines: &Lines) -> anyhow::Result<ExitCode> {
        anyhow::ensure!(
            !self.files.paths.iter().any(|path| path == Path::new("-")),
            "standard input cannot be followed: name a file or a folder"
        );
        anyhow::ensure!(!self.files.paths.is_empty(), "name the files to serve with -f");
        let secrets = given(&self.secrets, |variable| std::env::var(variable).ok())?;
        let settings = self.files.settings().map_err(|finding| anyhow::anyhow!("{finding}"))?;
        let allow_anonymous = self.allow_anonymous || settings.as_ref().is_some_and(|s| s.allow_anonymous);
        let (source, feed) = gateway::feed();
        let traces = start::traces(self.ca_file.as_deref())?;
        let mut options = Options {
            access_log: self.access_log,
            traces: traces.clone(),
            allow_anonymous,
            ca_file: self.ca_file,
            ..Options::new(cluster::now)
        };
        self.limits.set(&mut options);
        let is_kept = settings.as_ref().is_some_and(|settings| settings.ledger.redis.is_some());
        if let Some(path) = &self.ledger {
            anyhow::ensure!(
                !is_kept,
                "what was spent would be kept in two places, --ledger {} and ledger.redis of the settings: remove one of them",
                path.display()
            );
            options.ledger = Arc::new(InFile::open(path)?);
        }
        start::ledger(settings.as_ref().unwrap_or(&Settings::default()), &mut options)?;
        let gateway = Gateway::new(feed, None, &options)?;
        let mut follower = Follower::new(self.files, settings, secrets, allow_anonymous, source);
        if let Err(findings) = follower.begin() {
            findings.iter().for_each(|finding| eprintln!("{finding}"));
            return Ok(ExitCode::FAILURE);
        }
        let (entries, are_current) = follower.prices();
        gateway.tell_prices(entries, are_current);

        let stop = start::stop_on_signals()?;
        let listener = tokio::net::TcpListener::bind(&self.listen).await.with_context(|| {
            format!(
                "listening on {}: give --listen HOST:PORT, such as 127.0.0.1:8080, with a free port",
                self.listen
            )
        })?;
        let address = listener.local_addr().map_or(self.listen, |address| address.to_string());
        tracing::info!("listening on http://{address}");
        let drain = Drain {
            announce: Duration::ZERO,
            finish: FINISH,
        };
        tokio::select! {
            () = gateway::run(listener, gateway.clone(), stop, drain) => {}
            () = keep_following(follower, &gateway) => {}
        }
        gateway.give_back().await;
        start::finish(traces, lines).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// Looks at the files again and again.
async fn keep_following(mut follower: Follower, gateway: &Gateway) {
    loop {
        tokio::time::sleep(LOOK).await;
        // Reading and checking hold a thread for some milliseconds; requests must not wait for them.
        let looked = tokio::task::spawn_blocking(move || {
            let step = follower.look();
            (follower, step)
        });
        let Ok((same, step)) = looked.await else { return };
        follower = same;
        let (entries, are_current) = follower.prices();
        gateway.tell_prices(entries, are_current);
        if let Step::Kept(findings) = step {
            for finding in findings {
                tracing::error!("{finding}");
            }
            tracing::warn!("the files have errors: everything stays as it was until they are corrected");
        }
    }
}

/// The values of the flags, from the environment.
fn given(flags: &[SecretFromEnv], variable: impl Fn(&str) -> Option<String>) -> anyhow::Result<GivenSecrets> {
    let value = |flag: &SecretFromEnv| {
        let name = &flag.variable;
        let value = variable(name)
            .with_context(|| format!("the environment variable {name} is not set: set it, or remove its --secret-from-env"))?;
        Ok(((flag.secret.clone(), flag.key.clone()), value))
    };
    flags.iter().map(value).collect()
}

/// Which variable holds which key of which Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SecretFromEnv {
    secret: Key,
    key: String,
    variable: String,
}

impl FromStr for SecretFromEnv {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = || {
            let (secret, rest) = text.split_once(':')?;
            let (namespace, name) = secret.split_once('/')?;
            let (key, variable) = rest.split_once('=')?;
            let all = [namespace, name, key, variable];
            all.iter().all(|part| !part.is_empty()).then(|| Self {
                secret: Key::new(namespace, name),
                key: key.to_owned(),
                variable: variable.to_owned(),
            })
        };
        parts().ok_or_else(|| "write NAMESPACE/NAME:KEY=VARIABLE, such as default/openai:api-key=OPENAI_API_KEY".to_owned())
    }
}
