//! The runs so far: since when a model is as it is, and how near an alarm about drift is.

use maud::{Markup, html};

use super::interval;
use super::plot::{self, Mark, Scale};
use super::text::{ends, finite, number_or_absent, percent, said};
use super::view::{Bound, Drift, Estimate, Run, Target, Trend, Verdict, View};

/// The most runs of a trend that are shown, which is a month of nights and a look at what was before.
const MOST_RUNS: usize = 40;

/// Since when the latest run's verdict stands, such as "Fail since 2026-11-25T03:00:00Z, in 3 runs; …".
pub(super) fn sentence(runs: &[Run]) -> String {
    let Some(latest) = runs.first() else {
        return "No run is known.".to_owned();
    };
    // A run that decided nothing does not end what the others say.
    let counts = |run: &&Run| run.verdict != Verdict::Invalid || latest.verdict == Verdict::Invalid;
    let runs: Vec<&Run> = runs.iter().filter(counts).collect();
    let same = runs.iter().take_while(|run| run.verdict == latest.verdict).count();
    let name = latest.verdict.name();
    let Some(change) = runs.get(same) else {
        return match same {
            1 => format!("{name} in this run, the first that is known."),
            _ => format!("{name} in all {same} runs that are known."),
        };
    };
    let since = match same {
        1 => format!("{name} in this run"),
        _ => format!("{name} since {}, in {same} runs", runs[same - 1].slot),
    };
    let passed = runs[same..].iter().find(|run| run.verdict == Verdict::Pass);
    match passed {
        _ if latest.verdict == Verdict::Pass => format!("{since}; before that {}.", change.verdict.name()),
        Some(run) => format!("{since}; the last Pass was {}.", run.slot),
        None => format!("{since}; no Pass is known."),
    }
}

/// Each trend as a table of runs, the latest on top.
pub(super) fn trends(view: &View) -> Markup {
    let targets = super::targets(view).into_iter();
    let all: Vec<_> = targets
        .flat_map(|target| target.trends.iter().map(move |trend| (target, trend)))
        .collect();
    html! {
        section id="runs" {
            h2 { "Run to run" }
            @if all.is_empty() { p class="none" { "No earlier run is known." } }
            @for (target, trend) in all { (table(target, trend, view)) }
        }
    }
}

fn table(target: &Target, trend: &Trend, view: &View) -> Markup {
    let shown = &trend.runs[..trend.runs.len().min(MOST_RUNS)];
    let scale = Scale::over(shown.iter().map(|run| &run.estimate), &trend.bounds);
    let name = format!("{}, {} {}", target.model, trend.suite, trend.metric);
    html! {
        div class="scroll" {
            table class="runs" {
                caption {
                    (said(&name))
                    (asked(&trend.bounds))
                    @if shown.len() < trend.runs.len() { span class="aside" { "the latest " (shown.len()) " of " (trend.runs.len()) " runs" } }
                }
                thead {
                    tr {
                        th scope="col" { "Run" }
                        th scope="col" { "Verdict" }
                        th scope="col" class="plot" { @if let Some(scale) = scale { (plot::axis(scale)) } }
                        th scope="col" class="number" { "Value" }
                        th scope="col" { (interval(view)) }
                    }
                }
                tbody {
                    @for (i, run) in shown.iter().enumerate() {
                        tr class=[(i == 0).then_some("this")] {
                            th scope="row" { (said(&run.slot)) @if i == 0 { span class="aside" { "this run" } } }
                            td { (run.verdict.badge()) }
                            (strip(scale, &run.estimate, &trend.bounds, Mark::Of(run.verdict), &format!("{name}, {}", run.slot)))
                            td class="number" { (number_or_absent(run.estimate.value)) }
                            td { (ends(run.estimate.lower, run.estimate.upper)) }
                        }
                    }
                }
            }
        }
    }
}

/// What the criteria ask, behind a caption.
pub(super) fn asked(bounds: &[Bound]) -> Markup {
    html! {
        @for bound in bounds { span class="aside" { span class="dash" aria-hidden="true" {} (bound.says()) } }
    }
}

/// The cell of a strip; empty where there is no scale, because nothing was measured.
pub(super) fn strip(scale: Option<Scale>, estimate: &Estimate, bounds: &[Bound], mark: Mark, name: &str) -> Markup {
    html! { td class="plot" { @if let Some(scale) = scale { (plot::strip(scale, estimate, bounds, mark, name)) } } }
}

/// How near the alarms are; nothing where none is watched for.
pub(super) fn drift(view: &View) -> Markup {
    let estimate = |drift: &Drift| Estimate {
        value: drift.evidence.map(|share| share * 100.0),
        lower: finite(drift.evidence).map(|_| 0.0),
        ..Estimate::default()
    };
    let alarm = [Bound::AtMost(100.0)];
    let estimates: Vec<Estimate> = view.drift.iter().map(estimate).collect();
    let scale = Scale::over(&estimates, &alarm);
    html! {
        @if !view.drift.is_empty() {
            section id="drift" {
                h2 { "Drift" }
                div class="scroll" {
                    table class="drift" {
                        caption { "Evidence that models become worse" span class="aside" { span class="dash" aria-hidden="true" {} "the alarm, at 100%" } }
                        thead {
                            tr {
                                th scope="col" { "Of" }
                                th scope="col" class="plot" { @if let Some(scale) = scale { (plot::axis(scale)) } }
                                th scope="col" class="number" { "Evidence" }
                                th scope="col" { "State" }
                            }
                        }
                        tbody {
                            @for (drift, estimate) in view.drift.iter().zip(&estimates) {
                                tr {
                                    th scope="row" { (said(&drift.about)) }
                                    (strip(scale, estimate, &alarm, mark(drift), &drift.about))
                                    td class="number" { (percent(drift.evidence)) }
                                    td { (said(&drift.state)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn mark(drift: &Drift) -> Mark {
    match finite(drift.evidence) {
        Some(evidence) if evidence >= 1.0 => Mark::Missed,
        _ => Mark::Dot,
    }
}
