//! The detector itself: five numbers that grow while answers are worse than they may be, and shrink while they are not.

use serde::{Deserialize, Serialize};

/// Bets on a badness above its bound m, small ones for small drops and large ones for large: λ = c/m, for these c. An answer then takes the share c of
/// what a bet has come to, at most, and so never all of it.
const BETS: [f64; 5] = [0.02, 0.05, 0.1, 0.2, 0.4];

/// What a bound is at least: a bet of c/m against a bound of nothing would be one without end.
const LEAST_BOUND: f64 = 1e-6;

/// Answers whose factors are multiplied before a logarithm is taken: few enough that neither the largest (1 + 0.4/10⁻⁶ each) nor the smallest
/// product (0.6 each) leaves the range of a float.
const MULTIPLIED: usize = 32;

/// A state keeps nine digits behind the point: so it is the same by readers of JSON and logarithms of platforms that differ in a float's last digit.
const KEPT: f64 = 1e9;

/// What a detector remembers, one number for each bet: ln(M + 1), where M is what its bets have come to. Nothing seen is M = 0, so zeros; no state
/// has an infinity, which JSON could not write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State(pub [f64; 5]);

/// The Shiryaev–Roberts e-detector of a mean that became larger than it may be; the module says what it promises.
///
/// A badness is 0 (as good as can be) to 1; what is outside is taken as the end that it is beyond, and what is no number is not seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detector {
    bound: f64,
    threshold: f64,
    logs: [f64; 5],
}

impl Detector {
    /// A detector of a mean badness above `bound`, which goes on from `state`, with `threshold` steps to a false alarm on average, or more: see
    /// [`super::threshold`].
    #[must_use]
    pub fn new(bound: f64, threshold: f64, State(logs): State) -> Self {
        Self {
            // Nothing is above 1, and so above a bound that is no number.
            bound: if bound.is_nan() { 1.0 } else { bound.clamp(LEAST_BOUND, 1.0) },
            threshold: if threshold.is_nan() { f64::INFINITY } else { threshold.max(1.0) },
            logs: logs.map(|log| log.max(0.0)),
        }
    }

    /// One answer of a stream, which is a step.
    pub fn observe(&mut self, badness: f64) {
        self.observe_run(&[badness]);
    }

    /// All answers of a run, which are one step together: in which order they come does not matter. A run without any is none.
    pub fn observe_run(&mut self, badness: &[f64]) {
        let known = badness.iter().filter(|one| !one.is_nan());
        let excess: Vec<f64> = known.map(|one| one.clamp(0.0, 1.0) / self.bound - 1.0).collect();
        if excess.is_empty() {
            return;
        }
        for (log, bet) in self.logs.iter_mut().zip(BETS) {
            let won: f64 = excess.chunks(MULTIPLIED).map(|few| product(few, bet).ln()).sum();
            *log = (ln_one_and_exp(*log + won) * KEPT).round() / KEPT;
        }
    }

    /// ln(M + 1) of the mean M over the bets: 0 at first, and an alarm at ln(A + 1).
    #[must_use]
    pub fn level(&self) -> f64 {
        let largest = self.logs.iter().copied().fold(0.0, f64::max);
        let mean = self.logs.iter().map(|log| (log - largest).exp()).sum::<f64>() / self.logs.len() as f64;
        (largest + mean.ln()).max(0.0)
    }

    /// How far that is on its way to an alarm: from 0 to 1, which is one.
    #[must_use]
    pub fn progress(&self) -> f64 {
        (self.level() / self.threshold.ln_1p()).min(1.0)
    }

    /// Whether answers have become worse than they may be. It stays so until the detector begins anew, or answers have been better for long.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        self.progress() >= 1.0
    }

    /// What to remember.
    #[must_use]
    pub fn state(&self) -> State {
        State(self.logs)
    }
}

/// What a bet comes to over a few answers.
fn product(excess: &[f64], bet: f64) -> f64 {
    excess.iter().fold(1.0, |product, excess| product * (1.0 + bet * excess))
}

/// ln(1 + eˣ), which neither overflows nor loses a small eˣ.
fn ln_one_and_exp(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn detector(bound: f64) -> Detector {
        Detector::new(bound, 365.0, State::default())
    }

    /// By the plain recursion, M ← (M + 1) Π (1 + λ (Z − m)).
    #[test]
    fn the_level_is_that_of_the_plain_recursion() {
        let (bound, runs) = (0.3, [vec![1.0, 0.5], vec![0.0], vec![1.0; 70], vec![0.1, 0.9, 0.3]]);
        let mut seen = detector(bound);
        let mut plain = [0.0; 5];
        for run in runs {
            for (m, bet) in plain.iter_mut().zip(BETS) {
                *m = run.iter().fold(*m + 1.0, |m, badness| m * (1.0 + bet / bound * (badness - bound)));
            }
            seen.observe_run(&run);
            let level = (plain.iter().sum::<f64>() / 5.0).ln_1p();
            assert!((seen.level() - level).abs() < 1e-8, "{} is not {level}", seen.level());
        }
    }

    #[test]
    fn a_detector_begins_at_nothing_and_alarms_at_its_threshold() {
        let mut detector = Detector::new(0.5, 20.0, State::default());
        assert_eq!((detector.level(), detector.progress(), detector.is_alarm()), (0.0, 0.0, false));
        let mut steps = 0;
        while !detector.is_alarm() {
            assert!(detector.progress() < 1.0 && detector.level() < 21.0_f64.ln());
            detector.observe(1.0);
            steps += 1;
        }
        assert!(detector.progress() == 1.0 && detector.level() >= 21.0_f64.ln());
        assert_eq!(steps, 9);
    }

    #[test]
    fn what_is_no_number_and_a_run_of_nothing_are_not_seen() {
        let mut seen = detector(0.5);
        seen.observe(0.8);
        let before = seen;
        seen.observe(f64::NAN);
        seen.observe_run(&[]);
        seen.observe_run(&[f64::NAN; 3]);
        assert_eq!(seen, before);
    }

    #[test]
    fn what_is_beyond_an_end_is_taken_as_the_end() {
        for (beyond, end) in [(-3.0, 0.0), (f64::NEG_INFINITY, 0.0), (1.5, 1.0), (f64::INFINITY, 1.0)] {
            let [mut one, mut other] = [detector(0.5); 2];
            one.observe_run(&[0.9, beyond]);
            other.observe_run(&[0.9, end]);
            assert_eq!(one, other);
        }
    }

    #[test]
    fn bounds_thresholds_and_states_that_make_no_sense_are_no_alarm() {
        for (bound, threshold) in [(f64::NAN, 365.0), (2.0, 365.0), (0.5, f64::NAN), (0.5, f64::INFINITY)] {
            let mut seen = Detector::new(bound, threshold, State([f64::NAN, -1.0, 0.0, -0.0, f64::NAN]));
            seen.observe_run(&[1.0; 1_000]);
            assert!(!seen.is_alarm() && seen.level().is_finite(), "{bound} {threshold}: {seen:?}");
        }
    }

    #[test]
    fn a_state_is_five_plain_numbers() {
        let mut seen = detector(0.5);
        assert_eq!(serde_json::to_string(&seen.state()).unwrap(), "[0.0,0.0,0.0,0.0,0.0]");
        seen.observe(1.0);
        assert_eq!(
            serde_json::to_string(&seen.state()).unwrap(),
            "[0.703097511,0.717839793,0.741937345,0.78845736,0.875468737]"
        );
        assert_eq!(
            serde_json::from_str::<State>("[0,1,2,3,4]").unwrap(),
            State([0.0, 1.0, 2.0, 3.0, 4.0])
        );
    }

    /// A bound and steps of a few answers, many of them at the ends.
    fn worlds() -> impl Strategy<Value = (f64, Vec<Vec<f64>>)> {
        let badness = prop_oneof![Just(0.0), Just(1.0), Just(0.5), 0.0..=1.0f64];
        let bound = prop_oneof![Just(0.0), Just(1e-9), Just(1.0), 0.0..=1.0f64];
        (bound, prop::collection::vec(prop::collection::vec(badness, 1..70), 1..8))
    }

    proptest! {
        #[test]
        fn a_state_that_was_written_and_read_goes_on_as_if_it_never_was((bound, runs) in worlds()) {
            let [mut one, mut other] = [detector(bound); 2];
            for run in runs {
                one.observe_run(&run);
                other.observe_run(&run);
                let written = serde_json::to_string(&other.state()).unwrap();
                other = Detector::new(bound, 365.0, serde_json::from_str(&written).unwrap());
                prop_assert_eq!(one, other);
            }
        }

        #[test]
        fn a_level_is_a_number_of_zero_or_more_and_progress_from_0_to_1((bound, runs) in worlds()) {
            let mut seen = detector(bound);
            for run in runs {
                seen.observe_run(&run);
                let State(logs) = seen.state();
                prop_assert!(logs.iter().all(|log| log.is_finite() && *log >= 0.0), "{:?}", logs);
                prop_assert!(seen.level().is_finite() && seen.level() >= 0.0 && (0.0..=1.0).contains(&seen.progress()));
                prop_assert_eq!(seen.is_alarm(), seen.progress() == 1.0);
            }
        }

        #[test]
        fn worse_answers_never_lower_the_level((bound, runs) in worlds(), at: prop::sample::Index, worse in 0.0..=1.0f64) {
            let [mut one, mut other] = [detector(bound); 2];
            let at = at.index(runs.len());
            for (which, run) in runs.iter().enumerate() {
                let add = if which == at { worse } else { 0.0 };
                other.observe_run(&run.iter().map(|badness| badness + add).collect::<Vec<_>>());
                one.observe_run(run);
                // What a logarithm is off by may be rounded up.
                prop_assert!(other.level() >= one.level() - 1e-8);
            }
        }

        #[test]
        fn the_order_of_the_questions_of_a_run_does_not_matter((bound, runs) in worlds(), seed: u64) {
            let [mut one, mut other] = [detector(bound); 2];
            for mut run in runs {
                one.observe_run(&run);
                fastrand::Rng::with_seed(seed).shuffle(&mut run);
                other.observe_run(&run);
                prop_assert!((one.level() - other.level()).abs() < 1e-7);
            }
        }
    }
}
