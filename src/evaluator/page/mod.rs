//! One run of an EvalJob on one page of HTML, written beside its report: for the person who is woken by it. In this order it says what failed,
//! by how much, since when, and on which questions.
//!
//! The page is one file: no scripts, nothing fetched, and a policy in its head that forbids both, so that it can be mailed and opened from a
//! folder. It says the same in light, in dark, on paper, to who sees no colours and to who hears it.

mod changes;
mod plot;
mod since;
mod suites;
mod targets;
#[cfg(test)]
mod tests;
mod text;
mod view;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use plot::Mark;
use text::{count, dollars, finite, percent, said};

pub use view::{
    Answer, Baseline, Bound, Change, Comparison, Counts, Drift, Estimate, Metric, Outcome, Run, Stratum, Suite, Target, Trend, Verdict,
    View,
};

const STYLE: &str = include_str!("style.css");

/// The page about `view`. The same view makes the same page.
#[must_use]
pub fn page(view: &View) -> String {
    let title = format!("{}: {}/{} {}", view.verdict.name(), view.namespace, view.name, view.slot);
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (said(&title)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(view))
                main {
                    (targets::section(view))
                    (suites::metrics(view))
                    (since::trends(view))
                    (since::drift(view))
                    (suites::categories(view))
                    (suites::counts(view))
                    (changes::section(view))
                }
            }
        }
    }
    .into_string()
}

/// Nothing may be loaded or run, and no style counts but ours: were a text ever to break out of its place, it could do nothing.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'")
}

fn head(view: &View) -> Markup {
    let time = |time: &Option<String>| time.as_deref().map_or_else(|| text::ABSENT.to_owned(), said);
    let tokens = view.tokens.map_or_else(|| text::ABSENT.to_owned(), count);
    html! {
        header {
            h1 { span class="namespace" { (said(&view.namespace)) "/" } (said(&view.name)) }
            p class="overall" { (view.verdict.badge()) " " (view.verdict.means()) }
            @if let Some(why) = &view.invalid {
                p class="notice" { strong { "Nothing in this run can be judged: " } (said(why)) }
            }
            @if let Some(limit) = &view.stopped {
                p class="notice" { strong { "The run stopped before its end at the limit " } code { (said(limit)) } "." }
            }
            dl class="facts" {
                div { dt { "Slot" } dd { (said(&view.slot)) } }
                div { dt { "Begun" } dd { (time(&view.begun)) } }
                div { dt { "Ended" } dd { (time(&view.ended)) } }
                div { dt { "Confidence" } dd { (percent(view.confidence)) } }
                div { dt { "Tokens" } dd { (tokens) } }
                div { dt { "Cost" } dd { (dollars(view.cost_usd)) } }
                div { dt { "Stopped at a limit" } dd { (if view.stopped.is_some() { "yes" } else { "no" }) } }
            }
            nav aria-label="On this page" {
                a href="#models" { "Models" } " "
                a href="#metrics" { "Metrics" } " "
                a href="#runs" { "Run to run" } " "
                a href="#categories" { "By category" } " "
                a href="#counts" { "Counts" } " "
                a href="#changes" { "Questions" }
            }
        }
    }
}

/// The targets, everywhere in the same order: the worst first.
fn targets(view: &View) -> Vec<&Target> {
    let mut targets: Vec<&Target> = view.targets.iter().collect();
    targets.sort_by_key(|target| target.verdict.order());
    targets
}

/// The head of the column of intervals.
fn interval(view: &View) -> String {
    match finite(view.confidence) {
        Some(_) => format!("Interval at {}", percent(view.confidence)),
        None => "Interval".to_owned(),
    }
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Inconclusive => "Inconclusive",
            Self::Invalid => "Invalid",
        }
    }

    /// The name, with the mark that stands for it in plots.
    fn badge(self) -> Markup {
        let class = match self {
            Self::Pass => "verdict pass",
            Self::Fail => "verdict fail",
            Self::Inconclusive => "verdict inconclusive",
            Self::Invalid => "verdict invalid",
        };
        html! { span class=(class) { (Mark::Of(self).beside()) (self.name()) } }
    }

    /// What it means for the run as a whole.
    fn means(self) -> &'static str {
        match self {
            Self::Pass => "Every criterion is proved for every model.",
            Self::Fail => "For at least one model the opposite of a criterion is proved.",
            Self::Inconclusive => "Too few questions to prove every criterion or its opposite.",
            Self::Invalid => "At least one model cannot be judged: errors, a limit that was reached, or something missing.",
        }
    }

    /// The worst comes first.
    fn order(self) -> u8 {
        match self {
            Self::Fail => 0,
            Self::Invalid => 1,
            Self::Inconclusive => 2,
            Self::Pass => 3,
        }
    }
}
