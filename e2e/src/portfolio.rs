//! The product in a cluster, installed as users install it: its image, both charts, the real `helm`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::assets::{self, Lock, helm};
use crate::cluster::Cluster;
use crate::command::{output, output_with_input};
use crate::images::{self, Profile};

/// Where it is installed.
pub const NAMESPACE: &str = "llm-portfolio";
/// What the gateway asks service-account tokens to be for.
pub const AUDIENCE: &str = "llmportfolio.dev";
/// An image of a real cluster is pulled; here it is imported, and a debug build is large.
const DEADLINE: Duration = Duration::from_secs(300);

/// An installed product.
pub struct Portfolio {
    kubectl: crate::kubectl::Kubectl,
    gateway: String,
}

impl Portfolio {
    /// Installs this workspace's build, or upgrades to it. `extra` are Helm values over those of `deploy/examples/values.yaml`, as YAML: only for
    /// a test that has the cluster alone, since all tests share the one installation and the next would take them away.
    pub async fn install(cluster: &Cluster, profile: Profile, extra: &str) -> Result<Self> {
        ensure!(
            extra.is_empty() || cluster.is_alone(),
            "values of one's own need the cluster alone: {extra}"
        );
        let (engine, portfolio) = (images::engine().await?, images::portfolio(profile).await?);
        let _one_at_a_time = assets::lock(assets::cache()?.join("install.lock"), Lock::Alone).await?;
        cluster.load_image(&engine).await?;
        cluster.load_image(&portfolio).await?;
        let kubectl = cluster.kubectl().clone();
        let helm = Helm {
            program: helm::binary().await?,
            kubectl: kubectl.clone(),
        };
        helm.upgrade("llm-portfolio-crds", "default", &[], "").await?;
        // The tag stays while the image changes: its digest makes new pods.
        let digest = format!("image: {}", portfolio.digest);
        let annotations = format!("operator: {{podAnnotations: {{{digest}}}}}\ngateway: {{podAnnotations: {{{digest}}}}}\n");
        let values = repository().join("deploy/examples/values.yaml");
        helm.upgrade("llm-portfolio", NAMESPACE, &[&values], &merged(&annotations, extra)?)
            .await?;
        let service = kubectl
            .run(&[
                "-n",
                NAMESPACE,
                "get",
                "service",
                "llm-portfolio-gateway",
                "-o",
                "jsonpath={.spec.clusterIP}",
            ])
            .await?;
        Ok(Self {
            kubectl,
            gateway: format!("http://{}", service.trim()),
        })
    }

    /// The gateway's address, from this host when the cluster is ours, else from its pods.
    #[must_use]
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// A token of a service account for the gateway, made if it is not there.
    pub async fn token(&self, namespace: &str, account: &str) -> Result<String> {
        if self
            .kubectl
            .run(&["-n", namespace, "get", "serviceaccount", account])
            .await
            .is_err()
        {
            self.kubectl.run(&["-n", namespace, "create", "serviceaccount", account]).await?;
        }
        let token = self
            .kubectl
            .run(&["-n", namespace, "create", "token", account, "--audience", AUDIENCE])
            .await?;
        Ok(token.trim().to_owned())
    }
}

/// The folder of the repository.
#[must_use]
pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

struct Helm {
    program: PathBuf,
    kubectl: crate::kubectl::Kubectl,
}

impl Helm {
    async fn upgrade(&self, chart: &str, namespace: &str, files: &[&Path], values: &str) -> Result<()> {
        let mut helm = Command::new(&self.program);
        helm.env("KUBECONFIG", self.kubectl.kubeconfig());
        helm.args(["upgrade", "--install", chart])
            .arg(repository().join("charts").join(chart));
        helm.args(["--namespace", namespace, "--create-namespace", "--wait", "--timeout", "4m"]);
        for file in files {
            helm.arg("--values").arg(file);
        }
        let installed = if values.is_empty() {
            output(&mut helm, DEADLINE).await
        } else {
            output_with_input(helm.args(["--values", "-"]), values.as_bytes(), DEADLINE).await
        };
        installed.map(drop).with_context(|| format!("helm upgrade --install {chart}"))
    }
}

/// Two YAML texts as one, fields of the second over those of the first.
fn merged(first: &str, second: &str) -> Result<String> {
    fn over(into: &mut Value, from: Value) {
        match (into, from) {
            (Value::Object(into), Value::Object(from)) => from
                .into_iter()
                .for_each(|(name, value)| over(into.entry(name).or_insert(Value::Null), value)),
            (into, from) => *into = from,
        }
    }
    let mut all: Value = serde_saphyr::from_str(first)?;
    if !second.trim().is_empty() {
        over(&mut all, serde_saphyr::from_str(second).context("values")?);
    }
    Ok(serde_json::to_string(&all)?)
}
