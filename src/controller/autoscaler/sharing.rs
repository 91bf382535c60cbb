//! Models that share accelerators of one profile: what their pods hold and lack, and how many replicas each may have because of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tokio::time::timeout;

use super::model::Looked;
use super::{Round, carry};
use crate::api::ModelDeployment;
use crate::api::scaling::Sharing;
use crate::controller::context::Context;
use crate::plan::names::{self, Key, MODEL_LABEL};
use crate::plan::pods;
use crate::plan::scaling::share::{Cap, Contender, News, PATIENCE, Pool};
use crate::plan::serving;

/// A pod that is still there so long after it should have ended does not end: nobody waits for what it holds.
const OVERDUE: SignedDuration = SignedDuration::from_secs(60);

/// What is known of the accelerators that are shared, by profile.
#[derive(Default)]
pub(super) struct Pools(HashMap<String, Pool>);

/// Models that share, by profile.
#[derive(Default)]
pub(super) struct Contenders(HashMap<String, BTreeMap<Key, Sharer>>);

/// A model that shares, before its pods are looked at.
struct Sharer {
    contender: Contender,
    /// What an accelerator is to the scheduler.
    resource: String,
    /// Pods of one replica.
    nodes: u32,
}

/// What pods of one model say.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    /// On a node, and to stay there.
    placed: u32,
    /// On a node, and on their way out.
    leaving: u32,
    /// Accelerators that others wait for.
    lacks: u64,
}

impl Contenders {
    /// One takes part, if it shares what there is of a profile.
    pub(super) fn note(&mut self, looked: &Looked, cx: &Context) {
        let Some((profile, sharing, count)) = shares(&looked.md).filter(|_| !looked.is_for_others) else {
            return;
        };
        // What has none is refused elsewhere.
        let Some(resource) = cx
            .settings
            .accelerator_profiles
            .get(profile)
            .and_then(|profile| profile.resource.clone())
        else {
            return;
        };
        let own = looked.md.spec.self_hosted.as_ref();
        let nodes = own.map_or(1, |own| u32::try_from(serving::nodes(own)).unwrap_or(1)).max(1);
        // What is not known of the demand makes nobody idle.
        let load = looked.decision.load.filter(|_| looked.is_known);
        let contender = Contender {
            tier: looked.md.spec.tier,
            weight: sharing.weight,
            min: looked.bounds.min,
            wanted: looked.decision.replicas,
            going: looked.going,
            busy: load.map_or(u32::MAX, |(load, _)| load.ceil() as u32),
            placed: 0,
            size: u64::from(count) * u64::from(nodes),
            lacks: 0,
        };
        let sharer = Sharer {
            contender,
            resource,
            nodes,
        };
        self.0.entry(profile.to_owned()).or_default().insert(Key::of(&*looked.md), sharer);
    }
}

impl Sharer {
    fn with(&self, seen: Places) -> Contender {
        // What pods wait for beyond the number that is wanted, they want for the time of a change only.
        let missing = (u64::from(self.contender.wanted) * self.contender.size).saturating_sub(u64::from(seen.placed) * self.of_a_pod());
        let lacks = seen.lacks.min(missing);
        // Pods of a group come one after the other: what only some of them need is of no use to it.
        let of_a_group = self.contender.size - u64::from(seen.placed % self.nodes) * self.of_a_pod();
        Contender {
            placed: seen.placed / self.nodes,
            lacks: if lacks < of_a_group { 0 } else { lacks },
            ..self.contender
        }
    }

    fn of_a_pod(&self) -> u64 {
        self.contender.size / u64::from(self.nodes)
    }
}

impl Pools {
    /// Nothing is shared any more.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// How many a model may have because it made room.
    pub(super) fn cap(&self, md: &ModelDeployment) -> Option<Cap> {
        let (profile, ..) = shares(md)?;
        self.0.get(profile)?.cap(&Key::of(md))
    }

    /// Takes what some lack from others, from the next round on. Says for whom that was of no use, by profile.
    pub(super) fn settle(&mut self, contenders: Contenders, round: &Round) -> Vec<(Key, String)> {
        self.0.retain(|profile, _| contenders.0.contains_key(profile));
        let mut in_vain = Vec::new();
        if contenders.0.is_empty() {
            return in_vain;
        }
        let pods = by_model(round.cx.cluster.stores.pods.all());
        for (profile, sharers) in contenders.0 {
            let mut leaving = 0;
            let seen = |(key, sharer): (Key, Sharer)| {
                let pods = pods.get(&key).map_or(&[][..], Vec::as_slice);
                let seen = Places::of(pods, &sharer.resource, round.now);
                leaving += u64::from(seen.leaving) * sharer.of_a_pod();
                (key, sharer.with(seen))
            };
            let all: BTreeMap<Key, Contender> = sharers.into_iter().map(seen).collect();
            let pool = self.0.entry(profile.clone()).or_default();
            for news in pool.settle(&all, leaving, round.now) {
                match news {
                    News::Taken { from, replicas, to } => {
                        tracing::info!(%from, replicas, %to, profile, "accelerators are too few, and one model makes room for another");
                    }
                    News::InVain(model) => in_vain.push((model, profile.clone())),
                }
            }
        }
        in_vain
    }
}

/// Tells whom it concerns that others made room for a model, which was of no use to it.
pub(super) async fn tell_in_vain(model: Key, profile: String, cx: &Context) {
    let Some(md) = cx.cluster.stores.models.get(&model) else { return };
    let message = format!(
        "others made room among the accelerators of profile {profile}, and no pod found a node all the same: they came free where they do not fit, or \
         somebody else took them; no more is taken until one finds a node, or for an hour: see the events of its pods"
    );
    timeout(carry::PATIENCE, cx.cluster.note(&*md, false, "RoomInVain", &message))
        .await
        .ok();
}

/// The profile that a model shares, how, and how many accelerators each of its pods has.
fn shares(md: &ModelDeployment) -> Option<(&str, &Sharing, u32)> {
    let own = md.spec.self_hosted.as_ref()?;
    let sharing = own.scaling.as_ref()?.sharing.as_ref()?;
    let accelerator = own.accelerator.as_ref()?;
    Some((
        accelerator.profile.as_deref()?,
        sharing,
        u32::try_from(accelerator.count).ok()?.max(1),
    ))
}

fn by_model(all: Vec<Arc<Pod>>) -> HashMap<Key, Vec<Arc<Pod>>> {
    let mut pods: HashMap<Key, Vec<Arc<Pod>>> = HashMap::new();
    for pod in all {
        let model = pod.labels().get(MODEL_LABEL).filter(|model| names::is_pod_of(pod.labels(), model));
        if let (Some(namespace), Some(model)) = (pod.namespace(), model) {
            pods.entry(Key::new(namespace, model)).or_default().push(pod);
        }
    }
    pods
}

impl Places {
    fn of(pods: &[Arc<Pod>], resource: &str, now: Timestamp) -> Self {
        let mut places = Self::default();
        for pod in pods {
            let ends = pod.metadata.deletion_timestamp.as_ref().map(|ends| ends.0);
            match (serving::usage::is_held(pod), ends) {
                (true, None) => places.placed += 1,
                (true, Some(ends)) => places.leaving += u32::from(now.duration_since(ends) < OVERDUE),
                (false, _) => places.lacks += pods::lacks(pod, resource, PATIENCE, now),
            }
        }
        places
    }
}
