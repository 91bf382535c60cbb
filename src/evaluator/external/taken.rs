//! What other programs asked, taken over into a run.

use std::collections::HashMap;

use crate::evaluator::progress::{Asked, End, Entry};
use crate::evaluator::run::{Asker, questions};

impl<W> Asker<'_, W> {
    /// Notes down what other programs asked, so that it stands in reports as what was asked here does. One that a model has no score of ended in an
    /// error: nobody knows how good its answer was. What they found in this pod counts, also where `noted` is what they found in one before it: its
    /// files are the ones that are kept.
    pub(in crate::evaluator) fn take_over(&mut self, noted: &[Entry]) -> anyhow::Result<()> {
        let given = self.given;
        let noted = noted.iter().filter(|entry| given.contains_key(&entry.asked.suite));
        let noted: HashMap<Asked, &Entry> = noted.map(|entry| (entry.asked, entry)).collect();
        for (suite, given) in given {
            for target in 0..self.asked.len() {
                for asked in questions(self.suites, target, *suite, false) {
                    self.total += 1;
                    let score = given.score(target, asked.question);
                    if score.is_none() {
                        let id = self.suites[*suite].id(asked.question);
                        let model = self.asked[target].model.as_str();
                        self.tally.failed(
                            model,
                            &format!("its evaluator left no score of the question {id}, which another model has"),
                        );
                    }
                    let entry = Entry {
                        asked,
                        end: if score.is_some() { End::Graded } else { End::Error },
                        score: score.unwrap_or(0.0),
                        tokens: None,
                        lost: 0,
                        text: None,
                        judge: None,
                        reason: None,
                        timed: None,
                    };
                    if noted.get(&asked).is_none_or(|noted| **noted != entry) {
                        self.progress.note(&entry)?;
                    }
                    self.tally.give(&entry);
                }
            }
        }
        Ok(())
    }
}
