//! What makes the pods of a model, in what a rollout and a status need to know of it: a Deployment, or a LeaderWorkerSet whose replicas are
//! groups of pods.

use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::Resource;
use serde_json::json;

use crate::plan::fingerprint;
use crate::plan::leader_worker_set::{LeaderWorkerSet, RollingUpdateConfiguration, RolloutStrategy};

/// The pods of a model, as exactly one of the two.
#[derive(Clone, Debug, PartialEq)]
pub enum Pods {
    /// Each replica is a pod.
    Single(Box<Deployment>),
    /// Each replica is a group of pods.
    Grouped(Box<LeaderWorkerSet>),
}

/// What makes pods.
pub trait Workload: Resource<DynamicType = ()> {
    /// What its replicas are called.
    const REPLICAS: &'static str;
    /// Whether a replica whose container ends is made anew, pods and all, instead of restarting the container.
    const IS_REMADE: bool;

    /// What its pods are made from.
    fn templates(&self) -> Vec<&PodTemplateSpec>;
    /// Makes its pods from what those of `other` are made from.
    fn take_templates(&mut self, other: &Self);
    /// Tells what its replicas are made from, from others.
    fn digest(&self) -> String;
    /// How many replicas may be there above the wanted number in a rollout, and how many may be missing.
    fn set_limits(&mut self, surge: i32, unavailable: i32);
    /// How long its pods may take until they answer, in seconds.
    fn deadline(&self) -> Option<i32>;
    /// What its controller says.
    fn seen(&self) -> Seen;
    /// How many replicas it is told to have.
    fn replicas(&self) -> i32;
    /// Does not say how many.
    fn leave_replicas_out(&mut self);
}

/// What a workload's controller says of the replicas.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether this is about the latest specification.
    pub is_current: bool,
    /// Those there are.
    pub total: i32,
    /// Those of the present template.
    pub updated: i32,
    /// Those that answer.
    pub available: i32,
    /// Why pods cannot be made.
    pub refused: Option<String>,
    /// Whether a rollout has not moved for as long as it may.
    pub is_late: bool,
}

impl Workload for Deployment {
    const REPLICAS: &'static str = "pods";
    const IS_REMADE: bool = false;

    fn templates(&self) -> Vec<&PodTemplateSpec> {
        self.spec.iter().map(|spec| &spec.template).collect()
    }

    fn take_templates(&mut self, other: &Self) {
        if let (Some(spec), Some(other)) = (&mut self.spec, &other.spec) {
            spec.template = other.template.clone();
        }
    }

    fn digest(&self) -> String {
        fingerprint::digest(&self.spec.as_ref().map(|spec| &spec.template))
    }

    fn set_limits(&mut self, surge: i32, unavailable: i32) {
        self.spec.get_or_insert_default().strategy = Some(DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(surge)),
                max_unavailable: Some(IntOrString::Int(unavailable)),
            }),
        });
    }

    fn deadline(&self) -> Option<i32> {
        self.spec.as_ref()?.progress_deadline_seconds
    }

    fn seen(&self) -> Seen {
        let status = self.status.clone().unwrap_or_default();
        let conditions = status.conditions.unwrap_or_default();
        let has = |kind: &str, status: &str| -> Option<&DeploymentCondition> {
            conditions.iter().find(|c| c.type_ == kind && c.status == status)
        };
        Seen {
            is_current: status.observed_generation.is_some() && status.observed_generation == self.metadata.generation,
            total: status.replicas.unwrap_or(0),
            updated: status.updated_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            refused: has("ReplicaFailure", "True").map(|c| c.message.clone().unwrap_or_default()),
            is_late: has("Progressing", "False").is_some_and(|c| c.reason.as_deref() == Some("ProgressDeadlineExceeded")),
        }
    }

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
    }

    fn leave_replicas_out(&mut self) {
        if let Some(spec) = &mut self.spec {
            spec.replicas = None;
        }
    }
}

impl Workload for LeaderWorkerSet {
    const REPLICAS: &'static str = "groups";
    const IS_REMADE: bool = true;

    fn templates(&self) -> Vec<&PodTemplateSpec> {
        let group = &self.spec.leader_worker_template;
        group.leader_template.iter().chain([&group.worker_template]).collect()
    }

    fn take_templates(&mut self, other: &Self) {
        self.spec.leader_worker_template = other.spec.leader_worker_template.clone();
    }

    fn digest(&self) -> String {
        fingerprint::digest(&json!(self.spec.leader_worker_template))
    }

    fn set_limits(&mut self, surge: i32, unavailable: i32) {
        self.spec.rollout_strategy = Some(RolloutStrategy {
            type_: "RollingUpdate".to_owned(),
            rolling_update_configuration: Some(RollingUpdateConfiguration {
                max_surge: Some(IntOrString::Int(surge)),
                max_unavailable: Some(IntOrString::Int(unavailable)),
            }),
        });
    }

    fn deadline(&self) -> Option<i32> {
        // Its controller has none: that of the leader's engine.
        let leader = self.spec.leader_worker_template.leader_template.as_ref()?.spec.as_ref()?;
        let probe = leader.containers.first()?.startup_probe.as_ref()?;
        Some(probe.period_seconds?.saturating_mul(probe.failure_threshold?))
    }

    fn seen(&self) -> Seen {
        let status = self.status.clone().unwrap_or_default();
        Seen {
            is_current: status.observed_generation.is_some() && status.observed_generation == self.metadata.generation,
            total: status.replicas,
            updated: status.updated_replicas,
            available: status.ready_replicas,
            refused: None,
            is_late: false,
        }
    }

    fn replicas(&self) -> i32 {
        self.spec.replicas.unwrap_or(1)
    }

    fn leave_replicas_out(&mut self) {
        self.spec.replicas = None;
    }
}
