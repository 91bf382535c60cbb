//! Outputs that models gave to a public suite of questions earlier, scored anew: one JSON object a line, `{"question_id", "category", "answer", "output",
//! "stored_pred"?}`. No model is asked, so that a score of others can be checked, and two models compared, question by question.
//!
//! ```text
//!   file ── read: lines, extractor ──► Recorded ── counts, categories, stratified
//!                                         └─ compare: with a baseline's ──► Compared
//! ```

mod flaw;
mod read;
mod suite;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::score::Score;
use crate::plan::Invalid;
use crate::plan::statistics::{Estimate, Interval, Pairs, stratified_mean};

pub use flaw::Flaw;
pub use read::{read, read_file};
pub use suite::Suite;

/// The scored outputs of one file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recorded {
    /// By the question's id.
    pub rows: BTreeMap<String, Row>,
    /// How far the letters found agree with those that the file says were found; `None` where it says nothing.
    pub stored: Option<Agreement>,
}

/// One scored output.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The question's subject.
    pub category: String,
    /// The right letter.
    pub answer: char,
    /// How the output fares.
    pub score: Score,
}

/// How far `stored_pred` is the letter that the extractor finds. Another one by another extractor is to be expected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// How many lines have a `stored_pred`; null says that none was found.
    pub lines: u32,
    /// On how many of them both are the same.
    pub same: u32,
}

/// How so many outputs fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Right answers.
    pub right: u32,
    /// Wrong ones.
    pub wrong: u32,
    /// Outputs in which no answer was found: as good as wrong.
    pub unparsed: u32,
}

impl Counts {
    /// All outputs.
    #[must_use]
    pub fn rows(&self) -> u32 {
        self.right + self.wrong + self.unparsed
    }

    /// The share of right ones, with its 95 % interval; `None` of no outputs.
    #[must_use]
    pub fn accuracy(&self) -> Option<Interval> {
        Interval::wilson(self.right, self.rows())
    }

    fn add(&mut self, score: Score) {
        *match score {
            Score::Right => &mut self.right,
            // Letters are never graded.
            Score::Wrong | Score::Graded(_) => &mut self.wrong,
            Score::Unparsed => &mut self.unparsed,
        } += 1;
    }
}

impl Recorded {
    /// How all outputs fare.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        self.rows.values().for_each(|row| counts.add(row.score));
        counts
    }

    /// How those of each category fare.
    #[must_use]
    pub fn categories(&self) -> BTreeMap<&str, Counts> {
        let mut categories: BTreeMap<&str, Counts> = BTreeMap::new();
        for row in self.rows.values() {
            categories.entry(&row.category).or_default().add(row.score);
        }
        categories
    }

    /// The accuracy with its standard error over the categories as strata, which they are: all of them are in the suite. `None` where one has a single
    /// row.
    #[must_use]
    pub fn stratified(&self) -> Option<Estimate> {
        let scores = self
            .rows
            .values()
            .map(|row| (row.category.as_str(), f64::from(u8::from(row.is_right()))));
        stratified_mean(scores)
    }
}

impl Row {
    fn is_right(&self) -> bool {
        self.score == Score::Right
    }
}

/// Two models on the questions that both files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Who answered how many of them right; the candidate is the file that is not the baseline.
    pub pairs: Pairs,
    /// Questions that only the candidate's file has.
    pub left_out: u32,
    /// Questions that only the baseline's file has.
    pub left_out_of_baseline: u32,
}

/// Compares them.
///
/// # Errors
/// Where they share no question, or do not agree on what is right: these are then not the same questions.
pub fn compare(candidate: &Recorded, baseline: &Recorded) -> Result<Compared, Invalid> {
    let mut shared = Vec::new();
    for (id, row) in &candidate.rows {
        let Some(other) = baseline.rows.get(id) else { continue };
        if row.answer != other.answer {
            let problem = format!(
                "question {id} has the answer {} here and {} in the file that is compared",
                other.answer, row.answer
            );
            return Err(Invalid::new("answer", problem, "compare outputs for the same version of the suite"));
        }
        shared.push((row.is_right(), other.is_right()));
    }
    if shared.is_empty() {
        let problem = "none of its questions is in the file that is compared";
        return Err(Invalid::new(
            "question_id",
            problem,
            "name a baseline that answers the same questions",
        ));
    }
    let pairs = Pairs::count(shared);
    let beyond = |recorded: &Recorded| u32::try_from(recorded.rows.len()).unwrap_or(u32::MAX) - pairs.asked();
    Ok(Compared {
        pairs,
        left_out: beyond(candidate),
        left_out_of_baseline: beyond(baseline),
    })
}
