//! How pods of a further specification replace those there are: beside them where accelerators are free, else in their place.
//!
//! ```text
//!   strategy   Surge ───────────────────────────────► the new pod first: nothing stops answering
//!              Replace ─────────────────────────────► one old pod first: no accelerator is needed twice
//!              Auto ── asks for no accelerator ─────► Surge
//!                   ── a node has room for one pod ─► Surge     (several have, for one group of pods)
//!                   ── none has ────────────────────► Replace
//! ```
//! `Auto` decides once for each template, when it replaces another, and keeps to it: what the rollout itself takes must not turn it around.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, Pod, PodTemplateSpec, Taint, Toleration};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use crate::api::model_deployment::SelfHosted;
use crate::api::placement::RolloutStrategy;
use crate::api::settings::AcceleratorProfile;
use crate::plan::names::{ROLLOUT_ANNOTATION, TEMPLATE_ANNOTATION};

use super::split;
use super::workload::Workload;

/// Which comes first, and why, as it is written down and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// Whether the new pod comes before the old one goes.
    pub surges: bool,
    /// Why, for a person.
    pub why: String,
}

impl Rollout {
    fn new(surges: bool, why: impl Into<String>) -> Self {
        Self { surges, why: why.into() }
    }

    /// Makes `workload` roll out so, and remember it.
    pub fn put_on<W: Workload>(&self, workload: &mut W) {
        let strategy = if self.surges { "Surge" } else { "Replace" };
        let (surge, unavailable) = if self.surges { (1, 0) } else { (0, 1) };
        let template = workload.digest();
        workload.set_limits(surge, unavailable);
        let annotations = workload.annotations_mut();
        annotations.insert(ROLLOUT_ANNOTATION.to_owned(), format!("{strategy}: {}", self.why));
        if self.why != ASKED {
            annotations.insert(TEMPLATE_ANNOTATION.to_owned(), template);
        }
    }

    /// The one that `live` rolls out by.
    pub(super) fn of<W: Workload>(live: &W) -> Option<Self> {
        Self::read(live.annotations().get(ROLLOUT_ANNOTATION)?)
    }

    fn read(text: &str) -> Option<Self> {
        let (strategy, why) = text.split_once(": ")?;
        Some(Self::new(strategy == "Surge", why))
    }
}

/// Why a rollout is as the specification says. Not remembered for a template: without the specification's word it is decided anew.
const ASKED: &str = "the specification asks for it";

/// What a pod of the model takes of accelerators.
#[derive(Clone, Debug, PartialEq)]
pub enum Takes {
    /// None.
    Nothing,
    /// Whole devices, which nodes offer by number.
    Devices(Devices),
    /// Devices by claim, which only their driver can count.
    Claim,
}

impl Takes {
    /// What pods of `template` take under `profile`.
    pub(super) fn of(own: &SelfHosted, profile: &AcceleratorProfile, template: &PodTemplateSpec) -> Self {
        let Some(accelerator) = &own.accelerator else {
            return Self::Nothing;
        };
        if accelerator.claim.is_some() {
            return Self::Claim;
        }
        let Some(resource) = &profile.resource else { return Self::Nothing };
        let pod = template.spec.clone().unwrap_or_default();
        Self::Devices(Devices {
            resource: resource.clone(),
            count: accelerator.count.into(),
            pods: split::nodes(own).into(),
            node_selector: pod.node_selector.unwrap_or_default(),
            tolerations: pod.tolerations.unwrap_or_default(),
        })
    }
}

/// What a pod of the model takes of the devices of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Devices {
    /// Such as `nvidia.com/gpu`.
    pub resource: String,
    /// How many each pod takes.
    pub count: i64,
    /// How many pods one replica is.
    pub pods: i64,
    /// Where its pods may run.
    pub node_selector: BTreeMap<String, String>,
    /// Which taints they bear.
    pub tolerations: Vec<Toleration>,
}

/// What is known when a rollout is decided on.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// This one.
    Made(Rollout),
    /// It depends on whether a node has room for [`Devices`]: see [`room`].
    NeedsRoom(Devices),
}

/// How pods come where there are none yet, or how the specification says that they come.
///
/// # Errors
/// The devices on which it depends.
fn of_specification(own: &SelfHosted, takes: Takes) -> Result<Rollout, Devices> {
    match (own.rollout.clone().unwrap_or_default().strategy, takes) {
        (RolloutStrategy::Surge, _) => Ok(Rollout::new(true, ASKED)),
        (RolloutStrategy::Replace, _) => Ok(Rollout::new(false, ASKED)),
        (RolloutStrategy::Auto, Takes::Nothing) => Ok(Rollout::new(true, "the pods take no accelerators")),
        (RolloutStrategy::Auto, Takes::Claim) => Ok(Rollout::new(false, "claimed devices cannot be counted")),
        (RolloutStrategy::Auto, Takes::Devices(devices)) => Err(devices),
    }
}

/// How the first pods come.
#[must_use]
pub fn first(own: &SelfHosted, takes: Takes) -> Rollout {
    of_specification(own, takes).unwrap_or_else(|_| Rollout::new(false, "there is nothing to replace"))
}

/// How the first pods of one kind of workload come to replace those of the other, as far as it can be said without looking at the nodes.
#[must_use]
pub fn switch(own: &SelfHosted, takes: Takes) -> Decision {
    match of_specification(own, takes) {
        Ok(rollout) => Decision::Made(rollout),
        Err(devices) => Decision::NeedsRoom(devices),
    }
}

/// How `wanted` comes to replace `live`, as far as it can be said without looking at the nodes. `is_stuck`: a pod of `wanted` finds no node.
#[must_use]
pub fn decide<W: Workload>(own: &SelfHosted, takes: Takes, wanted: &W, live: Option<&W>, is_stuck: bool) -> Decision {
    let Some(live) = live else {
        return Decision::Made(first(own, takes));
    };
    let devices = match of_specification(own, takes) {
        Ok(rollout) => return Decision::Made(rollout),
        Err(devices) => devices,
    };
    match Rollout::of(live) {
        // Somebody else was quicker, or the node lacks something else. It turns once, and only to where no room is needed.
        Some(Rollout { surges: true, .. }) if is_of(live, wanted) && is_stuck => {
            Decision::Made(Rollout::new(false, "a node had room, and the new pod finds none"))
        }
        Some(rollout) if is_of(live, wanted) => Decision::Made(rollout),
        _ => Decision::NeedsRoom(devices),
    }
}

/// Whether the strategy of `live` was chosen for the pods of `wanted`.
fn is_of<W: Workload>(live: &W, wanted: &W) -> bool {
    live.annotations().get(TEMPLATE_ANNOTATION) == Some(&wanted.digest())
}

/// The rollout that the free devices of the nodes allow; `pods` are all pods of the cluster that have a node. Those of the model itself
/// (`is_own`) that do not answer go first in any rollout, so what they hold counts as free.
#[must_use]
pub fn room(devices: &Devices, nodes: &[Node], pods: &[Pod], is_own: impl Fn(&Pod) -> bool) -> Rollout {
    let mut used: BTreeMap<&str, i64> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| answers(pod) || !is_own(pod)) {
        let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) else {
            continue;
        };
        *used.entry(node).or_default() += takes(pod, &devices.resource);
    }
    let free = |node: &&Node| {
        let allocatable = node
            .status
            .as_ref()
            .and_then(|s| s.allocatable.as_ref()?.get(&devices.resource))
            .map_or(0, whole);
        allocatable - used.get(node.name_any().as_str()).copied().unwrap_or(0)
    };
    let Devices { resource, count, pods, .. } = devices;
    let free: Vec<i64> = nodes.iter().filter(|node| may_run(devices, node)).map(|node| free(&node)).collect();
    let Some(most) = free.iter().max() else {
        return Rollout::new(false, format!("no node that the pods may run on offers {resource}"));
    };
    if *pods > 1 {
        let room: i64 = free.iter().map(|free| free.max(&0) / count.max(&1)).sum();
        return match room >= *pods {
            true => Rollout::new(true, format!("the nodes have room for {pods} pods with {count} {resource} each")),
            false => Rollout::new(
                false,
                format!("the nodes have room for {room} of {pods} pods with {count} {resource} each"),
            ),
        };
    }
    match most >= count {
        true => Rollout::new(true, format!("a node has {most} {resource} free")),
        false => Rollout::new(false, format!("no node has {count} {resource} free; {} at most", most.max(&0))),
    }
}

/// Whether the scheduler would look at the node, as far as its devices are concerned.
fn may_run(devices: &Devices, node: &Node) -> bool {
    let spec = node.spec.clone().unwrap_or_default();
    let labels = node.labels();
    let is_selected = devices.node_selector.iter().all(|(name, value)| labels.get(name) == Some(value));
    let bears = |taint: &Taint| taint.effect == "PreferNoSchedule" || devices.tolerations.iter().any(|t| tolerates(t, taint));
    is_selected && spec.unschedulable != Some(true) && spec.taints.iter().flatten().all(bears)
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let same_effect = toleration
        .effect
        .as_deref()
        .is_none_or(|effect| effect.is_empty() || effect == taint.effect);
    let key = toleration.key.as_deref().unwrap_or_default();
    let same_value = toleration.operator.as_deref() == Some("Exists") || toleration.value == taint.value;
    same_effect && (key.is_empty() || key == taint.key) && same_value
}

/// What the containers of a pod that has not ended take of a resource that is never shared.
fn takes(pod: &Pod, resource: &str) -> i64 {
    let has_ended = pod
        .status
        .as_ref()
        .is_some_and(|s| matches!(s.phase.as_deref(), Some("Succeeded" | "Failed")));
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).filter(|_| !has_ended);
    containers
        .filter_map(|container| container.resources.as_ref()?.limits.as_ref()?.get(resource))
        .map(whole)
        .sum()
}

fn answers(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|c| c.type_ == "Ready" && c.status == "True")
}

/// Devices are counted in whole numbers.
fn whole(quantity: &Quantity) -> i64 {
    quantity.0.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests;
