//! Which versions of their models providers answered with last, for whoever evaluates them again when one is new.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use crate::plan::names::Key;
use crate::plan::routing::Backend;
use crate::protocol::version;

/// By the ModelDeployment.
#[derive(Debug, Default)]
pub(super) struct Versions(RwLock<BTreeMap<Key, String>>);

impl Versions {
    /// Notes what the beginning of an answer says. Our own pods run what they were given.
    pub(super) fn note(&self, model: &Backend, answer: &[u8]) {
        if model.provider.is_none() {
            return;
        }
        let Some(version) = version::of_answer(answer) else { return };
        let is_known = |known: &BTreeMap<Key, String>| known.get(&model.model).is_some_and(|known| known == version);
        // Nearly always, and then nobody waits for anybody.
        if is_known(&self.0.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(model.model.clone(), version.to_owned());
    }

    /// All of those that `is_there`; others are forgotten.
    pub(super) fn told(&self, is_there: impl Fn(&Key) -> bool) -> BTreeMap<String, String> {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|model, _| is_there(model));
        known.iter().map(|(model, version)| (model.to_string(), version.clone())).collect()
    }
}
