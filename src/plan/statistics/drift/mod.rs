//! Has a model become worse? A sequential detector, which may be looked at after every step and still raises a false alarm only as often as is said.
//!
//! What is watched is a badness Z, 0 to 1, and a bound m that its mean is not above while nothing has happened: of a stream of answers that pass or
//! fail, a step is an answer (Z = 1 for a failure, [`stream_bound`]); of a schedule, a step is a run of the same questions, each against its own
//! [`Baseline`] ([`paired_bound`]). With each step, M becomes (M + 1) · Π (1 + λ (Z − m)), over the step's answers: what bettors have now, of whom
//! one comes with each step and stakes 1 on that answers are bad. An alarm is raised when M, the mean over five λ, has come to a threshold A. This
//! is the Shiryaev–Roberts e-detector of J. Shin, A. Ramdas and A. Rinaldo, "E-detectors: a nonparametric framework for sequential change detection"
//! (2022, arXiv 2203.03532), with bets on a bounded mean as in A. Podkopaev and A. Ramdas, "Tracking the risk of a deployed model and detecting
//! harmful distribution shifts" (2021, arXiv 2110.06177).
//!
//! **Promised**, however scores are distributed: while the mean, given all that came before, is not above its bound, it takes A steps on average to an
//! alarm, or more. For no bet gains then, so that M grows by 1 a step at most on average; and so k steps have k/A alarms on average, or fewer, if the
//! detector begins anew after each.
//!
//! **A run is one step**, so that it does not matter in which order its questions come. Some were lucky when the baseline was made, and if each
//! question were a step, lucky ones that come first could raise an alarm that the others, which come after, cannot take back: nearly every day, of 2,000
//! questions of which three tenths are tosses of a coin. A product has no order. Its mean, if answers of one run do not depend on each other, is
//! the product of their means 1 + λ (mean Z − m), which is 1 at most if the mean over all questions is m at most, by the inequality of arithmetic
//! and geometric means: questions need not be alike. To deal them anew for each run would be another remedy, which finds the same drops no sooner.
//!
//! **Not promised**:
//! - that a year has no false alarm: one a year on average is two in some;
//! - anything where the bound itself is wrong, as where a baseline was lucky ([`Baseline::standard_error`]);
//! - quiet where the answers of a run are bad together for a reason of that day. Of 400 questions and a tolerance of one point, a day that is ten
//!   points worse is an alarm, and so is, in most years, noise of two points that a run's answers have in common: leave out runs whose errors say
//!   that the server was ill;
//! - when a drop is found, or that one within the tolerance is. In simulated daily runs of 400 questions, a tenth of them tosses of a coin, with a
//!   tolerance of one point and one false alarm a year, it took 14 runs to a drop of two points, 5 to three and 2 to five, in the median.

mod baseline;
mod detector;

#[cfg(test)]
mod simulations;

pub use baseline::{BASELINE_RUNS, Baseline, Paired, Scores, Unready};
pub use detector::{Detector, State};

/// How much M has to come to for an alarm: as many steps as there are to one false alarm. Steps are runs of a schedule, or answers of a stream.
/// Where no false alarm is allowed at all, there is no alarm.
#[must_use]
pub fn threshold(steps_per_year: f64, false_alarms_per_year: f64) -> f64 {
    if false_alarms_per_year > 0.0 {
        steps_per_year / false_alarms_per_year
    } else {
        f64::INFINITY
    }
}

/// The bound of a stream's badness, 1 for an answer that fails and 0 for one that passes: as many fail as before, and `tolerance` more.
#[must_use]
pub fn stream_bound(pass_share: f64, tolerance: f64) -> f64 {
    1.0 - pass_share + tolerance
}

/// The bound of the badness of [`Baseline::pair`]: scores are as in the baseline, less `tolerance`.
#[must_use]
pub fn paired_bound(tolerance: f64) -> f64 {
    f64::midpoint(1.0, tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_the_steps_to_one_false_alarm() {
        assert_eq!(
            [threshold(365.0, 1.0), threshold(52.0, 2.0), threshold(73_000.0, 0.5)],
            [365.0, 26.0, 146_000.0]
        );
        assert_eq!([threshold(365.0, 0.0), threshold(365.0, f64::NAN)], [f64::INFINITY; 2]);
    }

    #[test]
    fn bounds_are_what_was_and_what_is_tolerated() {
        assert_eq!((stream_bound(0.75, 0.125), paired_bound(0.125)), (0.375, 0.5625));
    }

    /// As a schedule goes on over years, of which each run is another process and only the baseline and the state are kept.
    #[test]
    fn a_schedule_is_quiet_while_the_model_is_as_it_was_and_an_alarm_when_it_is_worse() {
        let run = |right: usize| -> Scores { (0..200).map(|at| (format!("q{at}"), f64::from(u8::from(at < right)))).collect() };
        let mut baseline = serde_json::to_string(&Baseline::freeze(&vec![run(160); BASELINE_RUNS]).unwrap()).unwrap();
        let mut state = serde_json::to_string(&State::default()).unwrap();
        let mut step = |right| {
            let kept: Baseline = serde_json::from_str(&baseline).unwrap();
            let mut detector = Detector::new(paired_bound(0.01), threshold(365.0, 1.0), serde_json::from_str(&state).unwrap());
            detector.observe_run(&kept.pair(&run(right)).badness);
            baseline = serde_json::to_string(&kept).unwrap();
            state = serde_json::to_string(&detector.state()).unwrap();
            detector.is_alarm()
        };
        assert!((0..100).all(|_| !step(160)), "nothing changed");
        assert!((0..100).all(|_| !step(159)), "within the tolerance");
        assert!((0..100).all(|_| !step(180)), "better");
        assert_eq!((1..).find(|_| step(148)), Some(3), "six points worse");
    }
}
