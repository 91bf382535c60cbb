//! What is known of the objects of one kind: the store that a watch keeps, and our own latest writes until the watch has shown them. Without
//! the second a reconcile that runs before its own write comes back would write again.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};

use crate::plan::names::Key;

/// How long a write of ours is believed without the watch having shown it. A watch that lags longer is being restarted, and an object that was
/// deleted meanwhile must not live on here.
const BELIEVED: Duration = Duration::from_secs(30);

/// The objects of one kind.
pub struct Known<K: Resource<DynamicType = ()> + Clone + 'static> {
    store: Store<K>,
    written: Mutex<HashMap<Key, (Instant, Arc<K>)>>,
    is_broken: AtomicBool,
}

impl<K: Resource<DynamicType = ()> + Clone + 'static> Known<K> {
    /// Over a watch's store.
    #[must_use]
    pub fn new(store: Store<K>) -> Self {
        Self {
            store,
            written: Mutex::default(),
            is_broken: AtomicBool::new(false),
        }
    }

    /// Whether the watch works, as far as its latest news says: else all this is what was known before.
    #[must_use]
    pub fn is_current(&self) -> bool {
        !self.is_broken.load(Ordering::Relaxed)
    }

    pub(super) fn has_news(&self, is_broken: bool) {
        self.is_broken.store(is_broken, Ordering::Relaxed);
    }

    /// The latest known state of one object.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        let seen = self.store.get(&ObjectRef::new(&key.name).within(&key.namespace));
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, ours)) = written.get(key) else { return seen };
        let shown = seen.as_ref().is_some_and(|seen| !is_newer(&**ours, &**seen));
        if shown || at.elapsed() > BELIEVED {
            written.remove(key);
            return seen;
        }
        Some(Arc::clone(ours))
    }

    /// The latest known state of an object that a trigger brought.
    #[must_use]
    pub fn latest(&self, object: &Arc<K>) -> Arc<K> {
        let same = |known: &Arc<K>| known.uid() == object.uid() && is_newer(&**known, &**object);
        self.get(&Key::of(&**object)).filter(same).unwrap_or_else(|| Arc::clone(object))
    }

    /// All objects that the watch has shown.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// All objects that the watch has shown, and those just written that it has not shown yet.
    #[must_use]
    pub fn all_and_written(&self) -> Vec<Arc<K>> {
        let mut all = self.store.state();
        let shown: HashSet<Key> = all.iter().map(|object| Key::of(&**object)).collect();
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = written
            .iter()
            .filter(|(key, (at, _))| !shown.contains(key) && at.elapsed() <= BELIEVED);
        all.extend(ours.map(|(_, (_, object))| Arc::clone(object)));
        all
    }

    /// Remembers the server's answer to a write.
    pub(super) fn remember(&self, object: K) -> Arc<K> {
        let object = Arc::new(object);
        let entry = (Instant::now(), Arc::clone(&object));
        self.written
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(Key::of(&*object), entry);
        object
    }

    /// Forgets what was written to an object that is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Whether `a` is a later state than `b`. Resource versions of one object are ordered numbers; one that is no number counts as shown, so that
/// an unknown server costs a write at most.
fn is_newer<K: Resource>(a: &K, b: &K) -> bool {
    let version = |o: &K| o.resource_version().and_then(|v| v.parse::<u64>().ok());
    matches!((version(a), version(b)), (Some(a), Some(b)) if a > b)
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::{reflector, watcher};

    use super::*;

    fn object(version: &str) -> ConfigMap {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": version}}))
            .unwrap()
    }

    #[test]
    fn an_own_write_is_known_until_the_watch_has_caught_up() {
        let (store, mut writer) = reflector::store::<ConfigMap>();
        let known = Known::new(store);
        let key = Key::new("n", "a");
        let version = || known.get(&key).and_then(|o| o.resource_version());
        writer.apply_watcher_event(&watcher::Event::Apply(object("5")));
        known.remember(object("9"));
        assert_eq!(version().as_deref(), Some("9"));
        writer.apply_watcher_event(&watcher::Event::Apply(object("7")));
        assert_eq!(version().as_deref(), Some("9"), "the watch still lags");
        writer.apply_watcher_event(&watcher::Event::Apply(object("11")));
        assert_eq!(version().as_deref(), Some("11"));
        writer.apply_watcher_event(&watcher::Event::Delete(object("12")));
        assert_eq!(version(), None, "a deleted object does not live on");
    }
}
