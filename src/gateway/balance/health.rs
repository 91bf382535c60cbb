//! Whether one endpoint is well, as its own traffic shows.
//!
//! ```text
//! well ──3 failures in a row──► rests 1 s, 2 s, 4 s … 30 s ──► one request tries ──answers──► well
//!   └────429──► rests as long as it says ──► well       ▲                   └──fails──┐
//!                                                        └────────────────────────────┘
//! ```
//! An endpoint that rests is asked only where there is no other: the circuit chooses, it does not refuse.

use std::time::Duration;

use tokio::time::Instant;

/// So many failures in a row, and it rests. One is chance, as a pod that was just restarted.
const FAILURES: u32 = 3;
/// The first rest; doubled by each that follows without an answer in between.
const FIRST_REST: Duration = Duration::from_secs(1);
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// The rest after a 429 without advice: they are common, and most quotas count by the second or minute.
const THROTTLED: Duration = Duration::from_secs(1);
/// The longest advice that is followed: the quota of a day must not keep an endpoint out unseen.
pub(in crate::gateway) const LONGEST_ADVICE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures since the last answer.
    failures: u32,
    rests_until: Option<Instant>,
    /// When it last said that it has no capacity: an answer to an earlier request says nothing about that.
    throttled_at: Option<Instant>,
    /// After failures and a rest, one request finds out how it is.
    is_tried: bool,
}

impl Health {
    /// Whether it may be asked.
    pub(super) fn is_well(&self, now: Instant) -> bool {
        match self.rests_until {
            None => true,
            Some(until) => until <= now && !(self.is_tried && self.failures >= FAILURES),
        }
    }

    /// Until when it rests; `None` sorts first.
    pub(super) fn rests_until(&self) -> Option<Instant> {
        self.rests_until
    }

    /// A request goes to it; whether that is the one that finds out how it is.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let rested = self.rests_until.is_some_and(|until| until <= now);
        let tries = rested && self.failures >= FAILURES && !self.is_tried;
        self.is_tried |= tries;
        tries
    }

    /// The request that was to find out is over, however: the next may try.
    pub(super) fn ended(&mut self) {
        self.is_tried = false;
    }

    /// It answered a request that `began` then.
    pub(super) fn answered(&mut self, began: Instant) {
        let before = std::mem::take(self);
        if before.throttled_at.is_some_and(|at| at > began) {
            self.rests_until = before.rests_until;
            self.throttled_at = before.throttled_at;
        }
    }

    pub(super) fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.is_tried = false;
        if self.failures >= FAILURES {
            let doubled = FIRST_REST.saturating_mul(1 << (self.failures - FAILURES).min(16));
            self.rest(now + doubled.min(LONGEST_REST));
        }
    }

    pub(super) fn throttled(&mut self, now: Instant, advice: Option<Duration>) {
        self.is_tried = false;
        self.throttled_at = Some(now);
        self.rest(now + advice.unwrap_or(THROTTLED).min(LONGEST_ADVICE));
    }

    fn rest(&mut self, until: Instant) {
        self.rests_until = Some(self.rests_until.map_or(until, |before| before.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_failures(count: u32, now: Instant) -> Health {
        let mut health = Health::default();
        (0..count).for_each(|_| health.failed(now));
        health
    }

    #[test]
    fn a_few_failures_in_a_row_make_it_rest_and_one_answer_makes_it_well() {
        let now = Instant::now();
        assert!(after_failures(FAILURES - 1, now).is_well(now));
        let mut health = after_failures(FAILURES, now);
        assert!(!health.is_well(now) && !health.is_well(now + FIRST_REST / 2));
        assert!(health.is_well(now + FIRST_REST));
        health.answered(now);
        assert!(health.is_well(now));
        health.failed(now);
        assert!(health.is_well(now), "counted anew");
    }

    #[test]
    fn after_a_rest_one_request_tries_while_the_others_stay_away() {
        let now = Instant::now();
        let mut health = after_failures(FAILURES, now);
        let later = now + FIRST_REST;
        assert!(health.begins(later) && !health.begins(later), "it is one that tries");
        assert!(!health.is_well(later));
        health.failed(later);
        assert!(
            !health.is_well(later + FIRST_REST) && health.is_well(later + 2 * FIRST_REST),
            "twice as long"
        );
        health.begins(later + 2 * FIRST_REST);
        health.ended();
        assert!(health.is_well(later + 2 * FIRST_REST), "the one that tried was hung up on");
    }

    #[test]
    fn an_answer_to_an_earlier_request_does_not_end_the_rest_that_was_asked_for() {
        let now = Instant::now();
        let mut health = Health::default();
        health.throttled(now, Some(Duration::from_secs(7)));
        health.answered(now - Duration::from_secs(1));
        assert!(!health.is_well(now + Duration::from_secs(6)));
        health.answered(now + Duration::from_secs(2));
        assert!(
            health.is_well(now + Duration::from_secs(2)),
            "one that was asked all the same answers"
        );
    }

    #[test]
    fn the_longest_rest_is_bounded() {
        let now = Instant::now();
        let health = after_failures(1000, now);
        assert!(!health.is_well(now + LONGEST_REST - Duration::from_millis(1)) && health.is_well(now + LONGEST_REST));
    }

    #[test]
    fn one_without_capacity_rests_as_long_as_it_says_and_is_then_well_for_all() {
        let now = Instant::now();
        for (advice, rest) in [(Some(7), 7), (None, 1), (Some(86_400), 60)] {
            let mut health = Health::default();
            health.throttled(now, advice.map(Duration::from_secs));
            let rest = Duration::from_secs(rest);
            assert!(!health.is_well(now + rest / 2));
            health.begins(now + rest);
            assert!(health.is_well(now + rest), "it is no circuit that one request has to close");
        }
    }
}
