//! Which versions of models their providers answer with, and whether one is new: what is behind a name such as `gpt-4o` changes without anybody here
//! doing anything.
//!
//! A version is new once. While a provider moves, answers come from the one and the other, and a set that changed back and forth would start runs
//! without end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kube::ResourceExt;

use super::observe::Run;
use crate::api::eval_job::{ProviderModel, Trigger};
use crate::api::{EvalJob, ModelDeployment};
use crate::plan::names::Key;

/// Versions of one model that are remembered, the latest.
const MOST: usize = 8;

/// Versions by the names of models.
pub type Versions = BTreeMap<String, BTreeSet<String>>;

/// The versions that the providers of `targets` answer with now, by the target's name, of those by `namespace/name` that were `seen`. Nothing where
/// nobody asked for it.
#[must_use]
pub fn of_targets(job: &EvalJob, targets: &[Arc<ModelDeployment>], seen: &Versions) -> Versions {
    if !job.spec.triggers.contains(&Trigger::ProviderModelChange) {
        return Versions::new();
    }
    let of = |target: &Arc<ModelDeployment>| Some((target.name_any(), seen.get(&Key::of(&**target).to_string())?.clone()));
    targets.iter().filter_map(of).collect()
}

/// Those that runs were started for, and those that were the first to be seen.
#[must_use]
pub fn known(job: &EvalJob, runs: &[Run]) -> Vec<ProviderModel> {
    let mut known = job.status.as_ref().map(|status| status.provider_models.clone()).unwrap_or_default();
    runs.iter()
        .filter_map(|run| run.versions.as_ref())
        .for_each(|versions| note(&mut known, versions));
    known
}

/// Whether one of `now` is not `known`. A target of which none is known has not changed.
#[must_use]
pub fn is_new(known: &[ProviderModel], now: &Versions) -> bool {
    known.iter().any(|known| {
        let now = now.get(&known.model);
        !known.versions.is_empty() && now.is_some_and(|now| now.iter().any(|version| !known.versions.contains(version)))
    })
}

/// What is known once `now` was seen, without a run: of targets of which nothing is known, and no other.
pub fn begin(known: &mut Vec<ProviderModel>, now: &Versions) {
    let fresh = now.iter().filter(|(model, _)| !known.iter().any(|known| known.model == **model));
    let fresh: Versions = fresh.map(|(model, versions)| (model.clone(), versions.clone())).collect();
    note(known, &fresh);
}

/// What is known once a run was started for `now`.
pub fn note(known: &mut Vec<ProviderModel>, now: &Versions) {
    for (model, versions) in now {
        let place = known.iter().position(|known| known.model == *model).unwrap_or_else(|| {
            known.push(ProviderModel {
                model: model.clone(),
                versions: Vec::new(),
            });
            known.len() - 1
        });
        let of = &mut known[place].versions;
        let fresh: Vec<String> = versions.iter().filter(|version| !of.contains(version)).cloned().collect();
        of.extend(fresh);
        let old = of.len().saturating_sub(MOST);
        of.drain(..old);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(of: &[&str]) -> Versions {
        [("gpt".to_owned(), of.iter().map(|version| (*version).to_owned()).collect())].into()
    }

    #[test]
    fn a_version_is_new_once_and_what_was_seen_first_is_not() {
        let mut known = Vec::new();
        assert!(!is_new(&known, &versions(&["a"])), "what was never known has not changed");
        begin(&mut known, &versions(&["a"]));
        assert!(!is_new(&known, &versions(&["a"])) && is_new(&known, &versions(&["a", "b"])));
        begin(&mut known, &versions(&["b"]));
        assert!(is_new(&known, &versions(&["b"])), "without a run it stays new");
        note(&mut known, &versions(&["b"]));
        for now in [versions(&["a"]), versions(&["b"]), versions(&["a", "b"]), Versions::new()] {
            assert!(!is_new(&known, &now), "{now:?}");
        }
    }

    #[test]
    fn only_the_latest_versions_are_remembered() {
        let mut known = Vec::new();
        for version in 0..20 {
            note(&mut known, &versions(&[&format!("v{version}")]));
        }
        assert_eq!(known[0].versions.len(), MOST);
        assert_eq!(known[0].versions.last().unwrap(), "v19");
    }
}
