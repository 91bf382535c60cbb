//! What the installer decides for a whole cluster. Helm values render it into a ConfigMap; every command reads it with `--settings FILE`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Serialize};

use super::model_deployment::EngineKind;

/// The installer's settings. Unknown fields are refused: a misspelled one must not be silently ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// What `accelerator.profile` of a ModelDeployment may name.
    pub accelerator_profiles: BTreeMap<String, AcceleratorProfile>,
    /// The default image and extra arguments of each engine.
    pub engines: BTreeMap<EngineKind, EngineSettings>,
    /// Whether a RoutingPolicy may admit clients without credentials. Default: false.
    pub allow_anonymous: bool,
    /// How many bytes of weights an engine reads in a second at least, such as `500Mi`: it decides how long pods whose weights are in a cache
    /// may take to start. Default: 64Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_bytes_per_second: Option<Quantity>,
    /// Who reads the metrics of engines, besides the gateway and the operator: nobody else may reach their pods. Default: nobody.
    pub scrapers: Vec<Scraper>,
}

/// Pods that may reach the engines, such as Prometheus'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Scraper {
    /// The namespace they are in, such as `monitoring`.
    pub namespace: String,
    /// Labels they have, such as `{app.kubernetes.io/name: prometheus}`. None: every pod of the namespace.
    #[serde(default)]
    pub pod_labels: BTreeMap<String, String>,
}

/// One kind of accelerator (or plain CPU) that models may ask for by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AcceleratorProfile {
    /// The extended resource that one accelerator is, such as `nvidia.com/gpu`. None: no device is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Labels of the nodes that have it.
    pub node_selector: BTreeMap<String, String>,
    /// Taints of those nodes that the pods tolerate.
    pub tolerations: Vec<Toleration>,
    /// The runtime class that makes the device visible.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_class_name: Option<String>,
    /// What each pod on this profile requests, such as `{cpu: "2", memory: 8Gi}`; memory is its limit too. A ModelDeployment's own
    /// `resources` win, name by name.
    pub resources: BTreeMap<String, Quantity>,
}

/// What an engine runs as, unless a ModelDeployment says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EngineSettings {
    /// The container image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Arguments placed before the ModelDeployment's own.
    pub args: Vec<String>,
}
