//! Weights in a container image, `oci://registry/repository:tag#path`: mounted as a volume where the cluster can, else copied out of it by an
//! init container that runs the image.
//!
//! The path follows `#`, as what of a resource is meant does in any URI: it is no part of the image's name, in which a tag or a digest comes
//! last. Without one it is `models`, where images made for other servers ("modelcars") have their weights.

use k8s_openapi::api::core::v1::{Container, ResourceRequirements, VolumeMount};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::plan::names::{COPIER, WEIGHTS};
use crate::plan::{Invalid, restricted};

use super::source::MODELS;

/// Where weights lie in an image, unless the URI says otherwise.
const PATH: &str = "models";
/// Where the copy goes, in the container that makes it: no image has this folder for something else.
const COPIED: &str = "/copied-weights";

/// An image that holds weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    /// As the kubelet pulls it.
    pub(super) reference: String,
    /// The folder or file in it, without a slash at either end; empty: all of it.
    pub(super) path: String,
}

impl Image {
    /// Reads what follows `oci://`.
    pub(super) fn read(rest: &str, field: &str) -> Result<Self, Invalid> {
        let (reference, path) = rest.split_once('#').unwrap_or((rest, PATH));
        let path = path.trim_matches('/');
        let invalid = |problem: &str, remedy: &str| Err(Invalid::new(field, format!("{:?} {problem}", format!("oci://{rest}")), remedy));
        let registry = reference.split_once('/').map(|(registry, _)| registry).unwrap_or_default();
        // Without one, which registry is meant would be the node's to decide.
        if !(registry == "localhost" || registry.contains(['.', ':'])) || reference.contains(char::is_whitespace) {
            return invalid(
                "names no image with its registry",
                "write it as oci://registry.example.com/repository:tag#path/in/the/image",
            );
        }
        if path.split('/').any(|part| part == "..") {
            return invalid(
                "has a path that leads out of the image",
                "write the path from the image's root, without ..",
            );
        }
        Ok(Self {
            reference: reference.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Where the engine finds the weights, mounted or copied.
    pub(super) fn place(&self) -> String {
        format!("{MODELS}/{}", self.path).trim_end_matches('/').to_owned()
    }

    /// Where the volume of the copy is mounted for the engine, so that the weights have the same place as in a mounted image.
    pub(super) fn parent(&self) -> String {
        let parent = self.path.rsplit_once('/').map_or("", |(parent, _)| parent);
        format!("{MODELS}/{parent}").trim_end_matches('/').to_owned()
    }
}

/// The container that copies the weights out of the image it runs. What an earlier attempt left is written over.
pub(super) fn copier(image: &Image, field: &str) -> Result<Container, Invalid> {
    if image.path.is_empty() {
        return Err(Invalid::new(
            field,
            format!(
                "all of the image {:?} cannot be copied, and the cluster mounts no images",
                image.reference
            ),
            "put the weights into a folder of the image and name it after #",
        ));
    }
    Ok(Container {
        name: COPIER.to_owned(),
        image: Some(image.reference.clone()),
        // Its own entry point is for something else. Named links are followed, as those of a cache are.
        command: Some(vec![
            "cp".to_owned(),
            "-RH".to_owned(),
            format!("/{}", image.path),
            format!("{COPIED}/"),
        ]),
        resources: Some(ResourceRequirements {
            requests: Some(
                [
                    ("cpu".to_owned(), Quantity("100m".to_owned())),
                    ("memory".to_owned(), Quantity("64Mi".to_owned())),
                ]
                .into(),
            ),
            limits: Some([("memory".to_owned(), Quantity("512Mi".to_owned()))].into()),
            ..ResourceRequirements::default()
        }),
        // What cp says goes into the pod's status, and from there into ours.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        security_context: Some(restricted::container()),
        volume_mounts: Some(vec![VolumeMount {
            name: WEIGHTS.to_owned(),
            mount_path: COPIED.to_owned(),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use crate::api::Settings;
    use crate::plan::serving::tests::md;
    use crate::plan::serving::{Installation, plan};

    use super::*;

    fn pod(uri: &str, engine: &str, mounts_images: bool) -> PodSpec {
        let md = md(&format!("{{selfHosted: {{source: {{uri: '{uri}'}}, engine: {{kind: {engine}}}}}}}"));
        let installation = Installation {
            settings: &Settings::default(),
            gateway_namespace: "llm-portfolio",
            image: "localhost/portfolio:dev",
            mounts_images,
        };
        let serving = plan(&md, md.spec.self_hosted.as_ref().unwrap(), installation, None).unwrap();
        serving.deployment().spec.unwrap().template.spec.unwrap()
    }

    #[test]
    fn the_engine_finds_the_weights_at_the_same_place_mounted_or_copied() {
        const FILE: &str = "oci://r.example.com/smol:1#models/smol.gguf";
        let (mounted, copied) = (pod(FILE, "LlamaCpp", true), pod(FILE, "LlamaCpp", false));
        assert_eq!(mounted.init_containers, None);
        for pod in [&mounted, &copied] {
            let args = pod.containers[0].args.as_ref().unwrap();
            assert_eq!(args[..2], ["--model", "/models/models/smol.gguf"]);
        }
        let weights = |pod: &PodSpec| {
            let volume = pod.volumes.iter().flatten().find(|volume| volume.name == WEIGHTS).cloned();
            let mount = pod.containers[0]
                .volume_mounts
                .iter()
                .flatten()
                .find(|mount| mount.name == WEIGHTS)
                .cloned();
            (volume, mount)
        };
        insta::assert_yaml_snapshot!("mounted_weights", weights(&mounted));
        insta::assert_yaml_snapshot!("copied_weights", (weights(&copied), &copied.init_containers));

        let folder = pod(
            "oci://r.example.com/llama@sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            "VLLM",
            true,
        );
        assert_eq!(folder.containers[0].args.as_ref().unwrap()[0], "/models/models");
    }

    #[test]
    fn the_image_and_the_path_in_it_are_told_apart() {
        for (uri, reference, place, parent) in [
            (
                "registry.example.com/models/llama:7b",
                "registry.example.com/models/llama:7b",
                "/models/models",
                "/models",
            ),
            ("localhost/weights:1#m.gguf", "localhost/weights:1", "/models/m.gguf", "/models"),
            (
                "r.example.com:5000/a/b@sha256:00#/a/b/",
                "r.example.com:5000/a/b@sha256:00",
                "/models/a/b",
                "/models/a",
            ),
            ("r.example.com/a#/", "r.example.com/a", "/models", "/models"),
        ] {
            let image = Image::read(uri, "f").unwrap();
            assert_eq!(
                (image.reference.as_str(), image.place().as_str(), image.parent().as_str()),
                (reference, place, parent),
                "{uri}"
            );
        }
    }

    #[test]
    fn what_is_no_image_of_a_registry_or_leads_out_of_it_is_refused() {
        for (uri, words) in [
            ("llama", "names no image with its registry; write it as oci://"),
            ("org/llama:7b", "names no image with its registry"),
            ("r.example.com/a b", "names no image with its registry"),
            ("r.example.com/a#../etc", "leads out of the image"),
        ] {
            let refused = Image::read(uri, "spec.selfHosted.source.uri").unwrap_err().to_string();
            assert!(
                refused.starts_with("spec.selfHosted.source.uri: ") && refused.contains(words),
                "{refused}"
            );
        }
        let all = Image::read("r.example.com/a#/", "f").unwrap();
        assert!(copier(&all, "f").unwrap_err().to_string().contains("name it after #"));
    }
}
