//! Caches that nobody uses: no ModelDeployment asks for them, and no Deployment has pods that read them.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{Resource, ResourceExt};

use crate::api::ModelDeployment;
use crate::plan::names::{CACHE_ANNOTATION, CACHE_LABEL, Key};

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
    Evict(Box<Job>),
}

/// The cache that the pods of a workload read.
pub fn read_by<K: Resource>(workload: &K) -> Option<Key> {
    let cache = workload.annotations().get(CACHE_ANNOTATION)?;
    Some(Key::new(workload.namespace()?, cache))
}

/// The caches among `jobs` and `claims` that no model asks for, and that are not among those that are `read`.
#[must_use]
pub fn unused(
    jobs: &[Arc<Job>],
    claims: &[Arc<PersistentVolumeClaim>],
    models: &[Arc<ModelDeployment>],
    pods: &[Arc<Pod>],
    read: impl Iterator<Item = Key>,
    image: &str,
) -> Vec<Unused> {
    let used: BTreeSet<Key> = models.iter().filter_map(|md| super::name(md)).chain(read).collect();
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
            (None, Some(fill)) if !has_begun(fill, pods.iter().map(AsRef::as_ref)) => Some(remove),
            (None, Some(fill)) => Some(eviction(cache, fill, image).map_or(remove, |job| Unused::Evict(Box::new(job)))),
            (None, None) => Some(remove),
        }
    };
    there.difference(&used).filter_map(act).collect()
}

fn of<K: Resource>(object: &K) -> Option<Key> {
    Some(Key::new(object.namespace()?, object.labels().get(CACHE_LABEL)?))
}
