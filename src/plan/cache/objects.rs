//! The claim, and the Jobs that list, fetch and remove what is in it.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern, PodFailurePolicyRule,
};
use k8s_openapi::api::core::v1::{
    Container, ContainerPort, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimVolumeSource, PodSpec,
    PodTemplateSpec, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use crate::plan::fetcher::{self, Fetch};
use crate::plan::names::{self, BYTES_ANNOTATION, CACHE_LABEL, FETCHER, Key, REVISION_ANNOTATION, SOURCE_ANNOTATION};
use crate::plan::serving::Installation;
use crate::plan::{Invalid, hub, quantity, restricted};

use super::{Held, Listed, Place, Share, Wanted};

/// What the names of the Jobs end in.
pub const LIST: &str = "list";
/// See [`LIST`].
pub const FILL: &str = "fill";
/// See [`LIST`].
pub const EVICT: &str = "evict";

/// Where the Job that fills a cache says how far it is.
pub const PROGRESS_PORT: u16 = 8082;
/// The time between two attempts doubles from 10 s on: these are ten minutes.
const ATTEMPTS: i32 = 6;
/// A person must act: see `portfolio fetch`.
const ACT: i32 = 1;
/// A claim that is not there any more would be waited for.
const EVICTION_SECONDS: i64 = 600;
const VOLUME: &str = "cache";
const MOUNT: &str = "/cache";
const GIB: u64 = 1 << 30;

impl Wanted<'_> {
    /// The key of one of its Jobs.
    #[must_use]
    pub fn job(&self, step: &str) -> Key {
        job(&self.key, step)
    }

    /// The Job that asks the source what it has.
    #[must_use]
    pub fn list(&self, installation: Installation<'_>) -> Job {
        let args = fetcher::arguments(&["fetch", &self.from.uri, "--plan"]);
        let container = self.container(installation, args, vec![], None);
        let annotations = [(SOURCE_ANNOTATION, self.source.clone())];
        attempts(&self.key, LIST, annotations.into(), pod(container, None, &Place::default()))
    }

    /// The Job that fetches what was listed into the claim.
    #[must_use]
    pub fn fill(&self, listed: &Listed, place: &Place, installation: Installation<'_>) -> Job {
        let Held { claim, folder, .. } = self.held(listed);
        let listen = format!("0.0.0.0:{PROGRESS_PORT}");
        let to = format!("{MOUNT}/{folder}");
        let args = fetcher::arguments(&["fetch", &self.pinned(listed), "--to", &to, "--listen", &listen]);
        let port = ContainerPort {
            name: Some("progress".to_owned()),
            container_port: PROGRESS_PORT.into(),
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        };
        let container = self.container(installation, args, vec![mount()], Some(port));
        let annotations = [
            (SOURCE_ANNOTATION, self.source.clone()),
            (REVISION_ANNOTATION, listed.revision.clone()),
            (BYTES_ANNOTATION, listed.bytes.to_string()),
        ];
        attempts(&self.key, FILL, annotations.into(), pod(container, Some(&claim), place))
    }

    /// The claim, unless it is the user's own. `live` is as it is now.
    ///
    /// # Errors
    /// When what was listed does not fit.
    pub fn claim(
        &self,
        listed: &Listed,
        share: &Share,
        live: Option<&PersistentVolumeClaim>,
    ) -> Result<Option<PersistentVolumeClaim>, Invalid> {
        if !self.makes_claim() {
            return Ok(None);
        }
        let (needed, fitting) = (listed.bytes, claim_size(listed.bytes));
        let wanted = match &share.size {
            Some((size, written)) if *size < needed => {
                return Err(Invalid::new(
                    "spec.selfHosted.cache.size",
                    format!("{written} is less than the {} of {}", quantity::readable(needed), self.source),
                    format!("raise it to {fitting}, or remove it: then it follows the source"),
                ));
            }
            Some((_, written)) => written.clone(),
            None => fitting,
        };
        let access_modes = vec![format!("{:?}", share.access_mode)];
        let there = live.and_then(|live| live.spec.as_ref()?.access_modes.clone());
        if let Some(there) = there.filter(|there| *there != access_modes) {
            return Err(Invalid::new(
                "spec.selfHosted.cache.accessMode",
                format!(
                    "PersistentVolumeClaim {} has {}, which cannot be changed",
                    self.key.name,
                    there.join(", ")
                ),
                format!(
                    "say that, or `kubectl -n {} delete pvc {}`: it is made and filled again",
                    self.key.namespace, self.key.name
                ),
            ));
        }
        // Claims never shrink.
        let size = match live.and_then(requested) {
            Some(there) if quantity::bytes(&there) > quantity::bytes(&wanted) => there,
            _ => wanted,
        };
        Ok(Some(PersistentVolumeClaim {
            metadata: ObjectMeta {
                name: Some(self.key.name.clone()),
                ..metadata(&self.key, [(SOURCE_ANNOTATION, self.source.clone())].into())
            },
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(access_modes),
                storage_class_name: self.cache.storage_class_name.clone(),
                resources: Some(VolumeResourceRequirements {
                    requests: Some([("storage".to_owned(), Quantity(size))].into()),
                    ..VolumeResourceRequirements::default()
                }),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        }))
    }

    fn container(
        &self,
        installation: Installation<'_>,
        args: Vec<String>,
        mounts: Vec<VolumeMount>,
        port: Option<ContainerPort>,
    ) -> Container {
        let mut env = self.env.clone();
        hub::add(&mut env, installation.settings);
        let fetch = Fetch {
            name: FETCHER.to_owned(),
            source: self.from,
            env: &env,
            image: installation.image,
        };
        fetch.container(args, mounts, port)
    }
}

/// What a claim for so many bytes asks for: file systems need some for themselves.
#[must_use]
pub fn claim_size(bytes: u64) -> String {
    format!("{}Gi", bytes.saturating_add(bytes / 20).div_ceil(GIB).max(1))
}

/// The Job that removes what the Job `fill` of `cache` has fetched into a claim that stays.
#[must_use]
pub fn eviction(cache: &Key, fill: &Job, image: &str) -> Option<Job> {
    let filling = fill.spec.as_ref()?.template.spec.as_ref()?;
    let claim = filling
        .volumes
        .iter()
        .flatten()
        .find_map(|volume| volume.persistent_volume_claim.as_ref())?;
    let folder = format!("{MOUNT}/{}", cache.name);
    let container = Container {
        image: Some(image.to_owned()),
        args: Some(vec!["evict".to_owned(), folder]),
        env: None,
        env_from: None,
        ports: None,
        ..filling.containers.first()?.clone()
    };
    let place = Place {
        node_selector: filling.node_selector.clone().unwrap_or_default(),
        tolerations: filling.tolerations.clone().unwrap_or_default(),
    };
    let mut job = attempts(cache, EVICT, BTreeMap::new(), pod(container, Some(&claim.claim_name), &place));
    if let Some(spec) = &mut job.spec {
        spec.active_deadline_seconds = Some(EVICTION_SECONDS);
    }
    Some(job)
}

/// The key of a Job of a cache.
pub(super) fn job(cache: &Key, step: &str) -> Key {
    Key::new(&cache.namespace, format!("{}-{step}", cache.name))
}

fn requested(claim: &PersistentVolumeClaim) -> Option<String> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|Quantity(size)| size.clone())
}

fn metadata(cache: &Key, annotations: BTreeMap<&str, String>) -> ObjectMeta {
    ObjectMeta {
        namespace: Some(cache.namespace.clone()),
        labels: Some(names::labels("cache", CACHE_LABEL, &cache.name)),
        annotations: Some(annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ..ObjectMeta::default()
    }
}

/// A Job that is attempted again where time may heal it, and not where a person must act. A pod that its node loses is no attempt.
fn attempts(cache: &Key, step: &str, annotations: BTreeMap<&str, String>, pod: PodSpec) -> Job {
    let metadata = metadata(cache, annotations);
    let on_exit = PodFailurePolicyOnExitCodesRequirement {
        container_name: Some(FETCHER.to_owned()),
        operator: "In".to_owned(),
        values: vec![ACT],
    };
    let lost = PodFailurePolicyOnPodConditionsPattern {
        type_: "DisruptionTarget".to_owned(),
        status: Some("True".to_owned()),
    };
    Job {
        spec: Some(JobSpec {
            backoff_limit: Some(ATTEMPTS),
            pod_failure_policy: Some(PodFailurePolicy {
                rules: vec![
                    PodFailurePolicyRule {
                        action: "FailJob".to_owned(),
                        on_exit_codes: Some(on_exit),
                        on_pod_conditions: None,
                    },
                    PodFailurePolicyRule {
                        action: "Ignore".to_owned(),
                        on_exit_codes: None,
                        on_pod_conditions: Some(vec![lost]),
                    },
                ],
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: metadata.labels.clone(),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod),
            },
            ..JobSpec::default()
        }),
        metadata: ObjectMeta {
            name: Some(job(cache, step).name),
            ..metadata
        },
        ..Job::default()
    }
}

fn pod(container: Container, claim: Option<&str>, place: &Place) -> PodSpec {
    let mut security = restricted::pod();
    // Else the kubelet would go through all files at each mount.
    security.fs_group_change_policy = claim.map(|_| "OnRootMismatch".to_owned());
    let volume = |claim: &str| Volume {
        name: VOLUME.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name: claim.to_owned(),
            read_only: None,
        }),
        ..Volume::default()
    };
    PodSpec {
        restart_policy: Some("Never".to_owned()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(security),
        node_selector: (!place.node_selector.is_empty()).then(|| place.node_selector.clone()),
        tolerations: (!place.tolerations.is_empty()).then(|| place.tolerations.clone()),
        containers: vec![container],
        volumes: claim.map(|claim| vec![volume(claim)]),
        ..PodSpec::default()
    }
}

fn mount() -> VolumeMount {
    VolumeMount {
        name: VOLUME.to_owned(),
        mount_path: MOUNT.to_owned(),
        ..VolumeMount::default()
    }
}

impl Listed {
    /// What a Job that fetches was made for.
    pub(super) fn of_fill(job: &k8s_openapi::api::batch::v1::Job) -> Option<Self> {
        let annotations = job.annotations();
        Some(Self {
            revision: annotations.get(REVISION_ANNOTATION)?.clone(),
            bytes: annotations.get(BYTES_ANNOTATION)?.parse().ok()?,
        })
    }
}
