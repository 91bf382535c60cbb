//! Engines and gateways that say of the load what cannot be, or nothing: no replica comes or goes by it, and the condition says what it is. The engines
//! are one fake server behind pods that do not exist; each model has a port of its own, and so words of its own.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::fake_nodes::FakeNodes;
use e2e::http_client::HttpClient;
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::{NAMESPACE, Portfolio};
use e2e::provider::{Metrics, Provider};
use e2e::replicas::Replicas;
use e2e::{Cluster, skip, until};
use serde_json::json;

use crate::scaling::OBEYED;

/// For a pod that does not exist to count as one that answers.
const SERVED: Duration = Duration::from_secs(60);
/// Something else must be so for ten seconds before it is told.
const TOLD: Duration = Duration::from_secs(25);
/// For as long they lie: were it taken for a load of none, the mean of a minute would have taken a replica away by half of it.
const LIE: Duration = Duration::from_secs(50);
/// A whole minute has to be known before a replica goes.
const DOWN: Duration = Duration::from_secs(150);
/// The specification says 10s.
const ASLEEP: Duration = Duration::from_secs(40);

/// A model, its port, what its engines say that is no load, and what is told of that.
///
/// The words of an engine that hangs are stale: what it said last is not what there is now, however long it goes on. An engine that says the same number
/// for ten minutes says so each time it is asked, and that is no lie: it is how a steady load looks.
fn lies() -> [(&'static str, u16, Metrics, &'static str); 6] {
    [
        // First of all: half a minute of it would be believed.
        ("leaps", 9001, waiting("3000"), "DemandAbsurd"),
        ("is-away", 9002, Metrics::Missing, "EngineMetricsMissing"),
        ("hangs", 9003, Metrics::Silent, "EngineMetricsMissing"),
        ("is-no-number", 9004, waiting("NaN"), "DemandAbsurd"),
        ("is-less-than-none", 9005, waiting("-3"), "DemandAbsurd"),
        ("is-beyond-reason", 9006, waiting("1e12"), "DemandAbsurd"),
    ]
}

/// What vLLM says, with so many requests that wait.
fn waiting(requests: &str) -> Metrics {
    Metrics::Text(format!(
        "# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{{engine=\"0\",model_name=\"m\"}} 1.0\n\
         # TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{{engine=\"0\",model_name=\"m\"}} {requests}\n"
    ))
}

/// With two replicas it is three quarters of what these bear, and with one of what that bears: neither comes or goes.
fn truth() -> Metrics {
    waiting("3")
}

fn model(name: &str, port: u16, scaling: &str) -> String {
    let ((key, value), toleration) = (FakeNodes::SELECTOR, FakeNodes::TOLERATION);
    format!(
        "---
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}}}
spec:
  selfHosted:
    scaling: {{engine: Builtin, {scaling}}}
    engine: {{kind: VLLM, image: 'localhost/none:1', port: {port}}}
    podTemplate: {{spec: {{nodeSelector: {{{key}: '{value}'}}, tolerations: [{toleration}]}}}}
"
    )
}

fn policy(name: &str) -> String {
    format!(
        "---
apiVersion: llmportfolio.dev/v1alpha1
kind: RoutingPolicy
metadata: {{name: refuses}}
spec: {{model: {name}, rules: [{{targets: [{{model: rests}}]}}], warmup: {{mode: Refuse}}}}
"
    )
}

fn say(engines: &Provider, port: u16, metrics: Metrics) {
    engines.set(|script| drop(script.metrics.insert(port, metrics)));
}

/// Follows each of these models.
fn follow<'a>(cluster: &Cluster, ns: &Namespace, models: impl IntoIterator<Item = &'a str>) -> BTreeMap<String, Replicas> {
    let one = |name: &str| (name.to_owned(), Replicas::follow(cluster, ns, &format!("{name}-engine")));
    models.into_iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_about_the_load_moves_no_replica_and_is_told() -> Result<()> {
    // Alone: what answers for pods that do not exist answers for all of them, and gateways are started anew.
    let cluster = Cluster::alone().await?;
    if cluster.local().is_none() {
        skip("its engines listen inside our own cluster");
        return Ok(());
    }
    let installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("lies").await?;
    let nodes = FakeNodes::start(&cluster, "lies", 1, 0).await?;
    let engines = nodes.engines().context("nobody answers for the pods")?;
    let scaling = "min: 1, max: 4, target: {waiting: 4}, behavior: {down: {stabilisation: 0s}}";
    let mut all = String::new();
    for (name, port, ..) in lies() {
        say(engines, port, truth());
        all += &model(name, port, scaling);
    }
    all += &model("rests", 9010, "min: 0, max: 2, target: {inFlight: 2}, scaleToZeroAfter: 10s");
    all += &policy(ns.name());
    ns.apply(&all).await?;
    let names = lies().map(|(name, ..)| name);
    let replicas = follow(&cluster, &ns, names);
    for name in names {
        ns.told(&format!("mdep/{name}"), "Ready", "Serving", SERVED).await?;
        ns.kubectl(&["scale", &format!("deployment/{name}-engine"), "--replicas=2"]).await?;
        replicas[name].reach(2, OBEYED).await?;
    }
    for name in names {
        ns.told(&format!("mdep/{name}"), "ScalingActive", "Following", TOLD).await?;
    }

    let since = Instant::now();
    for (_, port, lie, _) in lies() {
        say(engines, port, lie);
    }
    for (name, port, _, reason) in lies() {
        let said = ns.told(&format!("mdep/{name}"), "ScalingActive", reason, TOLD).await?;
        println!("{:5.1} s  {name}: {reason}: {said}", since.elapsed().as_secs_f32());
        if name == "leaps" {
            say(engines, port, truth());
        }
    }
    tokio::time::sleep(LIE.saturating_sub(since.elapsed())).await;
    for (_, port, ..) in lies() {
        say(engines, port, truth());
    }
    for name in names {
        ns.told(&format!("mdep/{name}"), "ScalingActive", "Following", TOLD).await?;
        let numbers: Vec<i32> = replicas[name].numbers(since).into_iter().map(|(_, number)| number).collect();
        ensure!(numbers == [2], "{name}: {numbers:?}");
        println!("{:5.1} s  {name}: 2 replicas all the time", since.elapsed().as_secs_f32());
    }

    gateways_that_count_anew_wake_nobody(&cluster, &installed, &ns).await?;

    // Where it is true they come and go.
    say(engines, 9001, waiting("40"));
    say(engines, 9002, waiting("0"));
    let since = Instant::now();
    replicas["leaps"].reach(4, OBEYED * 2).await?;
    println!("{:5.1} s  ten times what they bear: 4 replicas", since.elapsed().as_secs_f32());
    replicas["is-away"].reach(1, DOWN).await?;
    println!("{:5.1} s  nothing at all: 1 replica", since.elapsed().as_secs_f32());
    Ok(())
}

/// What gateways count begins at nothing when they are started anew: that is no request.
async fn gateways_that_count_anew_wake_nobody(cluster: &Cluster, installed: &Portfolio, ns: &Namespace) -> Result<()> {
    let replicas = Replicas::follow(cluster, ns, "rests-engine");
    replicas.reach(0, ASLEEP).await?;
    let (client, url) = (HttpClient::new(None)?, format!("{}/v1/chat/completions", installed.gateway()));
    let bearer = format!("Bearer {}", installed.token(ns.name(), "caller").await?);
    let body = json!({"model": ns.name(), "messages": [{"role": "user", "content": "Hi"}]});
    let refused = client.post(&url, &[("authorization", &bearer)], &body).await?;
    ensure!(refused.status == 503, "{} {}", refused.status, refused.body);
    replicas.reach(1, OBEYED).await?;
    replicas.reach(0, ASLEEP).await?;
    let counts_anew = async {
        let gateways = ["-n", NAMESPACE, "rollout"];
        let run = async |arguments: &[&str]| cluster.kubectl().run(&[&gateways, arguments].concat()).await;
        run(&["restart", "deployment/llm-portfolio-gateway"]).await?;
        run(&["status", "deployment/llm-portfolio-gateway", "--timeout=120s"]).await?;
        until("they are asked", OBEYED * 2, async || {
            ns.tells("mdep/rests", "ScalingActive", "Following").await.map(Some)
        })
        .await
    };
    replicas.stay(0, counts_anew).await.map(drop)
}
