//! `e2e scale`: many ModelDeployments at once on nodes that do not exist: how long everybody takes, what the operator asks of the API
//! server for each, what it needs itself, and whether it is silent afterwards. Only ever measures: a bad number is printed like a good one.

// Measures from outside; the operator's one door is not this program's.
#![allow(clippy::disallowed_types, clippy::disallowed_methods)]
#![expect(clippy::print_stdout, reason = "a measurement is what it prints")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource, ResourceExt};
use llm_portfolio::api::{ModelDeployment, RoutingPolicy};
use llm_portfolio::plan::names::MODEL_LABEL;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinHandle;

use crate::audit::{self, Audit, Request};
use crate::cluster::Cluster;
use crate::fake_nodes::FakeNodes;
use crate::images::Profile;
use crate::portfolio::{NAMESPACE, Portfolio};
use crate::process::{Process, Usage};
use crate::provider::{Metrics, Provider};
use crate::{namespace::Namespace, until};

const OPERATOR: &str = "system:serviceaccount:llm-portfolio:llm-portfolio-operator";
/// The one RoutingPolicy; nobody asks for its model.
const POLICY: &str = "scale";
/// Objects on one fake node; it has room for 250 pods.
const PER_NODE: usize = 200;
/// What those bear that are scaled, and what two replicas do.
const SCALED: (i32, i32) = (1, 2);
/// The port of their engines.
const PORT: u16 = 8080;
/// Creations under way at once: "at once" for a server, without a client's own limit being what is measured.
const AT_ONCE: usize = 32;
/// Kubernetes' own controllers make some twenty pods a second on two cores.
const DEADLINE: Duration = Duration::from_secs(600);
/// No request for so long means settled.
const QUIET: Duration = Duration::from_secs(3);
/// How long silence is then listened to.
const LOOK: Duration = Duration::from_secs(30);

/// What is kept of the requests of one stretch of time.
#[derive(Default)]
struct Asked {
    /// In the measured namespace, or in none.
    here: Vec<Request>,
    watches: usize,
    leases: usize,
    /// For objects that are not part of the measurement, such as those of a demo.
    elsewhere: usize,
    /// Of all users, by name.
    everybody: BTreeMap<String, usize>,
}

impl Asked {
    /// Adds the operator's requests since the last call; says whether any was for the measured objects.
    fn add(&mut self, log: &mut Audit, namespace: &str) -> Result<bool> {
        let before = self.here.len();
        for request in log.take()? {
            let user = request.user.rsplit(':').next().unwrap_or_default();
            *self.everybody.entry(user.to_owned()).or_default() += 1;
            match request {
                r if r.user != OPERATOR => {}
                r if r.verb == "watch" => self.watches += 1,
                r if r.resource == "leases" => self.leases += 1,
                r if !r.namespace.is_empty() && r.namespace != namespace => self.elsewhere += 1,
                r => self.here.push(r),
            }
        }
        Ok(self.here.len() > before)
    }

    /// Adds until nothing came for a while.
    async fn until_quiet(&mut self, log: &mut Audit, namespace: &str) -> Result<()> {
        until("the operator is quiet", DEADLINE, async || {
            tokio::time::sleep(QUIET).await;
            let asked = self.add(log, namespace)?;
            Ok((!asked).then_some(()))
        })
        .await
    }
}

/// Measures `count` ModelDeployments in our own cluster and prints the table. The product stays installed, with one more accelerator profile.
///
/// # Errors
/// When the cluster is not ours, or anything does not happen in time.
pub async fn run(count: usize, profile: Profile, is_scaled: bool) -> Result<()> {
    ensure!(count > 0, "--count must be at least 1");
    let cluster = Cluster::alone().await?;
    let local = cluster
        .local()
        .context("this reads the audit log of our own cluster: unset KUBECONFIG")?;
    let _installed = Portfolio::install(&cluster, profile, &values(is_scaled)).await?;
    let operator = Process::fresh_operator(&cluster, local).await?;
    let ns = cluster.namespace("scale").await?;
    let pods = if is_scaled { 2 * count } else { count };
    let nodes = FakeNodes::start(&cluster, "scale", pods.div_ceil(PER_NODE), PER_NODE).await?;
    let engines = nodes.engines().context("nobody answers for the pods")?;
    wait_in(engines, 0);
    let mut log = local.audit()?;
    Asked::default().until_quiet(&mut log, ns.name()).await?;
    let (at_start, load) = (operator.usage()?, load()?);
    let all = Process::all(&cluster, local).await?;
    let before = all
        .iter()
        .map(|(_, process)| Ok(process.usage()?.cpu))
        .collect::<Result<Vec<_>>>()?;

    let begin = Instant::now();
    let steps = milestones(&cluster, &ns, count);
    let mut made = create(&Api::namespaced(cluster.client(), ns.name()), count, is_scaled).await?;
    made.insert(
        POLICY.to_owned(),
        create_policy(&Api::namespaced(cluster.client(), ns.name())).await?,
    );
    let created = begin.elapsed();
    let mut table = vec![];
    for (what, seen) in steps {
        let seen = tokio::time::timeout(DEADLINE, seen).await;
        let seen = seen.with_context(|| format!("not all have {what} within {DEADLINE:?}"))??;
        let mut own: Vec<f32> = seen
            .iter()
            .map(|(name, at)| at.saturating_duration_since(made[name]).as_secs_f32())
            .collect();
        own.sort_by(f32::total_cmp);
        let all = seen.values().max().map_or(0.0, |last| (*last - begin).as_secs_f32());
        table.push(format!(
            "{all:7.2} s  {:7.2} s  {:7.2} s  {what}",
            own[own.len() / 2],
            own[own.len() - 1]
        ));
    }
    let took = begin.elapsed().as_secs_f32();
    let used = all
        .iter()
        .zip(before)
        .map(|((name, process), before)| Ok((process.usage()?.cpu - before, name)));
    let mut used = used.collect::<Result<Vec<_>>>()?;
    used.sort_by(|a, b| f64::total_cmp(&b.0, &a.0));
    let mut asked = Asked::default();
    asked.until_quiet(&mut log, ns.name()).await?;
    let settled = operator.usage()?;
    let tokens = nodes.asked();
    let (mut quiet, looked) = (Asked::default(), Timestamp::now());
    tokio::time::sleep(LOOK).await;
    quiet.add(&mut log, ns.name())?;

    let cores = std::thread::available_parallelism()?;
    println!("\n{count} ModelDeployments at once; {profile:?} build; {cores} cores shared by everything, load {load} before\n");
    println!("    all in     median    slowest  each has");
    println!(
        "{:7.2} s                        been created by this program, {AT_ONCE} at a time",
        created.as_secs_f32()
    );
    table.iter().for_each(|line| println!("{line}"));
    println!("  how: watches of this program; `all in` from the first creation, the others from the answer to each creation");
    let used: Vec<String> = used
        .iter()
        .filter(|(cpu, _)| *cpu >= 0.05)
        .map(|(cpu, name)| format!("{name} {cpu:.1}"))
        .collect();
    println!(
        "\nseconds of CPU until then ({took:.1} s, {cores} cores): {}\n  how: /proc of every part of the cluster and of the product",
        used.join(", ")
    );
    print_requests(&asked, ns.name(), count);
    println!(
        "\nthe engines were asked for {tokens} tokens ({:.2} per ModelDeployment), and for {} in the quiet that follows",
        tokens as f64 / count as f64,
        nodes.asked() - tokens
    );
    println!("  how: the one fake server that answers at the addresses of all fake pods counts what it gets");
    println!(
        "\nin {LOOK:?} of quiet: {} requests, {} watches begun anew, {} for the lease",
        quiet.here.len(),
        quiet.watches,
        quiet.leases
    );
    println!(
        "  how: the audit log, from {QUIET:?} after the last request; {:?}",
        audit::count(&quiet.here)
    );
    print_usage(at_start, settled, operator.usage()?, count);
    if is_scaled {
        print_rounds(&cluster, looked, count, "nothing changes").await?;
        print_burst(&cluster, ns.name(), engines, count).await?;
    }
    print_end(log, ns, &operator).await?;
    drop(nodes);
    Ok(())
}

fn values(is_scaled: bool) -> String {
    let ((key, value), toleration) = (FakeNodes::SELECTOR, FakeNodes::TOLERATION);
    let fake = format!("{{resource: nvidia.com/gpu, nodeSelector: {{{key}: '{value}'}}, tolerations: [{toleration}]}}");
    // Rounds of the autoscaler are told there.
    let log = if is_scaled {
        "info,kube=warn,llm_portfolio::controller::autoscaler=debug"
    } else {
        "info,kube=warn"
    };
    format!("settings: {{acceleratorProfiles: {{fake: {fake}}}}}\noperator: {{logLevel: '{log}'}}")
}

/// So many requests wait in every engine.
fn wait_in(engines: &Provider, requests: u32) {
    let text = format!(
        "llamacpp:requests_processing {}\nllamacpp:requests_deferred {requests}\n",
        requests.min(1)
    );
    engines.set(|script| drop(script.metrics.insert(PORT, Metrics::Text(text))));
}

/// Creates the ModelDeployments and says when each was answered.
async fn create(models: &Api<ModelDeployment>, count: usize, is_scaled: bool) -> Result<BTreeMap<String, Instant>> {
    let (min, max) = SCALED;
    let scaling = json!({"engine": "Builtin", "min": min, "max": max, "target": {"inFlight": 4, "waiting": 4}});
    let one = async |i: usize| {
        let name = format!("m{i}");
        let mut own = json!({"engine": {"kind": "LlamaCpp", "port": PORT}, "accelerator": {"profile": "fake"}});
        if is_scaled {
            own["scaling"] = scaling.clone();
        }
        let model = serde_json::from_value(json!({
            "apiVersion": "llmportfolio.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": name}, "spec": {"selfHosted": own},
        }))?;
        models
            .create(&PostParams::default(), &model)
            .await
            .with_context(|| format!("creating {name}"))?;
        anyhow::Ok((name, Instant::now()))
    };
    stream::iter(0..count).map(one).buffer_unordered(AT_ONCE).try_collect().await
}

/// Creates a RoutingPolicy over the first of them: it must not have to wait until the others are settled.
async fn create_policy(policies: &Api<RoutingPolicy>) -> Result<Instant> {
    let policy = serde_json::from_value(json!({
        "apiVersion": "llmportfolio.dev/v1alpha1", "kind": "RoutingPolicy", "metadata": {"name": POLICY},
        "spec": {"model": POLICY, "rules": [{"targets": [{"model": "m0"}]}]},
    }))?;
    policies
        .create(&PostParams::default(), &policy)
        .await
        .context("creating a RoutingPolicy")?;
    Ok(Instant::now())
}

type Seen = JoinHandle<BTreeMap<String, Instant>>;

/// What happens to each ModelDeployment, in this order, and when.
fn milestones(cluster: &Cluster, ns: &Namespace, count: usize) -> [(&'static str, Seen); 7] {
    let (client, ns) = (cluster.client(), ns.name());
    let models = || Api::<ModelDeployment>::namespaced(client.clone(), ns);
    let deployments = || Api::<Deployment>::namespaced(client.clone(), ns);
    let available = |d: &Deployment| d.status.as_ref().is_some_and(|s| s.available_replicas == Some(1));
    let told = |md: &ModelDeployment| md.status.as_ref().is_some_and(|s| !s.conditions.is_empty());
    let policies = Api::<RoutingPolicy>::namespaced(client.clone(), ns);
    let routed = |policy: &RoutingPolicy| policy.status.as_ref().is_some_and(|s| !s.conditions.is_empty());
    let ready = |md: &ModelDeployment| {
        md.status
            .as_ref()
            .is_some_and(|s| s.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
    };
    [
        (
            "a Service (operator)",
            watch(Api::<Service>::namespaced(client.clone(), ns), count, |_| true),
        ),
        ("a Deployment (operator)", watch(deployments(), count, |_| true)),
        ("conditions (operator)", watch(models(), count, told)),
        (
            "a pod (Kubernetes' own controllers)",
            watch(Api::<Pod>::namespaced(client.clone(), ns), count, |_| true),
        ),
        (
            "an available Deployment (scheduler, fake nodes, Kubernetes' own controllers)",
            watch(deployments(), count, available),
        ),
        (
            "conditions, of the one RoutingPolicy created after them (operator)",
            watch(policies, 1, routed),
        ),
        ("Ready=True (operator)", watch(models(), count, ready)),
    ]
}

/// When each of `count` ModelDeployments first had an object of which `holds` is true.
fn watch<K>(api: Api<K>, count: usize, holds: fn(&K) -> bool) -> Seen
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    tokio::spawn(async move {
        let mut seen = BTreeMap::new();
        let mut objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects().boxed();
        while seen.len() < count
            && let Some(object) = objects.next().await
        {
            // The watch itself reports nothing but retries.
            let Some(object) = object.ok().filter(holds) else { continue };
            let model = object.labels().get(MODEL_LABEL).cloned().unwrap_or_else(|| object.name_any());
            seen.entry(model).or_insert_with(Instant::now);
        }
        seen
    })
}

fn print_requests(asked: &Asked, namespace: &str, count: usize) {
    println!("\n     all  per ModelDeployment  requests by the operator until it was quiet");
    let per = |n: usize| n as f64 / count as f64;
    for (what, n) in audit::count(&asked.here) {
        println!("{n:8}  {:19.2}  {what}", per(n));
    }
    let writes = |r: &&Request| ["create", "update", "patch", "delete"].contains(&r.verb.as_str());
    let written = asked.here.iter().filter(writes).count();
    println!(
        "{:8}  {:19.2}  in all, of them {written} writes ({:.2} per ModelDeployment)",
        asked.here.len(),
        per(asked.here.len()),
        per(written)
    );
    let mut statuses: BTreeMap<&str, usize> = BTreeMap::new();
    for request in asked.here.iter().filter(|r| r.resource == "modeldeployments/status") {
        *statuses.entry(&request.name).or_default() += 1;
    }
    let mut statuses: Vec<usize> = statuses.into_values().collect();
    statuses.sort_unstable();
    if let [least, .., most] = statuses[..] {
        println!(
            "  status writes of one ModelDeployment: {least} to {most}, median {}",
            statuses[statuses.len() / 2]
        );
    }
    println!(
        "  apart from these: {} watches begun, {} for the lease, {} for objects elsewhere",
        asked.watches, asked.leases, asked.elsewhere
    );
    let mut everybody: Vec<(usize, &String)> = asked.everybody.iter().map(|(user, n)| (*n, user)).collect();
    everybody.sort_unstable_by(|a, b| b.cmp(a));
    let all: usize = everybody.iter().map(|(n, _)| n).sum();
    let most: Vec<String> = everybody.iter().take(7).map(|(n, user)| format!("{user} {n}")).collect();
    println!("  by everybody: {all}, of them {}", most.join(", "));
    println!("  how: the API server's audit log, the operator's service account, namespace {namespace} and what has none");
}

fn print_usage(start: Usage, settled: Usage, quiet: Usage, count: usize) {
    println!("\n   start   settled     quiet  the operator's process");
    let mib = |kib: u64| kib as f64 / 1024.0;
    println!(
        "{:8.1}  {:8.1}  {:8.1}  MiB resident (VmRSS)",
        mib(start.resident),
        mib(settled.resident),
        mib(quiet.resident)
    );
    println!(
        "{:8.1}  {:8.1}  {:8.1}  MiB at most so far (VmHWM)",
        mib(start.peak),
        mib(settled.peak),
        mib(quiet.peak)
    );
    println!("{:8.2}  {:8.2}  {:8.2}  seconds of CPU", start.cpu, settled.cpu, quiet.cpu);
    let more = settled.resident.saturating_sub(start.resident) as f64 / count as f64;
    println!(
        "  {more:.1} KiB more resident per ModelDeployment; how: /proc of a process started for this, watches complete and idle at `start`"
    );
}

/// A round of the operator's autoscaler, as its log tells it.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
struct Round {
    message: String,
    models: usize,
    changes: usize,
    took_ms: u64,
}

/// The rounds since then in which so many models were decided about.
async fn rounds(cluster: &Cluster, since: Timestamp, count: usize) -> Result<Vec<Round>> {
    let since = format!("--since-time={since:.0}");
    let log = ["-n", NAMESPACE, "logs", "deployment/llm-portfolio-operator", &since];
    let log = cluster.kubectl().run(&log).await?;
    let rounds = log.lines().filter_map(|line| serde_json::from_str::<Round>(line).ok());
    Ok(rounds.filter(|round| round.message == "decided" && round.models == count).collect())
}

/// How long the operator took to decide about all of them, again and again.
async fn print_rounds(cluster: &Cluster, since: Timestamp, count: usize, while_: &str) -> Result<()> {
    let rounds = rounds(cluster, since, count).await?;
    let changes: Vec<usize> = rounds.iter().map(|round| round.changes).filter(|changes| *changes > 0).collect();
    println!(
        "\n{} rounds over {count} scaled models while {while_}; numbers that were to be others: {changes:?}",
        rounds.len()
    );
    let mut all: Vec<u64> = rounds.iter().map(|round| round.took_ms).collect();
    all.sort_unstable();
    if let [.., slowest] = all[..] {
        println!("{:7} ms  {slowest:7} ms  median and slowest, to decide", all[all.len() / 2]);
    }
    println!("  how: the operator's log");
    Ok(())
}

/// Has all of them want another replica at the same moment, and prints how long that takes.
async fn print_burst(cluster: &Cluster, namespace: &str, engines: &Provider, count: usize) -> Result<()> {
    let since = Timestamp::now();
    let wanted = |deployment: &Deployment| deployment.spec.as_ref().is_some_and(|spec| spec.replicas == Some(SCALED.1));
    let seen = watch(Api::<Deployment>::namespaced(cluster.client(), namespace), count, wanted);
    let begin = Instant::now();
    wait_in(engines, 9);
    let seen = tokio::time::timeout(DEADLINE, seen).await.context("not all have two replicas")??;
    let mut all: Vec<f32> = seen.values().map(|at| (*at - begin).as_secs_f32()).collect();
    all.sort_by(f32::total_cmp);
    print_rounds(cluster, since, count, "requests wait in all of their engines at once").await?;
    println!(
        "{:7.2} s to {:.2} s, median {:.2} s, from there to the second replica of each; how: a watch of this program",
        all[0],
        all[all.len() - 1],
        all[all.len() / 2]
    );
    Ok(())
}

/// Deletes everything and prints how the operator takes it.
async fn print_end(mut log: Audit, ns: Namespace, operator: &Process) -> Result<()> {
    let (begin, name) = (Instant::now(), ns.name().to_owned());
    let mut asked = Asked::default();
    asked.add(&mut log, &name)?;
    asked = Asked::default();
    ns.delete().await?;
    let gone = begin.elapsed().as_secs_f32();
    asked.until_quiet(&mut log, &name).await?;
    println!(
        "\nthe namespace is gone {gone:.2} s after its deletion; the operator's requests meanwhile: {}",
        asked.here.len()
    );
    println!("  how: kubectl delete namespace, the audit log; {:?}", audit::count(&asked.here));
    println!("  {:.1} MiB resident then", operator.usage()?.resident as f64 / 1024.0);
    Ok(())
}

fn load() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/loadavg")?
        .split(' ')
        .next()
        .unwrap_or_default()
        .to_owned())
}
