//! The init container that fetches weights into the pod, for sources that the engine does not download by itself.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Container, EnvFromSource, EnvVar, ResourceRequirements, SecretEnvSource, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::api::model_deployment::SelfHosted;
use crate::plan::names::FETCHER;
use crate::plan::restricted;

use super::rollout;
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

/// Keeps the image that fetched for the pods there are, when nothing else about them changes: an upgrade of the operator, whose image this
/// is, restarts no pod.
pub fn keep(wanted: &mut Deployment, live: Option<&Deployment>) {
    let Some(image) = live.and_then(image_of) else { return };
    let mut kept = wanted.clone();
    let init = kept
        .spec
        .as_mut()
        .and_then(|spec| spec.template.spec.as_mut()?.init_containers.as_mut());
    for container in init.into_iter().flatten().filter(|container| container.name == FETCHER) {
        container.image = Some(image.clone());
    }
    if live.is_some_and(|live| rollout::is_of(live, &kept)) {
        *wanted = kept;
    }
}

fn image_of(live: &Deployment) -> Option<String> {
    let pod = live.spec.as_ref()?.template.spec.as_ref()?;
    let fetcher = pod.init_containers.iter().flatten().find(|container| container.name == FETCHER)?;
    fetcher.image.clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::serving::{Takes, first};

    fn deployment(image: &str, other: &str) -> Deployment {
        serde_saphyr::from_str(&format!(
            "{{metadata: {{}}, spec: {{selector: {{}}, template: {{spec: {{initContainers: [{{name: fetch, image: '{image}'}}], containers: [{{name: engine, image: '{other}'}}]}}}}}}}}"
        ))
        .unwrap()
    }

    #[test]
    fn an_upgrade_keeps_the_image_that_fetched_unless_the_pods_change_anyway() {
        let mut live = deployment("portfolio:1", "engine:1");
        let own: SelfHosted = serde_saphyr::from_str("engine: {kind: VLLM}").unwrap();
        first(&own, Takes::Nothing).put_on(&mut live);
        for (engine, image) in [("engine:1", "portfolio:1"), ("engine:2", "portfolio:2")] {
            let mut wanted = deployment("portfolio:2", engine);
            keep(&mut wanted, Some(&live));
            assert_eq!(image_of(&wanted).as_deref(), Some(image), "{engine}");
        }
        let mut first = deployment("portfolio:2", "engine:1");
        keep(&mut first, None);
        assert_eq!(image_of(&first).as_deref(), Some("portfolio:2"));
    }
}
