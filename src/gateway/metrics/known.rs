//! Handles on series, found without making labels anew.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

/// Series by what they are of. As many as there are labels, so no more than the families have.
pub(super) struct Known<K, V>(RwLock<HashMap<K, Arc<V>>>);

impl<K, V> Default for Known<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash, V> Known<K, V> {
    /// What is known of `key`, made when it is not, or not any more as `holds` wants it.
    pub(super) fn get_or_insert<Q>(&self, key: &Q, holds: impl Fn(&V) -> bool, make: impl FnOnce() -> V) -> Arc<V>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + Eq + Hash + ?Sized,
    {
        if let Some(found) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(key)
            && holds(found)
        {
            return found.clone();
        }
        let made = Arc::new(make());
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.to_owned(), made.clone());
        made
    }

    /// Calls `see` with each.
    pub(super) fn each(&self, mut see: impl FnMut(&K, &V)) {
        for (key, value) in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            see(key, value);
        }
    }

    /// Forgets what is not to be kept.
    pub(super) fn retain(&self, keep: impl Fn(&K, &V) -> bool) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|key, value| keep(key, value));
    }
}
