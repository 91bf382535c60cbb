//! When each request of a load is due: at a fixed rate from the start on, whatever becomes of those before it. Pure.

use std::time::Duration;

/// One request in about a quarter of an hour: more seldom is no load.
const SLOWEST: f64 = 0.001;
/// Timers are good to a millisecond, so a higher rate would come in bunches.
const FASTEST: f64 = 1000.0;

/// The arrivals of an *open loop*: users come when they come, and not when the last one has been served. A loop that waits for answers
/// (a closed one) asks less of a server the slower it is, and so measures the least where it matters most.
///
/// Arrivals are evenly spaced, which makes runs repeatable and is kinder than users are: were they to come by chance at the same rate, more
/// would wait in line behind each other. So near the limit of a server real times are longer than the measured ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    requests: u32,
    per_second: f64,
}

/// Why there is no such schedule.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("requests come at a rate of {SLOWEST} to {FASTEST} a second; set ratePerSecond accordingly")]
pub struct NoRate;

impl Schedule {
    /// So many requests at so many a second.
    ///
    /// # Errors
    /// When the rate is no number from 0.001 to 1000.
    pub fn new(requests: u32, per_second: f64) -> Result<Self, NoRate> {
        let is_rate = (SLOWEST..=FASTEST).contains(&per_second);
        is_rate.then_some(Self { requests, per_second }).ok_or(NoRate)
    }

    /// How many requests there are.
    #[must_use]
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// How long after the start a request is due: the first at once. Counted from the start each time, so that nothing adds up.
    #[must_use]
    pub fn due(&self, index: u32) -> Duration {
        Duration::from_secs_f64(f64::from(index) / self.per_second)
    }

    /// From the first request to the last: a load takes at least this long.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.due(self.requests.saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_rate_is_refused_with_what_is() {
        for rate in [0.0, -1.0, 1e-9, 1001.0, f64::NAN, f64::INFINITY] {
            assert_eq!(Schedule::new(10, rate), Err(NoRate), "{rate}");
        }
        assert_eq!(
            NoRate.to_string(),
            "requests come at a rate of 0.001 to 1000 a second; set ratePerSecond accordingly"
        );
    }

    #[test]
    fn the_last_of_500_at_5_a_second_is_due_just_before_100_seconds() {
        let schedule = Schedule::new(500, 5.0).unwrap();
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.length(), Duration::from_millis(99_800));
        assert_eq!(Schedule::new(0, 5.0).unwrap().length(), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn nothing_adds_up_however_long_it_goes_on(rate in SLOWEST..FASTEST, index: u32) {
            let schedule = Schedule::new(u32::MAX, rate).unwrap();
            let due = schedule.due(index).as_secs_f64();
            prop_assert!((due - f64::from(index) / rate).abs() <= 1e-9 + due * 1e-12);
            prop_assert!(index == 0 || schedule.due(index - 1) < schedule.due(index));
        }
    }
}
