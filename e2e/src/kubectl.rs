//! `kubectl`, as a user would run it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;
use tokio::process::Command;

use crate::assets::kubernetes;
use crate::command::{find, output, output_with_input};

/// Longer than any wait the tests ask kubectl for.
const DEADLINE: Duration = Duration::from_secs(180);

/// A `kubectl` for one cluster.
#[derive(Clone, Debug)]
pub struct Kubectl {
    kubeconfig: PathBuf,
    program: PathBuf,
}

impl Kubectl {
    pub(crate) async fn new(kubeconfig: &Path) -> Result<Self> {
        let beside = kubeconfig
            .parent()
            .and_then(Path::parent)
            .map(|run| run.join("bin/kubectl"))
            .filter(|own| own.exists());
        let program = match beside.or_else(|| find("kubectl")) {
            Some(program) => program,
            None => kubernetes::binary().await?,
        };
        Ok(Self {
            kubeconfig: kubeconfig.to_owned(),
            program,
        })
    }

    /// Runs kubectl and returns what it printed.
    pub async fn run(&self, arguments: &[&str]) -> Result<String> {
        output(self.command().args(arguments), DEADLINE).await
    }

    /// `kubectl apply --server-side` of a YAML text.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        output_with_input(
            self.command().args(["apply", "--server-side", "-f", "-"]),
            yaml.as_bytes(),
            DEADLINE,
        )
        .await
    }

    /// Runs kubectl where nothing can be awaited, as in a `Drop`, and returns what it printed; a failure is told on stderr.
    pub(crate) fn run_now(&self, arguments: &[&str]) -> Option<String> {
        let done = self.command().into_std().args(arguments).stdin(Stdio::null()).output();
        match done {
            Ok(done) if done.status.success() => Some(String::from_utf8_lossy(&done.stdout).into_owned()),
            failed => {
                eprintln!("kubectl {}: {failed:?}", arguments.join(" "));
                None
            }
        }
    }

    /// The file that names the cluster.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The command to add arguments to.
    pub fn command(&self) -> Command {
        let mut kubectl = Command::new(&self.program);
        // The multi-call binary tells its part by its name, or else by its first argument.
        if self.program.ends_with("kube") {
            kubectl.arg("kubectl");
        }
        kubectl.env("KUBECONFIG", &self.kubeconfig);
        kubectl
    }
}
