//! Which versions of models their providers answer with, and whether one is new: what is behind a name such as `gpt-4o` changes without anybody here
//! doing anything.
//!
//! A version is new once, so many of a model are looked at, and a run for one comes some time after the run before. While a provider moves, answers
//! come from the one and the other, and some, routers among them, name another with each answer: what followed each would start runs without end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use super::observe::Run;
use crate::api::eval_job::{ProviderModel, Trigger};
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::names::Key;

/// Versions of one model that are known at most; a model that names more is not looked at any more.
const MOST: usize = 8;

/// How long after the slot of the run before a run for another version may start.
const PAUSE: SignedDuration = SignedDuration::from_hours(1);

/// Versions by the names of models.
pub type Versions = BTreeMap<String, BTreeSet<String>>;

/// What the provider of a target is asked for, and the versions that it answers with now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Now {
    asked: String,
    versions: BTreeSet<String>,
}

/// Those of `targets` behind providers, by the target's name, with the versions of those by `namespace/name` that were `seen`. Nothing where nobody asked
/// for it.
#[must_use]
pub fn of_targets(job: &EvalJob, targets: &[Arc<ModelDeployment>], seen: &Versions) -> BTreeMap<String, Now> {
    if !job.spec.triggers.contains(&Trigger::ProviderModelChange) {
        return BTreeMap::new();
    }
    let of = |target: &Arc<ModelDeployment>| {
        let now = Now {
            asked: target.spec.api.as_ref()?.model.clone(),
            versions: seen.get(&Key::of(&**target).to_string()).cloned().unwrap_or_default(),
        };
        Some((target.name_any(), now))
    };
    targets.iter().filter_map(of).collect()
}

/// The versions alone, as the Job of a run keeps them.
#[must_use]
pub fn told(now: &BTreeMap<String, Now>) -> Versions {
    let seen = now.iter().filter(|(_, now)| !now.versions.is_empty());
    seen.map(|(model, now)| (model.clone(), now.versions.clone())).collect()
}

/// Those that runs were started for, and those that were the first to be seen, of targets that are asked for the same `now`.
#[must_use]
pub fn known(job: &EvalJob, runs: &[Run], now: &BTreeMap<String, Now>) -> Vec<ProviderModel> {
    let mut known = job.status.as_ref().map(|status| status.provider_models.clone()).unwrap_or_default();
    known.retain(|known| now.get(&known.model).is_some_and(|now| now.asked == known.asked));
    let noted = runs.iter().filter_map(|run| run.versions.as_ref()).flatten();
    for (model, versions) in noted {
        if let Some(known) = known.iter_mut().find(|known| known.model == *model) {
            add(known, versions);
        }
    }
    known
}

/// Whether one of `now` is not `known`, and the slot of the latest run is some time ago. A target of which none is known has not changed.
#[must_use]
pub fn is_new(known: &[ProviderModel], now: &BTreeMap<String, Now>, latest: Option<Timestamp>, at: Timestamp) -> bool {
    let is_early = latest.is_some_and(|slot| at < slot + PAUSE);
    let mut all = known.iter().filter(|known| (1..MOST).contains(&known.versions.len()));
    !is_early
        && all.any(|known| {
            now.get(&known.model)
                .is_some_and(|now| now.versions.iter().any(|version| !known.versions.contains(version)))
        })
}

/// What is known once `now` was seen, without a run: of targets of which nothing is known, and no other.
pub fn begin(known: &mut Vec<ProviderModel>, now: &BTreeMap<String, Now>) {
    for (model, now) in now {
        if now.versions.is_empty() || known.iter().any(|known| known.model == *model) {
            continue;
        }
        let mut fresh = ProviderModel {
            model: model.clone(),
            asked: now.asked.clone(),
            versions: Vec::new(),
        };
        add(&mut fresh, &now.versions);
        known.push(fresh);
    }
}

/// What is known once a run was started for `now`.
pub fn note(known: &mut Vec<ProviderModel>, now: &BTreeMap<String, Now>) {
    begin(known, now);
    for known in known {
        if let Some(now) = now.get(&known.model) {
            add(known, &now.versions);
        }
    }
}

/// As many as are known at most; what is known is never forgotten, or it would be new once more.
fn add(known: &mut ProviderModel, versions: &BTreeSet<String>) {
    for version in versions {
        if known.versions.len() < MOST && !known.versions.contains(version) {
            known.versions.push(version.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(asked: &str, versions: &[&str]) -> BTreeMap<String, Now> {
        let now = Now {
            asked: asked.to_owned(),
            versions: versions.iter().map(|version| (*version).to_owned()).collect(),
        };
        [("gpt".to_owned(), now)].into()
    }

    fn is_new(known: &[ProviderModel], versions: &[&str]) -> bool {
        super::is_new(known, &now("gpt-4o", versions), None, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_version_is_new_once_and_what_was_seen_first_is_not() {
        let mut known = Vec::new();
        assert!(!is_new(&known, &["a"]), "what was never known has not changed");
        begin(&mut known, &now("gpt-4o", &["a"]));
        assert!(!is_new(&known, &["a"]) && is_new(&known, &["a", "b"]));
        begin(&mut known, &now("gpt-4o", &["b"]));
        assert!(is_new(&known, &["b"]), "without a run it stays new");
        note(&mut known, &now("gpt-4o", &["b"]));
        for versions in [&["a"][..], &["b"], &["a", "b"], &[]] {
            assert!(!is_new(&known, versions), "{versions:?}");
        }
    }

    #[test]
    fn a_model_that_names_another_with_each_answer_is_not_followed_for_ever() {
        let mut known = Vec::new();
        let mut runs = 0;
        for version in 0..100 {
            let version = format!("v{version}");
            begin(&mut known, &now("auto", &[&version]));
            if is_new(&known, &[&version]) {
                runs += 1;
                note(&mut known, &now("auto", &[&version]));
            }
        }
        assert_eq!((runs, known[0].versions.len()), (MOST - 1, MOST));
        assert!(
            !is_new(&known, &["v0"]) && !is_new(&known, &["v99"]),
            "what is known is never new once more"
        );
    }

    #[test]
    fn who_asks_for_another_model_has_nothing_to_compare_with() {
        let mut job = crate::plan::evaluation::fixtures::job();
        job.status = Some(crate::plan::evaluation::fixtures::read(
            "{providerModels: [{model: gpt, asked: gpt-4o, versions: [a]}]}",
        ));
        assert_eq!(known(&job, &[], &now("gpt-4o", &["a"])).len(), 1);
        assert!(known(&job, &[], &now("gpt-4.1", &["a"])).is_empty());
        assert!(known(&job, &[], &BTreeMap::new()).is_empty(), "nor who asks nobody");
    }
}
