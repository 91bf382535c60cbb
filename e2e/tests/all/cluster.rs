//! The local cluster is a real one: it schedules on GPUs, serves a real model, and survives the loss of its parts.

#![allow(clippy::disallowed_types)]

use std::time::{Duration, Instant};

use anyhow::Result;
use e2e::cluster::State;
use e2e::fake_nodes::FakeNodes;
use e2e::http_client::HttpClient;
use e2e::namespace::Namespace;
use e2e::provider::Provider;
use e2e::{Cluster, audit, images, skip, until};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use serde_json::{Value, json};

const NEEDS_PARTS: &str = "it stops parts of the cluster, and KUBECONFIG names one that is not ours";
const NEEDS_LOCAL: &str = "it looks inside the cluster, and KUBECONFIG names one that is not ours";

/// A Deployment of the engine on one GPU, and its Service.
const ENGINE: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: smol}
spec:
  selector: {matchLabels: {app: smol}}
  template:
    metadata: {labels: {app: smol}}
    spec:
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 2
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
      - name: engine
        image: localhost/llama:1
        imagePullPolicy: Never
        args: [--model, /models/model.gguf, --alias, smollm2, --host, 0.0.0.0, --port, "8080", --ctx-size, "4096", --parallel, "2",
          --threads, "2", --no-ui, --offline, --cache-ram, "0"]
        env: [{name: OMP_WAIT_POLICY, value: passive}, {name: GOMP_SPINCOUNT, value: "0"}]
        ports: [{name: http, containerPort: 8080}]
        resources: {requests: {cpu: 100m, memory: 256Mi}, limits: {memory: 1Gi, nvidia.com/gpu: 1}}
        securityContext: {allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
        readinessProbe: {httpGet: {path: /health, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: smol}
spec: {selector: {app: smol}, ports: [{name: http, port: 80, targetPort: http}]}
"#;

fn skipped(reason: &str) -> Result<()> {
    skip(reason);
    Ok(())
}

#[tokio::test]
async fn a_node_is_ready_and_offers_gpus() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let nodes = Api::<Node>::all(cluster.client()).list(&Default::default()).await?;

    let with_gpus = nodes.iter().filter(|node| {
        let status = node.status.as_ref().unwrap();
        let is_ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        is_ready
            && status
                .allocatable
                .as_ref()
                .unwrap()
                .get("nvidia.com/gpu")
                .is_some_and(|q| q.0 != "0")
    });

    assert!(with_gpus.count() > 0, "{nodes:?}");
    Ok(())
}

#[tokio::test]
async fn a_real_engine_answers_a_chat_through_its_service() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(_local) = cluster.local() else {
        return skipped(NEEDS_LOCAL);
    };
    let image = images::engine().await?;
    cluster.load_image(&image).await?;
    let namespace = cluster.namespace("engine").await?;
    let begin = Instant::now();

    namespace.apply(ENGINE).await?;
    namespace
        .kubectl(&["rollout", "status", "deployment/smol", "--timeout=120s"])
        .await?;
    eprintln!("engine Ready {:.1} s after apply", begin.elapsed().as_secs_f32());
    let answer = ask(&namespace, "smol").await?;

    assert!(
        answer["choices"][0]["message"]["content"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{answer}"
    );
    assert!(
        answer["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 0),
        "{answer}"
    );
    Ok(())
}

/// A chat through a Service's cluster address. The node's rules follow a rollout within a second or so, hence the retries.
async fn ask(namespace: &Namespace, service: &str) -> Result<Value> {
    let address = namespace
        .kubectl(&["get", "service", service, "-o", "jsonpath={.spec.clusterIP}"])
        .await?;
    let client = HttpClient::new(None)?;
    let body = json!({"model": "smollm2", "max_tokens": 16, "messages": [{"role": "user", "content": "What is the capital of France?"}]});
    until("the engine answers", Duration::from_secs(60), async || {
        let answer = client.post(&format!("http://{address}/v1/chat/completions"), &[], &body).await?;
        anyhow::ensure!(answer.status == 200, "{answer:?}");
        Ok(Some(answer.body))
    })
    .await
}

#[tokio::test]
async fn pods_reach_a_fake_provider_and_it_counts_them() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        return skipped(NEEDS_LOCAL);
    };
    let provider = Provider::start_in(local).await?;
    cluster.load_image(&images::e2e(images::Profile::Debug).await?).await?;
    let namespace = cluster.namespace("provider").await?;

    let from_here = HttpClient::new(provider.ca())?
        .get(&format!("{}/v1/models", provider.url()), &[])
        .await?;
    let ca = serde_json::to_string(provider.ca().unwrap())?;
    namespace
        .apply(&format!(
            r#"
apiVersion: v1
kind: Pod
metadata: {{name: client}}
spec:
  restartPolicy: Never
  automountServiceAccountToken: false
  securityContext: {{runAsNonRoot: true, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: client
    image: localhost/e2e:dev
    imagePullPolicy: Never
    args: [get, "{url}/v1/models", --ca, {ca}]
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"#,
            url = provider.url()
        ))
        .await?;
    namespace
        .kubectl(&["wait", "pod/client", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s"])
        .await?;

    assert_eq!(from_here.status, 200);
    assert_eq!(provider.count(), 2);
    Ok(())
}

#[tokio::test]
async fn the_audit_log_counts_a_request_and_only_once() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let Some(local) = cluster.local() else {
        return skipped(NEEDS_LOCAL);
    };
    let namespace = cluster.namespace("audit").await?;
    let mut log = local.audit()?;

    namespace.kubectl(&["create", "configmap", "one"]).await?;
    namespace.kubectl(&["wait", "configmap/one", "--for=create"]).await?;

    let mine = |r: &audit::Request| r.user == "admin" && r.namespace == namespace.name() && r.name == "one";
    let requests = log.take()?;
    let counts = audit::count(requests.iter().filter(|r| mine(r)));
    assert_eq!(counts["create configmaps 201"], 1, "{counts:?}");
    assert_eq!(
        audit::count(log.take()?.iter().filter(|r| mine(r))).get("create configmaps 201"),
        None
    );
    Ok(())
}

#[tokio::test]
async fn a_service_account_token_for_our_audience_is_reviewed() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let namespace = cluster.namespace("token").await?;

    let token = namespace
        .kubectl(&["create", "token", "default", "--audience=llmportfolio.dev"])
        .await?;
    let review = |audience: &str| {
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.trim(), "audiences": [audience]}})
            .to_string()
    };
    let post = async |body: String| -> Result<Value> {
        let request = http::Request::post("/apis/authentication.k8s.io/v1/tokenreviews")
            .header("content-type", "application/json")
            .body(body.into_bytes())?;
        Ok(cluster.client().request(request).await?)
    };
    let (ours, other) = (post(review("llmportfolio.dev")).await?, post(review("example.com")).await?);

    assert_eq!(
        ours["status"]["user"]["username"],
        format!("system:serviceaccount:{}:default", namespace.name())
    );
    assert_eq!(other["status"].get("authenticated"), None, "{other}");
    Ok(())
}

#[tokio::test]
async fn two_hundred_pods_become_ready_on_nodes_that_do_not_exist() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _nodes = FakeNodes::start(&cluster, "crowd", 2, 200).await?;
    let namespace = cluster.namespace("crowd").await?;
    let (key, value) = FakeNodes::SELECTOR;
    let begin = Instant::now();

    namespace
        .apply(&format!(
            r#"
apiVersion: apps/v1
kind: Deployment
metadata: {{name: crowd}}
spec:
  replicas: 200
  selector: {{matchLabels: {{app: crowd}}}}
  template:
    metadata: {{labels: {{app: crowd}}}}
    spec:
      nodeSelector: {{{key}: "{value}"}}
      tolerations: [{toleration}]
      securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
      - name: engine
        image: nowhere/engine:1
        resources: {{limits: {{nvidia.com/gpu: 1}}}}
        securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"#,
            toleration = FakeNodes::TOLERATION
        ))
        .await?;
    namespace
        .kubectl(&["rollout", "status", "deployment/crowd", "--timeout=120s"])
        .await?;
    eprintln!("200 fake pods Ready in {:.1} s", begin.elapsed().as_secs_f32());
    namespace.kubectl(&["scale", "deployment/crowd", "--replicas=0"]).await?;
    let pods = Api::<Pod>::namespaced(cluster.client(), namespace.name());
    until("all pods are gone", Duration::from_secs(60), async || {
        Ok(pods.list(&Default::default()).await?.items.is_empty().then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_killed_api_server_comes_back_with_its_objects() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        return skipped(NEEDS_PARTS);
    };
    let (parts, namespace) = (local.parts(), cluster.namespace("restart").await?);
    namespace.kubectl(&["create", "configmap", "kept"]).await?;

    parts.kill("kube-apiserver@1")?;
    assert_eq!(parts.state("kube-apiserver@1")?, State::Gone);
    let begin = Instant::now();
    parts.start("kube-apiserver@1")?;
    until("the API server serves again", Duration::from_secs(60), async || {
        Ok(Some(namespace.kubectl(&["get", "configmap", "kept"]).await?))
    })
    .await?;

    eprintln!("API server served again after {:.1} s", begin.elapsed().as_secs_f32());
    Ok(())
}

#[tokio::test]
async fn a_killed_kubelet_makes_its_node_unready_until_it_is_back() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        return skipped(NEEDS_PARTS);
    };
    let parts = local.parts();

    let begin = Instant::now();
    parts.kill("kubelet@1")?;
    await_ready(&cluster, "n1", false).await?;
    eprintln!("node unready {:.1} s after its kubelet's end", begin.elapsed().as_secs_f32());
    let begin = Instant::now();
    parts.start("kubelet@1")?;
    await_ready(&cluster, "n1", true).await?;

    eprintln!("node Ready {:.1} s after its kubelet's start", begin.elapsed().as_secs_f32());
    Ok(())
}

async fn await_ready(cluster: &Cluster, node: &str, ready: bool) -> Result<()> {
    let nodes = Api::<Node>::all(cluster.client());
    until(&format!("node {node} Ready={ready}"), Duration::from_secs(60), async || {
        let status = nodes.get(node).await?.status.unwrap_or_default();
        let is_ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        Ok((is_ready == ready).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_frozen_api_server_answers_nobody_until_it_is_thawed() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        return skipped(NEEDS_PARTS);
    };
    let (parts, nodes) = (local.parts(), Api::<Node>::all(cluster.client()));
    nodes.get("n1").await?;

    parts.freeze("kube-apiserver@1")?;
    let while_frozen = tokio::time::timeout(Duration::from_secs(1), nodes.get("n1")).await;
    let state = parts.state("kube-apiserver@1");
    parts.thaw("kube-apiserver@1")?;
    let afterwards = tokio::time::timeout(Duration::from_secs(30), nodes.get("n1")).await?;

    assert!(while_frozen.is_err(), "{while_frozen:?}");
    assert_eq!(state?, State::Frozen);
    assert!(afterwards.is_ok(), "{afterwards:?}");
    Ok(())
}

#[tokio::test]
async fn a_sick_gpu_is_not_offered() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        return skipped(NEEDS_LOCAL);
    };
    let nodes = Api::<Node>::all(cluster.client());
    let offered = async |count: &str| {
        until(&format!("{count} GPUs are offered"), Duration::from_secs(30), async || {
            let allocatable = nodes.get("n1").await?.status.and_then(|s| s.allocatable).unwrap_or_default();
            Ok((allocatable["nvidia.com/gpu"].0 == count).then_some(()))
        })
        .await
    };

    local.set_gpu_health(1, 3, false)?;
    let fewer = offered("7").await;
    local.set_gpu_health(1, 3, true)?;

    fewer?;
    offered("8").await
}
