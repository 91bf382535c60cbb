//! The container that fetches weights: in a pod of its own for a cache, or before the engine starts for one pod.

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, EnvFromSource, EnvVar, EnvVarSource, ResourceRequirements, SecretEnvSource, SecretKeySelector, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::model_deployment::Source;

use super::restricted;

/// What is fetched, with which variables, by which image.
#[derive(Clone)]
pub(super) struct Fetch<'a> {
    /// What the container is called.
    pub(super) name: String,
    pub(super) source: &'a Source,
    /// The user's own variables, which win.
    pub(super) env: &'a [EnvVar],
    /// The operator's, which also fetches.
    pub(super) image: &'a str,
}

impl Fetch<'_> {
    /// The container, which runs `portfolio` with `args`.
    pub(super) fn container(&self, args: Vec<String>, mounts: Vec<VolumeMount>, port: Option<ContainerPort>) -> Container {
        let secret = self.source.secret_ref.as_ref();
        let all_keys = secret.filter(|secret| secret.key.is_none()).map(|secret| EnvFromSource {
            secret_ref: Some(SecretEnvSource {
                name: secret.name.clone(),
                optional: None,
            }),
            ..EnvFromSource::default()
        });
        let is_not_theirs = |ours: &EnvVar| self.env.iter().all(|theirs| theirs.name != ours.name);
        let amounts = |cpu: Option<&str>, memory: &str| {
            let cpu = cpu.map(|cpu| ("cpu".to_owned(), Quantity(cpu.to_owned())));
            cpu.into_iter()
                .chain([("memory".to_owned(), Quantity(memory.to_owned()))])
                .collect()
        };
        Container {
            name: self.name.clone(),
            image: Some(self.image.to_owned()),
            args: Some(args),
            env: Some(
                token(self.source)
                    .into_iter()
                    .filter(is_not_theirs)
                    .chain(self.env.to_vec())
                    .collect(),
            ),
            env_from: all_keys.map(|keys| vec![keys]),
            ports: port.map(|port| vec![port]),
            // It streams to disk; what it holds does not grow with the model.
            resources: Some(ResourceRequirements {
                requests: Some(amounts(Some("100m"), "128Mi")),
                limits: Some(amounts(None, "512Mi")),
                ..ResourceRequirements::default()
            }),
            security_context: Some(restricted::container()),
            volume_mounts: (!mounts.is_empty()).then_some(mounts),
            ..Container::default()
        }
    }
}

/// The words of a command line that end in where it says how it ended.
pub(super) fn arguments(words: &[&str]) -> Vec<String> {
    let told = ["--termination-file", "/dev/termination-log"];
    words.iter().chain(&told).map(|&word| word.to_owned()).collect()
}

/// The hub's token, where the source names one.
pub(super) fn token(source: &Source) -> Option<EnvVar> {
    let secret = source.secret_ref.as_ref()?;
    let key = secret.key.clone()?;
    Some(EnvVar {
        name: "HF_TOKEN".to_owned(),
        value_from: Some(EnvVarSource {
            secret_key_ref: Some(SecretKeySelector {
                name: secret.name.clone(),
                key,
                optional: None,
            }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    })
}
