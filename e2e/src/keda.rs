//! The real KEDA in our own cluster, for as long as a test needs it: CRDs, API group and both programs come and go together. What an earlier
//! test left when it was killed is removed first.
//!
//! ```text
//! autoscaler ──► API server ──► adapter ──► operator ──► scaler, by whatever address a ScaledObject names
//!                  (Service keda-metrics-apiserver)  (Service keda-operator)
//! ```
//! Both programs resolve names as pods of their namespace do, and connect from the node's address: no NetworkPolicy holds them up.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::assets::keda::Release;
use crate::cluster::{CONTROL_PLANE, Cluster, Local, self_signed};
use crate::kubectl::Kubectl;
use crate::until;

/// Where its project installs it.
pub const NAMESPACE: &str = "keda";
const OPERATOR: &str = "keda-operator";
const ADAPTER: &str = "keda-metrics-apiserver";
/// The operator's door for the adapter.
const METRICS: u16 = 9666;
const SERVES: u16 = 9449;
const API: &str = "v1beta1.external.metrics.k8s.io";
const CRDS: [&str; 6] = [
    "scaledobjects.keda.sh",
    "scaledjobs.keda.sh",
    "triggerauthentications.keda.sh",
    "clustertriggerauthentications.keda.sh",
    "cloudeventsources.eventing.keda.sh",
    "clustercloudeventsources.eventing.keda.sh",
];
const STARTS: Duration = Duration::from_secs(60);

/// The running KEDA. Everything of it goes when the value is dropped.
pub struct Keda {
    local: Local,
    kubectl: Kubectl,
}

impl Keda {
    /// Removes what an earlier one left in the cluster.
    pub fn clean(cluster: &Cluster, local: &Local) -> Result<()> {
        let keda = Self {
            local: local.clone(),
            kubectl: cluster.kubectl().clone(),
        };
        keda.remove()
    }

    /// Installs the kinds, starts both programs, and waits until Kubernetes' autoscalers can ask for metrics.
    pub async fn start(cluster: &Cluster, local: &Local, release: &Release) -> Result<Self> {
        Self::clean(cluster, local)?;
        let keda = Self {
            local: local.clone(),
            kubectl: cluster.kubectl().clone(),
        };
        let folder = release.crds.to_string_lossy().into_owned();
        keda.kubectl.run(&["apply", "--server-side", "-f", &folder]).await?;
        until("the kinds are served", STARTS, async || {
            let listed = keda.kubectl.run(&["get", &CRDS.join(","), "-A"]).await;
            listed.map(|_| Some(()))
        })
        .await?;
        keda.kubectl.apply(&serde_json::to_string(&objects())?).await?;
        keda.run(release)?;
        until("KEDA answers", STARTS, async || {
            for part in [OPERATOR, ADAPTER].map(|part| format!("{part}@1")) {
                let log = local.log(&part);
                ensure!(local.parts().pid(&part).is_ok(), "{part} ended: see {}", log.display());
            }
            // It opens its door once its controllers run.
            let connected = tokio::net::TcpStream::connect((CONTROL_PLANE, METRICS)).await;
            connected.context("the operator")?;
            let path = r#"jsonpath={.status.conditions[?(@.type=="Available")]}"#;
            let said = keda.kubectl.run(&["get", "apiservice", API, "-o", path]).await?;
            ensure!(said.contains(r#""status":"True""#), "the adapter: {said}");
            Ok(Some(()))
        })
        .await?;
        Ok(keda)
    }

    /// Starts both programs with the administrator's rights.
    fn run(&self, release: &Release) -> Result<()> {
        let folder = self.local.folder().join("keda");
        std::fs::create_dir_all(&folder)?;
        // One certificate for both, who trust nobody but who has it.
        let operator = format!("{OPERATOR}.{NAMESPACE}.svc");
        let certificate = self_signed(&folder, "tls", &[&operator])?;
        std::fs::write(folder.join("ca.crt"), certificate)?;
        let kubeconfig = self.local.kubeconfig().display().to_string();
        let environment = [
            "env".to_owned(),
            format!("KUBECONFIG={kubeconfig}"),
            format!("POD_NAMESPACE={NAMESPACE}"),
            format!("KEDA_CLUSTER_OBJECT_NAMESPACE={NAMESPACE}"),
            "WATCH_NAMESPACE=".to_owned(),
            // Its clients would ask the machine's proxy for addresses of the cluster.
            "NO_PROXY=*".to_owned(),
        ];
        let certificates = format!("--cert-dir={}", folder.display());
        let program = [
            release.operator.display().to_string(),
            certificates.clone(),
            format!("--metrics-service-bind-address={CONTROL_PLANE}:{METRICS}"),
            "--metrics-bind-address=0".to_owned(),
            "--health-probe-bind-address=0".to_owned(),
        ];
        self.local.run_as_in(NAMESPACE, OPERATOR, [&environment[..], &program].concat())?;
        let program = [
            release.adapter.display().to_string(),
            certificates,
            format!("--metrics-service-address={operator}:{METRICS}"),
            format!("--bind-address={CONTROL_PLANE}"),
            format!("--secure-port={SERVES}"),
            format!("--tls-cert-file={}", folder.join("tls.crt").display()),
            format!("--tls-private-key-file={}", folder.join("tls.key").display()),
            format!("--lister-kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            // Metrics of its own, on any free port.
            "--port=0".to_owned(),
        ];
        self.local.run_as_in(NAMESPACE, ADAPTER, [&environment[..], &program].concat())
    }

    fn remove(&self) -> Result<()> {
        // First of all: it would put back what is taken away here.
        let ended = self.local.end(OPERATOR).and(self.local.end(ADAPTER));
        // While nobody answers for a group, no namespace ends.
        self.kubectl.run_now(&["delete", "apiservice", API, "--ignore-not-found"]);
        self.let_go();
        let timeout = "--timeout=60s";
        self.kubectl
            .run_now(&[&["delete", "crd", "--ignore-not-found", timeout], CRDS.as_slice()].concat());
        // Collected some time after their ScaledObjects, which is too late for the next test.
        let made = "app.kubernetes.io/managed-by=keda-operator";
        self.kubectl.run_now(&["delete", "hpa", "-A", "-l", made]);
        self.kubectl
            .run_now(&["delete", "namespace", NAMESPACE, "--ignore-not-found", timeout]);
        ended
    }

    /// Takes the finalizers off all its objects: nobody is left to heed them.
    fn let_go(&self) {
        let names = ["get", "crd", "-o", "jsonpath={.items[*].metadata.name}"];
        let there = self.kubectl.run_now(&names).unwrap_or_default();
        for kind in there.split_whitespace().filter(|name| CRDS.contains(name)) {
            let path = r#"jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}"#;
            let objects = self.kubectl.run_now(&["get", kind, "-A", "-o", path]).unwrap_or_default();
            for (namespace, name) in objects.lines().filter_map(|line| line.split_once(' ')) {
                let none = r#"{"metadata": {"finalizers": null}}"#;
                self.kubectl
                    .run_now(&["-n", namespace, "patch", kind, name, "--type=merge", "-p", none]);
            }
        }
    }
}

impl Drop for Keda {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("KEDA stays, and the next test removes it: {error:#}");
        }
    }
}

/// Both programs under the names they have where they run in pods, and the API group that the adapter answers for.
fn objects() -> Value {
    let service = |name: &str, port: u16, target: u16| {
        let metadata = json!({ "name": name, "namespace": NAMESPACE });
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": { "ports": [{ "port": port, "targetPort": target }] },
        });
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": { "name": name, "namespace": NAMESPACE, "labels": { "kubernetes.io/service-name": name } },
            "addressType": "IPv4",
            "endpoints": [{ "addresses": [CONTROL_PLANE] }],
            "ports": [{ "name": "", "port": target }],
        });
        [service, slice]
    };
    let group = json!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": { "name": API },
        "spec": {
            "group": "external.metrics.k8s.io",
            "version": "v1beta1",
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "service": { "name": ADAPTER, "namespace": NAMESPACE, "port": 443 },
            "insecureSkipTLSVerify": true,
        },
    });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    let [operator, of_operator] = service(OPERATOR, METRICS, METRICS);
    let [adapter, of_adapter] = service(ADAPTER, 443, SERVES);
    let items = [namespace, operator, of_operator, adapter, of_adapter, group];
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}
