//! Models that share accelerators of one profile: what their pods hold and lack, and how many replicas each may have because of it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::Round;
use super::model::Looked;
use crate::api::ModelDeployment;
use crate::api::scaling::Sharing;
use crate::plan::names::{Key, MODEL_LABEL};
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
    /// So many replicas there are to be.
    wanted: u32,
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
    pub(super) fn note(&mut self, looked: &Looked) {
        let Some((profile, sharing, count)) = shares(&looked.md) else {
            return;
        };
        let own = looked.md.spec.self_hosted.as_ref();
        let nodes = own.map_or(1, |own| u32::try_from(serving::nodes(own)).unwrap_or(1)).max(1);
        let contender = Contender {
            tier: looked.md.spec.tier,
            weight: sharing.weight,
            min: looked.bounds.min,
            busy: looked.decision.load.map_or(u32::MAX, |(load, _)| load.ceil() as u32),
            placed: 0,
            size: u64::from(count) * u64::from(nodes),
            lacks: 0,
        };
        let sharer = Sharer {
            contender,
            wanted: looked.decision.replicas,
            nodes,
        };
        self.0.entry(profile.to_owned()).or_default().insert(Key::of(&*looked.md), sharer);
    }
}

impl Sharer {
    fn with(self, seen: Places) -> Contender {
        // What pods wait for beyond the number that is wanted, they want for the time of a change only.
        let missing = (u64::from(self.wanted) * self.contender.size).saturating_sub(u64::from(seen.placed) * self.of_a_pod());
        Contender {
            placed: seen.placed / self.nodes,
            lacks: seen.lacks.min(missing),
            ..self.contender
        }
    }

    fn of_a_pod(&self) -> u64 {
        self.contender.size / u64::from(self.nodes)
    }
}

impl Pools {
    /// How many a model may have because it made room.
    pub(super) fn cap(&self, md: &ModelDeployment) -> Option<Cap> {
        let (profile, ..) = shares(md)?;
        self.0.get(profile)?.cap(&Key::of(md))
    }

    /// Takes what some lack from others, from the next round on.
    pub(super) fn settle(&mut self, contenders: Contenders, round: &Round) {
        self.0.retain(|profile, _| contenders.0.contains_key(profile));
        if contenders.0.is_empty() {
            return;
        }
        let places = places(&round.cx.cluster.stores.pods.all(), round.now);
        for (profile, all) in contenders.0 {
            let mut leaving = 0;
            let seen = |(key, sharer): (Key, Sharer)| {
                let seen = places.get(&key).copied().unwrap_or_default();
                leaving += u64::from(seen.leaving) * sharer.of_a_pod();
                (key, sharer.with(seen))
            };
            let all: BTreeMap<Key, Contender> = all.into_iter().map(seen).collect();
            for news in self.0.entry(profile.clone()).or_default().settle(&all, leaving, round.now) {
                match news {
                    News::Taken { from, replicas, to } => {
                        tracing::info!(%from, replicas, %to, profile, "accelerators are too few, and one model makes room for another");
                    }
                    News::InVain(model) => tracing::warn!(
                        %model,
                        profile,
                        "others made room for a model, and its pods found no node all the same: accelerators came free where they do not fit, or \
                         somebody else took them; no more is taken for it until all its pods have a node"
                    ),
                }
            }
        }
    }
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

/// Which pods have a place, by their models.
fn places(all: &[Arc<Pod>], now: Timestamp) -> HashMap<Key, Places> {
    let mut places: HashMap<Key, Places> = HashMap::new();
    for pod in all {
        let (Some(namespace), Some(model)) = (pod.namespace(), pod.labels().get(MODEL_LABEL)) else {
            continue;
        };
        let of_model = places.entry(Key::new(namespace, model)).or_default();
        let ends = pod.metadata.deletion_timestamp.as_ref().map(|ends| ends.0);
        match (serving::usage::is_held(pod), ends) {
            (true, None) => of_model.placed += 1,
            (true, Some(ends)) => of_model.leaving += u32::from(now.duration_since(ends) < OVERDUE),
            (false, _) => of_model.lacks += pods::lacks(pod, PATIENCE, now),
        }
    }
    places
}
