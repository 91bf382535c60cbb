//! The real controller of LeaderWorkerSets in our own cluster, for as long as a test needs it: CRDs, webhooks and process come and go
//! together. What an earlier test left when it was killed is removed first.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::assets::lws::Lws;
use crate::cluster::{CONTROL_PLANE, Cluster, Local, self_signed};
use crate::kubectl::Kubectl;
use crate::until;

const PART: &str = "lws";
const WEBHOOKS: u16 = 9447;
const HEALTH: u16 = 9448;
const CRDS: [&str; 2] = [
    "leaderworkersets.leaderworkerset.x-k8s.io",
    "disaggregatedsets.disaggregatedset.x-k8s.io",
];
/// The name of both webhook configurations.
const NAME: &str = "e2e-lws";
const STARTS: Duration = Duration::from_secs(60);

/// The running controller. Everything of it goes when the value is dropped.
pub struct Controller {
    local: Local,
    kubectl: Kubectl,
}

impl Controller {
    /// Removes what an earlier one left in the cluster.
    pub fn clean(cluster: &Cluster, local: &Local) -> Result<()> {
        let controller = Self {
            local: local.clone(),
            kubectl: cluster.kubectl().clone(),
        };
        controller.remove()
    }

    /// Installs the kind, starts its controller, and waits until it answers.
    pub async fn start(cluster: &Cluster, local: &Local, release: &Lws) -> Result<Self> {
        Self::clean(cluster, local)?;
        let controller = Self {
            local: local.clone(),
            kubectl: cluster.kubectl().clone(),
        };
        let folder = release.crds.to_string_lossy().into_owned();
        controller.kubectl.run(&["apply", "--server-side", "-f", &folder]).await?;
        until("the kinds are served", STARTS, async || {
            let listed = controller.kubectl.run(&["get", &CRDS.join(","), "-A"]).await;
            listed.map(|_| Some(()))
        })
        .await?;

        let folder = local.folder().join(PART);
        std::fs::create_dir_all(&folder)?;
        // Where the controller looks for it.
        let certificate = self_signed(&folder, "tls", &[CONTROL_PLANE])?;
        let configuration = folder.join("config.json");
        std::fs::write(&configuration, serde_json::to_vec_pretty(&self::configuration(&folder))?)?;
        let kubeconfig = format!("KUBECONFIG={}", local.kubeconfig().display());
        let program = release.controller.display().to_string();
        let config = format!("--config={}", configuration.display());
        local.run(PART, ["env".to_owned(), kubeconfig, program, config].to_vec())?;
        let webhooks = webhooks(&certificate);
        until("the controller of LeaderWorkerSets answers", STARTS, async || {
            ensure!(
                local.parts().pid(&format!("{PART}@1")).is_ok(),
                "it ended: see {}",
                local.log(&format!("{PART}@1")).display()
            );
            let connected = tokio::net::TcpStream::connect((CONTROL_PLANE, WEBHOOKS)).await;
            connected.map(|_| Some(())).context("its webhooks")
        })
        .await?;
        controller.kubectl.apply(&serde_json::to_string(&webhooks)?).await?;
        Ok(controller)
    }

    fn remove(&self) -> Result<()> {
        let webhooks = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];
        for kind in webhooks {
            self.kubectl.run_now(&["delete", kind, NAME, "--ignore-not-found"]);
        }
        self.kubectl
            .run_now(&["delete", "crd", CRDS[0], CRDS[1], "--ignore-not-found", "--timeout=60s"]);
        self.local.end(PART)
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("the controller of LeaderWorkerSets stays, and the next test removes it: {error:#}");
        }
    }
}

fn configuration(folder: &Path) -> Value {
    json!({
        "apiVersion": "config.lws.x-k8s.io/v1alpha1",
        "kind": "Configuration",
        "leaderElection": { "leaderElect": false },
        "internalCertManagement": { "enable": false },
        "webhook": { "host": CONTROL_PLANE, "port": WEBHOOKS, "certDir": folder },
        "metrics": { "bindAddress": "0" },
        "health": { "healthProbeBindAddress": format!("{CONTROL_PLANE}:{HEALTH}") },
    })
}

/// As its project installs them, but that only pods of sets are asked about: others must start whatever becomes of the controller.
fn webhooks(certificate: &str) -> Value {
    let hook = |name: &str, path: &str, group: &str, version: &str, resource: &str, operations: &[&str]| {
        let of_sets = json!({ "matchExpressions": [{ "key": "leaderworkerset.sigs.k8s.io/name", "operator": "Exists" }] });
        let selector = if resource == "pods" { of_sets } else { json!({}) };
        json!({
            "name": name,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "clientConfig": { "url": format!("https://{CONTROL_PLANE}:{WEBHOOKS}{path}"), "caBundle": base64(certificate) },
            "objectSelector": selector,
            "rules": [{ "apiGroups": [group], "apiVersions": [version], "resources": [resource], "operations": operations }],
        })
    };
    let (group, sets, changes) = ("leaderworkerset.x-k8s.io", "leaderworkersets", ["CREATE", "UPDATE"].as_slice());
    let of = |kind: &str, hooks: Vec<Value>| json!({ "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": { "name": NAME }, "webhooks": hooks });
    let mutating = vec![
        hook(
            "mleaderworkerset.kb.io",
            "/mutate-leaderworkerset-x-k8s-io-v1-leaderworkerset",
            group,
            "v1",
            sets,
            changes,
        ),
        hook("mpod.kb.io", "/mutate--v1-pod", "", "v1", "pods", &["CREATE"]),
    ];
    let validating = vec![hook(
        "vleaderworkerset.kb.io",
        "/validate-leaderworkerset-x-k8s-io-v1-leaderworkerset",
        group,
        "v1",
        sets,
        changes,
    )];
    let items = [
        of("MutatingWebhookConfiguration", mutating),
        of("ValidatingWebhookConfiguration", validating),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// Bytes of an object's field, as JSON has them.
fn base64(text: &str) -> Value {
    serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).expect("bytes are JSON")
}
