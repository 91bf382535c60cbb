//! How a fetch goes about it: how much at once, and how often and how patiently it tries again.

use std::time::Duration;

use super::failure::{Failure, Reason};

/// A server that asks to be left alone for longer is left to a later run.
const LONGEST_ASKED: Duration = Duration::from_secs(300);

/// Sizes and times. The defaults are for real sources; tests use smaller ones.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Files larger than this are fetched in parts of this size, several at once.
    pub segment_bytes: u64,
    /// What one connection collects before it writes. A fetch that is killed gets so much anew for each.
    pub buffer_bytes: usize,
    /// How long one connection may take for as much: a trickle is as good as silence.
    pub buffer_time: Duration,
    /// Failures in a row before a fetch gives up. One after at least a buffer of progress is the first again.
    pub attempts: u32,
    /// Before the second attempt; doubled for each further one.
    pub first_wait: Duration,
    /// Between two attempts, unless the server asks for more.
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            // Large enough that a request is nothing beside its content, small enough that the end of a file is shared by all connections.
            segment_bytes: 64 << 20,
            buffer_bytes: 4 << 20,
            buffer_time: Duration::from_secs(600),
            attempts: 6,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// Failures in a row of one request.
pub(super) struct Patience<'a> {
    pace: &'a Pace,
    failures: u32,
}

impl<'a> Patience<'a> {
    pub(super) fn new(pace: &'a Pace) -> Self {
        Self { pace, failures: 0 }
    }

    /// There was progress.
    pub(super) fn restore(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// The failure, when another attempt would not help or there were enough.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        if failure.reason != Reason::Unreachable {
            return Err(failure);
        }
        if let Some(asked) = failure.wait.filter(|asked| *asked > LONGEST_ASKED) {
            let remedy = format!("try again after the {} seconds that it asks for", asked.as_secs());
            return Err(Failure::new(failure.reason, failure.message, remedy));
        }
        self.failures += 1;
        if self.failures >= self.pace.attempts {
            let problem = format!("{}, {} times in a row", failure.message, self.failures);
            return Err(Failure::new(
                failure.reason,
                problem,
                "try again later, or check the network and HTTPS_PROXY",
            ));
        }
        let doubled = self
            .pace
            .first_wait
            .saturating_mul(1 << (self.failures - 1).min(16))
            .min(self.pace.longest_wait);
        // Half of it by chance, so that many fetches do not come back at one moment.
        let backoff = doubled.mul_f64(0.5 + fastrand::f64() / 2.0);
        let wait = failure.wait.map_or(backoff, |asked| asked.max(backoff));
        tracing::warn!(seconds = wait.as_secs_f32(), "trying again: {}", failure.message);
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_that_asks_for_time_gets_it() {
        let pace = Pace::default();
        let begin = Instant::now();
        let failure = Failure {
            wait: Some(Duration::from_secs(42)),
            ..Failure::unreachable("busy")
        };
        Patience::new(&pace).after(failure).await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 42);
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_and_progress_restores_it() {
        let pace = Pace::default();
        let mut patience = Patience::new(&pace);
        for _ in 0..pace.attempts - 1 {
            patience.after(Failure::unreachable("gone")).await.unwrap();
        }
        patience.restore();
        patience.after(Failure::unreachable("gone")).await.unwrap();
        for _ in 0..pace.attempts - 2 {
            patience.after(Failure::unreachable("gone")).await.unwrap();
        }
        let failure = patience.after(Failure::unreachable("gone")).await.unwrap_err();
        assert!(failure.message.starts_with("gone, 6 times in a row; "), "{failure}");
    }

    #[tokio::test]
    async fn what_time_does_not_heal_is_not_tried_again() {
        let pace = Pace::default();
        let failure = Failure::new(Reason::Unauthorized, "no", "ask");
        assert!(Patience::new(&pace).after(failure).await.is_err());
    }
}
