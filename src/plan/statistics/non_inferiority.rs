//! Is a candidate no worse than a baseline, or worse by less than it matters? Not having shown that it is worse is no answer: too few questions
//! never do.

use super::confidence::Confidence;
use super::estimate::Estimate;
use super::pairs::Pairs;

/// What a comparison shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonInferiority {
    /// The candidate is worse by less than the margin, if at all. This counts first: a loss that is proved, and proved to be small, is one that
    /// was allowed.
    Shown,
    /// The candidate is worse, and by less than the margin is not shown.
    Worse,
    /// Neither is shown; more questions may.
    Inconclusive,
}

/// What a difference of scores, the candidate's less the baseline's, shows: non-inferiority where the upper one-sided bound of the loss is below
/// `margin`, and a regression where its lower one is above 0. `margin` is in the unit of the difference, such as 0.03 for three points of accuracy.
///
/// A difference without a standard error, of questions that all differ alike, says nothing of those that were not asked: it is inconclusive. For
/// right and wrong answers, [`Pairs::non_inferiority`] knows better.
#[must_use]
pub fn non_inferiority(difference: &Estimate, margin: f64, confidence: Confidence) -> NonInferiority {
    if difference.standard_error > 0.0 {
        decided(difference, margin, confidence, difference.upper_bound(confidence) < 0.0)
    } else {
        NonInferiority::Inconclusive
    }
}

impl Pairs {
    /// As [`non_inferiority`], for right and wrong answers: the bound of the loss is that of [`Pairs::adjusted_difference`], and a regression is
    /// what McNemar's exact test finds.
    #[must_use]
    pub fn non_inferiority(&self, margin: f64, confidence: Confidence) -> NonInferiority {
        match self.adjusted_difference() {
            Some(difference) => decided(&difference, margin, confidence, self.p_worse() < 1.0 - confidence.share()),
            None => NonInferiority::Inconclusive,
        }
    }
}

fn decided(difference: &Estimate, margin: f64, confidence: Confidence, is_worse: bool) -> NonInferiority {
    if -difference.lower_bound(confidence) < margin {
        NonInferiority::Shown
    } else if is_worse {
        NonInferiority::Worse
    } else {
        NonInferiority::Inconclusive
    }
}

#[cfg(test)]
mod tests {
    use super::NonInferiority::{Inconclusive, Shown, Worse};
    use super::*;
    use proptest::prelude::*;

    fn difference(value: f64, standard_error: f64) -> Estimate {
        Estimate {
            value,
            standard_error,
            degrees: f64::INFINITY,
        }
    }

    #[test]
    fn questions_that_all_differ_alike_say_nothing_of_others() {
        for by in [0.1, -0.1] {
            let difference = crate::plan::statistics::paired_difference(&[(0.0, by); 10]).unwrap();
            assert_eq!(non_inferiority(&difference, 0.03, Confidence::P95), Inconclusive, "{difference:?}");
            let clustered = crate::plan::statistics::clustered_difference((0..30).map(|at| (at % 10, 0.0, by))).unwrap();
            assert_eq!(non_inferiority(&clustered, 0.03, Confidence::P95), Inconclusive, "{clustered:?}");
        }
    }

    /// The loss is bounded at 1.645 standard errors.
    #[test]
    fn a_loss_is_shown_to_be_small_shown_to_be_one_or_neither() {
        for (value, standard_error, expected) in [
            (0.0, 0.018, Shown),
            (0.0, 0.019, Inconclusive),
            (0.05, 0.04, Shown),
            (-0.02, 0.006, Shown),
            (-0.02, 0.01, Worse),
            (-0.02, 0.013, Inconclusive),
            (-0.5, 0.1, Worse),
            (0.5, 0.0, Inconclusive),
        ] {
            let seen = non_inferiority(&difference(value, standard_error), 0.03, Confidence::P95);
            assert_eq!(seen, expected, "{value} ± {standard_error}");
        }
    }

    #[test]
    fn a_few_equal_answers_do_not_show_that_two_models_are_alike_and_many_do() {
        let same = |asked: u32| Pairs {
            both: asked,
            ..Pairs::default()
        };
        assert_eq!(same(20).non_inferiority(0.03, Confidence::P95), Inconclusive);
        assert_eq!(same(500).non_inferiority(0.03, Confidence::P95), Shown);
        assert_eq!(Pairs::default().non_inferiority(1.0, Confidence::P95), Inconclusive);
    }

    #[test]
    fn a_regression_needs_its_proof() {
        let pairs = |only_candidate, only_baseline| Pairs {
            both: 300,
            only_candidate,
            only_baseline,
            neither: 100,
        };
        assert_eq!(pairs(10, 40).non_inferiority(0.03, Confidence::P95), Worse);
        assert_eq!(pairs(20, 28).non_inferiority(0.03, Confidence::P95), Inconclusive);
    }

    proptest! {
        #[test]
        fn a_better_candidate_never_fares_worse(both in 0u32..500, better in 0u32..100, worse in 0u32..100, neither in 0u32..500) {
            prop_assume!(worse > 0);
            let rank = |seen| [Worse, Inconclusive, Shown].iter().position(|one| *one == seen);
            let fewer = Pairs { both, only_candidate: better, only_baseline: worse, neither };
            // One that only the baseline answered right, the candidate now does too.
            let more = Pairs { both: both + 1, only_baseline: worse - 1, ..fewer };
            let [fewer, more] = [fewer, more].map(|pairs| rank(pairs.non_inferiority(0.05, Confidence::P95)));
            prop_assert!(fewer <= more, "{:?} {:?}", fewer, more);
        }
    }
}
