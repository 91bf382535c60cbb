//! What is said about each model: the part that is enough on most nights.

use maud::{Markup, html};

use super::changes::Tally;
use super::since;
use super::text::{count, said};
use super::view::{Comparison, Target, View};

/// What is said about each model.
pub(super) fn section(view: &View) -> Markup {
    let targets = super::targets(view);
    html! {
        section id="models" {
            h2 { "Models" }
            @if targets.is_empty() { p class="none" { "Nothing is said about any model." } }
            @for target in targets { (card(target)) }
        }
    }
}

fn card(target: &Target) -> Markup {
    html! {
        article {
            h3 { (target.verdict.badge()) " " (said(&target.model)) }
            @if !target.message.is_empty() { p class="message" { (said(&target.message)) } }
            @if let Some(trend) = target.trends.first() {
                p { (said(&since::sentence(&trend.runs))) }
            }
            @for comparison in &target.comparisons {
                p { (said(&comparison.suite)) ": " (said(&summary(comparison))) "." }
            }
            @if !target.criteria.is_empty() {
                p { "What must hold:" }
                ul { @for criterion in &target.criteria { li { (said(criterion)) } } }
            }
        }
    }
}

/// Such as "12 better, 7 worse of 500 questions, compared with the run of …".
pub(super) fn summary(comparison: &Comparison) -> String {
    let Tally { better, worse, other } = Tally::of(&comparison.changes);
    let other = match other {
        0 => String::new(),
        other => format!(", {other} otherwise different"),
    };
    format!(
        "{better} better, {worse} worse{other} of {} questions, compared with {}",
        count(comparison.questions.into()),
        comparison.with
    )
}
