//! What requests cost: the one place where tokens become money. Exact inside; a cost is rounded once, when it is told.
//!
//! ```text
//! spec.price ──┐
//!              ├──► Pricing ──(a moment)──► Rates ──(Tokens)──► Exact ──► Cost, in nano-dollars
//! price book ──┘
//! ```

pub mod book;
mod pricing;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::api::money;
use crate::api::price::{OtherRates, Price, Tier};
use crate::protocol::usage::{Terms, Tokens};

pub use book::Book;
pub use pricing::{Pricing, summary};

/// Rates are per so many tokens.
const PER: u128 = 1_000_000;

/// What a model's tokens cost at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rates {
    #[serde(flatten)]
    base: PerKind,
    /// In ascending order; the last whose bound a prompt is above holds for all of its request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<Step>,
}

/// The rates of prompts with more tokens than `above`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Step {
    above: u64,
    #[serde(flatten)]
    rates: PerKind,
}

/// Nano-dollars per million tokens of each kind. What is absent is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PerKind {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_1h: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_output: Option<u64>,
}

/// Why a cost is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unpriced {
    /// Nobody says what the model costs.
    NoPrice,
    /// Its price lacks this rate, and the request has tokens of that kind. The field is named as users write it.
    NoRate(&'static str),
    /// The answer did not say what it used.
    NoUsage,
    /// It was at another tier than the price list's, or the provider bills tools of its own beside the tokens.
    SpecialTerms,
}

impl Unpriced {
    /// One word for machines.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::NoPrice => "no_price",
            Self::NoRate(_) => "no_rate",
            Self::NoUsage => "no_usage",
            Self::SpecialTerms => "special_terms",
        }
    }
}

/// What a request costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// So many nano-dollars, rounded half up. More than an `u64` holds (18 billion dollars) is told as the most that it holds.
    Known(u64),
    /// It cannot be told: that is not zero.
    Unknown(Unpriced),
}

impl Cost {
    /// Both together: unknown where one is.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Known(one), Self::Known(other)) => Self::Known(one.saturating_add(other)),
            (Self::Unknown(why), _) | (_, Self::Unknown(why)) => Self::Unknown(why),
        }
    }

    /// In US dollars, as people write it; `None` when it is unknown.
    #[must_use]
    pub fn usd(self) -> Option<String> {
        match self {
            Self::Known(nanos) => Some(money::written(nanos.into())),
            Self::Unknown(_) => None,
        }
    }
}

/// An exact amount, in millionths of nano-dollars, so that a sum of many small ones loses nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exact(u128);

impl Exact {
    /// So many nano-dollars.
    #[must_use]
    pub fn of_nanos(nanos: u64) -> Self {
        Self(u128::from(nanos) * PER)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left of it without the other, at least nothing.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// So many of it.
    #[must_use]
    pub fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n.into()))
    }

    /// In nano-dollars, rounded half up.
    #[must_use]
    pub fn nanos(self) -> u64 {
        u64::try_from(self.0.saturating_add(PER / 2) / PER).unwrap_or(u64::MAX)
    }

    /// In nano-dollars, rounded up: never understated.
    #[must_use]
    pub fn nanos_up(self) -> u64 {
        u64::try_from(self.0.div_ceil(PER)).unwrap_or(u64::MAX)
    }
}

impl Rates {
    /// A ModelDeployment's own price; `None` when an amount cannot be read.
    #[must_use]
    pub fn of(price: &Price) -> Option<Self> {
        let (input, output) = (Some(price.input_per_1m.nanos()?), Some(price.output_per_1m.nanos()?));
        Self::new(PerKind::of(input, output, &price.others)?, &price.tiers)
    }

    fn new(base: PerKind, tiers: &[Tier]) -> Option<Self> {
        let step = |tier: &Tier| {
            let (input, output) = (Some(tier.input_per_1m.nanos()?), Some(tier.output_per_1m.nanos()?));
            Some(Step {
                above: tier.above_input_tokens.into(),
                rates: PerKind::of(input, output, &tier.others)?,
            })
        };
        let mut tiers = tiers.iter().map(step).collect::<Option<Vec<_>>>()?;
        // Where the CRD's rules are bypassed they may come in any order.
        tiers.sort_by_key(|step| step.above);
        Some(Self { base, tiers })
    }

    /// Whether prompts and answers of plain text have a price, however long they are.
    #[must_use]
    pub fn price_text(&self) -> bool {
        let all = std::iter::once(&self.base).chain(self.tiers.iter().map(|step| &step.rates));
        all.into_iter().all(|rates| rates.input.is_some() && rates.output.is_some())
    }

    /// The rates for a prompt of so many tokens.
    fn holding(&self, prompt: u64) -> &PerKind {
        let reached = self.tiers.iter().rfind(|step| prompt > step.above);
        reached.map_or(&self.base, |step| &step.rates)
    }

    /// What a request costs, exactly.
    ///
    /// # Errors
    /// When it was on other terms than those of the rates, or a rate is missing that it needs. A missing rate of tokens that it has none of does not matter.
    pub fn exact(&self, tokens: &Tokens) -> Result<Exact, Unpriced> {
        if tokens.terms == Terms::Special {
            return Err(Unpriced::SpecialTerms);
        }
        let rates = self.holding(tokens.prompt());
        // Reasoning is billed as the answer that it is a part of, unless it is said otherwise; nothing else stands for anything else. A
        // cached token at the rate of a plain one may be ten times too dear, and an hour's cache at that of minutes too cheap.
        let kinds = [
            ("inputPer1M", tokens.input, rates.input),
            ("cacheReadPer1M", tokens.cache_read, rates.cache_read),
            ("cacheWritePer1M", tokens.cache_write, rates.cache_write),
            ("cacheWrite1hPer1M", tokens.cache_write_1h, rates.cache_write_1h),
            ("audioInputPer1M", tokens.audio_input, rates.audio_input),
            ("outputPer1M", tokens.output, rates.output),
            ("reasoningPer1M", tokens.reasoning, rates.reasoning.or(rates.output)),
            ("audioOutputPer1M", tokens.audio_output, rates.audio_output),
        ];
        let mut sum = Exact::default();
        for (field, count, rate) in kinds {
            match rate {
                _ if count == 0 => {}
                None => return Err(Unpriced::NoRate(field)),
                // Never above what fits: two factors of 64 bits.
                Some(rate) => sum = sum.plus(Exact(u128::from(count) * u128::from(rate))),
            }
        }
        Ok(sum)
    }
}

impl PerKind {
    /// `None` when an amount cannot be read.
    fn of(input: Option<u64>, output: Option<u64>, others: &OtherRates) -> Option<Self> {
        let read = |amount: &Option<crate::api::Usd>| match amount {
            Some(amount) => amount.nanos().map(Some),
            None => Some(None),
        };
        Some(Self {
            input,
            output,
            cache_read: read(&others.cache_read_per_1m)?,
            cache_write: read(&others.cache_write_per_1m)?,
            cache_write_1h: read(&others.cache_write_1h_per_1m)?,
            reasoning: read(&others.reasoning_per_1m)?,
            audio_input: read(&others.audio_input_per_1m)?,
            audio_output: read(&others.audio_output_per_1m)?,
        })
    }
}

/// What a request costs at these rates, rounded half up, once, on the sum. Without rates it is unknown.
#[must_use]
pub fn cost(tokens: &Tokens, rates: Option<&Rates>) -> Cost {
    let exact = rates.ok_or(Unpriced::NoPrice).and_then(|rates| rates.exact(tokens));
    exact.map_or_else(Cost::Unknown, |exact| Cost::Known(exact.nanos()))
}
