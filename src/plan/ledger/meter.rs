//! How fast: requests and tokens in a minute, and requests at one time. A bucket holds a minute's worth and fills evenly (the generic cell
//! rate algorithm: all that is kept is when it would be full).

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::api::budget::Limit;
use crate::api::model_deployment::ApiLimits;

const MINUTE: i128 = 60_000_000_000;

/// How much of each may be; what is not said is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// `requestsPerMinute`.
    pub requests: Option<u32>,
    /// `tokensPerMinute`.
    pub tokens: Option<u32>,
    /// `concurrent`.
    pub at_once: Option<u32>,
}

impl From<&Limit> for Rates {
    fn from(limit: &Limit) -> Self {
        Self {
            requests: limit.requests_per_minute,
            tokens: limit.tokens_per_minute,
            at_once: limit.concurrent,
        }
    }
}

impl From<&ApiLimits> for Rates {
    fn from(limits: &ApiLimits) -> Self {
        Self {
            requests: limits.requests_per_minute,
            tokens: limits.tokens_per_minute,
            at_once: limits.concurrent,
        }
    }
}

/// What counts towards one limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    requests: Bucket,
    tokens: Bucket,
    at_once: u32,
}

/// Which part of a limit a request is above, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// `requestsPerMinute`.
    Requests(Duration),
    /// `tokensPerMinute`.
    Tokens(Duration),
    /// `concurrent`: until one of them ends.
    AtOnce,
}

/// How much is left of one part of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// All of it.
    pub limit: u64,
    /// What is left.
    pub remaining: u64,
    /// When all of it is there again.
    pub reset: Duration,
}

/// How much is left of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Of `requestsPerMinute`.
    pub requests: Option<Level>,
    /// Of `tokensPerMinute`.
    pub tokens: Option<Level>,
}

impl Standing {
    /// Of two limits, for each part that of which less is left.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let less = |one: Option<Level>, other: Option<Level>| [one, other].into_iter().flatten().min_by_key(|level| level.remaining);
        Self {
            requests: less(self.requests, other.requests),
            tokens: less(self.tokens, other.tokens),
        }
    }
}

impl Meter {
    /// Lets a request in that may take so many tokens, and counts it until [`Self::leave`].
    ///
    /// # Errors
    /// When it would be above the limit; then nothing is counted.
    pub fn enter(&mut self, rates: Rates, tokens: u64, now: Timestamp) -> Result<(), Over> {
        if rates.at_once.is_some_and(|most| self.at_once >= most) {
            return Err(Over::AtOnce);
        }
        let requests = self.requests.with(rates.requests, 1, now).map_err(Over::Requests)?;
        self.tokens = self.tokens.with(rates.tokens, tokens, now).map_err(Over::Tokens)?;
        self.requests = requests;
        self.at_once += 1;
        Ok(())
    }

    /// Whether one more that may take so many tokens leaves half of each part for others.
    #[must_use]
    pub fn can_spare(&self, rates: Rates, tokens: u64, now: Timestamp) -> bool {
        let leaves_half = |level: Level, takes: u64| level.remaining.saturating_sub(takes).saturating_mul(2) >= level.limit;
        let Standing {
            requests: left,
            tokens: left_tokens,
        } = self.standing(rates, now);
        rates
            .at_once
            .is_none_or(|most| self.at_once.saturating_add(1).saturating_mul(2) <= most)
            && left.is_none_or(|level| leaves_half(level, 1))
            && left_tokens.is_none_or(|level| leaves_half(level, tokens))
    }

    /// A request has ended that was let in with `reserved` tokens and took `used`.
    pub fn leave(&mut self, rates: Rates, reserved: u64, used: u64) {
        self.at_once = self.at_once.saturating_sub(1);
        self.tokens.correct(rates.tokens, reserved, used);
    }

    /// A request that was let in is not to be counted: another limit refused it.
    pub fn undo(&mut self, rates: Rates, reserved: u64) {
        self.leave(rates, reserved, 0);
        self.requests.correct(rates.requests, 1, 0);
    }

    /// How much is left.
    #[must_use]
    pub fn standing(&self, rates: Rates, now: Timestamp) -> Standing {
        Standing {
            requests: rates.requests.map(|per_minute| self.requests.level(per_minute, now)),
            tokens: rates.tokens.map(|per_minute| self.tokens.level(per_minute, now)),
        }
    }

    /// Whether it says the same as one that nothing was ever counted in.
    #[must_use]
    pub fn is_new(&self, now: Timestamp) -> bool {
        let now = now.as_nanosecond();
        self.at_once == 0 && self.requests.full_at <= now && self.tokens.full_at <= now
    }
}

/// Nanoseconds since 1970 at which it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    full_at: i128,
}

impl Bucket {
    /// The bucket without `count`; or how long until it has as many, or is full where it never has.
    fn with(self, per_minute: Option<u32>, count: u64, now: Timestamp) -> Result<Self, Duration> {
        let Some(per_minute) = per_minute else {
            return Ok(self);
        };
        let now = now.as_nanosecond();
        let missing = (self.full_at - now).max(0);
        let takes = time_of(per_minute, count);
        let wait = missing + takes.min(MINUTE) - MINUTE;
        if wait > 0 {
            return Err(duration(wait));
        }
        Ok(Self {
            full_at: now + missing + takes,
        })
    }

    fn correct(&mut self, per_minute: Option<u32>, reserved: u64, used: u64) {
        if let Some(per_minute) = per_minute {
            self.full_at += time_of(per_minute, used) - time_of(per_minute, reserved);
        }
    }

    fn level(self, per_minute: u32, now: Timestamp) -> Level {
        let missing = (self.full_at - now.as_nanosecond()).max(0);
        let remaining = (MINUTE - missing).max(0) * i128::from(per_minute) / MINUTE;
        Level {
            limit: per_minute.into(),
            remaining: u64::try_from(remaining).unwrap_or_default(),
            reset: duration(missing),
        }
    }
}

/// How long a bucket takes to fill by so many.
fn time_of(per_minute: u32, count: u64) -> i128 {
    i128::from(count) * MINUTE / i128::from(per_minute.max(1))
}

fn duration(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rates(requests: Option<u32>, tokens: Option<u32>, at_once: Option<u32>) -> Rates {
        Rates { requests, tokens, at_once }
    }

    fn at(millisecond: i64) -> Timestamp {
        Timestamp::from_millisecond(millisecond).unwrap()
    }

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_one_at_a_time() {
        let (rates, mut meter) = (rates(Some(60), None, None), Meter::default());
        for _ in 0..60 {
            assert_eq!(meter.enter(rates, 0, at(0)), Ok(()));
        }
        assert_eq!(meter.enter(rates, 0, at(0)), Err(Over::Requests(Duration::from_secs(1))));
        assert_eq!(meter.enter(rates, 0, at(999)), Err(Over::Requests(Duration::from_millis(1))));
        assert_eq!(meter.enter(rates, 0, at(1_000)), Ok(()));
        let level = meter.standing(rates, at(31_000)).requests.unwrap();
        assert_eq!((level.limit, level.remaining, level.reset), (60, 30, Duration::from_secs(30)));
    }

    proptest! {
        #[test]
        fn what_is_spared_leaves_half_of_every_part(
            requests in 1u32..50, tokens in 1u32..5_000, at_once in 1u32..20, asked in prop::collection::vec((0u64..900, 0i64..3_000), 1..80),
        ) {
            let (rates, mut meter, mut now) = (rates(Some(requests), Some(tokens), Some(at_once)), Meter::default(), 0);
            for (takes, later) in asked {
                now += later;
                if meter.can_spare(rates, takes, at(now)) {
                    prop_assert_eq!(meter.enter(rates, takes, at(now)), Ok(()), "what is spared is there");
                }
                let left = meter.standing(rates, at(now));
                // Rounded down, and once more where it is halved.
                prop_assert!(left.requests.unwrap().remaining * 2 + 2 >= u64::from(requests));
                prop_assert!(left.tokens.unwrap().remaining * 2 + 2 >= u64::from(tokens));
                prop_assert!(meter.at_once * 2 <= at_once);
            }
        }
    }

    #[test]
    fn tokens_count_as_reserved_and_then_as_used() {
        let (rates, mut meter) = (rates(None, Some(6_000), None), Meter::default());
        assert_eq!(meter.enter(rates, 5_000, at(0)), Ok(()));
        assert_eq!(meter.enter(rates, 2_000, at(0)), Err(Over::Tokens(Duration::from_secs(10))));
        meter.leave(rates, 5_000, 1_000);
        assert_eq!(meter.standing(rates, at(0)).tokens.unwrap().remaining, 5_000);
        assert_eq!(meter.enter(rates, 2_000, at(0)), Ok(()));
        meter.leave(rates, 2_000, 8_000);
        assert_eq!(meter.enter(rates, 1, at(0)), Err(Over::Tokens(Duration::from_millis(30_010))));
    }

    #[test]
    fn a_request_above_all_of_a_limit_waits_until_nothing_else_counts() {
        let (rates, mut meter) = (rates(None, Some(1_000), None), Meter::default());
        assert_eq!(meter.enter(rates, 50_000, at(0)), Ok(()));
        meter.leave(rates, 50_000, 500);
        assert_eq!(meter.enter(rates, 50_000, at(0)), Err(Over::Tokens(Duration::from_secs(30))));
        assert_eq!(meter.enter(rates, 50_000, at(30_000)), Ok(()));
    }

    #[test]
    fn what_is_refused_counts_nowhere() {
        let (rates, mut meter) = (rates(Some(10), Some(100), Some(1)), Meter::default());
        assert_eq!(meter.enter(rates, 60, at(0)), Ok(()));
        let before = meter;
        assert_eq!(meter.enter(rates, 1, at(0)), Err(Over::AtOnce));
        meter.leave(rates, 60, 60);
        assert!(matches!(meter.enter(rates, 60, at(0)), Err(Over::Tokens(_))));
        assert_eq!(meter.standing(rates, at(0)), before.standing(rates, at(0)));
        assert_eq!(meter.enter(rates, 30, at(0)), Ok(()));
        meter.undo(rates, 30);
        assert_eq!(meter.standing(rates, at(0)), before.standing(rates, at(0)));
    }

    proptest! {
        /// In no stretch of time does more pass than what the bucket holds and what comes back in that time.
        #[test]
        fn no_more_passes_than_the_limit(per_minute in 1u32..200, gaps in prop::collection::vec((0i64..5_000, 1u64..5), 1..300)) {
            let (rates, mut meter) = (rates(None, Some(per_minute), None), Meter::default());
            let (mut now, mut passed) = (0, Vec::new());
            for (gap, tokens) in gaps {
                now += gap;
                let tokens = tokens.min(per_minute.into());
                if meter.enter(rates, tokens, at(now)).is_ok() {
                    passed.push((now, tokens));
                    meter.leave(rates, tokens, tokens);
                }
            }
            for (first, (from, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (until, tokens) in &passed[first..] {
                    sum += tokens;
                    let allowed = f64::from(per_minute) * (1.0 + (until - from) as f64 / 60_000.0);
                    prop_assert!(sum as f64 <= allowed + 1e-3, "{sum} in {} ms", until - from);
                }
            }
        }
    }
}
