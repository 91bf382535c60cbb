//! Models that share accelerators of one kind, where there are too few of them: what each decided by itself is bounded by its share.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::Round;
use super::model::Looked;
use crate::api::model_deployment::SelfHosted;
use crate::plan::names::{Key, MODEL_LABEL};
use crate::plan::pods;
use crate::plan::scaling::share::{Contender, PATIENCE, Pool, share};
use crate::plan::scaling::{Decision, Why};
use crate::plan::serving;

/// What is known of the accelerators that are shared, by what specifications call them.
#[derive(Default)]
pub(super) struct Pools(HashMap<String, Pool>);

/// What pods of one model say.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    placed: u32,
    /// Whether one has found no place for so long that there is none.
    lacks: bool,
}

impl Pools {
    /// Bounds the decisions about models that share what there is too little of.
    pub(super) fn share_out(&mut self, looked: &mut [Looked], round: &Round) {
        let mut by_pool: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, one) in looked.iter().enumerate() {
            if let Some(pool) = one.md.spec.self_hosted.as_ref().and_then(pool) {
                by_pool.entry(pool).or_default().push(at);
            }
        }
        self.0.retain(|pool, _| by_pool.contains_key(pool));
        if by_pool.is_empty() {
            return;
        }
        let places = places(&round.cx.cluster.stores.pods.all(), round);
        for (name, all) in by_pool {
            let seen: Vec<(Contender, bool)> = all.iter().map(|at| contender(&looked[*at], &places)).collect();
            let contenders: Vec<Contender> = seen.iter().map(|(contender, _)| *contender).collect();
            let lacks = seen.iter().any(|(_, lacks)| *lacks);
            let Some(there) = self.0.entry(name).or_default().short(&contenders, lacks, round.now) else {
                continue;
            };
            for (at, given) in all.into_iter().zip(share(&contenders, there)) {
                let one = &mut looked[at];
                if given < one.decision.replicas {
                    one.decision = Decision {
                        replicas: given,
                        why: Why::Shared,
                        ..one.decision
                    };
                }
            }
        }
    }
}

/// The accelerators that a model shares, if it does.
fn pool(own: &SelfHosted) -> Option<String> {
    own.scaling.as_ref()?.sharing.as_ref()?;
    let accelerator = own.accelerator.as_ref()?;
    accelerator
        .profile
        .clone()
        .or_else(|| Some(format!("claim {:?}", accelerator.claim.as_ref()?)))
}

fn contender(looked: &Looked, places: &HashMap<Key, Places>) -> (Contender, bool) {
    let places = places.get(&Key::of(&*looked.md)).copied().unwrap_or_default();
    let own = looked.md.spec.self_hosted.as_ref();
    let nodes = own.map_or(1, |own| u32::try_from(serving::nodes(own)).unwrap_or(1)).max(1);
    let count = own
        .and_then(|own| own.accelerator.as_ref())
        .map_or(1, |accelerator| accelerator.count);
    let sharing = own.and_then(|own| own.scaling.as_ref()?.sharing.as_ref());
    let contender = Contender {
        tier: looked.md.spec.tier,
        weight: sharing.map_or(1, |sharing| sharing.weight),
        wanted: looked.decision.replicas,
        min: looked.bounds.min,
        placed: places.placed / nodes,
        size: u32::try_from(count).unwrap_or(1).max(1).saturating_mul(nodes),
    };
    (contender, places.lacks)
}

/// Which pods have a place, by their models.
fn places(all: &[Arc<Pod>], round: &Round) -> HashMap<Key, Places> {
    let mut places: HashMap<Key, Places> = HashMap::new();
    for pod in all {
        let (Some(namespace), Some(model)) = (pod.namespace(), pod.labels().get(MODEL_LABEL)) else {
            continue;
        };
        let of_model = places.entry(Key::new(namespace, model)).or_default();
        of_model.placed += u32::from(serving::usage::is_held(pod));
        of_model.lacks |= pods::is_unschedulable_since(pod, PATIENCE, round.now);
    }
    places
}
