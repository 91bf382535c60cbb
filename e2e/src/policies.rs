//! Enforces the ingress side of NetworkPolicies on one node, as a network plugin would: watches policies, pods and namespaces, and keeps an
//! nftables table in the node's network namespace. Refused, not dropped, so that no test waits for a timeout. What it cannot enforce (egress,
//! port ranges) it refuses in its log and lets nothing in.
//!
//! ```text
//! policies, pods, namespaces ──► ruleset (pure) ──► nft -f -   whenever its text is another
//! ```

// Its own way to the API server: the product has nothing to do with it.
#![allow(clippy::disallowed_types)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{Selector, SelectorExt};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Config, ResourceExt};
use tokio::sync::Notify;

/// Changes that come together are enforced together.
const GATHER: Duration = Duration::from_millis(50);

/// Enforces until ended.
pub async fn run(kubeconfig: &Path, node: &str) -> Result<()> {
    let config = Kubeconfig::read_from(kubeconfig).context("reading the kubeconfig")?;
    let client = Client::try_from(Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?)?;
    let changed = std::sync::Arc::new(Notify::new());
    let policies = follow::<NetworkPolicy>(&client, &changed);
    let pods = follow::<Pod>(&client, &changed);
    let namespaces = follow::<Namespace>(&client, &changed);
    policies.wait_until_ready().await?;
    pods.wait_until_ready().await?;
    namespaces.wait_until_ready().await?;
    let mut enforced = String::new();
    loop {
        let seen = Seen {
            policies: policies.state().iter().map(|p| (**p).clone()).collect(),
            pods: pods.state().iter().map(|p| (**p).clone()).collect(),
            namespaces: namespaces.state().iter().map(|n| (n.name_any(), n.labels().clone())).collect(),
        };
        let wanted = ruleset(&seen, node);
        if wanted != enforced {
            apply(&wanted)?;
            enforced = wanted;
        }
        changed.notified().await;
        tokio::time::sleep(GATHER).await;
    }
}

fn follow<K>(client: &Client, changed: &std::sync::Arc<Notify>) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    let changed = changed.clone();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .default_backoff()
        .reflect(writer);
    tokio::spawn(events.for_each(move |event| {
        if let Err(error) = event {
            eprintln!("a watch failed and is taken up again: {error}");
        }
        changed.notify_one();
        std::future::ready(())
    }));
    store
}

fn apply(rules: &str) -> Result<()> {
    let mut nft = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .context("nft does not start")?;
    nft.stdin.take().context("its input")?.write_all(rules.as_bytes())?;
    ensure!(nft.wait()?.success(), "nft refused:\n{rules}");
    Ok(())
}

/// What is known of the cluster.
#[derive(Default)]
struct Seen {
    policies: Vec<NetworkPolicy>,
    pods: Vec<Pod>,
    /// The labels of each.
    namespaces: BTreeMap<String, BTreeMap<String, String>>,
}

/// The rules for the pods of `node`. Traffic of the node itself, such as the kubelet's probes, is never forwarded and so never asked.
fn ruleset(seen: &Seen, node: &str) -> String {
    let mut chains = String::new();
    let mut jumps = String::new();
    let here = |pod: &&Pod| pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node);
    let mut pods: Vec<&Pod> = seen.pods.iter().filter(here).collect();
    pods.sort_by_key(|pod| (pod.namespace(), pod.name_any()));
    for (index, pod) in pods.into_iter().enumerate() {
        let Some(address) = address(pod) else { continue };
        let selecting: Vec<&NetworkPolicy> = seen.policies.iter().filter(|policy| selects(policy, pod)).collect();
        if selecting.is_empty() {
            continue;
        }
        let allowed: BTreeSet<String> = selecting.iter().flat_map(|policy| allowed(seen, policy, pod)).collect();
        writeln!(jumps, "  ip daddr {address} goto pod{index}").expect("texts take all");
        writeln!(chains, " chain pod{index} {{").expect("texts take all");
        for rule in allowed {
            writeln!(chains, "  {rule} accept").expect("texts take all");
        }
        writeln!(chains, "  reject\n }}").expect("texts take all");
    }
    format!(
        "table ip policies\nflush table ip policies\ndelete table ip policies\ntable ip policies {{\n{chains} chain forward {{\n  \
         type filter hook forward priority -5;\n  ct state established,related accept\n{jumps} }}\n}}\n"
    )
}

/// The address of a pod of the pod network that has not ended.
fn address(pod: &Pod) -> Option<&str> {
    let on_host = pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
    let status = pod.status.as_ref().filter(|_| !on_host)?;
    let has_ended = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    status.pod_ip.as_deref().filter(|ip| !has_ended && !ip.is_empty())
}

fn selects(policy: &NetworkPolicy, pod: &Pod) -> bool {
    let Some(spec) = &policy.spec else { return false };
    let is_ingress = spec.policy_types.as_ref().is_none_or(|types| types.iter().any(|t| t == "Ingress"));
    is_ingress && policy.namespace() == pod.namespace() && matches(spec.pod_selector.as_ref(), pod.labels())
}

/// An absent or empty selector selects everything.
fn matches(selector: Option<&LabelSelector>, labels: &BTreeMap<String, String>) -> bool {
    let Some(selector) = selector else { return true };
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}

/// What a policy lets in to a pod: the left side of each rule.
fn allowed(seen: &Seen, policy: &NetworkPolicy, pod: &Pod) -> Vec<String> {
    let rules = policy.spec.iter().flat_map(|spec| spec.ingress.iter().flatten());
    rules
        .flat_map(|rule| {
            let from = match rule.from.as_deref() {
                None | Some([]) => vec![String::new()],
                Some(peers) => peers.iter().flat_map(|peer| sources(seen, policy, peer)).collect(),
            };
            let to = match rule.ports.as_deref() {
                None | Some([]) => vec![String::new()],
                Some(ports) => ports.iter().filter_map(|port| destination(pod, port)).collect(),
            };
            from.into_iter()
                .flat_map(move |from| to.clone().into_iter().map(move |to| format!("{from}{to}")))
        })
        .collect()
}

fn sources(seen: &Seen, policy: &NetworkPolicy, peer: &NetworkPolicyPeer) -> Vec<String> {
    if let Some(block) = &peer.ip_block {
        let except: String = block.except.iter().flatten().map(|e| format!("ip saddr != {e} ")).collect();
        return vec![format!("ip saddr {} {except}", block.cidr)];
    }
    let in_namespace = |pod: &Pod| match &peer.namespace_selector {
        None => pod.namespace() == policy.namespace(),
        Some(selector) => pod
            .namespace()
            .and_then(|name| seen.namespaces.get(&name))
            .is_some_and(|labels| matches(Some(selector), labels)),
    };
    let chosen = seen
        .pods
        .iter()
        .filter(|pod| in_namespace(pod) && matches(peer.pod_selector.as_ref(), pod.labels()));
    chosen.filter_map(address).map(|ip| format!("ip saddr {ip} ")).collect()
}

/// `None` for a port that the pod does not have, or a kind of port that is not enforced here: nothing may come in by it.
fn destination(pod: &Pod, port: &NetworkPolicyPort) -> Option<String> {
    let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
    let number = match &port.port {
        None => return Some(format!("meta l4proto {protocol} ")),
        Some(_) if port.end_port.is_some() => {
            eprintln!("a range of ports is not enforced here: nothing may come in by it");
            return None;
        }
        Some(IntOrString::Int(number)) => *number,
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            ports.find(|p| p.name.as_deref() == Some(name))?.container_port
        }
    };
    Some(format!("{protocol} dport {number} "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: serde::de::DeserializeOwned>(yaml: &str) -> T {
        serde_saphyr::from_str(yaml).expect("it is written right")
    }

    fn pod(namespace: &str, name: &str, labels: &str, ip: &str) -> Pod {
        read(&format!(
            "{{metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}, \
             spec: {{nodeName: n1, containers: [{{name: c, ports: [{{name: http, containerPort: 8080}}]}}]}}, status: {{podIP: {ip}, phase: Running}}}}"
        ))
    }

    fn seen(policy: &str) -> Seen {
        Seen {
            policies: vec![read(policy)],
            pods: vec![
                pod("models", "engine", "app: engine", "198.19.0.2"),
                pod("models", "other", "app: other", "198.19.0.3"),
                pod("gateways", "gateway", "app: gateway", "198.19.0.4"),
                pod("gateways", "stranger", "app: stranger", "198.19.0.5"),
            ],
            namespaces: BTreeMap::from([
                ("models".to_owned(), BTreeMap::new()),
                ("gateways".to_owned(), BTreeMap::from([("name".to_owned(), "gateways".to_owned())])),
            ]),
        }
    }

    #[test]
    fn only_what_a_policy_names_comes_in_and_only_to_what_it_selects() {
        let rules = ruleset(
            &seen(
                "{metadata: {name: p, namespace: models}, spec: {podSelector: {matchLabels: {app: engine}}, policyTypes: [Ingress],
                  ingress: [{from: [{namespaceSelector: {matchLabels: {name: gateways}}, podSelector: {matchLabels: {app: gateway}}}], ports: [{port: http}]}]}}",
            ),
            "n1",
        );
        assert!(rules.contains("ip daddr 198.19.0.2 goto pod2"), "{rules}");
        assert!(
            rules.contains("chain pod2 {\n  ip saddr 198.19.0.4 tcp dport 8080  accept\n  reject\n }"),
            "{rules}"
        );
        assert_eq!(rules.matches("goto").count(), 1, "{rules}");
    }

    #[test]
    fn a_policy_without_rules_lets_nothing_in() {
        let rules = ruleset(&seen("{metadata: {name: p, namespace: models}, spec: {podSelector: {}}}"), "n1");
        assert_eq!((rules.matches("goto").count(), rules.matches("reject").count()), (2, 2), "{rules}");
        assert!(!rules.contains("dport"), "{rules}");
    }

    #[test]
    fn pods_of_other_nodes_are_left_to_those() {
        let rules = ruleset(&seen("{metadata: {name: p, namespace: models}, spec: {podSelector: {}}}"), "n2");
        assert_eq!(rules.matches("goto").count(), 0, "{rules}");
    }
}
