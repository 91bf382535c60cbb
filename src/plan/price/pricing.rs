//! A model's prices over time: its own, which always holds and wins whole, or those of the book. Made once for a route table; what holds is
//! looked up at each request, so that a price changes at midnight and not when the table does.

use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use super::book::{self, Book, Line};
use super::{Cost, PerKind, Rates, Unpriced};
use crate::api::ModelDeployment;
use crate::api::money;
use crate::protocol::usage::Tokens;

/// What a model costs, at any moment. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pricing {
    /// The first that holds counts.
    lines: Arc<[Line]>,
}

impl Pricing {
    /// Of `md`: its own price, or what `book` says about a model behind an API. Of a model on our own machines the book knows nothing: it
    /// costs by the hour, whatever it is asked.
    #[must_use]
    pub fn of(md: &ModelDeployment, book: &Book) -> Self {
        let lines: Vec<Line> = match (&md.spec.price, &md.spec.api) {
            // One that cannot be read is unknown: what the user meant is not what the book says.
            (Some(price), _) => Rates::of(price).map(Line::always).into_iter().collect(),
            (None, Some(api)) => book.lines(&api.provider.to_string(), &api.model),
            (None, None) => Vec::new(),
        };
        Self { lines: lines.into() }
    }

    /// Whether it costs something at some time, as far as is known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The rates that hold at `now`, if any are known. Costs a few comparisons.
    #[must_use]
    pub fn at(&self, now: Timestamp) -> Option<&Arc<Rates>> {
        self.line(now).map(|line| &line.rates)
    }

    /// What a request costs that was answered at `now`; without a report it is unknown.
    #[must_use]
    pub fn cost(&self, tokens: Option<&Tokens>, now: Timestamp) -> Cost {
        match (self.at(now), tokens) {
            (None, _) => Cost::Unknown(Unpriced::NoPrice),
            (Some(_), None) => Cost::Unknown(Unpriced::NoUsage),
            (Some(rates), Some(tokens)) => super::cost(tokens, Some(rates)),
        }
    }

    fn line(&self, now: Timestamp) -> Option<&Line> {
        let day = book::day_of(now);
        self.lines.iter().find(|line| line.holds(day))
    }
}

/// What `md` costs and who says so, in a few words for its status: `1.25/10 per 1M (price book, from 2026-08-01)`. `None` for a model on our
/// own machines without a price of its own: what it costs by the hour is told elsewhere.
#[must_use]
pub fn summary(md: &ModelDeployment, book: &Book, now: Timestamp) -> Option<String> {
    let pricing = Pricing::of(md, book);
    match (pricing.line(now), &md.spec.price, &md.spec.api) {
        (Some(line), Some(_), _) => Some(format!("{} (spec.price)", words(&line.rates))),
        (Some(line), None, _) => {
            let from = line.from.map(|day| format!(", from {}", book::written(day)));
            Some(format!("{} (price book{})", words(&line.rates), from.unwrap_or_default()))
        }
        (None, Some(_), _) => Some("unknown: correct spec.price".to_owned()),
        (None, None, Some(api)) => Some(format!(
            "unknown: set spec.price, or add {} {} to the price book",
            api.provider, api.model
        )),
        (None, None, None) => None,
    }
}

/// `1.25/10 per 1M`, the price of prompts and of answers; what is unknown is `?`.
fn words(rates: &Rates) -> String {
    let PerKind { input, output, .. } = rates.base;
    let amount = |rate: Option<u64>| rate.map_or_else(|| "?".to_owned(), |nanos| money::written(nanos.into()));
    let others = rates
        .tiers
        .first()
        .map(|step| format!(", another price above {} prompt tokens", step.above));
    format!("{}/{} per 1M{}", amount(input), amount(output), others.unwrap_or_default())
}
