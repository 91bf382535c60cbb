//! From nothing to a healthy cluster and back to nothing. Namespaces, keys and configuration first, then the parts.

// Tests look at the API server from outside; the operator's one door is not theirs.
#![allow(clippy::disallowed_types)]

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::{Api, Client};
use tokio::process::Command;

use super::layout::{HOST, LINK, Layout, MAX_NODES, SERVICES, node_address, node_name};
use super::parts::{Parts, State};
use super::pki::Authority;
use super::{client_of, configuration, local, network};
use crate::assets::{self, kubernetes, packages};
use crate::command::{find, tail_of};
use crate::{images, until};

/// From its start; ten times what an idle machine takes.
const NODE_READY: Duration = Duration::from_secs(90);

/// What a cluster is to have.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Nodes; the first also holds the control plane.
    pub nodes: usize,
    /// Fake GPUs of each node.
    pub gpus: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { nodes: 1, gpus: 8 }
    }
}

/// Brings the cluster up, unless a healthy one runs; a smaller one gets the missing nodes, a broken one is replaced.
pub async fn up(shape: Shape) -> Result<local::Local> {
    ensure!(
        (1..=MAX_NODES).contains(&shape.nodes),
        "between 1 and {MAX_NODES} nodes, not {}",
        shape.nodes
    );
    ensure!(
        packages::is_root(),
        "the local cluster needs root for its namespaces and mounts: run this as root, or set KUBECONFIG to use another cluster"
    );
    let cache = assets::cache()?;
    let _one_at_a_time = assets::lock(cache.join("run.lock"), assets::Lock::Alone).await?;
    let layout = Layout::new(&cache);
    let parts = Parts::new(layout.clone());
    if layout.root().exists() {
        match health(&layout, &parts).await {
            Ok(nodes) => {
                for node in nodes + 1..=shape.nodes {
                    eprintln!("the cluster runs; adding node {node}");
                    guarded(&layout, &parts, add_node(&layout, &parts, node, shape.gpus)).await?;
                }
                return Ok(local::Local::new(layout));
            }
            Err(why) => {
                eprintln!("the cluster of an earlier run is not healthy ({why:#}); replacing it");
                down_locked(&layout).await?;
            }
        }
    }
    // A failed start leaves its logs and what runs of it; the next one replaces it.
    guarded(&layout, &parts, start(&layout, &parts, shape)).await?;
    Ok(local::Local::new(layout))
}

/// Ends the cluster and removes every trace of it; nothing happens when there is none.
pub async fn down() -> Result<()> {
    let cache = assets::cache()?;
    let _one_at_a_time = assets::lock(cache.join("run.lock"), assets::Lock::Alone).await?;
    down_locked(&Layout::new(&cache)).await
}

async fn start(layout: &Layout, parts: &Parts, shape: Shape) -> Result<()> {
    packages::ensure(&packages::NODE).await?;
    let kubernetes = kubernetes::binary().await?;
    let pause = images::pause().await?;
    // This crate's own program, whoever starts the cluster: a test is another one.
    let own = images::cargo_build(&["--bin", "e2e"], images::Profile::Debug).await?;
    ensure!(
        !Path::new("/sys/class/net").join(LINK).exists(),
        "the link {LINK} exists: another cluster of this kind runs here, with another LLM_PORTFOLIO_CACHE; end that one first"
    );

    let begin = Instant::now();
    let told = |what: &str| eprintln!("{:5.1} s  {what}", begin.elapsed().as_secs_f32());
    make_folders(layout, &kubernetes)?;
    std::fs::copy(&own, layout.bin().join("e2e")).context("copying the program that enforces policies")?;
    network::load_modules().await;
    start_node_holder(layout, parts, 1).await?;
    network::link_host(parts).await?;
    let authority = Authority::create(layout)?;
    authority.control_plane()?;
    configuration::write_shared(layout)?;
    told("namespaces, network, keys");

    parts.launch("etcd@1", configuration::etcd(layout))?;
    parts.launch("kube-apiserver@1", configuration::apiserver(layout))?;
    start_containerd(layout, parts, &authority, 1).await?;
    let local = local::Local::new(layout.clone());
    local.load_on(1, &pause).await?;
    told("container runtime");
    let client = client_of(&local.kubeconfig()).await?;
    until("the API server is ready", Duration::from_secs(90), async || ready(&client).await).await?;
    told("API server");
    parts.launch("kube-controller-manager@1", configuration::controller_manager(layout))?;
    parts.launch("kube-scheduler@1", configuration::scheduler(layout))?;
    parts.launch("dns@1", configuration::dns(layout))?;
    start_kubelet(layout, parts, 1, shape.gpus)?;
    await_node(&client, 1, shape.gpus, NODE_READY).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    until(
        "the controller manager makes service accounts",
        Duration::from_secs(60),
        async || Ok(accounts.get_opt("default").await?),
    )
    .await?;
    told("node n1 with its GPUs");
    for node in 2..=shape.nodes {
        add_node(layout, parts, node, shape.gpus).await?;
        told(&format!("node n{node} with its GPUs"));
    }
    Ok(())
}

async fn add_node(layout: &Layout, parts: &Parts, node: usize, gpus: usize) -> Result<()> {
    start_node_holder(layout, parts, node).await?;
    network::link_node(parts, node).await?;
    let authority = Authority::open(layout)?;
    start_containerd(layout, parts, &authority, node).await?;
    let local = local::Local::new(layout.clone());
    local.load_on(node, &images::pause().await?).await?;
    local.copy_images(1, node).await?;
    start_kubelet(layout, parts, node, gpus)?;
    await_node(&client_of(&local.kubeconfig()).await?, node, gpus, NODE_READY).await
}

fn make_folders(layout: &Layout, kubernetes: &Path) -> Result<()> {
    for folder in ["parts", "log", "pki", "config", "bin"] {
        std::fs::create_dir_all(layout.root().join(folder))?;
    }
    for name in [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
        "fakegpu",
        "dns",
    ] {
        std::os::unix::fs::symlink(kubernetes, layout.bin().join(name))?;
    }
    // Places to mount on; on the host they stay empty.
    for place in ["/var/lib/kubelet", "/var/lib/cni"] {
        std::fs::create_dir_all(place)?;
    }
    Ok(())
}

async fn start_node_holder(layout: &Layout, parts: &Parts, node: usize) -> Result<()> {
    let folder = layout.node(node);
    for inner in ["kubelet", "cni/net.d", "cni/state", "log/pods", "log/containers", "gpu"] {
        std::fs::create_dir_all(folder.join(inner))?;
    }
    network::make_cgroups(node)?;
    let script = folder.join("node.sh");
    std::fs::write(&script, include_str!("node.sh"))?;
    let hold = [
        "sh".to_owned(),
        script.display().to_string(),
        folder.display().to_string(),
        node_address(node),
        SERVICES.to_owned(),
        HOST.to_owned(),
    ];
    if node == 1 {
        parts.launch_first(hold.to_vec())?;
    } else {
        let own: Vec<String> = ["unshare", "--mount", "--net"].map(str::to_owned).into_iter().chain(hold).collect();
        parts.launch(&format!("node@{node}"), own)?;
    }
    let ready = folder.join("ready");
    until("the node's namespaces are set up", Duration::from_secs(15), async || {
        Ok(ready.exists().then_some(()))
    })
    .await
    .with_context(|| tail_of(&layout.log(&format!("node@{node}")), 15))
}

async fn start_containerd(layout: &Layout, parts: &Parts, authority: &Authority<'_>, node: usize) -> Result<()> {
    authority.node(node)?;
    configuration::write_node(layout, node, !network::is_cgroup_v2())?;
    let program = find("containerd").context("containerd is missing")?;
    parts.launch(&format!("containerd@{node}"), configuration::containerd(layout, &program, node))?;
    until("containerd answers", Duration::from_secs(30), async || {
        let mut ctr = Command::new("ctr");
        ctr.arg("-a").arg(layout.containerd_socket(node)).arg("version");
        Ok(Some(crate::command::output(&mut ctr, Duration::from_secs(5)).await?))
    })
    .await?;
    Ok(())
}

fn start_kubelet(layout: &Layout, parts: &Parts, node: usize, gpus: usize) -> Result<()> {
    // Remembered, so that a later look knows how many there should be.
    std::fs::write(layout.gpu_count(node), gpus.to_string())?;
    parts.launch(&format!("kubelet@{node}"), configuration::kubelet(layout, node))?;
    parts.launch(&format!("kube-proxy@{node}"), configuration::proxy(layout, node))?;
    parts.launch(&format!("policies@{node}"), configuration::policies(layout, node))?;
    parts.launch(&format!("fakegpu@{node}"), configuration::fake_gpus(layout, node, gpus))
}

async fn await_node(client: &Client, node: usize, gpus: usize, deadline: Duration) -> Result<()> {
    let (nodes, name) = (Api::<Node>::all(client.clone()), node_name(node));
    until(&format!("node {name} is Ready with {gpus} GPUs"), deadline, async || {
        let status = nodes.get(&name).await?.status.unwrap_or_default();
        let is_ready = status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        let offered = status
            .allocatable
            .unwrap_or_default()
            .get("nvidia.com/gpu")
            .map_or("0".to_owned(), |q| q.0.clone());
        Ok((is_ready && offered == gpus.to_string()).then_some(()))
    })
    .await
}

async fn ready(client: &Client) -> Result<Option<()>> {
    let request = http::Request::get("/readyz").body(Vec::new())?;
    Ok((client.request_text(request).await? == "ok").then_some(()))
}

/// The number of nodes of a healthy cluster, or what is wrong with it.
async fn health(layout: &Layout, parts: &Parts) -> Result<usize> {
    let names = parts.names()?;
    for name in &names {
        match parts.state(name)? {
            State::Running => {}
            State::Frozen => bail!("{name} is frozen"),
            State::Gone => bail!("{name} is gone"),
        }
    }
    let nodes = names.iter().filter(|name| name.starts_with("kubelet@")).count();
    ensure!(nodes > 0, "it never got as far as a node");
    let client = client_of(&layout.kubeconfig("admin")).await?;
    until("the API server answers", Duration::from_secs(10), async || ready(&client).await).await?;
    for node in 1..=nodes {
        let gpus = std::fs::read_to_string(layout.gpu_count(node))
            .context("it never got as far as its GPUs")?
            .parse()?;
        await_node(&client, node, gpus, Duration::from_secs(30)).await?;
    }
    Ok(nodes)
}

/// On failure, adds which parts are gone and what they said last.
async fn guarded(layout: &Layout, parts: &Parts, work: impl Future<Output = Result<()>>) -> Result<()> {
    let Err(error) = work.await else { return Ok(()) };
    let mut report = String::new();
    for name in parts.names().unwrap_or_default() {
        if parts.state(&name)? == State::Gone {
            report += &format!(
                "\n{name} is gone; the end of {}:\n{}\n",
                layout.log(&name).display(),
                tail_of(&layout.log(&name), 12)
            );
        }
    }
    if report.is_empty() {
        report = format!("\nall its parts run; their logs: {}", layout.root().join("log").display());
    }
    Err(error.context(format!("the local cluster did not start{report}")))
}

async fn down_locked(layout: &Layout) -> Result<()> {
    let parts = Parts::new(layout.clone());
    if layout.root().exists() {
        // A frozen wrapper outside would keep a dead part, and with it the namespace, from ending.
        for name in parts.names().unwrap_or_default() {
            if parts.state(&name)? == State::Frozen {
                parts.thaw(&name)?;
            }
        }
        if matches!(parts.state("node@1"), Ok(state) if state != State::Gone) {
            parts.kill("node@1")?;
        }
    }
    until("the network of the cluster is gone", Duration::from_secs(10), async || {
        network::unlink_host().await?;
        Ok((!Path::new("/sys/class/net").join(LINK).exists()).then_some(()))
    })
    .await?;
    until("the cgroups of the cluster are gone", Duration::from_secs(20), async || {
        Ok(Some(network::remove_cgroups()?))
    })
    .await?;
    for place in ["/var/lib/kubelet", "/var/lib/cni"] {
        // Only an empty folder goes; one with content was there before us.
        std::fs::remove_dir(place).ok();
    }
    if layout.root().exists() {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let root = layout.root().display().to_string();
        ensure!(
            !mounts.contains(&root),
            "something is still mounted under {root}: see /proc/self/mountinfo"
        );
        std::fs::remove_dir_all(layout.root())?;
    }
    Ok(())
}
