//! A namespace per test, so that tests do not meet; it goes with the test, and a failing test first shows what was in it.

// A test's namespace is the test's own business, not the operator's.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Namespace as KubeNamespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use crate::kubectl::Kubectl;
use crate::until;

/// A namespace under the *restricted* pod security profile. Dropping it deletes it; with `E2E_KEEP` set it stays.
pub struct Namespace {
    name: String,
    kubectl: Kubectl,
}

impl Namespace {
    pub(crate) async fn create(client: Client, kubectl: Kubectl, hint: &str) -> Result<Self> {
        let wanted = KubeNamespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{hint}-")),
                labels: Some([("pod-security.kubernetes.io/enforce".to_owned(), "restricted".to_owned())].into()),
                ..ObjectMeta::default()
            },
            ..KubeNamespace::default()
        };
        let made = Api::<KubeNamespace>::all(client)
            .create(&PostParams::default(), &wanted)
            .await
            .context("making a namespace")?;
        Ok(Self {
            name: made.name_any(),
            kubectl,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `kubectl apply --server-side` of a YAML text whose objects go into this namespace.
    pub async fn apply(&self, yaml: &str) -> Result<String> {
        let mut command = self.kubectl.command();
        command.args(["-n", &self.name, "apply", "--server-side", "-f", "-"]);
        crate::command::output_with_input(&mut command, yaml.as_bytes(), Duration::from_secs(60)).await
    }

    /// Runs kubectl in this namespace and returns what it printed.
    pub async fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let done = self.kubectl.run(&[&["-n", &self.name], arguments].concat()).await;
        if done.is_err() && matches!(arguments.first(), Some(&("wait" | "rollout"))) {
            self.show();
        }
        done
    }

    /// Waits until the condition `kind` of `object`, such as `mdep/llama`, has this reason, and returns its message.
    pub async fn told(&self, object: &str, kind: &str, reason: &str, within: Duration) -> Result<String> {
        until(&format!("{kind} of {object} tells {reason}"), within, async || {
            Ok(Some(self.tells(object, kind, reason).await?))
        })
        .await
    }

    /// The message of the condition `kind` of `object`, if it has this reason now.
    pub async fn tells(&self, object: &str, kind: &str, reason: &str) -> Result<String> {
        let object: Value = serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"]).await?)?;
        let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
        let condition = conditions.iter().find(|c| c["type"] == kind).context("no such condition")?;
        ensure!(condition["reason"] == reason, "{condition}");
        Ok(condition["message"].as_str().unwrap_or_default().to_owned())
    }

    /// Deletes it and waits until it and everything in it is gone.
    pub async fn delete(self) -> Result<()> {
        let wait = "--timeout=170s";
        self.kubectl.run(&["delete", "namespace", &self.name, wait]).await.map(drop)
    }

    /// What a person would look at first.
    fn show(&self) {
        for arguments in [
            &["get", "pods,services,events", "-o", "wide"][..],
            &["logs", "--all-containers", "--prefix", "--tail=10", "-l", "!none"],
        ] {
            if let Ok(done) = self.kubectl.command().into_std().args(["-n", &self.name]).args(arguments).output() {
                eprintln!(
                    "$ kubectl -n {} {}\n{}",
                    self.name,
                    arguments.join(" "),
                    String::from_utf8_lossy(&done.stdout)
                );
            }
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        if std::env::var_os("E2E_KEEP").is_none() {
            self.kubectl
                .run_now(&["delete", "namespace", &self.name, "--wait=false", "--ignore-not-found"]);
        }
    }
}
