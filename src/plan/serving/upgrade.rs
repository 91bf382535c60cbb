//! An upgrade of the operator restarts no pod. A release may make other pods of the same specification (another default image, a further
//! argument, its own image for fetching): those there are stay as they were made until their specification or the settings change.
//!
//! ```text
//!   live workload ── planned by this release ──────────────────► planned anew: what others changed in it is put right
//!                 ── by another one, from the same inputs ─────► its pods stay as they are
//!                 ── by another one, from other inputs ────────► planned anew: pods are replaced
//! ```

use std::collections::BTreeMap;

use kube::ResourceExt;
use serde_json::{Value, json};

use crate::api::Settings;
use crate::api::model_deployment::{Custom, SelfHosted};
use crate::api::settings::AcceleratorProfile;
use crate::plan::cache::Held;
use crate::plan::fingerprint;
use crate::plan::names::{ADAPTERS_ANNOTATION, CACHE_ANNOTATION, INPUTS_ANNOTATION, RELEASE_ANNOTATION};

use super::workload::Workload;

/// This release.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// What a workload remembers of its making. How many pods there are, how they are replaced and what they cost makes no other
/// pods.
pub(super) fn marks(
    name: &str,
    own: &SelfHosted,
    profile: &AcceleratorProfile,
    settings: &Settings,
    held: Option<&Held>,
) -> BTreeMap<String, String> {
    let own = SelfHosted {
        replicas: 0,
        scaling: None,
        rollout: None,
        custom: own.custom.as_ref().map(Custom::answering),
        // Its folder is told apart below.
        cache: None,
        ..own.clone()
    };
    let profile = AcceleratorProfile {
        price_per_hour_usd: None,
        ..profile.clone()
    };
    let mut inputs = json!([name, own, profile, settings.engines.get(&own.engine.kind)]);
    // What is absent changes no digest: pods of other models stay.
    let is_image = own.source.as_ref().is_some_and(|source| source.uri.starts_with("oci://"));
    let images = is_image.then(|| json!({ "imageVolumes": settings.image_volumes }));
    let folder = held.map(|held| json!(held.folder));
    let hub = settings.hub_endpoint.as_ref().map(|endpoint| json!({ "hubEndpoint": endpoint }));
    if let Value::Array(inputs) = &mut inputs {
        inputs.extend(images.into_iter().chain(hub).chain(folder));
    }
    let cache = held.map(|held| (CACHE_ANNOTATION.to_owned(), held.cache.clone()));
    let marks = [
        (INPUTS_ANNOTATION.to_owned(), fingerprint::digest(&inputs)),
        (RELEASE_ANNOTATION.to_owned(), RELEASE.to_owned()),
    ];
    marks.into_iter().chain(cache).collect()
}

/// Leaves the pods of `live` as they are where another release made them from the same inputs.
pub fn keep<W: Workload>(wanted: &mut W, live: Option<&W>) {
    let mark = |workload: &W, name: &str| workload.annotations().get(name).cloned();
    let Some(live) =
        live.filter(|live| mark(live, INPUTS_ANNOTATION).is_some() && mark(live, INPUTS_ANNOTATION) == mark(wanted, INPUTS_ANNOTATION))
    else {
        return;
    };
    let Some(release) = mark(live, RELEASE_ANNOTATION).filter(|release| Some(release) != mark(wanted, RELEASE_ANNOTATION).as_ref()) else {
        return;
    };
    wanted.take_templates(live);
    wanted.annotations_mut().insert(RELEASE_ANNOTATION.to_owned(), release);
}

/// Leaves the pods of `live` as they are, whatever they were made from: what is wanted instead cannot be made yet.
pub fn stay<W: Workload>(wanted: &mut W, live: &W) {
    wanted.take_templates(live);
    for name in [INPUTS_ANNOTATION, RELEASE_ANNOTATION, CACHE_ANNOTATION, ADAPTERS_ANNOTATION] {
        let annotations = wanted.annotations_mut();
        match live.annotations().get(name) {
            Some(value) => annotations.insert(name.to_owned(), value.clone()),
            None => annotations.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::Deployment;

    use super::*;

    fn own(more: &str) -> SelfHosted {
        serde_saphyr::from_str(&format!("{{engine: {{kind: VLLM}}{more}}}")).unwrap()
    }

    fn deployment(release: &str, own: &SelfHosted, image: &str) -> Deployment {
        let mut made: Deployment = serde_saphyr::from_str(&format!(
            "{{metadata: {{}}, spec: {{selector: {{}}, template: {{spec: {{containers: [{{name: engine, image: '{image}'}}]}}}}}}}}"
        ))
        .unwrap();
        *made.annotations_mut() = marks("m", own, &AcceleratorProfile::default(), &Settings::default(), None);
        made.annotations_mut().insert(RELEASE_ANNOTATION.to_owned(), release.to_owned());
        made
    }

    fn image(deployment: &Deployment) -> &str {
        let pod = deployment.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        pod.containers[0].image.as_deref().unwrap()
    }

    #[test]
    fn pods_stay_as_another_release_made_them_until_their_inputs_change() {
        let live = deployment("1.0.0", &own(", replicas: 2"), "engine:1");
        for (release, more, kept) in [
            ("1.1.0", ", replicas: 2", true),
            ("1.1.0", ", replicas: 3, rollout: {strategy: Surge}", true),
            ("1.1.0", ", podTemplate: {metadata: {labels: {a: b}}}", false),
            // Drift under the same release is put right.
            ("1.0.0", ", replicas: 2", false),
        ] {
            let mut wanted = deployment(release, &own(more), "engine:2");
            keep(&mut wanted, Some(&live));
            assert_eq!(image(&wanted) == "engine:1", kept, "{release} {more}");
            let remembered = wanted.annotations()[RELEASE_ANNOTATION].clone();
            assert_eq!(remembered == "1.0.0", kept || release == "1.0.0", "{release} {more}");
        }
    }

    #[test]
    fn whether_images_are_mounted_makes_other_pods_of_those_that_mount_one() {
        let marks = |uri: &str, setting: &str| {
            let settings: Settings = serde_saphyr::from_str(&format!("imageVolumes: {setting}")).unwrap();
            let own = own(&format!(", source: {{uri: '{uri}'}}"));
            marks("m", &own, &AcceleratorProfile::default(), &settings, None)
        };
        assert_ne!(marks("oci://r.example.com/m", "Never"), marks("oci://r.example.com/m", "Always"));
        assert_eq!(marks("hf://org/m", "Never"), marks("hf://org/m", "Always"));
    }

    #[test]
    fn another_hub_of_the_installers_makes_other_pods() {
        let marks = |settings: &str| {
            let settings: Settings = serde_saphyr::from_str(settings).unwrap();
            marks("m", &own(""), &AcceleratorProfile::default(), &settings, None)
        };
        assert_ne!(marks("{}"), marks("hubEndpoint: https://hub.example.com"));
        assert_ne!(
            marks("hubEndpoint: https://a.example.com"),
            marks("hubEndpoint: https://b.example.com")
        );
    }

    #[test]
    fn what_an_earlier_one_did_not_mark_is_planned_anew() {
        let mut live = deployment("1.0.0", &own(""), "engine:1");
        live.annotations_mut().clear();
        for live in [None, Some(&live)] {
            let mut wanted = deployment("1.1.0", &own(""), "engine:2");
            keep(&mut wanted, live);
            assert_eq!(image(&wanted), "engine:2");
        }
    }
}
