//! How many requests are answered at once: each holds a turn until its answer has ended, and where there is none left a request is refused,
//! which costs next to nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The turns of a gateway.
pub(super) struct Turns {
    taken: Arc<AtomicUsize>,
    most: usize,
}

/// The turn of one request, until dropped.
pub(super) struct Turn(Arc<AtomicUsize>);

impl Turns {
    /// So many at once.
    pub(super) fn new(most: usize) -> Self {
        Self {
            taken: Arc::default(),
            most,
        }
    }

    /// One, if one is left.
    pub(super) fn take(&self) -> Option<Turn> {
        let turn = Turn(self.taken.clone());
        // What was counted too much is given back by the drop.
        (self.taken.fetch_add(1, Ordering::Relaxed) < self.most).then_some(turn)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_each_comes_back() {
        let turns = Turns::new(2);
        let first = turns.take();
        let second = turns.take();
        assert!(first.is_some() && second.is_some());
        assert!((0..10).all(|_| turns.take().is_none()));
        drop(first);
        assert!(turns.take().is_some());
        assert!(turns.take().is_some(), "the one before was dropped at once");
    }
}
