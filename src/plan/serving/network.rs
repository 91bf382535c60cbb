//! Who may reach an engine: a key guards only some of an engine's paths, if any, so the network does.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::plan::names;

use super::Installation;

/// The label that every namespace has of itself.
const NAMESPACE_LABEL: &str = "kubernetes.io/metadata.name";

/// Lets the gateway, the operator and the installer's scrapers reach the engine's port, and nobody else anything. What pods themselves reach
/// is not restricted: engines download models. The kubelet's probes come from the node, which no policy keeps out.
///
/// The pods of a group reach each other on every port: how they talk is the engine's business, and by ports that it chooses when it starts.
pub(super) fn policy(metadata: ObjectMeta, model: &str, has_workers: bool, installation: Installation<'_>) -> NetworkPolicy {
    let pods = names::pod_selector(model, has_workers);
    let among_themselves = has_workers.then(|| NetworkPolicyIngressRule {
        from: Some(vec![NetworkPolicyPeer {
            pod_selector: Some(pods.clone()),
            ..NetworkPolicyPeer::default()
        }]),
        ports: None,
    });
    let scrapers = installation.settings.scrapers.iter();
    let scrapers = scrapers.map(|scraper| peer(&scraper.namespace, labelled(scraper.pod_labels.clone())));
    let from_outside = NetworkPolicyIngressRule {
        from: Some(
            std::iter::once(peer(installation.gateway_namespace, ours()))
                .chain(scrapers)
                .collect(),
        ),
        ports: Some(vec![NetworkPolicyPort {
            // By its name: pods of another specification may still answer on another number.
            port: Some(IntOrString::String(names::PORT_NAME.to_owned())),
            protocol: Some("TCP".to_owned()),
            ..NetworkPolicyPort::default()
        }]),
    };
    NetworkPolicy {
        metadata,
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".to_owned()]),
            ingress: Some(std::iter::once(from_outside).chain(among_themselves).collect()),
            ..NetworkPolicySpec::default()
        }),
    }
}

/// The pods of the gateway and the operator, by the labels that the chart gives them under whatever name it is installed.
fn ours() -> LabelSelector {
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "app.kubernetes.io/component".to_owned(),
            operator: "In".to_owned(),
            values: Some(vec!["gateway".to_owned(), "operator".to_owned()]),
        }]),
        ..labelled(BTreeMap::from([(
            "app.kubernetes.io/part-of".to_owned(),
            names::MANAGED_BY.to_owned(),
        )]))
    }
}

fn peer(namespace: &str, pods: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer {
        namespace_selector: Some(labelled(BTreeMap::from([(NAMESPACE_LABEL.to_owned(), namespace.to_owned())]))),
        pod_selector: Some(pods),
        ..NetworkPolicyPeer::default()
    }
}

fn labelled(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels),
        ..LabelSelector::default()
    }
}
