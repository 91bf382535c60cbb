//! The hub that the installer names for everybody: `HF_ENDPOINT` of whatever downloads for a model, unless its specification has one.

use k8s_openapi::api::core::v1::EnvVar;

use crate::api::Settings;
use crate::api::model_deployment::SelfHosted;

/// What engines and fetches read the hub's address from.
const VARIABLE: &str = "HF_ENDPOINT";

/// `own` as if its variables named the installer's hub. An engine gets it whatever its source: its arguments may name a repository.
pub(super) fn named(own: &SelfHosted, settings: &Settings) -> SelfHosted {
    let mut own = own.clone();
    add(&mut own.engine.env, settings);
    own
}

/// Adds it to variables that name none.
pub(super) fn add(variables: &mut Vec<EnvVar>, settings: &Settings) {
    if let Some(endpoint) = &settings.hub_endpoint
        && variables.iter().all(|variable| variable.name != VARIABLE)
    {
        variables.push(EnvVar {
            name: VARIABLE.to_owned(),
            value: Some(endpoint.clone()),
            ..EnvVar::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use crate::plan::serving::tests::md;
    use crate::plan::serving::{Installation, plan};

    use super::*;

    fn pod(own: &str, settings: &str) -> PodSpec {
        let (md, settings) = (md(&format!("{{selfHosted: {own}}}")), serde_saphyr::from_str(settings).unwrap());
        let installation = Installation {
            settings: &settings,
            gateway_namespace: "llm-portfolio",
            image: "localhost/portfolio:dev",
            mounts_images: true,
        };
        let serving = plan(&md, md.spec.self_hosted.as_ref().unwrap(), installation, None).unwrap();
        serving.deployment().spec.unwrap().template.spec.unwrap()
    }

    /// The hub that each container is told of.
    fn told(pod: &PodSpec) -> Vec<String> {
        let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
        let variables = containers.flat_map(|container| container.env.iter().flatten());
        variables
            .filter(|variable| variable.name == VARIABLE)
            .filter_map(|variable| variable.value.clone())
            .collect()
    }

    #[test]
    fn the_installers_hub_is_that_of_engines_and_fetches_unless_the_model_names_one() {
        let hub = "hubEndpoint: https://hub.example.com";
        let downloads = "{source: {uri: 'hf://org/name'}, engine: {kind: VLLM}}";
        let fetched = "{source: {uri: 'hf://org/name/model.gguf'}, engine: {kind: LlamaCpp}}";
        let own = "{source: {uri: 'hf://org/name/model.gguf'}, engine: {kind: LlamaCpp, env: [{name: HF_ENDPOINT, value: 'http://mine'}]}}";
        assert_eq!(told(&pod(downloads, hub)), ["https://hub.example.com"]);
        assert_eq!(told(&pod(fetched, hub)), ["https://hub.example.com"; 2]);
        assert_eq!(told(&pod(own, hub)), ["http://mine"; 2]);
        assert_eq!(told(&pod(downloads, "{}")), Vec::<String>::new());
    }
}
