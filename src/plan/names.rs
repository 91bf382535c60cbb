//! Every name, label, selector and owner reference of ours, in one place.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

/// The one field manager of every write.
pub const FIELD_MANAGER: &str = "llm-portfolio";
/// The audience of service-account tokens that the gateway accepts.
pub const TOKEN_AUDIENCE: &str = "llmportfolio.dev";

/// Label of everything made for one ModelDeployment; its value is the ModelDeployment's name. Selects its pods.
pub const MODEL_LABEL: &str = "llmportfolio.dev/model";
/// Label of everything made for one EvalJob; its value is the EvalJob's name.
pub const EVAL_JOB_LABEL: &str = "llmportfolio.dev/eval-job";
/// Annotation of an evaluation's Job: a JSON object of the fingerprint of each target when the run started.
pub const EVALUATED_ANNOTATION: &str = "llmportfolio.dev/evaluated";
/// Annotation of an EvalJob: a run is wanted now. Each other value asks for one more.
pub const RUN_NOW_ANNOTATION: &str = "llmportfolio.dev/run-now";
/// Annotation of an evaluation's Job: the ModelDeployments that it asks, targets, baseline and judges, as a list in JSON.
pub const ASKS_ANNOTATION: &str = "llmportfolio.dev/asks";
/// Annotation of an evaluation's Job: a digest over the images that the pods of its targets ran when the run started.
pub const IMAGES_ANNOTATION: &str = "llmportfolio.dev/images";
/// Annotation of an evaluation's Job: the versions that the providers of its targets answered with when the run started, by target, in JSON.
pub const VERSIONS_ANNOTATION: &str = "llmportfolio.dev/versions";
/// Annotation of an EvalJob: with another value its drift begins anew.
pub const RESET_DRIFT_ANNOTATION: &str = "llmportfolio.dev/reset-drift";
/// Annotation of an evaluation's Job: the value of the EvalJob's [`RUN_NOW_ANNOTATION`] when the run started.
pub const REQUESTED_ANNOTATION: &str = "llmportfolio.dev/requested";
/// Label of everything that keeps weights; its value is the name of the cache. ModelDeployments of one namespace may share one.
pub const CACHE_LABEL: &str = "llmportfolio.dev/cache";
/// Annotation of a Deployment: the cache that its pods read.
pub const CACHE_ANNOTATION: &str = "llmportfolio.dev/cache";
/// Annotation of what keeps weights: where they come from.
pub const SOURCE_ANNOTATION: &str = "llmportfolio.dev/source";
/// Annotation of the Job that fetches weights: the commit, or what stands for one, that it fetches.
pub const REVISION_ANNOTATION: &str = "llmportfolio.dev/revision";
/// Annotation of the Job that fetches weights: how many bytes they are.
pub const BYTES_ANNOTATION: &str = "llmportfolio.dev/bytes";
/// Label of backend Secrets; its value is the namespace of the ModelDeployment.
pub const BACKEND_LABEL: &str = "llmportfolio.dev/backend";
/// Label of Secrets that hold the hash of a client's API key; its value is `true`.
pub const API_KEY_LABEL: &str = "llmportfolio.dev/api-key";
/// Annotation of the Secret of an API key: until when the key is good, as `2027-01-31T00:00:00Z`. Absent: until it is revoked.
pub const EXPIRES_ANNOTATION: &str = "llmportfolio.dev/expires";
/// Label of the Secret of an API key: the team that its holder belongs to.
pub const TEAM_LABEL: &str = "llmportfolio.dev/team";
/// Annotation of a ModelDeployment: where its engine already runs, for running without a cluster; several replicas with commas between.
pub const ENDPOINT_ANNOTATION: &str = "llmportfolio.dev/endpoint";
/// Annotation of a backend Secret: the digest of where its credential may be sent.
pub const DESTINATION_ANNOTATION: &str = "llmportfolio.dev/destination";
/// Annotation of a backend Secret: whose API its credential is for.
pub const PROVIDER_ANNOTATION: &str = "llmportfolio.dev/provider";
/// Annotation of a Deployment: the digest of what its pods were planned from, the specification and the settings.
pub const INPUTS_ANNOTATION: &str = "llmportfolio.dev/inputs";
/// Annotation of a Deployment: the release of the operator that planned its pods.
pub const RELEASE_ANNOTATION: &str = "llmportfolio.dev/release";
/// Annotation of a Deployment: the digest of the pod template that its rollout strategy was chosen for.
pub const TEMPLATE_ANNOTATION: &str = "llmportfolio.dev/template";
/// Annotation of a Deployment: which pod comes first in a rollout, and why, such as `Surge: a node has 1 nvidia.com/gpu free`.
pub const ROLLOUT_ANNOTATION: &str = "llmportfolio.dev/rollout";
/// Annotation of a Deployment: the adapters that its pods start with, as the specification has them, in JSON.
pub const ADAPTERS_ANNOTATION: &str = "llmportfolio.dev/adapters";
/// Annotation of a child: the hash of what was last applied to it.
pub const APPLIED_ANNOTATION: &str = "llmportfolio.dev/applied";
/// On a workload that is applied without its number of replicas, because somebody scales it.
pub const SCALED_ANNOTATION: &str = "llmportfolio.dev/scaled";

/// Every annotation of ours.
pub const ANNOTATIONS: [&str; 21] = [
    ASKS_ANNOTATION,
    IMAGES_ANNOTATION,
    RESET_DRIFT_ANNOTATION,
    RUN_NOW_ANNOTATION,
    REQUESTED_ANNOTATION,
    ENDPOINT_ANNOTATION,
    EXPIRES_ANNOTATION,
    EVALUATED_ANNOTATION,
    CACHE_ANNOTATION,
    SOURCE_ANNOTATION,
    REVISION_ANNOTATION,
    BYTES_ANNOTATION,
    DESTINATION_ANNOTATION,
    PROVIDER_ANNOTATION,
    INPUTS_ANNOTATION,
    RELEASE_ANNOTATION,
    TEMPLATE_ANNOTATION,
    ROLLOUT_ANNOTATION,
    ADAPTERS_ANNOTATION,
    APPLIED_ANNOTATION,
    SCALED_ANNOTATION,
];
/// Every label of ours.
pub const LABELS: [&str; 8] = [
    MODEL_LABEL,
    EVAL_JOB_LABEL,
    CACHE_LABEL,
    BACKEND_LABEL,
    API_KEY_LABEL,
    TEAM_LABEL,
    DATA_CLASS_LABEL,
    TERMS_LABEL,
];

/// Label of what a thing is within its application.
pub const COMPONENT_LABEL: &str = "app.kubernetes.io/component";
/// The component of pods that answer requests to a model.
pub const ENGINE: &str = "engine";
/// The component of pods that serve a model together with one that answers.
pub const WORKER: &str = "engine-worker";

/// Label by which Kueue knows which of its queues admits pods.
pub const QUEUE_LABEL: &str = "kueue.x-k8s.io/queue-name";

/// The volume that the weights of a model are in, unless the user says which.
pub const WEIGHTS: &str = "weights";
/// The name of the init container that fetches weights.
pub const FETCHER: &str = "fetch";
/// The name of the init container that copies weights out of the image that it runs.
pub const COPIER: &str = "copy";

/// How the names of volumes begin that hold adapters by claim.
pub const ADAPTER_CLAIM: &str = "claim-";

/// On a Namespace, or the Secret of an API key: the class of the data that comes from there, by the name that the installer gave it.
pub const DATA_CLASS_LABEL: &str = "llmportfolio.dev/data-class";

/// On a ConfigMap, `true`: it holds terms that policies of its namespace may block.
pub const TERMS_LABEL: &str = "llmportfolio.dev/terms";

/// The addresses in the value of `ENDPOINT_ANNOTATION`.
pub fn endpoints(annotation: &str) -> impl Iterator<Item = &str> {
    annotation.split(',').map(str::trim)
}

/// The name of the init container that fetches an adapter.
#[must_use]
pub fn adapter_fetcher(adapter: &str) -> String {
    format!("{FETCHER}-{adapter}")
}
/// The name of the port that an engine answers on, in the pod, the Service and the EndpointSlices.
pub const PORT_NAME: &str = "http";

/// The name of the operator in `app.kubernetes.io/managed-by`.
pub const MANAGED_BY: &str = "llm-portfolio";

/// The namespace and name of an object, written `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl Key {
    /// From its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The key of an object; one without a namespace (from a file) is in `default`.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_else(|| "default".to_owned()), object.name_any())
    }

    /// What it is called in a namespace: by its name alone where that is its own.
    #[must_use]
    pub fn called_in(&self, namespace: &str) -> String {
        match self.namespace == namespace {
            true => self.name.clone(),
            false => self.to_string(),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What a model is called where it is asked: `model`, or `model:adapter`. Unique: the name of an object has no colon.
#[must_use]
pub fn asked(model: &str, adapter: Option<&str>) -> String {
    match adapter {
        Some(adapter) => format!("{model}:{adapter}"),
        None => model.to_owned(),
    }
}

/// The model of such a name, and the adapter.
#[must_use]
pub fn asked_parts(name: &str) -> (&str, Option<&str>) {
    match name.split_once(':') {
        Some((model, adapter)) => (model, Some(adapter)),
        None => (name, None),
    }
}

/// The Deployment or LeaderWorkerSet, Service, NetworkPolicy and PodDisruptionBudget of a self-hosted model.
#[must_use]
pub fn engine(model: &str) -> String {
    format!("{model}-engine")
}

/// The model whose workload has that name, if it can be one's.
#[must_use]
pub fn model_of_engine(name: &str) -> Option<&str> {
    name.strip_suffix("-engine")
}

/// The ResourceClaimTemplate of a self-hosted model, one for each content.
#[must_use]
pub fn claim(model: &str, digest: &str) -> String {
    let digest = digest.get(..8).unwrap_or(digest);
    format!("{}-{digest}", engine(model))
}

/// The Secret that holds a model's credentials for the gateway, in the gateway's namespace. Unique: a namespace has no dot.
#[must_use]
pub fn backend_secret(model: &Key) -> String {
    format!("backend.{}.{}", model.namespace, model.name)
}

/// The Job of one run. A pure function of the slot, so that a run whose start was not noted down is found again instead of repeated.
#[must_use]
pub fn evaluation(job: &str, slot: Timestamp) -> String {
    format!("{job}-{}", slot.as_second().div_euclid(60))
}

/// The slot of the Job of that name; `None` for a Job that is not a run of this EvalJob.
#[must_use]
pub fn evaluation_slot(job: &str, name: &str) -> Option<Timestamp> {
    let minutes: i64 = name.strip_prefix(job)?.strip_prefix('-')?.parse().ok()?;
    let slot = Timestamp::from_second(minutes.checked_mul(60)?).ok()?;
    (evaluation(job, slot) == name).then_some(slot)
}

/// The labels that select the pods of a model that answer requests.
#[must_use]
pub fn engine_selector(model: &str) -> BTreeMap<String, String> {
    BTreeMap::from([
        (MODEL_LABEL.to_owned(), model.to_owned()),
        (COMPONENT_LABEL.to_owned(), ENGINE.to_owned()),
    ])
}

/// Whether a pod of those labels helps another one to answer, and answers nobody itself.
#[must_use]
pub fn is_worker(labels: &BTreeMap<String, String>) -> bool {
    labels.get(COMPONENT_LABEL).is_some_and(|component| component == WORKER)
}

/// What selects every pod that serves a model; without workers, as [`engine_selector`].
#[must_use]
pub fn pod_selector(model: &str, has_workers: bool) -> LabelSelector {
    let mut labels = engine_selector(model);
    let any_of = has_workers.then(|| {
        labels.remove(COMPONENT_LABEL);
        vec![LabelSelectorRequirement {
            key: COMPONENT_LABEL.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![ENGINE.to_owned(), WORKER.to_owned()]),
        }]
    });
    LabelSelector {
        match_labels: Some(labels),
        match_expressions: any_of,
    }
}

/// Whether labels are those of a pod that serves a model.
#[must_use]
pub fn is_pod_of(labels: &BTreeMap<String, String>, model: &str) -> bool {
    let component = labels.get(COMPONENT_LABEL).map(String::as_str);
    labels.get(MODEL_LABEL).is_some_and(|name| name == model) && matches!(component, Some(ENGINE | WORKER))
}

/// The five recommended labels and our own one.
#[must_use]
pub fn labels(component: &str, own: &'static str, name: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "llm-portfolio"),
        ("app.kubernetes.io/instance", name),
        (COMPONENT_LABEL, component),
        ("app.kubernetes.io/part-of", "llm-portfolio"),
        ("app.kubernetes.io/managed-by", MANAGED_BY),
        (own, name),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect()
}

/// The metadata of a child in its owner's namespace, collected with it.
pub fn child<K: Resource<DynamicType = ()>>(owner: &K, name: String, labels: BTreeMap<String, String>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name),
        namespace: owner.namespace(),
        labels: Some(labels),
        owner_references: owner.controller_owner_ref(&()).map(|o| {
            vec![OwnerReference {
                block_owner_deletion: Some(true),
                ..o
            }]
        }),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_of_a_run_is_read_back_from_its_name() {
        let slot: Timestamp = "2026-10-25T01:30:00Z".parse().unwrap();
        let name = evaluation("quality", slot);
        assert_eq!(name, "quality-29881530");
        assert_eq!(evaluation_slot("quality", &name), Some(slot));
        for other in ["quality", "quality-", "quality-x", "quality-029881530", "quality-b-29881530"] {
            assert_eq!(evaluation_slot("quality", other), None, "{other}");
        }
    }
}
