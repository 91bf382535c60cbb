//! What goes wrong with weights that come in an image: in pulling it, in mounting it, in copying out of it.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};

use super::{Trouble, Words, last_line};

/// The image of a volume that `detail`, the kubelet's words on a container that cannot start, is about.
pub(super) fn of_volume<'a>(pod: &'a Pod, detail: &str) -> Option<&'a str> {
    images(pod).find(|image| detail.contains(&format!("{image:?}")))
}

/// What runtimes that know no image volumes say: they see a mount of nothing.
const MOUNTS_OF_NOTHING: [&str; 4] = ["mkdir \"\"", "Source must not be empty", "image volume", "image mount"];

/// The trouble of a container that cannot be made because its runtime cannot mount the image of a volume. Not in the runtime's own words: a
/// new container's number in them would make the status move by itself.
pub(super) fn not_mounted(pod: &Pod, detail: &str, words: &Words) -> Option<Trouble> {
    let image = images(pod).next()?;
    MOUNTS_OF_NOTHING.iter().any(|part| detail.contains(part)).then(|| Trouble {
        reason: "ImageNotMounted",
        message: format!(
            "{}: the node's container runtime cannot mount the image {image:?}: containerd can from 2.1 on; where nodes cannot, let the \
             installer set imageVolumes to Never, and weights are copied out of images",
            words.volumes
        ),
        stalled: false,
    })
}

/// The trouble of a copy that ended.
pub(super) fn not_copied(image: &str, ended: &ContainerStateTerminated, words: &Words) -> Trouble {
    let said = ended.message.as_deref().unwrap_or_default();
    let message = if said.contains("executable file not found") || said.contains("no such file or directory") && ended.exit_code == 128 {
        format!(
            "{}: the image {image:?} has no program cp, which copies the weights where images are not mounted; add one to the image, or let \
             the installer set imageVolumes to Always where the nodes' runtimes can mount images",
            words.volumes
        )
    } else {
        let said = last_line(said).map_or_else(String::new, |line| format!(": {line}"));
        format!(
            "{}: copying the weights out of the image {image:?} ended with exit code {}{said}; name what is in the image after #",
            words.volumes, ended.exit_code
        )
    };
    Trouble {
        reason: "WeightsNotCopied",
        message,
        stalled: false,
    }
}

fn images(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| volume.image.as_ref()?.reference.as_deref())
}
