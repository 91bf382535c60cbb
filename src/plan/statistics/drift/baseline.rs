//! What a schedule's runs are compared with: each question's mean score over the first runs, frozen.
//!
//! Over one run, a baseline may have been lucky, which looks like a drop that never ends: of models whose 400 questions are a tenth tosses of a
//! coin, 8 % raised an alarm within a year at a tolerance of one point. Over five it is 0.2 %, or 2 % where a fifth of the questions are such.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Runs of which a baseline is the mean.
pub const BASELINE_RUNS: usize = 5;

/// What one run scored, 0 to 1, by the ids of its questions. A score that is no number is a question without one.
pub type Scores = BTreeMap<String, f64>;

/// Why there is no baseline yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// It takes so many more runs.
    #[error("runs that a baseline still takes: {0}")]
    Runs(usize),
    /// No question has a score in each of the runs.
    #[error("no question has a score in each of the baseline's {BASELINE_RUNS} runs")]
    NothingInCommon,
}

/// The frozen mean of the first [`BASELINE_RUNS`] runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    pub(super) scores: Scores,
    standard_error: f64,
}

impl Baseline {
    /// Freezes the first [`BASELINE_RUNS`] of `runs`. Only questions that have a score in each of them count.
    ///
    /// # Errors
    /// How many runs more it takes, or that these have no question in common.
    pub fn freeze(runs: &[Scores]) -> Result<Self, Unready> {
        let Some((first, others)) = runs.get(..BASELINE_RUNS).and_then(<[Scores]>::split_first) else {
            return Err(Unready::Runs(BASELINE_RUNS - runs.len()));
        };
        let mut scores = Scores::new();
        let mut variance = 0.0;
        for (id, one) in first {
            let all: Option<Vec<f64>> = others.iter().map(|run| score(run.get(id)?)).chain([score(one)]).collect();
            let Some(all) = all else { continue };
            let n = all.len() as f64;
            let mean = all.iter().sum::<f64>() / n;
            variance += all.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / (n - 1.0) / n;
            scores.insert(id.clone(), mean);
        }
        if scores.is_empty() {
            return Err(Unready::NothingInCommon);
        }
        let standard_error = variance.sqrt() / scores.len() as f64;
        Ok(Self { scores, standard_error })
    }

    /// Questions that count.
    #[must_use]
    pub fn questions(&self) -> usize {
        self.scores.len()
    }

    /// Their mean score.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.scores.values().sum::<f64>() / self.scores.len() as f64
    }

    /// How far that may be, by luck, from what the model scores over many runs: one standard error, by how much these runs differ. One baseline of
    /// forty is luckier than two of them, and one of seven hundred than three: a tolerance ought to be more.
    #[must_use]
    pub fn standard_error(&self) -> f64 {
        self.standard_error
    }

    /// What a later run answered, against this.
    #[must_use]
    pub fn pair(&self, run: &Scores) -> Paired {
        let known = |id: &String| run.get(id).and_then(score);
        let badness: Vec<f64> = self
            .scores
            .iter()
            .filter_map(|(id, baseline)| Some(badness(*baseline, known(id)?)))
            .collect();
        Paired {
            missing: self.scores.len() - badness.len(),
            left_out: run.keys().filter(|id| !self.scores.contains_key(*id)).count(),
            badness,
        }
    }
}

/// A later run against the baseline.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    /// How much worse each question of both was answered: 0 (right instead of wrong) to 1 (wrong instead of right), ½ where as before.
    pub badness: Vec<f64>,
    /// Questions of the run that the baseline does not know.
    pub left_out: usize,
    /// Questions of the baseline that have no score in the run. Where they are many, those that are left may be the lucky ones.
    pub missing: usize,
}

impl Paired {
    /// How much lower the run scored than the baseline, on the questions of both. `None` where there are none.
    #[must_use]
    pub fn drop(&self) -> Option<f64> {
        let n = self.badness.len() as f64;
        (n > 0.0).then(|| 2.0 * self.badness.iter().sum::<f64>() / n - 1.0)
    }
}

/// How much worse a question was answered than before.
pub(super) fn badness(baseline: f64, score: f64) -> f64 {
    (1.0 + baseline - score) / 2.0
}

fn score(score: &f64) -> Option<f64> {
    (!score.is_nan()).then(|| score.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(scores: &[(&str, f64)]) -> Scores {
        scores.iter().map(|(id, score)| ((*id).to_owned(), *score)).collect()
    }

    /// Of which `q1` is always right, `q2` in three of five, and `q3` always wrong.
    fn five() -> Vec<Scores> {
        [1.0, 0.0, 1.0, 0.0, 1.0]
            .map(|q2| run(&[("q1", 1.0), ("q2", q2), ("q3", 0.0)]))
            .into()
    }

    #[test]
    fn a_baseline_is_the_mean_of_five_runs_and_later_ones_do_not_move_it() {
        let mut runs = five();
        let baseline = Baseline::freeze(&runs).unwrap();
        assert_eq!(baseline.scores, run(&[("q1", 1.0), ("q2", 0.6), ("q3", 0.0)]));
        assert_eq!((baseline.questions(), (baseline.mean() * 30.0).round()), (3, 16.0));
        runs.push(run(&[("q1", 0.0)]));
        assert_eq!(Baseline::freeze(&runs), Ok(baseline));
    }

    #[test]
    fn a_baseline_says_how_many_runs_it_takes_yet() {
        let said = |runs| Baseline::freeze(runs).unwrap_err().to_string();
        assert_eq!(said(&[]), "runs that a baseline still takes: 5");
        assert_eq!(said(&five()[1..]), "runs that a baseline still takes: 1");
    }

    #[test]
    fn only_questions_with_a_score_in_each_run_count() {
        let mut runs = five();
        runs[1].remove("q1");
        runs[2].insert("q3".into(), f64::NAN);
        runs[3].insert("q4".into(), 1.0);
        assert_eq!(Baseline::freeze(&runs).unwrap().scores, run(&[("q2", 0.6)]));
        runs[4].remove("q2");
        assert_eq!(Baseline::freeze(&runs), Err(Unready::NothingInCommon));
    }

    /// By hand: one question of three has a variance of 0.3 (three of five), of whose mean it is 0.06.
    #[test]
    fn the_luck_of_a_baseline_is_measured_by_how_its_runs_differ() {
        let seen = Baseline::freeze(&five()).unwrap().standard_error();
        assert!((seen - 0.06_f64.sqrt() / 3.0).abs() < 1e-12, "{seen}");
        let alike = vec![run(&[("q1", 0.5)]); 5];
        assert_eq!(Baseline::freeze(&alike).unwrap().standard_error(), 0.0);
    }

    #[test]
    fn a_later_run_is_paired_by_question_and_says_what_it_has_more_and_less() {
        let baseline = Baseline::freeze(&five()).unwrap();
        let paired = baseline.pair(&run(&[("q1", 0.0), ("q3", 1.0), ("q5", 1.0)]));
        assert_eq!(
            (paired.badness.as_slice(), paired.left_out, paired.missing),
            ([1.0, 0.0].as_slice(), 1, 1)
        );
        assert_eq!(paired.drop(), Some(0.0));
        let worse = baseline.pair(&run(&[("q1", 0.0), ("q2", 0.6), ("q3", f64::NAN)]));
        assert_eq!((worse.drop(), worse.left_out, worse.missing), (Some(0.5), 0, 1));
        assert_eq!(baseline.pair(&Scores::new()).drop(), None);
    }

    proptest! {
        #[test]
        fn a_badness_is_from_0_to_1_and_their_mean_says_the_drop(scores in prop::collection::vec((-1.0..2.0f64, -1.0..2.0f64), 1..50)) {
            let runs = |which: fn(&(f64, f64)) -> f64| -> Scores {
                scores.iter().enumerate().map(|(at, pair)| (format!("q{at}"), which(pair))).collect()
            };
            let (before, after) = (runs(|pair| pair.0), runs(|pair| pair.1));
            let baseline = Baseline::freeze(&vec![before; 5]).unwrap();
            let paired = baseline.pair(&after);
            prop_assert!(paired.badness.iter().all(|badness| (0.0..=1.0).contains(badness)));
            let mean = after.values().map(|score| score.clamp(0.0, 1.0)).sum::<f64>() / after.len() as f64;
            prop_assert!((paired.drop().unwrap() - (baseline.mean() - mean)).abs() < 1e-9);
        }
    }
}
