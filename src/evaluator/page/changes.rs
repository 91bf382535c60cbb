//! The questions that ended otherwise than before.

use std::cmp::Ordering;

use maud::{Markup, html};

use super::targets::summary;
use super::text::{ABSENT, excerpt, finite, number, said};
use super::view::{Answer, Change, Comparison, Outcome, Target, View};

/// The most questions that are shown, over all tables: a page that a person reads and a mail takes. All are in the report.
pub(super) const MOST_ROWS: usize = 200;

/// How many questions went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) better: usize,
    pub(super) worse: usize,
    /// Such as from a wrong answer to none.
    pub(super) other: usize,
}

impl Tally {
    pub(super) fn of(changes: &[Change]) -> Self {
        let mut tally = Self::default();
        for change in changes {
            match change.way() {
                Ordering::Greater => tally.better += 1,
                Ordering::Less => tally.worse += 1,
                Ordering::Equal => tally.other += 1,
            }
        }
        tally
    }
}

impl Change {
    /// What was gained; below zero, lost.
    fn gain(&self) -> f64 {
        self.now.outcome.score() - self.before.outcome.score()
    }

    fn way(&self) -> Ordering {
        self.gain().partial_cmp(&0.0).unwrap_or(Ordering::Equal)
    }
}

/// Of each comparison the questions that ended otherwise, what lost most first.
pub(super) fn section(view: &View) -> Markup {
    let targets = super::targets(view).into_iter();
    let all: Vec<(&Target, &Comparison)> = targets
        .flat_map(|target| target.comparisons.iter().map(move |comparison| (target, comparison)))
        .collect();
    let lengths: Vec<usize> = all.iter().map(|(_, comparison)| comparison.changes.len()).collect();
    html! {
        section id="changes" {
            h2 { "Questions that ended otherwise" }
            @if all.is_empty() { p class="none" { "Nothing to compare with: there is no baseline, and no earlier run of the same questions." } }
            @for ((target, comparison), rows) in all.into_iter().zip(shares(&lengths, MOST_ROWS)) { (table(target, comparison, rows)) }
        }
    }
}

/// How many of each are shown, of `most` in all: where there are too many, each gets the same, and what one leaves goes to the others.
pub(super) fn shares(lengths: &[usize], most: usize) -> Vec<usize> {
    let mut shortest_first: Vec<usize> = (0..lengths.len()).collect();
    shortest_first.sort_by_key(|&i| lengths[i]);
    let mut shares = vec![0; lengths.len()];
    let mut left = most;
    for (done, i) in shortest_first.into_iter().enumerate() {
        shares[i] = lengths[i].min(left / (lengths.len() - done));
        left -= shares[i];
    }
    shares
}

fn table(target: &Target, comparison: &Comparison, rows: usize) -> Markup {
    let mut changes: Vec<&Change> = comparison.changes.iter().collect();
    changes.sort_by(|a, b| a.gain().total_cmp(&b.gain()));
    let all = changes.len();
    changes.truncate(rows);
    html! {
        div class="scroll" {
            table class="changes" {
                caption {
                    (said(&format!("{}, {}", target.model, comparison.suite)))
                    span class="aside" { (said(&summary(comparison))) }
                    @if rows < all { span class="aside" { "showing " (rows) " of " (all) " that changed, the worst first" } }
                }
                thead {
                    tr {
                        th scope="col" { "Question" }
                        th scope="col" { "Outcome" }
                        th scope="col" { "Answer of " (said(&comparison.with)) }
                        th scope="col" { "Answer now" }
                    }
                }
                tbody {
                    @if all == 0 { tr { td colspan="4" { "Every question ended as before." } } }
                    @for change in changes { (row(change)) }
                }
            }
        }
    }
}

fn row(change: &Change) -> Markup {
    let (class, way) = match change.way() {
        Ordering::Less => ("way worse", "worse"),
        Ordering::Greater => ("way better", "better"),
        Ordering::Equal => ("way", "as good"),
    };
    html! {
        tr {
            th scope="row" {
                (said(&excerpt(&change.id)))
                @if let Some(category) = &change.category { span class="aside" { (said(&excerpt(category))) } }
            }
            td { span class=(class) { (way) } " " (name(change.before.outcome)) " → " (name(change.now.outcome)) }
            (answer(&change.before))
            (answer(&change.now))
        }
    }
}

fn answer(answer: &Answer) -> Markup {
    html! {
        td class="answer" {
            @match &answer.text {
                Some(text) => (said(&excerpt(text))),
                None => span class="none" { "not kept" },
            }
        }
    }
}

fn name(outcome: Outcome) -> String {
    match outcome {
        Outcome::Right => "Right".to_owned(),
        Outcome::Wrong => "Wrong".to_owned(),
        Outcome::Graded(score) => format!("Graded {}", finite(Some(score)).map_or_else(|| ABSENT.to_owned(), number)),
        Outcome::Refused => "Refused".to_owned(),
        Outcome::Truncated => "Truncated".to_owned(),
        Outcome::Unparsed => "Unparsed".to_owned(),
        Outcome::Unjudged => "Unjudged".to_owned(),
        Outcome::Error => "Error".to_owned(),
    }
}
