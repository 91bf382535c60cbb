//! One line in the log for what happens a thousand times: an outage must not drown what explains it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::plan::names::Key;

/// Between two lines about the same trouble of the same model.
const PAUSE: Duration = Duration::from_secs(10);

/// What was told lately.
#[derive(Default)]
pub(super) struct Quiet(Mutex<HashMap<(Key, &'static str), Instant>>);

impl Quiet {
    /// Whether this trouble is to be told now; the metrics count it in any case.
    pub(super) fn may_tell(&self, model: &Key, trouble: &'static str) -> bool {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now - *at < PAUSE);
        let key = (model.clone(), trouble);
        let is_news = !told.contains_key(&key);
        if is_news {
            told.insert(key, now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_trouble_is_told_once_in_a_while_and_another_at_once() {
        let (quiet, a, b) = (Quiet::default(), Key::new("n", "a"), Key::new("n", "b"));
        assert!(quiet.may_tell(&a, "cut"));
        assert!(!quiet.may_tell(&a, "cut"));
        assert!(quiet.may_tell(&a, "silent") && quiet.may_tell(&b, "cut"));
        tokio::time::advance(PAUSE).await;
        assert!(quiet.may_tell(&a, "cut"));
    }
}
