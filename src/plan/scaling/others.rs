//! Who else scales a model: HorizontalPodAutoscalers, a person's own or KEDA's. A number has one owner: while another autoscaler sets that of the
//! workload, we do not, and nothing that is not ours is changed or removed. Those that we have moved the number for us are not meant.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt;

use crate::api::condition::{Claim, Kind};
use crate::api::{GROUP, ModelDeployment};
use crate::plan::names::{self, Key, MANAGED_BY, MODEL_LABEL};

/// The reason of `ScalingActive` where two would scale a model.
pub const CONFLICT: &str = "ScalingConflict";

/// Another autoscaler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// Its name.
    pub name: String,
    /// What it scales, such as `Deployment llama-engine`.
    pub target: String,
    /// Whether that is the workload, and not the ModelDeployment.
    pub scales_workload: bool,
    /// Whether it brings no first replica where there is none, and does not take one away either. That of a ScaledObject does: KEDA wakes what it
    /// scales. So does one with `minReplicas: 0`.
    pub rests_at_zero: bool,
}

impl Other {
    /// The first one that scales `md` or its workload and is not ours; one that scales the workload before others. One that is left over from another
    /// kind of workload scales nothing.
    #[must_use]
    pub fn of(md: &ModelDeployment, all: &[Arc<HorizontalPodAutoscaler>], is_grouped: bool) -> Option<Self> {
        let model = Key::of(md);
        let gone = if is_grouped { "Deployment" } else { "LeaderWorkerSet" };
        // The namespace first: every model looks through those of the whole cluster.
        let is_its = |other: &&Arc<HorizontalPodAutoscaler>| {
            other.metadata.namespace == md.metadata.namespace
                && other.spec.scale_target_ref.kind != gone
                && self::model(other).as_ref() == Some(&model)
                && !is_ours(other)
        };
        let its = all.iter().filter(is_its);
        let told = |other: &Arc<HorizontalPodAutoscaler>| {
            let target = &other.spec.scale_target_ref;
            Self {
                name: other.name_any(),
                target: format!("{} {}", target.kind, target.name),
                scales_workload: target.kind != "ModelDeployment",
                rests_at_zero: other.spec.min_replicas != Some(0)
                    && other.owner_references().iter().all(|owner| owner.kind != "ScaledObject"),
            }
        };
        its.map(told).min_by_key(|other| (!other.scales_workload, other.name.clone()))
    }

    /// What is said of a model that it scales: with `spec.selfHosted.scaling` there are two that would.
    #[must_use]
    pub fn claim(&self, has_scaling: bool) -> Option<Claim> {
        let Self {
            name,
            target,
            scales_workload,
            ..
        } = self;
        let told = |holds: bool, reason, message| Some(Claim::new(Kind::ScalingActive, holds, reason, message));
        match (has_scaling, scales_workload) {
            (true, true) => told(
                false,
                CONFLICT,
                format!(
                    "HorizontalPodAutoscaler {name} scales {target} too, and decides until it is gone: delete it (or the ScaledObject that made \
                     it), or remove spec.selfHosted.scaling"
                ),
            ),
            (true, false) => told(
                false,
                CONFLICT,
                format!("HorizontalPodAutoscaler {name} scales {target} too, and is refused: delete it, or remove spec.selfHosted.scaling"),
            ),
            (false, true) => told(
                true,
                "HorizontalPodAutoscaler",
                format!(
                    "HorizontalPodAutoscaler {name} decides the number of replicas; spec.selfHosted.replicas counts again when it is gone"
                ),
            ),
            // By the scale subresource, as a person does.
            (false, false) => None,
        }
    }
}

/// Whether we had it made: it is ours, or KEDA's for a ScaledObject of ours, whose labels it has.
#[must_use]
pub fn is_ours(other: &HorizontalPodAutoscaler) -> bool {
    let labels = other.labels();
    labels.contains_key(MODEL_LABEL) && labels.get("app.kubernetes.io/managed-by").is_some_and(|by| by == MANAGED_BY)
}

/// What is said while one that was made for another engine is not gone yet.
#[must_use]
pub fn is_still_there(former: &HorizontalPodAutoscaler) -> Claim {
    let message = format!(
        "HorizontalPodAutoscaler {} of the engine before is still there, and the number of replicas stays as it sets it until it is gone: where that takes \
         longer than a minute, see whether KEDA's operator runs, which removes it together with its ScaledObject",
        former.name_any()
    );
    Claim::new(Kind::ScalingActive, false, "ChangingEngine", message)
}

/// Whether it is KEDA's, for a ScaledObject of ours.
#[must_use]
pub fn is_of_keda(other: &HorizontalPodAutoscaler) -> bool {
    is_ours(other) && other.owner_references().iter().any(|owner| owner.kind == "ScaledObject")
}

/// All of them, by the model that each scales.
#[must_use]
pub fn by_model(all: Vec<Arc<HorizontalPodAutoscaler>>) -> HashMap<Key, Vec<Arc<HorizontalPodAutoscaler>>> {
    let mut by_model: HashMap<_, Vec<_>> = HashMap::new();
    for other in all {
        if let Some(model) = model(&other) {
            by_model.entry(model).or_default().push(other);
        }
    }
    by_model
}

/// The model that one scales, if any.
#[must_use]
pub fn model(other: &HorizontalPodAutoscaler) -> Option<Key> {
    let target = &other.spec.scale_target_ref;
    let group = target.api_version.as_deref().and_then(|version| version.split_once('/'))?.0;
    let name = match (group, target.kind.as_str()) {
        (GROUP, "ModelDeployment") => Some(target.name.as_str()),
        ("apps", "Deployment") | ("leaderworkerset.x-k8s.io", "LeaderWorkerSet") => names::model_of_engine(&target.name),
        _ => None,
    };
    Some(Key::new(other.namespace()?, name?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn autoscaler(name: &str, version: &str, kind: &str, target: &str) -> Arc<HorizontalPodAutoscaler> {
        let yaml = format!(
            "{{metadata: {{name: {name}, namespace: claims}}, spec: {{maxReplicas: 3, scaleTargetRef: {{apiVersion: {version}, kind: {kind}, name: {target}}}}}}}"
        );
        Arc::new(serde_saphyr::from_str(&yaml).unwrap())
    }

    #[test]
    fn the_one_that_scales_the_workload_is_told_first_and_what_scales_something_else_is_nobody() {
        let md: ModelDeployment =
            serde_saphyr::from_str("{metadata: {name: llama, namespace: claims}, spec: {selfHosted: {engine: {kind: VLLM}}}}").unwrap();
        let (one, two) = (
            autoscaler("a", "llmportfolio.dev/v1alpha1", "ModelDeployment", "llama"),
            autoscaler("keda-hpa-b", "apps/v1", "Deployment", "llama-engine"),
        );
        let found = |all: &[Arc<HorizontalPodAutoscaler>]| Other::of(&md, all, false).map(|other| (other.name, other.scales_workload));
        assert_eq!(found(&[one.clone(), two]), Some(("keda-hpa-b".to_owned(), true)));
        assert_eq!(found(&[one]), Some(("a".to_owned(), false)));
        let old = autoscaler("old", "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "llama-engine");
        assert_eq!(found(std::slice::from_ref(&old)), None, "it is no group any more");
        assert!(Other::of(&md, &[old], true).unwrap().rests_at_zero);
        let mut own = (*autoscaler("llama-engine", "apps/v1", "Deployment", "llama-engine")).clone();
        own.metadata.labels = Some(names::labels("autoscaler", MODEL_LABEL, "llama"));
        assert_eq!(found(&[Arc::new(own)]), None, "it is ours");
        for (version, kind, target) in [
            ("apps/v1", "Deployment", "llama"),
            ("apps/v1", "StatefulSet", "llama-engine"),
            ("example.com/v1", "Deployment", "llama-engine"),
            ("v1", "Deployment", "llama-engine"),
            ("apps/v1", "Deployment", "other-engine"),
        ] {
            assert_eq!(found(&[autoscaler("x", version, kind, target)]), None, "{version} {kind} {target}");
        }
    }

    #[test]
    fn two_owners_are_a_conflict_and_one_is_none() {
        let said = |has_scaling, scales_workload| {
            let other = Other {
                name: "a".to_owned(),
                target: "x".to_owned(),
                scales_workload,
                rests_at_zero: true,
            };
            other.claim(has_scaling).map(|claim| claim.reason)
        };
        assert_eq!(said(true, true), Some("ScalingConflict"));
        assert_eq!(said(true, false), Some("ScalingConflict"));
        assert_eq!(said(false, true), Some("HorizontalPodAutoscaler"));
        assert_eq!(said(false, false), None);
    }
}
