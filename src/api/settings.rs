//! What the installer decides for a whole cluster. Helm values render it into a ConfigMap; every command reads it with `--settings FILE`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::{Deserialize, Deserializer, Serialize, de};

use super::data_class::{self, DataClass};
use super::guardrails::Detection;
use super::ledger::Ledger;
use super::model_deployment::EngineKind;
use super::money::{self, Usd};

/// The installer's settings. Unknown fields are refused: a misspelled one must not be silently ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Settings {
    /// Where the cluster's own machines are, such as `eu-central-1`: the region of every self-hosted model. Default: unknown, so that no
    /// self-hosted model fulfils a requirement of a region.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub region: Option<String>,
    /// Whose law the operator of the cluster is under, such as `EU`: the jurisdiction of every self-hosted model. Default: unknown.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub jurisdiction: Option<String>,
    /// The classes of data, by name, and which models may see each. Default: none, so that data has no class and goes to any model that
    /// policies allow. Example: `{Internal: {}, Personal: {classes: [Open, Custom]}}`.
    #[serde(deserialize_with = "data_class::read")]
    pub data_classes: BTreeMap<String, DataClass>,
    /// The class of data that comes from a namespace without the label `llmportfolio.dev/data-class`. Default: the lowest of `dataClasses`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub default_data_class: Option<String>,
    /// What is looked for in the text of every request, and the class that its data has then at least, whatever its headers say. It holds for
    /// policies and for models that are called directly. Pictures, sound and files in base64 are not looked into; what comes as numbers of tokens
    /// counts as found, because nobody can tell. Default: nothing is looked for. Example:
    /// `{identifiers: [Email, Phone, Iban], dataClass: Personal}`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "anything")]
    pub detection: Option<Detection>,
    /// What `accelerator.profile` of a ModelDeployment may name.
    pub accelerator_profiles: BTreeMap<String, AcceleratorProfile>,
    /// The default image and extra arguments of each engine.
    pub engines: BTreeMap<EngineKind, EngineSettings>,
    /// The hub that engines and fetches download from, such as `https://hub.example.com`: a mirror that speaks the API of the Hugging Face
    /// hub. They get it as `HF_ENDPOINT`, unless `engine.env` of a ModelDeployment has that. Default: the public hub.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "web_address")]
    pub hub_endpoint: Option<String>,
    /// Whether the pods of a model whose source is `oci://` mount its image. Default: Auto.
    pub image_volumes: ImageVolumes,
    /// Whether a RoutingPolicy may admit clients without credentials. Default: false.
    pub allow_anonymous: bool,
    /// The names of the service accounts of a model's own namespace that may call it directly, as `namespace/name`: no policy and so no budget,
    /// requirement or list of terms holds for them. Evaluations run as the first of them, which each namespace that has any must have then. Default:
    /// every service account of the namespace. Example: `[evaluations]`.
    #[serde(deserialize_with = "service_accounts", skip_serializing_if = "Vec::is_empty")]
    pub direct_callers: Vec<String>,
    /// How many bytes of weights an engine reads in a second at least, such as `500Mi`: it decides how long pods whose weights are in a cache
    /// may take to start. Default: 64Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_bytes_per_second: Option<Quantity>,
    /// Where it is kept what was spent of budgets. Default: in the gateways' namespace. Example:
    /// `{redis: {url: "redis://valkey.llm-portfolio:6379", onFailure: Closed}}`.
    pub ledger: Ledger,
    /// Who reads the metrics of engines, besides the gateway and the operator: nobody else may reach their pods. Default: nobody.
    pub scrapers: Vec<Scraper>,
}

/// A text that is none when it is empty, as Helm writes what is not set.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()))
}

/// Names that service accounts can have.
fn service_accounts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let Some(names) = Option::<Vec<String>>::deserialize(deserializer)? else {
        return Ok(Vec::new());
    };
    // It would read as if nobody might.
    if names.is_empty() {
        return Err(de::Error::custom(
            "directCallers is empty: name the service accounts that may, such as evaluations, or remove it and all of the namespace may",
        ));
    }
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    match names
        .iter()
        .find(|name| name.is_empty() || name.len() > 253 || !name.chars().all(is_fit))
    {
        Some(name) => Err(de::Error::custom(format!(
            "directCallers: {name:?} is no name of a service account; write it as evaluations, without its namespace"
        ))),
        None => Ok(names),
    }
}

/// A detection that is none when it is empty, as Helm writes what is not set.
fn anything<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Detection>, D::Error> {
    match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(serde_json::Value::Object(fields)) if fields.is_empty() => Ok(None),
        Some(given) => serde_json::from_value(given)
            .map(Some)
            .map_err(|error| de::Error::custom(format!("detection: {error}"))),
    }
}

/// What a hub can be reached at.
fn web_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let address = Option::<String>::deserialize(deserializer)?.filter(|address| !address.is_empty());
    match address {
        Some(address)
            if !["http://", "https://"]
                .iter()
                .any(|scheme| address.len() > scheme.len() && address.starts_with(scheme)) =>
        {
            Err(de::Error::custom(format!(
                "{address:?} is no address of a hub; write it as https://hub.example.com"
            )))
        }
        address => Ok(address),
    }
}

/// How pods come to weights that an image holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageVolumes {
    /// As Always where the API server is of Kubernetes 1.35 or later when the operator starts, from which on image volumes are on by
    /// default; else as Never. What the nodes' runtimes can is not known: a pod that finds none that can says so in its model's status.
    #[default]
    Auto,
    /// The image is mounted, which containerd can from 2.1 on.
    Always,
    /// What is in the image is copied out of it when a pod starts, by a container that runs the image: it must have the program `cp`.
    Never,
}

impl ImageVolumes {
    /// Whether images are mounted in a cluster whose API server is of that version, such as `(1, 35)`. One that is not known is a present one.
    #[must_use]
    pub fn are_used(self, server: Option<(u32, u32)>) -> bool {
        match self {
            Self::Auto => server.is_none_or(|version| version >= (1, 35)),
            Self::Always => true,
            Self::Never => false,
        }
    }
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
    /// What one of it costs for an hour in US dollars, such as `"0.80"`; for a profile without a `resource`, a pod on it. The status of each
    /// model shows what it costs.
    #[serde(
        rename = "pricePerHourUSD",
        deserialize_with = "money::read",
        skip_serializing_if = "Option::is_none"
    )]
    pub price_per_hour_usd: Option<Usd>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_is_an_address() {
        let read = |text: &str| serde_saphyr::from_str::<Settings>(text).map(|settings| settings.hub_endpoint);
        assert_eq!(read("hubEndpoint: http://hub:8080").unwrap().as_deref(), Some("http://hub:8080"));
        assert_eq!(read("hubEndpoint: ''").unwrap(), None);
        let refused = read("hubEndpoint: hub.example.com").unwrap_err().to_string();
        assert!(
            refused.contains("\"hub.example.com\" is no address of a hub; write it as https://"),
            "{refused}"
        );
    }

    #[test]
    fn direct_callers_are_names_of_service_accounts() {
        let read = |text: &str| serde_saphyr::from_str::<Settings>(text).map(|settings| settings.direct_callers);
        assert_eq!(read("directCallers: [evaluations]").unwrap(), ["evaluations"]);
        assert!(read("{directCallers: }").unwrap().is_empty());
        assert!(
            read("directCallers: []")
                .unwrap_err()
                .to_string()
                .contains("directCallers is empty: name")
        );
        let refused = read("directCallers: [claims/evaluations]").unwrap_err().to_string();
        assert!(
            refused.contains("\"claims/evaluations\" is no name of a service account"),
            "{refused}"
        );
    }

    #[test]
    fn images_are_mounted_where_the_server_or_the_installer_says_so() {
        for (setting, server, mounted) in [
            ("Auto", Some((1, 34)), false),
            ("Auto", Some((1, 35)), true),
            ("Auto", Some((2, 0)), true),
            ("Auto", None, true),
            ("Always", Some((1, 31)), true),
            ("Never", Some((1, 36)), false),
        ] {
            let settings: Settings = serde_saphyr::from_str(&format!("imageVolumes: {setting}")).unwrap();
            assert_eq!(settings.image_volumes.are_used(server), mounted, "{setting} {server:?}");
        }
    }
}
