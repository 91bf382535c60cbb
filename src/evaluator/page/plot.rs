//! Numbers as pictures: a row of a table has a strip, and the strips below one another share a scale. All places are in percent of a strip, so a
//! page of any width and a sheet of paper show the same, with lines and letters of the same size.
//!
//! Every element is closed by a tag of its own (`{}`, never `;`): in SVG, unlike in HTML, none closes itself.

use maud::{Markup, html};

use super::text::{ends, finite, minus, number, number_or_absent, said};
use super::view::{Bound, Estimate, Verdict};

/// The part of a strip on each side where nothing lies, in percent: half a label of the axis.
const EDGE: f64 = 5.0;

/// About so many ticks: more than that run into one another on a telephone.
const TICKS: f64 = 5.0;

/// From where to where a strip reaches.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// One that shows all of `estimates` and `bounds`; none where nothing was measured.
    pub(super) fn over<'a>(estimates: impl IntoIterator<Item = &'a Estimate>, bounds: &[Bound]) -> Option<Self> {
        let ends = |e: &'a Estimate| [e.value, e.lower, e.upper];
        let measured: Vec<f64> = estimates.into_iter().flat_map(ends).filter_map(finite).collect();
        let wanted = bounds.iter().map(|bound| bound.value()).filter(|value| value.is_finite());
        (!measured.is_empty()).then(|| Self::around(measured.iter().copied().chain(wanted)))
    }

    /// One that shows all of `numbers` and some room beside them.
    fn around(numbers: impl Iterator<Item = f64>) -> Self {
        let (least, most) = numbers.fold((f64::MAX, f64::MIN), |(least, most), number| (least.min(number), most.max(number)));
        let spread = most / 2.0 - least / 2.0;
        let room = match least.abs() / 4.0 {
            _ if spread > 0.0 => spread / 5.0,
            some if some > 0.0 => some,
            _ => 0.5,
        };
        let low = (least - room).max(if least >= 0.0 { 0.0 } else { f64::MIN });
        let high = (most + room).min(if most <= 1.0 { 1.0 } else { f64::MAX });
        Self { low, high }
    }

    /// Where `value` lies, in percent; it is one of those that the scale was made for.
    fn at(self, value: f64) -> f64 {
        // By halves: the whole of what an f64 reaches is more than one can hold.
        let share = (value / 2.0 - self.low / 2.0) / (self.high / 2.0 - self.low / 2.0);
        EDGE + share * (100.0 - 2.0 * EDGE)
    }

    /// Round numbers on it, and how many places they have.
    fn ticks(self) -> (Vec<f64>, usize) {
        let rough = (self.high / 2.0 - self.low / 2.0) / (TICKS / 2.0);
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|step| *step >= rough);
        let Some(step) = step.filter(|step| step.is_normal()) else {
            return (Vec::new(), 0);
        };
        let first = (self.low / step).ceil();
        let all = (0..=TICKS as u32).map(|i| (first + f64::from(i)) * step);
        let places = (-step.log10().floor()).clamp(0.0, 9.0);
        (all.filter(|tick| (self.low..=self.high).contains(tick)).collect(), places as usize)
    }
}

impl Bound {
    /// The number.
    pub(super) fn value(self) -> f64 {
        match self {
            Self::AtLeast(value) | Self::AtMost(value) => value,
        }
    }

    /// In words.
    pub(super) fn says(self) -> String {
        match self {
            Self::AtLeast(value) => format!("at least {}", number_or_absent(Some(value))),
            Self::AtMost(value) => format!("at most {}", number_or_absent(Some(value))),
        }
    }

    /// Whether `value`, however sure, is on the wrong side.
    pub(super) fn is_missed_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value < bound,
            Self::AtMost(bound) => value > bound,
        }
    }
}

/// What stands for a value. Each differs from the others by its form, not only by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// A target's value.
    Dot,
    /// A target's value that is on the wrong side of a bound.
    Missed,
    /// A baseline's value.
    Ring,
    /// A value of a run that said so.
    Of(Verdict),
}

impl Mark {
    fn class(self) -> &'static str {
        match self {
            Self::Dot => "mark dot",
            Self::Missed => "mark missed",
            Self::Ring => "mark ring",
            Self::Of(Verdict::Pass) => "mark pass",
            Self::Of(Verdict::Fail) => "mark fail",
            Self::Of(Verdict::Inconclusive) => "mark inconclusive",
            Self::Of(Verdict::Invalid) => "mark invalid",
        }
    }

    /// Drawn around 0, 0.
    fn path(self) -> &'static str {
        match self {
            Self::Dot | Self::Missed | Self::Ring | Self::Of(Verdict::Pass) => "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
            Self::Of(Verdict::Fail) => "M-4.5-4.5L4.5 4.5M4.5-4.5L-4.5 4.5",
            Self::Of(Verdict::Inconclusive) => "M0-5.5L5.5 0L0 5.5L-5.5 0z",
            Self::Of(Verdict::Invalid) => "M-4.5-4.5h9v9h-9z",
        }
    }

    /// Beside a word that says the same.
    pub(super) fn beside(self) -> Markup {
        html! {
            svg class="key" viewBox="-7 -7 14 14" width="14" height="14" aria-hidden="true" { path class=(self.class()) d=(self.path()) {} }
        }
    }
}

/// The line of a table's head that says what the strips below it mean.
pub(super) fn axis(scale: Scale) -> Markup {
    let (ticks, places) = scale.ticks();
    let label = |tick: f64| match tick.abs() {
        1e9.. => number(tick),
        size if size > 0.0 && size < 1e-9 => number(tick),
        _ => minus(&format!("{tick:.places$}")),
    };
    html! {
        svg class="axis" role="img" {
            title { "Scale from " (number(scale.low)) " to " (number(scale.high)) }
            @for tick in ticks {
                text x=(percent(scale.at(tick))) y="14" text-anchor="middle" { (label(tick)) }
            }
        }
    }
}

/// One estimate on its scale: a mark at the value, and a whisker from end to end. `name` is what is measured.
pub(super) fn strip(scale: Scale, estimate: &Estimate, bounds: &[Bound], mark: Mark, name: &str) -> Markup {
    let (value, lower, upper) = (finite(estimate.value), finite(estimate.lower), finite(estimate.upper));
    let reach = [value, lower, upper].into_iter().flatten().map(|end| scale.at(end));
    let whisker = (lower.is_some() || upper.is_some())
        .then(|| reach.fold((100.0, 0.0), |(least, most): (f64, f64), end| (least.min(end), most.max(end))));
    let known = bounds.iter().filter(|bound| bound.value().is_finite());
    html! {
        svg class="strip" role="img" {
            title { (said(name)) ": " (number_or_absent(value)) ", interval " (ends(lower, upper)) }
            desc {
                "On a scale from " (number(scale.low)) " to " (number(scale.high)) "."
                @for bound in known.clone() { " Bound, a dashed line: " (bound.says()) "." }
            }
            @for tick in scale.ticks().0 { (upright("grid", scale.at(tick))) }
            @for bound in known { (upright("bound", scale.at(bound.value()))) }
            @if let Some((from, to)) = whisker {
                line class="whisker" x1=(percent(from)) x2=(percent(to)) y1="50%" y2="50%" {}
            }
            @if let Some(value) = value {
                svg x=(percent(scale.at(value))) y="50%" overflow="visible" { path class=(mark.class()) d=(mark.path()) {} }
            }
        }
    }
}

fn upright(class: &str, at: f64) -> Markup {
    let at = percent(at);
    html! { line class=(class) x1=(at) x2=(at) y1="0" y2="100%" {} }
}

fn percent(at: f64) -> String {
    format!("{at:.2}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number() -> impl Strategy<Value = f64> {
        prop_oneof![
            -2.0..2.0,
            0.0..1.0,
            0.0..1e-6,
            any::<f64>().prop_filter("finite", |number| number.is_finite())
        ]
    }

    proptest! {
        #[test]
        fn places_rise_with_values_and_stay_inside(numbers in prop::collection::vec(number(), 1..9)) {
            let scale = Scale::around(numbers.iter().copied());
            let mut sorted = numbers;
            sorted.sort_by(f64::total_cmp);
            let places: Vec<f64> = sorted.into_iter().map(|number| scale.at(number)).collect();
            prop_assert!(places.is_sorted(), "{places:?}");
            prop_assert!(places.iter().all(|place| (EDGE..=100.0 - EDGE).contains(place)), "{places:?}");
        }

        #[test]
        fn ticks_are_few_and_on_the_scale(numbers in prop::collection::vec(number(), 1..9)) {
            let scale = Scale::around(numbers.into_iter());
            let (ticks, _) = scale.ticks();
            prop_assert!(ticks.len() <= 6);
            prop_assert!(ticks.iter().all(|tick| (scale.low..=scale.high).contains(tick)), "{ticks:?} on {scale:?}");
        }
    }

    #[test]
    fn values_apart_lie_apart_between_round_numbers() {
        let scale = Scale::around([0.71, 0.8, 0.89].into_iter());
        assert!(scale.at(0.8) - scale.at(0.71) > 20.0);
        let (ticks, places) = scale.ticks();
        let labels: Vec<String> = ticks.into_iter().map(|tick| format!("{tick:.places$}")).collect();
        assert_eq!(labels, ["0.70", "0.75", "0.80", "0.85", "0.90"]);
    }

    #[test]
    fn a_scale_over_nothing_measured_is_none() {
        let absent = Estimate {
            value: Some(f64::NAN),
            lower: Some(f64::NEG_INFINITY),
            ..Estimate::default()
        };
        assert_eq!(Scale::over([&absent, &Estimate::default()], &[Bound::AtLeast(0.5)]), None);
    }
}
