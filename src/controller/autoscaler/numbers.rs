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

    /// Nobody else brings the other models to any number. Whoever follows one of them may go on: it may be one again, and who comes back waits.
    pub(super) fn retain(&self, is_moved: impl Fn(&Key) -> bool) {
        self.all().retain(|model, told| {
            let is_moved = is_moved(model);
            if !is_moved {
                told.send_if_modified(|told| told.take().is_some());
            }
            is_moved || told.receiver_count() > 0
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_follows_a_model_before_it_is_moved_hears_of_it_when_it_is_and_one_that_nobody_follows_is_forgotten() {
        let (numbers, model) = (Numbers::default(), Key::new("claims", "triage"));
        let mut told = numbers.follow(&model);
        numbers.retain(|_| false);
        numbers.tell(&model, 2);
        assert!(told.has_changed().unwrap());
        assert_eq!(*told.borrow_and_update(), Some(2));
        numbers.retain(|_| false);
        assert_eq!((*told.borrow(), numbers.now(&model)), (None, None));
        drop(told);
        numbers.retain(|_| false);
        assert!(numbers.all().is_empty());
    }
}
