//! Caches that nobody uses: no ModelDeployment asks for them, no workload makes pods that read them, and no pod reads them still.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Resource, ResourceExt};

use crate::api::ModelDeployment;
use crate::plan::names::{CACHE_ANNOTATION, CACHE_LABEL, Key, WEIGHTS};

use super::objects::{EVICT, FILL, LIST, eviction, job};
use super::stage::{has_begun, has_ended};

/// What to do about a cache that nobody uses.
#[derive(Clone, Debug, PartialEq)]
pub enum Unused {
    /// These Jobs go, and the claim of this name.
    Remove {
        /// Its Jobs.
        jobs: Vec<Key>,
        /// Its claim; it is there only if it was made for the cache.
        claim: Key,
    },
    /// What it left in a user's claim is removed first.
    Evict {
        /// The Job that does so.
        evict: Box<Job>,
        /// The one that fetched, which goes.
        fill: Key,
    },
}

/// The cache that the pods of a workload read.
pub fn read_by<K: Resource>(workload: &K) -> Option<Key> {
    let cache = workload.annotations().get(CACHE_ANNOTATION)?;
    Some(Key::new(workload.namespace()?, cache))
}

/// The cache that a pod mounts: in a rollout another one than those that follow it.
#[must_use]
pub fn mounted_by(pod: &Pod) -> Option<Key> {
    let spec = pod.spec.as_ref()?;
    let mut mounts = spec
        .containers
        .iter()
        .flat_map(|container| container.volume_mounts.iter().flatten());
    let folder = mounts.find(|mount| mount.name == WEIGHTS)?.sub_path.as_ref()?;
    let (cache, _) = folder.split_once('/')?;
    Some(Key::new(pod.namespace()?, cache))
}

/// Whether a pod may still read what it mounts.
fn is_there(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

/// The caches among `jobs` and `claims` that no model asks for; pods that read those of `made` may be made again.
#[must_use]
pub fn unused(
    jobs: &[Arc<Job>],
    claims: &[Arc<PersistentVolumeClaim>],
    models: &[Arc<ModelDeployment>],
    pods: &[Arc<Pod>],
    made: &[Key],
    image: &str,
) -> Vec<Unused> {
    let used: BTreeSet<Key> = models
        .iter()
        .filter_map(|md| super::name(md))
        .chain(made.iter().cloned())
        .chain(pods.iter().filter(|pod| is_there(pod)).filter_map(|pod| mounted_by(pod)))
        .collect();
    let there: BTreeSet<Key> = jobs
        .iter()
        .filter_map(|job| of(&**job))
        .chain(claims.iter().filter_map(|claim| of(&**claim)))
        .collect();
    let steps = |cache: &Key| -> Vec<Key> { [LIST, FILL, EVICT].map(|step| job(cache, step)).to_vec() };
    let job_of = |cache: &Key, step: &str| {
        let key = job(cache, step);
        jobs.iter().find(|job| Key::of(&***job) == key)
    };
    let act = |cache: &Key| {
        let remove = Unused::Remove {
            jobs: steps(cache),
            claim: cache.clone(),
        };
        let is_ours = claims.iter().any(|claim| of(&**claim).as_ref() == Some(cache));
        match (job_of(cache, EVICT), job_of(cache, FILL)) {
            _ if is_ours => Some(remove),
            (Some(evict), _) => has_ended(evict).then_some(remove),
            // Its claim may never have been there.
            (None, Some(fill)) if !has_begun(fill, pods) => Some(remove),
            (None, Some(fill)) => Some(evicting(cache, fill, image).unwrap_or(remove)),
            (None, None) => Some(remove),
        }
    };
    there.difference(&used).filter_map(act).collect()
}

fn evicting(cache: &Key, fill: &Job, image: &str) -> Option<Unused> {
    Some(Unused::Evict {
        evict: Box::new(eviction(cache, fill, image)?),
        fill: job(cache, FILL),
    })
}

fn of<K: Resource>(object: &K) -> Option<Key> {
    Some(Key::new(object.namespace()?, object.labels().get(CACHE_LABEL)?))
}
