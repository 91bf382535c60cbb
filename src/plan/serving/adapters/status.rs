//! What the status says of adapters: which pods have each, which do not and why, and whether requests for it are sent. Lists are bounded: a
//! thousand pods with all the adapters that a model may have stay far below what an object may hold.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use crate::api::ModelDeployment;
use crate::api::condition::{self, Claim, Kind};
use crate::api::model_deployment::{AdapterStatus, Lacking, ModelDeploymentStatus, SelfHosted};
use crate::plan::serving::engine;

use super::live::{Has, Told, can_have, is_there, is_up, starts_with};
use super::{Module, field, read};

/// How many pods that have an adapter, and that lack one, are listed.
const HAVE: usize = 32;
const LACK: usize = 8;
/// The longest part of an engine's words that is repeated.
const WORDS: usize = 240;

/// The reason when an engine refuses an adapter: a model serves all the same, and must not look as if all were well.
const LOAD_FAILED: &str = "LoadFailed";

/// Why a pod lacks an adapter.
enum Lack<'a> {
    /// Its engine does not answer yet.
    Starting,
    /// It has not said yet.
    Loading,
    /// Only a pod that comes after it can have it.
    NextPod,
    /// Its engine could not be asked.
    Unanswered(&'a str),
    /// Its engine refuses it.
    Refused(&'a str),
}

/// What is known of one pod.
struct Seen<'a> {
    name: String,
    pod: &'a Pod,
    is_up: bool,
    told: Option<&'a Told>,
    has: Has,
}

/// `status` with what `told` (by the uids of pods) and the pods themselves say of the adapters of `md`.
#[must_use]
pub fn with_adapters(
    status: ModelDeploymentStatus,
    md: &ModelDeployment,
    own: &SelfHosted,
    (pods, told): (&[Arc<Pod>], &BTreeMap<String, Told>),
    now: Timestamp,
) -> ModelDeploymentStatus {
    let Ok(modules) = read(&md.name_any(), own) else { return status };
    let is_live = engine::is_live(&own.engine);
    let mut seen: Vec<Seen<'_>> = pods
        .iter()
        .filter(|pod| is_there(pod))
        .map(|pod| Seen::of(pod, own, &modules, is_live, told))
        .collect();
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    let mut conditions = status.conditions.clone();
    if let Some(claim) = claim(&modules, &seen, is_live) {
        let serves = conditions
            .iter_mut()
            .find(|c| c.type_ == Kind::Ready.to_string() && c.status == "True");
        if let Some(ready) = serves.filter(|_| claim.reason == LOAD_FAILED) {
            ready.message = format!("{}; {}", ready.message, claim.message);
        }
        let previous = md.status.as_ref().map_or(&[][..], |status| &status.conditions);
        conditions.extend(condition::merge(previous, &[claim], md.metadata.generation, now));
        conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    }
    ModelDeploymentStatus {
        conditions,
        adapters: modules.iter().map(|module| of(module, &seen, is_live)).collect(),
        ..status
    }
}

/// Where no cluster tells: each adapter is there, and an engine that lacks it says so to who asks.
#[must_use]
pub fn assumed(own: &SelfHosted) -> Vec<AdapterStatus> {
    let adapters = own.custom.iter().flat_map(|custom| &custom.adapters);
    let there = |name: &String| AdapterStatus {
        name: name.clone(),
        ready: "-".to_owned(),
        answers: true,
        ..AdapterStatus::default()
    };
    adapters.map(|adapter| there(&adapter.name)).collect()
}

impl<'a> Seen<'a> {
    fn of(pod: &'a Pod, own: &SelfHosted, modules: &[Module], is_live: bool, told: &'a BTreeMap<String, Told>) -> Self {
        let told = pod.uid().and_then(|uid| told.get(&uid));
        let is_up = is_up(pod);
        let has = match told {
            _ if !is_up => Has::new(),
            // An engine that takes them at its start does not start without.
            _ if !is_live => starts_with(pod, own.engine.kind, modules),
            Some(told) => told.has.clone(),
            None => Has::new(),
        };
        Self {
            name: pod.name_any(),
            pod,
            is_up,
            told,
            has,
        }
    }

    fn lacks(&self, module: &Module, is_live: bool) -> Option<Lack<'a>> {
        // What was said of an earlier source says nothing of this one.
        let of_it = self.told.filter(|told| told.ask.wanted.contains(module));
        let refused = of_it.and_then(|told| told.refused.get(&module.name));
        match () {
            () if !self.is_up => Some(Lack::Starting),
            () if !can_have(self.pod, module) => Some(Lack::NextPod),
            () if self.has.get(&module.name) == Some(&module.path) => None,
            () if !is_live => Some(Lack::NextPod),
            () => Some(match (of_it, refused) {
                (_, Some(words)) => Lack::Refused(words),
                (Some(Told { unanswered: Some(why), .. }), None) => Lack::Unanswered(why),
                // It was not asked, or is being asked.
                (Some(_) | None, None) => Lack::Loading,
            }),
        }
    }
}

impl Lack<'_> {
    fn words(&self) -> String {
        let cut = |words: &str| words.chars().take(WORDS).collect::<String>();
        match self {
            Self::Starting => "its engine does not answer yet".to_owned(),
            Self::Loading => "it is being loaded".to_owned(),
            Self::NextPod => "it comes with the pod that replaces this one".to_owned(),
            Self::Unanswered(why) => format!("the engine cannot be asked: {}", cut(why)),
            Self::Refused(words) => format!("the engine refuses it: {}", cut(words)),
        }
    }
}

fn of(module: &Module, seen: &[Seen<'_>], is_live: bool) -> AdapterStatus {
    let (mut have, mut lacking, mut ready) = (Vec::new(), Vec::new(), 0);
    for pod in seen {
        match pod.lacks(module, is_live) {
            None => {
                ready += 1;
                have.push(pod.name.clone());
            }
            Some(lack) => lacking.push(Lacking {
                pod: pod.name.clone(),
                message: lack.words(),
            }),
        }
    }
    have.truncate(HAVE);
    lacking.truncate(LACK);
    let knows = |pod: &&Seen<'_>| pod.has.contains_key(&module.name);
    let up = seen.iter().filter(|pod| pod.is_up);
    let answering = up.clone().filter(knows).count();
    AdapterStatus {
        name: module.name.clone(),
        ready: format!("{ready}/{}", seen.len()),
        // Of an engine that takes them while it runs, a pod without one says so, and another is asked. Others may answer without it.
        answers: answering > 0 && (is_live || answering == up.count()),
        pods: have,
        lacking,
    }
}

/// The condition, where there is anything to say.
fn claim(modules: &[Module], seen: &[Seen<'_>], is_live: bool) -> Option<Claim> {
    let lacks = modules.iter().enumerate().flat_map(|(index, module)| {
        let lack = seen.iter().filter_map(move |pod| Some((pod, pod.lacks(module, is_live)?)));
        lack.map(move |(pod, lack)| (index, module, pod, lack))
    });
    let lacks: Vec<_> = lacks.collect();
    let refused = lacks.iter().find(|(.., lack)| matches!(lack, Lack::Refused(_)));
    if let Some((index, module, pod, lack)) = refused {
        let message = format!(
            "{}: pod {} has no adapter {:?}: {}; correct it, or remove it. {}",
            field(*index),
            pod.name,
            module.name,
            lack.words(),
            "The others go on serving, and it is tried again"
        );
        return Some(Claim::new(Kind::AdaptersLoaded, false, LOAD_FAILED, message));
    }
    let is_wanted = |name: &String| modules.iter().any(|module| module.name == *name);
    let stays = seen.iter().find_map(|pod| {
        let told = pod.told?;
        let (name, words) = told
            .refused
            .iter()
            .find(|(name, _)| !is_wanted(name) && told.has.contains_key(*name))?;
        Some(format!(
            "pod {} keeps the adapter {name:?}, which is no longer wanted: {words}; it is tried again",
            pod.name
        ))
    });
    if let Some(message) = stays {
        return Some(Claim::new(Kind::AdaptersLoaded, false, "UnloadFailed", message));
    }
    // It may have what is no longer wanted, and was last heard of before it was told.
    let silent = seen.iter().filter(|pod| pod.is_up).find_map(|pod| {
        let why = pod.told?.unanswered.as_ref()?;
        Some(format!(
            "pod {} does not say which adapters it has: {why}; it is asked again",
            pod.name
        ))
    });
    if let Some(message) = silent {
        return Some(Claim::new(Kind::AdaptersLoaded, false, "NoAnswer", message));
    }
    if modules.is_empty() {
        return None;
    }
    let waits = lacks.iter().find(|(.., lack)| !matches!(lack, Lack::NextPod)).or(lacks.first());
    Some(match waits {
        None if seen.is_empty() => Claim::new(Kind::AdaptersLoaded, false, "NoPod", "there is no pod to load them"),
        None => {
            let message = format!("each of {} pods has all of {} adapters", seen.len(), modules.len());
            Claim::new(Kind::AdaptersLoaded, true, "Loaded", message)
        }
        Some((_, module, pod, lack)) => {
            let reason = if matches!(lack, Lack::NextPod) { "RollingOut" } else { "Loading" };
            let message = format!("pod {} has no adapter {:?} yet: {}", pod.name, module.name, lack.words());
            Claim::new(Kind::AdaptersLoaded, false, reason, message)
        }
    })
}
