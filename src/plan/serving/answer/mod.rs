//! Whether the engine answers: its health path says that a server runs, one token says that a model does. Which pods are asked, and when;
//! the asking itself is the controller's.
//!
//! ```text
//!   this template ── has answered ───────────────────► Answered: nobody asks again
//!                 ── none of its pods gets requests ─► NotYet
//!                 ── else ───────────────────────────► Ask: one pod, one token ─► Answered
//!                                                                              └► Failed, and asked again later
//! ```
//! What answers is a template, as the API server has it: an upgrade of the operator, other replicas or another rollout strategy leave it as
//! it is, and who goes back to it finds its answer remembered. Only a model that was scaled to zero is asked anew: nobody waits for it then,
//! and what its pods find outside of their template (a tag, a volume, a driver) may be another.

mod meaning;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec, Volume};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::model_deployment::{Answered, Operation, SelfHosted};
use crate::plan::names::{self, MODEL_LABEL};
use crate::plan::routing;

use super::engine;
use super::status::is_made_from;
use super::workload::Workload;

use meaning::explain;
pub use meaning::{Meaning, OPERATIONS, meaning, request};
pub(super) use told::{awaited, meanwhile, only, trouble};

/// What is to be done to know whether the engine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Inquiry {
    /// Nothing.
    Known(Reply),
    /// Ask.
    Ask(Question),
}

/// What is known of whether the engine answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// It has, in a pod of the present template.
    Answered(Answered),
    /// No pod of the present template gets requests yet.
    NotYet,
    /// It has been asked, and has not said anything yet.
    Asked,
    /// It has been asked, and this is what became of each operation that was tried.
    Failed(Vec<Said>),
}

/// Who is asked for one token, and as what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The digest of the template that an answer holds for.
    pub template: String,
    /// Where its pods answer, such as `http://198.19.0.7:8080`; never empty.
    pub urls: Vec<String>,
    /// What the engine calls the model.
    pub model: String,
}

/// What became of one operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// What was asked.
    pub operation: Operation,
    /// What the engine did.
    pub what: What,
}

/// What an engine does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It answers with this status, and says this if it says anything.
    Status(u16, Option<String>),
    /// It cannot be reached.
    Unreachable(String),
    /// It says nothing for so long.
    Silent(Duration),
}

/// Where the model of `md` gets requests, as the gateways see it.
#[must_use]
pub fn routed(md: &ModelDeployment, slices: &[Arc<EndpointSlice>]) -> Vec<String> {
    let (namespace, name) = (md.namespace(), md.name_any());
    let is_its = |slice: &&Arc<EndpointSlice>| slice.namespace() == namespace && slice.labels().get(MODEL_LABEL) == Some(&name);
    let its: Vec<Arc<EndpointSlice>> = slices.iter().filter(is_its).cloned().collect();
    routing::endpoints(&its).into_values().next().unwrap_or_default()
}

/// What is to be done to know whether pods of the template of `live` answer; `routed` is where the model gets requests.
#[must_use]
pub fn inquire<W: Workload>(md: &ModelDeployment, own: &SelfHosted, live: &W, pods: &[Arc<Pod>], routed: &[String]) -> Inquiry {
    let template = live.digest();
    let answered = md.status.as_ref().and_then(|status| status.answered.as_ref());
    if let Some(answered) = answered.filter(|answered| answered.template == template) {
        return Inquiry::Known(Reply::Answered(answered.clone()));
    }
    let present = present(live, pods);
    let is_present = |url: &&String| present.iter().any(|pod| is_at(pod, url));
    let urls: Vec<String> = routed.iter().filter(is_present).cloned().collect();
    if urls.is_empty() || own.replicas == 0 {
        return Inquiry::Known(Reply::NotYet);
    }
    let model = engine::model_name(md, own);
    Inquiry::Ask(Question { template, urls, model })
}

/// How many ready pods were made from another template than that of `live`.
fn earlier<W: Workload>(live: &W, pods: &[Arc<Pod>]) -> usize {
    // Workers answer nobody.
    let answering: Vec<Arc<Pod>> = pods.iter().filter(|pod| !names::is_worker(pod.labels())).cloned().collect();
    let ready = answering.iter().filter(|pod| is_ready(pod)).count();
    ready - present(live, &answering).len()
}

/// The ready pods that were made from the template of `live`.
fn present<'a, W: Workload>(live: &W, pods: &'a [Arc<Pod>]) -> Vec<&'a Pod> {
    let ready: Vec<&Pod> = pods.iter().map(AsRef::as_ref).filter(|pod| is_ready(pod)).collect();
    let own: Vec<&Pod> = ready.iter().copied().filter(|pod| is_of_template(pod, live)).collect();
    // What changes pods on their way in, such as their registry, makes them differ from their template. Once none of another is left, they
    // must be of this one.
    if own.is_empty() && is_complete(live) { ready } else { own }
}

fn is_complete<W: Workload>(live: &W) -> bool {
    let seen = live.seen();
    seen.is_current && seen.total == seen.updated
}

fn is_ready(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    pod.metadata.deletion_timestamp.is_none() && conditions.any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Whether a pod has all that the template of `live` asks for; a label or a volume may be all that tells two templates apart.
fn is_of_template<W: Workload>(pod: &Pod, live: &W) -> bool {
    is_made_from(pod, live) && live.templates().into_iter().any(|template| carries(pod, template))
}

/// Whether a pod has the labels, annotations and volumes of a template.
fn carries(pod: &Pod, template: &PodTemplateSpec) -> bool {
    let metadata = template.metadata.clone().unwrap_or_default();
    let has = |of_pod: &BTreeMap<String, String>, wanted: Option<BTreeMap<String, String>>| {
        wanted.into_iter().flatten().all(|(name, value)| of_pod.get(&name) == Some(&value))
    };
    let volumes: Vec<&Volume> = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).collect();
    let mut wanted = template.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    has(pod.labels(), metadata.labels) && has(pod.annotations(), metadata.annotations) && wanted.all(|volume| volumes.contains(&volume))
}

/// Whether the pod is who answers at `url`.
fn is_at(pod: &Pod, url: &str) -> bool {
    let Some(status) = &pod.status else { return false };
    let all = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let host = url
        .strip_prefix("http://")
        .and_then(|rest| rest.rsplit_once(':'))
        .map(|(host, _)| host);
    let host = host.unwrap_or_default().trim_matches(['[', ']']);
    all.into_iter().any(|address| address == host)
}

#[cfg(test)]
mod tests;
