//! The init container that fetches weights into the pod, for sources that the engine does not download by itself.

use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, ResourceRequirements, SecretEnvSource, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::model_deployment::SelfHosted;
use crate::plan::names::FETCHER;
use crate::plan::restricted;

use super::source::MODELS;

/// The volume that the weights come into.
pub(super) const VOLUME: &str = "weights";

/// The container, which runs `image`. `token` is the hub's, if the source names one.
pub(super) fn container(own: &SelfHosted, uri: &str, token: Option<EnvVar>, image: &str) -> Container {
    let secret = own.source.as_ref().and_then(|source| source.secret_ref.as_ref());
    let all_keys = secret.filter(|secret| secret.key.is_none()).map(|secret| EnvFromSource {
        secret_ref: Some(SecretEnvSource {
            name: secret.name.clone(),
            optional: None,
        }),
        ..EnvFromSource::default()
    });
    let is_not_theirs = |ours: &EnvVar| own.engine.env.iter().all(|theirs| theirs.name != ours.name);
    let amounts = |cpu: Option<&str>, memory: &str| {
        let cpu = cpu.map(|cpu| ("cpu".to_owned(), Quantity(cpu.to_owned())));
        cpu.into_iter()
            .chain([("memory".to_owned(), Quantity(memory.to_owned()))])
            .collect()
    };
    Container {
        name: FETCHER.to_owned(),
        image: Some(image.to_owned()),
        args: Some(
            ["fetch", uri, "--to", MODELS, "--termination-file", "/dev/termination-log"]
                .map(str::to_owned)
                .to_vec(),
        ),
        env: Some(token.into_iter().filter(is_not_theirs).chain(own.engine.env.clone()).collect()),
        env_from: all_keys.map(|keys| vec![keys]),
        // It streams to disk; what it holds does not grow with the model.
        resources: Some(ResourceRequirements {
            requests: Some(amounts(Some("100m"), "128Mi")),
            limits: Some(amounts(None, "512Mi")),
            ..ResourceRequirements::default()
        }),
        security_context: Some(restricted::container()),
        volume_mounts: Some(vec![VolumeMount {
            name: VOLUME.to_owned(),
            mount_path: MODELS.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}
