//! How many replicas there are to be of each model that somebody else brings to that number, for whoever asks.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::plan::names::Key;

/// The latest numbers; `None` where nothing has been decided yet.
#[derive(Default)]
pub(in crate::controller) struct Numbers(Mutex<HashMap<Key, watch::Sender<Option<u32>>>>);

impl Numbers {
    fn all(&self) -> MutexGuard<'_, HashMap<Key, watch::Sender<Option<u32>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many there are to be.
    pub(in crate::controller) fn tell(&self, model: &Key, replicas: u32) {
        let is_other = |told: &mut Option<u32>| told.replace(replicas) != Some(replicas);
        self.all().entry(model.clone()).or_default().send_if_modified(is_other);
    }

    /// Nobody else brings the other models to any number; whoever follows them hears that it is over.
    pub(super) fn retain(&self, is_moved: impl Fn(&Key) -> bool) {
        self.all().retain(|model, _| is_moved(model));
    }

    /// The number, if there is one.
    pub(in crate::controller) fn now(&self, model: &Key) -> Option<u32> {
        self.all().get(model).and_then(|told| *told.borrow())
    }

    /// The number from now on.
    pub(in crate::controller) fn follow(&self, model: &Key) -> watch::Receiver<Option<u32>> {
        self.all().entry(model.clone()).or_default().subscribe()
    }
}
