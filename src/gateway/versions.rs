//! Which versions of their models providers answered with last, for whoever evaluates them again when one is new.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::plan::names::Key;
use crate::plan::routing::Backend;
use crate::protocol::version;

/// By the ModelDeployment.
#[derive(Debug, Default)]
pub(super) struct Versions(RwLock<BTreeMap<Key, Version>>);

/// What was said, and of which generation of the ModelDeployment: another one may ask for another model.
#[derive(Debug, PartialEq, Eq)]
struct Version {
    of: (Option<String>, Option<i64>),
    named: String,
}

impl Versions {
    /// Notes what the beginning of an answer says. Our own pods run what they were given.
    pub(super) fn note(&self, model: &Backend, answer: &[u8]) {
        if model.provider.is_none() {
            return;
        }
        let Some(named) = version::of_answer(answer) else { return };
        let is_known = |known: &Version| known.named == named && known.of == model.version;
        // Nearly always, and then nobody waits for anybody.
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(&model.model).is_some_and(is_known) {
            return;
        }
        drop(known);
        let version = Version {
            of: model.version.clone(),
            named: named.to_owned(),
        };
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(model.model.clone(), version);
    }

    /// What was said of each of `backends` as it is now, by `namespace/name`; the rest is forgotten.
    pub(super) fn told<'a>(&self, backends: impl Iterator<Item = &'a Backend>) -> BTreeMap<String, String> {
        let there: BTreeMap<&Key, &Backend> = backends.map(|backend| (&backend.model, backend)).collect();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|model, version| there.get(model).is_some_and(|backend| backend.version == version.of));
        known
            .iter()
            .map(|(model, version)| (model.to_string(), version.named.clone()))
            .collect()
    }
}
