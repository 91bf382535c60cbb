//! A model over several pods, with the real controller of LeaderWorkerSets and a stand-in for its engine: made, asked, broken, changed,
//! scaled, and gone; and a cluster that gets the kind while the operator runs, and loses it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::asker::Asker;
use e2e::assets::lws;
use e2e::cluster::Local;
use e2e::images::{self, Profile};
use e2e::lws::Controller;
use e2e::namespace::Namespace;
use e2e::portfolio::{self, Portfolio};
use e2e::{Cluster, audit, devices, skip, until};
use serde_json::Value;

const DEVICE: &str = "group.example.com/device";
const PROFILE: &str = "settings: {acceleratorProfiles: {group: {resource: group.example.com/device}}}";
/// Groups are made, and made anew, within this time.
const MADE: Duration = Duration::from_secs(90);
/// From a pod's end to the model's status.
const TOLD: Duration = Duration::from_secs(10);

/// A model with an argument that tells its specifications apart. Its pods leave routing a second before they end, so that the test is short.
fn model(name: &str, seed: usize, more: &str) -> String {
    format!(
        "
apiVersion: llmportfolio.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: {name}}}
spec:
  selfHosted:
    engine: {{kind: VLLM, image: 'localhost/e2e:dev', args: ['--seed={seed}']}}
    accelerator: {{profile: group}}
    podTemplate:
      spec:
        containers:
        - {{name: engine, command: [/e2e, stand-in], lifecycle: {{preStop: {{sleep: {{seconds: 1}}}}}}}}
    {more}
"
    )
}

const TWO_BY_TWO: &str = "parallelism: {nodes: 2}\n    replicas: 2";

fn policy(name: &str) -> String {
    format!(
        "---\napiVersion: llmportfolio.dev/v1alpha1\nkind: RoutingPolicy\nmetadata: {{name: assistant}}\n\
         spec: {{model: {name}, rules: [{{targets: [{{model: smol}}]}}]}}\n"
    )
}

async fn get(ns: &Namespace, what: &[&str]) -> Result<Value> {
    Ok(serde_json::from_str(&ns.kubectl(&[&["get", "-o", "json"], what].concat()).await?)?)
}

/// The status, reason and message of a condition of the present generation.
async fn condition(ns: &Namespace, model: &str, kind: &str) -> Result<String> {
    let object = get(ns, &[&format!("mdep/{model}")]).await?;
    let conditions = object["status"]["conditions"].as_array().context("no conditions")?;
    let found = conditions
        .iter()
        .find(|c| c["type"] == kind && c["observedGeneration"] == object["metadata"]["generation"]);
    let text = |field: &str| found.and_then(|c| c[field].as_str()).unwrap_or_default().to_owned();
    Ok(format!("{} {}: {}", text("status"), text("reason"), text("message")))
}

async fn says(ns: &Namespace, model: &str, kind: &str, words: &str, within: Duration) -> Result<String> {
    until(&format!("{kind} of {model} says {words:?}"), within, async || {
        let said = condition(ns, model, kind).await?;
        ensure!(said.contains(words), "{said}");
        Ok(Some(said))
    })
    .await
}

/// The pods that are not being deleted: their uids and addresses by name.
async fn pods(ns: &Namespace) -> Result<BTreeMap<String, (String, String)>> {
    let all = get(ns, &["pods", "-l", "llmportfolio.dev/model=smol"]).await?;
    let stay = all["items"].as_array().context("no pods")?.iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(stay
        .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
        .map(|pod| {
            let of_it = (text(&pod["metadata"]["uid"]), text(&pod["status"]["podIP"]));
            (text(&pod["metadata"]["name"]), of_it)
        })
        .collect())
}

/// Waits until the model's groups of two answer, and nothing else is left.
async fn settled(ns: &Namespace, groups: usize) -> Result<BTreeMap<String, (String, String)>> {
    says(
        ns,
        "smol",
        "WorkloadReady",
        &format!("True Settled: {groups} of {groups} groups"),
        MADE,
    )
    .await?;
    let pods = pods(ns).await?;
    let expected = (0..groups).flat_map(|group| [format!("smol-engine-{group}"), format!("smol-engine-{group}-1")]);
    assert_eq!(pods.keys().cloned().collect::<BTreeSet<_>>(), expected.collect());
    Ok(pods)
}

/// The addresses that requests to the model go to.
async fn endpoints(ns: &Namespace) -> Result<BTreeSet<String>> {
    let slices = get(ns, &["endpointslices", "-l", "llmportfolio.dev/model=smol"]).await?;
    let slices = slices["items"].as_array().context("no slices")?.iter();
    let endpoints = slices.flat_map(|slice| slice["endpoints"].as_array().cloned().unwrap_or_default());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    Ok(ready
        .filter_map(|endpoint| Some(endpoint["addresses"][0].as_str()?.to_owned()))
        .collect())
}

async fn operator(cluster: &Cluster) -> Result<String> {
    let path = "jsonpath={.items[*].metadata.uid} {.items[*].status.containerStatuses[0].restartCount}";
    let label = "app.kubernetes.io/component=operator";
    let kubectl = cluster.kubectl();
    kubectl
        .run(&["-n", portfolio::NAMESPACE, "get", "pods", "-l", label, "-o", path])
        .await
}

/// Kills the engine of a worker: its group is made anew, and no other. Returns what was seen of it.
async fn broken(ns: &Namespace, local: &Local) -> Result<String> {
    let before = pods(ns).await?;
    let container = get(ns, &["pod", "smol-engine-1-1"]).await?["status"]["containerStatuses"][0]["containerID"].clone();
    local.kill_container(container.as_str().context("no container")?).await?;
    let since = Instant::now();
    let told = says(ns, "smol", "WorkloadReady", "False CrashLooping", TOLD).await?;
    let seen = format!("a worker was killed, and {:.1} s later: {told}", since.elapsed().as_secs_f32());
    let after = until("its group is another", MADE, async || {
        let now = pods(ns).await?;
        let is_other = |name: &str| now.get(name).is_some_and(|(uid, _)| *uid != before[name].0);
        ensure!(is_other("smol-engine-1") && is_other("smol-engine-1-1"), "{now:?}");
        Ok(Some(now))
    })
    .await?;
    let seen = format!("{seen}; its group was another after {:.1} s", since.elapsed().as_secs_f32());
    for name in ["smol-engine-0", "smol-engine-0-1"] {
        assert_eq!(after[name], before[name], "{name} has nothing to do with it");
    }
    settled(ns, 2).await?;
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_over_several_pods_is_made_and_kept_in_groups() -> Result<()> {
    let cluster = Cluster::alone().await?;
    let Some(local) = cluster.local() else {
        skip("it installs a kind in the whole cluster and removes it");
        return Ok(());
    };
    let release = lws::release().await?;
    Controller::clean(&cluster, local)?;
    let installed = Portfolio::install(&cluster, Profile::Debug, PROFILE).await?;
    cluster.load_image(&images::e2e(Profile::Debug).await?).await?;
    let ns = cluster.namespace("group").await?;
    let name = format!("group-{}", ns.name());
    devices::offer(&cluster, DEVICE, 4).await?;
    let started = operator(&cluster).await?;
    let begin = Instant::now();
    let step = |what: &str| println!("{:5.1} s  {what}", begin.elapsed().as_secs_f32());

    let refused = ns
        .apply(&model("odd", 1, "parallelism: {nodes: 2, tensor: 3}"))
        .await
        .unwrap_err()
        .to_string();
    let words = "tensor 3 times pipeline (absent) does not share out the accelerators: nodes 2 times 1 of a pod";
    assert!(refused.contains(words), "{refused}");
    ns.apply(&(model("smol", 1, TWO_BY_TWO) + &policy(&name))).await?;
    let missing = "spec.selfHosted.parallelism.nodes: this cluster has no LeaderWorkerSets";
    step(&says(&ns, "smol", "Stalled", missing, TOLD).await?);

    let controller = Controller::start(&cluster, local, &release).await?;
    let made = settled(&ns, 2).await?;
    step("two groups of two answer");
    let leaders = BTreeSet::from(["smol-engine-0", "smol-engine-1"].map(|name| made[name].1.clone()));
    until("the leaders, and they alone, are asked", TOLD, async || {
        let asked = endpoints(&ns).await?;
        ensure!(asked == leaders, "{asked:?}, not {leaders:?}");
        Ok(Some(()))
    })
    .await?;
    let asker = Asker::new(&installed, &ns, &name).await?;
    asker.is_served().await?;
    // The gateway may know sooner than the policy says.
    ns.told("rpol/assistant", "Ready", "Routing", TOLD).await?;

    let mut log = local.audit()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let by_it = "system:serviceaccount:llm-portfolio:llm-portfolio-operator";
    let is_work = |r: &audit::Request| r.user == by_it && r.verb != "watch" && r.namespace == ns.name();
    let work: Vec<audit::Request> = log.take()?.into_iter().filter(is_work).collect();
    assert!(work.is_empty(), "settled costs nothing: {:?}", audit::count(&work));
    step("settled");

    step(&broken(&ns, local).await?);

    let before = pods(&ns).await?;
    let rolled = asker
        .during(async {
            ns.apply(&model("smol", 2, TWO_BY_TWO)).await?;
            settled(&ns, 2).await.map(drop)
        })
        .await?;
    let path = r"jsonpath={.metadata.annotations.llmportfolio\.dev/rollout}";
    let why = ns.kubectl(&["get", "leaderworkerset/smol-engine", "-o", path]).await?;
    step(&format!(
        "rolled: {why}: {} asked, {} attempts failed, {} lost",
        rolled.asked,
        rolled.attempts_failed.len(),
        rolled.lost.len()
    ));
    assert_eq!(why, format!("Replace: the nodes have room for 0 of 2 pods with 1 {DEVICE} each"));
    assert!(rolled.lost.is_empty(), "one group after the other: {:#?}", rolled.lost);
    let after = pods(&ns).await?;
    assert!(after.iter().all(|(name, (uid, _))| before[name].0 != *uid), "{after:?}");

    ns.kubectl(&["scale", "mdep/smol", "--replicas=1"]).await?;
    settled(&ns, 1).await?;
    devices::offer(&cluster, DEVICE, 3).await?;
    ns.kubectl(&["scale", "mdep/smol", "--replicas=2"]).await?;
    step(&says(&ns, "smol", "WorkloadReady", &format!("1 pod waits for {DEVICE}: 1"), MADE).await?);

    // One pod finds room only where the groups were.
    let change = async |own: &str| {
        let patch = format!(r#"{{"spec": {{"selfHosted": {own}}}}}"#);
        ns.kubectl(&["patch", "mdep/smol", "--type=merge", "-p", &patch]).await
    };
    change(r#"{"parallelism": null, "replicas": 1}"#).await?;
    says(&ns, "smol", "WorkloadReady", "True Settled: 1 of 1 pods", MADE).await?;
    until("no group is left", MADE, async || {
        let sets = get(&ns, &["leaderworkersets,statefulsets"]).await?;
        let pods = pods(&ns).await?;
        ensure!(sets["items"] == serde_json::json!([]) && pods.len() == 1, "{pods:?}");
        Ok(Some(()))
    })
    .await?;
    step("one pod in place of the groups");

    change(r#"{"parallelism": {"nodes": 2}}"#).await?;
    settled(&ns, 1).await?;
    step("a group in place of the pod");
    ns.kubectl(&["delete", "mdep/smol", "rpol/assistant"]).await?;
    until("nothing is left", MADE, async || {
        let kinds = "leaderworkersets,statefulsets,controllerrevisions,deployments,pods,services,networkpolicies,poddisruptionbudgets";
        let left = ns.kubectl(&["get", kinds, "-o", "name"]).await?;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(Some(()))
    })
    .await?;
    step("nothing is left");

    drop(controller);
    ns.apply(&model("late", 1, "parallelism: {nodes: 2}")).await?;
    step(&says(&ns, "late", "Stalled", missing, MADE).await?);
    assert_eq!(operator(&cluster).await?, started, "the operator was not restarted for any of it");
    devices::offer(&cluster, DEVICE, 0).await
}
