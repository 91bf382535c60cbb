//! What other tools read from our objects, from their first second on: kstatus (Flux, Argo CD, `kubectl wait`), the scale subresource and
//! `kubectl explain`.

// Looks at objects from outside; the operator's one door is not the tests'.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::images::Profile;
use e2e::namespace::Namespace;
use e2e::portfolio::{self, Portfolio};
use e2e::{Cluster, until};
use futures::StreamExt;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, PostParams, WatchEvent, WatchParams};
use serde_json::{Value, json};

const SERVES: Duration = Duration::from_secs(120);
const LLAMA: &str = "{engine: {kind: LlamaCpp, args: [--model, /models/model.gguf, --ctx-size, '512']}, resources: {requests: {cpu: 10m}}}";

/// The rules of kstatus for a custom resource, in its order.
fn kstatus(object: &Value) -> &'static str {
    let condition = |kind: &str| object["status"]["conditions"].as_array()?.iter().find(|c| c["type"] == kind);
    let is = |kind: &str, status: &str| condition(kind).is_some_and(|c| c["status"] == status);
    let observed = &object["status"]["observedGeneration"];
    match () {
        () if object["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if observed.is_i64() && *observed != object["metadata"]["generation"] => "InProgress",
        () if is("Reconciling", "True") => "InProgress",
        () if is("Stalled", "True") => "Failed",
        () if condition("Ready").is_some() && !is("Ready", "True") => "InProgress",
        () => "Current",
    }
}

fn ready(object: &Value) -> &Value {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .and_then(|all| all.iter().find(|c| c["type"] == "Ready"))
        .unwrap_or(&Value::Null)
}

fn models(cluster: &Cluster, ns: &Namespace) -> Api<DynamicObject> {
    of_kind(cluster, ns, "ModelDeployment")
}

fn of_kind(cluster: &Cluster, ns: &Namespace, kind: &str) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("llmportfolio.dev", "v1alpha1", kind));
    Api::namespaced_with(cluster.client(), ns.name(), &resource)
}

async fn create(api: &Api<DynamicObject>, kind: &str, name: &str, spec: &str) -> Result<Value> {
    let spec: Value = serde_saphyr::from_str(spec)?;
    let object = json!({"apiVersion": "llmportfolio.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec});
    let made = api
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await
        .context("create")?;
    Ok(serde_json::to_value(made)?)
}

/// Every state of one object from its creation on, until `last` is true of one.
async fn states(api: &Api<DynamicObject>, made: &Value, last: impl Fn(&Value) -> bool) -> Result<Vec<Value>> {
    let mut seen = vec![made.clone()];
    let version = made["metadata"]["resourceVersion"].as_str().context("no version")?;
    let name = made["metadata"]["name"].as_str().context("no name")?;
    let only_this = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = api.watch(&only_this, version).await?.boxed();
    let all = async {
        while let Some(event) = events.next().await {
            if let WatchEvent::Modified(object) = event? {
                let object = serde_json::to_value(object)?;
                seen.push(object);
                if seen.last().is_some_and(&last) {
                    return Ok(());
                }
            }
        }
        anyhow::bail!("the watch ended")
    };
    let done = tokio::time::timeout(SERVES, all).await.map_err(anyhow::Error::from).flatten();
    done.with_context(|| format!("last seen: {}", seen.last().map(|s| s["status"].to_string()).unwrap_or_default()))?;
    Ok(seen)
}

#[tokio::test]
async fn an_object_that_the_operator_has_not_seen_is_in_progress() -> Result<()> {
    // Alone: the others need the operator.
    let cluster = Cluster::alone().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("unseen").await?;
    let scale = async |replicas: &str| {
        let operator = ["-n", portfolio::NAMESPACE, "scale", "deployment/llm-portfolio-operator", replicas];
        cluster.kubectl().run(&operator).await?;
        let wait = [
            "-n",
            portfolio::NAMESPACE,
            "rollout",
            "status",
            "deployment/llm-portfolio-operator",
            "--timeout=60s",
        ];
        cluster.kubectl().run(&wait).await
    };

    scale("--replicas=0").await?;
    let unseen = async {
        until("no operator runs", Duration::from_secs(60), async || {
            let pods = [
                "-n",
                portfolio::NAMESPACE,
                "get",
                "pods",
                "-l",
                "app.kubernetes.io/component=operator",
                "-o",
                "name",
            ];
            Ok(cluster.kubectl().run(&pods).await?.trim().is_empty().then_some(()))
        })
        .await?;
        let suites = "[{name: s, exemplars: {dataset: {configMapRef: {name: c, key: k}}}, scorer: {exact: {}}}]";
        let criteria = "[{suite: s, metric: accuracy, lowerBoundAtLeast: '0.5'}]";
        let evaluation = format!("{{targets: {{models: [a]}}, schedule: {{cron: '0 0 1 1 *'}}, suites: {suites}, criteria: {criteria}}}");
        let mut unseen = vec![];
        for (kind, spec) in [
            ("ModelDeployment", format!("{{selfHosted: {LLAMA}}}")),
            (
                "RoutingPolicy",
                format!("{{model: {}, rules: [{{targets: [{{model: a}}]}}]}}", ns.name()),
            ),
            ("EvalJob", evaluation),
        ] {
            let api = of_kind(&cluster, &ns, kind);
            create(&api, kind, "a", &spec).await?;
            unseen.push(serde_json::to_value(api.get("a").await?)?);
        }
        anyhow::Ok(unseen)
    }
    .await;
    scale("--replicas=1").await?;

    for object in unseen? {
        assert_eq!(object["status"]["observedGeneration"], -1, "{object}");
        assert_eq!(kstatus(&object), "InProgress", "{object}");
    }
    let wait = ["wait", "--for=condition=Ready=True", "mdep/a", "rpol/a", "--timeout=120s"];
    ns.kubectl(&wait).await?;
    let listed = ns.kubectl(&["get", "portfolio"]).await?;
    for name in [
        "modeldeployment.llmportfolio.dev/a",
        "routingpolicy.llmportfolio.dev/a",
        "evaljob.llmportfolio.dev/a",
    ] {
        assert!(listed.contains(name), "{listed}");
    }
    Ok(())
}

#[tokio::test]
async fn a_model_is_in_progress_until_it_serves_and_its_conditions_follow_its_spec() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let ns = cluster.namespace("status").await?;
    let api = models(&cluster, &ns);

    let made = create(&api, "ModelDeployment", "smol", &format!("{{selfHosted: {LLAMA}}}")).await?;
    let seen = states(&api, &made, |state| kstatus(state) == "Current").await?;
    for state in &seen {
        let (early, serves) = (kstatus(state), ready(state)["status"] == "True");
        assert!(early != "Current" || serves, "Current before it serves: {}", state["status"]);
        assert_ne!(early, "Failed", "{}", state["status"]);
    }
    println!("{} states until Current", seen.len());

    let made = create(
        &api,
        "ModelDeployment",
        "bad",
        "{selfHosted: {engine: {kind: LlamaCpp}, accelerator: {profile: tpu}}}",
    )
    .await?;
    let seen = states(&api, &made, |state| kstatus(state) != "InProgress").await?;
    assert_eq!(seen.last().map(kstatus), Some("Failed"));

    let before = serde_json::to_value(api.get("smol").await?)?;
    // Transition times have whole seconds: a moved one must be another.
    until("another second", Duration::from_secs(3), async || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let since = ready(&before)["lastTransitionTime"]
            .as_str()
            .context("no time")?
            .parse::<k8s_openapi::jiff::Timestamp>()?;
        Ok((i64::try_from(now)? > since.as_second()).then_some(()))
    })
    .await?;
    ns.kubectl(&["patch", "mdep/smol", "--type=merge", "-p", r#"{"spec": {"tier": "Regulated"}}"#])
        .await?;
    let after = until("the status is of the changed spec", Duration::from_secs(10), async || {
        let state = serde_json::to_value(api.get("smol").await?)?;
        Ok((state["status"]["observedGeneration"] == state["metadata"]["generation"]).then_some(state))
    })
    .await?;
    assert_ne!(before["metadata"]["generation"], after["metadata"]["generation"]);
    assert_eq!(ready(&after)["observedGeneration"], after["metadata"]["generation"]);
    assert_eq!(
        ready(&before)["lastTransitionTime"],
        ready(&after)["lastTransitionTime"],
        "Ready stayed True"
    );

    ns.kubectl(&["scale", "modeldeployment/smol", "--replicas=0"]).await?;
    ns.kubectl(&["wait", "--for=condition=Ready=False", "mdep/smol", "--timeout=30s"])
        .await?;
    let down = serde_json::to_value(api.get("smol").await?)?;
    assert_ne!(
        ready(&down)["lastTransitionTime"],
        ready(&after)["lastTransitionTime"],
        "Ready became False"
    );

    ns.kubectl(&["scale", "modeldeployment/smol", "--replicas=2"]).await?;
    ns.kubectl(&["wait", "--for=jsonpath={.status.readiness}=2/2", "mdep/smol", "--timeout=120s"])
        .await?;
    let both = serde_json::to_value(api.get("smol").await?)?;
    assert_eq!(
        (&both["status"]["replicas"], &both["status"]["readyReplicas"]),
        (&json!(2), &json!(2))
    );
    Ok(())
}

#[tokio::test]
async fn kubectl_explains_every_field_of_an_engine_and_knows_the_portfolio() -> Result<()> {
    let cluster = Cluster::connect().await?;
    let _installed = Portfolio::install(&cluster, Profile::Debug, "").await?;
    let kubectl = cluster.kubectl();

    let engine = kubectl.run(&["explain", "modeldeployment.spec.selfHosted.engine"]).await?;
    for field in ["args", "env", "image", "kind", "port"] {
        assert!(engine.contains(&format!("\n  {field}\t<")), "no {field}: {engine}");
    }
    assert!(!engine.contains("<no description>") && !engine.contains("<empty>"), "{engine}");
    let kinds = kubectl.run(&["api-resources", "--categories=portfolio", "-o", "name"]).await?;
    let mut kinds: Vec<&str> = kinds.split_whitespace().filter_map(|kind| kind.split('.').next()).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, ["evaljobs", "modeldeployments", "routingpolicies"]);
    Ok(())
}
