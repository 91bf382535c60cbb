//! How long an endpoint's answers took to begin of late: a mean in which each answer has a fifth of the weight of all before it. What is older
//! than a minute is forgotten, so that whoever was slow is asked again.

use std::time::Duration;

use tokio::time::Instant;

/// The weight of the latest answer.
const WEIGHT: f64 = 0.2;
/// After it the mean says nothing any more.
const MEMORY: Duration = Duration::from_secs(60);

/// The pace of one endpoint, at answers of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace(Option<(Duration, Instant)>);

impl Pace {
    /// An answer began after `took`.
    pub(super) fn began(&mut self, took: Duration, now: Instant) {
        let mean = match self.mean(now) {
            Some(mean) => mean.mul_f64(1.0 - WEIGHT) + took.mul_f64(WEIGHT),
            None => took,
        };
        self.0 = Some((mean, now));
    }

    /// The mean; `None`: no answer began of late.
    pub(super) fn mean(&self, now: Instant) -> Option<Duration> {
        self.0
            .filter(|(_, at)| now.saturating_duration_since(*at) < MEMORY)
            .map(|(mean, _)| mean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_answers_count_most_and_old_ones_not_at_all() {
        let start = Instant::now();
        let mut pace = Pace::default();
        assert_eq!(pace.mean(start), None);
        pace.began(Duration::from_secs(1), start);
        assert_eq!(pace.mean(start), Some(Duration::from_secs(1)));
        for _ in 0..20 {
            pace.began(Duration::from_millis(100), start);
        }
        let mean = pace.mean(start).unwrap();
        assert!(mean < Duration::from_millis(120), "{mean:?}");
        assert_eq!(pace.mean(start + MEMORY), None);
    }
}
