//! Right and wrong answers of two models to the same questions, and McNemar's test of whether one is better.

use statrs::distribution::{Binomial, DiscreteCDF};

use super::estimate::Estimate;

/// How many questions who answered right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Both.
    pub both: u32,
    /// The candidate, and not the baseline.
    pub only_candidate: u32,
    /// The baseline, and not the candidate.
    pub only_baseline: u32,
    /// Neither.
    pub neither: u32,
}

impl Pairs {
    /// Counts whether the candidate and the baseline were right, question by question.
    #[must_use]
    pub fn count(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counted = Self::default();
        for pair in pairs {
            *match pair {
                (true, true) => &mut counted.both,
                (true, false) => &mut counted.only_candidate,
                (false, true) => &mut counted.only_baseline,
                (false, false) => &mut counted.neither,
            } += 1;
        }
        counted
    }

    /// All questions.
    #[must_use]
    pub fn asked(&self) -> u32 {
        self.both + self.only_candidate + self.only_baseline + self.neither
    }

    /// The candidate's share of right answers less the baseline's, as [`super::paired_difference`] has it. `None` for fewer than two questions.
    #[must_use]
    pub fn difference(&self) -> Option<Estimate> {
        let n = f64::from(self.asked());
        let (better, worse) = (f64::from(self.only_candidate), f64::from(self.only_baseline));
        let value = (better - worse) / n;
        (n > 1.0).then(|| Estimate {
            value,
            // Each question differs by 1, −1 or 0.
            standard_error: ((better + worse - n * value * value).max(0.0) / (n - 1.0) / n).sqrt(),
            degrees: n - 1.0,
        })
    }

    /// The same difference for bounds of few questions, or of models that hardly differ: with one more question that only either answered
    /// right, after D. G. Bonett and R. M. Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
    /// data" (2012). Where no question tells the models apart, [`Pairs::difference`] has a standard error of 0, as if that were sure of all
    /// questions; this one has not. `None` when nothing was asked.
    #[must_use]
    pub fn adjusted_difference(&self) -> Option<Estimate> {
        let n = f64::from(self.asked()) + 2.0;
        let [better, worse] = [self.only_candidate, self.only_baseline].map(|count| (f64::from(count) + 1.0) / n);
        (self.asked() > 0).then(|| Estimate {
            value: better - worse,
            standard_error: ((better + worse - (better - worse).powi(2)) / n).sqrt(),
            degrees: f64::INFINITY,
        })
    }

    /// The standard error that the difference would have, had each model been asked as many questions of its own. `None` for fewer than two.
    #[must_use]
    pub fn unpaired_standard_error(&self) -> Option<f64> {
        let n = f64::from(self.asked());
        let variance = |right: u32| {
            let share = f64::from(right) / n;
            share * (1.0 - share) / (n - 1.0)
        };
        (n > 1.0).then(|| (variance(self.both + self.only_candidate) + variance(self.both + self.only_baseline)).sqrt())
    }

    /// How likely a candidate that is only as good would do so much better, or even better: exact, one-sided.
    #[must_use]
    pub fn p_better(&self) -> f64 {
        mcnemar(self.only_candidate, self.only_baseline)
    }

    /// How likely a candidate that is as good would do so much worse, or even worse: exact, one-sided.
    #[must_use]
    pub fn p_worse(&self) -> f64 {
        mcnemar(self.only_baseline, self.only_candidate)
    }

    /// How likely models that are equally good would differ so much either way: exact, two-sided.
    #[must_use]
    pub fn p_differs(&self) -> f64 {
        mcnemar_two_sided(self.only_candidate, self.only_baseline)
    }
}

/// McNemar's exact test of one side (Q. McNemar, "Note on the sampling error of the difference between correlated proportions or percentages",
/// 1947): of the questions that only one of two answered right, `more` are one's and `fewer` the other's; were both equally good, each would be
/// a toss of a coin. P(Bin(more + fewer, ½) ≥ more), which is 1 where no question tells them apart.
#[must_use]
pub fn mcnemar(more: u32, fewer: u32) -> f64 {
    let tosses = u64::from(more) + u64::from(fewer);
    let Some(below) = u64::from(more).checked_sub(1) else { return 1.0 };
    Binomial::new(0.5, tosses).map_or(f64::NAN, |coin| coin.sf(below))
}

/// McNemar's exact test of both sides: twice the smaller p of one side, 1 at most.
#[must_use]
pub fn mcnemar_two_sided(one: u32, other: u32) -> f64 {
    (2.0 * mcnemar(one.max(other), one.min(other))).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{near, paired_difference};
    use proptest::prelude::*;

    /// By hand, of ten and two among fifty: 8/52, and √((14/52 − (8/52)²)/52).
    #[test]
    fn the_adjusted_difference_is_as_bonett_and_price_have_it() {
        let pairs = Pairs {
            both: 20,
            only_candidate: 10,
            only_baseline: 2,
            neither: 18,
        };
        let adjusted = pairs.adjusted_difference().unwrap();
        near(adjusted.value, 8.0 / 52.0, 1e-12);
        near(adjusted.standard_error, 0.068_719_347, 1e-9);
    }

    /// By SciPy 1.17.1, `binomtest(b, b + c, 0.5, alternative="greater")`, and statsmodels 0.15.0, `mcnemar([[0, b], [c, 0]], exact=True)`.
    #[test]
    fn mcnemars_test_is_as_scipy_and_statsmodels_have_it() {
        for (more, fewer, one, two) in [
            (1705, 967, 5.311721001424681e-47, 1.0623442002849363e-46),
            (10, 2, 0.019287109375, 0.03857421875),
            (2, 10, 0.996826171875, 0.03857421875),
            (5, 5, 0.623046875, 1.0),
            (0, 0, 1.0, 1.0),
            (1, 0, 0.5, 1.0),
            (25, 12, 0.02351551371975802, 0.04703102743951604),
            (600, 500, 0.0014097724957182142, 0.0028195449914364284),
        ] {
            near(mcnemar(more, fewer) / one, 1.0, 1e-9);
            near(mcnemar_two_sided(more, fewer) / two, 1.0, 1e-9);
        }
    }

    /// Gemini 1.5 Pro and Flash on 12,002 questions of MMLU-Pro, by the answers that the benchmark's authors recorded.
    #[test]
    fn two_models_on_the_same_questions_are_told_apart_more_surely() {
        let pairs = Pairs {
            both: 6725,
            only_candidate: 1705,
            only_baseline: 967,
            neither: 2605,
        };
        assert_eq!(pairs.asked(), 12_002);
        let seen = pairs.difference().unwrap();
        near(seen.value * 100.0, 6.15, 0.005);
        near(seen.standard_error * 100.0, 0.43, 0.005);
        near(pairs.unpaired_standard_error().unwrap() * 100.0, 0.605, 0.0005);
        near(pairs.adjusted_difference().unwrap().value * 100.0, 6.15, 0.005);
        near(pairs.p_better() / 5.311721001424681e-47, 1.0, 1e-9);
        near(pairs.p_worse(), 1.0, 1e-12);
        near(pairs.p_differs() / 1.0623442002849363e-46, 1.0, 1e-9);
    }

    #[test]
    fn models_that_no_question_tells_apart_may_still_differ() {
        let same = Pairs {
            both: 15,
            neither: 5,
            ..Pairs::default()
        };
        assert_eq!(same.difference().unwrap().standard_error, 0.0);
        near(
            same.adjusted_difference().unwrap().standard_error,
            (2.0_f64 / 22.0 / 22.0).sqrt(),
            1e-12,
        );
        assert_eq!(Pairs::default().difference(), None);
        assert_eq!(Pairs::default().adjusted_difference(), None);
        assert_eq!(Pairs::default().unpaired_standard_error(), None);
    }

    proptest! {
        #[test]
        fn counts_say_what_the_questions_one_by_one_say(answers in prop::collection::vec(any::<(bool, bool)>(), 2..100)) {
            let counted = Pairs::count(answers.iter().copied());
            prop_assert_eq!(counted.asked() as usize, answers.len());
            let scores: Vec<(f64, f64)> = answers.iter().map(|(one, other)| (f64::from(u8::from(*one)), f64::from(u8::from(*other)))).collect();
            let (seen, expected) = (counted.difference().unwrap(), paired_difference(&scores).unwrap());
            prop_assert!((seen.value - expected.value).abs() < 1e-12 && (seen.standard_error - expected.standard_error).abs() < 1e-9);
            prop_assert_eq!(seen.degrees, expected.degrees);
        }
    }
}
