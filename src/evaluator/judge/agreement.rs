//! How far a judge can be believed: whether it says the same of a pair whichever answer stands first. What the order decides, the answers do not.

use std::collections::BTreeSet;

use super::verdict::{Judged, Preferred};
use crate::plan::statistics::{Confidence, Estimate, Share, clustered_mean, kappa};

/// The verdicts of one judge on many pairs.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::evaluator) struct Agreement {
    /// How often each verdict with the candidate first (rows) went with each with the reference first (columns): candidate, reference, tie.
    table: [[u32; 3]; 3],
    /// The share of pairs on which both orders agree; none where nothing is known.
    share: Option<Share>,
}

impl Agreement {
    /// Of pairs, each with the name of what it belongs to: its question, which may have been asked several times, or the question's cluster. What
    /// belongs together is judged alike, and counts for less.
    #[must_use]
    pub(in crate::evaluator) fn of<K: Ord>(pairs: impl IntoIterator<Item = (K, Judged)>) -> Self {
        let pairs: Vec<(K, Judged)> = pairs.into_iter().collect();
        let mut table = [[0; 3]; 3];
        for (_, judged) in &pairs {
            table[place(judged.candidate_first)][place(judged.reference_first)] += 1;
        }
        let groups = pairs.iter().map(|(group, _)| group).collect::<BTreeSet<_>>().len();
        let n = count(&table);
        let share = if groups == pairs.len() {
            Share::of(agreed(&table), n)
        } else {
            let each = pairs.iter().map(|(group, judged)| (group, f64::from(judged.is_agreed())));
            clustered_mean(each).and_then(|mean| Share::of_estimate(&mean, groups, n))
        };
        Self { table, share }
    }

    /// How many pairs were judged.
    #[must_use]
    pub(in crate::evaluator) fn pairs(&self) -> u32 {
        count(&self.table)
    }

    /// The share of pairs on which both orders agree. Its interval is Wilson's. None of no pairs, and of pairs that all belong together.
    #[must_use]
    pub(in crate::evaluator) fn share(&self) -> Option<Share> {
        self.share
    }

    /// Cohen's kappa between the orders: the agreement beyond what the judge's mere habits make. None where it always said the same. A standard
    /// error of 0, where no pair was judged otherwise in the other order, is that of what was seen, and proves nothing of other pairs.
    #[must_use]
    pub(in crate::evaluator) fn kappa(&self) -> Option<Estimate> {
        let plain = kappa(&self.table)?;
        // Its error is that of independent pairs, of which there are fewer where some belong together.
        let independent = self.share.map_or(0.0, |share| share.questions);
        let design = (f64::from(self.pairs()) / independent).max(1.0);
        Some(Estimate {
            standard_error: plain.standard_error * design.sqrt(),
            ..plain
        })
    }

    /// The share of verdicts for the answer that stands first, of all that are for one of the two: a half from a judge that minds no place, however
    /// good either answer is, because each stands first once. None where all is tied.
    #[must_use]
    pub(in crate::evaluator) fn first(&self) -> Option<f64> {
        let by_row = |row: usize| self.table[row].iter().sum::<u32>();
        let by_column = |column: usize| self.table.iter().map(|row| row[column]).sum::<u32>();
        let first = by_row(CANDIDATE) + by_column(REFERENCE);
        let second = by_row(REFERENCE) + by_column(CANDIDATE);
        (first + second > 0).then(|| f64::from(first) / f64::from(first + second))
    }

    /// Why nothing that this judge says of the suite counts, if so: its agreement is not shown to be above `least`. Of one side, as other bounds that
    /// must be proved.
    #[must_use]
    pub(in crate::evaluator) fn flaw(&self, least: f64, confidence: Confidence) -> Option<String> {
        let n = self.pairs();
        let field = "scorer.judge";
        let Some(share) = self.share else {
            let problem = "nothing tells how far the judge agrees with itself";
            return Some(format!(
                "{field}.minAgreement: {problem}: {n} pairs were judged; ask more questions"
            ));
        };
        let bound = share.lower_bound(confidence);
        if self.first().is_none() {
            return Some(format!(
                "{field}.model: the judge told none of {n} pairs apart, which shows nothing; name a better judge, or write a rubric that says what is better"
            ));
        }
        if bound > least {
            return None;
        }
        let habit = self.first().map_or_else(String::new, |first| {
            format!("; {:.0} % of its choices are for the answer that stands first", first * 100.0)
        });
        // More questions help only where the judge is good enough and that is merely not shown.
        let remedy = if share.share > least {
            "ask more questions, or name a better judge"
        } else {
            "name a better judge, or write a rubric that leaves it less to guess"
        };
        Some(format!(
            "{field}.minAgreement: with the two answers the other way round the judge says the same of {} of {n} pairs, which shows an \
             agreement of at least {bound:.3}, and it must be above {least}{habit}; {remedy}",
            agreed(&self.table)
        ))
    }
}

const CANDIDATE: usize = 0;
const REFERENCE: usize = 1;

fn place(preferred: Preferred) -> usize {
    match preferred {
        Preferred::Candidate => CANDIDATE,
        Preferred::Reference => REFERENCE,
        Preferred::Tie => 2,
    }
}

fn count(table: &[[u32; 3]; 3]) -> u32 {
    table.iter().flatten().sum()
}

fn agreed(table: &[[u32; 3]; 3]) -> u32 {
    (0..3).map(|i| table[i][i]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::statistics::{Bounds, Interval, near};
    use proptest::prelude::*;

    const ALL: [Preferred; 3] = [Preferred::Candidate, Preferred::Reference, Preferred::Tie];

    fn pairs(table: [[u32; 3]; 3]) -> Vec<Judged> {
        let cells = (0..9).map(|cell| (cell / 3, cell % 3));
        let judged = |(row, column): (usize, usize)| {
            let judged = Judged {
                candidate_first: ALL[row],
                reference_first: ALL[column],
            };
            vec![judged; table[row][column] as usize]
        };
        cells.flat_map(judged).collect()
    }

    fn of(table: [[u32; 3]; 3]) -> Agreement {
        Agreement::of(pairs(table).into_iter().enumerate())
    }

    /// The kappa is that of statsmodels 0.15.0 in the tests of `statistics::kappa`; the interval is `proportion_confint(70, 100, method="wilson")`.
    #[test]
    fn agreement_is_a_share_with_its_interval_and_a_kappa() {
        let agreement = of([[40, 3, 7], [9, 25, 4], [2, 5, 5]]);
        let share = agreement.share().unwrap();
        let Bounds { lower, upper } = share.interval(Confidence::P95);
        assert_eq!((agreement.pairs(), share.share), (100, 0.7));
        near(lower, 0.6041515, 1e-6);
        near(upper, 0.7810511, 1e-6);
        let kappa = agreement.kappa().unwrap();
        near(kappa.value, 0.5003331112591605, 1e-12);
        near(kappa.standard_error, 0.07163831296497236, 1e-12);
    }

    #[test]
    fn a_judge_that_minds_no_place_chooses_each_place_as_often() {
        for (table, first) in [
            // The candidate is always better, or mostly.
            ([[9, 0, 0], [0, 0, 0], [0, 0, 0]], Some(0.5)),
            ([[9, 0, 0], [0, 3, 0], [0, 0, 4]], Some(0.5)),
            // Always the first, always the second.
            ([[0, 7, 0], [0, 0, 0], [0, 0, 0]], Some(1.0)),
            ([[0, 0, 0], [7, 0, 0], [0, 0, 0]], Some(0.0)),
            // First and tie.
            ([[0, 0, 2], [0, 0, 0], [0, 2, 0]], Some(1.0)),
            ([[0, 0, 0], [0, 0, 0], [0, 0, 5]], None),
        ] {
            assert_eq!(of(table).first(), first, "{table:?}");
        }
    }

    #[test]
    fn pairs_of_one_question_count_for_less_than_pairs_of_many() {
        let judged = pairs([[12, 0, 0], [8, 20, 0], [0, 0, 0]]);
        let many = Agreement::of(judged.iter().copied().enumerate());
        let few = Agreement::of(judged.iter().enumerate().map(|(i, judged)| (i / 4, *judged)));
        let bound = |agreement: &Agreement| agreement.share().unwrap().lower_bound(Confidence::P95);
        assert_eq!(few.share().unwrap().share, many.share().unwrap().share);
        assert!(bound(&few) < bound(&many) - 0.1, "{} {}", bound(&few), bound(&many));
        let error = |agreement: &Agreement| agreement.kappa().unwrap().standard_error;
        assert!(error(&few) > 1.5 * error(&many), "{} {}", error(&few), error(&many));
    }

    #[test]
    fn an_agreement_that_is_not_shown_makes_the_suite_invalid() {
        let flaw = |table| of(table).flaw(0.6, Confidence::P95);
        assert_eq!(flaw([[80, 5, 0], [5, 10, 0], [0, 0, 0]]), None);
        insta::assert_snapshot!(flaw([[10, 50, 0], [0, 40, 0], [0, 0, 0]]).unwrap(), @"scorer.judge.minAgreement: with the two answers the other way round the judge says the same of 50 of 100 pairs, which shows an agreement of at least 0.419, and it must be above 0.6; 75 % of its choices are for the answer that stands first; name a better judge, or write a rubric that leaves it less to guess");
        insta::assert_snapshot!(flaw([[6, 1, 0], [1, 2, 0], [0, 0, 0]]).unwrap(), @"scorer.judge.minAgreement: with the two answers the other way round the judge says the same of 8 of 10 pairs, which shows an agreement of at least 0.541, and it must be above 0.6; 50 % of its choices are for the answer that stands first; ask more questions, or name a better judge");
        insta::assert_snapshot!(flaw([[0; 3]; 3]).unwrap(), @"scorer.judge.minAgreement: nothing tells how far the judge agrees with itself: 0 pairs were judged; ask more questions");
        let together = Agreement::of(pairs([[9, 0, 0], [0; 3], [0; 3]]).into_iter().map(|judged| ("one", judged)));
        assert!(together.flaw(0.6, Confidence::P95).unwrap().contains("9 pairs were judged"));
    }

    proptest! {
        #[test]
        fn a_suite_counts_just_where_wilsons_bound_is_above_the_least(counts in prop::array::uniform9(0u32..60), least in 0.0..0.99f64) {
            let table: [[u32; 3]; 3] = std::array::from_fn(|row| std::array::from_fn(|column| counts[3 * row + column]));
            let agreement = of(table);
            let n = agreement.pairs();
            prop_assume!(n > 0);
            let bound = Share::of(agreed(&table), n).unwrap().lower_bound(Confidence::P95);
            prop_assume!((bound - least).abs() > 1e-9);
            prop_assert_eq!(agreement.flaw(least, Confidence::P95).is_none(), bound > least);
            let Interval { lower, upper, .. } = Interval::wilson(agreed(&table), n).unwrap();
            let seen = agreement.share().unwrap().interval(Confidence::P95);
            prop_assert!((seen.lower - lower).abs() < 1e-9 && (seen.upper - upper).abs() < 1e-9);
            if let Some(first) = agreement.first() {
                prop_assert!((0.0..=1.0).contains(&first));
            }
        }
    }
}
