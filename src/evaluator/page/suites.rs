//! The numbers of each suite, model beside model.

use std::collections::HashMap;
use std::hash::Hash;

use maud::{Markup, html};

use super::interval;
use super::plot::{self, Mark, Scale};
use super::since::{asked, strip};
use super::text::{ABSENT, count, ends, excerpt, finite, number, number_or_absent, said};
use super::view::{Bound, Counts, Estimate, Metric, Stratum, Suite, View};

/// The most categories of a suite that are shown: a dataset may have as many as it has questions.
const MOST_CATEGORIES: usize = 100;

/// What one model came to.
#[derive(Clone, Copy)]
struct Row<'a, T> {
    model: &'a str,
    is_baseline: bool,
    of: &'a T,
}

impl<'a, T> Row<'a, T> {
    fn with<U>(&self, of: &'a U) -> Row<'a, U> {
        Row {
            model: self.model,
            is_baseline: self.is_baseline,
            of,
        }
    }
}

/// The suites by name, each with its rows: targets, then baselines.
fn suites(view: &View) -> Vec<(&str, Vec<Row<'_, Suite>>)> {
    let targets = super::targets(view)
        .into_iter()
        .map(|target| (target.model.as_str(), false, &target.suites));
    let baselines = view
        .baselines
        .iter()
        .map(|baseline| (baseline.name.as_str(), true, &baseline.suites));
    let rows = targets.chain(baselines).flat_map(|(model, is_baseline, suites)| {
        let row = move |of| Row { model, is_baseline, of };
        suites.iter().map(move |suite| (suite.name.as_str(), row(suite)))
    });
    grouped(rows)
}

/// Values by key, keys in the order in which they come first.
fn grouped<K: Copy + Eq + Hash, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Vec<(K, Vec<V>)> {
    let mut places: HashMap<K, usize> = HashMap::new();
    let mut groups: Vec<(K, Vec<V>)> = Vec::new();
    for (key, value) in pairs {
        let place = *places.entry(key).or_insert(groups.len());
        if place == groups.len() {
            groups.push((key, Vec::new()));
        }
        groups[place].1.push(value);
    }
    groups
}

/// Each suite's metrics, each on a scale of its own.
pub(super) fn metrics(view: &View) -> Markup {
    let suites = suites(view);
    html! {
        section id="metrics" {
            h2 { "Metrics" }
            @if suites.is_empty() { p class="none" { "No suite was measured." } }
            @for (name, rows) in suites {
                h3 { (said(name)) }
                (provenance(&rows))
                @let metrics = grouped(rows.iter().flat_map(|row| row.of.metrics.iter().map(|metric| (metric.name.as_str(), row.with(metric)))));
                @if metrics.is_empty() { p class="none" { "No metric was measured." } }
                @for (metric, rows) in metrics { (table(name, metric, &rows, view)) }
            }
        }
    }
}

/// How a suite was asked, and of what; apart where that differs, because then the numbers cannot be compared.
fn provenance(rows: &[Row<'_, Suite>]) -> Markup {
    let ways = grouped(
        rows.iter()
            .map(|row| ((row.of.protocol.as_str(), row.of.digest.as_str()), row.model)),
    );
    let differ = ways.len() > 1;
    html! {
        @if differ { p class="notice" { "Asked in different ways, or of different questions: these numbers are not comparable." } }
        @for ((protocol, digest), models) in ways {
            p class="aside" {
                @if differ { strong { (said(&models.join(", "))) ": " } }
                (said(or_unknown(protocol))) " · dataset " code { (said(or_unknown(digest))) }
            }
        }
    }
}

fn or_unknown(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

fn table(suite: &str, metric: &str, rows: &[Row<'_, Metric>], view: &View) -> Markup {
    // Of the targets all have the same criteria; a bound that only some have must not be lost.
    let mut bounds: Vec<Bound> = Vec::new();
    for bound in rows.iter().filter(|row| !row.is_baseline).flat_map(|row| &row.of.bounds) {
        if !bounds.contains(bound) {
            bounds.push(*bound);
        }
    }
    let scale = Scale::over(rows.iter().map(|row| &row.of.estimate), &bounds);
    html! {
        div class="scroll" {
            table class="metrics" {
                caption { (said(metric)) (asked(&bounds)) }
                thead {
                    tr {
                        th scope="col" { "Model" }
                        th scope="col" class="plot" { @if let Some(scale) = scale { (plot::axis(scale)) } }
                        th scope="col" class="number" { "Value" }
                        th scope="col" { (interval(view)) }
                        th scope="col" class="number" { "n" }
                        th scope="col" { "Method" }
                        th scope="col" { "To the bound" }
                    }
                }
                tbody {
                    @for row in rows {
                        @let estimate = &row.of.estimate;
                        @let own = if row.is_baseline { &[] } else { row.of.bounds.as_slice() };
                        tr {
                            (model(row))
                            (strip(scale, estimate, &bounds, mark(row.is_baseline, estimate, own), &format!("{}, {suite} {metric}", row.model)))
                            (numbers(estimate))
                            td { (estimate.method.as_deref().map(said).unwrap_or_default()) }
                            td { @for bound in own { (distance(*bound, estimate)) } }
                        }
                    }
                }
            }
        }
    }
}

fn model<T>(row: &Row<'_, T>) -> Markup {
    html! { th scope="row" { (said(row.model)) @if row.is_baseline { span class="aside" { "baseline" } } } }
}

fn numbers(estimate: &Estimate) -> Markup {
    html! {
        td class="number" { (number_or_absent(estimate.value)) }
        td { (ends(estimate.lower, estimate.upper)) }
        td class="number" { (estimate.n.map_or_else(|| ABSENT.to_owned(), |n| count(n.into()))) }
    }
}

fn mark(is_baseline: bool, estimate: &Estimate, bounds: &[Bound]) -> Mark {
    let is_missed = |value| bounds.iter().any(|bound| bound.is_missed_by(value));
    match finite(estimate.value) {
        _ if is_baseline => Mark::Ring,
        Some(value) if is_missed(value) => Mark::Missed,
        _ => Mark::Dot,
    }
}

/// How far the value is from a bound. What that proves is the verdict's to say.
fn distance(bound: Bound, estimate: &Estimate) -> Markup {
    let Some((value, asked)) = finite(estimate.value).zip(finite(Some(bound.value()))) else {
        return html! { p { (ABSENT) } };
    };
    let apart = value - asked;
    let side = if apart < 0.0 { "below" } else { "above" };
    html! {
        p class=[bound.is_missed_by(value).then_some("missed")] {
            @if apart == 0.0 { "at it" } @else { (number(apart.abs())) " " (side) }
        }
    }
}

/// How good the answers are in each category, the worst first.
pub(super) fn categories(view: &View) -> Markup {
    let suites: Vec<_> = suites(view)
        .into_iter()
        .filter(|(_, rows)| rows.iter().any(|row| !row.of.strata.is_empty()))
        .collect();
    html! {
        section id="categories" {
            h2 { "By category" }
            @if suites.is_empty() { p class="none" { "No suite has categories." } }
            @for (name, rows) in suites { (by_category(name, &rows, view)) }
        }
    }
}

fn by_category(suite: &str, rows: &[Row<'_, Suite>], view: &View) -> Markup {
    let strata = rows
        .iter()
        .flat_map(|row| row.of.strata.iter().map(|stratum| (stratum.category.as_str(), row.with(stratum))));
    let mut all = grouped(strata);
    all.sort_by(|(_, a), (_, b)| lowest(a).total_cmp(&lowest(b)));
    let count = all.len();
    all.truncate(MOST_CATEGORIES);
    let scale = Scale::over(all.iter().flat_map(|(_, rows)| rows.iter().map(|row| &row.of.estimate)), &[]);
    html! {
        div class="scroll" {
            table class="categories" {
                caption {
                    (said(suite)) span class="aside" { "the lowest first" }
                    @if all.len() < count { span class="aside" { "the first " (all.len()) " of " (count) " categories" } }
                }
                thead {
                    tr {
                        th scope="col" { "Category" }
                        th scope="col" { "Model" }
                        th scope="col" class="plot" { @if let Some(scale) = scale { (plot::axis(scale)) } }
                        th scope="col" class="number" { "Value" }
                        th scope="col" { (interval(view)) }
                        th scope="col" class="number" { "n" }
                    }
                }
                @for (category, rows) in &all {
                    @let category = excerpt(category);
                    tbody {
                        @for (i, row) in rows.iter().enumerate() {
                            tr {
                                @if i == 0 { th scope="rowgroup" rowspan=(rows.len()) { (said(&category)) } }
                                (model(row))
                                (strip(scale, &row.of.estimate, &[], mark(row.is_baseline, &row.of.estimate, &[]), &format!("{}, {category}", row.model)))
                                (numbers(&row.of.estimate))
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The lowest value of a target; what was not measured is last.
fn lowest(rows: &[Row<'_, Stratum>]) -> f64 {
    let targets = rows.iter().filter(|row| !row.is_baseline);
    targets
        .filter_map(|row| finite(row.of.estimate.value))
        .fold(f64::INFINITY, f64::min)
}

/// How the answers ended.
pub(super) fn counts(view: &View) -> Markup {
    let suites = suites(view);
    html! {
        section id="counts" {
            h2 { "How the answers ended" }
            @if suites.is_empty() { p class="none" { "Nothing was asked." } }
            @for (name, rows) in suites {
                div class="scroll" {
                    table class="counts" {
                        caption { (said(name)) }
                        thead {
                            tr {
                                th scope="col" { "Model" }
                                @for ended in ["Questions", "Right", "Refused", "Truncated", "Unparsed", "Unjudged", "Errors"] {
                                    th scope="col" class="number" { (ended) }
                                }
                            }
                        }
                        tbody { @for row in rows { tr { (model(&row)) (ended(row.of.counts)) } } }
                    }
                }
            }
        }
    }
}

fn ended(counts: Option<Counts>) -> Markup {
    let Some(counts) = counts else {
        return html! { td class="number" colspan="7" { (ABSENT) } };
    };
    let Counts {
        questions,
        right,
        refused,
        truncated,
        unparsed,
        unjudged,
        errors,
    } = counts;
    html! { @for number in [questions, right, refused, truncated, unparsed, unjudged, errors] { td class="number" { (count(number.into())) } } }
}
